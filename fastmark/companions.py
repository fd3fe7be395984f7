"""What goes beside a watermark: a registry's entry, XMP, content credentials. Nothing heavy is imported."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastmark.provenance import SOFT_BINDING

if TYPE_CHECKING:
    from fastmark.provenance.signing import Signer
    from fastmark.records import Record
    from fastmark.registry.store import Registry


@dataclass(frozen=True, slots=True, kw_only=True)
class Companions:
    """What goes beside a watermark; nothing, unless it is given.

    Attributes:
        record: what is said of the image in all of them; None says nothing of it.
        registry: where the message gets an entry.
        xmp: whether the record is written as XMP, without one that a trained model made the image.
        signer: who signs content credentials (C2PA).
        soft_binding: name under which these tell the watermark's message.
    """

    record: Record | None = None
    registry: Registry | None = None
    xmp: bool = False
    signer: Signer | None = None
    soft_binding: str = SOFT_BINDING

    @property
    def fingerprint(self) -> str:
        """Return 16 hex digits that differ where what is written differs, without telling what it is."""
        told = (
            None if self.record is None else self.record.to_dict(),
            repr(self.registry),
            self.xmp,
            repr(self.signer),
            self.soft_binding,
        )
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


NOTHING = Companions()
"""Nothing beside the watermark."""
