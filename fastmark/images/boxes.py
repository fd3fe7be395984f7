"""Files made of boxes or chunks: AVIF and HEIC, JPEG XL, WebP. What Pillow does not tell of them."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from fastmark.images.findings import C2PA_DROPPED, EXIF_DAMAGED, GAIN_MAP_DROPPED, Findings, is_c2pa
from fastmark.images.ifd import exif_is_damaged, orientation_of

Place = tuple[bytes, int, int]
"""A box: its four letters, and where its content begins and ends."""

CICP = "cicp"
"""Under which name ``Image.info`` has the numbers of primaries, transfer and matrix of a file of boxes."""

_C2PA_ID = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
_HDR = {16: "PQ", 18: "HLG"}
_JXL_BOX = b"\0\0\0\x0cJXL \r\n\x87\n"


def boxes(data: bytes, start: int, end: int) -> Iterator[Place]:
    """The boxes of a stretch of a file, up to the first that does not fit into it."""
    while start + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, start)
        head = 8
        if size == 1 and start + 16 <= end:
            (size,) = struct.unpack_from(">Q", data, start + 8)
            head = 16
        elif size == 0:
            size = end - start
        if size < head or start + size > end:
            return
        yield kind, start + head, start + size
        start += size


# ---- AVIF, HEIC ------------------------------------------------------------------------------------


def examine_heif(data: bytes, *, bare: bool = False) -> Findings:
    """Look at the boxes of an AVIF or HEIC file.

    Args:
        data: the file.
        bare: whether EXIF and XMP are to be hidden from the decoder.
    """
    result = Findings(data, unit="image")
    for kind, start, end in boxes(data, 0, len(data)):
        if kind == b"uuid" and data[start : start + 16] == _C2PA_ID:
            result.dropped.append(C2PA_DROPPED)
        elif kind == b"meta":
            _look_at_meta(data, start + 4, end, result, bare)
    return result


def _look_at_meta(data: bytes, start: int, end: int, result: Findings, bare: bool) -> None:
    hidden = bytearray(data) if bare else None
    for kind, first, last in boxes(data, start, end):
        if kind == b"iinf":
            entries = first + (6 if data[first : first + 1] == b"\0" else 8)
            for name, place, _ in boxes(data, entries, last):
                if name != b"infe" or data[place : place + 1] not in (b"\2", b"\3"):
                    continue
                place += 8 if data[place] == 2 else 10
                if data[place : place + 4] == b"tmap":
                    result.dropped.append(GAIN_MAP_DROPPED)
                elif hidden is not None and data[place : place + 4] in (b"Exif", b"mime"):
                    hidden[place : place + 4] = b"none"
        elif kind == b"iprp":
            for name, place, stop in boxes(data, first, last):
                if name == b"ipco":
                    _look_at_properties(data, place, stop, result)
    if hidden is not None and hidden != data:
        result.data = bytes(hidden)
        result.damaged.append("the metadata (EXIF or XMP) are damaged and were left out")


def _look_at_properties(data: bytes, start: int, end: int, result: Findings) -> None:
    for kind, first, last in boxes(data, start, end):
        content = data[first:last]
        if kind == b"pixi" and len(content) > 5:
            result.bits = max(result.bits, *content[5 : 5 + content[4]])
        elif kind == b"av1C" and len(content) > 2 and content[2] & 0x40:
            result.bits = max(result.bits, 12 if content[2] & 0x20 else 10)
        elif kind == b"hvcC" and len(content) > 17:
            result.bits = max(result.bits, 8 + (content[17] & 7))
        elif kind == b"auxC" and b"gainmap" in content.lower() and GAIN_MAP_DROPPED not in result.dropped:
            result.dropped.append(GAIN_MAP_DROPPED)
        elif kind == b"colr" and content[:4] == b"nclx" and len(content) >= 10 and CICP not in result.info:
            primaries, transfer, matrix = struct.unpack_from(">HHH", content, 4)
            result.info[CICP] = (primaries, transfer, matrix)
            if transfer in _HDR or primaries == 9:
                what = ", ".join(
                    [*["BT.2020"] * (primaries == 9), *([_HDR[transfer]] if transfer in _HDR else [])]
                )
                result.dropped.append(f"the image is HDR ({what}): only PNG is written with that description")


# ---- JPEG XL ---------------------------------------------------------------------------------------


class _Bits:
    """Numbers of a few bits each, lowest bit first."""

    def __init__(self, data: bytes) -> None:
        self.value = int.from_bytes(data, "little")

    def take(self, count: int) -> int:
        taken = self.value & ((1 << count) - 1)
        self.value >>= count
        return taken


def examine_jxl(data: bytes) -> Findings:
    """Look at a JPEG XL file: its size, depth, frames, and the metadata that the decoder leaves out."""
    result = Findings(data)
    stream = b"" if data.startswith(_JXL_BOX) else data
    for kind, start, end in boxes(data, 0, len(data)) if not stream else ():
        if kind == b"jxlc" and not stream:
            stream = data[start : start + 64]
        elif kind == b"jxlp" and not stream:
            stream = data[start + 4 : start + 68]
        elif kind == b"xml ":
            result.info["xmp"] = data[start:end]
        elif kind == b"jumb" and is_c2pa(data[start : start + 64]):
            result.dropped.append(C2PA_DROPPED)
    if stream[:2] == b"\xff\n":
        bits = _Bits(stream[2:66])
        height, width = _jxl_size(bits)
        result.size = width, height
        if not bits.take(1):  # not the default
            extra = bits.take(1)
            flags = [bits.take(3)] + [bits.take(1) for _ in range(3)] if extra else [0, 0, 0, 0]
            if flags[3]:
                result.frames = 2  # how many is not told
            if flags[1:] == [0, 0, 0] and not bits.take(1):
                result.bits = (8, 10, 12, 0)[selector := bits.take(2)] or (
                    bits.take(6) + 1 if selector else 8
                )
    return result


def _jxl_size(bits: _Bits) -> tuple[int, int]:
    small = bits.take(1)

    def side() -> int:
        return (bits.take(5) + 1) * 8 if small else bits.take((9, 13, 18, 30)[bits.take(2)]) + 1

    height = side()
    ratio = bits.take(3)
    if not ratio:
        return height, side()
    over, under = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))[ratio - 1]
    return height, height * over // under


# ---- WebP ------------------------------------------------------------------------------------------

_WEBP_PIXELS = (b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF")
_WEBP_FLAGS = {b"ICCP": 0x20, b"EXIF": 0x08, b"XMP ": 0x04}


def examine_webp(data: bytes, *, bare: bool = False) -> Findings:
    """Look at the chunks of a WebP file.

    Args:
        data: the file.
        bare: whether the decoder is to have nothing but what the pixels need.
    """
    result = Findings(data)
    result.size = _webp_size(data)
    place, kept, flags, odd = 12, [], 0, bare
    sized = min(len(data), 8 + int.from_bytes(data[4:8], "little"))
    if len(data) >= 8 and sized & 1 and sized < len(data):
        sized += 1
    while place + 8 <= len(data):
        kind, size = struct.unpack_from("<4sI", data, place)
        content = data[place + 8 : place + 8 + size]
        cut = len(content) < size
        if kind in _WEBP_PIXELS or kind == b"VP8X":
            kept.append((kind, content))
            if cut:
                return result  # the decoder says so
        elif cut and (kind in _WEBP_FLAGS or place < sized):
            odd = True
            result.damaged.append(
                f"the chunk {_printable(kind)} of the WebP file is cut short and was left out"
            )
        elif kind == b"EXIF" and exif_is_damaged(content):
            odd = True
            result.damaged.append(EXIF_DAMAGED)
            result.info["orientation"] = orientation_of(content)
        elif kind in _WEBP_FLAGS and not bare:
            kept.append((kind, content))
            flags |= _WEBP_FLAGS[kind]
        elif kind == b"C2PA":
            result.dropped.append(C2PA_DROPPED)
        place += 8 + size + (size & 1)
    if not odd and kept and len(data) < 8 + int.from_bytes(data[4:8], "little"):
        odd = True
        result.damaged.append("the WebP file is cut short behind its pixels")
    if bare:
        result.damaged.append("the metadata of the WebP file are damaged and were left out")
    if odd and kept:
        body = b"".join(
            kind + struct.pack("<I", len(content)) + content + bytes(len(content) & 1)
            for kind, content in ((k, _flagged(c, flags) if k == b"VP8X" else c) for k, c in kept)
        )
        result.data = b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body
    return result


def _webp_size(data: bytes) -> tuple[int, int] | None:
    """Width and height as the header tells."""
    kind = data[12:16]
    if kind == b"VP8X" and len(data) >= 30:
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    if kind == b"VP8 " and len(data) >= 30:
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L" and len(data) >= 25:
        (bits,) = struct.unpack_from("<I", data, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return None


def _flagged(header: bytes, flags: int) -> bytes:
    """An extended header that tells of the metadata that are there."""
    return bytes([header[0] & ~0x2C | flags]) + header[1:] if header else header


def _printable(kind: bytes) -> str:
    return kind.decode("ascii", "replace").strip() if kind.isalnum() or kind == b"XMP " else "?"
