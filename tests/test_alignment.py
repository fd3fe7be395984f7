"""Geometry to place on the torus: grids of units against ground truth, and planted shifts found again."""

import numpy as np
import pytest
from pictures import grey, photograph
from planted import MOVES, RESIZED, moved, planted, units_off

from fastmark.alignment import TorusSpectrum, place_candidate
from fastmark.carrier import TORUS
from fastmark.scoring import ScorePlanes
from fastmark.sync import Candidate, analyse
from fastmark.unitgrid import FIELD_SPACING, MAX_UNITS, resample

HOST = grey(photograph("coffee")[:380, 100:]).astype(np.float32)

# matrices from units to samples, (y, x)
GEOMETRIES = {
    "the same": np.eye(2),
    "half turn": -np.eye(2),
    "mirrored": np.diag([1.0, -1.0]),
    "enlarged": 1.3 * np.eye(2),
    "shrunk": 0.7 * np.eye(2),
    "turned": np.array([[np.cos(0.4), -np.sin(0.4)], [np.sin(0.4), np.cos(0.4)]]),
    "sheared": np.array([[1.0, 0.1], [0.02, 0.9]]),
}


class Waves:
    """In place of a picture's scores: a smooth known function of the samples."""

    shape = (150, 210)

    @staticmethod
    def value(y, x):
        return np.cos(0.11 * y + 0.3) + np.sin(0.07 * x - 0.05 * y)

    def weighted(self, reduction=1, floor=4.0):
        y, x = np.mgrid[0 : self.shape[0] // reduction, 0 : self.shape[1] // reduction]
        return self.value(*(reduction * place + (reduction - 1) / 2 for place in (y, x))).astype(np.float32)


@pytest.fixture(scope="module")
def marked(carrier):
    """A marked plane and its origin."""
    return planted(HOST, carrier, strength=1.5)


# ---- grids of units --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GEOMETRIES)
@pytest.mark.parametrize("offset", [(0.0, 0.0), (-3.0, 20.0), (17.3, -401.6)], ids=str)
def test_units_show_the_samples_that_the_geometry_says(name, offset):
    matrix, offset = GEOMETRIES[name], np.array(offset)
    grid = resample(Waves(), matrix, offset)
    assert all(place % 8 == 0 for place in grid.origin)
    assert grid.scores.shape == grid.inside.shape
    units = np.stack(np.meshgrid(*(np.arange(n) for n in grid.scores.shape), indexing="ij"), axis=-1)
    y, x = np.moveaxis((units + grid.origin) @ matrix.T + offset, -1, 0)
    deep = (y > 3) & (x > 3) & (y < Waves.shape[0] - 4) & (x < Waves.shape[1] - 4)
    assert np.count_nonzero(deep) * abs(np.linalg.det(matrix)) > 0.8 * 150 * 210 or name == "the same"
    assert np.all(grid.inside[deep] == 1)
    np.testing.assert_allclose(grid.scores[deep], Waves.value(y, x)[deep], atol=0.01)
    outside = (y < -0.6) | (x < -0.6) | (y > Waves.shape[0] - 0.4) | (x > Waves.shape[1] - 0.4)
    assert np.all(grid.inside[outside] == 0)


def test_a_whole_shift_is_no_resampling():
    scores = Waves().weighted()
    for offset in ((0, 0), (5, 3), (-5, -13), (1029, -2048)):
        grid = resample(Waves(), np.eye(2), np.array(offset, np.float64))
        y, x = np.array(grid.origin) + offset
        assert 0 <= y < 8 and 0 <= x < 8
        np.testing.assert_array_equal(grid.scores, scores[y:, x:])
        assert grid.inside.all()


def test_a_shrunk_mark_is_read_from_the_plane_averaged():
    grid = resample(Waves(), 2.2 * np.eye(2), np.zeros(2))
    units = np.stack(np.meshgrid(*(np.arange(n) for n in grid.scores.shape), indexing="ij"), axis=-1)
    y, x = np.moveaxis(2.2 * (units + grid.origin), -1, 0)
    deep = (y > 6) & (x > 6) & (y < 142) & (x < 202)
    np.testing.assert_allclose(grid.scores[deep], Waves.value(y, x)[deep], atol=0.03)


def test_a_field_adds_its_displacements():
    matrix, offset = np.eye(2), np.zeros(2)
    nodes = -(-np.array(Waves.shape) // FIELD_SPACING) + 1
    field = np.zeros((*nodes, 2), np.float32)
    field[..., 0] = 2 + 0.5 * np.arange(nodes[1])  # down, more so to the right
    field[..., 1] = -1.5
    grid = resample(Waves(), matrix, offset, field=field)
    y, x = np.mgrid[0 : grid.scores.shape[0], 0 : grid.scores.shape[1]].astype(float)
    y, x = y + grid.origin[0], x + grid.origin[1]
    y, x = y + 2 + 0.5 * (x - grid.origin[1]) / FIELD_SPACING, x - 1.5
    deep = (y > 3) & (x > 3) & (y < Waves.shape[0] - 4) & (x < Waves.shape[1] - 4)
    np.testing.assert_allclose(grid.scores[deep], Waves.value(y, x)[deep], atol=0.01)


def test_no_more_units_are_made_than_a_marked_picture_has():
    planes = Waves()
    planes.shape = (60, 4000)
    for matrix in (np.eye(2), 0.5 * np.eye(2)):
        grid = resample(planes, matrix, np.zeros(2))
        assert max(grid.scores.shape) <= MAX_UNITS + 16


# ---- shifts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("move", [*MOVES, *RESIZED])
def test_the_spectrum_finds_a_planted_shift(marked, carrier, move):
    plane, matrix, offset = moved(marked[0], move)
    placement = TorusSpectrum(ScorePlanes(plane), matrix).place(carrier)
    # of a geometry and its half turn, the phases tell which
    np.testing.assert_allclose(placement.matrix, matrix, atol=1e-12)
    assert units_off(placement, matrix, offset, marked[1]) <= (0.26 if move in RESIZED else 1e-9)
    assert placement.log_p < np.log(1e-9)
    assert not placement.inverted


@pytest.mark.parametrize("move", [*MOVES, *RESIZED])
def test_a_candidate_s_tones_find_a_planted_shift_unsampled(marked, carrier, move):
    plane, matrix, offset = moved(marked[0], move)
    level = analyse(ScorePlanes(plane), 1)
    for known in (matrix, -matrix):
        placement = place_candidate(level, Candidate(known, 96, 9.0), carrier)
        np.testing.assert_allclose(placement.matrix, matrix, atol=1e-12)
        assert units_off(placement, matrix, offset, marked[1]) <= 0.26
        assert placement.log_p < np.log(1e-9)


@pytest.mark.parametrize("move", ["cropped", "turned by 180", "mirrored", "enlarged"])
def test_pilot_and_anchors_together_find_a_planted_shift(marked, carrier, move):
    plane, matrix, offset = moved(marked[0], move)
    z, placement = TorusSpectrum(ScorePlanes(plane), matrix).place_densely(carrier)
    assert z > 8
    np.testing.assert_allclose(placement.matrix, matrix, atol=1e-12)
    assert units_off(placement, matrix, offset, marked[1]) <= (0.51 if move in RESIZED else 1e-9)


@pytest.mark.parametrize("move", ["as it was", "cropped", "turned by 180"])
def test_a_negative_is_told_from_a_positive(marked, carrier, move):
    plane, matrix, offset = moved(255 - marked[0], move)
    torus = TorusSpectrum(ScorePlanes(plane), matrix)
    for placement in (torus.place(carrier), torus.place_densely(carrier)[1]):
        assert placement.inverted
        np.testing.assert_allclose(placement.matrix, matrix, atol=1e-12)
        assert units_off(placement, matrix, offset, marked[1]) < 1e-9


def test_a_quarter_of_the_picture_finds_its_place(marked, carrier):
    torus = TorusSpectrum(ScorePlanes(marked[0]), np.eye(2))
    for region in ((0, 0.5, 0, 0.5), (0.25, 0.75, 0.25, 0.75), (0.5, 1, 0.5, 1)):
        placement = torus.restricted(region).place(carrier)
        assert units_off(placement, np.eye(2), np.zeros(2), marked[1]) < 0.6
    assert torus.restricted((0.1, 0.2, 0.9, 1)).spectrum is not torus.spectrum


def test_coherence_is_high_at_the_origin_alone(marked, carrier, other_carrier):
    torus = TorusSpectrum(ScorePlanes(marked[0]), np.eye(2))
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
        placement = TorusSpectrum(ScorePlanes(plane), np.eye(2)).place(of)
        assert placement.log_p > np.log(1e-3)


@pytest.mark.parametrize("level", [0.0, 77.0, 255.0])
def test_flat_planes_find_nothing_and_nothing_breaks(level, carrier):
    plane = np.full((130, 170), level, np.float32)
    torus = TorusSpectrum(ScorePlanes(plane), np.eye(2))
    assert torus.place(carrier).log_p >= 0
    assert torus.place_densely(carrier)[0] < 5
    placement = place_candidate(analyse(ScorePlanes(plane), 1), Candidate(np.eye(2), 48, 5.0), carrier)
    assert placement.log_p >= 0
