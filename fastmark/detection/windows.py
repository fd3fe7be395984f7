"""Parts of an image, at the resolution of its plane or finer, and what places there are on the plane."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from fastmark.detection.placement import Placement
from fastmark.detection.scores import ScorePlanes

LOG_LOOKS = math.log(2)
"""Natural logarithm of the number of looks at one geometry in a window: by phases, and by anchors too."""


@dataclass(frozen=True, slots=True)
class Window:
    """A part of an image.

    Attributes:
        planes: its scores.
        corner: row and column of its first sample, in samples of the whole image so averaged.
        unit: pixels per sample, each way.
        plane_unit: pixels per sample of the image's plane.
    """

    planes: ScorePlanes
    corner: tuple[int, int]
    unit: int
    plane_unit: int

    @classmethod
    def over(cls, planes: ScorePlanes) -> Window:
        """Return the window that is all of a plane."""
        return cls(planes, (0, 0), planes.unit, planes.unit)

    def part(self, first: Sequence[int], stop: Sequence[int]) -> Window:
        """Return the part of this window from one sample on and up to another."""
        (top, left), (bottom, right) = first, stop
        planes = self.planes.window(self.unit, slice(top, bottom), slice(left, right))
        return Window(planes, (self.corner[0] + top, self.corner[1] + left), self.unit, self.plane_unit)

    def on_plane(self, placement: Placement) -> Placement:
        """Return the placement on samples of this window as one on those of the plane."""
        scale = self.unit / self.plane_unit
        # samples are squares of pixels, and count from their middles
        offset = (np.array(self.corner) + placement.offset + 0.5) * scale - 0.5
        return replace(placement, matrix=placement.matrix * scale, offset=offset)
