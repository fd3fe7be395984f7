"""Measures of quality against scikit-image's, and by hand."""

import math

import numpy as np
import pytest
from pictures import drawn, photograph
from skimage.metrics import structural_similarity

from fastmark.reporting import quality

LUMA = np.array([0.299, 0.587, 0.114])


def noisy(picture, sigma, seed=0):
    noise = np.random.default_rng(seed).normal(0, sigma, picture.shape)
    return np.clip(np.rint(picture + noise), 0, 255).astype(np.uint8)


PAIRS = {
    "photograph": (photograph("astronaut"), noisy(photograph("astronaut"), 3)),
    "drawn": (drawn(120, 187), noisy(drawn(120, 187), 12)),
    "shifted": (drawn(120, 187), np.roll(drawn(120, 187), 2, 1)),
    "bright and flat": (np.full((40, 33, 3), 253, np.uint8), np.full((40, 33, 3), 255, np.uint8)),
    "smallest": (drawn(11, 11), noisy(drawn(11, 11), 5)),
}


@pytest.mark.parametrize("name", PAIRS)
def test_ssim_is_that_of_scikit_image(name):
    before, after = PAIRS[name]
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    expected = structural_similarity(before @ LUMA, after @ LUMA, **options)
    assert quality.ssim(before, after) == pytest.approx(expected, abs=2e-6)


def test_same_images():
    picture = drawn(64, 64)
    assert quality.ssim(picture, picture) == pytest.approx(1, abs=1e-6)
    assert quality.psnr_db(picture, picture) == quality.MOST_PSNR_DB


def test_psnr_of_known_errors():
    before = np.full((20, 20, 3), 100, np.uint8)
    after = before.copy()
    after[..., 1] += 5  # of one channel in three
    assert quality.psnr_db(before, after) == pytest.approx(10 * math.log10(255**2 / (25 / 3)), abs=1e-9)


def test_ssimulacra2_falls_with_noise_and_looks_at_the_middle():
    pytest.importorskip("ssimulacra2")
    picture = photograph("chelsea", 200)
    scores = [quality.ssimulacra2(picture, noisy(picture, sigma)) for sigma in (1, 4, 16)]
    assert 100 > scores[0] > scores[1] > scores[2]
    wide = np.zeros((100, quality.SCORED_SIDE + 400, 3), np.uint8)
    changed = wide.copy()
    changed[:, :150] = 255  # left of the middle
    assert quality.ssimulacra2(wide, changed) > 99
