"""Connections of HTTP, each within bounds of time and size that the server would not set."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST_HEAD = 64 << 10
"""Bytes of a request that are not its body: line and headers; with chunks, their sizes and trailers too."""

_WRITE_SECONDS = 60.0  # within which a client must take some of its answer


def protocol(seconds: float) -> type[HttpToolsProtocol]:
    """Return the protocol of connections whose head of a request must arrive within ``seconds``."""

    class Own(_Bounded):
        patience = seconds

    return Own


class _Bounded(HttpToolsProtocol):
    """Closes connections that wait for nothing, and refuses heads that are too large.

    The app bounds bodies while it reads them. What comes before, and what still comes when it has answered,
    is bounded here: without that, clients that send a byte a minute hold all connections for ever, and one
    that sends a header without end all memory.
    """

    patience: float
    _timer: asyncio.TimerHandle | None = None
    _writing: asyncio.TimerHandle | None = None
    _whole = True  # the last request has arrived to its end
    _beside = 0  # bytes of it that are not its body
    _within = 0  # bytes of its body

    @property
    def _answering(self) -> bool:
        """Whether the app has a request to answer."""
        return self.cycle is not None and not self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing."""
        self._wait_no_more()
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take some bytes."""
        if not self._answering:
            self._wait()
        self._beside += len(data)
        super().data_received(data)
        if self._beside > MOST_HEAD + self._within and not self.transport.is_closing():
            if self._answering:
                self.transport.abort()
            else:
                self.send_400_response("The head of the request is too large.")

    def on_message_begin(self) -> None:
        """Take the first byte of a request."""
        self._whole, self._beside, self._within = False, 0, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Hand a request on to the app."""
        self._wait_no_more()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a part of a body."""
        self._beside -= len(body)
        self._within += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Take the last byte of a request."""
        self._whole = True
        self._wait_no_more()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Wait for the end of a request that was answered before."""
        super().on_response_complete()
        if not self._whole and not self._answering:
            self._wait()

    def pause_writing(self) -> None:
        """Wait for the client to read."""
        super().pause_writing()
        if self._writing is None:
            self._expect_reading(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """The client reads."""
        if self._writing is not None:
            self._writing.cancel()
            self._writing = None
        if self.flow is not None:
            super().resume_writing()

    def _expect_reading(self, left: int) -> None:
        self._writing = self.loop.call_later(_WRITE_SECONDS, self._end_unread, left)

    def _end_unread(self, before: int) -> None:
        left = self.transport.get_write_buffer_size()
        if left < before:
            self._expect_reading(left)
        else:
            self.transport.abort()

    def _wait(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(self.patience, self._end)

    def _wait_no_more(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end(self) -> None:
        self._timer = None
        if not self._answering:
            self.transport.close()
