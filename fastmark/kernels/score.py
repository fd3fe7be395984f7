"""Kernels of the score plane: every 8 x 8 DCT coefficient over its own power, over several block grids."""

from __future__ import annotations

import numpy as np

from fastmark.kernels._jit import kernel
from fastmark.kernels.dct import VECTOR, forward_blocks, idct_row, inverse_columns


@kernel
def score_blocks(x, floor, limit, gain, sums, out):
    """Write the scores ``gain * clip(x / v, -limit, limit) / v`` of coefficients ``x`` into ``out``.

    Both are ``(8, 8, n)``, indexed ``[u, v]``.
    ``v^2 = (1.25 * mean |x| over the 3 x 3 nearest frequencies of the block)^2 + floor^2``: about the locally
    optimum non-linearity for a weak signal in a heavy-tailed host (Kassam 1988, section 2.4). The constant
    term counts as its diagonal neighbour, and scores nothing. ``sums`` is scratch like ``x``.
    """
    n = x.shape[2]
    floor2 = np.float32(floor * floor)
    low, high = np.float32(-limit), np.float32(limit)
    for u in range(8):
        for v in range(8):
            a, b, c, target = x[max(u - 1, 0), v], x[u, v], x[min(u + 1, 7), v], sums[u, v]
            for i in range(n):
                target[i] = abs(a[i]) + abs(b[i]) + abs(c[i])
    # the constant term stands twice in the sum of u = 0 (edges are repeated), once in that of u = 1
    constant, diagonal, first, second = x[0, 0], x[1, 1], sums[0, 0], sums[1, 0]
    for i in range(n):
        more = abs(diagonal[i]) - abs(constant[i])
        first[i] += more + more
        second[i] += more
    scale = np.float32(1.25 / 9)
    for u in range(8):
        for v in range(8):
            a, b, c = sums[u, max(v - 1, 0)], sums[u, v], sums[u, min(v + 1, 7)]
            source, target = x[u, v], out[u, v]
            for i in range(n):
                spread = scale * (a[i] + b[i] + c[i])
                inverse = np.float32(1) / np.sqrt(spread * spread + floor2)
                target[i] = min(max(source[i] * inverse, low), high) * (inverse * gain)
    out[0, 0, :] = 0


@kernel
def add_scores(plane, oy, ox, floor, limit, gain, first, last, out):
    """Add ``gain`` times the scores of ``plane`` on the block grid from ``(-oy, -ox)`` on to ``out``.

    float32 ``(H, W)``, at least 8 wide; 0 <= oy, ox < 8. Rows of blocks ``first`` to ``last`` are added.
    """
    height, width = plane.shape
    # whole vectors of blocks: a rest of some of them would cost more
    n = (width + ox + 8 * VECTOR - 1) // (8 * VECTOR) * VECTOR
    line = np.empty(8 * n, np.float32)
    a, b, c = (
        np.empty((8, 8, n), np.float32),
        np.empty((8, 8, n), np.float32),
        np.empty((8, 8, n), np.float32),
    )
    for by in range(first, last):
        y0 = 8 * by - oy
        forward_blocks(plane, y0, ox, line, b, a)
        score_blocks(a, floor, limit, gain, b, c)
        inverse_columns(c, a)
        for y in range(max(-y0, 0), min(8, height - y0)):
            idct_row(a, y, line)
            target, source = out[y0 + y], line[ox : ox + width]
            for i in range(width):
                target[i] += source[i]
