"""Sources: what the user names, as a stream of files to be opened: pictures, tar shards and Parquet files.

Folders are walked in the order of names, a folder at a time, so that memory holds the names of one folder
and of those above it. Nothing is opened but files whose ending tells nothing.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Literal

from fastmark.bulk.kinds import BLOCK, Kind, is_shard, kind_by_content, kind_by_ending, stem
from fastmark.bulk.storage import file_system, is_url, open_input, package, printable
from fastmark.decoder import PREFIX_BYTES, format_by_prefix
from fastmark.errors import SourceError, reason_of
from fastmark.files import TEMPORARY

STDIN = "-"
"""The source, and the path of an entry, that stands for standard input."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a source.

    Attributes:
        path: as it is opened: a local path, a URL, or ``-``.
        kind: one picture, a tar shard, a Parquet file; or "error", which ``error`` explains.
        name: where its pictures go below an output folder: a path of its own, or for shards the folder.
        size: bytes; 0 if not known.
        stamp: changes when the file does; empty if not known.
        error: what is wrong with it.
    """

    path: str
    kind: Kind
    name: str = ""
    size: int = 0
    stamp: str = ""
    error: str = ""

    @property
    def is_shard(self) -> bool:
        """Whether it holds many pictures."""
        return self.kind in ("tar", "parquet")


@dataclass(slots=True)
class Walk:
    """What a walk through sources leaves out.

    Attributes:
        excluded: real paths of folders and shards that are not looked into, the output among them.
        others: how many files were passed over because they are not pictures.
    """

    excluded: Collection[str] = ()
    others: int = 0


def entries(sources: Sequence[str], walk: Walk) -> Iterator[Entry]:
    """The files of all sources, in order.

    Args:
        sources: folders, pictures, tar shards, Parquet files, text files with a path or URL a line, URLs of
            all these; ``-`` is a tar, or such a text, on standard input.
        walk: what to leave out; told what was passed over.

    Raises:
        SourceError: for a source that is missing or of no known kind, before anything is yielded of it.
    """
    several = len(sources) > 1
    for source in sources:
        yield from _source(source, _base(source) if several else "", walk)


def check_sources(sources: Sequence[str]) -> None:
    """Raise SourceError for sources that are missing or of no known kind; nothing is read of the rest."""
    if not sources:
        raise SourceError("no source: name a folder, a list, a tar or a Parquet file")
    for source in sources:
        if source != STDIN:
            _kind_of_source(source)


# ---- what the user names ---------------------------------------------------------------------------


def _source(source: str, below: str, walk: Walk) -> Iterator[Entry]:
    if source == STDIN:
        yield from _stdin(sys.stdin.buffer, walk)
        return
    kind = _kind_of_source(source)
    if kind == "folder":
        yield from _folder(source, below, walk)
    elif kind == "list":
        with open_input(source) as lines:
            yield from _list(lines, walk)
    else:
        name = os.path.join(below, os.path.basename(source)) if kind == "picture" else below
        yield _sized(Entry(source, kind, name))


def _kind_of_source(source: str) -> Kind | Literal["folder", "list"]:
    """Look at a source, and open it where its name does not tell."""
    shown = printable(source)
    try:
        if _is_folder(source):
            return "folder"
        with open_input(source) as file:
            start = file.read(BLOCK)
    except FileNotFoundError:
        raise SourceError(f"{shown}: no such file or folder") from None
    except OSError as error:
        raise SourceError(f"{shown} cannot be read: {error.strerror or error}") from None
    except ValueError as error:  # a null byte in the name
        raise SourceError(f"{shown!r} cannot be read: {error}") from None
    kind = kind_by_content(start)
    if kind is None:
        named = kind_by_ending(source)
        if named not in ("picture", "tar", "parquet"):
            raise SourceError(
                f"{shown} is of no known kind: give a folder, a picture, a tar, a Parquet file,"
                " or a text file with a path a line"
            )
        return named
    # by its name a damaged picture is still one, to be reported as such
    return "picture" if kind == "list" and kind_by_ending(source) == "picture" else kind


def _stdin(stream: IO[bytes], walk: Walk) -> Iterator[Entry]:
    """A tar, which is left unread for whoever opens the entry, or a list of paths."""
    # NOTE: peek gives what one read gave, of a pipe perhaps less than a block; a tar's first names go up to
    # 100 bytes, then come zeros, and no list has those
    start = stream.peek(BLOCK)[:BLOCK] if hasattr(stream, "peek") else b""
    kind = kind_by_content(start) or "tar"
    if kind == "list":
        yield from _list(stream, walk)
    elif kind == "tar":
        yield Entry(STDIN, "tar")
    else:
        raise SourceError(f"stdin holds a {kind}: it takes a tar, or a list with a path a line")


def _list(lines: IO[bytes], walk: Walk) -> Iterator[Entry]:
    """The files of a list; relative paths are meant from the working directory."""
    for line in lines:
        path = os.fsdecode(line.rstrip(b"\r\n"))
        if not path:
            continue
        try:
            if _is_folder(path):
                yield from _folder(path, _below(path), walk)
                continue
        except (OSError, ValueError) as error:
            yield _error(path, error)
            continue
        named = kind_by_ending(path)
        kind: Kind = named if named == "tar" or named == "parquet" else "picture"
        yield _sized(Entry(path, kind, _below(path) if kind == "picture" else stem(_below(path))))


# ---- folders ---------------------------------------------------------------------------------------


def _folder(folder: str, below: str, walk: Walk) -> Iterator[Entry]:
    yield from _remote_folder(folder, below, walk) if is_url(folder) else _local_folder(folder, below, walk)


def _local_folder(folder: str, below: str, walk: Walk) -> Iterator[Entry]:
    """Every file below a folder; links are followed, but not round in circles."""
    try:
        stack = [(folder, below, frozenset([_place(os.stat(folder))]), _names(folder))]
    except OSError as error:
        yield _error(folder, error, below)
        return
    while stack:  # no recursion: folders nest deeper than Python's calls may
        path, name, above, names = stack[-1]
        child = next(names, None)
        if child is None:
            stack.pop()
            continue
        path, name = os.path.join(path, child), os.path.join(name, child)
        try:
            status = os.stat(path)
            if stat.S_ISDIR(status.st_mode):
                place = _place(status)
                if place not in above and os.path.realpath(path) not in walk.excluded:
                    stack.append((path, name, above | {place}, _names(path)))
                continue
        except OSError as error:
            if kind_by_ending(path) == "other":
                walk.others += 1
            else:
                yield _error(path, error, name)
            continue
        yield from _file(Entry(path, "picture", name, status.st_size, _stamp(status)), status, walk)


def _names(folder: str) -> Iterator[str]:
    """Sorted, without unfinished files of ours."""
    names = (n for n in os.listdir(folder) if not (n.startswith(TEMPORARY[0]) and n.endswith(TEMPORARY[1])))
    return iter(sorted(names))


def _place(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _file(entry: Entry, status: os.stat_result, walk: Walk) -> Iterator[Entry]:
    kind = kind_by_ending(entry.path) if stat.S_ISREG(status.st_mode) else "other"
    if kind is None:
        try:
            with open_input(entry.path) as file:
                kind = "picture" if format_by_prefix(file.read(PREFIX_BYTES)) else "other"
        except OSError as error:
            yield _error(entry.path, error, entry.name)
            return
    yield from _of_kind(entry, kind, walk)


def _of_kind(entry: Entry, kind: Kind | Literal["other"], walk: Walk) -> Iterator[Entry]:
    """The entry, unless it is not a picture and holds none."""
    if kind == "parquet" and not _has_pictures(entry.path):
        kind = "other"
    if kind == "tar" and os.path.realpath(entry.path) in walk.excluded:
        return
    if kind == "other":
        walk.others += 1
    elif kind == "picture":
        yield entry
    else:
        yield replace(entry, kind=kind, name=stem(entry.name))


def _has_pictures(path: str) -> bool:
    """Whether a Parquet file that a folder holds has a column of pictures; if in doubt, it has."""
    from fastmark.bulk.readers import picture_column

    try:
        parquet = package("pyarrow.parquet", "Parquet")
        with open_input(path) as file:
            picture_column(parquet.ParquetFile(file).schema_arrow, None)
    except SourceError:
        return False
    except Exception:  # reported when it is read: a missing package, any damage
        return True
    return True


def _remote_folder(url: str, below: str, walk: Walk) -> Iterator[Entry]:
    remote, root = file_system(url)

    def complain(error: OSError) -> None:
        raise error

    try:
        for folder, _, files in remote.walk(root, detail=True, on_error=complain):
            for child, about in sorted(files.items()):
                name = os.path.join(below, folder[len(root) :].strip("/"), child)
                path = remote.unstrip_protocol(f"{folder}/{child}")
                entry = Entry(path, "picture", name, about.get("size") or 0, _remote_stamp(about))
                # NOTE: to open each file of unknown ending would cost a request each: their names decide
                yield from _of_kind(entry, kind_by_ending(child) or "other", walk)
    except Exception as error:  # a store's own exceptions
        yield _error(url, error, below)


# ---- small things ----------------------------------------------------------------------------------


def _is_folder(path: str) -> bool:
    if not is_url(path):
        return os.path.isdir(path)
    if kind_by_ending(path):  # spares a request
        return False
    remote, inner = file_system(path)
    return bool(remote.isdir(inner))


def _sized(entry: Entry) -> Entry:
    """The entry with its size and stamp, or as an error if it is not there."""
    if is_url(entry.path):
        if entry.kind == "picture":  # a request each; known when it is read
            return entry
        try:
            remote, inner = file_system(entry.path)
            about: dict[str, Any] = remote.info(inner)
        except Exception as error:  # a store's own exceptions
            return _error(entry.path, error, entry.name)
        return replace(entry, size=about.get("size") or 0, stamp=_remote_stamp(about))
    try:
        status = os.stat(entry.path)
        if not stat.S_ISREG(status.st_mode):
            raise OSError("it is not a regular file")
    except (OSError, ValueError) as error:
        return _error(entry.path, error, entry.name)
    return replace(entry, size=status.st_size, stamp=_stamp(status))


def _stamp(status: os.stat_result) -> str:
    return f"{status.st_size}-{status.st_mtime_ns}"


def _remote_stamp(about: dict[str, Any]) -> str:
    for key in ("ETag", "etag", "md5Hash", "LastModified", "last_modified", "updated", "mtime", "created"):
        if about.get(key):
            return f"{about.get('size')}-{about[key]}"
    return ""


def _error(path: str, error: BaseException, name: str = "") -> Entry:
    reason = "no such file" if isinstance(error, FileNotFoundError) else reason_of(error)
    return Entry(path, "error", name, error=f"{printable(path)}: {reason}")


def _base(source: str) -> str:
    """What tells the pictures of one source from those of another below an output folder."""
    base = os.path.basename(os.path.normpath(source)) if source != STDIN else "stdin"
    plain = base in (".", "..") or not (is_shard(base) or _is_folder(source))
    return "" if plain else stem(base)


def _below(path: str) -> str:
    """A path of any kind as one below an output folder: no root, no scheme, no way up."""
    inner = path.partition("://")[2] if is_url(path) else os.path.splitdrive(path)[1]
    parts = [part for part in Path(os.path.normpath(inner)).parts if part not in ("/", "\\", "..", ".", "//")]
    return os.path.join(*parts) if parts else ""
