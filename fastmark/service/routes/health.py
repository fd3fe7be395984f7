"""Whether the service lives, is ready, and how it fares; and the keys of its signed reports."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from fastmark._version import VERSION
from fastmark.service.problems import NEEDS_TOKEN, Problem, described
from fastmark.service.service import service_of


def make_router() -> APIRouter:
    """Return the routes."""
    router = APIRouter(tags=["operation"])

    @router.head("/healthz", include_in_schema=False)
    @router.get("/healthz", summary="Whether the process lives", response_class=JSONResponse)
    async def healthz() -> Response:
        return JSONResponse({"status": "ok", "version": VERSION})

    @router.head("/readyz", include_in_schema=False)
    @router.get(
        "/readyz",
        summary="Whether images can be looked at",
        description="503 while kernels are compiled, or where the registry cannot be reached.",
        response_class=JSONResponse,
        responses=described(503),
    )
    async def readyz(request: Request) -> Response:
        service = service_of(request)
        if service.failure is not None:
            raise Problem(503, "The service did not start: see its log.")
        if not service.ready:
            raise Problem(503, "The service is starting.", {"Retry-After": "5"})
        if service.registry is not None:
            await service.ask(service.registry.check)
        return JSONResponse({"status": "ready"})

    @router.get(
        "/metrics",
        summary="Figures for Prometheus",
        description="Needs a token with the right `metrics`, as times tell of what was found.",
        openapi_extra=NEEDS_TOKEN,
        response_class=Response,
        responses={
            200: {"description": "Prometheus's text format", "content": {"text/plain": {}}},
            **described(401, 403, 429),
        },
    )
    async def metrics(request: Request) -> Response:
        service = service_of(request)
        await service.admit(request, "metrics")
        service.metrics.places.set(service.places.used)
        service.metrics.memory.set(service.memory.used)
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @router.get(
        "/.well-known/jwks.json",
        summary="The keys of signed reports",
        description="Those of today and all before (RFC 7517), so that old reports stay verifiable.",
        response_class=JSONResponse,
    )
    async def jwks(request: Request) -> Response:
        reports = service_of(request).reports
        keys = {"keys": []} if reports is None else reports.jwks()
        return JSONResponse(keys, headers={"Cache-Control": "public, max-age=300"})

    return router
