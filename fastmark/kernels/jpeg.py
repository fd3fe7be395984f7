"""Kernels of JPEG's quantiser on the 8 x 8 blocks of a plane: applied, and pushed over its thresholds."""

from __future__ import annotations

import numpy as np

from fastmark.kernels._jit import copy_line, inline, kernel
from fastmark.kernels.dct import VECTOR, dct8, dct_row, forward_blocks, idct8, idct_row, inverse_columns

PUSHED = 6
"""Frequencies, each way, that are pushed: the mark has next to nothing in the two highest."""

QUANTISERS = 7
"""Quantisers whose thresholds are pushed over."""


@inline
def _next_move(host, sign, step, margin):
    """Return how far ``host`` is moved in the direction of ``sign`` to pass a quantiser's next threshold."""
    half = np.float32(0.5)
    ratio = host / step
    return (half - (ratio - np.floor(ratio + half)) * sign) * step + margin


@inline
def _worth(move, cost, m0, m1, m2, m3, m4, m5, m6, g0, g1, g2, g3, g4, g5, g6):
    """Return the gains ``g`` of the thresholds that a move passes, at ``m``, less the price of its energy."""
    none = np.float32(0)
    low = (g0 if m0 <= move else none) + (g1 if m1 <= move else none)
    middle = (g2 if m2 <= move else none) + (g3 if m3 <= move else none)
    high = (g4 if m4 <= move else none) + (g5 if m5 <= move else none)
    return low + middle + high + (g6 if m6 <= move else none) - cost * move * move


@kernel
def push_blocks(x, d, scale, steps, limit, cost, least, margin, change):
    """Move delta coefficients ``scale * d`` over thresholds of seven quantisers, as far as is worth most.

    ``x`` are the host's coefficients and ``d`` the delta's, ``(8, 8, n)``, ``steps`` ``(7, 8, 8)``, all
    indexed ``[u, v]``. Each quantiser proposes a move of x in the direction of d: to its next threshold, and
    ``margin`` beyond. The moves from |d| up to ``limit |d|``, and |d| itself, are compared: a move is worth
    the mean, over all quantisers whose threshold it passes, of the square of their step, less ``cost`` times
    its own square. Where |d| < ``least`` it stays. ``change`` takes the difference from ``scale * d``.
    """
    n = x.shape[2]
    for u in range(PUSHED):
        for v in range(PUSHED):
            host, source, target = x[u, v], d[u, v], change[u, v]
            if u + v == 0:
                target[:] = 0
                continue
            s0, s1, s2, s3 = steps[0, u, v], steps[1, u, v], steps[2, u, v], steps[3, u, v]
            s4, s5, s6 = steps[4, u, v], steps[5, u, v], steps[6, u, v]
            share = np.float32(1) / np.float32(QUANTISERS)
            g0, g1, g2, g3 = share * s0 * s0, share * s1 * s1, share * s2 * s2, share * s3 * s3
            g4, g5, g6 = share * s4 * s4, share * s5 * s5, share * s6 * s6
            for i in range(n):
                delta, at = scale * source[i], host[i]
                size = abs(delta)
                sign = np.float32(1) if delta >= 0 else np.float32(-1)
                m0, m1 = _next_move(at, sign, s0, margin), _next_move(at, sign, s1, margin)
                m2, m3 = _next_move(at, sign, s2, margin), _next_move(at, sign, s3, margin)
                m4, m5 = _next_move(at, sign, s4, margin), _next_move(at, sign, s5, margin)
                m6 = _next_move(at, sign, s6, margin)
                most = limit * size if size >= least else size
                best = size
                top = _worth(size, cost, m0, m1, m2, m3, m4, m5, m6, g0, g1, g2, g3, g4, g5, g6)
                for move in (m0, m1, m2, m3, m4, m5, m6):
                    value = _worth(move, cost, m0, m1, m2, m3, m4, m5, m6, g0, g1, g2, g3, g4, g5, g6)
                    better = move > size and move <= most and value > top
                    top = value if better else top
                    best = move if better else best
                target[i] = sign * (best - size)


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
def harden(plane, delta, scale, steps, limit, cost, least, margin, first, last, out):
    """Write ``scale * delta`` with its coefficients pushed over quantisers' thresholds into ``out``.

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
            push_blocks(x, d, scale, steps, limit, cost, least, margin, change)
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
