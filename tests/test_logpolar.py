"""The log-polar scan on drawn spectra: their scale, rotation and mirror image are found."""

import numpy as np
import pytest

from fastmark.carrier import TORUS
from fastmark.logpolar import COARSE, FINE, Templates, log_polar

N = 512
SCALES = (0.2, 1.6)


def geometry(scale, degrees, mirrored):
    """The matrix from frequencies a unit to frequencies a sample, (y, x)."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    flip = np.diag([-1.0 if mirrored else 1.0, 1.0])
    return np.array([[c, s], [-s, c]]) @ flip / scale


def draw_spectrum(carrier, g, n_tones=96, seed=0):
    """Whitened power ``(N, N // 2 + 1)``: noise, and tones of 3 x 3 bins where ``g`` puts them."""
    white = np.minimum(np.random.default_rng(seed).exponential(size=(N, N // 2 + 1)), 8).astype(np.float32)
    for fy, fx in carrier.tones[:n_tones] / TORUS @ g.T * N:
        y, x = (int(np.rint(-f if fx < 0 else f)) for f in (fy, fx))
        if max(abs(y), x) < N // 2 - 2 and x >= 1:
            white[np.arange(y - 1, y + 2)[:, None] % N, np.arange(x - 1, x + 2)] += 3
    return white


@pytest.fixture(scope="module")
def templates(carrier):
    return Templates(carrier)


def degrees_apart(a, b):
    """Of turns that look alike upside down."""
    return abs((a - b + 90) % 180 - 90)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize(
    ("scale", "degrees"), [(1.0, 0), (1.0, 90), (0.5, 33), (1.5, 121.5), (0.77, 160), (0.3, 5)]
)
def test_the_planted_geometry_scores_best(carrier, templates, scale, degrees, mirrored):
    white = draw_spectrum(carrier, geometry(scale, degrees, mirrored))
    for on_grid, grid in ((templates.fine, FINE), (templates.coarse, COARSE)):
        found, upright = on_grid.correlate(log_polar(white, np.eye(2), grid), SCALES, 3)
        best = max(found, key=lambda h: h.score)
        assert best.mirrored == mirrored
        assert best.scale == pytest.approx(scale, rel=1.5 * grid.log_step)
        assert degrees_apart(np.degrees(best.rotation), degrees) < 2 * 180 / grid.n_angles
        assert best.score > 6
        assert best.score > 1.2 * max(h.score for h in found if h.mirrored != mirrored)
        is_upright = degrees % 90 == 0
        assert (max(h.score for h in upright) == best.score) == is_upright


def test_the_number_of_tones_is_told(carrier, templates):
    for count in (48, 96, 192, 384):
        white = draw_spectrum(carrier, geometry(1.0, 20, False), count)
        found, _ = templates.fine.correlate(log_polar(white, np.eye(2), FINE), SCALES, 1)
        assert max(found, key=lambda h: h.score).n_tones == count


def test_another_key_s_tones_are_not_found(other_carrier, carrier):
    white = draw_spectrum(carrier, geometry(1.0, 20, False))
    found, _ = Templates(other_carrier).fine.correlate(log_polar(white, np.eye(2), FINE), SCALES, 1)
    assert max(h.score for h in found) < 6


def test_only_scales_asked_for_are_tried(carrier, templates):
    spectrum = log_polar(draw_spectrum(carrier, geometry(0.5, 10, False)), np.eye(2), FINE)
    found, upright = templates.fine.correlate(spectrum, (0.75, 1.6), 4)
    assert all(0.75 <= h.scale <= 1.6 for h in (*found, *upright))
    assert max(h.score for h in found) < 6


def test_a_strained_picture_is_found_through_its_strain(carrier, templates):
    strain = np.diag([1.12, 1 / 1.12])
    white = draw_spectrum(carrier, strain @ geometry(0.9, 40, False))
    through, beside = (
        max(h.score for h in templates.coarse.correlate(log_polar(white, seen, COARSE), SCALES, 1)[0])
        for seen in (strain, np.eye(2))
    )
    assert through > 1.5 * beside


def test_empty_spectra_score_nothing(templates):
    found, _ = templates.fine.correlate(
        log_polar(np.zeros((N, N // 2 + 1), np.float32), np.eye(2), FINE), SCALES, 1
    )
    assert all(h.score == 0 for h in found)
