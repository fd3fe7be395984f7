"""Scanning on a Ray cluster, with Ray Data: read, ``map_batches`` over actors that hold warm carriers.

There are two entrances. With ``fastmark scan --engine ray``, Ray reads and scans, and the rows come back to
the calling process, which keeps the same journal and table as the local engine: the same rows, and resumable.
:func:`scan_dataset` is for your own pipelines: a Dataset of images in, a Dataset of rows out, which every
machine of the cluster writes by itself (``.write_parquet``).
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Iterator, Sequence
from typing import Any

from fastmark._checks import MAX_PIXELS_EACH
from fastmark._imports import package
from fastmark._threads import usable_cores
from fastmark.bulk._run import sought
from fastmark.bulk.ray_tasks import (
    BATCH_BYTES,
    BATCH_ITEMS,
    Actor,
    DatasetActor,
    LastLine,
    block_of,
    read_block,
    records_of,
)
from fastmark.bulk.recorder import Recorder
from fastmark.bulk.records import STDIN, Entry, Item, Work, add_seconds, failed
from fastmark.bulk.runner import Stop
from fastmark.bulk.storage import printable
from fastmark.bulk.worker import ScanJob
from fastmark.codec.key import AnyKey
from fastmark.errors import FastmarkError, SourceError
from fastmark.images.reading import most_bytes

ROUND_ENTRIES = 200_000
"""Files that are handed to Ray at a time: each round has a pipeline of its own."""

ROUND_BYTES = 64 << 30
"""Bytes of shards, likewise: the positions that have come back are in memory until the round ends."""

ENTRIES_PER_TASK = 32
"""Files that one reading task opens and one actor scans; shards have a task each."""

_READING_CPUS = 0.1
_REACH_SECONDS = 10.0


def scan_dataset(
    dataset: Any,
    keys: AnyKey | Sequence[AnyKey] = (),
    *,
    public: bool = False,
    actors: int = 0,
    message_bits: int = 64,
    deep: bool = False,
    max_pixels: int = MAX_PIXELS_EACH,
) -> Any:
    """Look for watermarks in every image of a Ray Dataset.

    Args:
        dataset: with the columns ``path`` and ``bytes`` (encoded images), as
            ``ray.data.read_binary_files(..., include_paths=True)`` makes them.
        keys: secret keys or detector keys; a row reports the most certain key's result. Without any, rows
            are of the public watermark, which must then be looked for.
        public: look for the public watermark too, as ``fastmark.bulk.scan``.
        actors: at most so many, one core each; 0 for as many as the cluster has cores for.
        message_bits: length of the messages to look for: 16, 32, 64, 96 or 128.
        deep: search longer, for images that somebody tried to clean; slow.
        max_pixels: images with more pixels than this are not decoded but reported.

    Returns:
        A Dataset with the columns of ``fastmark.bulk.tables.SCAN_COLUMNS``, ``source`` being the path.
    """
    ray = _ray("scan_dataset")
    job = ScanJob(sought(keys, public=public), message_bits, deep, max_pixels, public)
    return dataset.map_batches(
        DatasetActor,
        fn_constructor_args=(job,),
        batch_format="pyarrow",
        batch_size=BATCH_ITEMS,
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
    """Scan entries on Ray and record the result of every image.

    Ray repeats work that is lost with a process or a machine. An image that crashes its decoder is a row with
    that error, as with the local engine.

    Raises:
        MissingPackageError: without Ray.
        SourceError: for a tar on standard input, which other processes cannot read.
        FastmarkError: if the cluster cannot be reached, or gives up.
    """
    ray = _ray("--engine ray")
    with _connected(ray, address, workers):
        while todo := _next_round(entries, record, stop):
            try:
                for batch, work in _scanned(ray, todo, job, column, workers, record):
                    record.take(batch, work)
                    record.tick()
                    if stop.asked.is_set():
                        return
            except ray.exceptions.RayError as error:
                raise FastmarkError(
                    f"Ray gave up: {_first_line(error)}; run the same command again to resume"
                ) from error
            if lost := todo.lost():
                raise FastmarkError(
                    f"Ray lost {lost} files of an archive; run the same command again to scan them"
                )


def _ray(purpose: str) -> Any:
    """Ray with Ray Data."""
    package("ray.data", purpose, "ray")
    return package("ray", purpose, "ray")


class _Round:
    """Some entries, and the records of them that have come back.

    Attributes:
        entries: in order.
        done: of every source, the positions that need no more work.
        whole: of every shard that was read to its end, how many items it has; None for one that could not
            be, which has a row with the error.
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
        if entry.kind == "image":
            return done > 0
        return source in self.whole and self.whole[source] in (done, None)


def _next_round(entries: Iterator[Entry], record: Recorder, stop: Stop) -> _Round:
    """The next entries that are not done; those that cannot be opened are recorded as errors."""
    some = _Round()
    size = 0
    for entry in entries:
        if entry.kind == "error":
            item = Item(printable(entry.path), stamp=entry.stamp)
            record.take([item], Work([failed(item, entry.error)]))
            continue
        if entry.path == STDIN:
            raise SourceError("a tar on standard input cannot be read with --engine ray: give its path")
        source = printable(entry.path)
        if record.pass_shard(entry) or source in some.done:
            continue
        if entry.kind == "image":
            if record.pass_done(Item(source, stamp=entry.stamp)):
                continue
        else:
            some.done[source] = set(record.pass_items(entry))
            size += entry.size
        some.entries.append(entry)
        if len(some.entries) >= ROUND_ENTRIES or size >= ROUND_BYTES or stop.asked.is_set():
            break
    return some


# ---- the pipeline, at this end ---------------------------------------------------------------------


def _scanned(
    ray: Any, todo: _Round, job: ScanJob, column: str | None, workers: int, record: Recorder
) -> Iterator[tuple[list[Item], Work]]:
    """Run the pipeline over a round; the items and their results, as they come."""
    cores = workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
    blocks = list(_blocks(todo))
    dataset = (
        ray.data.from_arrow(blocks)
        .map_batches(
            read_block,
            fn_kwargs={"column": column, "limit": most_bytes(job.max_pixels)},
            batch_format="pyarrow",
            batch_size=None,
            num_cpus=_READING_CPUS,
        )
        .map_batches(
            Actor,
            fn_constructor_args=(job,),
            batch_format="pyarrow",
            batch_size=None,
            compute=ray.data.ActorPoolStrategy(min_size=min(cores, len(blocks)), max_size=workers or None),
            num_cpus=1 - _READING_CPUS,
        )
    )
    for table in dataset.iter_batches(batch_format="pyarrow", batch_size=None):
        batch, work = [], Work()
        for came in records_of(table):
            if isinstance(came, LastLine):
                todo.whole[came.source] = came.end.items if came.end else None
                if came.end:
                    record.finish_shard(came.source, came.stamp, came.end)
                continue
            result = came.result
            done = todo.done.setdefault(result.source, set())
            if result.position not in done:  # Ray may have repeated it
                done.add(result.position)
                add_seconds(work.seconds, came.seconds)
                batch.append(Item(result.source, result.position, stamp=result.stamp, size=came.size))
                work.results.append(result)
        if batch:
            yield batch, work


def _blocks(todo: _Round) -> Iterator[Any]:
    """The entries of a round as tables for Ray: some images each, or one shard."""
    files = [entry for entry in todo.entries if entry.kind == "image"]
    groups = [files[i : i + ENTRIES_PER_TASK] for i in range(0, len(files), ENTRIES_PER_TASK)]
    groups += [[entry] for entry in todo.entries if entry.is_shard]
    for group in groups:
        yield block_of([(entry, sorted(todo.done.get(printable(entry.path), ()))) for entry in group])


@contextlib.contextmanager
def _connected(ray: Any, address: str | None, workers: int) -> Iterator[None]:
    """Use the Ray that runs in this process, the one at an address, or one started for this call."""
    with _settings(ray):
        if ray.is_initialized():
            yield
            return
        local = {} if address else {"num_cpus": workers or usable_cores(), "include_dashboard": False}
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
    """Ray Data with small blocks, and nothing printed by Ray."""
    context = ray.data.DataContext.get_current()
    wanted = {"enable_progress_bars": False, "target_max_block_size": BATCH_BYTES}
    before = {name: getattr(context, name) for name in wanted}
    logger = logging.getLogger("ray.data")
    level = logger.level
    logger.setLevel(logging.ERROR)
    # Ray's C++ part complains about how Ray Data makes actors; it reads this when it is loaded
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
