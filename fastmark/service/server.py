"""The server: one process that answers on HTTP until it is told to end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import sys
from collections.abc import AsyncIterator

import uvicorn
from fastapi import FastAPI

from fastmark.errors import ServiceError
from fastmark.service.app import make_app
from fastmark.service.pool import dump_nothing
from fastmark.service.running import give_memory_back, listen, server_of, url_of
from fastmark.service.settings import Settings

_POLL_SECONDS = 0.05


def serve(settings: Settings) -> None:
    """Answer on HTTP until SIGTERM or SIGINT; requests that were accepted then are still answered.

    Raises:
        FastmarkError: before anything is answered, as ``make_app``.
        ServiceError: if the address cannot be listened on, or the processes do not start.
    """
    app = make_app(settings)
    dump_nothing()
    give_memory_back()
    _log_to_stderr()
    listening = listen(settings.host, settings.port)
    server = server_of(
        app,
        head_seconds=settings.body_seconds,
        trusted_proxies=settings.trusted_proxies,
        max_connections=settings.max_connections,
        shutdown_seconds=settings.shutdown_seconds,
    )
    if not settings.key:
        print("fastmark: no --key is given: metadata alone are read", file=sys.stderr)
    print(f"fastmark: listening on {url_of(listening)}{settings.root_path}", file=sys.stderr, flush=True)
    asyncio.run(_run(server, app, listening))
    if (failure := app.state.service.failure) is not None:
        raise ServiceError(failure)


async def _run(server: uvicorn.Server, app: FastAPI, listening: socket.socket) -> None:
    async with _told_when_ready(server, app):
        await server.serve(sockets=[listening])


@contextlib.asynccontextmanager
async def _told_when_ready(server: uvicorn.Server, app: FastAPI) -> AsyncIterator[None]:
    async def watch() -> None:
        service = app.state.service
        while not service.ready and service.failure is None:
            await asyncio.sleep(_POLL_SECONDS)
        if service.failure is not None:
            server.should_exit = True
            return
        count = service.pool.size
        words = "1 process" if count == 1 else f"{count} processes"
        print(f"fastmark: ready, {words} at work; Ctrl-C ends it", file=sys.stderr, flush=True)

    watching = asyncio.create_task(watch())
    try:
        yield
    finally:
        watching.cancel()


def _log_to_stderr() -> None:
    """Log errors as lines, and each request as one JSON object; uvicorn's lines about requests are off."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("fastmark: %(levelname)s: %(message)s"))
    for name in ("fastmark.service", "uvicorn.error"):
        log = logging.getLogger(name)
        log.addHandler(handler)
        log.setLevel(logging.WARNING)
        log.propagate = False
    access = logging.getLogger("fastmark.access")
    access.addHandler(logging.StreamHandler(sys.stdout))
    access.setLevel(logging.INFO)
    access.propagate = False
