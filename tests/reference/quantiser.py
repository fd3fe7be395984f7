"""Twins of ``fastmark.kernels.quantiser``."""

import numpy as np

from reference.dct import forward_blocks, inverse_blocks, load_blocks, store_blocks


def push_blocks(x, d, steps, least, limit, margin):
    """Thresholds lie half-way between multiples of the step; on one, the multiple above is the nearest."""
    pushed = d.astype(np.float64)
    for v, u, i in np.ndindex(d.shape):
        size, up = abs(float(d[v, u, i])), d[v, u, i] >= 0
        step, host = float(steps[v, u]), float(x[v, u, i])
        nearest = np.floor(host / step + 0.5)
        threshold = (nearest + (0.5 if up else -0.5)) * step
        move = abs(threshold - host) + margin
        if (v, u) != (0, 0) and size >= least and size < move <= limit * size:
            pushed[v, u, i] = move if up else -move
    return pushed


def _by_rows_of_blocks(plane, transform):
    """Replace each row of whole blocks; the rest is copied."""
    out = plane.astype(np.float64)
    n = plane.shape[1] // 8
    for y0 in range(0, plane.shape[0] // 8 * 8, 8):
        out[y0 : y0 + 8, : 8 * n] = store_blocks(inverse_blocks(transform(y0, n)))
    return out


def quantise(plane, steps):
    def rounded(y0, n):
        multiples = forward_blocks(load_blocks(plane, y0, 0, n)) / steps[:, :, None]
        return np.floor(multiples + 0.5) * steps[:, :, None]

    return _by_rows_of_blocks(plane, rounded)


def harden(plane, delta, steps, least, limit, margin):
    def pushed(y0, n):
        host, mark = (forward_blocks(load_blocks(p, y0, 0, n)) for p in (plane, delta))
        return push_blocks(host, mark, steps, least, limit, margin)

    return _by_rows_of_blocks(delta, pushed)
