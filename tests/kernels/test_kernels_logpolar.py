"""Kernels of the scan against their twins, and the scores against tones planted at known places."""

import numpy as np
import pytest
import spectra
from reference import logpolar as slow

from fastmark.kernels import logpolar as fast

SHAPES = [(2, 2), (2, 31), (9, 2), (16, 40), (33, 71)]
SIZES = pytest.mark.parametrize("shape", SHAPES, ids=str)
COUNTS = pytest.mark.parametrize("counts", [(16,), (48, 96), (16, 32, 64, 128)], ids=str)
N_ANGLES, STRIDE = 40, 160

RELATIVE = 1e-5
TIE = 1e-3  # of a byte: so near to one half, float32 may round the other way
BIN_TIE = 1e-3  # bins: so near to the middle of two, float32 may take the other


def draw(shape, seed=0):
    return np.random.default_rng([seed, *shape]).gamma(1.0, 1.0, shape).astype(np.float32)


def draw_bytes(n, seed=0):
    return np.random.default_rng([seed, n]).integers(0, 16, n).astype(np.uint8)


class Scan:
    """A drawn pattern and spectrum; gains and biases are eighths, so that float32 scores are exact."""

    def __init__(self, counts, n_scales, seed=0, level=0.0):
        rng = np.random.default_rng([seed, n_scales, *counts])
        self.counts = np.array(counts)
        self.flat = draw_bytes(N_ANGLES * STRIDE, seed)
        # two strains: rows in another order, from other columns
        rows = np.stack([np.arange(N_ANGLES), rng.permutation(N_ANGLES)])
        self.offsets = np.tile(rows * STRIDE + rng.integers(0, 9, rows.shape), 2)
        self.tone_rows = rng.integers(0, N_ANGLES, (2, self.counts[-1]))
        self.tone_columns = rng.integers(0, 50, self.counts[-1])
        hypotheses = np.indices((2, 2, N_ANGLES)).reshape(3, -1).T
        self.hypotheses = np.ascontiguousarray(hypotheses[rng.permutation(len(hypotheses))[:50]])
        shape = self.counts.size, n_scales
        middle = self.counts[:, None] * 7.5 + level
        self.bias = (np.rint(8 * middle) / 8 + rng.integers(-8, 9, shape) / 8).astype(np.float32)
        self.gain = (rng.integers(1, 33, shape) / 8).astype(np.float32)

    @property
    def arguments(self):
        names = "flat offsets tone_rows tone_columns counts hypotheses bias gain"
        return [getattr(self, name) for name in names.split()]

    def run(self, least=-(2**30), promising=-(2**30)):
        shape = len(self.hypotheses), self.counts.size
        best, at = np.full(shape, -77, np.int32), np.full(shape, -77, np.int32)
        fast.scan_rows(*self.arguments, least, np.full(best.shape[1], promising, np.int32), best, at)
        return best, at

    def plant(self, hypothesis, scale):
        """Make the spectrum show the whole pattern at one hypothesis and scale."""
        strain, mirrored, turn = hypothesis
        start = self.offsets[strain, self.tone_rows[mirrored] + turn] + self.tone_columns
        self.flat[start + scale] = 15


# ---- sums ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [1, 2, 31, 32, 33, 64, 200])
def test_add_group_agrees_with_its_twin(width):
    flat = draw_bytes(1000)
    starts = np.random.default_rng(width).integers(0, 1000 - width + 1, 16).astype(np.uint64)
    few, total = np.full(width, 7, np.uint8), np.arange(width).astype(np.uint16)
    fast.add_group(flat, starts, few, total)
    np.testing.assert_array_equal(few, slow.add_group(flat, starts, width))
    np.testing.assert_array_equal(total, np.arange(width) + slow.add_group(flat, starts, width))


def test_a_group_of_the_largest_bytes_does_not_overflow():
    few, total = np.empty(70, np.uint8), np.full(70, 60_000, np.uint16)
    fast.add_group(np.full(70, 15, np.uint8), np.zeros(16, np.uint64), few, total)
    np.testing.assert_array_equal(total, 60_000 + 16 * 15)


# ---- scores ----------------------------------------------------------------------------------------


@COUNTS
@pytest.mark.parametrize("n_scales", [1, 7, 32, 96])
def test_scan_rows_agrees_with_its_twin(n_scales, counts):
    # below the mean, so that the best of few scales is positive too
    scan = Scan(counts, n_scales, level=-200)
    best, at = scan.run()
    exact, exact_at = slow.scan_rows(*scan.arguments, -(2**30))
    assert exact.min() >= 0
    np.testing.assert_array_equal(best, exact)
    np.testing.assert_array_equal(at, exact_at)


@COUNTS
def test_scores_below_zero_are_rounded_down_as_well(counts):
    scan = Scan(counts, 5, level=300)
    best, _ = scan.run()
    exact, _ = slow.scan_rows(*scan.arguments, -(2**30))
    assert exact.max() < 0
    np.testing.assert_array_equal(best, exact)


@COUNTS
def test_the_place_is_written_where_the_score_is_at_least_the_least(counts):
    scan = Scan(counts, 32)
    exact, exact_at = slow.scan_rows(*scan.arguments, -(2**30))
    least = int(np.median(exact))
    best, at = scan.run(least)
    np.testing.assert_array_equal(best, exact)
    found = exact >= least
    assert 0 < found.sum() < found.size
    np.testing.assert_array_equal(at[found], exact_at[found])
    assert np.all(at[~found] == -77)


@pytest.mark.parametrize("counts", [(48, 96), (16, 32, 64, 128)], ids=str)
def test_prefixes_longer_than_one_that_is_not_promising_are_not_summed(counts):
    scan = Scan(counts, 32)
    promising = int(np.median(slow.scan_rows(*scan.arguments, -(2**30))[0][:, :-1]))
    best, at = scan.run(promising=promising)
    exact, exact_at = slow.scan_rows(*scan.arguments, promising)
    left_out = exact == -(2**30)
    assert 0 < left_out[:, -1].sum() < len(exact)
    # the first that is not is told all the same
    assert not left_out[:, 0].any()
    np.testing.assert_array_equal(best, exact)
    np.testing.assert_array_equal(at[~left_out], exact_at[~left_out])
    assert np.all(at[left_out] == -77)


def test_a_score_as_good_as_promising_is_promising():
    scan = Scan((16, 32), 8, level=-200)
    first = int(scan.run()[0][:, 0].min())
    assert scan.run(promising=first)[0][:, 1].min() >= 0
    assert np.sum(scan.run(promising=first + 1)[0][:, 1] == -(2**30)) >= 1


@pytest.mark.parametrize("number", [0, 17, 49])
@pytest.mark.parametrize("scale", [0, 30, 31])
def test_a_planted_pattern_is_found_at_its_hypothesis_and_scale(number, scale):
    scan = Scan((16, 32, 64), 32, seed=number)
    scan.gain[:], scan.bias[:] = 1, 0
    scan.plant(scan.hypotheses[number], scale)
    best, at = scan.run()
    np.testing.assert_array_equal(best[number], 15 * scan.counts)
    np.testing.assert_array_equal(at[number], scale)
    np.testing.assert_array_equal(best.argmax(axis=0), number)


def test_the_order_of_the_hypotheses_does_not_matter():
    scan = Scan((16, 48), 32)
    best, at = scan.run()
    scan.hypotheses = np.ascontiguousarray(scan.hypotheses[::-1])
    for result, expected in zip(scan.run(), (best, at), strict=True):
        np.testing.assert_array_equal(result[::-1], expected)


def test_a_prefix_scores_as_a_pattern_of_so_many_tones():
    scan = Scan((16, 48, 96), 32)
    best, _ = scan.run()
    scan.counts, scan.tone_columns = scan.counts[:2], scan.tone_columns[:48]
    np.testing.assert_array_equal(scan.run()[0], best[:, :2])


# ---- cells -----------------------------------------------------------------------------------------


@SIZES
def test_pool_cells_agrees_with_its_twin(shape):
    cells = draw(shape)
    out = np.full([n // 2 for n in shape], np.nan, np.float32)
    fast.pool_cells(cells, out)
    np.testing.assert_allclose(out, slow.pool_cells(cells), rtol=RELATIVE)


@SIZES
def test_measure_cells_agrees_with_its_twin(shape):
    cells = draw(shape)
    mean = np.full(shape[1], np.nan, np.float32)
    spread = fast.measure_cells(cells, mean)
    exact, exact_spread = slow.measure_cells(cells)
    np.testing.assert_allclose(mean, exact, rtol=RELATIVE)
    assert spread == pytest.approx(exact_spread, rel=RELATIVE)


def test_the_spread_of_equal_rows_is_next_to_nothing_but_not_nothing():
    mean = np.empty(40, np.float32)
    spread = fast.measure_cells(np.tile(draw((40,)), (16, 1)), mean)
    assert 0 < spread < 1e-2


def quantise_cells(cells, mean, inverse_spread=1.0, neutral=3.0, step=2.4):
    out = np.full(cells.shape, 99, np.uint8)
    numbers = (np.float32(number) for number in (inverse_spread, neutral, step))
    return out, fast.quantise_cells(cells, mean, *numbers, out)


@pytest.mark.parametrize(
    ("inverse_spread", "neutral", "step"), [(1.0, 3.0, 2.4), (0.4, 7.0, 1.0), (9.0, 0.0, 4.0)]
)
@SIZES
def test_quantise_cells_agrees_with_its_twin(shape, inverse_spread, neutral, step):
    cells, mean = draw(shape), draw(shape[1:], 1)
    out, sums = quantise_cells(cells, mean, inverse_spread, neutral, step)
    exact = slow.quantise_cells(cells, mean, inverse_spread, neutral, step)
    near_tie = np.abs(exact - np.floor(exact) - 0.5) < TIE
    rounded = np.clip(np.floor(exact + 0.5), 0, 15)
    np.testing.assert_array_equal(out[~near_tie], rounded[~near_tie])
    assert np.all(np.abs(out[near_tie] - rounded[near_tie]) <= 1)
    assert sums == (out.sum(dtype=np.int64), np.sum(out.astype(np.int64) ** 2))


def test_cells_far_off_are_the_first_and_the_last_byte_and_the_mean_is_neutral():
    cells = np.array([[-1e6, 5, 1e6], [4.9, 5.1, 5]], np.float32)
    out, sums = quantise_cells(cells, np.full(3, 5, np.float32))
    assert out.tolist() == [[0, 3, 15], [3, 3, 3]]
    assert sums == (27, 9 + 225 + 27)


def test_a_part_of_wider_rows_is_written_and_no_more():
    padded = np.full((16, 60), 3, np.uint8)
    cells = draw((16, 40))
    numbers = np.float32(1), np.float32(3), np.float32(2.4)
    fast.quantise_cells(cells, np.ones(40, np.float32), *numbers, padded[:, 8:48])
    np.testing.assert_array_equal(padded[:, 8:48], quantise_cells(cells, np.ones(40, np.float32))[0])
    assert np.all(padded[:, :8] == 3)
    assert np.all(padded[:, 48:] == 3)


# ---- log-polar grid --------------------------------------------------------------------------------


def log_polar_grid():
    angles = np.arange(23) * np.pi / 23
    radii = 0.02 * np.exp(0.2 * np.arange(18))
    return [line.astype(np.float32) for line in (np.cos(angles), np.sin(angles), radii)]


def place_log_polar(size, cosines, sines, radii):
    out = np.full((cosines.size, radii.size), 2**32 - 1, np.uint32)
    fast.place_log_polar(*size, cosines, sines, radii, out)
    return out


@spectra.SIZED
def test_place_log_polar_agrees_with_its_twin(size):
    cosines, sines, radii = log_polar_grid()
    places = place_log_polar(size, cosines, sines, radii)
    exact = slow.place_log_polar(*size, cosines, sines, radii)
    at = [n * np.outer(wave, radii) for n, wave in zip(size, (sines, cosines), strict=True)]
    near_tie = np.any([np.abs(place - np.floor(place) - 0.5) < BIN_TIE for place in at], axis=0)
    assert near_tie.mean() < 0.1
    np.testing.assert_array_equal(places[~near_tie], exact[~near_tie])


def test_places_beyond_the_nyquist_frequency_are_the_constant_bin():
    cosines, sines, _ = log_polar_grid()
    radii = np.array([0.72, 1.0, 50.0], np.float32)
    assert not place_log_polar((16, 24), cosines, sines, radii).any()


def test_places_lie_within_the_spectrum_and_others_than_far_ones_are_not_the_constant_bin():
    cosines, sines, radii = log_polar_grid()
    for size in spectra.SIZES:
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
    flat = spectra.draw_white((24, 64)).ravel()
    places = np.random.default_rng(shape).integers(0, flat.size, shape).astype(np.uint32)
    out = np.full(shape, np.nan, np.float32)
    fast.take_bins(flat, places, out)
    np.testing.assert_array_equal(out, slow.take_bins(flat, places))
