"""The README's tables, from the results in benchmarks/results: printed, or put in their place with `--write`.

Shares are rounded down: 100 % means every trial.
"""

from __future__ import annotations

import argparse
import csv
import math
import statistics
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"
README = Path(__file__).resolve().parent.parent / "README.md"
BEGIN = "<!-- begin of measured tables: python benchmarks/readme_table.py --write -->"
END = "<!-- end of measured tables -->"
SPEED_BEGIN = "<!-- begin of speed comparison: python benchmarks/readme_table.py --write -->"
SPEED_END = "<!-- end of speed comparison -->"
SCAN_BEGIN = "<!-- begin of archive scan: python benchmarks/readme_table.py --write -->"
SCAN_END = "<!-- end of archive scan -->"

SMALL_SIDE = 500  # pixels

LABELS = {
    "none": "untouched",
    "everyday": "everyday: JPEG 30, WebP 60, AVIF 40 and better; scaled by 0.3 to 2; cropped to 15 % of the"
    " area; rotated, mirrored, framed; tones and colours changed; noise, mild filters; 30 % covered;"
    " screenshots, messengers",
    "jpeg-20": "JPEG quality 20",
    "jpeg-10": "JPEG quality 10",
    "webp-50": "WebP quality 50",
    "webp-20": "WebP quality 20",
    "resize-0.25": "scaled by 0.25, and back again",
    "thumbnail-256": "fitted into 256 pixels, JPEG 75",
    "large-1080": "2 megapixels and more, fitted into 1080 pixels, JPEG 71",
    "large-800": "2 megapixels and more, fitted into 800 pixels, JPEG 71",
    "large-512": "2 megapixels and more, fitted into 512 pixels, JPEG 71",
    "crop-10": "cropped to 10 % of the area",
    "crop-5": "cropped to 5 % of the area",
    "crop-large-10": "2 megapixels and more, cropped to 10 % of the area",
    "crop-large-4": "2 megapixels and more, cropped to 4 % of the area",
    "geometry-hard": "shear, perspective and keystone of 5 %",
    "bend-3": "bent in waves of 3 pixels",
    "nlm-strong": "strong denoising (non-local means)",
    "blur-4": "Gaussian blur, standard deviation 4 pixels",
    "notch-200": "the 200 strongest lines of the spectrum removed",
    "beyond": "beyond what is promised: JPEG 5, WebP 30, photographed from a screen, noise 50, ...",
}

SPEED_SIZE = "1024x1024"
SPEED_MEASURES = ("mark_ms", "detect_marked_ms", "detect_unmarked_ms")
JPEG = "JPEG quality 90 (Pillow)"  # its encoding is a scale for marking, its decoding for detecting

_MEASURES = {"psnr_db": ("PSNR, dB", 1), "ssim": ("SSIM", 4), "ssimulacra2": ("SSIMULACRA2", 1)}


def read_commented(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """The comment lines, and the rows."""
    lines = path.read_text(encoding="utf-8").splitlines()
    head = [line.removeprefix("# ") for line in lines if line.startswith("# ")]
    return head, list(csv.DictReader(line for line in lines if not line.startswith("# ")))


def read_results(path: Path) -> tuple[str, list[dict[str, str]]]:
    """First comment line (what was measured), and the rows."""
    head, rows = read_commented(path)
    return next(iter(head), ""), rows


def markdown(rows: Iterable[Mapping[str, str]]) -> list[str]:
    """Lines of a table; all columns but the first are numbers."""
    rows = list(rows)
    names = list(rows[0])
    lines = [names, ["---"] + ["---:"] * (len(names) - 1), *([row[name] for name in names] for row in rows)]
    return [f"| {' | '.join(cells)} |" for cells in lines]


def percent(text: str) -> str:
    """A share with one decimal, rounded down."""
    return f"{math.floor(10 * float(text) + 1e-6) / 10:g} %"


def survival(path: Path) -> list[str]:
    head, rows = read_results(path)
    table = markdown(
        {
            "what happened to the picture": LABELS.get(row["group"], row["group"]),
            "trials": row["n"],
            "message read": percent(row["message %"]),
            "mark detected": percent(row["presence %"]),
            "wrong message": row["wrong"],
        }
        for row in rows
    )
    return [*table, "", f"Measured with `{head}`.{by_size(path.with_name('robustness.csv'))}"]


def by_size(path: Path) -> str:
    """The everyday row by the size of the picture: the signal goes with the root of the area."""
    if not path.exists():
        return ""
    _, rows = read_results(path)
    everyday = [row for row in rows if row["group"] == "everyday"]
    parts = []
    for name, part in (
        ("of 500 pixels and more a side", [row for row in everyday if least_side(row) >= SMALL_SIDE]),
        ("of smaller ones", [row for row in everyday if least_side(row) < SMALL_SIDE]),
    ):
        read = percent(str(100 * sum(row["message_ok"] == "1" for row in part) / max(len(part), 1)))
        found = percent(str(100 * sum(row["state"] == "detected" for row in part) / max(len(part), 1)))
        parts.append(f"{name} {read} and {found}")
    return f" Everyday, read and detected: pictures {', '.join(parts)}."


def least_side(row: Mapping[str, str]) -> int:
    return min(int(row["height"]), int(row["width"]))


def quality(path: Path) -> list[str]:
    head, rows = read_results(path)
    marked = [row for row in rows if row.get("psnr_db")]
    table = markdown(
        {
            "difference from the original": name,
            "mean": f"{statistics.mean(float(row[column]) for row in marked):.{digits}f}",
            "worst": f"{min(float(row[column]) for row in marked):.{digits}f}",
        }
        for column, (name, digits) in _MEASURES.items()
    )
    refused = len(rows) - len(marked)
    return [*table, "", f"{len(marked)} pictures marked, {refused} refused. Measured with `{head}`."]


def speed_summary(rows: Iterable[Mapping[str, Any]], size: str) -> list[dict[str, Any]]:
    """One row a tool: medians a megapixel over pictures of one size, how often the message came back, errors.

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


def brief(value: float) -> str:
    """Two significant digits, or a whole number."""
    return f"{value:.{max(0, 1 - math.floor(math.log10(value)))}f}"


def speed_row(line: Mapping[str, Any], jpeg: Mapping[str, Any]) -> dict[str, str]:
    """A row of the README for one tool, beside JPEG's."""

    def cell(name: str, scale: float | None = 1.0, suffix: str = "") -> str:
        return brief(line[name] / scale) + suffix if line[name] and scale else ""

    mark, marked, unmarked = SPEED_MEASURES
    is_jpeg = line["tool"] == JPEG
    return {
        "milliseconds a megapixel": line["tool"] + (line["error"] and f" (failed: {line['error']})"),
        "marking": cell(mark, suffix=" (encoding)" if is_jpeg else ""),
        "detecting, marked": cell(marked),
        "detecting, unmarked": cell(unmarked, suffix=" (decoding)" if is_jpeg else ""),
        "marking ÷ JPEG encoding": cell(mark, jpeg.get(mark)),
        "detecting, unmarked ÷ JPEG decoding": cell(unmarked, jpeg.get(unmarked)),
        "message read back": line["read"],
    }


def speed(results: Path) -> str:
    """The picture and the table of the comparison with other packages; empty without results."""
    path = results / "compare.csv"
    if not path.exists():
        return ""
    head, rows = read_commented(path)
    lines = speed_summary(rows, SPEED_SIZE)
    jpeg = next((line for line in lines if line["tool"] == JPEG), {})
    parts = [
        "![Milliseconds a megapixel of marking and detecting, by tool](benchmarks/results/compare.svg)",
        "",
        *markdown(speed_row(line, jpeg) for line in lines),
        "",
        f"Pictures of {SPEED_SIZE.replace('x', ' x ')} pixels, from memory to memory, 64 bits, one thread,"
        " every tool at its defaults; a message with a wrong bit counts as not read. It is not the same work:"
        " the other packages' decoders expect every pixel where it was written, and answer with a message for"
        " any picture; fastmark searches scales, rotations and crops, and tells marked from unmarked."
        f" Measured with `{head[0]}` on `{head[1]}`.",
    ]
    return "\n".join(parts)


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
            "scanning an archive": row["what"],
            "pictures a second": brief(float(row["pictures a second"])),
            "peak memory, MB": brief(float(row["peak MB"])) if row["rows"] else "",
            "marked": row["marked"],
            "found": row["found"],
            "false": row["false"],
            "rows lost or doubled": row["doubled or lost"],
        }
        for row in [*scans, *alone]
    )
    words = (
        "JPEGs of 0.1 to 3 megapixels as files, in tars and in Parquet files; the whole command is timed,"
        " with its start. `detect alone` is a bare loop over `fastmark.detect`, all at the same time."
        f" Measured with `{head[0]}` on `{head[1]}`."
    )
    return "\n".join([*table, "", words])


def tables(results: Path) -> str:
    """All tables there are results for, as Markdown; empty without any."""
    parts = []
    for name, make in (("robustness-groups.csv", survival), ("quality.csv", quality)):
        if (results / name).exists():
            parts.append("\n".join(make(results / name)))
    return "\n\n".join(parts)


BLOCKS = ((BEGIN, END, tables), (SPEED_BEGIN, SPEED_END, speed), (SCAN_BEGIN, SCAN_END, scan))


def between_marks(text: str, begin: str = BEGIN, end: str = END) -> tuple[str, str, str]:
    """The README before, between and behind a pair of marks."""
    before, _, rest = text.partition(begin)
    inside, mark, after = rest.partition(end)
    if not mark:
        raise SystemExit(f"the README has lost the marks that its tables stand between: {begin} {end}")
    return before, inside.strip("\n"), after


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="replace the README's tables")
    options = parser.parse_args()
    blocks = [(begin, end, make(RESULTS)) for begin, end, make in BLOCKS]
    if not any(text for _, _, text in blocks):
        raise SystemExit(f"no robustness-groups.csv, quality.csv, compare.csv or bulk.csv in {RESULTS}")
    if not options.write:
        print("\n\n".join(text for _, _, text in blocks if text))
        return
    readme = README.read_text(encoding="utf-8")
    for begin, end, text in blocks:
        if text:  # a block without results stays as it is
            before, _, after = between_marks(readme, begin, end)
            readme = f"{before}{begin}\n\n{text}\n\n{end}{after}"
    README.write_text(readme, encoding="utf-8")


if __name__ == "__main__":
    main()
