"""c2pa-python: settings without network, formats, and its errors as fastmark's own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from fastmark._imports import package
from fastmark.errors import CredentialError, FastmarkError, one_line
from fastmark.images.formats import PREFIX_BYTES, format_by_prefix

MIME_TYPES = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "TIFF": "image/tiff",
    "AVIF": "image/avif",
    "HEIF": "image/heic",
    "JXL": "image/jxl",
    "GIF": "image/gif",
}
"""Media types of the formats that have a place for content credentials."""

ANY_TYPE = "application/octet-stream"
"""Media type of an original of any other format: its bytes are hashed, nothing is read from it."""

_SETTINGS: dict[str, Any] = {
    "version": 1,
    "builder": {"thumbnail": {"enabled": False}},
    # NOTE: a URL in a file is never fetched: it would tell somebody who looks at the file, and when
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_trust": True},
    "core": {"decode_identity_assertions": False},  # they may name documents on the web
}
_NO_HOSTS: dict[str, Any] = {"core": {"decode_identity_assertions": False, "allowed_network_hosts": []}}

BAD_STAMP = "the time stamp authority's answer is not in order: try another, or sign without (no --tsa)"
DAMAGED = "the manifest is damaged"
# what native errors have in them, in the order they are looked for; what that means; what to do
_MEANINGS = (
    (
        "not valid at time of signing",
        "the certificate is not valid at this time: get a new one, or set the clock right",
    ),
    (
        "self-signed",
        "the first certificate is signed by itself: put one first that an authority signed, and the"
        " authority's after it",
    ),
    ("http resolver", "the time stamp authority did not answer: look at its URL, or sign without (no --tsa)"),
    ("timestamp", BAD_STAMP),
    ("service responded", "the time stamp authority refused: look at its URL, or sign without (no --tsa)"),
    ("invalid signature value", "the signature is not one by the key of the first certificate"),
    ("does not match the provided data", "the signature is not one by the key of the first certificate"),
    ("cose signature invalid", "nothing that is a signature came back from the signer"),
    (
        "certificate",
        "the certificates are not such as C2PA takes (key usage digitalSignature, extended key usage"
        " emailProtection or documentSigning, not of an authority)",
    ),
    ("must fetch remote", "its manifest lies elsewhere, and is not fetched"),
    ("could not be parsed", "the image is damaged, or not of the format that it is said to be"),
    ("type is unsupported", "the image's format has no place for them"),
    ("jumbf", DAMAGED),
    ("jumd", DAMAGED),
    ("cbor", DAMAGED),
)


def load() -> ModuleType:
    """Import c2pa-python.

    Raises:
        MissingPackageError: if it is not installed.
    """
    return package("c2pa", "reading and signing content credentials", "c2pa")


def context(trust_anchors: str | None = None, *, network: bool = False) -> Any:
    """Return a context of c2pa-python, to be closed.

    Args:
        trust_anchors: PEM certificates of the authorities that are trusted.
        network: whether hosts may be asked, as time stamp authorities are; manifests are never fetched.
    """
    settings = _SETTINGS if network else _SETTINGS | _NO_HOSTS
    if trust_anchors is not None:
        settings = settings | {"trust": {"trust_anchors": trust_anchors}}
    return load().Context.from_dict(settings)


def media_type(data: bytes) -> str | None:
    """Return the media type of an image; None where its format has no place for content credentials."""
    name = format_by_prefix(data[:PREFIX_BYTES])
    return None if name is None or is_bare(data) else MIME_TYPES.get(name)


def is_bare(data: bytes) -> bool:
    """Whether an image is JPEG XL without a container, which alone has a place for metadata."""
    return data[:2] == b"\xff\n"


def contained(data: bytes) -> bytes:
    """Return JPEG XL in a container, ISO/IEC 18181-2: signature, type, and the codestream in one box."""
    if not is_bare(data):
        return data
    size = len(data) + 16
    head = b"\0\0\0\x0cJXL \r\n\x87\n\0\0\0\x14ftypjxl \0\0\0\0jxl "
    return head + b"\0\0\0\x01jxlc" + size.to_bytes(8, "big") + data


@contextlib.contextmanager
def translated(failed: str, *more: tuple[str, str]) -> Iterator[None]:
    """Raise errors of c2pa-python and of what it calls as CredentialError.

    Args:
        failed: what its text begins with.
        more: of errors that are not known, what they may have in them and what it means here.
    """
    try:
        yield
    except (FastmarkError, MemoryError):
        raise
    except Exception as error:
        raise CredentialError(f"{failed}: {_meaning_of(error, more)}") from error


def _meaning_of(error: Exception, more: tuple[tuple[str, str], ...]) -> str:
    said = one_line(error) or type(error).__name__
    for part, meaning in (*_MEANINGS, *more):
        if part in said.lower():
            return meaning
    return f"c2pa says: {said[:300]}"
