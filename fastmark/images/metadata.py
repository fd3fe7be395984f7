"""Metadata on the way out: what of ``Image.info`` a format has room for, and what it loses."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from PIL import ExifTags, Image, PngImagePlugin

from fastmark.images import png
from fastmark.images.boxes import CICP

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
# EXIF in text form goes to its own chunk, as does XMP; "compression" is a TIFF's
_NO_TEXT = ("Raw profile type exif", "Raw profile type APP1", "XML:com.adobe.xmp", "compression")
_NO_ICC, _NO_EXIF = ("BMP", "PPM", "JXL"), ("BMP", "PPM")
_JPEG_SEGMENT = {"exif": 65533, "xmp": 65504}  # bytes that JPEG has room for
_SRGB_CICP = ((1, 13), (2, 2), (1, 2), (1, 1), (1, 6), (6, 6))


def descriptive_exif(exif: Image.Exif) -> Image.Exif:
    """A copy of ``exif`` with only the tags that describe the image.

    A TIFF's other tags tell how its strips are stored, and would be lies in another file.
    """
    copy = Image.Exif()
    copy.load(exif.tobytes())
    for tag in set(copy) - _DESCRIPTIVE:
        del copy[tag]
    return copy


def save_options(image: Image.Image, format_name: str) -> dict[str, Any]:
    """Pillow's save options that carry ``image.info`` over: most formats keep only what is passed.

    Args:
        image: the image.
        format_name: Pillow's name of the format.
    """
    info = image.info
    options: dict[str, Any] = {}
    if icc := info.get("icc_profile"):
        options["icc_profile"] = icc
    with contextlib.suppress(TypeError, ValueError, ZeroDivisionError):
        dpi = tuple(float(value) for value in info["dpi"]) if "dpi" in info else ()
        if len(dpi) == 2 and all(0 < value < 65535 for value in dpi):
            options["dpi"] = dpi
    exif, stored = _exif(image)
    if stored and (format_name != "JPEG" or len(stored) <= _JPEG_SEGMENT["exif"]):
        options["exif"] = stored
    xmp = _xmp(info)
    if format_name == "PNG":
        options["pnginfo"] = _png_info(info, xmp)
    elif format_name == "TIFF":
        exif = descriptive_exif(exif)
        if xmp:
            exif[ExifTags.Base.XMLPacket] = xmp
        options["exif"] = exif
    elif xmp and (format_name != "JPEG" or len(xmp) <= _JPEG_SEGMENT["xmp"]):
        options["xmp"] = xmp
    return options


def colour_chunks(image: Image.Image) -> list[tuple[bytes, bytes]]:
    """PNG's chunks (kind, content) that describe the colours of ``image``, besides its ICC profile.

    Those of the PNG file that it came from, as they were; else what Pillow or a file of boxes told.
    """
    info = image.info
    chunks = dict(info.get(png.CHUNKS, ()))
    if not chunks:
        with contextlib.suppress(TypeError, ValueError, OverflowError):
            if isinstance(info.get("gamma"), float):
                chunks[b"gAMA"] = round(info["gamma"] * 100_000).to_bytes(4, "big")
            if len(info.get("chromaticity", ())) == 8:
                chunks[b"cHRM"] = b"".join(
                    round(v * 100_000).to_bytes(4, "big") for v in info["chromaticity"]
                )
            if info.get("srgb") in range(4):
                chunks[b"sRGB"] = bytes([info["srgb"]])
            if _has_cicp(info):
                chunks[b"cICP"] = bytes([*info[CICP][:2], 0, 1])
    if info.get("icc_profile"):
        chunks.pop(b"sRGB", None)  # there must be one of the two
    bits = 16 if image.mode.startswith("I") else 8
    significant = chunks.get(b"sBIT", b"")
    if len(significant) != len(image.getbands()) or not all(1 <= value <= bits for value in significant):
        chunks.pop(b"sBIT", None)
    return list(chunks.items())


def losses(image: Image.Image, format_name: str) -> tuple[str, ...]:
    """What ``image`` has that a file of a format has no room for.

    Args:
        image: an image, by its ``info``.
        format_name: of the format, any case; "jpg" and "tif" too.

    Returns:
        One sentence for each kind of thing that is lost; none as a rule.
    """
    name = {"JPG": "JPEG", "TIF": "TIFF", "HEIC": "HEIF"}.get(format_name.upper(), format_name.upper())
    return tuple(
        f"{what} had no place in the {name} file and {'were' if many else 'was'} left out"
        for what, many in _lost(image, name)
    )


def _lost(image: Image.Image, name: str) -> Iterator[tuple[str, bool]]:
    """What is lost, and whether it is plural."""
    info = image.info
    if info.get("icc_profile") and name in _NO_ICC:
        yield "the ICC profile (how colours are meant)", False
    if name != "PNG" and (told := _colour_description(info, name)):
        yield f"the description of the colours ({', '.join(told)})", False
    _, exif = _exif(image)
    if exif and (name in _NO_EXIF or (name == "JPEG" and len(exif) > _JPEG_SEGMENT["exif"])):
        yield "the EXIF", False
    xmp = _xmp(info)
    if xmp and (name in _NO_EXIF or (name == "JPEG" and len(xmp) > _JPEG_SEGMENT["xmp"])):
        yield "the XMP", False
    if name != "PNG" and (texts := [key for key, _ in _texts(info)]):
        yield f"the PNG text ({', '.join(texts[:4])}{', ...' if len(texts) > 4 else ''})", False


def _colour_description(info: dict[Any, Any], name: str) -> list[str]:
    """What describes the colours otherwise than as sRGB, besides an ICC profile."""
    chunks = dict(info.get(png.CHUNKS, ()))
    told = [kind.decode() for kind in (b"cICP", b"mDCV", b"cLLI") if kind in chunks]
    plain = info.get("icc_profile") or b"sRGB" in chunks or info.get("srgb") in range(4)
    if not plain:
        told += ["gamma"] if b"gAMA" in chunks or "gamma" in info else []
        told += ["cHRM"] if b"cHRM" in chunks or "chromaticity" in info else []
    if not told and name != "HEIF" and _has_cicp(info) and not info.get("icc_profile"):
        told.append("CICP {}/{}".format(*info[CICP]))
    return told


def _has_cicp(info: dict[Any, Any]) -> bool:
    """Whether a file of boxes told colours that are not the usual ones."""
    return (
        CICP in info and tuple(info[CICP][:2]) not in _SRGB_CICP and all(0 < v < 256 for v in info[CICP][:2])
    )


def _exif(image: Image.Image) -> tuple[Image.Exif, bytes]:
    """The EXIF, parsed and as bytes with their name before them; empty where it is damaged."""
    info = image.info
    with contextlib.suppress(Exception):
        exif = image.getexif() if "exif" in info else descriptive_exif(image.getexif())
        if len(exif):
            # the stored bytes where there are any: writing EXIF anew breaks makers' private notes
            stored: bytes = info.get("exif") or exif.tobytes()
            return exif, stored if stored.startswith(b"Exif\0\0") else b"Exif\0\0" + stored
    return Image.Exif(), b""


def _xmp(info: dict[Any, Any]) -> bytes | None:
    xmp = info.get("xmp") or info.get("XML:com.adobe.xmp")
    return xmp.encode() if isinstance(xmp, str) else xmp


def _texts(info: dict[Any, Any]) -> Iterator[tuple[str, str]]:
    """What goes into PNG's text chunks: prompts of image generators live there."""
    for key, value in info.items():
        if isinstance(key, str) and isinstance(value, str) and key not in _NO_TEXT:
            yield key, value


def _png_info(info: dict[Any, Any], xmp: bytes | None) -> PngImagePlugin.PngInfo:
    """PNG's text chunks, and XMP, which is one of them."""
    chunks = PngImagePlugin.PngInfo()
    for key, value in _texts(info):
        with contextlib.suppress(UnicodeError):  # PNG has no room for keys beyond Latin-1
            chunks.add_text(key, value)
    if xmp:
        chunks.add_itxt("XML:com.adobe.xmp", xmp.decode("utf-8", "replace"))
    return chunks
