"""TIFF samples that Pillow has no mode for: floats of 16 and 64 bits, colour of 32, deep grey with alpha."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmark.errors import UnsupportedImageError
from fastmark.images.ifd import Directory, directory, numbers_of, order_of
from fastmark.images.modes import LUMA, scaled_to_white
from fastmark.images.reading import check_size

_NUMPY = {1: "u", 2: "i", 3: "f"}
_PACKED = (8, 32946)  # deflate
_TURNS: dict[int, Any] = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}


def luma_of_samples(data: bytes, limit: int, label: str) -> NDArray[np.float32]:
    """Luma on 0..255, float32 HxW, upright, of the first page of a classic TIFF.

    Args:
        data: the file; its samples are not packed, or by deflate.
        limit: the most pixels.
        label: how errors name it.

    Raises:
        UnsupportedImageError: if they are of yet another kind.
        InvalidImageError: if there are too many pixels, or levels are not finite.
        ValueError, struct.error, zlib.error: if the file is damaged.
    """
    order = order_of(data)
    (place,) = struct.unpack_from(order + "L", data, 4)
    page = _Page(data, directory(data, place, order), order)
    check_size(page.width, page.height, limit, label)
    if not page.is_known():
        raise UnsupportedImageError(
            f"{label} is TIFF whose samples cannot be read: convert it to 8 or 16 bits"
        )
    kind = next(iter(page.formats)), next(iter(page.bits))
    white = {(1, 8): 255.0, (1, 16): 65535.0}.get(kind)
    levels = scaled_to_white(page.levels(), white, label)
    if page.value(262, 1) == 0:
        levels = np.float32(255) - levels
    grey = levels @ LUMA if levels.shape[2] == 3 else levels[..., 0]
    return np.ascontiguousarray(_TURNS.get(page.value(274, 1), lambda a: a)(grey))


class _Page:
    """A page's tags, and its samples."""

    def __init__(self, data: bytes, page: Directory, order: str) -> None:
        self.data, self.order = data, order
        self.tags = {entry.tag: entry for entry in page.entries}
        self.width, self.height = self.value(256, 0), self.value(257, 0)
        self.count = self.value(277, 1)
        self.bits = set(self.all(258) or (1,))
        self.formats = set(self.all(339) or (1,))

    def all(self, tag: int) -> tuple[int, ...]:
        """A tag's values; none where it is missing."""
        return numbers_of(self.data, self.tags[tag], self.order) if tag in self.tags else ()

    def value(self, tag: int, default: int) -> int:
        """A tag's first value."""
        values = self.all(tag)
        return values[0] if values else default

    def is_known(self) -> bool:
        """Whether the samples are of a kind that is read here."""
        kind = next(iter(self.formats)), next(iter(self.bits))
        depths = (16, 32, 64) if kind[0] == 3 else (8, 16, 32)
        return (
            len(self.formats) == len(self.bits) == 1
            and kind[0] in _NUMPY
            and kind[1] in depths
            and self.value(262, 1) in (0, 1, 2)
            and self.value(259, 1) in (1, *_PACKED)
            and self.value(317, 1) in (1, 2, 3)
            and self.value(266, 1) == 1
            and 1 <= self.count <= 16
        )

    def levels(self) -> NDArray[Any]:
        """The samples of the colours, HxWx1 or HxWx3, in native byte order."""
        planar = self.value(284, 1) == 2 and self.count > 1
        across = self.value(322, 0) or self.width
        down = self.value(323, 0) or min(self.value(278, self.height), self.height)
        places, sizes = (self.all(324), self.all(325)) if 324 in self.tags else (self.all(273), self.all(279))
        each = 1 if planar else self.count
        columns, rows = -(-self.width // across), -(-self.height // down)
        dtype = np.dtype(f"{self.order}{_NUMPY[next(iter(self.formats))]}{next(iter(self.bits)) // 8}")
        out = np.zeros((rows * down, columns * across, self.count), dtype.newbyteorder("="))
        for index, (place, size) in enumerate(zip(places, sizes, strict=True)):
            band, rest = divmod(index, rows * columns)
            y, x = (n * m for n, m in zip(divmod(rest, columns), (down, across), strict=True))
            tall = down if 322 in self.tags else min(down, self.height - y)
            block = self._block(self.data[place : place + size], (tall, across, each), dtype)
            out[y : y + tall, x : x + across, band if planar else slice(None)] = (
                block[..., 0] if planar else block
            )
        colours = 3 if self.value(262, 1) == 2 and self.count >= 3 else 1
        out = out[: self.height, : self.width]
        if self.value(338, 0) != 1 or self.count <= colours:
            return out[..., :colours]
        # premultiplied
        full = 1.0 if out.dtype.kind == "f" else float(np.iinfo(out.dtype).max)
        alpha = out[..., colours : colours + 1].astype(np.float64) / full
        return np.divide(out[..., :colours], alpha, out=np.zeros((*out.shape[:2], colours)), where=alpha > 0)

    def _block(self, data: bytes, shape: tuple[int, int, int], dtype: np.dtype[Any]) -> NDArray[Any]:
        """One strip or tile."""
        wanted = int(np.prod(shape)) * dtype.itemsize
        if self.value(259, 1) in _PACKED:
            data = zlib.decompressobj().decompress(data, wanted)
        if len(data) < wanted:
            raise ValueError("the samples are cut short")
        predictor = self.value(317, 1)
        if predictor == 3:  # bytes of a row by their weight, each the difference to the one before
            rows = np.frombuffer(data, np.uint8, wanted).reshape(shape[0], -1, shape[2])
            sums = np.cumsum(rows, axis=1, dtype=np.uint8).reshape(shape[0], dtype.itemsize, -1)
            big = np.ascontiguousarray(sums.swapaxes(1, 2)).view(dtype.newbyteorder(">"))
            return big.reshape(shape)
        block = np.frombuffer(data, dtype, wanted // dtype.itemsize).reshape(shape)
        return np.cumsum(block, axis=1, dtype=dtype.newbyteorder("=")) if predictor == 2 else block
