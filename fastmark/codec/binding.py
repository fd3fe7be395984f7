"""How a mark is tied to its image: its chips follow the content of their blocks (SPEC.md, section 5)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastmark.codec.tables import GRID, PARTNERS
from fastmark.kernels import content as kernels

_OFFSETS = np.array(PARTNERS, np.int64)

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
    sure: NDArray[np.bool_] | None = None,
) -> NDArray[np.float32]:
    """Return the content of blocks: float32 ``(BY, BX)``, -1..1.

    The mean luma of the 3 x 3 blocks around one, less that around its partner, over six grey levels, limited
    to -1..1. Means are over those of the nine blocks that lie on the image; 0 where the partner does not.

    Args:
        means: float32 ``(BY, BX)``, mean luma of the blocks, grey levels, any constant added.
        partners: uint8 ``(128, 128)``, index into PARTNERS by place on the torus.
        origin: place of the first block on the torus' grid.
        inside: which of the blocks lie on the image; None for all.
        sure: which have a content, and may be a partner; None for all.
    """
    seen = np.ones(means.shape, np.uint8) if inside is None else inside.astype(np.uint8)
    around, content = (np.empty(means.shape, np.float32) for _ in range(2))
    kernels.mean_of_nine(means, seen, around)
    scale = np.float32(1 / FULL_DIFFERENCE)
    if sure is not None:
        seen &= sure.astype(np.uint8)
    kernels.compare_blocks(around, seen, _OFFSETS, partners, *(at % GRID for at in origin), scale, content)
    return content
