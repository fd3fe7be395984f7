"""Does a mark survive what embedding predicts it survives? Predicted margins against the detector's answers.

Pictures of many sizes are marked at several strengths and message lengths, so that predictions lie on both
sides of 1; then they are compressed, scaled, cropped and shown on a screen, and searched. `--fit` prints the
constants of `fastmark/embedding/survival.py` as these trials would have them.
"""

from __future__ import annotations

import argparse
import io
import itertools
import math
from collections.abc import Sequence
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
from _tables import RESULTS
from PIL import Image

Row = dict[str, Any]

TRIALS = tuple(itertools.product((64, 32, 128, 96), (1.0, 0.7, 0.5)))
"""Message bits and strengths, one after the other along the pictures."""

BINS = (0.0, 0.7, 0.9, 1.1, 1.4, math.inf)
LONGEST = 768  # pixels; smaller pictures are looked at as they are
N_DRAWN = 12

# ---- pictures ----------------------------------------------------------------------------------------


def drawn(number: int) -> np.ndarray:
    """A scene of waves, discs and noise, some with next to none: RGB."""
    rng = np.random.default_rng([number, 12])
    height, width = (int(n) for n in rng.integers(200, 720, 2))
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    scene = np.full((height, width, 3), 110, np.float32) + (50 * y / height)[..., None]
    for fy, fx, phase in rng.uniform([-0.15, -0.15, 0], [0.15, 0.15, 6.28], (6, 3)):
        scene += (rng.uniform(0, 12) * np.cos(2 * np.pi * (fy * y + fx * x) + phase))[..., None]
    for top, left, size in rng.random((10, 3)):
        inside = np.hypot(y - top * height, x - left * width) < 0.2 * size * min(height, width)
        scene[inside] += rng.uniform(-70, 70, 3)
    scene += rng.normal(0, (0.5, 3, 8)[number % 3], (height, width, 1))
    return np.clip(scene, 0, 255).astype(np.uint8)


def reduced(rgb: np.ndarray, side: int, *, short: bool) -> np.ndarray:
    """Reduced to a short side, or a long one, of so many pixels; smaller ones as they are."""
    now = min(rgb.shape[:2]) if short else max(rgb.shape[:2])
    if now <= side:
        return rgb
    size = [round(n * side / now) for n in rgb.shape[1::-1]]
    return np.array(Image.fromarray(rgb).resize((size[0], size[1]), Image.Resampling.LANCZOS))


def variants(path: Path, number: int) -> list[tuple[str, np.ndarray]]:
    """Sizes and parts of the n-th picture, with their names."""
    rgb = read_rgb(path)
    if min(rgb.shape[:2]) >= 1200:
        found = [(f"short side {side}", reduced(rgb, side, short=True)) for side in (700, 1000, 1300, 1700)]
        return [*found, ("as it is", rgb)]
    usual = f"{LONGEST} at most", reduced(rgb, LONGEST, short=False)
    if number % 2:
        return [usual, ("400 at most", reduced(rgb, 400, short=False))]
    top, left = max(rgb.shape[0] - 256, 0) // 2, max(rgb.shape[1] - 320, 0) // 2
    return [usual, ("middle", np.ascontiguousarray(rgb[top : top + 256, left : left + 320]))]


# ---- the references ----------------------------------------------------------------------------------


def jpeg(rgb: np.ndarray) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, "JPEG", quality=50)
    return np.array(Image.open(file).convert("RGB"))


def half(rgb: np.ndarray) -> np.ndarray:
    size = rgb.shape[1] // 2, rgb.shape[0] // 2
    return np.array(Image.fromarray(rgb).resize(size, Image.Resampling.LANCZOS))


def crop(rgb: np.ndarray) -> np.ndarray:
    height, width = rgb.shape[0] // 2, rgb.shape[1] // 2
    top, left = height // 2, width // 2
    return np.ascontiguousarray(rgb[top : top + height, left : left + width])


def screenshot(rgb: np.ndarray) -> np.ndarray:
    """Shown at half size, or as large as fits, on a grey screen with a bar."""
    from fastmark.embedding.survival import SCREEN, SCREEN_BAR

    rows, columns = SCREEN
    scale = min(0.5, (rows - SCREEN_BAR) / rgb.shape[0], columns / rgb.shape[1])
    size = round(rgb.shape[1] * scale), round(rgb.shape[0] * scale)
    shown = np.array(Image.fromarray(rgb).resize(size, Image.Resampling.BOX))
    canvas = np.full((rows, columns, 3), 200, np.uint8)
    canvas[:SCREEN_BAR] = 60
    top = SCREEN_BAR + (rows - SCREEN_BAR - size[1]) // 2
    left = (columns - size[0]) // 2
    canvas[top : top + size[1], left : left + size[0]] = shown
    return canvas


ATTACKS = {"jpeg": jpeg, "half": half, "crop": crop, "screenshot": screenshot}

# ---- trials ------------------------------------------------------------------------------------------


@cache
def marker(bits: int, strength: float) -> Any:
    from fastmark import Key, Watermarker

    return Watermarker(Key(seeded_bytes("survival")), message_bits=bits, strength=strength)


def trials_of(path: Path | None, number: int) -> list[tuple[Row, Any]]:
    """Mark the variants of a picture, or draw one, and try every reference: rows, and what was measured."""
    pictures = variants(path, number) if path is not None else [("drawn", drawn(number))]
    name = label(path) if path is not None else f"drawn/{number}"
    return [
        one
        for i, (variant, rgb) in enumerate(pictures)
        for one in trial(rgb, f"{name}, {variant}", *TRIALS[(5 * number + i) % len(TRIALS)])
    ]


def trial(rgb: np.ndarray, name: str, bits: int, strength: float) -> list[tuple[Row, Any]]:
    from fastmark.embedding import survival
    from fastmark.errors import FastmarkError

    seen: list[Any] = []
    predict = survival.Looks.survival

    def noted(looks: Any, needed: float) -> Any:
        seen.append(looks)
        return predict(looks, needed)

    one, message = marker(bits, strength), seeded_bytes(name, bits // 8)
    survival.Looks.survival = noted  # type: ignore[method-assign]
    try:
        marked, report = one.embed_report(rgb, message)
    except FastmarkError:
        return []
    finally:
        survival.Looks.survival = predict  # type: ignore[method-assign]
    predicted = {s.reference: s.margin for s in report.survival}
    rows = []
    for reference, attack in ATTACKS.items():
        found = one.detect(attack(marked))
        row = {
            "picture": name, "pixels": rgb.shape[0] * rgb.shape[1], "k": report.pixels_per_unit,
            "bits": bits, "strength": report.strength, "tones": report.tones,
            "sampled": int(len(seen) == 1 and min(rgb.shape[:2]) // report.pixels_per_unit >= 384),
            "reference": reference, "predicted": predicted[reference],
            "read": int(found.message_bytes == message), "detected": int(found.detected),
            "margin": found.margin or 0.0,
        }  # fmt: skip
        rows.append((row, seen[-1]))
    return rows


# ---- what comes of it --------------------------------------------------------------------------------


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Rank correlation, ties at their mean rank."""
    from scipy.stats import spearmanr

    return float(spearmanr(a, b).statistic) if len(set(a)) > 1 and len(set(b)) > 1 else math.nan


def summary(rows: Sequence[Row]) -> list[Row]:
    """Rank correlations and shares read by predicted margin, of each reference and of all."""
    lines = []
    for reference in (*ATTACKS, "all"):
        part = [row for row in rows if reference in (row["reference"], "all")]
        predicted, margin, read = (np.array([r[n] for r in part]) for n in ("predicted", "margin", "read"))
        line: Row = {
            "reference": reference,
            "trials": len(part),
            "read": float(read.mean()),
            "rank correlation, margin": spearman(predicted, margin),
            "of those read": spearman(predicted[read == 1], margin[read == 1]),
            "success": spearman(predicted, read),
        }
        for low, high in itertools.pairwise(BINS):
            inside = (predicted >= low) & (predicted < high)
            name = f"{low:g}-{high:g}" if math.isfinite(high) else f">{low:g}"
            line[name] = f"{int(read[inside].sum())}/{int(inside.sum())}"
        lines.append(line)
    return lines


# ---- the fit -----------------------------------------------------------------------------------------

STEEPNESS = 12.0
"""Of the share read as a logistic function of the logarithm of the predicted margin."""

GRID = {
    "NEEDED_SCORE": np.arange(2.0, 9.01, 0.25),
    "NEEDED_NATS": np.arange(8.0, 32.1, 1.0),
    "NEEDED_PLACE_Z": np.arange(3.5, 7.01, 0.1),
}


def loss(found: Sequence[tuple[Row, Any]]) -> float:
    """Minus the mean log-likelihood of what was read, given the predictions of the constants as they are."""
    from fastmark.codec.message import NEEDED_Z

    total = 0.0
    for row, looks in found:
        margin = getattr(looks.survival(NEEDED_Z[row["bits"]]), row["reference"])
        score = STEEPNESS * math.log(max(margin, 0.05))
        total += math.log1p(math.exp(-score if row["read"] else score))
    return total / len(found)


def fit(found: Sequence[tuple[Row, Any]]) -> list[Row]:
    """Fit the constants: the share of z by the median of what was read, thresholds by likelihood in turn."""
    from fastmark.codec.message import NEEDED_Z
    from fastmark.embedding import survival

    names = ("HALF_SHARE", *GRID)
    before = {name: getattr(survival, name) for name in names}
    ratios = [
        row["margin"] * NEEDED_Z[row["bits"]] / looks.half.message
        for row, looks in found
        if row["k"] == 1 and row["reference"] in ("half", "screenshot") and row["read"]
    ]
    survival.HALF_SHARE = float(np.median(ratios))
    for _ in range(3):
        for name, values in GRID.items():
            losses = []
            for value in values:
                setattr(survival, name, float(value))
                losses.append(loss(found))
            setattr(survival, name, float(values[int(np.argmin(losses))]))
    return [{"name": name, "in code": before[name], "found": getattr(survival, name)} for name in names]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument("--images", type=int, default=0, help="only so many, spread over all")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--fit", action="store_true", help="print constants, and what they would predict")
    parser.add_argument("-o", "--output", type=Path, default=RESULTS / "survival.csv")
    options = parser.parse_args(arguments)

    one_thread_each()
    paths: list[Path | None] = [*find_pictures(options.folders, options.images), *[None] * N_DRAWN]
    jobs = [(path, number) for number, path in enumerate(paths)]
    head = header("survival", options.workers, images=options.images or "all")
    print(*head, sep="\n")
    done = sorted(in_processes(trials_of, jobs, options.workers), key=lambda pair: pair[0])
    found = [one for _, part in done for one in part]
    rows = [row for row, _ in found]
    print_table(f"share read by predicted margin, {len(rows) // len(ATTACKS)} marked pictures", summary(rows))
    write_csv(options.output, head, rows)
    if options.fit:
        from fastmark.codec.message import NEEDED_Z

        print(f"loss {loss(found):.3f}")
        print_table("constants of fastmark/embedding/survival.py", fit(found))
        print(f"loss {loss(found):.3f}")
        for row, looks in found:
            row["predicted"] = getattr(looks.survival(NEEDED_Z[row["bits"]]), row["reference"])
        print_table("with the constants found", summary(rows))


if __name__ == "__main__":
    main()
