"""Recorder: takes results as they come, to the journal, the output, the summary and the meter."""

from __future__ import annotations

import contextlib
import dataclasses
import sqlite3
import sys
import time
from collections.abc import Callable, Sequence

from fastmark.bulk.journal import Journal, Result
from fastmark.bulk.outputs import InOrder, Output
from fastmark.bulk.progress import Meter, Summary
from fastmark.bulk.readers import Picture, ShardEnd
from fastmark.bulk.storage import printable
from fastmark.bulk.tables import Columns, json_line, write_table
from fastmark.bulk.walk import Entry, Passed, Walk
from fastmark.bulk.worker import Work, add_seconds
from fastmark.errors import OutputError


class Recorder:
    """One run's results.

    Attributes:
        journal: None where rows go to stdout.
        summary: grows with the run.
        meter: shows it.
        walk: what the sources leave out.
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
        """Begin.

        Args:
            journal: where rows go; without one, they are printed as JSON Lines.
            states: whose numbers are worth showing.
            columns: of the table.
            leave_out: the state whose rows are not written.
            output: of marked images.
            shown: whether progress is.
            column: of Parquet files, that the user has named.
        """
        self.journal = journal
        self.summary = Summary()
        self.meter = Meter(states, shown=shown)
        self.walk = Walk(excluded=output.excluded if output else ())
        self._columns = columns
        self._leave_out = leave_out
        self._output = output
        self._column = column
        self._start = time.monotonic()
        self._in_order = InOrder(self._keep) if output and output.ordered else None

    # ---- before a picture is worked on ---------------------------------------------------------------

    def is_done(self, picture: Picture) -> bool:
        """Whether a picture needs no more work; if so, it is counted."""
        done = self.journal is not None and self.journal.is_done(picture)
        if done and not picture.companion:
            self._pass(1)
        return done

    def is_finished(self, entry: Entry) -> bool:
        """Whether that holds of all pictures of a shard; if so, they are counted."""
        if self.journal is None or not entry.is_shard:
            return False
        source = printable(entry.path)
        pictures = self.journal.finished(source, entry.stamp)
        if pictures is None:
            return False
        self.walk.add(Passed(**self.journal.get(f"passed {source}", {})))
        self._pass(pictures)
        return True

    def finisher(self, entry: Entry) -> Callable[[ShardEnd], None]:
        """What ``read`` is to call at the end of an entry."""

        def finished(end: ShardEnd) -> None:
            if entry.is_shard:
                self.finish_shard(printable(entry.path), entry.stamp, end)

        return finished

    def finish_shard(self, source: str, stamp: str, end: ShardEnd) -> None:
        """Note how many images a shard has, and what else."""
        self.walk.add(end.passed)
        if self.journal is not None:
            self.journal.finish(source, stamp, end.pictures)
            self.journal.set(f"passed {source}", dataclasses.asdict(end.passed))

    def done_of(self, entry: Entry) -> list[int]:
        """Which pictures of a shard need no more work; they are counted."""
        if self.journal is None:
            return []
        positions = self.journal.keep(printable(entry.path), entry.stamp)
        self._pass(len(positions))
        return positions

    def keep_all(self) -> None:
        """Have every picture of the journal stay as it is."""
        assert self.journal is not None
        self._pass(self.journal.keep_all())

    def _pass(self, count: int) -> None:
        self.summary.resumed += count
        self.meter.passed(count)

    # ---- afterwards ----------------------------------------------------------------------------------

    def take(self, batch: list[Picture], work: Work) -> int:
        """Take what came of a batch; how many batches need not be thought of any more."""
        add_seconds(self.summary.stages, work.seconds)
        for picture, result in zip(batch, work.results, strict=True):
            self.meter.worked(result.state, picture.size)
        if self._in_order:
            return self._in_order.take(batch[0].order, work.results)
        self._keep(work.results)
        return 1

    def _keep(self, results: list[Result]) -> None:
        for result in results:
            if self._output and result.data is not None:
                self._output.put(result)
            if self.journal is not None:
                self.journal.add(result)
            else:
                counts = self.summary.counts
                counts[result.state] = counts.get(result.state, 0) + 1
                if result.row is not None and result.state != self._leave_out:
                    sys.stdout.write(json_line(result.row, self._columns))
        if self.journal is None:
            sys.stdout.flush()

    def tick(self) -> None:
        """Make lasting what has come, now and then, and show progress."""
        if self.journal is not None and self.journal.commit_is_due():
            self._commit()
        self.meter.show()

    def _commit(self) -> None:
        assert self.journal is not None
        try:
            if self._output:
                self._output.settle()
        except BaseException:
            self.journal.roll_back()  # it must not know of what may not be there
            raise
        self.journal.commit()

    def abandon(self) -> None:
        """End where something went wrong; what has come is kept, as far as it can be."""
        self.meter.close()
        if self.journal is not None:
            # the first error is the one to be told
            with contextlib.suppress(OutputError, sqlite3.Error):
                self._commit()
            with contextlib.suppress(OutputError):
                if self._output:
                    self._output.close(complete=False)
            with contextlib.suppress(sqlite3.Error):
                self.journal.close()

    def finish(self, path: str, *, complete: bool) -> Summary:
        """Write the table of all rows, or if the run was stopped of those there are; end."""
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
                if self._output:
                    self._output.close(complete=complete)
                rows = self.journal.rows(of_this_run=complete, leave_out=self._leave_out)
                write_table(path, self._columns, rows)
                self.summary.output = printable(path)
                self.summary.counts = self.journal.counts(of_this_run=complete)
                self.summary.counts.pop("companion", None)
            finally:
                self.journal.close()
        self.summary.seconds = time.monotonic() - self._start
        return self.summary
