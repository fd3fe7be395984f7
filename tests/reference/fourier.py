"""Twins of ``fastmark.kernels.fourier``."""

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


def correlate(spectrum, pattern, conjugate):
    """Return the product and the sum of its squared moduli."""
    whole = spectrum.astype(np.complex128)
    product = pattern * (np.conj(whole) if conjugate else whole)
    return product, np.sum(np.abs(product) ** 2)


def add_correlation(spectrum, pattern):
    return np.conj(spectrum.astype(np.complex128)) * pattern


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
