"""The log-polar scan on drawn spectra: their scale, rotation, mirror image and strain are found."""

import numpy as np
import pytest

from fastmark.codec.tables import MAX_RADIUS, MIN_RADIUS, TONE_COUNTS, TORUS
from fastmark.detection.logpolar import GRIDS, MAX_SCALE, LogPolarSpectrum, Strains, Templates, log_polar

N = 512
POOLS = (1, 2, 4)
FINE = 0.006  # of the logarithm of the radius: the finest cells
LEFT, NEUTRAL = 32, 3  # columns before the first radius, and the byte of the mean
N_RADII = 568
LEAST_SCALE = 0.2
SCALES = MAX_SCALE, LEAST_SCALE
MANY = 100  # hypotheses returned at most
PROMISING = (1.5, 2.5, 3.2, 0.0)  # sigmas of each prefix, without which longer ones are not summed
LEAST_INSIDE = 12  # tones within the spectrum, that a prefix is scored at all
WHOLE = np.eye(2)[None]
ON_EVERY_GRID = pytest.mark.parametrize("pool", POOLS)


def geometry(scale, degrees, mirrored):
    """The matrix from frequencies a unit to frequencies a sample, (y, x)."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    flip = np.diag([-1.0 if mirrored else 1.0, 1.0])
    return np.array([[c, s], [-s, c]]) @ flip / scale


def draw_spectrum(carrier, g, n_tones=96, seed=0):
    """Whitened power ``(N, N // 2 + 1)``: noise, and tones where ``g`` puts them, seen by the bins around."""
    white = np.minimum(np.random.default_rng(seed).exponential(size=(N, N // 2 + 1)), 8).astype(np.float32)
    near = np.arange(-1, 2)
    for place in carrier.tones[:n_tones] / TORUS @ g.T * N:
        fy, fx = place if place[1] >= 0 else -place
        y, x = int(np.rint(fy)), int(np.rint(fx))
        if max(abs(y), x) < N // 2 - 2 and x >= 1:
            lobe = np.outer(np.sinc((y + near - fy) / 2) ** 2, np.sinc((x + near - fx) / 2) ** 2)
            white[(y + near)[:, None] % N, x + near] += 6 * lobe
    return white


def every_rotation(grid, mirrored=(0, 1), strains=1):
    """All hypotheses of a grid: strain, mirrored, row."""
    n = strains, 2, grid.n_angles
    found = np.indices(n).reshape(3, -1).T
    return found[np.isin(found[:, 1], mirrored)]


def look(
    templates, spectrum, n_tones=192, scales=SCALES, least_score=4.0, matrices=WHOLE, most=MANY, threads=1
):
    """Scan one spectrum through strains at every rotation."""
    hypotheses = every_rotation(spectrum.grid, strains=len(matrices))
    strains = Strains(matrices, spectrum.grid)
    return templates.scan(spectrum, strains, hypotheses, n_tones, scales, least_score, most, threads)


def degrees_apart(a, b):
    """Of turns that look alike upside down."""
    return abs((a - b + 90) % 180 - 90)


@pytest.fixture(scope="module")
def templates(carrier):
    return Templates(carrier)


# ---- grids -----------------------------------------------------------------------------------------


@ON_EVERY_GRID
@pytest.mark.parametrize("most", [MAX_SCALE, 2.0, 1.6])
def test_scales_are_a_multiple_of_32_and_reach_the_least(pool, most):
    grid = GRIDS[pool]
    for least in np.geomspace(0.15, 1.0, 40):
        first, scales = grid.scales(most, least)
        assert scales.size % 32 == 0
        assert scales.size > 0
        # shifts of the grid from the largest there is, to the nearest
        assert abs(first - np.log(MAX_SCALE / most) / grid.log_step) <= 0.5
        # that of the middle of a cell
        assert scales[0] == pytest.approx(MAX_SCALE * np.exp(-first * grid.log_step - 0.003 * (pool - 1)))
        np.testing.assert_allclose(np.diff(np.log(scales)), -grid.log_step, rtol=1e-9)
        # 15 % of 32 steps are not worth another 32; and no more than 32 are added
        assert -33.5 < np.log(scales[-1] / least) / grid.log_step < 6.3


@ON_EVERY_GRID
def test_a_grid_spans_half_a_turn_and_the_tones(pool):
    grid = GRIDS[pool]
    assert (grid.n_angles * pool, grid.n_radii * pool) == (512, 568)
    assert grid.log_step == pytest.approx(FINE * pool)
    # from the outermost tone at the largest scale, the last cells are those of the Nyquist frequency
    outermost = MIN_RADIUS / TORUS / MAX_SCALE * np.exp(FINE * (N_RADII - 1))
    assert outermost <= 0.5 < outermost * np.exp(2 * FINE)


@ON_EVERY_GRID
def test_rows_have_room_for_every_scale_and_strain(pool, templates):
    """Of what is sought, no cell is looked for in another row's, or beyond the last."""
    grid = GRIDS[pool]
    strains = Strains(STRAINS, grid)
    column = int(np.rint(np.log(MAX_RADIUS / MIN_RADIUS) / grid.log_step))
    for most, least in ((MAX_SCALE, LEAST_SCALE), (2.0, 0.43)):
        first, scales = grid.scales(most, least)
        starts = strains.offsets % grid.stride
        assert starts.min() >= 0
        assert starts.max() + column + first + scales.size <= grid.stride


def cells_of(white, pool, finest):
    """The mean of the finest cells' nearest bins, cell by cell, in place of the kernels'."""
    n_rows, n_columns = white.shape[0], 2 * (white.shape[1] - 1)
    angles = np.arange(0, 512, finest) * np.pi / 512
    radii = MIN_RADIUS / TORUS / MAX_SCALE * np.exp(FINE * (np.arange(0, N_RADII, finest) + (finest - 1) / 2))
    y = np.sin(angles)[:, None] * radii * n_rows
    x = np.cos(angles)[:, None] * radii * n_columns
    y, x = (np.floor(np.where(x < 0, -place, place) + 0.5).astype(int) for place in (y, x))
    seen = (2 * np.abs(y) < n_rows) & (2 * x <= n_columns)
    cells = np.where(seen, white[y % n_rows, np.where(seen, x, 0)], 1.0).astype(np.float64)
    n = pool // finest
    return cells.reshape(512 // pool, n, N_RADII // pool, n).mean(axis=(1, 3))


@pytest.mark.parametrize("shape", [(512, 257), (320, 385), (256, 129)], ids=str)
@pytest.mark.parametrize("pools", [(1, 2, 4), (2, 4)], ids=str)
def test_a_log_polar_spectrum_is_sampled_pooled_and_quantised(shape, pools):
    white = np.random.default_rng(list(shape)).exponential(size=shape).astype(np.float32)
    spectra = log_polar(white.copy(), pools)
    assert [spectrum.grid.pool for spectrum in spectra] == list(pools)
    for spectrum in spectra:
        grid = spectrum.grid
        cells = cells_of(white, grid.pool, pools[0])
        cells = cells - cells.mean(axis=0)
        exact = np.clip(NEUTRAL + 2.4 * cells / np.sqrt(np.mean(cells**2)), 0, 15)
        inside = spectrum.cells[:, LEFT : LEFT + grid.n_radii]
        assert spectrum.cells.dtype == np.uint8
        assert inside.max() <= 15
        # places on the border of two bins are either's, in float32
        assert np.mean(np.abs(inside - exact) > 0.501) < 1e-3
        assert spectrum.mean == pytest.approx(inside.mean())
        assert spectrum.spread == pytest.approx(inside.std())
        beyond = np.delete(spectrum.cells, np.arange(LEFT, LEFT + grid.n_radii), axis=1)
        assert np.all(beyond == NEUTRAL)


# ---- strains ---------------------------------------------------------------------------------------

STRAINS = np.array(
    [np.eye(2), np.diag([1.1, 1 / 1.1]), [[1.003, 0.08], [0.08, 1.003]], np.diag([0.9, 1 / 0.9])]
)


@ON_EVERY_GRID
def test_strains_are_rearrangements_to_the_nearest_cell(pool):
    """The strained spectrum at a cell is the spectrum itself at the cell that the rearrangement names."""
    grid = GRIDS[pool]
    strains = Strains(STRAINS, grid)
    assert strains.offsets.shape == (len(STRAINS), 2 * grid.n_angles)
    # the other half turn shows the same
    once, again = np.split(strains.offsets, 2, axis=1)
    np.testing.assert_array_equal(once, again)
    # left of the first radius is room for strains that move cells down
    every_row, every_shift = np.divmod(once, grid.stride)
    every_shift -= LEFT
    row, step = np.pi / grid.n_angles, grid.log_step
    for matrix, rows, shifts in zip(STRAINS, every_row, every_shift, strict=True):
        for a in range(grid.n_angles):
            y, x = matrix @ (np.sin(a * row), np.cos(a * row))
            # a half turn is no difference to a power spectrum
            off = (np.arctan2(y, x) / row - rows[a] + grid.n_angles / 2) % grid.n_angles - grid.n_angles / 2
            assert abs(off) <= 0.5 + 1e-9
            assert abs(np.log(np.hypot(y, x)) / step - shifts[a]) <= 0.5 + 1e-9
    np.testing.assert_array_equal(every_row[0], np.arange(grid.n_angles))
    assert not every_shift[0].any()


@ON_EVERY_GRID
def test_a_strained_picture_is_found_through_its_strain(carrier, templates, pool):
    strain = np.diag([1.12, 1 / 1.12])
    white = draw_spectrum(carrier, strain @ geometry(0.9, 40, False))
    spectrum = next(s for s in log_polar(white, POOLS) if s.grid.pool == pool)
    best = look(templates, spectrum, matrices=np.array([np.eye(2), strain, np.linalg.inv(strain)]))[0]
    np.testing.assert_array_equal(best.strain, strain)
    assert best.scale == pytest.approx(0.9, rel=2 * spectrum.grid.log_step)
    assert degrees_apart(np.degrees(best.rotation), 40) < 2 * 180 / spectrum.grid.n_angles
    beside = look(templates, spectrum, least_score=0.0)[0]
    assert best.score > 1.5 * beside.score


# ---- scores ----------------------------------------------------------------------------------------


def direct_scores(spectrum, carrier, matrix, hypothesis, count, first, n_scales):
    """The prefix's score at every scale: its tones' bytes, one by one, less what they are in the mean."""
    grid = spectrum.grid
    _, mirrored, row = hypothesis
    steps = np.arange(first, first + n_scales)
    total, inside = np.zeros(n_scales), np.zeros(n_scales)
    for fy, fx in carrier.tones[:count]:
        angle = np.arctan2(-fy if mirrored else fy, fx) * grid.n_angles / np.pi
        at = (int(np.rint(angle)) + row) % grid.n_angles
        y, x = matrix @ (np.sin(at * np.pi / grid.n_angles), np.cos(at * np.pi / grid.n_angles))
        at = int(np.rint(np.arctan2(y, x) / np.pi * grid.n_angles)) % grid.n_angles
        column = int(np.rint(np.log(np.hypot(fy, fx) / MIN_RADIUS) / grid.log_step))
        shift = int(np.rint(np.log(np.hypot(y, x)) / grid.log_step))
        total += spectrum.cells[at, LEFT + column + shift + steps]
        inside += column + steps < grid.n_radii
    mean = spectrum.mean * inside + NEUTRAL * (count - inside)
    return np.where(
        inside >= LEAST_INSIDE, (total - mean) / (spectrum.spread * np.sqrt(np.maximum(inside, 1))), 0
    )


@ON_EVERY_GRID
@pytest.mark.parametrize("scales", [SCALES, (2.0, 0.43)], ids=str)
@pytest.mark.parametrize("mirrored", [False, True])
def test_the_score_is_that_of_a_direct_sum(carrier, templates, pool, mirrored, scales):
    white = draw_spectrum(carrier, STRAINS[1] @ geometry(0.8, 25, mirrored), 192)
    spectrum = next(s for s in log_polar(white, POOLS) if s.grid.pool == pool)
    grid = spectrum.grid
    first, sizes = grid.scales(*scales)
    strains = Strains(STRAINS, grid)
    rng = np.random.default_rng(pool)
    found = look(templates, spectrum, matrices=STRAINS)[:1]
    chosen = [(1, int(found[0].mirrored), round(found[0].rotation / np.pi * grid.n_angles))]
    chosen += [tuple(rng.integers(0, (len(STRAINS), 2, grid.n_angles))) for _ in range(25)]
    for hypothesis in chosen:
        (best,) = templates.scan(spectrum, strains, np.array([hypothesis]), 384, scales, -50.0, 1)
        exact = [
            direct_scores(spectrum, carrier, STRAINS[hypothesis[0]], hypothesis, count, first, sizes.size)
            for count in TONE_COUNTS
        ]
        # of a row that shows nothing, longer prefixes are not summed
        shown = [scores.max() >= least for scores, least in zip(exact, PROMISING, strict=True)]
        exact = exact[: shown.index(False) + 1 if False in shown else None]
        # scores are rounded to 256ths of a sigma
        assert best.score == pytest.approx(np.max(exact), abs=0.01)
        assert exact[TONE_COUNTS.index(best.n_tones)][np.argmin(np.abs(sizes - best.scale))] == pytest.approx(
            best.score, abs=0.01
        )
        assert best.mirrored == bool(hypothesis[1])
        assert abs(best.rotation * grid.n_angles / np.pi - hypothesis[2]) < 0.5
        np.testing.assert_array_equal(best.strain, STRAINS[hypothesis[0]])


@ON_EVERY_GRID
@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize(
    ("scale", "degrees"), [(1.0, 0), (1.0, 90), (0.5, 33), (1.5, 121.5), (0.77, 160), (0.3, 5), (2.8, 47)]
)
def test_the_planted_geometry_scores_best(carrier, templates, scale, degrees, mirrored, pool):
    white = draw_spectrum(carrier, geometry(scale, degrees, mirrored))
    spectrum = next(s for s in log_polar(white, POOLS) if s.grid.pool == pool)
    found = look(templates, spectrum)
    best = found[0]
    assert best.mirrored == mirrored
    # to a cell; a tone in a bin between is seen by two or three of the finest
    reach = 1 if pool > 1 else 1.6
    assert abs(np.log(best.scale / scale)) / spectrum.grid.log_step < reach
    assert degrees_apart(np.degrees(best.rotation), degrees) < reach * 180 / spectrum.grid.n_angles
    assert best.score > 6
    assert best.score > 1.2 * max((h.score for h in found if h.mirrored != mirrored), default=0)
    np.testing.assert_array_equal(best.strain, np.eye(2))


@ON_EVERY_GRID
@pytest.mark.parametrize("count", TONE_COUNTS)
def test_the_number_of_tones_is_told(carrier, templates, count, pool):
    white = draw_spectrum(carrier, geometry(1.0, 20, False), count)
    spectrum = next(s for s in log_polar(white, POOLS) if s.grid.pool == pool)
    for longest in TONE_COUNTS:
        best = look(templates, spectrum, longest)[0]
        # of more tones than are looked for, some are all the same
        assert best.n_tones == min(count, longest)
        assert degrees_apart(np.degrees(best.rotation), 20) < 2 * 180 / spectrum.grid.n_angles
        assert best.scale == pytest.approx(1, rel=2 * spectrum.grid.log_step)


def test_another_key_s_tones_are_not_found(other_carrier, carrier):
    (spectrum,) = log_polar(draw_spectrum(carrier, geometry(1.0, 20, False)), (1,))
    assert not look(Templates(other_carrier), spectrum, least_score=6.0)


def test_only_scales_asked_for_are_tried(carrier, templates):
    (spectrum,) = log_polar(draw_spectrum(carrier, geometry(0.5, 10, False)), (1,))
    for scales in ((MAX_SCALE, 0.45), (0.55, 0.45), (0.505, 0.2)):
        assert look(templates, spectrum, scales=scales)[0].scale == pytest.approx(0.5, rel=0.02)
    # up to a lot more than the least, and 15 % of one less
    for most, least in ((MAX_SCALE, 0.75), (1.6, 0.75), (0.4, 0.2)):
        found = look(templates, spectrum, scales=(most, least), least_score=1.0)
        assert found
        assert all(least * np.exp(-33 * FINE) <= h.scale <= most * np.exp(FINE) for h in found)
        assert found[0].score < 6


def test_what_is_found_comes_best_first_and_neighbouring_rotations_once(carrier, templates):
    white = draw_spectrum(carrier, geometry(1.0, 20, False))
    other = draw_spectrum(carrier, geometry(0.7, 75, True), seed=1)
    (spectrum,) = log_polar(white + other, (1,))
    found = look(templates, spectrum, least_score=3.5)
    scores = [h.score for h in found]
    assert scores == sorted(scores, reverse=True)
    assert scores[-1] >= 3.5
    assert [h.mirrored for h in found[:2]] in ([False, True], [True, False])
    rows = np.array([[h.mirrored, np.rint(h.rotation / np.pi * 512)] for h in found])
    for i, (mirrored, row) in enumerate(rows):
        rest = rows[i + 1 :][rows[i + 1 :, 0] == mirrored, 1]
        distance = np.abs(rest - row)
        assert np.all(np.minimum(distance, 512 - distance) > 2)


@pytest.fixture(scope="module")
def noise(carrier):
    """The log-polar spectrum of noise alone."""
    (spectrum,) = log_polar(draw_spectrum(carrier, geometry(1.0, 20, False), 0), (1,))
    return spectrum


def test_no_more_are_returned_than_asked_for(noise, templates):
    found = look(templates, noise, least_score=4.5)
    assert 3 < len(found) < MANY
    for most in (1, 3):
        few = look(templates, noise, least_score=4.5, most=most)
        assert [h.score for h in few] == [h.score for h in found[:most]]
    assert look(templates, noise, most=0) == []


def test_nothing_under_half_of_the_best_is_returned(carrier, noise, templates):
    by_chance = look(templates, noise, least_score=1.0)
    assert 1.0 < 0.5 * by_chance[0].score <= by_chance[-1].score
    # what chance shows is returned no more beside a mark
    (spectrum,) = log_polar(draw_spectrum(carrier, geometry(1.0, 20, False)), (1,))
    (best,) = look(templates, spectrum, least_score=1.0)
    assert best.score > 2 * by_chance[0].score


def test_no_score_below_the_least_is_returned(carrier, templates):
    (spectrum,) = log_polar(draw_spectrum(carrier, geometry(1.0, 20, False)), (1,))
    best = look(templates, spectrum)[0].score
    assert look(templates, spectrum, least_score=best)[0].score == best
    assert look(templates, spectrum, least_score=best + 0.01) == []


@ON_EVERY_GRID
def test_any_number_of_threads_finds_the_same(carrier, templates, pool):
    spectra = log_polar(draw_spectrum(carrier, geometry(0.9, 20, True)), POOLS)
    spectrum = next(s for s in spectra if s.grid.pool == pool)
    alone, shared = (look(templates, spectrum, matrices=STRAINS, threads=threads) for threads in (1, 3))
    assert [h.score for h in alone] == [h.score for h in shared]
    for one, other in zip(alone, shared, strict=True):
        assert (one.n_tones, one.mirrored, one.scale) == (other.n_tones, other.mirrored, other.scale)
        assert one.rotation == other.rotation
        np.testing.assert_array_equal(one.strain, other.strain)


@ON_EVERY_GRID
def test_level_spectra_score_nothing(templates, pool):
    (spectrum,) = log_polar(np.ones((N, N // 2 + 1), np.float32), (pool,))
    assert np.all(spectrum.cells == NEUTRAL)
    assert look(templates, spectrum, least_score=0.5) == []


def test_bytes_of_any_value_stay_within_their_sums(templates):
    """The largest bytes there are, everywhere: no total overflows, and nothing stands out."""
    grid = GRIDS[1]
    (like,) = log_polar(np.ones((N, N // 2 + 1), np.float32), (1,))
    full = LogPolarSpectrum(grid, np.full_like(like.cells, 15), 15.0, 1.0, 0.0)
    best = look(templates, full, 384, (MAX_SCALE, 1.2), 0.0)[0]
    # up to this scale all tones lie within, and what is expected of them is what they are
    assert best.score == pytest.approx(0, abs=0.01)
