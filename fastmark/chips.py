"""Units -> soft bits: the statistic of the chips."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastmark.carrier import (
    BASIS,
    BLOCK,
    COEFFICIENT_COLUMNS,
    COEFFICIENT_ROWS,
    GRID,
    N_COEFFICIENTS,
    Carrier,
)
from fastmark.kernels import blocks as kernels
from fastmark.message import CODE_BITS
from fastmark.perception import Plane, block_means, scores

N_SOFT = CODE_BITS + 1
"""Soft bits: one for each code bit, and the anchors' sum in the last place."""


@dataclass(frozen=True, slots=True)
class ChipBlocks:
    """The statistics of the chips of a plane of units, block by block.

    Attributes:
        coefficients: float32 ``(10, BY, BX)``, the score plane's orthonormal DCT-II at the chips.
        mask: float32 ``(BY, BX)``, mean perceptual mask of the block; zero leaves it out.
    """

    coefficients: NDArray[np.float32]
    mask: NDArray[np.float32]

    @classmethod
    def of(cls, units: Plane, mask: Plane, inside: NDArray[np.uint8], floor: float) -> ChipBlocks:
        """Measure the whole blocks of ``units``.

        Args:
            units: float32 ``(H, W)``, luma; the first unit starts a block.
            mask: float32 ``(H, W)``, perceptual mask.
            inside: uint8 ``(H, W)``; blocks that are not ones throughout are left out.
            floor: of the scores, grey levels.
        """
        n_rows, n_columns = (n // BLOCK for n in units.shape)
        coefficients = np.empty((N_COEFFICIENTS, n_rows, n_columns), np.float32)
        plane = scores(units, floor)
        kernels.forward_dct(plane, BASIS, COEFFICIENT_ROWS, COEFFICIENT_COLUMNS, 0, 0, coefficients)
        block_mask = block_means(mask, 0, 0, n_rows, n_columns)
        part = inside[: BLOCK * n_rows, : BLOCK * n_columns]
        block_mask *= part.reshape(n_rows, BLOCK, n_columns, BLOCK).min(axis=(1, 3))
        return cls(coefficients, block_mask)

    def soft_bits(self, carrier: Carrier, origin: tuple[int, int]) -> NDArray[np.float64]:
        """Demodulate: float64 ``(2, 1025)``, anchors last; ``sum s z`` and ``sum z^2`` of each bit.

        ``z = m x`` summed over the blocks that share a place of the torus; ``origin`` is the place of the
        first block on its 128 x 128 grid.
        """
        folded = np.zeros((N_COEFFICIENTS, GRID, GRID), np.float32)
        kernels.fold_chips(self.coefficients, self.mask, origin[0] % GRID, origin[1] % GRID, folded)
        soft = np.empty((2, N_SOFT))
        kernels.soft_bits(folded, carrier.signs, carrier.code_bit, soft)
        return soft
