"""The page for people at ``/``, the permanent pages of ids at ``/i/{id}``, and what both load."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from fastmark.errors import InvalidMessageError
from fastmark.registry.entries import Entry, id_of
from fastmark.service.languages import LANGUAGES, Language, choose, quality_of
from fastmark.service.pages import HEADERS, Pages
from fastmark.service.problems import Problem, described
from fastmark.service.service import Caller, Service, service_of
from fastmark.service.wording import Code, Phrase

_NEVER_KEPT = {"Cache-Control": "no-store"}
_ASKED_AGAIN = {"Cache-Control": "no-cache"}
_FOR_EVER = "public, max-age=31536000, immutable"  # under an address that names the contents
_FOR_AN_HOUR = "public, max-age=3600"

_MOST_CHARACTERS = 40  # of an id that is repeated to somebody who asked for it

_NULLABLE = {"type": ["string", "null"]}
_RECORD: dict[str, Any] = {
    "type": "object",
    "required": ["id", "created_at"],
    "properties": {
        "id": {"type": "string"},
        "provider": _NULLABLE,
        "system": _NULLABLE,
        "system_version": _NULLABLE,
        "created_at": {"type": "string", "format": "date-time"},
        "action": {"enum": ["created", "altered", "labelled"]},
    },
}
_HTML: dict[str, Any] = {"text/html": {"schema": {"type": "string"}}}

_pages = functools.lru_cache(maxsize=4)(Pages)


def make_router() -> APIRouter:
    """Return the routes."""
    router = APIRouter()
    both = ["GET", "HEAD"]

    @router.api_route("/", methods=both, include_in_schema=False)
    async def start(request: Request) -> Response:
        service = service_of(request)
        spoken, query = _language(request)
        return _html(_pages(service.settings).start(spoken, query), 200, _ASKED_AGAIN)

    @router.post("/", include_in_schema=False)
    async def check(request: Request) -> Response:
        service = service_of(request)
        spoken, query = _language(request)
        pages = _pages(service.settings)
        try:
            caller = await service.admit(request, cost=1)
            data = await service.read_image(request)
            answer = await service.check(data, caller, where=True, report=True)
        except Problem as problem:
            shown = pages.start(spoken, query, problem=problem)
            return _html(shown, problem.status, problem.headers | _NEVER_KEPT)
        request.state.verdict = answer["verdict"]
        shown = pages.start(spoken, query, answer=answer, address=str(request.base_url))
        return _html(shown, 200, _NEVER_KEPT)

    @router.get(
        "/i/{id}",
        tags=["registry"],
        summary="What the registry says of an id",
        description="A page, or JSON where `Accept` prefers it or `format` is `json`. Callers whose token has"
        " the right `private` get the whole entry as JSON, private fields too.",
        response_class=Response,
        responses={
            200: {
                "description": "The entry",
                "content": {"application/json": {"schema": _RECORD}} | _HTML,
            },
            **_or_pages(described(401, 403, 404, 429, 503)),
        },
    )
    async def entry(
        request: Request,
        name: Annotated[str, Path(alias="id", description="The message of a watermark, in hex.")],
        format: Annotated[str | None, Query(description="`json`, whatever `Accept` says.")] = None,
    ) -> Response:
        service = service_of(request)
        as_json = format == "json" or prefers_json(request.headers.get("accept"))
        try:
            caller = await service.admit(request, cost=1)
            found = await _find(service, name)
        except Problem as problem:
            if as_json:
                raise
            return _no_entry(request, service, name, problem)
        return _entry(request, service, found, caller, as_json)

    @router.api_route("/static/{name}", methods=both, include_in_schema=False)
    async def static(request: Request, name: str, v: str = "") -> Response:
        file = _pages(service_of(request).settings).static.get(name)
        if file is None:
            raise Problem(404, "There is no such file.")
        tag = f'"{file.tag}"'
        headers = {
            "ETag": tag,
            "Cache-Control": _FOR_EVER if v == file.tag else _FOR_AN_HOUR,
            "X-Content-Type-Options": "nosniff",
        }
        if tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(file.data, 200, headers, file.kind)

    return router


async def _find(service: Service, name: str) -> Entry:
    """Return the entry of an id.

    Raises:
        Problem: 404 if there is none, or no image left with the id.
    """
    registry = service.registry
    if registry is None:
        raise Problem(404, "No registry is kept here.")
    unknown = Problem(404, "The registry has no entry for this id.")
    try:
        message = id_of(name)
    except InvalidMessageError:
        raise unknown from None
    found = await service.ask(registry.get, message)
    if found is None or found.state == "reserved":
        raise unknown
    return found


def _entry(request: Request, service: Service, found: Entry, caller: Caller, as_json: bool) -> Response:
    if as_json:
        private = caller.may("private")
        values = found.to_dict() if private else found.public.to_dict()
        headers = {"Vary": "Accept, Authorization"} | (_NEVER_KEPT if private else _ASKED_AGAIN)
        return JSONResponse(values, headers=headers)
    spoken, query = _language(request)
    return _html(_pages(service.settings).entry(spoken, query, found.public.to_dict()), 200, _ASKED_AGAIN)


def _no_entry(request: Request, service: Service, name: str, problem: Problem) -> Response:
    pages = _pages(service.settings)
    if problem.status != 404:
        title, says = "entry.failed", pages.error_text(problem)
    elif service.registry is None:
        title, says = "entry.no registry", Phrase("entry.no registry.text")
    else:
        title, says = "entry.unknown", Phrase("entry.unknown.text", {"id": Code(name[:_MOST_CHARACTERS])})
    spoken, query = _language(request)
    return _html(pages.no_entry(spoken, query, title, says), problem.status, problem.headers | _NEVER_KEPT)


def _or_pages(problems: dict[int | str, dict[str, Any]]) -> dict[int | str, dict[str, Any]]:
    """Return what OpenAPI is to say of problems that readers get as pages."""
    return {status: told | {"content": told["content"] | _HTML} for status, told in problems.items()}


def _language(request: Request) -> tuple[Language, str]:
    """Return the language for a reader, and what links keep of it where the address names it."""
    asked = request.query_params.get("lang")
    return choose(
        asked, request.headers.get("accept-language")
    ), f"?lang={asked}" if asked in LANGUAGES else ""


def _html(page: str, status: int, headers: Mapping[str, str]) -> Response:
    return HTMLResponse(page, status, {**HEADERS, **headers})


def prefers_json(accepted: str | None) -> bool:
    """Whether a header Accept prefers JSON to HTML (RFC 9110, 12.5.1); names go before wildcards."""
    json, html = (0.0, 0), (0.0, 0)
    for part in (accepted or "*/*")[:1000].lower().split(","):
        kind, *parameters = (one.strip() for one in part.split(";"))
        qualities = (found for one in parameters if (found := quality_of(one)) is not None)
        quality = next(qualities, 1.0)
        if kind in ("application/json", "application/*", "*/*"):
            json = max(json, (quality, kind.count("*") * -1))
        if kind in ("text/html", "application/xhtml+xml", "text/*", "*/*"):
            html = max(html, (quality, kind.count("*") * -1))
    return json > html and json[0] > 0
