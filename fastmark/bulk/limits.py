"""Limits: how many bytes an image may have."""

from __future__ import annotations

_METADATA_BYTES = 64 << 20
_BYTES_PER_PIXEL = 8  # 16 bits of red, green, blue and alpha, not compressed


def most_bytes(max_pixels: int) -> int:
    """The largest plausible file of ``max_pixels``, in bytes; larger ones are not read into memory."""
    return max_pixels * _BYTES_PER_PIXEL + _METADATA_BYTES


def too_large(size: int, limit: int) -> str:
    """The error of a file of more bytes than ``most_bytes``."""
    return f"{size} bytes are more than the {limit} that images of --max-pixels need"
