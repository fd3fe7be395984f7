"""Scanning on a Ray cluster, with Ray Data: read, ``map_batches`` over actors that hold warm carriers.

Two ways in. ``fastmark scan --engine ray`` has Ray read and look, and the rows come back to the process
that was called, whose journal and table are those of the local engine: the same rows, and resumable.
:func:`scan_dataset` is for pipelines of one's own: a Dataset of pictures in, a Dataset of rows out, which
every machine of the cluster writes for itself (``.write_parquet``).
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
import pickle
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fastmark._checks import MAX_PIXELS
from fastmark.bulk.journal import Result
from fastmark.bulk.readers import Picture, ShardEnd, batches, fetched, most_bytes, read
from fastmark.bulk.recorder import Recorder
from fastmark.bulk.runner import Pool, Stop, default_workers
from fastmark.bulk.sources import STDIN
from fastmark.bulk.storage import package, printable
from fastmark.bulk.tables import SCAN_COLUMNS, arrow_schema
from fastmark.bulk.walk import Entry, Passed
from fastmark.bulk.worker import ScanJob, Work, add_seconds, failed
from fastmark.errors import FastmarkError, SourceError
from fastmark.key import Key

ROUND_ENTRIES = 200_000
"""Files that are handed to Ray at a time: a pipeline is built for each round."""

ROUND_BYTES = 64 << 30
"""Of shards, likewise: what has come back of a round is kept in mind."""

BLOCK_ENTRIES = 32
"""Files that one reading task opens, and whose pictures one actor gets, unless they are shards."""

BATCH_PICTURES, BATCH_BYTES = 16, 8 << 20
"""Of a table on its way from reading to an actor."""

_READING_CPUS = 0.1
_REACH_SECONDS = 10.0
_FINISHED, _BROKEN = "finished", "broken"
"""States of the line after a shard's last image: it was read to its end, or could not be."""


def scan_dataset(
    dataset: Any,
    keys: Key | Sequence[Key],
    *,
    actors: int = 0,
    message_bits: int = 64,
    deep: bool = False,
    max_pixels: int = MAX_PIXELS,
) -> Any:
    """Look for marks in every picture of a Ray Dataset.

    Args:
        dataset: with the columns ``path`` and ``bytes`` (encoded pictures), as
            ``ray.data.read_binary_files(..., include_paths=True)`` makes them.
        keys: one or more; a row reports the most certain one's.
        actors: at most so many, a core each; 0 for as many as the cluster has cores for.
        message_bits: length of the messages looked for.
        deep: search on, for pictures somebody tried to clean; slow.
        max_pixels: files of more are not decoded but reported.

    Returns:
        A Dataset with the columns of ``fastmark.bulk.tables.SCAN_COLUMNS``, ``source`` being the path.
    """
    ray = _ray("scan_dataset")
    job = ScanJob(tuple([keys] if isinstance(keys, Key) else keys), message_bits, deep, max_pixels)
    return dataset.map_batches(
        _DatasetActor,
        fn_constructor_args=(job,),
        batch_format="pyarrow",
        batch_size=BATCH_PICTURES,
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=actors or None),
        num_cpus=1,
    )


def run(
    entries: Iterator[Entry],
    job: ScanJob,
    column: str | None,
    workers: int,
    address: str | None,
    record: Recorder,
    stop: Stop,
) -> None:
    """Scan entries on Ray and record what comes of every picture.

    Work that is lost with a process or a machine Ray does again. A picture that kills whoever looks at it is
    a row with that error, as with the local engine.

    Raises:
        MissingPackageError: without Ray.
        SourceError: for a tar on standard input, which no other process can read.
        FastmarkError: if the cluster cannot be reached, or gives up.
    """
    ray = _ray("--engine ray")
    with _connected(ray, address, workers):
        while todo := _next_round(entries, record, stop):
            try:
                for batch, work in _looked_at(ray, todo, job, column, workers, record):
                    record.take(batch, work)
                    record.tick()
                    if stop.asked.is_set():
                        return
            except ray.exceptions.RayError as error:
                raise FastmarkError(f"Ray gave up: {_first_line(error)}; the same command goes on") from error
            if lost := todo.lost():
                raise FastmarkError(
                    f"Ray lost {lost} files of an archive; the same command looks at them again"
                )


def _ray(purpose: str) -> Any:
    """Ray with Ray Data."""
    package("ray.data", purpose, "ray")
    return package("ray", purpose, "ray")


class _Round:
    """Some entries, and what of them has come back.

    Attributes:
        entries: in order.
        done: of every source, the positions that need no more work.
        whole: of every shard that was read to its end, how many pictures it has; of one that could not be,
            which is a row, None.
    """

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.done: dict[str, set[int]] = {}
        self.whole: dict[str, int | None] = {}

    def __bool__(self) -> bool:
        return bool(self.entries)

    def lost(self) -> int:
        """How many entries have not come back whole."""
        return sum(not self._is_whole(entry) for entry in self.entries)

    def _is_whole(self, entry: Entry) -> bool:
        source = printable(entry.path)
        done = len(self.done.get(source, ()))
        if entry.kind == "picture":
            return done > 0
        return source in self.whole and self.whole[source] in (done, None)


def _next_round(entries: Iterator[Entry], record: Recorder, stop: Stop) -> _Round:
    """The next entries that need work; those that cannot be opened are recorded as such."""
    some = _Round()
    size = 0
    for entry in entries:
        if entry.kind == "error":
            picture = Picture(printable(entry.path), stamp=entry.stamp)
            record.take([picture], Work([failed(picture, entry.error)]))
            continue
        if entry.path == STDIN:
            raise SourceError("a tar on standard input cannot be read with --engine ray: give its path")
        source = printable(entry.path)
        if record.is_finished(entry) or source in some.done:
            continue
        if entry.kind == "picture":
            if record.is_done(Picture(source, stamp=entry.stamp)):
                continue
        else:
            some.done[source] = set(record.done_of(entry))
            size += entry.size
        some.entries.append(entry)
        if len(some.entries) >= ROUND_ENTRIES or size >= ROUND_BYTES or stop.asked.is_set():
            break
    return some


# ---- the pipeline, at this end ---------------------------------------------------------------------


def _looked_at(
    ray: Any, todo: _Round, job: ScanJob, column: str | None, workers: int, record: Recorder
) -> Iterator[tuple[list[Picture], Work]]:
    """Run the pipeline over a round; pictures and what came of them, as it comes."""
    cores = workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
    blocks = list(_blocks(todo))
    dataset = (
        ray.data.from_arrow(blocks)
        .map_batches(
            _read_block,
            fn_kwargs={"column": column, "limit": most_bytes(job.max_pixels)},
            batch_format="pyarrow",
            batch_size=None,
            num_cpus=_READING_CPUS,
        )
        .map_batches(
            _Actor,
            fn_constructor_args=(job,),
            batch_format="pyarrow",
            batch_size=None,
            compute=ray.data.ActorPoolStrategy(min_size=min(cores, len(blocks)), max_size=workers or None),
            num_cpus=1 - _READING_CPUS,
        )
    )
    for table in dataset.iter_batches(batch_format="pyarrow", batch_size=None):
        batch, work = [], Work()
        for line in table.to_pylist():
            source, position, about = line["source"], line["position"], json.loads(line["about"])
            if line["state"] in (_FINISHED, _BROKEN):
                todo.whole[source] = position if line["state"] == _FINISHED else None
                if line["state"] == _FINISHED:
                    record.finish_shard(source, line["stamp"], ShardEnd(position, Passed(**about)))
                continue
            done = todo.done.setdefault(source, set())
            if position not in done:
                done.add(position)
                add_seconds(work.seconds, about["seconds"])
                batch.append(Picture(source, position, stamp=line["stamp"], size=about["size"]))
                work.results.append(Result(source, position, line["stamp"], line["state"], about["row"]))
        if batch:
            yield batch, work


def _blocks(todo: _Round) -> Iterator[Any]:
    """What is to be done, as tables for Ray: some pictures each, or one shard."""
    pyarrow = package("pyarrow", "--engine ray", "ray")
    files = [entry for entry in todo.entries if entry.kind == "picture"]
    groups = [files[i : i + BLOCK_ENTRIES] for i in range(0, len(files), BLOCK_ENTRIES)]
    groups += [[entry] for entry in todo.entries if entry.is_shard]
    for group in groups:
        skips = [sorted(todo.done.get(printable(entry.path), ())) for entry in group]
        # pickled: paths may be of bytes that Arrow's text cannot hold
        lines = [pickle.dumps((entry, skip)) for entry, skip in zip(group, skips, strict=True)]
        yield pyarrow.table({"entry": pyarrow.array(lines, pyarrow.binary())})


@contextlib.contextmanager
def _connected(ray: Any, address: str | None, workers: int) -> Iterator[None]:
    """Use the Ray that is running in this process, that at an address, or one started for this call."""
    with _settings(ray):
        if ray.is_initialized():
            yield
            return
        local = {} if address else {"num_cpus": workers or default_workers(), "include_dashboard": False}
        try:
            _reach(address)
            ray.init(address=address, log_to_driver=False, logging_level="error", **local)
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            raise FastmarkError(f"no Ray at {address or 'this machine'}: {_first_line(error)}") from None
        try:
            yield
        finally:
            ray.shutdown()


def _reach(address: str | None) -> None:
    """Raise OSError if nobody listens at host:port; Ray would try for minutes."""
    host, _, port = (address or "").rpartition(":")
    if host and port.isdecimal() and "//" not in host:
        socket.create_connection((host, int(port)), timeout=_REACH_SECONDS).close()


@contextlib.contextmanager
def _settings(ray: Any) -> Iterator[None]:
    """Ray Data with blocks that are soon done, and nothing printed beside what is ours."""
    context = ray.data.DataContext.get_current()
    wanted = {"enable_progress_bars": False, "target_max_block_size": BATCH_BYTES}
    before = {name: getattr(context, name) for name in wanted}
    logger = logging.getLogger("ray.data")
    level = logger.level
    logger.setLevel(logging.ERROR)
    # Ray's own C++ part complains of how Ray Data makes actors; read when it is loaded
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    for name, value in wanted.items():
        setattr(context, name, value)
    try:
        yield
    finally:
        logger.setLevel(level)
        for name, value in before.items():
            setattr(context, name, value)


def _first_line(error: BaseException) -> str:
    cause = getattr(error, "cause", None) or error
    return next((line.strip() for line in str(cause).splitlines() if line.strip()), type(cause).__name__)


# ---- the pipeline, in the cluster ------------------------------------------------------------------


def _read_block(table: Any, *, column: str | None, limit: int) -> Iterator[Any]:
    """The pictures of some entries, in tables of a few, with a last line for each shard."""
    for line in table.column("entry").to_pylist():
        entry, skip = pickle.loads(line)
        yield from _read_entry(entry, frozenset(skip), column, limit)


@dataclass(frozen=True, slots=True)
class _LastLine:
    """What follows the last image of a shard.

    Attributes:
        source: as of its images.
        stamp: likewise.
        end: None if it could not be read to its end.
    """

    source: str
    stamp: str
    end: ShardEnd | None

    def row(self) -> dict[str, Any]:
        """As it comes back to the process that records it."""
        line = {"source": self.source, "stamp": self.stamp}
        if self.end is None:
            return line | {"position": 0, "state": _BROKEN, "about": "{}"}
        about = json.dumps(dataclasses.asdict(self.end.passed))
        return line | {"position": self.end.pictures, "state": _FINISHED, "about": about}


def _read_entry(entry: Entry, skip: frozenset[int], column: str | None, limit: int) -> Iterator[Any]:
    ends: list[ShardEnd] = []
    pictures = read(
        entry,
        lambda picture: picture.position in skip,
        column=column,
        limit=limit,
        finished=ends.append,
    )
    for batch in batches(fetched(pictures, limit), BATCH_PICTURES, BATCH_BYTES):
        yield _pickled(batch)
    if entry.is_shard:
        yield _pickled([_LastLine(printable(entry.path), entry.stamp, ends[0] if ends else None)])


def _pickled(things: Sequence[Picture | _LastLine]) -> Any:
    pyarrow = package("pyarrow", "--engine ray", "ray")
    lines = [pickle.dumps(thing) for thing in things]
    return pyarrow.table({"picture": pyarrow.array(lines, pyarrow.large_binary())})


class _Looker:
    """An actor: its process looks after another that does the work, as a picture may be the death of that.

    So a picture that kills is told from a machine that is lost, which is Ray's to mend. Carriers and plans
    stay warm in between.
    """

    def __init__(self, job: ScanJob) -> None:
        self._pool = Pool(job, 1)
        self._pyarrow = package("pyarrow", "--engine ray", "ray")

    def look(self, pictures: list[Picture]) -> Work:
        """Look at pictures."""
        return self._pool.work_through(pictures)


class _Actor(_Looker):
    """From pictures to what came of them, for the process that records it."""

    def __call__(self, table: Any) -> Any:
        """A line per image, and a last one for a shard."""
        everything = [pickle.loads(line.as_buffer()) for line in table.column("picture")]
        work = self.look([picture for picture in everything if isinstance(picture, Picture)])
        results = iter(work.results)
        lines = []
        for picture in everything:
            if isinstance(picture, _LastLine):
                lines.append(picture.row())
                continue
            line = {"source": picture.source, "position": picture.position, "stamp": picture.stamp}
            result = next(results)
            about = {"row": result.row, "seconds": work.seconds, "size": picture.size}
            work.seconds = {}  # told once
            lines.append(line | {"state": result.state, "about": json.dumps(about)})
        text, number = self._pyarrow.string(), self._pyarrow.int64()
        kinds = {"source": text, "position": number, "stamp": text, "state": text, "about": text}
        return self._pyarrow.Table.from_pylist(lines, schema=self._pyarrow.schema(list(kinds.items())))


class _DatasetActor(_Looker):
    """From encoded pictures to rows of the table."""

    def __call__(self, table: Any) -> Any:
        """Rows of what came of a table with ``path`` and ``bytes``."""
        pictures = [
            Picture(printable(path), data=data.as_py(), error="" if data.is_valid else "there are no bytes")
            for path, data in zip(table.column("path").to_pylist(), table.column("bytes"), strict=True)
        ]
        rows = [result.row for result in self.look(pictures).results]
        return self._pyarrow.Table.from_pylist(rows, schema=arrow_schema(SCAN_COLUMNS))
