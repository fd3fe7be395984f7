"""JPEG files: the segments before the pixels, so that damaged metadata does not hide the image."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from fastmark.images.findings import (
    C2PA_DROPPED,
    EXIF_DAMAGED,
    GAIN_MAP_DROPPED,
    ICC_DAMAGED,
    XMP_CUT,
    Findings,
    is_c2pa,
)
from fastmark.images.ifd import exif_is_damaged, orientation_of
from fastmark.images.png import is_cut_profile

_SOS, _COM = 0xDA, 0xFE
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_CANDIDATES = re.compile(rb"\xff[\xc0-\xc2\xc4\xdb\xdd\xe0-\xef\xfe]")
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_NAMES = {0xE0: "JFIF", 0xED: "Photoshop", 0xEE: "Adobe", _COM: "comment"}
XMP = b"http://ns.adobe.com/xap/1.0/\0"
EXTENDED_XMP = b"http://ns.adobe.com/xmp/extension/\0"
_MOST_SEGMENTS = 100_000  # that are passed in the search behind a damaged one


@dataclass(slots=True)
class _Header:
    """Segments, (marker, content), up to the first scan; where it begins; the frame's size."""

    segments: list[tuple[int, bytes]] = field(default_factory=list)
    scan: int = 0
    pixels: int = 0


def examine(data: bytes, *, bare: bool = False) -> Findings:
    """Look at the segments before a JPEG file's first scan.

    Args:
        data: the file.
        bare: whether the decoder is to have nothing but what the pixels need.
    """
    result = Findings(data)
    header, lost = _header(data)
    if header is None:  # cut short before the pixels, or not a JPEG after all: the decoder says so
        return result
    if bare:
        result.damaged.append("some metadata of the JPEG file are damaged and were left out")
    if lost:
        result.damaged.append("a segment of metadata of the JPEG file is damaged and was left out")
    exif, profile, odd = b"", [], bare or lost
    for marker, content in header.segments:
        if marker == 0xE1 and content.startswith(b"Exif\0\0"):
            exif += content[6:] if exif else content
        elif marker == 0xE1 and content.startswith(XMP):
            result.info["xmp"] = content[len(XMP) :]
        elif marker == 0xE1 and content.startswith(EXTENDED_XMP) and XMP_CUT not in result.dropped:
            result.dropped.append(XMP_CUT)
        elif marker == 0xE2 and content.startswith(b"ICC_PROFILE\0"):
            profile.append(content[12:])
        elif marker == 0xE2 and content.startswith(b"MPF\0"):
            odd = True  # Pillow looks for further images where this points to
            if b"hdrgm:" not in data[: header.scan]:
                result.dropped.append("the file's further images (depth, gain map or preview) were left out")
        elif marker == 0xEB and is_c2pa(content) and C2PA_DROPPED not in result.dropped:
            result.dropped.append(C2PA_DROPPED)
        elif marker == _COM:
            result.info["comment"] = content
        elif _is_short(marker, content):
            odd = True
            result.damaged.append(
                f"the {_NAMES[marker]} segment of the JPEG file is damaged and was left out"
            )
    if b"hdrgm:" in data[: header.scan]:
        result.dropped.append(GAIN_MAP_DROPPED)
    if exif:
        if exif_is_damaged(exif):
            odd = True
            result.damaged.append(EXIF_DAMAGED)
            result.info["orientation"] = orientation_of(exif)
        else:
            result.info["exif"] = exif
    if profile:
        whole = _joined(profile)
        if whole is None:
            odd = True
            result.damaged.append(ICC_DAMAGED)
        else:
            result.info["icc_profile"] = whole
    if odd:
        result.data = _rebuilt(data, header)
    return result


def segments(data: bytes) -> list[tuple[int, bytes]]:
    """The segments, (marker, content), before the pixels, up to the first that is damaged."""
    header = _Header()
    _walk(data, 2, header)
    return header.segments


def completed(data: bytes) -> bytes:
    """A file that is cut short, ended behind its last whole segment or in the midst of its pixels."""
    header, _ = _header(data)
    place = header.scan if header else len(data)
    while place + 4 <= len(data):
        end = place + 2 + int.from_bytes(data[place + 2 : place + 4], "big")
        if end > len(data):  # a segment between scans that is not all there
            return data[:place] + b"\xff\xd9"
        if data[place + 1] == _SOS:
            found = _MARKER.search(data, end)
            if found is None:
                break
            place = found.start()
        else:
            place = end
        if data[place + 1 : place + 2] == b"\xd9":
            return data
    return data + b"\xff\xd9"


def is_progressive(data: bytes) -> bool:
    """Whether the image comes in scans, each over the whole of it."""
    header, _ = _header(data)
    return header is not None and any(marker in (0xC2, 0xC6, 0xCA, 0xCE) for marker, _ in header.segments)


def _header(data: bytes) -> tuple[_Header | None, bool]:
    """The segments before the pixels, and whether some had to be skipped to get there."""
    place, before = 2, _Header()
    found = _walk(data, place, before)
    if found is not None:
        return found, False
    # the length of a segment is wrong: on from where a whole chain of them leads to pixels; a thumbnail
    # has one too, and is smaller
    start = before.scan + 2
    best: _Header | None = None
    passed = 0
    for match in _CANDIDATES.finditer(data, start, start + (1 << 20)):
        tried = _Header()
        chain = _walk(data, match.start(), tried)
        passed += 1 + len(tried.segments)
        if passed > _MOST_SEGMENTS:
            break
        if chain is not None and (best is None or chain.pixels > best.pixels):
            best = chain
    if best is None:
        return None, False
    best.segments[:0] = before.segments
    return best, True


def _walk(data: bytes, place: int, header: _Header) -> _Header | None:
    """Segments from ``place`` to the first scan, or None; ``header`` then has those that are in order."""
    while place + 4 <= len(data):
        if data[place] != 0xFF:
            break
        marker = data[place + 1]
        if marker == 0xFF:  # padding
            place += 1
            continue
        if marker == _SOS:
            header.scan = place
            return header if header.pixels else None
        end = place + 2 + int.from_bytes(data[place + 2 : place + 4], "big")
        if marker < 0xC0 or 0xD0 <= marker <= 0xD9 or end < place + 4 or data[end : end + 1] != b"\xff":
            break
        content = data[place + 4 : end]
        if marker in _FRAMES and len(content) > 5:
            header.pixels = int.from_bytes(content[1:3], "big") * int.from_bytes(content[3:5], "big")
        header.segments.append((marker, content))
        place = end
    header.scan = place
    return None


def _is_short(marker: int, content: bytes) -> bool:
    """Whether a segment that Pillow looks into is too short for it."""
    if marker == 0xE0 and content.startswith(b"JFIF"):
        return len(content) < 14
    if marker == 0xEE and content.startswith(b"Adobe"):
        return len(content) < 12
    return False


def _joined(parts: list[bytes]) -> bytes | None:
    """An ICC profile's parts, (number, count, bytes) each, put together; None if one is missing."""
    if any(len(part) < 2 for part in parts):
        return None
    parts = sorted(parts, key=lambda part: part[0])
    if [part[0] for part in parts] != list(range(1, len(parts) + 1)) or parts[0][1] != len(parts):
        return None
    whole = b"".join(part[2:] for part in parts)
    return None if is_cut_profile(whole) else whole


def _rebuilt(data: bytes, header: _Header) -> bytes:
    """The file with nothing but what its pixels need, and its resolution."""
    kept = [
        b"\xff%c" % marker + (len(content) + 2).to_bytes(2, "big") + content
        for marker, content in header.segments
        if not (0xE0 <= marker <= 0xEF or marker == _COM)
        or (
            marker in (0xE0, 0xEE)
            and content.startswith((b"JFIF", b"Adobe"))
            and not _is_short(marker, content)
        )
    ]
    return b"\xff\xd8" + b"".join(kept) + data[header.scan :]
