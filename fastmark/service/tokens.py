"""Bearer tokens: who may ask for more than anybody may, and how often; kept as hashes in a file.

::

    {"version": 1, "tokens": [{"name": "newsroom", "sha256": "HEX", "rights": ["detect", "scores"],
                               "rate": "none", "created_at": "2026-11-27T12:00:00Z"}]}

The file may be changed while the service runs: it is read again when it has changed. A file that cannot be
read confirms nobody: until it is in order again no token is accepted, and the log says so. Tokens that were
accepted before are not kept for that time, for one of them may be what the change was to revoke.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import logging
import os
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import limits

from fastmark.errors import RecordError, ServiceError, reason_of
from fastmark.records import format_time, parse_time
from fastmark.service.files import State, alone, state_of, write_whole

Right = Literal["detect", "scores", "embed", "private", "metrics"]
RIGHTS: tuple[Right, ...] = get_args(Right)
"""Check images; see the numbers behind the bands; watermark images; see private fields; read the metrics."""

UNLIMITED = "none"
"""The rate of tokens that have none, as of authorities and researchers."""

VERSION = 1
_PREFIX = "fm_"  # by which scanners for leaked secrets can tell it
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_MOST_CHARACTERS = 128

_log = logging.getLogger("fastmark.service")


@dataclass(frozen=True, slots=True)
class Token:
    """What a token stands for.

    Attributes:
        name: of whom it was given to; it may stand in logs.
        rights: of ``RIGHTS``, at least one.
        rate: how often its holders may ask, as "600/minute"; "none" for as often as they like; None for the
            service's default.
        created_at: when it was made, UTC, to the second.
    """

    name: str
    rights: frozenset[str]
    rate: str | None
    created_at: dt.datetime

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "name": self.name,
            "rights": [right for right in RIGHTS if right in self.rights],
            "rate": self.rate,
            "created_at": format_time(self.created_at),
        }


class Tokens:
    """The tokens in a file; safe to share among threads."""

    def __init__(self, path: str | os.PathLike[str] | None) -> None:
        """Read the tokens; a file that does not exist has none yet, and without a path there are never any.

        Raises:
            ServiceError: if the file cannot be read, or is damaged.
        """
        self._path = None if path is None else Path(path)
        self._known: tuple[State | None, Mapping[str, Token]] = (None, {})  # replaced as a whole
        self._complaint: str | None = None
        if self._path is not None:
            self._known = _read(self._path)

    def __repr__(self) -> str:
        """Name the file alone."""
        return f"Tokens({None if self._path is None else str(self._path)!r})"

    @classmethod
    def none(cls) -> Tokens:
        """Return no tokens."""
        return cls(None)

    def find(self, secret: str) -> Token | None:
        """Return what a secret stands for; None if it is none of them, or the file is not in order now.

        The time that this takes tells nothing of use: it is the secret's SHA-256 that is looked up, and
        somebody who learned every digit of one would still have to guess 256 random bits.
        """
        if not secret.isascii() or len(secret) > _MOST_CHARACTERS:
            return None
        return self._current().get(_hash_of(secret))

    def list(self) -> tuple[Token, ...]:
        """Return what all tokens stand for, in the order in which they were made.

        Raises:
            ServiceError: if the file cannot be read, or is damaged.
        """
        return () if self._path is None else tuple(_read(self._path)[1].values())

    def add(self, name: str, rights: Iterable[str], rate: str | None = None) -> str:
        """Make a token and return its secret, which is kept nowhere.

        Args:
            name: of whom it is for: letters, digits, dots, hyphens and underscores, at most 64.
            rights: of ``RIGHTS``, at least one.
            rate: as for :class:`Token`.

        Raises:
            ServiceError: if an argument is not one of these, there is a token of that name, or the file is
                damaged or cannot be written.
        """
        path = self._file()
        if not _NAME.fullmatch(_without_secret(name)):
            raise ServiceError(
                f"{name!r} cannot be the name of a token: use letters, digits, dots, hyphens and underscores,"
                " at most 64"
            )
        made = _checked(name, rights, rate, dt.datetime.now(dt.UTC).replace(microsecond=0))
        secret = _PREFIX + secrets.token_urlsafe(32)
        with alone(_lock_of(path)):
            known = _read(path)[1]
            if any(token.name == name for token in known.values()):
                raise ServiceError(
                    f"{path} has a token named {name} already: revoke it first, or choose another name"
                )
            self._write(path, {**known, _hash_of(secret): made})
        return secret

    def revoke(self, name: str) -> None:
        """Take a token out of the file.

        Raises:
            ServiceError: if there is none of that name, or the file is damaged or cannot be written.
        """
        path, name = self._file(), _without_secret(name)
        if not path.exists():
            raise ServiceError(
                f"there is no file of tokens at {path}: name another, or make one with fastmark token add"
            )
        with alone(_lock_of(path)):
            known = _read(path)[1]
            kept = {sha256: token for sha256, token in known.items() if token.name != name}
            if len(kept) == len(known):
                raise ServiceError(
                    f"{path} has no token named {name!r}: fastmark token list shows their names"
                )
            self._write(path, kept)

    def _file(self) -> Path:
        if self._path is None:
            raise ServiceError("there is no file of tokens: name one")
        return self._path

    def _write(self, path: Path, tokens: Mapping[str, Token]) -> None:
        rows = [{"name": token.name, "sha256": sha256} | token.to_dict() for sha256, token in tokens.items()]
        text = json.dumps({"version": VERSION, "tokens": rows}, indent=1)
        write_whole(path, text.encode() + b"\n", 0o600)

    def _current(self) -> Mapping[str, Token]:
        """Return the tokens of the file as it is now, by hash."""
        if self._path is None:
            return {}
        state, tokens = self._known
        try:
            now = state_of(self._path.stat())
        except OSError:
            now = None
        if now is not None and now == state:
            return tokens
        try:
            read = _read(self._path, must_exist=state is not None or self._complaint is not None)
            complaint = None
        except ServiceError as error:  # not read again before it changes
            read, complaint = (now, {}), str(error)
        if complaint is not None and complaint != self._complaint:
            _log.warning("no token is accepted: %s", complaint)
        elif complaint is None and self._complaint is not None:
            _log.warning("tokens are accepted again: %s is in order", self._path)
        self._complaint, self._known = complaint, read
        return read[1]


def _hash_of(secret: str) -> str:
    """Return the hash that is kept of a secret.

    Plain SHA-256, not a slow hash for passwords: those make guessing costly where few guesses would do, and
    nobody guesses 256 random bits. A slow hash would only make each request slow, and the service easy to
    keep busy with wrong tokens.
    """
    return hashlib.sha256(secret.encode()).hexdigest()


def _lock_of(path: Path) -> Path:
    """Return the file that is locked: not the file of tokens, which is replaced with each change."""
    real = Path(os.path.realpath(path))
    return real.with_name(f".{real.name}.lock")


def _without_secret(name: str) -> str:
    """Return a name, if it is not a secret that was typed by mistake and must not be shown."""
    if name.startswith(_PREFIX):
        raise ServiceError(f"no token's name begins with {_PREFIX}: that is a secret; give the token's name")
    return name


def _checked(name: str, rights: Iterable[str], rate: str | None, created_at: dt.datetime) -> Token:
    given = frozenset(rights)
    if not given or not given <= frozenset(RIGHTS):
        raise ServiceError(f"the rights of {name} must be at least one of {', '.join(RIGHTS)}")
    if rate is not None and rate != UNLIMITED:
        try:
            good = [item.amount for item in limits.parse_many(rate)]
        except (ValueError, TypeError):
            good = []
        if len(good) != 1 or good[0] < 1:
            raise ServiceError(f"the rate of {name} must be like 600/minute, or {UNLIMITED} for no limit")
    return Token(name, given, rate, created_at)


def _read(path: Path, *, must_exist: bool = False) -> tuple[State | None, dict[str, Token]]:
    """Return the state of a file, and its tokens by hash.

    Raises:
        ServiceError: if it is damaged, cannot be read, or ``must_exist`` and does not.
    """
    try:
        with path.open("rb") as file:
            state = state_of(os.fstat(file.fileno()))
            data = file.read()
    except FileNotFoundError:
        if must_exist:
            raise ServiceError(f"the file of tokens {path} is gone: put it back") from None
        return None, {}
    except (OSError, ValueError) as error:
        raise ServiceError(f"the file of tokens {path} cannot be read: {reason_of(error)}") from None
    try:
        return state, _parsed(data)
    except (ValueError, TypeError, KeyError, RecursionError, RecordError, ServiceError) as error:
        reason = str(error) if isinstance(error, ServiceError) else "it is not as `fastmark token` writes it"
        raise ServiceError(f"the file of tokens {path} is damaged: {reason}; restore a copy") from None


def _parsed(data: bytes) -> dict[str, Token]:
    read = json.loads(data)
    if read["version"] != VERSION:
        raise ServiceError("it is of another version of fastmark")
    tokens: dict[str, Token] = {}
    names = set()
    for row in read["tokens"]:
        name, sha256, rights = row["name"], row["sha256"], row["rights"]
        if not _NAME.fullmatch(name) or not _SHA256.fullmatch(sha256) or not isinstance(rights, list):
            raise ValueError
        if name in names or sha256 in tokens:
            raise ServiceError(f"it has {name} twice")
        names.add(name)
        tokens[sha256] = _checked(name, rights, row["rate"], parse_time(row["created_at"]))
    return tokens
