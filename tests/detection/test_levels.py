"""The spectrum of one resolution of a plane: white but for its tones, and interpolated exactly."""

import numpy as np
import pytest
from pictures import grey, photograph
from planted import planted

from fastmark.detection.levels import PaddedSpectrum, ScanLevel, band_moments
from fastmark.detection.logpolar import Templates
from fastmark.detection.noise import tukey
from fastmark.detection.plan import LevelPlan
from fastmark.detection.scan import scan
from fastmark.detection.scores import ScorePlanes
from fastmark.kernels.fourier import sinc_table, spectrum_at

NY, NX = 640, 768  # of the padded spectrum of 400 x 600 samples


@pytest.fixture(scope="module")
def templates(carrier):
    return Templates(carrier)


@pytest.fixture(scope="module")
def marked(carrier):
    return planted(grey(photograph("coffee")).astype(np.float32), carrier, strength=1.5)[0]


# ---- levels ----------------------------------------------------------------------------------------


def test_a_spectrum_is_white_but_for_its_tones(marked, templates):
    level = ScanLevel(ScorePlanes(marked), LevelPlan.of(marked.shape, 1, 0.2))
    n_rows, n_columns = level.white.shape
    # 1.33 and 1.25 times 400 and 600 samples, and sizes that are fast to transform
    assert (n_rows, n_columns) == (NY, NX // 2 + 1)
    assert level.white.min() >= 0
    assert level.white.max() <= 8
    mean, spread = level.moments
    assert mean == pytest.approx(1, abs=0.1)
    assert 0.7 < spread < 1.3
    bins = np.rint(templates.tones[:96] * (NY, NX)).astype(int)
    bins *= np.where(bins[:, 1:] < 0, -1, 1)
    assert np.median(level.white[bins[:, 0], bins[:, 1]]) > 2.5 * mean
    assert level.shape == (400, 600)


def test_moments_are_those_of_the_band_of_the_tones(marked):
    level = ScanLevel(ScorePlanes(marked), LevelPlan.of(marked.shape, 1, 0.2))
    # above a 32nd of a cycle per sample either way, and rows of the upper half
    band = level.white[NY // 32 : NY // 2, NX // 32 :].astype(np.float64)
    assert level.moments == pytest.approx((band.mean(), band.std()), rel=1e-3)
    assert band_moments(np.ones((640, 385), np.float32)) == pytest.approx((1, 0), abs=1e-3)


def test_flat_spectra_have_a_spread_that_can_be_divided_by():
    assert band_moments(np.zeros((64, 33), np.float32)) == (0, 1e-12)


def test_a_level_is_transformed_at_once_and_the_rest_when_it_is_needed(marked, templates):
    level = ScanLevel(ScorePlanes(marked), LevelPlan.of(marked.shape, 1, 0.5))
    assert not {"white", "moments", "views"} & set(vars(level))
    assert level.padded.spectrum.shape == (NY, NX // 2 + 1)
    assert np.abs(scan(level, templates)[0].matrix - np.eye(2)).max() < 0.002
    for name in ("white", "moments", "views"):
        assert getattr(level, name) is getattr(level, name)


@pytest.mark.parametrize(("pools", "seen"), [((1, 2, 4), [1, 2, 4]), ((2, 2, 4), [2, 4]), ((2, 2, 0), [2])])
def test_a_level_has_the_grids_that_its_plan_asks_for(marked, pools, seen):
    level = ScanLevel(ScorePlanes(marked), LevelPlan(1, 0.2, pools))
    assert list(level.views) == seen
    assert [spectrum.grid.pool for spectrum in level.views.values()] == seen


# ---- the padded spectrum ---------------------------------------------------------------------------


def test_only_the_middle_of_a_large_plane_is_transformed():
    plane = np.random.default_rng(0).normal(0, 1, (1100, 1300)).astype(np.float32)
    padded = PaddedSpectrum.of(plane)
    assert (padded.size, padded.corner) == ((1024, 1024), (38, 138))
    middle = plane[38:1062, 138:1162] * tukey(1024)[:, None] * tukey(1024)
    assert padded.spectrum.shape == (1280, 641)
    np.testing.assert_allclose(padded.spectrum, np.fft.rfft2(middle, s=(1280, 1280)), atol=0.02)


@pytest.mark.parametrize("shape", [(48, 60), (130, 301), (300, 500), (481, 600)], ids=str)
def test_a_padded_spectrum_is_interpolated_as_the_samples_would_be_summed(shape):
    plane = np.random.default_rng(list(shape)).normal(size=shape).astype(np.float32)
    padded = PaddedSpectrum.of(plane)
    assert (padded.size, padded.corner) == (shape, (0, 0))
    rows, columns = padded.spectrum.shape
    assert rows >= max(256, 1.25 * shape[0])
    assert 2 * (columns - 1) >= max(256, 1.25 * shape[1])
    np.testing.assert_allclose(padded.power.bins, np.abs(padded.spectrum) ** 2, rtol=1e-4)
    frequencies = np.random.default_rng(1).uniform(-0.48, 0.48, (60, 2))
    found = np.empty(60, np.complex128)
    spectrum_at(padded.spectrum, *padded.size, frequencies, sinc_table(), found)
    # each of the sums by itself, from the middle of the samples
    y, x = (np.arange(n) - (n - 1) / 2 for n in shape)
    windowed = plane.astype(np.float64) * tukey(shape[0])[:, None] * tukey(shape[1])
    exact = [np.exp(-2j * np.pi * fy * y) @ windowed @ np.exp(-2j * np.pi * fx * x) for fy, fx in frequencies]
    # a long side is padded less, and leaves more between its bins than the interpolation can tell
    worst = 0.003 if min(rows / shape[0], 2 * (columns - 1) / shape[1]) >= 1.4 else 0.05
    assert np.abs(found - exact).max() < worst * np.abs(exact).max()
