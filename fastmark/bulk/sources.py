"""Sources: the paths that the user names, as a stream of images, tar shards and Parquet files."""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Literal

from fastmark.bulk.kinds import (
    Content,
    Kind,
    is_list,
    is_shard,
    key_file_error,
    kind_by_content,
    kind_by_ending,
    kind_of_file,
    stem,
)
from fastmark.bulk.parquet import check_columns
from fastmark.bulk.records import STDIN, Entry
from fastmark.bulk.storage import is_url, open_input, printable, storable
from fastmark.bulk.texts import check_text, text_lines
from fastmark.bulk.walk import Walk, error_entry, folder_entries, is_folder, sized, start_of
from fastmark.errors import FastmarkError, SourceError, SourceNotFoundError, reason_of
from fastmark.images.formats import KEY_BYTES, is_key_file

AnyPath = str | os.PathLike[str]

_LIST = "list of paths, one per line"
# as long as a key's secret, or longer; a path that looks like that is not quoted
_SECRET = re.compile(rb"""[\s"',]*(0x)?[0-9A-Fa-f]{64,}[\s"',]*""")
_LINE_OF_A_KEY = re.compile(rb'"fastmark-key"|"secret"\s*:')


@dataclass(frozen=True, slots=True)
class Named:
    """A source as the user names it.

    Attributes:
        path: a path or URL; ``-`` is standard input.
        is_list: whether it is named as a list of paths, and not as a source.
    """

    path: str
    is_list: bool = False


def named(sources: AnyPath | Sequence[AnyPath], lists: AnyPath | Sequence[AnyPath] = ()) -> list[Named]:
    """Sources and lists in order; one of each kind may stand alone."""
    return [
        Named(os.fsdecode(path), is_list)
        for paths, is_list in ((sources, False), (lists, True))
        for path in ([paths] if isinstance(paths, str | bytes | os.PathLike) else paths)
    ]


def entries(sources: Sequence[Named], walk: Walk) -> Iterator[Entry]:
    """The files of all sources, in order.

    Args:
        sources: folders, images, tar shards, Parquet files, lists with a path or URL per line, URLs of all
            these; ``-`` is a tar, or a list, on standard input.
        walk: says which folders to leave out; counts the files passed over.

    Raises:
        SourceError: for a source that is missing or of no known kind, before anything is yielded of it.
    """
    several = len(sources) > 1
    for source in sources:
        for entry in _source(source, _base(source) if several else "", walk):
            walk.parquets += entry.kind == "parquet"
            yield entry
    walk.ended = True


def check_sources(sources: Sequence[Named], column: str | None = None) -> None:
    """Refuse sources before any work is done; only the bytes that tell their kind are read.

    Args:
        sources: as the user names them.
        column: of Parquet files, that the user names.

    Raises:
        SourceNotFoundError: for one that is missing.
        SourceError: for one of no known kind, a key file, a Parquet file without images; if there is none;
            if ``column`` cannot apply to any of them.
    """
    if not sources:
        raise SourceError("no source: name a folder, an image, a tar or a Parquet file, or give a --list")
    if sum(source.path == STDIN for source in sources) > 1:
        raise SourceError("standard input is named twice: it can be read only once")
    kinds = set()
    for source in sources:
        kind = _kind_of_source(source)
        kinds.add("url" if is_url(source.path) else kind)
        if kind == "parquet":
            check_columns(source.path, column)
    if column is not None and kinds <= {"image", "tar"}:
        raise SourceError("--column goes with Parquet files: there is none among the sources")


def can_be_read_twice(source: Named) -> bool:
    """Whether a source can be read again: standard input and pipes cannot."""
    return source.path != STDIN and not (source.is_list and _is_pipe(source.path))


# ---- the kind of a source -------------------------------------------------------------------------


def _source(source: Named, below: str, walk: Walk) -> Iterator[Entry]:
    kind = _kind_of_source(source)
    path, shown = source.path, printable(source.path)
    if kind == "stdin":
        yield from _stdin(sys.stdin.buffer, source, walk)
    elif kind == "folder":
        yield from folder_entries(path, below, walk)
    elif kind == "list":
        with open_input(path) as file:
            yield from _list(file, shown, walk)
    else:
        yield sized(
            Entry(path, kind, os.path.join(below, os.path.basename(path)) if kind == "image" else below)
        )


def _kind_of_source(source: Named) -> Kind | Literal["folder", "list", "stdin"]:
    """The kind of a source, by its first bytes."""
    path, shown = source.path, printable(source.path)
    if path == STDIN:
        return "stdin"
    try:
        folder = is_folder(path)
        # NOTE: a pipe, as of <(find ...), is left unread until its lines are wanted
        pipe = not folder and _is_pipe(path)
        start = b""
        if not folder and not pipe:
            with open_input(path) as file:
                start = file.read(KEY_BYTES)
    except FastmarkError:
        raise
    except FileNotFoundError:
        raise SourceNotFoundError(f"{shown}: no such file or folder") from None
    except ValueError as error:  # a null byte in the name
        raise SourceError(f"{path!r} cannot be read: {error}") from None
    except Exception as error:  # OSError; a store's own exceptions
        if not isinstance(error, OSError) and not is_url(path):
            raise
        raise SourceError(f"{shown} cannot be read: {storable(reason_of(error))}") from None
    if source.is_list:
        if folder:
            raise SourceError(f"{shown} is a folder, not a list of paths: name it as a source")
        if not pipe:
            check_text(start, shown, _LIST, key_error=key_file_error(shown))
        return "list"
    if folder:
        return "folder"
    if pipe:
        raise SourceError(
            f"{shown} is not a regular file: give a tar on standard input, as -, a list with --list"
        )
    return _kind_of_file(path, shown, kind_by_content(start))


def _is_pipe(path: str) -> bool:
    """Whether a path that is no folder is no regular file either."""
    return not is_url(path) and not stat.S_ISREG(os.stat(path).st_mode)


def _kind_of_file(path: str, shown: str, holds: Content | None) -> Kind | Literal["list"]:
    """The kind of a file that is named as a source, by its content, or else by its name."""
    if holds == "key":
        raise SourceError(key_file_error(shown))
    if holds == "metadata":
        raise SourceError(
            f"{shown} is macOS's metadata (AppleDouble) of another file, not an image:"
            " take it out of the sources"
        )
    if holds == "image" or holds == "tar" or holds == "parquet":
        return holds
    by_name = kind_by_ending(path)
    # a damaged image is still one by its name, and is reported
    if by_name == "image" or by_name == "tar" or by_name == "parquet":
        return by_name
    if holds == "archive" or (by_name == "archive" and holds is None):
        raise SourceError(_unopened_error(shown))
    if holds == "text" and is_list(path):
        return "list"
    if holds == "text":
        raise SourceError(
            f"{shown} is no image, tar or Parquet file; a list of paths is named with --list {shown}"
        )
    if is_list(path):
        raise SourceError(f"{shown} is no text: give a {_LIST}")
    raise SourceError(
        f"{shown} is of no known kind: give a folder, an image, a tar, a Parquet file, or a list with --list"
    )


def _unopened_error(shown: str) -> str:
    return f"{shown} is an archive of a kind that is not opened: unpack it, or make it a tar"


def _stdin(stream: IO[bytes], source: Named, walk: Walk) -> Iterator[Entry]:
    """A tar, which is left for the reader of the entry, or a list of paths."""
    # NOTE: peek gives what one read gave, of a pipe perhaps less than a block; a tar's first names go up to
    # 100 bytes, then come zeros, and no list has those
    start = stream.peek(KEY_BYTES)[:KEY_BYTES] if hasattr(stream, "peek") and not source.is_list else b""
    kind = "text" if source.is_list else kind_by_content(start) or "tar"
    if kind == "text":
        yield from _list(stream, "standard input", walk)
    elif kind == "tar":
        yield Entry(STDIN, "tar")
    elif kind == "key":
        raise SourceError(key_file_error("standard input"))
    else:
        held = {"image": "one image", "parquet": "a Parquet file", "archive": "an archive"}.get(kind, kind)
        raise SourceError(f"standard input holds {held}: it takes a tar, or a list with a path per line")


def _list(file: IO[bytes], shown: str, walk: Walk) -> Iterator[Entry]:
    """The files of a list; relative paths start at the working directory."""
    for number, line in enumerate(text_lines(file, shown, _LIST, key_error=key_file_error(shown)), 1):
        line = line.rstrip(b"\r\n")
        if not line.strip():
            continue
        if _LINE_OF_A_KEY.search(line):  # which a list was pasted together with
            raise SourceError(f"{shown}, line {number} is of a fastmark key file, not a path: take it out")
        path = os.fsdecode(line)
        try:
            if is_folder(path):
                yield from folder_entries(path, _below(path), walk)
                continue
        except (FastmarkError, OSError, ValueError) as error:
            yield error_entry(path, error)
            continue
        kind = kind_by_ending(path)
        shard = kind == "tar" or kind == "parquet"
        below = stem(_below(path)) if shard else _below(path)
        entry = sized(Entry(path, kind if kind == "tar" or kind == "parquet" else "image", below))
        if entry.kind != "error" and not is_url(path):
            yield from _listed(entry, walk)
        elif entry.kind == "error" and _SECRET.fullmatch(line):
            place = f"{shown}, line {number}"
            yield Entry(place, "error", error=f"{place}: no such file")
        else:
            yield entry


def _listed(entry: Entry, walk: Walk) -> Iterator[Entry]:
    """A file of a list: an image unless it is known to be of another kind, as the user named it."""
    shown = printable(entry.path)
    try:
        start = start_of(entry.path) if entry.size <= KEY_BYTES else b""
        kind = (
            "key"
            if is_key_file(start)
            else kind_of_file(entry.path, entry.size, lambda: start_of(entry.path))
        )
    except OSError as error:
        yield error_entry(entry.path, error, entry.name)
        return
    if kind == "metadata":
        walk.others += 1
    elif kind == "key":
        yield replace(entry, kind="error", error=key_file_error(shown))
    elif kind == "archive":
        yield replace(entry, kind="error", error=_unopened_error(shown))
    elif kind == "tar" or kind == "parquet":
        yield replace(entry, kind=kind, name=stem(entry.name))
    else:
        yield entry


# ---- places in the output ---------------------------------------------------------------------------


def _base(source: Named) -> str:
    """The folder that keeps the images of one source apart from those of others in the output."""
    if source.is_list:  # the paths in it do
        return ""
    base = os.path.basename(os.path.normpath(source.path)) if source.path != STDIN else "stdin"
    plain = base in (".", "..") or not (is_shard(base) or is_folder(source.path))
    return "" if plain else stem(base)


def _below(path: str) -> str:
    """A path of any kind as one below an output folder: no root, no scheme, no way up."""
    inner = path.partition("://")[2] if is_url(path) else os.path.splitdrive(path)[1]
    parts = [part for part in Path(os.path.normpath(inner)).parts if part not in ("/", "\\", "..", ".", "//")]
    return os.path.join(*parts) if parts else ""
