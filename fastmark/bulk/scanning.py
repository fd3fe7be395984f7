"""Scanning: sources through readers and workers into a table."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from typing import Literal

from fastmark._checks import MAX_PIXELS, MESSAGE_BITS
from fastmark.bulk.journal import Journal, begun, journal_path, journalled
from fastmark.bulk.progress import Summary
from fastmark.bulk.readers import Picture, batches, fetched, most_bytes, read
from fastmark.bulk.recorder import Recorder
from fastmark.bulk.runner import BATCH_BYTES, BATCH_PICTURES, Stop, default_workers, run
from fastmark.bulk.sources import AnyPath, Named, check_sources, entries, named
from fastmark.bulk.storage import exists, package, printable
from fastmark.bulk.tables import SCAN_COLUMNS, check_table
from fastmark.bulk.walk import Walk
from fastmark.bulk.worker import ScanJob
from fastmark.errors import FastmarkError, InvalidMessageError, OutputError
from fastmark.key import Key

STATES = ("detected", "possible", "absent")
STDOUT = "-"


def scan(
    sources: AnyPath | Sequence[AnyPath],
    output: AnyPath,
    keys: Key | Sequence[Key],
    *,
    lists: AnyPath | Sequence[AnyPath] = (),
    message_bits: int = 64,
    deep: bool = False,
    hits_only: bool = False,
    column: str | None = None,
    max_pixels: int = MAX_PIXELS,
    workers: int = 0,
    engine: Literal["local", "ray"] = "local",
    address: str | None = None,
    force: bool = False,
    quiet: bool = True,
) -> Summary:
    """Look for marks in many images, and write a table with a row for each.

    The same call again goes on where an earlier one stopped, whatever stopped it: a journal beside the
    output remembers what was done. Once all is done, it looks at what is new, has changed or could not be
    read before. Ctrl-C and SIGTERM let the images in hand be finished, then write the rows there are.

    A script that calls this does so under ``if __name__ == "__main__"``: its worker processes import it.

    Args:
        sources: folders (with all below them), images, tar shards (with tars in them), Parquet files, and
            files named .txt or .lst, which are lists as below; URLs of these where fsspec is installed; "-"
            is a tar or a list on standard input. May be empty if there are ``lists``.
        lists: text files of any name with a path or URL per line; "-" is standard input.
        output: .jsonl, .csv or .parquet, which appears whole or not at all, by source; "-" prints JSON Lines
            as they come, and cannot be resumed.
        keys: one or more; a row reports the most certain one's.
        message_bits: 16, 32, 64, 96 or 128: length of the messages looked for.
        deep: search on, for images somebody tried to clean; slow.
        hits_only: leave out rows of images that carry no mark, never those with errors.
        column: of Parquet files, that holds encoded images, with dots down to a field (``image.bytes``);
            None to find it.
        max_pixels: files of more are not decoded but reported.
        workers: processes; 0 for one per core.
        engine: "local", or "ray" for a Ray cluster (``pip install 'fastmark-watermark[ray]'``).
        address: of the cluster, as ``ray.init`` takes it; None for a Ray on this machine.
        force: replace the output, and forget what was done.
        quiet: print nothing; otherwise progress goes to stderr where that is a terminal.

    Returns:
        What was found. Its ``errors`` tells how many images could not be read: each is a row.

    Raises:
        SourceError: if a source is of no known kind, a key file, or holds no images; SourceNotFoundError if
            it is missing.
        InvalidMessageError: if ``message_bits`` is none of those lengths.
        OutputError: if the output cannot be written, exists already, or was begun with other settings.
        MissingPackageError: if pyarrow, fsspec or Ray is needed and not installed.
    """
    given = named(sources, lists)
    target = os.fspath(output)
    by_id = {key.id: key for key in ([keys] if isinstance(keys, Key) else keys)}
    if not by_id:
        raise FastmarkError("no key to look for: give at least one")
    check_numbers(message_bits, max_pixels, workers)
    check_sources(given, column)
    if engine == "ray":
        package("ray.data", "--engine ray", "ray")
    job = ScanJob(tuple(by_id.values()), message_bits, deep, max_pixels)
    journal = None if target == STDOUT else _journal(target, job, column, force=force)
    stop = Stop(quiet=quiet)
    record = Recorder(
        journal,
        STATES,
        SCAN_COLUMNS,
        leave_out="absent" if hits_only else "",
        shown=not quiet and sys.stderr.isatty(),
        column=column,
    )
    try:
        if record.meter.active:
            record.meter.expected.count(given, Walk())
        with journalled(target), stop.listening():
            if engine == "ray":
                from fastmark.bulk.ray import run as run_on_ray

                files = entries(given, record.walk)
                run_on_ray(files, job, column, workers, address, record, stop)
            else:
                groups = batches(_pictures(given, column, max_pixels, record), BATCH_PICTURES, BATCH_BYTES)
                run(groups, job, workers or default_workers(), record.take, record.tick, stop)
    except BaseException:
        record.abandon()
        raise
    with journalled(target):
        return record.finish(target, complete=not stop.asked.is_set())


def _pictures(
    sources: Sequence[Named], column: str | None, max_pixels: int, record: Recorder
) -> Iterator[Picture]:
    """Every image that has to be looked at."""
    limit = most_bytes(max_pixels)

    def all_of_them() -> Iterator[Picture]:
        for entry in entries(sources, record.walk):
            if not record.is_finished(entry):
                done, finished = record.is_done, record.finisher(entry)
                yield from read(entry, done, column=column, limit=limit, finished=finished)

    return fetched(all_of_them(), limit)


def _journal(target: str, job: ScanJob, column: str | None, *, force: bool) -> Journal:
    check_table(target)
    if exists(target) and not force and not begun(target):
        raise OutputError(
            f"{printable(target)} exists already, not of an earlier run: choose another output, or --force"
        )
    settings = {
        "verb": "scan",
        "keys": sorted(key.id for key in job.keys),
        "message_bits": job.message_bits,
        "deep": job.deep,
        "max_pixels": job.max_pixels,
        "column": column,
    }
    return Journal(journal_path(target), settings, output=target, force=force)


def check_numbers(message_bits: int, max_pixels: int, workers: int) -> None:
    """Raise ValueError for numbers that mean nothing; it is InvalidMessageError for ``message_bits``."""
    if message_bits not in MESSAGE_BITS:
        raise InvalidMessageError(f"message_bits must be one of {MESSAGE_BITS}, not {message_bits}")
    if max_pixels < 1:
        raise ValueError(f"max_pixels must be 1 or more, not {max_pixels}")
    if workers < 0:
        raise ValueError(f"workers must be 0 or more, not {workers}")
