"""TIFF files: which page is the image, and which tags the decoder had better not see."""

from __future__ import annotations

import struct
import sys
from typing import Any

from PIL import Image, ImageFile

from fastmark.images.findings import C2PA_DROPPED, EXIF_DAMAGED, ICC_DAMAGED, Findings
from fastmark.images.ifd import SIZES, Directory, Entry, directory, exif_is_damaged, numbers, order_of
from fastmark.images.png import is_cut_profile

_KIND, _OLD_KIND = 254, 255
_BITS, _PHOTOMETRIC, _SAMPLES, _PLANAR, _FORMAT, _SUBSAMPLING = 258, 262, 277, 284, 339, 530
_ICC, _EXIF, _GPS, _C2PA = 34675, 34665, 34853, 0xCD41
_PLANES = {"RGB": "RGB;16N", "RGBA": "RGBA;16N", "CMYK": "CMYK;16N"}
_NATIVE = {"F;32BF": "F;32F", "I;32BS": "I;32S", "I;16BS": "I;16S"} if sys.byteorder == "little" else {}
_COLOUR = {301: "TransferFunction", 318: "WhitePoint", 319: "PrimaryChromaticities"}
# what pixels, their colours and their place hang on
_NEEDED = frozenset(
    {254, 255, 256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 282, 283, 284, 292, 293, 296, 317, 320}
    | {322, 323, 324, 325, 338, 339, 347, 512, 513, 514, 519, 520, 521, 529, 530, 532}
)
_SUB = 330
_MOST_PAGES = 100_000
_MOST_BYTES = (1 << 32) - (1 << 24)  # of a BigTIFF that is looked at as a classic one


def examine(data: bytes, *, bare: bool = False) -> Findings:
    """Look at a TIFF file's directories.

    Args:
        data: the file.
        bare: whether the decoder is to have no tags but those that the pixels need.
    """
    result = Findings(data, unit="page")
    try:
        data, exif = _classic(data)
        order = order_of(data)
        pages = _pages(data, order, result)
    except (ValueError, struct.error):  # Pillow says what is wrong
        return result
    result.data = data
    if exif:
        result.dropped.append("the EXIF of the BigTIFF file was left out")
    full = [index for index, (_, page) in enumerate(pages) if not _is_helper(data, page, order)]
    if not full:
        result.broken.append(
            "the TIFF file's only image is a preview; the full one is not where it could be read"
        )
    result.frames = max(len(full), 1)
    place, chosen = pages[full[0] if full else 0]
    if any(entry.tag == _C2PA for _, page in pages for entry in page.entries):
        result.dropped.append(C2PA_DROPPED)
    unwanted = _unwanted(data, chosen, order, result, bare)
    negative = _deep_negative(data, chosen, order)
    if unwanted or negative or len(pages) > 1 or chosen.next:
        result.data = _alone(data, order, place, chosen, unwanted, negative)
        result.min_is_white = negative is not None
    return result


def describe(image: Any, result: Findings) -> None:
    """Complete what was found by what Pillow read of the image's tags."""
    tags = image.tag_v2
    bits = tags.get(_BITS, (1,))
    result.bits = max(bits) if isinstance(bits, tuple) else bits
    result.keeps_deep = tags.get(_SAMPLES, 1) == 1
    result.unsigned = image.mode == "I" and result.bits == 32 and tags.get(_FORMAT, (1,))[0] == 1
    if _ICC not in tags and (told := [name for tag, name in _COLOUR.items() if tag in tags]):
        result.dropped.append(f"the colour description of the TIFF file ({', '.join(told)}) was left out")
    plain = image.mode == "YCbCr" and tags.get(_SUBSAMPLING, (1, 1)) == (1, 1)
    if (
        tags.get(_PHOTOMETRIC) == 6
        and len(image.getbands()) == 3
        and not image.use_load_libtiff
        and not plain
    ):
        # Pillow's own reader takes every pixel to have chroma of its own, before Pillow 13 even to be RGB
        image._mode = "RGB"
        _by_libtiff(image, "RGBX")
    elif (
        not image.use_load_libtiff and tags.get(_PLANAR) == 2 and result.bits == 16 and image.mode in _PLANES
    ):
        _by_libtiff(image, _PLANES[image.mode])  # Pillow's own reader takes planes to have 8 bits
    elif image.use_load_libtiff and image.tile[0].args[0] in _NATIVE:
        # libtiff gives levels in this machine's byte order, and Pillow takes them for the file's
        _by_libtiff(image, _NATIVE[image.tile[0].args[0]])


def _by_libtiff(image: Any, rawmode: str) -> None:
    """Have libtiff read an image."""
    image.use_load_libtiff = True
    extents = (0, 0, *image._tile_size)
    arguments: tuple[Any, ...] = (rawmode, False, image.tag_v2.offset)
    try:
        Image._getdecoder(image.mode, "libtiff", arguments)
    except TypeError:  # Pillow 11 wants to be told the compression as well
        arguments = (rawmode, image._compression, *arguments[1:])
    image.tile = [ImageFile._Tile("libtiff", extents, 0, arguments)]


def is_still(image: Image.Image) -> bool:
    """Whether all pages of a TIFF that the caller opened, but one, are previews or masks of it."""
    file = getattr(image, "_fp", None)
    try:
        place = file.tell()  # type: ignore[union-attr]
        file.seek(0)  # type: ignore[union-attr]
        data = file.read()  # type: ignore[union-attr]
        file.seek(place)  # type: ignore[union-attr]
    except Exception:  # closed, or never there
        return False
    return examine(data).frames == 1


def _classic(data: bytes) -> tuple[bytes, bool]:
    """A BigTIFF as a classic one with its directories behind it, and whether it had EXIF, which is lost."""
    order = {b"II+\0": "<", b"MM\0+": ">"}.get(data[:4])
    if order is None or len(data) > _MOST_BYTES:
        return data, False
    (place,) = struct.unpack_from(order + "Q", data, 8)
    link = 4  # where it is told where the next directory is
    classic = bytearray(data)
    classic[:8] = (b"II*\0" if order == "<" else b"MM\0*") + bytes(4)
    seen: set[int] = set()
    exif = False
    while place and place not in seen and len(seen) < _MOST_PAGES:
        seen.add(place)
        (count,) = struct.unpack_from(order + "Q", data, place)
        table = []
        for where in range(place + 8, place + 8 + 20 * min(count, 4096), 20):
            tag, kind, number = struct.unpack_from(order + "HHQ", data, where)
            exif |= tag in (_EXIF, _GPS)
            size = SIZES.get(kind, 0) * number
            start = where + 12 if size <= 8 else struct.unpack_from(order + "Q", data, where + 12)[0]
            values = data[start : start + size]
            if tag in (_EXIF, _GPS, _SUB) or not size or len(values) < size:
                continue
            if kind in (16, 17, 18):
                numbers_8 = struct.unpack(f"{order}{number}Q", values)
                kind, values = (
                    4,
                    struct.pack(f"{order}{number}L", *(value & 0xFFFFFFFF for value in numbers_8)),
                )
            if len(values) > 4:
                values, far = struct.pack(order + "L", len(classic)), values
                classic += far + bytes(len(far) & 1)
            table.append(struct.pack(order + "HHL", tag, kind, number) + values.ljust(4, b"\0"))
        classic += bytes(len(classic) & 1)
        classic[link : link + 4] = struct.pack(order + "L", len(classic))
        classic += struct.pack(order + "H", len(table)) + b"".join(table)
        link = len(classic)
        classic += bytes(4)
        (place,) = struct.unpack_from(order + "Q", data, place + 8 + 20 * count)
    return bytes(classic), exif


def _pages(data: bytes, order: str, result: Findings) -> list[tuple[int, Directory]]:
    """Where the directories of the pages are, and what they hold."""
    (place,) = struct.unpack_from(order + "L", data, 4)
    pages: list[tuple[int, Directory]] = []
    seen = set()
    while place and place not in seen and len(pages) < _MOST_PAGES:
        seen.add(place)
        try:
            page = directory(data, place, order)
        except ValueError:
            if not pages:
                raise
            result.damaged.append("what follows the first image of the TIFF file is damaged and was left out")
            break
        pages.append((place, page))
        place = page.next
    if not pages:
        raise ValueError("no pages")
    return pages


def _is_helper(data: bytes, page: Directory, order: str) -> bool:
    """Whether a page is a reduced copy or a mask of another."""
    values = {e.tag: numbers(data, e, order)[:1] for e in page.entries if e.tag in (_KIND, _OLD_KIND)}
    kind, old = values.get(_KIND) or (0,), values.get(_OLD_KIND) or (1,)
    return bool(kind[0] & 0b101) or old[0] == 2


def _unwanted(data: bytes, page: Directory, order: str, result: Findings, bare: bool) -> set[int]:
    """The numbers of tags that are left out."""
    if bare:
        result.damaged.append("the metadata of the TIFF file are damaged and were left out")
        return {entry.tag for entry in page.entries} - _NEEDED
    unwanted = {entry.tag for entry in page.entries if not entry.intact} - _NEEDED
    for entry in page.entries:
        if entry.tag in (_EXIF, _GPS) and entry.intact:
            value = numbers(data, entry, order)[:1]
            block = data[:4] + struct.pack(order + "L", *(value or (0,))) + data[8:]
            if exif_is_damaged(block):
                unwanted.add(entry.tag)
        elif (
            entry.tag == _ICC
            and entry.intact
            and is_cut_profile(data[entry.place : entry.place + entry.count])
        ):
            unwanted.add(_ICC)
    if unwanted & {_EXIF, _GPS}:
        result.damaged.append(EXIF_DAMAGED)
    if _ICC in unwanted:
        result.damaged.append(ICC_DAMAGED)
    if others := sorted(unwanted - {_EXIF, _GPS, _ICC}):
        result.damaged.append(
            f"the tags {', '.join(map(str, others))} of the TIFF file are damaged and were left out"
        )
    return unwanted


def _deep_negative(data: bytes, page: Directory, order: str) -> Entry | None:
    """The tag that tells white from black, where deep grey counts from white: Pillow does not look at it."""
    tags = {entry.tag: entry for entry in page.entries}
    if _PHOTOMETRIC not in tags or _BITS not in tags:
        return None
    told, bits = (numbers(data, tags[tag], order) for tag in (_PHOTOMETRIC, _BITS))
    return tags[_PHOTOMETRIC] if told == (0,) and len(bits) == 1 and bits[0] > 8 else None


def _alone(
    data: bytes, order: str, place: int, page: Directory, unwanted: set[int], negative: Entry | None
) -> bytes:
    """The file with one page only, and that without some tags, and taken for a positive if it is not."""
    if negative is not None:
        changed = bytearray(data)
        changed[negative.place : negative.place + 2] = struct.pack(order + "H", 1)
        data = bytes(changed)
    entries = [data[e.where : e.where + 12] for e in page.entries if e.tag not in unwanted]
    table = struct.pack(order + "H", len(entries)) + b"".join(entries) + bytes(4)
    changed = bytearray(data)
    changed[4:8] = struct.pack(order + "L", place)
    changed[place : place + len(table)] = table
    return bytes(changed)
