"""Kernels of the score plane against their twins, and what a score plane must not depend on."""

import numpy as np
import pytest
from reference import score as slow

from fastmark.detection.scores import scores
from fastmark.kernels import score as fast

SHAPES = [(8, 8), (8, 9), (9, 8), (3, 20), (16, 24), (29, 43)]
SIZES = pytest.mark.parametrize("shape", SHAPES, ids=str)
NONLINEARITIES = pytest.mark.parametrize(("floor", "limit"), [(4.0, 1.5), (1.0, 3.0), (10.0, 0.1)])

SCORE = 2e-5  # 1 / grey levels; scores are at most limit / floor
RELATIVE = 1e-5


def draw(shape, seed=0):
    return np.random.default_rng([seed, *shape]).uniform(0, 255, shape).astype(np.float32)


def score_blocks(x, floor, limit, gain=1.0):
    sums, out = np.full_like(x, np.nan), np.full_like(x, np.nan)
    fast.score_blocks(x, np.float32(floor), np.float32(limit), np.float32(gain), sums, out)
    return out


def add_scores(plane, oy, ox, floor=4.0, limit=1.5, gain=1.0, pieces=None, out=None):
    out = np.zeros_like(plane) if out is None else out
    floor, limit, gain = (np.float32(number) for number in (floor, limit, gain))
    for first, last in pieces or [(0, -(-(plane.shape[0] + oy) // 8))]:
        fast.add_scores(plane, oy, ox, floor, limit, gain, first, last, out)
    return out


@pytest.mark.parametrize("gain", [1.0, 0.25])
@NONLINEARITIES
@pytest.mark.parametrize("n", [1, 2, 30])
def test_score_blocks_agrees_with_its_twin(n, floor, limit, gain):
    x = np.random.default_rng(n).laplace(0, 20, (8, 8, n)).astype(np.float32)
    exact = slow.score_blocks(x, floor, limit, gain)
    np.testing.assert_allclose(score_blocks(x, floor, limit, gain), exact, rtol=RELATIVE, atol=1e-8)


def test_scores_of_coefficients_far_below_the_floor_are_linear():
    x = np.random.default_rng(0).normal(0, 1e-3, (8, 8, 4)).astype(np.float32)
    expected = x / 16
    expected[0, 0] = 0
    np.testing.assert_allclose(score_blocks(x, 4, 1.5), expected, rtol=RELATIVE)


def test_neither_the_constant_term_nor_its_size_scores():
    x = np.random.default_rng(0).normal(0, 20, (8, 8, 4)).astype(np.float32)
    louder = x.copy()
    louder[0, 0] = 2000
    result = score_blocks(x, 4, 1.5)
    assert not result[0, 0].any()
    np.testing.assert_allclose(score_blocks(louder, 4, 1.5), result, rtol=RELATIVE)


def test_score_blocks_treats_rows_and_columns_alike():
    x = np.random.default_rng(0).laplace(0, 20, (8, 8, 9)).astype(np.float32)
    flipped = np.ascontiguousarray(x.transpose(1, 0, 2))
    result = score_blocks(flipped, 4, 1.5).transpose(1, 0, 2)
    np.testing.assert_allclose(result, score_blocks(x, 4, 1.5), rtol=RELATIVE)


@NONLINEARITIES
@pytest.mark.parametrize(("oy", "ox"), [(0, 0), (2, 4), (7, 1), (6, 6)])
@SIZES
def test_add_scores_agrees_with_its_twin(shape, oy, ox, floor, limit):
    plane = draw(shape)
    exact = slow.add_scores(plane, oy, ox, floor, limit, 0.25)
    np.testing.assert_allclose(add_scores(plane, oy, ox, floor, limit, 0.25), exact, rtol=0, atol=SCORE)


def test_add_scores_adds_to_what_is_there():
    plane = draw((20, 30))
    out = add_scores(plane, 2, 4, out=np.full_like(plane, 7))
    np.testing.assert_allclose(out - 7, add_scores(plane, 2, 4), rtol=0, atol=SCORE)


@pytest.mark.parametrize(("oy", "ox"), [(0, 0), (2, 4), (6, 6)])
def test_scores_added_in_strips_have_the_bits_of_those_added_in_one_go(oy, ox):
    plane = draw((59, 43))
    pieces = [(2, 7), (7, -(-(59 + oy) // 8)), (0, 1), (1, 2), (2, 2)]
    np.testing.assert_array_equal(add_scores(plane, oy, ox, pieces=pieces), add_scores(plane, oy, ox))


def test_a_strip_of_scores_is_added_to_its_rows_of_blocks_alone():
    out = add_scores(draw((40, 30)), 2, 0, pieces=[(1, 3)])
    assert out[6:22].any(axis=1).all()
    assert not out[:6].any()
    assert not out[22:].any()


def test_moving_plane_and_grid_together_moves_the_scores():
    plane = draw((40, 48))
    whole = add_scores(plane, 0, 0)
    part = add_scores(np.ascontiguousarray(plane[2:, 5:]), 2, 5)
    np.testing.assert_allclose(part[6:30, 3:35], whole[8:32, 8:40], rtol=0, atol=SCORE)


def test_the_score_plane_of_the_negative_is_the_negative(plane):
    np.testing.assert_allclose(scores(255 - plane), -scores(plane), rtol=0, atol=SCORE)


def test_the_score_plane_does_not_know_the_brightness(plane):
    dimmed = plane / 2
    np.testing.assert_allclose(scores(dimmed + 100), scores(dimmed), rtol=0, atol=SCORE)


@pytest.mark.parametrize("level", [0, 17.3, 255])
def test_a_constant_plane_scores_nothing(level):
    assert np.abs(scores(np.full((30, 30), level, np.float32))).max() < SCORE


@pytest.mark.parametrize("shape", [(1, 1), (7, 100), (100, 7)])
def test_a_plane_narrower_than_a_block_has_no_scores(shape):
    assert not scores(draw(shape)).any()


def test_a_pattern_of_one_grey_level_is_seen_in_the_scores_of_every_drawn_plane(plane):
    pattern = np.random.default_rng(1).choice([-1, 1], plane.shape).astype(np.float32)
    marked = scores(plane + pattern)
    sigma = np.linalg.norm(marked)
    assert np.vdot(marked, pattern) > 7 * sigma
    assert abs(np.vdot(scores(plane), pattern)) < 4 * sigma
