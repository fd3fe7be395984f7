"""Twins of ``fastmark.kernels.score``."""

import numpy as np

from reference.dct import forward_blocks, inverse_blocks, load_blocks, store_blocks


def score_blocks(x, floor, limit):
    size = np.abs(x.astype(np.float64))
    size[0, 0] = size[1, 1]
    padded = np.pad(size, ((1, 1), (1, 1), (0, 0)), mode="edge")
    mean = sum(padded[dv : dv + 8, du : du + 8] for dv in range(3) for du in range(3)) / 9
    v = np.hypot(1.25 * mean, floor)
    score = np.clip(x / v, -limit, limit) / v
    score[0, 0] = 0
    return score


def add_scores(plane, oy, ox, floor, limit, gain):
    height, width = plane.shape
    n_rows, n = -(-(height + oy) // 8), -(-(width + ox) // 8)
    rows = []
    for by in range(n_rows):
        coefficients = forward_blocks(load_blocks(plane, 8 * by - oy, ox, n))
        rows.append(store_blocks(inverse_blocks(score_blocks(coefficients, floor, limit))))
    return gain * np.concatenate(rows)[oy : oy + height, ox : ox + width]
