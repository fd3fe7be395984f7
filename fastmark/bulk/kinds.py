"""Kinds of files, recognised by their names and their first bytes."""

from __future__ import annotations

import lzma
import re
import zlib
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Literal

from fastmark.images.formats import KEY_BYTES, PREFIX_BYTES, format_by_prefix, is_key_file

Kind = Literal["image", "tar", "parquet", "error"]

Found = Literal["image", "tar", "parquet", "archive", "key", "metadata", "other"]
"""Kinds of files in folders and tars: "archive" is not opened, "metadata" is macOS's (AppleDouble)."""

Content = Literal["image", "tar", "parquet", "archive", "key", "metadata", "text"]

_IMAGES = """
    jpg jpeg jpe jfif mpo png webp avif gif tif tiff bmp ppm pgm pbm pnm jp2 j2k jpx qoi heic heif hif jxl
"""
_OTHER_ENDINGS = """
    txt lst json jsonl csv tsv xml html htm md yaml yml toml ini log npy npz pt pth safetensors pkl cls db
    sqlite idx index lock tmp journal pdf svg xmp key py sh mp3 wav mp4 mkv mov avi webm
"""
# files that may hold images and are not opened: archives, and formats of training pipelines
_ARCHIVE_ENDINGS = """
    zip 7z rar tzst tlz cab iso cbz cbr cb7 lzh lha arj arrow feather tfrecord tfrecords h5 hdf5 lmdb
"""

IMAGE_ENDINGS = frozenset(f".{ending}" for ending in _IMAGES.split())
"""Endings of files that are images by name; if one cannot be decoded, that is an error."""

# files that are not opened to see whether they are images
_OTHERS = frozenset(f".{ending}" for ending in _OTHER_ENDINGS.split())
_ARCHIVES = frozenset(f".{ending}" for ending in _ARCHIVE_ENDINGS.split())
_LISTS = (".txt", ".lst")
_PACKED = (".gz", ".bz2", ".xz", ".zst", ".lz4", ".lz", ".lzma", ".z", ".br", ".sz")
_TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tbz", ".tar.xz", ".txz")
_PARQUETS = (".parquet", ".pq")
_ARCHIVE_STARTS = (
    b"PK\x03\x04",
    b"PK\x05\x06",
    b"7z\xbc\xaf\x27\x1c",
    b"Rar!\x1a\x07",
    b"\x28\xb5\x2f\xfd",  # zstd
    b"\x04\x22\x4d\x18",  # lz4
    b"LZIP",
    b"\x1f\x9d",  # compress
    b"ARROW1",
)
_APPLE_DOUBLE = b"\x00\x05\x16\x07"
_ASCII = re.compile(rb"[\t\n\r -~]{8}|[\t\n\r -~]{1,7}\Z")
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
# PNM with its numbers in decimals
_PLAIN_PIXELS = re.compile(rb"P[1-6fFy][\s#]+[\d#]")
_UTF_MARKS = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")

TAR_BLOCK_BYTES = 512
"""One block of a tar, enough to recognise every kind of source but a key file."""


def kind_by_ending(name: str) -> Literal["image", "tar", "parquet", "archive", "other"] | None:
    """The kind of a file by its name; None if the name does not say."""
    lower = name.lower()
    suffix = PurePosixPath(lower).suffix
    if suffix in IMAGE_ENDINGS:
        return "image"
    if lower.endswith(_TARS):
        return "tar"
    if lower.endswith(_PARQUETS):
        return "parquet"
    if suffix in _PACKED:  # a packed text is no archive, a packed image might as well be one
        return "other" if PurePosixPath(lower).with_suffix("").suffix in _OTHERS else "archive"
    if suffix in _ARCHIVES:
        return "archive"
    return "other" if suffix in _OTHERS else None


def kind_by_content(start: bytes) -> Content | None:
    """The kind of a file by its first ``KEY_BYTES``, or at least ``TAR_BLOCK_BYTES``; None if unknown."""
    if _reads_as_text(start):  # a path may begin like a file: BMW/1.jpg, Pyrenees/2.jpg
        if is_key_file(start):
            return "key"
        return "image" if _PLAIN_PIXELS.match(start) else "text"
    if start[:4] == b"PAR1":
        return "parquet"
    if start[257:262] == b"ustar" or compression(start):
        return "tar"
    if format_by_prefix(start[:PREFIX_BYTES]):
        return "image"
    if start.startswith(_ARCHIVE_STARTS):
        return "archive"
    if is_apple_double(start):
        return "metadata"
    if is_key_file(start):
        return "key"
    return "text" if start.startswith(_UTF_MARKS) or b"\0" not in start else None


def _reads_as_text(start: bytes) -> bool:
    """Whether a file begins with ASCII and has no control characters further on."""
    return _ASCII.match(start) is not None and _CONTROL.search(start) is None


def kind_of_file(name: str, size: int, start: Callable[[], bytes]) -> Found:
    """The kind of a file that a folder or a tar holds, not named by the user.

    Args:
        name: its path; the ending decides, where it tells anything.
        size: its bytes.
        start: gives the first ``KEY_BYTES`` of it, or all there are; called only if need be.
    """
    kind = kind_by_ending(name)
    if may_be_apple_double(name) and is_apple_double(start()):
        return "metadata"
    if kind == "other":
        return "other"
    if kind is not None:
        return "key" if size <= KEY_BYTES and is_key_file(start()) else kind
    begin = start()
    content = kind_by_content(begin)
    if content == "tar" and compression(begin):
        return _packed(begin)
    if content is None or content == "text" or content == "metadata":
        return "other"
    return content


def _packed(start: bytes) -> Found:
    """The kind of a compressed file of unknown ending, as far as its first bytes show."""
    try:
        if start.startswith(b"\x1f\x8b"):
            unpacker = zlib.decompressobj(31)
            inner, whole = unpacker.decompress(start, TAR_BLOCK_BYTES), unpacker.eof
        elif start.startswith(b"\xfd7zXZ\0"):
            unxz = lzma.LZMADecompressor()
            inner, whole = unxz.decompress(start, TAR_BLOCK_BYTES), unxz.eof
        else:  # bz2 gives nothing before a block of up to 900 kB
            return "archive"
    except (zlib.error, lzma.LZMAError, EOFError):
        return "other"
    if len(inner) < TAR_BLOCK_BYTES and not whole:
        return "archive"
    return "tar" if inner[257:262] == b"ustar" else "other"


def key_file_error(shown: str) -> str:
    """The error of a key file where an image is expected; it quotes nothing from the file."""
    return f"{shown} is a fastmark key file, not an image: take it out of the sources"


def may_be_apple_double(name: str) -> bool:
    """Whether a file is named like macOS's metadata of another, on file systems without a place for it."""
    return name.replace("\\", "/").rpartition("/")[2].startswith("._")


def is_apple_double(start: bytes) -> bool:
    """Whether a file that begins so is macOS's metadata of another."""
    return start.startswith(_APPLE_DOUBLE)


def compression(start: bytes) -> Literal["gzip", "bz2", "lzma"] | None:
    """The compression of a file that begins so, as the name of Python's module; None if it has none."""
    if start.startswith(b"\x1f\x8b"):
        return "gzip"
    if start.startswith(b"BZh") and start[4:7] in (b"1AY", b"\x17\x72\x45"):
        return "bz2"
    return "lzma" if start.startswith(b"\xfd7zXZ\0") else None


def ending_of(format_name: str) -> str:
    """The usual ending of files of a format, which is given as Pillow names it, in any case."""
    name = format_name.lower()
    return {"jpeg": ".jpg", "tiff": ".tif"}.get(name, f".{name}")


def is_shard(name: str) -> bool:
    """Whether a file of that name holds many images."""
    return kind_by_ending(name) in ("tar", "parquet")


def is_list(name: str) -> bool:
    """Whether a source of that name is a list of paths, if it is a text."""
    return name.lower().endswith(_LISTS)


def stem(name: str) -> str:
    """A shard's name without its ending."""
    return next((name[: -len(e)] for e in (*_TARS, *_PARQUETS) if name.lower().endswith(e)), name)
