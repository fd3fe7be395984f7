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
    def tells(self) -> bool:
        """Whether there is a place where a record is written."""
        return self.registry is not None or self.xmp or self.signer is not None

    def fingerprints(self) -> dict[str, str]:
        """Return 16 hex digits for each option that is given, which differ where its value does.

        They do not tell the value. The registry's is that of its URL without password and parameters, the
        signer's of the certificates.
        """
        told = {
            "record": None if self.record is None else self.record.to_dict(),
            "registry": None if self.registry is None else self.registry.name,
            "xmp": self.xmp or None,
            "sign": None if self.signer is None else repr(self.signer),
            "soft_binding": None if self.soft_binding == SOFT_BINDING else self.soft_binding,
        }
        return {
            name: hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
            for name, value in told.items()
            if value is not None
        }

    def check_format(self, format_name: str) -> None:
        """Refuse a format that cannot be signed where images are, before any work.

        Args:
            format_name: as Pillow names it.

        Raises:
            CredentialError: if it has no place for content credentials.
        """
        if self.signer is not None:
            from fastmark.provenance.signing import check_signable

            check_signable(format_name)


NOTHING = Companions()
"""Nothing beside the watermark."""
