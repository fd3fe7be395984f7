"""Storage: local paths, and with fsspec installed any URL it knows (s3://, gs://, https://, memory://)."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

from fastmark._imports import package
from fastmark.errors import MissingPackageError, OutputError, SourceError, one_line, reason_of
from fastmark.images.encoding import atomic_file

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_LIKE_AN_ESCAPE = re.compile(r"\\(?=x[0-9A-Fa-f]{2})")


def is_url(path: str) -> bool:
    """Whether a path is for fsspec: ``scheme://`` of two letters and more, so that ``C:`` is none."""
    return _URL.match(path) is not None


def file_system(url: str) -> tuple[Any, str]:
    """Fsspec's file system of a URL, and the path within it.

    Raises:
        MissingPackageError: without fsspec, or the package it needs for this scheme.
        SourceError: if fsspec does not know the scheme.
    """
    core = package("fsspec.core", f"{url.partition('://')[0]}://")
    try:
        # listings are read once; kept, they would grow with the archive
        file_system, path = core.url_to_fs(url, use_listings_cache=False)
    except ImportError as error:
        raise MissingPackageError(f"{printable(url)}: {storable(one_line(error))}") from None
    except ValueError as error:
        raise SourceError(f"{printable(url)}: {storable(one_line(error))}") from None
    return file_system, path


@contextlib.contextmanager
def open_input(path: str) -> Iterator[IO[bytes]]:
    """A file to be read, seekable; any trouble on the way is an OSError or fsspec's own exception."""
    if is_url(path):
        remote, inner = file_system(path)
        with remote.open(inner, "rb") as file:
            yield file
    else:
        with Path(path).open("rb") as file:
            yield file


@contextlib.contextmanager
def open_output(path: str) -> Iterator[IO[bytes]]:
    """A file to be written, which appears whole at the end, or not at all.

    A URL's file is written elsewhere first where its file system can do that (its ``transaction``); object
    stores do so by themselves.

    Raises:
        OutputError: if it cannot be written.
    """
    try:
        if is_url(path):
            remote, inner = file_system(path)
            with remote.transaction, remote.open(inner, "wb") as file:
                yield file
        else:
            with atomic_file(path) as file:
                yield file
    except OSError as error:
        raise unwritable(path, error) from error


def unwritable(path: str, error: BaseException) -> OutputError:
    """OutputError that says why; it keeps ``errno``."""
    refusal = OutputError(f"{printable(path)} cannot be written: {storable(reason_of(error))}")
    refusal.errno = getattr(error, "errno", None)
    return refusal


def check_folder_of(path: str) -> None:
    """Raise OutputError unless the folder that a local ``path`` would be put in can be written."""
    if is_url(path):
        file_system(path)
        return
    folder = Path(os.path.abspath(path)).parent
    if not folder.is_dir():
        raise OutputError(
            f"{printable(path)}: the folder {printable(str(folder))} does not exist: make it first, or name"
            " another"
        )
    if not os.access(folder, os.W_OK):
        raise OutputError(f"{printable(path)}: the folder {printable(str(folder))} cannot be written")


def exists(path: str) -> bool:
    """Whether there is a file or folder."""
    if is_url(path):
        remote, inner = file_system(path)
        return cast(bool, remote.exists(inner))
    return os.path.lexists(path)


def printable(name: str) -> str:
    """A name as text that any encoding can store, different for different names.

    Bytes of file names that are no UTF-8 become ``\\xNN``, and a backslash that would look like the
    beginning of one becomes ``\\x5c``. Given its own result it may escape that again: for a sentence with
    names in it there is ``storable``.
    """
    return storable(_LIKE_AN_ESCAPE.sub(r"\\x5c", name))


def storable(text: str) -> str:
    """A text that any encoding can store: bytes of file names that are no UTF-8 become ``\\xNN``."""
    try:
        data = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # halves of characters that stand for no byte
        data = text.encode("utf-8", "surrogatepass")
    return data.decode("utf-8", "backslashreplace")
