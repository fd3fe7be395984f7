"""Scanning: sources through readers and workers into a table."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Literal

from fastmark._checks import MAX_PIXELS_EACH
from fastmark._imports import package
from fastmark.bulk._run import check_numbers, recorded, sought
from fastmark.bulk.fetching import fetched
from fastmark.bulk.journal import Journal, has_journal, journal_path
from fastmark.bulk.progress import Summary
from fastmark.bulk.ray import run as run_on_ray
from fastmark.bulk.readers import read
from fastmark.bulk.recorder import Recorder
from fastmark.bulk.records import Item
from fastmark.bulk.sources import AnyPath, Named, check_sources, entries, named
from fastmark.bulk.storage import exists, printable
from fastmark.bulk.tables import SCAN_COLUMNS, check_table
from fastmark.bulk.worker import ScanJob
from fastmark.codec.key import AnyKey
from fastmark.errors import OutputError
from fastmark.images.reading import most_bytes

STATES = ("detected", "possible", "absent")
STDOUT = "-"


def scan(
    sources: AnyPath | Sequence[AnyPath],
    output: AnyPath,
    keys: AnyKey | Sequence[AnyKey] = (),
    *,
    public: bool = False,
    lists: AnyPath | Sequence[AnyPath] = (),
    message_bits: int = 64,
    deep: bool = False,
    hits_only: bool = False,
    column: str | None = None,
    max_pixels: int = MAX_PIXELS_EACH,
    workers: int = 0,
    engine: Literal["local", "ray"] = "local",
    address: str | None = None,
    force: bool = False,
    quiet: bool = True,
) -> Summary:
    """Look for watermarks in many images, and write a table with a row for each.

    The same call again resumes an earlier one that was stopped: a journal beside the output records the
    images that are done. Once all are done, it scans only images that are new, have changed or could not be
    read before. Ctrl-C and SIGTERM let the images in hand be finished; then the rows so far are written.

    A script must call this under ``if __name__ == "__main__"``: its worker processes import the script.

    Args:
        sources: folders (with all below them), images, tar shards (with tars in them), Parquet files, and
            files named .txt or .lst, which are lists as below; URLs of these where fsspec is installed; "-"
            is a tar or a list on standard input. May be empty if there are ``lists``.
        lists: text files of any name with a path or URL per line; "-" is standard input.
        output: .jsonl, .csv or .parquet, which appears whole or not at all, sorted by source; "-" prints
            JSON Lines as they come, and cannot be resumed.
        keys: secret keys or detector keys; a row reports the most certain key's result. Without any, rows
            are of the public watermark, which must then be looked for.
        public: look for the public watermark too, and tell in ``public`` and ``public_says`` what it says;
            its key is one more that p-values count.
        message_bits: length of the messages to look for: 16, 32, 64, 96 or 128.
        deep: search longer, for images that somebody tried to clean; slow.
        hits_only: leave out rows of images without a watermark, that of a key or the public one; errors are
            always written.
        column: of Parquet files: the one that holds encoded images, with dots down to a field
            (``image.bytes``); None to find it.
        max_pixels: images with more pixels than this are not decoded but reported.
        workers: processes; 0 for one per core.
        engine: "local", or "ray" for a Ray cluster (``pip install 'fastmark-watermark[ray]'``).
        address: of the cluster, as ``ray.init`` takes it; None for a Ray on this machine.
        force: start over: replace the output and its journal.
        quiet: print nothing; otherwise progress goes to stderr where that is a terminal.

    Returns:
        The counts of images per state. ``errors`` is the number that could not be read: each is a row.

    Raises:
        KeyFormatError: if there is nothing to look for, or if two detector keys contradict each other.
        SourceError: if a source is of no known kind, a key file, or holds no images; SourceNotFoundError if
            it is missing.
        InvalidMessageError: if ``message_bits`` is none of those lengths.
        OutputError: if the output cannot be written, exists already, or was started with different settings.
        MissingPackageError: if pyarrow, fsspec or Ray is needed and not installed.
    """
    given, target = named(sources, lists), os.fspath(output)
    looked_for = sought(keys, public=public)
    check_numbers(message_bits, max_pixels, workers)
    check_sources(given, column)
    if engine == "ray":
        package("ray.data", "--engine ray", "ray")
    job = ScanJob(looked_for, message_bits, deep, max_pixels, public)
    journal = None if target == STDOUT else _journal(target, job, column, force=force)
    leave_out = "absent" if hits_only else ""
    with recorded(
        target, target, journal, STATES, SCAN_COLUMNS, column=column, quiet=quiet, leave_out=leave_out
    ) as run:
        run.expect(given)
        if engine == "ray":
            files = entries(given, run.record.walk)
            run_on_ray(files, job, column, workers, address, run.record, run.stop)
        else:
            run.work_through(_items(given, column, max_pixels, run.record), job, workers)
    return run.summary


def _items(sources: Sequence[Named], column: str | None, max_pixels: int, record: Recorder) -> Iterator[Item]:
    """Every image that is not done, in the order of the sources."""
    limit = most_bytes(max_pixels)

    def all_of_them() -> Iterator[Item]:
        for entry in entries(sources, record.walk):
            if not record.pass_shard(entry):
                skip, finished = record.pass_done, record.finisher(entry)
                yield from read(entry, skip, column=column, limit=limit, finished=finished)

    return fetched(all_of_them(), limit)


def _journal(target: str, job: ScanJob, column: str | None, *, force: bool) -> Journal:
    check_table(target)
    if exists(target) and not force and not has_journal(target):
        raise OutputError(
            f"{printable(target)} exists already and is not from an earlier run:"
            " choose another output, or --force"
        )
    settings = {
        "verb": "scan",
        "keys": sorted(key.id for key in job.keys),  # a detector key's own, as it sees less than its key
        "message_bits": job.message_bits,
        "deep": job.deep,
        "max_pixels": job.max_pixels,
        "column": column,
        **({"public": True} if job.public else {}),  # journals of earlier versions do not speak of it
    }
    return Journal(journal_path(target), settings, output=target, force=force)
