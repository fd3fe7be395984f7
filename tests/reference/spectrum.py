"""Twins of ``fastmark.kernels.spectrum``."""

import numpy as np


def _bin(half, y, x):
    """The whole spectrum's bin ``(y, x)``, from its half ``(N, N // 2 + 1)``; columns only to Nyquist."""
    if x < 0:
        y, x = -y, -x
    return float(half[y % half.shape[0], x])


def local_mean(power, reach):
    out = np.empty(power.shape)
    near = range(-reach, reach + 1)
    for y, x in np.ndindex(out.shape):
        columns = [x + dx for dx in near if x + dx < power.shape[1]]
        out[y, x] = np.mean([_bin(power, y + dy, column) for dy in near for column in columns])
    return out


def whiten(power, level, limit):
    out = np.zeros(power.shape)
    for place in np.ndindex(power.shape):
        if level[place] > 0:
            out[place] = min(float(power[place]) / float(level[place]), limit)
    return out


def _between(white, fy, fx):
    """Bilinear interpolation at ``(fy, fx)`` cycles a sample."""
    y, x = fy * white.shape[0], fx * white.shape[0]
    top, left = int(np.floor(y)), int(np.floor(x))
    return sum(
        (1 - abs(y - row)) * (1 - abs(x - column)) * _bin(white, row, column)
        for row in (top, top + 1)
        for column in (left, left + 1)
    )


def sample_log_polar(white, strain, cosines, sines, radii):
    out = np.zeros((len(cosines), len(radii)))
    for a, i in np.ndindex(out.shape):
        fy, fx = strain @ (radii[i] * sines[a], radii[i] * cosines[a])
        if max(abs(fy), abs(fx)) < 0.499:
            out[a, i] = _between(white, fy, fx)
    return out


def tone_score(white, mean, spread, tones, n_tones, g):
    seen = [g @ tone for tone in tones[:n_tones]]
    inside = [_between(white, *f) for f in seen if np.abs(f).max() < 0.49]
    return sum(p - mean for p in inside) / (spread * np.sqrt(len(inside))) if len(inside) >= 8 else 0.0


def refine_geometry(white, mean, spread, tones, n_tones, step, last_step, g):
    """Return the best matrix and its score; moves are taken as they are found, in the order listed."""
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
    return g, best
