"""The search over geometries: what is read, what is left out and counted all the same, and what it proves."""

import math

import numpy as np
import pytest
from pictures import MESSAGE, drawn, grey, photograph
from PIL import Image
from planted import planted

import fastmark as fm
from fastmark.codec.message import MessageCode
from fastmark.detection import evidence, search
from fastmark.detection.logpolar import Templates
from fastmark.detection.placement import LOG_SHIFTS, Placement, TorusSpectrum
from fastmark.detection.scan import LARGE_PLANE
from fastmark.detection.scores import ScorePlanes
from fastmark.detection.search import DETECTED, FLOORS, LOG_SHARES, Analysis, Search
from fastmark.detection.soft_bits import ChipBlocks

CODE = MessageCode(64)
PLANTED = 0x0F1E2D3C4B5A6978  # what planted planes say
AGREES = math.log(1e-4) - LOG_SHIFTS  # log_phases of a place that is read whatever its chips show
DISAGREES = 0.0


@pytest.fixture(scope="module")
def templates(carrier):
    return Templates(carrier)


@pytest.fixture(scope="module")
def unmarked():
    return grey(photograph("chelsea")).astype(np.float32)


@pytest.fixture(scope="module")
def large(carrier, draw_plane):
    """A marked plane that is looked at at half its resolution first, and its origin."""
    return planted(draw_plane("textured", 1012, 1020), carrier)


@pytest.fixture
def looked(monkeypatch):
    """The floors under which chips are read at full resolution, and the steps of all readings, in order."""
    floors, steps = [], []
    resample, of = search.resample, ChipBlocks.of

    def resampled(*arguments, floor, **options):
        floors.append(floor)
        return resample(*arguments, floor=floor, **options)

    def read(scores, inside=None, step=1):
        steps.append(step)
        return of(scores, inside, step)

    monkeypatch.setattr(search, "resample", resampled)
    monkeypatch.setattr(ChipBlocks, "of", read)
    return floors, steps


def search_of(plane, carrier, templates):
    return Search(Analysis(ScorePlanes(plane)), carrier, templates, CODE)


def place(log_phases, offset=(0.0, 0.0), matrix=None):
    matrix = np.eye(2) if matrix is None else matrix
    return Placement(matrix, np.array(offset), False, 96, log_phases, LOG_SHIFTS)


# ---- readings --------------------------------------------------------------------------------------


def test_where_phases_agree_every_floor_is_read(unmarked, carrier, templates, looked):
    of = search_of(unmarked, carrier, templates)
    assert not of._read(place(AGREES), 0.0)
    assert looked == ([*FLOORS], [1, 1, 1])
    assert of._readings == len(FLOORS)


def test_where_neither_phases_nor_soft_bits_show_anything_floors_are_left_out_and_counted(
    unmarked, carrier, templates, looked
):
    of = search_of(unmarked, carrier, templates)
    places = 40
    for n in range(places):
        assert not of._read(place(DISAGREES, (-8.0 * n, 24.0)), 0.0)
        assert of._readings == (n + 1) * len(FLOORS)
    read = [looked[0].count(floor) for floor in FLOORS]
    # half a standard deviation is what chance exceeds three times in ten
    assert read[0] == places
    assert read[1] <= 0.5 * places
    assert read[2] <= read[1]


def test_where_a_reading_promises_more_the_next_floor_is_read(
    unmarked, carrier, templates, looked, monkeypatch
):
    """What is read and what is left out add up to the same."""
    for promises, read in (([True, False], 2), ([True, True, False], 3), ([False], 1)):
        of = search_of(unmarked, carrier, templates)
        promise = iter(promises)
        looked[0].clear()

        def weigh(*_, of=of, promise=promise):
            of._readings += 1
            return False, next(promise)

        monkeypatch.setattr(of, "_weigh_evidence", weigh)
        assert not of._read(place(DISAGREES), 0.0)
        assert looked[0] == list(FLOORS[:read])
        assert of._readings == len(FLOORS)


def test_a_proven_message_ends_the_reading_and_the_rest_is_counted(carrier, templates, looked):
    plane, origin = planted(grey(photograph("astronaut", 400)).astype(np.float32), carrier)
    of = search_of(plane, carrier, templates)
    offset = -np.array(origin, np.float64)
    assert of._read(place(DISAGREES, offset), 0.0)
    assert looked == ([FLOORS[0]], [1])
    assert of._readings == len(FLOORS)
    assert of.finding.message.message == PLANTED
    # another, whatever became of the first, is the fourth of the list
    before = of.finding.message_log_p
    of.finding.message_log_p = 0.0
    assert of._read(place(DISAGREES, offset), 0.0)
    paid = evidence.open_list(len(FLOORS) + 1) - evidence.open_list(1)
    assert of.finding.message_log_p - before == pytest.approx(paid)
    assert of._readings == 2 * len(FLOORS)


def test_a_field_of_shifts_is_read_under_every_floor(unmarked, carrier, templates, looked):
    of = search_of(unmarked, carrier, templates)
    field = np.zeros((6, 9, 2), np.float32)
    assert not of._read(place(DISAGREES), 0.0, field)
    assert looked[0] == list(FLOORS)
    assert of._readings == len(FLOORS)


def test_phases_count_for_nothing_where_they_chose_the_shifts(unmarked, carrier, templates):
    """Though they may be as good as they like."""
    of = search_of(unmarked, carrier, templates)
    of._read(place(-500.0), 0.0, np.zeros((6, 9, 2), np.float32))
    assert of.finding.log_p > -10
    of._read(place(-500.0), 0.0)
    assert of.finding.log_p < -400


# ---- half the resolution ---------------------------------------------------------------------------


def test_a_large_picture_is_read_at_half_its_resolution(large, carrier, templates, looked):
    plane, origin = large
    of = search_of(plane, carrier, templates)
    of.run(deep=False)
    assert looked == ([], [2])
    assert of.finding.message.message == PLANTED
    assert of.finding.message_log_p <= DETECTED - LOG_SHARES
    # nothing was computed at full resolution
    assert {reduction for reduction, _ in of._analysis.planes._weighted} == {2}
    assert of._readings == len(FLOORS) + 1
    np.testing.assert_array_equal(np.mod(of.finding.placement.offset + origin, 1024), 0)


@pytest.mark.parametrize("crop", [(6, 2), (3, 18), (1, 3)], ids=str)
def test_a_crop_is_read_at_half_its_resolution_if_blocks_start_at_even_samples(
    large, carrier, templates, looked, crop
):
    plane = np.ascontiguousarray(large[0][crop[0] : 1000 + crop[0], crop[1] : 1002 + crop[1]])
    of = search_of(plane, carrier, templates)
    of.run(deep=False)
    assert of.finding.message.message == PLANTED
    odd = any(n % 2 for n in crop)
    assert looked == (([FLOORS[0]], [1]) if odd else ([], [2]))
    # nothing at half the resolution could be read of the odd one, and nothing is paid for
    assert of._readings == len(FLOORS) + (0 if odd else 1)


def test_blocks_at_half_the_resolution_lie_where_those_of_units_do(large, carrier, templates):
    plane, origin = large
    of = search_of(plane, carrier, templates)
    for away in ((0, 0), (-8, 16), (2, 4), (-6, 10)):
        placement = place(DISAGREES, np.array(away) - np.array(origin, np.float64))
        blocks, first = of._blocks_at_half(placement)
        grid = search.resample(of._analysis.planes, placement.matrix, placement.offset)
        assert first == tuple(place // 8 for place in grid.origin)
        assert blocks.inside.shape == tuple(n // 8 for n in grid.scores.shape)
    half = of._blocks_at_half(place(DISAGREES, -np.array(origin, np.float64)))[0].coefficients[0]
    grid = search.resample(of._analysis.planes, np.eye(2), -np.array(origin, np.float64))
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
def test_what_does_not_start_at_an_even_sample_is_not_read_at_half_the_resolution(
    large, carrier, templates, placement
):
    assert search_of(large[0], carrier, templates)._blocks_at_half(placement) is None


def test_small_pictures_are_not_read_at_half_their_resolution(unmarked, carrier, templates):
    assert min(unmarked.shape) < LARGE_PLANE
    assert search_of(unmarked, carrier, templates)._blocks_at_half(place(AGREES)) is None


# ---- geometries ------------------------------------------------------------------------------------


def test_levels_and_the_identity_are_analysed_once(unmarked):
    analysis = Analysis(ScorePlanes(unmarked))
    assert analysis.identity is analysis.identity
    first = analysis.levels()
    assert [level.factor for level in first] == [1, 2]
    assert all(level is same for level, same in zip(first, analysis.levels(), strict=True))


def test_the_level_of_a_large_picture_shares_the_torus_transform(large):
    analysis = Analysis(ScorePlanes(large[0]))
    level = analysis.levels()[0]
    assert level.factor == 2
    assert level.white.shape == analysis.identity.power.shape
    # what is interpolated, and what was not needed yet, was not transformed
    assert "padded" not in vars(level)


def test_a_picture_beyond_the_torus_has_a_transform_of_its_own(draw_plane):
    """Folded, tones between the torus' frequencies would be lost."""
    analysis = Analysis(ScorePlanes(draw_plane("textured", 1000, 1040)))
    level = analysis.levels()[0]
    assert level.white.shape == level.padded.power.shape != analysis.identity.power.shape


def test_a_picture_beyond_2048_samples_is_analysed_in_the_middle():
    analysis = Analysis(ScorePlanes(np.zeros((100, 2100), np.float32)))
    assert analysis.planes.shape == (100, 2048)


def test_no_geometry_is_free_and_later_ones_cost_more(unmarked, carrier, templates):
    of = search_of(unmarked, carrier, templates)
    prices = [of._next_price() for _ in range(6)]
    assert prices == [evidence.open_list(n) for n in range(1, 7)]


def test_pictures_turned_by_180_degrees_are_found_by_the_scan(carrier, templates):
    """The first look is at upright ones alone."""
    plane, _ = planted(grey(photograph("astronaut", 400)).astype(np.float32), carrier)
    of = search_of(np.ascontiguousarray(plane[::-1, ::-1]), carrier, templates)
    z, _ = of._analysis.identity.place_densely(carrier, turns=(False,))
    assert z < 6
    of.run(deep=False)
    assert of.finding.message.message == PLANTED
    np.testing.assert_allclose(of.finding.placement.matrix, -np.eye(2), atol=0.002)


def test_only_some_geometries_are_looked_at_densely(unmarked, carrier, templates, monkeypatch):
    """Those of the scan whose phases come close, and no more than a few."""
    of = search_of(unmarked, carrier, templates)
    close, far = place(1.0 - LOG_SHIFTS), place(0.0)
    most = search._MAX_DENSE_LOOKS
    made = []
    torus = search.TorusSpectrum
    monkeypatch.setattr(search, "TorusSpectrum", lambda planes, m: made.append(m[0, 0]) or torus(planes, m))
    placements = [far, *[close, far] * most, close]
    candidates = [search.Candidate((1 + 0.02 * n) * np.eye(2), 96, 6.0) for n in range(len(placements))]
    hopefuls = [search.Hopeful(c, p, 1.0) for c, p in zip(candidates, placements, strict=True)]
    monkeypatch.setattr(of, "_hopefuls", lambda: hopefuls)
    assert not of._scan(sure=False)
    expected = [c.matrix[0, 0] for c, p in zip(candidates, placements, strict=True) if p is close][:most]
    assert made == expected


# ---- bent pictures ---------------------------------------------------------------------------------


class Pieces:
    """In place of a torus spectrum: its pieces agree as much as they are told to."""

    def __init__(self, log_ps):
        self.log_ps = iter(log_ps)

    def restricted(self, region):
        return self

    def place(self, carrier):
        return place(next(self.log_ps) - LOG_SHIFTS)


@pytest.mark.parametrize(
    ("log_ps", "straightened"),
    [
        ([2.0, 0.0, -0.5, 1.0, -0.9], []),
        ([2.0, -1.5, 0.0, 0.0, 0.0], [-1.5]),
        # the likeliest first, and no more than two
        ([-1.5, -3.0, 0.0, -1.1, -2.0], [-3.0, -2.0]),
    ],
    ids=str,
)
def test_pieces_must_agree_before_they_are_straightened(
    unmarked, carrier, templates, monkeypatch, log_ps, straightened
):
    of = search_of(unmarked, carrier, templates)
    seen = []
    monkeypatch.setattr(of, "_straighten", lambda *given: seen.append(given) or False)
    assert not of._examine_pieces([Pieces(log_ps)])
    assert [placement.log_p for placement, _ in seen] == pytest.approx(straightened)
    # the first number is the picture's as it is, whether or not that was straightened
    assert [number for _, number in seen] == [2, 3][: len(seen)]


def test_straightened_pictures_are_paid_for_by_their_number(unmarked, carrier, templates, monkeypatch):
    of = search_of(unmarked, carrier, templates)
    prices = []
    monkeypatch.setattr(of, "_read", lambda placement, price, field: prices.append(price) or False)
    for number in (2, 1, 3):
        assert not of._straighten(place(DISAGREES), number)
    assert prices == [evidence.open_list(number) for number in (2, 1, 3)]


@pytest.mark.parametrize(
    ("sure", "as_it_is", "of_scan", "number"),
    [
        (False, -9.0, [], None),
        (True, -9.0, [], 1),
        (True, 0.0, [], None),
        (False, -9.0, [-8.0, -7.5, 0.0], 2),
        (True, -9.0, [-8.0, -10.0], 2),
        (True, -9.0, [-8.0, 3.0], 1),
    ],
)
def test_the_likeliest_geometry_is_straightened_by_phases_alone(
    unmarked, carrier, templates, monkeypatch, sure, as_it_is, of_scan, number
):
    """One of the scan, or the picture as it is; not where no one shift agrees."""
    of = search_of(unmarked, carrier, templates)
    seen = []
    monkeypatch.setattr(of, "_straighten", lambda *given: seen.append(given) or False)
    monkeypatch.setattr(of, "_judge", lambda *_: False)
    monkeypatch.setattr(of, "_dense_looks", 99)
    hopefuls = [
        search.Hopeful(search.Candidate(np.eye(2), 96, 6.0), place(log_p - LOG_SHIFTS), 1.0)
        for log_p in of_scan
    ]
    monkeypatch.setattr(of, "_hopefuls", lambda: hopefuls)
    monkeypatch.setattr(of._analysis.identity, "place", lambda carrier: place(as_it_is - LOG_SHIFTS))
    assert not of._scan(sure=sure)
    assert [given[1] for given in seen] == ([] if number is None else [number])
    if number is not None:
        assert seen[0][0].log_p == pytest.approx(min(of_scan) if number == 2 else as_it_is)


def bent(picture, size, period):
    """Bent in waves, in whole pixels."""
    y, x = np.indices(picture.shape[:2])
    rows = np.rint(y + size * np.sin(2 * np.pi * x / period)).astype(int)
    columns = np.rint(x + size * np.cos(2 * np.pi * y / period)).astype(int)
    return picture[np.clip(rows, 0, y.max()), np.clip(columns, 0, x.max())]


def test_bent_pictures_are_straightened_where_one_shift_is_not_enough(marker, marked, monkeypatch):
    straightened = []
    straighten = Search._straighten
    monkeypatch.setattr(
        Search,
        "_straighten",
        lambda self, p, *rest: straightened.append(p.log_p) or straighten(self, p, *rest),
    )
    for size, period in ((3, 300), (4, 500)):
        assert marker.detect(bent(marked[1], size, period)).message == MESSAGE
    assert straightened
    assert max(straightened) <= -1


# ---- what is reported ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["chelsea", "coffee", "rocket", "coins"])
def test_nothing_is_detected_in_an_unmarked_picture(marker, name):
    found = marker.detect(photograph(name))
    assert (found.state, found.message) == ("absent", None)
    assert found.log10_p > -3
    assert (found.scale, found.rotation_deg, found.aspect) == (None, None, None)


def test_nothing_is_detected_under_another_key(marked, other_key):
    found = fm.Watermarker(other_key).detect(marked[1])
    assert (found.state, found.message) == ("absent", None)


def test_nothing_is_detected_in_a_large_unmarked_picture(marker):
    found = marker.detect(drawn(1040, 1400))
    assert (found.state, found.message) == ("absent", None)


@pytest.mark.parametrize("what", ["as it is", "cropped", "shrunk", "turned", "unmarked"])
def test_any_number_of_threads_finds_the_same(marker, marked, what):
    picture = Image.fromarray(marked[what != "unmarked"])
    if what == "cropped":
        picture = picture.crop((31, 20, 400, 390))
    elif what == "shrunk":
        picture = picture.resize((400, 400), Image.Resampling.LANCZOS)
    elif what == "turned":
        picture = picture.rotate(12, Image.Resampling.BICUBIC, expand=True)
    one, two = (marker.detect(picture, threads=threads) for threads in (1, 2))
    assert one == two
    assert one.message == (None if what == "unmarked" else MESSAGE)


def test_any_number_of_threads_finds_the_same_in_a_large_picture(key):
    marker = fm.Watermarker(key)
    picture = marker.embed(drawn(1200, 1500), MESSAGE)
    for seen in (picture, picture[::2, ::2], picture[101:, 50:]):
        one, two = (marker.detect(seen, threads=threads) for threads in (1, 2))
        assert one == two
        assert one.message == MESSAGE


def test_the_search_does_not_change_the_picture(marker, marked):
    before = marked[1].copy()
    marker.detect(marked[1])
    np.testing.assert_array_equal(marked[1], before)


def test_one_analysis_serves_many_keys_as_one_each(noisy, key, other_key):
    """Whoever looks first finds what the last does: nothing of a key is left in the analysis."""
    third = fm.Key(bytes(32))
    together, turned_round = (fm.detect(noisy, keys) for keys in ([other_key, key, third], [third, key]))
    alone = fm.detect(noisy, [key])[0]
    assert together[0].message == turned_round[0].message == alone.message == MESSAGE
    assert alone.log10_p > -77
    assert together[0].log10_p == pytest.approx(alone.log10_p + math.log10(3))
    assert turned_round[0].log10_p == pytest.approx(alone.log10_p + math.log10(2))
    assert {f.key_id for f in together[1:]} == {other_key.id, third.id}


def test_torus_spectra_of_one_analysis_do_not_change_each_other(unmarked, carrier):
    planes = ScorePlanes(unmarked)
    before = TorusSpectrum(planes, np.eye(2))
    z, placement = before.place_densely(carrier)
    before.restricted((0, 0.5, 0, 0.5)).place_densely(carrier)
    TorusSpectrum(planes, 0.9 * np.eye(2)).place_densely(carrier)
    again, same = before.place_densely(carrier)
    assert again == z
    np.testing.assert_array_equal(same.offset, placement.offset)
