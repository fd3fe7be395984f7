"""The perceptual mask and the score planes: what they are of known planes, and what leaves them alone."""

import numpy as np
import pytest
from reference import mask as slow

from fastmark.codec.mask import MASK_WEIGHTS, MAX_ACTIVITY, Perception, block_means, cell_means
from fastmark.detection.scores import ScorePlanes, scores

LEAST, MOST = 1.48044, 8.80655  # of the polynomial, activities 0 and 40


def mask_of(plane):
    return Perception.of(np.asarray(plane, np.float32)).mask


# ---- cells -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(6, 8), (7, 8), (6, 9), (7, 9)], ids=str)
def test_the_means_of_cells_are_those_of_their_units_edges_repeated(shape):
    units = np.random.default_rng(0).random(shape).astype(np.float32)
    seen = cell_means(units)
    assert seen.dtype == np.float32
    np.testing.assert_allclose(seen, slow.pool_squares(128 + units)[0], atol=1e-5)


# ---- mask ------------------------------------------------------------------------------------------


def formula(activity):
    return 1.5 + 0.8 * np.minimum(activity, 40.0) ** 0.6


def test_the_mask_is_the_formula_of_the_design(plane):
    seen = Perception.of(plane)
    means, squares = slow.pool_squares(plane)
    deviation = slow.local_deviation(means, squares)
    activity = 0.455 * (deviation + slow.min5(deviation))
    np.testing.assert_allclose(seen.means, means, atol=1e-4)
    np.testing.assert_allclose(seen.deviation, deviation, atol=0.02)
    # the mask is steep at 0, where the deviation is known least
    np.testing.assert_allclose(seen.mask, formula(activity), atol=0.1)
    np.testing.assert_allclose(seen.smooth_mask(), slow.box5(seen.mask), atol=1e-4)


def test_the_mask_s_polynomial_is_close_to_a_power_and_rises_throughout():
    activity = np.linspace(0, float(MAX_ACTIVITY), 100_001)
    mask = np.polynomial.polynomial.polyval(np.sqrt(activity), MASK_WEIGHTS.astype(np.float64))
    np.testing.assert_allclose(mask, formula(activity), rtol=0.014)
    np.testing.assert_allclose(mask[activity > 0.04], formula(activity[activity > 0.04]), rtol=0.0013)
    assert np.all(np.diff(mask) > 0)


@pytest.mark.parametrize("shape", [(40, 50), (41, 50), (40, 51), (41, 51)], ids=str)
def test_every_cell_of_two_by_two_units_has_its_value_and_edges_are_repeated(draw_plane, shape):
    plane = draw_plane("textured", *shape)
    seen = Perception.of(plane)
    height, width = (n + n % 2 for n in shape)
    even = Perception.of(np.pad(plane, ((0, height - shape[0]), (0, width - shape[1])), mode="edge"))
    for name in ("means", "deviation", "mask"):
        assert getattr(seen, name).shape == (height // 2, width // 2)
        np.testing.assert_allclose(getattr(seen, name), getattr(even, name), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("level", [0, 100, 255])
def test_flat_planes_may_change_least(level):
    np.testing.assert_allclose(mask_of(np.full((30, 40), level)), LEAST, atol=0.05)


def test_the_mask_stays_within_its_bounds():
    wild = np.random.default_rng(0).choice([0, 255], (60, 70))
    assert mask_of(wild).max() == pytest.approx(MOST, abs=1e-3)
    assert mask_of(wild).min() >= LEAST - 1e-6


def test_more_texture_may_change_more():
    texture = np.random.default_rng(0).normal(0, 1, (64, 64))
    means = [mask_of(128 + gain * texture).mean() for gain in (0, 1, 3, 9, 27)]
    assert means == sorted(means)
    assert means[-1] > 2 * means[0]


def test_brightness_and_inversion_leave_the_mask_alone(draw_plane):
    plane = draw_plane("textured", 64, 80) / 2
    for other in (plane + 90, 255 - plane):
        np.testing.assert_allclose(mask_of(other), mask_of(plane), atol=0.01)


def test_flat_ground_beside_an_edge_is_spared():
    edge = np.where(np.arange(80) < 40, 60.0, 200.0) * np.ones((64, 1), np.float32)
    seen = Perception.of(edge.astype(np.float32))
    as_if_texture = formula(0.91 * seen.deviation)
    assert np.all(seen.mask[:, 17] < 0.8 * as_if_texture[:, 17])
    np.testing.assert_allclose(seen.mask[:, :10], LEAST, atol=0.05)


def test_block_means_are_those_of_blocks_of_eight_units_from_the_fourth_on():
    cells = np.random.default_rng(0).random((20, 25), np.float32)
    units = np.kron(cells, np.ones((2, 2)))
    means = block_means(cells, 4, 5)
    for i, j in np.ndindex(4, 5):
        assert means[i, j] == pytest.approx(units[4 + 8 * i :, 4 + 8 * j :][:8, :8].mean(), rel=1e-5)


# ---- scores ----------------------------------------------------------------------------------------


def test_weighted_scores_are_scores_times_mask_and_computed_once(plane):
    planes = ScorePlanes(plane)
    assert planes.shape == plane.shape
    np.testing.assert_array_equal(planes.reduced(1), plane)
    for reduction, floor in ((1, 4.0), (1, 10.0), (2, 4.0), (3, 1.5)):
        reduced = planes.reduced(reduction)
        height, width = (n // reduction for n in plane.shape)
        boxes = plane[: height * reduction, : width * reduction].reshape(height, reduction, width, reduction)
        np.testing.assert_allclose(reduced, boxes.mean(axis=(1, 3)), atol=1e-3)
        weighted = planes.weighted(reduction, floor)
        mask = np.kron(Perception.of(reduced).mask, np.ones((2, 2), np.float32))
        np.testing.assert_array_equal(weighted, scores(reduced, floor) * mask[:height, :width])
        assert planes.weighted(reduction, floor) is weighted
