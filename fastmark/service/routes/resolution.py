"""C2PA's soft binding resolution API 2.4.0: by its watermark, an image finds the content credentials it lost.

It is there where the service has a registry. Nobody learns how near an image is to a watermark: matches
have no score, and a hint of the caller's counts for nothing, as it says nothing of the image.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from fastmark.errors import RegistryError
from fastmark.records import format_time
from fastmark.registry.entries import check_facts
from fastmark.service.bodies import media_type
from fastmark.service.problems import Problem, described
from fastmark.service.resolution import (
    ADDRESSES,
    BINDING,
    CAPABILITIES,
    KNOWN,
    MATCHES,
    REFERENCE,
    STATUS,
    TEXT,
    VERSION,
    kept_manifest,
)
from fastmark.service.service import Service, service_of

_MOST_IN_URL = 1024
"""Characters of a soft binding's value in a URL; the longest message has 24."""

_ABOUT_SERVICE = {"Cache-Control": "public, max-age=300"}
_NOT_KEPT = {"Cache-Control": "no-store"}


def _asked(
    name: str, text: str, required: bool = False, schema: dict[str, Any] = TEXT, where: str = "query"
) -> dict[str, Any]:
    return {"name": name, "in": where, "required": required, "description": text, "schema": schema}


_ALG = _asked("alg", "Name of the watermark; of others there are no matches.")
_MOST = _asked("maxResults", "Most matches.", schema={"type": "integer", "minimum": 1, "default": 10})
_OF_IMAGE = [
    _ALG,
    _MOST,
    _asked("hintAlg", "Is not looked at."),
    _asked("hintValue", "Is not looked at: the image alone decides."),
]


def make_router(*, by_reference: bool) -> APIRouter:
    """Return the routes.

    Args:
        by_reference: whether images are fetched by URL.
    """
    router = APIRouter(tags=["resolution"])
    _add_matches(router)
    if by_reference:
        _add_by_reference(router)
    _add_manifests(router)
    _add_services(router, by_reference)
    return router


def _add_matches(router: APIRouter) -> None:
    found = _told("The content credentials", MATCHES)
    told = f"The watermark's message in base64; 414 if it has more than {_MOST_IN_URL} characters."
    value = _asked("value", told, required=True)

    @router.get(
        "/v1/matches/byBinding",
        summary="Find content credentials by a watermark's message",
        openapi_extra={"parameters": [_ALG | {"required": True}, value, _MOST]},
        response_class=JSONResponse,
        responses=found | described(400, 401, 403, 414, 429, 503),
    )
    async def by_binding(request: Request) -> Response:
        service = service_of(request)
        await service.admit(request)
        _check_most(request)
        asked = request.query_params
        if "alg" not in asked or "value" not in asked:
            raise Problem(
                400, "The parameters 'alg' and 'value' are needed: name the watermark and its message."
            )
        if len(asked["value"]) > _MOST_IN_URL:
            raise Problem(414, f"The value has more than {_MOST_IN_URL} characters: send it by POST.")
        # a + that was not escaped is a space in a URL
        message = _message_of(asked["value"].replace(" ", "+"))
        return await _matched(service, asked["alg"], message)

    @router.post(
        "/v1/matches/byBinding",
        summary="Find content credentials by a watermark's message in the body",
        openapi_extra={
            "parameters": [_MOST],
            "requestBody": {"required": True, "content": {"application/json": {"schema": BINDING}}},
        },
        response_class=JSONResponse,
        responses=found | described(400, 401, 403, 408, 413, 415, 429, 503),
    )
    async def by_long_binding(request: Request) -> Response:
        service = service_of(request)
        await service.admit(request)
        _check_most(request)
        asked = await _json_of(service, request)
        alg, text = asked.get("alg"), asked.get("value")
        if not isinstance(alg, str) or not isinstance(text, str):
            raise Problem(400, 'The body must be {"alg": NAME, "value": BASE64}.')
        return await _matched(service, alg, _message_of(text))

    @router.post(
        "/v1/matches/byContent",
        summary="Find content credentials by an image's watermark",
        openapi_extra={
            "parameters": _OF_IMAGE,
            "requestBody": {
                "required": True,
                "content": {"image/*": {"schema": {"type": "string", "format": "binary"}}},
            },
        },
        response_class=JSONResponse,
        responses=found | described(400, 401, 403, 408, 413, 415, 422, 429, 503),
    )
    async def by_content(request: Request) -> Response:
        service = service_of(request)
        caller = await service.admit(request)
        if not media_type(request).startswith("image/"):
            raise Problem(415, "Images alone have watermarks here: send the bytes of one as image/*.")
        _check_most(request)
        data = await service.read_image(request)
        alg = request.query_params.get("alg", service.settings.soft_binding)
        if alg != service.settings.soft_binding:
            return _matches([])
        return await _matched(service, alg, await service.find(data, caller))


def _add_by_reference(router: APIRouter) -> None:
    @router.post(
        "/v1/matches/byReference",
        summary="Find content credentials by the watermark of an image that is fetched",
        openapi_extra={
            "parameters": _OF_IMAGE,
            "requestBody": {"required": True, "content": {"application/json": {"schema": REFERENCE}}},
        },
        response_class=JSONResponse,
        responses=_told("The content credentials", MATCHES)
        | described(400, 401, 403, 408, 413, 415, 422, 429, 502, 503, 504),
    )
    async def by_reference(request: Request) -> Response:
        service = service_of(request)
        caller = await service.admit(request)
        _check_most(request)
        asked = await _json_of(service, request)
        url, length = asked.get("referenceUrl"), asked.get("assetLength")
        if not isinstance(url, str) or isinstance(length, bool) or not isinstance(length, int) or length < 1:
            raise Problem(400, 'The body must be {"referenceUrl": URL, "assetLength": BYTES}.')
        if not str(asked.get("assetType", "image/")).startswith("image/"):
            raise Problem(415, "Images alone have watermarks here: 'assetType' must be image/*.")
        if asked.get("region", []) != []:
            raise Problem(400, "Images are looked at as a whole here: leave out 'region'.")
        if length > service.settings.max_bytes:
            raise Problem(413, f"Images of more than {service.settings.max_bytes} bytes are not fetched.")
        alg = request.query_params.get("alg", service.settings.soft_binding)
        if alg != service.settings.soft_binding:
            return _matches([])
        data = await service.fetch(request, url)
        if len(data) != length:
            raise Problem(400, "The URL's image has another size than 'assetLength': it is another one.")
        return await _matched(service, alg, await service.find(data, caller))


def _add_manifests(router: APIRouter) -> None:
    name = _asked("manifestId", "As matches name it: urn:c2pa:...", True, where="path")

    @router.get(
        "/v1/manifests/{manifestId}",
        summary="The content credentials of an image",
        description="A whole manifest store, whose active manifest has this label.",
        openapi_extra={"parameters": [name]},
        response_class=Response,
        responses={
            200: {
                "description": "A C2PA manifest store",
                "content": {"application/c2pa": {"schema": {"type": "string", "format": "binary"}}},
            },
            **described(401, 403, 404, 429, 503),
        },
    )
    async def manifest(request: Request) -> Response:
        service = service_of(request)
        await service.admit(request)
        assert service.registry is not None
        name = request.path_params["manifestId"]
        try:
            check_facts(manifest_id=name)
        except RegistryError:
            raise _unknown_manifest() from None
        store = await service.ask(service.registry.manifest, name)
        if store is None:
            raise _unknown_manifest()
        # they never change, but go with their entry
        keepers = "public" if service.settings.public else "private"
        headers = {"Cache-Control": f"{keepers}, max-age=3600"}
        return Response(store, headers=headers, media_type="application/c2pa")


def _add_services(router: APIRouter, by_reference: bool) -> None:
    """Add what anybody may know of the service, whoever may use it."""
    free = described(401, 429)
    capabilities = ["queryByContent", *(["queryByReference"] if by_reference else [])]

    @router.get(
        "/v1/services/supportedAlgorithms",
        summary="Soft bindings that can be looked for",
        response_class=JSONResponse,
        responses=free | _told("Their names", KNOWN),
    )
    async def algorithms(request: Request) -> Response:
        service = _counted(request)
        known = {"watermarks": [{"alg": service.settings.soft_binding}], "fingerprints": []}
        return JSONResponse(known, headers=_ABOUT_SERVICE)

    @router.get(
        "/v1/services/capabilities",
        summary="What of the resolution API is offered",
        response_class=JSONResponse,
        responses=free | _told("The optional parts", CAPABILITIES),
    )
    async def offered(request: Request) -> Response:
        _counted(request)
        values = {"c2paSpecificationVersion": VERSION, "supportedCapabilities": capabilities}
        return JSONResponse(values, headers=_ABOUT_SERVICE)

    @router.get(
        "/v1/services/status",
        summary="How the resolution API fares",
        description="`degraded` while no images can be looked at, `down` where the registry is away.",
        response_class=JSONResponse,
        responses=free | _told("Its state", STATUS),
    )
    async def status(request: Request) -> Response:
        service = _counted(request)
        assert service.registry is not None
        state = "ok" if service.ready else "degraded"
        try:
            await service.ask(service.registry.check)
        except Problem:
            state = "down"
        now = format_time(dt.datetime.now(dt.UTC).replace(microsecond=0))
        return JSONResponse({"status": state, "timestamp": now}, headers=_NOT_KEPT)

    @router.get(
        "/.well-known/c2pa-soft-binding-resolution",
        summary="Where the resolution API is",
        response_class=JSONResponse,
        responses=free | _told("Its addresses", ADDRESSES),
    )
    async def well_known(request: Request) -> Response:
        settings = _counted(request).settings
        endpoint = f"{settings.root_path if settings.public_url is None else settings.public_url}/v1"
        values = {
            "apiEndpoint": endpoint,
            "c2paSpecificationVersion": VERSION,
            "capabilitiesEndpoint": f"{endpoint}/services/capabilities",
            "statusEndpoint": f"{endpoint}/services/status",
        }
        return JSONResponse(values, headers=_ABOUT_SERVICE)


# ---- what is asked ---------------------------------------------------------------------------------------


def _counted(request: Request) -> Service:
    """Return the service, for a question that all may ask, but not too often."""
    service = service_of(request)
    service.charge(request, service.caller(request), 1)
    return service


def _check_most(request: Request) -> None:
    """Make sure that maxResults is a number from 1 on; as an id has one image, it changes nothing."""
    text = request.query_params.get("maxResults", "10")
    if not (text.isascii() and text.isdecimal() and text.strip("0")):
        raise Problem(400, "The parameter 'maxResults' must be a whole number, 1 or more.")


def _message_of(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise Problem(400, "The value is not base64 (RFC 4648, 4).") from None


async def _json_of(service: Service, request: Request) -> dict[str, Any]:
    if media_type(request) != "application/json":
        raise Problem(415, "The body must be JSON: send it as application/json.")
    data = await service.read_small(request)
    try:
        values: Any = json.loads(data)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        raise Problem(400, "The body must be a JSON object.")
    return values


# ---- what is answered ------------------------------------------------------------------------------------


async def _matched(service: Service, alg: str, message: bytes | None) -> Response:
    """Answer with the content credentials of a message; with none without a message."""
    assert service.registry is not None
    name = None
    if message is not None and alg == service.settings.soft_binding:
        name = await service.ask(kept_manifest, service.registry, message)
    if name is None:
        return _matches([])
    match = {"manifestId": name}
    if service.settings.public_url is not None:
        match["endpoint"] = f"{service.settings.public_url}/v1"
    return _matches([match])


def _matches(matches: list[dict[str, str]]) -> Response:
    return JSONResponse({"matches": matches}, headers=_NOT_KEPT)


def _unknown_manifest() -> Problem:
    return Problem(404, "No content credentials are kept by this id.")


def _told(what: str, schema: dict[str, Any]) -> dict[int | str, dict[str, Any]]:
    return {200: {"description": what, "content": {"application/json": {"schema": schema}}}}
