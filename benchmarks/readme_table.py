"""The tables and figures of both README files, from benchmarks/results: printed, or written with `--write`.

Shares are rounded down: 100 % means every trial.
"""

from __future__ import annotations

import argparse
import csv
import math
import re
import statistics
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

BENCHMARKS = Path(__file__).resolve().parent
RESULTS = BENCHMARKS / "results"
README = BENCHMARKS.parent / "README.md"
DETAILS = BENCHMARKS / "README.md"

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
    "screen-1080p": "a web page or slide of 1920 x 1080 that shows it at 300 to 800 pixels, PNG or JPEG",
    "screen-larger": "screenshots of 1600 x 1200 and 2560 x 1440 that show it",
    "phone": "on a phone: upright video, a post in a feed, an article, a chat shrunk to 1600 pixels",
    "posted-small": "with captions, fitted into 640 pixels; its middle as an avatar of 400 pixels",
    "screen-4k": "screenshots of 3840 x 2160 that show it at about 600 pixels, deep search",
    "screen-tiny": "screenshots that show it at about 350 pixels, deep search",
    "beyond": "beyond what is promised: JPEG 5, WebP 30, photographed from a screen, noise 50, ...",
}

BRIEF_LABELS = {  # the README's table: first cells that fit a phone, and the groups each adds up
    "Untouched": ("none",),
    "Everyday handling": ("everyday",),
    "JPEG 10": ("jpeg-10",),
    "WebP 20": ("webp-20",),
    "Shrunk to 256 px": ("thumbnail-256",),
    "Cropped to 10 %": ("crop-10", "crop-large-10"),
    "Cropped to 4-5 %": ("crop-5", "crop-large-4"),
    "Perspective 5 %": ("geometry-hard",),
    "Bent in waves": ("bend-3",),
    "Blur, 4 px": ("blur-4",),
    "Screens, phones": ("screen-1080p", "screen-larger", "phone", "posted-small"),
    "Small on 4K, deep": ("screen-4k",),
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


def markdown(rows: Iterable[Mapping[str, str]]) -> list[str]:
    """Lines of a table; all columns but the first are numbers."""
    rows = list(rows)
    names = list(rows[0])
    lines = [names, ["---"] + ["---:"] * (len(names) - 1), *([row[name] for name in names] for row in rows)]
    return [f"| {' | '.join(cells)} |" for cells in lines]


def percent(text: str) -> str:
    """A share with one decimal, rounded down."""
    return f"{math.floor(10 * float(text) + 1e-6) / 10:g} %"


def counts(row: Mapping[str, str]) -> tuple[int, int, int]:
    """Return a group's trials, messages read and marks detected, from its shares."""
    n = int(row["n"])
    return n, round(n * float(row["message %"]) / 100), round(n * float(row["presence %"]) / 100)


def source(name: str) -> str:
    """Link a result from the README."""
    return f"[{name}](benchmarks/results/{name})"


def measured(head: list[str], name: str, link: str = "results/") -> str:
    """Say which version, on which machine, and where the rest is written."""
    version = re.search(r"fastmark [0-9.]*[0-9]", head[0])
    machine = head[1].partition(" cores,")[0] + " cores"
    return f"Measured with {version[0] if version else 'fastmark'} on {machine}: [{name}]({link}{name})."


def survival(results: Path) -> str:
    """The table of all groups of attacks; empty without results."""
    path = results / "robustness-groups.csv"
    if not path.exists():
        return ""
    head, rows = read_commented(path)
    table = markdown(
        {
            "what happened to the image": LABELS.get(row["group"], row["group"]),
            "trials": row["n"],
            "message read": percent(row["message %"]),
            "watermark detected": percent(row["presence %"]),
            "wrong message": row["wrong"],
        }
        for row in rows
    )
    words = f"{measured(head, path.name)}{by_size(results / 'robustness.csv')}"
    return "\n".join([*table, "", words])


def brief_survival(results: Path) -> str:
    """The README's table of survival, the groups of each row added up; empty without results."""
    path = results / "robustness-groups.csv"
    if not path.exists():
        return ""
    head, rows = read_commented(path)
    groups = {row["group"]: counts(row) for row in rows}
    lines = []
    for label, names in BRIEF_LABELS.items():
        parts = [groups[name] for name in names if name in groups]
        if parts:
            n, read, found = (sum(column) for column in zip(*parts, strict=True))
            lines.append(
                {
                    "after": label,
                    "message read": percent(str(100 * read / n)),
                    "detected": percent(str(100 * found / n)),
                    "trials": str(n),
                }
            )
    wrong, trials = (sum(int(row[name]) for row in rows) for name in ("wrong", "n"))
    everyday = LABELS["everyday"].removeprefix("everyday: ")
    words = (
        f"*Everyday handling*: {everyday}. {wrong or 'None'} of the {trials} trials gave a wrong message."
        f"{by_size(results / 'robustness.csv')} The table of all attacks is in"
        " [benchmarks/README.md](benchmarks/README.md)."
        f" {measured(head, path.name, 'benchmarks/results/')}"
    )
    return "\n".join([*markdown(lines), "", words])


def by_size(path: Path) -> str:
    """The everyday row by the size of the image: the signal goes with the root of the area."""
    if not path.exists():
        return ""
    _, rows = read_commented(path)
    everyday = [row for row in rows if row["group"] == "everyday"]
    read, found = [], []
    for part in (
        [row for row in everyday if least_side(row) >= SMALL_SIDE],
        [row for row in everyday if least_side(row) < SMALL_SIDE],
    ):
        n = max(len(part), 1)
        read.append(percent(str(100 * sum(row["message_ok"] == "1" for row in part) / n)))
        found.append(percent(str(100 * sum(row["state"] == "detected" for row in part) / n)))
    return (
        f" Small images hold less: of the everyday trials, the message is read in {read[0]} on images of at"
        f" least {SMALL_SIDE} pixels per side and in {read[1]} on smaller ones (detected: {found[0]} and"
        f" {found[1]})."
    )


def least_side(row: Mapping[str, str]) -> int:
    return min(int(row["height"]), int(row["width"]))


def of_quality(rows: Iterable[Mapping[str, str]]) -> dict[str, tuple[str, str]]:
    """Mean and worst of each measure of quality, as texts."""
    marked = [row for row in rows if row.get("psnr_db")]
    values = {column: [float(row[column]) for row in marked] for column in _MEASURES}
    return {
        column: (f"{statistics.mean(values[column]):.{digits}f}", f"{min(values[column]):.{digits}f}")
        for column, (_, digits) in _MEASURES.items()
    }


def quality(results: Path) -> str:
    """The table of visible quality; empty without results."""
    path = results / "quality.csv"
    if not path.exists():
        return ""
    head, rows = read_commented(path)
    table = markdown(
        {"difference from the original": _MEASURES[column][0], "mean": mean, "worst": worst}
        for column, (mean, worst) in of_quality(rows).items()
    )
    marked = sum(bool(row.get("psnr_db")) for row in rows)
    words = f"{marked} images marked, {len(rows) - marked} refused. {measured(head, path.name)}"
    return "\n".join([*table, "", words])


def figures(results: Path) -> str:
    """The three figures that the README begins with; empty unless there are results for each of them."""
    names = ("quality.csv", "robustness-groups.csv", "compare.csv", "null.csv")
    if not all((results / name).exists() for name in names):
        return ""
    (_, looks), (_, groups), (_, times), (null, _) = (read_commented(results / name) for name in names)
    (psnr, least_psnr), (score, least_score) = (
        of_quality(looks)[column] for column in ("psnr_db", "ssimulacra2")
    )
    images = sum(bool(row.get("psnr_db")) for row in looks)
    everyday = next(row for row in groups if row["group"] == "everyday")
    speed = next(line for line in speed_summary(times, SPEED_SIZE) if line["tool"] == "fastmark")
    counted = next(line for line in null if " detected" in line)
    trials, false = re.findall(r"(\d+) (?:trials|detected)", counted)[:2]
    detect_ms = max(speed["detect_marked_ms"], speed["detect_unmarked_ms"])
    return "\n".join(
        [
            f"- **Invisible.** PSNR {psnr} dB and SSIMULACRA2 {score} on average over {images} images; the"
            f" worst are {least_psnr} dB and {least_score} ({source(names[0])}).",
            f"- **Survives handling.** The message is read in {percent(everyday['message %'])} of"
            f" {everyday['n']} everyday trials: JPEG 30, crops to 15 % of the area, any rotation,"
            f" screenshots, messengers ({source(names[1])}).",
            f"- **Fast and certain.** Embedding takes {brief(speed['mark_ms'])} ms and detection"
            f" {brief(detect_ms)} ms for one megapixel on one CPU thread ({source(names[2])})."
            f" `detected` means p <= 1e-9; {trials} trials on unmarked images gave {false} false detections"
            f" ({source(names[3])}).",
        ]
    )


def together(results: Path) -> str:
    """What two watermarks cost and survive; empty without results."""
    names = ("quality-public.csv", "robustness-public-groups.csv")
    if not all((results / name).exists() for name in names):
        return ""
    (_, looks), (head, groups) = (read_commented(results / name) for name in names)
    (psnr, _), (score, least) = (of_quality(looks)[column] for column in ("psnr_db", "ssimulacra2"))
    own, public = (
        next(row for row in groups if (row["watermark"], row["group"]) == (name, "everyday"))
        for name in ("own", "public")
    )
    images = sum(bool(row.get("psnr_db")) for row in looks)
    return (
        f"Both together show a little more than one: SSIMULACRA2 is {score} on average and {least} at"
        f" worst over {images} images, PSNR {psnr} dB ({source(names[0])}). After everyday handling the"
        f" message of the key is read in {percent(own['message %'])} of {own['n']} trials, and the public"
        f" watermark in {percent(public['message %'])}. {measured(head, names[1], 'benchmarks/results/')}"
    )


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


def brief(value: float) -> str:
    """Two significant digits, or a whole number."""
    return f"{value:.{max(0, 1 - math.floor(math.log10(value)))}f}"


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


class Block(NamedTuple):
    """A part of a README that is made from results."""

    path: Path
    name: str
    make: Callable[[Path], str]

    @property
    def begin(self) -> str:
        return f"<!-- begin of {self.name}: python benchmarks/readme_table.py --write -->"

    @property
    def end(self) -> str:
        return f"<!-- end of {self.name} -->"


BLOCKS = (
    Block(README, "figures", figures),
    Block(README, "two watermarks", together),
    Block(README, "speed chart", chart),
    Block(README, "speed of rejecting", rejecting),
    Block(README, "survival", brief_survival),
    Block(README, "cost of layers", layers),
    Block(README, "speed of a scan", brief_scan),
    Block(DETAILS, "survival in full", survival),
    Block(DETAILS, "quality", quality),
    Block(DETAILS, "speed comparison", speed),
    Block(DETAILS, "speed over many images", accepting),
    Block(DETAILS, "archive scan", scan),
)


def between_marks(text: str, block: Block) -> tuple[str, str, str]:
    """Text before, between and behind a pair of marks."""
    before, _, rest = text.partition(block.begin)
    inside, mark, after = rest.partition(block.end)
    if not mark:
        raise SystemExit(
            f"{block.path} has lost the marks that a part stands between: {block.begin} {block.end}"
        )
    return before, inside.strip("\n"), after


def write(block: Block, text: str) -> None:
    """Put a part in its place; without results it stays as it is."""
    if text:
        page = block.path.read_text(encoding="utf-8")
        before, _, after = between_marks(page, block)
        block.path.write_text(f"{before}{block.begin}\n\n{text}\n\n{block.end}{after}", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="replace these parts of both README files")
    options = parser.parse_args()
    texts = [(block, block.make(RESULTS)) for block in BLOCKS]
    if not any(text for _, text in texts):
        raise SystemExit(f"no results in {RESULTS}")
    if options.write:
        for block, text in texts:
            write(block, text)
    else:
        print("\n\n".join(text for _, text in texts if text))


if __name__ == "__main__":
    main()
