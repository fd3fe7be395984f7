"""Images by URL, fetched so that nobody can use the service to reach what only it can reach.

A URL must begin with https:// and name port 443. Its host is resolved once, every address must be a public
one, and the connection is made to one of exactly those addresses, whatever the name stands for by then; the
server's certificate must fit the host's name. Each redirect is looked at in the same way. Size and time are
bounded, no proxy is used, and nothing of URL or host is logged or in an error's text.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Literal
from urllib.parse import quote, urljoin, urlsplit

import httpcore

from fastmark._version import VERSION
from fastmark.errors import FastmarkError
from fastmark.service.addresses import Address, is_public

MOST_REDIRECTS = 3
_MOST_CHARACTERS = 2048  # of a URL
_MOST_TRIED = 4  # addresses of a host that are connected to
_RESOLVING = 16  # names at a time; the system's resolver gives one up after some ten seconds
_REDIRECTS = (301, 302, 303, 307, 308)
_DEFAULT_PORTS = {"https": 443, "http": 80}
_NAME = re.compile(r"(?!.{254})[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*", re.ASCII)
_UNSAFE = re.compile(r"[\x00-\x20\x7f\\]")  # urlsplit drops some of them in silence
_KEPT = "/?:@!$&'()*+,;=~%-._"  # of a path and its query, where the rest is escaped (RFC 3986, 3.3, 3.4)
_NOT_PUBLIC = "its host has no public address"

_Resolve = Callable[[str, int], Awaitable[Iterable[str]]]


class FetchError(FastmarkError):
    """A URL is refused, or was not fetched.

    Attributes:
        reason: in words that may be shown to anybody; they begin in lower case, and name no host.
        status: of HTTP, that tells it: 400 refused, 413 too large, 415 no image, 502 not reachable, 504 too
            slow.
    """

    def __init__(self, reason: str, status: int) -> None:
        """Keep both."""
        super().__init__(reason, status)  # both, to be pickled
        self.reason, self.status = reason, status

    def __str__(self) -> str:
        """Return the reason alone."""
        return self.reason


class Fetcher:
    """Fetches what URLs name, within limits; safe to share among tasks of one loop."""

    def __init__(
        self,
        *,
        most_bytes: int,
        seconds: float,
        permitted: Callable[[Address], bool] = is_public,
        ssl_context: ssl.SSLContext | None = None,
        scheme: Literal["https", "http"] = "https",
        ports: Collection[int] | None = (443,),
        kinds: tuple[str, ...] = ("image/*", "application/octet-stream"),
        resolve: _Resolve | None = None,
    ) -> None:
        """Make one; nothing is connected yet.

        Args:
            most_bytes: of an answer.
            seconds: for all of it: finding the host, redirects, reading.
            permitted: says of an address whether it may be connected to.
            ssl_context: whose certificates are trusted; None for those that the system trusts.
            scheme: of the URL and of redirects; "http" is for a server on the same machine.
            ports: that the URL and redirects may name; None for any.
            kinds: media types that are taken; "image/*" stands for all that begin with image/.
            resolve: finds the addresses of a host and port; None for the system's resolver.
        """
        self._most_bytes, self._seconds = most_bytes, seconds
        self._permitted, self._ports, self._kinds, self._scheme = permitted, ports, kinds, scheme
        self._ssl = ssl_context or ssl.create_default_context()
        # threads of its own: names that take long to resolve keep nothing else waiting
        self._threads = ThreadPoolExecutor(_RESOLVING, thread_name_prefix="fastmark-resolve")
        self._resolve = resolve or self._ask_system
        logging.getLogger("httpcore").setLevel(logging.WARNING)  # below, it writes hosts and URLs

    def close(self) -> None:
        """Give the threads up; nothing can be fetched any more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def fetch(self, url: str) -> bytes:
        """Return what a URL names.

        Raises:
            FetchError: if the URL is refused, or it cannot be had within the limits.
        """
        try:
            async with asyncio.timeout(self._seconds):
                return await self._follow(url)
        except (TimeoutError, httpcore.TimeoutException):
            raise FetchError("it took too long", 504) from None
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.ProxyError, OSError):
            raise FetchError(
                "the server cannot be reached, its certificate does not fit, or it broke off", 502
            ) from None

    async def _follow(self, url: str) -> bytes:
        target = self._examined(url)
        for _ in range(MOST_REDIRECTS + 1):
            found = await self._visit(target)
            if isinstance(found, bytes):
                return found
            try:
                target = self._examined(urljoin(target.url, found))
            except ValueError:
                raise FetchError("it redirects to what is not a URL", 502) from None
            except FetchError as error:
                raise FetchError(f"it redirects to a URL that is refused: {error}", error.status) from None
        raise FetchError(f"it redirects more than {MOST_REDIRECTS} times", 502)

    def _examined(self, url: str) -> _Target:
        """Return the parts of a URL; these parts, and not the text, are what is used from here on."""
        if len(url) > _MOST_CHARACTERS:
            raise FetchError(f"it has more than {_MOST_CHARACTERS} characters", 400)
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
            if not host.isascii():
                host = host.encode("idna").decode("ascii").lower()
            target = quote(parts.path or "/", safe=_KEPT)
            target += f"?{quote(parts.query, safe=_KEPT)}" if parts.query else ""
        except ValueError:  # UnicodeError too
            raise FetchError("it is not a URL", 400) from None
        host = host.removesuffix(".")
        if parts.scheme != self._scheme:
            raise FetchError(f"it must begin with {self._scheme}://", 400)
        bracketed = "[" in parts.netloc or "]" in parts.netloc
        if _UNSAFE.search(url) or not (_is_address(host) if bracketed else _NAME.fullmatch(host)):
            raise FetchError("it is not a URL", 400)
        if "@" in parts.netloc:
            raise FetchError("it must have no user name and no password", 400)
        port = _DEFAULT_PORTS[self._scheme] if port is None else port
        if self._ports is not None and port not in self._ports:
            raise FetchError(f"its port must be {' or '.join(map(str, self._ports))}", 400)
        return _Target(self._scheme, host, port, target)

    async def _addresses(self, target: _Target) -> list[str]:
        """Return the addresses of a host, all of which may be connected to.

        A host that is unknown and one that is not public get the same answer: the names within a network are
        not to be found out by asking.
        """
        try:
            found = [*dict.fromkeys(await self._resolve(target.host, target.port))]
            addresses = [ipaddress.ip_address(address) for address in found]
        except TimeoutError:
            raise
        except (OSError, ValueError):  # ValueError: a name that has none, an address with a zone
            raise FetchError(_NOT_PUBLIC, 400) from None
        if not addresses or not all(self._permitted(address) for address in addresses):
            raise FetchError(_NOT_PUBLIC, 400)
        return [str(address) for address in addresses[:_MOST_TRIED]]

    async def _ask_system(self, host: str, port: int) -> list[str]:
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(
            self._threads, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        )
        return [str(address[0]) for *_, address in found]

    async def _visit(self, target: _Target) -> bytes | str:
        """Return what is there, or where it redirects to."""
        backend = _Examined(await self._addresses(target), self._seconds)
        url = httpcore.URL(
            scheme=target.scheme, host=target.host, port=target.port, target=target.target.encode("ascii")
        )
        headers = [
            ("Host", target.authority),
            ("Accept", ", ".join(self._kinds)),
            ("Accept-Encoding", "identity"),
            ("User-Agent", f"fastmark/{VERSION}"),
        ]
        async with (
            contextlib.aclosing(backend),
            httpcore.AsyncConnectionPool(
                ssl_context=self._ssl, network_backend=backend, max_connections=1, max_keepalive_connections=0
            ) as pool,
            pool.stream("GET", url, headers=headers) as answer,
        ):
            if answer.status in _REDIRECTS:
                return _only(answer, b"location", "it redirects to nowhere", 502)
            if answer.status != 200:
                raise FetchError(f"the server answers with status {answer.status}", 502)
            return await self._body(answer)

    async def _body(self, answer: httpcore.Response) -> bytes:
        kind = _only(answer, b"content-type", "the server does not say what it is", 415)
        if not _fits(kind, self._kinds):
            raise FetchError(f"the server does not say that it is one of {', '.join(self._kinds)}", 415)
        if any(coding.lower() != "identity" for coding in _values(answer, b"content-encoding")):
            raise FetchError("the server compresses it, though it was asked not to", 415)
        too_large = FetchError(f"it has more than {self._most_bytes} bytes", 413)
        if any(_count(length) > self._most_bytes for length in _values(answer, b"content-length")):
            raise too_large
        read = BytesIO()  # grows by an eighth, and gives its buffer away without a copy
        async for part in answer.aiter_stream():  # not more than a server says, and not less: that breaks off
            if read.tell() + len(part) > self._most_bytes:
                raise too_large
            read.write(part)
        return read.getvalue()


@dataclass(frozen=True, slots=True)
class _Target:
    """A URL that was looked at: ``host`` as it is resolved and must stand in the certificate."""

    scheme: str
    host: str
    port: int
    target: str

    @property
    def authority(self) -> str:
        """Host and port as they stand in a URL and in the header Host."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.authority}{self.target}"


class _Examined(httpcore.AnyIOBackend):
    """Connects to addresses that were looked at, whatever host it is asked for."""

    def __init__(self, addresses: list[str], seconds: float) -> None:
        self._addresses, self._seconds = addresses, seconds
        self._opened: list[httpcore.AsyncNetworkStream] = []

    async def aclose(self) -> None:
        """Close what is open: httpcore leaves a connection open that is cancelled while TLS begins."""
        for stream in self._opened:
            await stream.aclose()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first that answers within its share of the time."""
        share = self._seconds / len(self._addresses)
        failed: Exception | None = None
        for address in self._addresses:
            try:
                stream = await super().connect_tcp(address, port, share, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
                continue
            self._opened.append(stream)
            return stream
        raise failed or httpcore.ConnectError()

    async def connect_unix_socket(self, *_: Any, **__: Any) -> httpcore.AsyncNetworkStream:
        """Refuse: a URL never means this."""
        raise httpcore.ConnectError


def _is_address(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).version == 6 and "%" not in host  # others look like names
    except ValueError:
        return False


def _values(answer: httpcore.Response, name: bytes) -> list[str]:
    """Return all values of a header, without spaces at their ends."""
    return [value.decode("latin-1").strip() for key, value in answer.headers if key.lower() == name]


def _count(text: str) -> float:
    """Return a Content-Length; of one of too many digits that it is more than any limit."""
    return int(text) if text.isdecimal() and len(text) < 20 else float("inf")


def _only(answer: httpcore.Response, name: bytes, missing: str, status: int) -> str:
    values = _values(answer, name)
    if len(values) != 1 or not values[0]:
        raise FetchError(missing, status)
    return values[0]


def _fits(kind: str, kinds: tuple[str, ...]) -> bool:
    """Whether a media type is one of ``kinds``; its parameters do not matter."""
    named = kind.partition(";")[0].strip().lower()
    return any(named.startswith(known[:-1]) if known.endswith("/*") else named == known for known in kinds)
