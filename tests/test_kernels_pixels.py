"""Kernels between pixels and plane against their twins."""

import numpy as np
import pytest
from reference import pixels as slow

from fastmark.kernels import pixels as fast

SHAPES = [(1, 1), (1, 9), (9, 1), (2, 3), (8, 8), (17, 23), (40, 33)]
UNITS = [1, 2, 3, 7]
PEAKS = {"uint8": 255.0, "uint16": 65535.0, "float32": 1.0}

GREY_LEVELS = 2e-4  # float32 sums of up to 49 pixels of 255
TIE = 1e-3  # grey levels: so near to one half, float32 may round the other way

WHITES = pytest.mark.parametrize(("dtype", "peak"), PEAKS.items(), ids=list(PEAKS))
SIZES = pytest.mark.parametrize("shape", SHAPES, ids=str)
KS = pytest.mark.parametrize("k", UNITS)


def draw_pixels(shape, dtype, seed=0):
    values = np.random.default_rng([seed, *shape]).random(shape) * PEAKS[dtype]
    return np.rint(values).astype(dtype) if dtype != "float32" else values.astype(dtype)


def averaged(kernel, pixels, k, scale):
    out = np.full((pixels.shape[0] // k, pixels.shape[1] // k), np.nan, np.float32)
    kernel(pixels, k, scale, out)
    return out


def draw_delta(shape, k, spread=4.0):
    height, width = (max(1, n // k) for n in shape)
    return np.random.default_rng([k, *shape]).normal(0, spread, (height, width)).astype(np.float32)


@WHITES
@KS
@SIZES
def test_average_luma_agrees_with_its_twin(shape, k, dtype, peak):
    rgb = draw_pixels((*shape, 3), dtype)
    result = averaged(fast.average_luma, rgb, k, 255 / peak)
    np.testing.assert_allclose(result, slow.average_luma(rgb, k, 255 / peak), rtol=0, atol=GREY_LEVELS)


@WHITES
@KS
@SIZES
def test_average_grey_agrees_with_its_twin(shape, k, dtype, peak):
    grey = draw_pixels(shape, dtype)
    result = averaged(fast.average_grey, grey, k, 255 / peak)
    np.testing.assert_allclose(result, slow.average_grey(grey, k, 255 / peak), rtol=0, atol=GREY_LEVELS)


@WHITES
@KS
def test_white_averages_to_255(k, dtype, peak):
    white = np.full((12, 19, 3), peak, dtype)
    for kernel, pixels in ((fast.average_luma, white), (fast.average_grey, white[..., 0].copy())):
        np.testing.assert_allclose(averaged(kernel, pixels, k, 255 / peak), 255, rtol=0, atol=GREY_LEVELS)


@KS
def test_luma_of_equal_channels_is_their_grey(k):
    grey = draw_pixels((30, 25), "uint8")
    luma = averaged(fast.average_luma, np.stack([grey] * 3, axis=-1), k, 1.0)
    np.testing.assert_allclose(luma, averaged(fast.average_grey, grey, k, 1.0), rtol=0, atol=GREY_LEVELS)


def test_rows_and_columns_beyond_the_last_whole_unit_do_not_count():
    grey = draw_pixels((22, 31), "uint8")
    changed = grey.copy()
    changed[21:], changed[:, 30:] = 0, 255
    np.testing.assert_array_equal(
        averaged(fast.average_grey, grey, 3, 1.0), averaged(fast.average_grey, changed, 3, 1.0)
    )


@KS
@SIZES
def test_expand_row_agrees_with_its_twin(shape, k):
    delta = draw_delta(shape, k)
    row, blend = np.empty(shape[1], np.float32), np.empty(delta.shape[1], np.float32)
    for y in range(shape[0]):
        fast.expand_row(delta, k, y, blend, row)
        np.testing.assert_allclose(row, slow.expand_row(delta, k, y, shape[1]), rtol=0, atol=TIE / 10)


@pytest.mark.parametrize("k", [2, 4])
def test_expanding_keeps_a_slope_between_the_outermost_centres(k):
    y, x = np.mgrid[0:6, 0:9]
    delta = (2 * x - 3 * y).astype(np.float32)
    row, blend = np.empty(9 * k, np.float32), np.empty(9, np.float32)
    for at in range(k, 5 * k):
        fast.expand_row(delta, k, at, blend, row)
        inner = np.arange(k, 8 * k)
        exact = 2 * ((inner + 0.5) / k - 0.5) - 3 * ((at + 0.5) / k - 0.5)
        np.testing.assert_allclose(row[inner], exact, rtol=0, atol=1e-4)


@pytest.mark.parametrize("channels", [1, 3])
@KS
@SIZES
def test_add_delta_u8_agrees_with_its_twin(shape, k, channels):
    height, width = shape
    pixels = draw_pixels((height, width * channels), "uint8")
    delta = draw_delta(shape, k, spread=40)
    out = np.empty_like(pixels)
    fast.add_delta_u8(pixels, channels, delta, k, out)
    exact = slow.add_delta_u8(pixels, channels, delta, k)
    near_tie = np.abs(exact - np.floor(exact) - 0.5) < TIE
    rounded = np.clip(np.floor(exact + 0.5), 0, 255)
    np.testing.assert_array_equal(out[~near_tie], rounded[~near_tie])
    assert np.all(np.abs(out[near_tie] - rounded[near_tie]) <= 1)


def test_every_channel_of_a_pixel_takes_the_same_step():
    pixels = np.full((9, 14 * 3), 128, np.uint8)
    out = np.empty_like(pixels)
    fast.add_delta_u8(pixels, 3, draw_delta((9, 14), 1), 1, out)
    steps = out.reshape(9, 14, 3)
    assert np.ptp(steps, axis=2).max() == 0
    assert np.ptp(steps) > 5


def test_half_a_level_is_rounded_up():
    delta = np.array([[-1.5, -0.5, 0.49, 0.5, 1.5]], np.float32)
    out = np.empty((1, 5), np.uint8)
    fast.add_delta_u8(np.full((1, 5), 100, np.uint8), 1, delta, 1, out)
    assert out.tolist() == [[99, 100, 100, 101, 102]]


def test_sums_beyond_black_and_white_are_clipped():
    pixels = np.array([[0, 255, 3, 250]], np.uint8)
    delta = np.array([[-700, 700, -4, 6]], np.float32)
    out = np.empty_like(pixels)
    fast.add_delta_u8(pixels, 1, delta, 1, out)
    assert out.tolist() == [[0, 255, 0, 255]]


@pytest.mark.parametrize("channels", [1, 3])
@KS
@SIZES
def test_add_delta_real_agrees_with_its_twin(shape, k, channels):
    height, width = shape
    pixels = draw_pixels((height, width * channels), "uint16").astype(np.float32)
    delta = draw_delta(shape, k, spread=40)
    gain, peak = np.float32(257), np.float32(65535)
    out = np.empty_like(pixels)
    fast.add_delta_real(pixels, channels, delta, k, gain, peak, out)
    exact = slow.add_delta_real(pixels, channels, delta, k, gain, peak)
    np.testing.assert_allclose(out, exact, rtol=0, atol=257 * GREY_LEVELS)


@KS
@SIZES
def test_adding_returns_the_sum_of_the_squared_changes(shape, k):
    pixels = draw_pixels(shape, "uint8")
    delta = draw_delta(shape, k, spread=60)
    out, real = np.empty_like(pixels), np.empty(shape, np.float32)
    assert fast.add_delta_u8(pixels, 1, delta, k, out) == np.sum((out.astype(int) - pixels) ** 2)
    square = fast.add_delta_real(pixels.astype(np.float32), 1, delta, k, np.float32(1), np.float32(255), real)
    assert square == pytest.approx(np.sum((real.astype(np.float64) - pixels) ** 2), rel=1e-5)


def test_a_delta_of_zero_changes_nothing():
    pixels = draw_pixels((21, 30), "uint8")
    zero = np.zeros((7, 10), np.float32)
    out, real = np.empty_like(pixels), np.empty((21, 30), np.float32)
    fast.add_delta_u8(pixels, 1, zero, 3, out)
    fast.add_delta_real(pixels.astype(np.float32), 1, zero, 3, np.float32(1), np.float32(255), real)
    np.testing.assert_array_equal(out, pixels)
    np.testing.assert_array_equal(real, pixels)
