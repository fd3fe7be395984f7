"""Server-sent events (text/event-stream, as the HTML standard has them), cut out of a stream of bytes."""

from __future__ import annotations

import re
from dataclasses import dataclass

_END = re.compile(rb"(?:\r\n|\r(?!\n)|\n)(?:\r\n|\r(?!\n)|\n)")
_LINE = re.compile(rb"\r\n|\r|\n")
_LONGEST_END = 4


class Splitter:
    """Cuts a stream into events, wherever its chunks begin and end."""

    def __init__(self) -> None:
        """Start with nothing."""
        self._buffer, self._searched = bytearray(), 0

    def __len__(self) -> int:
        """How many bytes wait for the rest of their event."""
        return len(self._buffer)

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the events that end in a chunk, each with all its bytes, the empty line included.

        A ``\\n`` that follows in the next chunk, where a chunk ends within ``\\r\\n``, comes with the next
        event, before which an empty line means nothing.
        """
        self._buffer += chunk
        events, begin = [], 0
        while found := _END.search(self._buffer, max(begin, self._searched)):
            events.append(bytes(self._buffer[begin : found.end()]))
            begin = found.end()
        del self._buffer[:begin]
        self._searched = max(0, len(self._buffer) - _LONGEST_END + 1)
        return events

    def rest(self) -> bytes:
        """Return what stands after the last event, of which some readers make one more."""
        left = bytes(self._buffer)
        self._buffer, self._searched = bytearray(), 0
        return left


@dataclass(frozen=True, slots=True)
class Event:
    """One event.

    Attributes:
        name: its ``event`` field; empty without one.
        data: its ``data`` fields, joined by line breaks; None without one.
        others: all other lines, in their order.
    """

    name: str
    data: str | None
    others: tuple[bytes, ...]

    @classmethod
    def of(cls, raw: bytes) -> Event:
        """Read an event.

        Raises:
            ValueError: if it is not UTF-8.
        """
        name, data, others = "", list[str](), list[bytes]()
        for line in _LINE.split(raw.removeprefix(b"\xef\xbb\xbf")):
            field, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if field == b"data":
                data.append(value.decode())
            elif line:
                others.append(line)
                name = value.decode() if field == b"event" else name
        return cls(name, "\n".join(data) if data else None, tuple(others))

    def to_bytes(self, data: bytes) -> bytes:
        """Return the event with other data."""
        lines = [*self.others, *(b"data: " + line for line in data.split(b"\n"))]
        return b"\n".join(lines) + b"\n\n"
