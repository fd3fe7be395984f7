"""What the mark costs the picture: PSNR, SSIM, SSIMULACRA2, and the time to embed it.

SSIMULACRA2 in Python takes 3.4 s and half a gigabyte a megapixel; pictures above 4.2 MP are therefore scored
by their centre 2048 x 2048 pixels, and the column `scored` says so. PSNR and SSIM see the whole picture.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from _common import (
    find_pictures,
    header,
    label,
    one_thread_each,
    print_table,
    read_rgb,
    seeded_bytes,
    write_csv,
)

TARGETS_TOGETHER = {"ssimulacra2": (86.0, 82.0)}  # of two watermarks
TARGETS = {"psnr_db": (45.0, 42.0), "ssimulacra2": (88.0, 84.0)}  # mean, worst
SCORED_SIDE = 2048

Row = dict[str, Any]


def psnr_db(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal to noise over the three channels, as a report has it; 99 where nothing changed."""
    from fastmark.reporting import quality  # loads numba, which looks for its threads then

    return quality.psnr_db(a, b)


def luma_ssim(a: np.ndarray, b: np.ndarray) -> float:
    """SSIM of Wang et al. (2004): Gaussian window of sigma 1.5, on luma."""
    from skimage.metrics import structural_similarity

    weights = np.array([0.299, 0.587, 0.114], np.float32)
    planes = (a.astype(np.float32) @ weights, b.astype(np.float32) @ weights)
    options = {"data_range": 255, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return float(structural_similarity(*planes, **options))


def ssimulacra2(a: np.ndarray, b: np.ndarray) -> tuple[float, str]:
    """Score, and which part was scored."""
    from fastmark.reporting import quality

    height, width = a.shape[:2]
    if height * width > SCORED_SIDE**2:
        return quality.ssimulacra2(a, b, SCORED_SIDE), "centre"
    return quality.ssimulacra2(a, b, max(height, width)), "whole"


def measure(marker: Any, path: Path, message_bits: int, *, public: bool = False) -> Row:
    """Mark one picture and compare."""
    rgb = read_rgb(path)
    row: Row = {"picture": label(path), "size": f"{rgb.shape[1]}x{rgb.shape[0]}"}
    message = int.from_bytes(seeded_bytes(f"message {path.name}", message_bits // 8))
    times, options = [], {}
    if public:
        from fastmark.public import PublicCode

        options["public"] = PublicCode.of(
            "ai-generated", 65535, int.from_bytes(seeded_bytes(f"free {path.name}", 4))
        )
    try:
        for _ in range(3):
            start = time.perf_counter()
            marked, report = marker.embed_report(rgb, message, **options)
            times.append(1e3 * (time.perf_counter() - start))
    except Exception as error:
        return row | {"error": f"{type(error).__name__}: {error}"}
    score, part = ssimulacra2(rgb, marked)
    return row | {
        "psnr_db": psnr_db(rgb, marked),
        "ssim": luma_ssim(rgb, marked),
        "ssimulacra2": score,
        "scored": part,
        "max_delta": int(np.abs(rgb.astype(np.int16) - marked).max()),
        "tones": report.tones,
        "strength": float(report.strength),
        "reported_psnr_db": float(report.psnr_db),
        "embed_ms": min(times),
        "warnings": "; ".join(map(str, report.warnings)),
    }


def summarise(rows: list[Row], targets: dict[str, tuple[float, float]]) -> list[Row]:
    """Mean and worst of each measure, for all pictures and for each folder."""
    table = []
    folders = sorted({row["picture"].split("/")[0] for row in rows})
    for folder in ["all", *folders] if len(folders) > 1 else ["all"]:
        part = [row for row in rows if folder in ("all", row["picture"].split("/")[0])]
        line: Row = {"pictures": folder, "n": len(part)}
        for name in ("psnr_db", "ssim", "ssimulacra2"):
            values = [row[name] for row in part]
            line[f"{name} mean"] = statistics.mean(values)
            line[f"{name} worst"] = min(values)
        short = [
            name
            for name, (mean, worst) in targets.items()
            if line[f"{name} mean"] < mean or line[f"{name} worst"] < worst
        ]
        line["median embed_ms"] = statistics.median(row["embed_ms"] for row in part)
        line["result"] = "SHORT: " + ", ".join(short) if short else "pass"
        table.append(line)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument("--pictures", type=int, default=0, help="only so many, spread over all")
    parser.add_argument("--message-bits", type=int, default=64)
    parser.add_argument("--strength", type=float, default=1.0)
    parser.add_argument("--public", action="store_true", help="embed the public watermark too")
    parser.add_argument("-o", "--output", type=Path, help="CSV, one row a picture")
    options = parser.parse_args()

    one_thread_each()
    head = header(
        "quality", 1, message_bits=options.message_bits, strength=options.strength, public=options.public
    )
    print(*head, sep="\n")
    import fastmark as fm

    key = fm.Key(secret=seeded_bytes("key 0"), name="bench-0")
    marker = fm.Watermarker(key, message_bits=options.message_bits, strength=options.strength)
    rows = []
    for path in find_pictures(options.folders, options.pictures):
        rows.append(measure(marker, path, options.message_bits, public=options.public))
        print(label(path), file=sys.stderr)

    carried = [row for row in rows if "error" not in row]
    columns = (
        "picture",
        "size",
        "psnr_db",
        "ssim",
        "ssimulacra2",
        "scored",
        "max_delta",
        "tones",
        "strength",
    )
    columns += ("embed_ms", "warnings")
    table = [{name: row[name] for name in columns} for row in carried]
    print_table("by picture", table)
    print_table("refused", [row for row in rows if "error" in row])
    if carried:
        print_table(
            "mean and worst, against the targets",
            summarise(carried, TARGETS_TOGETHER if options.public else TARGETS),
        )
    if options.output:
        write_csv(options.output, head, rows)


if __name__ == "__main__":
    main()
