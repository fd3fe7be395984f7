"""Images out: a Pillow image encoded with its metadata, and put in its place whole or not at all.

| format | endings | grey + alpha, RGBA | 16-bit grey | without loss |
|---|---|---|---|---|
| PNG | png | yes | yes | always |
| TIFF | tif, tiff | yes | yes | always |
| WebP | webp | yes | no | on demand |
| AVIF | avif | yes | no | no |
| JPEG | jpg, jpeg | no | no | no |
| BMP | bmp | no | no | always |
| PPM | ppm, pgm, pnm | no | yes | always |
| HEIF (with the extra ``formats``) | heic, heif, hif | RGBA | no | no |
| JPEG XL (with the extra ``formats``) | jxl | yes | yes | on demand |

ICC profile, EXIF, XMP and resolution go into PNG, JPEG, WebP, AVIF, TIFF, HEIF and JPEG XL as far as the
format has a place for them (JPEG XL's plugin has none for ICC profiles); PNG's text and description of
colours into PNG. ``losses`` tells what does not.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from io import BytesIO
from numbers import Integral
from pathlib import Path
from typing import IO, Any

from PIL import Image

from fastmark.errors import OutputError, UnsupportedImageError, one_line, reason_of
from fastmark.images import png
from fastmark.images.formats import check_plugin, register_plugin
from fastmark.images.metadata import colour_chunks, descriptive_exif, losses, save_options

__all__ = [
    "SUBSAMPLINGS",
    "TEMPORARY",
    "atomic_file",
    "check_encoding",
    "check_output",
    "descriptive_exif",
    "encode_image",
    "fitting",
    "format_by_ending",
    "losses",
    "write_atomically",
    "write_output",
]

SUBSAMPLINGS = ("4:4:4", "4:2:2", "4:2:0")
"""Chroma resolutions that JPEG, AVIF and HEIF are written in."""

TEMPORARY = (".fastmark-", ".tmp")
"""How the names of unfinished files begin and end."""

# format: (endings, modes that it stores as they are)
_WRITES: dict[str, tuple[tuple[str, ...], frozenset[str]]] = {
    "PNG": ((".png",), frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "I;16"})),
    "JPEG": ((".jpg", ".jpeg"), frozenset({"L", "RGB", "YCbCr", "CMYK"})),
    "WEBP": ((".webp",), frozenset({"L", "LA", "RGB", "RGBA"})),
    "AVIF": ((".avif",), frozenset({"L", "LA", "RGB", "RGBA"})),
    "TIFF": ((".tif", ".tiff"), frozenset({"1", "L", "LA", "RGB", "RGBA", "I;16", "CMYK"})),
    "BMP": ((".bmp",), frozenset({"1", "L", "P", "RGB"})),
    "PPM": ((".ppm", ".pgm", ".pnm"), frozenset({"1", "L", "RGB", "I;16"})),
    "HEIF": ((".heic", ".heif", ".hif"), frozenset({"L", "RGB", "RGBA"})),
    "JXL": ((".jxl",), frozenset({"L", "LA", "RGB", "RGBA", "I;16"})),
}
_BY_ENDING = {ending: name for name, (endings, _) in _WRITES.items() for ending in endings}
_ALIASES = {
    "JPG": "JPEG",
    "TIF": "TIFF",
    "HEIC": "HEIF",
    "HIF": "HEIF",
    "JPEGXL": "JXL",
    "PGM": "PPM",
    "PNM": "PPM",
}
_REPLACED = "name another file, or replace it with --force"
_CALLED = {"WEBP": "WebP", "HEIF": "HEIC", "JXL": "JPEG XL"}  # else as Pillow does
DEFAULTS: dict[str, Any] = {"quality": 95, "subsampling": "4:4:4", "lossless": False}
"""Of the options of encoding, where they are None."""
# which formats an option means something for
_FITS = {
    "quality": ("JPEG", "WEBP", "AVIF", "HEIF", "JXL"),
    "subsampling": ("JPEG", "AVIF", "HEIF"),
    "lossless": ("WEBP", "JXL"),
}


def format_by_ending(path: str | os.PathLike[str]) -> str | None:
    """Pillow's name of the format that the ending of ``path`` names; None if it is none that is written."""
    return _BY_ENDING.get(Path(path).suffix.lower())


def check_output(path: str | os.PathLike[str], *, overwrite: bool = True) -> str:
    """Pillow's name of the format that ``path`` will be written in, told by its ending ("PNG", "JPEG", ...).

    Nothing is written: this is for finding out before the work is done.

    Raises:
        OutputError: for an unknown ending, a folder that is missing or cannot be written, a folder in
            the file's place, or a file that exists where ``overwrite`` is false.
    """
    target = Path(path)
    name = format_by_ending(target)
    if name is None:
        raise OutputError(f"{target}: unknown format {target.suffix!r}: use one of {', '.join(_BY_ENDING)}")
    _name_of(name)
    try:
        if target.is_dir():
            raise OutputError(f"{target} is a folder: name a file in it")
        if not target.parent.is_dir():
            raise OutputError(
                f"{target}: the folder {target.parent} does not exist: make it first, or name another"
            )
        if not os.access(target.parent, os.W_OK):
            raise OutputError(f"{target}: the folder {target.parent} cannot be written")
        if not overwrite and target.exists():
            raise OutputError(f"{target} exists already: {_REPLACED}")
    except OutputError:
        raise
    except OSError as error:  # a name too long, a folder that may not be looked into
        raise OutputError(f"{target} cannot be written: {error.strerror or error}") from error
    return name


def check_encoding(
    format_name: str | None,
    *,
    quality: int | None = None,
    subsampling: str | None = None,
    lossless: bool | None = None,
) -> str:
    """Pillow's name of a format ("" for None), if options of ``encode_image`` are in range and fit it.

    Args:
        format_name: as for ``encode_image``; None where every image's own format is meant: then it is the
            ranges only that are looked at.
        quality: as for ``encode_image``; None is the default, and fits every format.
        subsampling: as ``quality``.
        lossless: as ``quality``; False fits every format, too.

    Raises:
        OutputError: if not.
    """
    name = "" if format_name is None else _name_of(format_name)
    if quality is not None:
        whole = isinstance(quality, Integral) and not isinstance(quality, bool)
        if not whole or not 1 <= quality <= 100:
            raise OutputError(f"quality must be a whole number of 1 to 100, not {quality!r}")
    if subsampling is not None and subsampling not in SUBSAMPLINGS:
        raise OutputError(f"subsampling must be one of {', '.join(SUBSAMPLINGS)}, not {subsampling}")
    if lossless is not None and lossless not in (True, False):
        raise OutputError(f"lossless must be True or False, not {lossless!r}")
    given = {"quality": quality, "subsampling": subsampling, "lossless": lossless or None}
    for option, value in given.items():
        if name and value is not None and name not in _FITS[option]:
            called = _CALLED.get(name, name)
            if option == "lossless":
                if name in ("JPEG", "AVIF", "HEIF"):
                    raise OutputError(f"{called} cannot be lossless: use png, webp or jxl")
                why = "which is always without loss"
            else:
                why = f"it goes with {', '.join(_CALLED.get(fit, fit) for fit in _FITS[option])}"
            raise OutputError(f"{option} has no effect on {called}, {why}: leave it out")
    return name


def fitting(format_name: str, options: dict[str, Any]) -> dict[str, Any]:
    """Those of ``options`` of ``encode_image`` that mean something for a format.

    Args:
        format_name: as for ``encode_image``; of one that is not written, all options go.
        options: by name: "quality", "subsampling", "lossless"; others are kept.
    """
    name = _ALIASES.get(format_name.upper(), format_name.upper())
    return {key: value for key, value in options.items() if key not in _FITS or name in _FITS[key]}


def encode_image(
    image: Image.Image,
    format_name: str,
    *,
    quality: int | None = None,
    subsampling: str | None = None,
    lossless: bool | None = None,
    compress_level: int | None = None,
) -> bytes:
    """``image`` as the bytes of a file, its metadata (``image.info``) included.

    Args:
        image: an image of a mode that the format keeps as it is; nothing is converted.
        format_name: "png", "jpeg" or "jpg", "webp", "avif", "tiff" or "tif", "bmp", "ppm", "heif" or "heic",
            "jxl"; any case.
        quality: 1..100, for JPEG, WebP, AVIF, HEIF and JPEG XL; None is 95.
        subsampling: of ``SUBSAMPLINGS``, for JPEG, AVIF and HEIF; None is 4:4:4.
        lossless: for WebP and JPEG XL; None is False.
        compress_level: for PNG, 0..9, of zlib; None is Pillow's choice, 6.

    Raises:
        OutputError: where format, image or options do not fit each other, an option is given that has no
            effect on the format, a package is missing, or the encoder fails.
    """
    name = check_encoding(format_name, quality=quality, subsampling=subsampling, lossless=lossless)
    if image.mode not in _WRITES[name][1]:
        what = {"RGBA": "transparency", "LA": "transparency", "I;16": "16 bits"}.get(image.mode, image.mode)
        instead = ", ".join(n.lower() for n, (_, modes) in _WRITES.items() if image.mode in modes)
        raise OutputError(f"{name} cannot keep {what}: use {instead or 'another mode'}")
    given = {"quality": quality, "subsampling": subsampling, "lossless": lossless}
    chosen = {key: DEFAULTS[key] if value is None else value for key, value in given.items()}
    options = fitting(name, chosen | {"quality": int(chosen["quality"])})
    if compress_level is not None:
        if name != "PNG" or compress_level not in range(10):
            raise OutputError(f"compress_level is 0 to 9, of PNG, not {compress_level!r} of {name}")
        options["compress_level"] = compress_level
    if name == "TIFF":
        # not the source's, which may be lossy; and libtiff's compressing writer loses EXIF blocks
        options["compression"] = "raw"
    elif name == "JXL":
        options["lossless_jpeg"] = False  # the pixels, not the file that an image was once read from
    if name in ("HEIF", "JXL"):
        try:
            register_plugin(name, "the output")
        except UnsupportedImageError as error:
            raise OutputError(str(error)) from None
    buffer = BytesIO()
    try:
        image.save(buffer, name, **save_options(image, name), **options)
    except Exception as error:  # encoders raise OSError, ValueError, struct.error, ...
        raise OutputError(f"cannot encode as {name}: {one_line(error)}") from error
    data = buffer.getvalue()
    if name == "PNG" and (chunks := colour_chunks(image)):
        return png.insert(data, chunks)
    return data


def _name_of(format_name: str) -> str:
    name = _ALIASES.get(format_name.upper(), format_name.upper())
    if name not in _WRITES:
        raise OutputError(f"unknown format {format_name!r}: use one of {', '.join(_WRITES)}")
    try:
        check_plugin(name, "the output")
    except UnsupportedImageError as error:
        raise OutputError(str(error)) from None
    return name


def write_output(path: str | os.PathLike[str], data: bytes, *, overwrite: bool = True) -> None:
    """Put all of ``data`` at ``path``, or nothing; as ``atomic_file``.

    Args:
        path: where to; a symbolic link is written through.
        data: the whole file.
        overwrite: whether a file that is there may be replaced.

    Raises:
        OutputError: if there is one that may not, or the file cannot be written.
    """
    try:
        if not overwrite and os.path.lexists(path):
            raise OutputError(f"{os.fspath(path)} exists already: {_REPLACED}")
        write_atomically(path, data)
    except OutputError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        raise OutputError(f"{os.fspath(path)} cannot be written: {reason_of(error)}") from error


def write_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Put all of ``data`` at ``path``, or nothing; as :func:`atomic_file`."""
    with atomic_file(path) as file:
        file.write(data)


@contextlib.contextmanager
def atomic_file(path: str | os.PathLike[str], mode: int | None = None) -> Iterator[IO[bytes]]:
    """A file to be written, under a temporary name in the same folder; renamed to ``path`` at the end.

    ``mode``: who may read and write it, from its creation on; None for whom the process's mask allows it.

    Whatever happens, an interrupt too, ``path`` holds its old content or all of the new, and the
    temporary file is gone.

    Raises:
        OSError: if the folder or the disk does not allow it.
    """
    target = Path(os.path.realpath(path))
    # not made from the target's name, which may be as long as names can be
    temporary = target.with_name(f"{TEMPORARY[0]}{secrets.token_hex(8)}{TEMPORARY[1]}")
    try:
        with temporary.open("xb") if mode is None else _created(temporary, mode) as file:
            yield file
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _created(path: Path, mode: int) -> IO[bytes]:
    return open(path, "xb", opener=lambda name, flags: os.open(name, flags, mode))
