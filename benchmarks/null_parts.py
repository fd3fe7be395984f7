"""How often each part of the evidence is strong by chance, at one fixed place: the tail against its bound.

`null.py` judges whole searches, whose union bounds leave hardly any p-value below 1: it can show that nothing
is accused, not that a part is sound. Here nothing is searched. Every unmarked crop is read with every key at
torus place (0, 0), and the three bounds are taken as they are: the pilot's phases, the anchors, and the data
chips against the codeword of message 0.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from _common import (
    breaches,
    find_pictures,
    header,
    in_processes,
    one_thread_each,
    print_table,
    read_rgb,
    seeded_bytes,
    write_csv,
)

Row = dict[str, Any]

SIDE = 320
LEVELS = (0.5, 0.1, 1e-2, 1e-3, 1e-4, 1e-5)


@cache
def carriers(n_keys: int) -> list[Any]:
    """Carriers of the numbered benchmark keys."""
    from fastmark.codec.carrier import Carrier
    from fastmark.codec.key import Key

    return [Carrier(Key(seeded_bytes(f"null parts, key {n}"))) for n in range(n_keys)]


def crops(path: Path, number: int) -> list[np.ndarray]:
    """Seeded crops of one picture, 320 pixels a side."""
    rgb = read_rgb(path)
    rng = np.random.default_rng(int.from_bytes(seeded_bytes(f"null parts {path.name}", 8)))
    places = [[int(rng.integers(max(n - SIDE, 0) + 1)) for n in rgb.shape[:2]] for _ in range(number)]
    return [np.ascontiguousarray(rgb[y : y + SIDE, x : x + SIDE]) for y, x in places]


def run_picture(path: Path, n_keys: int, n_crops: int) -> np.ndarray:
    """Bounds of all crops and keys: float64 (trials, 3), natural logarithms."""
    from fastmark.codec.message import MessageCode
    from fastmark.codec.plane import canonical_plane
    from fastmark.detection import evidence
    from fastmark.detection.resampling import resample
    from fastmark.detection.scores import ScorePlanes
    from fastmark.detection.soft_bits import ChipBlocks
    from fastmark.detection.torus import TorusSpectrum

    signs = 1.0 - 2.0 * MessageCode(64).encode(0)
    rows = []
    for crop in crops(path, n_crops):
        planes = ScorePlanes(canonical_plane(crop, 1))
        torus = TorusSpectrum(planes, np.eye(2), 1)
        grid = resample(planes, np.eye(2), np.zeros(2))
        blocks = ChipBlocks.of(grid.scores, grid.inside)
        for carrier in carriers(n_keys):
            total, variance = blocks.soft_bits(carrier, (0, 0))
            rows.append(
                (
                    -torus.coherence(carrier, 96, (0, 0)),
                    evidence.sign_sum_bound(float(total[-1]), float(variance[-1])),
                    evidence.sign_sum_bound(float(signs @ total[:-1]), float(variance[:-1].sum())),
                )
            )
    return np.array(rows)


def tail(bounds: np.ndarray) -> list[Row]:
    """Compare the share of bounds at or below each level with the level."""
    table = []
    for level in LEVELS:
        row: Row = {"p <=": f"{level:g}", "allowed": bounds.shape[0] * level}
        seen = (bounds <= np.log(level)).sum(axis=0)
        row |= dict(zip(("phases", "anchors", "chips"), map(int, seen), strict=True))
        fault = breaches(int(seen.max()), row["allowed"])
        table.append(row | {"result": "FAULT" if fault else "ok"})
    return table


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument("--keys", type=int, default=100)
    parser.add_argument("--crops", type=int, default=10, help="of each picture")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("-o", "--output", type=Path, help="CSV of the table")
    options = parser.parse_args(arguments)

    one_thread_each()
    paths = find_pictures(options.folders)
    jobs = [(path, options.keys, options.crops) for path in paths]
    bounds = np.concatenate([part for _, part in in_processes(run_picture, jobs, options.workers)])
    settings = {"pictures": len(paths), "crops": options.crops, "keys": options.keys, "trials": len(bounds)}
    head = header("null_parts", options.workers, **settings)
    print(*head, sep="\n")
    table = tail(bounds)
    print_table(f"bounds of {len(bounds)} unmarked trials at one place", table)
    if options.output:
        write_csv(options.output, head, table)


if __name__ == "__main__":
    main()
