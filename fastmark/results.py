"""What embedding and detection report."""

from __future__ import annotations

import dataclasses
import warnings
from dataclasses import dataclass
from typing import Any, Literal

State = Literal["detected", "possible", "absent"]
Action = Literal["marked", "replaced", "kept"]
Binding = Literal["match", "mismatch", "unknown"]
MadeWith = Literal["key", "detector key", "unknown"]

_NOTES = {
    "detected": "The watermark of this key is present."
    " p_value is an upper bound on the chance of this result for an image without it.",
    "possible": "There are traces that may be the watermark of this key, too weak to rely on.",
    "absent": "No watermark of this key was found."
    " This is no evidence that the image is authentic or not AI-generated.",
}


@dataclass(frozen=True, slots=True)
class Detection:
    """What was found of one key's watermark in one image; true in an ``if`` where it is ``detected``.

    Attributes:
        state: ``detected`` (p_value at most 1e-9), ``possible`` (at most 1e-4) or ``absent``.
        log10_p: decimal logarithm of the bound on the false-positive rate, -77.07..0: the chance, over
            keys, that an image without this watermark looks this convincing, with every geometry and key
            searched counted in. It ends at 2^-256, the chance of guessing the key.
        message: the message, or None unless it is itself proven at 1e-9.
        message_bits: length of the messages looked for.
        message_log10_p: the same bound for the message alone; 0 when none was decoded.
        margin: signal-to-noise ratio of the message over what reading one of this length needs, as
            ``EmbedReport.margin_message``; None without a message.
        scale: pixels of this image to one of the watermarked original, the root of the area ratio; None if
            absent. Without a message it takes the original to be of this image's size class.
        rotation_deg: counterclockwise turn of the original in -180..180 degrees; None if absent.
        aspect: width over height of an original square; None if absent.
        mirrored: whether the original was mirrored (left and right swapped) before it was turned.
        inverted: whether its greys are turned round (a negative).
        binding: ``match`` where the watermark was made for what this image shows, ``mismatch`` where it was
            made for another image and copied; ``unknown`` where that cannot be told: without a message, in
            images with little to go by, of watermarks that are not bound, as those of earlier versions.
        binding_log_ratio: natural logarithm of how much likelier the chips' amplitudes are in the image that
            the watermark was made for than in another; None where nothing proves that it is bound.
        made_with: ``key`` where the watermark is whole, ``detector key`` where it lacks what detector keys do
            not disclose, so that the holder of one forged it; ``unknown`` without a message, of copies, where
            it is weak there, and always where a detector key is looked with.
        key_id: whose watermark was looked for.
        remarks: what was not as usual with the image that was looked at: only a part of a damaged file, the
            first of several frames; empty as a rule.
    """

    state: State
    log10_p: float
    message: int | None
    message_bits: int
    message_log10_p: float
    margin: float | None
    scale: float | None
    rotation_deg: float | None
    aspect: float | None
    mirrored: bool
    inverted: bool
    key_id: str
    remarks: tuple[str, ...] = ()
    binding: Binding = "unknown"
    binding_log_ratio: float | None = None
    made_with: MadeWith = "unknown"

    def __bool__(self) -> bool:
        """Whether the watermark was detected, as :attr:`detected`."""
        return self.detected

    @property
    def detected(self) -> bool:
        """Whether the watermark is there: ``state`` is ``detected``."""
        return self.state == "detected"

    @property
    def p_value(self) -> float:
        """Return ``10 ** log10_p``."""
        return float(10.0**self.log10_p)

    @property
    def message_bytes(self) -> bytes | None:
        """Return the message as big-endian bytes, or None."""
        return None if self.message is None else self.message.to_bytes(self.message_bits // 8, "big")

    @property
    def message_hex(self) -> str | None:
        """Return the message as ``message_bits / 4`` hex digits, or None."""
        return None if self.message is None else f"{self.message:0{self.message_bits // 4}x}"

    @property
    def note(self) -> str:
        """Return what the state means, in words."""
        return _NOTES[self.state]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values, by the names that the command line and the tables use too.

        ``message`` is in hex, as JSON readers round integers beyond 2^53; ``remarks`` are one text, with "; "
        between them, or None.
        """
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        fields["message"] = self.message_hex
        fields["remarks"] = "; ".join(self.remarks) or None
        fields["p_value"] = self.p_value
        return fields


REFERENCES = ("jpeg", "half", "crop", "screenshot")
"""The reference attacks of :class:`Survival`, in the order of ``EmbedReport.survival``."""


@dataclass(frozen=True, slots=True)
class Survival:
    """What is predicted of the mark after one attack.

    Attributes:
        reference: the attack: ``jpeg``, compression at quality 50; ``half``, scaling to half of each side;
            ``crop``, the middle quarter of the area alone; ``screenshot``, shown at half of each side, or as
            large as fits, on a screen of 1280 x 800 pixels, saved without loss.
        margin: the least, over finding the mark, placing it, and reading its message, of what will be there
            over what is needed: below 1 the message will probably not be read.
    """

    reference: str
    margin: float


@dataclass(frozen=True, slots=True)
class EmbedReport:
    """What embedding did.

    Attributes:
        psnr_db: peak signal-to-noise ratio of the visible pixels against the original, measured after
            rounding and clipping.
        strength: the strength used; 1 is the reference amplitude.
        tones: number of pilot tones.
        pixels_per_unit: k, the side of a unit.
        margin_message: predicted total signal-to-noise ratio of the message, untouched, over what reading it
            needs; above 1 it can be read.
        margin_jpeg: the same after the reference attack, quantisation as by JPEG at quality 50 of the plane.
        margin_pilot: predicted pilot, untouched, over what detection needs.
        warnings: what the user should know; empty when all is well.
        survival: predictions for the reference attacks, in the order of ``REFERENCES``.
        action: ``marked``; ``replaced`` where an earlier watermark of this key was taken off first, or marked
            over, and a detector then read the new message; ``kept`` where the image was left as it is.
        earlier_message: in hex, that of the earlier watermark; None if there was none, or it is not readable.
        message: in hex, that of the watermark in the result: the earlier one's where it was kept.
        public: in hex, what the public watermark in the result says; None where none was embedded.
        margin_public: of the public watermark beside the message, as ``margin_message``; None without one.
        earlier_public: in hex, that of the public watermark that was there before; None if there was none, or
            it is not readable, or none was to be embedded.
    """

    psnr_db: float
    strength: float
    tones: int
    pixels_per_unit: int
    margin_message: float
    margin_jpeg: float
    margin_pilot: float
    warnings: tuple[str, ...] = ()
    survival: tuple[Survival, ...] = ()
    action: Action = "marked"
    earlier_message: str | None = None
    message: str | None = None
    public: str | None = None
    margin_public: float | None = None
    earlier_public: str | None = None

    @property
    def margin(self) -> float:
        """Old name of ``margin_message``; it goes with fastmark 0.3."""
        warnings.warn(
            "EmbedReport.margin is now margin_message; the old name goes with fastmark 0.3",
            DeprecationWarning,
            stacklevel=2,
        )
        return self.margin_message

    @property
    def pilot_margin(self) -> float:
        """Old name of ``margin_pilot``; it goes with fastmark 0.3."""
        warnings.warn(
            "EmbedReport.pilot_margin is now margin_pilot; the old name goes with fastmark 0.3",
            DeprecationWarning,
            stacklevel=2,
        )
        return self.margin_pilot

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values, by the names that the command line and manifests use too.

        ``warnings`` are one text, with "; " between them, or None; margins of ``survival`` have names of
        their own, ``survival_jpeg`` and so on, and are None where nothing is predicted.
        """
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        predicted = {one.reference: one.margin for one in fields.pop("survival")}
        fields["warnings"] = "; ".join(self.warnings) or None
        return fields | {f"survival_{name}": predicted.get(name) for name in REFERENCES}
