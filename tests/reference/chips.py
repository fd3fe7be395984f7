"""Twins of ``fastmark.kernels.blocks``."""

import numpy as np


def forward_dct(plane, basis, rows, columns, y0, x0, n_rows, n_columns):
    side = basis.shape[1]
    out = np.empty((len(rows), n_rows, n_columns))
    for c, by, bx in np.ndindex(out.shape):
        block = plane[y0 + side * by :, x0 + side * bx :][:side, :side].astype(np.float64)
        out[c, by, bx] = basis[rows[c]] @ block @ basis[columns[c]]
    return out


def add_inverse_dct(chips, basis, rows, columns, y0, x0, shape):
    side = basis.shape[1]
    added = np.zeros(shape)
    for c, by, bx in np.ndindex(chips.shape):
        wave = np.outer(basis[rows[c]].astype(np.float64), basis[columns[c]])
        added[y0 + side * by :, x0 + side * bx :][:side, :side] += chips[c, by, bx] * wave
    return added


def spread_waves(a0, a1, a2, a3, basis):
    waves = np.stack([a0, a1, a2, a3], axis=1).astype(np.float64)
    return (waves @ basis).ravel()


def whole_blocks(inside, side):
    n_rows, n_columns = (n // side for n in inside.shape)
    blocks = inside[: n_rows * side, : n_columns * side].reshape(n_rows, side, n_columns, side)
    return (blocks == 1).all(axis=(1, 3))


def fold_chips(coefficients, mask, gy, gx, grid):
    added = np.zeros((coefficients.shape[0], grid, grid))
    for c, y, x in np.ndindex(coefficients.shape):
        added[c, (gy + y) % grid, (gx + x) % grid] += float(mask[y, x]) * coefficients[c, y, x]
    return added


def soft_bits(folded, signs, code_bit, n_bits):
    out = np.zeros((2, n_bits + 1))
    for j in range(n_bits + 1):
        carries = code_bit == (j if j < n_bits else -1)
        z = folded[carries].astype(np.float64)
        out[:, j] = (signs[carries] * z).sum(), (z**2).sum()
    return out


def sum_anchors(statistics, anchors, places):
    """``anchors`` of one turn round the torus, ``(n, G, G)``."""
    grid, totals = anchors.shape[1], np.zeros(len(places))
    for c, y, x in np.ndindex(statistics.shape):
        for i, (gy, gx) in enumerate(places):
            totals[i] += float(statistics[c, y, x]) * anchors[c, (y + gy) % grid, (x + gx) % grid]
    return totals


def code_signs(signs, code_bit, bits):
    return signs.astype(np.float64) * bits[np.where(code_bit < 0, bits.size - 1, code_bit)]


def sum_known(coefficients, signs, code_bit, bits, gy, gx):
    grid = signs.shape[1]
    places = [np.arange(n) + at for n, at in zip(coefficients.shape[1:], (gy, gx), strict=True)]
    seen = np.ix_(np.arange(len(signs)), *(place % grid for place in places))
    products = coefficients * code_signs(signs, code_bit, bits)[seen]
    return products.sum(), (products**2).sum()


def known_row(signs, code_bit, bits, first, n):
    return np.resize(np.roll(code_signs(signs, code_bit, bits), -first), n)


def chip_amplitudes(mask, gain, signs, code_bit, bits, bound, depth, flags, flag, content, gy, gx):
    grid = signs.shape[1]
    out = np.empty((signs.shape[0], *mask.shape))
    for c, y, x in np.ndindex(out.shape):
        place = c, (gy + y) % grid, (gx + x) % grid
        j = code_bit[place] if code_bit[place] >= 0 else bits.size - 1
        factor = 1 + flag * float(flags[place]) + depth * float(bound[place]) * float(content[y, x])
        out[c, y, x] = factor * signs[place] * bits[j] * gain * mask[y, x]
    return out


def draw_pilot(pilot, oy, ox, gain, cells, shape):
    y, x = np.indices(shape)
    tone = pilot[(y + oy) % pilot.shape[0], (x + ox) % pilot.shape[1]].astype(np.float64)
    return gain * tone * cells[y // 2, x // 2]
