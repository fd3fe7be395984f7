"""Ids of images that are about to leave: reserved before, completed after, given back where nothing left."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from PIL import Image

from fastmark.errors import FastmarkError, IdTakenError, RegistryError, one_line
from fastmark.records import Record

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastmark.registry.store import Registry
    from fastmark.results import EmbedReport


@contextlib.contextmanager
def reserved(
    registry: Registry,
    record: Record | None,
    message: bytes | None,
    key_id: str,
    message_bits: int,
    abandoned_before: dt.datetime | None = None,
) -> Iterator[bytes]:
    """Reserve a message while an image is watermarked; give it back if that fails.

    Args:
        registry: that keeps the entry.
        record: what the entry says of the image; None says nothing of it.
        message: to reserve; None to draw one that is not taken.
        key_id: of the key that embeds.
        message_bits: length of the message.
        abandoned_before: ``message`` may be taken over if it was reserved before that time, for this key and
            record, and no image has left with it: by a run that was killed, which this one resumes.

    Raises:
        IdTakenError: if the message is taken.
        RegistryError: if the registry cannot be reached.
    """
    said = record or Record()
    try:
        drawn = registry.reserve(said, key_id=key_id, message_bits=message_bits, message=message)
    except IdTakenError:
        if message is None or not _abandoned(registry, said, message, key_id, abandoned_before):
            raise
        drawn = message
    try:
        yield drawn
    except BaseException:
        # NOTE: an entry that stays says "reserved", which is true; the first error is the one to be told
        with contextlib.suppress(RegistryError):
            registry.release(drawn)
        raise


def _abandoned(
    registry: Registry, record: Record, message: bytes, key_id: str, before: dt.datetime | None
) -> bool:
    """Whether an entry was left reserved by a run that was killed."""
    entry = None if before is None else registry.get(message)
    return (
        entry is not None
        and before is not None
        and entry.state == "reserved"
        and entry.created_at < before
        and (entry.key_id, entry.record.to_dict()) == (key_id, record.to_dict())
    )


def stays_reserved(message: bytes, error: FastmarkError, where: str = "") -> RegistryError:
    """Return the error of an entry that could not be completed; ``where`` tells of the image, with "but"."""
    return RegistryError(f"{where}the registry's entry {message.hex()} stays reserved: {one_line(error)}")


def complete_as_pixels(
    registry: Registry, message: bytes, marked: Image.Image | NDArray[Any], report: EmbedReport
) -> None:
    """Complete the entry of an image that leaves as pixels; give it back where the image was kept as it was.

    Raises:
        RegistryError: if the registry cannot be reached: the entry then stays reserved, as the pixels may
            be in an array of the caller's.
    """
    if report.action == "kept":
        registry.release(message)
        return
    from fastmark.registry.fingerprint import perceptual_hash

    width, height = marked.size if isinstance(marked, Image.Image) else marked.shape[1::-1]
    try:
        registry.complete(message, width=width, height=height, perceptual_hash=perceptual_hash(marked))
    except FastmarkError as error:
        raise stays_reserved(message, error) from error
