"""Keys: 256 secret bits, their file, and what is drawn from them."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fastmark._checks import redacted
from fastmark.codec.keystream import Domain, keystream
from fastmark.errors import KeyFormatError, KeyNotFoundError, OutputError

if TYPE_CHECKING:
    from fastmark.codec.tables import BindingTables, Tables

SECRET_BYTES = 32
FILE_VERSION = 1
_FORMAT = "fastmark-key"
_CHECKSUM_BYTES = 4
_MAX_NAME = 64


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
        if not isinstance(self.name, str) or len(self.name) > _MAX_NAME or not self.name.isprintable():
            raise KeyFormatError(f"a key's name is printable text of at most {_MAX_NAME} characters")

    def __repr__(self) -> str:
        """Show the public id, and nothing of the secret."""
        return f"Key(id={self.id!r}, name={self.name!r})"

    @classmethod
    def generate(cls, name: str = "") -> Key:
        """Draw a new key from the operating system's random source.

        Raises:
            KeyFormatError: if ``name`` is no short printable text, or looks like a secret.
        """
        if redacted(name) != name:
            raise KeyFormatError("the name of a key is no secret and is shown: it must not be 64 hex digits")
        return cls(secrets.token_bytes(SECRET_BYTES), name)

    @property
    def id(self) -> str:
        """Public identifier: 16 hex digits; says which key without revealing it."""
        return self.stream(Domain.KEY_ID, 8).hex()

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

    def to_text(self) -> str:
        """Return the key file's text (JSON); it holds the secret."""
        body = bytes([FILE_VERSION]) + self.secret
        value = body + _checksum(body)
        fields = {"format": _FORMAT, "name": self.name, "id": self.id, "secret": value.hex()}
        return json.dumps(fields, indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_text(cls, text: str) -> Key:
        """Read a key from the text of a key file.

        Args:
            text: the whole text; a byte order mark at its start, as Windows programs write, is passed over.

        Raises:
            KeyFormatError: if the text is no key file, of an unknown version, or damaged.
        """
        try:
            fields = json.loads(text.removeprefix("\ufeff"))
            form, name, key_id, value = (fields[part] for part in ("format", "name", "id", "secret"))
            raw = bytes.fromhex(value)
        except (ValueError, TypeError, KeyError, RecursionError):
            raise KeyFormatError("this is not a fastmark key file; make one with 'fastmark keygen'") from None
        if form != _FORMAT or not raw:
            raise KeyFormatError("this is not a fastmark key file; make one with 'fastmark keygen'")
        if raw[0] != FILE_VERSION:
            raise KeyFormatError(
                f"the key file is of version {raw[0]}, this fastmark reads version {FILE_VERSION}"
            )
        body, checksum = raw[:-_CHECKSUM_BYTES], raw[-_CHECKSUM_BYTES:]
        if len(body) != 1 + SECRET_BYTES or not secrets.compare_digest(checksum, _checksum(body)):
            raise KeyFormatError("the key file is damaged (checksum differs); restore it from a copy")
        key = cls(body[1:], name)
        if key_id != key.id:
            raise KeyFormatError("the key file is damaged (its id does not belong to its secret)")
        return key

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the key to a new file that only its owner may read (mode 0600).

        Raises:
            OutputError: if the file exists already (keys are never overwritten) or cannot be written.
        """
        path = Path(path)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            raise OutputError(f"{path} exists already; a key file is never overwritten") from None
        except OSError as error:
            raise OutputError(f"cannot write the key file {path}: {error.strerror}") from None
        except ValueError as error:  # a null byte in the path
            raise OutputError(f"cannot write the key file {str(path)!r}: {error}") from None
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(self.to_text())
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Key:
        """Read a key file written by ``save``.

        Raises:
            KeyNotFoundError: if there is no such file; it is a FileNotFoundError too.
            KeyFormatError: if the file cannot be read or is not an undamaged key file.
        """
        shown = _shown(path)
        try:
            text = _decoded(Path(path).read_bytes())
        except FileNotFoundError:
            raise KeyNotFoundError(
                f"cannot read the key file {shown}: no such file; make one with 'fastmark keygen'"
            ) from None
        except OSError as error:
            raise KeyFormatError(f"cannot read the key file {shown}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise KeyFormatError(f"{shown} is not a fastmark key file") from None
        except ValueError as error:  # a null byte in the path
            raise KeyFormatError(f"cannot read the key file {shown!r}: {error}") from None
        try:
            return cls.from_text(text)
        except KeyFormatError as error:
            raise KeyFormatError(f"{shown}: {error}") from None


def _shown(path: str | os.PathLike[str]) -> str:
    """A path as errors show it; not where the key itself was given for it."""
    text = os.fsdecode(path)
    return "(a key's text instead of its path; not shown)" if _FORMAT in text else redacted(text)


def _decoded(data: bytes) -> str:
    """The text of a file, which Windows programs may have saved as UTF-16."""
    return data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")


def _checksum(body: bytes) -> bytes:
    """Four bytes that catch a mistyped or cut key; they hold nothing of the secret worth having."""
    return hashlib.blake2b(body, digest_size=_CHECKSUM_BYTES, person=b"fastmark-keyfile").digest()
