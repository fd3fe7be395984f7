"""What embedding and detection report."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

State = Literal["detected", "possible", "absent"]

_NOTES = {
    "detected": "The mark of this key is in the picture;"
    " p_value bounds the chance of saying so of a picture without it.",
    "possible": "There is some evidence of the mark of this key, too little to rely on.",
    "absent": "No mark of this key was found. That does not mean that the picture was not generated.",
}


@dataclass(frozen=True, slots=True)
class Detection:
    """What was found of one key's mark in one picture.

    Attributes:
        state: ``detected`` (p_value at most 1e-9), ``possible`` (at most 1e-4) or ``absent``.
        log10_p: decimal logarithm of the bound on the false-positive rate, at most 0: the chance, over
            keys, that a picture marked by nobody or by another key looks this convincing, with every
            geometry and key searched counted in.
        message: the message, or None unless it is itself proven at 1e-9.
        message_bits: length of the messages looked for.
        message_log10_p: the same bound for the message alone; 0 when none was decoded.
        scale: pixels of this picture to one of the marked original, the root of the area ratio; None if
            absent. Without a message it takes the original to be of this picture's size class.
        rotation_deg: counterclockwise turn of the original in -180..180 degrees; None if absent.
        aspect: width over height of an original square; None if absent.
        mirrored: whether the original was mirrored (left and right swapped) before it was turned.
        inverted: whether its greys are turned round (a negative).
        key_id: whose mark was looked for.
    """

    state: State
    log10_p: float
    message: int | None
    message_bits: int
    message_log10_p: float
    scale: float | None
    rotation_deg: float | None
    aspect: float | None
    mirrored: bool
    inverted: bool
    key_id: str

    @property
    def p_value(self) -> float:
        """Return ``10 ** log10_p``; below about 1e-308 it is 0."""
        return float(10.0**self.log10_p)

    @property
    def message_bytes(self) -> bytes | None:
        """Return the message as big-endian bytes, or None."""
        return None if self.message is None else self.message.to_bytes(self.message_bits // 8, "big")

    @property
    def note(self) -> str:
        """Return what the state means, in words."""
        return _NOTES[self.state]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values; ``message_bytes`` in hex."""
        fields = dataclasses.asdict(self)
        data = self.message_bytes
        fields |= {
            "p_value": self.p_value,
            "message_bytes": None if data is None else data.hex(),
            "note": self.note,
        }
        return fields


@dataclass(frozen=True, slots=True)
class EmbedReport:
    """What embedding did.

    Attributes:
        psnr_db: peak signal-to-noise ratio over all colour samples, dB.
        strength: the strength used, after the closed loop; 1 is the reference amplitude.
        tones: number of pilot tones.
        pixels_per_unit: k, the side of a unit.
        margin: predicted total signal-to-noise ratio of the message, untouched, over what reading it needs;
            above 1 it can be read.
        margin_jpeg: the same after the reference attack, quantisation as by JPEG at quality 50 of the plane.
        pilot_margin: predicted pilot, untouched, over what detection needs.
        warnings: what the user should know; empty when all is well.
    """

    psnr_db: float
    strength: float
    tones: int
    pixels_per_unit: int
    margin: float
    margin_jpeg: float
    pilot_margin: float
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return dataclasses.asdict(self)
