"""Twins of ``fastmark.kernels.pixels``."""

import numpy as np


def average_luma(rgb, k, scale):
    return average_grey(rgb.astype(np.float64) @ (0.299, 0.587, 0.114), k, scale)


def average_grey(grey, k, scale):
    height, width = grey.shape[0] // k, grey.shape[1] // k
    boxes = grey[: height * k, : width * k].astype(np.float64).reshape(height, k, width, k)
    return scale * boxes.mean(axis=(1, 3))


def expand_row(delta, k, y, width):
    """Value i of a plane sits at pixel (i + 0.5) k - 0.5; ``np.interp`` repeats the ends."""
    row_centres, column_centres = ((np.arange(n) + 0.5) * k - 0.5 for n in delta.shape)
    blend = [np.interp(y, row_centres, column) for column in delta.T.astype(np.float64)]
    return np.interp(np.arange(width), column_centres, blend)


def _expand(delta, k, height, width):
    return np.array([expand_row(delta, k, y, width) for y in range(height)])


def _for_every_channel(delta, channels, k, shape):
    return np.repeat(_expand(delta, k, shape[0], shape[1] // channels), channels, axis=1)


def add_delta_u8(pixels, channels, delta, k):
    """Return the sums before they are rounded (half a level up) and clipped to 0..255."""
    return pixels + _for_every_channel(delta, channels, k, pixels.shape)


def add_delta_real(pixels, channels, delta, k, gain, peak):
    return np.clip(pixels + gain * _for_every_channel(delta, channels, k, pixels.shape), 0, peak)
