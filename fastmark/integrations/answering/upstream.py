"""Another server, to which requests are passed on as they are, and its answers back."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

from fastmark._imports import package
from fastmark.errors import IntegrationError
from fastmark.integrations.answering.answer import log
from fastmark.integrations.answering.problems import Refusal
from fastmark.integrations.answering.types import Receive, Scope, Send

if TYPE_CHECKING:
    import httpx

_HOP = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer"
    b" transfer-encoding upgrade".split()
)
"""Headers that are for one connection (RFC 9110, 7.6.1), besides those that Connection names."""

_REPLACED = _HOP | {b"host", b"expect", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto"}
_IDLE_SECONDS = 3.0
"""For which a connection is kept: less than the 5 of uvicorn, which would close one as it is used again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """How an upstream is reached.

    Attributes:
        url: http:// or https://, perhaps with a path that goes before that of each request.
        seconds: within which each part of an answer must come; images take long to make.
        connect_seconds: within which it must be connected to.
        body_seconds: within which each part of a request must come from the client.
        connections: how many at a time.
    """

    url: str
    seconds: float = 600.0
    connect_seconds: float = 10.0
    body_seconds: float = 60.0
    connections: int = 1000
    parts: SplitResult = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Read the URL.

        Raises:
            IntegrationError: if it is none that can be asked.
        """
        try:
            parts = urlsplit(self.url)
            known = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:
            known = False
        if not known or parts.username or parts.query or parts.fragment:
            raise IntegrationError(
                "the upstream must be http://HOST:PORT or https://HOST, without user, ? and #; perhaps with a"
                " path"
            )
        object.__setattr__(self, "parts", parts)


class Upstream:
    """An ASGI app that has another server answer each request."""

    def __init__(self, reach: Reach) -> None:
        """Prepare to ask it; nothing is connected.

        Raises:
            MissingPackageError: if httpx is not installed.
        """
        httpx = package("httpx", "the proxy", "proxy")
        self._reach, self._httpx, self._stream = reach, httpx, _stream_class(httpx)
        bounds = httpx.Limits(
            max_connections=reach.connections,
            max_keepalive_connections=min(100, reach.connections),
            keepalive_expiry=_IDLE_SECONDS,
        )
        # NOTE: not a client, which keeps cookies, follows redirects, unpacks, and logs URLs
        self._transport = httpx.AsyncHTTPTransport(limits=bounds)
        self._timeout = {
            "connect": reach.connect_seconds,
            "read": reach.seconds,
            "write": reach.body_seconds,
            "pool": reach.connect_seconds,
        }

    async def close(self) -> None:
        """Close all connections."""
        await self._transport.aclose()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; or live until the server ends, and close all connections then.

        Raises:
            Refusal: if the upstream fails within its answer, of which a part was sent.
        """
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await self.close()
            await send({"type": "lifespan.shutdown.complete"})
            return
        if _wants_upgrade(scope):
            await _refuse(send, Refusal("the proxy passes no websockets on", "not_implemented", status=501))
            return
        body = _Body(scope, receive, self._reach.body_seconds)
        asking = asyncio.create_task(self._ask(scope, body, send))
        leaving = asyncio.create_task(body.left())
        try:
            await asyncio.wait((asking, leaving), return_when=asyncio.FIRST_COMPLETED)
            if asking.done():
                await asking
        finally:
            for task in (asking, leaving):
                task.cancel()
            await asyncio.gather(asking, leaving, return_exceptions=True)

    async def _ask(self, scope: Scope, body: _Body, send: Send) -> None:
        started = False
        try:
            response = await self._transport.handle_async_request(self._request(scope, body))
            try:
                kept = _passed_on(response.headers.raw, _HOP)
                started = True
                await send({"type": "http.response.start", "status": response.status_code, "headers": kept})
                async for chunk in response.stream:
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
            finally:
                with contextlib.suppress(self._httpx.TransportError):
                    await response.aclose()
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except _TooSlowError:
            refusal = Refusal("the request did not arrive in time: try again", "request_timeout", status=408)
            await _refuse(send, refusal)
        except self._httpx.TransportError as error:
            # told by its kind: the words may hold what was sent
            log.warning("the upstream failed: %s", type(error).__name__)
            refusal = self._refusal_of(error)
            if started:
                raise refusal from None
            await _refuse(send, refusal)

    def _refusal_of(self, error: Exception) -> Refusal:
        if isinstance(error, self._httpx.PoolTimeout):
            return Refusal("the proxy is busy: try again in a moment", "busy", status=503, again=True)
        if isinstance(error, self._httpx.ConnectError | self._httpx.ConnectTimeout):
            return Refusal("the image server cannot be reached: try again later", "upstream", again=True)
        if isinstance(error, self._httpx.TimeoutException):
            return Refusal("the image server does not answer in time", "upstream_timeout", status=504)
        return Refusal("the image server's answer broke off", "upstream", again=True)

    def _request(self, scope: Scope, body: _Body) -> httpx.Request:
        parts = self._reach.parts
        target = parts.path.rstrip("/").encode() + (scope.get("raw_path") or scope["path"].encode())
        if scope.get("query_string"):
            target += b"?" + scope["query_string"]
        headers = [(b"host", parts.netloc.encode()), *_passed_on(scope["headers"], _REPLACED)]
        headers += _forwarded(scope)
        if body.comes and body.length is None:
            headers.append((b"transfer-encoding", b"chunked"))
        return self._httpx.Request(  # type: ignore[no-any-return]
            scope["method"],
            f"{parts.scheme}://{parts.netloc}/",
            headers=headers,
            stream=self._stream(body),
            extensions={"timeout": self._timeout, "target": target or b"/"},
        )


class _TooSlowError(Exception):
    """A client that does not go on with its request."""


class _Body:
    """The body of a request, as it comes; and whether the client left."""

    def __init__(self, scope: Scope, receive: Receive, seconds: float) -> None:
        headers = {name.lower(): value for name, value in scope["headers"]}
        self.length = headers.get(b"content-length")
        self.comes = (self.length or b"0") != b"0" or b"transfer-encoding" in headers
        self._receive, self._seconds = receive, seconds
        self._read, self._gone = asyncio.Event(), asyncio.Event()

    async def chunks(self) -> AsyncIterator[bytes]:
        more = self.comes
        while more:
            try:
                message = await asyncio.wait_for(self._receive(), self._seconds)
            except TimeoutError:
                raise _TooSlowError from None
            if message["type"] == "http.disconnect":
                self._gone.set()
                await asyncio.Event().wait()  # until the asking is cancelled, for nobody waits for it
            more = message.get("more_body", False)
            if chunk := message.get("body", b""):
                yield chunk
        self._read.set()

    async def left(self) -> None:
        """Return when the client is gone."""
        reading = asyncio.create_task(self._read.wait())
        gone = asyncio.create_task(self._gone.wait())
        try:
            await asyncio.wait((reading, gone), return_when=asyncio.FIRST_COMPLETED)
            while not self._gone.is_set():
                if (await self._receive())["type"] == "http.disconnect":
                    return
        finally:
            reading.cancel()
            gone.cancel()


def _stream_class(httpx: Any) -> Any:
    """Return the class of bodies that httpx takes; it is made where httpx is there."""

    class Stream(httpx.AsyncByteStream):  # type: ignore[misc]
        def __init__(self, body: _Body) -> None:
            self._body = body

        def __aiter__(self) -> AsyncIterator[bytes]:
            return self._body.chunks()

    return Stream


def _passed_on(headers: list[tuple[bytes, bytes]], without: frozenset[bytes]) -> list[tuple[bytes, bytes]]:
    """Return headers without those of one connection."""
    named = {
        name.strip().lower()
        for key, value in headers
        if key.lower() == b"connection"
        for name in value.split(b",")
    }
    return [(key, value) for key, value in headers if key.lower() not in without | named]


def _forwarded(scope: Scope) -> list[tuple[bytes, bytes]]:
    """Return the headers that tell the upstream whom it answers."""
    sent = {name.lower(): value for name, value in scope["headers"]}
    told = [(b"x-forwarded-proto", scope.get("scheme", "http").encode())]
    if b"host" in sent:
        told.append((b"x-forwarded-host", sent[b"host"]))
    way = [sent[b"x-forwarded-for"]] if b"x-forwarded-for" in sent else []
    if client := scope.get("client"):
        way.append(client[0].encode())
    if way:
        told.append((b"x-forwarded-for", b", ".join(way)))
    return told


def _wants_upgrade(scope: Scope) -> bool:
    return any(
        name.lower() == b"upgrade" and b"websocket" in value.lower() for name, value in scope["headers"]
    )


async def _refuse(send: Send, refusal: Refusal) -> None:
    await send({"type": "http.response.start", "status": refusal.status, "headers": refusal.headers()})
    await send({"type": "http.response.body", "body": refusal.body(), "more_body": False})
