"""Chips read at one place: what is read, what is left out and counted all the same, and what it proves."""

import math

import numpy as np
import pytest
from pictures import grey, photograph
from planted import CODE, place, planted
from planted import MESSAGE as PLANTED

from fastmark.detection import evidence
from fastmark.detection.analysis import Analysis
from fastmark.detection.placement import LOG_SHIFTS
from fastmark.detection.plan import HALVED_FROM
from fastmark.detection.reading import FLOORS, ChipReader, view_at_half_resolution
from fastmark.detection.resampling import resample
from fastmark.detection.scores import ScorePlanes
from fastmark.detection.soft_bits import ChipBlocks

AGREES = math.log(1e-4) - LOG_SHIFTS  # log_phases of a place that is read whatever its chips show
DISAGREES = 0.0


@pytest.fixture(scope="module")
def unmarked():
    return grey(photograph("chelsea")).astype(np.float32)


@pytest.fixture(scope="module")
def large(carrier, draw_plane):
    """A marked plane that is looked at at half its resolution first, and its origin."""
    return planted(draw_plane("textured", 1012, 1020), carrier)


class Read:
    """A reader and its trace."""

    def __init__(self, plane, carrier):
        self.readings = []
        self.reader = ChipReader(Analysis(ScorePlanes(plane)), carrier, CODE, self.readings)
        self.read = self.reader.read
        self.finding = self.reader.finding

    @property
    def n_paid(self):
        return self.reader.n_paid

    @property
    def floors_and_steps(self):
        return [(reading.floor, reading.step) for reading in self.readings]


# ---- readings --------------------------------------------------------------------------------------


def test_where_phases_agree_every_floor_is_read(unmarked, carrier):
    reader = Read(unmarked, carrier)
    assert not reader.read(place(AGREES), 0.0)
    assert reader.floors_and_steps == [(floor, 1) for floor in FLOORS]
    assert reader.n_paid == len(FLOORS)


def test_where_neither_phases_nor_soft_bits_show_anything_floors_are_left_out_and_counted(unmarked, carrier):
    reader = Read(unmarked, carrier)
    places, made = 40, []
    for n in range(places):
        before = len(reader.readings)
        assert not reader.read(place(DISAGREES, (-8.0 * n, 24.0)), 0.0)
        made.append(reader.readings[before:])
        # what is read and what is left out add up to the same
        assert reader.n_paid == (n + 1) * len(FLOORS)
    for readings in made:
        assert [reading.floor for reading in readings] == list(FLOORS[: len(readings)])
        # where a reading promises more the next floor is read, and only there
        assert all(reading.promising for reading in readings[:-1])
        assert len(readings) == len(FLOORS) or not readings[-1].promising
    counts = [sum(len(readings) >= n for readings in made) for n in (1, 2, 3)]
    # half a standard deviation is what chance exceeds three times in ten
    assert counts[0] == places
    assert 0 < counts[1] <= 0.5 * places
    assert counts[2] <= counts[1]


def test_a_proven_message_ends_the_reading_and_the_rest_is_counted(carrier):
    plane, origin = planted(grey(photograph("astronaut", 400)).astype(np.float32), carrier)
    reader = Read(plane, carrier)
    offset = -np.array(origin, np.float64)
    assert reader.read(place(DISAGREES, offset), 0.0)
    assert reader.floors_and_steps == [(FLOORS[0], 1)]
    assert reader.n_paid == len(FLOORS)
    assert reader.finding.proven
    assert reader.finding.message.message == PLANTED
    assert reader.finding.message_log_p == reader.readings[0].message_log_p
    # another is the fourth of the list, whatever became of the first
    assert reader.read(place(DISAGREES, offset), 0.0)
    first, second = reader.readings
    paid = evidence.open_list(len(FLOORS) + 1) - evidence.open_list(1)
    assert second.message_log_p - first.message_log_p == pytest.approx(paid)
    assert second.log_p == first.log_p
    assert reader.n_paid == 2 * len(FLOORS)
    assert reader.finding.message_log_p == first.message_log_p


def test_a_field_of_shifts_is_read_under_every_floor(unmarked, carrier):
    reader = Read(unmarked, carrier)
    assert not reader.read(place(DISAGREES), 0.0, np.zeros((6, 9, 2), np.float32))
    assert reader.floors_and_steps == [(floor, 1) for floor in FLOORS]
    assert reader.n_paid == len(FLOORS)


def test_phases_count_for_nothing_where_they_chose_the_shifts(unmarked, carrier):
    """Though they may be as good as they like."""
    reader = Read(unmarked, carrier)
    reader.read(place(-500.0), 0.0, np.zeros((6, 9, 2), np.float32))
    assert reader.finding.log_p > -10
    reader.read(place(-500.0), 0.0)
    assert reader.finding.log_p < -400


@pytest.mark.parametrize("field", [None, np.zeros((6, 9, 2), np.float32)], ids=["no shifts", "shifts"])
def test_what_a_geometry_costs_is_paid_in_full(unmarked, carrier, field):
    free, paid = (Read(unmarked, carrier) for _ in range(2))
    free.read(place(AGREES), 0.0, field)
    paid.read(place(AGREES), 7.5, field)
    for one, other in zip(free.readings, paid.readings, strict=True):
        assert other.log_p == pytest.approx(one.log_p + 7.5)
        # data chips chose no geometry, so the message pays for the readings alone
        assert other.message_log_p == one.message_log_p


# ---- half the resolution ---------------------------------------------------------------------------


def test_half_resolution_is_read_first_and_all_floors_after_it_where_phases_agree(large, carrier):
    """At a place that is not the mark's: nothing is proven there."""
    reader = Read(large[0], carrier)
    offset = np.array((8.0, 24.0)) - np.array(large[1], np.float64)
    assert not reader.read(place(AGREES, offset), 0.0)
    assert reader.floors_and_steps == [(FLOORS[0], 2), *((floor, 1) for floor in FLOORS)]
    assert reader.n_paid == len(FLOORS) + 1


def test_blocks_at_half_the_resolution_lie_where_those_of_units_do(large):
    plane, origin = large
    analysis = Analysis(ScorePlanes(plane))
    for away in ((0, 0), (-8, 16), (2, 4), (-6, 10)):
        placement = place(DISAGREES, np.array(away) - np.array(origin, np.float64))
        view = view_at_half_resolution(analysis, placement)
        grid = resample(analysis.planes, placement.matrix, placement.offset)
        assert view.origin == tuple(n // 8 for n in grid.origin)
        assert (view.floor, view.step) == (FLOORS[0], 2)
        assert view.blocks.inside.shape == tuple(n // 8 for n in grid.scores.shape)
    as_it_is = -np.array(origin, np.float64)
    half = view_at_half_resolution(analysis, place(DISAGREES, as_it_is)).blocks.coefficients[0]
    grid = resample(analysis.planes, np.eye(2), as_it_is)
    whole = ChipBlocks.of(grid.scores).coefficients[0]
    # the same chips, seen at two resolutions; and not those beside them
    assert np.corrcoef(half.ravel(), whole.ravel())[0, 1] > 0.5
    for beside in (np.roll(whole, 1, axis=0), np.roll(whole, 1, axis=1)):
        assert abs(np.corrcoef(half.ravel(), beside.ravel())[0, 1]) < 0.3


@pytest.mark.parametrize(
    "placement",
    [
        place(DISAGREES, (1.0, 0.0)),
        place(DISAGREES, (-4.0, 3.0)),
        place(DISAGREES, (0.5, 0.0)),
        place(DISAGREES, (0.0, 0.0), 1.001 * np.eye(2)),
        place(DISAGREES, (0.0, 0.0), -np.eye(2)),
    ],
)
def test_what_does_not_start_at_an_even_sample_is_not_read_at_half_the_resolution(large, placement):
    assert view_at_half_resolution(Analysis(ScorePlanes(large[0])), placement) is None


def test_small_images_are_not_read_at_half_their_resolution(unmarked):
    assert min(unmarked.shape) < HALVED_FROM
    assert view_at_half_resolution(Analysis(ScorePlanes(unmarked)), place(AGREES)) is None
