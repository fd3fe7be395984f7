"""The search over geometries: which are tried and read, in which order, and what each of them pays."""

import math

import numpy as np
import pytest
from pictures import MESSAGE, drawn, grey, photograph
from PIL import Image
from planted import CODE, place, planted
from planted import MESSAGE as PLANTED

import fastmark as fm
from fastmark.detection import evidence, integer_units
from fastmark.detection import search as search_module
from fastmark.detection.analysis import Analysis
from fastmark.detection.evidence import DETECTED, LOG_SHARES
from fastmark.detection.logpolar import Templates
from fastmark.detection.placement import LOG_SHIFTS
from fastmark.detection.reading import FLOORS
from fastmark.detection.scan import Candidate
from fastmark.detection.scores import ScorePlanes
from fastmark.detection.search import PlacedCandidate, Search, choose_pieces, choose_to_straighten
from fastmark.detection.torus import TorusSpectrum
from fastmark.detection.trace import Reading, Trial

MOST_DENSE_LOOKS = 3


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


def search_of(plane, carrier, templates):
    return Search(Analysis(ScorePlanes(plane)), carrier, templates, CODE)


def agreeing(log_p):
    """A placement whose bound, places paid for, has this logarithm."""
    return place(log_p - LOG_SHIFTS)


def placed(placements):
    """Candidates of different scales with these placements."""
    return [
        PlacedCandidate(Candidate((1 + 0.02 * n) * np.eye(2), 96, 6.0, None), placement, 1.0 + n)
        for n, placement in enumerate(placements)
    ]


def trials_of(search):
    return [record for record in search.trace if isinstance(record, Trial)]


def floors_and_steps(search):
    return [(reading.floor, reading.step) for reading in search.trace if isinstance(reading, Reading)]


# ---- the image as it is ----------------------------------------------------------------------------


def test_a_large_image_is_read_at_half_its_resolution(large, carrier, templates):
    plane, origin = large
    planes = ScorePlanes(plane)
    search = Search(Analysis(planes), carrier, templates, CODE)
    search.run(deep=False)
    assert floors_and_steps(search) == [(FLOORS[0], 2)]
    assert search.finding.message.message == PLANTED
    assert search.finding.message_log_p <= DETECTED - LOG_SHARES
    # nothing was computed at full resolution
    assert {reduction for reduction, _ in planes.computed} == {2}
    assert search.reader.n_paid == len(FLOORS) + 1
    np.testing.assert_array_equal(np.mod(search.finding.placement.offset + origin, 1024), 0)


@pytest.mark.parametrize("crop", [(6, 2), (3, 18), (1, 3)], ids=str)
def test_a_crop_is_read_at_half_its_resolution_if_blocks_start_at_even_samples(
    large, carrier, templates, crop
):
    plane = np.ascontiguousarray(large[0][crop[0] : 1000 + crop[0], crop[1] : 1002 + crop[1]])
    search = search_of(plane, carrier, templates)
    search.run(deep=False)
    assert search.finding.message.message == PLANTED
    odd = any(n % 2 for n in crop)
    assert floors_and_steps(search) == [(FLOORS[0], 1 if odd else 2)]
    # nothing at half the resolution could be read of the odd one, and nothing is paid for
    assert search.reader.n_paid == len(FLOORS) + (0 if odd else 1)


def test_an_image_as_it_is_needs_no_scan(carrier, templates):
    plane, _ = planted(grey(photograph("astronaut", 400)).astype(np.float32), carrier)
    search = search_of(plane, carrier, templates)
    search.run(deep=True)
    (trial,) = trials_of(search)
    assert (trial.kind, trial.log_trials, trial.read) == ("origin", evidence.open_list(1), True)
    assert trial.z > 8
    assert trial.placement is search.finding.placement
    assert search.finding.proven


# ---- geometries of the scan ------------------------------------------------------------------------


def test_no_geometry_is_free_and_later_ones_cost_more(unmarked, carrier, templates, monkeypatch):
    """They are numbered in the scan's order, before any phase is seen, and tried in that of their phases."""

    def suggested(level, _):
        return [Candidate(scale * np.eye(2), 96, score, level) for scale, score in ((1.3, 6.0), (0.8, 5.5))]

    monkeypatch.setattr(search_module, "scan", suggested)
    search = search_of(unmarked, carrier, templates)
    found = search.place_candidates()
    assert len(found) == 2
    by_score = sorted(found, key=lambda one: -one.candidate.score)
    # besides, a place is read in all of the image and in a part of it
    assert [one.log_trials for one in by_score] == [evidence.open_list(n) + math.log(2) for n in (2, 3)]
    for order in (1, -1):
        # whatever phases say
        names = iter(((agreeing(order), agreeing(-order)) * 2)[:2])
        monkeypatch.setattr(search_module, "place_candidate", lambda *_, names=names: next(names))
        search = search_of(unmarked, carrier, templates)
        search.run(deep=False)
        first, *others = (t for t in trials_of(search) if t.kind in ("origin", "candidate"))
        assert (first.kind, first.log_trials) == ("origin", evidence.open_list(1))
        log_ps = [t.placement.log_p for t in others]
        assert log_ps == sorted(log_ps)
        n_units = len({t.log_trials for t in trials_of(search) if t.kind.endswith("units")})
        numbers = (2 + n_units, 3 + n_units)
        prices = [evidence.open_list(n) + math.log(2) for n in numbers]
        assert [t.log_trials for t in others] == (prices if order < 0 else prices[::-1])


def test_whole_units_pay_for_their_looks_and_candidates_after_them(unmarked, carrier, templates):
    search = search_of(unmarked, carrier, templates)
    assert not search.try_whole_units(deep=True)
    kinds = ("whole units", "dense units")
    assert {t.kind for t in trials_of(search)} == set(kinds)
    scales = integer_units.whole_units(search._analysis, templates, -math.inf)
    assert len(scales) == search.n_whole_units == 3
    for number, unit in enumerate(scales):
        of_unit = [t for t in trials_of(search) if abs(t.placement.matrix[0, 0]) == unit.samples]
        assert {t.log_trials for t in of_unit} == {evidence.open_list(2 + number) + math.log(4)}
        assert len(of_unit) <= 4
        assert of_unit[-1].kind == "dense units"
        assert all(t.read == (t.z >= 5.6 or t.placement.log_p <= math.log(1e-3)) for t in of_unit)


@pytest.mark.parametrize("size", [(300, 320), (712, 760)], ids=str)
def test_all_whole_shifts_are_tried_where_tones_show(carrier, templates, draw_plane, size):
    """A crop has no origin; origins and shifts are places of one geometry, and share its price."""
    plane = planted(draw_plane("textured", size[0] + 9, size[1] + 11), carrier)[0][5:, 7:]
    search = search_of(np.ascontiguousarray(plane), carrier, templates)
    search.run(deep=False)
    first, second = trials_of(search)
    assert (first.kind, first.read, second.kind, second.read) == ("origin", False, "shift", True)
    assert first.log_trials == second.log_trials == evidence.open_list(1)
    assert (first.least, second.least) == (5.0, 5.4)
    assert second.z > 8
    assert search.finding.message.message == PLANTED


def test_whole_shifts_are_left_where_no_tones_show(carrier):
    """But where they are asked for."""
    search = search_of(grey(photograph("coffee", 300)).astype(np.float32), carrier, None)
    assert -2 < search._analysis.origins.place(carrier).view.excess < 1.2
    search.try_as_it_is()
    assert [t.kind for t in trials_of(search)] == ["origin"]
    search.try_as_it_is(sure=True)
    assert [t.kind for t in trials_of(search)] == ["origin", "origin", "shift"]


def test_small_images_need_show_less_for_whole_shifts_to_be_tried(carrier):
    """They are likelier to be crops, and have fewer samples in which tones could show."""
    noise = np.random.default_rng(3).normal(128, 20, (64, 190, 190)).astype(np.float32)
    tried = {True: set(), False: set()}
    for plane in noise:
        for small, shown in ((True, plane), (False, np.pad(plane, ((0, 0), (0, 40)), mode="reflect"))):
            search = search_of(np.ascontiguousarray(shown), carrier, None)
            excess = search._analysis.origins.place(carrier).view.excess
            if 0.2 <= excess < 1.2:
                search.try_as_it_is()
                tried[small].add("shift" in {t.kind for t in trials_of(search)})
        if all(tried.values()):
            break
    assert tried == {True: {True}, False: {False}}


def test_periodic_images_do_not_have_every_scale_of_whole_units_asked_with_anchors(carrier, templates):
    """Their lines are at tones of all of these scales; with ``deep``, each is asked."""
    y, x = np.mgrid[:690, :690]
    plane = (128 + 90 * (((y // 24) + (x // 24)) % 2 - 0.5)).astype(np.float32)
    kinds = {}
    for deep in (False, True):
        search = search_of(plane, carrier, templates)
        search.try_whole_units(deep=deep)
        kinds[deep] = [t.kind for t in trials_of(search)]
    assert kinds[False].count("whole units") > 1
    assert kinds[False].count("dense units") == 1
    assert kinds[True].count("dense units") == 7


def test_images_turned_by_180_degrees_are_found_by_the_scan(carrier, templates):
    """The first look is at upright ones alone."""
    plane, _ = planted(grey(photograph("astronaut", 400)).astype(np.float32), carrier)
    search = search_of(np.ascontiguousarray(plane[::-1, ::-1]), carrier, templates)
    search.run(deep=False)
    assert [t.kind for t in trials_of(search)[:2]] == ["origin", "shift"]
    assert trials_of(search)[0].z < 6
    assert trials_of(search)[1].z < 6
    assert trials_of(search)[-1].kind == "candidate"
    assert search.finding.message.message == PLANTED
    np.testing.assert_allclose(search.finding.placement.matrix, -np.eye(2), atol=0.002)


def test_only_some_geometries_are_looked_at_densely(unmarked, carrier, templates):
    """Those of the scan whose phases come close, and no more than a few."""
    search = search_of(unmarked, carrier, templates)
    close, far = agreeing(1.0), agreeing(LOG_SHIFTS)
    candidates = placed([far, *[close, far] * MOST_DENSE_LOOKS, close])
    assert not search.try_candidates(candidates, identity_agrees=False)
    dense = [t for t in trials_of(search) if t.kind == "dense"]
    expected = [one for one in candidates if one.placement is close][:MOST_DENSE_LOOKS]
    seen = [abs(t.placement.matrix[0, 0]) for t in dense]
    assert seen == [one.candidate.matrix[0, 0] for one in expected]
    # a second look at a geometry is no other geometry
    assert [t.log_trials for t in dense] == [one.log_trials for one in expected]
    assert not any(t.read for t in trials_of(search) if t.kind == "candidate")
    assert [t.read for t in dense] == [t.z >= 5.6 or t.placement.log_p <= math.log(1e-3) for t in dense]


def test_candidates_whose_phases_agree_are_read_and_the_likeliest_is_straightened(
    unmarked, carrier, templates
):
    search = search_of(unmarked, carrier, templates)
    candidates = placed([agreeing(-9.0), agreeing(-8.0), agreeing(9.0)])
    assert not search.try_candidates(candidates, identity_agrees=False)
    tried = [record.kind if isinstance(record, Trial) else record.floor for record in search.trace]
    # each with its readings, of all of the image and of the part in which the pilot lies
    both = [*FLOORS, *FLOORS]
    assert tried == ["candidate", *both, "candidate", *both, "candidate", "straightened", *FLOORS]
    assert [t.read for t in trials_of(search)] == [True, True, False, True]
    straightened = trials_of(search)[-1]
    assert straightened.placement is candidates[0].placement
    assert straightened.log_trials == evidence.open_list(2)


# ---- bent images -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("log_ps", "chosen"),
    [
        ([2.0, 0.0, -0.5, 1.0, -0.9], []),
        ([2.0, -1.5, 0.0, 0.0, 0.0], [(-1.5, 2)]),
        # the likeliest first, and no more than two
        ([-1.5, -3.0, 0.0, -1.1, -2.0], [(-3.0, 2), (-2.0, 3)]),
    ],
    ids=str,
)
def test_pieces_must_agree_before_they_are_straightened(log_ps, chosen):
    """The first number is that of the image as it is, whether or not that was straightened."""
    found = choose_pieces([agreeing(log_p) for log_p in log_ps])
    assert [(round(placement.log_p, 6), number) for placement, number in found] == chosen


@pytest.mark.parametrize(
    ("as_it_is", "of_scan", "chosen"),
    [
        (None, [], None),
        (-9.0, [], (-9.0, 1)),
        (0.0, [], None),
        (None, [-8.0, -7.5, 0.0], (-8.0, 2)),
        (-9.0, [-8.0, -10.0], (-10.0, 2)),
        (-9.0, [-8.0, 3.0], (-9.0, 1)),
        (None, [-6.0, 0.0], None),
    ],
)
def test_the_likeliest_geometry_is_straightened_by_phases_alone(as_it_is, of_scan, chosen):
    """One of the scan, or the image as it is; not where no one shift agrees."""
    identity = None if as_it_is is None else agreeing(as_it_is)
    found = choose_to_straighten([agreeing(log_p) for log_p in of_scan], identity)
    assert (found and (round(found[0].log_p, 6), found[1])) == chosen


def bent(picture, size, period):
    """Bent in waves, in whole pixels."""
    y, x = np.indices(picture.shape[:2])
    rows = np.rint(y + size * np.sin(2 * np.pi * x / period)).astype(int)
    columns = np.rint(x + size * np.cos(2 * np.pi * y / period)).astype(int)
    return picture[np.clip(rows, 0, y.max()), np.clip(columns, 0, x.max())]


def test_bent_images_are_straightened_where_one_shift_is_not_enough(marked, carrier, templates):
    straightened = []
    for size, period in ((3, 300), (4, 500)):
        plane = grey(bent(marked[1], size, period)).astype(np.float32)
        search = search_of(plane, carrier, templates)
        search.run(deep=False)
        assert search.finding.message.message == MESSAGE
        straightened += [t for t in trials_of(search) if t.kind == "straightened"]
    assert straightened
    assert all(t.read for t in straightened)
    assert max(t.placement.log_p for t in straightened) <= -1
    # at most two pieces, or one whole image, are straightened, and pay as the first three of a list
    assert {t.log_trials for t in straightened} <= {evidence.open_list(n) for n in (1, 2, 3)}


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
    before = TorusSpectrum(planes, np.eye(2), 1)
    z, placement = before.place_densely(carrier)
    before.restricted((0, 0.5, 0, 0.5)).place_densely(carrier)
    TorusSpectrum(planes, 0.9 * np.eye(2), 1).place_densely(carrier)
    again, same = before.place_densely(carrier)
    assert again == z
    np.testing.assert_array_equal(same.offset, placement.offset)
