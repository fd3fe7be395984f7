"""Kernels between pixels and plane against their twins."""

import itertools

import numpy as np
import pytest
from reference import pixels as slow

from fastmark.kernels import pixels as fast

SHAPES = [(1, 1), (1, 9), (9, 1), (2, 3), (8, 8), (17, 23), (40, 33)]
UNITS = [1, 2, 3, 4, 7]
PEAKS = {"uint8": 255.0, "uint16": 65535.0, "float32": 1.0}
STRIPS = [0, 1, 4, 5, 11]

GREY_LEVELS = 2e-4  # float32 sums of up to 49 pixels of 255
TIE = 1e-3  # grey levels: so near to one half, float32 may round the other way
RELATIVE = 1e-5

WHITES = pytest.mark.parametrize(("dtype", "peak"), PEAKS.items(), ids=list(PEAKS))
SIZES = pytest.mark.parametrize("shape", SHAPES, ids=str)
KS = pytest.mark.parametrize("k", UNITS)
CHANNELS = pytest.mark.parametrize("channels", [1, 3])


def draw(shape, low=0.0, high=255.0, seed=0):
    return np.random.default_rng([seed, *shape]).uniform(low, high, shape).astype(np.float32)


def draw_pixels(shape, dtype, seed=0):
    values = np.random.default_rng([seed, *shape]).random(shape) * PEAKS[dtype]
    return np.rint(values).astype(dtype) if dtype != "float32" else values.astype(dtype)


def strips(n_rows):
    """``(first, last)`` of strips that fill ``n_rows`` rows, the last first; some may be empty."""
    edges = [min(edge, n_rows) for edge in (*STRIPS, n_rows)]
    return list(itertools.pairwise(edges))[::-1]


def averaged(kernel, rows, k, scale, pieces=None):
    width = rows.shape[1] // (3 if kernel is fast.average_luma else 1)
    out = np.full((rows.shape[0] // k, width // k), np.nan, np.float32)
    for first, last in pieces or [(0, out.shape[0])]:
        kernel(rows, k, scale, first, last, out)
    return out


def draw_delta(shape, k, spread=4.0):
    height, width = (max(1, n // k) for n in shape)
    return np.random.default_rng([k, *shape]).normal(0, spread, (height, width)).astype(np.float32)


def add_u8(pixels, channels, delta, k, out=None, pieces=None):
    """Return the sums and what the kernel returns."""
    out = np.zeros_like(pixels) if out is None else out
    pieces = pieces or [(0, pixels.shape[0])]
    square = sum(fast.add_delta_u8(pixels, channels, delta, k, first, last, out) for first, last in pieces)
    return out, square


def add_real(pixels, channels, delta, k, gain=1.0, peak=255.0, out=None, pieces=None):
    out = np.full_like(pixels, np.nan) if out is None else out
    numbers = np.float32(gain), np.float32(peak)
    square = 0.0
    for first, last in pieces or [(0, pixels.shape[0])]:
        square += fast.add_delta_real(pixels, channels, delta, k, *numbers, first, last, out)
    return out, square


# ---- pixels to plane -------------------------------------------------------------------------------


@KS
@pytest.mark.parametrize("n", [1, 2, 33])
def test_add_columns_agrees_with_its_twin(n, k):
    row = draw((k * n,))
    out = np.full(n, np.nan, np.float32)
    fast.add_columns(row, k, out)
    np.testing.assert_allclose(out, slow.add_columns(row, k), rtol=RELATIVE)


@WHITES
@KS
@SIZES
def test_average_luma_agrees_with_its_twin(shape, k, dtype, peak):
    rows = draw_pixels((shape[0], 3 * shape[1]), dtype)
    result = averaged(fast.average_luma, rows, k, 255 / peak)
    np.testing.assert_allclose(result, slow.average_luma(rows, k, 255 / peak), rtol=0, atol=GREY_LEVELS)


@WHITES
@KS
@SIZES
def test_average_grey_agrees_with_its_twin(shape, k, dtype, peak):
    grey = draw_pixels(shape, dtype)
    result = averaged(fast.average_grey, grey, k, 255 / peak)
    np.testing.assert_allclose(result, slow.average_grey(grey, k, 255 / peak), rtol=0, atol=GREY_LEVELS)


@KS
@pytest.mark.parametrize("kernel", [fast.average_luma, fast.average_grey], ids=["luma", "grey"])
def test_averages_in_strips_are_those_in_one_go_to_the_bit(kernel, k):
    rows = draw_pixels((14 * k + 1, 63), "uint8")
    whole = averaged(kernel, rows, k, 1.0)
    np.testing.assert_array_equal(averaged(kernel, rows, k, 1.0, strips(len(whole))), whole)


@pytest.mark.parametrize("kernel", [fast.average_luma, fast.average_grey], ids=["luma", "grey"])
def test_averages_of_rows_outside_the_strip_are_left_alone(kernel):
    out = averaged(kernel, draw_pixels((20, 30), "uint8"), 2, 1.0, [(3, 5)])
    assert np.isfinite(out[3:5]).all()
    assert np.isnan(out[:3]).all()
    assert np.isnan(out[5:]).all()


@WHITES
@KS
def test_white_averages_to_255(k, dtype, peak):
    white = np.full((12, 19 * 3), peak, dtype)
    for kernel in (fast.average_luma, fast.average_grey):
        np.testing.assert_allclose(averaged(kernel, white, k, 255 / peak), 255, rtol=0, atol=GREY_LEVELS)


@KS
def test_luma_of_equal_channels_is_their_grey(k):
    grey = draw_pixels((30, 25), "uint8")
    luma = averaged(fast.average_luma, np.repeat(grey, 3, axis=1), k, 1.0)
    np.testing.assert_allclose(luma, averaged(fast.average_grey, grey, k, 1.0), rtol=0, atol=GREY_LEVELS)


def test_rows_and_columns_beyond_the_last_whole_unit_do_not_count():
    grey = draw_pixels((22, 31), "uint8")
    changed = grey.copy()
    changed[21:], changed[:, 30:] = 0, 255
    np.testing.assert_array_equal(
        averaged(fast.average_grey, grey, 3, 1.0), averaged(fast.average_grey, changed, 3, 1.0)
    )


# columns between bounds: all; some left out on either side; empty ones
BOUNDS = [(0, 30), (0, 7, 8, 30), (3, 10, 25), (0, 0, 12, 12, 30)]


@pytest.mark.parametrize("bounds", BOUNDS, ids=str)
@pytest.mark.parametrize(("first", "last"), [(0, 20), (4, 5), (6, 6), (13, 20)])
def test_thumbnail_sums_agrees_with_its_twin(first, last, bounds):
    plane, columns = draw((20, 30)), np.array(bounds)
    out = np.full(columns.size - 1, np.nan)
    fast.thumbnail_sums(plane, columns, first, last, out)
    exact = slow.thumbnail_sums(plane, columns, first, last)
    np.testing.assert_allclose(out, exact, rtol=RELATIVE)


def test_thumbnail_sums_leave_out_nothing_and_count_nothing_twice():
    plane, columns = draw((20, 30)), np.array([0, 11, 19, 30])
    sums = np.empty((2, 3))
    fast.thumbnail_sums(plane, columns, 0, 9, sums[0])
    fast.thumbnail_sums(plane, columns, 9, 20, sums[1])
    assert sums.sum() == pytest.approx(plane.sum(dtype=np.float64), rel=RELATIVE)


# ---- plane to pixels -------------------------------------------------------------------------------


@KS
@pytest.mark.parametrize("n", [1, 2, 5, 40])
def test_spread_row_agrees_with_its_twin(n, k):
    units = draw((n,), -9, 9)
    values = np.pad(units, 1, mode="edge")
    for rest in range(k + 1):
        row = np.full(k * n + rest, np.nan, np.float32)
        fast.spread_row(values, k, row)
        np.testing.assert_allclose(row, slow.spread_row(values, k, row.size), rtol=0, atol=TIE / 10)


@KS
@SIZES
def test_expand_row_agrees_with_its_twin(shape, k):
    delta = draw_delta(shape, k)
    row, blend = np.empty(shape[1], np.float32), np.empty(delta.shape[1] + 2, np.float32)
    for y in range(shape[0]):
        fast.expand_row(delta, k, y, blend, row)
        np.testing.assert_allclose(row, slow.expand_row(delta, k, y, shape[1]), rtol=0, atol=TIE / 10)


@pytest.mark.parametrize("k", [2, 3, 4, 5])
def test_expanding_keeps_a_slope_between_the_outermost_centres(k):
    y, x = np.mgrid[0:6, 0:9]
    delta = (2 * x - 3 * y).astype(np.float32)
    row, blend = np.empty(9 * k, np.float32), np.empty(11, np.float32)
    for at in range(k, 5 * k):
        fast.expand_row(delta, k, at, blend, row)
        inner = np.arange(k, 8 * k)
        exact = 2 * ((inner + 0.5) / k - 0.5) - 3 * ((at + 0.5) / k - 0.5)
        np.testing.assert_allclose(row[inner], exact, rtol=0, atol=1e-4)


def add_steps(source, steps):
    target, changes = np.zeros_like(source), np.empty(fast.CHUNK, np.int16)
    return target, fast.add_steps(source, steps, changes, target)


@pytest.mark.parametrize("n", [0, 1, 31, 1000, fast.CHUNK, fast.CHUNK + 1, 3 * fast.CHUNK + 17])
def test_add_steps_agrees_with_its_twin(n):
    source = draw_pixels((n,), "uint8")
    steps = np.random.default_rng(n).integers(-255, 256, n).astype(np.int16)
    target, square = add_steps(source, steps)
    exact, exact_square = slow.add_steps(source, steps)
    np.testing.assert_array_equal(target, exact)
    assert square == exact_square


def test_the_squares_of_the_largest_steps_do_not_overflow():
    n = 4 * fast.CHUNK
    assert add_steps(np.zeros(n, np.uint8), np.full(n, 255, np.int16))[1] == 255**2 * n
    assert add_steps(np.full(n, 255, np.uint8), np.full(n, -255, np.int16))[1] == 255**2 * n


@CHANNELS
@KS
@SIZES
def test_add_delta_u8_agrees_with_its_twin(shape, k, channels):
    height, width = shape
    pixels = draw_pixels((height, width * channels), "uint8")
    delta = draw_delta(shape, k, spread=40)
    out, _ = add_u8(pixels, channels, delta, k)
    exact = slow.add_delta_u8(pixels, channels, delta, k)
    near_tie = np.abs(exact - np.floor(exact) - 0.5) < TIE
    rounded = np.clip(np.floor(exact + 0.5), 0, 255)
    np.testing.assert_array_equal(out[~near_tie], rounded[~near_tie])
    assert np.all(np.abs(out[near_tie] - rounded[near_tie]) <= 1)


@CHANNELS
@KS
@SIZES
def test_add_delta_real_agrees_with_its_twin(shape, k, channels):
    height, width = shape
    pixels = draw_pixels((height, width * channels), "uint16").astype(np.float32)
    delta = draw_delta(shape, k, spread=40)
    out, _ = add_real(pixels, channels, delta, k, 257, 65535)
    exact = slow.add_delta_real(pixels, channels, delta, k, 257, 65535)
    np.testing.assert_allclose(out, exact, rtol=0, atol=257 * GREY_LEVELS)


@CHANNELS
@KS
@SIZES
def test_adding_returns_the_sum_of_the_squared_changes(shape, k, channels):
    pixels = draw_pixels((shape[0], shape[1] * channels), "uint8")
    delta = draw_delta(shape, k, spread=60)
    out, square = add_u8(pixels, channels, delta, k)
    assert square == np.sum((out.astype(int) - pixels) ** 2)
    out, square = add_real(pixels.astype(np.float32), channels, delta, k)
    assert square == pytest.approx(np.sum((out.astype(np.float64) - pixels) ** 2), rel=RELATIVE)


@CHANNELS
@KS
def test_adding_in_strips_gives_the_bits_of_adding_in_one_go(k, channels):
    shape = 13 * k + 1, 22
    pixels, delta = draw_pixels((shape[0], shape[1] * channels), "uint8"), draw_delta(shape, k, spread=40)
    real = pixels.astype(np.float32)
    for add, source in ((add_u8, pixels), (add_real, real)):
        whole, square = add(source, channels, delta, k)
        pieces, squares = add(source, channels, delta, k, pieces=strips(shape[0]))
        np.testing.assert_array_equal(pieces, whole)
        assert squares == pytest.approx(square, rel=1e-12)


@CHANNELS
@pytest.mark.parametrize("k", [1, 2])
def test_rows_outside_the_strip_are_left_alone(k, channels):
    pixels, delta = draw_pixels((20, 24 * channels), "uint8", 1), draw_delta((20, 24), k, 40)
    for add, source in ((add_u8, pixels), (add_real, pixels.astype(np.float32))):
        out, _ = add(source, channels, delta, k, out=np.full_like(source, 7), pieces=[(3, 5)])
        assert np.any(out[3:5] != 7)
        assert np.all(out[:3] == 7)
        assert np.all(out[5:] == 7)


@CHANNELS
@pytest.mark.parametrize("k", [1, 3])
def test_pixels_may_be_changed_in_place(k, channels):
    pixels, delta = draw_pixels((21, 30 * channels), "uint8"), draw_delta((21, 30), k, 40)
    for add, source in ((add_u8, pixels), (add_real, pixels.astype(np.float32))):
        apart, square = add(source, channels, delta, k)
        in_place = source.copy()
        _, square_in_place = add(in_place, channels, delta, k, out=in_place)
        np.testing.assert_array_equal(in_place, apart)
        assert square_in_place == square


def test_every_channel_of_a_pixel_takes_the_same_step():
    pixels = np.full((9, 14 * 3), 128, np.uint8)
    steps = add_u8(pixels, 3, draw_delta((9, 14), 1), 1)[0].reshape(9, 14, 3)
    assert np.ptp(steps, axis=2).max() == 0
    assert np.ptp(steps) > 5


def test_half_a_level_is_rounded_up():
    delta = np.array([[-1.5, -0.5, 0.49, 0.5, 1.5]], np.float32)
    out, square = add_u8(np.full((1, 5), 100, np.uint8), 1, delta, 1)
    assert out.tolist() == [[99, 100, 100, 101, 102]]
    assert square == 1 + 0 + 0 + 1 + 4


def test_sums_beyond_black_and_white_are_clipped():
    pixels = np.array([[0, 255, 3, 250]], np.uint8)
    delta = np.array([[-700, 700, -4, 6]], np.float32)
    assert add_u8(pixels, 1, delta, 1)[0].tolist() == [[0, 255, 0, 255]]
    assert add_real(pixels.astype(np.float32), 1, delta, 1)[0].tolist() == [[0, 255, 0, 255]]


@CHANNELS
@KS
def test_a_delta_of_zero_changes_nothing(k, channels):
    pixels = draw_pixels((21, 30 * channels), "uint8")
    zero = np.zeros((21 // k, 30 // k), np.float32)
    for add, source in ((add_u8, pixels), (add_real, pixels.astype(np.float32))):
        out, square = add(source, channels, zero, k)
        np.testing.assert_array_equal(out, source)
        assert square == 0
