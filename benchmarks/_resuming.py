"""Long runs that can be stopped: each job's rows go to a journal as it is done, and are not done again.

The journal is a file of JSON lines: first what was asked for, then a line for every job. A run that asks for
something else, or by other code of watermarks and their detection, does not mix its rows with those that
are there.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from _common import PACKAGES, in_processes, versions_of

Row = dict[str, Any]

_PACKAGE = Path(__file__).resolve().parent.parent / "fastmark"
_DECIDING = ("codec", "detection", "embedding", "images", "kernels")  # what marks are and what is found


def resumed(
    function: Callable[..., list[Row]],
    jobs: Sequence[tuple[Any, ...]],
    workers: int,
    journal: Path | None,
    asked: Mapping[str, object],
) -> list[list[Row]]:
    """Run the jobs that the journal lacks; return the rows of each job that is done, in the jobs' order.

    Args:
        function: of a job's arguments; its rows hold what JSON does.
        jobs: arguments of each job. Their numbers are their names in the journal.
        workers: processes.
        journal: file that is continued, or made; None to keep nothing.
        asked: all that the rows depend on but fastmark's code and the versions of packages, which are added;
            a journal that was made for something else is refused.
    """
    done = dict(_read(journal, asked)) if journal else {}
    missing = [number for number in range(len(jobs)) if number not in done]
    if done:
        print(f"{journal}: {len(done)} of {len(jobs)} jobs are done already", file=sys.stderr)
    start = time.perf_counter()
    results = in_processes(function, [jobs[number] for number in missing], workers)
    for count, (i, rows) in enumerate(results, 1):
        done[missing[i]] = rows
        if journal:
            _append(journal, {"job": missing[i], "rows": rows})
        seconds = time.perf_counter() - start
        left = seconds / count * (len(missing) - count)
        print(f"{len(done)}/{len(jobs)} jobs, {seconds:.0f} s, about {left:.0f} s left", file=sys.stderr)
    return [done[number] for number in sorted(done) if number < len(jobs)]


def done_already(journal: Path, asked: Mapping[str, object]) -> list[list[Row]]:
    """Return the rows of the jobs that a journal has, in the jobs' order, and run nothing."""
    return [rows for _, rows in sorted(dict(_read(journal, asked)).items())]


def _read(journal: Path, asked: Mapping[str, object]) -> Iterator[tuple[int, list[Row]]]:
    """Yield number and rows of the jobs that are in the journal; begin one where there is none."""
    wanted = json.loads(json.dumps({**asked, "code": code(), "with": versions_of(PACKAGES)}, default=str))
    if not journal.exists() or journal.stat().st_size == 0:
        _append(journal, {"asked": wanted})
        return
    text = journal.read_bytes()
    whole = text.rfind(b"\n") + 1
    if whole < len(text):  # a run that was killed left half a line
        os.truncate(journal, whole)
    lines = text[:whole].splitlines()
    begun = json.loads(lines[0])["asked"] if lines else None
    if begun != wanted:
        raise SystemExit(
            f"{journal} was begun for {begun}; this run asks for {wanted}: name another file, or delete it"
        )
    for line in lines[1:]:
        entry = json.loads(line)
        yield entry["job"], entry["rows"]


def code() -> str:
    """A digest of the sources that decide what watermarks are and what is found of them."""
    digest = hashlib.blake2b(digest_size=8)
    for path in sorted(path for name in _DECIDING for path in (_PACKAGE / name).rglob("*.py")):
        digest.update(path.relative_to(_PACKAGE).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


def _append(journal: Path, entry: Mapping[str, object]) -> None:
    journal.parent.mkdir(parents=True, exist_ok=True)
    with journal.open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")
        file.flush()
        os.fsync(file.fileno())
