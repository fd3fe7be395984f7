"""Lines of the spectrum: found in an image or in the mean of many, taken out, and what is left."""

import numpy as np
import pytest

from fastmark.codec.tables import TORUS

MESSAGE = 0x11E5


@pytest.fixture(scope="module")
def spectra(attacks):
    return attacks("spectra")


@pytest.fixture(scope="module")
def planted():
    """Noise and four lines: the plane and their frequencies, in cycles per pixel."""
    y, x = np.mgrid[0:256, 0:256]
    tones = np.array([[0.1, 0.08], [-0.12, 0.05], [0.05, 0.2], [-0.2, 0.02]])
    waves = sum(np.cos(2 * np.pi * (fy * y + fx * x) + fx * 99) for fy, fx in tones)
    return np.random.default_rng(2).normal(128, 6, (256, 256)) + 4 * waves, tones


def test_planted_lines_are_found_and_taken_out(spectra, planted):
    plane, tones = planted
    found = spectra.peaks_of(spectra.power_of((plane - 128).astype(np.float32)), 4)
    assert np.abs(np.sort(found, axis=0) - np.sort(tones, axis=0)).max() < 1.1 / spectra.BINS
    image = np.clip(np.rint(plane), 0, 255)[..., None].repeat(3, 2).astype(np.uint8)
    without = spectra.luma(spectra.flattened(image, tones)) - 128
    y, x = np.mgrid[0:256, 0:256]
    for fy, fx in tones:
        before, after = (
            abs(np.mean(p * np.exp(-2j * np.pi * (fy * y + fx * x)))) for p in (plane - 128, without)
        )
        assert before > 1.5 and after < 0.25
    assert without.std() > 0.9 * 6


def test_short_lags_show_the_same_lines(spectra, planted):
    plane, tones = planted
    power = spectra.autocorrelated_power((plane - 128).astype(np.float32))
    found = spectra.peaks_of(power, 4)
    distance = np.linalg.norm(found[:, None] - tones[None], axis=2).min(axis=0)
    assert distance.max() < 2.5 / spectra.BINS


def test_peaks_count_as_tones_where_they_are_near(spectra):
    tones = np.array([[0.1, 0.1], [0.2, 0.05]])
    near = tones + np.array([[1 / TORUS, 0], [0, 9 / TORUS]])
    assert spectra.hits(near, tones) == 1
    assert spectra.hits(tones, tones) == 2


@pytest.mark.parametrize("where", ["luma", "scores", "tones"])
def test_fifty_lines_taken_out_leave_the_message(spectra, marker, image, where):
    marked = marker.embed(image, MESSAGE)
    if where == "luma":
        attacked = spectra.notch(marked, 50, 0.26)
    elif where == "scores":
        attacked = spectra.flattened(
            marked, spectra.peaks_of(spectra.power_of(spectra.score_plane(marked)), 50)
        )
    else:
        attacked = spectra.flattened(marked, spectra.tones_of(marker, 48))
    found = marker.detect(attacked)
    assert found.message == MESSAGE and found.detected
