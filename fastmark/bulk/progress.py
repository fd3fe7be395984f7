"""Progress: how far, how fast, how long still; and the summary at the end."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from fastmark.bulk.sources import Named, can_be_read_twice, entries
from fastmark.bulk.walk import Walk
from fastmark.errors import FastmarkError

_SECONDS_A_LINE = 0.5


@dataclass(slots=True)
class Summary:
    """What a run over many images came to.

    Attributes:
        counts: images by state, those of earlier runs that were gone on with included: "detected",
            "possible", "absent", "marked", "error".
        resumed: how many of them were done before this run.
        others: files passed over because they are not images.
        unopened: the names of the first archives, of kinds that are not opened: zip, 7z, rar, tar.zst, ...
        unopened_count: how many there are in all.
        complete: false if the run was stopped before the end; the same call goes on.
        seconds: that this run took.
        output: the table that was written; empty if rows went elsewhere.
        stages: seconds of work by stage, over all workers.
        remarks: what else is worth knowing, a sentence each.
    """

    counts: dict[str, int] = field(default_factory=dict)
    resumed: int = 0
    others: int = 0
    unopened: list[str] = field(default_factory=list)
    unopened_count: int = 0
    complete: bool = True
    seconds: float = 0.0
    output: str = ""
    stages: dict[str, float] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    @property
    def pictures(self) -> int:
        """How many there are in all."""
        return sum(self.counts.values())

    @property
    def errors(self) -> int:
        """How many came to nothing."""
        return self.counts.get("error", 0)

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON values."""
        return {"pictures": self.pictures, **dataclasses.asdict(self)}

    def table(self, states: Sequence[str]) -> str:
        """Lines for people, ``states`` being those that are shown though there may be none."""
        this_run = self.pictures - self.resumed
        rate = f"{this_run / self.seconds:.1f} images per second" if self.seconds and this_run else ""
        lines = [("images", self.pictures, f"{self.resumed} of them by earlier runs" if self.resumed else "")]
        lines += [(state, self.counts.get(state, 0), "") for state in (*states, "error")]
        if self.others:
            lines.append(("other files", self.others, "not images, passed over"))
        if self.unopened_count:
            more = ", ..." if self.unopened_count > len(self.unopened) else ""
            lines.append(("not opened", self.unopened_count, f"archives: {', '.join(self.unopened)}{more}"))
        text = [f"{name:<12}{count:>12,}  {note}".rstrip() for name, count, note in lines]
        text.append(f"{'seconds':<12}{self.seconds:>12,.1f}  {rate}".rstrip())
        return "\n".join([*text, *self.remarks])


class Meter:
    """Shows progress on stderr: tqdm's bar where tqdm is installed, else a line; or nothing."""

    def __init__(self, states: Sequence[str], *, shown: bool) -> None:
        """Begin to count.

        Args:
            states: whose numbers are worth showing.
            shown: false to show nothing.
        """
        self._states = states
        self._done = 0
        self._work = 0
        self._work_bytes = 0
        self._counts: dict[str, int] = {}
        self._start = self._shown = time.monotonic()
        self._bar: Any = None
        self._plain = shown and importlib.util.find_spec("tqdm") is None
        if shown and not self._plain:
            tqdm = importlib.import_module("tqdm")
            self._bar = tqdm.tqdm(unit=" images", file=sys.stderr, dynamic_ncols=True)
        self.expected = Expected()

    @property
    def active(self) -> bool:
        """Whether anything is shown."""
        return self._plain or self._bar is not None

    def passed(self, count: int) -> None:
        """Count images that are done already."""
        self._done += count

    def worked(self, state: str, size: int) -> None:
        """Count an image of this run and its encoded bytes."""
        self._done += 1
        self._work += 1
        self._work_bytes += size
        self._counts[state] = self._counts.get(state, 0) + 1

    def show(self) -> None:
        """Bring what is shown up to date, unless that was just done."""
        now = time.monotonic()
        if not self.active or now - self._shown < _SECONDS_A_LINE:
            return
        self._shown = now
        mean = self._work_bytes / self._work if self._work else 0.0
        total = self.expected.pictures(mean)
        counts = ", ".join(f"{self._counts[s]} {s}" for s in (*self._states, "error") if self._counts.get(s))
        if self._bar is not None:
            self._bar.total = None if total is None else max(total, self._done)
            self._bar.set_postfix_str(counts, refresh=False)
            self._bar.update(self._done - self._bar.n)
            self._bar.refresh()
        else:
            sys.stderr.write(f"\r{self.line(now, total)}{', ' if counts else ''}{counts}\033[K")
            sys.stderr.flush()

    def line(self, now: float, total: int | None) -> str:
        """How far, how fast and how long still, in words."""
        rate = self._work / max(now - self._start, 1e-9)
        of = "" if total is None else f" of {max(total, self._done)}"
        text = f"{self._done}{of} images, {rate:.1f} per second"
        if total is None or not self._work:
            return text
        left = round(max(total - self._done, 0) / rate)
        return f"{text}, {left // 3600}:{left // 60 % 60:02d}:{left % 60:02d} left"

    def close(self) -> None:
        """End the line."""
        if not self.active:
            return
        self._shown = 0.0
        self.show()
        if self._bar is not None:
            self._bar.close()
        else:
            sys.stderr.write("\n")


class Expected:
    """How many images there will be, counted by a walk of its own through the sources."""

    def __init__(self) -> None:
        """Nothing is known."""
        self._files = 0
        self._shard_bytes = 0
        self._known = False

    def count(self, sources: Sequence[Named], walk: Walk) -> None:
        """Begin to count, in a thread of its own; shards are not opened: their size tells how many."""
        if not all(can_be_read_twice(source) for source in sources):
            return

        def walked() -> None:
            try:
                for entry in entries(sources, walk):
                    if entry.is_shard:
                        self._shard_bytes += entry.size
                    else:
                        self._files += 1
            except (FastmarkError, OSError):
                return
            self._known = True

        threading.Thread(target=walked, name="counter", daemon=True).start()

    def pictures(self, mean_bytes: float) -> int | None:
        """All of them, taking those of shards to be of ``mean_bytes`` each; None if not known yet."""
        if not self._known or (self._shard_bytes and not mean_bytes):
            return None
        return self._files + (round(self._shard_bytes / mean_bytes) if self._shard_bytes else 0)
