"""The scores of a plane before it is marked: for the choice of origin, and the look for an earlier mark."""

from __future__ import annotations

import functools
import math

import numpy as np

from fastmark.codec.mask import CELL
from fastmark.codec.plane import Plane
from fastmark.codec.tables import BLOCK, FIRST_ORIGIN, TORUS
from fastmark.detection.scores import ScorePlanes, weighted_scores
from fastmark.detection.soft_bits import ChipBlocks
from fastmark.detection.torus import TorusSpectrum
from fastmark.kernels import resample as kernels

MOST_UNITS = 2**19
"""Units of the middle of a plane that are asked at most."""

FEW_UNITS, GRIDS, ONE_GRID = 2**18, ((0, 0), (6, 6)), ((0, 0),)
"""The block grids over which scores are averaged, one where there are more units than so many.

They say about what a detector's four grids say, for a half and a quarter of the time: the correlation is 0.94
and 0.87 (benchmarks/origin.py).
"""

DETAIL, LEAST_DETAILED = 0.1, 1 / 8
"""Sum of the squares of a block's ten statistics from which on it shows detail, and the least share of such
blocks in an image that chooses its origin.

Rounding noise gives 0.02 at most. Blank images with the same few lines would all choose the same place, and
their mean would show the mark. Measured by benchmarks/origin.py.
"""


class HostScores:
    """The scores of the middle of a plane that is to be marked; computed when first needed.

    Attributes:
        start: the middle's first unit; multiples of eight.
    """

    def __init__(self, plane: Plane, mask: Plane, threads: int = 1) -> None:
        """Take the middle of a plane and of its cells' mask, at most 1024 units each way and 2^19 in all."""
        height, width = (min(n, TORUS) for n in plane.shape)
        if height * width > MOST_UNITS:
            height = min(height, max(math.isqrt(MOST_UNITS), MOST_UNITS // width))
            width = min(width, MOST_UNITS // height)
        starts = [
            (n - side) // 2 // BLOCK * BLOCK for n, side in zip(plane.shape, (height, width), strict=True)
        ]
        self.start = (starts[0], starts[1])
        rows, columns = (slice(at, at + side) for at, side in zip(starts, (height, width), strict=True))
        self._middle = np.ascontiguousarray(plane[rows, columns])
        cells = (slice(part.start // CELL, -(-part.stop // CELL)) for part in (rows, columns))
        self._mask = np.ascontiguousarray(mask[tuple(cells)])
        self._threads = threads

    @functools.cached_property
    def weighted(self) -> Plane:
        """The scores times the mask, float32 of the middle's shape."""
        grids = GRIDS if self._middle.size <= FEW_UNITS else ONE_GRID
        return weighted_scores(self._middle, self._mask, threads=self._threads, grids=grids)

    @functools.cached_property
    def torus(self) -> TorusSpectrum:
        """Its spectrum on the torus, of samples of 2 x 2 units, which have all of the pilot's tones."""
        halved = np.empty((self._middle.shape[0] // 2, self._middle.shape[1] // 2), np.float32)
        kernels.halve(self.weighted, halved)
        return TorusSpectrum(ScorePlanes(self._middle), np.eye(2), 2, halved)

    @functools.cached_property
    def blocks(self) -> ChipBlocks:
        """The chips' statistics; the first block starts at unit (4, 4) of the middle."""
        return ChipBlocks.of(self.weighted, first=FIRST_ORIGIN)

    @property
    def detailed(self) -> bool:
        """Whether there is detail enough to choose an origin by."""
        energy = np.einsum("cyx,cyx->yx", self.blocks.coefficients, self.blocks.coefficients)
        return float(np.mean(energy >= DETAIL)) >= LEAST_DETAILED
