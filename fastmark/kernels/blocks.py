"""Kernels over 8 x 8 blocks: the chips' DCT coefficients, soft bits, and back."""

from __future__ import annotations

import numpy as np

from fastmark.kernels._jit import kernel


@kernel
def forward_dct(plane, basis, rows, columns, y0, x0, out):
    """Write the chip coefficients of every block of ``plane`` from ``(y0, x0)`` on into ``out``.

    ``out[c, by, bx] = sum_yx basis[rows[c], y] basis[columns[c], x] plane[y0 + 8 by + y, x0 + 8 bx + x]``
    float32 ``(10, BY, BX)``; ``basis`` is ``(4, 8)``.
    """
    n_coefficients, n_rows, n_columns = out.shape
    vertical = np.empty((4, 8 * n_columns), np.float32)
    for by in range(n_rows):
        vertical[:] = 0
        for y in range(8):
            line = plane[y0 + 8 * by + y, x0 : x0 + 8 * n_columns]
            for v in range(4):
                weight = basis[v, y]
                target = vertical[v]
                for x in range(target.size):
                    target[x] += weight * line[x]
        for c in range(n_coefficients):
            line, weights, target = vertical[rows[c]], basis[columns[c]], out[c, by]
            w0, w1, w2, w3 = weights[0], weights[1], weights[2], weights[3]
            w4, w5, w6, w7 = weights[4], weights[5], weights[6], weights[7]
            for bx in range(n_columns):
                i = 8 * bx
                target[bx] = ((w0 * line[i] + w1 * line[i + 1]) + (w2 * line[i + 2] + w3 * line[i + 3])) + (
                    (w4 * line[i + 4] + w5 * line[i + 5]) + (w6 * line[i + 6] + w7 * line[i + 7])
                )


@kernel
def add_inverse_dct(chips, basis, rows, columns, y0, x0, plane):
    """Add the blocks whose only coefficients are ``chips`` ``(10, BY, BX)`` to ``plane`` from ``(y0, x0)``.

    The transpose of :func:`forward_dct`, and its inverse on the coefficients named.
    """
    n_coefficients, n_rows, n_columns = chips.shape
    horizontal = np.empty((4, 8 * n_columns), np.float32)
    for by in range(n_rows):
        horizontal[:] = 0
        for c in range(n_coefficients):
            weights, line, target = basis[columns[c]], chips[c, by], horizontal[rows[c]]
            for bx in range(n_columns):
                value = line[bx]
                for x in range(8):
                    target[8 * bx + x] += weights[x] * value
        for y in range(8):
            target = plane[y0 + 8 * by + y, x0 : x0 + 8 * n_columns]
            b0, b1, b2, b3 = basis[0, y], basis[1, y], basis[2, y], basis[3, y]
            for x in range(target.size):
                target[x] += (b0 * horizontal[0, x] + b1 * horizontal[1, x]) + (
                    b2 * horizontal[2, x] + b3 * horizontal[3, x]
                )


@kernel
def fold_chips(coefficients, mask, gy, gx, out):
    """Add the chips' statistics to their places on the torus, ``out`` ``(10, G, G)``.

    ``coefficients`` is ``(10, BY, BX)``, ``mask`` ``(BY, BX)`` a factor of each block (zero leaves it out);
    block (0, 0) lies at ``(gy, gx)`` of the grid, 0 <= gy, gx < G. A plane beyond the torus comes back to the
    same chips: they must be summed before they are squared, for their signs are not independent.
    """
    n_coefficients, n_rows, n_columns = coefficients.shape
    grid = out.shape[1]
    for c in range(n_coefficients):
        for y in range(n_rows):
            target = out[c, (gy + y) % grid]
            x = 0
            tx = gx
            while x < n_columns:
                run = min(grid - tx, n_columns - x)
                for i in range(run):
                    target[tx + i] += coefficients[c, y, x + i] * mask[y, x + i]
                x += run
                tx = 0


@kernel
def soft_bits(folded, signs, code_bit, out):
    """Sum the chips of each code bit into ``out`` float64 ``(2, 1025)``; slot 1024 takes the anchors.

    Rows: ``sum s z`` and ``sum z^2`` over the statistics z ``folded`` ``(10, G, G)``.
    """
    n_coefficients, n_rows, n_columns = folded.shape
    n_bits = out.shape[1] - 1
    out[:] = 0
    for c in range(n_coefficients):
        for y in range(n_rows):
            for x in range(n_columns):
                z = folded[c, y, x]
                j = code_bit[c, y, x]
                if j < 0:
                    j = n_bits
                out[0, j] += signs[c, y, x] * z
                out[1, j] += z * z


@kernel
def chip_amplitudes(mask, gain, signs, code_bit, bits, gy, gx, out):
    """Write the chips ``gain * m * s * bits[j]`` into ``out`` ``(10, BY, BX)``.

    ``mask`` is ``(BY, BX)``; ``bits`` float32 ``(1025,)``: the code bits as signs, slot 1024 the anchors'
    +1; block (0, 0) lies at ``(gy, gx)`` of the torus' grid.
    """
    n_coefficients, n_rows, n_columns = out.shape
    grid = signs.shape[1]
    n_bits = bits.size - 1
    for c in range(n_coefficients):
        for y in range(n_rows):
            ty = (gy + y) % grid
            for x in range(n_columns):
                tx = (gx + x) % grid
                j = code_bit[c, ty, tx]
                if j < 0:
                    j = n_bits
                out[c, y, x] = signs[c, ty, tx] * bits[j] * gain * mask[y, x]
