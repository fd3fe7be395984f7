"""Kernels over Fourier transforms against their twins, and interpolation against the transform itself."""

import numpy as np
import pytest
from reference import fourier as slow
from spectra import SIZED, draw_spectra

from fastmark.kernels import fourier as fast

RELATIVE = 1e-5
TABLE = fast.sinc_table()


@pytest.mark.parametrize("conjugate", [True, False])
@SIZED
def test_correlate_agrees_with_its_twin(size, conjugate):
    spectrum, pattern = draw_spectra(size, 2)
    out = np.full_like(spectrum, np.nan)
    square = fast.correlate(spectrum, pattern, conjugate, out)
    exact, exact_square = slow.correlate(spectrum, pattern, conjugate)
    np.testing.assert_allclose(out, exact, rtol=RELATIVE, atol=RELATIVE * np.abs(exact).max())
    assert square == pytest.approx(exact_square, rel=RELATIVE)


@SIZED
def test_add_correlation_agrees_with_its_twin(size):
    spectrum, pattern, before = draw_spectra(size, 3)
    out = before.copy()
    fast.add_correlation(spectrum, pattern, out)
    exact = before + slow.add_correlation(spectrum, pattern)
    np.testing.assert_allclose(out, exact, rtol=RELATIVE, atol=RELATIVE * np.abs(exact).max())


def test_the_correlation_of_a_shifted_pattern_peaks_at_the_shift():
    pattern = np.random.default_rng(0).normal(size=(24, 40))
    spectra = [
        np.fft.rfft2(x).astype(np.complex64) for x in (np.roll(pattern, (-5, 11), axis=(0, 1)), pattern)
    ]
    product = np.empty_like(spectra[0])
    fast.correlate(*spectra, True, product)
    surface = np.fft.irfft2(product, s=pattern.shape)
    assert np.unravel_index(surface.argmax(), surface.shape) == (5, 40 - 11)


def draw_padded(shape, size, seed=0):
    """A picture, and the half spectrum of it at the corner of ``size`` samples."""
    picture = np.random.default_rng([seed, *shape]).normal(size=shape)
    return picture, np.fft.rfft2(picture, s=size).astype(np.complex64)


def spectrum_at(spectrum, shape, frequencies):
    out = np.full(len(frequencies), np.nan, np.complex128)
    fast.spectrum_at(spectrum, *shape, frequencies, TABLE, out)
    return out


def draw_frequencies(n, seed=0):
    return np.random.default_rng(seed).uniform(-0.489, 0.489, (n, 2))


def fourier(picture, frequencies):
    """The transform at any frequency, its origin in the middle of the samples."""
    y, x = np.indices(picture.shape)
    y, x = y - (picture.shape[0] - 1) / 2, x - (picture.shape[1] - 1) / 2
    return np.array([np.sum(picture * np.exp(-2j * np.pi * (fy * y + fx * x))) for fy, fx in frequencies])


PADDED = [((16, 16), (24, 24)), ((17, 40), (24, 56)), ((57, 20), (80, 32)), ((45, 45), (128, 64))]
PADDINGS = pytest.mark.parametrize(("shape", "size"), PADDED, ids=str)


def test_the_sinc_table_is_the_formula():
    distances = np.arange(257)[:, None] / 256 - np.arange(-3, 5)
    np.testing.assert_allclose(TABLE, slow._windowed_sinc(distances), rtol=0, atol=1e-12)


def test_the_sinc_table_gives_back_what_is_sampled():
    np.testing.assert_allclose(TABLE[0], np.arange(-3, 5) == 0, rtol=0, atol=1e-12)
    np.testing.assert_allclose(TABLE[256], np.arange(-3, 5) == 1, rtol=0, atol=1e-12)
    np.testing.assert_allclose(TABLE, TABLE[::-1, ::-1], rtol=0, atol=1e-12)


@PADDINGS
def test_spectrum_at_agrees_with_its_twin(shape, size):
    _, spectrum = draw_padded(shape, size)
    frequencies = draw_frequencies(60)
    exact = slow.spectrum_at(spectrum, *shape, frequencies)
    result = spectrum_at(spectrum, shape, frequencies)
    np.testing.assert_allclose(result, exact, rtol=0, atol=1e-9 * np.abs(exact).max())


@pytest.mark.parametrize(
    ("shape", "size", "error"),
    [
        ((48, 48), (96, 96), 0.003),  # a sinc of eight taps is as good as exact where half is zeros
        ((33, 60), (72, 120), 0.003),
        ((45, 80), (64, 112), 0.05),  # 1.4 times as many: what lies at the picture's edge suffers
        ((64, 96), (80, 120), 0.1),
    ],
    ids=str,
)
def test_spectrum_at_is_the_fourier_transform_the_better_the_more_zeros_were_padded(shape, size, error):
    picture, spectrum = draw_padded(shape, size)
    frequencies = draw_frequencies(400, 1)
    difference = np.abs(spectrum_at(spectrum, shape, frequencies) - fourier(picture, frequencies))
    assert difference.max() < error * np.abs(spectrum).max()


@PADDINGS
def test_spectrum_at_of_opposite_frequencies_is_conjugate(shape, size):
    _, spectrum = draw_padded(shape, size)
    # no frequency whose 256th of a bin is a tie, which is broken upwards
    frequencies = draw_frequencies(50, 2)
    result, opposite = (spectrum_at(spectrum, shape, sign * frequencies) for sign in (1, -1))
    np.testing.assert_allclose(opposite, np.conj(result), rtol=0, atol=1e-6 * np.abs(result).max())


def test_spectrum_at_the_bins_is_the_spectrum_but_for_the_origin():
    shape, size = (20, 24), (32, 40)
    _, spectrum = draw_padded(shape, size)
    bins = np.array([(0, 0), (3, 7), (-5, 2), (9, 0), (-14, 19)])
    result = spectrum_at(spectrum, shape, bins / size)
    turn = np.exp(2j * np.pi * (bins / size) @ [(n - 1) / 2 for n in shape])
    np.testing.assert_allclose(result, turn * spectrum[bins[:, 0], bins[:, 1]], rtol=0, atol=1e-6)
