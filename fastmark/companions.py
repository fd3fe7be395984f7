"""What goes beside a watermark: a registry's entry, XMP, content credentials. Nothing heavy is imported."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastmark.errors import RecordError
from fastmark.provenance import SOFT_BINDING

if TYPE_CHECKING:
    from fastmark.codec.public import PublicCode
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


def told_by(code: PublicCode) -> dict[str, Any]:
    """Return what a public watermark says in a record's words: its values for ``Record``."""
    flags = code.flags
    told: dict[str, Any] = {"action": "labelled"}
    if "ai-generated" in flags:
        told["action"] = "created"
    elif "ai-edited" in flags:
        told["action"] = "altered"
    elif "captured" in flags:
        told["source_type"] = "digitalCapture"
    if code.trains != "any":
        told["policy"] = "no-training" if code.trains == "none" else "no-generative-training"
    return told


def record_beside(record: Record | None, code: PublicCode | None) -> Record | None:
    """Return the record that goes beside a public watermark: one label does not contradict the other.

    Args:
        record: what is said of the image; None where all that is said is in the watermark.
        code: what the public watermark says; None without one, and the record is left as it is.

    Raises:
        RecordError: if the record says that the image was generated and the watermark that it was not, or
            the other way round.
    """
    if code is None:
        return record
    from fastmark.provenance.xmp import is_generated
    from fastmark.records import Record

    told = told_by(code)
    if record is None:
        return Record(**told)
    flags = set(code.flags)
    by_model = bool({"ai-generated", "ai-edited"} & flags)
    said = is_generated(record.digital_source_type)
    if (said is False and by_model) or (said and not by_model and "captured" in flags):
        raise RecordError(
            f"the public watermark says {','.join(code.flags)}, and the record says"
            f" {record.digital_source_type}: change the one or the other"
        )
    return dataclasses.replace(record, policy=told["policy"]) if _forbids_more(told, record) else record


def _forbids_more(told: dict[str, Any], record: Record) -> bool:
    order = ("none", "no-generative-training", "no-training")
    return order.index(told.get("policy", "none")) > order.index(record.policy)
