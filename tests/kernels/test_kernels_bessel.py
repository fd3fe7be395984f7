"""The modified Bessel function against numpy's and scipy's, and the error that bounds allow for."""

import numpy as np
import pytest
from reference import bessel as slow

from fastmark.kernels import bessel as fast

RELATIVE = fast.RELATIVE_ERROR
ROUNDING = 1e-12  # of float64 logarithms of up to 1e3
SWITCH = 3.75  # where the one polynomial gives way to the other

RADII = pytest.mark.parametrize("n", [0, 1, 2, 48, 384])
SCALES = pytest.mark.parametrize("scale", [1e-3, 0.3, 3.0, 40.0])


def draw(n, seed=0):
    return np.random.default_rng([seed, n]).uniform(0, 4, n)


def log_i0(x):
    """Of every place by itself."""
    return np.array([fast.log_i0_sum(np.array([place]), 1.0) for place in x])


@SCALES
@RADII
def test_log_i0_sum_agrees_with_its_twin(n, scale):
    radii = draw(n)
    exact = slow.log_i0_sum(radii, scale)
    # the error is relative to I0, so of a sum of logarithms it is absolute, once for every term
    assert fast.log_i0_sum(radii, scale) == pytest.approx(exact, rel=ROUNDING, abs=n * RELATIVE + ROUNDING)


@pytest.mark.parametrize(
    ("low", "high"), [(0.0, 0.1), (0.1, SWITCH), (SWITCH, 10.0), (10.0, 60.0), (60.0, 300.0), (300.0, 1e4)]
)
def test_the_relative_error_of_i0_is_below_the_stated_one_everywhere(low, high):
    special = pytest.importorskip("scipy.special", reason="I0 to double precision where exp overflows")
    x = np.linspace(low, high, 20_001)
    exact = np.log(special.i0e(x)) + x
    assert np.abs(np.expm1(log_i0(x) - exact)).max() < RELATIVE


def test_the_twin_is_scipys_function():
    special = pytest.importorskip("scipy.special", reason="an independent I0")
    for x in (0.0, 0.7, 3.75, 20.0, 300.0):
        assert slow.log_i0_sum(np.array([x]), 1.0) == pytest.approx(np.log(special.i0e(x)) + x, abs=1e-12)


def test_nothing_adds_up_to_nothing():
    assert fast.log_i0_sum(np.empty(0), 2.0) == 0
    assert fast.log_i0_sum(np.zeros(5), 2.0) == 0
    assert fast.log_i0_sum(draw(5), 0.0) == 0


def test_the_polynomials_meet_where_one_gives_way_to_the_other():
    below, above = log_i0([np.nextafter(SWITCH, 0), SWITCH])
    assert below == pytest.approx(above, abs=2 * RELATIVE)


def test_it_grows_and_bends_upwards_and_stays_below_the_gaussians():
    x = np.linspace(0, 60, 601)
    value = log_i0(x)
    assert np.all(np.diff(value) > 0)
    # convex but for the error, as every logarithm of a moment generating function
    assert np.diff(value, 2).min() > -4 * RELATIVE
    assert np.all(value <= x**2 / 4 + RELATIVE)


def test_the_sum_is_that_of_its_parts():
    radii = draw(384)
    parts = sum(fast.log_i0_sum(part, 3.0) for part in np.split(radii, [48, 96, 192]))
    assert fast.log_i0_sum(radii, 3.0) == pytest.approx(parts, rel=ROUNDING)
