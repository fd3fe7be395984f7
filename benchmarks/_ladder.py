"""`null.py --kinds`: searches on unmarked pictures of every kind and size, rung by rung.

A search is one analysed picture and one key; a picture is analysed once and searched for many keys, which is
what makes tens of thousands of searches affordable. Each is run as the detector runs it, without the factor
for the number of keys, and leaves its trace: which rungs it came to, and which let it through. A rung's
planned share is of the searches that come to it; shares above it cost time, not validity, and are called
`over`.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from _common import breaches, find_pictures, header, in_processes, print_table, seeded_bytes, write_csv
from _kinds import KINDS, drawn_size
from _rejecting import drawn_part, fitting, originals
from attacks import ATTACKS

Row = dict[str, Any]

# Rung -> share of all searches that chance brings to it, and share of those that it lets through: what
# `calibrate.py chance` finds on photographs of at least 300 pixels a side, rounded; the share of dense looks
# is set, as it does not ask for places. Periodic images and small ones reach the scores more often.
COMING = {
    "shift": 0.13, "whole units": 0.075, "dense units": 0.01, "candidate": 0.09, "dense": 0.03, "piece": 0.01,
}  # fmt: skip
PLANNED = {"origin": 0.01, "shift": 0.03, "dense units": 0.01, "dense": 0.01}

PHOTOGRAPH, OTHER_KEY = "photograph", "marked with another key"
_ORDER = (*KINDS, *[PHOTOGRAPH] * 6, *[OTHER_KEY] * 4)
_ATTACKS = ("none", "none", "jpeg-50", "resize-0.75", "rotate-10", "crop-50-random", "screenshot-0.8")
LEAST_SIDE, LEAST_AREA, MOST_AREA = 64, 64.0**2, 2e6  # pixels
_LEAST_MARKED = 256  # pixels a side: a mark of another key must be a real one
LEAST_PLANNED = (
    256  # pixels a side of the photographs that have a table of their own, to hold the plan against
)
LARGE_EVERY, LARGE = 97, (3000, 4000)  # height, width
BLOCK = 8  # pictures that share their keys: a key costs as much as some searches
SIZES = {"under 0.1 MP": 0.1e6, "0.1 to 0.5 MP": 0.5e6, "0.5 to 2 MP": 2.5e6, "12 MP": math.inf}


@dataclass(frozen=True)
class Settings:
    """What every worker needs to know."""

    folders: tuple[Path, ...]
    keys: int
    deep: bool
    message_bits: int


@cache
def _originals(folders: tuple[Path, ...]) -> list[np.ndarray]:
    return originals(find_pictures(folders) if folders else [])


def photograph(rng: np.random.Generator, h: int, w: int, folders: tuple[Path, ...]) -> np.ndarray:
    """A part of a photograph; of a smaller size, in its proportions, where none has as many pixels."""
    size = (w, h)
    while not (usable := fitting(_originals(folders), size)):
        size = (size[0] * 3 // 4, size[1] * 3 // 4)
    return np.array(drawn_part(usable[rng.integers(len(usable))], size, rng))


def picture(number: int, folders: tuple[Path, ...]) -> tuple[str, np.ndarray]:
    """The picture of a number: its kind, and its pixels."""
    import fastmark as fm

    rng = np.random.default_rng(int.from_bytes(seeded_bytes(f"unmarked {number}", 8)))
    kind = _ORDER[number % len(_ORDER)]
    h, w = drawn_size(rng, LEAST_SIDE, LEAST_AREA, MOST_AREA)
    if number % LARGE_EVERY == LARGE_EVERY // 2:
        h, w = LARGE
    if kind in KINDS:
        return kind, KINDS[kind](rng, h, w)
    if kind == PHOTOGRAPH:
        return kind, photograph(rng, h, w, folders)
    rgb = photograph(rng, max(h, _LEAST_MARKED), max(w, _LEAST_MARKED), folders)
    other = fm.Watermarker(fm.Key(seeded_bytes(f"another key {number}")))
    marked = other.embed(rgb, number)
    return kind, ATTACKS[str(rng.choice(_ATTACKS))](marked)


def rungs_of(trace: Iterable[Any]) -> dict[str, tuple[int, int]]:
    """How often each rung of a search was tried, and how often it let the search through."""
    counts: dict[str, tuple[int, int]] = {}
    for entry in trace:
        name = str(getattr(entry, "kind", "reading"))
        passed = bool(entry.read) if hasattr(entry, "read") else bool(getattr(entry, "promising", False))
        tried, through = counts.get(name, (0, 0))
        counts[name] = (tried + 1, through + passed)
    return counts


def search_all(rgb: np.ndarray, detectors: Sequence[Any], deep: bool) -> Iterator[Row]:
    """Search one picture for the marks of some keys: a row a key."""
    from fastmark.codec.plane import pixels_per_unit
    from fastmark.detection import evidence
    from fastmark.detection.detector import MIN_PLANE_SIDE, analyse
    from fastmark.detection.search import Search
    from fastmark.images.opening import open_for_detection

    luma = open_for_detection(rgb, unit=pixels_per_unit)
    analysis = analyse(luma)
    if min(analysis.planes.shape) < MIN_PLANE_SIDE:
        return
    for detector in detectors:
        start = time.thread_time()
        search = Search(analysis, detector.carrier, detector.templates, detector.code)
        search.run(deep=deep)
        ms = 1e3 * (time.thread_time() - start)
        finding = search.finding
        log_p = min(finding.log_p, finding.message_log_p) + evidence.LOG_SHARES
        yield {
            "log10_p": min(0.0, log_p / math.log(10)),
            "detected": int(log_p <= evidence.DETECTED),
            "possible": int(evidence.DETECTED < log_p <= evidence.POSSIBLE),
            "message": int(finding.message_log_p + evidence.LOG_SHARES <= evidence.DETECTED),
            "ms": ms,
            "rungs": rungs_of(search.trace),
        }


def run_block(first: int, last: int, settings: Settings) -> list[Row]:
    """All searches of the pictures of these numbers, with keys of their own."""
    import fastmark as fm

    secrets = [seeded_bytes(f"null of {first}, key {n}") for n in range(settings.keys)]
    detectors = [fm.Watermarker(fm.Key(s), settings.message_bits).key_detector for s in secrets]
    rows: list[Row] = []
    for number in range(first, last):
        kind, rgb = picture(number, settings.folders)
        size = next(name for name, most in SIZES.items() if rgb.shape[0] * rgb.shape[1] <= most)
        base = {"picture": number, "kind": kind, "height": rgb.shape[0], "width": rgb.shape[1], "size": size}
        try:
            rows += [base | row for row in search_all(rgb, detectors, settings.deep)]
        except Exception as error:  # one bad picture must not cost the run
            rows.append(base | {"error": f"{type(error).__name__}: {error}"})
    return rows


def run(pictures: int, settings: Settings, workers: int) -> list[Row]:
    """Run a job a block of pictures."""
    rows: list[Row] = []
    start = time.perf_counter()
    jobs = [(n, min(n + BLOCK, pictures), settings) for n in range(0, pictures, BLOCK)]
    for done, (_, found) in enumerate(in_processes(run_block, jobs, workers), 1):
        rows += found
        seconds = time.perf_counter() - start
        print(f"{done}/{len(jobs)} blocks: {len(rows)} searches, {seconds:.0f} s", file=sys.stderr)
    return rows


def by_rung(rows: Sequence[Row], size: str = "all") -> list[Row]:
    """How often each rung was come to and let searches through, against what was planned."""
    table = []
    names = dict.fromkeys(name for row in rows for name in row["rungs"])
    for name in sorted(names):
        counts = [row["rungs"][name] for row in rows if name in row["rungs"]]
        through = sum(passed > 0 for _, passed in counts)
        planned = PLANNED.get(name)
        coming = COMING.get(name)
        over = planned is not None and breaches(through, planned * len(counts))
        over |= coming is not None and breaches(len(counts), coming * len(rows))
        table.append(
            {
                "rung": name, "size": size, "searches": len(rows),
                "came, share": len(counts) / len(rows),
                "coming, planned": coming,
                "times a search": sum(tried for tried, _ in counts) / len(rows),
                "through": through,
                "through, share": through / len(counts),
                "through, planned": planned,
                "of all, share": through / len(rows),
                "result": "-" if planned is coming is None else "over" if over else "ok",
            }
        )  # fmt: skip
    return table


def by_kind(rows: Sequence[Row]) -> list[Row]:
    """What each kind of picture looked like, and what a search cost."""
    table = []
    names = sorted(dict.fromkeys(name for row in rows for name in row["rungs"]))
    for kind in dict.fromkeys(row["kind"] for row in rows):
        part = [row for row in rows if row["kind"] == kind]
        times = np.array([row["ms"] for row in part])
        table.append(
            {
                "kind": kind, "pictures": len({row["picture"] for row in part}), "searches": len(part),
                "detected": sum(row["detected"] for row in part),
                "possible": sum(row["possible"] for row in part),
                "messages": sum(row["message"] for row in part),
                "least log10 p": min(row["log10_p"] for row in part),
                **{f"{name}, share": sum(name in row["rungs"] for row in part) / len(part) for name in names},
                "readings a search": sum(row["rungs"].get("reading", (0, 0))[0] for row in part) / len(part),
                "mean ms": float(times.mean()), "p99 ms": float(np.percentile(times, 99)),
                "most ms": float(times.max()),
            }
        )  # fmt: skip
    return table


def report(options: argparse.Namespace, levels: Any) -> None:
    """Run it and print the tables; `levels` makes the table of p-values of searches and of pictures."""
    settings = Settings(tuple(options.folders), options.keys, options.deep, options.message_bits)
    pictures = math.ceil(options.trials / options.keys)
    start = time.perf_counter()
    results = run(pictures, settings, options.workers)
    rows = [row for row in results if "error" not in row]
    print_table("errors (first twelve)", [row for row in results if "error" in row][:12])
    if not rows:
        raise SystemExit("no search was run")
    rungs = by_rung(rows)
    parts = {size: [row for row in rows if row["size"] == size] for size in SIZES}
    parts[f"photographs, {LEAST_PLANNED} pixels a side and more"] = [
        row for row in rows if row["kind"] == PHOTOGRAPH and min(row["height"], row["width"]) >= LEAST_PLANNED
    ]
    for name, part in parts.items():
        rungs += by_rung(part, name) if part else []
    best: dict[int, float] = {}
    for row in rows:
        best[row["picture"]] = min(best.get(row["picture"], 0.0), row["log10_p"])
    factor = math.log10(options.keys)
    tables = {
        "levels": levels(
            np.array([row["log10_p"] for row in rows]), np.minimum(np.array(list(best.values())) + factor, 0)
        ),
        "rungs": rungs,
        "kinds": by_kind(rows),
    }
    head = header(
        "null, kinds", options.workers, pictures=pictures, keys=options.keys, folders=len(options.folders),
        message_bits=options.message_bits, deep=options.deep,
    )  # fmt: skip
    head.append(
        f"{len(rows)} searches, {sum(row['detected'] for row in rows)} detected, "
        f"{sum(row['possible'] for row in rows)} possible, {sum(row['message'] for row in rows)} messages, "
        f"{len(results) - len(rows)} errors, {time.perf_counter() - start:.0f} s in all"
    )
    print(*head, sep="\n")
    for name, table in tables.items():
        print_table(name, table)
    keep = ("picture", "kind", "height", "width", "log10_p", "message", "ms")
    faults = [row for row in rows if row["message"] or row["detected"]]
    print_table("FAULTS", [{name: row[name] for name in keep} for row in faults])
    slow = sorted(rows, key=lambda row: -row["ms"])[:8]
    print_table("slowest searches", [{name: row[name] for name in keep} for row in slow])
    if options.output:
        write_csv(options.output, head, [{"table": n} | row for n, table in tables.items() for row in table])
