"""Twins of ``fastmark.kernels.local``."""

import numpy as np


def pool_squares(plane):
    height, width = plane.shape
    grey = np.pad(plane.astype(np.float64) - 128, ((0, height % 2), (0, width % 2)), mode="edge")
    cells = grey.reshape((height + 1) // 2, 2, (width + 1) // 2, 2)
    return cells.mean(axis=(1, 3)), (cells**2).mean(axis=(1, 3))


def _neighbourhoods(x):
    """All 5 x 5 neighbourhoods, edges repeated: ``(H, W, 5, 5)``."""
    padded = np.pad(x.astype(np.float64), 2, mode="edge")
    return np.lib.stride_tricks.sliding_window_view(padded, (5, 5))


def box5(x):
    return _neighbourhoods(x).mean(axis=(2, 3))


def min5(x):
    return _neighbourhoods(x).min(axis=(2, 3))


def local_deviation(mean, square):
    around = box5(mean)
    rest = mean - around
    squares = square - 2.0 * around * mean + around**2
    return np.sqrt(np.maximum(box5(squares) - box5(rest) ** 2, 0))


def activity_mask(deviation, minimum, share, weights, most):
    activity = np.minimum(share * (deviation.astype(np.float64) + minimum), most)
    return sum(float(weight) * activity ** (i / 2) for i, weight in enumerate(weights))


def multiply_cells(x, cells):
    return x * np.kron(cells, np.ones((2, 2)))[: x.shape[0], : x.shape[1]]


def block_means(cells, n_rows, n_columns):
    inner = cells[2 : 2 + 4 * n_rows, 2 : 2 + 4 * n_columns].astype(np.float64)
    return inner.reshape(n_rows, 4, n_columns, 4).mean(axis=(1, 3))


def sample_contrast(pilot, pilot_gain, chips, chip_gain, means, gains, floor, first, step):
    pilot, chips, gains = (a.astype(np.float64) for a in (pilot, chips, gains))
    n_rows, n_columns = gains.shape
    places = np.ix_(first + step * np.arange(n_rows), first + step * np.arange(n_columns))
    power = (pilot_gain * pilot**2 + chip_gain * chips**2)[places]
    variance = _neighbourhoods(means).var(axis=(2, 3))[places]
    return power * gains**2 / (variance * gains**2 + floor)
