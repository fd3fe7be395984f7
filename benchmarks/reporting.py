"""What an image of `fastmark report` costs: seconds of one core and memory, by size and extent.

Photographs that scikit-image ships, at several sizes, each in a process of its own. The least squares over
sizes stand beside the constants of `fastmark/reporting/measuring.py`, by which a report tells how long it
takes. The time of SSIMULACRA2 is told apart, as its package may be absent; its memory is in the image's.
"""

from __future__ import annotations

import argparse
import io
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from _common import fitted, header, in_processes, one_thread_each, print_table, seeded_bytes, write_csv
from PIL import Image

Row = dict[str, Any]

PHOTOGRAPHS = ("astronaut", "coffee", "chelsea")
SIDES = (384, 512, 768, 1024, 2048)
NULL_KEYS = 20


def measured(photograph: str, side: int, extent: str) -> Row:
    """Measure one image as a report does, after a small one that compiles and plans; in a fresh process."""
    from skimage import data

    from fastmark.bulk.records import Item
    from fastmark.codec.key import Key
    from fastmark.reporting import quality
    from fastmark.reporting.trials import ReportJob

    key = Key(seeded_bytes("reporting"))
    job = ReportJob(key, 64, 1.0, None, extent, NULL_KEYS, 1, 1 << 30, {})  # type: ignore[arg-type]
    worker = job.worker()
    rgb = getattr(data, photograph)()

    def work(n: int) -> None:
        file = io.BytesIO()
        Image.fromarray(fitted(rgb, n, n)).save(file, "PNG", compress_level=1)
        state, _, _ = worker.work(file.getvalue(), Item("image.png", path="image.png"))
        assert state == "measured", state

    work(256)
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    work(side)
    seconds = time.process_time() - start
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    pixels = fitted(rgb, side, side)
    start = time.process_time()
    quality.ssimulacra2(pixels, pixels)
    scored = time.process_time() - start
    return {"photograph": photograph, "megapixels": side * side / 1e6, "attacks": extent,
            "seconds": seconds - scored, "ssimulacra2 seconds": scored, "grown MB": grown / 1024}  # fmt: skip


def fits(rows: list[Row]) -> list[Row]:
    """Seconds per image and per megapixel beside the code's; the most memory at one and four megapixels."""
    from fastmark.reporting import measuring, quality

    table: list[Row] = []
    for extent, (each, per_megapixel) in measuring._SECONDS.items():
        part = [row for row in rows if row["attacks"] == extent]
        x = np.array([[1.0, row["megapixels"]] for row in part])
        weights = 1 / x[:, 1] ** 0.5  # large images would decide alone
        found = np.linalg.lstsq(x * weights[:, None], np.array([r["seconds"] for r in part]) * weights)[0]
        grown = {side: max(r["grown MB"] for r in part if r["megapixels"] == side * side / 1e6)
                 for side in (1024, 2048)}  # fmt: skip
        table.append(
            {
                "attacks": extent, "images": len(part),
                "seconds per image": float(found[0]), "in the code": each,
                "seconds per megapixel": float(found[1]), "in the code, per megapixel": per_megapixel,
                "MB at 1024 x 1024": grown[1024], "MB at 2048 x 2048": grown[2048],
            }
        )  # fmt: skip
    scored = [row for row in rows if row["megapixels"] <= quality.SCORED_SIDE**2 / 1e6]
    per = float(np.mean([row["ssimulacra2 seconds"] / row["megapixels"] for row in scored]))
    table.append({"attacks": "SSIMULACRA2", "images": len(scored), "seconds per image": 0.0,
                  "in the code": 0.0, "seconds per megapixel": per,
                  "in the code, per megapixel": measuring._SSIMULACRA2_SECONDS})  # fmt: skip
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, help="CSV, one row an image, and the fit")
    options = parser.parse_args()
    one_thread_each()
    jobs = [(photo, side, extent) for extent in ("quick", "full") for side in SIDES for photo in PHOTOGRAPHS]
    rows: list[Row] = []
    for job in jobs:  # a process for each: memory is never given back
        for _, row in in_processes(measured, [job], 1):
            rows.append(row)
            print(row, file=sys.stderr)
    head = header("reporting", 1, null_keys=NULL_KEYS)
    print(*head, sep="\n")
    table = fits(rows)
    print_table("what an image costs", [{**dict.fromkeys(table[0]), **row} for row in table])
    if options.output:
        write_csv(options.output, head, [*rows, *table])


if __name__ == "__main__":
    main()
