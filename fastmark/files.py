"""Pictures out: a Pillow image encoded with its metadata, and put in its place whole or not at all.

| format | endings | grey + alpha, RGBA | 16-bit grey | without loss |
|---|---|---|---|---|
| PNG | png | yes | yes | always |
| TIFF | tif, tiff | yes | yes | always |
| WebP | webp | yes | no | on demand |
| AVIF | avif | yes | no | no |
| JPEG | jpg, jpeg | no | no | no |
| BMP | bmp | no | no | always |
| PPM | ppm, pgm, pnm | no | yes | always |

ICC profile, EXIF, XMP and resolution go into PNG, JPEG, WebP, AVIF and TIFF as far as the format has a
place for them; PNG's text into PNG.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import IO, Any

from PIL import ExifTags, Image, PngImagePlugin

from fastmark.errors import OutputError, one_line, reason_of

SUBSAMPLINGS = ("4:4:4", "4:2:2", "4:2:0")
"""Chroma resolutions that JPEG and AVIF are written in."""

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
}
_BY_ENDING = {ending: name for name, (endings, _) in _WRITES.items() for ending in endings}
_ALIASES = {"JPG": "JPEG", "TIF": "TIFF"}

_DESCRIPTIVE = frozenset(
    {
        ExifTags.Base.ImageDescription,
        ExifTags.Base.Make,
        ExifTags.Base.Model,
        ExifTags.Base.Orientation,
        ExifTags.Base.Software,
        ExifTags.Base.DateTime,
        ExifTags.Base.Artist,
        ExifTags.Base.HostComputer,
        ExifTags.Base.Copyright,
        ExifTags.Base.Rating,
        ExifTags.Base.XPTitle,
        ExifTags.Base.XPComment,
        ExifTags.Base.XPAuthor,
        ExifTags.Base.XPKeywords,
        ExifTags.Base.XPSubject,
        ExifTags.IFD.Exif,
        ExifTags.IFD.GPSInfo,
    }
)


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
    try:
        if target.is_dir():
            raise OutputError(f"{target} is a folder")
        if not target.parent.is_dir():
            raise OutputError(f"{target}: the folder {target.parent} does not exist")
        if not os.access(target.parent, os.W_OK):
            raise OutputError(f"{target}: the folder {target.parent} cannot be written")
        if not overwrite and target.exists():
            raise OutputError(f"{target} exists already")
    except OutputError:
        raise
    except OSError as error:  # a name too long, a folder that may not be looked into
        raise OutputError(f"{target} cannot be written: {error.strerror or error}") from error
    return name


def check_encoding(format_name: str | None, *, quality: int, subsampling: str, lossless: bool) -> str:
    """Pillow's name of a format ("" for None), if options of ``encode_image`` are in range and fit it.

    Raises:
        OutputError: if not.
    """
    name = "" if format_name is None else _ALIASES.get(format_name.upper(), format_name.upper())
    if format_name is not None and name not in _WRITES:
        raise OutputError(f"unknown format {format_name!r}: use one of {', '.join(_WRITES)}")
    if not 1 <= quality <= 100:
        raise OutputError(f"quality must be 1 to 100, not {quality}")
    if subsampling not in SUBSAMPLINGS:
        raise OutputError(f"subsampling must be one of {', '.join(SUBSAMPLINGS)}, not {subsampling}")
    if lossless and name in ("JPEG", "AVIF"):
        raise OutputError(f"{name} cannot be lossless: use png or webp")
    return name


def encode_image(
    image: Image.Image,
    format_name: str,
    *,
    quality: int = 95,
    subsampling: str = "4:4:4",
    lossless: bool = False,
) -> bytes:
    """``image`` as the bytes of a file, its metadata (``image.info``) included.

    Args:
        image: a picture of a mode that the format keeps as it is; nothing is converted.
        format_name: "png", "jpeg" or "jpg", "webp", "avif", "tiff" or "tif", "bmp", "ppm"; any case.
        quality: 1..100, for JPEG, WebP and AVIF.
        subsampling: of ``SUBSAMPLINGS``, for JPEG and AVIF.
        lossless: for WebP.

    Raises:
        OutputError: where format, picture or options do not fit each other, or the encoder fails.
    """
    name = check_encoding(format_name, quality=quality, subsampling=subsampling, lossless=lossless)
    if image.mode not in _WRITES[name][1]:
        what = {"RGBA": "transparency", "LA": "transparency", "I;16": "16 bits"}.get(image.mode, image.mode)
        instead = ", ".join(n.lower() for n, (_, modes) in _WRITES.items() if image.mode in modes)
        raise OutputError(f"{name} cannot keep {what}: use {instead or 'another mode'}")
    options: dict[str, Any] = {}
    if name in ("JPEG", "WEBP", "AVIF"):
        options |= {"quality": quality}
    if name in ("JPEG", "AVIF"):
        options |= {"subsampling": subsampling}
    elif name == "WEBP":
        options |= {"lossless": lossless}
    elif name == "TIFF":
        # not the source's, which may be lossy; and libtiff's compressing writer loses EXIF blocks
        options |= {"compression": "raw"}
    buffer = BytesIO()
    try:
        image.save(buffer, name, **_metadata(image, name), **options)
    except Exception as error:  # encoders raise OSError, ValueError, struct.error, ...
        raise OutputError(f"cannot encode as {name}: {one_line(error)}") from error
    return buffer.getvalue()


def save_image(
    image: Image.Image,
    path: str | os.PathLike[str],
    *,
    quality: int = 95,
    subsampling: str = "4:4:4",
    lossless: bool = False,
    overwrite: bool = True,
) -> None:
    """Encode ``image`` in the format that the ending of ``path`` names, and put it there.

    The file appears whole or not at all; a symbolic link is written through. Options as for
    ``encode_image``.

    Raises:
        OutputError: as ``check_output`` and ``encode_image``, or when the file cannot be written.
    """
    name = check_output(path, overwrite=overwrite)
    data = encode_image(image, name, quality=quality, subsampling=subsampling, lossless=lossless)
    try:
        write_atomically(path, data)
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        raise OutputError(f"{os.fspath(path)} cannot be written: {reason_of(error)}") from error


def write_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Put all of ``data`` at ``path``, or nothing; as :func:`atomic_file`."""
    with atomic_file(path) as file:
        file.write(data)


@contextlib.contextmanager
def atomic_file(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """A file to be written, under a temporary name in the same folder; renamed to ``path`` at the end.

    Whatever happens, an interrupt too, ``path`` holds its old content or all of the new, and the
    temporary file is gone.

    Raises:
        OSError: if the folder or the disk does not allow it.
    """
    target = Path(os.path.realpath(path))
    # not made from the target's name, which may be as long as names can be
    temporary = target.with_name(f"{TEMPORARY[0]}{secrets.token_hex(8)}{TEMPORARY[1]}")
    try:
        with temporary.open("xb") as file:
            yield file
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def descriptive_exif(exif: Image.Exif) -> Image.Exif:
    """A copy of ``exif`` with only the tags that describe the picture.

    A TIFF's other tags tell how its strips are stored, and would be lies in another file.
    """
    copy = Image.Exif()
    copy.load(exif.tobytes())
    for tag in set(copy) - _DESCRIPTIVE:
        del copy[tag]
    return copy


def _metadata(image: Image.Image, format_name: str) -> dict[str, Any]:
    """Pillow's save options that carry ``image.info`` over: most formats keep only what is passed."""
    info = image.info
    options: dict[str, Any] = {}
    if icc := info.get("icc_profile"):
        options["icc_profile"] = icc
    with contextlib.suppress(TypeError, ValueError, ZeroDivisionError):
        dpi = tuple(float(value) for value in info["dpi"]) if "dpi" in info else ()
        if len(dpi) == 2 and all(0 < value < 65535 for value in dpi):
            options["dpi"] = dpi
    exif = Image.Exif()
    with contextlib.suppress(Exception):  # damaged EXIF is left out
        exif = image.getexif() if "exif" in info else descriptive_exif(image.getexif())
        if len(exif):
            # the stored bytes where there are any: writing EXIF anew breaks makers' private notes
            stored = info.get("exif") or exif.tobytes()
            options["exif"] = stored if stored.startswith(b"Exif\0\0") else b"Exif\0\0" + stored
    xmp = info.get("xmp") or info.get("XML:com.adobe.xmp")
    xmp = xmp.encode() if isinstance(xmp, str) else xmp
    if format_name == "PNG":
        options["pnginfo"] = _png_info(info, xmp)
    elif format_name == "TIFF":
        exif = descriptive_exif(exif)
        if xmp:
            exif[ExifTags.Base.XMLPacket] = xmp
        options["exif"] = exif
    elif xmp:
        options["xmp"] = xmp
    return options


def _png_info(info: dict[str | tuple[int, int], Any], xmp: bytes | None) -> PngImagePlugin.PngInfo:
    """PNG's text chunks (prompts of image generators live there), XMP, and how to read its colours."""
    chunks = PngImagePlugin.PngInfo()
    if "icc_profile" not in info:
        if isinstance(info.get("gamma"), float):
            chunks.add(b"gAMA", round(info["gamma"] * 100_000).to_bytes(4, "big"))
        if info.get("srgb") in range(4):
            chunks.add(b"sRGB", bytes([info["srgb"]]))
    # EXIF in text form goes to its own chunk, as does XMP; "compression" is a TIFF's
    elsewhere = ("Raw profile type exif", "XML:com.adobe.xmp", "compression")
    for key, value in info.items():
        if isinstance(key, str) and isinstance(value, str) and key not in elsewhere:
            with contextlib.suppress(UnicodeError):  # PNG has no room for keys beyond Latin-1
                chunks.add_text(key, value)
    if xmp:
        chunks.add_itxt("XML:com.adobe.xmp", xmp.decode("utf-8", "replace"))
    return chunks
