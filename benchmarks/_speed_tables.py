"""The tables of speed and cost in the documents, from results; each is empty without results."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from _tables import brief, markdown, measured, read_commented

SPEED_SIZE = "1024x1024"
SPEED_MEASURES = ("mark_ms", "detect_marked_ms", "detect_unmarked_ms")
JPEG = "JPEG quality 90 (Pillow)"  # its encoding is a scale for marking, its decoding for detecting


def speed_summary(rows: Iterable[Mapping[str, Any]], size: str) -> list[dict[str, Any]]:
    """One row per tool: medians per megapixel over images of one size, messages read back, errors.

    Values are numbers, or the texts of a CSV file. A tool that could not be used has an error and no size.
    """
    rows = [row for row in rows if (row.get("size") or size) == size]
    summary = []
    for tool in dict.fromkeys(row["tool"] for row in rows):
        part = [row for row in rows if row["tool"] == tool]
        line: dict[str, Any] = {"tool": tool}
        for name in SPEED_MEASURES:
            values = [float(row[f"{name}_per_mp"]) for row in part if row.get(f"{name}_per_mp")]
            line[name] = statistics.median(values) if values else None
        answers = [int(row["message_read"]) for row in part if row.get("message_read") not in (None, "")]
        line["read"] = f"{sum(answers)} of {len(answers)}" if answers else ""
        line["error"] = "; ".join(dict.fromkeys(row["error"] for row in part if row.get("error")))
        summary.append(line)
    return summary


def speed_row(line: Mapping[str, Any], jpeg: Mapping[str, Any]) -> dict[str, str]:
    """A row of the table for one tool, beside JPEG's."""

    def cell(name: str, scale: float | None = 1.0, suffix: str = "") -> str:
        return brief(line[name] / scale) + suffix if line[name] and scale else ""

    mark, marked, unmarked = SPEED_MEASURES
    is_jpeg = line["tool"] == JPEG
    return {
        "milliseconds per megapixel": line["tool"] + (line["error"] and f" (failed: {line['error']})"),
        "embedding": cell(mark, suffix=" (encoding)" if is_jpeg else ""),
        "detecting, marked": cell(marked),
        "detecting, unmarked": cell(unmarked, suffix=" (decoding)" if is_jpeg else ""),
        "embedding ÷ JPEG encoding": cell(mark, jpeg.get(mark)),
        "detecting, unmarked ÷ JPEG decoding": cell(unmarked, jpeg.get(unmarked)),
        "message read back": line["read"],
    }


def chart(results: Path) -> str:
    """The README's chart of speed and what it shows; empty without results."""
    path = results / "compare.csv"
    if not path.exists():
        return ""
    head, _ = read_commented(path)
    pixels = SPEED_SIZE.replace("x", " x ")
    return "\n".join(
        [
            "![Milliseconds per megapixel to embed and to detect, by tool](benchmarks/results/compare.svg)",
            "",
            f"Images of {pixels} pixels, in memory, 64 bits, one thread, every tool at its defaults. The work"
            " is not the same: the other decoders expect every pixel where it was written and return a"
            " message for any image; fastmark searches scales, rotations and crops, and tells watermarked"
            f" from unmarked images. {measured(head, path.name, 'benchmarks/results/')}",
        ]
    )


def speed(results: Path) -> str:
    """The table of the comparison with other packages; empty without results."""
    path = results / "compare.csv"
    if not path.exists():
        return ""
    head, rows = read_commented(path)
    lines = speed_summary(rows, SPEED_SIZE)
    jpeg = next((line for line in lines if line["tool"] == JPEG), {})
    words = (
        "As the chart, with JPEG and a bare copy for scale; a message with a wrong bit counts as not read."
        f" With {head[0].partition(': ')[2].replace(', message_bits 64', '')}. {measured(head, path.name)}"
    )
    return "\n".join([*markdown(speed_row(line, jpeg) for line in lines), "", words])


def over_many(results: Path) -> tuple[list[str], list[dict[str, str]]]:
    """The comment lines of speed.csv, and its rows over many images; none without results."""
    path = results / "speed.csv"
    head, rows = read_commented(path) if path.exists() else ([], [])
    return head, [row for row in rows if row["table"] in ("rejecting", "accepting", "further keys")]


def rejecting(results: Path) -> str:
    """The README's table of what an unmarked image costs, by size; empty without results."""
    head, rows = over_many(results)
    rows = [row for row in rows if row["table"] == "rejecting"]
    if not rows:
        return ""
    table = markdown(
        {
            "unmarked JPEG": " x ".join(row["what"].removeprefix("reject ").split("x")),
            "images": row["pictures"],
            "decoding, ms": brief(float(row["decode ms"])),
            "detecting, ms": brief(float(row["ms"])),
            "detecting ÷ decoding": brief(float(row["mean ratio"])),
            "99th percentile": brief(float(row["p99 ratio"])),
        }
        for row in rows
    )
    suspected = sum(int(row["not absent"]) for row in rows)
    wrong = f"{suspected} of them were not `absent`." if suspected else "All of them were `absent`."
    words = (
        "Means over different images, working time of one thread; the 99th percentile is over the mean time"
        f" of decoding. {wrong}"
        f" {measured(head, 'speed.csv', 'benchmarks/results/')}"
    )
    return "\n".join([*table, "", words])


def accepting(results: Path) -> str:
    """The table of marked images and of further keys; empty without results."""
    head, rows = over_many(results)
    rows = [row for row in rows if row["table"] != "rejecting"]
    if not rows:
        return ""
    table = markdown(
        {
            "over decoding the image": row["what"].replace("x", " x "),
            "images": row["pictures"],
            "ms": brief(float(row["ms"])),
            "mean": brief(float(row["mean ratio"])),
            "median": brief(float(row["median ratio"])),
            "99th percentile": brief(float(row["p99 ratio"])),
            "reach": row["reach"],
        }
        for row in rows
    )
    words = f"`accept`: marked images, message and all. {measured(head, 'speed.csv')}"
    return "\n".join([*table, "", words])


def scan(results: Path) -> str:
    """The table of scanning an archive; empty without results."""
    path = results / "bulk.csv"
    if not path.exists():
        return ""
    head, rows = read_commented(path)
    scans = [row for row in rows if row["rows"]]
    alone = [row for row in rows if not row["rows"] and "alone" in row["what"]]
    table = markdown(
        {
            "scanning an archive": row["what"].replace(" 1 processes", " 1 process"),
            "images per second": brief(float(row["pictures a second"])),
            "peak memory, MB": brief(float(row["peak MB"])) if row["rows"] else "",
            "marked": row["marked"],
            "found": row["found"],
            "false": row["false"],
            "rows lost or duplicated": row["doubled or lost"],
        }
        for row in [*scans, *alone]
    )
    words = (
        "JPEGs of 0.1 to 3 megapixels as files, in tars and in Parquet files; the whole command is timed,"
        " including its start. `detect alone` is a bare loop over `fastmark.detect`. "
        + measured(head, path.name)
    )
    return "\n".join([*table, "", words])


def brief_scan(results: Path) -> str:
    """What the README says of the speed of a scan; empty without results."""
    path = results / "bulk.csv"
    if not path.exists():
        return ""
    head, rows = read_commented(path)
    parts = [
        f"{brief(float(row['pictures a second']))} images per second ({row['what']}, peak memory"
        f" {brief(float(row['peak MB']))} MB)"
        for row in rows
        if row["rows"]
    ]
    return f"Speed: {'; '.join(parts)}. {measured(head, path.name, 'benchmarks/results/')}"


def layers(results: Path) -> str:
    """What each layer beside the watermark costs; empty without results."""
    path = results / "delivery.csv"
    if not path.exists():
        return ""
    head, rows = read_commented(path)
    sizes = sorted({float(row["megapixels"]) for row in rows})
    columns = [(form, size) for form in ("JPEG", "PNG") for size in sizes if size > 0.5]
    cells = {(row["format"], float(row["megapixels"]), row["layer"]): row["median_ms"] for row in rows}
    names = dict.fromkeys(row["layer"] for row in rows if not row["layer"].startswith("decoding"))
    table = markdown(
        {"milliseconds": name}
        | {f"{form}, {size:.0f} MP": brief(float(cells[form, size, name])) for form, size in columns}
        for name in names
    )
    words = (
        "Medians over 24 images, processor time of one thread. The registry is SQLite, which waits for the"
        " disk twice per image: this time is not in the table. "
        + measured(head, path.name, "benchmarks/results/")
    )
    return "\n".join([*table, "", words])
