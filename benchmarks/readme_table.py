"""The tables and figures of both README files, from benchmarks/results: printed, or written with `--write`.

Shares are rounded down: 100 % means every trial.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import _evidence as evidence
from _speed_tables import (
    SPEED_SIZE,
    accepting,
    brief_scan,
    chart,
    layers,
    rejecting,
    scan,
    speed,
    speed_summary,
)
from _tables import (
    DETAILS,
    MEASURES,
    README,
    RESULTS,
    Block,
    brief,
    counts,
    markdown,
    measured,
    of_quality,
    percent,
    read_commented,
    source,
    write,
)

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
    "typical-more": "JPEG XL of quality 50; noise of light, 60 photons at white",
    "local-edits": "20 and 40 % masked black; 30 % blurred; strokes, stickers; 40 % of it pasted elsewhere",
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


def quality(results: Path) -> str:
    """The table of visible quality; empty without results."""
    path = results / "quality.csv"
    if not path.exists():
        return ""
    head, rows = read_commented(path)
    table = markdown(
        {"difference from the original": MEASURES[column][0], "mean": mean, "worst": worst}
        for column, (mean, worst) in of_quality(rows).items()
    )
    marked = sum(bool(row.get("psnr_db")) for row in rows)
    words = f"{marked} images marked, {len(rows) - marked} refused. {measured(head, path.name)}"
    return "\n".join([*table, "", words])


def figures(results: Path) -> str:
    """The three figures that the README begins with; empty unless there are results for each of them."""
    names = ("quality.csv", "robustness-groups.csv", "compare.csv", "null-kinds.csv")
    if not all((results / name).exists() for name in names):
        return ""
    (_, looks), (_, groups), (_, times), (null, _) = (read_commented(results / name) for name in names)
    (psnr, least_psnr), (score, least_score) = (
        of_quality(looks)[column] for column in ("psnr_db", "ssimulacra2")
    )
    images = sum(bool(row.get("psnr_db")) for row in looks)
    everyday = next(row for row in groups if row["group"] == "everyday")
    speed = next(line for line in speed_summary(times, SPEED_SIZE) if line["tool"] == "fastmark")
    counted = evidence.counted(null)
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
            f" `detected` means p <= 1e-9; {counted['searches']:,} searches of unmarked images gave"
            f" {counted['detected']} false detections"
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


PAPER, FROM_PAPER = README.parent / "fastmark" / "PAPER.md", "../benchmarks/results/"

BLOCKS = (
    Block(README, "figures", figures),
    Block(README, "unmarked images", evidence.null_sentence),
    Block(README, "classes of handling", evidence.classes),
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
    Block(DETAILS, "other tools", evidence.others),
    Block(DETAILS, "networks", evidence.nets),
    Block(DETAILS, "attackers", evidence.security),
    Block(PAPER, "unmarked images", evidence.null),
    Block(PAPER, "classes of the paper", partial(evidence.classes, link=FROM_PAPER)),
    Block(PAPER, "curves of the paper", evidence.curves),
    Block(PAPER, "predictions of the paper", evidence.predicted),
    Block(PAPER, "quality of the paper", evidence.quality),
    Block(PAPER, "other tools of the paper", evidence.losses),
    Block(PAPER, "networks of the paper", partial(evidence.nets, link=FROM_PAPER)),
    Block(PAPER, "attackers of the paper", evidence.attackers),
)


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
