"""PNG files: their chunks, looked at one by one, so that damaged metadata does not hide the image.

Pillow gives up at the first wrong checksum, at texts and profiles of more than a megabyte, and at much else
that has nothing to do with pixels. What it would not take is kept aside or left out; it gets the rest.
"""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass
from typing import Any

from PIL import PngImagePlugin

from fastmark.errors import InvalidImageError
from fastmark.images.findings import C2PA_DROPPED, EXIF_DAMAGED, ICC_DAMAGED, Findings
from fastmark.images.ifd import exif_is_damaged, orientation_of

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MOST_TEXT = 64 << 20
"""Bytes that one text or profile may have when inflated, and half of what all may have; more is a bomb."""

CHUNKS = "png_chunks"
"""Under which name ``Image.info`` has the colour description as in the file: (kind, content) pairs."""

_MOST_CHECKED = 1 << 30  # bytes behind damage, over all that look like chunks: half a second
_COLOUR = {b"gAMA": 4, b"cHRM": 32, b"sRGB": 1, b"cICP": 4, b"mDCV": 24, b"cLLI": 8}  # and their lengths
_SHORTEST = {b"pHYs": 9, b"acTL": 8}
_ANIMATION = (b"acTL", b"fcTL", b"fdAT")
_KNOWN = re.compile(
    rb"IDAT|IEND|PLTE|tRNS|iCCP|gAMA|cHRM|sRGB|cICP|mDCV|cLLI|sBIT|pHYs|tEXt|zTXt|iTXt|eXIf|tIME|bKGD|hIST"
    rb"|sPLT|acTL|fcTL|fdAT|caBX"
)
_NAMED = re.compile(rb"[A-Za-z]{4}")
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}


@dataclass(frozen=True, slots=True)
class Chunk:
    """A chunk: its four letters, its content, and whether checksum and length were right."""

    kind: bytes
    content: bytes
    intact: bool
    cut: bool = False

    def encoded(self) -> bytes:
        """The chunk as it stands in a file."""
        return encoded(self.kind, self.content)


def encoded(kind: bytes, content: bytes) -> bytes:
    """A chunk as it stands in a file."""
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(content, zlib.crc32(kind)))
    )


def examine(data: bytes) -> Findings:
    """Look at a PNG file's chunks.

    Args:
        data: the file, from its signature on.

    Raises:
        InvalidImageError: if the header or the pixels are missing.
    """
    chunks, behind = _chunks(data)
    return _Examination(data, chunks, behind).findings()


def texts(data: bytes, most: int) -> tuple[dict[str, str], bytes | None]:
    """Texts of a PNG file by keyword, the first of each, and its EXIF; damaged and too large ones left out.

    Args:
        data: the file, from its signature on.
        most: bytes that all texts may have when inflated.
    """
    chunks, _ = _chunks(data)
    look = _Examination(data, [], 0)
    look.budget = most
    found: dict[str, str] = {}
    for chunk in chunks:
        if chunk.kind in (b"tEXt", b"zTXt", b"iTXt") and chunk.intact and len(chunk.content) <= most:
            parsed = look.parsed_text(chunk)
            if not isinstance(parsed, str):
                found.setdefault(*parsed)
    return found, next((chunk.content for chunk in chunks if chunk.kind == b"eXIf" and chunk.intact), None)


def insert(data: bytes, chunks: list[tuple[bytes, bytes]]) -> bytes:
    """A sound PNG file with more chunks, (kind, content), right behind its header."""
    header = len(SIGNATURE) + 25
    return b"".join([data[:header], *(encoded(*chunk) for chunk in chunks), data[header:]])


def _chunks(data: bytes) -> tuple[list[Chunk], int]:
    """All chunks up to IEND, and how many bytes come behind it."""
    chunks = []
    place, left = len(SIGNATURE), _MOST_CHECKED
    while place + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        end = place + 8 + length
        whole = end + 4 <= len(data)
        content = data[place + 8 : end]
        intact = whole and zlib.crc32(content, zlib.crc32(kind)) == int.from_bytes(data[end : end + 4], "big")
        cut = not whole
        if not intact and (cut or not _plausible(data, end + 4)):
            # the length itself may be wrong: on from the next chunk that is in order
            following, left = _next_intact(data, place + 8, left)
            if following is not None:
                content, end, cut = data[place + 8 : following - 4], following - 4, False
        chunks.append(Chunk(kind, content, intact, cut))
        place = end + 4
        if kind == b"IEND":
            break
    return chunks, max(0, len(data) - place)


def _plausible(data: bytes, place: int) -> bool:
    """Whether a chunk, or nothing at all, is at ``place``."""
    return place >= len(data) or _NAMED.fullmatch(data[place + 4 : place + 8]) is not None


def _next_intact(data: bytes, start: int, left: int) -> tuple[int | None, int]:
    """Where the next chunk begins that is in order, and of how many more bytes checksums may be computed.

    Where there is none it is 0: nor will there be one further on.
    """
    for match in _KNOWN.finditer(data, start + 4) if left > 0 else ():
        place = match.start() - 4
        end = match.end() + int.from_bytes(data[place : place + 4], "big")
        if end + 4 <= len(data):
            left -= end - place
            if zlib.crc32(data[match.start() : end]) == int.from_bytes(data[end : end + 4], "big"):
                return place, left
            if left <= 0:
                break
    return None, 0


class _Examination:
    """One look at one file: sorts chunks into those that Pillow gets and those that it does not."""

    def __init__(self, data: bytes, chunks: list[Chunk], behind: int) -> None:
        self.data = data
        self.chunks = chunks
        self.result = Findings(data)
        self.rebuild = False
        self.kept: list[Chunk] = []  # ancillary ones, in their order
        self.colour: list[tuple[bytes, bytes]] = []
        self.passed_on = 0  # bytes of text that Pillow gets
        self.budget = 2 * MOST_TEXT
        self.animation = [chunk for chunk in chunks if chunk.kind in _ANIMATION]
        if behind and data[-behind:].strip(b"\0"):
            self.result.damaged.append(f"{behind} bytes behind the end of the image were left out")

    def findings(self) -> Findings:
        result = self.result
        header = self._critical(b"IHDR")
        pixels = [chunk for chunk in self.chunks if chunk.kind == b"IDAT"]
        if header is None or not self._header_is_sane(header.content):
            raise InvalidImageError("the PNG header is missing or damaged")
        if not pixels:
            raise InvalidImageError("the PNG file has no pixels: it is cut short or damaged")
        result.bits = header.content[8]
        result.keeps_deep = header.content[9] == 0
        if any(not chunk.intact and not chunk.cut for chunk in pixels):
            self._break("the pixel data of the PNG file (IDAT) are damaged")
        elif any(chunk.cut for chunk in pixels):
            self.rebuild = True  # what there is, the decoder is to have as a whole chunk
        palette = self._critical(b"PLTE")
        transparency = self._transparency(header.content)
        for chunk in self.chunks:
            if chunk.kind not in (b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", *_ANIMATION):
                self._ancillary(chunk, header.content)
        end = [chunk for chunk in self.chunks if chunk.kind == b"IEND"]
        if not end or end[0].cut:
            self._damage("the end of the PNG file (IEND) is missing")
        elif not end[0].intact:
            self._break("the end of the PNG file (IEND) is damaged")
        if self._misordered():
            self._damage("the chunks of the PNG file are in the wrong order")
        self._count_frames()
        if self.colour:
            result.info[CHUNKS] = tuple(self.colour)
        if self.rebuild:
            critical = [header, *self.kept, *(c for c in (palette, transparency) if c), *pixels]
            result.data = SIGNATURE + b"".join(c.encoded() for c in [*critical, Chunk(b"IEND", b"", True)])
        return result

    def _damage(self, sentence: str) -> None:
        self.rebuild = True
        if sentence not in self.result.damaged:
            self.result.damaged.append(sentence)

    def _break(self, sentence: str) -> None:
        self.rebuild = True
        if sentence not in self.result.broken:
            self.result.broken.append(sentence)

    def _critical(self, kind: bytes) -> Chunk | None:
        """The first chunk of a kind of which there should be one, intact ones before others."""
        found = [chunk for chunk in self.chunks if chunk.kind == kind]
        if not found:
            return None
        if not found[0].intact:
            self._break(f"the chunk {kind.decode()} of the PNG file is damaged")
        elif len(found) > 1:
            self._damage(f"the PNG file has more than one {kind.decode()}; the first was taken")
        return next((chunk for chunk in found if chunk.intact), found[0])

    @staticmethod
    def _header_is_sane(header: bytes) -> bool:
        if len(header) < 13:
            return False
        width, height, depth, colour, compression, filters, interlace = struct.unpack_from(">IIBBBBB", header)
        return bool(
            width
            and height
            and depth in _DEPTHS.get(colour, ())
            and not compression
            and not filters
            and interlace < 2
        )

    def _transparency(self, header: bytes) -> Chunk | None:
        """The tRNS chunk, if it is in order."""
        chunk = next((c for c in self.chunks if c.kind == b"tRNS"), None)
        if chunk is None:
            return None
        depth, colour = header[8], header[9]
        needed = {0: 2, 2: 6, 3: 1}.get(colour)
        if needed is None:  # there is alpha already
            self._damage("the transparency chunk (tRNS) has no place in this PNG file and was left out")
            return None
        if not chunk.intact or len(chunk.content) < needed:
            self._break("the transparency (tRNS) of the PNG file is damaged")
            return None
        if colour == 0 and depth < 8:
            # Pillow widens pixels to 8 bits, and not the grey value that is transparent
            value = (int.from_bytes(chunk.content[:2], "big") & ((1 << depth) - 1)) * (
                255 // ((1 << depth) - 1)
            )
            self.result.info["transparency"] = value
        return chunk

    def _ancillary(self, chunk: Chunk, header: bytes) -> None:
        """Keep a chunk, put it aside, or leave it out."""
        kind, content = chunk.kind, chunk.content
        name = kind.decode("latin-1") if _NAMED.fullmatch(kind) else "?"
        if kind == b"caBX":
            self.result.dropped.append(C2PA_DROPPED)
            self.rebuild |= not chunk.intact
        elif not chunk.intact:
            if kind == b"eXIf":
                self._damage(EXIF_DAMAGED)
                self.result.info["orientation"] = orientation_of(content)
            elif kind == b"iCCP":
                self._damage(ICC_DAMAGED)
            elif name == "?" or kind[0] & 32:
                self._damage(f"the chunk {name} of the PNG file is damaged and was left out")
            else:
                self._break(f"a chunk of the PNG file that has to be understood ({name}) is damaged")
        elif kind in _COLOUR or kind == b"sBIT":
            short = kind in _COLOUR and len(content) < _COLOUR[kind]
            if short or (kind == b"sBIT" and len(content) != {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}[header[9]]):
                self._damage(f"the chunk {name} of the PNG file is damaged and was left out")
            else:
                self.colour.append((kind, content))
                self.kept.append(chunk)
        elif len(content) < _SHORTEST.get(kind, 0):
            self._damage(f"the chunk {name} of the PNG file is damaged and was left out")
        elif kind == b"iCCP":
            self._profile(chunk)
        elif kind == b"eXIf" and exif_is_damaged(content):
            self._damage(EXIF_DAMAGED)
            self.result.info["orientation"] = orientation_of(content)
        elif kind in (b"tEXt", b"zTXt", b"iTXt"):
            self._text(chunk)
        else:
            self.kept.append(chunk)

    def _profile(self, chunk: Chunk) -> None:
        name, _, rest = chunk.content.partition(b"\0")
        profile = self._inflated(rest[1:]) if 1 <= len(name) <= 79 and rest[:1] == b"\0" else None
        if not profile or is_cut_profile(profile):
            self._damage(ICC_DAMAGED)
        elif len(profile) > _limit():
            self.rebuild = True
            self.result.info["icc_profile"] = profile
        else:
            self.kept.append(chunk)

    def _text(self, chunk: Chunk) -> None:
        """Texts that Pillow takes go to it; larger ones are read here."""
        parsed = self.parsed_text(chunk)
        if isinstance(parsed, str):
            key = chunk.content.split(b"\0", 1)[0].decode("latin-1")[:79]
            self._damage(f"the text {key!r} of the PNG file {parsed} and was left out")
            return
        key, text = parsed
        self.passed_on += len(text)
        if len(text) <= _limit() and self.passed_on <= 8 * _limit():
            self.kept.append(chunk)
            return
        self.rebuild = True
        self.result.info[key] = text
        if key == "XML:com.adobe.xmp":
            self.result.info["xmp"] = text.encode()

    def _inflated(self, data: bytes) -> bytes | None:
        """A zlib stream's content; None where it is damaged or too large."""
        inflater = zlib.decompressobj()
        most = min(MOST_TEXT, self.budget)
        try:
            content = inflater.decompress(data, most) if most > 0 else b""
        except zlib.error:
            return None
        self.budget -= len(content)
        return content if inflater.eof else None

    def parsed_text(self, chunk: Chunk) -> tuple[str, Any] | str:
        """Keyword and text of a text chunk, or what is wrong with it."""
        key, _, rest = chunk.content.partition(b"\0")
        name = key.decode("latin-1")
        if chunk.kind == b"tEXt":
            return name, rest.decode("latin-1")
        if chunk.kind == b"zTXt":
            plain = self._inflated(rest[1:]) if rest[:1] == b"\0" else None
            return "is damaged or too large" if plain is None else (name, plain.decode("latin-1"))
        try:
            compressed, method = rest[0], rest[1]
            language, translated, content = rest[2:].split(b"\0", 2)
            plain = content if not compressed else self._inflated(content) if method == 0 else None
            if plain is None:
                return "is damaged or too large"
            return name, PngImagePlugin.iTXt(plain.decode(), language.decode(), translated.decode())
        except (IndexError, ValueError):
            return "is damaged"

    def _misordered(self) -> bool:
        kinds = [c.kind for c in self.chunks if c.kind not in _ANIMATION]
        first = kinds.index(b"IDAT")
        last = len(kinds) - 1 - kinds[::-1].index(b"IDAT")
        wrong = kinds[0] != b"IHDR" or any(kind != b"IDAT" for kind in kinds[first:last])
        late = {b"PLTE", b"tRNS", b"iCCP", *_COLOUR}.intersection(kinds[last:])
        palette = kinds.index(b"PLTE") if b"PLTE" in kinds else 0
        # Pillow itself minds neither tRNS nor a profile on the wrong side of the palette
        return (
            wrong
            or bool(late)
            or b"tRNS" in kinds[:palette]
            or (palette > 0 and b"iCCP" in kinds[palette:first])
        )

    def _count_frames(self) -> None:
        """Tell an animation; what makes it one is left out, the image of the IDAT chunks stays."""
        if not self.animation:
            return
        self.rebuild = True
        controls = sum(chunk.kind == b"fcTL" for chunk in self.animation)
        told = next((c.content for c in self.animation if c.kind == b"acTL" and c.intact), b"")
        frames = int.from_bytes(told[:4], "big") if len(told) >= 8 else 0
        hidden = next((c.kind for c in self.chunks if c.kind in (b"fcTL", b"IDAT")), b"") == b"IDAT"
        self.result.frames = max(min(frames, controls) if frames else controls, 1) + (hidden and controls > 0)
        if self.result.frames == 1 and not (frames and controls):
            self._damage("the animation chunks of the PNG file are damaged and were left out")


def _limit() -> int:
    """Bytes of text or profile that Pillow is given: well within what it takes, even if that was lowered."""
    return min(PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY // 16, 1 << 20) // 2


def is_cut_profile(profile: bytes) -> bool:
    """Whether an ICC profile tells that it is longer than it is."""
    return profile[36:40] == b"acsp" and int.from_bytes(profile[:4], "big") > len(profile)
