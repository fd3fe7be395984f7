"""Kernels of the scan: a key's tones slid over a log-polar spectrum, many hypotheses to a vector.

Scaling and turning a picture are shifts of its log-polar spectrum, so the score of one geometry is the sum of
the spectrum at the tones' cells, shifted. Summed tone by tone along the radius, in bytes, one instruction
serves 16 or 32 scales: all scales and rotations cost less than one FFT of the same grid.
"""

from __future__ import annotations

import numpy as np

from fastmark.kernels._jit import kernel

U8, U16 = np.uint8, np.uint16
GROUP = 16
"""Tones summed in bytes before they are added to 16-bit totals: 16 cells of at most 15 stay below 256."""


@kernel
def add_group(flat, starts, few, total):
    """Add 16 runs of bytes of ``flat``, from ``starts`` ``(16,)`` uint64 on, to uint16 ``total`` ``(W,)``.

    ``few`` uint8 ``(W,)`` becomes the sum of the runs.
    """
    a0, a1, a2, a3, a4, a5, a6, a7 = (
        starts[0], starts[1], starts[2], starts[3], starts[4], starts[5], starts[6], starts[7]
    )  # fmt: skip
    b0, b1, b2, b3, b4, b5, b6, b7 = (
        starts[8], starts[9], starts[10], starts[11], starts[12], starts[13], starts[14], starts[15]
    )  # fmt: skip
    # NOTE: a loop of bytes alone: the widest number in a loop decides how many cells make a vector
    for i in range(few.size):
        # NOTE: unsigned, for signed places are tested for being negative, one by one
        x = np.uint64(i)
        # NOTE: every sum is cast back to a byte, or it would be done in 64 bits
        a = U8(U8(flat[a0 + x] + flat[a1 + x]) + U8(flat[a2 + x] + flat[a3 + x]))
        b = U8(U8(flat[a4 + x] + flat[a5 + x]) + U8(flat[a6 + x] + flat[a7 + x]))
        c = U8(U8(flat[b0 + x] + flat[b1 + x]) + U8(flat[b2 + x] + flat[b3 + x]))
        d = U8(U8(flat[b4 + x] + flat[b5 + x]) + U8(flat[b6 + x] + flat[b7 + x]))
        few[i] = U8(U8(a + b) + U8(c + d))
    for i in range(few.size):
        total[i] += few[i]


@kernel
def scan_rows(
    flat, offsets, tone_rows, tone_columns, counts, hypotheses, bias, gain, least, promising, best, at
):
    """Score every scale at the rotations of ``hypotheses``; keep the best scale of each and of each prefix.

    ``flat`` are bytes 0..15, the cells of a log-polar spectrum; those of angle a (0..2 n, n in 180 degrees)
    start at ``offsets[s, a]``, seen through strain s. Tone i lies at angle ``tone_rows[m, i]`` (0..n - 1), m
    telling mirror images, and column ``tone_columns[i]`` of the pattern; so under hypothesis ``(s, m, r)``,
    int64 ``(H, 3)``, and scale w it is looked for in cell ``flat[offsets[s, tone_rows[m, i] + r] +
    tone_columns[i] + w]``. The score of the first ``counts[p]`` tones (multiples of 16, the last one all of
    them) is ``gain[p, w] (sum - bias[p, w])``, rounded down. ``best``, int32 ``(H, prefixes)``, takes the
    maximum over w, and ``at`` its place where it is at least ``least``. Where that of prefix p is under
    ``promising[p]``, int32, longer prefixes are not summed, and theirs is -2^30.
    """
    n_scales = gain.shape[1]
    few, total = np.empty(n_scales, np.uint8), np.empty(n_scales, np.uint16)
    score = np.empty(n_scales, np.int32)
    starts = np.empty(GROUP, np.uint64)
    for h in range(hypotheses.shape[0]):
        start_of, rows, turn = offsets[hypotheses[h, 0]], tone_rows[hypotheses[h, 1]], hypotheses[h, 2]
        total[:] = 0
        prefix = 0
        for first in range(0, tone_columns.size, GROUP):
            for i in range(GROUP):
                starts[i] = start_of[rows[first + i] + turn] + tone_columns[first + i]
            add_group(flat, starts, few, total)
            if first + GROUP == counts[prefix]:
                high = np.int32(-(2**30))
                factor, middle = gain[prefix], bias[prefix]
                # NOTE: integers, for a maximum over floats is not done in vectors (NaN)
                for w in range(n_scales):
                    score[w] = np.int32(np.floor(factor[w] * (np.float32(total[w]) - middle[w])))
                    high = max(high, score[w])
                best[h, prefix] = high
                if high >= least:
                    for w in range(n_scales):
                        if score[w] == high:
                            at[h, prefix] = w
                            break
                prefix += 1
                if high < promising[prefix - 1]:
                    best[h, prefix:] = -(2**30)
                    break


@kernel
def pool_cells(cells, out):
    """Write the means of 2 x 2 of ``cells`` ``(A, R)`` into ``out`` ``(A // 2, R // 2)``, float32."""
    for a in range(out.shape[0]):
        upper, lower, target = cells[2 * a], cells[2 * a + 1], out[a]
        for r in range(target.size):
            total = (upper[2 * r] + upper[2 * r + 1]) + (lower[2 * r] + lower[2 * r + 1])
            target[r] = np.float32(0.25) * total


@kernel
def measure_cells(cells, mean):
    """Write the mean of every column of ``cells`` ``(A, R)`` into ``mean``; return the spread about them."""
    n_rows = cells.shape[0]
    square = np.zeros_like(mean)
    mean[:] = 0
    for a in range(n_rows):
        line = cells[a]
        for r in range(mean.size):
            mean[r] += line[r]
            square[r] += line[r] * line[r]
    total = 0.0
    for r in range(mean.size):
        mean[r] /= n_rows
        total += square[r] / n_rows - mean[r] * mean[r]
    return np.sqrt(max(total / mean.size, 1e-12))


@kernel
def quantise_cells(cells, mean, inverse_spread, neutral, step, out):
    """Write ``cells`` ``(A, R)`` as bytes 0..15: ``neutral + step * (cell - mean[r]) / spread``, rounded.

    ``out`` uint8 ``(A, R)``. Returns the sum of the bytes and of their squares.
    """
    total, square = np.int64(0), np.int64(0)
    for a in range(cells.shape[0]):
        line, target = cells[a], out[a]
        part, part2 = np.int32(0), np.int32(0)
        for r in range(line.size):
            value = np.float32(neutral + 0.5) + step * inverse_spread * (line[r] - mean[r])
            q = np.int32(min(max(value, np.float32(0)), np.float32(15.5)))
            part += q
            part2 += q * q
            target[r] = q
        total += part
        square += part2
    return total, square


@kernel
def place_log_polar(n_rows, n_columns, cosines, sines, radii, out):
    """Write where in half a spectrum ``(n_rows, n_columns // 2 + 1)`` the cells of a log-polar grid lie.

    ``out[a, i]``, uint32 ``(angles, radii)``: the bin nearest to the frequency ``(r sin, r cos)``, counted
    row by row; 0, which is the constant one, beyond the Nyquist frequency. Angles lie in 0..pi, ``radii`` are
    in cycles per sample.
    """
    height, last = np.int32(n_rows), np.int32(n_columns // 2)
    half = np.float32(0.5)
    for a in range(cosines.size):
        # NOTE: the half spectrum has no negative columns: P(fy, fx) = P(-fy, -fx)
        sign = np.float32(1) if cosines[a] >= 0 else np.float32(-1)
        uy, ux = sign * sines[a] * np.float32(height), sign * cosines[a] * np.float32(2 * last)
        line = out[a]
        for i in range(radii.size):
            y, x = np.int32(np.floor(uy * radii[i] + half)), np.int32(ux * radii[i] + half)
            if x <= last and 2 * y < height and 2 * y > -height:
                line[i] = (y if y >= 0 else y + height) * (last + 1) + x
            else:
                line[i] = 0


@kernel
def take_bins(flat, places, out):
    """Write ``flat[places]`` into ``out``, float32 ``(A, R)``; ``places`` uint32 like it."""
    for a in range(out.shape[0]):
        line, target = places[a], out[a]
        for i in range(target.size):
            target[i] = flat[line[i]]
