"""Figures from rows that were made by hand: counts, shares, intervals, groups, classes, tails."""

import numpy as np
import pytest

from fastmark.reporting import figures
from fastmark.reporting.attacks import GROUPS, attacks_of, copies_of, null_views_of
from fastmark.reporting.intervals import clopper_pearson, wilson
from fastmark.reporting.trials import DRAWING, IMAGE, LEVELS

READ = {"state": "detected", "log10_p": -40.0, "message": "exact"}
SEEN = {"state": "detected", "log10_p": -12.0, "message": "none"}
LOST = {"state": "absent", "log10_p": 0.0, "message": "none"}
NO_TAILS = (0,) * len(LEVELS)
WRONG = {"state": "detected", "log10_p": -11.0, "message": "wrong"}


def a_row(side=300, *, name="a/1.png", outcome=READ, tails=NO_TAILS, **others):
    return {
        "name": name,
        "width": side,
        "height": side + 40,
        "format": "PNG",
        "detail": 5.0,
        "psnr_db": 45.0,
        "ssim": 0.99,
        "ssimulacra2": None,
        "attacks": {one.name: outcome for one in attacks_of("quick")},
        "copied_to": IMAGE,
        "copies": {way: READ | {"binding": "mismatch"} for way in copies_of("quick")},
        "null": {
            one.name: {"trials": 10, "tails": list(tails), "messages": 0, "least_log10_p": -0.5}
            for one in null_views_of("quick")
        },
    } | others


def of_attack(table, name):
    return next(one for one in table["attacks"] if one["attack"] == name)


def test_shares_and_intervals_of_an_attack():
    rows = [a_row(outcome=one) for one in (READ, READ, READ, SEEN, LOST, WRONG)]
    found = of_attack(figures.survival(rows, "quick"), "JPEG 50")
    assert (found["trials"], found["wrong_messages"]) == (6, 1)
    for what, number in (("message", 3), ("detected", 5)):
        low, high = wilson(number, 6)
        assert found[what] == {
            "count": number,
            "trials": 6,
            "share": pytest.approx(number / 6, abs=1e-6),
            "low": pytest.approx(low, abs=1e-6),
            "high": pytest.approx(high, abs=1e-6),
        }
    assert found["median_log10_p"] == pytest.approx(np.median([-40, -40, -40, -12, 0, -11]))
    assert found["worst_log10_p"] == 0.0
    assert found["public_read"] is None


def test_groups_have_the_mean_over_attacks_and_the_worst_attack():
    row = a_row()
    row["attacks"] |= {"JPEG 50": LOST, "WebP 60": SEEN}
    table = figures.survival([row, a_row()], "quick")
    typical = next(one for one in table["groups"] if one["group"] == "typical")
    n = sum(one.group == "typical" for one in attacks_of("quick"))
    assert typical["attacks"] == n
    assert typical["message"]["mean"] == pytest.approx((n - 1) / n, abs=1e-6)  # two attacks at one half
    assert typical["detected"]["mean"] == pytest.approx((n - 0.5) / n, abs=1e-6)
    assert typical["detected"]["worst_attack"] == "JPEG 50"
    assert typical["detected"]["worst"]["count"] == 1
    assert [one["group"] for one in table["groups"]] == list(GROUPS)


def test_an_attack_that_could_not_be_carried_out_is_no_trial():
    row = a_row()
    row["attacks"]["second key"] = {"not_carried_out": "it is full"}
    found = of_attack(figures.survival([row], "quick"), "second key")
    assert (found["trials"], found["message"]["share"], found["worst_log10_p"]) == (0, None, None)
    removal = figures.survival([row], "quick")["groups"][-1]
    assert removal["attacks"] == sum(one.group == "adversarial" for one in attacks_of("quick")) - 1


def test_classes_are_by_the_short_side_and_by_kind():
    rows = [
        a_row(200, outcome=LOST),
        a_row(255, format="JPEG"),
        a_row(256, detail=1.0, name="b/2.png"),
        a_row(1500),
    ]
    table = figures.survival(rows, "quick")
    names = [(one["size"], one["images"]) for one in table["sizes"]]
    assert names == [("128 to 255 px", 2), ("256 to 511 px", 1), ("1024 to 2047 px", 1)]
    assert [one["groups"]["typical"]["message"] for one in table["sizes"]] == [0.5, 1.0, 1.0]
    kinds = {(one["by"], one["kind"]): one["images"] for one in table["kinds"]}
    assert kinds == {
        ("detail", "little detail"): 1,
        ("detail", "some detail"): 3,
        ("format", "JPEG"): 1,
        ("format", "PNG"): 3,
        ("folder", "a"): 3,
        ("folder", "b"): 1,
    }
    assert figures.survival([a_row(), a_row()], "quick")["kinds"] == []


def test_quality_has_mean_percentile_and_worst():
    rows = [a_row(psnr_db=float(value), ssimulacra2=90.0) for value in range(40, 61)]
    found = figures.quality(rows)["all"]
    assert found["psnr_db"] == {"mean": 50.0, "p5": 41.0, "worst": 40.0}
    assert found["ssimulacra2"]["worst"] == 90.0
    assert figures.quality([a_row()])["all"]["ssimulacra2"] is None


def test_copies_count_what_is_said_of_those_read():
    said = [READ | {"binding": one} for one in ("mismatch", "mismatch", "unknown", "match")]
    said += [SEEN | {"binding": "unknown"}, LOST | {"binding": "unknown"}]
    (way,) = copies_of("quick")
    rows = [a_row(copies={way: one}) for one in said]
    for row in rows[:2]:
        row["copied_to"] = DRAWING
    (found,) = figures.copies(rows, "quick")
    assert found == {
        "way": way, "trials": 6, "drawn": 2, "detected": 5, "read": 4, "mismatch": 2, "unknown": 1, "match": 1
    }  # fmt: skip


def test_false_detections_are_counted_by_trial_and_by_image():
    clean = [a_row() for _ in range(9)]
    found = figures.null(clean, "quick", 10)
    assert (found["trials"], found["detected"], found["possible"]) == (180, 0, 0)
    assert found["detected_upper"] == clopper_pearson(0, 180)[1]
    assert found["images_detected_upper"] == clopper_pearson(0, 9)[1]
    assert found["detected_upper"] == pytest.approx(1 - 0.025 ** (1 / 180))

    for rows in ([], [a_row(null={}) for _ in range(9)]):  # nothing was searched: nothing is known
        found = figures.null(rows, "quick", 0)
        assert (found["images"], found["trials"], found["images_detected_upper"]) == (0, 0, 1.0)

    bad = a_row(tails=(3, 2, 2, 2, 1, 1))  # one of two views each: of ten, three at most 0.1
    found = figures.null([*clean, bad], "quick", 10)
    assert (found["trials"], found["detected"], found["possible"]) == (200, 2, 2)
    assert found["images_detected"] == 1
    first = found["tails"][0]
    assert (first["log10_p"], first["claimed"], first["seen"]) == (-1.0, 0.1, 6)
    assert first["share"] == pytest.approx(0.03)
    assert first["upper"] == clopper_pearson(6, 200)[1]
    assert [one["view"] for one in found["views"]] == [one.name for one in null_views_of("quick")]


def test_without_keys_there_are_no_trials():
    found = figures.null([a_row(null={})], "quick", 0)
    assert (found["trials"], found["views"], found["tails"][0]["share"]) == (0, [], None)
