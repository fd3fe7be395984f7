"""The tables of others.csv: of numbers or of the texts of a file. What another does better comes first."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]
Table = tuple[str, list[dict[str, str]]]
OWN = "fastmark"
TIMES = {
    "embed_ms": "embedding, ms per megapixel",
    "detect_ms": "detecting, marked, ms per megapixel",
    "unmarked_ms": "detecting, unmarked, ms per megapixel",
}


def summary(rows: Iterable[Row]) -> list[Table]:
    """Titles and tables, as texts: first where another tool does better than fastmark, then all."""
    rows = [row for row in rows if not row.get("error") or row.get("attack")]
    return [
        ("where another does better than fastmark, on the images and attacks of both", losses(rows)),
        ("what each is and costs", costs(rows)),
        ("message read exactly", rates(rows, "message_ok")),
        ("the watermark that one looks for is there, at 1e-6 false positives", rates(rows, "known")),
        ("right bits, where bits are given", rates(rows, "accuracy")),
        ("said of unmarked images", accusations(rows)),
    ]


def _value(row: Row, name: str) -> float | None:
    value = row.get(name)
    return None if value in (None, "") else float(value)  # type: ignore[arg-type]


def _of(
    rows: Iterable[Row], *, marked: bool, tool: str | None = None, attack: str | None = None
) -> list[Row]:
    return [
        row
        for row in rows
        if int(row["marked"]) == marked and tool in (None, row["tool"]) and attack in (None, row["attack"])
    ]


def _mean(rows: Iterable[Row], name: str) -> float | None:
    values = [value for row in rows if (value := _value(row, name)) is not None]
    return statistics.mean(values) if values else None


def tools_of(rows: Iterable[Row]) -> list[str]:
    return list(dict.fromkeys(row["tool"] for row in rows))


def attacks_of(rows: Iterable[Row]) -> list[str]:
    return list(dict.fromkeys(row["attack"] for row in rows))


def in_common(rows: Sequence[Row], tool: str) -> tuple[list[Row], list[Row]]:
    """Marked rows of fastmark and of a tool, of the images and attacks that both have."""

    def place(row: Row) -> tuple[str, str, str]:
        return row["picture"], str(row["side"]), row["attack"]

    own, other = (_of(rows, marked=True, tool=name) for name in (OWN, tool))
    shared = {place(row) for row in own} & {place(row) for row in other}
    return [row for row in own if place(row) in shared], [row for row in other if place(row) in shared]


def percent(share: float | None) -> str:
    """A share in whole per cent, rounded down: 100 % means every trial."""
    return "" if share is None else f"{int(100 * share + 1e-9)} %"


def losses(rows: Sequence[Row]) -> list[dict[str, str]]:
    """A row for each measure in which a tool is better, the widest gaps between rates first."""
    lines: list[tuple[float, dict[str, str]]] = []

    def compare(
        tool: str, measure: str, theirs: float | None, ours: float | None, images: int,
        text: Callable[[float], str], larger: bool = True,
    ) -> None:  # fmt: skip
        if theirs is None or ours is None or (theirs <= ours if larger else theirs >= ours):
            return
        gap = theirs - ours if text is percent else 0.0
        lines.append((-gap, {
            "measure": measure, "tool": tool, "there": text(theirs), "fastmark": text(ours),
            "images": str(images),
        }))  # fmt: skip

    for tool in tools_of(rows):
        if tool.startswith(OWN):
            continue
        own, other = in_common(rows, tool)
        for attack in attacks_of(other):
            a, b = (_of(part, marked=True, attack=attack) for part in (own, other))
            compare(
                tool, f"message, {attack}", _mean(b, "message_ok"), _mean(a, "message_ok"), len(b), percent
            )
            compare(tool, f"present, {attack}", _mean(b, "known"), _mean(a, "known"), len(b), percent)
        a, b = (_of(part, marked=True, attack="none") for part in (own, other))
        for name, title in (("psnr_db", "PSNR, dB"), ("ssimulacra2", "SSIMULACRA2")):
            compare(tool, title, _mean(b, name), _mean(a, name), len(b), lambda x: f"{x:.1f}")
        for side in dict.fromkeys(str(row["side"]) for row in b):
            images = sum(str(row["side"]) == side for row in b)
            for name, title in TIMES.items():
                theirs, ours = (time_per_megapixel(rows, t, side, name) for t in (tool, OWN))
                title = f"{title}, {side} x {side}"
                compare(tool, title, theirs, ours, images, lambda x: f"{x:.0f}", larger=False)
    return [line for _, line in sorted(lines, key=lambda pair: pair[0])]


def time_per_megapixel(rows: Iterable[Row], tool: str, side: str, name: str) -> float | None:
    """Median of the processor time of an untouched image, in milliseconds per megapixel."""
    part = _of(rows, marked=name != "unmarked_ms", tool=tool, attack="none")
    column = "detect_ms" if name == "unmarked_ms" else name
    values = [_value(row, column) for row in part if str(row["side"]) == side]
    known = [value for value in values if value is not None]
    return statistics.median(known) / (1e-6 * int(side) ** 2) if known else None


def costs(rows: Sequence[Row]) -> list[dict[str, str]]:
    """A row per tool: payload, quality and times of untouched images; quality of images of 512 pixels."""
    sides = sorted({str(row["side"]) for row in rows}, key=int)
    side = "512" if "512" in sides else sides[0]
    lines = []
    for tool in tools_of(rows):
        marked = [row for row in _of(rows, marked=True, tool=tool, attack="none") if str(row["side"]) == side]
        line = {
            "tool": tool,
            "bits": str(marked[0]["bits"]) if marked else "",
            "images": str(len(marked)),
        }
        for name, title in (("psnr_db", "PSNR, dB"), ("ssimulacra2", "SSIMULACRA2")):
            mean = _mean(marked, name)
            line[title] = "" if mean is None else f"{mean:.1f}"
        for name, title in TIMES.items():
            value = time_per_megapixel(rows, tool, side, name)
            line[title] = "" if value is None else f"{value:.0f}"
        lines.append(line)
    return lines


def rates(rows: Sequence[Row], name: str) -> list[dict[str, str]]:
    """A row per attack, a column per tool; attacks at which another does better first, then the hardest.

    Each share is over the images that the tool was tried on; slow ones were tried on fewer.
    """
    tools = tools_of(rows)
    lines = []
    for attack in attacks_of(_of(rows, marked=True)):
        shares = {tool: _mean(_of(rows, marked=True, tool=tool, attack=attack), name) for tool in tools}
        ours, better = shares.get(OWN), False
        for tool in tools:
            pair = [_mean(_of(part, marked=True, attack=attack), name) for part in in_common(rows, tool)]
            better |= not tool.startswith(OWN) and None not in pair and pair[1] > pair[0]  # type: ignore[operator]
        order = (not better, 1.0 if ours is None else ours)
        lines.append((order, {"attack": attack} | {tool: percent(share) for tool, share in shares.items()}))
    return [line for _, line in sorted(lines, key=lambda pair: pair[0])]


def accusations(rows: Sequence[Row]) -> list[dict[str, str]]:
    """A row per tool: how often it says of an unmarked image that it has a watermark."""
    lines = []
    for tool in tools_of(rows):
        part = [row for row in _of(rows, marked=False, tool=tool) if not row.get("error")]
        said, known = (sum(int(float(row[name])) for row in part) for name in ("says", "known"))
        lines.append(
            {
                "tool": tool,
                "unmarked images": str(len(part)),
                "says there is a watermark": str(said),
                "says it is the one looked for, at 1e-6": str(known),
            }
        )
    return lines
