"""What is hardening worth, quality by quality of JPEG, and what does it show? Where its constants come from.

Each variant is a set of qualities over whose thresholds the mark is pushed, a price of the energy of a push,
and a limit. Images are marked with each and compressed at qualities that are in the set and between those
that are; the score of the detector, in nats, says how much is left, and SSIMULACRA2 how much shows.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from _common import header, one_thread_each, print_table, seeded_bytes, write_csv
from _rejecting import parts_of
from _resuming import resumed

Row = dict[str, Any]

QUALITIES = (10, 12, 15, 18, 20, 22, 25, 27, 30, 33, 35, 40, 50, 60, 75)
MULTIPLES = (10, 15, 20, 25, 30, 35, 40)
TWO = (10, 10, 10, 20, 20, 20, 20)  # what was hardened against before, by the same kernel
# name -> (seven qualities, price, limit)
VARIANTS: dict[str, tuple[tuple[int, ...], float, float]] = {
    "not hardened": (MULTIPLES, 5.0, 1.0),
    "qualities 10 and 20": (TWO, 5.0, 3.0),
    "seven, price 3": (MULTIPLES, 3.0, 3.0),
    "seven, price 5": (MULTIPLES, 5.0, 3.0),
    "seven, price 7": (MULTIPLES, 7.0, 3.0),
    "seven, price 5, limit 2": (MULTIPLES, 5.0, 2.0),
}
SIZES = {"256x256": 12, "512x512": 6}


def run_image(folders: tuple[Path, ...], size: str, count: int, number: int, variant: str) -> list[Row]:
    """One image marked with a variant, at all qualities."""
    import _pixels as pix
    from _scores import search
    from quality import ssimulacra2

    import fastmark as fm
    from fastmark.embedding import hardening

    qualities, price, limit = VARIANTS[variant]
    hardening._STEPS = np.stack([hardening.jpeg_steps(quality).T for quality in qualities])
    hardening.COST, hardening.LIMIT = price, limit
    rgb = parts_of(folders, size, count)[number]
    marker = fm.Watermarker(fm.Key(seeded_bytes("hardening")))
    marked, report = marker.embed_report(rgb, int.from_bytes(seeded_bytes(f"message {number}", 8)))
    base = {"variant": variant, "size": size, "image": number, "psnr_db": report.psnr_db,
            "ssimulacra2": ssimulacra2(rgb, marked)[0]}  # fmt: skip
    found = {quality: search(pix.jpeg(marked, quality), marker.key_detector) for quality in QUALITIES}
    return [
        base | {"quality": q, "score": one.score, "read": int(one.message is not None)}
        for q, one in found.items()
    ]


def table(rows: list[Row]) -> list[Row]:
    """A row for each variant and size: what shows, and the nats that are left at each quality."""
    lines = []
    for variant in VARIANTS:
        for size in SIZES:
            part = [row for row in rows if (row["variant"], row["size"]) == (variant, size)]
            line: Row = {"variant": variant, "size": size, "images": len({row["image"] for row in part})}
            for name in ("psnr_db", "ssimulacra2"):
                line[name] = float(np.mean([row[name] for row in part]))
            line["read %"] = 100 * float(np.mean([row["read"] for row in part]))
            for quality in QUALITIES:
                line[f"nats, {quality}"] = round(
                    float(np.mean([row["score"] for row in part if row["quality"] == quality])), 1
                )
            lines.append(line)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="*", type=Path, metavar="FOLDER")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--journal", type=Path, help="file of what is done, to go on after a stop")
    parser.add_argument("-o", "--output", type=Path, help="CSV of the table")
    options = parser.parse_args()
    one_thread_each()
    folders = tuple(options.folders)
    jobs = [
        (folders, size, count, number, variant)
        for variant in VARIANTS
        for size, count in SIZES.items()
        for number in range(count)
    ]
    asked = {"folders": [str(one) for one in folders], "variants": VARIANTS}
    parts = resumed(run_image, jobs, options.workers, options.journal, asked)
    head = header("hardening", options.workers, images=sum(SIZES.values()), message_bits=64)
    print(*head, sep="\n")
    lines = table([row for part in parts for row in part])
    print_table("nats left after JPEG, by quality", lines)
    if options.output:
        write_csv(options.output, head, lines)


if __name__ == "__main__":
    main()
