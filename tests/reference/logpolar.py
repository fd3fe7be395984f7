"""Twins of ``fastmark.kernels.logpolar``."""

import numpy as np


def add_group(flat, starts, width):
    return sum(flat[int(start) : int(start) + width].astype(np.int64) for start in starts)


def scan_rows(flat, offsets, tone_rows, tone_columns, counts, hypotheses, bias, gain, promising):
    """Return the best score of every hypothesis and prefix, and the first scale that has it.

    -2^30 for prefixes that are longer than one whose score is not promising.
    """
    scales = np.arange(gain.shape[1])
    best, at = np.empty((2, len(hypotheses), len(counts)), np.int64)
    for h, (strain, mirrored, turn) in enumerate(hypotheses):
        start = offsets[strain, tone_rows[mirrored] + turn] + tone_columns
        seen = flat[start[:, None] + scales].astype(np.int64)
        for p, count in enumerate(counts):
            score = np.floor(gain[p].astype(np.float64) * (seen[:count].sum(axis=0) - bias[p]))
            best[h, p], at[h, p] = score.max(), score.argmax()
        hopeless = np.flatnonzero(best[h] < promising)
        if hopeless.size:
            best[h, hopeless[0] + 1 :] = -(2**30)
    return best, at


def pool_cells(cells):
    n_rows, n_columns = (n // 2 for n in cells.shape)
    whole = cells[: 2 * n_rows, : 2 * n_columns].astype(np.float64)
    return whole.reshape(n_rows, 2, n_columns, 2).mean(axis=(1, 3))


def measure_cells(cells):
    """Return the columns' means, and the standard deviation about them."""
    mean = cells.mean(axis=0, dtype=np.float64)
    return mean, np.sqrt(np.mean((cells - mean) ** 2))


def quantise_cells(cells, mean, inverse_spread, neutral, step):
    """Return the bytes before they are rounded (half up) and clipped to 0..15."""
    return neutral + step * inverse_spread * (cells.astype(np.float64) - mean)


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
