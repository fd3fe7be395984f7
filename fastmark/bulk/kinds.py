"""Kinds of files: what their names and their first bytes tell."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Literal

from fastmark.decoder import PREFIX_BYTES, format_by_prefix

Kind = Literal["picture", "tar", "parquet", "error"]

_PICTURE_ENDINGS = """
    jpg jpeg jpe jfif mpo png webp avif gif tif tiff bmp ppm pgm pbm pnm jp2 j2k jpx qoi heic heif
"""
_OTHER_ENDINGS = """
    txt json jsonl csv tsv xml html htm md yaml yml toml ini log npy npz pt pth safetensors pkl cls db sqlite
    idx index lock tmp journal zip gz xz bz2 zst 7z pdf svg xmp key py sh mp3 wav mp4 mkv mov avi webm
"""

PICTURES = frozenset(f".{ending}" for ending in _PICTURE_ENDINGS.split())
"""Endings of what is taken for a picture whatever it holds; a damaged one is reported."""

# what is not opened to see whether it is a picture
_OTHERS = frozenset(f".{ending}" for ending in _OTHER_ENDINGS.split())
_TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
_PARQUETS = (".parquet", ".pq")
BLOCK = 512
"""Bytes: one block of a tar, enough to tell every kind of source."""


def kind_by_ending(name: str) -> Kind | Literal["other"] | None:
    """What a file's name tells; None where it tells nothing."""
    lower = name.lower()
    suffix = PurePosixPath(lower).suffix
    if suffix in PICTURES:
        return "picture"
    if lower.endswith(_TARS):
        return "tar"
    if lower.endswith(_PARQUETS):
        return "parquet"
    return "other" if suffix in _OTHERS else None


def kind_by_content(start: bytes) -> Kind | Literal["list"] | None:
    """What a file's first ``BLOCK`` bytes tell; None where they are of nothing known."""
    if start[:4] == b"PAR1":
        return "parquet"
    if start[257:262] == b"ustar" or compression(start):
        return "tar"
    if format_by_prefix(start[:PREFIX_BYTES]):
        return "picture"
    return None if b"\0" in start else "list"


def compression(start: bytes) -> Literal["gzip", "bz2", "lzma"] | None:
    """How a file that begins so is compressed, by the name of Python's module."""
    if start.startswith(b"\x1f\x8b"):
        return "gzip"
    if start.startswith(b"BZh"):
        return "bz2"
    return "lzma" if start.startswith(b"\xfd7zXZ\0") else None


def ending_of(format_name: str) -> str:
    """The usual ending of files of a format, which is given as Pillow names it, in any case."""
    name = format_name.lower()
    return {"jpeg": ".jpg", "tiff": ".tif"}.get(name, f".{name}")


def is_shard(name: str) -> bool:
    """Whether a file of that name holds many pictures."""
    return kind_by_ending(name) in ("tar", "parquet")


def stem(name: str) -> str:
    """A shard's name without its ending."""
    return next((name[: -len(e)] for e in (*_TARS, *_PARQUETS) if name.lower().endswith(e)), name)
