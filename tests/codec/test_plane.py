"""Pixels to the canonical plane and back: averages, sums, rounding and the change reported, against numpy."""

import numpy as np
import pytest

from fastmark._threads import in_strips
from fastmark.codec import plane
from fastmark.codec.plane import (
    add_delta,
    add_visible_delta,
    canonical_plane,
    composite_plane,
    pixels_per_unit,
)

LUMA = np.array([0.299, 0.587, 0.114])
PEAKS = {"uint8": 255, "uint16": 65535, "float32": 1}
DTYPES = pytest.mark.parametrize("dtype", PEAKS)
UNITS = pytest.mark.parametrize("k", [1, 2, 3, 5])
CHANNELS = pytest.mark.parametrize("channels", [0, 3])


def draw(height, width, channels, dtype="uint8"):
    shape = (height, width, channels) if channels else (height, width)
    values = np.random.default_rng([height, width]).random(shape)
    return (values if dtype == "float32" else np.rint(values * PEAKS[dtype])).astype(dtype)


@pytest.mark.parametrize(
    ("short", "k"), [(1, 1), (128, 1), (1199, 1), (1200, 2), (1999, 2), (2000, 3), (2800, 4), (12000, 15)]
)
def test_a_unit_is_the_short_side_over_800_rounded(short, k):
    assert pixels_per_unit(short, 3 * short) == pixels_per_unit(3 * short, short) == k


def test_the_short_side_of_large_pictures_has_600_to_1200_units():
    for short in range(800, 20000, 37):
        assert 600 <= short / pixels_per_unit(short, short) < 1200


@DTYPES
@CHANNELS
@UNITS
def test_the_plane_is_the_mean_luma_of_its_boxes(k, channels, dtype):
    pixels = draw(47, 61, channels, dtype)
    seen = canonical_plane(pixels, k, float(PEAKS[dtype]))
    height, width = 47 // k, 61 // k
    luma = pixels @ LUMA if channels else pixels.astype(float)
    boxes = luma[: height * k, : width * k].reshape(height, k, width, k).mean(axis=(1, 3))
    assert (seen.dtype, seen.shape) == (np.float32, (height, width))
    np.testing.assert_allclose(seen, boxes * 255 / PEAKS[dtype], atol=2e-3)


@DTYPES
@CHANNELS
@UNITS
def test_a_constant_is_added_to_every_sample(k, channels, dtype):
    peak = PEAKS[dtype]
    pixels = draw(46, 60, channels, dtype)
    before = pixels.copy()
    marked, mse = add_delta(pixels, np.full((46 // k, 60 // k), 3, np.float32), k, float(peak))
    exact = np.minimum(pixels.astype(np.float64) + 3 * peak / 255, peak)
    assert (marked.shape, marked.dtype) == (pixels.shape, pixels.dtype)
    np.testing.assert_array_equal(pixels, before)
    np.testing.assert_allclose(marked, np.rint(exact) if peak > 1 else exact, atol=0 if peak > 1 else 1e-6)
    assert mse == pytest.approx(np.mean((marked.astype(float) - pixels) ** 2) * (255 / peak) ** 2, rel=1e-4)


@CHANNELS
def test_every_channel_of_a_pixel_gets_the_same_rounded_step(channels):
    pixels = draw(40, 50, channels)
    pixels = pixels // 2 + 60  # nothing is clipped
    delta = np.random.default_rng(1).normal(0, 4, (40, 50)).astype(np.float32)
    marked, _ = add_delta(pixels, delta, 1)
    step = np.floor(delta + np.float32(0.5))
    change = marked.astype(int) - pixels
    np.testing.assert_array_equal(change, step[..., None] * np.ones(3) if channels else step)


def test_sums_are_clipped_to_black_and_white():
    pixels = np.array([[0, 1, 254, 255]], np.uint8)
    for level, expected in ((300, 255), (-300, 0)):
        marked, mse = add_delta(pixels, np.full((1, 4), level, np.float32), 1)
        assert set(marked.ravel()) == {expected}
        assert mse == pytest.approx(np.mean((expected - pixels.astype(float)) ** 2))


@pytest.mark.parametrize("k", [2, 3, 5])
def test_between_the_middles_of_units_the_delta_is_interpolated(k):
    """A ramp stays a ramp, but for half a unit at either end, where it is level."""
    delta = np.add.outer(np.arange(9.0), 2 * np.arange(12.0)).astype(np.float32)
    pixels = np.zeros((9 * k + 1, 12 * k + k - 1), np.float32)
    marked, _ = add_delta(pixels, delta, k, 255.0)
    y = np.clip((np.arange(pixels.shape[0]) + 0.5) / k - 0.5, 0, 8)
    x = np.clip((np.arange(pixels.shape[1]) + 0.5) / k - 0.5, 0, 11)
    np.testing.assert_allclose(marked, np.add.outer(y, 2 * x), atol=1e-4)


def test_at_one_pixel_a_unit_the_plane_of_the_marked_picture_is_the_sum():
    pixels = draw(40, 50, 3, "float32") * np.float32(0.5) + np.float32(0.25)
    delta = np.random.default_rng(2).normal(0, 4, (40, 50)).astype(np.float32)
    marked, mse = add_delta(pixels, delta, 1, 1.0)
    np.testing.assert_allclose(
        canonical_plane(marked, 1, 1.0), canonical_plane(pixels, 1, 1.0) + delta, atol=1e-3
    )
    assert mse == pytest.approx(np.mean(delta.astype(float) ** 2), rel=1e-3)


# ---- several threads -------------------------------------------------------------------------------


@DTYPES
@CHANNELS
@pytest.mark.parametrize("k", [1, 2, 3])
def test_bits_and_sums_are_the_same_for_any_number_of_threads(k, channels, dtype):
    pixels, peak = draw(511, 61, channels, dtype), float(PEAKS[dtype])
    delta = np.random.default_rng(3).normal(0, 4, (511 // k, 61 // k)).astype(np.float32)
    seen = canonical_plane(pixels, k, peak)
    marked, mse = add_delta(pixels, delta, k, peak)
    for threads in (2, 3, 7):
        np.testing.assert_array_equal(canonical_plane(pixels, k, peak, threads), seen)
        other, other_mse = add_delta(pixels, delta, k, peak, threads)
        np.testing.assert_array_equal(other, marked)
        assert other_mse == mse


@DTYPES
@CHANNELS
@pytest.mark.parametrize("k", [1, 2, 3])
def test_bits_are_the_same_whatever_the_strips(k, channels, dtype, monkeypatch):
    pixels, peak = draw(211, 61, channels, dtype), float(PEAKS[dtype])
    delta = np.random.default_rng(4).normal(0, 4, (211 // k, 61 // k)).astype(np.float32)
    found = []
    for rows in (1, 5, 64, 1000):
        monkeypatch.setattr(plane, "in_strips", lambda *job, rows=rows: in_strips(*job, rows))
        found.append((canonical_plane(pixels, k, peak, 2), *add_delta(pixels, delta, k, peak, 2)))
    for seen, marked, mse in found[1:]:
        np.testing.assert_array_equal(seen, found[0][0])
        np.testing.assert_array_equal(marked, found[0][1])
        # whole numbers are added exactly; others in another order
        assert mse == found[0][2] if dtype == "uint8" else mse == pytest.approx(found[0][2], rel=1e-12)


# ---- the caller's memory ---------------------------------------------------------------------------


@CHANNELS
@UNITS
def test_bytes_go_where_they_are_wanted_and_in_place(k, channels):
    pixels = draw(147, 61, channels)
    delta = np.random.default_rng(5).normal(0, 4, (147 // k, 61 // k)).astype(np.float32)
    expected, mse = add_delta(pixels, delta, k)
    before = pixels.copy()
    for out in (np.zeros_like(pixels), pixels):
        np.testing.assert_array_equal(pixels, before)
        marked, other_mse = add_delta(pixels, delta, k, threads=2, out=out)
        assert np.shares_memory(marked, out)
        np.testing.assert_array_equal(out, expected)
        assert other_mse == mse


# ---- pictures with transparent pixels --------------------------------------------------------------


def draw_opacity(height, width):
    """Opacity of which a third is 0 and a third 1, here and there: float32."""
    values = np.random.default_rng(5).random((height, width))
    return np.clip(3 * values - 1, 0, 1).astype(np.float32)


@DTYPES
@CHANNELS
@UNITS
def test_delta_is_added_to_visible_pixels_alone_and_its_square_weighed_by_opacity(k, channels, dtype):
    pixels, peak = draw(190, 61, channels, dtype), float(PEAKS[dtype])
    before, visible = pixels.copy(), draw_opacity(190, 61)
    delta = np.random.default_rng(1).normal(0, 3, (190 // k, 61 // k)).astype(np.float32)
    everywhere, _ = add_delta(pixels, delta, k, peak)
    marked, mse = add_visible_delta(pixels, delta, k, peak, visible)
    np.testing.assert_array_equal(pixels, before)
    np.testing.assert_array_equal(marked[visible == 0], pixels[visible == 0])
    np.testing.assert_array_equal(marked[visible > 0], everywhere[visible > 0])
    change = ((marked.astype(np.float64) - pixels) * 255 / peak) ** 2
    weights = visible if channels == 0 else visible[..., None] * np.ones(channels)
    assert mse == pytest.approx(np.average(change, weights=weights), rel=1e-4)


@DTYPES
@CHANNELS
@UNITS
@pytest.mark.parametrize("level", [0.0, 128.0, 255.0])
def test_a_composite_is_the_pixels_over_the_background_in_whole_levels(k, channels, dtype, level):
    pixels, peak, visible = draw(330, 61, channels, dtype), float(PEAKS[dtype]), draw_opacity(330, 61)
    opacity = visible if channels == 0 else visible[..., None]
    shown = opacity * (pixels * (255 / peak)) + (1 - opacity) * level
    seen = composite_plane(pixels, k, peak, visible, level)
    assert (seen.shape, seen.dtype) == ((330 // k, 61 // k), np.float32)
    # what lies at a half may be rounded either way
    expected = canonical_plane(np.rint(shown).astype(np.float32), k)
    assert np.mean(np.abs(seen - expected) > 1e-3) < 0.01
    np.testing.assert_allclose(seen, expected, atol=1.001)


def test_a_composite_of_what_is_opaque_is_the_plane_and_of_what_is_not_seen_the_background():
    pixels = draw(100, 61, 3)
    one = np.ones((100, 61), np.float32)
    np.testing.assert_array_equal(composite_plane(pixels, 2, 255.0, one, 7.0), canonical_plane(pixels, 2))
    np.testing.assert_allclose(composite_plane(pixels, 2, 255.0, 0 * one, 7.0), 7, atol=1e-5)
