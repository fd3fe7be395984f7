"""Kernels that resample a plane onto the grid of units."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastmark.kernels._jit import inline, kernel

PHASES = 256


def cubic_table() -> NDArray[np.float32]:
    """Weights of Keys' cubic convolution (1981, a = -1/2) at 256 phases: float32 ``(257, 4)``."""
    t = np.arange(PHASES + 1)[:, None] / PHASES
    d = np.abs(t - np.array([-1, 0, 1, 2]))
    near = 1.5 * d**3 - 2.5 * d**2 + 1
    far = -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2
    weights: NDArray[np.float64] = np.where(d <= 1, near, far)
    return weights.astype(np.float32)


@inline
def _cubic(source, table, y, x):
    """Value of ``source`` at ``(y, x)``, edges repeated."""
    height, width = source.shape
    y0, x0 = int(np.floor(y)), int(np.floor(x))
    wy = table[int((y - y0) * 256 + 0.5)]
    wx = table[int((x - x0) * 256 + 0.5)]
    total = np.float32(0)
    if y0 >= 1 and y0 + 2 < height and x0 >= 1 and x0 + 2 < width:
        for i in range(4):
            row = source[y0 - 1 + i]
            total += wy[i] * (
                (wx[0] * row[x0 - 1] + wx[1] * row[x0]) + (wx[2] * row[x0 + 1] + wx[3] * row[x0 + 2])
            )
    else:
        for i in range(4):
            row = source[min(max(y0 - 1 + i, 0), height - 1)]
            for j in range(4):
                total += wy[i] * wx[j] * row[min(max(x0 - 1 + j, 0), width - 1)]
    return total


@kernel
def warp_plane(source, table, matrix, offset, field, spacing, out, inside):
    """Sample ``source`` at ``matrix @ (i, j) + offset + field`` for every unit ``(i, j)`` of ``out``.

    ``matrix`` (2 x 2) and ``offset`` (2,) in (y, x) order and samples of ``source``. ``field`` float32
    ``(gy, gx, 2)`` holds displacements at every ``spacing`` units, interpolated bilinearly; one of 2 x 2
    nodes stands for none.
    ``inside[i, j]`` (uint8) tells whether the place lies within the source; others repeat its edge.
    """
    height, width = source.shape
    n_rows, n_columns = out.shape
    last_y, last_x = field.shape[0] - 2, field.shape[1] - 2
    bent = field.size > 8
    for i in range(n_rows):
        fy = min(int(i / spacing), last_y)
        ty = np.float32(i / spacing - fy)
        for j in range(n_columns):
            y = matrix[0, 0] * i + matrix[0, 1] * j + offset[0]
            x = matrix[1, 0] * i + matrix[1, 1] * j + offset[1]
            if bent:
                fx = min(int(j / spacing), last_x)
                tx = np.float32(j / spacing - fx)
                a = (1 - ty) * (1 - tx)
                b = (1 - ty) * tx
                c = ty * (1 - tx)
                d = ty * tx
                y += a * field[fy, fx, 0] + b * field[fy, fx + 1, 0]
                y += c * field[fy + 1, fx, 0] + d * field[fy + 1, fx + 1, 0]
                x += a * field[fy, fx, 1] + b * field[fy, fx + 1, 1]
                x += c * field[fy + 1, fx, 1] + d * field[fy + 1, fx + 1, 1]
            if y < -0.5 or x < -0.5 or y > height - 0.5 or x > width - 0.5:
                inside[i, j] = 0
                y = min(max(y, -0.5), height - 0.5)
                x = min(max(x, -0.5), width - 0.5)
            else:
                inside[i, j] = 1
            out[i, j] = _cubic(source, table, y, x)


@kernel
def fold_torus(x, inside, sy, sx, out):
    """Add ``x`` ``(H, W)`` where ``inside`` is 1 to ``out`` at ``(i + sy, j + sx)``, modulo its shape."""
    n_rows, n_columns = out.shape
    width = x.shape[1]
    for i in range(x.shape[0]):
        target = out[(i + sy) % n_rows]
        j, at = 0, sx % n_columns
        while j < width:
            run = min(n_columns - at, width - j)
            source, mask, part = x[i, j : j + run], inside[i, j : j + run], target[at : at + run]
            for k in range(run):
                part[k] += source[k] * np.float32(mask[k])
            j += run
            at = 0


@kernel
def halve(plane, out):
    """Write ``plane`` at half its resolution into ``out`` ``(H // 2, W // 2)``, float32.

    Sample (y, x) lies between samples 2 y and 2 y + 1; its weights each way are 1/8, 3/8, 3/8, 1/8 (a
    quadratic B-spline): less folds back from beyond the new Nyquist frequency than with a mean of two. Edges
    are repeated.
    """
    height, width = plane.shape
    outer, inner = np.float32(0.125), np.float32(0.375)
    line = np.empty(width + 2, np.float32)
    for y in range(out.shape[0]):
        a, b = plane[max(2 * y - 1, 0)], plane[2 * y]
        c, d = plane[2 * y + 1], plane[min(2 * y + 2, height - 1)]
        for x in range(width):
            line[x + 1] = outer * (a[x] + d[x]) + inner * (b[x] + c[x])
        line[0], line[width + 1] = line[1], line[width]
        target = out[y]
        for x in range(target.size):
            target[x] = outer * (line[2 * x] + line[2 * x + 3]) + inner * (line[2 * x + 1] + line[2 * x + 2])
