"""Where the time goes: the whole against copying, encoding and decoding the picture; each stage against its
roofline.

Ratios are medians of pairs, the work and its reference timed in turn, so that a machine that changes its
speed changes both. `copy` is np.copyto of the RGB array; `enc` and `dec` are Pillow's JPEG encoder (quality
90) and its decoder to RGB, on the same picture, all on one thread. A stage's roofline is the longer of two
times: its bytes, each array read or written once, at the measured bandwidth of a copy; its floating-point
operations, counted in the kernels, at the measured speed of a multiply-and-add that stays in the cache.

Without folders the pictures are made of photographs that scikit-image ships.
"""

from __future__ import annotations

import argparse
import io
import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
from PIL import Image

Row = dict[str, Any]
Work = Callable[[], object]

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
    "each further key, 1 MP": ("dec", 0.5, 0.1),
}


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


def timed(work: Work) -> float:
    """Milliseconds of one call."""
    start = time.perf_counter()
    work()
    return 1e3 * (time.perf_counter() - start)


def median_ms(work: Work, runs: int) -> float:
    """Median of some calls after a first one."""
    work()
    return statistics.median(timed(work) for _ in range(runs))


def paired(work: Work, reference: Work, runs: int) -> tuple[float, float, float]:
    """Medians of the work, of the reference, and of their ratio, timed in turn."""
    work(), reference()
    pairs = [(timed(work), timed(reference)) for _ in range(runs)]
    return (
        statistics.median(a for a, _ in pairs),
        statistics.median(b for _, b in pairs),
        statistics.median(a / b for a, b in pairs),
    )


def decoded(jpeg: bytes) -> np.ndarray:
    """To RGB."""
    return np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB"))


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


def verdict(ratio: float, reach: float | None, aim: float | None) -> str:
    if reach is None or aim is None:
        return "-"
    return "aim" if ratio <= aim else "reach" if ratio <= reach else "SHORT"


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


def roofline() -> tuple[float, float]:
    """Bandwidth of a copy of 64 MB, bytes read and written, and vectorised multiply-adds in the cache: GB/s,
    GFLOP/s.
    """
    from fastmark.kernels._jit import kernel

    @kernel
    def work(x: Any, y: Any, times: int) -> None:
        for _ in range(times):
            for i in range(x.size):
                y[i] = y[i] * np.float32(0.999) + x[i]

    source, target = np.ones(1 << 24, np.float32), np.empty(1 << 24, np.float32)
    copy_ms = median_ms(lambda: np.copyto(target, source), 9)
    x, y = np.ones(2048, np.float32), np.ones(2048, np.float32)
    work_ms = median_ms(lambda: work(x, y, 20000), 9)
    return 2 * source.nbytes / copy_ms / 1e6, 2 * x.size * 20000 / work_ms / 1e6


def stages(marker: Any, picture: np.ndarray, bandwidth: float, speed: float, runs: int) -> list[Row]:
    """Stage by stage, on the data they get; megabytes each array once, operations a unit as counted in the
    kernels.
    """
    from fastmark import fft
    from fastmark.codec import plane
    from fastmark.codec.mask import Perception
    from fastmark.detection import noise as spectra
    from fastmark.detection.analysis import Analysis
    from fastmark.detection.levels import ScanLevel
    from fastmark.detection.scan import scan
    from fastmark.detection.scores import ScorePlanes, scores
    from fastmark.embedding import choices, earlier, hardening, host, host_scores, margins, marking, origin

    detector = marker.key_detector
    carrier, code, templates = detector.carrier, detector.code, detector.templates
    k = plane.pixels_per_unit(*picture.shape[:2])
    luma = plane.canonical_plane(picture, k)
    prepared = host.prepare(luma, k)
    codeword = code.encode(MESSAGE, k)
    design = marking.make_design(prepared, carrier, codeword)
    unit_delta = marking.make_delta(prepared, carrier, codeword, design)
    delta, _ = hardening.harden(prepared, unit_delta, 0.8)
    mask = prepared.perception.mask
    known = margins.KnownMark(design.origin, carrier, codeword, design.n_tones, 64)
    n, mega = luma.size, 1e-6
    everything = margins.Window(0, 0, *luma.shape)
    whole_look = (luma + delta, luma + delta, mask)  # as if nothing were lost by compression

    def asked() -> host_scores.HostScores:
        return host_scores.HostScores(luma, mask)

    n_asked = asked().weighted.size
    pixels_mb, plane_mb = picture.nbytes * mega, luma.nbytes * mega

    found = Analysis(ScorePlanes(picture, k))
    identity, levels, step = found.identity, found.levels, found.plan.step
    seen = found.planes.reduced(step)
    weighted = found.planes.weighted(step)
    side = 1024 // step
    seen_mb, n_seen, spectrum_mb = seen.nbytes * mega, seen.size, identity.spectrum.nbytes * mega
    finest = levels[0]
    shared = identity.power if found.plan.shares_spectrum else None
    windows = [spectra.tukey(n) for n in weighted.shape]

    def fft_ops(size: int) -> float:
        return 2.5 * size * math.log2(size)  # of a real transform (Frigo & Johnson 2005)

    # job, stage, work, megabytes, operations
    entries: list[tuple[str, str, Work, float, float]] = [
        ("embed", "luma", lambda: plane.canonical_plane(picture, k), pixels_mb + plane_mb, 6 * n * k * k),
        ("embed", "perception", lambda: Perception.of(luma), 2 * plane_mb, 22 * n),
        ("embed", "look for an earlier mark, its spectrum known",
         lambda: earlier.look_for(host.Pixels(picture, 255.0, k), prepared, marker.key_detector),
         8 * 384 * 64 * mega, 8 * 384 * 20),
        ("embed", "scores and spectrum for look and origin", lambda: asked().torus,
         4 * n_asked * 4 * mega, 46 * n_asked + fft_ops(512 * 512)),
        ("embed", "origin, its scores known",
         lambda: origin.Agreement.of(prepared.scored, carrier, codeword, design.n_tones).best(),
         30 * 128 * 128 * 4 * mega, 22 * fft_ops(128 * 128)),
        ("embed", "origin of an image without detail",
         lambda: host.hashed_origin(luma, carrier.key), plane_mb, n),
        ("embed", "number of tones",
         lambda: choices.choose_tones(prepared, carrier, design.pilot_ratio),
         9 * 128 * 128 * 4 * mega, 9 * fft_ops(128 * 128)),
        ("embed", "strength",
         lambda: choices.choose_strength(prepared, design), 3 * mask.nbytes * mega, 10 * mask.size),
        ("embed", "pilot and chips",
         lambda: marking.make_delta(prepared, carrier, codeword, design), 4 * plane_mb, 16 * n),
        ("embed", "hardening",
         lambda: hardening.harden(prepared, unit_delta, 0.8), 3 * plane_mb, (60 if k == 1 else 2) * n),
        ("embed", "margins",
         lambda: margins.measure(host.Pixels(picture, 255.0, k), delta, mask, known),
         8 * 4 * 96 * 96 * 4 * mega, 560 * 4 * 96 * 96),
        ("embed", "survival, all of a plane",
         lambda: known.look(*whole_look, [everything], luma.shape, k),
         14 * plane_mb, 9.25 * 46 * n + 2 * fft_ops(2 * n)),
        ("embed", "delta to pixels",
         lambda: plane.add_delta(picture, delta, k), 2 * pixels_mb + plane_mb, 4 * n * k * k),
        ("detect", "luma",
         lambda: plane.canonical_plane(picture, step * k), pixels_mb + seen_mb, 6 * n * k * k),
        ("detect", "perception", lambda: Perception.of(seen), 2 * seen_mb, 22 * n_seen),
        ("detect", "scores, four grids", lambda: scores(seen), 4 * 3 * seen_mb, 4 * 46 * n_seen),
        ("detect", "FFT of the torus",
         lambda: fft.rfft2_padded(weighted[:side, :side], windows[0][:side], windows[1][:side], (side, side)),
         seen_mb + spectrum_mb, fft_ops(side * side)),
        ("detect", "finest level, to log-polar bytes",
         lambda: ScanLevel(found.planes, finest.plan, shared),
         6 * finest.white.nbytes * mega, 60 * finest.white.size),
        ("key", "place, as it is",
         lambda: identity.place_densely(carrier, turns=(False,)),
         4 * spectrum_mb, fft_ops(side * side) + 8 * identity.spectrum.size),
        ("key", "scan, finest level",
         lambda: scan(finest, templates), scanned_mb(finest, templates), 0.0),
        ("key", "scan, coarsest level",
         lambda: scan(levels[-1], templates), scanned_mb(levels[-1], templates), 0.0),
        ("key", "of it an inverse FFT",
         lambda: fft.irfft2(identity.spectrum), spectrum_mb + 4 * side * side * mega, fft_ops(side * side)),
    ]  # fmt: skip
    rows = []
    for job, stage, work, megabytes, operations in entries:
        ms = median_ms(work, runs)
        bound = max(megabytes / bandwidth, operations / speed * 1e-6)
        rows.append(
            {"job": job, "stage": stage, "ms": ms, "MB": megabytes, "Mflop": operations * 1e-6,
             "roofline, ms": bound, "times roofline": ms / bound}
        )  # fmt: skip
    return rows


def scanned_mb(level: Any, templates: Any) -> float:
    """Megabytes that a scan reads from its log-polar bytes, one a tone, rotation and scale."""
    from fastmark.detection.scan import scan_passes

    total = 0
    for one in scan_passes(level.plan.pools, small=level.plan.small):
        n_scales = level.views[one.pool].grid.scales(level.plan.least_scale).size
        total += len(one.hypotheses) * one.n_tones * n_scales
    return total * 1e-6


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
    names = ("embed, the new array included", "detect", "embed in place")
    return [
        {"what": f"peak memory above the input, 12 MP: {name}", "inputs": share, "reach": 1.0, "aim": 0.5,
         "result": verdict(share, 1.0, 0.5)}
        for name, share in zip(names, shares, strict=True)
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
    """First use on a machine: everything compiled, in a process of its own with an empty cache."""
    code = "from fastmark.doctor import examine; raise SystemExit(not examine())"
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {
            "PYTHONPATH": str(Path(__file__).resolve().parent.parent),
            "NUMBA_CACHE_DIR": folder,
        }
        rows = []
        for turn in ("first", "second"):
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True, env=environment, capture_output=True)
            rows.append(
                {"what": f"process that marks and detects, {turn} time", "s": time.perf_counter() - start}
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="*", type=Path, metavar="FOLDER", help="pictures; else shipped ones")
    parser.add_argument("--pictures", type=int, default=3, help="so many of them, spread over all")
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--quick", action="store_true", help="neither memory nor the first use")
    parser.add_argument("-o", "--output", type=Path, help="CSV of all tables")
    options = parser.parse_args()

    one_thread_each()
    import fastmark as fm

    marker = fm.Watermarker(fm.Key(seeded_bytes("key 0")))
    others = [fm.Watermarker(fm.Key(seeded_bytes(f"key {i}"))) for i in range(1, 5)]
    if options.folders:
        paths = find_pictures(options.folders, options.pictures)
        pictures = {label(p): (fitted(read_rgb(p), *SMALL), fitted(read_rgb(p), *LARGE)) for p in paths}
    else:
        pictures = {"shipped photographs": (shipped(*SMALL), shipped(*LARGE))}
    head = header("speed", 1, runs=options.runs, message_bits=64)
    print(*head, sep="\n")
    bandwidth, speed = roofline()
    print(f"copy {bandwidth:.1f} GB/s, multiply-add {speed:.1f} GFLOP/s")
    rows: list[Row] = [{"table": "machine", "what": "copy, GB/s", "value": bandwidth},
                       {"table": "machine", "what": "multiply-add, GFLOP/s", "value": speed}]  # fmt: skip

    def keep(table: str, picture: str, found: list[Row]) -> None:
        print_table(f"{table}: {picture}" if picture else table, found)
        rows.extend({"table": table, "picture": picture} | row for row in found)

    for name, (small, large) in pictures.items():
        keep("whole", name, whole(marker, others, small, large, options.runs))
        keep("stages, 1 MP", name, stages(marker, small, bandwidth, speed, options.runs))
        keep("stages, 12 MP", name, stages(marker, large, bandwidth, speed, options.runs))
        keep("threads", name, threads(marker, small, large, options.runs))
    keep("carriers", "", carriers(options.runs))
    if not options.quick:
        keep("memory", "", memory(next(iter(pictures.values()))[1]))
        keep("first use", "", cold())
    print(f"\npeak memory of this process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")
    if options.output:
        write_csv(options.output, head, rows)


if __name__ == "__main__":
    main()
