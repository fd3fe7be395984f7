"""Kernels over power spectra: noise level, whitening, log-polar sampling, refinement of a 2 x 2 geometry.

Spectra are halves ``(NY, NX // 2 + 1)`` of those of real signals of ``(NY, NX)`` samples; NY and NX are
multiples of eight.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastmark.kernels._jit import inline, kernel

CELL = 4
"""Bins, each way, over which the noise level is averaged before it is smoothed."""

PHASES = 256


@kernel
def add_power(parts, out):
    """Add the squared moduli of a spectrum, given as float32 real, imaginary, real, ..., to ``out``."""
    for y in range(out.shape[0]):
        line, target = parts[y], out[y]
        for x in range(target.size):
            target[x] += line[2 * x] * line[2 * x] + line[2 * x + 1] * line[2 * x + 1]


@kernel
def pool_power(power, ceiling, out):
    """Write the means of ``min(power, ceiling)`` over cells of 4 x 4 bins into ``out``.

    ``out`` is ``(NY // 4, NX // 8)``; ``ceiling`` has a value per cell. The last cell of a row takes the
    Nyquist bin as well.
    """
    n_rows, n_columns = out.shape
    for i in range(n_rows):
        target, limit = out[i], ceiling[i]
        target[:] = 0
        for dy in range(CELL):
            line = power[CELL * i + dy]
            for j in range(n_columns):
                a, b = min(line[4 * j], limit[j]), min(line[4 * j + 1], limit[j])
                c, d = min(line[4 * j + 2], limit[j]), min(line[4 * j + 3], limit[j])
                target[j] += (a + b) + (c + d)
        for j in range(n_columns):
            target[j] *= np.float32(1 / (CELL * CELL))
        last = np.float32(0)
        for dy in range(CELL):
            last += min(power[CELL * i + dy, CELL * n_columns], limit[n_columns - 1])
        target[n_columns - 1] = (CELL * target[n_columns - 1] + last / CELL) / (CELL + 1)


@kernel
def smooth_cells(cells, reach_y, reach_x, out):
    """Write the mean over ``(2 reach_y + 1) x (2 reach_x + 1)`` cells into ``out``, like ``cells``.

    Rows wrap round; columns end at the Nyquist frequency and are mirrored at 0, where the spectrum of
    a real signal continues as ``P(-fy, -fx)``.
    """
    n_rows, n_columns = cells.shape
    reach_x = min(reach_x, n_columns - 1)
    sums = np.zeros(n_columns + 2 * reach_x, np.float32)
    share = np.empty(n_columns, np.float32)
    for j in range(n_columns):
        share[j] = 1 / ((min(j + reach_x + 1, n_columns) + reach_x - j) * (2 * reach_y + 1))
    for i in range(n_rows):
        sums[: reach_x + n_columns] = 0
        middle = sums[reach_x : reach_x + n_columns]
        for dy in range(-reach_y, reach_y + 1):
            line, twin = cells[(i + dy) % n_rows], cells[(n_rows - 1 - i - dy) % n_rows]
            for j in range(reach_x):
                sums[j] += twin[reach_x - 1 - j]
            for j in range(n_columns):
                middle[j] += line[j]
        target = out[i]
        target[:] = 0
        for k in range(2 * reach_x + 1):
            part = sums[k : k + n_columns]
            for j in range(n_columns):
                target[j] += part[j]
        for j in range(n_columns):
            target[j] *= share[j]


@kernel
def whiten(power, cells, limit, out):
    """Write ``min(power / level, limit)`` into ``out``; nothing where the level is zero.

    The level is that of the cells' middles, ``cells`` ``(NY // 4, NX // 8)``, interpolated bilinearly.
    """
    n_rows, n_columns = cells.shape
    width = power.shape[1]
    level = np.empty(CELL * n_columns + CELL, np.float32)
    blend = np.empty(n_columns + 2, np.float32)
    for y in range(power.shape[0]):
        above = (y + CELL // 2) // CELL - 1
        t = np.float32((y + 0.5) / CELL - 0.5 - above)
        a, b = cells[above % n_rows], cells[(above + 1) % n_rows]
        for j in range(n_columns):
            blend[j + 1] = a[j] + t * (b[j] - a[j])
        blend[0], blend[n_columns + 1] = blend[1], blend[n_columns]
        for j in range(n_columns):
            before, here, after = blend[j], blend[j + 1], blend[j + 2]
            level[4 * j] = here + np.float32(0.375) * (before - here)
            level[4 * j + 1] = here + np.float32(0.125) * (before - here)
            level[4 * j + 2] = here + np.float32(0.125) * (after - here)
            level[4 * j + 3] = here + np.float32(0.375) * (after - here)
        level[CELL * n_columns] = blend[n_columns]
        line, target = power[y], out[y]
        for x in range(width):
            floor = level[x]
            target[x] = min(line[x] / floor, limit) if floor > 0 else np.float32(0)


@kernel
def smooth_bins(white, side, out):
    """Write ``white`` convolved with ``side, 1 - 2 side, side`` along both axes into ``out``.

    Rows wrap round; the first and last column are convolved along theirs alone.
    """
    n_rows, width = white.shape
    middle = np.float32(1) - (side + side)  # NOTE: 2 * side would be in float64
    line = np.empty(width, np.float32)
    for y in range(n_rows):
        a, b, c, target = white[y - 1 if y else n_rows - 1], white[y], white[(y + 1) % n_rows], out[y]
        for x in range(width):
            line[x] = middle * b[x] + side * (a[x] + c[x])
        target[0], target[width - 1] = line[0], line[width - 1]
        for x in range(1, width - 1):
            target[x] = middle * line[x] + side * (line[x - 1] + line[x + 1])


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
def place_log_polar(n_rows, n_columns, cosines, sines, radii, out):
    """Write where in half a spectrum ``(n_rows, n_columns // 2 + 1)`` the cells of a log-polar grid lie.

    ``out[a, i]``, uint32 ``(angles, radii)``: the bin nearest to the frequency ``(r sin, r cos)``, counted
    row by row; 0, which is the constant one, beyond the Nyquist frequency. Angles lie in 0..pi, ``radii`` are
    in cycles per sample.
    """
    height, last = np.int32(n_rows), np.int32(n_columns // 2)
    half = np.float32(0.5)
    for a in range(cosines.size):
        # NOTE: the half spectrum has no negative columns: P(fy, fx) = P(-fy, -fx)
        sign = np.float32(1) if cosines[a] >= 0 else np.float32(-1)
        uy, ux = sign * sines[a] * np.float32(height), sign * cosines[a] * np.float32(2 * last)
        line = out[a]
        for i in range(radii.size):
            y, x = np.int32(np.floor(uy * radii[i] + half)), np.int32(ux * radii[i] + half)
            if x <= last and 2 * y < height and 2 * y > -height:
                line[i] = (y if y >= 0 else y + height) * (last + 1) + x
            else:
                line[i] = 0


@kernel
def take_bins(flat, places, out):
    """Write ``flat[places]`` into ``out``, float32 ``(A, R)``; ``places`` uint32 like it."""
    for a in range(out.shape[0]):
        line, target = places[a], out[a]
        for i in range(target.size):
            target[i] = flat[line[i]]


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
                for i in range(2):
                    g[i, 0], g[i, 1] = trial[i, 0], trial[i, 1]
                improved = True
        if not improved:
            step *= 0.5
    return best


@kernel
def correlate(spectrum, pattern, conjugate, out):
    """Write ``pattern`` times ``spectrum``, or its conjugate, into ``out``; return the sum of squared moduli.

    complex64, of one shape.
    """
    square = 0.0
    for y in range(out.shape[0]):
        part = np.float32(0)
        for x in range(out.shape[1]):
            a, b = spectrum[y, x], pattern[y, x]
            imag = -a.imag if conjugate else a.imag
            re, im = a.real * b.real - imag * b.imag, a.real * b.imag + imag * b.real
            out[y, x] = np.complex64(complex(re, im))
            part += re * re + im * im
        square += np.float64(part)
    return square


def sinc_table() -> NDArray[np.float64]:
    """Weights of a sinc windowed by Kaiser's window (beta 6), 8 taps, at 256 phases: float64 ``(257, 8)``.

    The error, of the largest value, is 0.3 % for signals oversampled twice, 3 % at 1.4, 7 % at 1.25: what is
    near the edges of the picture is seen less well.
    """
    d = np.arange(PHASES + 1)[:, None] / PHASES - np.arange(-3, 5)
    window = np.i0(6.0 * np.sqrt(np.maximum(1 - (d / 4.0) ** 2, 0))) / np.i0(6.0)
    table: NDArray[np.float64] = np.sinc(d) * window
    return table


@kernel
def spectrum_at(spectrum, height, width, frequencies, table, out):
    """Interpolate the Fourier transform of a zero-padded picture at ``frequencies``.

    ``spectrum`` complex64 is that of ``height x width`` samples at the corner of at least 1.25 times as many,
    so that, its origin moved to the middle of the samples, it is oversampled. ``frequencies`` ``(n, 2)``,
    cycles per sample, below 0.49; ``table`` ``(257, 8)`` are the weights of :func:`sinc_table`. ``out``
    complex128 ``(n,)`` refers to the middle of the samples, ``((height - 1) / 2, (width - 1) / 2)``.
    """
    n_rows = spectrum.shape[0]
    n_columns = 2 * (spectrum.shape[1] - 1)
    turn_y = np.exp(2j * np.pi * (height - 1) / 2 / n_rows)
    turn_x = np.exp(2j * np.pi * (width - 1) / 2 / n_columns)
    for i in range(out.size):
        y, x = frequencies[i, 0] * n_rows, frequencies[i, 1] * n_columns
        y0, x0 = int(np.floor(y)) - 3, int(np.floor(x)) - 3
        wy, wx = table[int((y - y0 - 3) * 256 + 0.5)], table[int((x - x0 - 3) * 256 + 0.5)]
        total = 0j
        phase_y, first = turn_y**y0, turn_x**x0
        for a in range(8):
            row = 0j
            phase = first
            for b in range(8):
                column = (x0 + b) % n_columns
                if column <= n_columns // 2:
                    value = np.complex128(spectrum[(y0 + a) % n_rows, column])
                else:
                    value = np.conj(np.complex128(spectrum[-(y0 + a) % n_rows, n_columns - column]))
                row += wx[b] * phase * value
                phase *= turn_x
            total += wy[a] * row * phase_y
            phase_y *= turn_y
        out[i] = total
