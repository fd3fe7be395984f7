"""How much each place of a plane tells: the score planes that every statistic of the detector reads."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmark._threads import in_strips
from fastmark.codec.mask import Perception
from fastmark.codec.plane import Plane, canonical_plane
from fastmark.codec.tables import BLOCK
from fastmark.detection.course import step
from fastmark.kernels import mask as local_kernels
from fastmark.kernels import score as kernels

SCORE_FLOOR = 4.0
_SCORE_LIMIT = 1.5
GRIDS = ((0, 0), (2, 4), (4, 2), (6, 6))
"""Offsets of the block grids over which scores are averaged."""


def scores(
    plane: Plane,
    floor: float = SCORE_FLOOR,
    threads: int = 1,
    grids: Sequence[tuple[int, int]] = GRIDS,
) -> Plane:
    """Return the score plane: float32 of the plane's shape, 1 / grey levels.

    Every 8 x 8 DCT coefficient x is replaced by ``clip(x / v, -1.5, 1.5) / v``, v its own neighbourhood's
    magnitude over ``floor`` grey levels; the mean is taken over four block grids (cycle spinning, Coifman &
    Donoho 1995), without which smooth images show the grid. Correlating it with a weak pattern is about the
    locally optimum detector. Planes under 8 samples a side have no scores: zeros.
    """
    out = np.zeros_like(plane)
    if min(plane.shape) >= BLOCK:
        gain = np.float32(1.0 / len(grids))
        for oy, ox in grids:
            in_strips(
                functools.partial(_add_scores, plane, (oy, ox), floor, gain, out),
                (plane.shape[0] + oy + BLOCK - 1) // BLOCK,
                threads,
                rows=32,
            )
    return out


def weighted_scores(
    plane: Plane,
    mask: Plane,
    floor: float = SCORE_FLOOR,
    threads: int = 1,
    grids: Sequence[tuple[int, int]] = GRIDS,
) -> Plane:
    """Return the scores of a plane times the mask of its cells: the matched filter's input.

    Arguments as of :func:`scores`; ``mask``: float32, a value per cell of 2 x 2 samples.
    """
    weighted = scores(plane, floor, threads, grids)
    local_kernels.multiply_cells(weighted, mask)
    return weighted


def _add_scores(
    plane: Plane, grid: tuple[int, int], floor: float, gain: np.float32, out: Plane, first: int, last: int
) -> None:
    kernels.add_scores(plane, *grid, np.float32(floor), np.float32(_SCORE_LIMIT), gain, first, last, out)


class ScorePlanes:
    """A plane's scores at the resolutions and floors that are asked for, each computed once.

    Scores are taken on the image's own samples, before anything is resampled: there its noise, its
    compression and its host are still independent from coefficient to coefficient.
    """

    def __init__(self, pixels: NDArray[Any], k: int = 1, threads: int = 1) -> None:
        """Take a plane, float32 ``(H, W)`` on 0..255, or pixels, k of them to a sample of the plane.

        ``threads``: how many may share the work.
        """
        self._pixels = pixels
        self._k = k
        self.threads = threads
        self.shape = (pixels.shape[0] // k, pixels.shape[1] // k)
        """Height and width of the plane, samples."""
        self._reduced: dict[int, Plane] = {}
        self._masks: dict[int, Plane] = {}
        self._weighted: dict[tuple[int, float], Plane] = {}

    def middle(self, side: int) -> ScorePlanes:
        """Return those of the middle of the plane, at most ``side`` samples each way."""
        height, width = (min(n, side) for n in self.shape)
        if (height, width) == self.shape:
            return self
        top, left = ((n - part) // 2 * self._k for n, part in zip(self.shape, (height, width), strict=True))
        part = self._pixels[top : top + height * self._k, left : left + width * self._k]
        return ScorePlanes(np.ascontiguousarray(part), self._k, self.threads)

    @property
    def pixels(self) -> NDArray[Any]:
        """The pixels ``(H, W)`` or ``(H, W, 3)`` of which the plane is made."""
        return self._pixels

    @property
    def unit(self) -> int:
        """The number of these pixels to a sample, each way."""
        return self._k

    def window(self, unit: int, rows: slice, columns: slice) -> ScorePlanes:
        """Return those of a part of the image, of samples of ``unit`` pixels each way.

        ``rows``, ``columns``: of such samples, with a start and a stop.
        """
        y, x = (slice(part.start * unit, part.stop * unit) for part in (rows, columns))
        return ScorePlanes(np.ascontiguousarray(self._pixels[y, x]), unit, self.threads)

    @property
    def computed(self) -> frozenset[tuple[int, float]]:
        """The reductions and floors of the scores that were asked for so far."""
        return frozenset(self._weighted)

    @step("scores")
    def weighted(self, reduction: int = 1, floor: float = SCORE_FLOOR) -> Plane:
        """Return scores times perceptual mask of the plane averaged over ``reduction`` samples, each way.

        The mark's amplitude is in proportion to the mask, so this is the matched filter's input.
        """
        found = self._weighted.get((reduction, floor))
        if found is None:
            plane = self.reduced(reduction)
            if reduction not in self._masks:
                self._masks[reduction] = Perception.of(plane).mask
            found = weighted_scores(plane, self._masks[reduction], floor, self.threads)
            self._weighted[reduction, floor] = found
        return found

    def visible(self, scores: Plane, samples: int = 1, first: tuple[int, int] = (0, 0)) -> Plane:
        """Return scores of the means over ``samples``, each way, from sample ``first`` on, where they count.

        That is everywhere; if a part of an image is left out, they are 0 there.
        """
        return scores

    def reduced(self, reduction: int) -> Plane:
        """Return the plane averaged over ``reduction`` samples, each way."""
        if reduction not in self._reduced:
            # a plane that is at hand and divides this one saves a look at all pixels
            at_hand = [r for r in self._reduced if reduction % r == 0]
            if at_hand:
                self._reduced[reduction] = canonical_plane(
                    self._reduced[max(at_hand)], reduction // max(at_hand)
                )
            elif self._k == reduction == 1 and self._pixels.dtype == np.float32 and self._pixels.ndim == 2:
                self._reduced[1] = self._pixels
            else:
                self._reduced[reduction] = canonical_plane(
                    self._pixels, self._k * reduction, threads=self.threads
                )
        return self._reduced[reduction]
