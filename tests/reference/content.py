"""Twins of ``fastmark.kernels.content``."""

import numpy as np


def mean_of_nine(means, inside):
    out = np.zeros(means.shape)
    for y, x in np.ndindex(means.shape):
        near = np.s_[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
        seen = means[near][inside[near] == 1].astype(np.float64)
        out[y, x] = seen.mean() if seen.size else 0
    return out


def block_ranges(plane):
    n_rows, n_columns = (n // 4 for n in plane.shape)
    blocks = plane[: 4 * n_rows, : 4 * n_columns].reshape(n_rows, 4, n_columns, 4)
    return np.ptp(blocks, axis=(1, 3))


def compare_blocks(around, inside, offsets, partners, gy, gx, scale):
    out = np.zeros(around.shape)
    for y, x in np.ndindex(around.shape):
        j, i = (y, x) + offsets[partners[(gy + y) % len(partners), (gx + x) % len(partners)]]
        if 0 <= j < around.shape[0] and 0 <= i < around.shape[1] and inside[y, x] and inside[j, i]:
            out[y, x] = np.clip((float(around[y, x]) - around[j, i]) * scale, -1, 1)
    return out


def sum_parts(folded, known, weights, signs, flags, withheld):
    x, followed, twice = folded.astype(np.float64) * (known.astype(np.float64) * weights)
    terms = [x, x**2, signs * followed, twice, followed**2, *(of_class * x for of_class in flags)]
    return np.array([[term[:, part].sum() for term in terms] for part in (~withheld, withheld)])


def sum_disclosed(x, known):
    terms = np.stack([x * known.astype(np.float64), (x * known.astype(np.float64)) ** 2])
    return terms.sum(axis=1), terms.sum(axis=(2, 3))


def sum_around(values, reach):
    steps = range(-reach, reach + 1)
    return sum(np.roll(values.astype(np.float64), (dy, dx), axis=(0, 1)) for dy in steps for dx in steps)
