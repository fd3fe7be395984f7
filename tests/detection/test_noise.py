"""Power spectra, and the noise level under their lines."""

import numpy as np
import pytest

from fastmark.detection.noise import WHITE_LIMIT, NoiseLevel, power_spectrum, tukey

CELL = 4  # bins, each way
RELATIVE = 1e-4  # of sums in float32


def draw_power(n_rows, n_columns, seed=0):
    """Power of a real picture ``(n_rows, n_columns // 2 + 1)``, louder at low frequencies."""
    x = np.random.default_rng([seed, n_rows, n_columns]).normal(size=(n_rows, n_columns))
    spectrum = np.fft.rfft2(x)
    fy, fx = np.fft.fftfreq(n_rows)[:, None], np.fft.rfftfreq(n_columns)
    return (np.abs(spectrum) ** 2 / (0.02 + fy**2 + fx**2)).astype(np.float32)


# ---- windows ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 8, 50, 401])
def test_the_window_is_level_but_for_its_ends(n):
    window = tukey(n)
    assert window.dtype == np.float32
    np.testing.assert_array_equal(window, window[::-1])
    # a twentieth at either end
    assert np.all(window[n // 20 + 1 : n - n // 20 - 1] == 1)
    assert np.all(np.diff(window[: n // 2]) >= 0)
    if n >= 50:
        assert 0 < window[0] < 0.1


# ---- power -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(8, 5), (33, 17)], ids=str)
def test_the_power_is_that_of_real_and_imaginary_part(shape):
    rng = np.random.default_rng(0)
    spectrum = (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64)
    power = power_spectrum(spectrum)
    assert power.dtype == np.float32
    np.testing.assert_allclose(power, np.abs(spectrum) ** 2, rtol=RELATIVE)


# ---- noise level -----------------------------------------------------------------------------------


def cells_of(power, ceiling):
    """Means of 4 x 4 bins, none of them counted with more than its cell's ceiling; the last has the Nyquist
    bin.
    """
    n_rows, n_columns = power.shape[0] // CELL, power.shape[1] // CELL
    out = np.empty((n_rows, n_columns))
    for i, j in np.ndindex(out.shape):
        last = CELL * (j + 1) + (j == n_columns - 1)
        cell = power[CELL * i : CELL * (i + 1), CELL * j : last].astype(np.float64)
        out[i, j] = np.minimum(cell, ceiling[i, j]).mean()
    return out


def around(cells, reach_y, reach_x):
    """Means over neighbouring cells of the whole spectrum, up to the Nyquist frequency."""
    # the spectrum of a real signal looks the same from its other side
    whole = np.concatenate([cells[::-1, ::-1], cells], axis=1)
    n_columns = cells.shape[1]
    out = np.empty(cells.shape)
    for i, j in np.ndindex(out.shape):
        rows = np.arange(i - reach_y, i + reach_y + 1) % len(cells)
        columns = np.arange(max(0, n_columns + j - reach_x), min(2 * n_columns, n_columns + j + reach_x + 1))
        out[i, j] = whole[rows[:, None], columns].mean()
    return out


@pytest.mark.parametrize(
    ("reaches", "cells"), [((0, 0), (0, 0)), ((10, 10), (2, 2)), ((14, 5), (3, 1)), ((3.5, 20), (0, 5))]
)
@pytest.mark.parametrize("shape", [(64, 64), (96, 160)], ids=str)
def test_the_noise_level_is_the_mean_of_cells_without_what_stands_out(shape, reaches, cells):
    power = draw_power(*shape)
    power[21, 5], power[40, 17] = 1e4 * power.max(), 300 * power.max()
    level = NoiseLevel.of(power, *reaches)
    first = around(cells_of(power, np.full((shape[0] // 4, shape[1] // 8), np.inf)), *cells)
    exact = around(cells_of(power, WHITE_LIMIT * first), *cells)
    assert level.cells.dtype == np.float32
    np.testing.assert_allclose(level.cells, exact, rtol=RELATIVE)


def test_lines_hardly_raise_the_level_under_them():
    power = np.random.default_rng(1).exponential(size=(128, 65)).astype(np.float32)
    plain = NoiseLevel.of(power, 10, 10).cells
    lines = np.random.default_rng(2).integers(0, (128, 65), (40, 2))
    power[lines[:, 0], lines[:, 1]] = 50
    raised = NoiseLevel.of(power, 10, 10).cells / plain
    # 40 lines of 50 on 8320 bins are a quarter of the noise; left at eight times the level, a thirtieth
    assert raised.mean() < 1.07
    assert power.mean() > 1.2


@pytest.mark.parametrize("value", [0.0, 1.0, 3e7])
def test_the_level_of_a_constant_is_the_constant(value):
    level = NoiseLevel.of(np.full((64, 33), value, np.float32), 10, 7)
    np.testing.assert_allclose(level.cells, value, rtol=RELATIVE)


def test_the_level_is_looked_up_by_bin():
    level = NoiseLevel(np.arange(8 * 4, dtype=np.float32).reshape(8, 4))
    y, x = np.meshgrid(np.arange(-16, 32), np.arange(17), indexing="ij")
    # rows wrap round, and the Nyquist bin belongs to the last cell
    exact = level.cells[(y % 32) // CELL, np.minimum(x // CELL, 3)]
    np.testing.assert_array_equal(level.at(y, x), exact)
