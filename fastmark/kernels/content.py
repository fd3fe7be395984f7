"""Kernels over the content of blocks, which binds a mark to its image."""

from __future__ import annotations

import numpy as np

from fastmark.kernels._jit import kernel


@kernel
def mean_of_nine(means, inside, out):
    """Write the mean of the 3 x 3 neighbours of ``means`` ``(BY, BX)`` that are ``inside`` into ``out``.

    ``inside`` is uint8, 0 or 1; 0 where no neighbour is.
    """
    n_rows, n_columns = means.shape
    sums, counts = np.empty(n_columns + 2, np.float32), np.empty(n_columns + 2, np.float32)
    for y in range(n_rows):
        sums[:] = 0
        counts[:] = 0
        for j in range(max(y - 1, 0), min(y + 2, n_rows)):
            line, seen = means[j], inside[j]
            for x in range(n_columns):
                weight = np.float32(seen[x])
                sums[x + 1] += weight * line[x]
                counts[x + 1] += weight
        target = out[y]
        for x in range(n_columns):
            count = counts[x] + counts[x + 1] + counts[x + 2]
            target[x] = (sums[x] + sums[x + 1] + sums[x + 2]) / max(count, np.float32(1))


@kernel
def block_ranges(plane, out):
    """Write the range of the values of each block of ``plane`` into ``out`` ``(BY, BX)``, float32.

    Blocks are squares of 4 x 4 samples; a rest of the plane is left out.
    """
    side = 4
    n_rows, n_columns = out.shape
    low, high = np.empty(side * n_columns, np.float32), np.empty(side * n_columns, np.float32)
    for by in range(n_rows):
        for x in range(low.size):
            low[x] = high[x] = plane[side * by, x]
        for y in range(side * by + 1, side * by + side):
            line = plane[y]
            for x in range(low.size):
                low[x] = min(low[x], line[x])
                high[x] = max(high[x], line[x])
        target = out[by]
        for bx in range(n_columns):
            i = side * bx
            most = max(max(high[i], high[i + 1]), max(high[i + 2], high[i + 3]))
            least = min(min(low[i], low[i + 1]), min(low[i + 2], low[i + 3]))
            target[bx] = most - least


@kernel
def compare_blocks(around, inside, offsets, partners, gy, gx, scale, out):
    """Write ``(around - that of the partner) * scale``, limited to -1..1, into ``out`` ``(BY, BX)``, float32.

    The partner of a block lies ``offsets[partners]`` blocks away: ``offsets`` int64 ``(n, 2)``, ``partners``
    uint8 ``(G, G)`` by place on the torus, of which block (0, 0) is ``(gy, gx)``. 0 where one of the two is
    not inside.
    """
    n_rows, n_columns = around.shape
    grid = partners.shape[0]
    for y in range(n_rows):
        for x in range(n_columns):
            number = partners[(gy + y) % grid, (gx + x) % grid]
            j, i = y + offsets[number, 0], x + offsets[number, 1]
            out[y, x] = np.float32(0)
            if j >= 0 and j < n_rows and i >= 0 and i < n_columns and inside[y, x] and inside[j, i]:
                difference = (around[y, x] - around[j, i]) * scale
                out[y, x] = min(max(difference, np.float32(-1)), np.float32(1))


@kernel
def sum_parts(folded, known, weights, signs, flags, withheld, out):
    """Write the sums over chips that tell of a binding into ``out`` float64 ``(2, 5 + n)``.

    Rows: blocks that are not ``withheld`` bool ``(G, G)``, and those that are. With x, followed and twice the
    layers of ``folded`` ``(3, 10, G, G)``, each times ``weights known``: ``sum x``, ``sum x^2``,
    ``sum signs followed``, ``sum twice``, ``sum followed^2``, ``sum flags x`` by class. ``known`` and
    ``weights`` are float32 ``(10, G, G)``, ``signs`` int8 likewise, ``flags`` int8 ``(n, 10, G, G)``.
    """
    n_classes, n_coefficients, grid = flags.shape[:3]
    out[:] = 0
    values, bound, part = np.empty(grid, np.float32), np.empty(grid, np.float32), np.empty(grid, np.float32)
    for y in range(grid):
        for which in range(2):
            for x in range(grid):
                part[x] = np.float32(1) if withheld[y, x] == (which == 1) else np.float32(0)
            for c in range(n_coefficients):
                sign, weight = known[c, y], weights[c, y]
                plain, followed, twice = folded[0, c, y], folded[1, c, y], folded[2, c, y]
                follows = signs[c, y]
                a, b, d, e, f = np.float32(0), np.float32(0), np.float32(0), np.float32(0), np.float32(0)
                for x in range(grid):
                    factor = part[x] * (sign[x] * weight[x])
                    values[x], bound[x] = plain[x] * factor, followed[x] * factor
                    a += values[x]
                    b += values[x] * values[x]
                    d += np.float32(follows[x]) * bound[x]
                    e += twice[x] * factor
                    f += bound[x] * bound[x]
                for i, total in enumerate((a, b, d, e, f)):
                    out[which, i] += np.float64(total)
                for k in range(n_classes):
                    tells, g = flags[k, c, y], np.float32(0)
                    for x in range(grid):
                        g += np.float32(tells[x]) * values[x]
                    out[which, 5 + k] += np.float64(g)


@kernel
def sum_disclosed(x, known, blocks, alike):
    """Write sums of chips ``x`` float32 ``(10, G, G)`` and of their squares, of ``known`` blocks alone.

    ``known`` is float32 ``(G, G)``, 0 or 1. ``blocks`` float32 ``(2, G, G)``: over the chips of a block;
    ``alike`` float64 ``(2, 10)``: over those of a coefficient.
    """
    n_coefficients, grid = x.shape[:2]
    blocks[:] = 0
    alike[:] = 0
    for c in range(n_coefficients):
        for y in range(grid):
            line, part, plain, square = x[c, y], known[y], blocks[0, y], blocks[1, y]
            total, energy = np.float32(0), np.float32(0)
            for i in range(grid):
                value = line[i] * part[i]
                plain[i] += value
                square[i] += value * value
                total += value
                energy += value * value
            alike[0, c] += np.float64(total)
            alike[1, c] += np.float64(energy)


@kernel
def sum_around(values, reach, out):
    """Write the sums over ``2 reach + 1`` blocks each way of ``values`` float32 ``(G, G)`` into ``out``.

    The grid is round; a block counts as often as it is met.
    """
    grid = values.shape[0]
    line = np.empty(grid + 2 * reach, np.float32)
    for y in range(grid):
        line[:] = 0
        for dy in range(-reach, reach + 1):
            source = values[(y + dy) % grid]
            for x in range(grid):
                line[reach + x] += source[x]
        for x in range(reach):
            line[reach - 1 - x] = line[reach + (grid - 1 - x) % grid]
            line[reach + grid + x] = line[reach + x % grid]
        target = out[y]
        target[:] = 0
        for k in range(2 * reach + 1):
            for x in range(grid):
                target[x] += line[k + x]
