"""Kernels between pixels and the canonical plane: luma, box average, delta added and clipped."""

from __future__ import annotations

import numpy as np

from fastmark.kernels._jit import copy_line, kernel

CHUNK = 16384
"""Bytes whose squared changes, 255^2 at most, add up within 31 bits."""

# Luma weights of ITU-R BT.601, those of JPEG's YCbCr.
RED, GREEN, BLUE = np.float32(0.299), np.float32(0.587), np.float32(0.114)


@kernel
def add_columns(row, k, out):
    """Write the sums of k neighbours of ``row`` ``(k W,)`` into ``out`` ``(W,)``."""
    if k == 1:
        copy_line(row, out)
    elif k == 2:
        for x in range(out.size):
            out[x] = row[2 * x] + row[2 * x + 1]
    elif k == 4:
        for x in range(out.size):
            out[x] = (row[4 * x] + row[4 * x + 1]) + (row[4 * x + 2] + row[4 * x + 3])
    else:
        for x in range(out.size):
            total = np.float32(0)
            for dx in range(k):
                total += row[x * k + dx]
            out[x] = total


@kernel
def average_luma(rows, k, scale, first, last, out):
    """Box-average the luma of ``rows`` ``(H, 3 W)`` over k x k pixels into ``out`` ``(H // k, W // k)``.

    ``out = scale / k^2 * sum(0.299 R + 0.587 G + 0.114 B)``, float32, in the rows ``first`` to ``last`` of
    ``out``; rows and columns left over are left out.
    """
    width = out.shape[1]
    weight = np.float32(scale / (k * k))
    r, g, b = RED * weight, GREEN * weight, BLUE * weight
    row = np.empty(width * k, np.float32)
    for y in range(first, last):
        row[:] = 0
        for dy in range(k):
            line = rows[y * k + dy]
            for x in range(row.size):
                row[x] += r * line[3 * x] + g * line[3 * x + 1] + b * line[3 * x + 2]
        add_columns(row, k, out[y])


@kernel
def average_grey(grey, k, scale, first, last, out):
    """Box-average ``grey`` ``(H, W)`` over k x k pixels into ``out`` ``(H // k, W // k)``, float32.

    As :func:`average_luma`.
    """
    width = out.shape[1]
    weight = np.float32(scale / (k * k))
    row = np.empty(width * k, np.float32)
    for y in range(first, last):
        row[:] = 0
        for dy in range(k):
            line = grey[y * k + dy]
            for x in range(row.size):
                row[x] += weight * line[x]
        add_columns(row, k, out[y])


@kernel
def thumbnail_sums(plane, columns, first, last, out):
    """Write the sums of ``plane[first:last]`` between ``columns`` ``(n + 1,)`` into ``out`` ``(n,)``."""
    out[:] = 0
    for y in range(first, last):
        line = plane[y]
        for c in range(out.size):
            part = line[columns[c] : columns[c + 1]]
            total = np.float32(0)
            for x in range(part.size):
                total += part[x]
            out[c] += total


@kernel
def spread_row(values, k, row):
    """Up-sample ``values`` k times, linearly between centres at ``(i + 0.5) k - 0.5``, into ``row``.

    ``values`` ``(w + 2,)`` repeat their first and last; so does ``row`` ``(k w..k w + k,)`` beyond. Place p
    of a unit lies before its centre, between it and the unit before, or behind. All places of a unit are
    written in one loop, which the compiler turns into shuffles and wide stores, for the few k that ordinary
    images have.
    """
    n = min(values.size - 2, row.size // k)
    before, here, after = values[:n], values[1 : n + 1], values[2 : n + 2]
    # from place to centre is an odd multiple of half a place
    t, t2, t3, one = np.float32(0.5 / k), np.float32(1 / k), np.float32(1.5 / k), np.float32(1)
    if k == 2:
        for i in range(n):
            low, high = here[i] - before[i], after[i] - here[i]
            row[2 * i], row[2 * i + 1] = before[i] + (one - t) * low, here[i] + t * high
    elif k == 3:
        for i in range(n):
            low, high = here[i] - before[i], after[i] - here[i]
            row[3 * i], row[3 * i + 1], row[3 * i + 2] = (
                before[i] + (one - t2) * low, here[i], here[i] + t2 * high
            )  # fmt: skip
    elif k == 4:
        for i in range(n):
            low, high = here[i] - before[i], after[i] - here[i]
            row[4 * i], row[4 * i + 1] = before[i] + (one - t3) * low, before[i] + (one - t) * low
            row[4 * i + 2], row[4 * i + 3] = here[i] + t * high, here[i] + t3 * high
    else:
        for i in range(n):
            low, high = here[i] - before[i], after[i] - here[i]
            for p in range(k):
                at = np.float32((p + 0.5) / k - 0.5)
                row[k * i + p] = before[i] + (one + at) * low if at < 0 else here[i] + at * high
    row[k * n :] = values[n + 1]


@kernel
def expand_row(delta, k, y, blend, row):
    """Write pixel row ``y`` of the plane ``delta`` ``(h, w)``, up-sampled k times, into ``row`` ``(W,)``.

    Bilinear between plane centres at ``(i + 0.5) k - 0.5`` pixels, clamped at the edges; ``blend`` is
    scratch of ``w + 2`` float32.
    """
    height, width = delta.shape
    at = np.float32((y + 0.5) / k - 0.5)
    at = min(max(at, np.float32(0)), np.float32(height - 1))
    top = min(int(at), max(height - 2, 0))
    t = at - np.float32(top)
    upper, lower, middle = delta[top], delta[min(top + 1, height - 1)], blend[1 : width + 1]
    for x in range(width):
        middle[x] = upper[x] + t * (lower[x] - upper[x])
    blend[0], blend[width + 1] = blend[1], blend[width]
    spread_row(blend, k, row)


@kernel
def add_steps(source, steps, changes, target):
    """Write ``clip(source + steps, 0, 255)`` into ``target``, uint8 ``(n,)``.

    Returns the sum of the squares of the changes. ``steps`` int16 ``(n,)``, at most 255 each way;
    ``changes`` is scratch like it.
    """
    total = np.int64(0)
    for first in range(0, source.size, CHUNK):
        before, move, after = (
            source[first : first + CHUNK],
            steps[first : first + CHUNK],
            target[first : first + CHUNK],
        )
        for i in range(before.size):
            low = np.int16(before[i])
            value = min(max(np.int16(low + move[i]), np.int16(0)), np.int16(255))
            changes[i] = np.int16(value - low)
            after[i] = np.uint8(value)
        # NOTE: apart, and in 32 bits: one instruction multiplies 16-bit numbers and adds pairs of them
        square = np.int32(0)
        for i in range(before.size):
            square = np.int32(square + np.int32(np.int32(changes[i]) * np.int32(changes[i])))
        total += square
    return total


@kernel
def add_delta_u8(pixels, channels, delta, k, first, last, out):
    """Add the plane ``delta``, up-sampled k times and rounded, to every channel of uint8 ``pixels``.

    ``pixels`` and ``out`` are ``(H, W * channels)`` uint8, 1 or 3 channels interleaved, and may be the same;
    the sum is clipped to 0..255. Rows ``first`` to ``last`` are written. Returns the sum of the squares
    of the changes.
    """
    n_bytes = pixels.shape[1]
    row = np.empty(n_bytes // channels, np.float32)
    blend = np.empty(delta.shape[1] + 2, np.float32)
    steps, changes = np.empty(n_bytes, np.int16), np.empty(CHUNK, np.int16)
    total = 0.0
    half = np.float32(0.5)
    for y in range(first, last):
        if k == 1:
            copy_line(delta[y], row)
        else:
            expand_row(delta, k, y, blend, row)
        if channels == 3:
            for x in range(row.size):
                step = np.int16(np.floor(row[x] + half))
                steps[3 * x], steps[3 * x + 1], steps[3 * x + 2] = step, step, step
        else:
            for x in range(row.size):
                steps[x] = np.int16(np.floor(row[x] + half))
        total += add_steps(pixels[y], steps, changes, out[y])
    return total


@kernel
def add_delta_real(pixels, channels, delta, k, gain, peak, first, last, out):
    """Add ``gain * delta``, up-sampled k times, to float32 ``pixels`` ``(H, W * channels)`` in 0..peak.

    Rows ``first`` to ``last`` are written. Returns the sum of the squares of the changes.
    """
    n_values = pixels.shape[1]
    total = 0.0
    row = np.empty(n_values // channels, np.float32)
    blend = np.empty(delta.shape[1] + 2, np.float32)
    for y in range(first, last):
        if k == 1:
            copy_line(delta[y], row)
        else:
            expand_row(delta, k, y, blend, row)
        for x in range(row.size):
            for c in range(channels):
                i = x * channels + c
                value = min(max(pixels[y, i] + gain * row[x], np.float32(0)), peak)
                change = value - pixels[y, i]
                total += np.float64(change * change)
                out[y, i] = value
    return total
