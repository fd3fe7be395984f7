"""Certificates and private keys in PEM: read, and checked before anything is signed with them."""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastmark._imports import package
from fastmark.errors import CredentialError, reason_of
from fastmark.records import format_time

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

ALGORITHMS = ("es256", "es384", "es512", "ps256", "ps384", "ps512", "ed25519")
"""Signature algorithms of C2PA."""

_BY_CURVE = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
_LEAST_RSA_BITS = 2048  # C2PA 2.4, 14.5.1
_VARIABLE = "env:"


def read_pem(place: str | bytes | os.PathLike[str], what: str) -> bytes:
    """Return the PEM text at a path, of ``env:NAME`` that of an environment variable, or given as bytes.

    Raises:
        CredentialError: if there is none; ``what`` says in it what was to be read.
    """
    if isinstance(place, bytes):
        pem = place
    elif isinstance(place, str) and place.startswith(_VARIABLE):
        name = place.removeprefix(_VARIABLE)
        pem = os.environ.get(name, "").replace("\\n", "\n").encode()  # stores of secrets keep one line
        if not pem:
            raise CredentialError(f"{what}: the environment variable {name} is not set")
    elif isinstance(place, str) and "-----BEGIN" in place:
        raise CredentialError(f"{what} was given as a text: give its path, or its bytes")
    else:
        try:
            pem = Path(place).read_bytes()
        except (OSError, ValueError, TypeError) as error:
            raise CredentialError(f"{what} {place!s} cannot be read: {reason_of(error)}") from None
    return pem


def parse_chain(pem: bytes, what: str) -> list[Certificate]:
    """Return the certificates in a PEM text, at least one.

    Raises:
        CredentialError: if there is none, or one that is damaged; ``what`` says in it what it was.
    """
    x509 = package("cryptography.x509", "reading certificates", "c2pa")
    try:
        chain: list[Certificate] = x509.load_pem_x509_certificates(pem)
    except ValueError:
        raise CredentialError(
            f"{what}: no certificates can be read from it: it must be PEM, -----BEGIN CERTIFICATE-----"
        ) from None
    return chain


def parse_key(pem: bytes) -> Any:
    """Return the private key in a PEM text.

    Raises:
        CredentialError: if it cannot be read, or has a password; none of its content is shown.
    """
    serialization = package("cryptography.hazmat.primitives.serialization", "reading private keys", "c2pa")
    exceptions = package("cryptography.exceptions", "reading private keys", "c2pa")
    try:
        return serialization.load_pem_private_key(pem, None)
    except TypeError:
        raise CredentialError(
            "the private key is locked with a password: unlock it (openssl pkey -in LOCKED -out KEY), or sign"
            " with a callback"
        ) from None
    except (ValueError, exceptions.UnsupportedAlgorithm):
        raise CredentialError(
            "the private key cannot be read: it must be PEM, -----BEGIN PRIVATE KEY-----"
        ) from None


def plain_pem(key: Any) -> bytes:
    """Return a private key as PKCS #8, whichever way it was written before."""
    serialization = package("cryptography.hazmat.primitives.serialization", "reading private keys", "c2pa")
    pem: bytes = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return pem


def algorithm_of(public_key: Any, wanted: str | None) -> str:
    """Return the algorithm that signatures of a key have.

    Args:
        public_key: of the certificate.
        wanted: one of ``ALGORITHMS``; None for the usual one of such a key.

    Raises:
        CredentialError: if C2PA takes no such key, or it cannot sign as wanted.
    """
    if wanted is not None and wanted not in ALGORITHMS:
        raise CredentialError(f"the algorithm must be one of {', '.join(ALGORITHMS)}, not {wanted!r}")
    asymmetric = "cryptography.hazmat.primitives.asymmetric"
    ec, rsa, ed25519 = (
        package(f"{asymmetric}.{name}", "signing content credentials", "c2pa")
        for name in ("ec", "rsa", "ed25519")
    )
    usual = None
    if isinstance(public_key, ec.EllipticCurvePublicKey):
        usual = _BY_CURVE.get(public_key.curve.name)
    elif isinstance(public_key, ed25519.Ed25519PublicKey):
        usual = "ed25519"
    elif isinstance(public_key, rsa.RSAPublicKey):
        usual = "ps256"
        if public_key.key_size < _LEAST_RSA_BITS:
            raise CredentialError(
                f"the key has {public_key.key_size} bits, RSA keys need {_LEAST_RSA_BITS}: make a larger one"
            )
    if usual is None:
        raise CredentialError(
            "C2PA takes no such key: use one of ECDSA (P-256, P-384, P-521), RSA or Ed25519"
        )
    if wanted is not None and wanted != usual and not (usual == "ps256" and wanted.startswith("ps")):
        raise CredentialError(f"this key cannot sign with {wanted}: leave the algorithm out, or take {usual}")
    return wanted or usual


def check_match(certificate: Certificate, key: Any) -> None:
    """Make sure that a private key is the one of a certificate.

    Raises:
        CredentialError: if it is another's.
    """
    if certificate.public_key() != key.public_key():
        raise CredentialError(
            "the private key is not that of the chain's first certificate: the signer's goes first, the"
            " authorities' after it"
        )


def check_time(certificate: Certificate) -> None:
    """Make sure that a certificate is valid now.

    Raises:
        CredentialError: if it has expired, or is not valid yet; it says since or from when.
    """
    now = dt.datetime.now(dt.UTC)
    if now > certificate.not_valid_after_utc:
        since = format_time(certificate.not_valid_after_utc)
        raise CredentialError(
            f"the certificate of {common_name(certificate)} expired at {since}: get a new one to sign with"
        )
    if now < certificate.not_valid_before_utc:
        start = format_time(certificate.not_valid_before_utc)
        raise CredentialError(
            f"the certificate of {common_name(certificate)} is not valid before {start}: wait, or set the"
            " clock right"
        )


def common_name(certificate: Certificate) -> str:
    """Return the name in a certificate, one line of at most 100 characters."""
    names = [
        str(attribute.value)
        for attribute in certificate.subject
        if attribute.oid.dotted_string in ("2.5.4.3", "2.5.4.10")  # common name, organization
    ]
    name = names[-1] if names else certificate.subject.rfc4514_string()
    return "".join(character for character in name if character.isprintable())[:100] or "no name"
