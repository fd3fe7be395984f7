"""Bodies of C2PA's soft binding resolution API as JSON Schema, and its question to the registry."""

from __future__ import annotations

from typing import Any

from fastmark.errors import InvalidMessageError
from fastmark.registry.store import Registry

VERSION = "2.4.0"
"""Of C2PA's specification."""

TEXT: dict[str, Any] = {"type": "string"}
_URI = {"type": "string", "format": "uri-reference"}
_ALGORITHMS = {
    "type": "array",
    "items": {"type": "object", "required": ["alg"], "properties": {"alg": TEXT}},
}
MATCHES: dict[str, Any] = {
    "type": "object",
    "required": ["matches"],
    "properties": {
        "matches": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["manifestId"],
                "properties": {"manifestId": TEXT, "endpoint": _URI},
            },
        }
    },
}
BINDING: dict[str, Any] = {
    "type": "object",
    "required": ["alg", "value"],
    "properties": {"alg": TEXT, "value": {"type": "string", "contentEncoding": "base64"}},
}
REFERENCE: dict[str, Any] = {
    "type": "object",
    "required": ["referenceUrl", "assetLength"],
    "properties": {
        "referenceUrl": {"type": "string", "format": "uri"},
        "assetLength": {"type": "integer", "minimum": 1},
        "assetType": TEXT,
        "region": {"type": "array", "maxItems": 0},
    },
}
_VERSION = {"type": "string", "pattern": r"^\d+\.\d+\.\d+$"}
KNOWN: dict[str, Any] = {
    "type": "object",
    "required": ["watermarks", "fingerprints"],
    "properties": {"watermarks": _ALGORITHMS, "fingerprints": _ALGORITHMS},
}
CAPABILITIES: dict[str, Any] = {
    "type": "object",
    "required": ["c2paSpecificationVersion", "supportedCapabilities"],
    "properties": {
        "c2paSpecificationVersion": _VERSION,
        "supportedCapabilities": {"type": "array", "items": TEXT},
    },
}
STATUS: dict[str, Any] = {
    "type": "object",
    "required": ["status", "timestamp"],
    "properties": {
        "status": {"enum": ["ok", "degraded", "down"]},
        "timestamp": {"type": "string", "format": "date-time"},
    },
}
ADDRESSES: dict[str, Any] = {
    "type": "object",
    "required": ["apiEndpoint", "c2paSpecificationVersion"],
    "properties": {
        "apiEndpoint": _URI,
        "c2paSpecificationVersion": _VERSION,
        "capabilitiesEndpoint": _URI,
        "statusEndpoint": _URI,
    },
}


def kept_manifest(registry: Registry, message: bytes) -> str | None:
    """Return the id of the credentials that an image left with; None where there is none, or none is kept."""
    try:
        entry = registry.get(message)
    except InvalidMessageError:
        return None
    if entry is None or entry.state == "reserved" or entry.manifest_id is None:
        return None
    return None if registry.manifest(entry.manifest_id) is None else entry.manifest_id
