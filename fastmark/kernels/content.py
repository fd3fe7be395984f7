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
    sums, counts = np.zeros(n_columns + 2, np.float32), np.zeros(n_columns + 2, np.float32)
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
