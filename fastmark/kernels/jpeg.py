"""Kernels of JPEG's quantiser on the 8 x 8 blocks of a plane: applied, and pushed over its thresholds."""

from __future__ import annotations

import numpy as np

from fastmark.kernels._jit import copy_line, kernel
from fastmark.kernels.dct import VECTOR, dct8, dct_row, forward_blocks, idct8, idct_row, inverse_columns

PUSHED = 6
"""Frequencies, each way, that are pushed: the mark has next to nothing in the two highest."""


@kernel
def push_blocks(x, d, scale, steps, limits, least, margin, change):
    """Move delta coefficients ``scale * d`` that lie close to a threshold of a quantiser over it.

    ``x`` are the host's coefficients and ``d`` the delta's, ``(8, 8, n)``, ``steps`` ``(quantisers, 8, 8)``,
    all indexed ``[u, v]``. Quantiser after quantiser: where moving x in the direction of d to the next
    threshold, and ``margin`` beyond, takes more than |d| but at most ``limits[q] |d|``, d becomes that move;
    where |d| < ``least`` it stays. ``change`` takes the difference from ``scale * d``.
    """
    n = x.shape[2]
    half = np.float32(0.5)
    for u in range(PUSHED):
        for v in range(PUSHED):
            host, source, target = x[u, v], d[u, v], change[u, v]
            if u + v == 0:
                target[:] = 0
                continue
            s0, s1 = steps[0, u, v], steps[1, u, v]
            i0, i1 = np.float32(1) / s0, np.float32(1) / s1
            l0, l1 = limits[0], limits[1]
            for i in range(n):
                delta = scale * source[i]
                size = abs(delta)
                sign = np.float32(1) if delta >= 0 else np.float32(-1)
                ratio = host[i] * i0
                move = (half - (ratio - np.floor(ratio + half)) * sign) * s0 + margin
                pushed = move if size >= least and move > size and move <= l0 * size else size
                ratio = host[i] * i1
                move = (half - (ratio - np.floor(ratio + half)) * sign) * s1 + margin
                pushed = move if pushed >= least and move > pushed and move <= l1 * pushed else pushed
                target[i] = sign * (pushed - size)


@kernel
def quantise(plane, steps, out):
    """Write ``plane`` as JPEG with the quantiser ``steps`` ``(8, 8)`` would return it into ``out``.

    float32 ``(H, W)``, grey levels, not rounded; the rest beyond whole blocks is copied.
    """
    n_rows, n_seen = plane.shape[0] // 8, plane.shape[1] // 8
    n = (n_seen + VECTOR - 1) // VECTOR * VECTOR
    x, scratch = np.empty((8, 8, n), np.float32), np.empty((8, 8, n), np.float32)
    line = np.empty(8 * n, np.float32)
    half = np.float32(0.5)
    for y in range(plane.shape[0]):
        copy_line(plane[y], out[y])
    if n_seen == 0:
        return
    for by in range(n_rows):
        forward_blocks(plane, 8 * by, np.int64(0), line, scratch, x)
        for u in range(8):
            for v in range(8):
                step = steps[v, u]
                inverse = np.float32(1) / step
                for i in range(n):
                    x[u, v, i] = step * np.floor(x[u, v, i] * inverse + half)
        inverse_columns(x, scratch)
        for y in range(8):
            idct_row(scratch, y, line)
            copy_line(line, out[8 * by + y, : 8 * n_seen])


@kernel
def harden(plane, delta, scale, steps, limits, least, margin, first, last, out):
    """Write ``scale * delta`` with its coefficients pushed over two quantisers' thresholds into ``out``.

    All float32 ``(H, W)``, grey levels; blocks start at ``(0, 0)`` as JPEG's do; see :func:`push_blocks`, but
    that ``steps`` are indexed ``[q, u, v]``. Only rows of blocks ``first`` to ``last`` are written, the last
    one with the rows beyond whole blocks. Returns the sum of the squares of ``out``.
    """
    height, width = plane.shape
    n_seen = width // 8
    n = (n_seen + VECTOR - 1) // VECTOR * VECTOR
    x, d, scratch = (
        np.empty((8, 8, n), np.float32),
        np.empty((8, 8, n), np.float32),
        np.empty((8, 8, n), np.float32),
    )
    line, change = np.empty(8 * n, np.float32), np.empty((8, 8, n), np.float32)
    scratch[:], line[:], change[:] = 0, 0, 0
    square = 0.0
    for by in range(first, last):
        whole = n > 0 and 8 * by + 8 <= height
        if whole:
            for source, target in ((plane, x), (delta, d)):
                for y in range(8):
                    copy_line(source[8 * by + y], line[: 8 * n_seen])
                    dct_row(line, y, scratch)
                for u in range(PUSHED):
                    dct8(scratch[u], target[u])
            push_blocks(x, d, scale, steps, limits, least, margin, change)
            for u in range(PUSHED):
                idct8(change[u], scratch[u])
            scratch[PUSHED:] = 0
        for y in range(min(8, height - 8 * by)):
            source, target = delta[8 * by + y], out[8 * by + y]
            for i in range(width):
                target[i] = scale * source[i]
            if whole:
                idct_row(scratch, y, line)
                for i in range(8 * n_seen):
                    target[i] += line[i]
            part = np.float32(0)
            for i in range(width):
                part += target[i] * target[i]
            square += np.float64(part)
    return square
