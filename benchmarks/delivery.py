"""What does each layer beside the watermark cost? Milliseconds per image and per megapixel, layer by layer.

Images are delivered with all layers, and each stage of the delivery is timed: registry (SQLite; an id is
reserved before, and its entry completed after), perceptual hash (and SHA-256 of the file), XMP, content
credentials; the watermark has the decoding of the source, a file of the same format. Times are of the
processor, of the whole process, so that others who use the machine count little; what passes meanwhile, as a
registry waits for the disk, is told beside them. Of the runs on one image the shortest time counts, for each
stage. Beside them stands the decoding of the same image as JPEG of quality 90. Without folders, images are
drawn. The chain of certificates is made for the run (ECDSA, P-256), and no time stamp authority is asked.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from _common import (
    find_pictures,
    fitted,
    header,
    jpeg_90,
    one_thread_each,
    print_table,
    read_rgb,
    seeded_bytes,
    write_csv,
)
from _timing import Row, decoded

one_thread_each()

import numpy as np  # noqa: E402
from _kinds import KINDS  # noqa: E402
from PIL import Image  # noqa: E402

import fastmark  # noqa: E402
from fastmark.companions import Companions  # noqa: E402
from fastmark.delivery import Delivery  # noqa: E402
from fastmark.images.encoding import encode_image  # noqa: E402
from fastmark.provenance.chain import make_chain  # noqa: E402
from fastmark.provenance.signing import Signer  # noqa: E402
from fastmark.records import Record  # noqa: E402
from fastmark.registry import Registry  # noqa: E402

SIDES = (512, 1024, 2048)  # 0.25, 1 and 4 megapixels
FORMATS = ("JPEG", "PNG")
RECORD = Record(provider="Provider", system="System", system_version="1.0", policy="no-training")
AIM_MS = 8.0  # of content credentials on a JPEG of 1 MP
DECODING, ALL = "decoding as JPEG", "all beside the watermark"
LAYERS = {
    "watermark": ("marking",),
    "encoding": ("encoding",),
    "+ XMP": ("labelling",),
    "+ registry": ("reserving", "completing"),
    "+ perceptual hash": ("hashing",),
    "+ content credentials": ("signing",),
}
"""Layers by their stages."""


def drawn(number: int, side: int) -> np.ndarray:
    """A drawn image, of each of some kinds in turn."""
    rng = np.random.default_rng([number, side])
    return _KINDS[number % len(_KINDS)](rng, side, side)


_KINDS = [KINDS[name] for name in ("scene", "pink noise", "grainy scan", "halftone")]


def timed(delivery: Delivery, source: bytes, format_name: str) -> dict[str, np.ndarray]:
    """Milliseconds of each stage: of the processor, and those that passed."""
    times: dict[str, np.ndarray] = {}
    last = now()

    def lap(stage: str) -> None:
        nonlocal last
        times[stage] = now() - last
        last = now()

    delivery.deliver(source, None, format_name, {}, lap=lap)
    return times


def now() -> np.ndarray:
    """Both clocks in milliseconds."""
    return 1e3 * np.array([time.process_time(), time.perf_counter()])


def measure(delivery: Delivery, images: Sequence[np.ndarray], format_name: str, runs: int) -> list[Row]:
    """Every layer on images of one size in one format; images that carry no watermark are left out."""
    times: dict[str, list[np.ndarray]] = {}
    for rgb in images:
        image = Image.fromarray(rgb)
        source, jpeg = encode_image(image, format_name), jpeg_90(image)
        try:
            spent = [timed(delivery, source, format_name) for _ in range(runs)]
        except (fastmark.ImageTooFlatError, fastmark.ImageTooSmallError):
            continue
        stages = {stage: np.min([run[stage] for run in spent], axis=0) for stage in spent[0]}
        layers = {name: sum(stages[stage] for stage in of) for name, of in LAYERS.items()}
        layers[ALL] = sum(ms for name, ms in layers.items() if name.startswith("+"))
        start = now()
        decoded(jpeg)
        layers[DECODING] = now() - start
        for name, ms in layers.items():
            times.setdefault(name, []).append(ms)
    megapixels = images[0].shape[0] * images[0].shape[1] / 1e6
    medians = {name: np.median(ms, axis=0) for name, ms in times.items()}
    return [
        {
            "format": format_name,
            "megapixels": round(megapixels, 2),
            "layer": name,
            "images": len(of),
            "median_ms": float(medians[name][0]),
            "mean_ms": float(np.mean(of, axis=0)[0]),
            "median_ms_per_mp": float(medians[name][0] / megapixels),
            "elapsed_median_ms": float(medians[name][1]),
            "per_watermark": float(medians[name][0] / medians["watermark"][0]),
            "per_decode": float(medians[name][0] / medians[DECODING][0]),
        }
        for name, of in times.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("pictures", nargs="*", type=Path, help="folders of images; drawn ones without")
    parser.add_argument("--count", type=int, default=24, help="images of each size; default: 24")
    parser.add_argument("--runs", type=int, default=2, help="on each image; default: 2")
    parser.add_argument(
        "--sides", default=",".join(map(str, SIDES)), help="of the images, pixels; with commas"
    )
    parser.add_argument("-o", "--output", type=Path, help="CSV of all rows")
    options = parser.parse_args()
    paths = find_pictures(options.pictures, options.count) if options.pictures else []
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        made, registry = make_chain(f"{folder}/signer"), Registry(f"{folder}/ids.db")
        registry.init()
        beside = Companions(record=RECORD, registry=registry, xmp=True, signer=Signer(made.chain, made.key))
        delivery = Delivery(fastmark.Watermarker(fastmark.Key(seeded_bytes("key"))), beside)
        for side in map(int, options.sides.split(",")):
            images = [fitted(read_rgb(path), side, side) for path in paths]
            images = images or [drawn(number, side) for number in range(options.count)]
            timed(delivery, encode_image(Image.fromarray(images[0]), "PNG"), "PNG")  # plans are made
            for name in FORMATS:
                of_one = measure(delivery, images, name, options.runs)
                print_table(f"{name}, {side} x {side}", of_one)
                rows += of_one
        registry.close()
    for row in rows:
        if (row["format"], row["layer"]) == ("JPEG", "+ content credentials") and 0.9 < row[
            "megapixels"
        ] < 1.1:
            ms = row["median_ms"]
            kept = "kept" if ms <= AIM_MS else "MISSED"
            print(f"\naim: {AIM_MS} ms of content credentials on a JPEG of 1 MP: {ms:.1f} ms, {kept}")
    if options.output:
        versions = ", ".join(
            f"{name} {metadata.version(name)}" for name in ("c2pa-python", "SQLAlchemy", "ImageHash")
        )
        write_csv(
            options.output,
            [*header("delivery.py", 1, count=options.count, runs=options.runs), versions],
            rows,
        )


if __name__ == "__main__":
    main()
