"""Is a watermark told to be made for its image, and a copied or forged one for what it is? Error rates.

Families: genuine watermarks after everyday attacks, those without binding, copies onto other images (the
exact difference, and three filters' estimates of it, at the least strength that is still read), edits (a part
replaced, the background exchanged, a watermarked object pasted), forgeries by the holder of a detector key,
alone and on copies, and scenes: screens, pages and captions, of quiet images too. Needs
binding-requirements.txt for the third filter; left out without it.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from _binding_scenes import at_sides, by_side, scenes_of, sweep, swept
from _binding_tables import brief, draw, fit, rates
from _common import (
    find_pictures,
    fitted,
    header,
    in_processes,
    label,
    one_thread_each,
    print_table,
    read_rgb,
    seeded_bytes,
    write_csv,
)
from _tables import read_commented

one_thread_each()

import numpy as np  # noqa: E402
from attacks import ATTACKS  # noqa: E402
from scipy import ndimage, signal  # noqa: E402

from fastmark import DetectorKey, Key, Watermarker  # noqa: E402
from fastmark.codec.binding import CLASSES, STRONG, WEAK, BindingClass  # noqa: E402
from fastmark.codec.carrier import Carrier  # noqa: E402
from fastmark.codec.plane import Plane, pixels_per_unit  # noqa: E402
from fastmark.codec.tables import BLOCK, GRID, TORUS  # noqa: E402
from fastmark.detection.binding import class_weights, examine, flags_bound, judge  # noqa: E402
from fastmark.detection.chip_sums import ChipSums, measure  # noqa: E402
from fastmark.detection.detector import analyse  # noqa: E402
from fastmark.detection.search import Search  # noqa: E402
from fastmark.embedding.choices import choose_strength, choose_tones  # noqa: E402
from fastmark.embedding.design import PILOT_RATIO, Design  # noqa: E402
from fastmark.embedding.host import hashed_origin, prepare  # noqa: E402
from fastmark.embedding.marking import make_delta  # noqa: E402
from fastmark.images.opening import open_for_detection  # noqa: E402

Row = dict[str, Any]
SIDE = 384  # pixels of images that marks are copied from and to
STRENGTHS = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
EVERYDAY = ("none", "everyday", "jpeg-20", "webp-50")
MESSAGE_BITS = 64

# edit -> share of the area that an object has, and whether it or all else is of the marked image
EDITS = {
    "15 % replaced": (0.15, False),
    "30 % replaced": (0.3, False),
    "background swapped": (0.5, True),
    "object inserted": (0.35, True),
}


# ---- images and keys -------------------------------------------------------------------------------------


@cache
def square(path: Path) -> np.ndarray:
    """The middle of an image, SIDE pixels each way; large ones are reduced first."""
    rgb = read_rgb(path)
    height, width = rgb.shape[:2]
    if not SIDE <= min(height, width) <= 768:
        return fitted(rgb, SIDE, SIDE)
    top, left = (height - SIDE) // 2, (width - SIDE) // 2
    return np.ascontiguousarray(rgb[top : top + SIDE, left : left + SIDE])


@cache
def marker_of(name: str) -> Watermarker:
    """A key for each image, so that no draw of signs counts twice."""
    return Watermarker(Key(seeded_bytes(f"binding {name}")), MESSAGE_BITS)


@cache
def forger_of(name: str) -> Carrier:
    """What a detector key of that key discloses."""
    return Carrier(DetectorKey.of(marker_of(name).key))


def message_of(name: str) -> bytes:
    return seeded_bytes(f"message {name}", MESSAGE_BITS // 8)


def luma(rgb: np.ndarray) -> Plane:
    return rgb.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)


def added(rgb: np.ndarray, delta: Plane) -> np.ndarray:
    return np.clip(np.rint(rgb + delta[..., None]), 0, 255).astype(np.uint8)


def drawn(rgb: np.ndarray, name: str, carrier: Carrier, kind: BindingClass, origin: tuple[int, int]) -> Plane:
    """The delta of a mark as these carriers have it, at the strength of this image, not hardened."""
    host, marker = prepare(luma(rgb), 1), marker_of(name)
    codeword = marker.key_detector.code.encode(message_of(name), 1)
    design = Design(origin, choose_tones(host, carrier, PILOT_RATIO), binding=kind)
    return np.float32(choose_strength(host, design)) * make_delta(host, carrier, codeword, design)


# ---- looking ---------------------------------------------------------------------------------------------


def look(rgb: np.ndarray, marker: Watermarker, *, whole: bool) -> Row | None:
    """What is said of an image whose message is read, and the statistics behind it; None if it is not.

    `whole`: search for all geometries; else as it is.
    """
    opened = open_for_detection(rgb, unit=pixels_per_unit)
    analysis, detector = analyse(opened), marker.key_detector
    search = Search(analysis, detector.carrier, detector.templates, detector.code)
    if whole:
        search.run(deep=False)
    else:
        search.try_as_it_is()
    if not search.finding.proven:
        return None
    others, withheld = measure(analysis.planes, search.finding, detector.carrier)
    origins = examine(analysis.planes, search.finding, detector.carrier)
    said = {"binding": origins.binding, "made_with": origins.made_with, "log_ratio": origins.log_ratio}
    z = {"z": search.finding.message_z} | statistics_of(others.plus(withheld))
    parts = {f"{part}_{name}": value for part, sums in (("others", others), ("withheld", withheld))
             for name, value in flat(sums).items()}  # fmt: skip
    return said | z | parts


def flat(sums: ChipSums) -> Row:
    values = sums._asdict()
    flags = values.pop("flags")
    return values | {f"flag{i + 1}": value for i, value in enumerate(flags)}


def statistics_of(sums: ChipSums) -> Row:
    depth = float(class_weights(sums) @ [kind.depth for kind in CLASSES])
    norm, plain_norm = math.sqrt(max(sums.bound_energy, 1e-9)), math.sqrt(max(sums.energy, 1e-9))
    expected = depth * sums.expected / norm
    z = {
        "z_bound": sums.bound / norm,
        "z_expected": expected,
        "ratio": sums.bound / norm / max(expected, 1e-9),
    }
    return z | {"z_chips": sums.plain / plain_norm, "z_flag": max(sums.flags) / plain_norm,
                "log_flags": flags_bound(sums)}  # fmt: skip


def rejudged(row: Row) -> Row:
    """The row as thresholds of today have it, from the sums that it holds.

    What is said after a second look is not: the sums of that are not kept.
    """
    sums = []
    for part in ("others", "withheld"):
        names = (*ChipSums._fields[:-1], *(f"flag{i + 1}" for i in range(len(CLASSES))))
        values = [float(row[f"{part}_{name}"]) for name in names]
        n = len(ChipSums._fields) - 1
        sums.append(ChipSums(*values[:n], tuple(values[n:])))
    origins = judge(*sums)
    total = statistics_of(sums[0].plus(sums[1]))
    said = {"binding": origins.binding, "made_with": origins.made_with, "log_ratio": origins.log_ratio}
    return row | total | (said if origins.binding != "mismatch" else {})


def least_strength(make: Callable[[float], np.ndarray], marker: Watermarker) -> Row | None:
    """What is said of the image at the first strength at which its message is read."""
    for strength in STRENGTHS:
        row = look(make(strength), marker, whole=False)
        if row is not None:
            return {"strength": strength} | row
    return None


# ---- families --------------------------------------------------------------------------------------------


def genuine(path: Path, number: int, every: int) -> Iterator[Row]:
    """Marked, then attacked: each image has its share of the attacks."""
    marker, rgb = marker_of(path.name), read_rgb(path)
    if min(rgb.shape[:2]) > 512:
        rgb = np.ascontiguousarray(rgb[:512, :512])
    names = [a.name for a in ATTACKS.values() if a.group in EVERYDAY and a.applies(*rgb.shape[:2])]
    marked = marker.embed(rgb, message_of(path.name))
    yield from attacked("genuine", marked, names[number % every :: every], marker)
    host = prepare(luma(rgb), 1)
    weak = added(
        rgb, drawn(rgb, path.name, marker.key_detector.carrier, WEAK, hashed_origin(host.plane, marker.key))
    )
    yield from attacked("genuine, weak", weak, names[number % (4 * every) :: 4 * every], marker)
    bare = marker.embed(rgb, message_of(path.name), bind=False)
    yield from attacked("not bound", bare, names[number % every :: every], marker)


def attacked(family: str, marked: np.ndarray, names: Sequence[str], marker: Watermarker) -> Iterator[Row]:
    for name in names:
        row = look(np.ascontiguousarray(ATTACKS[name](marked)), marker, whole=True)
        yield {"family": family, "kind": name} | (row or {})


def copied(path: Path, targets: Sequence[Path], *, slow: bool) -> Iterator[Row]:
    marker, rgb = marker_of(path.name), square(path)
    marked = marker.embed(rgb, message_of(path.name))
    for kind, residual in residuals(rgb, marked, slow=slow):
        for target in targets:
            other = square(target)
            row = least_strength(lambda s, o=other, r=residual: added(o, s * r), marker)
            yield {"family": "copied", "kind": kind, "target": label(target)} | (row or {})


def residuals(rgb: np.ndarray, marked: np.ndarray, *, slow: bool) -> Iterator[tuple[str, Plane]]:
    """What somebody takes for the mark: with the original at hand, and with a filter."""
    from skimage.restoration import denoise_wavelet

    plane, sigma = luma(marked), 3.0
    yield "exact", plane - luma(rgb)
    yield "wiener", plane - signal.wiener(plane, (5, 5), noise=sigma**2).astype(np.float32)
    smooth = denoise_wavelet(plane / 255, sigma=sigma / 255, wavelet="db4", mode="soft", method="BayesShrink")
    yield "wavelet", plane - 255 * smooth.astype(np.float32)
    if not slow:
        return
    try:
        from bm3d import BM3DStages, bm3d
    except ImportError:
        print("without bm3d: see binding-requirements.txt", file=sys.stderr)
        return
    smooth = bm3d(plane / 255, sigma / 255, stage_arg=BM3DStages.HARD_THRESHOLDING)
    yield "bm3d", plane - 255 * smooth.astype(np.float32)


def edited(path: Path, targets: Sequence[Path], number: int) -> Iterator[Row]:
    """Parts of the marked image and of others, side by side."""
    marker, rgb = marker_of(path.name), square(path)
    marked = marker.embed(rgb, message_of(path.name)).astype(np.float32)
    rng = np.random.default_rng([number, 7])
    for target in targets:
        other = square(target).astype(np.float32)
        for kind, (share, inside) in EDITS.items():
            shape = blob(rng, share, spread=kind != "background swapped")[..., None]
            kept = shape if inside else 1 - shape
            mixed = np.rint(kept * marked + (1 - kept) * other).astype(np.uint8)
            row = look(mixed, marker, whole=False)
            yield {"family": "edited", "kind": kind, "target": label(target)} | (row or {})


def blob(rng: np.random.Generator, share: float, *, spread: bool) -> np.ndarray:
    """The mask of an object with a soft edge, that covers this share; anywhere, or in the middle."""
    y, x = np.mgrid[0:SIDE, 0:SIDE] / SIDE
    centre = rng.uniform(0.3, 0.7, 2) if spread else (0.5, 0.5)
    wobble = ndimage.gaussian_filter(rng.normal(size=(SIDE, SIDE)), 30) * 30
    distance = np.hypot(y - centre[0], (x - centre[1]) * rng.uniform(0.7, 1.4)) + 0.12 * wobble
    limit = np.quantile(distance, share)
    return ndimage.gaussian_filter((distance < limit).astype(np.float32), 1.5)


def forged(path: Path, targets: Sequence[Path], number: int) -> Iterator[Row]:
    """By the holder of a detector key: a mark of what it discloses, alone and together with a copy.

    On a copy the disclosed blocks are drawn over it, at twice its strength or at the same, or those of the
    copy are left out first, which leaves it in the blocks that are withheld.
    """
    marker, carrier = marker_of(path.name), forger_of(path.name)
    rgb = square(path)
    marked = marker.embed(rgb, message_of(path.name))
    found = marker.detect(marked)
    assert found.message_bytes == message_of(path.name)
    residual, origin = luma(marked) - luma(rgb), origin_of(marked, marker)
    hidden = np.kron(carrier.binding.withheld, np.ones((BLOCK, BLOCK)))
    places = (np.arange(SIDE) + origin[0]) % TORUS, (np.arange(SIDE) + origin[1]) % TORUS
    left = residual * hidden[np.ix_(*places)].astype(np.float32)
    rng = np.random.default_rng([number, 8])
    for target in targets:
        other = square(target)
        anywhere = tuple(int(n) for n in BLOCK * rng.integers(0, GRID, 2) + BLOCK // 2)
        alone = drawn(other, path.name, carrier, STRONG, anywhere)
        here = drawn(other, path.name, carrier, STRONG, origin)
        copy = float(rng.choice((0.7, 1.0, 1.5, 2.0)))
        for kind, make in (
            ("alone", lambda s, o=other, d=alone: added(o, s * d)),
            ("alone, strong", lambda s, o=other, d=alone: added(o, 2 * s * d)),
            ("over a copy", lambda s, o=other, d=here, c=copy: added(o, s * c * (2 * d + residual))),
            ("over a copy, as strong", lambda s, o=other, d=here, c=copy: added(o, s * c * (d + residual))),
            ("beside a copy", lambda s, o=other, d=here, c=copy: added(o, s * d + c * left)),
        ):
            row = least_strength(make, marker)
            yield {"family": "forged", "kind": kind, "target": label(target), "copy": copy} | (row or {})


def origin_of(marked: np.ndarray, marker: Watermarker) -> tuple[int, int]:
    """Where on the torus an image begins, as the detector finds it."""
    analysis, detector = analyse(open_for_detection(marked, unit=pixels_per_unit)), marker.key_detector
    search = Search(analysis, detector.carrier, detector.templates, detector.code)
    search.try_as_it_is()
    assert search.finding.placement is not None
    return tuple(int(-n) % TORUS for n in np.rint(search.finding.placement.offset))


def trial(
    families: Sequence[str], number: int, paths: Sequence[Path], options: argparse.Namespace
) -> list[Row]:
    """Everything that one image is the source of."""
    path = paths[number]
    order = np.random.default_rng(number).permutation(len(paths))
    others = [paths[i] for i in order if i != number]
    rows: list[Row] = []
    if "genuine" in families:
        rows += genuine(path, number, options.every)
    if "copied" in families:
        rows += copied(path, others[: options.targets], slow=number % options.every_bm3d == 0)
    if "edited" in families:
        rows += edited(path, others[: max(options.targets // 3, 1)], number)
    if "forged" in families:
        rows += forged(path, others[: options.targets], number)
    if "scenes" in families:
        for family, kind, marker, shown in scenes_of(path, others[0]):
            rows.append({"family": family, "kind": kind} | (look(shown, marker, whole=True) or {}))
    return [{"picture": label(path)} | row for row in rows]


# ---- results ---------------------------------------------------------------------------------------------


def scenes(options: argparse.Namespace) -> None:
    """What is said of scenes, by constant or by size, in a table of its own."""
    name, job, table = ("sweep", sweep, swept) if options.sweep else ("sides", at_sides, by_side)
    paths = find_pictures(options.folders, options.pictures)
    jobs = [(path, paths[number - 1]) for number, path in enumerate(paths)]
    lines = table([row for _, part in in_processes(job, jobs, options.workers) for row in part])
    head = header(f"binding --{name}", options.workers, images=len(paths), message_bits=MESSAGE_BITS)
    print(*head, sep="\n")
    print_table(f"scenes, --{name}", lines)
    if options.output:
        write_csv(options.output, head, lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="*", type=Path, metavar="FOLDER")
    parser.add_argument("--families", nargs="+", default=["genuine", "copied", "edited", "forged", "scenes"])
    parser.add_argument("--pictures", type=int, default=0, help="only so many, spread over all")
    parser.add_argument("--targets", type=int, default=11, help="images that each mark is copied to")
    parser.add_argument("--every", type=int, default=2, help="each image has one in so many of the attacks")
    parser.add_argument("--every-bm3d", type=int, default=1, help="the slow filter sees one image in so many")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("-o", "--output", type=Path, help="CSV, one row an image that was looked at")
    parser.add_argument("--chart", type=Path, metavar="FILE.svg", help="histograms of the ratio")
    parser.add_argument("--sweep", action="store_true", help="what constants of a second look do in scenes")
    parser.add_argument("--sides", action="store_true", help="what is said of scenes of images of each size")
    parser.add_argument("--rows", nargs="+", type=Path, metavar="CSV", help="judge these anew")
    options = parser.parse_args()
    if options.rows:
        parts = [read_commented(path) for path in options.rows]
        head = parts[0][0]
        rows = [rejudged(row) if row["binding"] else row for _, part in parts for row in part]
    elif options.sweep or options.sides:
        scenes(options)
        return
    else:
        paths = find_pictures(options.folders, options.pictures)
        head = header("binding", options.workers, images=len(paths), message_bits=MESSAGE_BITS)
        jobs = [(options.families, number, paths, options) for number in range(len(paths))]
        done: dict[int, list[Row]] = {}
        for number, part in in_processes(trial, jobs, options.workers):
            done[number] = part
            print(label(paths[number]), len(part), file=sys.stderr)
        rows = [row for number in sorted(done) for row in done[number]]
    print(*head, sep="\n")
    print_table("answers, of the images whose message is read", rates(rows))
    print_table("z of the binding over its expectation", fit(rows))
    if options.output:
        write_csv(options.output, head, [{name: brief(value) for name, value in row.items()} for row in rows])
    if options.chart:
        draw(options.chart, rows)


if __name__ == "__main__":
    main()
