"""Encodings of bodies, undone within a limit."""

from __future__ import annotations

import zlib

CODINGS = {"": None, "identity": None, "gzip": 31, "x-gzip": 31, "deflate": 15}
"""Encodings of bodies that can be undone, and zlib's number for each; None where nothing is to be done."""


class Decoder:
    """Undoes the encoding of a body, within a limit; gzip of several members too."""

    def __init__(self, coding: str) -> None:
        """Begin with a body of an encoding of ``CODINGS``."""
        self._bits = CODINGS[coding]
        self._inner = None if self._bits is None else zlib.decompressobj(self._bits)

    @property
    def plain(self) -> bool:
        """Whether there is nothing to undo."""
        return self._inner is None

    def feed(self, data: bytes, most: int) -> bytes:
        """Return what some bytes stand for.

        Raises:
            ValueError: if they are damaged, or stand for more than ``most`` bytes.
        """
        if self._inner is None or self._bits is None:
            return data
        pieces, left = [], most
        try:
            while data:
                if self._inner.eof:
                    self._inner = zlib.decompressobj(self._bits)
                pieces.append(self._inner.decompress(data, left + 1))
                left -= len(pieces[-1])
                if left < 0:
                    raise ValueError(f"it has more than {most} bytes when it is unpacked")
                data = self._inner.unconsumed_tail or self._inner.unused_data
        except zlib.error:
            raise ValueError("its encoding is damaged") from None
        return b"".join(pieces)
