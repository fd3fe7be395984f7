"""Kernels over cells and their 5 x 5 neighbourhoods against their twins."""

import numpy as np
import pytest
from reference import mask as slow

from fastmark.kernels import mask as fast

SHAPES = [(1, 1), (1, 30), (30, 1), (2, 3), (5, 5), (8, 8), (13, 21), (40, 67)]
SIZES = pytest.mark.parametrize("shape", SHAPES, ids=str)

GREY_LEVELS = 1e-4  # float32 sums of 25 values of 255
VARIANCE = 2e-2  # grey levels squared: differences of float32 means of up to 128^2
RELATIVE = 1e-5

WEIGHTS = np.array([1.5, 0.6, 0.2, -0.05, 0.007, -0.0004], np.float32)


def draw(shape, low=0.0, high=255.0, seed=0):
    return np.random.default_rng([seed, *shape]).uniform(low, high, shape).astype(np.float32)


def cells_of(shape):
    return tuple((n + 1) // 2 for n in shape)


def run(kernel, x):
    out = np.full_like(x, np.nan)
    kernel(x, out)
    return out


def pool_squares(plane):
    mean, square = (np.full(cells_of(plane.shape), np.nan, np.float32) for _ in range(2))
    fast.pool_squares(plane, mean, square)
    return mean, square


def local_deviation(mean, square):
    scratch, first, second, out = (np.full_like(mean, np.nan) for _ in range(4))
    fast.local_deviation(mean, square, scratch, first, second, out)
    return out


def activity_mask(deviation, minimum, share=0.455, weights=WEIGHTS, most=40.0):
    out = np.full_like(deviation, np.nan)
    fast.activity_mask(deviation, minimum, np.float32(share), weights, np.float32(most), out)
    return out


def sample_contrast(pilot, pilot_gain, chips, chip_gain, means, gains, floor, first=2, step=4):
    out = np.full(gains.shape, np.nan, np.float32)
    pilot_gain, chip_gain, floor = (np.float32(number) for number in (pilot_gain, chip_gain, floor))
    fast.sample_contrast(pilot, pilot_gain, chips, chip_gain, means, gains, floor, first, step, out)
    return out


def assert_deviation_agrees(plane):
    mean, square = pool_squares(plane)
    exact = slow.local_deviation(*slow.pool_squares(plane))
    np.testing.assert_allclose(local_deviation(mean, square) ** 2, exact**2, rtol=0, atol=VARIANCE)


# ---- cells -----------------------------------------------------------------------------------------


@SIZES
def test_pool_squares_agrees_with_its_twin(shape):
    plane = draw(shape)
    mean, square = pool_squares(plane)
    exact_mean, exact_square = slow.pool_squares(plane)
    np.testing.assert_allclose(mean, exact_mean, rtol=0, atol=GREY_LEVELS)
    np.testing.assert_allclose(square, exact_square, rtol=RELATIVE, atol=GREY_LEVELS)


@pytest.mark.parametrize("shape", [(7, 9), (7, 10), (8, 9)], ids=str)
def test_the_last_cell_of_an_odd_side_repeats_the_edge(shape):
    plane = draw(shape)
    even = np.pad(plane, [(0, n % 2) for n in shape], mode="edge")
    for result, expected in zip(pool_squares(plane), pool_squares(even), strict=True):
        np.testing.assert_allclose(result, expected, rtol=RELATIVE)


@SIZES
def test_multiply_cells_agrees_with_its_twin_to_the_bit(shape):
    x, cells = draw(shape, -3, 3), draw(cells_of(shape), 1, 9)
    exact = slow.multiply_cells(x, cells).astype(np.float32)
    fast.multiply_cells(x, cells)
    np.testing.assert_array_equal(x, exact)


@pytest.mark.parametrize(("n_rows", "n_columns"), [(1, 1), (1, 9), (7, 1), (5, 12)])
@pytest.mark.parametrize("rest", [(4, 4), (6, 5)], ids=str)
def test_block_means_agrees_with_its_twin(n_rows, n_columns, rest):
    cells = draw((4 * n_rows + rest[0], 4 * n_columns + rest[1]))
    out = np.full((n_rows, n_columns), np.nan, np.float32)
    fast.block_means(cells, out)
    np.testing.assert_allclose(out, slow.block_means(cells, n_rows, n_columns), rtol=0, atol=GREY_LEVELS)


def test_block_means_are_those_of_the_units_from_4_4_on():
    plane = draw((8 * 5 + 4, 8 * 6 + 4))
    cells, _ = pool_squares(plane)
    out = np.empty((5, 6), np.float32)
    fast.block_means(cells, out)
    blocks = plane[4:, 4:].astype(np.float64).reshape(5, 8, 6, 8).mean(axis=(1, 3))
    np.testing.assert_allclose(out + 128, blocks, rtol=0, atol=GREY_LEVELS)


# ---- neighbourhoods --------------------------------------------------------------------------------


@SIZES
def test_box5_agrees_with_its_twin(shape):
    x = draw(shape)
    np.testing.assert_allclose(run(fast.box5, x), slow.box5(x), rtol=0, atol=GREY_LEVELS)


@SIZES
def test_min5_agrees_with_its_twin_to_the_bit(shape):
    x = draw(shape, -128, 127)
    np.testing.assert_array_equal(run(fast.min5, x), slow.min5(x))


@SIZES
def test_the_mean_and_minimum_of_a_constant_are_the_constant(shape):
    constant = np.full(shape, 93, np.float32)
    np.testing.assert_allclose(run(fast.box5, constant), 93, rtol=RELATIVE)
    np.testing.assert_array_equal(run(fast.min5, constant), constant)


def test_an_error_of_one_cell_stays_within_its_neighbourhood():
    x = draw((30, 41))
    disturbed = x.copy()
    disturbed[11, 20] = 1e9
    differs = run(fast.box5, x) != run(fast.box5, disturbed)
    assert differs[9:14, 18:23].all()
    differs[9:14, 18:23] = False
    assert not differs.any()


def test_a_dark_cell_is_the_minimum_of_its_neighbourhood_and_of_no_more():
    x = np.full((20, 30), 5, np.float32)
    x[0, 0] = x[9, 14] = 1
    expected = np.full_like(x, 5)
    expected[:3, :3] = expected[7:12, 12:17] = 1
    np.testing.assert_array_equal(run(fast.min5, x), expected)


# ---- deviation and mask ----------------------------------------------------------------------------


@SIZES
def test_local_deviation_agrees_with_its_twin(shape):
    assert_deviation_agrees(draw(shape))


def test_local_deviation_of_a_drawn_plane_agrees_with_its_twin(plane):
    assert_deviation_agrees(plane)


def test_local_deviation_is_that_of_the_units_less_their_local_mean():
    plane = draw((40, 52))
    rest = plane - np.kron(slow.box5(slow.pool_squares(plane)[0]) + 128, np.ones((2, 2)))
    windows = np.lib.stride_tricks.sliding_window_view(rest, (10, 10))[::2, ::2]
    result = local_deviation(*pool_squares(plane))[2:-2, 2:-2]
    np.testing.assert_allclose(result, windows.std(axis=(2, 3)), rtol=0, atol=1e-3)


@pytest.mark.parametrize("level", [0, 1, 127.3, 255])
def test_a_constant_has_no_deviation(level):
    deviation = local_deviation(*pool_squares(np.full((20, 24), level, np.float32)))
    assert np.all(deviation**2 < VARIANCE)


def test_brightness_moves_no_deviation():
    plane = draw((40, 52), 0, 100)
    darker, brighter = (local_deviation(*pool_squares(plane + level)) for level in (0, 155))
    np.testing.assert_allclose(darker, brighter, rtol=0, atol=1e-3)


@pytest.mark.parametrize(("share", "most"), [(0.455, 40.0), (0.5, 3.0), (1.0, 1e3)])
@SIZES
def test_activity_mask_agrees_with_its_twin(shape, share, most):
    deviation, minimum = draw(shape, 0, 60), draw(shape, 0, 20, 1)
    exact = slow.activity_mask(deviation, minimum, share, WEIGHTS, most)
    scale = np.abs(WEIGHTS) @ np.sqrt(min(most, 80 * share)) ** np.arange(6)  # terms cancel each other
    result = activity_mask(deviation, minimum, share, WEIGHTS, most)
    np.testing.assert_allclose(result, exact, rtol=0, atol=RELATIVE * scale)


def test_the_mask_of_no_activity_is_the_constant_term_and_stands_still_beyond_the_most():
    none, much = np.zeros((9, 9), np.float32), np.full((9, 9), 300, np.float32)
    np.testing.assert_array_equal(activity_mask(none, none), WEIGHTS[0])
    np.testing.assert_array_equal(activity_mask(much, much), activity_mask(2 * much, 0 * much))


# ---- contrast --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("shape", "samples"), [((5, 5), (1, 1)), ((30, 41), (7, 10)), ((90, 64), (11, 8))])
@pytest.mark.parametrize(("first", "step"), [(2, 4), (3, 5), (2, 1)])
def test_contrast_agrees_with_its_twin(shape, samples, first, step):
    pilot, chips, means = (draw(shape, 0, 30, seed) for seed in range(3))
    samples = tuple(min(n, (side - 3 - first) // step + 1) for n, side in zip(samples, shape, strict=True))
    gains = draw(samples, 0, 2, 3)
    arguments = pilot, 0.04, chips, 0.08, means + 90, gains, 50.0, first, step
    np.testing.assert_allclose(
        sample_contrast(*arguments), slow.sample_contrast(*arguments), rtol=50 * RELATIVE
    )


def test_contrast_grows_with_the_power_of_the_mark_and_falls_with_that_of_the_host():
    pilot, chips, means = (draw((30, 40), 1, 9, seed) for seed in range(3))
    gains = draw((7, 9), 1, 2, 3)
    once = sample_contrast(pilot, 0.1, chips, 0.2, means, gains, 0)
    stronger = sample_contrast(2 * pilot, 0.1, 2 * chips, 0.2, means, gains, 0)
    np.testing.assert_allclose(stronger, 4 * once, rtol=RELATIVE)
    livelier = sample_contrast(pilot, 0.1, chips, 0.2, 2 * means, gains, 0)
    np.testing.assert_allclose(livelier, once / 4, rtol=50 * RELATIVE)
    np.testing.assert_allclose(sample_contrast(pilot, 0.1, chips, 0.2, means, 2 * gains, 0), once, rtol=1e-5)


def test_contrast_is_higher_where_colours_are_more_sensitive_on_flat_ground():
    ones = np.ones((12, 12), np.float32)
    gains = np.array([[1, 2], [3, 4]], np.float32)
    np.testing.assert_allclose(sample_contrast(ones, 1, ones, 3, 50 * ones, gains, 8), gains**2 / 2)
