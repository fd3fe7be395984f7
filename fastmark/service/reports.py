"""Signed reports: an answer as a compact JWS (RFC 7515), and the keys that sign them.

A report's header is ``{"alg": "EdDSA", "kid": ..., "typ": "fastmark-report+jwt"}``. A type of its own
(RFC 8725, 3.11) keeps it from being taken for a token that lets somebody in. Its payload is the answer, with
``iss``, the service's address, and ``iat``, the second in which it was signed.

A folder holds the keys: ``private.pem``, the one that signs (Ed25519), and ``key-KID.json`` for it and for
each that signed before, as a JWK (RFC 7517, 8037) with ``created_at``, and with ``retired_at`` if it is
retired. KID is the key's thumbprint (RFC 7638). Private keys are gone once they are retired; public ones stay
listed, for reports stay too.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import json
import logging
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import jwt

from fastmark.errors import RecordError, ReportError, ServiceError, reason_of
from fastmark.records import format_time, parse_time
from fastmark.service.files import State, alone, state_of, write_whole

ALGORITHM, TYPE = "EdDSA", "fastmark-report+jwt"
PRIVATE_FILE = "private.pem"
MOST_CHARACTERS = 1 << 20
"""Of a report."""

_LEEWAY_S = 300  # clocks differ, and a service notices a new key with its next report
_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", re.ASCII)
_SHOWN = ("kty", "crv", "x", "kid", "alg", "use", "created_at", "retired_at")

_log = logging.getLogger("fastmark.service")


@dataclass(frozen=True, slots=True, repr=False)
class _Keys:
    """What a folder holds: state of folder and private key, that key, its id, and all public keys."""

    state: tuple[State, State]
    private: Any
    kid: str
    public: tuple[dict[str, str], ...]


class ReportKeys:
    """The keys in a folder; safe to share among threads. A folder that changes is read again."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        """Read the keys; as :meth:`load`."""
        self._folder = Path(folder)
        self._keys = _read(self._folder)  # replaced as a whole
        self._complaint: str | None = None

    def __repr__(self) -> str:
        """Name the folder and the key that signs, by its public id."""
        return f"ReportKeys({str(self._folder)!r}, kid={self._keys.kid!r})"

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Self:
        """Read the keys in a folder.

        Raises:
            ServiceError: if there is no key, or a file is damaged or cannot be read.
        """
        return cls(folder)

    @classmethod
    def make(cls, folder: str | os.PathLike[str]) -> Self:
        """Make the first key in a folder, and the folder if there is none.

        Raises:
            ServiceError: if it has a key already, or cannot be written.
        """
        place = Path(folder)
        try:
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
        except (OSError, ValueError) as error:
            raise ServiceError(f"{place} cannot be made: {reason_of(error)}") from None
        with alone(place / ".lock"):
            if os.path.lexists(place / PRIVATE_FILE):
                raise ServiceError(f"{place} has a key already: rotate it, or choose another folder")
            _add_key(place)
        return cls(place)

    @classmethod
    def rotate(cls, folder: str | os.PathLike[str]) -> Self:
        """Make another key that signs from now on; the one that did is retired, and its private part gone.

        The folder works at every moment of it, whenever it is cut off: the public key is added, then the
        private key replaced, then the old key marked as retired.

        Raises:
            ServiceError: as :meth:`load`, or if the folder cannot be written.
        """
        place = Path(folder)
        _read(place)  # for an error that says what is missing
        with alone(place / ".lock"):
            before = _read(place).public
            created_at = _add_key(place)
            for key in before:
                if key.get("retired_at") is None:
                    key["retired_at"] = created_at
                _write_public(place, key)  # of earlier rotations that were cut off too
        return cls(place)

    @property
    def kid(self) -> str:
        """The id of the key that signs."""
        return self._current().kid

    def jwks(self) -> dict[str, Any]:
        """Return all public keys as a JWK set, the one that signs first, then the last retired."""
        return {"keys": [dict(key) for key in self._current().public]}

    def sign(self, answer: Mapping[str, Any], issuer: str | None = None) -> str:
        """Return an answer as a signed report.

        Args:
            answer: JSON values.
            issuer: the service's address; None for one that does not name itself.

        Raises:
            ValueError: if a value is none of JSON.
        """
        keys = self._current()
        payload = {**answer, "iat": int(time.time())}
        if issuer is not None:
            payload["iss"] = issuer
        text = json.dumps(payload, allow_nan=False, separators=(",", ":"))  # of ASCII alone
        headers = {"kid": keys.kid, "typ": TYPE}
        return jwt.PyJWS().encode(text.encode(), keys.private, ALGORITHM, headers)

    def _current(self) -> _Keys:
        """Return the keys of the folder as it is now; while it is not in order, those of before.

        Nobody is harmed by a report that the last good key signs; a key that was stolen is to be rotated.
        """
        try:
            if _state_of(self._folder) == self._keys.state:
                return self._keys
            self._keys = _read(self._folder)
            complaint = None
        except (ServiceError, OSError) as error:
            complaint = str(error) if isinstance(error, ServiceError) else reason_of(error)
        if complaint is not None and complaint != self._complaint:
            _log.warning("reports are signed with the key of before: %s", complaint)
        self._complaint = complaint
        return self._keys


def verify(report: str, jwks: Mapping[str, Any]) -> dict[str, Any]:
    """Return the answer of a report that one of the keys signed, with ``iss`` (if it has one) and ``iat``.

    It tells that the holder of that key said so, and no more.

    Args:
        report: a compact JWS.
        jwks: JWK set, as of ``/.well-known/jwks.json``.

    Raises:
        ReportError: if it is damaged or altered, signed by none of the keys or after its key was retired,
            dated in the future, or signed by another algorithm than EdDSA, whatever its header asks for.
    """
    return open_report(report, jwks)[0]


def open_report(report: str, jwks: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the answer of a report, and the key that signed it; arguments and errors as :func:`verify`."""
    if len(report) > MOST_CHARACTERS:
        raise ReportError(f"the report has more than {MOST_CHARACTERS} characters: it is none")
    if not _COMPACT.fullmatch(report):
        raise ReportError("the report is damaged: it must be three parts of letters, digits, - and _")
    jws = jwt.PyJWS(algorithms=[ALGORITHM])
    try:
        header = jws.get_unverified_header(report)
    except jwt.PyJWTError:
        raise ReportError("the report is damaged: it has no header") from None
    if header.get("alg") != ALGORITHM:
        raise ReportError(f"the report is not signed with {ALGORITHM}: nobody vouches for it")
    if header.get("typ") != TYPE or "crit" in header or "b64" in header:
        raise ReportError("what was signed is no report of fastmark")
    key = _key_of(jwks, header.get("kid"))
    try:
        # the algorithm is ours, and the key's kind is looked at: the header chooses neither
        payload = jws.decode(report, _public_of(key), algorithms=[ALGORITHM])
        answer = json.loads(payload, parse_constant=_refuse)
    except jwt.PyJWTError:
        raise ReportError("the report was altered, or its signature is another's") from None
    except (ValueError, RecursionError):
        raise ReportError("the report is damaged: what was signed is no answer") from None
    if not isinstance(answer, dict) or not isinstance(answer.get("iss", ""), str):
        raise ReportError("the report is damaged: what was signed is no answer")
    _check_time(answer.get("iat"), key.get("retired_at"))
    return answer, key


def parse_jwks(data: bytes) -> dict[str, Any]:
    """Return a JWK set that was read.

    Raises:
        ServiceError: if it is none.
    """
    try:
        jwks = json.loads(data)
    except (ValueError, RecursionError):
        jwks = None
    if not isinstance(jwks, dict) or not isinstance(jwks.get("keys"), list):
        raise ServiceError("it is no JWK set: give the file or URL of a service's /.well-known/jwks.json")
    return jwks


def _check_time(signed_at: Any, retired_at: Any) -> None:
    """Refuse what was dated after now, or after its key was retired: then somebody else has that key."""
    if not isinstance(signed_at, int) or isinstance(signed_at, bool):
        raise ReportError("the report is damaged: it does not say when it was signed")
    if signed_at > time.time() + _LEEWAY_S:
        raise ReportError("the report is dated in the future: look at this machine's clock")
    if retired_at is None:
        return
    try:
        end = parse_time(retired_at).timestamp()
    except (RecordError, TypeError):
        raise ReportError("the report's key was retired, and it is not told when") from None
    if signed_at > end + _LEEWAY_S:
        raise ReportError("the report was signed after its key was retired: do not believe it")


def _key_of(jwks: Mapping[str, Any], kid: Any) -> dict[str, Any]:
    keys = jwks.get("keys")
    for key in keys if isinstance(keys, list) else ():
        if isinstance(key, dict) and isinstance(kid, str) and key.get("kid") == kid:
            return key
    raise ReportError("none of the keys signed the report: it may be of another service")


def _public_of(key: Mapping[str, Any]) -> Any:
    """Return the public key of a JWK; cryptography's Ed25519PublicKey.

    Raises:
        ReportError: if it is of another kind, or not for signatures.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    fits = key.get("kty") == "OKP" and key.get("crv") == "Ed25519" and key.get("use", "sig") == "sig"
    if not fits or key.get("alg", ALGORITHM) not in (ALGORITHM, "Ed25519"):  # its name since RFC 9864
        raise ReportError("the report's key is not one for signatures by Ed25519")
    try:
        return Ed25519PublicKey.from_public_bytes(_from_base64url(key["x"]))
    except (ValueError, TypeError, KeyError, AttributeError):
        raise ReportError("the report's key is damaged") from None


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


# ---- the folder ------------------------------------------------------------------------------------------


def _state_of(folder: Path) -> tuple[State, State]:
    """Return what changes with the files: each is renamed into the folder, which changes with that."""
    return state_of(folder.stat()), state_of((folder / PRIVATE_FILE).stat())


def _read(folder: Path) -> _Keys:
    """Return the keys in a folder.

    Raises:
        ServiceError: if there is none, or a file is damaged or cannot be read.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    path = folder / PRIVATE_FILE
    try:
        state = _state_of(folder)
        written = dt.datetime.fromtimestamp(path.stat().st_mtime, dt.UTC)
        private = load_pem_private_key(path.read_bytes(), None)
        # after the private key: its public one is there before it
        files = {file.name: file.read_bytes() for file in folder.glob("key-*.json")}
    except FileNotFoundError:
        raise ServiceError(
            f"{folder} has no key: make one with 'fastmark report-key init {folder}'"
        ) from None
    except OSError as error:
        raise ServiceError(f"the keys in {folder} cannot be read: {reason_of(error)}") from None
    except (ValueError, TypeError):  # TypeError: it needs a password
        private = None
    if not isinstance(private, Ed25519PrivateKey):
        raise ServiceError(
            f"{path} is damaged: it must be an Ed25519 key in PEM (PKCS #8) without a password"
        )
    signing = _jwk_of(private) | {"created_at": format_time(written)}  # if its file was lost
    public = {key["kid"]: key for key in (_parsed(folder / name, files[name]) for name in files)}
    current = public.pop(signing["kid"], signing)
    current.pop("retired_at", None)
    for key in public.values():
        if "retired_at" not in key:  # a rotation was cut off: it signed until the current one did, or never
            key["retired_at"] = max(key["created_at"], current["created_at"])
    retired = sorted(public.values(), key=lambda key: key["created_at"], reverse=True)
    return _Keys(state, private, signing["kid"], (current, *retired))


def _parsed(path: Path, data: bytes) -> dict[str, str]:
    try:
        read = json.loads(data)
        key = {name: read[name] for name in _SHOWN if name in read}
        for name in ("created_at", "retired_at"):
            if name != "retired_at" or name in key:
                parse_time(key[name])
        if key["kid"] != _thumbprint(key["x"]) or path.name != _file_of(key["kid"]):
            raise ValueError
        _public_of(key)
    except (ValueError, TypeError, KeyError, RecursionError, RecordError, ReportError):
        raise ServiceError(
            f"{path} is damaged: restore a copy, for reports were signed by that key"
        ) from None
    return key


def _add_key(folder: Path) -> str:
    """Make a key that signs from now on, and return from when."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    private = Ed25519PrivateKey.generate()
    key = _jwk_of(private) | {"created_at": format_time(dt.datetime.now(dt.UTC))}
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _write_public(folder, key)
    write_whole(folder / PRIVATE_FILE, pem, 0o600)
    return key["created_at"]


def _write_public(folder: Path, key: Mapping[str, str]) -> None:
    write_whole(folder / _file_of(key["kid"]), json.dumps(key, indent=1).encode() + b"\n", 0o644)


def _file_of(kid: str) -> str:
    return f"key-{kid}.json"


def _jwk_of(private: Any) -> dict[str, str]:
    """Return the public key as a JWK (RFC 8037, 2)."""
    x = _base64url(private.public_key().public_bytes_raw())
    return {
        "kty": "OKP",
        "crv": "Ed25519",
        "x": x,
        "kid": _thumbprint(x),
        "alg": ALGORITHM,
        "use": "sig",
    }


def _thumbprint(x: str) -> str:
    """Return the id of a key (RFC 7638; the members that RFC 8037, 2 requires, in their order)."""
    text = json.dumps({"crv": "Ed25519", "kty": "OKP", "x": x}, separators=(",", ":"))
    return _base64url(hashlib.sha256(text.encode()).digest())


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _from_base64url(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
