"""What the public watermark of an image says, as a finding: a signpost, as metadata are, and no proof."""

from __future__ import annotations

from fastmark.checking.findings import Finding
from fastmark.detection.detector import look
from fastmark.images.opening import DetectorInput
from fastmark.public import code_of, marker


def read_signpost(luma: DetectorInput, *, deep: bool = False, threads: int = 1) -> tuple[Finding, ...]:
    """Return a finding, or none, of an image opened with ``unit=pixels_per_unit``."""
    (found,) = look(luma, [marker().key_detector], deep=deep, threads=threads)
    if not found:
        return ()
    code = code_of(found)
    if code is None:
        says = "A public watermark is there; it cannot be read, or is of a later version."
        return (Finding("public watermark", "not readable", says, {"code": found.message_hex}),)
    details = {
        "code": code.hex,
        "flags": list(code.flags),
        "resolver": code.resolver,
        "free": code.free,
        "url": code.url,
    }
    says = f"The public watermark says that {code.sentence()}. Anybody can embed it."
    return (Finding("public watermark", "says", says, details),)
