"""Embedding: sources through readers and workers into a folder or a tar, and a manifest of the images."""

from __future__ import annotations

import datetime as dt
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import PurePath
from typing import Any

from fastmark._checks import (
    MAX_PIXELS_EACH,
    OnMarked,
    check_flag,
    check_on_marked,
    check_strength,
    message_bytes,
)
from fastmark.bulk._run import check_numbers, recorded
from fastmark.bulk.fetching import fetched
from fastmark.bulk.journal import Journal, has_journal, journal_path
from fastmark.bulk.kinds import IMAGE_ENDINGS, ending_of
from fastmark.bulk.messages import RANDOM, Constant, Counter, Drawn, Listed, Messages, Random, messages_of
from fastmark.bulk.outputs import check_output_of, open_output_of
from fastmark.bulk.progress import Summary
from fastmark.bulk.readers import read
from fastmark.bulk.recorder import Recorder
from fastmark.bulk.records import Item
from fastmark.bulk.refusals import check_companions, public_alone
from fastmark.bulk.sources import AnyPath, Named, check_sources, entries, named
from fastmark.bulk.storage import exists, printable
from fastmark.bulk.tables import MANIFEST_COLUMNS, check_table
from fastmark.bulk.worker import EmbedJob
from fastmark.codec.key import Key, check_secret_key
from fastmark.codec.public import PublicCode
from fastmark.companions import NOTHING, Companions, record_beside
from fastmark.errors import InvalidMessageError, OutputError
from fastmark.images.encoding import DEFAULTS, check_encoding
from fastmark.images.formats import PREFIX_BYTES, format_by_prefix
from fastmark.images.reading import most_bytes

STATES = ("marked", "kept")


def embed(
    sources: AnyPath | Sequence[AnyPath],
    output: AnyPath,
    key: Key | None,
    messages: str | bytes | int | None = None,
    *,
    lists: AnyPath | Sequence[AnyPath] = (),
    message_bits: int = 64,
    strength: float = 1.0,
    bind: bool = True,
    on_marked: OnMarked = "replace",
    verify: bool = False,
    manifest: AnyPath | None = None,
    format: str | None = None,
    quality: int | None = None,
    subsampling: str | None = None,
    lossless: bool | None = None,
    column: str | None = None,
    max_pixels: int = MAX_PIXELS_EACH,
    workers: int = 0,
    force: bool = False,
    quiet: bool = True,
    companions: Companions | None = None,
    public: PublicCode | None = None,
) -> Summary:
    """Watermark many images, and write a manifest with a row for each.

    Structure is kept: files below a source folder or in a tar get the same place and name below the output;
    with several sources, in a folder for each. A tar made of tars has their other members too, so
    that a WebDataset sample keeps its captions; but tars in them become folders, and archives that are not
    opened are left out. An image that cannot be watermarked is a row with its error, and is not in the
    output. The same call again resumes an earlier one, as with ``scan``; a tar that is complete stays as it
    is.

    Args:
        sources: as for ``scan``.
        lists: as for ``scan``.
        output: a folder, or a file that ends in .tar; a URL of a folder where fsspec is installed.
        key: the secret key to embed with; None for the public watermark alone.
        messages: None for one per image, drawn by the registry of ``companions``, "random" without one;
            "random" (one per image, recorded in the manifest), "counter" (0, 1, 2, ...), a path: of a
            text file with one in hex per line, in the order of the sources (folders are read by name), or of
            a .csv or .jsonl with ``source`` and ``message``, as manifests have; bytes or an int: the same
            message for all.
        message_bits: 16, 32, 64, 96 or 128.
        strength: amplitude relative to the default; 0.25..4.
        bind: tie every watermark to what its image shows.
        on_marked: the answer to an earlier watermark of this key: "replace", "keep" or "refuse". An image
            that is kept is written unchanged, in its very bytes if its format stays; its row has the state
            "kept" and that watermark's message. One that is refused is a row with its error. A message that
            replaced another is read back from the encoded bytes, or the row is an error.
        verify: read every image back from its encoded bytes; one whose message cannot be read is an error.
        manifest: .jsonl, .csv or .parquet; None for ``manifest.jsonl`` in the folder, or beside a tar.
        format: "png", "jpeg", "webp", "avif", "heif", "jxl", "tiff", "bmp", "ppm"; None for each image's own.
        quality: 1..100, for JPEG, WebP, AVIF, HEIC and JPEG XL; None for 95.
        subsampling: "4:4:4", "4:2:2" or "4:2:0", for JPEG, AVIF and HEIC; None for "4:4:4".
        lossless: for WebP and JPEG XL; None for False.
        column: of Parquet files: the one that holds encoded images, as for ``scan``; None to find it.
        max_pixels: images with more pixels than this are not decoded but reported.
        workers: processes; 0 for one per core.
        force: write into a folder that holds files, replacing those of the same names; replace a tar.
        quiet: print nothing; otherwise progress goes to stderr where that is a terminal.
        companions: what goes beside every watermark: a registry's entry, XMP, content credentials. What is
            reserved for an image that cannot be watermarked is given back; what a killed run reserved stays
            "reserved", and its image gets another id when the run is resumed, that of a list the same.

        public: what the public watermark says that is embedded beside the messages, or alone.

    Returns:
        The counts of images per state. ``errors`` is the number that were not watermarked: each is a row.

    Raises:
        SourceError, OutputError, MissingPackageError: as ``scan``.
        InvalidMessageError: if a message does not fit ``message_bits``, or a registry's images all get one;
            without a key, if ``public`` is missing, or there are messages or a registry.
        RecordError: if the record of ``companions`` contradicts ``public``.
        RegistryError: if the registry cannot be reached or is not initialised.
        CredentialError: if the signer has a callback, or ``format`` cannot be signed.
        TypeError: if ``key`` is no Key; a detector key cannot embed.
        ValueError: if a number is out of range.
    """
    given, target = named(sources, lists), os.fspath(output)
    beside = NOTHING if companions is None else companions
    record_beside(beside.record, public)
    if key is None:
        key, messages = public_alone(public, messages, message_bits, beside)
        public = None
    check_secret_key(key)
    check_numbers(message_bits, max_pixels, workers)
    check_strength(strength)
    check_flag("bind", bind)
    check_on_marked(on_marked)
    options: dict[str, Any] = {"quality": quality, "subsampling": subsampling, "lossless": lossless}
    check_encoding(format, **options)
    encoding = {name: DEFAULTS[name] if value is None else value for name, value in options.items()}
    job = EmbedJob(
        key,
        message_bits,
        strength,
        max_pixels,
        format,
        encoding,
        verify,
        None,
        bind,
        on_marked,
        beside,
        public=public,
    )
    check_sources(given, column)
    check_output_of(target, known=has_journal(target), force=force)
    table = _manifest(target, manifest, force=force)
    check_companions(beside, format, messages)
    chosen: Messages | None
    if messages is None:
        chosen, wording = (
            (Drawn(), "drawn") if beside.registry is not None else (Random(message_bits), RANDOM)
        )
    elif isinstance(messages, str):
        chosen, wording = messages_of(messages, message_bits), printable(messages)
    else:
        chosen = Constant(message_bytes(messages, message_bits))
        wording = chosen.of_all
    if beside.registry is not None:
        beside.registry.check()
    journal = _journal(target, table, job, wording, column, force=force)
    if isinstance(chosen, Listed) and beside.registry is not None and not journal.fresh:
        # what a killed run reserved for an image of the list is this run's; another run's is younger
        job = replace(job, abandoned_before=_next_second())
    with recorded(
        target,
        table,
        journal,
        STATES,
        MANIFEST_COLUMNS,
        column=column,
        quiet=quiet,
        open_output=lambda: open_output_of(target, journal),
    ) as run:
        if journal.get("tar_finished", False):
            run.record.pass_all()
        else:
            if chosen is None:
                chosen = Counter(message_bits, journal)
            run.expect(given)
            queue = _Queue(given, column, job, run.record, journal, chosen)
            run.work_through(queue.items(), queue.job, workers)
    return run.summary


def _next_second() -> dt.datetime:
    """Wait for the next second to begin, and return it.

    NOTE: entries have whole seconds, and a run can be resumed within the one in which it was killed.
    """
    now = dt.datetime.now(dt.UTC)
    begins = now.replace(microsecond=0) + dt.timedelta(seconds=1)
    while now < begins:
        time.sleep((begins - now).total_seconds())
        now = dt.datetime.now(dt.UTC)
    return begins


def _manifest(target: str, manifest: AnyPath | None, *, force: bool) -> str:
    """The path of the manifest; OutputError if it cannot be written or is not from an earlier run."""
    plain = target.rstrip("/\\")
    if manifest is not None:
        table = os.fspath(manifest)
        check_table(table)
    elif plain.lower().endswith(".tar"):
        table = f"{plain[: -len('.tar')]}.manifest.jsonl"
    else:
        table = f"{plain}/manifest.jsonl"
    if exists(table) and not has_journal(target) and not force:
        raise OutputError(f"the manifest {printable(table)} exists already: choose another, or --force")
    return table


def _journal(
    target: str, table: str, job: EmbedJob, messages: str, column: str | None, *, force: bool
) -> Journal:
    settings = {
        "verb": "embed",
        "keys": [job.key.id],
        "messages": messages,
        "message_bits": job.message_bits,
        "strength": job.strength,
        "format": job.format,
        **job.encoding,
        "verify": job.verify,
        "max_pixels": job.max_pixels,
        "column": column,
        "manifest": printable(table),
    }
    # NOTE: as they are in the journals of fastmark 0.2 if they are the defaults
    if not job.bind:
        settings["bind"] = job.bind
    if job.on_marked != "replace":
        settings["on_marked"] = job.on_marked
    if job.public is not None:
        settings["public"] = job.public.hex
    settings |= job.companions.fingerprints()
    return Journal(journal_path(target), settings, output=target, force=force)


class _Queue:
    """Every image that is not done, with its message and its place in the output.

    Attributes:
        job: what the workers do with the items, writing into the folder of the output if it has one.
    """

    def __init__(
        self,
        sources: Sequence[Named],
        column: str | None,
        job: EmbedJob,
        record: Recorder,
        journal: Journal,
        messages: Messages,
    ) -> None:
        assert record.output is not None
        self.job = replace(job, folder=record.output.folder)
        self._companions = record.output.ordered
        self._sources = sources
        self._column = column
        self._limit = most_bytes(job.max_pixels)
        self._record = record
        self._messages = messages
        self._journal = journal
        self._ending = None if job.format is None else ending_of(job.format)
        self._index = -1

    def items(self) -> Iterator[Item]:
        """The items in the order of the sources, numbered."""
        for order, item in enumerate(fetched(self._all(), self._limit)):
            yield replace(item, order=order)

    def _all(self) -> Iterator[Item]:
        for entry in entries(self._sources, self._record.walk):
            if not self._messages.in_order and self._record.pass_shard(entry):
                continue
            if entry.kind == "error":
                self._index += 1
            for item in read(
                entry,
                self._pass_done,
                column=self._column,
                limit=self._limit,
                companions=self._companions,
                finished=self._record.finisher(entry),
            ):
                yield self._prepared(item)

    def _pass_done(self, item: Item) -> bool:
        """Move on to an item, and count it if it is done; false if it is not. Called once per item."""
        if not item.companion:
            self._index += 1
        done = self._may_be_there(item) and self._record.pass_done(item)
        if done and self._messages.in_order and not item.companion:
            self._check_order(item)
        return done

    def _check_order(self, item: Item) -> None:
        """Raise OutputError if a watermarked image has another message than its line does now."""
        row = self._journal.row(item)
        embedded = row["message"]
        if row["state"] != "kept" and embedded != self._messages.of(item, self._index):
            raise OutputError(
                f"{item.source} carries {embedded}, but its line of the messages has changed: images"
                " have been added or removed, or lines changed; use a .csv with source and message instead"
            )

    def _may_be_there(self, item: Item) -> bool:
        """Whether the output can hold an item that the journal knows: somebody may have cleared it."""
        if self._journal.fresh or self.job.folder is None:
            return True
        name = self._name_of(item)
        return not PurePath(name).suffix or os.path.exists(os.path.join(self.job.folder, name))

    def _prepared(self, item: Item) -> Item:
        """The item with its name and message, or with the error that it has none."""
        if item.error:
            return item
        if not item.companion:
            item = replace(item, name=self._name_of(item))
            try:
                item = replace(item, message=self._messages.of(item, self._index))
            except InvalidMessageError as error:
                return replace(item, error=str(error))
        if not self._journal.claim_name(item.name, item):
            return replace(item, error=f"another image already has the output name {printable(item.name)}")
        return item

    def _name_of(self, item: Item) -> str:
        """Its name below the output; without an ending where neither its source nor ``format`` gives one."""
        path = PurePath(item.name)
        if self._ending is not None:
            return str(path.with_suffix("") if path.suffix.lower() in IMAGE_ENDINGS else path) + self._ending
        if item.data is None or path.suffix:
            return item.name
        # rows of Parquet files have numbers only
        return f"{path}{ending_of(format_by_prefix(item.data[:PREFIX_BYTES]) or '')}"
