"""Kernels of the noise level and of whitening against their twins."""

import numpy as np
import pytest
from reference import noise as slow
from spectra import SIZED, draw_power, draw_spectra, draw_white

from fastmark.kernels import noise as fast

REACHES = pytest.mark.parametrize(("reach_y", "reach_x"), [(0, 0), (1, 0), (0, 1), (1, 2), (3, 3)])

RELATIVE = 1e-5


def draw_cells(size, seed=0):
    """Levels of the cells, some of them zero."""
    cells = np.random.default_rng([seed, *size]).uniform(0.5, 5, (size[0] // 4, size[1] // 8))
    cells[cells < 0.8] = 0
    return cells.astype(np.float32)


def pool_power(power, ceiling=np.inf):
    ceiling = np.broadcast_to(np.float32(ceiling), (power.shape[0] // 4, power.shape[1] // 4)).copy()
    out = np.full_like(ceiling, np.nan)
    fast.pool_power(power, ceiling, out)
    return out


def smooth_cells(cells, reach_y, reach_x):
    out = np.full_like(cells, np.nan)
    fast.smooth_cells(cells, reach_y, reach_x, out)
    return out


def whiten(power, cells, limit=8.0):
    out = np.full_like(power, np.nan)
    fast.whiten(power, cells, np.float32(limit), out)
    return out


def smooth_bins(white, side):
    out = np.full_like(white, np.nan)
    fast.smooth_bins(white, np.float32(side), out)
    return out


# ---- noise level -----------------------------------------------------------------------------------


@SIZED
def test_add_power_agrees_with_its_twin_and_adds_to_what_is_there(size):
    spectrum = draw_spectra(size, 1)[0]
    out = np.ones(spectrum.shape, np.float32)
    fast.add_power(spectrum.view(np.float32), out)
    np.testing.assert_allclose(out, 1 + slow.add_power(spectrum.view(np.float32)), rtol=RELATIVE)
    np.testing.assert_allclose(out, 1 + np.abs(spectrum) ** 2, rtol=RELATIVE)


@SIZED
def test_pool_power_agrees_with_its_twin(size):
    power, ceiling = draw_power(size), 20 * draw_cells(size, 1)
    out = np.full_like(ceiling, np.nan)
    fast.pool_power(power, ceiling, out)
    np.testing.assert_allclose(out, slow.pool_power(power, ceiling), rtol=RELATIVE)


@SIZED
def test_every_bin_counts_in_one_cell_and_those_at_nyquist_in_the_last(size):
    power = np.zeros((size[0], size[1] // 2 + 1), np.float32)
    for y, x in np.ndindex(power.shape):
        power[y, x] = 80
        pooled = pool_power(power)
        power[y, x] = 0
        place = y // 4, min(x // 4, pooled.shape[1] - 1)
        # the last cell has five columns
        assert pooled[place] == pytest.approx(4 if place[1] == pooled.shape[1] - 1 else 5)
        assert np.count_nonzero(pooled) == 1


def test_what_exceeds_the_ceiling_counts_as_the_ceiling():
    power = draw_power((24, 32))
    power[5, 7] = 1e12
    lower = power.copy()
    lower[5, 7] = 100
    np.testing.assert_array_equal(pool_power(power, 100.0), pool_power(lower, 100.0))


@REACHES
@SIZED
def test_smooth_cells_agrees_with_its_twin(size, reach_y, reach_x):
    cells = draw_cells(size)
    reach_x = min(reach_x, cells.shape[1] - 1)
    exact = slow.smooth_cells(cells, reach_y, reach_x)
    np.testing.assert_allclose(smooth_cells(cells, reach_y, reach_x), exact, rtol=RELATIVE)


@pytest.mark.parametrize("value", [0.0, 1.0, 3e7])
@pytest.mark.parametrize(("reach_y", "reach_x"), [(1, 1), (3, 2), (2, 50)])
def test_the_smoothed_level_of_a_constant_is_the_constant(value, reach_y, reach_x):
    smooth = smooth_cells(np.full((16, 9), value, np.float32), reach_y, reach_x)
    np.testing.assert_allclose(smooth, value, rtol=RELATIVE)


def test_the_level_is_the_mean_of_the_whole_spectrum_as_the_cells_divide_it():
    picture = np.random.default_rng(3).normal(size=(64, 96))
    whole = np.abs(np.fft.fft2(picture)) ** 2
    half = (np.abs(np.fft.rfft2(picture)) ** 2).astype(np.float32)
    level = smooth_cells(pool_power(half), 1, 1)
    cells = whole.reshape(16, 4, 24, 4).mean(axis=(1, 3))
    around = sum(np.roll(cells, (dy, dx), axis=(0, 1)) for dy in (-1, 0, 1) for dx in (-1, 0, 1)) / 9
    within = slice(1, 10)  # the first column's neighbours are mirrored, the last one has five bins
    np.testing.assert_allclose(level[:, within], around[:, within], rtol=RELATIVE)


def test_the_cells_before_the_first_column_are_its_mirror_image_upside_down():
    cells = np.zeros((10, 7), np.float32)
    cells[3, 0] = cells[6, 1] = 9 * 5
    level = smooth_cells(cells, 1, 1)
    # -1 - 3 = 6 modulo 10
    assert level[2:5, 0].tolist() == [5, 5, 5]
    assert level[5:8, 0].tolist() == [10, 10, 10]
    assert np.count_nonzero(level[[0, 1, 8, 9], 0]) == 0


def test_a_huge_cell_does_not_drown_the_small_ones_beyond_its_neighbourhood():
    cells = np.ones((64, 33), np.float32)
    cells[5, 7] = 1e12
    assert smooth_cells(cells, 2, 2)[20:, :].max() == pytest.approx(1, rel=1e-3)


# ---- whitening -------------------------------------------------------------------------------------


@SIZED
def test_whiten_agrees_with_its_twin(size):
    power, cells = draw_power(size, 1), draw_cells(size)
    np.testing.assert_allclose(whiten(power, cells), slow.whiten(power, cells, 8), rtol=RELATIVE, atol=1e-4)


def test_whiten_writes_zero_where_the_level_is_zero():
    assert not whiten(np.ones((8, 9), np.float32), np.zeros((2, 2), np.float32)).any()


def test_power_over_a_constant_level_is_the_ratio_and_limited():
    power = draw_power((16, 24))
    cells = np.full((4, 3), 20, np.float32)
    np.testing.assert_allclose(whiten(power, cells, 3), np.minimum(power / 20, 3), rtol=RELATIVE)


def test_the_level_between_the_middles_of_cells_is_a_slope():
    cells = np.tile(np.arange(1, 9, dtype=np.float32), (4, 1))
    level = 1 / whiten(np.ones((16, 33), np.float32), cells, 1e9)
    slope = 1 + (np.arange(33) + 0.5) / 4 - 0.5
    np.testing.assert_allclose(level, np.tile(np.clip(slope, 1, 8), (16, 1)), rtol=RELATIVE)


def test_the_level_wraps_round_from_the_last_row_to_the_first():
    cells = draw_cells((40, 32)) + 1
    rolled = whiten(np.ones((40, 17), np.float32), np.roll(cells, 3, axis=0), 1e9)
    expected = np.roll(whiten(np.ones((40, 17), np.float32), cells, 1e9), 12, axis=0)
    np.testing.assert_allclose(rolled, expected, rtol=RELATIVE)


@pytest.mark.parametrize("side", [0.0, 0.2, 0.25])
@SIZED
def test_smooth_bins_agrees_with_its_twin(size, side):
    white = draw_white(size)
    np.testing.assert_allclose(smooth_bins(white, side), slow.smooth_bins(white, side), rtol=0, atol=RELATIVE)


def test_smoothing_keeps_a_constant_and_spreads_a_peak_by_its_weights():
    np.testing.assert_allclose(smooth_bins(np.full((8, 9), 3, np.float32), 0.2), 3, rtol=RELATIVE)
    peak = np.zeros((8, 9), np.float32)
    peak[0, 4] = 1
    spread = smooth_bins(peak, 0.2)
    line = [0.2, 0.6, 0.2]
    np.testing.assert_allclose(np.roll(spread, 1, axis=0)[:3, 3:6], np.outer(line, line), rtol=RELATIVE)
    assert np.count_nonzero(spread) == 9
