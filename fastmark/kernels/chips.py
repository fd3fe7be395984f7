"""Kernels over 8 x 8 blocks: the chips' DCT coefficients, soft bits, and back."""

from __future__ import annotations

import numpy as np

from fastmark.kernels._jit import copy_line, kernel


@kernel
def forward_dct(plane, basis, rows, columns, y0, x0, out):
    """Write the chip coefficients of every block of ``plane`` from ``(y0, x0)`` on into ``out``.

    ``out[c, by, bx] = sum_yx basis[rows[c], y] basis[columns[c], x] plane[y0 + n by + y, x0 + n bx + x]``
    float32 ``(10, BY, BX)``; ``basis`` is ``(4, n)``, n = 4 or 8 the side of a block.
    """
    n_coefficients, n_rows, n_columns = out.shape
    side = basis.shape[1]
    vertical = np.empty((4, side * n_columns), np.float32)
    for by in range(n_rows):
        vertical[:] = 0
        for y in range(side):
            line = plane[y0 + side * by + y, x0 : x0 + side * n_columns]
            for v in range(4):
                weight = basis[v, y]
                target = vertical[v]
                for x in range(target.size):
                    target[x] += weight * line[x]
        for c in range(n_coefficients):
            line, w, target = vertical[rows[c]], basis[columns[c]], out[c, by]
            w0, w1, w2, w3 = w[0], w[1], w[2], w[3]
            if side == 4:
                for bx in range(n_columns):
                    i = 4 * bx
                    target[bx] = (w0 * line[i] + w1 * line[i + 1]) + (w2 * line[i + 2] + w3 * line[i + 3])
                continue
            w4, w5, w6, w7 = w[4], w[5], w[6], w[7]
            for bx in range(n_columns):
                i = 8 * bx
                target[bx] = ((w0 * line[i] + w1 * line[i + 1]) + (w2 * line[i + 2] + w3 * line[i + 3])) + (
                    (w4 * line[i + 4] + w5 * line[i + 5]) + (w6 * line[i + 6] + w7 * line[i + 7])
                )


@kernel
def add_inverse_dct(chips, basis, rows, columns, y0, x0, plane):
    """Add the blocks whose only coefficients are ``chips`` ``(10, BY, BX)`` to ``plane`` from ``(y0, x0)``.

    The transpose of :func:`forward_dct`, and with blocks of 8 its inverse on the coefficients named.
    """
    n_coefficients, n_rows, n_columns = chips.shape
    side = basis.shape[1]
    horizontal = np.empty((4, side * n_columns), np.float32)
    waves = np.empty((4, 4, n_columns), np.float32)  # by vertical and horizontal frequency
    waves[:] = 0
    for by in range(n_rows):
        for c in range(n_coefficients):
            copy_line(chips[c, by], waves[rows[c], columns[c]])
        for v in range(4):
            a0, a1, a2, a3, target = waves[v, 0], waves[v, 1], waves[v, 2], waves[v, 3], horizontal[v]
            if side == 8:
                spread_waves(a0, a1, a2, a3, basis, target)
                continue
            for x in range(side):
                b0, b1, b2, b3 = basis[0, x], basis[1, x], basis[2, x], basis[3, x]
                for bx in range(n_columns):
                    target[side * bx + x] = (b0 * a0[bx] + b1 * a1[bx]) + (b2 * a2[bx] + b3 * a3[bx])
        for y in range(side):
            target = plane[y0 + side * by + y, x0 : x0 + side * n_columns]
            b0, b1, b2, b3 = basis[0, y], basis[1, y], basis[2, y], basis[3, y]
            h0, h1, h2, h3 = horizontal[0], horizontal[1], horizontal[2], horizontal[3]
            for x in range(target.size):
                target[x] += (b0 * h0[x] + b1 * h1[x]) + (b2 * h2[x] + b3 * h3[x])


@kernel
def spread_waves(a0, a1, a2, a3, basis, row):
    """Write ``sum_u basis[u, x] a_u[i]`` to ``row[8 i + x]``.

    ``basis`` is ``(4, 8)``; its rows are symmetric for even u, antisymmetric for odd u.
    """
    b00, b01, b02, b03 = basis[0, 0], basis[0, 1], basis[0, 2], basis[0, 3]
    b10, b11, b12, b13 = basis[1, 0], basis[1, 1], basis[1, 2], basis[1, 3]
    b20, b21, b22, b23 = basis[2, 0], basis[2, 1], basis[2, 2], basis[2, 3]
    b30, b31, b32, b33 = basis[3, 0], basis[3, 1], basis[3, 2], basis[3, 3]
    for i in range(a0.size):
        p, q, r, s = a0[i], a1[i], a2[i], a3[i]
        e0, e1, e2, e3 = b00 * p + b20 * r, b01 * p + b21 * r, b02 * p + b22 * r, b03 * p + b23 * r
        o0, o1, o2, o3 = b10 * q + b30 * s, b11 * q + b31 * s, b12 * q + b32 * s, b13 * q + b33 * s
        row[8 * i], row[8 * i + 1], row[8 * i + 2], row[8 * i + 3] = e0 + o0, e1 + o1, e2 + o2, e3 + o3
        row[8 * i + 4], row[8 * i + 5], row[8 * i + 6], row[8 * i + 7] = e3 - o3, e2 - o2, e1 - o1, e0 - o0


@kernel
def whole_blocks(inside, side, out):
    """Write 1 for blocks of ``side`` x ``side`` that are ones throughout in ``inside``, else 0.

    Both are uint8.
    """
    for by in range(out.shape[0]):
        for bx in range(out.shape[1]):
            whole = np.uint8(1)
            for y in range(side * by, side * by + side):
                for x in range(side * bx, side * bx + side):
                    whole &= inside[y, x]
            out[by, bx] = whole


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

    Rows: ``sum s z`` and ``sum z^2`` over the statistics z ``folded`` ``(10, G, G)``. Chips carry bits
    0..1023, anchors are -1; those of -2 are not known, and are left out.
    """
    n_coefficients, n_rows, n_columns = folded.shape
    n_bits = out.shape[1] - 1
    out[:] = 0
    for c in range(n_coefficients):
        for y in range(n_rows):
            for x in range(n_columns):
                z = folded[c, y, x]
                j = code_bit[c, y, x]
                if j < -1:
                    continue
                if j < 0:
                    j = n_bits
                out[0, j] += np.float32(signs[c, y, x]) * z
                out[1, j] += z * z


@kernel
def sum_anchors(statistics, anchors, places, totals):
    """Write ``sum s z`` over the anchors for every place at which the first block may lie.

    z are ``statistics`` ``(10, BY, BX)``, BY and BX at most G; s the anchors' signs, ``anchors`` int8
    ``(10, G, 2 G)``, 0 for other chips, each row twice one after the other, as the torus goes round.
    ``places`` int64 ``(n, 2)``, 0 <= place < G; ``totals`` float64 ``(n,)``.
    """
    n_coefficients, n_rows, n_columns = statistics.shape
    grid = anchors.shape[1]
    columns = np.empty(n_columns, np.float32)
    for i in range(places.shape[0]):
        gy, gx = places[i]
        columns[:] = 0
        for c in range(n_coefficients):
            for y in range(n_rows):
                z, s = statistics[c, y], anchors[c, (y + gy) % grid, gx : gx + n_columns]
                for x in range(n_columns):
                    columns[x] += z[x] * np.float32(s[x])
        total = 0.0
        for x in range(n_columns):
            total += np.float64(columns[x])
        totals[i] = total


@kernel
def code_signs(signs, code_bit, bits, out):
    """Write the chips' signs times those of their code bits, ``signs * bits[j]``, into ``out`` float32.

    ``signs`` int8 ``(n, G, G)``; ``bits`` float32 ``(1025,)``: the code bits as signs, slot 1024 the anchors'
    +1.
    """
    n_coefficients, n_rows = signs.shape[:2]
    for c in range(n_coefficients):
        for y in range(n_rows):
            known_row(signs[c, y], code_bit[c, y], bits, 0, out[c, y])


@kernel
def known_row(signs, code_bit, bits, first, out):
    """Write ``signs * bits[code_bit]`` of a row of chips, which is round, from place ``first`` on.

    ``signs`` int8 and ``code_bit`` int16 ``(G,)``, 0 <= first < G; the last of ``bits`` stands for anchors.
    ``out`` float32 ``(n,)``.
    """
    grid, last = signs.size, bits.size - 1
    x, tx = 0, first
    while x < out.size:
        run = min(grid - tx, out.size - x)
        for i in range(run):
            j = code_bit[tx + i]
            out[x + i] = np.float32(signs[tx + i]) * bits[j if j >= 0 else last]
        x += run
        tx = 0


@kernel
def sum_known(coefficients, signs, code_bit, bits, gy, gx):
    """Return ``sum s b z`` and ``sum (s b z)^2`` over statistics z ``coefficients`` ``(10, BY, BX)``.

    s are ``signs`` int8 ``(10, G, G)`` and b ``bits[code_bit]``, float32 ``(1025,)``, of which slot 1024
    stands for anchors; block (0, 0) lies at ``(gy, gx)`` of the torus' grid.
    """
    n_coefficients, n_rows, n_columns = coefficients.shape
    grid = signs.shape[1]
    total = square = 0.0
    known = np.empty(n_columns, np.float32)
    for c in range(n_coefficients):
        for y in range(n_rows):
            ty = (gy + y) % grid
            known_row(signs[c, ty], code_bit[c, ty], bits, gx % grid, known)
            line = coefficients[c, y]
            part, energy = np.float32(0), np.float32(0)
            for i in range(n_columns):
                product = known[i] * line[i]
                part += product
                energy += product * product
            total += np.float64(part)
            square += np.float64(energy)
    return total, square


@kernel
def chip_amplitudes(mask, gain, signs, code_bit, bits, bound, depth, flags, flag, content, gy, gx, out):
    """Write ``gain * m * signs * bits[j] * (1 + flag * flags + depth * bound * content)`` into ``out``.

    ``mask`` m and ``content`` are ``(BY, BX)``, ``signs``, ``bound`` and ``flags`` int8 ``(10, G, G)``;
    ``bits`` float32 ``(1025,)``: the code bits as signs, slot 1024 the anchors' +1; block (0, 0) lies at
    ``(gy, gx)`` of the torus' grid. ``out`` float32 ``(10, BY, BX)``.
    """
    n_coefficients, n_rows, n_columns = out.shape
    grid = signs.shape[1]
    known = np.empty(n_columns, np.float32)
    one = np.float32(1)
    for y in range(n_rows):
        ty = (gy + y) % grid
        amplitude, seen = mask[y], content[y]
        for c in range(n_coefficients):
            known_row(signs[c, ty], code_bit[c, ty], bits, gx % grid, known)
            follows, tells, target = bound[c, ty], flags[c, ty], out[c, y]
            x, tx = 0, gx % grid
            while x < n_columns:
                run = min(grid - tx, n_columns - x)
                for i in range(run):
                    factor = one + flag * np.float32(tells[tx + i])
                    factor += depth * np.float32(follows[tx + i]) * seen[x + i]
                    target[x + i] = factor * known[x + i] * (gain * amplitude[x + i])
                x += run
                tx = 0


@kernel
def draw_pilot(pilot, oy, ox, gain, cells, first, last, out):
    """Write ``gain * pilot * cells`` into rows ``first`` to ``last`` of ``out`` ``(H, W)``.

    ``pilot`` ``(T, T)`` is repeated, its place ``(oy, ox)`` at the first unit; ``cells`` have a value for 2 x
    2 units.
    """
    width = out.shape[1]
    n_rows, n_columns = pilot.shape
    weight = np.empty(width + 1, np.float32)
    for y in range(first, last):
        if y == first or y % 2 == 0:
            line = cells[y // 2]
            for j in range((width + 1) // 2):
                value = gain * line[j]
                weight[2 * j], weight[2 * j + 1] = value, value
        source, target = pilot[(y + oy) % n_rows], out[y]
        x, at = 0, ox % n_columns
        while x < width:
            run = min(n_columns - at, width - x)
            part, tone, factor = target[x : x + run], source[at : at + run], weight[x : x + run]
            for i in range(run):
                part[i] = tone[i] * factor[i]
            x += run
            at = 0
