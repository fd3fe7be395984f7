"""What do attackers who know the design get, and what do they pay? Attacks on the watermark itself.

Each attack is by somebody with certain means (watermarked images, originals, calls of a detector), and has a
goal: to remove the watermark, to forge it, or to learn something of the key. The price of a removal is PSNR
and SSIMULACRA2 of the attacked image against the watermarked one, that of a forgery against the image without
a watermark. Needs security-requirements.txt for two of three filters that copy watermarks.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from _common import find_pictures, header, one_thread_each, print_table, write_csv
from _resuming import resumed
from _tables import read_commented

one_thread_each()

from _security_alignment import aligning  # noqa: E402
from _security_averages import averaging, tones_of_many  # noqa: E402
from _security_collusion import collusion  # noqa: E402
from _security_copies import copying  # noqa: E402
from _security_keys import near_keys, second_key  # noqa: E402
from _security_ladders import ladders  # noqa: E402
from _security_oracle import IMAGES, asking  # noqa: E402
from _security_patterns import patterns  # noqa: E402
from _security_spectra import notching  # noqa: E402

Row = dict[str, Any]
EACH = "each image"
SOME = range(4)  # images of those, where each takes a minute


class Attack(NamedTuple):
    """What is run: a function of a part of the work, the images, their number and the options."""

    function: Callable[..., Iterator[Row]]
    parts: Sequence[Any]  # or EACH


ATTACKS = {
    "averaging": Attack(averaging, ("one message", "messages")),
    "tones of many": Attack(tones_of_many, (5, 50, 500)),
    "aligning": Attack(aligning, (("one message", 1024), ("messages", 1024), ("one message", 512))),
    "patterns": Attack(patterns, SOME),
    "notching": Attack(notching, EACH),
    "collusion": Attack(collusion, EACH),
    "second key": Attack(second_key, EACH),
    "near keys": Attack(near_keys, ("one bit",)),
    "copying": Attack(copying, SOME),
    "asking": Attack(
        asking, [(answers, number) for number in reversed(range(IMAGES)) for answers in ("bands", "scores")]
    ),
    "ladders": Attack(ladders, EACH),
}
GROUPED = ("attack", "goal", "variant", "has", "number")
LATER = ("jpeg", "scaled", "crop")  # handling after a removal


def run(name: str, part: Any, paths: Sequence[Path], options: dict[str, int]) -> list[Row]:
    """The rows of one part of an attack."""
    return list(ATTACKS[name].function(part, paths, **options))


# ---- results ---------------------------------------------------------------------------------------------


def summary(rows: Sequence[Row]) -> list[Row]:
    """A line for every attack, variant and number of what the attacker has; shares in per cent."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in GROUPED), []).append(row)
    return [dict(zip(GROUPED, group, strict=True)) | line(part) for group, part in groups.items()]


def line(rows: Sequence[Row]) -> Row:
    """Counts and prices of trials of one kind."""
    out: Row = {"trials": len(rows)}
    looked = [row for row in rows if "state" in row]
    if looked:
        out |= {
            "detected %": share(looked, "state", "detected"),
            "absent %": share(looked, "state", "absent"),
        }
        out |= {"read %": share(looked, "read", 1), "wrong": sum(row["wrong"] for row in looked)}
        found = [row for row in looked if row["read"] or row["wrong"]]
        out |= {name: sum(row["binding"] == name for row in found) for name in ("match", "mismatch")}
        out["unknown"] = len(found) - out["match"] - out["mismatch"]
    for name in ("before", "noise", *(f"{name}{suffix}" for name in LATER for suffix in (" before", ""))):
        if any(name in row for row in rows):
            out[f"{name} detected %"] = share([row for row in rows if name in row], name, "detected")
    for name, digits in (("psnr_db", "dB"), ("ssimulacra2", "SSIMULACRA2")):
        values = [row[name] for row in rows if name in row]
        if values:
            out |= {f"{digits}, median": statistics.median(values), f"{digits}, most": max(values)}
    for name in ("value", "control"):
        values = [row[name] for row in rows if name in row]
        if values:
            out[name] = statistics.fmean(values)
    return out


def share(rows: Sequence[Row], column: str, value: object) -> float:
    return 100 * sum(row[column] == value for row in rows) / len(rows)


def tables(lines: Sequence[Row]) -> None:
    """Print a table for each attack and goal, with the columns that it has."""
    for kind in dict.fromkeys((row["attack"], row["goal"]) for row in lines):
        part = [row for row in lines if (row["attack"], row["goal"]) == kind]
        names = list(dict.fromkeys(name for row in part for name in row if name not in ("attack", "goal")))
        print_table(f"{kind[0]}, to {kind[1]}", [{name: row.get(name) for name in names} for row in part])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="*", type=Path, metavar="FOLDER")
    parser.add_argument("--attacks", default=",".join(ATTACKS), help="comma between; default: all")
    parser.add_argument("--pictures", type=int, default=8, help="images that each attack is tried on")
    parser.add_argument("--most", type=int, default=5000, help="most images that are averaged")
    parser.add_argument("--calls", type=int, default=10_000, help="calls of the detector by those who ask it")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--journal", type=Path, help="a run goes on where it stopped: one for each attack")
    parser.add_argument("--results", type=Path, help="draw the rows of this CSV again; nothing is run")
    parser.add_argument("-o", "--output", type=Path, help="CSV of the summary; trials beside it")
    parser.add_argument("--chart", type=Path, help="SVG of the prices")
    options = parser.parse_args()
    if options.results:
        _, lines = read_commented(options.results)
    else:
        lines = measured(options)
    if options.chart:
        from _security_chart import draw

        draw(options.chart, lines)


def measured(options: argparse.Namespace) -> list[Row]:
    """Run what is asked for, print and write it."""
    paths = find_pictures(options.folders)
    names = options.attacks.split(",")
    if unknown := set(names) - set(ATTACKS):
        raise SystemExit(f"there is no attack {', '.join(sorted(unknown))}, only {', '.join(ATTACKS)}")
    settings = {"count": options.pictures, "most": options.most, "calls": options.calls}
    rows: list[Row] = []
    for name in names:
        parts = range(options.pictures) if ATTACKS[name].parts == EACH else ATTACKS[name].parts
        journal = options.journal
        if journal:
            journal = journal.with_stem(f"{journal.stem}-{name.replace(' ', '-')}")
        jobs = [(name, part, paths, settings) for part in parts]
        asked = {"attack": name, "images": [path.name for path in paths]} | settings
        done = resumed(run, jobs, options.workers, journal, asked)
        rows += [row for part in done for row in part]
    head = header("security", options.workers, **settings)
    lines = summary(rows)
    print(*head, sep="\n")
    tables(lines)
    if options.output:
        write_csv(options.output, head, lines)
        trials = options.output.with_stem(f"{options.output.stem}-trials")
        write_csv(trials, head, rows)
    return lines


if __name__ == "__main__":
    main()
