"""Twins of ``fastmark.kernels.blocks``."""

import numpy as np


def forward_dct(plane, basis, rows, columns, y0, x0, n_rows, n_columns):
    out = np.empty((len(rows), n_rows, n_columns))
    for c, by, bx in np.ndindex(out.shape):
        block = plane[y0 + 8 * by :, x0 + 8 * bx :][:8, :8].astype(np.float64)
        out[c, by, bx] = basis[rows[c]] @ block @ basis[columns[c]]
    return out


def add_inverse_dct(chips, basis, rows, columns, y0, x0, shape):
    added = np.zeros(shape)
    for c, by, bx in np.ndindex(chips.shape):
        wave = np.outer(basis[rows[c]].astype(np.float64), basis[columns[c]])
        added[y0 + 8 * by :, x0 + 8 * bx :][:8, :8] += chips[c, by, bx] * wave
    return added


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


def chip_amplitudes(mask, gain, signs, code_bit, bits, gy, gx):
    grid = signs.shape[1]
    out = np.empty((signs.shape[0], *mask.shape))
    for c, y, x in np.ndindex(out.shape):
        place = c, (gy + y) % grid, (gx + x) % grid
        j = code_bit[place] if code_bit[place] >= 0 else bits.size - 1
        out[c, y, x] = signs[place] * bits[j] * gain * mask[y, x]
    return out
