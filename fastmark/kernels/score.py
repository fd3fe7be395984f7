"""Kernels of the score plane: every 8 x 8 DCT coefficient over its own power, over several block grids."""

from __future__ import annotations

import numpy as np

from fastmark.kernels._jit import kernel
from fastmark.kernels.dct import forward_blocks, inverse_blocks, load_blocks


@kernel
def score_blocks(x, floor, limit, size, sums):
    """Replace coefficients ``x`` ``(8, 8, n)`` by their scores ``clip(x / v, -limit, limit) / v``.

    ``v^2 = (1.25 * mean |x| over the 3 x 3 nearest frequencies of the block)^2 + floor^2``: about the locally
    optimum non-linearity for a weak signal in a heavy-tailed host (Kassam 1988, section 2.4). The constant
    term counts as its diagonal neighbour, and scores nothing. ``size``, ``sums`` are scratch like ``x``.
    """
    n = x.shape[2]
    floor2 = np.float32(floor * floor)
    low, high = np.float32(-limit), np.float32(limit)
    for v in range(8):
        for u in range(8):
            for i in range(n):
                size[v, u, i] = abs(x[v, u, i])
    for i in range(n):
        size[0, 0, i] = size[1, 1, i]
    for v in range(8):
        for u in range(8):
            a, b, c = size[v, max(u - 1, 0)], size[v, u], size[v, min(u + 1, 7)]
            for i in range(n):
                sums[v, u, i] = a[i] + b[i] + c[i]
    scale = np.float32(1.25 / 9)
    for v in range(8):
        for u in range(8):
            a, b, c = sums[max(v - 1, 0), u], sums[v, u], sums[min(v + 1, 7), u]
            for i in range(n):
                spread = scale * (a[i] + b[i] + c[i])
                inverse = np.float32(1) / np.sqrt(spread * spread + floor2)
                x[v, u, i] = min(max(x[v, u, i] * inverse, low), high) * inverse
    x[0, 0, :] = 0


@kernel
def add_scores(plane, oy, ox, floor, limit, gain, out):
    """Add ``gain`` times the scores of ``plane`` on the block grid from ``(-oy, -ox)`` on to ``out``.

    float32 ``(H, W)``, at least 8 wide; 0 <= oy, ox < 8.
    """
    height, width = plane.shape
    n = (width + ox + 7) // 8
    a, b, c = (
        np.empty((8, 8, n), np.float32),
        np.empty((8, 8, n), np.float32),
        np.empty((8, 8, n), np.float32),
    )
    for by in range((height + oy + 7) // 8):
        y0 = 8 * by - oy
        load_blocks(plane, y0, ox, a)
        forward_blocks(a, b)
        score_blocks(a, floor, limit, b, c)
        inverse_blocks(a, b)
        for y in range(max(-y0, 0), min(8, height - y0)):
            target = out[y0 + y]
            for x in range(8):
                first = x - ox
                for i in range(1 if first < 0 else 0, (width - first + 7) // 8):
                    target[first + 8 * i] += gain * a[y, x, i]
