"""What the page says of an answer: which sentences, in an order, with which values; in no language yet.

Everything comes from the values of the answer, not from its English sentences; those are shown, as English,
only where a finding has a state that the page does not know.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from fastmark.checking.changes import KINDS
from fastmark.records import SourceType

Answer = Mapping[str, Any]
"""Of :meth:`fastmark.checking.check.Check.to_dict`."""

Tone = Literal["found", "changed", "wrong", "unsure", "note", "nothing"]
"""Which icon and colour a verdict has; the label says the same in words."""

TONES: Mapping[str, Tone] = {
    "genuine and unchanged": "found",
    "genuine, changed since": "changed",
    "genuine": "found",
    "genuine, not made for this image": "wrong",
    "not genuine": "wrong",
    "metadata and pixels disagree": "unsure",
    "metadata only": "note",
    "too weak to say": "unsure",
    "nothing found": "nothing",
}

ENGLISH, LISTED, VALUE = "english", "listed", "value"
"""Keys of phrases that are in no catalog: a ``text`` that is English whatever the language of the page,
``items`` that are phrases, and a ``value`` by itself."""

_METADATA = ("public watermark", "xmp", "text", "c2pa")
_SOURCES = get_args(SourceType)


class Code(str):
    """A value that is shown as it would be typed."""

    __slots__ = ()


class Time(str):
    """A time, UTC, as in ``2026-11-27T12:00:00Z``."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Phrase:
    """A sentence or a part of one.

    Attributes:
        key: of the catalog of strings, or ``ENGLISH``.
        values: to be put into it: texts, numbers, and lists of phrases.
    """

    key: str
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Row:
    """A term and what is said of it.

    Attributes:
        term: key of the catalog of strings.
        says: one phrase after the other.
    """

    term: str
    says: tuple[Phrase, ...]


def summary(answer: Answer) -> tuple[Phrase, ...]:
    """Return the verdict in one to three sentences."""
    key = {"key": _key(answer)}
    match answer["verdict"]:
        case "genuine and unchanged":
            same = _state(answer, "registry") == "same file"
            return (
                _carries(answer),
                Phrase("sentence.same file" if same else "sentence.credential fits"),
            )
        case "genuine, changed since":
            changes = _changes(answer)
            how = (
                Phrase("sentence.changed.how", {"changes": changes})
                if changes
                else Phrase("sentence.changed")
            )
            return _carries(answer), how
        case "genuine":
            known = answer["registry"] is not None
            return (
                _carries(answer),
                Phrase("sentence.file unknown" if known else "sentence.changes unknown"),
            )
        case "genuine, not made for this image":
            return (Phrase("sentence.other image", key),)
        case "not genuine":
            return (Phrase("sentence.not genuine", key),)
        case "metadata and pixels disagree":
            if answer["key_name"] is None:
                return Phrase("sentence.disagree alone"), *_disagreements(answer)
            return _carries(answer), Phrase("sentence.disagree"), *_disagreements(answer)
        case "metadata only":
            missing = "sentence.no watermark" if _looked(answer) else "sentence.no key"
            told = (says_of(finding, answer)[:1] for finding in answer["findings"] if _is_beside(finding))
            return Phrase(missing), *(phrase for phrases in told for phrase in phrases)
        case "too weak to say":
            return (Phrase("sentence.weak"),)
        case "nothing found":
            nothing = "sentence.nothing" if _looked(answer) else "sentence.nothing without keys"
            return Phrase(nothing), Phrase("sentence.no proof")
    return (Phrase(ENGLISH, {"text": answer["sentence"]}),)


def details(answer: Answer) -> list[Row]:
    """Return what each technique found, and whether they agree."""
    rows = [Row(_technique(finding), says_of(finding, answer)) for finding in answer["findings"]]
    if answer["transform"] is not None and answer["transform"]["scale"] is not None:
        changes = _changes(answer, KINDS[:-1])  # but not what is of the file alone
        says = (Phrase(LISTED, {"items": changes}) if changes else Phrase("transform.none"),)
        watermark = next(
            (i for i, one in enumerate(answer["findings"]) if one["technique"] == "watermark"), -1
        )
        rows.insert(watermark + 1, Row("transform.shape", says))
    if answer["agree"] is not None:
        rows.append(Row("agree.heading", (Phrase("agree.yes" if answer["agree"] else "agree.no"),)))
    return rows


def says_of(finding: Mapping[str, Any], answer: Answer) -> tuple[Phrase, ...]:
    """Return what a finding says, the most important first."""
    technique, state, told = finding["technique"], finding["state"], finding["details"]
    key = f"finding.{technique}.{state}"
    english = (Phrase(ENGLISH, {"text": finding["says"]}),)
    match technique, state:
        case "watermark", "detected":
            if told["message"] is None:
                return (Phrase("finding.watermark.unreadable", {"key": _key(answer)}),)
            if told["made_with"] == "detector key":
                key = "finding.watermark.detector key"
            return (Phrase(key, {"key": _key(answer), "message": Code(told["message"])}),)
        case ("watermark", "possible" | "absent") | ("binding", "match" | "mismatch" | "unknown"):
            return (Phrase(key),)
        case "public watermark", "says":
            return Phrase(key, {"said": _flags(told)}), Phrase("finding.anybody")
        case "public watermark", "not readable":
            return (Phrase(key),)
        case "registry", "same image" | "other image":
            return (Phrase(key),)
        case "registry", "unknown":
            return (Phrase(key, {"message": Code(answer["id"])}),)
        case "registry", "same file" | "known" | "reserved":
            return (Phrase(key, {"id": Code(told["id"])}),)
        case "xmp", "says":
            return Phrase(key, {"said": _said(told)}), Phrase("finding.anybody")
        case "text", "names a generator":
            return Phrase(key, {"tool": told["tool"]}), Phrase("finding.anybody")
        case ("xmp", "damaged") | ("c2pa", "damaged" | "not read"):
            return (Phrase(key),)
        case "c2pa", "trusted" | "valid" | "invalid" | "recovered":
            phrases = [Phrase(key)]
            if said := _said(told):
                phrases.append(Phrase("finding.c2pa.say", {"said": said}))
            if told["issuer"] is not None:
                phrases.append(Phrase("finding.c2pa.issuer", {"issuer": told["issuer"]}))
            phrases += map(_problem, told["problems"])
            return tuple(phrases)
    return english


def _problem(text: str) -> Phrase:
    return Phrase(ENGLISH, {"text": f"{text[:1].upper()}{text[1:].rstrip('.')}."})


def _technique(finding: Mapping[str, Any]) -> str:
    return f"technique.{finding['technique']}"


def _said(told: Mapping[str, Any]) -> tuple[Phrase, ...]:
    """Return what metadata say of how an image was made, and what it may be used for."""
    said = []
    if (source := told.get("digital_source_type")) is not None:
        known = source in _SOURCES
        said.append(Phrase(f"said.{source}") if known else Phrase("said.source", {"source": source}))
    if told.get("system") is not None:
        system = " ".join(filter(None, (told["system"], told["system_version"])))
        said.append(Phrase("said.system", {"system": system}))
    mining = told.get("data_mining")
    if told.get("opted_out") or (mining is not None and "PROHIBITED" in mining):
        said.append(Phrase("said.opted_out"))
    elif mining is not None:
        said.append(Phrase("said.data_mining", {"value": mining}))
    if told.get("aigc") is not None:
        said.append(Phrase("said.aigc"))
    return tuple(said)


def _flags(told: Mapping[str, Any]) -> tuple[Phrase, ...]:
    """Return what a public watermark says."""
    said = [Phrase(f"said.{flag}") for flag in told["flags"]]
    if told["resolver"]:
        said.append(
            Phrase("said.resolver", {"number": told["resolver"], "free": Code(f"{told['free']:08x}")})
        )
    return tuple(said)


def _carries(answer: Answer) -> Phrase:
    values = {"key": _key(answer)}
    if answer["registry"] is None:
        return Phrase("sentence.carries", values)
    if answer["registry"]["provider"] is None:
        return Phrase("sentence.carries.registered", values)
    return Phrase("sentence.carries.provider", values | {"provider": answer["registry"]["provider"]})


def _key(answer: Answer) -> str:
    return str(answer["key_name"])


def _state(answer: Answer, technique: str) -> str | None:
    return next((one["state"] for one in answer["findings"] if one["technique"] == technique), None)


def _looked(answer: Answer) -> bool:
    """Whether any key was looked for."""
    return _state(answer, "watermark") is not None


def _is_beside(finding: Mapping[str, Any]) -> bool:
    known_file = finding["technique"] == "registry" and finding["state"] == "same file"
    return known_file or finding["technique"] in _METADATA


def _changes(answer: Answer, kinds: Iterable[str] = KINDS) -> tuple[Phrase, ...]:
    """Return what was done to the image since, of some kinds of changes."""
    return tuple(
        Phrase(f"change.{one['change']}", {"by": one["by"]})
        for one in answer["changes"]
        if one["change"] in kinds
    )


def _disagreements(answer: Answer) -> Iterable[Phrase]:
    """Return in what metadata and pixels, or metadata among themselves, differ; () where it is not known."""
    told = {
        one["technique"]: one["details"] for one in answer["findings"] if one["technique"] in ("xmp", "c2pa")
    }
    found = []
    for technique, said in told.items():
        other = said.get("message")
        if answer["id"] is not None and other is not None and other != answer["id"]:
            values = {
                "message": Code(answer["id"]),
                "other": Code(other),
                "name": (Phrase(f"name.{technique}"),),
            }
            found.append(Phrase("disagree.message", values))
    if not found and answer["id"] is None and (other := told.get("c2pa", {}).get("message")) is not None:
        found.append(Phrase("disagree.promised", {"other": Code(other)}))
    if not found and any(said.get("digital_source_type") is not None for said in told.values()):
        found.append(Phrase("disagree.source"))
    return found
