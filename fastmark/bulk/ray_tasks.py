"""Tasks: what processes of a Ray cluster do, and the tables that go between them.

::

    block_of -> table  of entries -> read_block -> table of items -> Actor -> table of lines -> records_of
    (caller)                         (cluster)                       (cluster)                  (caller)
"""

from __future__ import annotations

import dataclasses
import json
import pickle
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fastmark._imports import package
from fastmark.bulk.fetching import batches, fetched
from fastmark.bulk.readers import read
from fastmark.bulk.records import Entry, Item, Passed, Result, ShardEnd, Work
from fastmark.bulk.runner import Pool
from fastmark.bulk.storage import printable
from fastmark.bulk.tables import SCAN_COLUMNS, arrow_schema
from fastmark.bulk.worker import ScanJob

BATCH_ITEMS, BATCH_BYTES = 16, 8 << 20
"""Of a table on its way from reading to an actor."""

_FINISHED, _BROKEN = "finished", "broken"
"""States of the line after a shard's last item: it was read to its end, or could not be."""


@dataclass(frozen=True, slots=True)
class LastLine:
    """The record that follows the last item of a shard.

    Attributes:
        source: of its items.
        stamp: of its items.
        end: None if the shard could not be read to its end.
    """

    source: str
    stamp: str
    end: ShardEnd | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one item, on its way back from the cluster.

    Attributes:
        result: its source, position, stamp, state and row.
        seconds: of its batch, per stage; given with the first outcome of the batch, empty with the others.
        size: encoded bytes of the item.
    """

    result: Result
    seconds: dict[str, float]
    size: int


# ---- to the cluster ----------------------------------------------------------------------------------


def block_of(entries: Sequence[tuple[Entry, list[int]]]) -> Any:
    """A table of entries, each with the positions in it that are done."""
    # pickled: paths may be of bytes that Arrow's text cannot hold
    return _pickled("entry", entries)


def _pickled(name: str, things: Sequence[Any]) -> Any:
    pyarrow = package("pyarrow", "--engine ray", "ray")
    lines = [pickle.dumps(thing) for thing in things]
    return pyarrow.table({name: pyarrow.array(lines, pyarrow.large_binary())})


# ---- in the cluster ----------------------------------------------------------------------------------


def read_block(table: Any, *, column: str | None, limit: int) -> Iterator[Any]:
    """The items of some entries, in tables of a few, with a last line after each shard."""
    for line in table.column("entry").to_pylist():
        entry, done = pickle.loads(line)
        yield from _read_entry(entry, frozenset(done), column, limit)


def _read_entry(entry: Entry, done: frozenset[int], column: str | None, limit: int) -> Iterator[Any]:
    ends: list[ShardEnd] = []
    items = read(entry, lambda item: item.position in done, column=column, limit=limit, finished=ends.append)
    for batch in batches(fetched(items, limit), BATCH_ITEMS, BATCH_BYTES):
        yield _pickled("item", batch)
    if entry.is_shard:
        yield _pickled("item", [LastLine(printable(entry.path), entry.stamp, ends[0] if ends else None)])


class _Scanning:
    """An actor that runs the work in a child process, so that an image that crashes it costs only the child.

    A crash is thereby told from the loss of a machine, which Ray repairs. The child keeps its carriers and
    plans warm from one batch to the next.
    """

    def __init__(self, job: ScanJob) -> None:
        self._pool = Pool(job, 1)
        self._pyarrow = package("pyarrow", "--engine ray", "ray")

    def scan(self, items: list[Item]) -> Work:
        """Scan items."""
        return self._pool.work_through(items)


class Actor(_Scanning):
    """From tables of items to tables of lines, for the process that records them."""

    def __call__(self, table: Any) -> Any:
        """A line per item, and one per last line of a shard."""
        records = [pickle.loads(line.as_buffer()) for line in table.column("item")]
        work = self.scan([record for record in records if isinstance(record, Item)])
        results, seconds = iter(work.results), work.seconds
        lines = []
        for record in records:
            if isinstance(record, LastLine):
                lines.append(_line_of_end(record))
            else:
                lines.append(_line_of(Outcome(next(results), seconds, record.size)))
                seconds = {}
        text, number = self._pyarrow.string(), self._pyarrow.int64()
        kinds = {"source": text, "position": number, "stamp": text, "state": text, "about": text}
        return self._pyarrow.Table.from_pylist(lines, schema=self._pyarrow.schema(list(kinds.items())))


class DatasetActor(_Scanning):
    """From encoded images to rows of the table."""

    def __call__(self, table: Any) -> Any:
        """The rows of a table with ``path`` and ``bytes``."""
        items = [
            Item(printable(path), data=data.as_py(), error="" if data.is_valid else "there are no bytes")
            for path, data in zip(table.column("path").to_pylist(), table.column("bytes"), strict=True)
        ]
        rows = [result.row for result in self.scan(items).results]
        return self._pyarrow.Table.from_pylist(rows, schema=arrow_schema(SCAN_COLUMNS))


# ---- back from the cluster ---------------------------------------------------------------------------


def _line_of(outcome: Outcome) -> dict[str, Any]:
    result = outcome.result
    about = {"row": result.row, "seconds": outcome.seconds, "size": outcome.size}
    return {
        "source": result.source,
        "position": result.position,
        "stamp": result.stamp,
        "state": result.state,
        "about": json.dumps(about),
    }


def _line_of_end(last: LastLine) -> dict[str, Any]:
    line = {"source": last.source, "position": 0, "stamp": last.stamp}
    if last.end is None:
        return line | {"state": _BROKEN, "about": "{}"}
    return line | {"state": _FINISHED, "about": json.dumps(dataclasses.asdict(last.end))}


def records_of(table: Any) -> Iterator[Outcome | LastLine]:
    """The records of a table of lines."""
    for line in table.to_pylist():
        source, position, stamp, state = line["source"], line["position"], line["stamp"], line["state"]
        about = json.loads(line["about"])
        if state == _BROKEN:
            yield LastLine(source, stamp, None)
        elif state == _FINISHED:
            yield LastLine(source, stamp, ShardEnd(about["items"], Passed(**about["passed"])))
        else:
            result = Result(source, position, stamp, state, about["row"])
            yield Outcome(result, about["seconds"], about["size"])
