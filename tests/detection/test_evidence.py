"""Every p-value bound against the probability itself: exact where it can be had, else by Monte Carlo."""

import itertools
import math

import numpy as np
import pytest

from fastmark.detection.evidence import (
    open_list,
    phase_sum_bound,
    product_bound,
    sign_sum_bound,
    union_bound,
)

DRAWS = 200_000

RADII = {
    "one": np.ones(1),
    "two equal": np.ones(2),
    "three": np.array([1.0, 0.7, 0.4]),
    "one dominant": np.append(10.0, np.full(47, 0.2)),
    "two dominant": np.append([5.0, 5.0], np.full(46, 0.3)),
    "geometric": 0.8 ** np.arange(48),
    "heavy tail": 1 / np.arange(1, 97),
    "equal": np.ones(48),
    "with zeros": np.append(np.ones(12), np.zeros(36)),
    "random": np.random.default_rng(1).exponential(size=96),
}
SIGNED = {
    "one": np.ones(1),
    "two equal": np.ones(2),
    "one dominant": np.append(3.0, np.full(13, 0.1)),
    "equal": np.ones(14),
    "geometric": 0.7 ** np.arange(14),
    "of both signs": np.random.default_rng(2).normal(size=14),
    "powers of two": 2.0 ** np.arange(14),
}
ALL_RADII = pytest.mark.parametrize("radii", RADII.values(), ids=list(RADII))
ALL_SIGNED = pytest.mark.parametrize("x", SIGNED.values(), ids=list(SIGNED))


def draw_phase_sums(radii, seed=0):
    rng = np.random.default_rng(seed)
    sums = np.zeros(DRAWS)
    for radius in radii:
        sums += radius * np.cos(rng.random(DRAWS) * (2 * np.pi))
    return sums


def assert_no_more_often(count, trials, bound):
    """So many of the trials are compatible with a probability of at most ``bound``: within 5 sigma and 3."""
    assert count <= trials * bound + 5 * math.sqrt(trials * bound) + 3


def thresholds(radii):
    return np.linspace(0, 1, 41) * min(radii.sum(), 5.5 * math.sqrt(np.sum(radii**2) / 2))


# ---- sums over phases ------------------------------------------------------------------------------


@ALL_RADII
def test_a_sum_over_phases_exceeds_its_threshold_no_more_often_than_bounded(radii):
    sums = draw_phase_sums(radii)
    for total in thresholds(radii):
        assert_no_more_often(np.sum(sums >= total), DRAWS, math.exp(phase_sum_bound(total, radii)))


def test_the_bound_for_one_phase_holds_exactly():
    for total in np.linspace(0.01, 1, 100):
        assert math.exp(phase_sum_bound(total, np.ones(1))) >= math.acos(total) / math.pi


def test_the_bound_for_two_equal_phases_holds_exactly():
    # cos a + cos b = 2 cos u cos v, u and v independent and uniform: average over a fine grid of v
    v = (np.arange(20_000) + 0.5) * np.pi / 20_000
    for total in np.linspace(0.05, 2, 40):
        exact = np.mean(np.arccos(np.minimum(1, total / (2 * np.abs(np.cos(v))))) / np.pi)
        assert math.exp(phase_sum_bound(total, np.ones(2))) >= exact


@pytest.mark.parametrize("n", [48, 96, 192, 384])
def test_the_bound_on_equal_phases_is_no_weaker_than_the_sub_gaussian_one_where_it_matters(n):
    for sigmas in np.arange(4.5, 9, 0.5):
        total = sigmas * math.sqrt(n)
        sub_gaussian = -(total**2) / n
        assert phase_sum_bound(total, np.ones(n)) <= 0.98 * sub_gaussian


@ALL_RADII
def test_the_phase_bound_falls_as_the_threshold_grows(radii):
    bounds = [phase_sum_bound(total, radii) for total in np.linspace(-1, 1.5, 60) * radii.sum()]
    assert np.all(np.diff(bounds) <= 1e-9)
    assert bounds[0] == 0
    assert math.isfinite(bounds[-1])


# lambda of Chernoff's bound, in units of 1 / root mean square of the radii: the places where it is looked for
LAMBDAS = 1.13 ** np.arange(-40, 40)
CHEAP = 12.0  # nats, below which the Gaussian's bound is good enough


def chernoff(total, radii, lambdas):
    """Its bounds at every lambda, in double precision."""
    return np.log(np.i0(lambdas[:, None] * radii)).sum(axis=1) - lambdas * total


def searched(radii):
    scale = math.sqrt(np.mean(radii**2))
    return LAMBDAS[LAMBDAS * radii.max() / scale < 300] / scale


@ALL_RADII
def test_the_phase_bound_is_the_least_of_all_lambdas_and_never_above_the_gaussian_s(radii):
    """The walk along the convex bound ends where a search of the whole list does."""
    # the last of them are beyond what the radii can add up to
    for total in np.linspace(0.01, 1.2, 300) * radii.sum():
        gaussian = -(total**2) / np.sum(radii**2)
        bound = phase_sum_bound(total, radii)
        assert bound <= gaussian * (1 - 1e-12)
        if gaussian > -CHEAP:
            assert bound == pytest.approx(gaussian, rel=1e-12)
            continue
        exact = min(chernoff(total, radii, searched(radii)).min(), gaussian)
        # I0 is a polynomial, known to 5e-7 of it
        assert bound == pytest.approx(exact, rel=1e-9, abs=6e-7 * radii.size)


@ALL_RADII
def test_the_phase_bound_is_never_below_the_least_that_any_lambda_gives(radii):
    scale = math.sqrt(np.mean(radii**2))
    fine = np.geomspace(1e-3, 300 * scale / radii.max(), 2000) / scale
    for total in np.linspace(0.05, 0.99, 25) * radii.sum():
        least = min(chernoff(total, radii, fine).min(), 0)
        bound = phase_sum_bound(total, radii)
        assert bound >= least - 1e-5 * abs(least)


@pytest.mark.parametrize("n", [48, 96, 384])
def test_the_phase_bound_falls_where_the_search_begins(n):
    """Before, it is the Gaussian's; what it could have been all along is lower, so nothing goes up."""
    radii = np.random.default_rng(n).exponential(size=n)
    edge = math.sqrt(CHEAP * np.sum(radii**2))
    before, after = phase_sum_bound(0.99999 * edge, radii), phase_sum_bound(1.00001 * edge, radii)
    assert before == pytest.approx(-CHEAP, rel=1e-4)
    assert -1.5 * CHEAP < after < -CHEAP
    totals = np.linspace(0.9, 1.1, 400) * edge
    assert np.all(np.diff([phase_sum_bound(total, radii) for total in totals]) < 0)


@pytest.mark.parametrize("name", ["equal", "geometric", "random", "heavy tail"])
def test_phase_bounds_of_drawn_phases_are_passed_no_more_often_than_they_say(name):
    """As they are used: a bound for every draw, and how many of them are so small."""
    radii = RADII[name]
    sums = draw_phase_sums(radii, 7)
    grid = np.linspace(0, min(radii.sum(), 6 * math.sqrt(np.sum(radii**2) / 2)), 2000)
    bounds = np.array([phase_sum_bound(total, radii) for total in grid])
    # a bound falls with the sum: that of the next smaller place of the grid is no smaller
    log_p = bounds[np.maximum(np.searchsorted(grid, sums, side="right") - 1, 0)]
    for nats in range(1, 13):
        assert_no_more_often(np.sum(log_p <= -nats), DRAWS, math.exp(-nats))


@ALL_RADII
def test_the_phase_bound_depends_neither_on_the_unit_nor_on_the_order(radii):
    total = 0.7 * radii.sum()
    bound = phase_sum_bound(total, radii)
    for same in (radii[::-1], np.roll(radii, 3)):
        assert phase_sum_bound(total, same) == pytest.approx(bound, rel=1e-9)
    for unit in (1e-6, 1e9):
        assert phase_sum_bound(unit * total, unit * radii) == pytest.approx(bound, rel=1e-9)


@pytest.mark.parametrize("radii", [np.zeros(0), np.zeros(5), np.ones(5)])
@pytest.mark.parametrize("total", [-3.0, 0.0])
def test_a_phase_sum_that_did_not_rise_is_no_evidence(total, radii):
    assert phase_sum_bound(total, radii) == 0


def test_without_radii_there_is_no_evidence():
    assert phase_sum_bound(7.0, np.zeros(0)) == phase_sum_bound(7.0, np.zeros(5)) == 0


# ---- sums over signs -------------------------------------------------------------------------------


@ALL_SIGNED
def test_the_bound_on_a_sum_over_signs_holds_exactly(x):
    patterns = np.array(list(itertools.product((-1, 1), repeat=x.size)))
    sums = np.sort(patterns @ x)
    share = 1 - np.arange(sums.size) / sums.size
    for total, exact in zip(sums, share, strict=True):
        assert math.exp(sign_sum_bound(total, np.sum(x**2))) >= exact * (1 - 1e-12)


def test_the_bound_on_a_sum_over_many_signs_holds_on_drawn_ones():
    rng = np.random.default_rng(3)
    x = rng.standard_t(3, 500)
    signs = 1 - 2 * np.unpackbits(rng.integers(0, 256, (DRAWS // 4, 63), np.uint8), axis=1)[:, :500].astype(
        np.int8
    )
    sums = signs @ x
    for total in np.linspace(0, 4.5, 30) * math.sqrt(np.sum(x**2)):
        assert_no_more_often(np.sum(sums >= total), sums.size, math.exp(sign_sum_bound(total, np.sum(x**2))))


def test_the_sign_bound_is_hoeffdings():
    assert sign_sum_bound(6.0, 4.0) == pytest.approx(-4.5)
    assert sign_sum_bound(9.4, 1.0) == pytest.approx(-44.18)


@pytest.mark.parametrize(("total", "sum_of_squares"), [(0, 1), (-5, 1), (3, 0), (0, 0)])
def test_a_sign_sum_that_did_not_rise_or_has_no_terms_is_no_evidence(total, sum_of_squares):
    assert sign_sum_bound(total, sum_of_squares) == 0


def test_the_sign_bound_falls_with_the_total_and_rises_with_the_terms():
    assert np.all(np.diff([sign_sum_bound(total, 10.0) for total in np.linspace(0, 50, 40)]) < 0)
    assert np.all(np.diff([sign_sum_bound(5.0, squares) for squares in np.linspace(0.1, 50, 40)]) > 0)


# ---- combinations ----------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_the_product_bound_is_the_probability_itself_for_uniform_p_values(n):
    products = np.random.default_rng(n).random((500_000, n)).prod(axis=1)
    for q in (0.5, 0.1, 0.01, 1e-3, 1e-4):
        exact = np.mean(products <= q)
        bound = math.exp(product_bound(math.log(q), *[0.0] * (n - 1)))
        assert bound == pytest.approx(exact, abs=5 * math.sqrt(exact / products.size) + 1e-5)


def test_the_product_of_one_is_itself():
    assert product_bound(-7.25) == pytest.approx(-7.25)


def test_the_product_bound_holds_for_the_bounds_of_two_independent_statistics():
    phases = draw_phase_sums(RADII["geometric"], 5)
    signs = np.random.default_rng(6).choice([-1, 1], (DRAWS, 14)) @ SIGNED["geometric"]
    squares = np.sum(SIGNED["geometric"] ** 2)
    grid = np.linspace(-8, 8, 400)
    log_a = np.interp(phases, grid, [phase_sum_bound(t, RADII["geometric"]) for t in grid])
    log_b = -(np.maximum(signs, 0) ** 2) / (2 * squares)
    log_p = np.array([product_bound(*pair) for pair in zip(log_a, log_b, strict=True)])
    for claimed in (0.3, 0.1, 0.01, 1e-3, 1e-4):
        assert_no_more_often(np.sum(log_p <= math.log(claimed)), DRAWS, claimed)


@pytest.mark.parametrize(("log_a", "log_b"), [(-1e-9, -1e-9), (-3.0, -40.0), (-1e4, -2.0), (-1e8, -1e8)])
def test_the_product_bound_is_symmetric_at_most_one_and_never_below_the_product(log_a, log_b):
    bound = product_bound(log_a, log_b)
    assert bound == product_bound(log_b, log_a)
    assert log_a + log_b <= bound <= 0


def test_the_product_with_no_evidence_is_no_better_than_the_evidence():
    assert product_bound(0.0, 0.0) == 0
    for log_p in (-0.1, -5.0, -100.0):
        assert product_bound(log_p, 0.0) > log_p


def test_the_product_bound_falls_with_either_part():
    assert np.all(np.diff([product_bound(-x, -2.0) for x in np.linspace(0, 60, 200)]) < 0)


@pytest.mark.parametrize("n", [1, 2, 17, 400])
def test_the_best_of_many_looks_passes_no_more_often_than_the_union_bound_says(n):
    looks = np.random.default_rng(n).random((DRAWS // n, n))
    best = np.log(looks.min(axis=1))
    for claimed in (0.2, 0.02, 0.002):
        passed = sum(union_bound(log_p, math.log(n)) <= math.log(claimed) for log_p in best)
        assert_no_more_often(passed, best.size, claimed)


def test_a_union_over_one_place_is_free_and_no_union_is_worse_than_certain():
    assert union_bound(-12.5, 0.0) == -12.5
    assert union_bound(-3.0, 10.0) == 0
    assert union_bound(-30.0, math.log(1024**2)) == pytest.approx(-30 + 20 * math.log(2))


def test_the_shares_of_an_open_list_add_up_to_one():
    shares = [math.exp(-open_list(n)) for n in range(1, 2000)]
    assert sum(shares) == pytest.approx(1 - 1 / 2000)
    assert np.all(np.diff(shares) < 0)
