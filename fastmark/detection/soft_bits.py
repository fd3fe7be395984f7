"""Units -> soft bits: the statistic of the chips."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastmark.codec.carrier import BASIS, COEFFICIENT_COLUMNS, COEFFICIENT_ROWS, HALF_BASIS, Carrier
from fastmark.codec.message import CODE_BITS
from fastmark.codec.plane import Plane
from fastmark.codec.tables import BLOCK, GRID, N_COEFFICIENTS
from fastmark.kernels import chips as kernels

N_SOFT = CODE_BITS + 1
"""Soft bits: one for each code bit, and the anchors' sum in the last place."""


@dataclass(frozen=True, slots=True)
class ChipBlocks:
    """The statistics of the chips of a grid of units, block by block.

    Attributes:
        coefficients: float32 ``(10, BY, BX)``, the weighted scores' orthonormal DCT-II at the chips.
        inside: float32 ``(BY, BX)``, 1 for blocks that lie wholly on the image, else 0.
    """

    coefficients: NDArray[np.float32]
    inside: NDArray[np.float32]

    @classmethod
    def of(
        cls, scores: Plane, inside: NDArray[np.uint8] | None = None, step: int = 1, first: int = 0
    ) -> ChipBlocks:
        """Transform the whole blocks of weighted scores, float32 ``(H, W)``.

        Args:
            scores: of units, or of the means of 2 x 2 units.
            inside: uint8 ``(H, W)``: blocks that are not ones throughout are left out; None for none.
            step: units to a sample, 1 or 2.
            first: row and column at which the first block starts; with ``inside`` it is 0.
        """
        side = BLOCK // step
        n_rows, n_columns = ((n - first) // side for n in scores.shape)
        coefficients = np.empty((N_COEFFICIENTS, n_rows, n_columns), np.float32)
        basis = BASIS if step == 1 else HALF_BASIS
        kernels.forward_dct(scores, basis, COEFFICIENT_ROWS, COEFFICIENT_COLUMNS, first, first, coefficients)
        whole = np.ones((n_rows, n_columns), np.float32)
        if inside is not None:
            kernels.whole_blocks(inside, side, whole)
        return cls(coefficients, whole)

    def soft_bits(self, carrier: Carrier, origin: tuple[int, int]) -> NDArray[np.float64]:
        """Demodulate: float64 ``(2, 1025)``, anchors last; ``sum s z`` and ``sum z^2`` of each bit.

        ``z`` is summed over the blocks that share a place of the torus; ``origin`` is the place of the
        first block on its 128 x 128 grid.
        """
        folded = np.zeros((N_COEFFICIENTS, GRID, GRID), np.float32)
        kernels.fold_chips(self.coefficients, self.inside, origin[0] % GRID, origin[1] % GRID, folded)
        soft = np.empty((2, N_SOFT))
        kernels.soft_bits(folded, carrier.signs, carrier.code_bit, soft)
        return soft
