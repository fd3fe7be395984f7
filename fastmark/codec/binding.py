"""How a mark is tied to its image: its chips follow the content of their blocks (SPEC.md, section 5)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastmark.codec.tables import GRID, PARTNERS

FULL_DIFFERENCE = 6.0
"""Grey levels between a block and its partner from which on the sign of the difference counts wholly."""


@dataclass(frozen=True, slots=True)
class BindingClass:
    """How much of the chips' amplitude is given to the binding.

    A chip's amplitude is multiplied by ``1 + depth b c + flag d``: b and d keyed signs, d by class, and c
    the content of its block.

    Attributes:
        number: 1..2, tells which flags are used.
        depth: of the content.
        flag: of what tells that a mark is bound, and how.
    """

    number: int
    depth: float
    flag: float


STRONG, WEAK = BindingClass(1, 0.4, 0.3), BindingClass(2, 0.2, 0.15)
"""For images with margin to spare, and for others: with the weak one fewer copies can be told.

The strong one is what it takes to tell about 19 of 20 copies, as weak as is read (benchmarks/binding.py).
"""

CLASSES = (STRONG, WEAK)


def block_content(
    means: NDArray[np.float32],
    partners: NDArray[np.uint8],
    origin: tuple[int, int],
    inside: NDArray[np.bool_] | None = None,
) -> NDArray[np.float32]:
    """Return the content of blocks: float32 ``(BY, BX)``, -1..1.

    The mean luma of the 3 x 3 blocks around one, less that around its partner, over six grey levels, limited
    to -1..1. Means are over those of the nine blocks that lie on the image; 0 where the partner does not.

    Args:
        means: float32 ``(BY, BX)``, mean luma of the blocks, grey levels, any constant added.
        partners: uint8 ``(128, 128)``, index into PARTNERS by place on the torus.
        origin: place of the first block on the torus' grid.
        inside: which of the blocks lie on the image; None for all.
    """
    n_rows, n_columns = means.shape
    here = np.ones(means.shape, np.float32) if inside is None else inside.astype(np.float32)
    around = _sum_of_nine(means * here) / np.maximum(_sum_of_nine(here), 1)
    y, x = np.arange(n_rows)[:, None], np.arange(n_columns)
    offsets = np.array(PARTNERS)[partners[(y + origin[0]) % GRID, (x + origin[1]) % GRID]]
    there_y, there_x = y + offsets[..., 0], x + offsets[..., 1]
    seen = (there_y >= 0) & (there_y < n_rows) & (there_x >= 0) & (there_x < n_columns)
    there_y, there_x = np.where(seen, there_y, 0), np.where(seen, there_x, 0)
    seen &= (here > 0) & (here[there_y, there_x] > 0)
    content = np.clip((around - around[there_y, there_x]) / np.float32(FULL_DIFFERENCE), -1, 1)
    result: NDArray[np.float32] = np.where(seen, content, np.float32(0)).astype(np.float32)
    return result


def _sum_of_nine(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the sums over 3 x 3 neighbours; beyond the edge there is nothing."""
    padded = np.pad(values, 1)
    rows = padded[:-2] + padded[1:-1] + padded[2:]
    sums: NDArray[np.float32] = rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]
    return sums
