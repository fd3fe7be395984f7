"""Provenance metadata beside the watermark: XMP, and content credentials (C2PA; the extra ``c2pa``)."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastmark.provenance.credentials import Credential as Credential
    from fastmark.provenance.signing import Signed as Signed
    from fastmark.provenance.signing import Signer as Signer
    from fastmark.provenance.signing import sign as sign
    from fastmark.provenance.xmp import XmpLabel as XmpLabel

SOFT_BINDING = "fastmark.v1"
"""Name of fastmark's watermark in soft bindings; it is not registered in C2PA's list of algorithms."""

_HOME = {
    "Credential": "credentials",
    "Signed": "signing",
    "Signer": "signing",
    "XmpLabel": "xmp",
    "sign": "signing",
}

__all__ = sorted([*_HOME, "SOFT_BINDING"])


def __getattr__(name: str) -> Any:
    """Import a public name from its module (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module 'fastmark.provenance' has no attribute {name!r}")
    return getattr(importlib.import_module(f"fastmark.provenance.{_HOME[name]}"), name)
