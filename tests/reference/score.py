"""Twins of ``fastmark.kernels.score``."""

import numpy as np

from reference.dct import forward_blocks, idct_row, inverse_columns


def score_blocks(x, floor, limit, gain):
    size = np.abs(x.astype(np.float64))
    size[0, 0] = size[1, 1]
    padded = np.pad(size, ((1, 1), (1, 1), (0, 0)), mode="edge")
    mean = sum(padded[du : du + 8, dv : dv + 8] for du in range(3) for dv in range(3)) / 9
    v = np.hypot(1.25 * mean, floor)
    score = gain * np.clip(x / v, -limit, limit) / v
    score[0, 0] = 0
    return score


def add_scores(plane, oy, ox, floor, limit, gain):
    height, width = plane.shape
    n_rows, n = -(-(height + oy) // 8), -(-(width + ox) // 8)
    rows = []
    for by in range(n_rows):
        scored = score_blocks(forward_blocks(plane, 8 * by - oy, ox, n), floor, limit, gain)
        rows += [idct_row(inverse_columns(scored), y) for y in range(8)]
    return np.array(rows)[oy : oy + height, ox : ox + width]
