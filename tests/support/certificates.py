"""Chains of certificates with whatever is wrong in them, for signing content credentials."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

PEM = serialization.Encoding.PEM
PKCS8 = serialization.PrivateFormat.PKCS8
UNLOCKED = serialization.NoEncryption()
_USAGES = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
           "key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only")  # fmt: skip


@dataclass(frozen=True)
class Made:
    """PEM texts, and the private key as an object."""

    chain: bytes
    key: bytes
    root: bytes
    private: Any


def now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def make(
    private: Any = None,
    *,
    days: tuple[float, float] = (-1, 300),
    name: str = "Test Signer",
    ocsp: str | None = None,
    purpose: x509.ObjectIdentifier = ExtendedKeyUsageOID.EMAIL_PROTECTION,
) -> Made:
    """An authority and its signer; ``days`` from now are the signer's first and last."""
    authority = ec.generate_private_key(ec.SECP256R1())
    private = private or ec.generate_private_key(ec.SECP256R1())
    issuer = _name(f"{name} Root")

    def builder(subject: x509.Name, key: Any, start: float, end: float, *usages: str) -> Any:
        ca = "key_cert_sign" in usages
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now() + dt.timedelta(days=start))
            .not_valid_after(now() + dt.timedelta(days=end))
            .add_extension(x509.BasicConstraints(ca, 0 if ca else None), critical=True)
            .add_extension(x509.KeyUsage(**{usage: usage in usages for usage in _USAGES}), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )

    root = builder(issuer, authority, -800, 4000, "key_cert_sign", "crl_sign").sign(
        authority, hashes.SHA256()
    )
    leaf = builder(_name(name), private, *days, "digital_signature")
    critical = purpose == ExtendedKeyUsageOID.TIME_STAMPING
    leaf = leaf.add_extension(x509.ExtendedKeyUsage([purpose]), critical=critical).add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()), critical=False
    )
    if ocsp is not None:
        place = x509.AccessDescription(
            AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(ocsp)
        )
        leaf = leaf.add_extension(x509.AuthorityInformationAccess([place]), critical=False)
    signed = leaf.sign(authority, hashes.SHA256())
    root_pem = root.public_bytes(PEM)
    key = private.private_bytes(PEM, PKCS8, UNLOCKED)
    return Made(signed.public_bytes(PEM) + root_pem, key, root_pem, private)


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Tests"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )
