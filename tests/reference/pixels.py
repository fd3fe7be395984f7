"""Twins of ``fastmark.kernels.pixels``."""

import itertools

import numpy as np


def add_columns(row, k):
    return row.astype(np.float64).reshape(-1, k).sum(axis=1)


def average_luma(rows, k, scale):
    rgb = rows.reshape(rows.shape[0], -1, 3)
    return average_grey(rgb.astype(np.float64) @ (0.299, 0.587, 0.114), k, scale)


def average_grey(grey, k, scale):
    height, width = grey.shape[0] // k, grey.shape[1] // k
    boxes = grey[: height * k, : width * k].astype(np.float64).reshape(height, k, width, k)
    return scale * boxes.mean(axis=(1, 3))


def thumbnail_sums(plane, columns, first, last):
    total = plane[first:last].sum(axis=0, dtype=np.float64)
    return np.array([total[left:right].sum() for left, right in itertools.pairwise(columns)])


def _centres(n, k):
    """Places of n values of a plane, in pixels."""
    return (np.arange(n) + 0.5) * k - 0.5


def spread_row(values, k, width):
    """``np.interp`` repeats the ends, as ``values`` do."""
    units = values[1:-1].astype(np.float64)
    return np.interp(np.arange(width), _centres(units.size, k), units)


def expand_row(delta, k, y, width):
    row_centres, column_centres = (_centres(n, k) for n in delta.shape)
    blend = [np.interp(y, row_centres, column) for column in delta.T.astype(np.float64)]
    return np.interp(np.arange(width), column_centres, blend)


def _for_every_channel(delta, channels, k, shape):
    rows = [expand_row(delta, k, y, shape[1] // channels) for y in range(shape[0])]
    return np.repeat(np.array(rows), channels, axis=1)


def add_steps(source, steps):
    """Return the clipped sums, and the sum of squares of the changes."""
    target = np.clip(source.astype(np.int64) + steps, 0, 255)
    return target, int(np.sum((target - source) ** 2))


def add_delta_u8(pixels, channels, delta, k):
    """Return the sums before they are rounded (half a level up) and clipped to 0..255."""
    return pixels + _for_every_channel(delta, channels, k, pixels.shape)


def add_delta_real(pixels, channels, delta, k, gain, peak):
    return np.clip(pixels + gain * _for_every_channel(delta, channels, k, pixels.shape), 0, peak)
