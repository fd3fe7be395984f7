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


def coefficient_spread(coefficients, cap):
    size = np.minimum(np.abs(coefficients.astype(np.float64)), cap)
    mixed = (size + size.mean(axis=0)) / 2
    out = np.empty_like(mixed)
    for c, y, x in np.ndindex(out.shape):
        out[c, y, x] = 1.25 * mixed[c, max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2].mean()
    return out


def fold_chips(coefficients, spread, mask, floor, gy, gx, grid):
    out, energy = np.zeros((2, coefficients.shape[0], grid, grid))
    v = np.sqrt(spread.astype(np.float64) ** 2 + floor**2)
    w = mask / v
    statistic = w * np.clip(coefficients / v, -2, 2)
    for c, y, x in np.ndindex(coefficients.shape):
        place = c, (gy + y) % grid, (gx + x) % grid
        out[place] += statistic[c, y, x]
        energy[place] += w[c, y, x] ** 2
    return out, energy


def soft_bits(folded, energy, signs, code_bit, n_bits):
    out = np.zeros((3, n_bits + 1))
    for j in range(n_bits + 1):
        carries = code_bit == (j if j < n_bits else -1)
        z = folded[carries].astype(np.float64)
        out[:, j] = (signs[carries] * z).sum(), energy[carries].sum(dtype=np.float64), (z**2).sum()
    return out


def chip_amplitudes(mask, gain, signs, code_bit, bit_gain, gy, gx):
    grid = signs.shape[1]
    out = np.empty((signs.shape[0], *mask.shape))
    for c, y, x in np.ndindex(out.shape):
        place = c, (gy + y) % grid, (gx + x) % grid
        j = code_bit[place] if code_bit[place] >= 0 else bit_gain.size - 1
        out[c, y, x] = signs[place] * bit_gain[j] * gain * mask[y, x]
    return out
