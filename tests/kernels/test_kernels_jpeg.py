"""Kernels that look ahead to JPEG against their twins."""

import numpy as np
import pytest
from reference import dct as slow_dct
from reference import jpeg as slow

from fastmark.kernels import jpeg as fast

SHAPES = [(8, 8), (8, 40), (40, 8), (13, 21), (37, 50)]
SIZES = pytest.mark.parametrize("shape", SHAPES, ids=str)
V, U = np.mgrid[0:8, 0:8]
STEPS = {"coarse": 16 + 5 * V + 4 * U, "fine": 1 + 0.5 * V + 0.25 * U, "flat": np.full((8, 8), 10)}
"""JPEG's tables, indexed [v, u]."""
QUANTISERS = pytest.mark.parametrize("steps", [s.astype(np.float32) for s in STEPS.values()], ids=list(STEPS))
SETS = {
    "coarse": [STEPS["coarse"] / n for n in (1, 1.3, 1.7, 2, 2.5, 3, 4)],
    "fine": [STEPS["fine"], *[STEPS["flat"] * n for n in (0.3, 0.6, 1, 1.4, 2, 3)]],
}
"""Sets of quantisers, as those that are pushed over."""
ALL_SETS = pytest.mark.parametrize("name", SETS)
PUSHES = pytest.mark.parametrize(
    ("limit", "cost", "least", "margin"),
    [(2.5, 4.0, 0.5, 0.3), (4.0, 0.5, 0.0, 0.0), (9.0, 2.0, 3.0, 1.0)],
    ids=str,
)
SCALES = pytest.mark.parametrize("scale", [1.0, 0.6, 1.7])

COEFFICIENT = 1e-3  # float32 sums of 64 products of 255
PUSH = 1e-4  # grey levels
TIE = 1e-4  # steps, or grey levels: so near to a threshold, float32 may go the other way
RELATIVE = 1e-5


def draw(shape, low=0.0, high=255.0, seed=0):
    return np.random.default_rng([seed, *shape]).uniform(low, high, shape).astype(np.float32)


def quantisers(name):
    """``(7, 8, 8)``, indexed [u, v]."""
    return np.stack([table.T for table in SETS[name]]).astype(np.float32)


def quantise(plane, steps):
    out = np.full_like(plane, np.nan)
    fast.quantise(plane, steps, out)
    return out


def push(x, d, scale, steps, limit, cost, least, margin):
    change = np.zeros_like(d)
    scale, *rest = (np.float32(number) for number in (scale, limit, cost, least, margin))
    fast.push_blocks(x, d, scale, steps, *rest, change)
    return change


def harden(plane, delta, scale, steps, limit, cost, least, margin, pieces=None, out=None):
    """Return what was written and the sum of what the kernel returned."""
    out = np.full_like(plane, np.nan) if out is None else out
    scale, *rest = (np.float32(number) for number in (scale, limit, cost, least, margin))
    square = 0.0
    for first, last in pieces or [(0, -(-plane.shape[0] // 8))]:
        square += fast.harden(plane, delta, scale, steps, *rest, first, last, out)
    return out, square


def decided(twin, host, mark, scale, steps, limit, cost, least, margin):
    """What the twin says, and where it would say the same of inputs that are a little different.

    Elsewhere float32 may take another decision: to push or not is a jump.
    """
    exact = twin(host, mark, scale, steps, limit, cost, least, margin)
    sure = np.ones(exact.shape, bool)
    for sign in (TIE, -TIE):
        nudged = host + sign * draw(host.shape, -1, 1, 5).astype(np.float64)
        wider, cheaper = limit * (1 + sign), cost * (1 - sign)
        other = twin(nudged, mark, scale, steps, wider, cheaper, least * (1 - sign), margin)
        sure &= np.abs(other - exact) < 10 * TIE
    return exact, sure


def coefficients(plane):
    """Of all whole blocks: ``(8, 8, blocks)``."""
    rows, n = plane.shape[0] // 8, plane.shape[1] // 8
    return np.concatenate([slow_dct.forward_blocks(plane, 8 * by, 0, n) for by in range(rows)], axis=2)


def whole_blocks(shape):
    """Places within whole blocks."""
    whole = np.zeros(shape, bool)
    whole[: shape[0] // 8 * 8, : shape[1] // 8 * 8] = True
    return whole


# ---- thresholds ------------------------------------------------------------------------------------


@SCALES
@PUSHES
@ALL_SETS
@pytest.mark.parametrize("n", [1, 5, 30])
def test_push_blocks_agrees_with_its_twin(n, name, limit, cost, least, margin, scale):
    x, d = draw((8, 8, n), -300, 300), draw((8, 8, n), -8, 8, 1)
    arguments = x, d, scale, quantisers(name), limit, cost, least, margin
    exact, sure = decided(slow.push_blocks, *arguments)
    assert sure.mean() > 0.99
    np.testing.assert_allclose(push(*arguments)[sure], exact[sure], rtol=0, atol=PUSH)


@ALL_SETS
def test_push_blocks_leaves_the_constant_term_and_the_highest_frequencies_alone(name):
    x, d = draw((8, 8, 30), -300, 300), draw((8, 8, 30), -8, 8, 1)
    change = np.full_like(d, 7)
    limit, cost, one = np.float32(9), np.float32(0.1), np.float32(1)
    fast.push_blocks(x, d, one, quantisers(name), limit, cost, np.float32(0), one, change)
    assert not change[0, 0].any()
    assert np.all(change[fast.PUSHED :] == 7)
    assert np.all(change[:, fast.PUSHED :] == 7)
    assert np.all((change[: fast.PUSHED, : fast.PUSHED] != 0).any(axis=2).ravel()[1:])


@SCALES
@ALL_SETS
def test_pushed_coefficients_keep_their_sign_and_grow_within_the_limits(name, scale):
    x, d = draw((8, 8, 50), -300, 300), draw((8, 8, 50), -8, 8, 1)
    before = scale * d
    after = before + push(x, d, scale, quantisers(name), 1.8, 1.0, 1.0, 0.25)
    np.testing.assert_array_equal(np.sign(after), np.sign(before))
    assert np.all(np.abs(after) >= np.abs(before) - PUSH)
    assert np.all(np.abs(after) <= 1.8 * np.abs(before) + PUSH)
    small = np.abs(before) < 1 - TIE
    assert small.any()
    np.testing.assert_allclose(after[small], before[small], rtol=RELATIVE)


@ALL_SETS
def test_what_was_pushed_is_rounded_a_step_further_by_one_of_the_quantisers(name):
    x, d = draw((8, 8, 50), -300, 300), draw((8, 8, 50), -8, 8, 1)
    steps = quantisers(name)[:, :, :, None]
    change = push(x, d, 1.0, quantisers(name), 3.0, 1.0, 0.5, 0.25)
    pushed = change != 0
    level, after = (np.floor(a / steps + 0.5) * np.sign(d) for a in (x, x + d + change))
    threshold = (level + 0.5) * steps * np.sign(d)
    beyond = (x + d + change - threshold) * np.sign(d)  # it was pushed over this one
    assert 0.05 < pushed[:6, :6].mean() < 0.95
    assert np.all(((after > level) & (np.abs(beyond - 0.25) < 1e-3)).any(axis=0)[pushed])


@ALL_SETS
@pytest.mark.parametrize(("limit", "cost"), [(3.0, 1.0), (2.0, 8.0)])
def test_no_other_size_within_the_limit_is_worth_more(name, limit, cost):
    x, d = draw((8, 8, 40), -300, 300), draw((8, 8, 40), -8, 8, 1)
    steps, up = quantisers(name)[:, :, :, None].astype(np.float64), np.where(d >= 0, 1, -1)
    thresholds = (np.floor(x / steps + 0.5) + 0.5 * up) * steps

    def worth(size):
        passed = (x + up * (size - 0.3) - thresholds) * up >= -TIE
        return np.mean(passed * steps**2, axis=0) - cost * size**2

    size = np.abs(d).astype(np.float64)
    chosen = worth(size + np.abs(push(x, d, 1.0, quantisers(name), limit, cost, 0.0, 0.3)))
    low = np.s_[: fast.PUSHED, : fast.PUSHED]
    for factor in np.linspace(1, limit, 60):
        other = worth(factor * size)
        other[0, 0] = -np.inf
        assert np.all(chosen[low] >= other[low] - 0.05 * cost * size[low] - 0.01)


# ---- JPEG's quantiser ------------------------------------------------------------------------------


@QUANTISERS
@SIZES
def test_quantise_agrees_with_its_twin_where_no_coefficient_is_a_tie(shape, steps):
    plane = draw(shape)
    height, width = (n // 8 * 8 for n in shape)
    multiples = coefficients(plane) / steps.T[:, :, None]
    tied = (np.abs(multiples - np.floor(multiples) - 0.5) < TIE).any(axis=(0, 1))
    spread_out = np.kron(tied.reshape(height // 8, width // 8), np.ones((8, 8), bool))
    compared = np.ones(shape, bool)
    compared[:height, :width] = ~spread_out
    assert compared.mean() > 0.8
    result, exact = quantise(plane, steps), slow.quantise(plane, steps)
    np.testing.assert_allclose(result[compared], exact[compared], rtol=0, atol=COEFFICIENT)


@QUANTISERS
@SIZES
def test_quantised_coefficients_are_the_nearest_multiples_of_their_steps(shape, steps):
    plane = draw(shape)
    before, after = (coefficients(p) / steps.T[:, :, None] for p in (plane, quantise(plane, steps)))
    np.testing.assert_allclose(after, np.rint(after), rtol=0, atol=COEFFICIENT)
    assert np.abs(after - before).max() < 0.5 + COEFFICIENT


def test_quantising_twice_changes_no_more():
    once = quantise(draw((24, 33)), STEPS["coarse"].astype(np.float32))
    twice = quantise(once, STEPS["coarse"].astype(np.float32))
    np.testing.assert_allclose(twice, once, rtol=0, atol=COEFFICIENT)


@pytest.mark.parametrize("shape", [(13, 21), (8, 15), (15, 8), (7, 30), (30, 7), (3, 3)], ids=str)
def test_the_rest_beyond_whole_blocks_is_copied(shape):
    plane, delta = draw(shape), draw(shape, -4, 4, 1)
    rest = ~whole_blocks(shape)
    quantised = quantise(plane, STEPS["flat"].astype(np.float32))
    np.testing.assert_array_equal(quantised[rest], plane[rest])
    hardened, _ = harden(plane, delta, 1.5, quantisers("coarse"), 2.5, 1.0, 0.5, 0.3)
    np.testing.assert_allclose(hardened[rest], 1.5 * delta[rest], rtol=RELATIVE)


# ---- hardening -------------------------------------------------------------------------------------


@SCALES
@PUSHES
@ALL_SETS
@SIZES
def test_harden_agrees_with_its_twin(shape, name, limit, cost, least, margin, scale):
    plane, delta = draw(shape), draw(shape, -4, 4, 1)
    arguments = plane, delta, scale, quantisers(name), limit, cost, least, margin
    exact, sure = decided(slow.harden, *arguments)
    assert sure.mean() >= 0.8
    np.testing.assert_allclose(harden(*arguments)[0][sure], exact[sure], rtol=0, atol=COEFFICIENT)


@ALL_SETS
@pytest.mark.parametrize("shape", [(8, 8), (37, 50), (3, 40), (40, 5)], ids=str)
def test_harden_returns_the_sum_of_the_squares_of_what_it_wrote(shape, name):
    plane, delta = draw(shape), draw(shape, -4, 4, 1)
    out, square = harden(plane, delta, 0.8, quantisers(name), 2.5, 1.0, 0.5, 0.3)
    assert square == pytest.approx(np.sum(out.astype(np.float64) ** 2), rel=RELATIVE)


@pytest.mark.parametrize("shape", [(64, 40), (61, 43)], ids=str)
def test_hardening_in_strips_gives_the_bits_of_hardening_in_one_go(shape):
    arguments = draw(shape), draw(shape, -4, 4, 1), 0.8, quantisers("coarse"), 2.5, 1.0, 0.5, 0.3
    whole, square = harden(*arguments)
    pieces, squares = harden(*arguments, [(4, 8), (4, 4), (0, 1), (1, 4)])
    np.testing.assert_array_equal(pieces, whole)
    assert squares == pytest.approx(square, rel=1e-12)


def test_a_strip_of_hardening_writes_its_rows_of_blocks_alone():
    arguments = draw((40, 40)), draw((40, 40), -4, 4, 1), 1.0, quantisers("coarse"), 2.5, 1.0, 0.5, 0.3
    out, _ = harden(*arguments, pieces=[(1, 3)])
    assert np.isfinite(out[8:24]).all()
    assert np.isnan(out[:8]).all()
    assert np.isnan(out[24:]).all()


def test_hardening_pushes_what_push_blocks_would():
    plane, delta = draw((24, 40)), draw((24, 40), -4, 4, 1)
    steps, rest = quantisers("coarse"), (2.5, 1.0, 0.5, 0.3)
    hardened, _ = harden(plane, delta, 0.8, steps, *rest)
    x, d = (coefficients(p).astype(np.float32) for p in (plane, delta))
    change = coefficients(hardened) - 0.8 * d
    np.testing.assert_allclose(change, push(x, d, 0.8, steps, *rest), rtol=0, atol=COEFFICIENT)


def test_nothing_is_pushed_where_nothing_may_grow():
    plane, delta = draw((24, 40)), draw((24, 40), -4, 4, 1)
    out, square = harden(plane, delta, 2.0, quantisers("coarse"), 1.0, 0.0, 0.0, 0.3)
    np.testing.assert_array_equal(out, 2 * delta)
    assert square == pytest.approx(4 * np.vdot(delta, delta), rel=RELATIVE)


def test_a_mark_that_was_hardened_survives_the_quantiser_better(draw_plane):
    plane = draw_plane("textured", 160, 240)
    delta = draw(plane.shape, -1, 1, 3)
    table = STEPS["coarse"].astype(np.float32)
    hardened, _ = harden(plane, delta, 1.0, quantisers("coarse"), 4.0, 0.5, 0.2, 0.2)

    def kept(mark):
        return np.vdot(quantise(plane + mark, table) - quantise(plane, table), delta)

    assert kept(hardened) > 1.5 * kept(delta) > 0
