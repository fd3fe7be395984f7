"""Geometry to place on the torus: tones against sums over samples, and planted shifts found again."""

import numpy as np
import pytest
from pictures import grey, photograph
from planted import GEOMETRIES, MOVES, RESIZED, moved, planted, units_off

from fastmark.codec.tables import TORUS
from fastmark.detection import evidence
from fastmark.detection.levels import ScanLevel
from fastmark.detection.noise import tukey
from fastmark.detection.placement import place_candidate, place_pilot, view_candidate, view_spectrum
from fastmark.detection.plan import HALVED_FROM, LevelPlan, ScanPlan
from fastmark.detection.resampling import resample
from fastmark.detection.scan import Candidate
from fastmark.detection.scores import ScorePlanes
from fastmark.detection.torus import TorusSpectrum

HOST = grey(photograph("coffee")[:380, 100:]).astype(np.float32)


def level_of(plane):
    return ScanLevel(ScorePlanes(plane), LevelPlan.of(plane.shape, 1, 0.2))


def torus_of(planes, matrix=None):
    """At the resolution at which a plane of this size is looked at."""
    return TorusSpectrum(planes, np.eye(2) if matrix is None else matrix, ScanPlan.of(planes.shape).step)


@pytest.fixture(scope="module")
def marked(carrier):
    """A marked plane and its origin."""
    return planted(HOST, carrier, strength=1.5)


# ---- tones -----------------------------------------------------------------------------------------


class Scores:
    """In place of a picture's scores: noise under any function of the samples, at any resolution."""

    def __init__(self, shape, value=lambda y, x: 0.0, noise=1.0):
        self.shape = shape
        self.value, self.noise = value, noise

    def weighted(self, reduction=1, floor=4.0):
        shape = [n // reduction for n in self.shape]
        y, x = (reduction * place + (reduction - 1) / 2 for place in np.indices(shape))
        noise = np.random.default_rng([reduction, *shape]).normal(0, self.noise, shape)
        return (self.value(y, x) + noise).astype(np.float32)


def pilot_at(carrier, matrix, offset, n_tones=96):
    """The pilot where sample ``matrix @ t + offset`` shows torus place t, both of them real numbers."""
    frequencies = 2 * np.pi / TORUS * carrier.tones[:n_tones] @ np.linalg.inv(matrix)
    phases = carrier.phases[:n_tones] - frequencies @ offset

    def value(y, x):
        along_y = np.exp(1j * np.outer(y[:, 0], frequencies[:, 0]))
        along_x = np.exp(1j * np.outer(frequencies[:, 1], x[0]))
        return np.sqrt(2 / n_tones) * ((along_y * np.exp(1j * phases)) @ along_x).real

    return value


def tones_of(scores, places, torus, carrier):
    """Sums over samples at places of the torus, over the root of the noise level, limited."""
    fy, fx = carrier.tones.T
    wave_y, wave_x = (
        np.exp(-2j * np.pi / TORUS * np.outer(f, t)) for f, t in zip((fy, fx), places, strict=True)
    )
    total = np.sum((wave_y @ scores.astype(np.complex128)) * wave_x, axis=1)
    total /= np.sqrt(torus.power.noise.at(np.where(fx < 0, -fy, fy), np.abs(fx)))
    return total * np.minimum(1, 4 / np.abs(total))


@pytest.mark.parametrize("shape", [(200, 270), (301, 640), (120, 1500), (1003, 1030)], ids=str)
def test_tones_of_a_picture_as_it_is_are_sums_over_its_scores(carrier, shape):
    """Phases included. Small planes and large, within the torus and beyond it; large ones windowed."""
    planes = Scores(shape, pilot_at(carrier, np.eye(2), np.array([3.0, -8.0])), 3.0)
    torus = torus_of(planes, np.eye(2))
    assert torus.is_identity
    assert torus.step == (2 if min(shape) >= HALVED_FROM else 1)
    assert torus.spectrum.shape == (TORUS // torus.step, TORUS // torus.step // 2 + 1)
    assert torus.power.bins.shape == (TORUS // 2, TORUS // 4 + 1)
    np.testing.assert_array_equal(torus.offset, 0)
    scores = planes.weighted(torus.step)
    places = [torus.step * (np.arange(n) + 0.5) - 0.5 for n in scores.shape]
    windows = [tukey(n).astype(np.float64) if torus.step > 1 else np.ones(n) for n in scores.shape]
    exact = tones_of(scores * windows[0][:, None] * windows[1], places, torus, carrier)
    np.testing.assert_allclose(torus.tones(carrier), exact, atol=2e-3)


@pytest.mark.parametrize("shape", [(310, 420), (1002, 1011)], ids=str)
@pytest.mark.parametrize("name", ["half turn", "enlarged", "shrunk", "turned", "sheared"])
def test_tones_of_any_geometry_are_sums_over_its_units(carrier, name, shape):
    matrix = GEOMETRIES[name]
    planes = Scores(shape, pilot_at(carrier, matrix, np.array([3.0, -8.0])), 3.0)
    torus = torus_of(planes, matrix)
    assert not torus.is_identity
    step = torus.step
    grid = resample(planes, step * matrix, torus.offset + matrix @ np.full(2, (step - 1) / 2))
    places = [
        step * (start + np.arange(n) + 0.5) - 0.5
        for start, n in zip(grid.origin, grid.scores.shape, strict=True)
    ]
    exact = tones_of(grid.scores * grid.inside, places, torus, carrier)
    np.testing.assert_allclose(torus.tones(carrier), exact, atol=2e-3)


def test_the_power_of_the_tones_band_is_that_of_both_its_sides(carrier):
    """Rows from below zero frequency follow those above, at one unit a sample as at two."""
    for shape in ((310, 420), (1002, 1011)):
        torus = torus_of(Scores(shape, noise=3.0), np.eye(2))
        side = TORUS // torus.step
        rows = np.arange(-TORUS // 4, TORUS // 4)
        columns = np.arange(TORUS // 4 + 1)
        whole = np.abs(torus.spectrum[rows[:, None] % side, columns]) ** 2
        np.testing.assert_allclose(
            torus.power.bins[rows[:, None] % (TORUS // 2), columns], whole, rtol=1e-3, atol=1e-2
        )


# ---- shifts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "shift", [(0, 0), (1, 0), (37, -90), (-3.25, 7.5), (0.75, -401.25), (511, 1023), (-8.5, 4.75)], ids=str
)
@pytest.mark.parametrize("shape", [(310, 420), (1002, 1011)], ids=str)
@pytest.mark.parametrize("name", ["the same", "enlarged", "turned", "sheared"])
def test_a_planted_pilot_is_found_to_a_quarter_of_a_unit(carrier, name, shape, shift):
    """At odd shifts as well as at even ones, where two units make a sample and where one does."""
    matrix, offset = GEOMETRIES[name], np.array(shift)
    planes = Scores(shape, pilot_at(carrier, matrix, offset))
    torus = torus_of(planes, matrix)
    for densely, placement in enumerate((torus.place(carrier), torus.place_densely(carrier)[1])):
        np.testing.assert_array_equal(placement.matrix, matrix)
        # whole units are preferred where nothing was resampled, and with the anchors' help nothing else is
        # tried
        reach = (
            (1e-9 if not np.any(offset % 1) else 0.51 if densely else 0.26) if name == "the same" else 0.26
        )
        assert units_off(placement, matrix, offset, (0, 0)) <= reach
        assert not placement.inverted
        assert placement.n_tones in (48, 96)
        assert placement.log_p < np.log(1e-9)


@pytest.mark.parametrize("move", [*MOVES, *RESIZED])
def test_the_spectrum_finds_a_planted_shift(marked, carrier, move):
    plane, matrix, offset = moved(marked[0], move)
    placement = torus_of(ScorePlanes(plane), matrix).place(carrier)
    # of a geometry and its half turn, the phases tell which
    np.testing.assert_allclose(placement.matrix, matrix, atol=1e-12)
    assert units_off(placement, matrix, offset, marked[1]) <= (1e-9 if move in MOVES[:2] else 0.26)
    assert placement.log_p < np.log(1e-9)
    assert not placement.inverted


@pytest.mark.parametrize("move", [*MOVES, *RESIZED])
def test_a_candidate_s_tones_find_a_planted_shift_unsampled(marked, carrier, move):
    plane, matrix, offset = moved(marked[0], move)
    level = level_of(plane)
    for known in (matrix, -matrix):
        placement = place_candidate(Candidate(known, 96, 9.0, level), carrier)
        np.testing.assert_allclose(placement.matrix, matrix, atol=1e-12)
        assert units_off(placement, matrix, offset, marked[1]) <= 0.26
        assert placement.log_p < np.log(1e-9)


@pytest.mark.parametrize("factor", [1, 2])
@pytest.mark.parametrize("name", ["the same", "enlarged", "turned", "sheared"])
def test_a_candidate_s_tones_are_sums_over_the_samples_at_their_own_frequencies(carrier, name, factor):
    """Phases included, and weighed by what is left of those of about the same radius."""
    matrix = factor * GEOMETRIES[name]
    planes = Scores((310 * factor, 420 * factor), pilot_at(carrier, matrix, np.array([31.25, -8.5])))
    planes.threads = 1
    level = ScanLevel(planes, LevelPlan.of(planes.shape, factor, 0.5))
    view = view_candidate(Candidate(matrix, 96, 9.0, level), carrier)
    placement = place_pilot(view)
    values, offset = view.values, view.offset
    assert not view.is_identity
    # the middle of the samples, in those of the plane, is where the phases are taken
    middle = (np.array(planes.shape) - 1) / 2
    np.testing.assert_allclose(offset, middle)
    scores = planes.weighted(factor).astype(np.float64)
    scores *= np.outer(*(tukey(n) for n in scores.shape))
    y, x = (factor * np.arange(n) + (factor - 1) / 2 - m for n, m in zip(scores.shape, middle, strict=True))
    frequencies = carrier.tones[:96] / TORUS @ np.linalg.inv(matrix)
    exact = [np.exp(-2j * np.pi * fy * y) @ scores @ np.exp(-2j * np.pi * fx * x) for fy, fx in frequencies]
    # by its noise and weight each tone has a factor of its own, and nothing else
    ratio = values / np.array(exact)
    strong = np.abs(exact) > 0.5 * np.abs(exact).max()
    assert strong.sum() > 20
    assert np.abs(np.angle(ratio[strong])).max() < 0.03
    total = np.sum(values * np.exp(-1j * carrier.phases[:96]))
    shift = np.linalg.solve(matrix, offset - placement.offset)
    agree = np.sum(
        values * np.exp(-1j * (carrier.phases[:96] + 2 * np.pi / TORUS * carrier.tones[:96] @ shift))
    ).real
    assert agree > abs(total.real)
    assert placement.log_phases == pytest.approx(evidence.phase_sum_bound(agree, np.abs(values)))
    assert units_off(placement, matrix, np.array([31.25, -8.5]), (0, 0)) <= 0.26


# ---- pilot and anchors together --------------------------------------------------------------------


@pytest.mark.parametrize("move", ["cropped", "turned by 180", "mirrored", "enlarged"])
def test_pilot_and_anchors_together_find_a_planted_shift(marked, carrier, move):
    plane, matrix, offset = moved(marked[0], move)
    z, placement = torus_of(ScorePlanes(plane), matrix).place_densely(carrier)
    assert z > 8
    np.testing.assert_allclose(placement.matrix, matrix, atol=1e-12)
    assert units_off(placement, matrix, offset, marked[1]) <= (1e-9 if move == "cropped" else 0.51)


@pytest.mark.parametrize("inverted", [False, True])
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("crop", [(0, 0), (1, 0), (0, 1), (37, 55), (22, 14)], ids=str)
def test_even_and_odd_shifts_are_found_turned_and_inverted(marked, carrier, crop, turned, inverted):
    plane = np.ascontiguousarray(marked[0][crop[0] :, crop[1] :])
    matrix, offset = np.eye(2), -np.array(crop, np.float64)
    if turned:
        matrix, offset = -matrix, np.array(plane.shape) - 1 - offset
        plane = np.ascontiguousarray(plane[::-1, ::-1])
    torus = torus_of(ScorePlanes(255 - plane if inverted else plane), np.eye(2))
    z, placement = torus.place_densely(carrier)
    assert z > 8
    np.testing.assert_array_equal(placement.matrix, matrix)
    assert placement.inverted == inverted
    assert units_off(placement, matrix, offset, marked[1]) <= 1e-9
    # what is not asked for is not found
    assert torus.place_densely(carrier, turns=(not turned,))[0] < 6.5
    assert torus.place_densely(carrier, turns=(turned,))[0] == z


@pytest.fixture(scope="module")
def large(carrier, draw_plane):
    """A marked plane of two units to a sample, and its origin."""
    return planted(draw_plane("textured", 1012, 1032), carrier)


# Of turned pictures, what is sought for the pilot at one place is sought for the anchors a unit beside it.
@pytest.mark.parametrize("size", ["small", "large"])
def test_a_picture_upside_down_shows_as_much_as_upright(marked, large, carrier, size):
    plane = (marked if size == "small" else large)[0]
    upright, turned = (
        torus_of(ScorePlanes(np.ascontiguousarray(seen)), np.eye(2)).place_densely(carrier)[0]
        for seen in (plane, plane[::-1, ::-1])
    )
    assert turned == pytest.approx(upright, rel=0.05)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("crop", [(0, 0), (1, 3), (5, 2)], ids=str)
def test_a_large_plane_is_looked_at_in_even_units_and_odd_shifts_are_found_by_the_pilot(
    carrier, large, crop, turned
):
    plane = np.ascontiguousarray(large[0][crop[0] :, crop[1] :])
    matrix, offset = np.eye(2), -np.array(crop, np.float64)
    if turned:
        matrix, offset = -matrix, np.array(plane.shape) - 1 - offset
        plane = np.ascontiguousarray(plane[::-1, ::-1])
    planes = ScorePlanes(plane)
    z, placement = torus_of(planes, np.eye(2)).place_densely(carrier, turns=(turned,))
    assert z > 8
    np.testing.assert_array_equal(placement.matrix, matrix)
    assert units_off(placement, matrix, offset, large[1]) <= 1e-9
    # scores at full resolution were not asked for
    assert {reduction for reduction, _ in planes.computed} == {2}


@pytest.mark.parametrize("move", ["as it was", "cropped", "turned by 180"])
def test_a_negative_is_told_from_a_positive(marked, carrier, move):
    plane, matrix, offset = moved(255 - marked[0], move)
    torus = torus_of(ScorePlanes(plane), matrix)
    for placement in (torus.place(carrier), torus.place_densely(carrier)[1]):
        assert placement.inverted
        np.testing.assert_allclose(placement.matrix, matrix, atol=1e-12)
        assert units_off(placement, matrix, offset, marked[1]) <= (0.26 if move == "turned by 180" else 1e-9)


def test_a_quarter_of_the_picture_finds_its_place(marked, carrier):
    torus = torus_of(ScorePlanes(marked[0]), np.eye(2))
    for region in ((0, 0.5, 0, 0.5), (0.25, 0.75, 0.25, 0.75), (0.5, 1, 0.5, 1)):
        placement = torus.restricted(region).place(carrier)
        assert units_off(placement, np.eye(2), np.zeros(2), marked[1]) < 0.6
    assert torus.restricted((0.1, 0.2, 0.9, 1)).spectrum is not torus.spectrum


def test_coherence_is_high_at_the_origin_alone(marked, carrier, other_carrier):
    torus = torus_of(ScorePlanes(marked[0]), np.eye(2))
    y, x = marked[1]
    assert torus.coherence(carrier, 96, (y, x)) > 40
    assert torus.coherence(carrier, 96, (y + TORUS, x - TORUS)) == pytest.approx(
        torus.coherence(carrier, 96, (y, x))
    )
    for dy, dx in ((8, 0), (0, -16), (512, 512)):
        assert torus.coherence(carrier, 96, (y + dy, x + dx)) < 12.5
    assert torus.coherence(other_carrier, 96, (y, x)) < 12.5


def test_an_unmarked_plane_and_another_key_find_nothing(marked, carrier, other_carrier):
    for plane, of in ((HOST, carrier), (marked[0], other_carrier)):
        placement = torus_of(ScorePlanes(plane), np.eye(2)).place(of)
        assert placement.log_p > np.log(1e-3)


@pytest.mark.parametrize("level", [0.0, 77.0, 255.0])
def test_flat_planes_find_nothing_and_nothing_breaks(level, carrier):
    plane = np.full((130, 170), level, np.float32)
    torus = torus_of(ScorePlanes(plane), np.eye(2))
    assert torus.place(carrier).log_p >= 0
    assert torus.place_densely(carrier)[0] < 5
    placement = place_candidate(Candidate(np.eye(2), 48, 5.0, level_of(plane)), carrier)
    assert placement.log_p >= 0


# ---- views -----------------------------------------------------------------------------------------


def test_turned_pictures_are_looked_for_where_that_is_asked(marked, carrier):
    plane, matrix, _ = moved(marked[0], "turned by 180")
    view = view_candidate(Candidate(np.eye(2), 96, 9.0, level_of(plane)), carrier)
    placement = place_pilot(view)
    np.testing.assert_allclose(placement.matrix, matrix, atol=1e-12)
    assert place_pilot(view, turns=(True,)).log_phases == placement.log_phases
    upright = place_pilot(view, turns=(False,))
    np.testing.assert_array_equal(upright.matrix, np.eye(2))
    assert upright.log_p > np.log(1e-3) > placement.log_p


def test_a_view_from_the_first_sample_shows_the_same_place(marked, carrier):
    plane, matrix, offset = moved(marked[0], "cropped")
    view = view_spectrum(level_of(plane).padded, np.eye(2), 1, None, carrier)
    first = view.from_first_sample()
    np.testing.assert_array_equal(first.offset, 0)
    np.testing.assert_allclose(np.abs(first.values), np.abs(view.values))
    placement = place_pilot(first)
    # and as nothing was resampled, whole units are preferred
    assert units_off(placement, matrix, offset, marked[1]) <= 1e-9
    assert placement.log_p < np.log(1e-9)


def test_the_power_of_the_tones_stands_out_where_they_are(marked, carrier, other_carrier):
    shown, unmarked, other = (
        view_spectrum(level_of(plane).padded, np.eye(2), 1, None, of).excess
        for plane, of in ((marked[0], carrier), (HOST, carrier), (marked[0], other_carrier))
    )
    assert shown > 8
    assert max(abs(unmarked), abs(other)) < 4
