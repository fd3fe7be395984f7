"""Ids of images that are about to leave: reserved before, completed after, given back where nothing left."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from PIL import Image

from fastmark.errors import RegistryError
from fastmark.records import Record

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastmark.registry.store import Registry
    from fastmark.results import EmbedReport


@contextlib.contextmanager
def reserved(
    registry: Registry, record: Record | None, message: bytes | None, key_id: str, message_bits: int
) -> Iterator[bytes]:
    """Reserve a message while an image is watermarked; give it back if that fails.

    Args:
        registry: that keeps the entry.
        record: what the entry says of the image; None says nothing of it.
        message: to reserve; None to draw one that is not taken.
        key_id: of the key that embeds.
        message_bits: length of the message.

    Raises:
        RegistryError: if the registry cannot be reached, or the message is taken.
    """
    drawn = registry.reserve(record or Record(), key_id=key_id, message_bits=message_bits, message=message)
    try:
        yield drawn
    except BaseException:
        # NOTE: an entry that stays says "reserved", which is true; the first error is the one to be told
        with contextlib.suppress(RegistryError):
            registry.release(drawn)
        raise


def complete_as_pixels(
    registry: Registry, message: bytes, marked: Image.Image | NDArray[Any], report: EmbedReport
) -> None:
    """Complete the entry of an image that leaves as pixels; give it back where the image was kept as it was.

    Raises:
        RegistryError: if the registry cannot be reached.
    """
    if report.action == "kept":
        registry.release(message)
        return
    from fastmark.registry.fingerprint import perceptual_hash

    width, height = marked.size if isinstance(marked, Image.Image) else marked.shape[1::-1]
    registry.complete(message, width=width, height=height, perceptual_hash=perceptual_hash(marked))
