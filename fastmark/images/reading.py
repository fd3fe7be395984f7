"""What the caller names or hands over, read whole: a path, bytes, a file object; what is said if not."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from typing import Any, Protocol, TypeAlias

from PIL import UnidentifiedImageError

from fastmark._checks import MAX_PIXELS_ALONE, check_count
from fastmark.errors import FastmarkError, ImageNotFoundError, InvalidImageError, reason_of
from fastmark.images.formats import (
    KEY_BYTES,
    PREFIX_BYTES,
    format_by_prefix,
    is_key_file,
    junk_before,
    what_else,
)


class Readable(Protocol):
    """A binary file, or whatever reads like one."""

    def read(self, n: int = ..., /) -> bytes:
        """Return the next ``n`` bytes, or all that are left."""


Encoded: TypeAlias = str | bytes | bytearray | memoryview | os.PathLike[str] | os.PathLike[bytes] | Readable
"""An encoded image: the path of its file, its bytes, or an open binary file."""

_START = 4096  # bytes: enough to tell what a file is that is no image


def label_of(image: object) -> str:
    """How error messages name a path, encoded bytes or a file object.

    Raises:
        InvalidImageError: if ``image`` is none of those.
    """
    if isinstance(image, str | os.PathLike):
        text = os.fsdecode(image)
        if is_key_file(text[:KEY_BYTES].encode("utf-8", "replace")):
            raise InvalidImageError(
                "the text of a fastmark key was given instead of an image: name the image"
            )
        if len(text) > 1000:
            text = text[:100] + "..."
        return text if text and text.isprintable() else repr(text)
    if isinstance(image, bytes | bytearray | memoryview):
        return "the image data"
    if callable(getattr(image, "read", None)):
        name = getattr(image, "name", None)
        return name if isinstance(name, str) and name else "the image file"
    raise InvalidImageError(
        "an image is a path, encoded bytes, an open binary file, a Pillow image or a numpy array,"
        f" not {type(image).__name__}"
    )


_BYTES_PER_PIXEL = 8  # 16 bits of red, green, blue and alpha, not compressed
_METADATA_BYTES = 64 << 20


@contextlib.contextmanager
def reading(label: str) -> Iterator[None]:
    """Turn whatever goes wrong while an image is read into InvalidImageError, one line that names it."""
    try:
        yield
    except FastmarkError as error:
        if type(error) is InvalidImageError and label not in str(error):
            raise InvalidImageError(f"{label} cannot be read: {error}") from None
        raise
    except FileNotFoundError:
        hint = ": addresses are not fetched, download it first" if "://" in label else ""
        raise ImageNotFoundError(f"{label}: no such file{hint}") from None
    except UnidentifiedImageError:
        raise InvalidImageError(f"{label} is not an image of a known format") from None
    except MemoryError:
        raise InvalidImageError(
            f"{label} is too large for this machine's memory: look at a smaller copy"
        ) from None
    except OSError as error:
        raise InvalidImageError(f"{label} cannot be read: {reason_of(error)}") from error
    # Decoders given hostile bytes raise anything: SyntaxError, struct.error, IndexError, ...
    except Exception as error:
        raise InvalidImageError(
            f"{label} cannot be read, it is damaged or of an odd kind ({reason_of(error)}):"
            " use an intact copy, or convert it to PNG"
        ) from error


def check_limit(max_pixels: int | None) -> None:
    """Raise ValueError unless ``max_pixels`` is None or an int of at least 1."""
    if max_pixels is not None:
        check_count("max_pixels", max_pixels, 1)


def check_size(width: int, height: int, limit: int, label: str) -> None:
    """Raise InvalidImageError if an image has no pixels, or more than ``limit``."""
    if width < 1 or height < 1:
        raise InvalidImageError(f"{label} has no pixels: {width} x {height}")
    if width * height > limit:
        raise InvalidImageError(f"{label} claims {width} x {height} pixels, more than the limit of {limit}")


def most_bytes(max_pixels: int) -> int:
    """How large a file of ``max_pixels`` can be with any reason; larger ones are not read into memory."""
    return max_pixels * _BYTES_PER_PIXEL + _METADATA_BYTES


def too_large(size: int, limit: int) -> str:
    """The error of a file of more bytes than ``most_bytes``."""
    return f"{size} bytes are more than the {limit} that images of --max-pixels (max_pixels) need"


def read_image(image: Any, label: str, limit: int) -> tuple[str, bytes, int]:
    """The format of an encoded image, its bytes, and how many before its signature were left out.

    Args:
        image: an ``Encoded``.
        label: how errors name it.
        limit: most bytes of files and file objects, see ``most_bytes``.

    Raises:
        ImageNotFoundError: if there is no such file.
        InvalidImageError: if it cannot be read, is too large, or is something else than an image.
    """
    if isinstance(image, str | os.PathLike):
        data = _file(os.fspath(image), label, limit)
    elif isinstance(image, bytes | bytearray | memoryview):
        data = bytes(image)
    else:
        data = _object(image, label, limit)
    if len(data) > limit and not isinstance(image, bytes | bytearray | memoryview):
        raise InvalidImageError(f"{label} is too large: {too_large(len(data), limit)}")
    if not data:
        raise InvalidImageError(f"{label} is empty: 0 bytes")
    name = format_by_prefix(data[:PREFIX_BYTES])
    if name is not None:
        return name, data, 0
    if what := what_else(data[:_START]):
        raise InvalidImageError(f"{label} is {what}")
    if (junk := junk_before(data)) and (name := format_by_prefix(data[junk : junk + PREFIX_BYTES])):
        return name, data[junk:], junk
    raise UnidentifiedImageError


def read_encoded(image: Encoded, max_pixels: int | None = None) -> bytes:
    """The bytes of an encoded image from its signature on, checked as they are before decoding.

    Args:
        image: path, encoded bytes or a binary file.
        max_pixels: bounds the size of files; None for that of a single image.

    Raises:
        ImageNotFoundError, InvalidImageError: as ``read_image``, in one line that names the image.
        ValueError: if ``max_pixels`` is no int of at least 1.
    """
    check_limit(max_pixels)
    label = label_of(image)
    with reading(label):
        return read_image(image, label, most_bytes(max_pixels or MAX_PIXELS_ALONE))[1]


def _file(path: str | bytes, label: str, limit: int) -> bytes:
    """A file's bytes, up to one beyond the limit if it begins like an image, else its first."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123  (a path of bytes, too)
            start = file.read(_START)
            if format_by_prefix(start[:PREFIX_BYTES]) or junk_before(start):
                if file.seekable():  # once more from the start, instead of joining a copy to the rest
                    file.seek(0)
                    return file.read(limit + 1)
                return start + file.read(limit + 1 - len(start))
            return start
    except IsADirectoryError:
        raise _folder(label) from None
    except PermissionError:
        if os.path.isdir(path):  # noqa: PTH112  (what Windows says of folders)
            raise _folder(label) from None
        raise


def _folder(label: str) -> InvalidImageError:
    return InvalidImageError(f"{label} is a folder: use `fastmark scan {label}`, or fastmark.bulk.scan")


def _object(file: Any, label: str, limit: int) -> bytes:
    """All that a file object holds, unless it is too large; its position is put back."""
    if isinstance(file, io.TextIOBase):
        raise _text(label)
    if getattr(file, "closed", False) is True:
        raise InvalidImageError(f"{label} is a closed file: open it again")
    place, size = None, 0
    with contextlib.suppress(Exception):  # a stream that cannot go back is read from where it is
        if file.seekable():
            place = file.tell()
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
    try:
        if isinstance(size, int) and size > limit:
            raise InvalidImageError(f"{label} is too large: {too_large(size, limit)}")
        # NOTE: all at once: of what it is asked for, a raw stream gives what one call of the system gave
        data = file.read()
    finally:
        if place is not None:
            with contextlib.suppress(Exception):
                file.seek(place)
    if isinstance(data, str):
        raise _text(label)
    if hasattr(data, "__await__"):
        if hasattr(data, "close"):
            data.close()  # else Python warns that it was never awaited
        raise InvalidImageError(f"{label} is an asynchronous file: await its read() and pass the bytes")
    if not isinstance(data, bytes | bytearray | memoryview):
        raise InvalidImageError(
            f"{label} gave {type(data).__name__} instead of bytes: pass the bytes themselves"
        )
    return bytes(data)


def _text(label: str) -> InvalidImageError:
    return InvalidImageError(f"{label} is open as text: open it in binary mode, 'rb'")
