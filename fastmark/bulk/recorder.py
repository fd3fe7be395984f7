"""Recorder: takes results as they come, to the journal, the output, the summary and the meter.

Methods named ``pass_...`` find out whether something was done by an earlier run; if so they count it and make
it part of this run. They are called once per item, shard or run.
"""

from __future__ import annotations

import contextlib
import dataclasses
import sqlite3
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from fastmark.bulk.journal import Journal
from fastmark.bulk.outputs import InOrder, Output
from fastmark.bulk.progress import Meter, Summary
from fastmark.bulk.records import Entry, Item, Passed, Result, ShardEnd, Work, add_seconds
from fastmark.bulk.storage import printable
from fastmark.bulk.tables import Columns, json_line, write_table
from fastmark.bulk.walk import Walk
from fastmark.errors import OutputError


class Recorder:
    """One run's results.

    Attributes:
        journal: None where rows go to stdout.
        output: of watermarked images; None for a scan.
        summary: grows with the run.
        meter: shows progress.
        walk: counts the files that the sources leave out.
    """

    def __init__(
        self,
        journal: Journal | None,
        states: Sequence[str],
        columns: Columns,
        *,
        leave_out: str = "",
        output: Output | None = None,
        shown: bool = False,
        column: str | None = None,
    ) -> None:
        """Start to measure the time.

        Args:
            journal: where rows go; without one, they are printed as JSON Lines.
            states: those that progress shows the counts of.
            columns: of the table.
            leave_out: the state whose rows are not written, unless the public watermark was detected there.
            output: of watermarked images.
            shown: whether to show progress.
            column: of Parquet files, as the user named it.
        """
        self.journal = journal
        self.summary = Summary()
        self.meter = Meter(states, shown=shown)
        self.walk = Walk(excluded=output.excluded if output else ())
        self._columns = columns
        self._leave_out = leave_out
        self.output = output
        self._column = column
        self._start = time.monotonic()
        self._in_order = InOrder(self._keep) if output and output.ordered else None

    # ---- before an item is worked on ---------------------------------------------------------------

    def pass_done(self, item: Item) -> bool:
        """Count an item that is done; false if it is not."""
        done = self.journal is not None and self.journal.claim_done(item)
        if done and not item.companion:
            self._pass(1)
        return done

    def pass_shard(self, entry: Entry) -> bool:
        """Count the images of a shard whose items are all done; false if they are not, or it is no shard."""
        if self.journal is None or not entry.is_shard:
            return False
        source = printable(entry.path)
        images = self.journal.adopt_shard(source, entry.stamp)
        if images is None:
            return False
        self.walk.add(Passed(**self.journal.get(f"passed {source}", {})))
        self._pass(images)
        return True

    def finisher(self, entry: Entry) -> Callable[[ShardEnd], None]:
        """A function for ``read`` to call at the end of an entry."""

        def finished(end: ShardEnd) -> None:
            if entry.is_shard:
                self.finish_shard(printable(entry.path), entry.stamp, end)

        return finished

    def finish_shard(self, source: str, stamp: str, end: ShardEnd) -> None:
        """Record how many items a shard has, and the files in it that were passed over."""
        self.walk.add(end.passed)
        if self.journal is not None:
            self.journal.finish_shard(source, stamp, end.items)
            self.journal.set(f"passed {source}", dataclasses.asdict(end.passed))

    def pass_items(self, entry: Entry) -> list[int]:
        """Count the items of a shard that are done; their positions."""
        if self.journal is None:
            return []
        positions = self.journal.adopt_items(printable(entry.path), entry.stamp)
        self._pass(len(positions))
        return positions

    def pass_all(self) -> None:
        """Count every item of the journal as done, failed ones included."""
        assert self.journal is not None
        self._pass(self.journal.adopt_all())

    def _pass(self, count: int) -> None:
        self.summary.resumed += count
        self.meter.passed(count)

    def _told(self, row: dict[str, Any]) -> dict[str, Any]:
        self.summary.add_public(row)
        return row

    # ---- afterwards ----------------------------------------------------------------------------------

    def take(self, batch: list[Item], work: Work) -> int:
        """Take the results of a batch; the number of batches fully handled (frees that many slots)."""
        add_seconds(self.summary.stages, work.seconds)
        for item, result in zip(batch, work.results, strict=True):
            self.meter.worked(result.state, item.size)
        if self._in_order:
            return self._in_order.take(batch[0].order, work.results)
        self._keep(work.results)
        return 1

    def _keep(self, results: list[Result]) -> None:
        for result in results:
            if self.output and result.data is not None:
                self.output.put(result)
            if self.journal is not None:
                self.journal.add(result)
            else:
                counts, row = self.summary.counts, result.row
                counts[result.state] = counts.get(result.state, 0) + 1
                if row is not None and (result.state != self._leave_out or row.get("public_says")):
                    self.summary.add_public(row)
                    sys.stdout.write(json_line(row, self._columns))
        if self.journal is None:
            sys.stdout.flush()

    def tick(self) -> None:
        """Commit if it is time to, and show progress."""
        if self.journal is not None and self.journal.commit_is_due():
            self._commit()
        self.meter.show()

    def _commit(self) -> None:
        assert self.journal is not None
        try:
            if self.output:
                self.output.settle()
        except BaseException:
            self.journal.roll_back()  # it must not have rows of images that may not be written
            raise
        self.journal.commit()

    def abandon(self) -> None:
        """End after an error; everything recorded so far is kept, as far as possible."""
        self.meter.close()
        if self.journal is not None:
            # the first error is the one to report
            with contextlib.suppress(OutputError, sqlite3.Error):
                self._commit()
            with contextlib.suppress(OutputError):
                if self.output:
                    self.output.close(complete=False)
            with contextlib.suppress(sqlite3.Error):
                self.journal.close()

    def finish(self, path: str, *, complete: bool) -> Summary:
        """Write the table and end.

        Args:
            path: of the table.
            complete: whether the run came to its end; the table of one that did not has the rows so far.
        """
        self.meter.close()
        self.summary.complete = complete
        self.summary.others = self.walk.others
        self.summary.unopened = list(self.walk.unopened)
        self.summary.unopened_count = self.walk.unopened_count
        if self._column is not None and self.walk.ended and not self.walk.parquets:
            self.summary.remarks.append(
                f"--column {printable(self._column)} had no effect: no Parquet file was among the sources"
            )
        if self.journal is not None:
            try:
                self._commit()
                if self.output:
                    self.output.close(complete=complete)
                rows = self.journal.rows(of_this_run=complete, leave_out=self._leave_out)
                write_table(path, self._columns, map(self._told, rows))
                self.summary.output = printable(path)
                self.summary.counts = self.journal.counts(of_this_run=complete)
                self.summary.counts.pop("companion", None)
            finally:
                self.journal.close()
        self.summary.seconds = time.monotonic() - self._start
        return self.summary
