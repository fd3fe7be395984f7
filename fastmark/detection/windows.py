"""Parts of an image at another resolution than its plane, and what places in them are in the plane."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from fastmark.detection.placement import Placement
from fastmark.detection.scores import ScorePlanes


@dataclass(frozen=True, slots=True)
class Window:
    """A part of an image, averaged over fewer pixels than its plane.

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

    def on_plane(self, placement: Placement) -> Placement:
        """Return the placement of samples of this window for those of the image's whole plane."""
        scale = self.unit / self.plane_unit
        # samples are squares of pixels, and count from their middles
        offset = (np.array(self.corner) + placement.offset + 0.5) * scale - 0.5
        return replace(placement, matrix=placement.matrix * scale, offset=offset)
