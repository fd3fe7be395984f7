"""Crops of large images: which messages are read, and how often chance reaches what is followed up.

Images of at least 1000 pixels a side are marked and cropped: the middle, the bottom right corner and random
places. Each crop is searched for its own key; then the tones of other keys are looked for at every whole
number of samples per unit (`fastmark/detection/integer_units.py`). `all` counts searches in which any of
these scales is followed up, `dense` those that ask anchors.
"""

from __future__ import annotations

import argparse
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from _calibration import carriers
from _common import (
    find_pictures,
    header,
    in_processes,
    label,
    one_thread_each,
    print_table,
    read_rgb,
    write_csv,
)

PERCENT = (10, 5, 4)
LEAST_SIDE = 1000  # pixels


def boxes(height: int, width: int, percent: int, n_random: int) -> list[tuple[int, int, int, int]]:
    """Top, left, height and width of the crops to a share of the area."""
    h, w = (round(n * math.sqrt(percent / 100)) for n in (height, width))
    rng = np.random.default_rng([height, width, percent])
    corners = [((height - h) // 2, (width - w) // 2), (height - h, width - w)]
    corners += [
        (int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))) for _ in range(n_random)
    ]
    return [(top, left, h, w) for top, left in corners]


def crops_of(
    path: Path, number: int, n_random: int, n_keys: int
) -> tuple[list[dict[str, Any]], Counter[str]]:
    """Rows by share of the area, and how often other keys' scales and looks were followed up."""
    import fastmark as fm
    from fastmark.codec.message import MessageCode
    from fastmark.codec.plane import pixels_per_unit
    from fastmark.detection.analysis import Analysis
    from fastmark.detection.detector import KeyDetector
    from fastmark.detection.integer_units import whole_units
    from fastmark.detection.logpolar import Templates
    from fastmark.detection.scores import ScorePlanes

    rgb = read_rgb(path)
    own, *others = carriers(n_keys + 1)
    templates = [Templates(carrier) for carrier in others]
    marker, message = fm.Watermarker(own.key), 0x1111 * (number + 1)
    detector = KeyDetector(own, MessageCode(64))
    marked = marker.embed(rgb, message)
    rows, reached = [], Counter[str]()
    for percent in PERCENT:
        read = present = 0
        places = boxes(*rgb.shape[:2], percent, n_random)
        for top, left, height, width in places:
            crop = np.ascontiguousarray(marked[top : top + height, left : left + width])
            k = pixels_per_unit(height, width)
            analysis = Analysis(ScorePlanes(crop, k))
            found = detector.detect(analysis, k)
            read += found.message == message
            present += found.state == "detected"
            for carrier, template in zip(others, templates, strict=True):
                units = whole_units(analysis, template)
                reached.update(str(unit.samples) for unit in units)
                looks = [kind for unit in units for kind, _, _ in unit.looks(analysis, carrier)]
                reached.update({"all": len(units) > 0, "dense": "dense units" in looks, "searches": 1})
        rows.append(
            {
                "picture": label(path),
                "percent": percent,
                "crops": len(places),
                "read": read,
                "present": present,
            }
        )
    return rows, reached


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pictures", nargs="+", type=Path)
    parser.add_argument("--random", type=int, default=4, help="random places of each share")
    parser.add_argument("--keys", type=int, default=10, help="other keys that are looked for")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    one_thread_each()
    pictures = [p for p in find_pictures(options.pictures) if min(read_rgb(p).shape[:2]) >= LEAST_SIDE]
    jobs = [(path, n, options.random, options.keys) for n, path in enumerate(pictures)]
    results = [found for _, found in sorted(in_processes(crops_of, jobs, options.workers))]
    rows = [row for found, _ in results for row in found]
    reached = sum((counts for _, counts in results), Counter[str]())
    searches = max(reached.pop("searches", 0), 1)
    chance = [{"samples": name, "share_percent": 100 * reached[name] / searches} for name in sorted(reached)]
    totals = []
    for percent in PERCENT:
        part = [row for row in rows if row["percent"] == percent]
        totals.append(
            {"percent": percent} | {n: sum(row[n] for row in part) for n in ("crops", "read", "present")}
        )
    print_table("crops by share of the area", totals)
    print_table(f"other keys: share of {searches} searches that follow up", chance)
    if options.output:
        head = header("crops.py", options.workers, random=options.random, keys=options.keys)
        write_csv(options.output, head, [*rows, *({"picture": "chance"} | row for row in chance)])


if __name__ == "__main__":
    main()
