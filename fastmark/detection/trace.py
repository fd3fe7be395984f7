"""The course of a search, in order: small records that tests and reports read."""

from __future__ import annotations

from typing import Literal, NamedTuple

from fastmark.detection.placement import Placement

Kind = Literal[
    "origin",
    "shift",
    "whole units",
    "dense units",
    "candidate",
    "dense",
    "canvas",
    "dense canvas",
    "tiles",
    "dense tiles",
    "deep",
    "piece",
    "straightened",
]
"""The image as it is, at the places of one that was not cropped, and at all whole shifts; a crop with whole
samples per unit placed by its tones, and with its anchors; a candidate of the scan placed by its tones; the
same with its anchors; a candidate of the busy part of a canvas, and what tiles of a canvas show together, in
the same two ways; a geometry of the deep search; a piece of an image that is bent, which proposes what is
straightened; a placement with local shifts taken out.
"""


class Trial(NamedTuple):
    """One geometry tried.

    Attributes:
        kind: of geometry.
        placement: the best place under this geometry.
        log_trials: natural logarithm of the number of geometries that is paid for.
        z: of pilot and anchors together; 0 where anchors were not asked.
        read: whether its chips were read, as the readings that follow tell.
        least: z from which on they are; 0 where none is asked.
    """

    kind: Kind
    placement: Placement
    log_trials: float
    z: float
    read: bool
    least: float = 0.0


class Reading(NamedTuple):
    """The outcome of one reading of the chips; logarithms are natural.

    Attributes:
        floor: of the scores, grey levels.
        step: units to a sample, 1 or 2.
        log_p: bound of phases, anchors and chips together, trials paid for; it may exceed 0.
        message_log_p: of the message alone, all readings so far paid for.
        promising: whether it made another floor worth a reading.
    """

    floor: float
    step: int
    log_p: float
    message_log_p: float
    promising: bool


Trace = list[Trial | Reading]
"""Geometries in the order in which they were tried, each followed by its readings."""
