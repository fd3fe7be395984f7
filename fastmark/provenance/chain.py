"""A chain of certificates for trying content credentials out: an authority of one's own, and a signer.

Nobody trusts it, unless they are given its root. Needs the extra ``c2pa``.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastmark._imports import package
from fastmark.errors import CredentialError, OutputError, reason_of

CHAIN_FILE, KEY_FILE, ROOT_FILE = "chain.pem", "key.pem", "root.pem"
"""Certificates to sign with, their private key, and the root to trust."""

_MODES = {ROOT_FILE: 0o644, CHAIN_FILE: 0o644, KEY_FILE: 0o600}
_DAYS, _ROOT_DAYS = 365, 3650
_MOST_CHARACTERS = 60  # of X.509's 64 for a common name, "root" goes behind
_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


@dataclass(frozen=True, slots=True)
class Chain:
    """Where a chain was written.

    Attributes:
        chain: certificates, the signer's first.
        key: private key of the first, readable by its owner alone.
        root: certificate of the authority, for those who are to trust it.
    """

    chain: Path
    key: Path
    root: Path


def make_chain(
    folder: str | os.PathLike[str], name: str = "fastmark test signer", *, force: bool = False
) -> Chain:
    """Write a signer's certificate for a year, its key (ECDSA, P-256), and its own authority's certificate.

    All three files are written, or none.

    Args:
        folder: where to; it is made if it does not exist.
        name: of the signer.
        force: whether files that are there are replaced.

    Raises:
        CredentialError: if the name cannot be one.
        OutputError: if a file exists already, or cannot be written.
        MissingPackageError: without the extra ``c2pa``.
    """
    if not name.strip() or len(name) > _MOST_CHARACTERS or not name.isprintable():
        raise CredentialError(
            f"the signer's name must have 1 to {_MOST_CHARACTERS} characters, no line breaks"
        )
    place = Path(folder)
    try:
        there = [file for file in _MODES if os.path.lexists(place / file)]
    except (OSError, ValueError) as error:
        raise OutputError(f"{place} cannot be written: {reason_of(error)}") from None
    if there and not force:
        raise OutputError(
            f"{place / there[0]} exists already: choose another folder, or replace the chain with --force"
            " (force=True)"
        )
    try:
        place.mkdir(parents=True, exist_ok=True)
        _write_all(place, _make(name))
    except (OSError, ValueError) as error:
        raise OutputError(f"{place} cannot be written: {reason_of(error)}") from error
    return Chain(place / CHAIN_FILE, place / KEY_FILE, place / ROOT_FILE)


def _make(name: str) -> dict[str, bytes]:
    """Return the contents of the files."""
    purpose = "making certificates"
    x509 = package("cryptography.x509", purpose, "c2pa")
    ec = package("cryptography.hazmat.primitives.asymmetric.ec", purpose, "c2pa")
    hashes = package("cryptography.hazmat.primitives.hashes", purpose, "c2pa")
    serialization = package("cryptography.hazmat.primitives.serialization", purpose, "c2pa")
    authority, signer = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    start = dt.datetime.now(dt.UTC) - dt.timedelta(hours=1)  # clocks differ

    def named(common_name: str) -> Any:
        oid = x509.oid.NameOID
        return x509.Name(
            [
                x509.NameAttribute(oid.ORGANIZATION_NAME, "made by fastmark for trying out"),
                x509.NameAttribute(oid.COMMON_NAME, common_name),
            ]
        )

    def builder(subject: str, key: Any, days: int, *usages: str) -> Any:
        is_authority = "key_cert_sign" in usages
        return (
            x509.CertificateBuilder()
            .subject_name(named(subject))
            .issuer_name(named(f"{name} root"))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(start + dt.timedelta(days=days))
            .add_extension(x509.BasicConstraints(is_authority, 0 if is_authority else None), critical=True)
            .add_extension(x509.KeyUsage(**{usage: usage in usages for usage in _USAGES}), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )

    root = builder(f"{name} root", authority, _ROOT_DAYS, "key_cert_sign", "crl_sign")
    leaf = builder(name, signer, _DAYS, "digital_signature").add_extension(
        x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False
    )
    leaf = leaf.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()), critical=False
    )
    pem = serialization.Encoding.PEM
    root_pem, leaf_pem = (made.sign(authority, hashes.SHA256()).public_bytes(pem) for made in (root, leaf))
    key_pem = signer.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return {ROOT_FILE: root_pem, CHAIN_FILE: leaf_pem + root_pem, KEY_FILE: key_pem}


def _write_all(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write all files under other names first, then rename them; an error leaves none that is new."""
    temporary = {file: folder / f".{file}.{secrets.token_hex(8)}" for file in contents}
    new: list[Path] = []
    try:
        for file, content in contents.items():
            descriptor = os.open(temporary[file], os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODES[file])
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(content)
        for file in contents:
            if not os.path.lexists(folder / file):
                new.append(folder / file)
            temporary[file].replace(folder / file)
    except BaseException:
        for path in (*temporary.values(), *new):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
        raise
