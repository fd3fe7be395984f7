"""Kernels that look ahead to JPEG: quantisation, and a mark that is pushed over its thresholds."""

from __future__ import annotations

import numpy as np

from fastmark.kernels._jit import kernel
from fastmark.kernels.dct import forward_blocks, inverse_blocks, load_blocks, store_blocks


@kernel
def push_blocks(x, d, steps, least, limit, margin):
    """Enlarge delta coefficients ``d`` ``(8, 8, n)`` that lie close to a decision threshold of a quantiser.

    ``x`` are the host's coefficients, ``steps`` ``(8, 8)`` the quantiser. Where moving x in the direction
    of d to the next threshold, and ``margin`` beyond, takes more than |d| but at most ``limit |d|``,
    d becomes that move; where |d| < ``least`` it stays.
    """
    n = x.shape[2]
    half = np.float32(0.5)
    for v in range(8):
        for u in range(8):
            if v + u == 0:
                continue
            step = steps[v, u]
            inverse = np.float32(1) / step
            for i in range(n):
                delta = d[v, u, i]
                size = abs(delta)
                sign = np.float32(1) if delta >= 0 else np.float32(-1)
                ratio = x[v, u, i] * inverse
                rest = (ratio - np.floor(ratio + half)) * sign
                move = (half - rest) * step + margin
                if size >= least and move > size and move <= limit * size:
                    d[v, u, i] = sign * move


@kernel
def quantise(plane, steps, out):
    """Write ``plane`` as JPEG with the quantiser ``steps`` ``(8, 8)`` would return it into ``out``.

    float32 ``(H, W)``, grey levels, not rounded; the rest beyond whole blocks is copied.
    """
    n_rows, n = plane.shape[0] // 8, plane.shape[1] // 8
    x, scratch = np.empty((8, 8, n), np.float32), np.empty((8, 8, n), np.float32)
    half = np.float32(0.5)
    out[:] = plane
    if n == 0:
        return
    for by in range(n_rows):
        load_blocks(plane, 8 * by, 0, x)
        forward_blocks(x, scratch)
        for v in range(8):
            for u in range(8):
                step = steps[v, u]
                inverse = np.float32(1) / step
                for i in range(n):
                    x[v, u, i] = step * np.floor(x[v, u, i] * inverse + half)
        inverse_blocks(x, scratch)
        store_blocks(x, 8 * by, out)


@kernel
def harden(plane, delta, steps, least, limit, margin, out):
    """Write ``delta`` with its coefficients pushed over the quantisers' thresholds into ``out``.

    All float32 ``(H, W)``, grey levels; blocks start at ``(0, 0)`` as JPEG's do. The rest beyond whole blocks
    is copied. ``steps`` float32 ``(8, 8)``; see :func:`push_blocks`.
    """
    n_rows, n = plane.shape[0] // 8, plane.shape[1] // 8
    x, d = np.empty((8, 8, n), np.float32), np.empty((8, 8, n), np.float32)
    scratch = np.empty((8, 8, n), np.float32)
    out[:] = delta
    if n == 0:
        return
    for by in range(n_rows):
        load_blocks(plane, 8 * by, 0, x)
        load_blocks(delta, 8 * by, 0, d)
        forward_blocks(x, scratch)
        forward_blocks(d, scratch)
        push_blocks(x, d, steps, least, limit, margin)
        inverse_blocks(d, scratch)
        store_blocks(d, 8 * by, out)
