"""What was done to an image since it was watermarked: a word and a number, and a clause for people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

if TYPE_CHECKING:
    from fastmark.results import Detection

Kind = Literal["scaled", "turned", "stretched", "mirrored", "inverted", "cropped", "rewritten"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""Resized, rotated, resized more one way than the other, mirrored, its greys inverted; cropped, or added to;
and a file that was written anew or edited, of an image whose shape is as it was."""

# What the detector says of an image that was not changed differs from 1, and from 0 degrees, by less.
SCALE, DEGREES = 0.01, 0.5


@dataclass(frozen=True, slots=True)
class Change:
    """One change.

    Attributes:
        kind: of ``KINDS``.
        by: "scaled": times its size, two digits; "turned": degrees counterclockwise, whole; None of others.
    """

    kind: Kind
    by: float | None = None

    @property
    def says(self) -> str:
        """The change in words."""
        match self.kind:
            case "scaled":
                return f"it was scaled to {self.by:g} times its size"
            case "turned":
                return f"it was turned by {self.by:.0f} degrees"
            case "inverted":
                return "its greys were inverted"
            case "cropped":
                return "it was cropped, or added to"
            case "rewritten":
                return "the file was written anew or edited"
        return f"it was {self.kind}"

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {"change": self.kind, "by": self.by}


def changes_of_shape(found: Detection | None) -> tuple[Change, ...]:
    """Return how the image's shape was changed since it was watermarked; nothing without a watermark."""
    if found is None or not found.detected or found.scale is None:
        return ()
    changes = []
    if abs(found.scale - 1) > SCALE:
        changes.append(Change("scaled", float(f"{found.scale:.2g}")))
    if found.rotation_deg is not None and abs(found.rotation_deg) > DEGREES:
        changes.append(Change("turned", float(round(found.rotation_deg))))
    if found.aspect is not None and abs(found.aspect - 1) > 2 * SCALE:
        changes.append(Change("stretched"))
    if found.mirrored:
        changes.append(Change("mirrored"))
    if found.inverted:
        changes.append(Change("inverted"))
    return tuple(changes)
