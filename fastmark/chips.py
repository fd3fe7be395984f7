"""The statistic of the chips, which embedder and detector share."""

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
from fastmark.perception import Plane, block_means

N_SOFT = CODE_BITS + 1
"""Soft bits: one for each code bit, and the anchors' sum in the last place."""

COEFFICIENT_CAP = 60.0


@dataclass(frozen=True, slots=True)
class ChipBlocks:
    """The chip coefficients of the 8 x 8 blocks of a plane of units.

    Attributes:
        coefficients: float32 ``(10, BY, BX)``, grey levels, orthonormal DCT-II.
        spread: float32 ``(10, BY, BX)``, how far coefficients reach in the neighbourhood.
        mask: float32 ``(BY, BX)``, mean perceptual mask of the block; zero leaves it out.
    """

    coefficients: NDArray[np.float32]
    spread: NDArray[np.float32]
    mask: NDArray[np.float32]

    @classmethod
    def of(cls, units: Plane, mask: Plane, start: int, inside: NDArray[np.uint8] | None = None) -> ChipBlocks:
        """Transform the whole blocks of ``units`` from ``(start, start)`` on.

        ``inside``, uint8 of the shape of ``units``, leaves out blocks that are not ones throughout.
        """
        n_rows, n_columns = ((n - start) // BLOCK for n in units.shape)
        coefficients = np.empty((N_COEFFICIENTS, n_rows, n_columns), np.float32)
        kernels.forward_dct(
            units, BASIS, COEFFICIENT_ROWS, COEFFICIENT_COLUMNS, start, start, coefficients
        )
        spread = np.empty_like(coefficients)
        kernels.coefficient_spread(coefficients, np.float32(COEFFICIENT_CAP), spread)
        block_mask = block_means(mask, start, start, n_rows, n_columns)
        if inside is not None:
            part = inside[start : start + BLOCK * n_rows, start : start + BLOCK * n_columns]
            block_mask *= part.reshape(n_rows, BLOCK, n_columns, BLOCK).min(axis=(1, 3))
        return cls(coefficients, spread, block_mask)

    def soft_bits(self, carrier: Carrier, floor: float, origin: tuple[int, int]) -> NDArray[np.float64]:
        """Demodulate: float64 ``(3, 1025)``, anchors last.

        Rows, for each bit: ``L = sum s w clip(x / v, -2, 2)``, ``E = sum w^2``, and the sum of the
        squares of the terms of L, with ``v = sqrt(u^2 + floor^2)``, ``w = m / v``. ``origin`` is the place of
        the first block on the 128 x 128 grid of the torus.
        """
        folded = np.zeros((N_COEFFICIENTS, GRID, GRID), np.float32)
        energy = np.zeros_like(folded)
        kernels.fold_chips(
            self.coefficients, self.spread, self.mask, np.float32(floor),
            origin[0] % GRID, origin[1] % GRID, folded, energy,
        )  # fmt: skip
        soft = np.empty((3, N_SOFT))
        kernels.soft_bits(folded, energy, carrier.signs, carrier.code_bit, soft)
        return soft
