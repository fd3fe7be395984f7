"""``POST /v1/detect``: what is known of an image, of one or of many."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import JSONResponse, Response

from fastmark.service.problems import described
from fastmark.service.service import service_of

_IMAGE = {"type": "string", "format": "binary"}
_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {"type": "object", "required": ["image"], "properties": {"image": _IMAGE}}
        },
        "image/*": {"schema": _IMAGE},
        "application/octet-stream": {"schema": _IMAGE},
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["url"],
                "additionalProperties": False,
                "properties": {"url": {"type": "string", "format": "uri"}},
            }
        },
    },
}
_BATCH: dict[str, Any] = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["images"],
                "properties": {"images": {"type": "array", "items": _IMAGE}},
            }
        }
    },
}
_TEXT = {"type": "string"}
_MAYBE = {"type": ["string", "null"]}
ANSWER: dict[str, Any] = {
    "type": "object",
    "required": [
        "schema",
        "verdict",
        "sentence",
        "watermark",
        "confidence",
        "findings",
        "detector",
        "limits",
    ],
    "properties": {
        "schema": {"const": 1},
        "verdict": _TEXT,
        "sentence": _TEXT,
        "watermark": {"enum": ["detected", "inconclusive", "not_detected"]},
        "confidence": {"enum": ["strong", "possible", "none"]},
        "key_id": _MAYBE,
        "key_name": _MAYBE,
        "id": _MAYBE,
        "registry": {"type": ["object", "null"]},
        "mismatch": {"type": "boolean"},
        "agree": {"type": ["boolean", "null"]},
        "where": {"type": ["array", "null"], "items": {"type": "integer"}},
        "changes": {"type": "array", "items": {"type": "object"}},
        "transform": {"type": ["object", "null"]},
        "findings": {"type": "array", "items": {"type": "object"}},
        "width": {"type": "integer"},
        "height": {"type": "integer"},
        "remarks": {"type": "array", "items": _TEXT},
        "detector": {"type": "object"},
        "time": {"type": "string", "format": "date-time"},
        "sha256": _TEXT,
        "limits": _TEXT,
        "map": _MAYBE,
        "report": _TEXT,
        "detection": {"type": ["object", "null"]},
    },
}
"""Of an answer, as OpenAPI describes it."""

Where = Annotated[
    bool,
    Query(description="Also say where the watermark lies: `where`, a box, and `map`, a PNG as data URL."),
]
Report = Annotated[
    bool, Query(description="Also sign the answer: `report`, a compact JWS, if the service has keys.")
]


def make_router() -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/v1", tags=["detect"])

    @router.post(
        "/detect",
        summary="Check an image",
        description="Looks for watermarks, asks the registry, reads the metadata. Nothing of the image is"
        " kept. Callers whose token has the right `scores` get `detection` too.",
        openapi_extra={"requestBody": _BODY},
        response_class=JSONResponse,
        responses={
            200: {"description": "The answer", "content": {"application/json": {"schema": ANSWER}}},
            **described(400, 401, 403, 408, 413, 415, 422, 429, 502, 503, 504),
        },
    )
    async def detect(request: Request, where: Where = False, report: Report = False) -> Response:
        service = service_of(request)
        caller = await service.admit(request)
        data = await service.read_image(request)
        answer = await service.check(data, caller, where, report)
        return answered(request, answer)

    @router.post(
        "/detect/batch",
        summary="Check many images",
        description="One form with a file per image. The answers are in the order of the images; one that"
        " cannot be read has a problem in its place. Each image counts as a request.",
        openapi_extra={"requestBody": _BATCH},
        response_class=JSONResponse,
        responses={
            200: {
                "description": "The answers",
                "content": {
                    "application/json": {
                        "schema": {
                            "type": "object",
                            "required": ["answers"],
                            "properties": {"answers": {"type": "array", "items": {"type": "object"}}},
                        }
                    }
                },
            },
            **described(400, 401, 403, 408, 413, 415, 422, 429, 503),
        },
    )
    async def detect_batch(request: Request, where: Where = False, report: Report = False) -> Response:
        service = service_of(request)
        caller = await service.admit(request)
        images = (await service.read(request, service.settings.max_batch)).images
        service.charge(request, caller, len(images) - 1)
        return answered(request, {"answers": await service.check_many(images, caller, where, report)})

    return router


def answered(request: Request, values: dict[str, Any]) -> Response:
    """Return an answer that nobody keeps on the way."""
    request.state.verdict = values.get("verdict")
    return JSONResponse(values, headers={"Cache-Control": "no-store"})
