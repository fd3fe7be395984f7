"""Where the time goes: the whole against copying, encoding and decoding the picture; each stage against its
roofline.

Ratios are medians of pairs, the work and its reference timed in turn, so that a machine that changes its
speed changes both. `copy` is np.copyto of the RGB array; `enc` and `dec` are Pillow's JPEG encoder (quality
90) and its decoder to RGB, on the same picture, all on one thread. A stage's roofline is the longer of two
times: its bytes, each array read or written once, at the measured bandwidth of a copy; its floating-point
operations, counted in the kernels, at the measured speed of a multiply-and-add that stays in the cache.
`rejecting`, `accepting` and `further keys` are over many pictures, see `_rejecting.py`.

Without folders the pictures are made of photographs that scikit-image ships.
"""

from __future__ import annotations

import argparse
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import _rejecting as many
import numpy as np
from _common import (
    find_pictures,
    fitted,
    header,
    jpeg_90,
    label,
    one_thread_each,
    print_table,
    read_rgb,
    seeded_bytes,
    write_csv,
)
from _stages import roofline, stages
from _timing import Row, Work, decoded, median_ms, paired, verdict
from PIL import Image

SMALL, LARGE = (1024, 1024), (3000, 4000)
TINY = {"0.15 MP": (321, 481), "0.26 MP": (512, 512)}
"""Parts of the small picture: what costs the same at any size weighs most there."""
MESSAGE = 0x0123456789ABCDEF

# what, reference, ratio to reach, ratio to aim for
TARGETS = {
    "embed, array 0.15 MP": ("enc", None, None),
    "embed, array 0.26 MP": ("enc", None, None),
    "embed, array 1 MP": ("enc", 3, 1.5),
    "embed, array 12 MP": ("copy", 9, 6),
    "detect, unmarked array 1 MP": ("dec", 2, 1),
    "detect, unmarked JPEG 1 MP": ("dec", 2.5, 1.2),
    "detect, marked array 1 MP": ("dec", 1, 0.5),
    "detect, unmarked JPEG 12 MP": ("dec", 0.8, 0.4),
    "each further key, 1 MP": ("dec", 0.5, 0.2),
}

PER_PICTURE = ("whole", "stages, 1 MP", "stages, 12 MP", "threads")
MANY = ("rejecting", "accepting", "further keys")
TABLES = (*PER_PICTURE, *MANY, "carriers", "memory", "first use")


def shipped(height: int, width: int) -> np.ndarray:
    """Photographs of scikit-image side by side, enlarged to cover the size where they are too few."""
    from skimage import data

    tiles = [
        np.asarray(getattr(data, name)())[:300, :400] for name in ("coffee", "chelsea", "rocket", "astronaut")
    ]
    board = np.concatenate([np.concatenate(tiles[:2], axis=1), np.concatenate(tiles[2:], axis=1)])
    times = max(height / board.shape[0], width / board.shape[1])
    scale = 1 if times <= 2 else math.ceil(times / 2)
    big = Image.fromarray(board).resize(
        (board.shape[1] * scale, board.shape[0] * scale), Image.Resampling.LANCZOS
    )
    rows, columns = (-(-n // m) for n, m in ((height, big.height), (width, big.width)))
    return np.ascontiguousarray(np.tile(np.asarray(big), (rows, columns, 1))[:height, :width])


def whole(marker: Any, others: list[Any], small: np.ndarray, large: np.ndarray, runs: int) -> list[Row]:
    """Whole calls against their references."""
    from fastmark.codec.plane import pixels_per_unit
    from fastmark.detection.detector import analyse
    from fastmark.images.opening import open_for_detection

    rows = []
    tiny = [(np.ascontiguousarray(small[:h, :w]), size) for size, (h, w) in TINY.items()]
    for picture, size in (*tiny, (small, "1 MP"), (large, "12 MP")):
        jpeg, target = jpeg_90(Image.fromarray(picture)), np.empty_like(picture)
        references: dict[str, Work] = {
            "copy": lambda t=target, p=picture: np.copyto(t, p),
            "enc": lambda p=picture: jpeg_90(Image.fromarray(p)),
            "dec": lambda j=jpeg: decoded(j),
        }
        marked = marker.embed(picture, MESSAGE)
        luma = open_for_detection(picture, unit=pixels_per_unit)
        analysis, k = analyse(luma), luma.unit
        marker.key_detector.detect(analysis, k)
        works: dict[str, Work] = {
            "embed, array": lambda p=picture: marker.embed(p, MESSAGE),
            "embed in place, array": lambda t=target, p=picture: marker.embed(p, MESSAGE, out=t),
            "detect, unmarked array": lambda p=picture: marker.detect(p),
            "detect, unmarked JPEG": lambda j=jpeg: marker.detect(j),
            "detect, marked array": lambda m=marked: marker.detect(m),
            "each further key,": lambda a=analysis, k=k: [o.key_detector.detect(a, k) for o in others],
        }
        for name, work in works.items():
            what = f"{name} {size}"
            reference, reach, aim = TARGETS.get(what, ("copy" if "embed" in name else "dec", None, None))
            ms, reference_ms, ratio = paired(work, references[reference], runs)
            if "key" in name:
                ms, ratio = ms / len(others), ratio / len(others)
            rows.append(
                {"what": what, "ms": ms, "against": reference, "reference ms": reference_ms, "ratio": ratio,
                 "reach": reach, "aim": aim, "result": verdict(ratio, reach, aim)}
            )  # fmt: skip
    return rows


def threads(marker: Any, small: np.ndarray, large: np.ndarray, runs: int) -> list[Row]:
    """What a second thread brings."""
    batch = [np.roll(small, 16 * i, axis=1) for i in range(8)]
    messages = [MESSAGE] * len(batch)
    works: dict[str, tuple[Callable[[int], object], float, float]] = {
        "embed_batch of 8, 1 MP": (lambda n: marker.embed_batch(batch, messages, workers=n), 1.8, 1.95),
        "detect_batch of 8, 1 MP": (lambda n: marker.detect_batch(batch, workers=n), 1.8, 1.95),
        "embed one, 12 MP": (lambda n: marker.embed(large, MESSAGE, threads=n), 1.6, 1.9),
        "detect one, 12 MP": (lambda n: marker.detect(large, threads=n), 1.6, 1.9),
    }
    rows = []
    for what, (work, reach, aim) in works.items():
        one, two, _ = paired(lambda w=work: w(1), lambda w=work: w(2), runs)
        speedup = one / two
        result = verdict(1 / speedup, 1 / reach, 1 / aim)
        rows.append(
            {"what": what, "1 thread, ms": one, "2 threads, ms": two, "speed-up": speedup, "reach": reach,
             "aim": aim, "result": result}
        )  # fmt: skip
    return rows


_MEMORY = """
import sys
from pathlib import Path
import numpy as np
import fastmark as fm
def peak():
    return next(int(l.split()[1]) for l in Path("/proc/self/status").read_text().splitlines() if
    l.startswith("VmHWM"))
marker = fm.Watermarker(fm.Key(bytes(32)))
noise = np.random.default_rng(0).integers(0, 256, (1536, 1536, 3), np.uint8)
marker.detect(marker.embed(noise, 1)), marker.detect(noise)
picture = np.load(sys.argv[1])
def above(work):
    Path("/proc/self/clear_refs").write_text("5")
    before = peak()
    result = work()
    return (peak() - before) * 1024 / picture.nbytes
print(above(lambda: marker.embed(picture, 1)), above(lambda: marker.detect(picture)),
      above(lambda: marker.embed(picture, 1, out=picture)))
"""


def memory(large: np.ndarray) -> list[Row]:
    """Peak memory above the input, in inputs, of a process of its own; Linux only."""
    if not Path("/proc/self/clear_refs").exists():
        return []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture.npy"
        np.save(path, large)
        # memory that was freed goes back at once: else one job's hides what the next one needs
        environment = os.environ | {
            "PYTHONPATH": str(Path(__file__).resolve().parent.parent),
            "MALLOC_MMAP_THRESHOLD_": "65536",
        }
        done = subprocess.run(
            [sys.executable, "-c", _MEMORY, str(path)],
            capture_output=True,
            text=True,
            check=True,
            env=environment,
        )
    shares = map(float, done.stdout.split())
    limits = {"embed, the new array included": 1.0, "detect": 1.0, "embed in place": 0.5}
    return [
        {"what": f"peak memory above the input, 12 MP: {name}", "inputs": share, "reach": reach, "aim": 0.5,
         "result": verdict(share, reach, 0.5)}
        for (name, reach), share in zip(limits.items(), shares, strict=True)
    ]  # fmt: skip


def carriers(runs: int) -> list[Row]:
    """From a key to everything that embedding and detecting need of it."""
    import fastmark as fm
    from fastmark.codec.tables import TONE_COUNTS

    def derive() -> None:
        marker = fm.Watermarker(fm.Key.generate())
        carrier = marker.key_detector.carrier
        carrier.anchor_spectrum(1), carrier.anchor_spectrum(2)
        for count in TONE_COUNTS:
            carrier.pilot(count), carrier.neighbours(count)

    bare = median_ms(lambda: fm.Watermarker(fm.Key.generate()), runs)
    full = median_ms(derive, runs)
    return [
        {"what": "Watermarker(key)", "ms": bare, "reach": None, "aim": None, "result": "-"},
        {"what": "carriers from a key, all of them", "ms": full, "reach": 100, "aim": 20,
         "result": verdict(full, 100, 20)},
    ]  # fmt: skip


def cold() -> list[Row]:
    """First use on a machine: everything compiled, in a process of its own with an empty cache.

    `s at work` adds up all processes and threads, which neighbours on the machine change least.
    """

    def at_work() -> float:
        spent = resource.getrusage(resource.RUSAGE_CHILDREN)
        return spent.ru_utime + spent.ru_stime

    code = "from fastmark.doctor import examine; raise SystemExit(not examine())"
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {
            "PYTHONPATH": str(Path(__file__).resolve().parent.parent),
            "NUMBA_CACHE_DIR": folder,
        }
        rows = []
        limits: dict[str, tuple[float, float | None]] = {"first": (15, 8), "second": (0.8, None)}
        for turn, (reach, aim) in limits.items():
            start, before = time.perf_counter(), at_work()
            subprocess.run([sys.executable, "-c", code], check=True, env=environment, capture_output=True)
            seconds = time.perf_counter() - start
            rows.append(
                {"what": f"process that marks and detects, {turn} time", "s": seconds,
                 "s at work": at_work() - before, "reach": reach, "aim": aim,
                 "result": verdict(seconds, reach, aim)}
            )  # fmt: skip
    return rows


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="*", type=Path, metavar="FOLDER", help="pictures; else shipped ones")
    parser.add_argument(
        "--pictures", type=int, default=3, help="so many of them, spread over all, one by one"
    )
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--quick", action="store_true", help="neither memory nor the first use")
    parser.add_argument("--tables", help=f"only these, comma between; of {'; '.join(TABLES)}")
    parser.add_argument("--rejected", type=int, default=100, help="pictures a size that are rejected")
    parser.add_argument(
        "--accepted", type=int, default=24, help="pictures a size accepted, and for other keys"
    )
    parser.add_argument("--sizes", default=",".join(many.REJECT), help="of the pictures that are rejected")
    parser.add_argument("-o", "--output", type=Path, help="CSV of all tables")
    options = parser.parse_args()
    asked = [name for name in TABLES if options.tables is None or fits(name, options.tables.split(","))]
    options.tables = [name for name in asked if not (options.quick and name in ("memory", "first use"))]
    if not options.tables:
        raise SystemExit(f"no table is called that; there are {', '.join(TABLES)}")
    return options


def fits(name: str, asked: list[str]) -> bool:
    """Whether a table is asked for; `stages` are those of both sizes."""
    return any(name == one or name.startswith(f"{one},") for one in asked)


def main() -> None:
    options = parsed()
    one_thread_each()
    import fastmark as fm

    marker = fm.Watermarker(fm.Key(seeded_bytes("key 0")))
    others = [fm.Watermarker(fm.Key(seeded_bytes(f"key {i}"))) for i in range(1, 5)]
    head = header("speed", 1, runs=options.runs, message_bits=64, rejected=options.rejected)
    print(*head, sep="\n")
    bandwidth, speed = roofline()
    print(f"copy {bandwidth:.1f} GB/s, multiply-add {speed:.1f} GFLOP/s")
    rows: list[Row] = [{"table": "machine", "what": "copy, GB/s", "value": bandwidth},
                       {"table": "machine", "what": "multiply-add, GFLOP/s", "value": speed}]  # fmt: skip

    def keep(table: str, picture: str, make: Callable[[], list[Row]]) -> None:
        if table in options.tables:
            found = make()
            print_table(f"{table}: {picture}" if picture else table, found)
            rows.extend({"table": table, "picture": picture} | row for row in found)

    for name, (small, large) in one_by_one(options):
        keep("whole", name, lambda s=small, b=large: whole(marker, others, s, b, options.runs))
        keep("stages, 1 MP", name, lambda s=small: stages(marker, s, bandwidth, speed, options.runs))
        keep("stages, 12 MP", name, lambda b=large: stages(marker, b, bandwidth, speed, options.runs))
        keep("threads", name, lambda s=small, b=large: threads(marker, s, b, options.runs))
    if set(options.tables) & set(MANY):
        sources = many.originals(find_pictures(options.folders) if options.folders else [])
        sizes = options.sizes.split(",")
        keep("rejecting", "", lambda: many.rejecting(marker, sources, options.rejected, sizes))
        keep("accepting", "", lambda: many.accepting(marker, sources, options.accepted))
        keep("further keys", "", lambda: many.further_keys(others, sources, options.accepted))
    keep("carriers", "", lambda: carriers(options.runs))
    keep("memory", "", lambda: memory(one_large(options)))
    keep("first use", "", cold)
    print(f"\npeak memory of this process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")
    if options.output:
        write_csv(options.output, head, rows)


def one_by_one(options: argparse.Namespace) -> Iterator[tuple[str, tuple[np.ndarray, np.ndarray]]]:
    """The pictures that are measured each on its own: name, and the picture at 1 and at 12 MP."""
    if not set(options.tables) & set(PER_PICTURE):
        return
    if not options.folders:
        yield "shipped photographs", (shipped(*SMALL), shipped(*LARGE))
        return
    for path in find_pictures(options.folders, options.pictures):
        rgb = read_rgb(path)
        yield label(path), (fitted(rgb, *SMALL), fitted(rgb, *LARGE))


def one_large(options: argparse.Namespace) -> np.ndarray:
    """A picture of 12 MP."""
    if not options.folders:
        return shipped(*LARGE)
    return fitted(read_rgb(find_pictures(options.folders, 1)[0]), *LARGE)


if __name__ == "__main__":
    main()
