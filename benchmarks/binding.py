"""Is a watermark told to be made for its image, and a copied or forged one for what it is? Error rates.

Families: genuine watermarks after everyday attacks, those without binding, copies onto other images (the
exact difference, and three filters' estimates of it, at the least strength that is still read), edits (a part
replaced, the background exchanged, a watermarked object pasted), and forgeries by the holder of a detector
key, alone and on copies. Needs binding-requirements.txt for the third filter; left out without it.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

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
from fastmark.detection.binding import ChipSums, class_weights, flags_bound, judge, measure  # noqa: E402
from fastmark.detection.detector import analyse  # noqa: E402
from fastmark.detection.search import Search  # noqa: E402
from fastmark.embedding.choices import choose_strength, choose_tones  # noqa: E402
from fastmark.embedding.design import PILOT_RATIO, Design  # noqa: E402
from fastmark.embedding.host import hashed_origin, prepare  # noqa: E402
from fastmark.embedding.marking import make_delta  # noqa: E402
from fastmark.images.opening import open_for_detection  # noqa: E402
from fastmark.reporting.intervals import wilson  # noqa: E402

Row = dict[str, Any]
RESULTS = Path(__file__).resolve().parent / "results"
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

# family -> the answers that are counted, by column: what is wanted of each is in the README
BINDING, WHOLE = ("binding", "match"), ("made_with", "key")
OTHER, FORGED = ("binding", "mismatch"), ("made_with", "detector key")
COUNTED = {
    "genuine": (BINDING, OTHER, WHOLE, FORGED),
    "genuine, weak": (BINDING, OTHER, WHOLE, FORGED),
    "not bound": (BINDING, OTHER, WHOLE, FORGED),
    "copied": (OTHER, BINDING, WHOLE, FORGED),
    "edited": (BINDING, OTHER, WHOLE, FORGED),
    "forged": (FORGED, WHOLE, BINDING, OTHER),
}
BY_KIND = ("copied", "edited", "forged")


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
    origins = judge(others, withheld)
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
    """The row as thresholds of today have it, from the sums that it holds."""
    sums = []
    for part in ("others", "withheld"):
        names = (*ChipSums._fields[:-1], *(f"flag{i + 1}" for i in range(len(CLASSES))))
        values = [float(row[f"{part}_{name}"]) for name in names]
        n = len(ChipSums._fields) - 1
        sums.append(ChipSums(*values[:n], tuple(values[n:])))
    origins = judge(*sums)
    total = statistics_of(sums[0].plus(sums[1]))
    return row | total | {
        "binding": origins.binding, "made_with": origins.made_with, "log_ratio": origins.log_ratio
    }  # fmt: skip


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
    return [{"picture": label(path)} | row for row in rows]


# ---- results ---------------------------------------------------------------------------------------------


def rates(rows: Sequence[Row]) -> list[Row]:
    """How often each answer is given, of the images whose message is read."""
    lines = []
    for family, counted in COUNTED.items():
        part = [row for row in rows if row["family"] == family]
        kinds = (
            list(dict.fromkeys(row["kind"] for row in part))
            if family in ("copied", "edited", "forged")
            else []
        )
        for kind in ("", *kinds):
            read = [row for row in part if row.get("binding") and kind in ("", row["kind"])]
            for column, answer in counted:
                count = sum(row[column] == answer for row in read)
                low, high = wilson(count, len(read))
                counts = {"images": len(read), "count": count, "share %": 100 * count / max(len(read), 1)}
                line = {"family": family, "kind": kind, "answer": f"{column}: {answer}"}
                lines.append(line | counts | {"least %": 100 * low, "most %": 100 * high})
    return lines


CHART = (("genuine", "made for this image", "#2a7f3f"), ("copied", "copied from another", "#c0392b"))
WIDTH, HEIGHT, LOW, HIGH, BINS = 720, 300, -0.6, 1.6, 44


def draw(path: Path, rows: Sequence[Row]) -> None:
    """Histograms of z of the binding over its expectation, genuine and copied."""
    left, bottom, top = 40, HEIGHT - 45, 34
    step = (WIDTH - left - 20) / BINS

    def x_of(ratio: float) -> float:
        return left + (ratio - LOW) / (HIGH - LOW) * BINS * step

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif"'
        ' font-size="13">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    for tick in np.arange(-0.5, 1.51, 0.25):
        x = x_of(tick)
        out.append(f'<line x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{bottom}" stroke="#e4e4e4"/>')
        out.append(f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{tick:g}</text>')
    ratios = {
        family: [float(row["ratio"]) for row in rows if row["family"] == family and row.get("binding")]
        for family, _, _ in CHART
    }
    shares = {
        family: np.histogram(np.clip(values, LOW, HIGH - 1e-9), BINS, (LOW, HIGH))[0] / len(values)
        for family, values in ratios.items()
        if values
    }
    scale = (bottom - top) / max((float(heights.max()) for heights in shares.values()), default=1.0)
    for place, (family, words, colour) in enumerate(CHART):
        if family not in shares:
            continue
        points = [f"{left},{bottom}"]
        for i, share in enumerate(shares[family]):
            y = bottom - share * scale
            points += [f"{left + i * step:.1f},{y:.1f}", f"{left + (i + 1) * step:.1f},{y:.1f}"]
        points.append(f"{left + BINS * step:.1f},{bottom}")
        out.append(
            f'<polygon points="{" ".join(points)}" fill="{colour}" fill-opacity="0.35" stroke="{colour}"/>'
        )
        x = x_of(1.0 if place == 0 else 0.0)
        place_of = f'x="{x:.1f}" y="{top - 12}" text-anchor="middle" fill="{colour}"'
        out.append(f"<text {place_of}>{words} ({len(ratios[family])})</text>")
    out.append(f'<line x1="{left}" y1="{bottom}" x2="{WIDTH - 20}" y2="{bottom}" stroke="#555555"/>')
    place_of = f'x="{(left + WIDTH - 20) / 2}" y="{HEIGHT - 8}" text-anchor="middle"'
    out.append(f"<text {place_of}>agreement with what the image shows, of what is expected</text></svg>")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(out) + "\n")
    print(f"wrote {path}", file=sys.stderr)


def fit(rows: Sequence[Row]) -> list[Row]:
    """Mean and standard deviation of the ratios, noise of 1 / expectation taken off (maximum likelihood)."""
    from scipy.optimize import minimize

    lines = []
    for family in ("genuine", "copied"):
        pairs = [
            (float(r["ratio"]), float(r["z_expected"]))
            for r in rows
            if r["family"] == family and r.get("binding")
        ]
        if not pairs:
            continue
        ratio, expected = np.array(pairs).T

        def cost(p: np.ndarray, ratio: np.ndarray = ratio, expected: np.ndarray = expected) -> float:
            variance = p[1] ** 2 + 1 / np.maximum(expected, 0.1) ** 2
            return float(np.sum((ratio - p[0]) ** 2 / variance + np.log(variance)))

        best = minimize(cost, np.array([np.median(ratio), 0.1]), method="Nelder-Mead").x
        low, middle, high = np.quantile(ratio, [0.001, 0.5, 0.999])
        model = {"family": family, "mean": float(best[0]), "spread": abs(float(best[1]))}
        ends = {"least": float(ratio.min()), "largest": float(ratio.max())}
        lines.append(model | {"0.1 %": low, "median": middle, "99.9 %": high} | ends)
    return lines


def brief(value: object) -> object:
    """Five digits of a number: all that matters, in a file of thousands of rows."""
    return f"{value:.5g}" if isinstance(value, float) else value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="*", type=Path, metavar="FOLDER")
    parser.add_argument("--families", nargs="+", default=["genuine", "copied", "edited", "forged"])
    parser.add_argument("--pictures", type=int, default=0, help="only so many, spread over all")
    parser.add_argument("--targets", type=int, default=11, help="images that each mark is copied to")
    parser.add_argument("--every", type=int, default=2, help="each image has one in so many of the attacks")
    parser.add_argument("--every-bm3d", type=int, default=1, help="the slow filter sees one image in so many")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("-o", "--output", type=Path, help="CSV, one row an image that was looked at")
    parser.add_argument("--chart", type=Path, metavar="FILE.svg", help="histograms of the ratio")
    parser.add_argument("--rows", nargs="+", type=Path, metavar="CSV", help="judge these anew")
    options = parser.parse_args()
    if options.rows:
        parts = [read_commented(path) for path in options.rows]
        head = parts[0][0]
        rows = [rejudged(row) if row["binding"] else row for _, part in parts for row in part]
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
