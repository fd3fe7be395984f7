"""Twins of ``fastmark.kernels.noise``."""

import numpy as np


def add_power(parts):
    real, imaginary = parts[:, ::2].astype(np.float64), parts[:, 1::2].astype(np.float64)
    return real**2 + imaginary**2


def pool_power(power, ceiling):
    n_columns = ceiling.shape[1]
    out = np.empty(ceiling.shape)
    for i, j in np.ndindex(out.shape):
        last = 4 * j + 4 if j < n_columns - 1 else power.shape[1]
        cell = power[4 * i : 4 * i + 4, 4 * j : last].astype(np.float64)
        out[i, j] = np.minimum(cell, ceiling[i, j]).mean()
    return out


def _cell(cells, i, j):
    """Cell j holds bins 4 j to 4 j + 3, so the one before cell 0 is its own mirror image, upside down."""
    if j < 0:
        i, j = -1 - i, -1 - j
    return float(cells[i % cells.shape[0], j])


def smooth_cells(cells, reach_y, reach_x):
    n_columns = cells.shape[1]
    out = np.empty(cells.shape)
    for i, j in np.ndindex(out.shape):
        columns = range(max(j - reach_x, -n_columns), min(j + reach_x + 1, n_columns))
        rows = range(i - reach_y, i + reach_y + 1)
        out[i, j] = np.mean([_cell(cells, row, column) for row in rows for column in columns])
    return out


def _interpolate_cells(cells, y, x):
    """Bilinear between the cells' middles at bin ``(y, x)``; rows wrap round, columns are repeated."""
    n_rows, n_columns = cells.shape
    at_y, at_x = ((place + 0.5) / 4 - 0.5 for place in (y, x))
    at_x = min(max(at_x, 0), n_columns - 1)
    top, left = int(np.floor(at_y)), int(np.floor(at_x))
    return sum(
        (1 - abs(at_y - row))
        * (1 - abs(at_x - column))
        * float(cells[row % n_rows, min(column, n_columns - 1)])
        for row in (top, top + 1)
        for column in (left, left + 1)
    )


def whiten(power, cells, limit):
    out = np.zeros(power.shape)
    for place in np.ndindex(power.shape):
        level = _interpolate_cells(cells, *place)
        if level > 0:
            out[place] = min(float(power[place]) / level, limit)
    return out


def smooth_bins(white, side):
    """Rows wrap round; the outermost columns are smoothed along themselves alone."""
    white, middle = white.astype(np.float64), 1 - 2 * float(side)
    out = middle * white + side * (np.roll(white, 1, axis=0) + np.roll(white, -1, axis=0))
    out[:, 1:-1] = middle * out[:, 1:-1] + side * (out[:, :-2] + out[:, 2:])
    return out
