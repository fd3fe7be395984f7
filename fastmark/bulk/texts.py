"""Texts that people and their tools write: lists of paths and of messages, in any Unicode encoding."""

from __future__ import annotations

import codecs
import itertools
from collections.abc import Iterable, Iterator
from typing import IO

from fastmark.bulk.kinds import kind_by_content
from fastmark.errors import SourceError
from fastmark.images.formats import KEY_BYTES

_CHUNK = 1 << 16
_LONGEST_LINE = 1 << 20
# PowerShell's > writes UTF-16; the longer marks first, as they begin like the shorter
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def text_lines(file: IO[bytes], shown: str, purpose: str, *, key_error: str) -> Iterator[bytes]:
    """The lines of a text, with their ends, in UTF-8 without a byte order mark.

    UTF-16 and UTF-32 are known by their marks. Bytes of anything else come as they are: paths need not be
    UTF-8.

    Args:
        file: read to its end.
        shown: its name, for errors.
        purpose: the kind of text it should be, for errors.
        key_error: the error of a key file.

    Raises:
        SourceError: if it is a key file or no text; the error quotes nothing from the file.
    """
    start = file.read(KEY_BYTES)
    check_text(start, shown, purpose, key_error=key_error)
    # read1: does not wait until a pipe has a whole chunk
    read = getattr(file, "read1", file.read)
    chunks: Iterable[bytes] = itertools.chain([start], iter(lambda: read(_CHUNK), b""))
    encoding = next((name for mark, name in _MARKS if start.startswith(mark)), None)
    if encoding:
        chunks = (text.encode() for text in codecs.iterdecode(chunks, encoding, "replace"))
    elif start.startswith(codecs.BOM_UTF8):
        chunks = itertools.chain([start[len(codecs.BOM_UTF8) :]], itertools.islice(chunks, 1, None))
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line + b"\n"
        if len(rest) > _LONGEST_LINE:
            raise SourceError(f"{shown} has a line of more than {_LONGEST_LINE} bytes: it is no {purpose}")
    if rest:
        yield rest


def check_text(start: bytes, shown: str, purpose: str, *, key_error: str) -> None:
    """Raise SourceError if a file that begins so, with ``KEY_BYTES``, is a key file or no text."""
    kind = kind_by_content(start)
    if kind == "key":
        raise SourceError(key_error)
    if kind != "text":
        raise SourceError(f"{shown} is no text: give a {purpose}")
