"""The verdict on an image out of what each technique found: decided here, and here alone.

Facts are plain values, so that every combination can be tested without an image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal[
    "genuine and unchanged",
    "genuine, changed since",
    "genuine",
    "genuine, not made for this image",
    "not genuine",
    "metadata and pixels disagree",
    "metadata only",
    "too weak to say",
    "nothing found",
]
Likeness = Literal["same", "other", "not comparable"]
"""Of an image and the one that was registered, by their perceptual hashes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of an image.

    Attributes:
        state: of the most certain watermark: "detected", "possible" or "absent".
        forged: whether it was made with a detector key instead of the key.
        binding: "match", "mismatch" or "unknown": whether it was made for what the image shows.
        altered_shape: whether the image was scaled, turned, mirrored, cropped or inverted since.
        registered: whether its message has an entry in a registry that was asked, for an image that left.
        same_file: whether the file is the one that was delivered; None if that is not known.
        likeness: to the image of the entry; None if there is none.
        said_otherwise: what metadata say that cannot be true of the image with this watermark, in words.
        credential: "intact" where trusted content credentials fit the file and tell this watermark's message,
            "broken" where credentials tell it and the file was changed since; None otherwise.
        metadata: whether metadata say how the image was made, or what it may be used for.
        promised: whether intact credentials tell of a watermark of a key that was looked for.
    """

    state: Literal["detected", "possible", "absent"] = "absent"
    forged: bool = False
    binding: Literal["match", "mismatch", "unknown"] = "unknown"
    altered_shape: bool = False
    registered: bool = False
    same_file: bool | None = None
    likeness: Likeness | None = None
    said_otherwise: tuple[str, ...] = ()
    credential: Literal["intact", "broken"] | None = None
    metadata: bool = False
    promised: bool = False


def decide(facts: Facts) -> Verdict:
    """Return the verdict; the worst for whoever shows the image goes before the better ones."""
    if facts.state == "detected":
        return _decide_detected(facts)
    if facts.state == "possible":
        return "too weak to say"
    if facts.said_otherwise or facts.promised:
        return "metadata and pixels disagree"
    return "metadata only" if facts.metadata else "nothing found"


def _decide_detected(facts: Facts) -> Verdict:
    if facts.forged:
        return "not genuine"
    if facts.same_file:
        # the very file that was delivered: what metadata in it say was registered with it
        return "genuine and unchanged"
    # a watermark that was made for what the image shows outweighs a hash, which edits may change much
    elsewhere = facts.likeness == "other" and facts.binding != "match"
    if facts.binding == "mismatch" or elsewhere:
        return "genuine, not made for this image"
    if facts.said_otherwise:
        return "metadata and pixels disagree"
    if facts.same_file is None and facts.credential == "intact":
        return "genuine and unchanged"
    changed = facts.same_file is False or facts.altered_shape or facts.credential == "broken"
    return "genuine, changed since" if changed else "genuine"


LIMITS = (
    "A watermark shows that an image passed through a system that holds the key; it does not show who made it"
    " or whether what it shows is true. Where none is found, that is no evidence that the image was made by a"
    " person: it may never have been watermarked, or have lost it. Metadata can be removed, and unless they"
    " are signed, written by anybody."
)
"""What a verdict does not mean."""
