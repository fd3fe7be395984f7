"""Kernels between pixels and the canonical plane: luma, box average, delta added and clipped."""

from __future__ import annotations

import numpy as np

from fastmark.kernels._jit import kernel

# Luma weights of ITU-R BT.601, those of JPEG's YCbCr.
RED, GREEN, BLUE = np.float32(0.299), np.float32(0.587), np.float32(0.114)


@kernel
def average_luma(rgb, k, scale, out):
    """Box-average the luma of ``rgb`` ``(H, W, 3)`` over k x k pixels into ``out`` ``(H // k, W // k)``.

    ``out = scale / k^2 * sum(0.299 R + 0.587 G + 0.114 B)``, float32; rest rows and columns are left out.
    """
    height, width = out.shape
    row = np.empty(width, np.float32)
    weight = np.float32(scale / (k * k))
    r, g, b = RED * weight, GREEN * weight, BLUE * weight
    for y in range(height):
        row[:] = 0
        for dy in range(k):
            line = rgb[y * k + dy]
            if k == 1:
                for x in range(width):
                    row[x] = r * line[x, 0] + g * line[x, 1] + b * line[x, 2]
            else:
                for x in range(width):
                    total = np.float32(0)
                    for dx in range(k):
                        pixel = x * k + dx
                        total += r * line[pixel, 0] + g * line[pixel, 1] + b * line[pixel, 2]
                    row[x] += total
        out[y] = row


@kernel
def average_grey(grey, k, scale, out):
    """Box-average ``grey`` ``(H, W)`` over k x k pixels into ``out`` ``(H // k, W // k)``, float32."""
    height, width = out.shape
    row = np.empty(width, np.float32)
    weight = np.float32(scale / (k * k))
    for y in range(height):
        row[:] = 0
        for dy in range(k):
            line = grey[y * k + dy]
            for x in range(width):
                total = np.float32(0)
                for dx in range(k):
                    total += np.float32(line[x * k + dx])
                row[x] += total
        for x in range(width):
            out[y, x] = row[x] * weight


@kernel
def expand_row(delta, k, y, blend, row):
    """Write pixel row ``y`` of the plane ``delta`` ``(h, w)``, up-sampled k times, into ``row`` ``(W,)``.

    Bilinear between plane centres at ``(i + 0.5) k - 0.5`` pixels, clamped at the edges; ``blend`` is
    scratch of ``w`` float32.
    """
    height, width = delta.shape
    inverse = np.float32(1.0 / k)
    at = min(max((y + np.float32(0.5)) * inverse - np.float32(0.5), np.float32(0)), np.float32(height - 1))
    top = min(int(at), max(height - 2, 0))
    bottom = min(top + 1, height - 1)
    t = at - np.float32(top)
    for x in range(width):
        blend[x] = delta[top, x] + t * (delta[bottom, x] - delta[top, x])
    for x in range(row.size):
        at = (x + np.float32(0.5)) * inverse - np.float32(0.5)
        at = min(max(at, np.float32(0)), np.float32(width - 1))
        left = min(int(at), max(width - 2, 0))
        right = min(left + 1, width - 1)
        row[x] = blend[left] + (at - np.float32(left)) * (blend[right] - blend[left])


@kernel
def add_delta_u8(pixels, channels, delta, k, out):
    """Add the plane ``delta``, up-sampled k times and rounded, to every channel of uint8 ``pixels``.

    ``pixels`` and ``out`` are ``(H, W * channels)`` uint8, interleaved; the sum is clipped to 0..255.
    Returns the sum of the squares of what was changed.
    """
    height, n_bytes = pixels.shape
    row = np.empty(n_bytes // channels, np.float32)
    blend = np.empty(delta.shape[1], np.float32)
    steps = np.empty(n_bytes, np.int16)
    total = 0.0
    for y in range(height):
        if k == 1:
            row[:] = delta[y]
        else:
            expand_row(delta, k, y, blend, row)
        if channels == 1:
            for x in range(row.size):
                steps[x] = np.int16(np.floor(row[x] + np.float32(0.5)))
        else:
            for x in range(row.size):
                step = np.int16(np.floor(row[x] + np.float32(0.5)))
                for c in range(channels):
                    steps[x * channels + c] = step
        source, target = pixels[y], out[y]
        square = np.int64(0)
        for i in range(n_bytes):
            value = min(max(np.int16(source[i]) + steps[i], 0), 255)
            change = np.int32(value) - np.int32(source[i])
            square += change * change
            target[i] = np.uint8(value)
        total += square
    return total


@kernel
def add_delta_real(pixels, channels, delta, k, gain, peak, out):
    """Add ``gain * delta``, up-sampled k times, to float32 ``pixels`` ``(H, W * channels)`` in 0..peak.

    Returns the sum of the squares of what was changed.
    """
    height, n_values = pixels.shape
    total = 0.0
    row = np.empty(n_values // channels, np.float32)
    blend = np.empty(delta.shape[1], np.float32)
    for y in range(height):
        if k == 1:
            row[:] = delta[y]
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
