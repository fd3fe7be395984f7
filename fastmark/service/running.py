"""What every server here needs: a socket, an end by signals, memory that is given back."""

from __future__ import annotations

import contextlib
import ctypes
import signal
import socket
from collections.abc import Iterator
from typing import Any

import uvicorn

from fastmark.errors import ServiceError, reason_of
from fastmark.service.connections import protocol

_KEEP_ALIVE_SECONDS = 30
_M_MMAP_THRESHOLD, _LARGE = -3, 256 << 10  # of malloc.h, and bytes


def give_memory_back() -> None:
    """Have the C library give large blocks back as they are freed, where it is glibc.

    It would keep those that are smaller than the largest it ever freed, in pieces that fit no later body: 40
    MiB at a time.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE)


class Server(uvicorn.Server):
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


def server_of(
    app: Any,
    *,
    head_seconds: float,
    trusted_proxies: str | None,
    max_connections: int,
    shutdown_seconds: float,
    date_header: bool = True,
) -> Server:
    """Return a server of an ASGI app that writes no log of its own, names nothing, and bounds heads.

    Args:
        app: that answers.
        head_seconds: within which a request's head must arrive.
        trusted_proxies: addresses whose X-Forwarded-For is believed; None or empty for nobody's.
        max_connections: at a time; more get 503.
        shutdown_seconds: how long requests in hand may take at the end.
        date_header: whether answers get a date.
    """
    return Server(
        uvicorn.Config(
            app,
            http=protocol(head_seconds),
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=date_header,
            proxy_headers=bool(trusted_proxies),
            forwarded_allow_ips=trusted_proxies or None,
            limit_concurrency=max_connections,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=max(1, round(shutdown_seconds)),
        )
    )


def listen(host: str, port: int) -> socket.socket:
    """Return a socket: a port that is taken is told in our words, and the one that 0 stands for early.

    Raises:
        ServiceError: if it cannot be listened on.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # NOTE: without the protocol's number, asyncio leaves Nagle's algorithm on, which costs 40 ms an answer
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise ServiceError(
            f"{host} port {port} cannot be listened on: {reason_of(error)}; name another --port or --host"
        ) from None
    listening.listen(2048)
    return listening


def url_of(listening: socket.socket) -> str:
    """Return the URL of a socket that is listened on."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
