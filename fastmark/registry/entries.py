"""What a registry keeps of an image, and the part of it that anybody may see."""

from __future__ import annotations

import dataclasses
import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from fastmark._checks import MESSAGE_BITS
from fastmark.errors import InvalidMessageError, RecordError, RegistryError
from fastmark.records import Action, Record, format_time, parse_time

State = Literal["reserved", "marked", "delivered"]
"""reserved: the id is drawn, and no image has left with it; marked: an image left as pixels, whose file is
not known; delivered: the SHA-256 of the delivered file is known."""

_MOST_PIXELS_A_SIDE = 2**31 - 1
_PATTERNS = {
    "key_id": re.compile("[0-9a-f]{1,64}"),
    "sha256": re.compile("[0-9a-f]{64}"),
    "perceptual_hash": re.compile("phash:[0-9a-f]{64}"),
    "manifest_id": re.compile("urn:[!-~]{1,250}"),
}
_WORDS = {
    "key_id": "1 to 64 hex digits",
    "sha256": "64 hex digits",
    "perceptual_hash": "phash: and 64 hex digits",
    "manifest_id": "urn:c2pa: and an identifier",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicRecord:
    """What anybody may see of an entry: the fields that California's law lists, and no others.

    It is a type of its own, so that nothing private can be handed on with it by mistake.

    Attributes:
        id: the message of the watermark, in hex.
        provider: who offers the system that made the image; None where nothing is said.
        system: the system's name.
        system_version: the system's version.
        created_at: when the id was given, UTC.
        action: whether the system "created" the image or "altered" one, or it was "labelled" only.
    """

    id: str
    provider: str | None
    system: str | None
    system_version: str | None
    created_at: dt.datetime
    action: Action

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return dataclasses.asdict(self) | {"created_at": format_time(self.created_at)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Everything that a registry keeps of an image; ``record.owner`` is private, and :attr:`public` lacks it.

    Attributes:
        id: the message of the watermark, ``message_bits / 4`` hex digits in lower case.
        message_bits: length of the message.
        key_id: of the key that embedded it.
        state: how far the image has come, see ``State``.
        created_at: when the id was given, UTC, in whole seconds.
        record: what was said of the image.
        width, height: of the watermarked image, in pixels; None while the id is reserved.
        sha256: of the delivered file, in hex; None where it is not known.
        perceptual_hash: see :func:`fastmark.registry.fingerprint.perceptual_hash`; None where not known.
        manifest_id: of the delivered file's content credentials, urn:c2pa:...; None where it has none.

    Raises:
        RegistryError: if a value is none of those.
    """

    id: str
    message_bits: int
    key_id: str
    state: State
    created_at: dt.datetime
    record: Record
    width: int | None = None
    height: int | None = None
    sha256: str | None = None
    perceptual_hash: str | None = None
    manifest_id: str | None = None

    def __post_init__(self) -> None:
        """Check every value."""
        if self.message_bits not in MESSAGE_BITS or not re.fullmatch(
            f"[0-9a-f]{{{self.message_bits // 4}}}", str(self.id)
        ):
            raise RegistryError("the id of an entry must have message_bits / 4 hex digits in lower case")
        if self.state not in get_args(State):
            raise RegistryError(f"the state of an entry must be one of {', '.join(get_args(State))}")
        if (self.state == "delivered") != (self.sha256 is not None):
            raise RegistryError("an entry has a sha256 if and only if its state is delivered")
        if not isinstance(self.created_at, dt.datetime) or self.created_at.tzinfo is None:
            raise RegistryError("created_at of an entry must be a time with its zone")
        check_facts(**{name: getattr(self, name) for name in FACTS}, key_id=self.key_id)

    @property
    def message(self) -> bytes:
        """The message of the watermark, ``message_bits / 8`` bytes."""
        return bytes.fromhex(self.id)

    @property
    def public(self) -> PublicRecord:
        """What anybody may see of it."""
        said = self.record
        return PublicRecord(
            id=self.id,
            provider=said.provider,
            system=said.system,
            system_version=said.system_version,
            created_at=self.created_at,
            action=said.action,
        )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Entry:
        """Make an entry of what :meth:`to_dict` returned.

        Raises:
            RegistryError: if a name or a value is none of an entry.
        """
        if missing := [name for name in _NAMES if name not in values]:
            raise RegistryError(f"no whole entry: {', '.join(missing)} missing")
        if unknown := sorted(set(values) - set(_NAMES)):
            raise RegistryError(f"an entry has no {', '.join(map(str, unknown))}: it has {', '.join(_NAMES)}")
        given = dict(values)
        if not isinstance(given["record"], Mapping) or not isinstance(given["created_at"], str):
            raise RegistryError("no entry: its record must be an object, and created_at a text")
        try:
            given["record"] = Record.from_dict(given["record"])
            given["created_at"] = parse_time(given["created_at"])
        except RecordError as error:
            raise RegistryError(str(error)) from None
        return cls(**given)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values, the record within it, what is private too."""
        values = {name: getattr(self, name) for name in _NAMES}
        return values | {"created_at": format_time(self.created_at), "record": self.record.to_dict()}


_NAMES = tuple(field.name for field in dataclasses.fields(Entry))

FACTS = ("width", "height", "sha256", "perceptual_hash", "manifest_id")
"""What is known of an image once it is watermarked."""


def check_facts(**values: Any) -> None:
    """Check facts by their names; None is none.

    Raises:
        RegistryError: if one is not of its form.
    """
    for name, value in values.items():
        if value is None and name in FACTS:
            continue
        if name in ("width", "height"):
            if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= _MOST_PIXELS_A_SIDE:
                raise RegistryError(f"{name} of an entry must be a number of pixels above 0, not {value!r}")
        elif not isinstance(value, str) or not _PATTERNS[name].fullmatch(value):
            raise RegistryError(f"{name} of an entry must be {_WORDS[name]}, not {str(value)[:80]!r}")


def id_of(message: bytes | str) -> str:
    """The id of a message: its hex digits in lower case, from its bytes or from such digits.

    Raises:
        InvalidMessageError: if no message has that length, or the text is not hexadecimal.
    """
    if isinstance(message, str):
        if not re.fullmatch("[0-9a-fA-F]*", message) or len(message) * 4 not in MESSAGE_BITS:
            raise InvalidMessageError(f"an id has {_lengths(4)} hex digits, and this is none")
        return message.lower()
    if not isinstance(message, bytes | bytearray | memoryview):
        raise InvalidMessageError(f"an id is bytes or hex text, not {type(message).__name__}")
    if (size := len(bytes(message))) * 8 not in MESSAGE_BITS:
        raise InvalidMessageError(f"a message has {_lengths(8)} bytes, not {size}")
    return bytes(message).hex()


def _lengths(unit: int) -> str:
    return ", ".join(str(bits // unit) for bits in MESSAGE_BITS)
