"""Formats: known by how a file begins, and what a file is that is none of them."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable
from io import BytesIO
from typing import Any

from PIL import Image

from fastmark.errors import UnsupportedImageError

PREFIX_BYTES = 64
"""How much of a file its signature needs."""

KEY_BYTES = 8192
"""Bytes of a file that are searched for the sign of a key file; that of a detector key is larger."""

_KEY = re.compile(rb'"format"\s*:\s*"fastmark-(?:detector-)?key"')
_BRANDS = {
    b"avif": "AVIF",
    b"avis": "AVIF",
    **dict.fromkeys((b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs"), "HEIF"),
}
# in the order of Pillow's readers; raster formats with a signature of their own only. Pillow can open
# more, some by running other programs (EPS) or by guessing (TGA); somebody who wants those opens them
# and passes the image.
_SIGNATURES = (
    ("JPEG", re.compile(rb"\xff\xd8\xff")),
    ("PNG", re.compile(rb"\x89PNG\r\n\x1a\n")),
    ("WEBP", re.compile(rb"RIFF....WEBPVP8[ LX]", re.DOTALL)),
    ("GIF", re.compile(rb"GIF8[79]a")),
    ("TIFF", re.compile(rb"II\*\0|MM\0\*|II\0\*|MM\*\0|II\+\0|MM\0\+")),
    ("BMP", re.compile(rb"BM")),
    ("PPM", re.compile(rb"P[1-6f][\s#]")),
    ("JPEG2000", re.compile(rb"\xff\x4f\xff\x51|\0\0\0\x0cjP  \r\n\x87\n")),
    ("QOI", re.compile(rb"qoif")),
    ("JXL", re.compile(rb"\xff\n|\0\0\0\x0cJXL \r\n\x87\n")),
)
# what else a file may be: what it begins with, what it is, what to do
_OTHERS = (
    (rb"PAR1", "a Parquet file, not an image: `fastmark scan` reads it"),
    (
        rb"PK\x03\x04|PK\x05\x06",
        "a ZIP archive, not an image: unpack it, then use `fastmark scan` on the folder",
    ),
    (
        rb"\x1f\x8b|BZh|\xfd7zXZ\0",
        "a compressed file, not an image: `fastmark scan` reads tars so compressed",
    ),
    (rb"7z\xbc\xaf|Rar!|\x28\xb5\x2f\xfd", "a packed file, not an image: unpack it first"),
    (rb"%PDF", "a PDF document, not an image: extract its images first"),
    (rb"8BPS", "a Photoshop document: save it as PNG or TIFF first"),
    (rb"....ftyp", "a video or an image of an unknown kind: extract or convert it first"),
    (rb"\x1aE\xdf\xa3|RIFF....AVI ", "a video, not an image: extract its frames first"),
    (rb"\s*(?:<\?xml|<svg|<!DOCTYPE|<html)", "a drawing or page in text form, not an image: render it first"),
)
_OTHER_KINDS = tuple((re.compile(pattern, re.DOTALL | re.IGNORECASE), what) for pattern, what in _OTHERS)
_JUNK = re.compile(rb"\x89PNG\r\n\x1a\n|\xff\xd8\xff[\xc0-\xfe]")
_MOST_JUNK = 1024


def format_by_prefix(prefix: bytes) -> str | None:
    """Pillow's name of the format of a file that begins with these ``PREFIX_BYTES`` bytes, or None.

    "HEIF" and "JXL" too, whether or not the packages that read them are installed.
    """
    if prefix[4:8] == b"ftyp":
        end = min(max(int.from_bytes(prefix[:4], "big"), 16), len(prefix))
        brands = [prefix[8:12], *(prefix[place : place + 4] for place in range(16, end - 3, 4))]
        if brands[0] in _BRANDS:
            return _BRANDS[brands[0]]
        if brands[0] in (b"mif1", b"msf1", b"miaf"):
            return next((_BRANDS[brand] for brand in brands if brand in _BRANDS), "HEIF")
        return None
    return next((name for name, signature in _SIGNATURES if signature.match(prefix)), None)


def junk_before(data: bytes) -> int:
    """How many bytes stand before a PNG or JPEG signature; 0 where there is none."""
    found = _JUNK.search(data, 0, _MOST_JUNK)
    return found.start() if found else 0


def what_else(data: bytes) -> str | None:
    """What a file that begins so is, where that is not an image, and what to do; None where unknown."""
    if data[257:262] == b"ustar":
        return "a tar archive, not an image: `fastmark scan` reads it"
    if is_key_file(data):
        return "a fastmark key file, not an image"
    for pattern, what in _OTHER_KINDS:
        if pattern.match(data):
            return what
    if data[:2] == b"%!":
        return None
    start = data[:512]
    if b"\0" not in start and start.strip():
        try:
            start[:500].decode("utf-8", "strict" if len(start) < 500 else "ignore")
        except UnicodeDecodeError:
            return None
        if sum(byte < 32 and byte not in b"\t\n\r\f" for byte in start) == 0 and start.isascii():
            return "a text file, not an image: `fastmark scan` reads lists of images"
    return None


def is_key_file(start: bytes) -> bool:
    """Whether a file that begins so, with ``KEY_BYTES`` or all there is, is a fastmark key file.

    That of a detector key is one too: it is no secret, and no image either. It is recognised by content, in
    any encoding and order of fields that an editor may have left.
    """
    text = start[:KEY_BYTES].replace(b"\0", b"")  # UTF-16 and UTF-32 of ASCII are ASCII with zeros between
    for mark in (b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf"):
        text = text.removeprefix(mark)
    return text.lstrip().startswith(b"{") and _KEY.search(text) is not None


def factory_of(name: str, label: str) -> Callable[[Any, str], Image.Image]:
    """What makes Pillow's decoder of a file of a format.

    Raises:
        UnsupportedImageError: if a package is needed for it that is not installed.
    """
    for register in (Image.preinit, Image.init):  # the common plugins, then all
        if name in Image.OPEN:
            break
        register()
    if name not in Image.OPEN and name in ("HEIF", "JXL"):
        register_plugin(name, label)
    if name not in Image.OPEN:
        raise UnsupportedImageError(
            f"{label} is {name}, which this Pillow was built without: install another"
        )
    return Image.OPEN[name][0]


class Encoded(BytesIO):
    """A file's bytes; of a WebP file Pillow sees so little at first that it cannot measure by its own limit.

    That limit is for the whole program, and the caller's is looked at before.
    """

    def __init__(self, data: bytes) -> None:
        """Hold a file's bytes."""
        super().__init__(data)
        self._first = data[8:12] == b"WEBP"

    def read(self, size: int | None = -1, /) -> bytes:
        """Return the next bytes: the first time perhaps fewer than asked for."""
        first, self._first = self._first, False
        return super().read(16 if first and size is not None and size > 16 else size)


def register_plugin(name: str, label: str) -> None:
    """Have Pillow read and write HEIF or JXL, if it does not yet.

    Raises:
        UnsupportedImageError: if the package is not installed.
    """
    Image.init()
    if name in Image.OPEN and name in Image.SAVE:
        return
    check_plugin(name, label)
    try:
        if name == "HEIF":
            import pillow_heif

            pillow_heif.register_heif_opener()
        else:
            import pillow_jxl  # noqa: F401
    except ImportError:
        raise _missing(name, label) from None


def check_plugin(name: str, label: str) -> None:
    """Raise UnsupportedImageError if the package for HEIF or JXL is not installed; nothing is imported."""
    module = {"HEIF": "pillow_heif", "JXL": "pillow_jxl"}.get(name)
    if module and name not in Image.SAVE and importlib.util.find_spec(module) is None:
        raise _missing(name, label)


def _missing(name: str, label: str) -> UnsupportedImageError:
    kind, package = ("HEIC", "pillow-heif") if name == "HEIF" else ("JPEG XL", "pillow-jxl-plugin")
    return UnsupportedImageError(
        f"{label} is {kind}, which needs the package {package}: pip install 'fastmark-watermark[formats]'"
    )
