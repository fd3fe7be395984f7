"""How often unmarked pictures look marked: the tail of the p-values against the bound they claim to be.

A trial is one unmarked picture and one key. The pictures are seeded crops, 256 to 640 pixels a side, so that
tens of thousands of trials take hours and not days; with `--whole` also the pictures themselves. Every
picture has keys of its own, the same for its crops and attacks: making a key's carriers and templates costs
as much as a search.

`fastmark.detect` looks at a picture once for all keys and multiplies every p-value by their number. The table
has both views. "trials" undoes the multiplication, log10 p - log10(keys), which is exact as long as the
product was not cut off at 1: levels of 1 / keys and above are therefore left out of it. "pictures" takes what
was reported, the best key of each picture, whose chance the product bounds.

With `--kinds` the pictures are drawn ones of every kind and size, photographs, and pictures marked with other
keys and by another tool; each search tells which rungs it came to and what each of them claimed before it was
cut off at 1, see `_ladder.py`. A tail above its bound ends the script with 1.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from _common import (
    breaches,
    find_pictures,
    header,
    in_processes,
    label,
    one_thread_each,
    print_table,
    read_rgb,
    seeded_bytes,
    write_csv,
)
from robustness import chosen

Row = dict[str, Any]

LEAST_SIDE, MOST_SIDE = 256, 640
EXPONENTS = range(1, 13)


@dataclass(frozen=True)
class Settings:
    """What every worker needs to know."""

    patterns: tuple[str, ...]
    message_bits: int
    keys: int
    deep: bool
    whole: bool


def views(rgb: np.ndarray, numbers: Sequence[int], whole: bool) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the crops of these numbers, each of a seeded place and size; first the whole, if wanted."""
    if whole:
        yield "whole", rgb
    for number in numbers:
        rng = np.random.default_rng(int.from_bytes(seeded_bytes(f"null crop {number}", 8)))
        height, width = (min(n, int(rng.integers(LEAST_SIDE, MOST_SIDE + 1))) for n in rgb.shape[:2])
        top, left = (
            int(rng.integers(n - part + 1)) for n, part in zip(rgb.shape, (height, width), strict=False)
        )
        yield str(number), np.ascontiguousarray(rgb[top : top + height, left : left + width])


def judge(picture: np.ndarray, markers: Sequence[Any], settings: Settings) -> list[Row]:
    """Look for the marks of some keys in one picture: a row a key."""
    import fastmark as fm

    options = {"deep": True} if settings.deep else {}
    start = time.perf_counter()
    try:
        found = fm.detect(picture, keys=markers, **options)
    except Exception as error:  # one bad trial must not cost the run
        return [{"state": "error", "error": f"{type(error).__name__}: {error}"}]
    ms = 1e3 * (time.perf_counter() - start) / settings.keys
    return [
        {
            "state": one.state,
            "log10_p": one.log10_p,
            "message": int(one.message is not None),
            "ms": ms,
            "key_id": one.key_id,
        }
        for one in found
    ]


def run_picture(path: Path, numbers: Sequence[int], settings: Settings) -> list[Row]:
    """All trials of one picture."""
    import fastmark as fm

    secrets = [seeded_bytes(f"null {path.name}, key {n}") for n in range(settings.keys)]
    markers = [fm.Watermarker(fm.Key(secret), settings.message_bits) for secret in secrets]
    rows = []
    for view, rgb in views(read_rgb(path), numbers, settings.whole):
        for attack in chosen(settings.patterns, *rgb.shape[:2]):
            base = {"picture": label(path), "view": view, "attack": attack.name}
            rows += [base | row for row in judge(attack(rgb), markers, settings)]
    return rows


def run(jobs: Sequence[tuple[Path, Sequence[int]]], settings: Settings, workers: int) -> list[Row]:
    """Run a job a picture."""
    rows: list[Row] = []
    start = time.perf_counter()
    results = in_processes(run_picture, [(*job, settings) for job in jobs], workers)
    for done, (_, found) in enumerate(results, 1):
        rows += found
        seconds = time.perf_counter() - start
        print(f"{done}/{len(jobs)} pictures: {len(rows)} trials, {seconds:.0f} s", file=sys.stderr)
    return rows


def tail(rows: list[Row], n_keys: int) -> list[Row]:
    """Compare the share of p-values at or below each level with the level, by trial and by picture."""
    single = np.array([row["log10_p"] for row in rows]) - math.log10(n_keys)
    of_picture: dict[tuple[str, str, str], float] = {}
    for row in rows:
        place = (row["picture"], row["view"], row["attack"])
        of_picture[place] = min(row["log10_p"], of_picture.get(place, 0.0))
    return levels(single, np.array(list(of_picture.values())), math.log10(n_keys))


def levels(single: np.ndarray, best: np.ndarray, cut_off: float = 0.0) -> list[Row]:
    """Compare the shares of log10 p of trials and of pictures with what each level allows.

    `cut_off`: p of trials is known where it is below 10 to the power of minus this.
    """
    table = []
    for exponent in EXPONENTS:
        line: Row = {"p <=": f"1e-{exponent}"}
        fault = False
        uncut = exponent > cut_off
        for name, values, known in (("trials", single, uncut), ("pictures", best, True)):
            seen = int(np.sum(values <= -exponent))
            allowed = values.size * 10.0**-exponent
            fault |= known and breaches(seen, allowed)
            line[name] = seen if known else ""
            line[f"{name}, share"] = f"{seen / values.size:.1e}" if known else ""
            line[f"{name}, allowed"] = f"{allowed:.3g}" if known else ""
        table.append(line | {"result": "FAULT" if fault else "ok"})
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="*", type=Path, metavar="FOLDER", help="needed without --kinds")
    parser.add_argument("--kinds", action="store_true", help="every kind and size, rung by rung")
    parser.add_argument("--trials", type=int, default=2000, help="at least so many; default: %(default)s")
    parser.add_argument("--keys", type=int, default=8, help="fresh keys a picture; default: %(default)s")
    parser.add_argument("--attacks", default="none", help="patterns of names or groups, comma between")
    parser.add_argument("--whole", action="store_true", help="the pictures as they are, too")
    parser.add_argument("--pictures", type=int, default=0, help="only so many, spread over all")
    parser.add_argument("--message-bits", type=int, default=64)
    parser.add_argument("--deep", action="store_true", help="detect with deep=True")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("-o", "--output", type=Path, help="CSV of the table")
    parser.add_argument("--each", type=int, default=0, help="with --kinds: fewer keys a picture, any size")
    parser.add_argument("--block", type=int, default=256, help="with --kinds: pictures that share keys")
    parser.add_argument("--journal", type=Path, help="with --kinds: file by which a run is gone on with")
    parser.add_argument("--only-done", action="store_true", help="only tables of what the journal has so far")
    parser.add_argument("--scores", type=Path, help="with --kinds: CSV of the first key of each picture")
    parser.add_argument("--chart", type=Path, help="with --kinds: Q-Q plot and tail, SVG or PNG")
    options = parser.parse_args()

    one_thread_each()
    if options.kinds:
        import _null_report

        _null_report.report(options)
        return
    if not options.folders:
        raise SystemExit("name a folder of pictures, or give --kinds")
    paths = find_pictures(options.folders, options.pictures)
    patterns = tuple(options.attacks.split(","))
    n_attacks = len(chosen(patterns, LEAST_SIDE, LEAST_SIDE))
    if not n_attacks:
        raise SystemExit(f"no attack for crops is called {options.attacks}")
    settings = Settings(patterns, options.message_bits, options.keys, options.deep, options.whole)
    n_crops = math.ceil(options.trials / (options.keys * n_attacks))
    jobs = [(path, range(i, n_crops, len(paths))) for i, path in enumerate(paths)]
    jobs = [job for job in jobs if job[1] or options.whole]
    start = time.perf_counter()
    results = run(jobs, settings, options.workers)

    errors = [row for row in results if row["state"] == "error"]
    print_table("errors in detect (first twelve)", errors[:12])
    rows = [row for row in results if row["state"] != "error"]
    if not rows:
        raise SystemExit("no trial was run")
    head = header(
        "null",
        options.workers,
        pictures=len(jobs),
        crops=n_crops,
        keys=options.keys,
        attacks=options.attacks,
        whole=options.whole,
        message_bits=options.message_bits,
        deep=options.deep,
    )
    states = [row["state"] for row in rows]
    head += [
        f"{len(rows)} trials, {states.count('detected')} detected, {states.count('possible')} possible, "
        f"{sum(row['message'] for row in rows)} messages, {len(errors)} errors, "
        f"least log10 p {min(row['log10_p'] for row in rows):.2f}, "
        f"median {statistics.median(row['ms'] for row in rows):.0f} ms a trial, "
        f"{time.perf_counter() - start:.0f} s in all",
    ]
    print(*head, sep="\n")
    table = tail(rows, options.keys)
    print_table(f"p-values of {len(rows)} unmarked trials", table)
    print_table("FAULTS", [row for row in rows if row["message"] or row["state"] == "detected"])
    if options.output:
        write_csv(options.output, head, table)


if __name__ == "__main__":
    main()
