"""Progress: images done, images per second and time left; and the summary at the end."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import sys
import threading
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fastmark.bulk.sources import Named, can_be_read_twice, entries
from fastmark.bulk.walk import Walk
from fastmark.errors import FastmarkError

_SHOW_SECONDS = 0.5


@dataclass(slots=True)
class Summary:
    """Totals of a run over many images.

    Attributes:
        counts: images per state, those of the earlier runs that this one resumed included: "detected",
            "possible", "absent", "marked", "kept", "error".
        resumed: how many of them were done by earlier runs.
        others: files passed over because they are not images.
        unopened: the names of the first 20 archives of kinds that are not opened: zip, 7z, rar, tar.zst, ...
        unopened_count: how many such archives there are in all.
        complete: false if the run was stopped before the end; the same call resumes it.
        seconds: duration of this run.
        output: the table that was written; empty if rows went elsewhere.
        stages: seconds of work by stage, over all workers.
        remarks: other things worth knowing, one sentence each.
        public: how many images carry the public watermark, if it was looked for.
        public_says: how many of them say each thing: flags, "not readable", "nothing known"; resolvers
            whatever their numbers.
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
    public: int = 0
    public_says: dict[str, int] = field(default_factory=dict)

    @property
    def images(self) -> int:
        """Number of images in all states."""
        return sum(self.counts.values())

    @property
    def pictures(self) -> int:
        """Deprecated name of ``images``; removed in the next version."""
        warnings.warn("Summary.pictures is now called images", DeprecationWarning, stacklevel=2)
        return self.images

    @property
    def errors(self) -> int:
        """Number of images that failed."""
        return self.counts.get("error", 0)

    def add_public(self, row: Mapping[str, Any]) -> None:
        """Count what the public watermark of a row's image says."""
        says = row.get("public_says")
        if says:
            self.public += 1
            for words in says.split(","):
                word = "resolver" if words.startswith("resolver ") else words
                self.public_says[word] = self.public_says.get(word, 0) + 1

    def to_dict(self) -> dict[str, Any]:
        """All attributes, and ``images``, as JSON values; for one more version ``pictures``, its old name."""
        return {"images": self.images, "pictures": self.images, **dataclasses.asdict(self)}

    def table(self, states: Sequence[str]) -> str:
        """Lines for people; ``states`` are shown even where their count is 0."""
        this_run = self.images - self.resumed
        rate = f"{this_run / self.seconds:.1f} images per second" if self.seconds and this_run else ""
        lines = [("images", self.images, f"{self.resumed} of them by earlier runs" if self.resumed else "")]
        lines += [(state, self.counts.get(state, 0), "") for state in (*states, "error")]
        if self.public:
            said = sorted(self.public_says.items(), key=lambda pair: (-pair[1], pair[0]))
            lines.append(("public", self.public, ", ".join(f"{count} {words}" for words, count in said)))
        if self.others:
            lines.append(("other files", self.others, "not images, passed over"))
        if self.unopened_count:
            more = ", ..." if self.unopened_count > len(self.unopened) else ""
            lines.append(("not opened", self.unopened_count, f"archives: {', '.join(self.unopened)}{more}"))
        text = [f"{name:<12}{count:>12,}  {note}".rstrip() for name, count, note in lines]
        text.append(f"{'seconds':<12}{self.seconds:>12,.1f}  {rate}".rstrip())
        return "\n".join([*text, *self.remarks])


class Meter:
    """Shows progress on stderr: tqdm's bar where tqdm is installed, otherwise a line; or nothing."""

    def __init__(self, states: Sequence[str], *, shown: bool) -> None:
        """Start to count.

        Args:
            states: those whose counts are shown.
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
        """Count images that earlier runs have done."""
        self._done += count

    def worked(self, state: str, size: int) -> None:
        """Count an image of this run and its encoded bytes."""
        self._done += 1
        self._work += 1
        self._work_bytes += size
        self._counts[state] = self._counts.get(state, 0) + 1

    def show(self) -> None:
        """Update the display, at most every ``_SHOW_SECONDS``."""
        now = time.monotonic()
        if not self.active or now - self._shown < _SHOW_SECONDS:
            return
        self._shown = now
        mean = self._work_bytes / self._work if self._work else 0.0
        total = self.expected.images(mean)
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
        """Images done, images per second and time left, in words."""
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
    """The number of images to expect, counted by a separate walk through the sources."""

    def __init__(self) -> None:
        """Start with nothing counted."""
        self._files = 0
        self._shard_bytes = 0
        self._known = False

    def count(self, sources: Sequence[Named], walk: Walk) -> None:
        """Start to count, in a separate thread; shards are not opened: their size is the estimate."""
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

    def images(self, mean_bytes: float) -> int | None:
        """The expected number, if images in shards have ``mean_bytes`` each; None if not known yet."""
        if not self._known or (self._shard_bytes and not mean_bytes):
            return None
        return self._files + (round(self._shard_bytes / mean_bytes) if self._shard_bytes else 0)
