"""Damaged files: the rows of pixels that are what they were."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fastmark.errors import InvalidImageError, reason_of
from fastmark.images import jpeg

if TYPE_CHECKING:
    from fastmark.images.decoding import Opened

_MISSING = 128

MIN_ROWS = 48
"""Fewer intact rows than that are not worth a look, unless there are no more."""


def intact_part(opened: Opened, error: Exception) -> Image.Image:
    """What is left of an image of a format that is decoded row by row; ``opened.remarks`` tells.

    Args:
        opened: a file that could be opened and not decoded.
        error: what the decoder said.

    Raises:
        InvalidImageError: if fewer than ``MIN_ROWS`` rows are left.
    """
    how = "cut short" if "truncat" in str(error) else "damaged"
    data = opened.findings.data
    if opened.name == "JPEG" and jpeg.is_progressive(data):
        image = opened.decoder_for(jpeg.completed(data))
        image.draft("L", image.size)
        image.load()
        first, last = 0, _end_of_image(np.asarray(image))
        if last == image.height:
            opened.remarks.append(f"the file is {how}: it was looked at in the detail that arrived")
            return image  # type: ignore[no-any-return]
    elif opened.name == "JPEG" and (whole := _all_but_the_end(opened, data)) is not None:
        opened.remarks.append(f"the file is {how} behind its last row of pixels")
        return whole
    else:
        # What no decoder has written to differs between canvases of different colours.
        image, other = (_part(opened, data, level) for level in (0, 1))
        first, last = _intact_rows(np.asarray(image), np.asarray(other))
    height = image.height
    if last - first < min(MIN_ROWS, height):
        raise InvalidImageError(
            f"{opened.label} cannot be read, it is {how} ({reason_of(error)}):"
            f" {last - first} of {height} rows are intact, too few for a look"
        ) from error
    if (first, last) == (0, height):
        opened.remarks.append(f"the file is {how} behind its last row of pixels")
        return image  # type: ignore[no-any-return]
    where = "upper" if first == 0 else "lower" if last == height else "middle"
    opened.remarks.append(f"the file is {how}: the {where} {last - first} of {height} rows were looked at")
    info = image.info
    part: Image.Image = image.crop((0, first, image.width, last))
    part.info = info
    return part


def _part(opened: Opened, data: bytes, level: int) -> Any:
    """What is decoded onto a black (0) or white (1) canvas before the decoder gives up."""
    decoder = opened.decoder_for(data)
    if opened.name == "GIF":
        decoder._frame_transparency = None  # would paint the canvas
    decoder.draft("L", decoder.size)
    white = 65535 if decoder.mode.startswith("I") else 255
    size = getattr(decoder, "_tile_size", decoder.size)
    bands = len(decoder.getbands())
    decoder.im = Image.new(decoder.mode, size, level * white if bands == 1 else (level * white,) * bands).im
    try:
        decoder.load()
    except MemoryError:
        raise
    except Exception:
        decoder.tile = []
        decoder._size = decoder.im.size  # of a TIFF that the decoder had yet to turn
    return decoder


def _all_but_the_end(opened: Opened, data: bytes) -> Image.Image | None:
    """A JPEG whose pixels are all there, but not what marks their end; None where they are not."""
    image: Image.Image = opened.decoder_for(jpeg.completed(data))
    image.draft("L", image.size)
    image.load()
    # what is missing is grey
    last = np.asarray(image)[-1:, -8:]
    return None if image.mode != "L" or (last == _MISSING).all() else image


def _intact_rows(first: NDArray[Any], second: NDArray[Any]) -> tuple[int, int]:
    """The longest run of rows that are alike in both."""
    same = (first == second).reshape(first.shape[0], -1).all(axis=1)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], same, [False]]).astype(np.int8)))
    if not len(edges):
        return 0, 0
    longest = int(np.argmax(edges[1::2] - edges[::2]))
    return int(edges[2 * longest]), int(edges[2 * longest + 1])


def _end_of_image(pixels: NDArray[Any]) -> int:
    """How many rows come before those at the bottom that are flat as only missing data make them."""
    rows = pixels.reshape(pixels.shape[0], -1)
    flat = (rows == rows[-1, -1]).all(axis=1)
    return 0 if flat.all() else int(len(rows) - np.argmin(flat[::-1]))
