"""Kernels over half spectra against their twins, and the search against known geometries."""

import numpy as np
import pytest
from reference import spectrum as slow

from fastmark.kernels import spectrum as fast

SIDES = pytest.mark.parametrize("side", [2, 8, 16, 22])

RELATIVE = 1e-5
SAMPLE = 1e-4  # of values up to 8


def draw_power(side, seed=0):
    """Power of a real picture, so that column 0 mirrors itself, with some bins at zero."""
    x = np.random.default_rng([seed, side]).normal(size=(side, side))
    power = np.abs(np.fft.rfft2(x)).astype(np.float32) ** 2
    power[power < np.quantile(power, 0.1)] = 0
    return power


def draw_white(side, seed=0):
    return np.minimum(draw_power(side, seed) / side**2, 8).astype(np.float32)


def level_of(power, reach):
    out = np.full_like(power, np.nan)
    fast.local_mean(power, reach, out)
    return out


def rotation(degrees, scale=1.0):
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return scale * np.array([[c, s], [-s, c]])


def draw_tones(n, seed=0):
    """Frequencies as a key's: cycles a unit, the upper half plane, radius 0.05..0.24."""
    rng = np.random.default_rng(seed)
    radius, angle = 0.05 * 4.8 ** rng.random(n), np.pi * rng.random(n)
    return np.stack([radius * np.sin(angle), radius * np.cos(angle)], axis=1)


def draw_spectrum(side, tones, g):
    """Noise, and a peak wherever ``g`` takes a tone."""
    y, x = np.mgrid[0:side, 0:side]
    picture = np.random.default_rng(side).normal(0, side / 8, (side, side))
    for fy, fx in tones @ g.T:
        picture += np.cos(2 * np.pi * (fy * y + fx * x) + 40 * fy)
    window = np.hanning(side)
    power = np.abs(np.fft.rfft2(picture * np.outer(window, window))) ** 2
    return np.minimum(power / np.median(power), 8).astype(np.float32)


@pytest.mark.parametrize("reach", [0, 1, 2, 4])
@pytest.mark.parametrize("side", [8, 16, 22])
def test_local_mean_agrees_with_its_twin(side, reach):
    power = draw_power(side)
    np.testing.assert_allclose(level_of(power, reach), slow.local_mean(power, reach), rtol=RELATIVE)


def test_local_mean_is_that_of_the_whole_spectrum():
    picture = np.random.default_rng(3).normal(size=(24, 24))
    whole = np.abs(np.fft.fft2(picture)) ** 2
    around = sum(np.roll(whole, (dy, dx), axis=(0, 1)) for dy in range(-2, 3) for dx in range(-2, 3)) / 25
    half = (np.abs(np.fft.rfft2(picture)) ** 2).astype(np.float32)
    within = slice(0, 24 // 2 - 1)  # nearer to the Nyquist frequency the kernel's mean is over fewer bins
    np.testing.assert_allclose(level_of(half, 2)[:, within], around[:, within], rtol=RELATIVE)


@pytest.mark.parametrize("value", [0.0, 1.0, 3e7])
@pytest.mark.parametrize("reach", [1, 3])
def test_local_mean_of_a_constant_is_the_constant(value, reach):
    np.testing.assert_allclose(level_of(np.full((16, 9), value, np.float32), reach), value, rtol=RELATIVE)


def test_a_huge_bin_does_not_drown_the_small_ones_beyond_its_neighbourhood():
    power = np.ones((64, 33), np.float32)
    power[5, 7] = 1e12
    assert level_of(power, 2)[20:, :].max() == pytest.approx(1, rel=1e-3)


@SIDES
def test_whiten_agrees_with_its_twin(side):
    power, level = draw_power(side, 1), draw_power(side, 2)
    out = np.full_like(power, np.nan)
    fast.whiten(power, level, np.float32(8), out)
    np.testing.assert_allclose(out, slow.whiten(power, level, 8), rtol=RELATIVE)


def test_whiten_writes_zero_where_the_level_is_zero():
    out = np.full((2, 2), np.nan, np.float32)
    fast.whiten(np.ones((2, 2), np.float32), np.zeros((2, 2), np.float32), np.float32(8), out)
    assert not out.any()


@pytest.mark.parametrize("strain", [np.eye(2), np.diag([1.1, 0.8]), np.array([[1.0, 0.2], [-0.1, 0.9]])])
@SIDES
def test_sample_log_polar_agrees_with_its_twin(side, strain):
    white = draw_white(side)
    angles, radii = np.arange(23) * np.pi / 23, 0.02 * np.exp(0.2 * np.arange(18))
    out = np.full((23, 18), np.nan, np.float32)
    fast.sample_log_polar(white, strain, np.cos(angles), np.sin(angles), radii, out)
    exact = slow.sample_log_polar(white, strain, np.cos(angles), np.sin(angles), radii)
    np.testing.assert_allclose(out, exact, rtol=0, atol=SAMPLE)


def test_log_polar_samples_beyond_the_nyquist_frequency_are_zero():
    angles, radii = np.arange(8) * np.pi / 8, np.array([0.72, 1.0, 50.0])
    out = np.full((8, 3), np.nan, np.float32)
    fast.sample_log_polar(np.ones((16, 9), np.float32), np.eye(2), np.cos(angles), np.sin(angles), radii, out)
    assert not out.any()


def test_a_half_turn_of_the_angle_gives_the_same_log_polar_samples():
    white = draw_white(16)
    angles, radii = np.arange(9) * np.pi / 9 + 0.05, np.linspace(0.05, 0.45, 11)
    out, turned = np.empty((2, 9, 11), np.float32)
    fast.sample_log_polar(white, np.eye(2), np.cos(angles), np.sin(angles), radii, out)
    fast.sample_log_polar(white, np.eye(2), -np.cos(angles), -np.sin(angles), radii, turned)
    np.testing.assert_allclose(out, turned, rtol=0, atol=SAMPLE)


@pytest.mark.parametrize("n_tones", [7, 8, 20, 48])
@pytest.mark.parametrize("g", [rotation(0), rotation(33, 1.4), rotation(-80, 3.0), np.diag([-1.2, 0.9])])
def test_tone_score_agrees_with_its_twin(g, n_tones):
    white, tones = draw_white(32), draw_tones(48)
    arguments = white, 0.9, 1.3, tones, n_tones, g
    assert fast.tone_score(*arguments) == pytest.approx(slow.tone_score(*arguments), abs=1e-6)


def test_fewer_than_eight_tones_inside_the_spectrum_score_nothing():
    white = np.full((32, 17), 8, np.float32)
    tones = np.tile([0.2, 0.1], (20, 1))
    tones[:7] = 0.01
    assert fast.tone_score(white, 1.0, 1.0, tones, 20, 4 * np.eye(2)) == 0
    assert fast.tone_score(white, 1.0, 1.0, tones, 20, 2 * np.eye(2)) == pytest.approx(7 * np.sqrt(20))


@pytest.mark.parametrize("seed", range(4))
def test_refine_geometry_climbs_as_its_twin_does(seed):
    tones = draw_tones(48, seed)
    truth = rotation(20 * seed + 3, 1.1)
    white = draw_spectrum(64, tones, truth)
    start = (np.eye(2) + np.random.default_rng(seed).normal(0, 0.004, (2, 2))) @ truth
    g = start.copy()
    score = fast.refine_geometry(white, 1.0, 1.0, tones, 48, 0.006, 0.0005, g)
    slow_g, slow_score = slow.refine_geometry(white, 1.0, 1.0, tones, 48, 0.006, 0.0005, start)
    assert score == pytest.approx(slow_score, rel=1e-6)
    np.testing.assert_allclose(g, slow_g, rtol=0, atol=1e-9)


@pytest.mark.parametrize("degrees", [0, 17, 90, 141])
def test_refine_geometry_finds_the_way_back_to_the_truth(degrees):
    tones = draw_tones(48, degrees)
    truth = rotation(degrees, 1.2)
    white = draw_spectrum(256, tones, truth)
    g = rotation(0.5, 1.01) @ truth
    before = fast.tone_score(white, 1.0, 1.0, tones, 48, g)
    after = fast.refine_geometry(white, 1.0, 1.0, tones, 48, 0.006, 0.0002, g)
    assert after > before
    assert after == pytest.approx(fast.tone_score(white, 1.0, 1.0, tones, 48, g))
    # half a bin at the outermost tone
    np.testing.assert_allclose(g, truth, rtol=0, atol=0.5 / 256 / 0.24)


def test_refine_geometry_stays_where_nothing_is_better():
    tones = draw_tones(48)
    g = np.eye(2)
    assert fast.refine_geometry(np.ones((32, 17), np.float32), 1.0, 1.0, tones, 48, 0.01, 0.001, g) == 0
    np.testing.assert_array_equal(g, np.eye(2))
