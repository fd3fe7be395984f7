"""Errors as the service tells them: problem details for HTTP APIs (RFC 9457)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

MEDIA_TYPE = "application/problem+json"

SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
    },
}


class Problem(Exception):  # noqa: N818  # the term of RFC 9457
    """An answer that is an error.

    Attributes:
        status: HTTP's status code.
        detail: what happened, then what to do, in a sentence or two.
        headers: that go with it.
    """

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        """Keep all three."""
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, dict(headers or {})

    def to_dict(self) -> dict[str, Any]:
        """Return the members of the problem."""
        return {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
        }

    def to_response(self) -> Response:
        """Return it as HTTP wants it."""
        return JSONResponse(self.to_dict(), self.status, self.headers, MEDIA_TYPE)


NEEDS_TOKEN: dict[str, Any] = {"security": [{"bearer": []}]}
"""What OpenAPI is to say of a route that nobody may use without a token."""


def busy(detail: str, seconds: float) -> Problem:
    """Return the answer to a request that must wait: 429, and for how many seconds."""
    return Problem(429, detail, {"Retry-After": str(max(1, math.ceil(seconds)))})


def described(*statuses: int, as_page: bool = False) -> dict[int | str, dict[str, Any]]:
    """Return what OpenAPI is to say of problems; ``as_page`` where people get them as a page."""
    content: dict[str, Any] = {MEDIA_TYPE: {"schema": SCHEMA}}
    if as_page:
        content["text/html"] = {"schema": {"type": "string"}}
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in statuses}


def add_handlers(app: FastAPI) -> None:
    """Have everything that goes wrong told as a problem."""

    async def of_problem(_: Request, error: Exception) -> Response:
        assert isinstance(error, Problem)
        return error.to_response()

    async def of_framework(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        detail = {404: "There is nothing here: see /openapi.json for what there is."}
        headers = dict(error.headers or {})
        if error.status_code == 405:
            headers["Allow"] = _allowed(request, headers.get("Allow", ""))
        told = detail.get(error.status_code, f"{HTTPStatus(error.status_code).phrase}.")
        return Problem(error.status_code, told, headers).to_response()

    async def of_values(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        # the values themselves are the caller's, and are not repeated
        wrong = (f"{'.'.join(map(str, one['loc'][1:]))}: {one['msg']}" for one in error.errors())
        return Problem(
            422, f"A value of the request is not as it should be: {'; '.join(wrong)}."
        ).to_response()

    app.add_exception_handler(Problem, of_problem)
    app.add_exception_handler(HTTPException, of_framework)
    app.add_exception_handler(RequestValidationError, of_values)


def _allowed(request: Request, told: str) -> str:
    """Return all methods of a path; the framework tells those of the first of its routes alone."""
    path = getattr(request.scope.get("route"), "path", "")
    known = request.app.openapi()["paths"].get(path, {})
    return ", ".join(sorted({method.strip() for method in told.split(",")} - {""} | {*map(str.upper, known)}))
