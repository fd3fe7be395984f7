"""Where the fitted constants come from: each family of them is measured anew and printed beside its value.

The embedder's constants decide how marks look, and the detector's what is followed up: a value that is found
to differ is a reason to measure quality and robustness again, not to change the constant alone. Results stand
in `results/calibration-*.csv`, and a test holds the code's constants against them.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from _calibration import Row, carriers, compared, mean_and_error
from _chance import chance
from _common import (
    find_pictures,
    header,
    in_processes,
    one_thread_each,
    print_table,
    read_rgb,
    seeded_bytes,
    write_csv,
)
from _tables import RESULTS
from PIL import Image

MESSAGE_BITS = 64

# ---- visibility --------------------------------------------------------------------------------------

STRENGTHS = (0.6, 1.0)
PART = 1024  # pixels each way, of which a large image is scored


class Prepared(NamedTuple):
    """An image ready to be marked at any strength."""

    image: Any
    host: Any
    design: Any
    unit_delta: np.ndarray

    @classmethod
    def of(cls, rgb: np.ndarray, k: int) -> Prepared:
        """Prepare pixels that are, or are a part of, an image of ``k`` pixels per unit."""
        from fastmark.codec.message import MessageCode
        from fastmark.embedding.drawing import make_delta
        from fastmark.embedding.host import Pixels, prepare
        from fastmark.embedding.marking import make_design

        carrier, image = carriers(1)[0], Pixels(rgb, 255.0, k)
        host = prepare(image.plane(), k, colours=image.colours())
        codeword = MessageCode(MESSAGE_BITS).encode(seeded_bytes("message", MESSAGE_BITS // 8), k)
        design = make_design(host, carrier, codeword)
        return cls(image, host, design, make_delta(host, carrier, codeword, design))

    def marked(self, strength: float) -> np.ndarray:
        """The pixels at a strength, hardened as ever."""
        from fastmark.embedding.hardening import harden

        return self.image.add(harden(self.host, self.unit_delta, strength)[0])[0].values


def views(path: Path) -> list[tuple[np.ndarray, int]]:
    """An image and its pixels per unit; of a large one the middle, as it is and reduced to 2 and more."""
    from fastmark.codec.plane import UNITS_PER_SIDE, pixels_per_unit

    rgb = read_rgb(path)
    own = pixels_per_unit(*rgb.shape[:2])
    if own == 1:
        return [(rgb, 1)]
    found = []
    for k in range(2, own + 1):
        ratio = UNITS_PER_SIDE * k / min(rgb.shape[:2])
        image = Image.fromarray(rgb)
        if k < own:
            image = image.resize([round(ratio * n) for n in image.size], Image.Resampling.LANCZOS)
        places = [max(0, n - PART) // 2 for n in image.size]
        box = (*places, *(at + min(PART, n) for at, n in zip(places, image.size, strict=True)))
        found.append((np.array(image.crop(box)), k))
    return found


def content_power(prepared: Prepared) -> float:
    """Mean square of the content that chips follow, weighted by their power."""
    from fastmark.codec.binding import block_content

    host, partners = prepared.host, carriers(1)[0].binding.partners
    content = block_content(host.block_luma(), partners, prepared.design.grid_origin)
    return float(np.average(content**2, weights=host.block_mask**2))


def visibility_of(path: Path) -> list[tuple[float, ...]]:
    """(1, ln strength, ln noise, ln k, ln(100 - SSIMULACRA2), content) of each view at each strength."""
    from quality import ssimulacra2

    from fastmark.embedding.choices import MAX_UNIT, visible_noise

    rows = []
    for rgb, k in views(path):
        prepared = Prepared.of(rgb, k)
        noise, content = visible_noise(prepared.host, prepared.design), content_power(prepared)
        for strength in STRENGTHS:
            loss = math.log(100 - ssimulacra2(rgb, prepared.marked(strength))[0])
            unit = math.log(min(k, MAX_UNIT))
            rows.append((1.0, math.log(strength), math.log(noise), unit, loss, content))
    return rows


def visibility(options: argparse.Namespace) -> list[Row]:
    """Least squares of ln(100 - SSIMULACRA2) over views at two strengths; errors by leaving out images."""
    jobs = [(path,) for path in find_pictures(options.folders, options.images)]
    parts = [np.array(part) for _, part in sorted(in_processes(visibility_of, jobs, options.workers))]
    data, n = np.concatenate(parts), len(parts)

    def fit(part: np.ndarray) -> np.ndarray:
        return np.linalg.lstsq(part[:, :4], part[:, 4])[0]

    found = fit(data)
    left_out = np.array([fit(np.concatenate(parts[:i] + parts[i + 1 :])) for i in range(n)])
    errors = np.sqrt((n - 1) * np.var(left_out, axis=0))  # jackknife (Efron 1982)
    unseen = [part[:, 4] - part[:, :4] @ law for part, law in zip(parts, left_out, strict=True)]
    print(f"residual {np.std(data[:, 4] - data[:, :4] @ found):.3f}")
    print(f"residual of images left out {np.sqrt(np.mean(np.concatenate(unseen) ** 2)):.3f}")
    names = ("offset", "of ln strength", "of ln noise", "of ln pixels per unit")
    rows = [
        compared(f"visibility: {name}", float(f), float(e), 3, images=n, trials=len(data))
        for name, f, e in zip(names, found, errors, strict=True)
    ]
    mean, error = mean_and_error([float(np.mean(part[:, 5])) for part in parts])
    return [*rows, compared("visibility: content", mean, error, 1, images=n, trials=len(data) // 2)]


# ---- the code ----------------------------------------------------------------------------------------

READ = 0.9


def share_read(bits: int, z: float, trials: int, seed: int) -> float:
    """The share of messages that list decoding reads of Gaussian soft bits of signal-to-noise ratio z."""
    from fastmark.codec.message import CODE_BITS, MessageCode

    code, rng, read = MessageCode(bits), np.random.default_rng([seed, bits, round(1000 * z)]), 0
    amplitude = z / math.sqrt(CODE_BITS)
    for _ in range(trials):
        message = rng.bytes(bits // 8)
        received = (1 - 2.0 * code.encode(message)) * amplitude + rng.normal(size=CODE_BITS)
        decoded = code.decode((2 * amplitude * received).astype(np.float32))
        read += decoded is not None and decoded.message == int.from_bytes(message, "big")
    return read / trials


def needed_z_of(bits: int, trials: int, seed: int = 0) -> tuple[float, float]:
    """The z at which nine messages of ten are read, and its standard error.

    Shares at seven z about the constant are fitted by a straight line in the normal quantile, which a share
    as a function of z nearly is.
    """
    from statistics import NormalDist

    from fastmark.codec.message import NEEDED_Z

    normal, points = NormalDist(), NEEDED_Z[bits] * np.linspace(0.88, 1.06, 7)
    shares = np.array([share_read(bits, float(z), trials, seed) for z in points])
    kept = np.clip(shares, 0.5 / trials, 1 - 0.5 / trials)
    quantiles = np.array([normal.inv_cdf(float(share)) for share in kept])
    # the variance of a quantile is that of the share over the density squared
    density = np.array([normal.pdf(float(q)) for q in quantiles])
    weights = density / np.sqrt(kept * (1 - kept) / trials)
    (slope, offset), covariance = np.polyfit(points, quantiles, 1, w=weights, cov="unscaled")
    found = (normal.inv_cdf(READ) - offset) / slope
    gradient = np.array([found, 1.0]) / slope
    return float(found), float(np.sqrt(gradient @ covariance @ gradient))


def needed_z(options: argparse.Namespace) -> list[Row]:
    """The SNR that each length of message needs."""
    from fastmark.codec.message import NEEDED_Z

    jobs = [(bits, options.trials) for bits in NEEDED_Z]
    rows = []
    for number, (found, error) in sorted(in_processes(needed_z_of, jobs, options.workers)):
        name = f"needed z, {jobs[number][0]} bits"
        rows.append(compared(name, found, error, 1, images=0, trials=7 * options.trials))
    return rows


# ---- phases ------------------------------------------------------------------------------------------

FACTORS = (0.5, 1.0, 2.0)
LEAST_PILOT = 3.0  # z of a pilot from which the laws are fitted
LEAST_SIDE = 384  # units; smaller images are not sampled, so that nothing is predicted of them


def phases_of(path: Path) -> list[tuple[float, float, float, int]]:
    """(z of the pilot, nats of its phases, its score in the scan, tones) of an image and of its half size.

    It is marked at about its own strength.
    """
    from fastmark.codec.mask import Perception
    from fastmark.codec.message import MessageCode
    from fastmark.codec.plane import canonical_plane
    from fastmark.embedding import margins
    from fastmark.embedding.choices import choose_strength
    from fastmark.embedding.host import Pixels, prepare
    from fastmark.embedding.marking import make_delta, make_design

    image, carrier = Pixels.of(read_rgb(path), 255.0), carriers(1)[0]
    host = prepare(image.plane(), image.k)
    if min(host.plane.shape) < LEAST_SIDE:
        return []
    codeword = MessageCode(MESSAGE_BITS).encode(seeded_bytes("message", MESSAGE_BITS // 8), image.k)
    design = make_design(host, carrier, codeword)
    strength = choose_strength(host, design)
    delta, pilot = make_delta(host, carrier, codeword, design), carrier.pilot(design.n_tones)
    known = margins.KnownMark(design.origin, carrier, codeword, design.n_tones, MESSAGE_BITS)
    windows = [margins.Window(0, 0, *host.plane.shape)]
    pattern = margins._pilot_of(windows, design.origin, pilot)
    rows = []
    for factor in FACTORS:
        plane = host.plane + np.float32(factor * strength) * delta
        # JPEG is of no interest here
        looks = known.look(plane, plane, Perception.of(plane).mask, windows, plane.shape, image.k)
        for step, look in ((1, looks.full), (2, looks.half)):
            seen = canonical_plane(plane, step)
            weighted = margins._weighted(seen, Perception.of(seen).mask)
            z = margins._pilot_z(weighted, canonical_plane(pattern, step))
            rows.append((z, look.nats, look.score, design.n_tones))
    return rows


def fit_law(z: np.ndarray, seen: np.ndarray, tones: np.ndarray) -> tuple[float, float]:
    """Share a and limit b per tone that fit ``ln seen = ln min(a z^2 / 2, b n)`` best, in the mean square."""
    a, b = np.geomspace(0.1, 4, 186)[:, None, None], np.geomspace(1, 8, 105)[:, None]
    error = np.log(np.minimum(a * z.ravel() ** 2 / 2, b * tones.ravel()) / seen.ravel())
    best = np.unravel_index(np.argmin(np.mean(error**2, axis=-1)), (a.size, b.size))
    return float(a.ravel()[best[0]]), float(b.ravel()[best[1]])


def fit_phases(data: np.ndarray) -> tuple[float, float, float, float]:
    """Shares and limits of nats and of the scan's score; the latter in units of the root of the tones."""
    z, nats, score, tones = np.moveaxis(data, -1, 0)
    seen = z > LEAST_PILOT  # of the others there is nothing to see
    total = np.maximum(score, 0.1) * np.sqrt(tones)
    return (*fit_law(z[seen], nats[seen], tones[seen]), *fit_law(z[seen], total[seen], tones[seen]))


def phases(options: argparse.Namespace) -> list[Row]:
    """How phases and scan follow from the pilot's z: a share of z^2 / 2, and a limit per tone."""
    jobs = [(path,) for path in find_pictures(options.folders, options.images)]
    data = np.array([rows for _, rows in sorted(in_processes(phases_of, jobs, options.workers)) if rows])
    n = len(data)
    left_out = [fit_phases(np.delete(data, i, axis=0)) for i in range(n)]
    errors = np.sqrt((n - 1) * np.var(left_out, axis=0))
    names = (
        "phases: share of the nats",
        "phases: nats per tone",
        "scan: share of the score",
        "scan: score per tone",
    )
    return [
        compared(name, found, float(error), 1, images=n, trials=n * data.shape[1])
        for name, found, error in zip(names, fit_phases(data), errors, strict=True)
    ]


FAMILIES: dict[str, tuple[Callable[[argparse.Namespace], list[Row]], str]] = {
    "visibility": (visibility, "SSIMULACRA2 by strength, noise and pixels per unit"),
    "needed-z": (needed_z, "the signal-to-noise ratio that each length of message needs; takes no images"),
    "phases": (phases, "what phases and scan make of the pilot, by its signal-to-noise ratio"),
    "chance": (chance, "how often unmarked images reach the scores that the detector follows up"),
}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="family", required=True)
    for name, (_, text) in FAMILIES.items():
        command = commands.add_parser(name, help=text)
        if name == "needed-z":
            command.add_argument("--trials", type=int, default=1000, help="at each of seven ratios")
        else:
            command.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
            command.add_argument("--images", type=int, default=0, help="only so many, spread over all")
        if name == "chance":
            command.add_argument("--keys", type=int, default=10)
        command.add_argument("--workers", type=int, default=2)
        command.add_argument(
            "-o", "--output", type=Path, help="CSV; results/calibration-FAMILY.csv if not given"
        )
    options = parser.parse_args(arguments)

    one_thread_each()
    settings = {
        name: getattr(options, name) or "all"
        for name in ("images", "trials", "keys")
        if hasattr(options, name)
    }
    head = header(f"calibrate {options.family}", options.workers, **settings)
    print(*head, sep="\n")
    rows = FAMILIES[options.family][0](options)
    print_table(f"{options.family}: the code's constants and what was found", rows)
    write_csv(options.output or RESULTS / f"calibration-{options.family}.csv", head, rows)


if __name__ == "__main__":
    main()
