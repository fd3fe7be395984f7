"""An explanation tells of the very detection that is made without it, and of every step that is tried."""

import dataclasses

import numpy as np
import pytest
from pictures import MESSAGE, drawn

import fastmark as fm
from fastmark.detection import course
from fastmark.detection.explaining import SHARED
from fastmark.detection.trace import Kind

KEY, OTHER = fm.Key(bytes(range(32))), fm.Key(bytes(range(1, 33)))


@pytest.fixture(scope="module")
def marker():
    return fm.Watermarker(KEY)


@pytest.fixture(scope="module")
def images(marker):
    bare = drawn(300, 340, 9)
    marked = marker.embed(bare, MESSAGE)
    turned = np.rot90(marked[12:, 20:]).copy()
    return {"bare": bare, "marked": marked, "turned": turned, "tiny": bare[:40, :60].copy()}


def by_name(explained):
    return {step.name: step for step in explained.steps}


@pytest.mark.parametrize("name", ["bare", "marked", "turned", "tiny"])
def test_the_detection_is_that_of_detect(marker, images, name):
    explained = marker.explain(images[name])
    assert explained.detection == marker.detect(images[name])
    assert explained.ms == pytest.approx(sum(step.ms or 0 for step in explained.steps))
    assert all(step.ms is None or step.ms >= 0 for step in explained.steps)


def test_what_is_not_needed_is_not_done_and_said_so(marker, images):
    steps = by_name(marker.explain(images["marked"]))
    assert steps["image as it is"].hypotheses == 2 * 128 * 128
    assert steps["image as it is"].said.endswith("passed")
    assert steps["readings"].hypotheses == 1
    assert steps["binding"].ms is not None
    for name in ("scan", "candidates", "tiles", "deep"):
        assert (steps[name].ms, steps[name].hypotheses) == (None, None)
        assert steps[name].said == "not needed: the message is proven"
    assert "log-polar grids" not in steps


def test_an_image_without_watermark_is_told_step_by_step(marker, images):
    explained = marker.explain(images["bare"])
    steps = by_name(explained)
    assert explained.plan.startswith("a plane of 300 x 340 samples:")
    assert [step.name for step in explained.steps if step.shared] == [
        name for name in SHARED if name in steps
    ]
    assert {"open", "scores", "spectrum", "whitened spectrum", "log-polar grids", "chips"} <= set(steps)
    assert "not enough to be read" in steps["image as it is"].said
    assert steps["scan"].hypotheses > 100_000
    assert (steps["deep"].ms, steps["deep"].said) == (None, "with deep only")
    assert steps["binding"].said == "no message is proven"
    assert "readings" not in steps


def test_candidates_of_a_turned_image_are_counted(marker, images):
    steps = by_name(marker.explain(images["turned"]))
    assert steps["scan"].said.split()[1].startswith("candidate")
    assert steps["candidates"].hypotheses >= 1
    assert steps["candidates"].said.endswith("passed")


def test_an_image_too_small_to_be_looked_at_says_so(marker, images):
    (shared, search) = marker.explain(images["tiny"]).steps
    assert (shared.name, search.ms) == ("open", None)
    assert "under 48 samples" in search.said


def test_each_key_has_an_explanation_and_shared_steps_are_those_of_the_image(images):
    detector = fm.Detector([OTHER, KEY])
    explained = detector.explain(images["marked"])
    assert [one.detection for one in explained] == detector.detect(images["marked"])
    first, second = ([step for step in one.steps if step.shared] for one in explained)
    assert first == second
    # one key needed the scan, the other did not
    assert [by_name(one)["scan"].ms is None for one in explained] == [True, False]
    assert "whitened" not in explained[1].without_shared()
    assert OTHER.id.split()[0] in str(explained[1])


def test_it_is_printed_for_a_terminal_and_holds_all_steps(marker, images):
    for name in ("bare", "marked", "turned", "tiny"):
        explained = marker.explain(images[name])
        lines = str(explained).splitlines()
        assert max(map(len, lines)) <= 100
        firsts = "\n".join(lines)
        assert all(step.name in firsts for step in explained.steps)
        assert explained.detection.state in firsts
    assert f"{MESSAGE:016x}" in str(marker.explain(images["marked"]))


def test_values_are_those_of_json(marker, images):
    explained = marker.explain(images["marked"])
    values = explained.to_dict()
    assert values["detection"] == explained.detection.to_dict()
    assert values["steps"] == [dataclasses.asdict(step) for step in explained.steps]
    with pytest.raises(dataclasses.FrozenInstanceError):
        explained.plan = ""


def test_every_kind_of_trial_belongs_to_a_step():
    from fastmark.detection import explaining

    told = [kind for kinds in explaining.RUNGS.values() for kind in kinds]
    assert sorted(told) == sorted(Kind.__args__)


# ---- the recorder --------------------------------------------------------------------------------------


@course.step("inner", lambda result, n: (result, n))
def inner(n):
    return n + 1


@course.step("outer")
def outer(n):
    return inner(n) + inner(n)


@course.step("failing")
def failing():
    raise ValueError("here")


def test_steps_are_recorded_with_what_is_theirs_alone(monkeypatch):
    ticks = iter([0.0, 1.0, 3.0, 10.0, 15.0, 20.0])
    monkeypatch.setattr(course.time, "perf_counter", lambda: next(ticks))
    with course.recording() as recorded:
        assert outer(4) == 10
    assert recorded.events == [
        ("inner", ("outer",), 2000.0, (5, 4)),
        ("inner", ("outer",), 5000.0, (5, 4)),
        ("outer", (), 13000.0, None),
    ]


def test_nothing_is_recorded_outside_nor_after_an_error():
    with course.recording() as recorded:
        with pytest.raises(ValueError, match="here"):
            failing()
        inner(1)
    outer(1)
    assert [(event.name, event.within) for event in recorded.events] == [("inner", ())]
