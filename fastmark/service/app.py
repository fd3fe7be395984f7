"""The app: a service with its routes, for any server that speaks ASGI."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from fastmark._version import VERSION
from fastmark.codec.key import Key
from fastmark.codec.key_places import load_key, load_secret_key
from fastmark.errors import ServiceError, reason_of
from fastmark.service.metrics import Ending
from fastmark.service.problems import add_handlers
from fastmark.service.reports import ReportKeys
from fastmark.service.routes import detecting, embedding, health, page, resolution
from fastmark.service.service import Service
from fastmark.service.settings import Settings
from fastmark.service.tokens import Tokens
from fastmark.service.work import Plan

_DESCRIPTION = (
    "Says whether an image carries a watermark of the keys that this service knows. Nothing of an image is"
    " kept. Errors are problem details (RFC 9457)."
)


class _App(FastAPI):
    """An app whose OpenAPI tells of tokens; routes that name no security of their own need none."""

    def openapi(self) -> dict[str, Any]:
        """Return the description, made once."""
        if self.openapi_schema is None:
            described = super().openapi()
            scheme = {"type": "http", "scheme": "bearer", "description": "A token of 'fastmark token add'."}
            described.setdefault("components", {})["securitySchemes"] = {"bearer": scheme}
            described["security"] = [{}, {"bearer": []}]
            self.openapi_schema = described
        return self.openapi_schema


def make_app(settings: Settings | None = None) -> FastAPI:
    """Make the app of a service; its processes start and end with it.

    Args:
        settings: None for those of the environment. ``uvicorn --factory fastmark.service.app:make_app`` runs
            it elsewhere than under ``fastmark serve``.

    Raises:
        FastmarkError: if a setting, a key, the tokens or the registry are not in order: one of
            KeyFormatError, ServiceError, CredentialError, RecordError, RegistryError.
    """
    settings = settings or Settings.read()
    service = make_service(settings)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        starting = asyncio.create_task(service.start())
        try:
            yield
        finally:
            starting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await starting
            await service.close()

    app = _App(
        title="fastmark",
        version=VERSION,
        description=_DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,  # these pages load scripts of other hosts
        redoc_url=None,
    )
    app.state.service = service
    add_handlers(app)
    for module in (health, detecting, embedding, page):
        app.include_router(module.make_router())
    if service.registry is not None:
        app.include_router(resolution.make_router(by_reference=settings.urls))
    # no cookie is used, so that a page of any host may ask as anybody may
    app.add_middleware(
        CORSMiddleware,
        allow_origins=["*"],
        allow_methods=["GET", "POST"],
        allow_headers=["Authorization", "Content-Type"],
    )
    app.add_middleware(Ending, service=service)
    return app


def make_service(settings: Settings) -> Service:
    """Read all that the settings name; errors as :func:`make_app`."""
    companions = settings.companions()
    if companions.registry is not None:
        companions.registry.check()
    trust = None
    if settings.trust is not None:
        from fastmark.provenance.certificates import parse_chain

        try:
            trust = settings.trust.read_bytes()
        except OSError as error:
            raise ServiceError(f"--trust {settings.trust} cannot be read: {reason_of(error)}") from None
        parse_chain(trust, "the trust anchors")
    embed_key: Key | None = None
    if settings.embed_key is not None:
        embed_key = load_secret_key(settings.embed_key)
    keys = tuple(map(load_key, settings.key))
    plan = Plan(
        keys=keys,
        message_bits=settings.message_bits,
        registry=companions.registry,
        trust_anchors=trust,
        max_pixels=settings.max_pixels,
        embed_key=embed_key,
        companions=companions,
        public=settings.public_watermark,
    )
    tokens = Tokens(settings.tokens)
    reports = None if settings.report_keys is None else ReportKeys.load(settings.report_keys)
    return Service(settings, plan, tokens, reports)
