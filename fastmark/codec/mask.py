"""How much each place of a plane may change."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastmark.codec.plane import Plane
from fastmark.kernels import mask as kernels

CELL = 2
"""Units, each way, that share a value of the mask."""

MAX_ACTIVITY = np.float32(40.0)
ACTIVITY_SHARE = np.float32(0.455)
MASK_WEIGHTS = np.array([1.48044, 0.636791, 0.227851, -0.0541014, 0.00756661, -0.000418531], np.float32)
"""The mask as a polynomial in the root of the activity a, ``1.5 + 0.8 a^0.6`` within 1.5 %.

a lies in 0..40 grey levels; lowest power first.
"""


@dataclass(frozen=True, slots=True)
class Perception:
    """Measures of the neighbourhood of every cell of 2 x 2 units.

    All are float32 ``((H + 1) // 2, (W + 1) // 2)``.

    Attributes:
        means: of the plane over the cells, less 128, grey levels.
        deviation: local standard deviation of the plane less its local mean, grey levels.
        mask: how much may change, grey levels.
    """

    means: Plane
    deviation: Plane
    mask: Plane

    @classmethod
    def of(cls, plane: Plane) -> Perception:
        """Measure a float32 plane ``(H, W)`` on 0..255."""
        shape = ((plane.shape[0] + 1) // CELL, (plane.shape[1] + 1) // CELL)
        mean, square, scratch, first, second, deviation = (np.empty(shape, np.float32) for _ in range(6))
        kernels.pool_squares(plane, mean, square)
        kernels.local_deviation(mean, square, scratch, first, second, deviation)
        kernels.min5(deviation, scratch)
        kernels.activity_mask(deviation, scratch, ACTIVITY_SHARE, MASK_WEIGHTS, MAX_ACTIVITY, first)
        return cls(mean, deviation, first)

    def smooth_mask(self) -> Plane:
        """Return the mean of the mask over 5 x 5 cells."""
        out = np.empty_like(self.mask)
        kernels.box5(self.mask, out)
        return out


def block_means(cells: Plane, n_rows: int, n_columns: int) -> NDArray[np.float32]:
    """Return the means of the 8 x 8 blocks from unit (4, 4) on: float32 ``(rows, columns)``."""
    means = np.empty((n_rows, n_columns), np.float32)
    kernels.block_means(cells, means)
    return means


def cell_means(units: Plane) -> Plane:
    """Return the means of a float32 plane ``(H, W)`` over the cells, edges repeated where a side is odd."""
    even = np.pad(units, [(0, n % CELL) for n in units.shape], mode="edge")
    return np.float32(1 / CELL**2) * (
        (even[::2, ::2] + even[::2, 1::2]) + (even[1::2, ::2] + even[1::2, 1::2])
    )
