"""One image of an answer: taken out of its base64, watermarked, and put back in the format that it had."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from fastmark._checks import message_bytes
from fastmark.errors import InvalidImageError, UnsupportedImageError
from fastmark.images.encoding import check_encoding, fitting
from fastmark.images.formats import PREFIX_BYTES, format_by_prefix
from fastmark.integrations.answering.scanning import decode_base64, split_data_url
from fastmark.warming import drawn_image

if TYPE_CHECKING:
    from fastmark.delivery import Delivery

Message: TypeAlias = "int | bytes | str"
MessageSource: TypeAlias = "Message | Callable[[], Message] | None"

PNG_LEVEL = 3
"""Of zlib: 0.26 to 0.45 of the time of Pillow's 6, files of 0.77 to 1.03 (benchmarks/proxy.py, levels)."""

_UNWRITTEN = ("GIF", "JPEG2000", "QOI")


@dataclass(frozen=True, slots=True)
class Done:
    """A watermarked image.

    Attributes:
        data: its file, or the text that holds it.
        state: "marked", or "kept" where it was left as it was for a watermark that it had.
        message: in hex; None where an earlier one was kept that is not readable.
        key_id: of the key.
        warnings: of what the file could not keep.
    """

    data: Any = field(repr=False)
    state: str
    message: str | None
    key_id: str
    warnings: tuple[str, ...] = ()


class Marking:
    """Watermarks images for one server; made once per process, and used by many threads."""

    def __init__(self, delivery: Delivery, message: MessageSource, quality: int | None = None) -> None:
        """Prepare it.

        Args:
            delivery: by which images are watermarked.
            message: of all images; a function is called for each one. None where the registry draws them.
            quality: of JPEG, WebP, AVIF, HEIF and JPEG XL; None is 95. What came without loss leaves so.
        """
        self._delivery, self._message, self._quality = delivery, message, quality

    def text(self, text: str) -> Done:
        """Watermark an image in base64 or a data URL; the result's ``data`` is such a text.

        Raises:
            InvalidImageError: if it is not base64.
            FastmarkError: as :meth:`file`.
        """
        try:
            head, inside = split_data_url(text)
            data = decode_base64(inside)
        except ValueError as error:
            raise InvalidImageError(f"the image cannot be read: {error}") from None
        done = self.file(data)
        encode = base64.urlsafe_b64encode if "-" in inside or "_" in inside else base64.b64encode
        return Done(head + encode(done.data).decode(), done.state, done.message, done.key_id, done.warnings)

    def file(self, data: bytes) -> Done:
        """Watermark an encoded image, in its own format.

        Raises:
            InvalidImageError: if it is no image, or one of a format that cannot be written.
            FastmarkError: as ``Delivery.deliver``.
        """
        delivery = self._delivery
        name = format_by_prefix(data[:PREFIX_BYTES])
        if name is None:
            raise InvalidImageError("it is no image of a kind that is known")
        if name in _UNWRITTEN:
            raise UnsupportedImageError(f"it is {name}, which cannot be written: have the server answer PNG")
        name = check_encoding(name)
        delivery.companions.check_format(name)
        options: dict[str, Any] = {"lossless": True} if is_lossless_webp(data) else {"quality": self._quality}
        if name == "PNG":
            options["compress_level"] = PNG_LEVEL
        message = self._message() if callable(self._message) else self._message
        if message is not None:
            message = message_bytes(message, delivery.marker.message_bits)
        done = delivery.deliver(data, message, name, fitting(name, options))
        state = "kept" if done.kept else "marked"
        said = None if done.message is None else done.message.hex()
        return Done(done.data, state, said, delivery.marker.key.id, done.report.warnings)

    def warm(self) -> None:
        """Watermark a small image, so that no caller waits for kernels to be compiled or loaded."""
        self._delivery.marker.embed(drawn_image(384, 512), 0)


def is_lossless_webp(data: bytes) -> bool:
    """Whether a file is a WebP without loss: its first chunk of an image is VP8L."""
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP":
        return False
    at = 12
    while at + 8 <= len(data):
        kind, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if kind in (b"VP8L", b"VP8 "):
            return kind == b"VP8L"
        at += 8 + size + size % 2
    return False
