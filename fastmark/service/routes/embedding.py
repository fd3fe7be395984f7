"""``POST /v1/embed``: images are watermarked, registered, labelled and signed."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from starlette.responses import JSONResponse, Response

from fastmark._checks import parse_message
from fastmark.codec.public import FLAGS, PublicCode
from fastmark.errors import FastmarkError, one_line
from fastmark.images.encoding import check_encoding
from fastmark.images.formats import PREFIX_BYTES, format_by_prefix
from fastmark.records import Record
from fastmark.service.bodies import Body
from fastmark.service.problems import NEEDS_TOKEN, Problem, described
from fastmark.service.service import Service, service_of
from fastmark.service.work import Embedded, Order

_IMAGE = {"type": "string", "format": "binary"}
_TEXT = {"type": "string"}
_RECORD = {
    "type": "string",
    "description": "JSON object of what is said of this image, instead of what the service says of all.",
}
Message = Annotated[
    str | None, Query(description="In hex; without one, the registry draws an id.", max_length=40)
]
Public = Annotated[
    str | None,
    Query(
        description="Flags of the public watermark that is embedded too, with commas between them:"
        f" {', '.join(FLAGS)}; without any, none is.",
        max_length=200,
    ),
]
Format = Annotated[
    Literal["png", "jpeg", "webp", "avif", "tiff", "heif", "jxl"] | None,
    Query(description="Of the answer; without one, that of the image, or PNG where that is not written."),
]
Quality = Annotated[int | None, Query(ge=1, le=100, description="Of lossy formats; 95 without one.")]

_MEDIA = {
    "PNG": "image/png",
    "JPEG": "image/jpeg",
    "WEBP": "image/webp",
    "AVIF": "image/avif",
    "TIFF": "image/tiff",
    "HEIF": "image/heic",
    "JXL": "image/jxl",
}


def make_router() -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/v1", tags=["embed"])
    problems = described(400, 401, 403, 404, 408, 409, 413, 415, 422, 429, 503)

    @router.post(
        "/embed",
        summary="Watermark an image",
        description="Needs a token with the right `embed`. The answer is the image; its headers"
        " `Fastmark-Id`, `Fastmark-State` (marked, or kept where it was watermarked already) and"
        " `Fastmark-Manifest` tell the rest; or ask for `application/json`, which has the image in base64 and"
        " the whole report.",
        openapi_extra=NEEDS_TOKEN | {"requestBody": _body("image", _IMAGE)},
        response_class=Response,
        responses={
            200: {
                "description": "The watermarked image",
                "content": {
                    "image/*": {"schema": _IMAGE},
                    "application/json": {"schema": {"type": "object"}},
                },
            },
            **problems,
        },
    )
    async def embed(
        request: Request,
        message: Message = None,
        public: Public = None,
        format: Format = None,
        quality: Quality = None,
    ) -> Response:
        service, body = await _brought(request, 1)
        order = _order(service, body, message, public, format, quality)
        with service.places.taken():
            done, name = await _embed(service, body.images[0], order)
        if "application/json" in request.headers.get("accept", ""):
            return _json(_told(done, name))
        headers = {"Cache-Control": "no-store", "Fastmark-State": done.values["state"]}
        if done.values["id"] is not None:
            headers["Fastmark-Id"] = done.values["id"]
        if done.values["manifest_id"] is not None:
            headers["Fastmark-Manifest"] = done.values["manifest_id"]
        return Response(done.data, headers=headers, media_type=_MEDIA[name])

    @router.post(
        "/embed/batch",
        summary="Watermark many images",
        description="One form with a file per image; each gets an id of its own from the registry. The"
        " answers are in the order of the images; one that cannot be watermarked has a problem in its place.",
        openapi_extra=NEEDS_TOKEN | {"requestBody": _body("images", {"type": "array", "items": _IMAGE})},
        response_class=JSONResponse,
        responses={
            200: {
                "description": "The watermarked images in base64",
                "content": {"application/json": {"schema": {"type": "object", "required": ["answers"]}}},
            },
            **problems,
        },
    )
    async def embed_batch(
        request: Request, public: Public = None, format: Format = None, quality: Quality = None
    ) -> Response:
        service, body = await _brought(request, None)
        order = _order(service, body, None, public, format, quality)
        answers = []
        with service.places.taken():
            for data in body.images:
                try:
                    answers.append(_told(*await _embed(service, data, order)))
                except Problem as problem:
                    if problem.status not in (409, 422):
                        raise
                    answers.append({"error": problem.to_dict()})
        return _json({"answers": answers})

    return router


async def _brought(request: Request, images: int | None) -> tuple[Service, Body]:
    service = service_of(request)
    if service.plan.embed_key is None:
        raise Problem(404, "This service watermarks no images: it was started without --embed-key.")
    caller = await service.admit(request, "embed")
    body = await service.read(request, images or service.settings.max_batch)
    service.charge(request, caller, len(body.images) - 1)
    return service, body


def _order(
    service: Service,
    body: Body,
    message: str | None,
    public: str | None,
    format_name: str | None,
    quality: int | None,
) -> Order:
    """Return what is asked for; fields of a form go before the parameters of the address.

    Raises:
        Problem: 422 if a value is none.
    """
    fields = body.fields
    given = fields.get("message") or message
    record, flags = fields.get("record"), fields.get("public") or public
    try:
        bits = service.plan.message_bits
        parsed = None if given is None else parse_message(given, bits)
        if parsed is None and service.registry is None:
            raise Problem(422, "There is no message, and no registry that draws one: add 'message'.")
        values = None if not record else json.loads(record)
        if values is not None and not isinstance(values, dict):
            raise Problem(422, "The record must be a JSON object.")
        if values is not None and not service.plan.companions.tells:
            raise Problem(422, "This service writes a record nowhere: leave it out.")
        return Order(
            parsed,
            fields.get("format") or format_name,
            int(fields["quality"]) if fields.get("quality") else quality,
            None if values is None else Record.from_dict(values),
            PublicCode.of(flags) if flags else None,
        )
    except FastmarkError as error:
        raise Problem(422, f"{one_line(error)}.") from None
    except (ValueError, RecursionError):
        raise Problem(422, "The record is not JSON, or the quality no number.") from None


async def _embed(service: Service, data: bytes, order: Order) -> tuple[Embedded, str]:
    """Watermark an image; return it with the name of its format."""
    own = format_by_prefix(data[:PREFIX_BYTES])
    wanted = order.format_name or (own if own in _MEDIA else "PNG")
    try:
        name = check_encoding(wanted, quality=order.quality)
        service.plan.companions.check_format(name)
    except FastmarkError as error:
        raise Problem(422, f"{one_line(error)}.") from None
    return await service.embed(data, replace(order, format_name=name)), name


def _told(done: Embedded, name: str) -> dict[str, Any]:
    image = {"media_type": _MEDIA[name], "base64": base64.b64encode(done.data).decode()}
    return {"schema": 1, **done.values, "image": image}


def _json(values: dict[str, Any]) -> Response:
    return JSONResponse(values, headers={"Cache-Control": "no-store"})


def _body(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    texts = dict.fromkeys(("message", "public", "format", "quality"), _TEXT)
    fields = {name: schema, "record": _RECORD, **texts}
    form = {"type": "object", "required": [name], "properties": fields}
    content: dict[str, Any] = {"multipart/form-data": {"schema": form}}
    if name == "image":
        content |= {"image/*": {"schema": _IMAGE}, "application/octet-stream": {"schema": _IMAGE}}
    return {"required": True, "content": content}
