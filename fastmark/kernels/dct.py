"""Kernels of the 8 x 8 DCT over rows of blocks, laid out ``[u, v, block]`` so that blocks run in vectors.

u is the horizontal frequency, or place; v the vertical one. Horizontal transforms read and write a row of
pixels, eight to a block: all eight in one loop, so that the compiler turns them into wide loads and shuffles.
"""

from __future__ import annotations

import math

import numpy as np

from fastmark.kernels._jit import copy_line, inline, kernel

VECTOR = 16
"""Blocks in the widest vectors."""

# Orthonormal DCT-II of length 8 (Ahmed, Natarajan & Rao 1974) in its even and odd halves: cos(i pi / 16) / 2.
C1, C2, C3, C4, C5, C6, C7 = (np.float32(math.cos(i * math.pi / 16) / 2) for i in range(1, 8))


@inline
def _transformed(a0, a1, a2, a3, a4, a5, a6, a7):
    """Return the eight coefficients of eight samples."""
    s0, s1, s2, s3 = a0 + a7, a1 + a6, a2 + a5, a3 + a4
    d0, d1, d2, d3 = a0 - a7, a1 - a6, a2 - a5, a3 - a4
    return (
        C4 * ((s0 + s3) + (s1 + s2)),
        (C1 * d0 + C3 * d1) + (C5 * d2 + C7 * d3),
        C2 * (s0 - s3) + C6 * (s1 - s2),
        (C3 * d0 - C7 * d1) - (C1 * d2 + C5 * d3),
        C4 * ((s0 + s3) - (s1 + s2)),
        (C5 * d0 - C1 * d1) + (C7 * d2 + C3 * d3),
        C6 * (s0 - s3) - C2 * (s1 - s2),
        (C7 * d0 - C5 * d1) + (C3 * d2 - C1 * d3),
    )


@inline
def _restored(a0, a1, a2, a3, a4, a5, a6, a7):
    """Invert :func:`_transformed`."""
    p, q = C4 * (a0 + a4), C4 * (a0 - a4)
    r, s = C2 * a2 + C6 * a6, C6 * a2 - C2 * a6
    s0, s1, s2, s3 = p + r, q + s, q - s, p - r
    d0 = (C1 * a1 + C3 * a3) + (C5 * a5 + C7 * a7)
    d1 = (C3 * a1 - C7 * a3) - (C1 * a5 + C5 * a7)
    d2 = (C5 * a1 - C1 * a3) + (C7 * a5 + C3 * a7)
    d3 = (C7 * a1 - C5 * a3) + (C3 * a5 - C1 * a7)
    return s0 + d0, s1 + d1, s2 + d2, s3 + d3, s3 - d3, s2 - d2, s1 - d1, s0 - d0


@kernel
def dct8(a, out):
    """Transform ``a`` along its first axis, of length 8: float32 ``(8, n)`` -> ``out`` ``(8, n)``."""
    a0, a1, a2, a3, a4, a5, a6, a7 = a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7]
    b0, b1, b2, b3, b4, b5, b6, b7 = out[0], out[1], out[2], out[3], out[4], out[5], out[6], out[7]
    for i in range(a.shape[1]):
        b0[i], b1[i], b2[i], b3[i], b4[i], b5[i], b6[i], b7[i] = _transformed(
            a0[i], a1[i], a2[i], a3[i], a4[i], a5[i], a6[i], a7[i]
        )


@kernel
def idct8(a, out):
    """Invert :func:`dct8`: float32 ``(8, n)`` -> ``out`` ``(8, n)``."""
    a0, a1, a2, a3, a4, a5, a6, a7 = a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7]
    b0, b1, b2, b3, b4, b5, b6, b7 = out[0], out[1], out[2], out[3], out[4], out[5], out[6], out[7]
    for i in range(a.shape[1]):
        b0[i], b1[i], b2[i], b3[i], b4[i], b5[i], b6[i], b7[i] = _restored(
            a0[i], a1[i], a2[i], a3[i], a4[i], a5[i], a6[i], a7[i]
        )


@kernel
def dct_row(line, y, out):
    """Transform a row of pixels, float32 ``(8 n,)``, horizontally into ``out[:, y]``, ``out`` ``(8, 8, n)``.

    As :func:`dct8`, of eight neighbours in place of eight rows.
    """
    b0, b1, b2, b3, b4, b5, b6, b7 = (
        out[0, y], out[1, y], out[2, y], out[3, y], out[4, y], out[5, y], out[6, y], out[7, y]
    )  # fmt: skip
    for i in range(out.shape[2]):
        j = 8 * i
        b0[i], b1[i], b2[i], b3[i], b4[i], b5[i], b6[i], b7[i] = _transformed(
            line[j], line[j + 1], line[j + 2], line[j + 3], line[j + 4], line[j + 5], line[j + 6], line[j + 7]
        )


@kernel
def idct_row(a, y, line):
    """Invert :func:`dct_row`: ``a[:, y]``, ``a`` ``(8, 8, n)``, into a row of pixels ``(8 n,)``."""
    a0, a1, a2, a3, a4, a5, a6, a7 = a[0, y], a[1, y], a[2, y], a[3, y], a[4, y], a[5, y], a[6, y], a[7, y]
    for i in range(a.shape[2]):
        j = 8 * i
        line[j], line[j + 1], line[j + 2], line[j + 3], line[j + 4], line[j + 5], line[j + 6], line[j + 7] = (
            _restored(a0[i], a1[i], a2[i], a3[i], a4[i], a5[i], a6[i], a7[i])
        )


@kernel
def forward_blocks(plane, y0, ox, line, scratch, out):
    """Transform the row of blocks from plane row ``y0`` on: ``out[u, v, i]`` ``(8, 8, n)``.

    Block i starts at column ``8 i - ox``; beyond the plane its edge is repeated. ``line`` ``(8 n,)`` and
    ``scratch`` like ``out`` are scratch.
    """
    height, width = plane.shape
    for y in range(8):
        source = plane[min(max(y0 + y, 0), height - 1)]
        n = min(width, line.size - ox)
        line[:ox] = source[0]
        copy_line(source, line[ox : ox + n])
        line[ox + n :] = source[width - 1]
        dct_row(line, y, scratch)
    for u in range(8):
        dct8(scratch[u], out[u])


@kernel
def inverse_columns(a, out):
    """Transform coefficients ``a[u, v, i]`` ``(8, 8, n)`` back vertically; :func:`idct_row` does the rest."""
    for u in range(8):
        idct8(a[u], out[u])
