"""Walk: the files of folders in order, and counts of those that are passed over.

One folder is listed at a time, so memory holds the names of one folder and of those above it. Only files are
opened whose names do not tell their kind, or that are small enough to be a key.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Any

from fastmark.bulk.kinds import Found, key_file_error, kind_by_ending, kind_of_file, may_be_apple_double, stem
from fastmark.bulk.parquet import has_columns
from fastmark.bulk.records import Entry, Passed
from fastmark.bulk.storage import file_system, is_url, open_input, printable, storable
from fastmark.errors import reason_of
from fastmark.images.encoding import TEMPORARY
from fastmark.images.formats import KEY_BYTES


@dataclass(slots=True)
class Walk(Passed):
    """A walk through sources: the folders it leaves out, and counts of the files it met.

    Attributes:
        excluded: real paths of folders and shards that are not opened, the output among them.
        parquets: how many Parquet files there were.
        ended: whether it came to the end of the sources.
    """

    excluded: Collection[str] = ()
    parquets: int = 0
    ended: bool = False


# ---- folders ---------------------------------------------------------------------------------------


def folder_entries(folder: str, below: str, walk: Walk) -> Iterator[Entry]:
    """The files of a folder and of all below it.

    Args:
        folder: a path or URL.
        below: where its images go below an output folder.
        walk: says which folders to leave out; counts the files passed over.
    """
    yield from _remote_folder(folder, below, walk) if is_url(folder) else _local_folder(folder, below, walk)


def _local_folder(folder: str, below: str, walk: Walk) -> Iterator[Entry]:
    """Every file below a folder; links are followed, except into a folder above them."""
    try:
        stack = [(folder, below, frozenset([_place(os.stat(folder))]), _names(folder))]
    except OSError as error:
        yield error_entry(folder, error, below)
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
                yield error_entry(path, error, name)
            continue
        yield from _file(Entry(path, "image", name, status.st_size, _stamp(status)), status, walk)


def _names(folder: str) -> Iterator[str]:
    """The sorted names in a folder, without unfinished files of this program."""
    names = (n for n in os.listdir(folder) if not (n.startswith(TEMPORARY[0]) and n.endswith(TEMPORARY[1])))
    return iter(sorted(names))


def _place(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _file(entry: Entry, status: os.stat_result, walk: Walk) -> Iterator[Entry]:
    kind: Found = "other"
    if stat.S_ISREG(status.st_mode):
        try:
            kind = kind_of_file(entry.path, entry.size, lambda: start_of(entry.path))
        except OSError as error:
            yield error_entry(entry.path, error, entry.name)
            return
    yield from _of_kind(entry, kind, walk)


def start_of(path: str) -> bytes:
    """The first ``KEY_BYTES`` of a file."""
    with open_input(path) as file:
        return file.read(KEY_BYTES)


def _of_kind(entry: Entry, kind: Found, walk: Walk) -> Iterator[Entry]:
    """The entry, unless it is no image and holds none."""
    if kind == "parquet" and not has_columns(entry.path):
        walk.parquets += 1
        kind = "other"
    if kind == "tar" and os.path.realpath(entry.path) in walk.excluded:
        return
    if kind == "image":
        yield entry
    elif kind == "tar" or kind == "parquet":
        yield replace(entry, kind=kind, name=stem(entry.name))
    elif kind == "archive":
        walk.leave(entry.path)
    elif kind == "key" and kind_by_ending(entry.path) == "image":
        yield replace(entry, kind="error", error=key_file_error(printable(entry.path)))
    else:
        walk.others += 1


def _remote_folder(url: str, below: str, walk: Walk) -> Iterator[Entry]:
    remote, root = file_system(url)

    def complain(error: OSError) -> None:
        raise error

    try:
        for folder, _, files in remote.walk(root, detail=True, on_error=complain):
            for child, about in sorted(files.items()):
                name = os.path.join(below, folder[len(root) :].strip("/"), child)
                path = remote.unstrip_protocol(f"{folder}/{child}")
                entry = Entry(path, "image", name, about.get("size") or 0, _remote_stamp(about))
                # NOTE: to open each file of unknown ending would cost a request each: their names decide
                kind = "metadata" if may_be_apple_double(child) else kind_by_ending(child) or "other"
                yield from _of_kind(entry, kind, walk)
    except Exception as error:  # a store's own exceptions
        yield error_entry(url, error, below)


# ---- one file ----------------------------------------------------------------------------------


def is_folder(path: str) -> bool:
    """Whether a path or URL is a folder; a URL that ends like a file is none."""
    if not is_url(path):
        return os.path.isdir(path)
    if kind_by_ending(path):  # spares a request
        return False
    remote, inner = file_system(path)
    return bool(remote.isdir(inner))


def sized(entry: Entry) -> Entry:
    """The entry with its size and stamp, or as an error if it is not there."""
    if is_url(entry.path):
        if entry.kind == "image":  # a request each; known when it is read
            return entry
        try:
            remote, inner = file_system(entry.path)
            about: dict[str, Any] = remote.info(inner)
        except Exception as error:  # a store's own exceptions
            return error_entry(entry.path, error, entry.name)
        return replace(entry, size=about.get("size") or 0, stamp=_remote_stamp(about))
    try:
        status = os.stat(entry.path)
        if not stat.S_ISREG(status.st_mode):
            raise OSError("it is not a regular file")
    except (OSError, ValueError) as error:
        return error_entry(entry.path, error, entry.name)
    return replace(entry, size=status.st_size, stamp=_stamp(status))


def _stamp(status: os.stat_result) -> str:
    return f"{status.st_size}-{status.st_mtime_ns}"


def _remote_stamp(about: dict[str, Any]) -> str:
    for key in ("ETag", "etag", "md5Hash", "LastModified", "last_modified", "updated", "mtime", "created"):
        if about.get(key):
            return f"{about.get('size')}-{about[key]}"
    return ""


def error_entry(path: str, error: BaseException, name: str = "") -> Entry:
    """A file that could not be looked at, and why."""
    reason = "no such file" if isinstance(error, FileNotFoundError) else storable(reason_of(error))
    return Entry(path, "error", name, error=f"{printable(path)}: {reason}")
