"""Kernels over power spectra: whitening, log-polar sampling, refinement of a 2 x 2 geometry."""

from __future__ import annotations

import numpy as np

from fastmark.kernels._jit import inline, kernel


@kernel
def local_mean(power, reach, out):
    """Write the mean over ``(2 reach + 1)^2`` bins of half a spectrum ``(N, N // 2 + 1)`` into ``out``.

    Rows wrap round; columns end at the Nyquist bin and are mirrored at column 0, where the spectrum of
    a real signal continues as ``P(-fy, -fx)``. Sums are in float64: they run over many magnitudes.
    """
    n_rows, n_columns = power.shape
    sums = np.zeros((n_rows, n_columns + reach), np.float64)
    running = np.zeros(n_columns + reach, np.float64)
    for y in range(-reach, reach + 1):
        _add_mirrored(power, y, reach, 1.0, running)
    for y in range(n_rows):
        sums[y] = running
        _add_mirrored(power, y - reach, reach, -1.0, running)
        _add_mirrored(power, y + reach + 1, reach, 1.0, running)
    for y in range(n_rows):
        total = 0.0
        count = 0
        for x in range(min(2 * reach + 1, n_columns + reach)):
            total += sums[y, x]
            count += 1
        for x in range(n_columns):
            out[y, x] = total / (count * (2 * reach + 1))
            if x + 2 * reach + 1 < n_columns + reach:
                total += sums[y, x + 2 * reach + 1]
                count += 1
            total -= sums[y, x]
            count -= 1


@kernel
def _add_mirrored(power, y, reach, sign, running):
    """Add ``sign`` times row ``y`` of the spectrum, columns ``-reach..``, to ``running``."""
    n_rows, n_columns = power.shape
    row, twin = power[y % n_rows], power[-y % n_rows]
    for x in range(reach):
        running[x] += sign * twin[reach - x]
    for x in range(n_columns):
        running[reach + x] += sign * row[x]


@kernel
def whiten(power, level, limit, out):
    """Write ``min(power / level, limit)`` into ``out``; nothing where the level is zero."""
    for y in range(power.shape[0]):
        for x in range(power.shape[1]):
            floor = level[y, x]
            out[y, x] = min(power[y, x] / floor, limit) if floor > 0 else np.float32(0)


@inline
def _sample(white, fy, fx):
    """Bilinear value of half a spectrum ``(N, N // 2 + 1)`` at ``(fy, fx)`` cycles a sample."""
    n = white.shape[0]
    if fx < 0:
        fy, fx = -fy, -fx
    y, x = fy * n, fx * n
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
def sample_log_polar(white, strain, cosines, sines, radii, out):
    """Sample the spectrum at ``strain @ (r sin, r cos)`` for every angle and radius.

    ``out[a, i]``, float32 ``(angles, radii)``; NaN-free: zero beyond the Nyquist frequency. ``strain``
    is 2 x 2 in (y, x) order, ``radii`` in cycles a sample.
    """
    for a in range(cosines.size):
        uy = strain[0, 0] * sines[a] + strain[0, 1] * cosines[a]
        ux = strain[1, 0] * sines[a] + strain[1, 1] * cosines[a]
        for i in range(radii.size):
            fy, fx = uy * radii[i], ux * radii[i]
            if abs(fy) < 0.499 and abs(fx) < 0.499:
                out[a, i] = _sample(white, fy, fx)
            else:
                out[a, i] = 0


@kernel
def tone_score(white, mean, spread, tones, n_tones, g):
    """Return ``sum (P(g f) - mean) / (spread sqrt(tones inside))`` over the first ``n_tones`` tones.

    ``tones`` is ``(n, 2)`` in cycles a unit, (y, x) order; ``g`` (2 x 2) maps unit frequencies to
    cycles a sample. Scores of fewer than eight tones inside are zero.
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
def refine_geometry(white, mean, spread, tones, n_tones, step, last_step, g):
    """Climb :func:`tone_score` over the four entries of ``g`` by pattern search (Hooke & Jeeves 1961).

    The moves are of scale, rotation, and the two strains, relative sizes from ``step`` down to
    ``last_step``, halved when none improves. ``g`` is changed in place; returns its score.
    """
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
                g[:] = trial
                improved = True
        if not improved:
            step *= 0.5
    return best
