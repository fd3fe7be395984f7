"""A second message on marked pictures, with the same key: is the new one read, and is it said where not?

Every picture is marked, goes one way to the second marking (as it is, cropped by odd amounts, through JPEG),
is marked with another message, and read; then once more after JPEG of quality 50. Besides, how far tones show
in marked pictures and in unmarked ones of many keys, from which the thresholds of
`fastmark/embedding/earlier.py` are taken.
"""

from __future__ import annotations

import argparse
import io
import itertools
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from _common import (
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
from PIL import Image

Row = dict[str, Any]
FIRST, SECOND = 0x1234567890ABCDEF, 0xFEDCBA0987654321
N_KEYS = 12
THRESHOLDS = (1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0)


def jpeg(rgb: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, "JPEG", quality=quality)
    return np.array(Image.open(file).convert("RGB"))


def cropped(rgb: np.ndarray, share: float) -> np.ndarray:
    """A part with so much of the area, from an odd row and column on."""
    height, width = rgb.shape[:2]
    rows, columns = (int(n * share**0.5) for n in (height, width))
    top, left = (height - rows) // 3 | 1, (width - columns) // 2 | 1
    return np.ascontiguousarray(rgb[top : top + rows, left : left + columns])


WAYS = {
    "as it is": lambda rgb: rgb,
    "cropped to 80 %": lambda rgb: cropped(rgb, 0.8),
    "cropped to 50 %": lambda rgb: cropped(rgb, 0.5),
    "JPEG 80": lambda rgb: jpeg(rgb, 80),
    "cropped to 50 %, JPEG 80": lambda rgb: jpeg(cropped(rgb, 0.5), 80),
}


@cache
def marker(number: int = 0) -> Any:
    import fastmark as fm

    return fm.Watermarker(fm.Key(secret=seeded_bytes(f"key {number}"), name=f"bench-{number}"))


def excesses(rgb: np.ndarray, keys: int) -> list[tuple[float, float]]:
    """How far the tones of so many keys show in a picture, at its own pixels per unit and at coarser ones."""
    from fastmark.embedding.earlier import MAX_COARSER, tone_excess
    from fastmark.embedding.host import Pixels
    from fastmark.embedding.marking import prepare_image

    image = Pixels.of(np.ascontiguousarray(rgb), 255.0)
    torus = prepare_image(image, 1).analysis.identity
    found = []
    for number in range(keys):
        carrier = marker(number).key_detector.carrier
        units = range(image.k, max(image.k, MAX_COARSER) + 1)
        shown = tone_excess(torus, carrier, [image.k / k for k in units])
        found.append((float(shown[0]), float(shown[1:].max(initial=0.0))))
    return found


def trials(path: Path) -> tuple[list[Row], list[tuple[float, float]]]:
    """All ways of one picture, and how far tones show in it unmarked."""
    import fastmark as fm

    rgb = read_rgb(path)
    rows: list[Row] = []
    name = label(path)
    null = [*excesses(rgb, N_KEYS), *excesses(cropped(rgb, 0.5), N_KEYS)]
    try:
        first = marker().embed(rgb, FIRST)
    except fm.FastmarkError as error:
        return [{"picture": name, "way": "", "outcome": "first message refused", "why": str(error)}], null
    for way, change in WAYS.items():
        before = change(first)
        shown, coarser = excesses(before, 1)[0]
        row: Row = {"picture": name, "way": way, "shown": shown, "coarser": coarser}
        row["before"] = "read" if marker().detect(before).message == FIRST else "not read"
        try:
            marked, report = marker().embed_report(before, SECOND)
        except fm.AlreadyMarkedError as error:
            row |= {"outcome": "refused", "why": str(error)}
        except (fm.ImageTooSmallError, fm.ImageTooFlatError) as error:
            row |= {"outcome": "too small", "why": str(error)}
        else:
            message = marker().detect(marked).message
            row |= {"outcome": _outcome(message), "action": report.action, "psnr_db": report.psnr_db}
            row["margin"] = report.margin_message
            row["jpeg 50"] = _outcome(marker().detect(jpeg(marked, 50)).message)
            kept = marker().embed_report(before, SECOND, on_marked="keep")[1].action
            row["keep"] = kept
        rows.append(row)
    return rows, null


def _outcome(message: int | None) -> str:
    return {SECOND: "new", FIRST: "first"}.get(message, "none" if message is None else "wrong")


def summary(rows: list[Row]) -> list[Row]:
    """A line per way."""
    from fastmark.embedding.earlier import SHOWN, SHOWN_COARSER

    lines = []
    for way, group in itertools.groupby(sorted(rows, key=lambda r: r["way"]), key=lambda r: r["way"]):
        some = list(group)
        if not way:
            continue
        count = {
            name: sum(r["outcome"] == name for r in some)
            for name in ("new", "refused", "too small", "first", "none")
        }
        lines.append(
            {
                "way": way,
                "trials": len(some),
                **count,
                "replaced": sum(r.get("action") == "replaced" for r in some),
                "new after JPEG 50": sum(r.get("jpeg 50") == "new" for r in some),
                "first after JPEG 50": sum(r.get("jpeg 50") == "first" for r in some),
                "least over threshold": min(
                    max(r["shown"] - SHOWN, r["coarser"] - SHOWN_COARSER) for r in some
                ),
            }
        )
    return lines


def main() -> None:
    """Run all pictures, print tables, write the CSV."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--pictures", type=int, default=0, help="so many, spread evenly; default: all")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    one_thread_each()
    paths = find_pictures(options.folders, options.pictures)
    done = dict(in_processes(trials, [(path,) for path in paths], options.workers))
    rows = [row for number in sorted(done) for row in done[number][0]]
    null = np.array([pair for number in sorted(done) for pair in done[number][1]])
    print_table("a second message on marked pictures", summary(rows))
    chance = [
        {"tones show": t, "of unmarked": float((null[:, 0] >= t).mean()),
         "coarser": float((null[:, 1] >= t).mean())}
        for t in THRESHOLDS
    ]  # fmt: skip
    print_table(f"how often chance shows as much, {len(null)} trials", chance)
    if options.output:
        head = header("again.py", options.workers, pictures=len(paths), keys=N_KEYS)
        head += [", ".join(f"{k} {v:g}" for k, v in line.items()) for line in chance]
        write_csv(options.output, head, rows)


if __name__ == "__main__":
    main()
