"""Twins of ``fastmark.kernels.spectrum``."""

import numpy as np

PHASES = 256


def _bin(half, y, x):
    """Bin ``(y, x)`` of the whole spectrum of a real signal, or of its power, from its half."""
    n_columns = _size(half)[1]
    x %= n_columns
    return (
        half[y % half.shape[0], x] if 2 * x <= n_columns else np.conj(half[-y % half.shape[0], n_columns - x])
    )


def _size(half):
    """``(NY, NX)``."""
    return half.shape[0], 2 * (half.shape[1] - 1)


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


def place_log_polar(n_rows, n_columns, cosines, sines, radii):
    out = np.zeros((len(cosines), len(radii)), np.int64)
    for a, i in np.ndindex(out.shape):
        # P(fy, fx) = P(-fy, -fx), and the half has the right side
        sign = 1 if cosines[a] >= 0 else -1
        y = int(np.floor(sign * float(radii[i]) * float(sines[a]) * n_rows + 0.5))
        x = int(np.floor(sign * float(radii[i]) * float(cosines[a]) * n_columns + 0.5))
        if 2 * abs(y) < n_rows and 2 * x <= n_columns:
            out[a, i] = (y % n_rows) * (n_columns // 2 + 1) + x
    return out


def take_bins(flat, places):
    return flat[places.astype(np.int64)]


def _between(white, fy, fx):
    """Bilinear interpolation at ``(fy, fx)`` cycles a sample."""
    y, x = (f * n for f, n in zip((fy, fx), _size(white), strict=True))
    top, left = int(np.floor(y)), int(np.floor(x))
    return sum(
        (1 - abs(y - row)) * (1 - abs(x - column)) * float(_bin(white, row, column))
        for row in (top, top + 1)
        for column in (left, left + 1)
    )


def tone_score(white, mean, spread, tones, n_tones, g):
    seen = [g @ tone for tone in tones[:n_tones]]
    inside = [_between(white, *f) for f in seen if np.abs(f).max() < 0.49]
    return sum(p - mean for p in inside) / (spread * np.sqrt(len(inside))) if len(inside) >= 8 else 0.0


def refine_geometry(white, mean, spread, tones, n_tones, step, last_step, g):
    """Return the best matrix and its score; moves are taken as they are found, in the order listed."""
    generators = [[[1, 0], [0, 1]], [[0, 1], [-1, 0]], [[1, 0], [0, -1]], [[0, 1], [1, 0]]]
    best = tone_score(white, mean, spread, tones, n_tones, g)
    while step >= last_step:
        start = best
        for generator in np.array(generators):
            for signed in (step, -step):
                trial = (np.eye(2) + signed * generator) @ g
                score = tone_score(white, mean, spread, tones, n_tones, trial)
                if score > best:
                    best, g = score, trial
        if best == start:
            step /= 2
    return g, best


def correlate(spectrum, pattern, conjugate):
    """Return the product and the sum of its squared moduli."""
    whole = spectrum.astype(np.complex128)
    product = pattern * (np.conj(whole) if conjugate else whole)
    return product, np.sum(np.abs(product) ** 2)


def _windowed_sinc(d):
    """Kaiser's window, beta 6, over four samples either side."""
    return np.sinc(d) * np.i0(6 * np.sqrt(np.maximum(1 - (d / 4) ** 2, 0))) / np.i0(6)


def spectrum_at(spectrum, height, width, frequencies):
    """Move the origin to the middle of the samples bin by bin, and interpolate at a 256th of a bin."""
    size = _size(spectrum)
    middle = (height - 1) / 2, (width - 1) / 2
    out = np.zeros(len(frequencies), np.complex128)
    for i, frequency in enumerate(frequencies):
        first = np.floor(frequency * size).astype(int) - 3
        place = np.floor(PHASES * frequency * size + 0.5) / PHASES
        for near in first + np.argwhere(np.ones((8, 8))):
            turn = np.exp(2j * np.pi * np.sum(near * middle / np.array(size)))
            out[i] += np.prod(_windowed_sinc(place - near)) * turn * _bin(spectrum, *near)
    return out
