"""Kernels over neighbourhoods of cells, a cell being 2 x 2 units: means, minima, deviation, mask."""

from __future__ import annotations

import numpy as np

from fastmark.kernels._jit import kernel

REACH = 2
"""Cells either side in a window of 5 x 5 cells, which is 10 x 10 units about the middle of a cell."""


@kernel
def pool_squares(plane, mean, square):
    """Write the means of ``plane - 128`` and of its square over 2 x 2 units, edges repeated.

    ``plane`` float32 ``(H, W)``; ``mean`` and ``square`` ``((H + 1) // 2, (W + 1) // 2)``. From the middle of
    the range squares keep their digits.
    """
    height, width = plane.shape
    quarter, middle = np.float32(0.25), np.float32(128)
    n = width // 2
    for i in range(mean.shape[0]):
        upper, lower = plane[2 * i], plane[min(2 * i + 1, height - 1)]
        means, squares = mean[i], square[i]
        for j in range(n):
            a, b = upper[2 * j] - middle, upper[2 * j + 1] - middle
            c, d = lower[2 * j] - middle, lower[2 * j + 1] - middle
            means[j] = quarter * ((a + b) + (c + d))
            squares[j] = quarter * ((a * a + b * b) + (c * c + d * d))
        if width > 2 * n:
            a, c = upper[width - 1] - middle, lower[width - 1] - middle
            means[n] = np.float32(0.5) * (a + c)
            squares[n] = np.float32(0.5) * (a * a + c * c)


@kernel
def _pad_edges(padded, n):
    """Repeat the first and last of the ``n`` values in the middle of ``padded`` ``(n + 4,)``."""
    for i in range(REACH):
        padded[i] = padded[REACH]
        padded[n + REACH + i] = padded[n + REACH - 1]


@kernel
def box5(x, out):
    """Write the 5 x 5 mean of float32 ``x`` ``(H, W)``, edges repeated, into ``out``.

    Direct sums, no running ones: an error of rounding must not travel across the picture.
    """
    height, width = x.shape
    padded = np.empty(width + 4, np.float32)
    scale = np.float32(1 / 25)
    for y in range(height):
        a, b, c = x[max(y - 2, 0)], x[max(y - 1, 0)], x[y]
        d, e = x[min(y + 1, height - 1)], x[min(y + 2, height - 1)]
        for n in range(width):
            padded[n + 2] = ((a[n] + b[n]) + (d[n] + e[n])) + c[n]
        _pad_edges(padded, width)
        line = out[y]
        for n in range(width):
            outer = (padded[n] + padded[n + 4]) + (padded[n + 1] + padded[n + 3])
            line[n] = scale * (outer + padded[n + 2])


@kernel
def min5(x, out):
    """Write the 5 x 5 minimum of float32 ``x`` ``(H, W)``, edges repeated, into ``out``."""
    height, width = x.shape
    padded = np.empty(width + 4, np.float32)
    for y in range(height):
        a, b, c = x[max(y - 2, 0)], x[max(y - 1, 0)], x[y]
        d, e = x[min(y + 1, height - 1)], x[min(y + 2, height - 1)]
        for n in range(width):
            padded[n + 2] = min(min(min(a[n], b[n]), min(d[n], e[n])), c[n])
        _pad_edges(padded, width)
        line = out[y]
        for n in range(width):
            outer = min(min(padded[n], padded[n + 4]), min(padded[n + 1], padded[n + 3]))
            line[n] = min(outer, padded[n + 2])


@kernel
def local_deviation(mean, square, scratch, first, second, out):
    """Write the local standard deviation of a plane less its local mean.

    With c and q the cells of :func:`pool_squares` and M = box5(c), the plane less M has the cell means c - M
    and mean squares ``q - 2 M c + M^2``; ``out = sqrt(box5(those squares) - box5(c - M)^2)``. ``scratch``,
    ``first`` and ``second`` are of the same shape.
    """
    height, width = mean.shape
    box5(mean, scratch)
    for y in range(height):
        c, q, m, a, b = mean[y], square[y], scratch[y], first[y], second[y]
        for x in range(width):
            rest = c[x] - m[x]
            a[x] = rest
            b[x] = q[x] - m[x] * (c[x] + rest)
    box5(second, out)
    box5(first, scratch)
    for y in range(height):
        line, m = out[y], scratch[y]
        for x in range(width):
            line[x] = np.sqrt(max(line[x] - m[x] * m[x], np.float32(0)))


@kernel
def activity_mask(deviation, minimum, share, weights, most, out):
    """Write the perceptual mask, grey levels, of the local ``deviation`` and its ``minimum`` into ``out``.

    ``out = sum weights[i] a^(i / 2)``, ``a = min(share * (deviation + minimum), most)``; ``weights`` float32
    ``(6,)``.
    """
    c0, c1, c2, c3, c4, c5 = weights[0], weights[1], weights[2], weights[3], weights[4], weights[5]
    for y in range(out.shape[0]):
        s, t, line = deviation[y], minimum[y], out[y]
        for x in range(line.size):
            r = np.sqrt(min(share * (s[x] + t[x]), most))
            line[x] = c0 + r * (c1 + r * (c2 + r * (c3 + r * (c4 + r * c5))))


@kernel
def multiply_cells(x, cells):
    """Multiply ``x`` ``(H, W)`` by the value of the cell of 2 x 2 that each place lies in."""
    height, width = x.shape
    row = np.empty(width + 1, np.float32)
    for i in range(cells.shape[0]):
        line = cells[i]
        for j in range((width + 1) // 2):
            row[2 * j] = line[j]
            row[2 * j + 1] = line[j]
        for y in range(2 * i, min(2 * i + 2, height)):
            target = x[y]
            for n in range(width):
                target[n] *= row[n]


@kernel
def block_means(cells, out):
    """Write the means of 4 x 4 ``cells`` from cell (2, 2) on into ``out`` ``(BY, BX)``.

    These are the blocks of 8 x 8 units from unit (4, 4) on.
    """
    for i in range(out.shape[0]):
        target = out[i]
        target[:] = 0
        for dy in range(4):
            line = cells[2 + 4 * i + dy]
            for j in range(target.size):
                first = 2 + 4 * j
                target[j] += (line[first] + line[first + 1]) + (line[first + 2] + line[first + 3])
        for j in range(target.size):
            target[j] *= np.float32(1 / 16)


@kernel
def sample_contrast(pilot, pilot_gain, chips, chip_gain, means, gains, floor, first, step, out):
    """Write ``p g^2 / (g^2 v + floor)`` of sampled cells into ``out`` float32 ``(n, m)``.

    Sample ``(i, j)`` is the cell ``(first + step i, first + step j)``; ``first`` is at least 2. There p is
    ``pilot_gain pilot^2 + chip_gain chips^2``, v the variance of ``means`` over the 5 x 5 cells about it, and
    g is ``gains[i, j]``. ``pilot``, ``chips`` and ``means`` are ``(H, W)``, ``gains`` ``(n, m)``, float32.
    """
    n_rows, n_columns = out.shape
    share = np.float32(1 / 25)
    for i in range(n_rows):
        y = first + step * i
        for j in range(n_columns):
            x = first + step * j
            middle, total, square = means[y, x], np.float32(0), np.float32(0)
            for dy in range(-REACH, REACH + 1):
                line = means[y + dy]
                for dx in range(-REACH, REACH + 1):
                    rest = line[x + dx] - middle
                    total += rest
                    square += rest * rest
            total *= share
            variance = max(square * share - total * total, np.float32(0))
            gain = gains[i, j] * gains[i, j]
            power = pilot_gain * pilot[y, x] * pilot[y, x] + chip_gain * chips[y, x] * chips[y, x]
            out[i, j] = power * gain / (variance * gain + floor)
