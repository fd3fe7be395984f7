"""Kernels over power spectra: the noise level, whitening, smoothing.

Spectra are halves ``(NY, NX // 2 + 1)`` of those of real signals of ``(NY, NX)`` samples; NY and NX are
multiples of eight.
"""

from __future__ import annotations

import numpy as np

from fastmark.kernels._jit import kernel

CELL = 4
"""Bins, each way, over which the noise level is averaged before it is smoothed."""


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
    sums = np.empty(n_columns + 2 * reach_x, np.float32)
    sums[:] = 0
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
