"""What a detection looked at, step by step: a detection that is listened to, put into words."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

from fastmark.codec.tables import GRID, TORUS
from fastmark.detection.course import Event, recording
from fastmark.detection.detector import MIN_PLANE_SIDE, KeyDetector, analyse
from fastmark.detection.origins import AsItIs
from fastmark.detection.plan import ScanPlan
from fastmark.detection.reading import AGREES
from fastmark.detection.scan import Scanned
from fastmark.detection.search import Search
from fastmark.detection.trace import Kind, Reading, Trial
from fastmark.explanations import Explanation, Step
from fastmark.images.opening import DetectorInput

SHARED = ("open", "scores", "spectrum", "whitened spectrum", "log-polar grids", "chips", "torus")
"""Steps that need no key, in the order in which they are listed."""


RUNGS: dict[str, tuple[Kind, ...]] = {
    "image as it is": ("origin",),
    "all whole shifts": ("shift",),
    "crops of whole units": ("whole units", "dense units"),
    "scan": (),
    "candidates": ("candidate", "dense"),
    "pieces": ("piece",),
    "straightened": ("straightened",),
    "canvas": ("canvas", "dense canvas"),
    "tiles": ("tiles", "dense tiles"),
    "deep": ("deep",),
}
"""Rungs of a search in the order in which they are tried, and the trials that are theirs."""

_INSTEAD = {
    "pieces": "no candidate of a bent image",
    "straightened": "no placement whose phases agree",
    "tiles": "with deep only",
    "deep": "with deep only",
}
# Steps within these are a part of them.
_WHOLE = ("canvas", "tiles", "deep")
_OTHER = ("readings", "binding")

Trials: TypeAlias = Sequence[Trial]


def explain(
    opened: Callable[[], DetectorInput], detectors: Sequence[KeyDetector], *, deep: bool, threads: int
) -> list[Explanation]:
    """Look for each one's key as :func:`fastmark.detection.detector.look` does, and explain it; in order.

    Args:
        opened: opens the image, which is a step of its own.
        detectors: one for each key.
        deep: search harder.
        threads: how many may share the work.
    """
    with recording() as course:
        luma = course.run("open", opened, None)
        analysis = analyse(luma, threads)
        found = []
        for detector in detectors:
            first = len(course.events)
            detection = detector.detect(analysis, luma.unit, len(detectors), deep=deep)
            found.append((dataclasses.replace(detection, remarks=luma.remarks), course.events[first:]))
    shared = _shared_steps(course.events)
    plan = str(analysis.plan)
    return [
        Explanation(detection, plan, (*shared, *_steps_of(events, analysis.plan, deep=deep)))
        for detection, events in found
    ]


def _owner(event: Event) -> str:
    """Return the row to which the time of a step is added."""
    whole = [name for name in event.within if name in _WHOLE]
    return whole[0] if whole else event.name


def _shared_steps(events: Sequence[Event]) -> list[Step]:
    steps = []
    for name in SHARED:
        times = [event.ms for event in events if _owner(event) == name]
        if times:
            steps.append(Step(name, True, None, sum(times), ""))
    return steps


def _steps_of(events: Sequence[Event], plan: ScanPlan, *, deep: bool) -> list[Step]:
    """Return the steps of one key: of its search, a deep one's by withheld blocks, and of what follows."""
    ends = [i for i, event in enumerate(events) if event.name == "search"]
    if not ends:
        return [
            Step("search", False, None, None, f"a side of under {MIN_PLANE_SIDE} samples is not looked at")
        ]
    steps: list[Step] = []
    first = 0
    for number, end in enumerate(ends):
        prefix = "withheld: " if number else ""
        steps += _rungs(events[first : end + 1], plan, prefix, deep=deep)
        first = end + 1
    times = [event.ms for event in events[first:] if event.name == "binding"]
    said = "" if times else "no message is proven"
    return [*steps, Step("binding", False, None, sum(times) if times else None, said)]


def _rungs(events: Sequence[Event], plan: ScanPlan, prefix: str, *, deep: bool) -> list[Step]:
    search = events[-1].note
    assert isinstance(search, Search)
    trials = [one for one in search.trace if isinstance(one, Trial)]
    readings = [one for one in search.trace if isinstance(one, Reading)]
    steps = []
    for name, kinds in RUNGS.items():
        own = [event for event in events if _owner(event) == name]
        tried = [trial for trial in trials if trial.kind in kinds]
        if not own:
            instead = _INSTEAD.get(name, _few_tones(events) if name == "all whole shifts" else "")
            if search.finding.proven:
                instead = "not needed: the message is proven"
            elif deep and name in ("tiles", "deep"):
                instead = "not needed: the watermark is detected"
            steps.append(Step(prefix + name, False, None, None, instead))
            continue
        count, said = _said(name, own, tried, plan)
        steps.append(Step(prefix + name, False, count, sum(event.ms for event in own), said))
    times = [event.ms for event in events if _owner(event) == "readings"]
    if times:
        steps.append(Step(prefix + "readings", False, len(readings), sum(times), _read(readings)))
    return steps


def _said(name: str, events: Sequence[Event], tried: Trials, plan: ScanPlan) -> tuple[int | None, str]:
    """Return how many hypotheses a rung looked at, and what came of it."""
    scanned = [event.note for event in events if isinstance(event.note, Scanned)]
    if name == "scan":
        scores = [score for one in scanned for score in one.scores]
        best = f", the best of {max(scores):.2f} sigmas" if scores else ""
        return sum(one.n_hypotheses for one in scanned), f"{_many(len(scores), 'candidate')}{best}"
    if name == "image as it is":
        return 2 * GRID**2, _judged(tried)
    if name == "all whole shifts":
        return 2 * (TORUS // plan.step) ** 2, _judged(tried)
    if name == "crops of whole units":
        asked = [event.note for event in events if event.note is not None]
        return max(asked, default=None), _judged(tried) or "no scale at which tones show"
    if name == "pieces":
        log_p = min((one.placement.log_p for one in tried), default=None)
        return len(tried), _INSTEAD[name] if log_p is None else f"log p {log_p:.1f} at best"
    if name == "straightened":
        return len(tried), "read with the local shifts taken out"
    if name in _WHOLE and scanned:
        return sum(one.n_hypotheses for one in scanned), _judged(tried) or "nothing stands out"
    return len(tried) or None, _judged(tried) or "nothing stands out"


def _judged(tried: Trials) -> str:
    """Say how well the best trial agreed, and whether that was enough for its chips to be read."""
    if not tried:
        return ""
    log_p = min(one.placement.log_p for one in tried)
    words = f"log p {log_p:.1f} (of {AGREES:.1f})"
    asked = [one for one in tried if one.z > 0]
    if asked:
        best = max(asked, key=lambda one: one.z)
        words += f", z {best.z:.2f} (of {best.least:g})"
    n_read = sum(one.read for one in tried)
    return f"{words}: {'passed' if n_read else 'not enough to be read'}"


def _read(readings: Sequence[Reading]) -> str:
    if not readings:
        return ""
    best = min(one.message_log_p for one in readings)
    words = f"message at log10 p {min(best, 0.0) / math.log(10):.1f}"
    return f"{words}, with the geometry {min(min(r.log_p for r in readings), 0.0) / math.log(10):.1f}"


def _few_tones(events: Sequence[Event]) -> str:
    shown = [event.note for event in events if isinstance(event.note, AsItIs)]
    excess = f" ({shown[-1].view.excess:.1f} sigmas)" if shown else ""
    return f"its tones show no crop{excess}"


def _many(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n or 'no'} {what}s"
