"""Answers of every verdict, as ``Check.to_dict`` and the service make them, for what shows them."""

import base64
import io

import numpy as np
from PIL import Image

from fastmark.checking.verdicts import LIMITS

ID, OTHER_ID = "0123456789abcdef", "fedcba9876543210"
RECORD = {
    "id": ID,
    "provider": "Example Studio",
    "system": "Painter",
    "system_version": "2.1",
    "created_at": "2026-11-02T09:30:00Z",
    "action": "created",
}
WHOLE = {"scale": 1.0, "rotation_deg": 0.0, "mirrored": False, "inverted": False}
WIDTH, HEIGHT, CELL = 768, 512, 40


def map_url(changed=True):
    """A map of 20 x 13 cells, of which the last ones reach beyond an image of ``WIDTH`` x ``HEIGHT``."""
    rows, columns = -(-HEIGHT // CELL), -(-WIDTH // CELL)
    cells = np.zeros((rows, columns, 4), np.uint8)
    cells[1:12, 2:17] = 0, 114, 178, 150
    if changed:
        cells[3:7, 5:9] = 230, 159, 0, 190
    buffer = io.BytesIO()
    Image.fromarray(cells).save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def finding(technique, state, says="English.", **details):
    return {"technique": technique, "state": state, "says": says, "details": details}


def watermark(message=ID, made_with="key"):
    details = {"key_id": "5c2f", "message": message, "made_with": made_with} | WHOLE
    return finding("watermark", "detected", "The watermark is there.", **details)


def xmp(source="trainedAlgorithmicMedia", message=None, **more):
    details = {
        "digital_source_type": source,
        "system": None,
        "system_version": None,
        "data_mining": None,
        "aigc": None,
        "message": message,
    }
    return finding("xmp", "says", "XMP says something.", **(details | more))


def c2pa(state="trusted", **more):
    details = {
        "manifest_id": "urn:c2pa:1",
        "issuer": "Example Studio",
        "digital_source_type": "trainedAlgorithmicMedia",
        "system": "Painter",
        "system_version": "2.1",
        "opted_out": True,
        "message": ID,
        "problems": [],
    }
    return finding("c2pa", state, "Content credentials.", **(details | more))


ABSENT = finding("watermark", "absent", "No watermark of the key looked for was found.")
MATCH = finding("binding", "match")
SAME = finding("registry", "same file", id=ID, manifest_id=None)

_DETECTED = {
    "watermark": "detected",
    "confidence": "strong",
    "key_id": "5c2f",
    "key_name": "Example Studio 2026",
    "id": ID,
    "registry": RECORD,
    "agree": True,
    "where": [80, 40, 680, 480],
    "transform": WHOLE,
}
_SPECIAL = {
    "genuine and unchanged": _DETECTED | {"findings": [watermark(), MATCH, SAME, xmp(), c2pa()]},
    "genuine, changed since": _DETECTED
    | {
        "transform": {"scale": 0.5, "rotation_deg": 4.0, "mirrored": True, "inverted": False},
        "changes": [
            {"change": "scaled", "by": 0.5},
            {"change": "turned", "by": 4.0},
            {"change": "mirrored", "by": None},
        ],
        "findings": [watermark(), MATCH, finding("registry", "known", id=ID, manifest_id=None)],
    },
    "genuine": _DETECTED
    | {
        "registry": None,
        "agree": None,
        "findings": [watermark(), finding("binding", "unknown"), finding("registry", "unknown")],
    },
    "genuine, not made for this image": _DETECTED
    | {
        "mismatch": True,
        "findings": [
            watermark(),
            finding("binding", "mismatch"),
            finding("registry", "other image", id=ID, manifest_id=None),
        ],
    },
    "not genuine": _DETECTED
    | {
        "registry": RECORD | {"provider": None},
        "findings": [watermark(made_with="detector key"), finding("registry", "reserved", id=ID)],
    },
    "metadata and pixels disagree": _DETECTED
    | {
        "agree": False,
        "findings": [watermark(), MATCH, SAME, xmp("digitalCapture", OTHER_ID), c2pa(message=None)],
    },
    "metadata only": {
        "findings": [
            ABSENT,
            xmp(system="Painter", system_version="2.1", data_mining="DMI-PROHIBITED", aigc={"Label": "1"}),
            finding("text", "names a generator", tool="ComfyUI"),
            c2pa("invalid", problems=["the signature is not valid"]),
        ]
    },
    "too weak to say": {
        "watermark": "inconclusive",
        "confidence": "possible",
        "findings": [finding("watermark", "possible")],
    },
    "nothing found": {"findings": [ABSENT], "remarks": ["the file is damaged from row 40 on"]},
}


def answer(verdict, *, map=None, report=None, **more):
    """The answer with a verdict, every part of which can be replaced."""
    values = {
        "schema": 1,
        "verdict": verdict,
        "sentence": f"An English sentence on {verdict}.",
        "watermark": "not_detected",
        "confidence": "none",
        "key_id": None,
        "key_name": None,
        "id": None,
        "registry": None,
        "mismatch": False,
        "agree": None,
        "where": None,
        "changes": [],
        "transform": None,
        "findings": [],
        "width": WIDTH,
        "height": HEIGHT,
        "remarks": [],
        "detector": {"name": "fastmark", "version": "0.3.0", "url": "https://check.example.org"},
        "time": "2026-11-27T10:12:00Z",
        "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "limits": LIMITS,
        "map": map,
    }
    values |= _SPECIAL[verdict] | more
    if report is not None:
        values["report"] = report
    return values
