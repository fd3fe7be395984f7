"""Twins of ``fastmark.kernels.warp``."""

import numpy as np

PHASES = 256


def _keys(d):
    """Keys' cubic convolution kernel (1981), a = -1/2."""
    d = np.abs(d)
    near = 1.5 * d**3 - 2.5 * d**2 + 1
    far = -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2
    return np.select([d <= 1, d < 2], [near, far], 0.0)


def _interpolate(source, y, x):
    """Value at ``(y, x)`` rounded to a 256th of a sample, edges repeated."""
    y, x = (np.floor(at * PHASES + 0.5) / PHASES for at in (y, x))
    rows, columns = (int(np.floor(at)) + np.arange(-1, 3) for at in (y, x))
    height, width = source.shape
    near = source[np.ix_(rows.clip(0, height - 1), columns.clip(0, width - 1))].astype(np.float64)
    return _keys(y - rows) @ near @ _keys(x - columns)


def _displacement(field, spacing, i, j):
    """Bilinear between the nodes, one at every ``spacing`` units."""
    total = np.zeros(2)
    for node in np.ndindex(field.shape[:2]):
        near_y, near_x = (1 - abs(at / spacing - n) for at, n in zip((i, j), node, strict=True))
        total += max(near_y, 0) * max(near_x, 0) * field[node]
    return total


def warp_plane(source, matrix, offset, field, spacing, shape):
    """Return the samples and whether each place lies within the source."""
    out, inside = np.empty(shape), np.empty(shape, np.uint8)
    limits = np.array(source.shape) - 0.5
    for i, j in np.ndindex(shape):
        at = matrix @ (i, j) + offset + _displacement(field, spacing, i, j)
        inside[i, j] = np.all(at >= -0.5) and np.all(at <= limits)
        out[i, j] = _interpolate(source, *np.clip(at, -0.5, limits))
    return out, inside


def fold_torus(x, inside, sy, sx, shape):
    added = np.zeros(shape)
    for i, j in zip(*np.nonzero(inside), strict=True):
        added[(i + sy) % shape[0], (j + sx) % shape[1]] += x[i, j]
    return added


def halve(plane):
    height, width = plane.shape
    weights = np.array([1, 3, 3, 1]) / 8
    out = np.zeros((height // 2, width // 2))
    for y, x in np.ndindex(out.shape):
        rows = np.clip(np.arange(2 * y - 1, 2 * y + 3), 0, height - 1)
        columns = np.clip(np.arange(2 * x - 1, 2 * x + 3), 0, width - 1)
        out[y, x] = weights @ plane[np.ix_(rows, columns)].astype(np.float64) @ weights
    return out
