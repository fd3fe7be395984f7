"""Tables of the searches of unmarked images: claimed against observed tails, rungs, kinds, scores.

Rows are those of `_ladder.py`: one an image. Bounds are counted in bins of a 24th of a power of ten; a bin is
named after its upper edge, so that counts at whole powers of ten are exact.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from _common import breaches
from _ladder import ALL, BIN, bin_of
from _null_pictures import PHOTOGRAPH, UNTOUCHED
from _scores import SIDES, exceeded_by, side_class

Row = dict[str, Any]
Bins = Counter[int]

# Rung -> share of all searches that chance brings to it, and share of those that it lets through: what
# `calibrate.py chance` finds on photographs of at least 300 pixels a side, rounded; the share of dense looks
# is set, as it does not ask for places. Periodic images and small ones reach the scores more often.
COMING = {
    "shift": 0.13, "whole units": 0.075, "dense units": 0.01, "candidate": 0.09, "dense": 0.03, "piece": 0.01,
}  # fmt: skip
PLANNED = {"origin": 0.01, "shift": 0.03, "dense units": 0.01, "dense": 0.01}
LEAST_PLANNED = 256  # pixels a side of the photographs that are held against the plan

EXPONENTS = range(1, 10)
FAMILY = 0.01  # chance that any row of a table is called a fault where all bounds hold
_SHARES = (0.5, 0.1, 1e-2, 1e-3, 1e-4)
_RATE = 0.001  # of false positives, at which thresholds are told


def bins_of(rows: Iterable[Row], name: str) -> Bins:
    """Add up the bins of one kind of evidence."""
    total: Bins = Counter()
    for row in rows:
        flat = row["bins"].get(name, ())
        for i in range(0, len(flat), 2):
            total[flat[i]] += flat[i + 1]
    return total


def at_or_below(bins: Mapping[int, int], log10_p: float) -> int:
    """How many bounds are at or below a power of ten whose exponent is a whole number of 24ths."""
    most = round(log10_p * math.log(10) / BIN)
    return sum(count for place, count in bins.items() if place <= most)


def by_picture(rows: Iterable[Row]) -> Bins:
    """The bound of the best key of each image, with the number of keys paid for."""
    return Counter(bin_of(-row["best"] + math.log(row["searches"])) for row in rows)


def groups_of(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """All rows, those of each kind, untouched and attacked ones, and those of each size."""
    groups = {"all": list(rows)}
    for kind in sorted({row["kind"] for row in rows}):
        groups[kind] = [row for row in rows if row["kind"] == kind]
    groups["untouched"] = [row for row in rows if row["attack"] == UNTOUCHED]
    groups["attacked"] = [row for row in rows if row["attack"] != UNTOUCHED]
    for name in SIDES:
        groups[f"short side {name}"] = [
            row for row in rows if side_class(row["height"], row["width"]) == name
        ]
    return {name: part for name, part in groups.items() if part}


def tails(views: Sequence[tuple[str, str, int, Bins]], exponents: Iterable[float]) -> list[Row]:
    """Claimed against observed: how many bounds are at or below each level, with Clopper-Pearson bounds.

    A row is a FAULT where the lower bound of the share lies above the level. For that it is taken at a
    confidence by which all rows together are wrong once in a hundred runs, if every bound holds; `low` and
    `high` are the usual 95 %.

    Args:
        views: what is counted, of which images, how many there were, and the bins of their bounds.
        exponents: of the levels, 10 to the power of minus these.
    """
    from fastmark.reporting.intervals import clopper_pearson

    exponents = list(exponents)
    adjusted = 1 - 2 * FAMILY / max(1, len(views) * len(exponents))
    table = []
    for view, group, n, bins in views:
        for exponent in exponents:
            seen = at_or_below(bins, -exponent)
            low, high = clopper_pearson(seen, n)
            sure = clopper_pearson(seen, n, adjusted)[0] if seen else 0.0
            table.append(
                {
                    "counted": view, "of": group, "p <=": f"{10.0**-exponent:.3g}", "n": n, "seen": seen,
                    "share": f"{seen / n:.2e}", "low": f"{low:.2e}", "high": f"{high:.2e}",
                    "result": "FAULT" if sure > 10.0**-exponent else "ok",
                }
            )  # fmt: skip
    return table


def claimed(rows: Sequence[Row]) -> list[Row]:
    """The table of final bounds, by trial and by image, and of each rung's own over all images."""
    views = []
    for name, part in groups_of(rows).items():
        n = sum(row["searches"] for row in part)
        views.append(("trials", name, n, bins_of(part, ALL)))
        views.append(("images", name, len(part), by_picture(part)))
    n = sum(row["searches"] for row in rows)
    for rung in sorted({name for row in rows for name in row["bins"]} - {ALL}):
        views.append(("trials of a rung", rung, n, bins_of(rows, rung)))
    return tails(views, EXPONENTS)


def claimed_of_rungs(rows: Sequence[Row]) -> list[Row]:
    """The table of each rung's own bounds, kind by kind, which tells where a fault would come from."""
    views = []
    for name, part in groups_of(rows).items():
        n = sum(row["searches"] for row in part)
        for rung in sorted({name for row in part for name in row["bins"]} - {ALL}):
            views.append((rung, name, n, bins_of(part, rung)))
    return [row for row in tails(views, EXPONENTS) if row["seen"]]


def quantile(bins: Mapping[int, int], n: int, share: float) -> float | None:
    """The least bin edge, nats, that at least a share of n bounds does not exceed; None if there is none."""
    wanted, so_far = max(1, math.ceil(share * n)), 0
    for place in sorted(bins):
        so_far += bins[place]
        if so_far >= wanted:
            return place * BIN
    return None


def looseness(rows: Sequence[Row]) -> list[Row]:
    """Each rung's best bound against its trials: how much of the price chance would not have asked for.

    `trials` is the mean natural logarithm of the number of trials paid for. `ln p at` a share is the bound
    that so large a share of all searches reaches, trials paid for and not cut at 0; `excess at` is what it
    lies above the logarithm of the share: 0 if the union bound were exact.
    """
    n = sum(row["searches"] for row in rows)
    table = []
    for name in sorted({name for row in rows for name in row["bins"]}):
        bins = bins_of(rows, name)
        came = sum(bins.values())
        price = sum(row["prices"].get(name, 0.0) for row in rows) / came
        line: Row = {
            "rung": name, "searches": n, "came, share": came / n,
            "trials": price if name != ALL else "", "least ln p": min(bins) * BIN,
        }  # fmt: skip
        for share in _SHARES:
            value = quantile(bins, n, share)
            line[f"ln p at {share:g}"] = "" if value is None else value
            line[f"excess at {share:g}"] = "" if value is None else value - math.log(share)
        table.append(line)
    return table


def by_rung(rows: Sequence[Row], size: str = "all") -> list[Row]:
    """How often each rung was come to and let searches through, against what was planned."""
    table = []
    n = sum(row["searches"] for row in rows)
    for name in sorted({name for row in rows for name in row["rungs"]}):
        came, tried, through = (sum(row["rungs"].get(name, (0, 0, 0))[i] for row in rows) for i in range(3))
        planned = PLANNED.get(name)
        coming = COMING.get(name)
        over = planned is not None and breaches(through, planned * came)
        over |= coming is not None and breaches(came, coming * n)
        table.append(
            {
                "rung": name, "size": size, "searches": n,
                "came, share": came / n,
                "coming, planned": coming,
                "times a search": tried / n,
                "through": through,
                "through, share": through / came,
                "through, planned": planned,
                "of all, share": through / n,
                "result": "-" if planned is coming is None else "over" if over else "ok",
            }
        )  # fmt: skip
    return table


def rungs(rows: Sequence[Row]) -> list[Row]:
    """Tables by rung of all images, of each size, and of the photographs that the plan is about."""
    table = by_rung(rows)
    for name in SIDES:
        part = [row for row in rows if side_class(row["height"], row["width"]) == name]
        table += by_rung(part, f"short side {name}") if part else []
    part = [
        row for row in rows if row["kind"] == PHOTOGRAPH and min(row["height"], row["width"]) >= LEAST_PLANNED
    ]
    return table + (by_rung(part, f"photographs, {LEAST_PLANNED} pixels a side and more") if part else [])


def by_kind(rows: Sequence[Row]) -> list[Row]:
    """What each kind of image looked like, and what a search cost."""
    table = []
    names = sorted({name for row in rows for name in row["rungs"]})
    for kind in sorted({row["kind"] for row in rows}):
        part = [row for row in rows if row["kind"] == kind]
        n = sum(row["searches"] for row in part)
        came = {name: sum(row["rungs"].get(name, (0,))[0] for row in part) / n for name in names}
        table.append(
            {
                "kind": kind, "images": len(part), "searches": n,
                **{name: sum(row[name] for row in part) for name in ("detected", "possible", "messages")},
                "best score": max(row["best"] for row in part),
                "best of an image, median": sorted(row["best"] for row in part)[len(part) // 2],
                **{f"{name}, share": share for name, share in came.items()},
                "mean ms": sum(row["ms"] for row in part) / n,
                "most ms": max(row["most_ms"] for row in part),
            }
        )  # fmt: skip
    return table


def scores(rows: Iterable[Row]) -> list[Row]:
    """The score of each image for its first key: one row an image."""
    names = ("kind", "attack", "height", "width", "score")
    return [{name: row[name] for name in names} for row in rows]


def thresholds(rows: Sequence[Row]) -> list[Row]:
    """Scores that 0.1 % of the unmarked images exceed, all and by size, with 95 % bounds by order."""
    from scipy.stats import binom

    table = []
    for name in ("all", *SIDES):
        part = [row for row in rows if name in ("all", side_class(row["height"], row["width"]))]
        if len(part) * _RATE < 1:
            continue
        found = sorted((row["score"] for row in part), reverse=True)
        few, many = (int(binom.ppf(share, len(part), _RATE)) for share in (0.025, 0.975))
        table.append(
            {
                "of": f"short side {name}" if name != "all" else name,
                "images": len(part), "rate": f"{_RATE:g}",
                "score": exceeded_by(found, _RATE), "from": found[min(many + 1, len(found) - 1)],
                "to": found[max(few - 1, 0)], "highest": found[0], "median": found[len(found) // 2],
            }
        )  # fmt: skip
    return table
