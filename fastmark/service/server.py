"""The server: one process that answers on HTTP until it is told to end."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator

import uvicorn
from fastapi import FastAPI

from fastmark.errors import ServiceError, reason_of
from fastmark.service.app import make_app
from fastmark.service.connections import protocol
from fastmark.service.pool import dump_nothing
from fastmark.service.settings import Settings

_KEEP_ALIVE_SECONDS = 30
_POLL_SECONDS = 0.05
_M_MMAP_THRESHOLD, _LARGE = -3, 256 << 10  # of malloc.h, and bytes


def serve(settings: Settings) -> None:
    """Answer on HTTP until SIGTERM or SIGINT; requests that were accepted then are still answered.

    Raises:
        FastmarkError: before anything is answered, as ``make_app``.
        ServiceError: if the address cannot be listened on, or the processes do not start.
    """
    app = make_app(settings)
    dump_nothing()
    _give_memory_back()
    _log_to_stderr()
    listening = _listen(settings)
    host, port = listening.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    server = _Server(
        uvicorn.Config(
            app,
            http=protocol(settings.body_seconds),
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=bool(settings.trusted_proxies),
            forwarded_allow_ips=settings.trusted_proxies or None,
            limit_concurrency=settings.max_connections,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=max(1, round(settings.shutdown_seconds)),
        )
    )
    if not settings.key:
        print("fastmark: no --key is given: metadata alone are read", file=sys.stderr)
    print(f"fastmark: listening on http://{shown}:{port}{settings.root_path}", file=sys.stderr, flush=True)
    asyncio.run(_run(server, app, listening))
    if (failure := app.state.service.failure) is not None:
        raise ServiceError(failure)


def _give_memory_back() -> None:
    """Have the C library give large blocks back as they are freed, where it is glibc.

    It would keep those that are smaller than the largest it ever freed, in pieces that fit no later body: 40
    MiB at a time.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE)


class _Server(uvicorn.Server):
    """Ends with SIGTERM and SIGINT as it is meant to: uvicorn's own raises the signal again at its end."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take the signals while the server runs; a second SIGINT does not wait for requests in hand."""
        before = {
            number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


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


def _listen(settings: Settings) -> socket.socket:
    """Return a socket: a port that is taken is told in our words, and the one that 0 stands for early."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # NOTE: without the protocol's number, asyncio leaves Nagle's algorithm on, which costs 40 ms an answer
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.host, settings.port))
    except OSError as error:
        listening.close()
        raise ServiceError(
            f"{settings.host} port {settings.port} cannot be listened on: {reason_of(error)}; name another"
            " --port or --host"
        ) from None
    listening.listen(2048)
    return listening


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
