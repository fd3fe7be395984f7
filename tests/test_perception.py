"""The perceptual mask and the score planes: what they are of known planes, and what leaves them alone."""

import numpy as np
import pytest
from reference import local as slow

from fastmark.perception import Perception, block_means, tukey
from fastmark.scoring import ScorePlanes, scores

LEAST = 1.5
MOST = 1.5 + 0.8 * 40**0.6


def mask_of(plane):
    return Perception.of(np.asarray(plane, np.float32)).mask


# ---- mask ------------------------------------------------------------------------------------------


def test_the_mask_is_the_formula_of_the_design(plane):
    seen = Perception.of(plane)
    highpass, deviation = slow.high_pass(plane)
    activity = (deviation + slow.min9(deviation)) / 2
    np.testing.assert_allclose(seen.highpass, highpass, atol=1e-3)
    np.testing.assert_allclose(seen.deviation, deviation, atol=0.02)
    # the mask is steep at 0, where the deviation is known least
    np.testing.assert_allclose(seen.mask, LEAST + 0.8 * np.minimum(activity, 40) ** 0.6, atol=0.1)
    np.testing.assert_allclose(seen.smooth_mask(), slow.box9(seen.mask), atol=1e-4)


@pytest.mark.parametrize("level", [0, 100, 255])
def test_flat_planes_may_change_least(level):
    np.testing.assert_allclose(mask_of(np.full((30, 40), level)), LEAST, atol=0.05)


def test_the_mask_stays_within_its_bounds():
    wild = np.random.default_rng(0).choice([0, 255], (60, 70))
    assert MOST - 0.01 <= mask_of(wild).max() <= MOST + 1e-3
    assert mask_of(wild).min() >= LEAST


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
    as_if_texture = LEAST + 0.8 * np.minimum(seen.deviation, 40) ** 0.6
    assert np.all(seen.mask[:, 34:36] < 0.8 * as_if_texture[:, 34:36])
    np.testing.assert_allclose(seen.mask[:, :20], LEAST, atol=0.05)


def test_block_means_are_the_means_of_blocks():
    x = np.random.default_rng(0).random((40, 50), np.float32)
    means = block_means(x, 4, 3, 4, 5)
    for i, j in np.ndindex(4, 5):
        assert means[i, j] == pytest.approx(x[4 + 8 * i :, 3 + 8 * j :][:8, :8].mean(), rel=1e-5)


def test_tukey_is_symmetric_flat_in_the_middle_and_small_at_its_ends():
    for n in (1, 2, 9, 100, 1024):
        window = tukey(n)
        np.testing.assert_allclose(window, window[::-1], atol=1e-6)
        assert window.max() == pytest.approx(1, abs=1e-6)
    window = tukey(1000)
    np.testing.assert_array_equal(window[130:870], 1)
    assert window[0] < 1e-3
    assert np.all(np.diff(window[:125]) > 0)


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
        np.testing.assert_array_equal(weighted, scores(reduced, floor) * Perception.of(reduced).mask)
        assert planes.weighted(reduction, floor) is weighted
