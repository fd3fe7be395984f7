"""``fastmark proxy``: a process before an image server, whose images leave watermarked."""

from __future__ import annotations

import asyncio
import functools
import json
import logging
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fastmark._imports import package
from fastmark.errors import FastmarkError, ServiceError, one_line
from fastmark.integrations.answering.marking import Marking
from fastmark.integrations.answering.types import Receive, Scope, Send
from fastmark.integrations.answering.upstream import Reach, Upstream
from fastmark.integrations.asgi import FastmarkMiddleware
from fastmark.watermarker import Watermarker

if TYPE_CHECKING:
    from fastmark.integrations.answering.marking import MessageSource

HEALTH = "/healthz"
"""Answered by the proxy itself: 200 when images can be watermarked, 503 before."""

_HEAD_SECONDS = 10.0
_POLL_SECONDS = 0.05

__all__ = ["HEALTH", "Proxy", "Reach", "serve"]


class Proxy:
    """An ASGI app: requests go to another server, and the images of its answers are watermarked.

    Images are worked on by processes of their own: one that an image kills or keeps busy too long is
    replaced, and the image refused; see ``fastmark.service.pool``.
    """

    def __init__(
        self,
        reach: Reach,
        marker: Watermarker,
        message: MessageSource,
        *,
        workers: int = 0,
        work_seconds: float = 60.0,
        **options: Any,
    ) -> None:
        """Prepare everything; processes start and end with the app's lifespan.

        Args:
            reach: how the upstream is reached.
            marker: that embeds.
            message: of all images, which must be picklable; None where a registry draws them.
            workers: processes; 0 for one per core.
            work_seconds: that an image may take.
            options: as for ``FastmarkMiddleware``.

        Raises:
            MissingPackageError: if the extra ``proxy`` is not installed.
            FastmarkError: as ``FastmarkMiddleware``.
        """
        from fastmark.service.pool import Pool

        self.upstream = Upstream(reach)
        self.middleware = FastmarkMiddleware(self.upstream, marker, message, name="proxy", **options)
        self.pool = Pool(functools.partial(_warmed, self.middleware.make), workers, work_seconds)
        self.middleware.crew = self.pool
        self.failure: str | None = None

    @property
    def ready(self) -> bool:
        """Whether images can be watermarked; requests wait until they can."""
        return self.pool.ready

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or live from start to end, as ASGI has it."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http" and scope["path"] == HEALTH:
            await self._tell_health(send)
        elif scope["type"] == "http":
            await self.middleware(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        starting = asyncio.create_task(self._start())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        await self.pool.close()
        await self.upstream.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _start(self) -> None:
        try:
            await self.pool.start()
        except FastmarkError as error:
            self.failure = one_line(error)

    async def _tell_health(self, send: Send) -> None:
        told = json.dumps({"status": "ok" if self.ready else "starting", "workers": self.pool.size}).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(told)).encode()),
            (b"cache-control", b"no-store"),
        ]
        status = 200 if self.ready else 503
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": told, "more_body": False})


def serve(
    make: Callable[[], Proxy],
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
    trusted_proxies: str | None = None,
    max_connections: int = 1000,
    shutdown_seconds: float = 60.0,
) -> None:
    """Answer until SIGTERM or SIGINT; requests that were accepted then are still answered.

    Args:
        make: makes the proxy.
        host, port: where it listens; port 0 takes a free one.
        trusted_proxies: addresses, with commas between them, whose X-Forwarded-For is believed.
        max_connections: at a time; more get 503.
        shutdown_seconds: how long requests in hand may take at the end.

    Raises:
        FastmarkError: as ``make`` does.
        ServiceError: if it cannot be listened on, or the processes do not start.
    """
    for name in ("uvicorn", "httptools"):
        package(name, "the proxy", "proxy")
    from fastmark.service.pool import dump_nothing
    from fastmark.service.running import give_memory_back, listen, server_of, url_of

    proxy = make()
    dump_nothing()
    give_memory_back()
    _log_to_stderr()
    listening = listen(host, port)
    server = server_of(
        proxy,
        head_seconds=_HEAD_SECONDS,
        trusted_proxies=trusted_proxies,
        max_connections=max_connections,
        shutdown_seconds=shutdown_seconds,
        date_header=False,
    )

    async def run() -> None:
        watching = asyncio.create_task(watch())
        try:
            await server.serve(sockets=[listening])
        finally:
            watching.cancel()

    async def watch() -> None:
        while not proxy.ready and proxy.failure is None:
            await asyncio.sleep(_POLL_SECONDS)
        if proxy.failure is not None:
            server.should_exit = True
            return
        count = proxy.pool.size
        words = "1 process" if count == 1 else f"{count} processes"
        print(f"fastmark: ready, {words} at work; Ctrl-C ends it", file=sys.stderr, flush=True)

    print(f"fastmark: listening on {url_of(listening)}", file=sys.stderr, flush=True)
    asyncio.run(run())
    if proxy.failure is not None:
        raise ServiceError(proxy.failure)


def _warmed(make: Callable[[], Marking]) -> Marking:
    """Return what works in a process, once it has worked."""
    made = make()
    made.warm()
    return made


def _log_to_stderr() -> None:
    """Log what goes wrong, a line each; neither headers nor bodies nor addresses are in them."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("fastmark: %(levelname)s: %(message)s"))
    for name in ("fastmark.integrations", "fastmark.service", "uvicorn.error"):
        log = logging.getLogger(name)
        log.addHandler(handler)
        log.setLevel(logging.WARNING)
        log.propagate = False
