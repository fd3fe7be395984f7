"""What do content credentials (C2PA) cost? Milliseconds of signing and of reading, and bytes added.

Times are of the processor, of all threads, so that others who use the machine count little; beside them
stands the decoding of the same image as JPEG. The image is waves under grain; the chain of certificates is
made for the run (ECDSA, P-256), and no time stamp authority is asked. Takes no images.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import Any

from _common import header, jpeg_90, one_thread_each, print_table, seeded_bytes, write_csv
from _timing import Row, Work, decoded
from compiling import drawn

one_thread_each()

from PIL import Image  # noqa: E402

from fastmark.images.encoding import encode_image  # noqa: E402
from fastmark.provenance.chain import make_chain  # noqa: E402
from fastmark.provenance.credentials import read, recover  # noqa: E402
from fastmark.provenance.signing import Signer, sign  # noqa: E402
from fastmark.records import Record  # noqa: E402

SIDES = (512, 1024, 2048)  # 0.25, 1 and 4 megapixels
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "AVIF")
RECORD = Record(provider="Provider", system="System", system_version="1.0", policy="no-training")
AIM_MS = 8.0  # of signing 1 MP as JPEG


def process_ms(work: Work, runs: int) -> float:
    """Median of the milliseconds that this process works."""
    times = []
    for _ in range(runs):
        start = time.process_time()
        work()
        times.append(1e3 * (time.process_time() - start))
    return statistics.median(times)


def measure(name: str, side: int, signer: Signer, root: Path, runs: int) -> Row:
    """One image in one format."""
    image = Image.fromarray(drawn(side, side))
    data, message = encode_image(image, name), seeded_bytes("message", 8)
    jpeg, mp = jpeg_90(image), side * side / 1e6
    signed = sign(data, name, RECORD, message, signer)
    credential = read(signed.data, trust_anchors=root)
    assert credential is not None and credential.state == "trusted", credential
    works: dict[str, Work] = {
        "sign": lambda: sign(data, name, RECORD, message, signer),
        "sign_parent": lambda: sign(data, name, RECORD, message, signer, parent=signed.data),
        "read": lambda: read(signed.data, trust_anchors=root),
        "recover": lambda: recover(data, signed.manifest, trust_anchors=root),
        "read_none": lambda: read(data),
        "decode_jpeg": lambda: decoded(jpeg),
    }
    ms = {key: process_ms(work, runs) for key, work in works.items()}
    row: Row = {"format": name, "megapixels": round(mp, 2), "file_bytes": len(data)}
    row |= {f"{key}_ms": value for key, value in ms.items()}
    row |= {"sign_ms_per_mp": ms["sign"] / mp, "read_ms_per_mp": ms["read"] / mp}
    row["sign_per_decode"] = ms["sign"] / ms["decode_jpeg"]
    row["read_per_decode"] = ms["read"] / ms["decode_jpeg"]
    return row | {"added_bytes": len(signed.data) - len(data), "store_bytes": len(signed.manifest)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=9, help="calls, of which the median counts; default: 9")
    parser.add_argument(
        "--sides", default=",".join(map(str, SIDES)), help="of the images, pixels; with commas"
    )
    parser.add_argument("-o", "--output", type=Path, help="CSV of all rows")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        made = make_chain(folder)
        signer = Signer(made.chain, made.key)
        for side in map(int, options.sides.split(",")):
            rows += [measure(name, side, signer, made.root, options.runs) for name in FORMATS]
    print_table("content credentials", rows)
    for row in rows:
        if row["format"] == "JPEG" and 0.9 < row["megapixels"] < 1.1:
            kept = "kept" if row["sign_ms"] <= AIM_MS else "MISSED"
            print(f"\naim: {AIM_MS} ms to sign a JPEG of 1 MP: {row['sign_ms']:.1f} ms, {kept}")
    if options.output:
        versions = f"c2pa-python {metadata.version('c2pa-python')}"
        head = [*header("provenance.py", 1, runs=options.runs), versions]
        write_csv(options.output, head, rows)


if __name__ == "__main__":
    main()
