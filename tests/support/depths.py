"""One small drawing in grey of 8 and of 16 bits and in colour, and the plane that is seen of an image."""

from __future__ import annotations

from typing import Any

import numpy as np
from image_files import draw, luma, luma_of

GREY = draw(64, 80, 0)
DEEP = (4600 + GREY.astype(int) * 200).astype(np.uint16)
COLOUR = draw(64, 80)


def plane(image: Any) -> np.ndarray:
    seen = luma_of(image)
    return seen.astype(float) if seen.ndim == 2 else luma(seen)
