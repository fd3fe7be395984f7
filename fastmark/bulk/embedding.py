"""Marking: sources through readers and workers into a folder or a tar, and a manifest of them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import PurePath

from fastmark._checks import MAX_PIXELS, check_strength, message_bytes
from fastmark.bulk.journal import Journal, begun, journal_path, journalled
from fastmark.bulk.kinds import PICTURES, ending_of
from fastmark.bulk.messages import Constant, Counter, Messages, messages_of
from fastmark.bulk.outputs import check_output_of, open_output_of
from fastmark.bulk.progress import Summary
from fastmark.bulk.readers import Picture, batches, fetched, most_bytes, read
from fastmark.bulk.recorder import Recorder
from fastmark.bulk.runner import BATCH_BYTES, BATCH_PICTURES, Stop, default_workers, run
from fastmark.bulk.scanning import check_numbers
from fastmark.bulk.sources import AnyPath, Named, check_sources, entries, named
from fastmark.bulk.storage import exists, printable
from fastmark.bulk.tables import MANIFEST_COLUMNS, check_table
from fastmark.bulk.walk import Walk
from fastmark.bulk.worker import EmbedJob
from fastmark.errors import InvalidMessageError, OutputError
from fastmark.images.decoding import PREFIX_BYTES, format_by_prefix
from fastmark.images.encoding import check_encoding
from fastmark.key import Key

STATES = ("marked",)


def embed(
    sources: AnyPath | Sequence[AnyPath],
    output: AnyPath,
    key: Key,
    messages: str | bytes | int = "random",
    *,
    lists: AnyPath | Sequence[AnyPath] = (),
    message_bits: int = 64,
    strength: float = 1.0,
    verify: bool = False,
    manifest: AnyPath | None = None,
    format: str | None = None,
    quality: int | None = None,
    subsampling: str | None = None,
    lossless: bool | None = None,
    column: str | None = None,
    max_pixels: int = MAX_PIXELS,
    workers: int = 0,
    force: bool = False,
    quiet: bool = True,
) -> Summary:
    """Mark many images, and write a manifest with a row for each.

    Structure is kept: what lies below a source folder, or in a tar, gets the same place and name below the
    output; with several sources, in a folder for each. A tar made of tars has their other members too, so
    that a WebDataset sample keeps its captions; but tars in them become folders, and archives that are not
    opened are left out. An image that cannot be marked is a row with its error, and is not in the output.
    The same call again goes on where an earlier one stopped, as with ``scan``; a tar that is finished is
    left alone.

    Args:
        sources: as for ``scan``.
        lists: as for ``scan``.
        output: a folder, or a file that ends in .tar; a URL of a folder where fsspec is installed.
        key: to mark with.
        messages: "random" (one per image, recorded in the manifest), "counter" (0, 1, 2, ...), a path: of a
            text file with one in hex per line, in the order of the sources (folders are read by name), or of
            a .csv or .jsonl with ``source`` and ``message``, as manifests have; bytes or an int: the same
            message for all.
        message_bits: 16, 32, 64, 96 or 128.
        strength: amplitude relative to the default; 0.25..4.
        verify: read every image back from its encoded bytes; one whose message is not proven is an error.
        manifest: .jsonl, .csv or .parquet; None for ``manifest.jsonl`` in the folder, or beside a tar.
        format: "png", "jpeg", "webp", "avif", "tiff", "bmp" or "ppm"; None for each image's own.
        quality: 1..100, for JPEG, WebP and AVIF; None for 95.
        subsampling: "4:4:4", "4:2:2" or "4:2:0", for JPEG and AVIF; None for "4:4:4".
        lossless: for WebP; None for False.
        column: of Parquet files, that holds encoded images, as for ``scan``; None to find it.
        max_pixels: files of more are not decoded but reported.
        workers: processes; 0 for one per core.
        force: write into a folder that holds files, replacing those of the same names; replace a tar.
        quiet: print nothing; otherwise progress goes to stderr where that is a terminal.

    Returns:
        How many were marked. Its ``errors`` tells how many were not: each is a row.

    Raises:
        SourceError, OutputError, MissingPackageError: as ``scan``.
        InvalidMessageError: if a message does not fit ``message_bits``.
        ValueError: if a number is out of range.
    """
    given, target = named(sources, lists), os.fspath(output)
    check_numbers(message_bits, max_pixels, workers)
    check_strength(strength)
    check_encoding(format, quality=quality, subsampling=subsampling, lossless=lossless)
    encoding = {
        "quality": 95 if quality is None else quality,
        "subsampling": subsampling or "4:4:4",
        "lossless": bool(lossless),
    }
    check_sources(given, column)
    check_output_of(target, known=begun(target), force=force)
    table = _manifest_path(target) if manifest is None else os.fspath(manifest)
    if manifest is not None:
        check_table(table)
    if exists(table) and not begun(target) and not force:
        raise OutputError(f"the manifest {printable(table)} exists already: choose another, or --force")
    constant = None if isinstance(messages, str) else message_bytes(messages, message_bits)
    chosen = messages_of(messages, message_bits) if isinstance(messages, str) else None
    settings = {
        "verb": "embed",
        "keys": [key.id],
        "messages": printable(str(messages)) if constant is None else constant.hex(),
        "message_bits": message_bits,
        "strength": strength,
        "format": format,
        **encoding,
        "verify": verify,
        "max_pixels": max_pixels,
        "column": column,
        "manifest": printable(table),
    }
    journal = Journal(journal_path(target), settings, output=target, force=force)
    record: Recorder | None = None
    try:
        place = open_output_of(target, journal)
        if chosen is None:
            chosen = Counter(message_bits, journal) if constant is None else Constant(constant)
        shown = not quiet and sys.stderr.isatty()
        record = Recorder(journal, STATES, MANIFEST_COLUMNS, output=place, shown=shown, column=column)
        job = EmbedJob(key, message_bits, strength, max_pixels, format, encoding, verify, place.folder)
        stop = Stop(quiet=quiet)
        if journal.get("tar_finished", False):
            record.keep_all()
        else:
            if record.meter.active:
                record.meter.expected.count(given, Walk(excluded=place.excluded))
            companions = place.ordered
            queue = _Queue(given, column, max_pixels, record, chosen, journal, job, companions=companions)
            with journalled(target), stop.listening():
                groups = batches(queue.pictures(), BATCH_PICTURES, BATCH_BYTES)
                run(groups, job, workers or default_workers(), record.take, record.tick, stop)
    except BaseException:
        if record is not None:
            record.abandon()
        else:
            journal.close()
        raise
    with journalled(target):
        return record.finish(table, complete=not stop.asked.is_set())


class _Queue:
    """Every image that has to be marked, with its message and its place."""

    def __init__(
        self,
        sources: Sequence[Named],
        column: str | None,
        max_pixels: int,
        record: Recorder,
        messages: Messages,
        journal: Journal,
        job: EmbedJob,
        *,
        companions: bool,
    ) -> None:
        self._sources = sources
        self._column = column
        self._limit = most_bytes(max_pixels)
        self._record = record
        self._messages = messages
        self._journal = journal
        self._ending = None if job.format is None else ending_of(job.format)
        self._companions = companions
        self._folder = job.folder
        self._index = -1

    def pictures(self) -> Iterator[Picture]:
        """In the order of the sources, numbered."""
        for order, picture in enumerate(fetched(self._all(), self._limit)):
            picture.order = order
            yield picture

    def _all(self) -> Iterator[Picture]:
        for entry in entries(self._sources, self._record.walk):
            if not self._messages.in_order and self._record.is_finished(entry):
                continue
            if entry.kind == "error":
                self._index += 1
            for picture in read(
                entry,
                self._is_done,
                column=self._column,
                limit=self._limit,
                companions=self._companions,
                finished=self._record.finisher(entry),
            ):
                self._prepare(picture)
                yield picture

    def _is_done(self, picture: Picture) -> bool:
        if not picture.companion:
            self._index += 1
        done = self._is_there(picture) and self._record.is_done(picture)
        if done and self._messages.in_order and not picture.companion:
            self._check_order(picture)
        return done

    def _check_order(self, picture: Picture) -> None:
        """Raise OutputError if a picture says another message than its line does now."""
        said = self._journal.row(picture)["message"]
        if said != self._messages.of(picture, self._index):
            raise OutputError(
                f"{picture.source} says {said}, and its line of the messages is another now: images have"
                " been added or removed, or lines changed; use a .csv with source and message instead"
            )

    def _is_there(self, picture: Picture) -> bool:
        """Whether a picture that the journal knows can be in the output, which somebody may have cleared."""
        if self._journal.fresh or self._folder is None:
            return True
        name = self._name_of(picture)
        return not PurePath(name).suffix or os.path.exists(os.path.join(self._folder, name))

    def _prepare(self, picture: Picture) -> None:
        if picture.error:
            return
        if not picture.companion:
            picture.name = self._name_of(picture)
            try:
                picture.message = self._messages.of(picture, self._index)
            except InvalidMessageError as error:
                picture.error = str(error)
                return
        if not self._journal.claim(picture.name, picture):
            picture.error = f"its place in the output, {printable(picture.name)}, is another image's"

    def _name_of(self, picture: Picture) -> str:
        """Its name below the output; without an ending where neither its source nor ``format`` gives one."""
        path = PurePath(picture.name)
        if self._ending is not None:
            return str(path.with_suffix("") if path.suffix.lower() in PICTURES else path) + self._ending
        if picture.data is None or path.suffix:
            return picture.name
        # rows of Parquet files have numbers only
        return f"{path}{ending_of(format_by_prefix(picture.data[:PREFIX_BYTES]) or '')}"


def _manifest_path(target: str) -> str:
    plain = target.rstrip("/\\")
    if plain.lower().endswith(".tar"):
        return f"{plain[: -len('.tar')]}.manifest.jsonl"
    return f"{plain}/manifest.jsonl"
