"""What a file says besides its pixels: XMP, EXIF, texts and content credentials, without any decoder.

Of odd files there is what could be read. No package is needed for HEIC and JPEG XL; compressed boxes of
JPEG XL are not looked into.
"""

from __future__ import annotations

import contextlib
import itertools
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from fastmark.errors import InvalidImageError
from fastmark.images import jpeg, png, tiff
from fastmark.images.boxes import boxes
from fastmark.images.decoding import examine
from fastmark.images.findings import C2PA_DROPPED
from fastmark.images.formats import PREFIX_BYTES, format_by_prefix, junk_before
from fastmark.images.ifd import Directory, directory, numbers, order_of

IMAGE_DESCRIPTION, MAKE, MODEL, SOFTWARE, USER_COMMENT, XP_COMMENT = 270, 271, 272, 305, 37510, 40092

_MOST_TEXT = 16 << 20  # bytes of all texts, inflated, and of an extended XMP
_MOST_ITEMS = 16  # of metadata in a HEIC file
_XMP_TAG, _EXIF_TAG = 700, 34665
_TEXT_TAGS = (IMAGE_DESCRIPTION, MAKE, MODEL, SOFTWARE, USER_COMMENT, XP_COMMENT)
_EXIF_SEGMENT = b"Exif\0\0"
_XMP_KEYWORD = "XML:com.adobe.xmp"
_MAGICK_KEYWORD = "Raw profile type xmp"  # ImageMagick's way


@dataclass(slots=True)
class Headers:
    """What a file says.

    Attributes:
        xmp: its XMP as it stands there.
        extended: the rest of it, where a JPEG file has it in several segments.
        texts: of PNG's chunks, by keyword.
        exif: EXIF's tags of texts, as they stand there, by number.
        little: whether EXIF's numbers begin with the lowest byte.
    """

    xmp: bytes | None = None
    extended: bytes | None = None
    texts: dict[str, str] = field(default_factory=dict)
    exif: dict[int, bytes] = field(default_factory=dict)
    little: bool = False


def headers_of(data: bytes) -> Headers:
    """What an encoded image says besides its pixels; of odd files, what could be read."""
    found = Headers()
    name, data = _named(data)
    reader = _READERS.get(name or "")
    if reader is not None:
        with contextlib.suppress(ValueError, struct.error, IndexError):  # what came before stays
            reader(data, found)
    return found


def has_credentials(data: bytes) -> bool:
    """Whether an encoded image has a store of content credentials (C2PA), be it sound or not."""
    name, data = _named(data)
    try:
        return name is not None and C2PA_DROPPED in examine(name, data).dropped
    except (InvalidImageError, ValueError, struct.error, IndexError):
        return False


def _named(data: bytes) -> tuple[str | None, bytes]:
    """The format, and the file from its signature on."""
    name = format_by_prefix(data[:PREFIX_BYTES])
    if name is None and (junk := junk_before(data)):
        data = data[junk:]
        name = format_by_prefix(data[:PREFIX_BYTES])
    return name, data


# ---- formats ---------------------------------------------------------------------------------------


def _jpeg(data: bytes, found: Headers) -> None:
    parts: dict[bytes, dict[int, bytes]] = {}  # of extended XMP, by its identifier and place
    sizes: dict[bytes, int] = {}
    exif = b""
    for marker, content in jpeg.segments(data):
        if marker != 0xE1:
            continue
        if content.startswith(jpeg.XMP):
            found.xmp = found.xmp or content[len(jpeg.XMP) :]
        elif content.startswith(_EXIF_SEGMENT):
            exif += content[len(_EXIF_SEGMENT) :]
        elif content.startswith(jpeg.EXTENDED_XMP) and len(content) >= len(jpeg.EXTENDED_XMP) + 40:
            rest = content[len(jpeg.EXTENDED_XMP) :]
            size, place = struct.unpack_from(">II", rest, 32)
            parts.setdefault(rest[:32], {})[place] = rest[40:]
            sizes[rest[:32]] = size
    _exif(exif, found)
    for identifier, pieces in parts.items():
        # the one that the packet names, by the digest of the rest
        if found.xmp and identifier in found.xmp and sizes[identifier] <= _MOST_TEXT:
            whole = b"".join(pieces[place] for place in sorted(pieces))
            steps = sorted(pieces)
            ends = [place + len(pieces[place]) for place in steps]
            if steps[0] == 0 and steps[1:] == ends[:-1] and ends[-1] == sizes[identifier]:
                found.extended = whole


def _png(data: bytes, found: Headers) -> None:
    found.texts, exif = png.texts(data, _MOST_TEXT)
    if exif:
        _exif(exif, found)
    raw = found.texts.pop(_XMP_KEYWORD, None)
    if raw is not None:
        found.xmp = raw.encode("utf-8", "surrogatepass")
    elif profile := found.texts.get(_MAGICK_KEYWORD):
        _, size, digits = profile.split(None, 2)
        found.xmp = bytes.fromhex(digits)[: int(size)]


def _webp(data: bytes, found: Headers) -> None:
    place = 12
    while place + 8 <= len(data):
        kind, size = struct.unpack_from("<4sI", data, place)
        content = place + 8, place + 8 + size
        if kind == b"XMP " and found.xmp is None and content[1] <= len(data):
            found.xmp = data[content[0] : content[1]]
        elif kind == b"EXIF" and not found.exif:
            _exif(data[content[0] : content[1]], found)
        place = content[1] + (size & 1)


def _jxl(data: bytes, found: Headers) -> None:
    for kind, start, end in boxes(data, 0, len(data)):
        if kind == b"xml " and found.xmp is None:
            found.xmp = data[start:end]
        elif kind == b"Exif" and not found.exif:
            _exif(_behind_offset(data[start:end]), found)


def _tiff(data: bytes, found: Headers) -> None:
    # a BigTIFF becomes a classic one, and the first directory is that of the image
    _exif(tiff.examine(data).data, found)


def _heif(data: bytes, found: Headers) -> None:
    for kind, mime, content in _items(data):
        if kind == b"mime" and mime == b"application/rdf+xml" and found.xmp is None:
            found.xmp = content
        elif kind == b"Exif" and not found.exif:
            _exif(_behind_offset(content), found)


_READERS = {
    "JPEG": _jpeg,
    "PNG": _png,
    "WEBP": _webp,
    "TIFF": _tiff,
    "AVIF": _heif,
    "HEIF": _heif,
    "JXL": _jxl,
}


# ---- parts -----------------------------------------------------------------------------------------


def _behind_offset(content: bytes) -> bytes:
    """EXIF in a box: behind the number of bytes to leave out, which some writers forget."""
    if content.startswith((b"II*\0", b"MM\0*")):
        return content
    return content[4 + int.from_bytes(content[:4], "big") :]


def _exif(exif: bytes, found: Headers) -> None:
    """The tags of texts, and XMP, of a block of EXIF or of a TIFF file; nothing where it is damaged."""
    data = exif.removeprefix(_EXIF_SEGMENT)
    try:
        order = order_of(data)
        found.little = order == "<"
        (place,) = struct.unpack_from(order + "L", data, 4)
        first = directory(data, place, order)
        _tags(data, first, found)
        for entry in first.entries:
            if entry.tag == _XMP_TAG and entry.intact and entry.type in (1, 7) and found.xmp is None:
                found.xmp = data[entry.place : entry.place + entry.count]
            elif entry.tag == _EXIF_TAG and (there := numbers(data, entry, order)):
                _tags(data, directory(data, there[0], order), found)
    except (ValueError, struct.error):
        pass


def _tags(data: bytes, tags: Directory, found: Headers) -> None:
    for entry in tags.entries:
        if entry.tag in _TEXT_TAGS and entry.intact and entry.type in (1, 2, 7) and entry.count <= _MOST_TEXT:
            found.exif.setdefault(entry.tag, data[entry.place : entry.place + entry.count])


def _items(data: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Metadata items of an AVIF or HEIC file: kind, media type and content (ISO 14496-12, 8.11)."""
    for kind, start, end in boxes(data, 0, len(data)):
        if kind != b"meta":
            continue
        inner = {name: (first, last) for name, first, last in boxes(data, start + 4, end)}
        if b"iinf" not in inner or b"iloc" not in inner:
            continue
        wanted = dict(_entries(data, *inner[b"iinf"]))
        within = inner.get(b"idat", (0, 0))
        located = (item for item in _locations(data, *inner[b"iloc"]) if item[0] in wanted)
        for number, in_box, places in itertools.islice(located, _MOST_ITEMS):
            base, limit = within if in_box else (0, len(data))
            content = b""
            for place, size in places:
                if len(content) < _MOST_TEXT:
                    first = base + place
                    content += data[first : min(first + (size or _MOST_TEXT), first + _MOST_TEXT, limit)]
            yield *wanted[number], content


def _entries(data: bytes, start: int, end: int) -> Iterator[tuple[int, tuple[bytes, bytes]]]:
    """Numbers, kinds and media types of the items that are metadata."""
    for name, place, last in boxes(data, start + (6 if data[start] == 0 else 8), end):
        if name == b"infe" and data[place] in (2, 3):
            wide = 4 if data[place] == 3 else 2
            number = int.from_bytes(data[place + 4 : place + 4 + wide], "big")
            kind = data[place + 6 + wide : place + 10 + wide]
            if kind == b"Exif":
                yield number, (kind, b"")
            elif kind == b"mime":
                texts = data[place + 10 + wide : last].split(b"\0")
                yield number, (kind, texts[1] if len(texts) > 1 else b"")


def _locations(data: bytes, start: int, end: int) -> Iterator[tuple[int, bool, list[tuple[int, int]]]]:
    """Of each item: its number, whether it lies in the box for such, places and lengths."""
    place = start

    def take(size: int) -> int:
        nonlocal place
        if place + size > end:
            raise ValueError("beyond the box")
        place += size
        return int.from_bytes(data[place - size : place], "big")

    version = take(1)
    take(3)
    sizes = take(2)
    offset, length, base = sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15
    index = sizes & 15 if version in (1, 2) else 0
    wide = 4 if version == 2 else 2
    for _ in range(take(wide)):
        number = take(wide)
        method = take(2) & 15 if version in (1, 2) else 0
        elsewhere = take(2)
        begin = take(base)
        places = []
        for _ in range(take(2)):
            take(index)
            places.append((begin + take(offset), take(length)))
            if offset + length + index == 0:
                break  # nothing is told of further parts
        if method < 2 and not elsewhere:
            yield number, method == 1, places
