"""Twins of ``fastmark.kernels.geometry``."""

import numpy as np

from reference.fourier import _bin, _size


def _between(white, fy, fx):
    """Bilinear interpolation at ``(fy, fx)`` cycles a sample."""
    y, x = (f * n for f, n in zip((fy, fx), _size(white), strict=True))
    top, left = int(np.floor(y)), int(np.floor(x))
    return sum(
        (1 - abs(y - row)) * (1 - abs(x - column)) * float(_bin(white, row, column))
        for row in (top, top + 1)
        for column in (left, left + 1)
    )


def tone_score(white, mean, spread, tones, n_tones, g):
    seen = [g @ tone for tone in tones[:n_tones]]
    inside = [_between(white, *f) for f in seen if np.abs(f).max() < 0.49]
    return sum(p - mean for p in inside) / (spread * np.sqrt(len(inside))) if len(inside) >= 8 else 0.0


def band_moments(white, first_row, last_row, first_column):
    band = white[first_row:last_row, first_column:].astype(np.float64)
    return band.mean(), band.std()


def refine_geometry(white, mean, spread, tones, n_tones, step, last_step, promising, g):
    """Return the best matrix and its score; moves are taken as they are found, in the order listed."""
    first = step
    generators = [[[1, 0], [0, 1]], [[0, 1], [-1, 0]], [[1, 0], [0, -1]], [[0, 1], [1, 0]]]
    best = tone_score(white, mean, spread, tones, n_tones, g)
    while step >= last_step:
        start = best
        for generator in np.array(generators):
            for signed in (step, -step):
                trial = (np.eye(2) + signed * generator) @ g
                score = tone_score(white, mean, spread, tones, n_tones, trial)
                if score > best:
                    best, g = score, trial
        if best == start:
            step /= 2
            if step <= first / 4 and best < promising:
                break
    return g, best


def refine_geometries(white, mean, spread, tones, counts, starts, moves, last_step, promising, geometries):
    """Return the best matrices, and the scores of every prefix at each."""
    shown = white, mean, spread, tones
    refined, scores = [], np.empty((len(geometries), len(counts)))
    for i, (start, move, first) in enumerate(zip(starts, moves, geometries, strict=True)):
        g, best = refine_geometry(*shown, start, move, last_step, promising, first)
        tone_scores(*shown, counts, g, scores[i])
        scores[i, np.array(counts) == start] = best
        refined.append(g)
    return np.array(refined), scores


def tone_scores(white, mean, spread, tones, counts, g, out):
    """One prefix after the other."""
    for p, count in enumerate(counts):
        out[p] = tone_score(white, mean, spread, tones, count, g)
