"""Readers: what an entry holds, image by image, with a position that finds it again in a later run.

Shards are read as streams, in order, never whole.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
import os
import re
import sys
import tarfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import IO, Any

from fastmark.bulk.kinds import (
    KEY_BYTES,
    compression,
    is_key_file,
    key_file_error,
    kind_by_ending,
    kind_of_file,
    stem,
)
from fastmark.bulk.parquet import cells, choose
from fastmark.bulk.sources import STDIN
from fastmark.bulk.storage import is_url, open_input, package, printable, storable
from fastmark.bulk.walk import Entry, Passed
from fastmark.errors import SourceError, one_line, reason_of

Done = Callable[["Picture"], bool]
"""Tells whether an image needs no more work, before its bytes are read."""

_METADATA_BYTES = 64 << 20
_BYTES_PER_PIXEL = 8  # 16 bits of red, green, blue and alpha, not compressed
_DEEPEST = 4
"""How many tars deep in a tar are still read."""

_FETCHING = 16
"""How many files of remote storage are on their way at a time."""


@dataclass(slots=True)
class Picture:
    """One image to be worked on, or to be reported as unreadable.

    Attributes:
        source: path or URL of the file it is in, as text for people.
        position: its number in a shard, from 0; 0 for a file of its own.
        member: its name in a tar, its row in a Parquet file; None for a file of its own. Text for people.
        stamp: of the file it is in: changes when that does.
        name: where it goes below an output folder, as file systems take it.
        path: the local file to be read by whoever works on it; None where ``data`` holds it.
        url: of remote storage, to be fetched into ``data`` first.
        data: its encoded bytes.
        size: encoded bytes; 0 if not known.
        error: why it cannot be read; empty if it can.
        companion: a file beside images in a shard, copied with them but not an image.
        message: of bulk embedding: what it is to say, in hex.
        order: among all that are worked on in this run, from 0.
    """

    source: str
    position: int = 0
    member: str | None = None
    stamp: str = ""
    name: str = ""
    path: str | None = None
    url: str | None = None
    data: bytes | None = None
    size: int = 0
    error: str = ""
    companion: bool = False
    message: str = ""
    order: int = 0


@dataclass(frozen=True, slots=True)
class ShardEnd:
    """What a shard came to, once it has been read to its end.

    Attributes:
        pictures: how many there are to be done, companions included, and those that were done before.
        passed: the files in it that were passed over.
    """

    pictures: int
    passed: Passed = field(default_factory=Passed)


def most_bytes(max_pixels: int) -> int:
    """How large a file of ``max_pixels`` can be with any reason; larger ones are not read into memory."""
    return max_pixels * _BYTES_PER_PIXEL + _METADATA_BYTES


def too_large(size: int, limit: int) -> str:
    """The error of a file of more bytes than ``most_bytes``."""
    return f"{size} bytes are more than the {limit} that images of --max-pixels need"


def read(
    entry: Entry,
    done: Done,
    *,
    column: str | None = None,
    limit: int,
    companions: bool = False,
    finished: Callable[[ShardEnd], None] = lambda end: None,
) -> Iterator[Picture]:
    """The images of an entry that are not done, in order.

    Args:
        entry: a file of a source.
        done: asked before an image's bytes are read.
        column: of the images in Parquet files; None to find it.
        limit: most bytes of an image, see ``most_bytes``.
        companions: whether other files of a tar are wanted too.
        finished: called after the last image; not called if the entry could not be read to its end.

    Whatever is wrong with an entry comes as a picture with an ``error``; nothing is raised.
    """
    source = printable(entry.path)
    if entry.kind == "error":
        yield Picture(source, name=entry.name, error=entry.error)
    elif entry.kind == "picture":
        picture = Picture(source, 0, None, entry.stamp, entry.name, size=entry.size)
        if is_url(entry.path):
            picture.url = entry.path
        else:
            picture.path = entry.path
        if not done(picture):
            yield picture
        finished(ShardEnd(1))
    else:
        shard = _Shard(entry, source, companions)
        count = 0
        try:
            for picture, load in shard.tar() if entry.kind == "tar" else shard.parquet(column):
                count += 1
                if done(picture):
                    continue
                if picture.size > limit:
                    picture.error = too_large(picture.size, limit)
                elif not picture.error:
                    _fill(picture, load())
                yield picture
        except SourceError as error:
            yield shard.broken(f"{source}: {storable(one_line(error))}")
        except Exception as error:  # tarfile, zlib, lzma, pyarrow, a store: each has errors of its own
            reason = storable(reason_of(error))
            yield shard.broken(f"{source} cannot be read after {shard.members} members: {reason}")
        else:
            finished(ShardEnd(count, shard.passed))


def _fill(picture: Picture, data: bytes) -> None:
    """Give a picture its bytes, but never those of a key."""
    if not is_key_file(data[:KEY_BYTES]):
        picture.data = data
        return
    name = picture.source if picture.member is None else f"{picture.source}: {picture.member}"
    picture.error = (
        f"{name} is a fastmark key file; it is not copied" if picture.companion else key_file_error(name)
    )


class _Shard:
    """A tar or Parquet file that is being read.

    Attributes:
        members: how many there have been, of whatever kind: the next one's position.
        passed: what of them was passed over.
    """

    def __init__(self, entry: Entry, source: str, companions: bool) -> None:
        self.members = 0
        self.passed = Passed()
        self._entry = entry
        self._source = source
        self._companions = companions

    def broken(self, error: str) -> Picture:
        """What is reported where it cannot be read further."""
        return Picture(
            self._source, self.members, None, self._entry.stamp, self._entry.name, error=storable(error)
        )

    def _next(self, member: str, name: str, size: int) -> Picture:
        picture = Picture(self._source, self.members, printable(member), self._entry.stamp, name, size=size)
        self.members += 1
        return picture

    # ---- tar -------------------------------------------------------------------------------------------

    def tar(self) -> Iterator[tuple[Picture, Callable[[], bytes]]]:
        """The members that are wanted, and how their bytes are read before the next one is."""
        with _opened_tar(self._entry) as archive:
            yield from self._members(archive, "", self._entry.name, 0)

    def _members(
        self, archive: tarfile.TarFile, above: str, below: str, depth: int
    ) -> Iterator[tuple[Picture, Callable[[], bytes]]]:
        """The members of a tar.

        Args:
            archive: opened, as a stream perhaps.
            above: of a tar in a tar: its name and a slash.
            below: where they go below an output folder.
            depth: how many tars it is in.
        """
        while (header := archive.next()) is not None:
            archive.members.clear()  # type: ignore[attr-defined]  # tarfile keeps every header it has read
            inside = os.path.join(below, _harmless(header.name))
            picture = self._next(above + header.name, inside, header.size)
            if not header.isreg():
                # a link stands for a member that comes by itself; what else is there is no image
                self.passed.others += 1
                continue
            file: Any = archive.extractfile(header)  # buffered, as of every regular member
            kind = kind_of_file(header.name, header.size, functools.partial(_start, file))
            if kind == "tar":
                yield from self._tar_in(picture, file, f"{above}{header.name}/", depth + 1)
            elif kind == "archive" or kind == "parquet":
                self.passed.add(Passed(0, 1, [f"{self._source}/{picture.member}"]))
            else:
                picture.companion = (
                    kind_by_ending(header.name) != "picture" if kind == "key" else kind == "other"
                )
                if kind == "metadata" or (picture.companion and not self._companions):
                    self.passed.others += 1
                else:
                    yield picture, functools.partial(_whole, file, header.size)

    def _tar_in(
        self, picture: Picture, file: Any, above: str, depth: int
    ) -> Iterator[tuple[Picture, Callable[[], bytes]]]:
        """The members of a tar in a tar; where it cannot be read, itself as a picture in error."""
        size, picture.size = picture.size, 0
        below = stem(picture.name)
        if not size:
            picture.error = f"{picture.source}: {picture.member} is empty"
        elif depth > _DEEPEST:
            deep = f"is in more than {_DEEPEST} tars, one in the other: unpack one of them"
            picture.error = f"{picture.source}: {picture.member} {deep}"
        else:
            try:
                with _tar_of(file, streamed=True) as archive:
                    yield from self._members(archive, above, below, depth)
            except Exception as error:  # tarfile, zlib, lzma: each has errors of its own
                reason = storable(reason_of(error))
                picture.error = f"{picture.source}: {picture.member} cannot be read to its end: {reason}"
        if picture.error:
            yield picture, bytes

    # ---- Parquet ---------------------------------------------------------------------------------------

    def parquet(self, column: str | None) -> Iterator[tuple[Picture, Callable[[], bytes]]]:
        """The images of the rows, and how each is copied out of the batch it was read in."""
        parquet = package("pyarrow.parquet", "Parquet")
        with open_input(self._entry.path) as file:
            # NOTE: buffered, so that a row group's images are not all in memory at a time
            table = parquet.ParquetFile(file, buffer_size=1 << 20, pre_buffer=False)
            for row, label, value in cells(table, choose(table, column)):
                # no dots, which would look like an ending, and no separators
                parts = [re.sub(r"[^\w-]", "_", part) or "_" for part in label]
                inside = os.path.join(self._entry.name, f"{row:08d}", *parts)
                size = 0 if value is None else value.size
                picture = self._next("/".join([str(row), *label]), inside, size)
                if value is None:
                    picture.error = f"row {row} holds no image"
                yield picture, bytes if value is None else value.to_pybytes


# ---- tar -------------------------------------------------------------------------------------------


class _Header(tarfile.TarInfo):
    """A header that fails where tarfile would take a damaged one for the archive's end."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> _Header:
        try:
            return super().fromtarfile(archive)
        except (tarfile.InvalidHeaderError, tarfile.TruncatedHeaderError) as error:  # type: ignore[attr-defined]  # typeshed has neither
            raise tarfile.ReadError(f"damaged header: {error}") from None


@contextlib.contextmanager
def _opened_tar(entry: Entry) -> Iterator[tarfile.TarFile]:
    """As a stream where seeking is impossible or costly, else with what is not wanted left unread."""
    streamed = entry.path == STDIN or is_url(entry.path)
    with contextlib.ExitStack() as stack:
        file: Any = sys.stdin.buffer if entry.path == STDIN else stack.enter_context(open_input(entry.path))
        if not hasattr(file, "peek"):
            file = io.BufferedReader(file)
        yield stack.enter_context(_tar_of(file, streamed=streamed))


@contextlib.contextmanager
def _tar_of(file: Any, *, streamed: bool) -> Iterator[tarfile.TarFile]:
    """A tar, compressed or not, in a buffered file."""
    module = compression(file.peek(16))
    with contextlib.ExitStack() as stack:
        if module is not None:
            # NOTE: by these modules, as tarfile's own streams end after the first of several parts
            file = stack.enter_context(importlib.import_module(module).open(file))
        mode: Any = "r|" if streamed or module is not None else "r:"
        # ignore_zeros: several tars may stand one after the other, as `cat` puts them on a pipe
        yield stack.enter_context(tarfile.open(fileobj=file, mode=mode, tarinfo=_Header, ignore_zeros=True))


def _start(file: Any) -> bytes:
    """A member's first bytes, which are still to be read."""
    start: bytes = file.peek(KEY_BYTES)
    return start[:KEY_BYTES]


def _whole(file: IO[bytes], size: int) -> bytes:
    """A member's bytes, all of them."""
    data = file.read()
    if len(data) != size:
        raise tarfile.ReadError("unexpected end of data")
    return data


def _harmless(name: str) -> str:
    """A member's name as a path that stays where it is put."""
    ways = [part for part in re.split(r"[\\/]", name) if part not in ("", ".")]
    if os.sep == "/" and ".." not in ways:  # a backslash may be part of a name
        ways = [part for part in name.split("/") if part not in ("", ".")]
    parts = [part for part in ways if part != ".."]
    return os.path.join(*parts) if parts else "unnamed"


# ---- remote files, batches -------------------------------------------------------------------------


def fetched(pictures: Iterable[Picture], limit: int) -> Iterator[Picture]:
    """The same images in the same order, those of remote storage with their bytes, several at a time."""
    with contextlib.ExitStack() as stack:
        pool: ThreadPoolExecutor | None = None
        window: deque[Future[Picture] | Picture] = deque()
        for picture in pictures:
            if picture.url is None:
                window.append(picture)
            else:
                pool = pool or stack.enter_context(ThreadPoolExecutor(_FETCHING))
                window.append(pool.submit(_fetch, picture, limit))
            while window and (len(window) >= _FETCHING or not isinstance(window[0], Future)):
                yield _settled(window.popleft())
        while window:
            yield _settled(window.popleft())


def _settled(picture: Future[Picture] | Picture) -> Picture:
    return picture.result() if isinstance(picture, Future) else picture


def _fetch(picture: Picture, limit: int) -> Picture:
    assert picture.url is not None
    try:
        with open_input(picture.url) as file:
            data = file.read(limit + 1)
    except FileNotFoundError:
        picture.error = f"{picture.source}: no such file"
    except Exception as error:  # a store's own exceptions
        reason = storable(one_line(error) or repr(error))
        picture.error = f"{picture.source} cannot be read: {reason}"
    else:
        picture.size = len(data)
        if len(data) > limit:
            picture.error = too_large(len(data), limit)
        else:
            _fill(picture, data)
    return picture


def batches(pictures: Iterable[Picture], most: int, most_bytes: int) -> Iterator[list[Picture]]:
    """Images in groups of up to ``most``, and of more than ``most_bytes`` only when alone."""
    batch: list[Picture] = []
    size = 0
    for picture in pictures:
        if batch and (len(batch) >= most or size + picture.size > most_bytes):
            yield batch
            batch, size = [], 0
        batch.append(picture)
        size += picture.size
    if batch:
        yield batch
