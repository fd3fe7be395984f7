"""Keys: 256 secret bits, their file, and what is drawn from them."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from fastmark.codec import key_files
from fastmark.codec.key_files import DETECTOR_KEY_FORMAT, KEY_FORMAT, no_key_file
from fastmark.codec.keystream import Domain, keystream
from fastmark.errors import KeyFormatError

if TYPE_CHECKING:
    from fastmark.codec.detector_key import DetectorKey
    from fastmark.codec.tables import BindingTables, Tables

SECRET_BYTES = 32
FILE_VERSION = 1
_CHECKSUM_BYTES = 4
_OWNER_ONLY = 0o600


@dataclass(frozen=True, slots=True, repr=False)
class Key:
    """A secret key: what is needed to mark pictures and to find the mark again.

    Args:
        secret: 32 bytes, uniformly random. Whoever holds them can mark, detect and erase.
        name: a label for people, at most 64 printable characters; not secret, not part of the mark.

    Raises:
        KeyFormatError: if ``secret`` is not 32 bytes or ``name`` is not a short printable text.
    """

    secret: bytes
    name: str = ""

    def __post_init__(self) -> None:
        """Refuse values that could not have come from ``generate`` or a key file."""
        if not isinstance(self.secret, bytes) or len(self.secret) != SECRET_BYTES:
            raise KeyFormatError(f"a key's secret is exactly {SECRET_BYTES} bytes; use Key.generate()")
        key_files.check_name(self.name)

    def __repr__(self) -> str:
        """Show the public id, and nothing of the secret."""
        return f"Key(id={self.id!r}, name={self.name!r})"

    @classmethod
    def generate(cls, name: str = "") -> Key:
        """Draw a new key from the operating system's random source.

        Raises:
            KeyFormatError: if ``name`` is no short printable text, or looks like a secret.
        """
        key_files.check_new_name(name)
        return cls(secrets.token_bytes(SECRET_BYTES), name)

    @property
    def id(self) -> str:
        """Public identifier: 16 hex digits; says which key without revealing it."""
        return self.stream(Domain.KEY_ID, 8).hex()

    @property
    def key_id(self) -> str:
        """As ``id``: whose watermarks are found. A detector key has that of its owner's key."""
        return self.id

    def stream(self, domain: Domain, n_bytes: int, context: bytes = b"") -> bytes:
        """Return the first ``n_bytes`` of the keystream of ``domain`` (:func:`keystream`)."""
        return keystream(self.secret, domain, n_bytes, context)

    def tables(self) -> Tables:
        """Draw what every mark of this key shares (SPEC.md, section 2)."""
        from fastmark.codec.tables import Tables

        return Tables.drawn(self)

    def binding_tables(self) -> BindingTables:
        """Draw what ties marks to their images (SPEC.md, section 2)."""
        from fastmark.codec.tables import BindingTables

        return BindingTables.drawn(self)

    def detector_key(self, name: str = "") -> DetectorKey:
        """Return a key for others, which detects and reads this key's watermarks but does not embed.

        It is the same at every call, apart from the name: holders who join know no more than each of them.

        Args:
            name: a label for people, as that of a key.

        Raises:
            KeyFormatError: if ``name`` is no short printable text, or looks like a secret.
        """
        from fastmark.codec.detector_key import DetectorKey

        key_files.check_new_name(name)
        return DetectorKey.of(self, name)

    def to_text(self) -> str:
        """Return the key file's text (JSON); it holds the secret."""
        body = bytes([FILE_VERSION]) + self.secret
        value = body + _checksum(body)
        return key_files.to_json(
            {"format": KEY_FORMAT, "name": self.name, "id": self.id, "secret": value.hex()}
        )

    @classmethod
    def from_text(cls, text: str) -> Key:
        """Read a key from the text of a key file.

        Args:
            text: the whole text; a byte order mark at its start, as Windows programs write, is passed over.

        Raises:
            KeyFormatError: if the text is no key file, one of a detector key, of an unknown version, or
                damaged.
        """
        fields = key_files.fields_of(text)
        if fields["format"] == DETECTOR_KEY_FORMAT:
            raise KeyFormatError(
                "this is a detector key, which only detects: embed with the secret key of its owner; to"
                " detect, read it with fastmark.load_key"
            )
        try:
            name, key_id, raw = fields["name"], fields["id"], bytes.fromhex(fields["secret"])
        except (ValueError, TypeError, KeyError):
            raise no_key_file() from None
        if not raw:
            raise no_key_file()
        if raw[0] != FILE_VERSION:
            raise KeyFormatError(
                f"the key file is of version {raw[0]}, this fastmark reads version {FILE_VERSION}:"
                " install a newer fastmark"
            )
        body, checksum = raw[:-_CHECKSUM_BYTES], raw[-_CHECKSUM_BYTES:]
        if len(body) != 1 + SECRET_BYTES or not secrets.compare_digest(checksum, _checksum(body)):
            raise KeyFormatError("the key file is damaged (checksum differs): restore it from a copy")
        key = cls(body[1:], name)
        if key_id != key.id:
            raise KeyFormatError(
                "the key file is damaged (its id does not belong to its secret): restore it from a copy"
            )
        return key

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the key to a new file that only its owner may read (mode 0600).

        Raises:
            OutputError: if the file exists already (keys are never overwritten) or cannot be written.
        """
        key_files.write_new(path, self.to_text(), _OWNER_ONLY)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Key:
        """Read a key file written by ``save``.

        Raises:
            KeyNotFoundError: if there is no such file; it is a FileNotFoundError too.
            KeyFormatError: if the file cannot be read or is not an undamaged key file.
        """
        return key_files.load(path, cls.from_text)


AnyKey: TypeAlias = "Key | DetectorKey"
"""What detecting takes."""


def load_key(path: str | os.PathLike[str]) -> AnyKey:
    """Read a key file of either kind: of a secret key, or of a detector key.

    Raises:
        KeyNotFoundError: if there is no such file; it is a FileNotFoundError too.
        KeyFormatError: if the file cannot be read or is not an undamaged key file.
    """
    return key_files.load(path, key_of_text)


def key_of_text(text: str) -> AnyKey:
    """Return the key of either kind whose file has this text.

    Raises:
        KeyFormatError: if the text is no key file, of an unknown version, or damaged.
    """
    if key_files.fields_of(text)["format"] == KEY_FORMAT:
        return Key.from_text(text)
    from fastmark.codec.detector_key import DetectorKey

    return DetectorKey.from_text(text)


def check_secret_key(key: object) -> Key:
    """Return ``key``, with which one embeds.

    Raises:
        TypeError: if it is a detector key, or no key.
    """
    if isinstance(key, Key):
        return key
    if _as_detector_key(key) is not None:
        raise TypeError(
            "a detector key only detects: embed with the secret key, a fastmark.Key, and detect with"
            " fastmark.Detector"
        )
    raise _no_key(key)


def check_key(key: object) -> AnyKey:
    """Return ``key``, with which one detects.

    Raises:
        TypeError: if it is neither a secret key nor a detector key.
    """
    found = key if isinstance(key, Key) else _as_detector_key(key)
    if found is None:
        raise _no_key(key)
    return found


def which_of_two(one: AnyKey, other: AnyKey) -> AnyKey:
    """Return which of two keys with the same ``key_id`` is looked for.

    It is the secret key rather than its detector key, as it sees more; else ``one``.

    Raises:
        KeyFormatError: if they are detector keys that differ, one of which must be false.
    """
    if isinstance(one, Key) or isinstance(other, Key):
        return one if isinstance(one, Key) else other
    if one != other:
        raise KeyFormatError(
            f"two detector keys say that they are of the key {one.key_id}, and differ: one of them is false;"
            " ask the owner of the key for its detector key, and use that one alone"
        )
    return one


def distinct_keys(keys: AnyKey | Iterable[AnyKey]) -> tuple[AnyKey, ...]:
    """Return one or more keys, each once (:func:`which_of_two`), in the order in which they were given.

    Raises:
        KeyFormatError: without any key, or if two detector keys contradict each other.
        TypeError: if one of ``keys`` is none.
    """
    found: dict[str, AnyKey] = {}
    for key in map(check_key, keys if isinstance(keys, Iterable) else [keys]):
        found[key.key_id] = which_of_two(found.get(key.key_id, key), key)
    if not found:
        raise KeyFormatError("no key to look for: give at least one")
    return tuple(found.values())


def _as_detector_key(key: object) -> DetectorKey | None:
    from fastmark.codec.detector_key import DetectorKey

    return key if isinstance(key, DetectorKey) else None


def _no_key(key: object) -> TypeError:
    return TypeError(
        f"key must be a fastmark.Key, not {type(key).__name__}: read a file with fastmark.Key.load"
    )


def _checksum(body: bytes) -> bytes:
    """Four bytes that catch a mistyped or cut key; they hold nothing of the secret worth having."""
    return hashlib.blake2b(body, digest_size=_CHECKSUM_BYTES, person=b"fastmark-keyfile").digest()
