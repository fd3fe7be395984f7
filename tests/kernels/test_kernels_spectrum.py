"""Kernels over half spectra against their twins, and the search against known geometries."""

import numpy as np
import pytest
from reference import spectrum as slow

from fastmark.kernels import spectrum as fast

SIZES = [(8, 8), (16, 24), (40, 16), (24, 64)]
SIZED = pytest.mark.parametrize("size", SIZES, ids=str)
REACHES = pytest.mark.parametrize(("reach_y", "reach_x"), [(0, 0), (1, 0), (0, 1), (1, 2), (3, 3)])

RELATIVE = 1e-5
TIE = 1e-3  # bins: so near to the middle of two, float32 may take the other
TABLE = fast.sinc_table()


def draw_power(size, seed=0):
    """Power of a real picture of ``size``, so that column 0 mirrors itself, with some bins at zero."""
    x = np.random.default_rng([seed, *size]).normal(size=size)
    power = np.abs(np.fft.rfft2(x)).astype(np.float32) ** 2
    power[power < np.quantile(power, 0.1)] = 0
    return power


def draw_white(size, seed=0):
    return np.minimum(draw_power(size, seed) / (size[0] * size[1]), 8).astype(np.float32)


def draw_cells(size, seed=0):
    """Levels of the cells, some of them zero."""
    cells = np.random.default_rng([seed, *size]).uniform(0.5, 5, (size[0] // 4, size[1] // 8))
    cells[cells < 0.8] = 0
    return cells.astype(np.float32)


def draw_spectra(size, n, seed=0):
    """``n`` half spectra of real pictures, complex64."""
    x = np.random.default_rng([seed, *size]).normal(size=(n, *size))
    return np.fft.rfft2(x).astype(np.complex64)


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


# ---- log-polar grid --------------------------------------------------------------------------------


def log_polar_grid():
    angles = np.arange(23) * np.pi / 23
    radii = 0.02 * np.exp(0.2 * np.arange(18))
    return [line.astype(np.float32) for line in (np.cos(angles), np.sin(angles), radii)]


def place_log_polar(size, cosines, sines, radii):
    out = np.full((cosines.size, radii.size), 2**32 - 1, np.uint32)
    fast.place_log_polar(*size, cosines, sines, radii, out)
    return out


@SIZED
def test_place_log_polar_agrees_with_its_twin(size):
    cosines, sines, radii = log_polar_grid()
    places = place_log_polar(size, cosines, sines, radii)
    exact = slow.place_log_polar(*size, cosines, sines, radii)
    at = [n * np.outer(wave, radii) for n, wave in zip(size, (sines, cosines), strict=True)]
    near_tie = np.any([np.abs(place - np.floor(place) - 0.5) < TIE for place in at], axis=0)
    assert near_tie.mean() < 0.1
    np.testing.assert_array_equal(places[~near_tie], exact[~near_tie])


def test_places_beyond_the_nyquist_frequency_are_the_constant_bin():
    cosines, sines, _ = log_polar_grid()
    radii = np.array([0.72, 1.0, 50.0], np.float32)
    assert not place_log_polar((16, 24), cosines, sines, radii).any()


def test_places_lie_within_the_spectrum_and_others_than_far_ones_are_not_the_constant_bin():
    cosines, sines, radii = log_polar_grid()
    for size in SIZES:
        places = place_log_polar(size, cosines, sines, radii)
        assert places.max() < size[0] * (size[1] // 2 + 1)
    places = place_log_polar((64, 96), cosines, sines, radii)
    assert np.all(places[:, radii < 0.45] > 0)


def test_a_half_turn_of_the_angle_gives_the_same_bins():
    _, _, radii = log_polar_grid()
    angles = np.arange(9) * np.pi / 9 + 0.05
    cosines, sines = np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)
    places, turned = (place_log_polar((48, 64), sign * cosines, sign * sines, radii) for sign in (1, -1))
    np.testing.assert_array_equal(places, turned)


def test_a_cell_shows_the_bin_of_its_own_angle_and_radius():
    size = 96, 128
    cosines, sines, radii = log_polar_grid()
    white = np.arange(size[0] * (size[1] // 2 + 1), dtype=np.float32)
    cells = np.empty((cosines.size, radii.size), np.float32)
    fast.take_bins(white, place_log_polar(size, cosines, sines, radii), cells)
    y, x = np.divmod(cells[:, radii < 0.4], size[1] // 2 + 1)
    seen = np.fft.fftfreq(size[0])[y.astype(int)], x / size[1]
    sign = np.where(cosines >= 0, 1, -1)[:, None]
    for frequency, wave, n in zip(seen, (sines, cosines), size, strict=True):
        expected = sign * wave[:, None] * radii[radii < 0.4]
        np.testing.assert_allclose(frequency, expected, rtol=0, atol=0.501 / n)


@pytest.mark.parametrize("shape", [(1, 1), (3, 40), (23, 18)], ids=str)
def test_take_bins_agrees_with_its_twin(shape):
    flat = draw_white((24, 64)).ravel()
    places = np.random.default_rng(shape).integers(0, flat.size, shape).astype(np.uint32)
    out = np.full(shape, np.nan, np.float32)
    fast.take_bins(flat, places, out)
    np.testing.assert_array_equal(out, slow.take_bins(flat, places))


# ---- tones -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(32, 32), (24, 40), (40, 24)], ids=str)
@pytest.mark.parametrize("n_tones", [7, 8, 20, 48])
@pytest.mark.parametrize("g", [rotation(0), rotation(33, 1.4), rotation(-80, 3.0), np.diag([-1.2, 0.9])])
def test_tone_score_agrees_with_its_twin(g, n_tones, size):
    white, tones = draw_white(size), draw_tones(48)
    arguments = white, 0.9, 1.3, tones, n_tones, g
    assert fast.tone_score(*arguments) == pytest.approx(slow.tone_score(*arguments), abs=1e-6)


def test_fewer_than_eight_tones_inside_the_spectrum_score_nothing():
    white = np.full((32, 17), 8, np.float32)
    tones = np.tile([0.2, 0.1], (20, 1))
    tones[:7] = 0.01
    assert fast.tone_score(white, 1.0, 1.0, tones, 20, 4 * np.eye(2)) == 0
    assert fast.tone_score(white, 1.0, 1.0, tones, 20, 2 * np.eye(2)) == pytest.approx(7 * np.sqrt(20))


@pytest.mark.parametrize("size", [(64, 64), (48, 80)], ids=str)
@pytest.mark.parametrize("seed", range(4))
def test_refine_geometry_climbs_as_its_twin_does(seed, size):
    tones = draw_tones(48, seed)
    truth = rotation(20 * seed + 3, 1.1)
    white = draw_spectrum(size, tones, truth)
    start = (np.eye(2) + np.random.default_rng(seed).normal(0, 0.004, (2, 2))) @ truth
    g = start.copy()
    score = fast.refine_geometry(white, 1.0, 1.0, tones, 48, 0.006, 0.0005, g)
    slow_g, slow_score = slow.refine_geometry(white, 1.0, 1.0, tones, 48, 0.006, 0.0005, start)
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
    after = fast.refine_geometry(white, 1.0, 1.0, tones, 48, 0.006, 0.0002, g)
    assert after > before
    assert after == pytest.approx(fast.tone_score(white, 1.0, 1.0, tones, 48, g))
    # half a bin at the outermost tone
    np.testing.assert_allclose(g, truth, rtol=0, atol=0.5 / min(size) / 0.24)


def test_refine_geometry_stays_where_nothing_is_better():
    tones = draw_tones(48)
    g = np.eye(2)
    assert fast.refine_geometry(np.ones((32, 17), np.float32), 1.0, 1.0, tones, 48, 0.01, 0.001, g) == 0
    np.testing.assert_array_equal(g, np.eye(2))


# ---- phases ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("conjugate", [True, False])
@SIZED
def test_correlate_agrees_with_its_twin(size, conjugate):
    spectrum, pattern = draw_spectra(size, 2)
    out = np.full_like(spectrum, np.nan)
    square = fast.correlate(spectrum, pattern, conjugate, out)
    exact, exact_square = slow.correlate(spectrum, pattern, conjugate)
    np.testing.assert_allclose(out, exact, rtol=RELATIVE, atol=RELATIVE * np.abs(exact).max())
    assert square == pytest.approx(exact_square, rel=RELATIVE)


def test_the_correlation_of_a_shifted_pattern_peaks_at_the_shift():
    pattern = np.random.default_rng(0).normal(size=(24, 40))
    spectra = [
        np.fft.rfft2(x).astype(np.complex64) for x in (np.roll(pattern, (-5, 11), axis=(0, 1)), pattern)
    ]
    product = np.empty_like(spectra[0])
    fast.correlate(*spectra, True, product)
    surface = np.fft.irfft2(product, s=pattern.shape)
    assert np.unravel_index(surface.argmax(), surface.shape) == (5, 40 - 11)


def draw_padded(shape, size, seed=0):
    """A picture, and the half spectrum of it at the corner of ``size`` samples."""
    picture = np.random.default_rng([seed, *shape]).normal(size=shape)
    return picture, np.fft.rfft2(picture, s=size).astype(np.complex64)


def spectrum_at(spectrum, shape, frequencies):
    out = np.full(len(frequencies), np.nan, np.complex128)
    fast.spectrum_at(spectrum, *shape, frequencies, TABLE, out)
    return out


def draw_frequencies(n, seed=0):
    return np.random.default_rng(seed).uniform(-0.489, 0.489, (n, 2))


def fourier(picture, frequencies):
    """The transform at any frequency, its origin in the middle of the samples."""
    y, x = np.indices(picture.shape)
    y, x = y - (picture.shape[0] - 1) / 2, x - (picture.shape[1] - 1) / 2
    return np.array([np.sum(picture * np.exp(-2j * np.pi * (fy * y + fx * x))) for fy, fx in frequencies])


PADDED = [((16, 16), (24, 24)), ((17, 40), (24, 56)), ((57, 20), (80, 32)), ((45, 45), (128, 64))]
PADDINGS = pytest.mark.parametrize(("shape", "size"), PADDED, ids=str)


def test_the_sinc_table_is_the_formula():
    distances = np.arange(257)[:, None] / 256 - np.arange(-3, 5)
    np.testing.assert_allclose(TABLE, slow._windowed_sinc(distances), rtol=0, atol=1e-12)


def test_the_sinc_table_gives_back_what_is_sampled():
    np.testing.assert_allclose(TABLE[0], np.arange(-3, 5) == 0, rtol=0, atol=1e-12)
    np.testing.assert_allclose(TABLE[256], np.arange(-3, 5) == 1, rtol=0, atol=1e-12)
    np.testing.assert_allclose(TABLE, TABLE[::-1, ::-1], rtol=0, atol=1e-12)


@PADDINGS
def test_spectrum_at_agrees_with_its_twin(shape, size):
    _, spectrum = draw_padded(shape, size)
    frequencies = draw_frequencies(60)
    exact = slow.spectrum_at(spectrum, *shape, frequencies)
    result = spectrum_at(spectrum, shape, frequencies)
    np.testing.assert_allclose(result, exact, rtol=0, atol=1e-9 * np.abs(exact).max())


@pytest.mark.parametrize(
    ("shape", "size", "error"),
    [
        ((48, 48), (96, 96), 0.003),  # a sinc of eight taps is as good as exact where half is zeros
        ((33, 60), (72, 120), 0.003),
        ((45, 80), (64, 112), 0.05),  # 1.4 times as many: what lies at the picture's edge suffers
        ((64, 96), (80, 120), 0.1),
    ],
    ids=str,
)
def test_spectrum_at_is_the_fourier_transform_the_better_the_more_zeros_were_padded(shape, size, error):
    picture, spectrum = draw_padded(shape, size)
    frequencies = draw_frequencies(400, 1)
    difference = np.abs(spectrum_at(spectrum, shape, frequencies) - fourier(picture, frequencies))
    assert difference.max() < error * np.abs(spectrum).max()


@PADDINGS
def test_spectrum_at_of_opposite_frequencies_is_conjugate(shape, size):
    _, spectrum = draw_padded(shape, size)
    # no frequency whose 256th of a bin is a tie, which is broken upwards
    frequencies = draw_frequencies(50, 2)
    result, opposite = (spectrum_at(spectrum, shape, sign * frequencies) for sign in (1, -1))
    np.testing.assert_allclose(opposite, np.conj(result), rtol=0, atol=1e-6 * np.abs(result).max())


def test_spectrum_at_the_bins_is_the_spectrum_but_for_the_origin():
    shape, size = (20, 24), (32, 40)
    _, spectrum = draw_padded(shape, size)
    bins = np.array([(0, 0), (3, 7), (-5, 2), (9, 0), (-14, 19)])
    result = spectrum_at(spectrum, shape, bins / size)
    turn = np.exp(2j * np.pi * (bins / size) @ [(n - 1) / 2 for n in shape])
    np.testing.assert_allclose(result, turn * spectrum[bins[:, 0], bins[:, 1]], rtol=0, atol=1e-6)
