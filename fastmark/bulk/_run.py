"""The frame of a run, which scan and embed share: journal and recorder, Ctrl-C, workers, and the end."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from fastmark._checks import check_count, check_message_bits
from fastmark._threads import usable_cores
from fastmark.bulk.fetching import batches
from fastmark.bulk.journal import Journal, journal_errors
from fastmark.bulk.outputs import Output
from fastmark.bulk.progress import Summary
from fastmark.bulk.recorder import Recorder
from fastmark.bulk.records import Item
from fastmark.bulk.runner import BATCH_BYTES, BATCH_ITEMS, Stop, run
from fastmark.bulk.sources import Named
from fastmark.bulk.tables import Columns
from fastmark.bulk.walk import Walk
from fastmark.bulk.worker import Job
from fastmark.codec.key import AnyKey, distinct_keys
from fastmark.errors import KeyFormatError


@dataclass(slots=True)
class Run:
    """A run that has begun.

    Attributes:
        record: takes the results.
        stop: set by Ctrl-C and SIGTERM.
        summary: complete once the ``with`` of :func:`recorded` has ended.
    """

    record: Recorder
    stop: Stop
    summary: Summary = field(default_factory=Summary)

    def expect(self, sources: Sequence[Named]) -> None:
        """Count the images of the sources in the background, where progress is shown."""
        if self.record.meter.active:
            self.record.meter.expected.count(sources, Walk(excluded=self.record.walk.excluded))

    def work_through(self, items: Iterable[Item], job: Job, workers: int) -> None:
        """Do a job with all items, in ``workers`` processes of this machine; 0 for one per core."""
        groups = batches(items, BATCH_ITEMS, BATCH_BYTES)
        run(groups, job, workers or usable_cores(), self.record.take, self.record.tick, self.stop)


@contextlib.contextmanager
def recorded(
    target: str,
    table: str,
    journal: Journal | None,
    states: Sequence[str],
    columns: Columns,
    *,
    column: str | None,
    quiet: bool,
    leave_out: str = "",
    open_output: Callable[[], Output] | None = None,
) -> Iterator[Run]:
    """Run the body of a ``with``; then write the table, or after an error keep everything recorded so far.

    The body is stopped by Ctrl-C and SIGTERM through ``Run.stop``; the table then has the rows so far.

    Args:
        target: the output that the user names, which the journal belongs to.
        table: path of the table of rows.
        journal: closed at the end, or by an error; None if rows are printed.
        states: those that progress shows the counts of.
        columns: of the table.
        column: of Parquet files, as the user named it.
        quiet: print nothing; otherwise progress goes to stderr where that is a terminal.
        leave_out: the state whose rows are not written, unless the public watermark was detected there.
        open_output: opens the output of images.

    Raises:
        OutputError: if the journal, the output or the table cannot be written.
    """
    try:
        output = open_output() if open_output else None
    except BaseException:
        if journal is not None:
            journal.close()
        raise
    shown = not quiet and sys.stderr.isatty()
    record = Recorder(
        journal, states, columns, leave_out=leave_out, output=output, shown=shown, column=column
    )
    this = Run(record, Stop(quiet=quiet))
    try:
        with journal_errors(target), this.stop.listening():
            yield this
    except BaseException:
        record.abandon()
        raise
    with journal_errors(target):
        this.summary = record.finish(table, complete=not this.stop.asked.is_set())


def check_numbers(message_bits: int, max_pixels: int, workers: int) -> None:
    """Raise ValueError for numbers out of range; InvalidMessageError for ``message_bits``."""
    check_message_bits(message_bits)
    check_count("max_pixels", max_pixels, 1)
    check_count("workers", workers, 0)


def sought(keys: AnyKey | Iterable[AnyKey], *, public: bool) -> tuple[AnyKey, ...]:
    """The distinct keys of a job; none is needed if the public watermark is looked for.

    Raises:
        KeyFormatError: if there is nothing to look for, or if two detector keys contradict each other.
        TypeError: if one of ``keys`` is none.
    """
    given = tuple(keys) if isinstance(keys, Iterable) else (keys,)
    if given:
        return distinct_keys(given)
    if not public:
        raise KeyFormatError(
            "nothing to look for: give a key (--key FILE), or look for the public watermark, which needs none"
            " (--public, in Python public=True)"
        )
    return ()
