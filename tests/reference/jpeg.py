"""Twins of ``fastmark.kernels.quantiser``."""

import numpy as np

from fastmark.kernels.jpeg import PUSHED
from reference.dct import forward_blocks, idct_row, inverse_columns


def _next_move(host, up, step, margin):
    """Thresholds lie half-way between multiples of the step; on one, the multiple above is the nearest."""
    nearest = np.floor(host / step + 0.5)
    threshold = (nearest + (0.5 if up else -0.5)) * step
    return abs(threshold - host) + margin


def _worth(move, moves, steps, cost):
    gains = [step**2 for passed, step in zip(moves, steps, strict=True) if passed <= move]
    return sum(gains) / len(steps) - cost * move**2


def push_blocks(x, d, scale, steps, limit, cost, least, margin):
    change = np.zeros(d.shape)
    for u, v, i in np.ndindex(PUSHED, PUSHED, d.shape[2]):
        delta = float(scale) * float(d[u, v, i])
        size, up = abs(delta), delta >= 0
        of = [float(step) for step in steps[:, u, v]]
        moves = [_next_move(float(x[u, v, i]), up, step, margin) for step in of]
        near = [move for move in moves if size >= least and size < move <= limit * size]
        best = max([size, *near], key=lambda move: _worth(move, moves, of, cost))
        change[u, v, i] = (best if up else -best) - delta
    change[0, 0] = 0
    return change


def _by_rows_of_blocks(plane, transform):
    """Add to each row of whole blocks what ``transform`` makes of its coefficients; the rest is copied."""
    out = plane.astype(np.float64)
    n = plane.shape[1] // 8
    for y0 in range(0, plane.shape[0] // 8 * 8, 8):
        columns = inverse_columns(transform(y0, n))
        for y in range(8):
            out[y0 + y, : 8 * n] += idct_row(columns, y)
    return out


def quantise(plane, steps):
    def errors(y0, n):
        x = forward_blocks(plane[:, : 8 * n], y0, 0, n)
        step = steps.T[:, :, None].astype(np.float64)  # JPEG's table is [v, u]
        return np.floor(x / step + 0.5) * step - x

    return _by_rows_of_blocks(plane, errors)


def harden(plane, delta, scale, steps, limit, cost, least, margin):
    def changes(y0, n):
        host, mark = (forward_blocks(p[:, : 8 * n], y0, 0, n) for p in (plane, delta))
        return push_blocks(host, mark, scale, steps, limit, cost, least, margin)

    return _by_rows_of_blocks(scale * delta.astype(np.float64), changes)
