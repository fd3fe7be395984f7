"""What the embedder decided for one image, within the format."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fastmark.codec.binding import BindingClass
from fastmark.codec.tables import BLOCK, GRID, N_COEFFICIENTS

# Amplitudes at strength 1, of the mask: a chip's DCT coefficient, the pilot's root mean square.
CHIP_RATIO = 0.275 * 8 / math.sqrt(N_COEFFICIENTS)
PILOT_RATIO = 0.21


@dataclass(frozen=True, slots=True)
class Design:
    """The decisions of which a mark is drawn at strength 1.

    Attributes:
        origin: torus place of the plane's first unit; both are 4 modulo 8.
        n_tones: the prefix of the pilot.
        pilot_ratio: root mean square of the pilot, of the mask.
        chip_ratio: DCT coefficient of a chip, of the mask.
        binding: how chips follow the image's content; None where they do not.
    """

    origin: tuple[int, int]
    n_tones: int
    pilot_ratio: float = PILOT_RATIO
    chip_ratio: float = CHIP_RATIO
    binding: BindingClass | None = None

    @property
    def grid_origin(self) -> tuple[int, int]:
        """Place of the first whole block on the torus' grid of blocks."""
        return (self.origin[0] + 4) // BLOCK % GRID, (self.origin[1] + 4) // BLOCK % GRID
