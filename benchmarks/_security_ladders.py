"""Attacks of `security.py` that cost nothing but quality: JPEG over and over, each time on another grid."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from _pixels import jpeg
from _security_marks import Row, marker_of, message_of, originals, price, seen

SIDE = 512
QUALITIES = tuple(range(95, 0, -5))
AGAIN = (1, 2, 5, 10, 20, 50)  # times at one quality
QUALITY = 75
_SHIFTS = ((1, 3), (3, 2), (1, 2), (2, 3))


def ladders(number: int, paths: Sequence[Path], count: int, **_: int) -> Iterator[Row]:
    """Each quality once; then 95, 90, ... 5 one after the other, and quality 75 many times.

    With shifts, a few rows and columns are cut off before each, so that no two grids are the same.
    """
    name, rgb = originals(paths, count, SIDE)[number]
    marker, message = marker_of("ladders"), message_of(name)
    marked = marker.embed(rgb, message)
    row = {"attack": "ladders", "goal": "remove", "picture": name, "has": "1 marked image"}
    for quality in QUALITIES:
        image = jpeg(marked, quality)
        yield (
            row | {"variant": "once", "number": quality} | seen(marker, image, message) | price(image, marked)
        )
    image = beside = marked
    for step, quality in enumerate(QUALITIES):
        image, beside = jpeg(shifted_by(image, step), quality), shifted_by(beside, step)
        line = row | {"variant": "down the ladder, shifted", "number": quality}
        yield line | seen(marker, image, message) | price(image, beside)
    image = beside = marked
    for times in range(1, max(AGAIN) + 1):
        image, beside = jpeg(shifted_by(image, times), QUALITY), shifted_by(beside, times)
        if times in AGAIN:
            line = row | {"variant": f"quality {QUALITY}, shifted, times", "number": times}
            yield line | seen(marker, image, message) | price(image, beside)


def shifted_by(rgb: np.ndarray, step: int) -> np.ndarray:
    """The image without its first one to three rows and columns."""
    y, x = _SHIFTS[step % len(_SHIFTS)]
    return np.ascontiguousarray(rgb[y:, x:])
