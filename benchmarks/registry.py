"""The registry: where perceptual hashes part same from other pictures, and how fast entries are had.

    python benchmarks/registry.py fingerprints FOLDER ...
    python benchmarks/registry.py rates [--rows 1000000] [--reserved 3000] [--lookups 5000]

`fingerprints` finds `SAME` of fastmark/registry/fingerprint.py: distances of pictures to what attacks make
of them, and of all pairs of different pictures, which are the pictures and the quarters of each. `rates`
starts a PostgreSQL of its own where Debian's is installed, or uses that of FASTMARK_TEST_POSTGRESQL. Both
databases wait for the disk at each commit, as in use.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import io
import itertools
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
from _common import find_pictures, header, print_table, read_rgb, seeded_bytes, write_csv
from _tables import RESULTS
from _timing import cpu_ms
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "support"))

LARGEST = 1_000_000  # pixels: larger pictures are reduced to that
KINDS = {  # what is the same picture still, and what is no longer compared
    "watermarked": (),
    "encoded": ("jpeg-[3-9]*", "webp-[6-9]*", "avif-*", "jpeg-75-twice"),
    "encoded hard": ("jpeg-10", "jpeg-20", "webp-20"),
    "resized": ("resize-*",),
    "aspect changed": ("aspect-*",),
    "tones": ("brightness-*", "contrast-*", "gamma-*", "offset-*", "grey*", "photo-filter"),
    "noise, filters": ("noise-10", "noise-25", "blur-1", "blur-2", "median-3", "unsharp", "bilateral"),
    "posted": ("social-1080", "social-800", "messenger-640", "reshared"),
    "screenshots, cut out": (),
    "screenshots, whole": ("screenshot-*",),
    "partly covered": ("cover-*", "overlay-*", "meme"),
    "framed": ("frame-*",),
    "cropped by a few pixels": ("crop-3px", "crop-odd-px"),
    "cropped": ("crop-75-*", "crop-50-c*", "crop-25-c*"),
    "rotated": ("rotate-1", "rotate-2", "rotate-5", "rotate-30", "rotate-90", "flip-x"),
}
SAME_KINDS = ("watermarked", "encoded", "resized", "tones", "posted", "screenshots, cut out")
Row = dict[str, Any]


# ---- perceptual hashes -----------------------------------------------------------------------------


def reduced(rgb: np.ndarray) -> np.ndarray:
    """A picture of a megapixel at most."""
    height, width = rgb.shape[:2]
    factor = (LARGEST / (height * width)) ** 0.5
    if factor >= 1:
        return rgb
    return np.array(Image.fromarray(rgb).resize((round(width * factor), round(height * factor))))


def quarters(rgb: np.ndarray) -> Iterator[np.ndarray]:
    """The four quarters of a picture: pictures of their own."""
    height, width = rgb.shape[0] // 2, rgb.shape[1] // 2
    for top, left in itertools.product((0, height), (0, width)):
        yield rgb[top : top + height, left : left + width]


def attacked(rgb: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Kind of change, and what becomes of the picture."""
    from attacks import ATTACKS

    from fastmark import FastmarkError, Key, Watermarker

    with contextlib.suppress(FastmarkError):  # one is too flat
        yield "watermarked", Watermarker(Key(seeded_bytes("registry key"))).embed(rgb, 1)
    height, width = rgb.shape[:2]
    for scale, quality in ((0.66, 95), (0.8, 85), (1.25, 75)):  # as shown in a window, whose place is known
        size = round(width * scale), round(height * scale)
        file = io.BytesIO()
        Image.fromarray(rgb).resize(size, Image.Resampling.BILINEAR).save(file, "JPEG", quality=quality)
        yield "screenshots, cut out", np.array(Image.open(file))
    for kind, patterns in KINDS.items():
        for attack in ATTACKS.values():
            fits = any(fnmatch(attack.name, pattern) for pattern in patterns)
            if fits and attack.applies(height, width):
                yield kind, attack(rgb)


def fingerprints(folders: list[Path]) -> None:
    from fastmark.registry.fingerprint import SAME, distance, perceptual_hash

    changed: dict[str, list[int]] = {kind: [] for kind in KINDS}
    hashes: list[tuple[int, str]] = []
    costs, smooth = [], []
    pictures = find_pictures(folders)
    for number, path in enumerate(pictures):
        rgb = reduced(read_rgb(path))
        own = perceptual_hash(rgb)
        if own is None:
            smooth.append(path.name)
            continue
        costs.append(cpu_ms(lambda rgb=rgb: perceptual_hash(rgb)) / (rgb.size / 3e6))
        hashes += [(number, own)]
        hashes += [(number, part) for part in map(perceptual_hash, quarters(rgb)) if part is not None]
        for kind, picture in attacked(rgb):
            if (other := perceptual_hash(picture)) is not None:
                changed[kind].append(distance(own, other))
        print(f"{number + 1} of {len(pictures)}", file=sys.stderr)
    others = [distance(a, b) for (n, a), (m, b) in itertools.combinations(hashes, 2) if n != m]
    changed["different pictures"] = others
    rows = [row_of(kind, distances, SAME) for kind, distances in changed.items() if distances]
    print_table("distances in bits of 256", rows)
    together = [d for kind in SAME_KINDS for d in changed[kind]]
    sweep = [
        {
            "threshold": threshold,
            "same_told_other": float(np.mean(np.array(together) > threshold)),
            "same": len(together),
            "other_told_same": float(np.mean(np.array(others) <= threshold)),
            "other": len(others),
        }
        for threshold in range(20, 109, 4)
    ]
    print_table(f"thresholds; same: {', '.join(SAME_KINDS)}", sweep)
    head = header("registry.py fingerprints", 1, pictures=len(pictures), SAME=SAME)
    head.append(f"{np.median(costs):.1f} ms of processor time per megapixel, median")
    head.append(f"too smooth for a hash: {', '.join(smooth)}")
    print(*head[-2:], sep="\n")
    write_csv(RESULTS / "registry-fingerprints.csv", head, rows + sweep)


def row_of(kind: str, distances: list[int], same: int) -> Row:
    values = np.array(distances)
    low, half, high, highest = np.percentile(values, (1, 50, 99, 100))
    return {
        "kind": kind,
        "n": len(values),
        "min": int(values.min()),
        "p1": low,
        "median": half,
        "p99": high,
        "max": int(highest),
        "told_same": float(np.mean(values <= same)),
    }


# ---- rates -----------------------------------------------------------------------------------------


def entries(rows: int) -> Iterator[Any]:
    """So many entries, as when files are delivered."""
    from fastmark.records import Record
    from fastmark.registry.entries import Entry

    draw = random.Random(7)
    said = Record(
        provider="Example", system="Painter", system_version="3", model="painter-3b", owner="someone"
    )
    when = dt.datetime(2026, 11, 27, tzinfo=dt.UTC)
    for _ in range(rows):
        entry = Entry(
            id=draw.randbytes(8).hex(), message_bits=64, key_id="0123456789abcdef", state="delivered",
            created_at=when, record=said, width=1024, height=1024, sha256=draw.randbytes(32).hex(),
            perceptual_hash=f"phash:{draw.randbytes(32).hex()}",
        )  # fmt: skip
        yield entry


def spent(work: Any, arguments: list[Any]) -> tuple[float, float, float]:
    """Calls a second, median and 99th percentile in milliseconds, of calls one after another."""
    times = []
    for argument in arguments:
        start = time.perf_counter()
        work(argument)
        times.append(1e3 * (time.perf_counter() - start))
    return 1e3 * len(times) / sum(times), *np.percentile(times, (50, 99))


def measure(url: str, label: str, options: argparse.Namespace) -> Iterator[Row]:
    from fastmark.records import Record
    from fastmark.registry.exchange import entry_line, import_lines
    from fastmark.registry.store import Registry

    def bulk(work: str, count: int, call: Any) -> Row:
        start = time.perf_counter()
        call()
        rate = count / (time.perf_counter() - start)
        row = {"database": label, "work": work, "n": count, "a_second": rate}
        return row | {"p50_ms": None, "p99_ms": None}

    draw = random.Random(7)
    made = [(draw.randbytes(8), draw.randbytes(32).hex(), draw.randbytes(32)) for _ in range(options.rows)]
    imported = min(options.imported, options.rows)
    with Registry(url, timeout=60) as registry:
        registry.init()
        lines = [entry_line(entry, None) for entry in entries(imported)]
        yield bulk("import of lines", imported, lambda: import_lines(registry, lines))
        left = (
            (number, entry, None) for number, entry in enumerate(entries(options.rows)) if number >= imported
        )
        yield bulk("insert of entries", options.rows - imported, lambda: registry.insert(left))

        some = random.Random(8).sample(made, min(options.lookups, len(made)))
        ids, sums = [message for message, _, _ in some], [sha256 for _, sha256, _ in some]
        record = Record(provider="Example", system="Painter", owner="someone")
        fresh: list[bytes] = []

        def reserve(_: int) -> None:
            fresh.append(registry.reserve(record, key_id="0123456789abcdef"))

        def complete(message: bytes) -> None:
            registry.complete(message, width=9, height=9, sha256=seeded_bytes(message.hex()).hex())

        for work, call, arguments in (
            ("get by id", registry.get, ids),
            ("find by sha256", registry.find, sums),
            ("get of no entry", registry.get, [bytes(8 - k % 2) + bytes(k % 2) for k in range(len(some))]),
            ("reserve", reserve, list(range(options.reserved))),
            ("complete", complete, fresh),
        ):
            rate, half, high = spent(call, arguments)
            yield {"database": label, "work": work, "n": len(arguments), "a_second": rate,
                   "p50_ms": half, "p99_ms": high}  # fmt: skip
        assert registry.count() == options.rows + options.reserved


def rates(options: argparse.Namespace) -> None:
    from postgresql import NoServerError, database, running

    head = header("registry.py rates", 1, rows=options.rows)
    results: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="fastmark-registry-") as folder:
        results += measure(f"sqlite:///{folder}/registry.db", "sqlite", options)
        size = sum(path.stat().st_size for path in Path(folder).iterdir())
    head.append(f"sqlite: {size / (options.rows + options.reserved):.0f} bytes an entry")
    write_csv(RESULTS / "registry.csv", head, results)
    try:
        with running(durable=True) as server, database(server) as url:
            results += measure(url, "postgresql", options)
    except NoServerError as error:
        print(f"postgresql: left out, {error}", file=sys.stderr)
    print_table(f"{options.rows} entries; {head[-1]}", results)
    write_csv(RESULTS / "registry.csv", head, results)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    tables = parser.add_subparsers(dest="table", required=True)
    hashes = tables.add_parser("fingerprints")
    hashes.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    kept = tables.add_parser("rates")
    kept.add_argument("--rows", type=int, default=1_000_000)
    kept.add_argument("--imported", type=int, default=20_000, help="of the rows, as lines of JSON")
    kept.add_argument("--reserved", type=int, default=3000)
    kept.add_argument("--lookups", type=int, default=5000)
    options = parser.parse_args()
    if options.table == "fingerprints":
        fingerprints(options.folders)
    else:
        rates(options)


if __name__ == "__main__":
    main()
