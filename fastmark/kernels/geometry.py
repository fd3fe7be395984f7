"""Kernels that score and refine a 2 x 2 geometry in a whitened power spectrum.

Spectra are halves ``(NY, NX // 2 + 1)`` of those of real signals of ``(NY, NX)`` samples; NY and NX are
multiples of eight.
"""

from __future__ import annotations

import numpy as np

from fastmark.kernels._jit import inline, kernel


@inline
def _sample(white, fy, fx):
    """Bilinear value of half a spectrum at ``(fy, fx)`` cycles per sample."""
    n = white.shape[0]
    if fx < 0:
        fy, fx = -fy, -fx
    y, x = fy * n, fx * (2 * (white.shape[1] - 1))
    x0 = int(x)
    y0 = int(np.floor(y))
    ty, tx = y - y0, x - x0
    x1 = min(x0 + 1, white.shape[1] - 1)
    y1 = (y0 + 1) % n
    y0 = y0 % n
    top = white[y0, x0] + tx * (white[y0, x1] - white[y0, x0])
    bottom = white[y1, x0] + tx * (white[y1, x1] - white[y1, x0])
    return top + ty * (bottom - top)


@kernel
def tone_score(white, mean, spread, tones, n_tones, g):
    """Return ``sum (P(g f) - mean) / (spread sqrt(tones inside))`` over the first ``n_tones`` tones.

    ``tones`` is ``(n, 2)`` in cycles per unit, (y, x) order; ``g`` (2 x 2) maps unit frequencies to
    cycles per sample. Scores of fewer than eight tones inside are zero.
    """
    total = 0.0
    inside = 0
    for i in range(n_tones):
        fy = g[0, 0] * tones[i, 0] + g[0, 1] * tones[i, 1]
        fx = g[1, 0] * tones[i, 0] + g[1, 1] * tones[i, 1]
        if abs(fy) < 0.49 and abs(fx) < 0.49:
            total += _sample(white, fy, fx) - mean
            inside += 1
    if inside < 8:
        return 0.0
    return total / (spread * np.sqrt(inside))


@kernel
def tone_scores(white, mean, spread, tones, counts, g, out):
    """Write :func:`tone_score` of the first ``counts[p]`` tones into ``out`` ``(prefixes,)``."""
    total = 0.0
    inside = first = 0
    for p in range(counts.size):
        for i in range(first, counts[p]):
            fy = g[0, 0] * tones[i, 0] + g[0, 1] * tones[i, 1]
            fx = g[1, 0] * tones[i, 0] + g[1, 1] * tones[i, 1]
            if abs(fy) < 0.49 and abs(fx) < 0.49:
                total += _sample(white, fy, fx) - mean
                inside += 1
        first = counts[p]
        out[p] = total / (spread * np.sqrt(inside)) if inside >= 8 else 0.0


@kernel
def band_moments(white, first_row, last_row, first_column):
    """Return mean and deviation of ``white[first_row:last_row, first_column:]``, float32 ``(H, W)``."""
    total = square = 0.0
    for y in range(first_row, last_row):
        line = white[y, first_column:]
        part, part2 = np.float32(0), np.float32(0)
        for x in range(line.size):
            part += line[x]
            part2 += line[x] * line[x]
        total += np.float64(part)
        square += np.float64(part2)
    n = (last_row - first_row) * (white.shape[1] - first_column)
    return total / n, np.sqrt(max(square / n - (total / n) ** 2, 0.0))


@kernel
def refine_geometry(white, mean, spread, tones, n_tones, step, last_step, promising, g):
    """Climb :func:`tone_score` over the four entries of ``g`` by pattern search (Hooke & Jeeves 1961).

    The moves are of scale, rotation, and the two strains, relative sizes from ``step`` down to
    ``last_step``, halved when none improves. A peak that is not ``promising`` once the moves are a quarter
    of the first is left at that. ``g`` is changed in place; returns its score.
    """
    judged = 0.25 * step
    best = tone_score(white, mean, spread, tones, n_tones, g)
    trial = np.empty((2, 2), np.float64)
    while step >= last_step:
        improved = False
        for move in range(8):
            e = step if move % 2 == 0 else -step
            kind = move // 2
            a, b, c, d = 1.0, 0.0, 0.0, 1.0
            if kind == 0:
                a, d = 1.0 + e, 1.0 + e
            elif kind == 1:
                b, c = e, -e
            elif kind == 2:
                a, d = 1.0 + e, 1.0 - e
            else:
                b, c = e, e
            trial[0, 0] = a * g[0, 0] + b * g[1, 0]
            trial[0, 1] = a * g[0, 1] + b * g[1, 1]
            trial[1, 0] = c * g[0, 0] + d * g[1, 0]
            trial[1, 1] = c * g[0, 1] + d * g[1, 1]
            score = tone_score(white, mean, spread, tones, n_tones, trial)
            if score > best:
                best = score
                for i in range(2):
                    g[i, 0], g[i, 1] = trial[i, 0], trial[i, 1]
                improved = True
        if not improved:
            step *= 0.5
            if step <= judged and best < promising:
                break
    return best


@kernel
def refine_geometries(
    white, mean, spread, tones, counts, starts, moves, last_step, promising, geometries, scores
):
    """Refine geometries one by one, and judge each by the prefix of the tones that stands out most.

    ``geometries`` ``(n, 2, 2)`` are changed in place by :func:`refine_geometry` with the first ``starts[i]``
    tones and first moves ``moves[i]``. ``scores``, float64 ``(n, prefixes)``, takes the score of the first
    ``counts[p]`` tones at each; that of the prefix it was refined with is the one climbed to.
    """
    for i in range(geometries.shape[0]):
        g = geometries[i]
        best = refine_geometry(white, mean, spread, tones, starts[i], moves[i], last_step, promising, g)
        tone_scores(white, mean, spread, tones, counts, g, scores[i])
        for p in range(counts.size):
            if counts[p] == starts[i]:
                scores[i, p] = best
