"""The scores of a plane before it is marked: for the choice of origin, and the look for an earlier mark."""

from __future__ import annotations

import functools
import math

import numpy as np

from fastmark.codec.plane import Plane
from fastmark.codec.tables import BLOCK, TORUS
from fastmark.detection.scores import ScorePlanes
from fastmark.detection.soft_bits import ChipBlocks
from fastmark.detection.torus import TorusSpectrum
from fastmark.kernels import resample as kernels

FIRST_ORIGIN = BLOCK // 2
"""Least origin each way: the plane's blocks start at unit (4, 4)."""

HALF_FROM = 2**18
"""Units; larger parts of a plane are scored at half resolution, which costs a quarter and tells enough."""

DETAIL, LEAST_DETAILED = 0.1, 1 / 8
"""Sum of the squares of a block's ten statistics from which on it shows detail, and the least share of such
blocks in an image that chooses its origin.

Rounding noise gives 0.02 at most. Blank images with the same few lines would all choose the same place, and
their mean would show the mark. Measured by benchmarks/origin.py.
"""

_MOST_SIDE = TORUS  # units of the middle of a plane, each way, that are asked


class HostScores:
    """The scores of the middle of a plane that is to be marked; computed when first needed.

    Attributes:
        start: the middle's first unit; multiples of eight.
        step: units to a sample of the chips' scores, 1 or 2.
    """

    def __init__(self, plane: Plane, threads: int = 1) -> None:
        """Take the middle of a plane, at most 1024 units each way."""
        sides = [min(n, _MOST_SIDE) for n in plane.shape]
        starts = [(n - side) // 2 // BLOCK * BLOCK for n, side in zip(plane.shape, sides, strict=True)]
        rows, columns = (slice(at, at + side) for at, side in zip(starts, sides, strict=True))
        self.start = (starts[0], starts[1])
        self._planes = ScorePlanes(np.ascontiguousarray(plane[rows, columns]), 1, threads)
        self.step = 2 if math.prod(sides) > HALF_FROM else 1

    @functools.cached_property
    def torus(self) -> TorusSpectrum:
        """Its spectrum on the torus, of samples of 2 x 2 units, which have all of the pilot's tones."""
        weighted = self._planes.weighted(self.step)
        if self.step == 1:
            whole = weighted
            weighted = np.empty((whole.shape[0] // 2, whole.shape[1] // 2), np.float32)
            kernels.halve(whole, weighted)
        return TorusSpectrum(self._planes, np.eye(2), 2, weighted)

    @functools.cached_property
    def blocks(self) -> ChipBlocks:
        """The chips' statistics; the first block starts at unit (4, 4) of the middle."""
        first = FIRST_ORIGIN // self.step
        weighted = self._planes.weighted(self.step)[first:, first:]
        return ChipBlocks.of(np.ascontiguousarray(weighted), step=self.step)

    @property
    def detailed(self) -> bool:
        """Whether there is detail enough to choose an origin by."""
        energy = np.einsum("cyx,cyx->yx", self.blocks.coefficients, self.blocks.coefficients)
        return float(np.mean(energy >= DETAIL)) >= LEAST_DETAILED
