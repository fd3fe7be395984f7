"""Half spectra of drawn pictures, for tests of the kernels that read them."""

import numpy as np
import pytest

SIZES = [(8, 8), (16, 24), (40, 16), (24, 64)]
SIZED = pytest.mark.parametrize("size", SIZES, ids=str)


def draw_power(size, seed=0):
    """Power of a real picture of ``size``, so that column 0 mirrors itself, with some bins at zero."""
    x = np.random.default_rng([seed, *size]).normal(size=size)
    power = np.abs(np.fft.rfft2(x)).astype(np.float32) ** 2
    power[power < np.quantile(power, 0.1)] = 0
    return power


def draw_white(size, seed=0):
    return np.minimum(draw_power(size, seed) / (size[0] * size[1]), 8).astype(np.float32)


def draw_spectra(size, n, seed=0):
    """``n`` half spectra of real pictures, complex64."""
    x = np.random.default_rng([seed, *size]).normal(size=(n, *size))
    return np.fft.rfft2(x).astype(np.complex64)
