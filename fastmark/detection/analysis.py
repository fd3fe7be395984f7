"""An opened image before any key: its score planes, its spectra, and the plan by which they are made."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from fastmark.detection.canvas import busy_part, scan_step
from fastmark.detection.course import step
from fastmark.detection.levels import ScanLevel
from fastmark.detection.origins import Origins
from fastmark.detection.plan import MAX_SIDE, LevelPlan, ScanPlan
from fastmark.detection.scores import ScorePlanes
from fastmark.detection.tiles import Tiles
from fastmark.detection.torus import TorusSpectrum
from fastmark.detection.windows import Window


class BusyPart(NamedTuple):
    """A window over a part of an image, and the spectrum that is scanned of it."""

    window: Window
    level: ScanLevel


class Analysis:
    """The part of detection that needs no key: computed when first needed, shared by all keys.

    Attributes:
        planes: scores of the middle of the image's plane, at most 2048 samples a side.
        plan: at which resolutions it is looked at.
    """

    def __init__(self, planes: ScorePlanes) -> None:
        """Plan for the middle of an image's plane; nothing is computed yet."""
        self._whole = planes
        self.planes = planes.middle(MAX_SIDE)
        self.plan = ScanPlan.of(self.planes.shape)

    @functools.cached_property
    def tiles(self) -> Tiles:
        """The whole image at its pixels' own resolution, cut into tiles."""
        return Tiles(self._whole)

    @functools.cached_property
    def busy_part(self) -> BusyPart | None:
        """The busy part of an image that is flat elsewhere, and its spectrum; None if there is none."""
        window = busy_part(self._whole, self.plan.step)
        if window is None:
            return None
        return BusyPart(
            window, ScanLevel(window.planes, LevelPlan.of(window.planes.shape, scan_step(window)))
        )

    @functools.cached_property
    @step("torus")
    def identity(self) -> TorusSpectrum:
        """The spectrum on the torus of the plane as it is."""
        return TorusSpectrum(self.planes, np.eye(2), self.plan.step)

    @functools.cached_property
    def levels(self) -> tuple[ScanLevel, ...]:
        """The spectra of the plane at the resolutions that are scanned, finest first."""
        return tuple(ScanLevel(self.planes, plan) for plan in self.plan.levels)

    @functools.cached_property
    def origins(self) -> Origins:
        """The chips of the plane as it is, for the places of an image that was not cropped."""
        return Origins(self.planes, self.levels[0].padded, self.plan.step)
