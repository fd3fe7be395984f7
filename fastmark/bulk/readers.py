"""Readers: the items of an entry, one by one, each with a position that finds it again in a later run.

Shards are read as streams, in order, never whole.
"""

from __future__ import annotations

import functools
import os
import re
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from fastmark._imports import package
from fastmark.bulk.kinds import key_file_error, kind_by_ending, kind_of_file, stem
from fastmark.bulk.parquet import cells, choose
from fastmark.bulk.records import Entry, Item, Passed, ShardEnd
from fastmark.bulk.storage import is_url, open_input, printable, storable
from fastmark.bulk.tars import harmless_name, opened_tar, start_of_member, tar_of, whole_member
from fastmark.errors import SourceError, one_line, reason_of
from fastmark.images.formats import KEY_BYTES, is_key_file
from fastmark.images.reading import too_large

Skip = Callable[[Item], bool]
"""Called once per item, before its bytes are read; true if it needs no more work. It may count."""

Load = Callable[[], bytes]
"""Reads the bytes of an item of a shard; to be called before the next item is asked for."""

_DEEPEST = 4
"""How many tars deep in a tar are still read."""


def read(
    entry: Entry,
    skip: Skip,
    *,
    column: str | None = None,
    limit: int,
    companions: bool = False,
    finished: Callable[[ShardEnd], None] = lambda end: None,
) -> Iterator[Item]:
    """The items of an entry that are not skipped, in order.

    Any fault of the entry comes as an item with an ``error``; nothing is raised.

    Args:
        entry: a file of a source.
        skip: called with every item before its bytes are read; true to leave it out.
        column: of the images in Parquet files; None to find it.
        limit: most bytes of an image, see ``most_bytes``.
        companions: whether other files of a tar are wanted too.
        finished: called after the last item; not called if the entry could not be read to its end.
    """
    source = printable(entry.path)
    if entry.kind == "error":
        yield Item(source, name=entry.name, error=entry.error)
    elif entry.kind == "image":
        remote = is_url(entry.path)
        path, url = (None, entry.path) if remote else (entry.path, None)
        item = Item(source, 0, None, entry.stamp, entry.name, path, url, size=entry.size)
        if not skip(item):
            yield item
        finished(ShardEnd(1))
    else:
        shard = _Shard(entry, source, companions)
        count = 0
        try:
            for item, load in shard.tar() if entry.kind == "tar" else shard.parquet(column):
                count += 1
                if not skip(item):
                    yield _loaded(item, load, limit)
        except SourceError as error:
            yield shard.broken(f"{source}: {storable(one_line(error))}")
        except Exception as error:  # tarfile, zlib, lzma, pyarrow, a store: each has errors of its own
            reason = storable(reason_of(error))
            yield shard.broken(f"{source} cannot be read after {shard.members} members: {reason}")
        else:
            finished(ShardEnd(count, shard.passed))


def _loaded(item: Item, load: Load, limit: int) -> Item:
    if item.size > limit:
        return replace(item, error=too_large(item.size, limit))
    return item if item.error else filled(item, load())


def filled(item: Item, data: bytes) -> Item:
    """An item with its bytes, but never with those of a key."""
    if not is_key_file(data[:KEY_BYTES]):
        return replace(item, data=data)
    name = item.source if item.member is None else f"{item.source}: {item.member}"
    if item.companion:
        return replace(item, error=f"{name} is a fastmark key file; it is not copied")
    return replace(item, error=key_file_error(name))


class _Shard:
    """A tar or Parquet file that is being read.

    Attributes:
        members: how many have been met, of whatever kind: the next one's position.
        passed: counts of those that were passed over.
    """

    def __init__(self, entry: Entry, source: str, companions: bool) -> None:
        self.members = 0
        self.passed = Passed()
        self._entry = entry
        self._source = source
        self._companions = companions

    def broken(self, error: str) -> Item:
        """The item that is reported where the shard cannot be read further."""
        return Item(
            self._source, self.members, None, self._entry.stamp, self._entry.name, error=storable(error)
        )

    def _next(self, member: str, name: str, size: int) -> Item:
        item = Item(self._source, self.members, printable(member), self._entry.stamp, name, size=size)
        self.members += 1
        return item

    # ---- tar -------------------------------------------------------------------------------------------

    def tar(self) -> Iterator[tuple[Item, Load]]:
        """The members that are wanted, and how the bytes of each are read."""
        with opened_tar(self._entry.path) as archive:
            yield from self._members(archive, "", self._entry.name, 0)

    def _members(
        self, archive: tarfile.TarFile, above: str, below: str, depth: int
    ) -> Iterator[tuple[Item, Load]]:
        """The members of a tar.

        Args:
            archive: opened, as a stream perhaps.
            above: of a tar in a tar: its name and a slash.
            below: where they go below an output folder.
            depth: how many tars it is in.
        """
        while (header := archive.next()) is not None:
            archive.members.clear()  # type: ignore[attr-defined]  # tarfile keeps every header it has read
            inside = os.path.join(below, harmless_name(header.name))
            item = self._next(above + header.name, inside, header.size)
            if not header.isreg():
                # a link stands for a member that comes by itself; other kinds are no images
                self.passed.others += 1
                continue
            file: Any = archive.extractfile(header)  # buffered, as of every regular member
            kind = kind_of_file(header.name, header.size, functools.partial(start_of_member, file))
            if kind == "tar":
                yield from self._tar_in(item, file, f"{above}{header.name}/", depth + 1)
            elif kind == "archive" or kind == "parquet":
                self.passed.add(Passed(0, 1, [f"{self._source}/{item.member}"]))
            else:
                companion = kind_by_ending(header.name) != "image" if kind == "key" else kind == "other"
                if kind == "metadata" or (companion and not self._companions):
                    self.passed.others += 1
                else:
                    load = functools.partial(whole_member, file, header.size)
                    yield replace(item, companion=companion), load

    def _tar_in(self, item: Item, file: Any, above: str, depth: int) -> Iterator[tuple[Item, Load]]:
        """The members of a tar in a tar; then, where it cannot be read, itself as an item with an error."""
        shown, error = f"{item.source}: {item.member}", ""
        if not item.size:
            error = f"{shown} is empty"
        elif depth > _DEEPEST:
            error = f"{shown} is in more than {_DEEPEST} tars, one in the other: unpack one of them"
        else:
            try:
                with tar_of(file, streamed=True) as archive:
                    yield from self._members(archive, above, stem(item.name), depth)
            except Exception as fault:  # tarfile, zlib, lzma: each has errors of its own
                error = f"{shown} cannot be read to its end: {storable(reason_of(fault))}"
        if error:
            yield replace(item, size=0, error=error), bytes

    # ---- Parquet ---------------------------------------------------------------------------------------

    def parquet(self, column: str | None) -> Iterator[tuple[Item, Load]]:
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
                item = self._next("/".join([str(row), *label]), inside, size)
                if value is None:
                    yield replace(item, error=f"row {row} holds no image"), bytes
                else:
                    yield item, value.to_pybytes
