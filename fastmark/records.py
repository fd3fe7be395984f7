"""What is known of a watermarked image: told once, for the registry, for signed and for plain metadata."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from fastmark.errors import RecordError, reason_of

Action = Literal["created", "altered", "labelled"]
Policy = Literal["none", "no-training", "no-generative-training"]
SourceType = Literal[
    "trainedAlgorithmicMedia",
    "compositeWithTrainedAlgorithmicMedia",
    "algorithmicallyEnhanced",
    "digitalCapture",
    "digitalCreation",
    "humanEdits",
    "screenCapture",
]
"""Of IPTC's vocabulary of digital source types, the ones that are written."""

_MOST_CHARACTERS = 200
_CHOICES = {"action": get_args(Action), "policy": get_args(Policy), "source_type": get_args(SourceType)}
_TEXTS = ("provider", "system", "system_version", "model", "operation", "owner", "producer_code")
_GENERATED: Mapping[Action, SourceType] = {
    "created": "trainedAlgorithmicMedia",
    "altered": "compositeWithTrainedAlgorithmicMedia",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What somebody who watermarks an image says of it.

    Texts have at most 200 characters and no control characters; None where nothing is said.

    Attributes:
        provider: who offers the system that made the image.
        system: the system's name.
        system_version: the system's version.
        model: the model in it.
        action: whether the system "created" the image or "altered" one; or the image was there and was only
            "labelled", which says nothing of how it was made.
        operation: the kind of edit.
        policy: whether it may be used for training: "none" says nothing, "no-training" forbids training
            models, "no-generative-training" training generative ones.
        owner: whose image it is; private: no public answer has it.
        expires: until when the registry's entry is to be kept, with a time zone.
        source_type: IPTC's digital source type; None for that of an image that was created, or altered, by a
            trained model, and for none of one that was labelled.
        producer_code: the code of a provider under China's rules on labels; where it is given, their label is
            written too.

    Raises:
        RecordError: if a value is none of those; it is a ValueError too.
    """

    provider: str | None = None
    system: str | None = None
    system_version: str | None = None
    model: str | None = None
    action: Action = "created"
    operation: str | None = None
    policy: Policy = "none"
    owner: str | None = None
    expires: dt.datetime | None = None
    source_type: SourceType | None = None
    producer_code: str | None = None

    def __post_init__(self) -> None:
        """Check every value."""
        for name in _TEXTS:
            _check_text(name, getattr(self, name))
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            if value not in choices and not (value is None and name == "source_type"):
                raise RecordError(f"{name} of a record must be one of {', '.join(choices)}, not {value!r}")
        if self.expires is not None and (
            not isinstance(self.expires, dt.datetime) or self.expires.tzinfo is None
        ):
            raise RecordError(
                "expires of a record must be a time with its zone, such as 2030-01-31T00:00:00Z"
            )

    @property
    def digital_source_type(self) -> SourceType | None:
        """The digital source type, that of the action where none is given; None of a labelled image."""
        return self.source_type or _GENERATED.get(self.action)

    @property
    def has_original(self) -> bool:
        """Whether the image was there before: its file is then the parent in content credentials."""
        return self.action != "created"

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Record:
        """Make a record of JSON values; ``expires`` is a text in ISO 8601.

        Raises:
            RecordError: for a name that a record does not have, or a value that it cannot have.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        if unknown := sorted(set(values) - set(known)):
            raise RecordError(f"a record has no {', '.join(map(str, unknown))}: it has {', '.join(known)}")
        given = dict(values)
        if isinstance(given.get("expires"), str):
            given["expires"] = parse_time(given["expires"])
        return cls(**given)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values, the owner too."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        values["expires"] = None if self.expires is None else format_time(self.expires)
        return values


def read_values(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the values of a record in a file of JSON, for :meth:`Record.from_dict`.

    Raises:
        RecordError: if it cannot be read, or is no JSON object.
    """
    try:
        values = json.loads(Path(path).read_bytes())
    except OSError as error:
        raise RecordError(f"the record {path} cannot be read: {reason_of(error)}") from None
    except (ValueError, RecursionError):
        raise RecordError(
            f'the record {path} is not JSON: write an object such as {{"provider": "...", "system": "..."}}'
        ) from None
    if not isinstance(values, dict):
        raise RecordError(f"the record {path} must be one JSON object, not a {type(values).__name__}")
    return values


def format_time(time: dt.datetime) -> str:
    """Return a time in ISO 8601, UTC, to the second: 2026-11-27T12:00:00Z."""
    return time.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(text: str) -> dt.datetime:
    """Return the time that a text in ISO 8601 tells, in UTC.

    Raises:
        RecordError: if it is none, or has no zone.
    """
    try:
        time = dt.datetime.fromisoformat(text)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise RecordError(f"{text!r} is no time with its zone: write it as 2030-01-31T00:00:00Z")
    return time.astimezone(dt.UTC)


def _check_text(name: str, value: Any) -> None:
    if value is None:
        return
    if not isinstance(value, str) or not value.strip():
        raise RecordError(f"{name} of a record must be a text that is not empty, not {value!r}")
    if len(value) > _MOST_CHARACTERS or not value.isprintable():
        raise RecordError(
            f"{name} of a record must have at most {_MOST_CHARACTERS} characters, and no line breaks or other"
            " control characters"
        )
