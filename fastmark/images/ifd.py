"""Directories of tags: the structure that TIFF files and EXIF blocks share, looked at without decoding it."""

from __future__ import annotations

import struct
from dataclasses import dataclass

# bytes of one value, by type; 13 and up: IFD, and those of BigTIFF
SIZES = {
    1: 1,
    2: 1,
    3: 2,
    4: 4,
    5: 8,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
    17: 8,
    18: 8,
}
_SUB = (0x8769, 0x8825, 0xA005)  # EXIF, GPS, interoperability
ORIENTATION = 274


@dataclass(frozen=True, slots=True)
class Entry:
    """A tag of a directory.

    Attributes:
        tag: its number.
        type: of its values, a TIFF type.
        count: how many.
        place: where in the data its values begin.
        intact: whether the type is known and all values lie within the data.
        where: the entry's own place.
    """

    tag: int
    type: int
    count: int
    place: int
    intact: bool
    where: int


@dataclass(frozen=True, slots=True)
class Directory:
    """Entries, and where the next directory is (0: there is none)."""

    entries: tuple[Entry, ...]
    next: int


def order_of(data: bytes) -> str:
    """``struct``'s sign of the byte order of a classic TIFF header.

    Raises:
        ValueError: if there is none.
    """
    if data[:4] in (b"II*\0", b"II\0*"):
        return "<"
    if data[:4] in (b"MM\0*", b"MM*\0"):
        return ">"
    raise ValueError("no header")


def directory(data: bytes, place: int, order: str) -> Directory:
    """The directory at ``place``.

    Raises:
        ValueError: if its table does not lie within the data.
    """
    if not 8 <= place <= len(data) - 2:
        raise ValueError("directory outside the data")
    (count,) = struct.unpack_from(order + "H", data, place)
    end = place + 2 + 12 * count
    if count == 0 or end > len(data):
        raise ValueError("directory outside the data")
    entries = []
    for where in range(place + 2, end, 12):
        tag, kind, number, value = struct.unpack_from(order + "HHLL", data, where)
        size = SIZES.get(kind, 0) * number
        start = where + 8 if size <= 4 else value
        intact = kind in SIZES and start + size <= len(data)
        entries.append(Entry(tag, kind, number, start, intact, where))
    (following,) = struct.unpack_from(order + "L", data, end) if end + 4 <= len(data) else (0,)
    return Directory(tuple(entries), following)


def numbers(data: bytes, entry: Entry, order: str) -> tuple[int, ...]:
    """An entry's first values, 64 at most, where they are whole numbers; else nothing."""
    return _numbers(data, entry, order, 64)


def numbers_of(data: bytes, entry: Entry, order: str) -> tuple[int, ...]:
    """All of an entry's values, where they are whole numbers; else nothing."""
    return _numbers(data, entry, order, entry.count)


def _numbers(data: bytes, entry: Entry, order: str, most: int) -> tuple[int, ...]:
    code = {1: "B", 3: "H", 4: "L", 6: "b", 8: "h", 9: "l", 13: "L"}.get(entry.type)
    if code is None or not entry.intact:
        return ()
    return struct.unpack_from(f"{order}{min(entry.count, most)}{code}", data, entry.place)


def exif_is_damaged(exif: bytes) -> bool:
    """Whether the directories of an EXIF block, with or without its name before it, do not hold together.

    Makers' notes are not looked into, nor is the thumbnail.
    """
    data = exif.removeprefix(b"Exif\0\0")
    try:
        order = order_of(data)
        (place,) = struct.unpack_from(order + "L", data, 4)
        places = [place]
        seen: set[int] = set()
        while places:
            place = places.pop()
            if place in seen:
                return True
            seen.add(place)
            for entry in directory(data, place, order).entries:
                if not entry.intact:
                    return True
                if entry.tag in _SUB:
                    places += numbers(data, entry, order)[:1]
    except (ValueError, struct.error):
        return True
    return False


def orientation_of(exif: bytes) -> int:
    """The orientation, 1..8, that an EXIF block tells, be it damaged elsewhere; 1 where it tells none."""
    data = exif.removeprefix(b"Exif\0\0")
    try:
        order = order_of(data)
        (place,) = struct.unpack_from(order + "L", data, 4)
        for entry in directory(data, place, order).entries:
            if entry.tag == ORIENTATION and (value := numbers(data, entry, order)):
                return value[0] if 1 <= value[0] <= 8 else 1
    except (ValueError, struct.error):
        pass
    return 1
