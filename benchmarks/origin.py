"""What the choice of the origin, the split between pilot and chips, and the binding bring and cost.

Small images, whose marks are weak, are marked under each variant with the same keys and messages, attacked,
and read. A variant is written `origin:weight:pilot:binding`: the origin `hash`, or `informed` with the weight
of the chips beside the pilot; the pilot's root mean square, of the mask, at the same power of all; the
binding `none`, `weak` or `strong`. With `--grids`, how well fewer block grids agree with those of a detector;
with `--detail`, how much detail images have.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterable
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
from attacks import ATTACKS
from PIL import Image

Row = dict[str, Any]

VARIANTS = (
    "hash:0:0.21:none",
    "informed:0:0.21:none",
    "informed:0.5:0.21:none",
    "informed:0.75:0.21:none",
    "informed:1:0.21:none",
    "informed:1.5:0.21:none",
    "informed:0.75:0.18:none",
    "informed:0.75:0.24:none",
    "informed:0.75:0.21:weak",
    "informed:0.75:0.21:strong",
)
HARD = (
    "crop-50-resize-0.7-jpeg-60",
    "rotate-33-scale-1.2-crop-50",
    "rotate-30",
    "rotate-45",
    "resize-0.3",
    "resize-0.33-lanczos",
    "thumbnail-256",
    "crop-15-centre",
    "box-blur-2",
    "blur-2",
    "median-5",
    "bilateral",
    "jpeg-10",
    "webp-20",
    "avif-40",
    "print-scan",
)
SHORT_SIDE = 320
MESSAGE_BITS = 64


def small(path: Path) -> np.ndarray:
    """Read an image, fitted to a short side of 320 pixels if it is larger."""
    rgb = read_rgb(path)
    factor = SHORT_SIDE / min(rgb.shape[:2])
    if factor >= 1:
        return rgb
    size = round(rgb.shape[1] * factor), round(rgb.shape[0] * factor)
    return np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.LANCZOS))


def designed(variant: str, host: Any, carrier: Any, codeword: np.ndarray) -> Any:
    """Decide as a variant says."""
    from fastmark.codec.binding import STRONG, WEAK
    from fastmark.codec.tables import BLOCK, N_COEFFICIENTS
    from fastmark.embedding.choices import choose_tones
    from fastmark.embedding.design import CHIP_RATIO, PILOT_RATIO, Design
    from fastmark.embedding.host import hashed_origin
    from fastmark.embedding.origin import Agreement

    origin, weight, pilot, binding = variant.split(":")
    n_tones = choose_tones(host, carrier, PILOT_RATIO)
    place = hashed_origin(host.plane, carrier.key, codeword)
    if origin == "informed":
        place = Agreement.of(host.scored, carrier, codeword, n_tones).best(float(weight))
    share = N_COEFFICIENTS / BLOCK**2
    power = PILOT_RATIO**2 + share * CHIP_RATIO**2
    chips = math.sqrt((power - float(pilot) ** 2) / share)
    return Design(
        place, n_tones, float(pilot), chips, {"none": None, "weak": WEAK, "strong": STRONG}[binding]
    )


def run_image(number: int, path: Path, variants: tuple[str, ...], attacks: tuple[str, ...]) -> list[Row]:
    """Mark one image under every variant, attack it, and read it."""
    import fastmark as fm
    from fastmark.embedding import marking

    marker = fm.Watermarker(fm.Key(seeded_bytes(f"key {number % 4}")), MESSAGE_BITS)
    rgb, message = small(path), seeded_bytes(f"message {path.name}", MESSAGE_BITS // 8)
    rows: list[Row] = []
    original = marking.make_design
    for variant in variants:
        # NOTE: the one place where all decisions come together; the rest of embedding is as it is
        marking.make_design = lambda host, carrier, codeword, bind=True, v=variant: designed(
            v, host, carrier, codeword
        )
        try:
            marked = marker.embed(rgb, message, bind=False)
        except fm.FastmarkError as error:
            rows.append({"picture": label(path), "variant": variant, "attack": "embed", "error": str(error)})
            continue
        finally:
            marking.make_design = original
        for name in attacks:
            if ATTACKS[name].applies(*rgb.shape[:2]):
                found = marker.detect(ATTACKS[name](marked))
                read = int(found.message_bytes == message)
                row = {"picture": label(path), "variant": variant, "attack": name, "message": read}
                rows.append(row | {"presence": int(found.detected), "binding": found.binding})
    return rows


def summary(rows: list[Row], variants: Iterable[str]) -> list[Row]:
    """Count messages and detections of each variant."""
    table = []
    for variant in variants:
        part = [row for row in rows if row["variant"] == variant and row["attack"] != "embed"]
        line: Row = {"variant": variant, "trials": len(part)}
        line |= {name: sum(row[name] for row in part) for name in ("message", "presence")}
        line |= {name: sum(row["binding"] == name for row in part) for name in ("match", "mismatch")}
        table.append(line)
    return table


# ---- what the look at the unmarked image sees --------------------------------------------------------------


def grids_of(path: Path) -> Row:
    """Correlate what one and two block grids say of the chips at all origins with what four say."""
    from fastmark.codec.carrier import Carrier
    from fastmark.codec.key import Key
    from fastmark.codec.mask import Perception
    from fastmark.codec.message import MessageCode
    from fastmark.codec.plane import canonical_plane
    from fastmark.detection.scores import GRIDS, scores
    from fastmark.detection.soft_bits import ChipBlocks
    from fastmark.embedding import host_scores
    from fastmark.embedding.origin import chip_surface
    from fastmark.kernels.mask import multiply_cells

    carrier, codeword = Carrier(Key(seeded_bytes("key 0"))), MessageCode(MESSAGE_BITS).encode(1)
    plane = canonical_plane(small(path), 1)
    mask = Perception.of(plane).mask
    surfaces = []
    for grids in (GRIDS, host_scores.GRIDS, host_scores.ONE_GRID):
        weighted = scores(plane, grids=grids)
        multiply_cells(weighted, mask)
        blocks = ChipBlocks.of(np.ascontiguousarray(weighted[4:, 4:]))
        surfaces.append(chip_surface(blocks, carrier, codeword).ravel())
    two, one = (float(np.corrcoef(surfaces[0], surface)[0, 1]) for surface in surfaces[1:])
    return {"picture": label(path), "two grids": two, "one grid": one}


def detail_of(path: Path) -> Row:
    """Return the share of blocks with detail, and whether the image chooses its origin."""
    from fastmark.codec.plane import canonical_plane, pixels_per_unit
    from fastmark.embedding.host import prepare
    from fastmark.embedding.host_scores import DETAIL

    rgb = read_rgb(path)
    k = pixels_per_unit(*rgb.shape[:2])
    scored = prepare(canonical_plane(rgb, k), k).scored
    energy = np.sum(scored.blocks.coefficients**2, axis=0)
    row = {"picture": label(path), "median energy": float(np.median(energy))}
    return row | {"share with detail": float(np.mean(energy >= DETAIL)), "chooses": scored.detailed}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument("--pictures", type=int, default=0, help="only so many, spread over all")
    parser.add_argument("--variants", default=",".join(VARIANTS), help="comma between")
    parser.add_argument("--attacks", default=",".join(HARD), help="names, comma between")
    parser.add_argument("--grids", action="store_true", help="compare block grids instead")
    parser.add_argument("--detail", action="store_true", help="list the detail of images instead")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("-o", "--output", type=Path, help="CSV of the summary")
    options = parser.parse_args()

    one_thread_each()
    paths = find_pictures(options.folders, options.pictures)
    if options.grids or options.detail:
        rows = [(grids_of if options.grids else detail_of)(path) for path in paths]
        print_table("block grids" if options.grids else "detail", rows)
        return
    variants, attacks = tuple(options.variants.split(",")), tuple(options.attacks.split(","))
    jobs = [(number, path, variants, attacks) for number, path in enumerate(paths)]
    rows = []
    for number, part in in_processes(run_image, jobs, options.workers):
        rows += part
        print(label(paths[number]), file=sys.stderr)
    head = header("origin", options.workers, pictures=len(paths), attacks=options.attacks)
    table = summary(rows, variants)
    print(*head, sep="\n")
    print_table("variants: origin:weight:pilot:binding", table)
    if options.output:
        write_csv(options.output, head, table)


if __name__ == "__main__":
    main()
