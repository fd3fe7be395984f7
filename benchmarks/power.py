"""How much of each handling the watermark survives: curves over the strength of an attack.

Seeded parts of images, at four sizes, each marked with messages of three lengths. After every attack three
things are asked: was the exact message read; was the watermark detected, at p <= 1e-9; and would it have been
at the threshold that lets 0.1 % of unmarked images through, which is the unit of the literature (TPR at 0.1 %
FPR). That threshold is measured by `null.py` on unmarked images of about the same size. It is on a score that
is not capped: the logarithm of the p-value with all that was searched paid for, which lies above 0 for most
unmarked images.

`--strengths` measures instead what less and more strength costs and brings, at one size.
`--classes` makes the table by the classes of the EU Code of Practice from the rows of `robustness.py`.
"""

from __future__ import annotations

import argparse
import statistics
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from _common import header, one_thread_each, print_table, seeded_bytes, write_csv
from _rejecting import parts_of
from _resuming import resumed
from _sweeps import CLASSES, SWEEPS, class_of
from _tables import RESULTS, read_commented

Row = dict[str, Any]

SIZES = {"256x256": 16, "512x512": 16, "1024x1024": 8, "2048x2048": 5}  # width x height: images
BITS = (64, 32, 128)
FALSE_RATE = 0.001  # the field quotes the rate of true positives at this one
STRENGTHS = (0.5, 0.7, 1.0, 1.4, 2.0)
STRENGTH_SIZE, STRENGTH_IMAGES = "512x512", 16
# what is hard, but not hopeless, at strength 1: there strength shows
HARD = {"JPEG": (10, 20), "WebP": (20, 30), "resize": (0.2, 0.25), "crop": (5, 10), "blur": (2.5, 3),
        "noise": (50,), "bending": (2, 3), "rotation": (10,)}  # fmt: skip


@cache
def _marker(bits: int, strength: float) -> Any:
    import fastmark as fm

    return fm.Watermarker(fm.Key(seeded_bytes("power")), message_bits=bits, strength=strength)


def run_image(
    folders: tuple[Path, ...],
    size: str,
    count: int,
    number: int,
    bits: int,
    strength: float,
    names: Any,
    scored: bool,
) -> list[Row]:
    """All attacks on one image: a row each, the first of them untouched.

    `names`: of sweeps, each with the values that are tried; `scored`: SSIMULACRA2 is computed too.
    """
    from _scores import search

    marker, rgb = _marker(bits, strength), parts_of(folders, size, count)[number]
    message = int.from_bytes(seeded_bytes(f"message {size} {number}", bits // 8))
    base: Row = {"size": size, "bits": bits, "strength": strength, "image": number}
    try:
        marked, report = marker.embed_report(rgb, message)
    except Exception as error:
        return [base | {"error": f"{type(error).__name__}: {error}"}]
    predicted = {one.reference: one.margin for one in report.survival}
    base |= {"psnr_db": report.psnr_db}
    if scored:
        base |= {"ssimulacra2": _ssimulacra2(rgb, marked)}
    rows = []
    for name, values in {"none": (0,), **names}.items():
        for value in values:
            rng = np.random.default_rng([zlib.crc32(name.encode()), round(100 * value), number])
            attacked = marked if name == "none" else SWEEPS[name].apply(marked, rng, value)
            found = search(attacked, marker.key_detector)
            reference = "" if name == "none" else SWEEPS[name].reference.get(value, "")
            rows.append(
                base
                | {
                    "sweep": name, "value": value, "score": round(found.score, 2),
                    "detected": int(found.detected), "message_ok": int(found.message == message),
                    "message_wrong": int(found.message is not None and found.message != message),
                    "predicted": predicted.get(reference),
                }
            )  # fmt: skip
    return rows


def _ssimulacra2(first: np.ndarray, second: np.ndarray) -> float:
    from quality import ssimulacra2

    score, _ = ssimulacra2(first, second)
    return score


def sweeps_for(size: str, chosen: Sequence[str]) -> dict[str, tuple[float, ...]]:
    """The sweeps that are tried at this size, with their values."""
    side = min(map(int, size.split("x")))
    return {n: s.values for n, s in SWEEPS.items() if n in chosen and s.least <= side <= s.most}


# ---- tables ----------------------------------------------------------------------------------------------


def shares(rows: Sequence[Row], column: str) -> Row:
    """How often a column is 1: count, share and its 95 % interval (Wilson)."""
    from fastmark.reporting.intervals import wilson

    count = sum(row[column] for row in rows)
    low, high = wilson(count, len(rows))
    return {column: count, f"{column} share": count / len(rows), f"{column} low": low, f"{column} high": high}


def grouped(rows: Sequence[Row], *names: str) -> Iterator[tuple[Row, list[Row]]]:
    """Parts of the rows that share the values of these columns."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in names), []).append(row)
    for values, part in groups.items():
        yield dict(zip(names, values, strict=True)), part


def curves(rows: Sequence[Row], refused: Sequence[Row]) -> list[Row]:
    """A row for each point of each curve, and how many images of that size and length were refused."""
    count = Counter((row["size"], row["bits"]) for row in refused)
    return [
        place
        | {"trials": len(part), "refused": count[place["size"], place["bits"]]}
        | shares(part, "message_ok")
        | shares(part, "detected")
        | shares(part, "at_fpr")
        | {"wrong": sum(row["message_wrong"] for row in part)}
        | {"least score": min(row["score"] for row in part)}
        for place, part in grouped(rows, "size", "bits", "sweep", "value")
    ]


def predictions(rows: Sequence[Row]) -> list[Row]:
    """Where embedding predicts what is left: predicted beside observed, by margin."""
    known = [row for row in rows if row.get("predicted") is not None]
    table = []
    for low, high in ((0, 0.7), (0.7, 0.9), (0.9, 1.1), (1.1, 1.4), (1.4, 2), (2, float("inf"))):
        part = [row for row in known if low <= row["predicted"] < high]
        if part:
            line: Row = {"predicted margin": f"{low:g} to {high:g}" if high < 9 else f"{low:g} and more"}
            line |= {"trials": len(part), "of them predicted to last": sum(r["predicted"] >= 1 for r in part)}
            table.append(line | shares(part, "message_ok"))
    return table


def tradeoff(rows: Sequence[Row]) -> list[Row]:
    """What each strength costs and brings."""
    table = []
    for place, part in grouped(rows, "strength"):
        untouched = [row for row in part if row["sweep"] == "none"]
        attacked = [row for row in part if row["sweep"] != "none"]
        line: Row = place | {"images": len(untouched), "trials": len(attacked)}
        for name in ("psnr_db", "ssimulacra2"):
            values = [row[name] for row in untouched]
            line |= {f"{name} mean": statistics.mean(values), f"{name} worst": min(values)}
        table.append(line | shares(attacked, "message_ok") | shares(attacked, "detected"))
    return table


def classes(path: Path) -> tuple[list[str], list[Row]]:
    """Mean and worst attack of each class of the Code, from the rows of `robustness.py`."""
    head, rows = read_commented(path)
    trials: list[Row] = [
        {
            "class": class_of(row["attack"]),
            "attack": row["attack"],
            "message_ok": int(row["message_ok"]),
            "detected": int(row["state"] == "detected"),
            "promised": row["group"] != "beyond",
        }
        for row in rows
        if row["group"] not in ("none", "embed")
    ]
    table = []
    for name in CLASSES:
        for promised in (True, False):
            part = [row for row in trials if row["class"] == name and row["promised"] == promised]
            by_attack = [(place["attack"], shares(some, "message_ok"), shares(some, "detected"), len(some))
                         for place, some in grouped(part, "attack")]  # fmt: skip
            if not by_attack:
                continue
            worst = min(by_attack, key=lambda one: (one[1]["message_ok share"], one[2]["detected share"]))
            table.append(
                {"class": name, "promised": "yes" if promised else "beyond", "attacks": len(by_attack)}
                | {"trials": len(part)}
                | shares(part, "message_ok")
                | shares(part, "detected")
                | {"worst attack": worst[0], "its trials": worst[3]}
                | {
                    "its message share": worst[1]["message_ok share"],
                    "its detected share": worst[2]["detected share"],
                }
            )
    return head, table


# ---- the runs --------------------------------------------------------------------------------------------


def measure(options: argparse.Namespace) -> list[Row]:
    """Rows of all trials, of this run and of the journal."""
    folders = tuple(options.folders)
    jobs: list[tuple[Any, ...]] = []
    if options.strengths:
        for number in range(options.images or STRENGTH_IMAGES):
            for strength in STRENGTHS:
                count = options.images or STRENGTH_IMAGES
                jobs.append((folders, STRENGTH_SIZE, count, number, 64, strength, HARD, True))
    else:
        chosen = options.sweeps.split(",") if options.sweeps else list(SWEEPS)
        if unknown := set(chosen) - set(SWEEPS):
            raise SystemExit(f"no sweep is called {', '.join(unknown)}: there are {', '.join(SWEEPS)}")
        counts = {size: min(options.images or most, most) for size, most in SIZES.items()}
        for size in [size for size, count in counts.items() if not parts_of(folders, size, count)]:
            print(f"{size}: left out, as no image is large enough; name folders of larger ones")
            del counts[size]
        for bits in BITS:
            for size, count in counts.items():
                names = sweeps_for(size, chosen)
                jobs += [(folders, size, count, number, bits, 1.0, names, False) for number in range(count)]
    asked = {"jobs": len(jobs), "sweeps": options.sweeps, "strengths": options.strengths,
             "images": options.images, "folders": [str(one) for one in folders]}  # fmt: skip
    parts = resumed(run_image, jobs, options.workers, options.journal, asked)
    return [row for part in parts for row in part]


def with_threshold(rows: Sequence[Row], scores: Path) -> list[Row]:
    """Add whether the score reaches the threshold of 0.1 % false positives of its size."""
    from _scores import side_class, threshold

    limits = {}
    for size in {row["size"] for row in rows}:
        width, height = map(int, size.split("x"))
        try:
            limits[size] = threshold(scores, FALSE_RATE, side_class(height, width))
        except ValueError:  # too few unmarked images of such a size: the threshold of all
            limits[size] = threshold(scores, FALSE_RATE)
    print("scores that 0.1 % of unmarked images reach, nats:", limits)
    return [row | {"at_fpr": int(row["score"] > limits[row["size"]])} for row in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="*", type=Path, metavar="FOLDER")
    parser.add_argument("--sweeps", default="", help="names, comma between; default: all")
    parser.add_argument("--images", type=int, default=0, help="only so many of each size")
    parser.add_argument("--strengths", action="store_true", help="quality against robustness over strength")
    parser.add_argument("--classes", type=Path, metavar="CSV", help="by class, from robustness.csv")
    parser.add_argument("--scores", type=Path, default=RESULTS / "null-scores.csv",
                        help="scores of unmarked images, of null.py")  # fmt: skip
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--journal", type=Path, help="file of what is done, to go on after a stop")
    parser.add_argument("-o", "--output", type=Path, help="CSV of the curves; predictions go beside it")
    options = parser.parse_args()
    if options.classes:
        head, table = classes(options.classes)
        print_table("by class", table)
        if options.output:
            write_csv(options.output, head, table)
        return
    one_thread_each()
    rows = measure(options)
    refused = [row for row in rows if row.get("error")]
    print_table("refused to embed", refused)
    rows = [row for row in rows if not row.get("error")]
    head = header("power", options.workers, folders=len(options.folders), images=options.images or "all")
    head.append(f"{len(rows)} trials, {len(refused)} refused, {sum(r['message_wrong'] for r in rows)} wrong")
    print(*head, sep="\n")
    if options.strengths:
        tables = {options.output: tradeoff(rows)}
    else:
        rows = with_threshold(rows, options.scores)
        tables = {options.output: curves(rows, refused)}
        beside = options.output and options.output.with_name(f"{options.output.stem}-predicted.csv")
        tables |= {beside: predictions(rows)} if beside else {}
    for path, table in tables.items():
        print_table(path.stem if path else "results", table)
        if path:
            write_csv(path, head, table)


if __name__ == "__main__":
    main()
