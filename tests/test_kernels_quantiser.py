"""Kernels that look ahead to JPEG against their twins."""

import numpy as np
import pytest
from reference import dct as slow_dct
from reference import quantiser as slow

from fastmark.kernels import quantiser as fast

SHAPES = [(8, 8), (8, 40), (40, 8), (13, 21), (37, 50)]
SIZES = pytest.mark.parametrize("shape", SHAPES, ids=str)
V, U = np.mgrid[0:8, 0:8]
STEPS = {"coarse": 16 + 5 * (V + U), "fine": 1 + 0.5 * V + 0.25 * U, "flat": np.full((8, 8), 10)}
QUANTISERS = pytest.mark.parametrize("steps", [s.astype(np.float32) for s in STEPS.values()], ids=list(STEPS))
PUSHES = pytest.mark.parametrize(
    ("least", "limit", "margin"), [(0.5, 2.0, 0.3), (0.0, 1.2, 0.0), (3.0, 9.0, 1.0)], ids=str
)

COEFFICIENT = 1e-3  # float32 sums of 64 products of 255
TIE = 1e-4  # steps: so near to a threshold, float32 may round the other way


def draw(shape, low=0.0, high=255.0, seed=0):
    return np.random.default_rng([seed, *shape]).uniform(low, high, shape).astype(np.float32)


def numbers(*values):
    return tuple(np.float32(value) for value in values)


def quantise(plane, steps):
    out = np.full_like(plane, np.nan)
    fast.quantise(plane, steps, out)
    return out


def coefficients(plane):
    """Of all whole blocks: ``(8, 8, blocks)``."""
    rows, n = plane.shape[0] // 8, plane.shape[1] // 8
    loaded = [slow_dct.load_blocks(plane[:, : 8 * n], 8 * by, 0, n) for by in range(rows)]
    return slow_dct.forward_blocks(np.concatenate(loaded, axis=2))


@PUSHES
@QUANTISERS
@pytest.mark.parametrize("n", [1, 5, 30])
def test_push_blocks_agrees_with_its_twin(n, steps, least, limit, margin):
    x, d = draw((8, 8, n), -300, 300), draw((8, 8, n), -8, 8, 1)
    exact = slow.push_blocks(x, d, steps, least, limit, margin)
    fast.push_blocks(x, d, steps, *numbers(least, limit, margin))
    np.testing.assert_allclose(d, exact, rtol=0, atol=1e-4)


@QUANTISERS
def test_pushed_coefficients_keep_their_sign_and_grow_within_the_limit(steps):
    x, before = draw((8, 8, 50), -300, 300), draw((8, 8, 50), -8, 8, 1)
    d = before.copy()
    fast.push_blocks(x, d, steps, *numbers(1.0, 1.8, 0.25))
    np.testing.assert_array_equal(np.sign(d), np.sign(before))
    assert np.all(np.abs(d) >= np.abs(before))
    assert np.all(np.abs(d) <= 1.8001 * np.abs(before))
    np.testing.assert_array_equal(d[np.abs(before) < 1], before[np.abs(before) < 1])
    np.testing.assert_array_equal(d[0, 0], before[0, 0])


@QUANTISERS
def test_what_was_pushed_is_rounded_a_step_further(steps):
    x, before = draw((8, 8, 50), -300, 300), draw((8, 8, 50), -8, 8, 1)
    d = before.copy()
    fast.push_blocks(x, d, steps, *numbers(0.5, 3.0, 0.25))
    pushed = d != before
    level = np.floor(x / steps[:, :, None] + 0.5)
    moved = np.floor((x + d) / steps[:, :, None] + 0.5) - level
    assert pushed.any()
    np.testing.assert_array_equal(moved[pushed], np.sign(d[pushed]))


@QUANTISERS
@SIZES
def test_quantise_agrees_with_its_twin_where_no_coefficient_is_a_tie(shape, steps):
    plane = draw(shape)
    height, width = (n // 8 * 8 for n in shape)
    multiples = coefficients(plane) / steps[:, :, None]
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
    before, after = (coefficients(p) / steps[:, :, None] for p in (plane, quantise(plane, steps)))
    np.testing.assert_allclose(after, np.rint(after), rtol=0, atol=COEFFICIENT)
    assert np.abs(after - before).max() < 0.5 + COEFFICIENT


def test_quantising_twice_changes_no_more():
    once = quantise(draw((24, 33)), STEPS["coarse"].astype(np.float32))
    twice = quantise(once, STEPS["coarse"].astype(np.float32))
    np.testing.assert_allclose(twice, once, rtol=0, atol=COEFFICIENT)


@pytest.mark.parametrize("shape", [(13, 21), (8, 15), (15, 8)], ids=str)
def test_the_rest_beyond_whole_blocks_is_copied(shape):
    plane, delta = draw(shape), draw(shape, -4, 4, 1)
    steps = STEPS["flat"].astype(np.float32)
    hardened = np.full_like(plane, np.nan)
    fast.harden(plane, delta, steps, *numbers(0.5, 2.0, 0.3), hardened)
    height, width = (n // 8 * 8 for n in shape)
    for source, result in ((plane, quantise(plane, steps)), (delta, hardened)):
        np.testing.assert_array_equal(result[height:], source[height:])
        np.testing.assert_array_equal(result[:, width:], source[:, width:])


@PUSHES
@QUANTISERS
@SIZES
def test_harden_agrees_with_its_twin(shape, steps, least, limit, margin):
    plane, delta = draw(shape), draw(shape, -4, 4, 1)
    out = np.full_like(plane, np.nan)
    fast.harden(plane, delta, steps, *numbers(least, limit, margin), out)
    exact = slow.harden(plane, delta, steps, least, limit, margin)
    np.testing.assert_allclose(out, exact, rtol=0, atol=COEFFICIENT)


def test_a_mark_that_was_hardened_survives_the_quantiser_better(draw_plane):
    plane = draw_plane("textured", 160, 240)
    delta = draw(plane.shape, -1, 1, 3)
    steps = STEPS["coarse"].astype(np.float32)
    hardened = np.empty_like(delta)
    fast.harden(plane, delta, steps, *numbers(0.2, 4.0, 0.2), hardened)

    def kept(mark):
        return np.vdot(quantise(plane + mark, steps) - quantise(plane, steps), delta)

    assert kept(hardened) > 1.5 * kept(delta) > 0
