"""`null.py --kinds`: runs the blocks, then makes tables, CSV files and plots of their rows."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import _null_plots
import _null_tables as tables
from _common import find_pictures, header, print_table, write_csv
from _drawing import new_figure, save
from _ladder import ALL, Settings, run_block
from _null_pictures import OTHER_TOOL, kinds_in_turn, other_tool_is_there, plans
from _resuming import done_already, resumed

Row = dict[str, Any]

# Rungs of the Q-Q plot: those to which most searches come, and the message.
_DRAWN = ("origin", "shift", "whole units", "candidate", "reading", "message", ALL)
_LEAST_DRAWN = -9.0  # powers of ten: bounds above 1 are drawn down to this


def collect(options: argparse.Namespace) -> list[Row]:
    """Run the searches that the journal lacks, or with `--only-done` none; return a row an image."""
    other_tool = other_tool_is_there()
    if not other_tool:
        print(f"invisible-watermark or what it needs is not installed: no images are {OTHER_TOOL}")
    settings = Settings(
        tuple(options.folders), kinds_in_turn(other_tool), options.keys, options.deep, options.message_bits,
        options.each, options.block,
    )  # fmt: skip
    asked = {
        "pictures": [path.name for path in find_pictures(options.folders)] if options.folders else [],
        "kinds": settings.kinds, "keys": settings.keys, "deep": settings.deep, "block": settings.block,
        "message_bits": settings.message_bits,
    } | ({"each": settings.each} if settings.each else {})  # fmt: skip
    if options.only_done:
        if not options.journal:
            raise SystemExit("--only-done makes tables of a journal: name it with --journal")
        return [row for rows in done_already(options.journal, asked) for row in rows]
    # whole blocks, so that a run for more trials goes on with the journal of one for fewer
    n_blocks = -(-len(plans(options.trials, settings.kinds, options.keys, options.each)) // settings.block)
    jobs = [(block, settings) for block in range(n_blocks)]
    done = resumed(run_block, jobs, options.workers, options.journal, asked)
    return [row for rows in done for row in rows]


def draw(rows: Sequence[Row], path: Path) -> None:
    """Draw the Q-Q plot of the rungs' bounds, and the tail of what is claimed of trials and of images."""
    n = sum(row["searches"] for row in rows)
    figure, axes = new_figure(1, 3, 15.5, 4.6)
    curves = [(name, bins) for name in _DRAWN if (bins := tables.bins_of(rows, name))]
    _null_plots.qq(axes[0, 0], curves, n, _LEAST_DRAWN)
    axes[0, 0].set_title("each rung's best bound, its trials paid for")
    _null_plots.tail(
        axes[0, 1],
        [("trials", tables.bins_of(rows, ALL), n), ("images", tables.by_picture(rows), len(rows))],
        6.0,
        -6.0,
    )
    axes[0, 1].set_title("all evidence: claimed against observed")
    kinds = {name: part for name, part in tables.groups_of(rows).items() if name != "all"}
    bins = {name: tables.bins_of(part, ALL) for name, part in kinds.items()}
    counts = [(name, tables.at_or_below(bins[name], -1), sum(bins[name].values())) for name in kinds]
    _null_plots.by_kind(axes[0, 2], counts, 0.1)
    axes[0, 2].set_title("claimed $p \\leq 0.1$, kind by kind (trials)")
    save(figure, path)


def report(options: argparse.Namespace) -> None:
    """Run it, print the tables, write what was asked for; exits with 1 if a tail exceeds its bound."""
    start = time.perf_counter()
    results = collect(options)
    rows = [row for row in results if "error" not in row]
    errors = [row for row in results if "error" in row]
    print_table("errors (first twelve)", errors[:12])
    if not rows:
        raise SystemExit("no search was run")
    made = {
        "claimed": tables.claimed(rows),
        "claimed of rungs": tables.claimed_of_rungs(rows),
        "bounds": tables.looseness(rows),
        "thresholds": tables.thresholds(rows),
        "rungs": tables.rungs(rows),
        "kinds": tables.by_kind(rows),
    }
    head = header(
        "null, kinds", options.workers, images=len(rows), keys=options.keys, folders=len(options.folders),
        each=options.each or "by size", block=options.block, message_bits=options.message_bits,
        deep=options.deep,
    )  # fmt: skip
    total = {
        name: sum(row[name] for row in rows)
        for name in ("searches", "detected", "possible", "messages", "ms")
    }
    faults = [row for name in ("claimed", "claimed of rungs") for row in made[name] if row["result"] != "ok"]
    head.append(
        f"{total['searches']} searches in {len(rows)} images, {total['detected']} detected, "
        f"{total['possible']} possible, {total['messages']} messages, {len(errors)} errors, "
        f"{len(faults)} FAULTS, {total['ms'] / total['searches']:.1f} ms of working time a search, "
        f"{total['ms'] / 1e3:.0f} s in all"
    )
    print(*head, sep="\n")
    for name, table in made.items():
        print_table(name, [row for row in table if row.get("seen", 1) or row["of"] == "all"])
    keep = ("number", "kind", "attack", "height", "width", "searches", "best", "detected", "messages")
    found = [row for row in rows if row["messages"] or row["detected"] or row["possible"]]
    print_table("images with anything but absent", [{name: row[name] for name in keep} for row in found])
    print_table("FAULTS", faults)
    if options.output:
        write_csv(options.output, head, [{"table": n} | row for n, table in made.items() for row in table])
    if options.scores:
        told = ", ".join(f"{row['of']}: {row['score']:.2f}" for row in made["thresholds"])
        write_csv(options.scores, [*head, f"one of 1000 has a score above: {told}"], tables.scores(rows))
    if options.chart:
        draw(rows, options.chart)
    print(f"{time.perf_counter() - start:.0f} s")
    if faults:
        raise SystemExit(1)
