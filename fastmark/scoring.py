"""How much each place of a plane tells: the score planes that every statistic of the detector reads."""

from __future__ import annotations

import numpy as np

from fastmark.carrier import BLOCK
from fastmark.kernels import score as kernels
from fastmark.perception import Perception
from fastmark.plane import Plane, canonical_plane

SCORE_FLOOR = 4.0
_SCORE_LIMIT = 1.5
_SCORE_GRIDS = ((0, 0), (2, 4), (4, 2), (6, 6))


def scores(plane: Plane, floor: float = SCORE_FLOOR) -> Plane:
    """Return the score plane: float32 of the plane's shape, 1 / grey levels.

    Every 8 x 8 DCT coefficient x is replaced by ``clip(x / v, -1.5, 1.5) / v``, v its own neighbourhood's
    magnitude over ``floor`` grey levels; the mean is taken over four block grids (cycle spinning,
    Coifman & Donoho 1995). Correlating it with a weak pattern is about the locally optimum detector.
    Planes under 8 samples a side have no scores: zeros.
    """
    out = np.zeros_like(plane)
    if min(plane.shape) >= BLOCK:
        gain = np.float32(1.0 / len(_SCORE_GRIDS))
        for oy, ox in _SCORE_GRIDS:
            kernels.add_scores(plane, oy, ox, np.float32(floor), np.float32(_SCORE_LIMIT), gain, out)
    return out


class ScorePlanes:
    """A plane's scores at the resolutions and floors that are asked for, each computed once.

    Scores are taken on the picture's own samples, before anything is resampled: there its noise, its
    compression and its host are still independent from coefficient to coefficient.
    """

    def __init__(self, plane: Plane, mask: Plane | None = None) -> None:
        """Take a float32 plane ``(H, W)``, luma on 0..255, and its perceptual mask where that is known."""
        self.plane = plane
        self._mask = mask
        self._weighted: dict[tuple[int, float], Plane] = {}

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the plane, samples."""
        return self.plane.shape[0], self.plane.shape[1]

    def weighted(self, reduction: int = 1, floor: float = SCORE_FLOOR) -> Plane:
        """Return scores times perceptual mask of the plane averaged over ``reduction`` samples, each way.

        The mark's amplitude is in proportion to the mask, so this is the matched filter's input.
        """
        found = self._weighted.get((reduction, floor))
        if found is None:
            plane = self.reduced(reduction)
            mask = self._mask if reduction == 1 and self._mask is not None else Perception.of(plane).mask
            found = scores(plane, floor) * mask
            self._weighted[reduction, floor] = found
        return found

    def reduced(self, reduction: int) -> Plane:
        """Return the plane averaged over ``reduction`` samples, each way."""
        return self.plane if reduction == 1 else canonical_plane(self.plane, reduction)
