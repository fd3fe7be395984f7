"""Records: what readers, workers, journal and outputs pass to each other.

::

    sources -> Entry -> readers -> Item -> workers -> Result, Work -> journal, output
                           |
                           +-----> ShardEnd, Passed -----------------> journal, summary

They hold values and do nothing; every other module may import this one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fastmark.bulk.kinds import Kind
from fastmark.bulk.storage import printable

STDIN = "-"
"""The source, and the path of an entry, that stands for standard input."""

NAMES_TOLD = 20
"""How many archives that are not opened are reported by name."""


# ---- from sources to readers -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a source.

    Attributes:
        path: as it is opened: a local path, a URL, or ``-``.
        kind: one image, a tar shard, a Parquet file; or "error", which ``error`` explains.
        name: where its images go below an output folder: a path of its own, or for shards the folder.
        size: bytes; 0 if not known.
        stamp: changes when the file does; empty if not known.
        error: why it cannot be read.
    """

    path: str
    kind: Kind
    name: str = ""
    size: int = 0
    stamp: str = ""
    error: str = ""

    @property
    def is_shard(self) -> bool:
        """Whether it holds many images."""
        return self.kind in ("tar", "parquet")


@dataclass(slots=True)
class Passed:
    """Counts of files that were passed over.

    Attributes:
        others: how many are no images.
        unopened_count: how many are archives of kinds that are not opened.
        unopened: the names of the first ``NAMES_TOLD`` of them.
    """

    others: int = 0
    unopened_count: int = 0
    unopened: list[str] = field(default_factory=list)

    def leave(self, name: str) -> None:
        """Count an archive that is not opened."""
        self.add(Passed(0, 1, [printable(name)]))

    def add(self, more: Passed) -> None:
        """Add the counts of another record."""
        self.others += more.others
        self.unopened_count += more.unopened_count
        self.unopened += more.unopened[: NAMES_TOLD - len(self.unopened)]


# ---- from readers to workers -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Item:
    """One image to be worked on or reported as unreadable, or a companion file to be copied.

    The readers make it; a later stage that knows more (the bytes, the message, an error) makes a new one.

    Attributes:
        source: path or URL of the file it is in, as text for people.
        position: its number in a shard, from 0; 0 for a file of its own.
        member: its name in a tar, its row in a Parquet file; None for a file of its own. Text for people.
        stamp: of the file it is in: changes when that does.
        name: where it goes below an output folder, as file systems take it.
        path: the local file that the worker reads; None where ``data`` holds it.
        url: of remote storage, to be fetched into ``data`` first.
        data: its encoded bytes.
        size: encoded bytes; 0 if not known.
        error: why it cannot be read; empty if it can.
        companion: a file beside images in a shard, copied with them but not an image.
        message: of bulk embedding: the message to embed, in hex.
        order: of bulk embedding: its number among all items that are worked on in this run, from 0.
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
    """Totals of a shard that has been read to its end.

    Attributes:
        items: how many it has, companions and those done earlier included.
        passed: the files in it that were passed over.
    """

    items: int
    passed: Passed = field(default_factory=Passed)


# ---- from workers to the journal and the output ------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome of one item.

    Attributes:
        source: of the item.
        position: of the item.
        stamp: of the item.
        state: "detected", "possible", "absent", "marked", "kept", "error", or "companion" of a file that was
            copied.
        row: of the table; None for companions.
        name: of embedding: where it goes below the output folder.
        data: of embedding: the bytes to be written; None if they have been.
    """

    source: str
    position: int
    stamp: str
    state: str
    row: dict[str, Any] | None = None
    name: str = ""
    data: bytes | None = None


@dataclass(slots=True)
class Work:
    """The results of some items, in their order, and the seconds that each stage took."""

    results: list[Result] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)


def add_seconds(total: dict[str, float], more: Mapping[str, float]) -> None:
    """Add the seconds of some work to ``total``, stage by stage."""
    for stage, seconds in more.items():
        total[stage] = total.get(stage, 0.0) + seconds


def failed(item: Item, reason: str) -> Result:
    """The result of an item that could not be read or worked on."""
    row = {"source": item.source, "member": item.member, "state": "error", "error": reason}
    return Result(item.source, item.position, item.stamp, "error", row)
