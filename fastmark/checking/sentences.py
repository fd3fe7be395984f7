"""One plain sentence for each verdict; none says that an image is authentic or made by a person."""

from __future__ import annotations

from dataclasses import dataclass

from fastmark.checking.verdicts import Verdict

_ODDS = "The chance that an image without it answers like this is below 1 in 1,000,000,000."
# the bound at which a watermark counts as detected: evidence.DETECTED


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What sentences name.

    Attributes:
        key: name or id of the watermark's key; None where no watermark was found.
        provider: of the registry's entry; None where it does not say.
        registered: whether a registry that was asked has an entry.
        same_file: whether the file itself was compared with what was delivered, and is it.
        changes: what was done to the image since, in words.
        contradictions: what metadata say otherwise, in words.
        metadata: what metadata say, as sentences.
        keys: how many keys were looked for.
    """

    key: str | None = None
    provider: str | None = None
    registered: bool = False
    same_file: bool = False
    changes: tuple[str, ...] = ()
    contradictions: tuple[str, ...] = ()
    metadata: tuple[str, ...] = ()
    keys: int = 0


def sentence(verdict: Verdict, words: Words) -> str:
    """Return the verdict in plain words, one to three sentences."""
    carries = f"This image carries the watermark of {words.key}{_registered(words)}."
    match verdict:
        case "genuine and unchanged":
            same = (
                "The file is the one that was registered."
                if words.same_file
                else "The file is unchanged since its content credentials were signed."
            )
            return f"{carries} {same} {_ODDS}"
        case "genuine, changed since":
            changes = f": {_listed(words.changes)}" if words.changes else ""
            return f"{carries} It was changed since{changes}. {_ODDS}"
        case "genuine":
            known = (
                "Its file is not known, so that small changes since cannot be told."
                if words.registered
                else "Nothing here tells whether the image was changed since."
            )
            return f"{carries} {known} {_ODDS}"
        case "genuine, not made for this image":
            return (
                f"The watermark of {words.key} is genuine, but it was not made for this image: it was"
                " probably copied from another one, or most of what the image shows was replaced."
            )
        case "not genuine":
            return (
                f"There is a watermark that passes for that of {words.key}, but it was not made with the key:"
                " the holder of a detector key made it."
            )
        case "metadata and pixels disagree":
            if words.key is None:
                return f"Metadata and pixels disagree: {_listed(words.contradictions)}."
            return f"{carries} But metadata and pixels disagree: {_listed(words.contradictions)}."
        case "metadata only":
            missing = (
                "No watermark of the keys known here was found." if words.keys else "No key was looked for."
            )
            return " ".join((missing, *words.metadata))
        case "too weak to say":
            return (
                "There are traces that may be a watermark, too weak to say."
                " Try the original file, or a larger copy."
            )
        case "nothing found":
            missing = "No key was looked for, and no metadata say how the image was made."
            if words.keys:
                missing = (
                    "No watermark of the keys known here was found, and no metadata that say how the image"
                    " was made."
                )
            return f"{missing} This does not show that the image was made by a person."


def _registered(words: Words) -> str:
    if words.provider is not None:
        return f", registered by {words.provider}"
    return ", registered here" if words.registered else ""


def _listed(parts: tuple[str, ...]) -> str:
    return "; ".join(parts)
