"""Kernels over 9 x 9 neighbourhoods: mean, standard deviation, minimum, mask."""

from __future__ import annotations

import numpy as np

from fastmark.kernels._jit import kernel

REACH = 4


@kernel
def _sum9(padded, half, quarter, out, scale):
    """Write ``scale`` times the sums of 9 neighbours of ``padded`` ``(n + 8,)`` into ``out`` ``(n,)``."""
    n = out.size
    for i in range(n + 7):
        half[i] = padded[i] + padded[i + 1]
    for i in range(n + 5):
        quarter[i] = half[i] + half[i + 2]
    for i in range(n):
        out[i] = (quarter[i] + quarter[i + 4] + padded[i + 8]) * scale


@kernel
def _pad_edges(padded, n):
    """Repeat the first and last of the ``n`` values in the middle of ``padded`` ``(n + 8,)``."""
    for i in range(REACH):
        padded[i] = padded[REACH]
        padded[n + REACH + i] = padded[n + REACH - 1]


@kernel
def box9(x, out):
    """Write the 9 x 9 mean of float32 ``x`` ``(H, W)``, edges repeated, into ``out``.

    Direct sums, no running ones: an error of rounding must not travel across the picture.
    """
    height, width = x.shape
    padded = np.empty(width + 8, np.float32)
    half = np.empty(width + 8, np.float32)
    quarter = np.empty(width + 8, np.float32)
    scale = np.float32(1 / 81)
    for y in range(height):
        a, b, c = x[max(y - 4, 0)], x[max(y - 3, 0)], x[max(y - 2, 0)]
        d, e, f = x[max(y - 1, 0)], x[y], x[min(y + 1, height - 1)]
        g, h, i = x[min(y + 2, height - 1)], x[min(y + 3, height - 1)], x[min(y + 4, height - 1)]
        for n in range(width):
            padded[n + 4] = a[n] + b[n] + c[n] + d[n] + e[n] + f[n] + g[n] + h[n] + i[n]
        _pad_edges(padded, width)
        _sum9(padded, half, quarter, out[y], scale)


@kernel
def min9(x, out):
    """Write the 9 x 9 minimum of float32 ``x`` ``(H, W)``, edges repeated, into ``out``."""
    height, width = x.shape
    padded = np.empty(width + 8, np.float32)
    for y in range(height):
        for n in range(width):
            padded[n + 4] = x[y, n]
        for dy in range(-4, 5):
            line = x[min(max(y + dy, 0), height - 1)]
            for n in range(width):
                padded[n + 4] = min(padded[n + 4], line[n])
        _pad_edges(padded, width)
        target = out[y]
        for n in range(width):
            target[n] = padded[n]
        for step in range(1, 9):
            for n in range(width):
                target[n] = min(target[n], padded[n + step])


@kernel
def high_pass(plane, highpass, deviation, scratch):
    """Split off the local mean and measure what is left.

    ``highpass = plane - box9(plane)``; ``deviation = sqrt(box9(highpass^2) - box9(highpass)^2)``.
    All float32 ``(H, W)``; ``scratch`` is one more of the same shape.
    """
    height, width = plane.shape
    box9(plane, scratch)
    for y in range(height):
        for x in range(width):
            highpass[y, x] = plane[y, x] - scratch[y, x]
            scratch[y, x] = highpass[y, x] * highpass[y, x]
    box9(scratch, deviation)
    box9(highpass, scratch)
    for y in range(height):
        for x in range(width):
            variance = deviation[y, x] - scratch[y, x] * scratch[y, x]
            deviation[y, x] = np.sqrt(max(variance, np.float32(0)))


@kernel
def activity_mask(deviation, scratch, table, steps, out):
    """Write the perceptual mask, grey levels, of the local ``deviation`` ``(H, W)`` into ``out``.

    ``out = table(a)``, ``a = (deviation + min9(deviation)) / 2``; ``table`` holds the mask at
    ``a = i / steps`` and is interpolated linearly, its last value reaching to infinity.
    """
    height, width = deviation.shape
    min9(deviation, scratch)
    last = np.float32(table.size - 1.001)
    gain = np.float32(0.5 * steps)
    for y in range(height):
        for x in range(width):
            at = min(gain * (deviation[y, x] + scratch[y, x]), last)
            i = int(at)
            out[y, x] = table[i] + (at - np.float32(i)) * (table[i + 1] - table[i])
