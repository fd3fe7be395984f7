"""The null: bounds are counted right, tails above their bounds are told, and the score is the detector's."""

import math
import subprocess
import sys
from collections import Counter, namedtuple

import numpy as np
import pytest
from pictures import MESSAGE, drawn, photograph
from scripts import BENCHMARKS

pytest.importorskip("skimage", reason="the pictures of the benchmarks are scikit-image's")
pytest.importorskip("scipy")
pytest.importorskip("matplotlib")

import fastmark as fm
from fastmark.detection.detector import LEAST_LOG10_P


@pytest.fixture(scope="module")
def markers():
    return [fm.Watermarker(fm.Key(bytes([n]) * 32)) for n in range(6)]


# ---- the score of one search -----------------------------------------------------------------------------


def pictures_of(marker):
    picture = photograph("astronaut", 320)
    marked = marker.embed(picture, MESSAGE)
    noise = np.random.default_rng(3).normal(0, 60, marked.shape)
    drowned = np.clip(marked + noise, 0, 255).astype(np.uint8)
    return {"unmarked": picture, "marked": marked, "cropped": marked[5:, 11:].copy(), "drowned": drowned}


def test_the_score_says_what_the_detector_says(scripts, markers):
    search = scripts("_scores").search
    seen = set()
    for name, picture in pictures_of(markers[0]).items():
        for marker in markers[:2]:
            outcome, found = search(picture, marker.key_detector), marker.detect(picture)
            assert outcome.detected == (found.state == "detected"), name
            assert outcome.possible == (found.state == "possible"), name
            assert outcome.message == found.message, name
            assert max(outcome.log10_p, LEAST_LOG10_P) == pytest.approx(found.log10_p, abs=1e-9), name
            assert min(0.0, -outcome.score / math.log(10)) == pytest.approx(outcome.log10_p), name
            seen.add(found.state)
    assert seen >= {"absent", "detected"}


def test_the_score_ranks_unmarked_images_whose_p_is_1(scripts, markers):
    search = scripts("_scores").search
    picture = drawn(220, 260, 4)
    scores = [search(picture, marker.key_detector) for marker in markers]
    assert {one.log10_p for one in scores} == {0.0}
    assert len({round(one.score, 6) for one in scores}) == len(markers)
    assert all(-20 < one.score < 0 for one in scores)


def test_the_bounds_of_a_search_are_those_that_it_found(scripts, markers):
    module = scripts("_scores")
    from fastmark.codec.plane import pixels_per_unit
    from fastmark.detection.detector import analyse
    from fastmark.detection.search import Search
    from fastmark.images.opening import open_for_detection

    detector = markers[0].key_detector
    luma = open_for_detection(pictures_of(markers[0])["cropped"], unit=pixels_per_unit)
    analysis = analyse(luma)
    search = Search(analysis, detector.carrier, detector.templates, detector.code)
    heard = module._listen(search.reader)
    search.run(deep=False)
    found = module.evidence_of(search.trace)
    assert min(one.paid for one in found) == pytest.approx(search.finding.log_p)
    assert min(one.paid for one in heard) == pytest.approx(search.finding.message_log_p)
    assert {"origin", "shift", "reading"} <= {one.kind for one in found}
    assert all(
        one.paid - one.price <= 0 for one in found + heard
    )  # before it is paid for, it is a probability


def test_proposals_are_no_evidence_and_straightened_readings_pay_for_no_places(scripts):
    module = scripts("_scores")
    trial = namedtuple("Trial", "kind placement log_trials read")
    reading = namedtuple("Reading", "log_p")
    place = namedtuple("Placement", "log_phases log_trials")(-30.0, 18.0)
    trace = [
        trial("candidate", place, 2.0, True), reading(-3.0),
        trial("piece", place, 0.0, False),
        trial("straightened", place, 1.5, True), reading(-4.0),
    ]  # fmt: skip
    floors = math.log(4)
    assert module.evidence_of(trace) == [
        ("candidate", -10.0, 20.0), ("reading", -3.0, 20.0 + floors),
        ("straightened reading", -4.0, 1.5 + floors),
    ]  # fmt: skip


def test_a_threshold_is_exceeded_by_the_share_asked_for(scripts, tmp_path):
    module = scripts("_scores")
    values = np.random.default_rng(1).permutation(2500) / 10
    lines = [f"{'flat'},{300 if i % 5 else 900},{400 if i % 5 else 800},{v}" for i, v in enumerate(values)]
    path = tmp_path / "scores.csv"
    path.write_text("\n".join(["# a header", "kind,height,width,score", *lines]))
    everything = module.threshold(path)
    assert (values > everything).sum() == 2
    small = np.array([v for i, v in enumerate(values) if i % 5])
    assert (small > module.threshold(path, size="257-512")).sum() == 2
    with pytest.raises(ValueError, match="500 unmarked images"):
        module.threshold(path, size="513-1024")
    assert module.side_class(1025, 3000) == "> 1024" and module.side_class(900, 256) == "<= 256"


# ---- counting --------------------------------------------------------------------------------------------


def test_bins_count_exactly_at_powers_of_ten(scripts):
    ladder, tables = scripts("_ladder"), scripts("_null_tables")
    for exponent in (*range(13), 0.5, 1.5):
        edge = -exponent * math.log(10)
        assert ladder.bin_of(edge) == round(-24 * exponent)
        assert ladder.bin_of(edge + 1e-6) == ladder.bin_of(edge) + 1
    log_p = np.log(np.random.default_rng(2).random(20000))
    bins = Counter(map(ladder.bin_of, log_p.tolist()))
    for exponent in (0.5, 1, 2, 3, 4):
        seen = int((log_p <= -exponent * math.log(10)).sum())
        assert tables.at_or_below(bins, -exponent) == seen > 0


@pytest.mark.parametrize(("factor", "results"), [(1.0, {"ok"}), (0.3, {"ok", "FAULT"})])
def test_a_tail_above_its_bound_is_a_fault(scripts, factor, results):
    ladder, tables = scripts("_ladder"), scripts("_null_tables")
    rng = np.random.default_rng(7)
    views = []
    for kind in range(20):
        scale = factor if kind == 11 else 1.0
        log_p = np.log(scale * rng.random(30000))
        views.append(("trials", str(kind), 30000, Counter(map(ladder.bin_of, log_p.tolist()))))
    table = tables.tails(views, range(1, 7))
    assert {row["result"] for row in table} == results
    assert {row["of"] for row in table if row["result"] == "FAULT"} <= {"11"}
    row = next(row for row in table if row["p <="] == "0.01")
    assert float(row["low"]) <= row["seen"] / row["n"] <= float(row["high"])


def test_rungs_are_counted_once_a_search_however_often_they_are_tried(scripts):
    ladder, tables = scripts("_ladder"), scripts("_null_tables")
    trial, reading = namedtuple("Trial", "kind read"), namedtuple("Reading", "promising")
    trace = [trial("origin", False), trial("candidate", False), trial("candidate", True), reading(False)]
    assert ladder.rungs_of(trace) == {"origin": (1, 0), "candidate": (2, 1), "reading": (1, 0)}
    tally = ladder.Tally()
    tally.add([], trace, 3.0)
    tally.add([], [trial("origin", True)], 1.0)
    table = {row["rung"]: row for row in tables.by_rung([tally.row() | {"searches": 2}])}
    assert [table["candidate"][name] for name in ("came, share", "times a search", "through, share")] == [
        0.5, 1.0, 1.0,
    ]  # fmt: skip
    assert (table["origin"]["through"], table["origin"]["of all, share"]) == (1, 0.5)


def test_a_rung_that_lets_through_more_than_was_planned_is_told(scripts):
    tables = scripts("_null_tables")

    def result(through):
        return tables.by_rung([{"searches": 1000, "rungs": {"origin": [1000, 1000, through]}}])[0]["result"]

    assert tables.PLANNED["origin"] == 0.01
    assert (result(10), result(20), result(30)) == ("ok", "ok", "over")


def test_how_loose_a_bound_is_is_read_at_shares_of_all_searches(scripts):
    ladder, tables = scripts("_ladder"), scripts("_null_tables")
    # the least of a million uniform p, a million paid for each: the union bound is exact in the tail
    log_p = np.log(-np.expm1(np.log1p(-np.random.default_rng(4).random(40000)) / 1e6)) + math.log(1e6)
    tally = ladder.Tally()
    for value in log_p.tolist():
        tally.add([scripts("_scores").Evidence("origin", value, math.log(1e6))], [], value)
    row = next(
        row for row in tables.looseness([tally.row() | {"searches": 40000}]) if row["rung"] == "origin"
    )
    assert row["trials"] == pytest.approx(math.log(1e6), abs=1e-3)
    assert row["excess at 0.01"] == pytest.approx(0.0, abs=2 * ladder.BIN)
    assert row["excess at 0.5"] == pytest.approx(math.log(2 * math.log(2)), abs=2 * ladder.BIN)


def test_the_shares_of_all_that_a_search_may_try_add_up_to_at_most_one():
    from fastmark.codec.tables import GRID
    from fastmark.detection import placement, search
    from fastmark.detection.evidence import LOG_SHARES, open_list
    from fastmark.detection.plan import ScanPlan

    def places(turned, inverted):
        peak = placement.Peak(turned, inverted, np.zeros(2), 0)
        return math.exp(placement.LOG_SHIFTS - placement._log_trials(peak, is_identity=True))

    def geometries(numbers):
        return sum(math.exp(-open_list(n)) for n in numbers)

    # by two estimates of the tones: at the origins, and at all whole shifts of images that are not turned
    origins = GRID**2 * math.exp(-placement.LOG_ORIGINS)
    inverted_origins = GRID**2 * math.exp(-placement.LOG_OTHERS)
    as_it_is = origins + inverted_origins + origins + places(False, False) + places(False, True)
    assert as_it_is < 1
    first, others = geometries([1]), 1 - geometries([1])
    look = math.exp(-search._LOG_PARTS)
    # a candidate: by its phases all of it and the part in which they lie, and with anchors all of it again
    candidates = geometries(range(2, 2 + ScanPlan.of((1500, 1500)).n_candidates))
    pilot = first * as_it_is + others * max(1, 2 * look)
    streams = first * as_it_is + others + candidates * (3 * look - 1)
    straightened = geometries(range(1, search._STRAIGHT_CANDIDATE + search._MAX_STRAIGHTENED))
    message = 1
    assert 0.9 < (pilot + streams + straightened + message) * math.exp(-LOG_SHARES) <= 1


# ---- which images, how many keys -------------------------------------------------------------------------


def test_a_million_trials_have_every_kind_every_size_and_more_than_ten_thousand_images(scripts):
    pictures = scripts("_null_pictures")
    kinds = pictures.kinds_in_turn(True)
    plans = pictures.plans(1_000_000, kinds, 128)
    assert len(plans) >= 10_000 and sum(one.keys for one in plans) >= 1_000_000
    assert {one.kind for one in plans} == {*kinds} and pictures.OTHER_TOOL in kinds
    assert pictures.OTHER_TOOL not in pictures.kinds_in_turn(False)
    short = [min(one.height, one.width) for one in plans]
    assert min(short) == 64 and (max(short), max(max(one.height, one.width) for one in plans)) == (3000, 4000)
    for least, most in ((64, 256), (257, 512), (513, 1024), (1025, 4000)):
        assert sum(least <= side <= most for side in short) >= 1000
    assert 0.4 < sum(one.attack == pictures.UNTOUCHED for one in plans) / len(plans) < 0.7
    assert pictures.plans(50_000, kinds, 128) == plans[: len(pictures.plans(50_000, kinds, 128))]


@pytest.mark.parametrize("number", range(6))
def test_an_image_is_that_of_its_number(scripts, number):
    pictures = scripts("_null_pictures")
    kinds = pictures.kinds_in_turn(False)
    one = pictures.plan(number, kinds, 128)
    first, again = pictures.picture(one, ()), pictures.picture(one, ())
    assert first.dtype == np.uint8 and np.array_equal(first, again)
    if one.attack == pictures.UNTOUCHED:
        assert first.shape == (one.height, one.width, 3)
    other = pictures.picture(pictures.plan(number + len(kinds), kinds, 128), ())
    assert first.shape != other.shape or not np.array_equal(first, other)


# ---- a small null ----------------------------------------------------------------------------------------


def test_unmarked_images_stay_below_what_is_claimed(scripts, markers):
    ladder, tables, kinds = scripts("_ladder"), scripts("_null_tables"), scripts("_kinds").KINDS
    rows = []
    for number, name in enumerate(("flat", "white noise", "stripes", "text page")):
        picture = kinds[name](np.random.default_rng(number), 220, 230)
        row = ladder.search_all(picture, [marker.key_detector for marker in markers], deep=False)
        rows.append({"kind": name, "attack": "none", "height": 220, "width": 230} | row)
    for row in rows:
        assert row["searches"] == len(markers) and row["best"] >= row["score"]
        assert sum(tables.bins_of([row], ladder.ALL).values()) == len(markers)
        assert row["rungs"]["origin"][0] == len(markers)
        assert row["detected"] == row["possible"] == row["messages"] == 0
    table = tables.claimed(rows)
    assert {row["result"] for row in table} == {"ok"}
    assert {"trials", "images", "trials of a rung"} == {row["counted"] for row in table}
    assert [row["n"] for row in table if row["counted"] == "images" and row["of"] == "all"][:1] == [4]


def test_a_marked_image_among_unmarked_ones_is_a_fault(scripts, markers):
    ladder, tables = scripts("_ladder"), scripts("_null_tables")
    marked = markers[2].embed(drawn(240, 240, 1), MESSAGE)
    row = ladder.search_all(marked, [marker.key_detector for marker in markers], deep=False)
    assert (row["detected"], row["messages"]) == (1, 1)
    assert "FAULT" in {
        one["result"]
        for one in tables.claimed([{"kind": "x", "attack": "none", "height": 240, "width": 240} | row])
    }


def test_parts_of_the_evidence_at_one_place_are_as_rare_as_their_bounds_say(scripts):
    from fastmark.codec.carrier import Carrier
    from fastmark.codec.key import Key

    parts, kinds = scripts("null_parts"), scripts("_kinds").KINDS
    carriers = [Carrier(Key(bytes([n, 9]) * 16)) for n in range(60)]
    bounds = np.concatenate(
        [
            parts.bounds_of(kinds[name](np.random.default_rng(1), 128, 140), carriers)
            for name in ("white noise", "stripes", "scene", "tiles")
        ]
    )
    assert bounds.shape == (240, len(parts.PARTS)) and bounds.max() <= 0
    for column in bounds.T:
        for level in (0.3, 0.1, 0.03):
            assert (column <= math.log(level)).mean() <= level + 3 * math.sqrt(level / len(bounds))
    assert np.ptp(bounds, axis=0).min() > 0.5  # and none of them is always 1


def test_the_script_goes_on_with_its_journal_and_tells_the_same_of_it(tmp_path, scripts):
    def run(*more):
        command = [
            sys.executable, str(BENCHMARKS / "null.py"), "--kinds", "--keys", "2", "--each", "1",
            "--workers", "1", "--block", "3", "--journal", str(tmp_path / "null.jsonl"),
            "-o", str(tmp_path / "null.csv"), "--scores", str(tmp_path / "scores.csv"), *more,
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return done

    run("--trials", "3")
    first = (tmp_path / "scores.csv").read_text().splitlines()
    more = run("--trials", "6")
    assert "1 of 2 jobs are done already" in more.stderr
    table, scores = (tmp_path / "null.csv").read_text(), (tmp_path / "scores.csv").read_text()
    assert scores.splitlines()[5 : len(first)] == first[5:]  # after the header, which counts
    rows = [line for line in scores.splitlines() if not line.startswith("#")]
    assert rows[0] == "kind,attack,height,width,score" and len(rows) == 1 + 6
    values = sorted(float(line.rsplit(",", 1)[1]) for line in rows[1:])
    assert scripts("_scores").threshold(tmp_path / "scores.csv", rate=0.4) == values[-3]
    run("--trials", "900", "--only-done", "--chart", str(tmp_path / "null.svg"))
    strip = lambda text: [line for line in text.splitlines() if not line.startswith("#")]  # noqa: E731
    assert strip((tmp_path / "null.csv").read_text()) == strip(table)
    assert "<svg" in (tmp_path / "null.svg").read_text()
