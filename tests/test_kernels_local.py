"""Kernels over 9 x 9 neighbourhoods against their twins."""

import numpy as np
import pytest
from reference import local as slow

from fastmark.kernels import local as fast

SHAPES = [(1, 1), (1, 30), (30, 1), (2, 3), (8, 8), (9, 9), (13, 21), (40, 67)]
SIZES = pytest.mark.parametrize("shape", SHAPES, ids=str)

GREY_LEVELS = 2e-4  # float32 sums of 81 values of 255
VARIANCE = 2e-2  # grey levels squared: the difference of two float32 means of up to 255^2
RELATIVE = 1e-5


def draw(shape, seed=0):
    return (np.random.default_rng([seed, *shape]).random(shape) * 255).astype(np.float32)


def run(kernel, x, *arguments):
    out = np.full_like(x, np.nan)
    kernel(x, *arguments, out)
    return out


def high_pass(plane):
    highpass, deviation, scratch = (np.full_like(plane, np.nan) for _ in range(3))
    fast.high_pass(plane, highpass, deviation, scratch)
    return highpass, deviation


def assert_agrees_with_high_pass(plane):
    highpass, deviation = high_pass(plane)
    slow_highpass, slow_deviation = slow.high_pass(plane)
    np.testing.assert_allclose(highpass, slow_highpass, rtol=0, atol=GREY_LEVELS)
    np.testing.assert_allclose(deviation**2, slow_deviation**2, rtol=0, atol=VARIANCE)


@SIZES
def test_box9_agrees_with_its_twin(shape):
    x = draw(shape)
    np.testing.assert_allclose(run(fast.box9, x), slow.box9(x), rtol=0, atol=GREY_LEVELS)


@SIZES
def test_min9_agrees_with_its_twin_to_the_bit(shape):
    x = draw(shape) - 128
    np.testing.assert_array_equal(run(fast.min9, x), slow.min9(x))


@SIZES
def test_high_pass_agrees_with_its_twin(shape):
    assert_agrees_with_high_pass(draw(shape))


def test_high_pass_of_a_drawn_plane_agrees_with_its_twin(plane):
    assert_agrees_with_high_pass(plane)


@pytest.mark.parametrize("steps", [1, 4, 16])
@SIZES
def test_activity_mask_agrees_with_its_twin(shape, steps):
    deviation = draw(shape) / 4
    table = np.append(2.5 + np.sqrt(np.arange(40 * steps)), [9, 9]).astype(np.float32)
    scratch, out = np.empty_like(deviation), np.empty_like(deviation)
    fast.activity_mask(deviation, scratch, table, np.float32(steps), out)
    np.testing.assert_allclose(out, slow.activity_mask(deviation, table, steps), rtol=1e-4)


@SIZES
def test_the_mean_and_minimum_of_a_constant_are_the_constant(shape):
    constant = np.full(shape, 93, np.float32)
    np.testing.assert_allclose(run(fast.box9, constant), 93, rtol=RELATIVE)
    np.testing.assert_array_equal(run(fast.min9, constant), constant)


@pytest.mark.parametrize("level", [0, 1, 127.3, 255])
def test_a_constant_has_no_high_pass_and_no_deviation(level):
    highpass, deviation = high_pass(np.full((20, 24), level, np.float32))
    assert np.abs(highpass).max() < GREY_LEVELS
    assert deviation.max() < GREY_LEVELS


def test_an_error_of_one_pixel_stays_within_its_neighbourhood():
    plane = draw((30, 41))
    disturbed = plane.copy()
    disturbed[11, 20] = 1e9
    differs = run(fast.box9, plane) != run(fast.box9, disturbed)
    assert differs[7:16, 16:25].all()
    differs[7:16, 16:25] = False
    assert not differs.any()


def test_the_mask_is_least_on_flat_ground_and_half_as_steep_beside_it():
    table = np.arange(100, dtype=np.float32)
    deviation = np.zeros((30, 40), np.float32)
    deviation[:, 20:] = 8
    scratch, mask = np.empty_like(deviation), np.empty_like(deviation)
    fast.activity_mask(deviation, scratch, table, np.float32(1), mask)
    assert set(mask[:, :20].flat) == {0.0}
    assert set(mask[:, 20:24].flat) == {4.0}
    assert set(mask[:, 24:].flat) == {8.0}
