"""Tars: opened as streams or by seeking, compressed or not, several in a row; members' bytes and names."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import re
import sys
import tarfile
from collections.abc import Iterator
from typing import IO, Any

from fastmark.bulk.kinds import compression
from fastmark.bulk.records import STDIN
from fastmark.bulk.storage import is_url, open_input
from fastmark.images.formats import KEY_BYTES


class _Header(tarfile.TarInfo):
    """A header that fails where tarfile would take a damaged one for the archive's end."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> _Header:
        try:
            return super().fromtarfile(archive)
        except (tarfile.InvalidHeaderError, tarfile.TruncatedHeaderError) as error:  # type: ignore[attr-defined]  # typeshed has neither
            raise tarfile.ReadError(f"damaged header: {error}") from None


@contextlib.contextmanager
def opened_tar(path: str) -> Iterator[tarfile.TarFile]:
    """The tar at a path, a URL, or ``-``.

    It is read as a stream where seeking is impossible or costly; elsewhere members that are not wanted are
    left unread.
    """
    streamed = path == STDIN or is_url(path)
    with contextlib.ExitStack() as stack:
        file: Any = sys.stdin.buffer if path == STDIN else stack.enter_context(open_input(path))
        if not hasattr(file, "peek"):
            file = io.BufferedReader(file)
        yield stack.enter_context(tar_of(file, streamed=streamed))


@contextlib.contextmanager
def tar_of(file: Any, *, streamed: bool) -> Iterator[tarfile.TarFile]:
    """The tar, compressed or not, in a buffered file."""
    module = compression(file.peek(16))
    with contextlib.ExitStack() as stack:
        if module is not None:
            # NOTE: by these modules, as tarfile's own streams end after the first of several parts
            file = stack.enter_context(importlib.import_module(module).open(file))
        mode: Any = "r|" if streamed or module is not None else "r:"
        # ignore_zeros: several tars may stand one after the other, as `cat` puts them on a pipe
        yield stack.enter_context(tarfile.open(fileobj=file, mode=mode, tarinfo=_Header, ignore_zeros=True))


def start_of_member(file: Any) -> bytes:
    """A member's first ``KEY_BYTES``, without moving on in it."""
    start: bytes = file.peek(KEY_BYTES)
    return start[:KEY_BYTES]


def whole_member(file: IO[bytes], size: int) -> bytes:
    """A member's bytes; tarfile.ReadError if the archive ends before there are ``size``."""
    data = file.read()
    if len(data) != size:
        raise tarfile.ReadError("unexpected end of data")
    return data


def harmless_name(name: str) -> str:
    """A member's name as a path that stays below the folder it is put in."""
    ways = [part for part in re.split(r"[\\/]", name) if part not in ("", ".")]
    if os.sep == "/" and ".." not in ways:  # a backslash may be part of a name
        ways = [part for part in name.split("/") if part not in ("", ".")]
    parts = [part for part in ways if part != ".."]
    return os.path.join(*parts) if parts else "unnamed"
