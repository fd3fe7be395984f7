"""The run of a report: images handed to processes, rows kept in a journal, progress, and the figures."""

from __future__ import annotations

import contextlib
import datetime as dt
import importlib.metadata
import os
import platform
import secrets
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from fastmark._checks import MAX_PIXELS_EACH, check_count, check_message_bits, check_strength
from fastmark._threads import usable_cores
from fastmark._version import VERSION
from fastmark.bulk.journal import Journal, journal_errors, journal_path
from fastmark.bulk.progress import Expected, Meter
from fastmark.bulk.records import Item, Work
from fastmark.bulk.runner import Stop, run
from fastmark.codec.key import Key, check_secret_key
from fastmark.codec.public import PublicCode
from fastmark.errors import SourceError
from fastmark.records import format_time
from fastmark.reporting import quality
from fastmark.reporting.attacks import Extent, attacks_of
from fastmark.reporting.report import Report
from fastmark.reporting.sample import AnyPath, LeftOut, Sample, choose, nameless
from fastmark.reporting.trials import MEASURED, REFUSED, ReportJob

PACKAGES = ("numpy", "numba", "pillow", "pyfftw", "ssimulacra2")
"""Packages whose versions a report names; figures of one version are not mixed with those of another."""

MOST_NULL_KEYS = 1000

_LOOKED_AT = 200  # files of which the size is read for the estimate
# of a core of a server, found by benchmarks/reporting.py: seconds per image, and per megapixel
_SECONDS: dict[Extent, tuple[float, float]] = {"quick": (0.4, 1.3), "full": (0.9, 3.1)}
_SSIMULACRA2_SECONDS = 0.9  # per megapixel


def measure(
    images: AnyPath | Sequence[AnyPath],
    key: Key,
    *,
    lists: AnyPath | Sequence[AnyPath] = (),
    sample: int | None = None,
    seed: int | None = None,
    attacks: Extent = "quick",
    null_keys: int = 20,
    strength: float = 1.0,
    message_bits: int = 64,
    public: PublicCode | None = None,
    anonymous: bool = False,
    workers: int = 0,
    max_pixels: int = MAX_PIXELS_EACH,
    output: AnyPath | None = None,
    force: bool = False,
    quiet: bool = True,
) -> Report:
    """Watermark images in memory, attack and search them, and search their originals; nothing is written.

    Each image is watermarked with the key and a message of its own, and compared with its original. After
    each attack the message is read; and the unmarked original is searched for keys that were drawn anew.

    Args:
        images: image files, folders of them, lists of paths that end in .txt or .lst.
        key: the secret key.
        lists: text files of any name with a path per line.
        sample: how many of the images are drawn; None for all.
        seed: of the drawing, of the messages, keys and attacks; None for one by chance, which the report
            tells.
        attacks: "quick" for about half of the attacks, "full" for all.
        null_keys: how many keys each original is searched for, up to 1000; 0 for none.
        strength: amplitude relative to the default; 0.25..4.
        message_bits: length of the messages: 16, 32, 64, 96 or 128.
        public: what the public watermark says that is embedded beside; None embeds none.
        anonymous: leave the names of files and folders and the hashes of files out of the report.
        workers: processes; 0 for one per core. A script must call this under ``if __name__ == "__main__"``.
        max_pixels: images of more pixels are left out, and told.
        output: the report that will be written: finished images are kept in a journal beside it, and not
            measured again by the same call; None keeps nothing.
        force: start over, whatever the journal has.
        quiet: print nothing; otherwise progress goes to stderr where that is a terminal.

    Raises:
        KeyboardInterrupt: if it was stopped before the end; the journal is kept.
        SourceError: if there are no images, or none of them can be measured.
        OutputError: if the journal cannot be written, or was begun with different settings.
        TypeError, ValueError: if an argument is out of range.
    """
    check_secret_key(key)
    if attacks not in ("quick", "full"):
        raise ValueError(f"attacks must be quick or full, not {attacks!r}")
    if check_count("null_keys", null_keys, 0) > MOST_NULL_KEYS:
        raise ValueError(f"null_keys must be at most {MOST_NULL_KEYS}, not {null_keys}")
    if sample is not None:
        check_count("sample", sample, 1)
    settings = {
        "key": key.id,
        "message_bits": check_message_bits(message_bits),
        "strength": check_strength(strength),
        "public": None if public is None else public.hex,
        "attacks": attacks,
        "null_keys": null_keys,
        "max_pixels": check_count("max_pixels", max_pixels, 1),
    }
    workers = check_count("workers", workers, 0) or usable_cores()
    begun = format_time(dt.datetime.now(dt.UTC))
    with _kept(output, settings | {"seed": seed, "versions": versions()}, force=force) as kept:
        seed = kept.seed if seed is None else check_count("seed", seed, 0)
        chosen = choose(images, lists, size=sample, seed=seed)
        if not chosen.items:
            first = _first_reason(chosen.left_out)
            raise SourceError(f"no image was found in the sources{first}: name images or folders of them")
        job = ReportJob(
            key, message_bits, strength, public, attacks, null_keys, seed, max_pixels, chosen.others()
        )
        rows = _rows(chosen, job, kept, workers, quiet=quiet)
    measured = [row for row in rows if row["state"] == MEASURED]
    if not measured:
        raise SourceError(f"none of {len(rows)} images could be measured{_first_reason(chosen.left_out)}")
    sampled = {"sample": sample, "seed": seed, "begun": begun, "anonymous": anonymous}
    return Report.of(measured, chosen, key, settings | sampled, machine(workers))


def _first_reason(left_out: Sequence[LeftOut]) -> str:
    return f": {left_out[0].name}: {left_out[0].reason}" if left_out else ""


def _rows(chosen: Sample, job: ReportJob, kept: Kept, workers: int, *, quiet: bool) -> list[dict[str, Any]]:
    """Measure what the journal lacks; the rows of all images in their order, and who is left out."""
    missing = [item for item in chosen.items if not kept.is_done(item)]
    workers = min(workers, max(1, len(missing)))
    if not quiet:
        _tell(len(chosen.items), missing, job, workers)
    meter = Meter((MEASURED, REFUSED), shown=not quiet and sys.stderr.isatty())
    meter.expected = _Known(len(chosen.items))
    meter.passed(len(chosen.items) - len(missing))
    stop = Stop(quiet=quiet)

    def record(batch: list[Item], work: Work) -> int:
        for item, result in zip(batch, work.results, strict=True):
            kept.add(item, result.state, result.row or {}, result)
            meter.worked(result.state, item.size)
        return 1

    def tick() -> None:
        kept.commit()
        meter.show()

    try:
        with stop.listening():
            run(([item] for item in missing), job, workers, record, tick, stop)
    finally:
        meter.close()
    if stop.asked.is_set():
        raise KeyboardInterrupt
    rows = [kept.row(item) | {"name": chosen.names[item.source]} for item in chosen.items]
    for item, row in zip(chosen.items, rows, strict=True):
        if row["state"] != MEASURED:
            reason = nameless(row.get("reason") or row["error"], item.path or "")
            state = REFUSED if row["state"] == REFUSED else "error"
            chosen.left_out.append(LeftOut(row["name"], reason, state))
    return rows


def _tell(images: int, missing: Sequence[Item], job: ReportJob, workers: int) -> None:
    """Say on stderr what will be done, and how long that may take."""
    attacks = len(attacks_of(job.extent))
    done = f", {images - len(missing)} of them measured by earlier runs" if len(missing) < images else ""
    minutes = seconds_of(missing, job.extent) / workers / 60
    time = f"{minutes:.0f} minutes" if minutes >= 1.5 else f"{max(10, round(6 * minutes) * 10)} seconds"
    named = "1 image" if images == 1 else f"{images} images"
    processes = "1 process" if workers == 1 else f"{workers} processes"
    print(
        f"fastmark: {named}{done}, {attacks} attacks, {job.null_keys} keys for the originals: about {time}"
        f" with {processes}",
        file=sys.stderr,
    )


def seconds_of(items: Sequence[Item], extent: Extent) -> float:
    """Estimate how long images will take on one core, from the sizes that some of their files tell."""
    each, per_megapixel = _SECONDS[extent]
    known = []
    for item in items[:: max(1, len(items) // _LOOKED_AT)]:
        with contextlib.suppress(Exception):  # what is wrong with it is told when it is measured
            with Image.open(item.path or "") as image:
                megapixels = image.width * image.height / 1e6
            scored = _SSIMULACRA2_SECONDS * min(megapixels, quality.SCORED_SIDE**2 / 1e6)
            known.append(each + per_megapixel * megapixels + scored * quality.has_ssimulacra2())
    return len(items) * (sum(known) / len(known) if known else each)


class _Known(Expected):
    """A number of images that is known from the start."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self._count = count

    def images(self, mean_bytes: float) -> int | None:
        return self._count


# ---- what is done already ----------------------------------------------------------------------------


class Kept:
    """The rows of images that are done: in the journal beside an output, or in memory alone."""

    def __init__(self, journal: Journal | None) -> None:
        """Go on with a journal; draw a seed where there is none."""
        self._journal = journal
        self._rows: dict[str, dict[str, Any]] = {}
        self.added = 0
        self.seed = secrets.randbits(32)
        if journal is not None:
            self.seed = int(journal.get("seed", self.seed))
            journal.set("seed", self.seed)
            journal.commit()

    def is_done(self, item: Item) -> bool:
        """Whether an image was measured, and is as it was."""
        return self._journal is not None and self._journal.claim_done(item)

    def add(self, item: Item, state: str, row: dict[str, Any], result: Any) -> None:
        """Keep a row."""
        self.added += 1
        if self._journal is not None:
            self._journal.add(result)
        else:
            self._rows[item.source] = row

    def row(self, item: Item) -> dict[str, Any]:
        """Return the row of an image that is done."""
        return self._rows[item.source] if self._journal is None else self._journal.row(item)

    def commit(self) -> None:
        """Write what has been kept, if it is time to."""
        if self._journal is not None and self._journal.commit_is_due():
            self._journal.commit()


@contextlib.contextmanager
def _kept(output: AnyPath | None, settings: dict[str, Any], *, force: bool) -> Iterator[Kept]:
    if output is None:
        yield Kept(None)
        return
    target = os.fspath(output)
    journal = Journal(journal_path(target), {"verb": "report", **settings}, output=target, force=force)
    kept = Kept(journal)
    try:
        with journal_errors(target):
            yield kept
    finally:
        with contextlib.suppress(sqlite3.Error):  # an earlier error is the one to report
            journal.close()
        if journal.fresh and not kept.added:  # nothing to go on with
            forget(target)


def forget(output: AnyPath) -> None:
    """Remove the journal of a report that has been written."""
    for ending in ("", "-wal", "-shm"):
        Path(journal_path(os.fspath(output)) + ending).unlink(missing_ok=True)


# ---- the machine -------------------------------------------------------------------------------------


def versions() -> dict[str, str | None]:
    """Return the versions of fastmark, Python and the packages that figures depend on."""
    found: dict[str, str | None] = {"fastmark": VERSION, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found


def machine(workers: int) -> dict[str, Any]:
    """Return what a report says of the machine and the programs."""
    return {"versions": versions(), "cpu": _cpu(), "cores": usable_cores(), "workers": workers,
            "system": platform.platform(terse=True)}  # fmt: skip


def _cpu() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
