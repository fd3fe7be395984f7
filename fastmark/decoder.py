"""Encoded pictures: what Pillow may decode, how large it may be, and which way is up."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import IO, Any

from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from fastmark.errors import FastmarkError, InvalidImageError, UnsupportedImageError, reason_of

MAX_PIXELS = 500_000_000
"""Largest width x height that is decoded, unless told otherwise."""

# Raster formats with a signature of their own. Pillow can open more, some by running other programs
# (EPS) or by guessing (TGA); somebody who wants those opens them and passes the image.
_READS = ("JPEG", "PNG", "WEBP", "AVIF", "GIF", "TIFF", "BMP", "PPM", "JPEG2000", "QOI", "HEIF")

PREFIX_BYTES = 16
"""How much of a file its signature needs."""


def format_by_prefix(prefix: bytes) -> str | None:
    """Pillow's name of the format of a file that begins with these ``PREFIX_BYTES`` bytes, or None."""
    for register in (Image.preinit, Image.init):  # the common plugins, then all
        register()
        for name in _READS:
            _, accept = Image.OPEN.get(name, (None, None))
            if accept and accept(prefix) is True:
                return name
    return None


def check_still(image: Image.Image, label: str) -> None:
    """Raise unless the picture has pixels and is a single one."""
    if 0 in image.size:
        raise InvalidImageError(f"{label} has no pixels: {image.width} x {image.height}")
    # NOTE: a phone's MPO holds one picture and its helpers (depth, gain map), not an animation.
    if getattr(image, "is_animated", False) and image.format != "MPO":
        raise UnsupportedImageError(f"{label} is animated or has several pages: extract and pass single frames")


def label_of(image: object) -> str:
    """How error messages name a path or encoded bytes."""
    if isinstance(image, str | os.PathLike):
        return os.fsdecode(image)
    if isinstance(image, bytes | bytearray | memoryview):
        return "the image data"
    raise InvalidImageError(
        f"a picture is a path, encoded bytes, a Pillow image or a numpy array, not {type(image).__name__}"
    )


@contextlib.contextmanager
def reading(label: str) -> Iterator[None]:
    """Turn whatever goes wrong while a picture is read into InvalidImageError, one line that names it."""
    try:
        yield
    except FastmarkError:
        raise
    except FileNotFoundError:
        raise InvalidImageError(f"{label}: no such file") from None
    except UnidentifiedImageError:
        raise InvalidImageError(f"{label} is not a picture of a known format") from None
    except MemoryError:
        raise InvalidImageError(f"{label} is too large for this machine's memory") from None
    # Decoders given hostile bytes raise anything: OSError, SyntaxError, struct.error, IndexError, ...
    except Exception as error:
        raise InvalidImageError(f"{label} cannot be read: {reason_of(error)}") from error


@contextlib.contextmanager
def decoder_of(image: Any, label: str, max_pixels: int | None) -> Iterator[Image.Image]:
    """Pillow's decoder of a file or bytes: size checked, nothing decoded yet; file open inside."""
    limit = MAX_PIXELS if max_pixels is None else max_pixels
    with reading(label), contextlib.ExitStack() as stack:
        file: IO[bytes]
        if isinstance(image, str | os.PathLike):
            file = stack.enter_context(Path(image).open("rb"))
            if not file.seekable():  # a pipe
                file = BytesIO(file.read())
        else:
            file = BytesIO(image)
        decoder = _identify(file)
        width, height = decoder.size
        if width * height > limit:
            raise InvalidImageError(f"{label} claims {width} x {height} pixels, more than the limit of {limit}")
        check_still(decoder, label)
        yield decoder


def _identify(file: IO[bytes]) -> Image.Image:
    """``Image.open`` over ``_READS``, without its process-wide limit on pixels.

    That limit can only be moved through a global that other threads of the program rely on, and it
    warns through ``warnings``, which is global as well; ours is an argument.
    """
    prefix = file.read(PREFIX_BYTES)
    tried = set()
    for register in (Image.preinit, Image.init):  # the common plugins, then all
        register()
        for name in _READS:
            if name in tried or name not in Image.OPEN:
                continue
            tried.add(name)
            factory, accept = Image.OPEN[name]
            if accept and accept(prefix) is not True:  # a str says why not
                continue
            file.seek(0)
            with contextlib.suppress(SyntaxError):  # Pillow's word for "another format after all"
                return factory(file, "")
    raise UnidentifiedImageError


def is_upright(image: Image.Image) -> bool:
    """Whether the EXIF of a picture has it stand as it is stored, or cannot be parsed."""
    try:
        return bool(image.getexif().get(ExifTags.Base.Orientation, 1) == 1)
    except Exception:  # any damage to the EXIF: the pixels are fine
        return True


def upright(image: Image.Image) -> Image.Image:
    """``image`` turned by its EXIF orientation; as it is where its EXIF cannot be parsed."""
    if is_upright(image):
        return image
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # any damage to the EXIF: the pixels are fine
        return image
