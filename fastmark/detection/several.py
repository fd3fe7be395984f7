"""Where marks lie: that of the most certain key, and all of every key.

A key is searched for again in what its marks do not explain, until nothing more is proven.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from fastmark.codec.tables import TORUS
from fastmark.detection import evidence
from fastmark.detection.analysis import Analysis
from fastmark.detection.detector import KeyDetector
from fastmark.detection.location import Ground, corner_of, locate
from fastmark.detection.masking import FINENESS, MaskedPlanes, cheapest, price
from fastmark.detection.placement import Placement
from fastmark.detection.reading import Finding
from fastmark.detection.scores import ScorePlanes
from fastmark.images.opening import DetectorInput
from fastmark.locations import Location
from fastmark.results import Detection

MAX_MARKS = 64
"""Searches for one key in one image."""

_SAME_PLACE, _SAME_SHAPE = 8.0, 0.02  # units, and share of a matrix, by which finds of one mark may differ


def order(found: Detection) -> tuple[float, float, float]:
    """Return what detections are sorted by, the most certain first.

    Bounds end at the strength of a key: beyond, the margins tell which is the more certain.
    """
    return found.log10_p, found.message_log10_p, -(found.margin or 0.0)


def look_where(
    luma: DetectorInput, detectors: Sequence[KeyDetector], *, deep: bool = False, threads: int = 1
) -> Location:
    """Look for each one's key, and locate the most certain; arguments as of :func:`look`."""
    ground = Ground.of(luma, threads)
    analysis = Analysis(ground.planes)
    searches = [(one, one.search(analysis, math.log(len(detectors)), deep=deep)) for one in detectors]
    reports = [
        (dataclasses.replace(one.report(analysis, luma.unit, found), remarks=luma.remarks), found)
        for one, found in searches
    ]
    detection, best = min(reports, key=lambda pair: order(pair[0]))
    return locate(ground, analysis.planes, best.finding, best.carrier, detection)


def look_for_all(
    luma: DetectorInput, detectors: Sequence[KeyDetector], *, deep: bool = False, threads: int = 1
) -> list[Location]:
    """Look for all marks of each one's key; arguments as of :func:`look`.

    Returns:
        The marks, most certain first; one location that is false for each key of which there is none.
    """
    ground = Ground.of(luma, threads)
    analysis = Analysis(ground.planes)
    found: list[Location] = []
    for detector in detectors:
        found += _marks_of(detector, ground, analysis, luma, math.log(len(detectors)), deep=deep)
    return sorted(found, key=lambda one: order(one.detection))


def _marks_of(
    detector: KeyDetector,
    ground: Ground,
    analysis: Analysis,
    luma: DetectorInput,
    log_keys: float,
    *,
    deep: bool,
) -> list[Location]:
    left_out, cost, whole = np.zeros((FINENESS, FINENESS), np.bool_), 0.0, ground.planes
    marks: list[Location] = []
    places: list[Placement] = []
    for number in range(1, MAX_MARKS + 1):
        log_trials = log_keys + evidence.open_list(number) + cost
        found = detector.search(analysis, log_trials, deep=deep)
        detection = detector.report(analysis, luma.unit, found)
        detection = dataclasses.replace(detection, remarks=luma.remarks)
        if not detection and marks:
            break
        mark = locate(ground, analysis.planes, found.finding, found.carrier, detection)
        placement = _on_image(found.finding, whole, analysis)
        if not any(placement is not None and is_same(placement, other, whole.shape) for other in places):
            marks.append(mark)
        if not mark or placement is None:
            break
        places.append(placement)
        more = cheapest(mark.carries, left_out)
        if np.array_equal(more, left_out) or more.all():
            break
        left_out, cost = more, price(more)
        ground = dataclasses.replace(ground, planes=MaskedPlanes.without(whole, left_out))
        analysis = Analysis(ground.planes)
    return marks


def _on_image(finding: Finding, whole: ScorePlanes, analysis: Analysis) -> Placement | None:
    """Return the placement on the samples of the image's whole plane."""
    if finding.placement is None:
        return None
    if finding.window is not None:
        return finding.window.on_plane(finding.placement)
    corner = corner_of(whole, analysis.planes)
    return dataclasses.replace(finding.placement, offset=finding.placement.offset + corner)


def is_same(placement: Placement, other: Placement, shape: tuple[int, int]) -> bool:
    """Return whether both say that the pattern lies alike: a rest of one mark, and not another one.

    ``shape``: height and width of the plane, samples.
    """
    if placement.inverted != other.inverted:
        return False
    size = np.linalg.norm(other.matrix)
    if np.linalg.norm(placement.matrix - other.matrix) > _SAME_SHAPE * size:
        return False
    # where both put the middle of the image
    middle = (np.array(shape) - 1) / 2
    here, there = (np.linalg.solve(p.matrix, middle - p.offset) for p in (placement, other))
    apart = np.mod(here - there + TORUS / 2, TORUS) - TORUS / 2
    return bool(np.abs(apart).max() <= _SAME_PLACE)
