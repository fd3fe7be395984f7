"""Kernels that score and refine a geometry against their twins, and against known geometries."""

import numpy as np
import pytest
from reference import geometry as slow
from spectra import draw_white

from fastmark.kernels import geometry as fast

NEVER_LEFT = -1e9  # no score is less, so that every peak is promising


def rotation(degrees, scale=1.0):
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return scale * np.array([[c, s], [-s, c]])


def draw_tones(n, seed=0):
    """Frequencies as a key's: cycles a unit, the upper half plane, radius 0.05..0.24."""
    rng = np.random.default_rng(seed)
    radius, angle = 0.05 * 4.8 ** rng.random(n), np.pi * rng.random(n)
    return np.stack([radius * np.sin(angle), radius * np.cos(angle)], axis=1)


def draw_spectrum(size, tones, g):
    """Noise, and a peak wherever ``g`` takes a tone."""
    y, x = np.indices(size)
    side = np.sqrt(size[0] * size[1])
    picture = np.random.default_rng(size).normal(0, side / 8, size)
    for fy, fx in tones @ g.T:
        picture += np.cos(2 * np.pi * (fy * y + fx * x) + 40 * fy)
    window = np.outer(*(np.hanning(n) for n in size))
    power = np.abs(np.fft.rfft2(picture * window)) ** 2
    return np.minimum(power / np.median(power), 8).astype(np.float32)


@pytest.mark.parametrize("size", [(32, 32), (24, 40), (40, 24)], ids=str)
@pytest.mark.parametrize("n_tones", [7, 8, 20, 48])
@pytest.mark.parametrize("g", [rotation(0), rotation(33, 1.4), rotation(-80, 3.0), np.diag([-1.2, 0.9])])
def test_tone_score_agrees_with_its_twin(g, n_tones, size):
    white, tones = draw_white(size), draw_tones(48)
    arguments = white, 0.9, 1.3, tones, n_tones, g
    assert fast.tone_score(*arguments) == pytest.approx(slow.tone_score(*arguments), abs=1e-6)


@pytest.mark.parametrize("g", [rotation(0), rotation(33, 1.4), rotation(-80, 3.0)])
def test_scores_of_all_prefixes_are_those_of_each(g):
    white, tones, counts = draw_white((32, 40)), draw_tones(48), np.array([4, 20, 48])
    found, expected = np.empty(3), np.empty(3)
    fast.tone_scores(white, 0.9, 1.3, tones, counts, g, found)
    slow.tone_scores(white, 0.9, 1.3, tones, counts, g, expected)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_fewer_than_eight_tones_inside_the_spectrum_score_nothing():
    white = np.full((32, 17), 8, np.float32)
    tones = np.tile([0.2, 0.1], (20, 1))
    tones[:7] = 0.01
    assert fast.tone_score(white, 1.0, 1.0, tones, 20, 4 * np.eye(2)) == 0
    assert fast.tone_score(white, 1.0, 1.0, tones, 20, 2 * np.eye(2)) == pytest.approx(7 * np.sqrt(20))


@pytest.mark.parametrize(
    ("first_row", "last_row", "first_column"), [(0, 32, 0), (1, 16, 2), (5, 7, 16), (31, 32, 17)]
)
def test_moments_of_a_band_agree_with_their_twin(first_row, last_row, first_column):
    white = draw_white((32, 40))
    found = fast.band_moments(white, first_row, last_row, first_column)
    exact = slow.band_moments(white, first_row, last_row, first_column)
    np.testing.assert_allclose(found, exact, rtol=1e-5, atol=1e-5)


def test_a_level_band_has_no_deviation():
    mean, deviation = fast.band_moments(np.full((32, 17), 0.7, np.float32), 1, 16, 1)
    assert mean == pytest.approx(0.7, rel=1e-6)
    assert 0 <= deviation < 1e-3


@pytest.mark.parametrize("promising", [NEVER_LEFT, 3.0, 1e9])
@pytest.mark.parametrize("size", [(64, 64), (48, 80)], ids=str)
@pytest.mark.parametrize("seed", range(4))
def test_refine_geometry_climbs_as_its_twin_does(seed, size, promising):
    tones = draw_tones(48, seed)
    truth = rotation(20 * seed + 3, 1.1)
    white = draw_spectrum(size, tones, truth)
    start = (np.eye(2) + np.random.default_rng(seed).normal(0, 0.004, (2, 2))) @ truth
    g = start.copy()
    arguments = white, 1.0, 1.0, tones, 48, 0.006, 0.0005, promising
    score = fast.refine_geometry(*arguments, g)
    slow_g, slow_score = slow.refine_geometry(*arguments, start)
    assert score == pytest.approx(slow_score, rel=1e-6)
    np.testing.assert_allclose(g, slow_g, rtol=0, atol=1e-9)


@pytest.mark.parametrize("size", [(256, 256), (224, 320)], ids=str)
@pytest.mark.parametrize("degrees", [0, 17, 90, 141])
def test_refine_geometry_finds_the_way_back_to_the_truth(degrees, size):
    tones = draw_tones(48, degrees)
    truth = rotation(degrees, 1.2)
    white = draw_spectrum(size, tones, truth)
    g = rotation(0.5, 1.01) @ truth
    before = fast.tone_score(white, 1.0, 1.0, tones, 48, g)
    after = fast.refine_geometry(white, 1.0, 1.0, tones, 48, 0.006, 0.0002, NEVER_LEFT, g)
    assert after > before
    assert after == pytest.approx(fast.tone_score(white, 1.0, 1.0, tones, 48, g))
    # half a bin at the outermost tone
    np.testing.assert_allclose(g, truth, rtol=0, atol=0.5 / min(size) / 0.24)


def test_refine_geometry_stays_where_nothing_is_better():
    tones = draw_tones(48)
    g = np.eye(2)
    white = np.ones((32, 17), np.float32)
    assert fast.refine_geometry(white, 1.0, 1.0, tones, 48, 0.01, 0.001, NEVER_LEFT, g) == 0
    np.testing.assert_array_equal(g, np.eye(2))


def test_a_peak_that_is_not_promising_is_left_when_moves_are_a_quarter_of_the_first():
    tones = draw_tones(48)
    truth = rotation(12, 1.1)
    white = draw_spectrum((128, 128), tones, truth)
    start = rotation(0.5, 1.007) @ truth

    def refined(promising, last_step=0.0002):
        g = start.copy()
        return fast.refine_geometry(white, 1.0, 1.0, tones, 48, 0.006, last_step, promising, g), g

    coarse, coarse_g = refined(NEVER_LEFT, 0.003)  # moves of 0.006 and 0.003, and then it is judged
    best, best_g = refined(NEVER_LEFT)
    assert best > coarse + 1e-3
    for promising, score, g in (
        (coarse - 1e-6, best, best_g),
        (coarse + 1e-6, coarse, coarse_g),
        (1e9, coarse, coarse_g),
    ):
        found, found_g = refined(promising)
        assert found == score
        np.testing.assert_array_equal(found_g, g)


@pytest.mark.parametrize("promising", [NEVER_LEFT, 12.0])
def test_refine_geometries_agrees_with_its_twin(promising):
    tones, truth = draw_tones(48), rotation(31, 1.2)
    white = draw_spectrum((48, 80), tones, truth)
    near = np.eye(2) + np.random.default_rng(3).normal(0, 0.004, (3, 2, 2))
    starts, moves = np.array([48, 24, 48, 30]), np.array([0.006, 0.01, 0.02, 0.006])
    geometries = np.concatenate([near @ truth, [rotation(-70, 0.8)]])
    shown = white, 1.0, 1.2, tones, np.array([24, 40, 48]), starts, moves, 0.0005, promising
    refined, scores = geometries.copy(), np.full((4, 3), np.nan)
    fast.refine_geometries(*shown, refined, scores)
    exact, exact_scores = slow.refine_geometries(*shown, geometries)
    np.testing.assert_allclose(refined, exact, rtol=0, atol=1e-9)
    np.testing.assert_allclose(scores, exact_scores, rtol=1e-6, atol=1e-6)
    assert not np.array_equal(refined[0], geometries[0])


def test_refined_geometries_are_judged_by_each_prefix_at_where_they_came_to():
    tones, truth = draw_tones(48), rotation(31, 1.2)
    white = draw_spectrum((128, 96), tones, truth)
    geometries, scores = np.stack([rotation(0.4) @ truth, rotation(0, 1.008) @ truth]), np.empty((2, 2))
    counts, starts, moves = np.array([24, 48]), np.array([48, 24]), np.array([0.006, 0.01])
    fast.refine_geometries(
        white, 1.0, 1.0, tones, counts, starts, moves, 0.0002, NEVER_LEFT, geometries, scores
    )
    for g, row in zip(geometries, scores, strict=True):
        for count, score in zip(counts, row, strict=True):
            assert score == pytest.approx(fast.tone_score(white, 1.0, 1.0, tones, count, g))
        np.testing.assert_allclose(g, truth, rtol=0, atol=0.5 / 96 / 0.24)
