"""The manifest of content credentials: what it says of an image, written and read.

Names: C2PA 2.4 (actions, soft binding), CAWG Training and Data Mining Assertion 1.1.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import re
from collections.abc import Iterator, Mapping
from typing import Any

from fastmark._version import VERSION
from fastmark.errors import CredentialError
from fastmark.records import Policy, Record, format_time

PARENT = {"relationship": "parentOf", "title": "original", "label": "original"}
"""The original of an edited image among its ingredients."""

SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
"""What IPTC's digital source types begin with."""

# C2PA's list of soft binding algorithms has this pattern for names (softbinding-algorithm-list-schema.json)
_ALGORITHM = re.compile(r"[A-Za-z]{2,63}(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)+\.?")
# NOTE: "ai_training" is training of models that are not generative (CAWG 1.1, 2.1): no training needs both.
# Mining of data and inference are uses of other kinds, which the policies do not speak of.
_FORBIDDEN: Mapping[Policy, tuple[str, ...]] = {
    "none": (),
    "no-training": ("cawg.ai_training", "cawg.ai_generative_training"),
    "no-generative-training": ("cawg.ai_generative_training",),
}
_TRAINING = ("ai_training", "ai_generative_training")
_PARAMETERS = ("provider", "model", "operation")  # of the first action, as fastmark.provider and so on
_MOST_CHARACTERS = 300


# ---- written ---------------------------------------------------------------------------------------------


def check_soft_binding(name: str) -> None:
    """Make sure that a name could stand in C2PA's list of soft binding algorithms.

    Names in it begin with a domain backwards, as com.example.mark, and are registered there; the default,
    ``fastmark.v1``, is not registered.

    Raises:
        CredentialError: if it could not.
    """
    if not isinstance(name, str) or not _ALGORITHM.fullmatch(name):
        raise CredentialError(
            f"{name!r} cannot be the name of a soft binding: write a domain backwards and a name, such as"
            " com.example.mark"
        )


def describe(
    record: Record,
    message: bytes | None,
    when: dt.datetime,
    *,
    soft_binding: str,
    title: str | None,
    edited: bool,
    unbound: bool = False,
) -> dict[str, Any]:
    """Return the definition of a manifest; nothing of it is the record's owner.

    Args:
        record: what is said of the image.
        message: in its watermark, to which a soft binding binds the manifest, or None.
        when: with a time zone.
        soft_binding: name of the watermark's algorithm.
        title: of the image, or None.
        edited: whether the image was made from another, the ingredient ``PARENT``.
        unbound: whether, without a message, the image has a watermark all the same.

    Raises:
        CredentialError: if the soft binding's name or the time is none.
    """
    if when.tzinfo is None:
        raise CredentialError("when must be a time with its zone, such as 2030-01-31T00:00:00Z")
    watermarked = None if message is None else "c2pa.watermarked.bound"
    if watermarked is None and unbound:
        watermarked = "c2pa.watermarked.unbound"
    actions = _actions(record, watermarked, when, edited)
    assertions = [{"label": "c2pa.actions.v2", "data": {"actions": actions}}]
    if message is not None:
        check_soft_binding(soft_binding)
        block = {"scope": {}, "value": base64.b64encode(message).decode()}
        assertions.append({"label": "c2pa.soft-binding", "data": {"alg": soft_binding, "blocks": [block]}})
    if entries := {name: {"use": "notAllowed"} for name in _FORBIDDEN[record.policy]}:
        assertions.append({"label": "cawg.training-mining", "data": {"entries": entries}})
    manifest = {"claim_generator_info": [{"name": "fastmark", "version": VERSION}], "assertions": assertions}
    return manifest if title is None else manifest | {"title": title}


def _actions(
    record: Record, watermarked: str | None, when: dt.datetime, edited: bool
) -> list[dict[str, Any]]:
    time = format_time(when)
    told = {f"fastmark.{name}": value for name in _PARAMETERS if (value := getattr(record, name)) is not None}
    made: dict[str, Any] = {"when": time}
    if record.digital_source_type is not None:
        made["digitalSourceType"] = SOURCE_TYPES + record.digital_source_type
    if record.system is not None:
        made["softwareAgent"] = {"name": record.system}
        if record.system_version is not None:
            made["softwareAgent"]["version"] = record.system_version
    opened = {"ingredientIds": [PARENT["label"]]}
    actions: list[dict[str, Any]]
    if record.action == "altered":
        actions = [{"action": "c2pa.opened", "when": time, "parameters": opened}]
        actions.append({"action": "c2pa.edited", **made, "parameters": told} if told
                       else {"action": "c2pa.edited", **made})  # fmt: skip
    elif edited:
        actions = [{"action": "c2pa.opened", **made, "parameters": opened | told}]
    else:
        actions = [{"action": "c2pa.created", **made, **({"parameters": told} if told else {})}]
    if watermarked is not None:
        actions.append(
            {
                "action": watermarked,
                "when": time,
                "softwareAgent": {"name": "fastmark", "version": VERSION},
            }
        )
    return actions


def active_id(store: bytes) -> str:
    """Return the id of the active manifest in a store that was just signed: the last (C2PA 2.4, 11.1.4).

    Boxes (JUMBF, ISO/IEC 19566-5) have length, type and content; a superbox's first box describes it:
    type, 16 bytes; toggles, 1 byte; label, ended by a zero.
    """
    place, last = 8, 8
    while place + 8 <= len(store):
        last = place
        place += max(int.from_bytes(store[place : place + 4], "big"), 8)
    label = last + 8 + 8 + 16 + 1
    return store[label : store.index(b"\0", label)].decode()


# ---- read ------------------------------------------------------------------------------------------------
# Whatever a foreign manifest says: values of other types count as not said, texts are cut to one line.


def text_of(value: object) -> str | None:
    """Return a text in one line of at most 300 characters; None for what is no text."""
    if not isinstance(value, str):
        return None
    printable = "".join(character if character.isprintable() else " " for character in value)
    return " ".join(printable.split())[:_MOST_CHARACTERS] or None


def dict_of(value: object) -> dict[str, Any]:
    """Return a JSON object, an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def dicts_of(value: object) -> list[dict[str, Any]]:
    """Return the JSON objects of a list, none for anything else."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def time_of(value: object) -> dt.datetime | None:
    """Return a time in UTC; None for what is none, or has no zone."""
    try:
        time = dt.datetime.fromisoformat(value) if isinstance(value, str) else None
        return time.astimezone(dt.UTC) if time is not None and time.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None


def assertions_of(manifest: Mapping[str, Any], *labels: str) -> Iterator[dict[str, Any]]:
    """Yield the data of the assertions with these labels, versions and repetitions too."""
    for assertion in dicts_of(manifest.get("assertions")):
        label = assertion.get("label")
        if isinstance(label, str) and re.sub(r"(\.v\d+)?(__\d+)?$", "", label) in labels:
            yield dict_of(assertion.get("data"))


def generator_of(manifest: Mapping[str, Any]) -> str | None:
    """Return name and version of the program that wrote a manifest."""
    for info in dicts_of(manifest.get("claim_generator_info")):
        if name := text_of(info.get("name")):
            version = text_of(info.get("version"))
            return f"{name} {version}" if version else name
    return text_of(manifest.get("claim_generator"))


def making_of(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return the action that tells how an image was made: the last with a source type, else the first."""
    actions = [
        action for data in assertions_of(manifest, "c2pa.actions") for action in dicts_of(data.get("actions"))
    ]
    told = [action for action in actions if text_of(action.get("digitalSourceType"))]
    return (told[-1:] or actions[:1] or [{}])[0]


def soft_bindings_of(manifest: Mapping[str, Any]) -> tuple[tuple[str, bytes], ...]:
    """Return algorithm and value of every soft binding; a value that is not base64 as its text's bytes."""
    found = []
    for data in assertions_of(manifest, "c2pa.soft-binding"):
        algorithm = text_of(data.get("alg"))
        for block in dicts_of(data.get("blocks")):
            value = block.get("value")
            if algorithm and isinstance(value, str) and value:
                try:
                    content = base64.b64decode(value, validate=True)
                except (binascii.Error, ValueError):
                    content = value.encode("utf-8", "replace")
                found.append((algorithm, content))
    return tuple(found)


def opted_out(manifest: Mapping[str, Any]) -> bool:
    """Whether training of models, generative or other, is not allowed.

    C2PA's own older names count too; "constrained" is not allowed either where nothing more is known
    (CAWG 1.1, 2.1).
    """
    for data in assertions_of(manifest, "cawg.training-mining", "c2pa.training-mining"):
        for name, entry in dict_of(data.get("entries")).items():
            use = dict_of(entry).get("use")
            if name.partition(".")[2] in _TRAINING and use in ("notAllowed", "constrained"):
                return True
    return False
