"""`null.py --kinds`: searches on unmarked images of every kind and size, rung by rung.

A search, or trial, is one analysed image and one key. An image is analysed once and searched for many keys,
and keys are prepared once for a block of images, which is what makes a million searches affordable. Each is
run as the detector runs it, without the factor for the number of keys, and leaves its trace: which rungs it
came to, which let it through, and the bounds of all that was looked at, which are kept before they are cut at
1. A row of the journal is one image; its bounds are counted in bins.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from _common import seeded_bytes
from _null_pictures import Plan, picture, plan
from _scores import Evidence, search_analysed

Row = dict[str, Any]

BLOCK = 256  # images that share their keys: a key costs as much as ten searches
BIN = math.log(10) / 24  # nats: levels of whole powers of ten lie on the edges of bins
ALL = "all evidence"


@dataclass(frozen=True)
class Settings:
    """What every worker needs to know.

    `kinds`: in the order of `_null_pictures.kinds_in_turn`; `keys`: of a block of images, and the most that
    one is searched for; `each`: a smaller number, or 0; `block`: images that share their keys.
    """

    folders: tuple[Path, ...]
    kinds: tuple[str, ...]
    keys: int
    deep: bool
    message_bits: int
    each: int = 0
    block: int = BLOCK


def rungs_of(trace: Iterable[Any]) -> dict[str, tuple[int, int]]:
    """How often each rung of a search was tried, and how often it let the search through."""
    counts: dict[str, tuple[int, int]] = {}
    for entry in trace:
        name = str(getattr(entry, "kind", "reading"))
        passed = bool(entry.read) if hasattr(entry, "read") else bool(getattr(entry, "promising", False))
        tried, through = counts.get(name, (0, 0))
        counts[name] = (tried + 1, through + passed)
    return counts


def bin_of(log_p: float) -> int:
    """The bin of a bound: bin b holds those above (b - 1) and up to b times :data:`BIN`."""
    return math.ceil(log_p / BIN - 1e-9)


class Tally:
    """What the searches of one image came to."""

    def __init__(self) -> None:
        self.bins: dict[str, Counter[int]] = {}
        self.prices: Counter[str] = Counter()
        self.rungs: dict[str, list[int]] = {}

    def add(self, bounds: Sequence[Evidence], trace: Iterable[Any], log_p: float) -> None:
        """Add a search: the best bound of each kind, its rungs, and the bound of all of it."""
        best: dict[str, Evidence] = {}
        for one in bounds:
            if one.kind not in best or one.paid < best[one.kind].paid:
                best[one.kind] = one
        for kind, one in best.items():
            self.bins.setdefault(kind, Counter())[bin_of(one.paid)] += 1
            self.prices[kind] += one.price  # type: ignore[assignment]
        self.bins.setdefault(ALL, Counter())[bin_of(log_p)] += 1
        for name, (tried, through) in rungs_of(trace).items():
            counts = self.rungs.setdefault(name, [0, 0, 0])
            for i, more in enumerate((1, tried, through > 0)):
                counts[i] += int(more)

    def row(self) -> Row:
        """The same for a journal: bins as their numbers and counts in turn."""
        flat = {
            kind: [n for pair in sorted(counts.items()) for n in pair] for kind, counts in self.bins.items()
        }
        prices = {kind: round(price, 1) for kind, price in self.prices.items()}
        return {"rungs": self.rungs, "bins": flat, "prices": prices}


def search_all(rgb: np.ndarray, detectors: Sequence[Any], deep: bool) -> Row | None:
    """Search one image for the marks of some keys; None if it is too small to be looked at."""
    from fastmark.codec.plane import pixels_per_unit
    from fastmark.detection.detector import MIN_PLANE_SIDE, analyse
    from fastmark.images.opening import open_for_detection

    start = time.thread_time()
    analysis = analyse(open_for_detection(rgb, unit=pixels_per_unit))
    if min(analysis.planes.shape) < MIN_PLANE_SIDE:
        return None
    tally, outcomes, times = Tally(), [], []
    for detector in detectors:
        outcome, bounds, trace = search_analysed(analysis, detector, deep)
        tally.add(bounds, trace, -outcome.score)
        outcomes.append(outcome)
        times.append(1e3 * (time.thread_time() - start))
        start = time.thread_time()
    return {
        "searches": len(outcomes),
        "detected": sum(one.detected for one in outcomes),
        "possible": sum(one.possible for one in outcomes),
        "messages": sum(one.message is not None for one in outcomes),
        "score": round(outcomes[0].score, 4),
        "best": round(max(one.score for one in outcomes), 4),
        "ms": round(sum(times), 2),
        "most_ms": round(max(times), 2),
        **tally.row(),
    }


def run_block(block: int, settings: Settings) -> list[Row]:
    """All searches of the images of a block, with keys of their own: a row an image.

    An image begins with a key of its own among them, so that first keys are not the same for all.
    """
    import fastmark as fm

    secrets = [seeded_bytes(f"null of block {block}, key {n}") for n in range(settings.keys)]
    detectors = [fm.Watermarker(fm.Key(s), settings.message_bits).key_detector for s in secrets]
    rows: list[Row] = []
    for number in range(block * settings.block, (block + 1) * settings.block):
        one = plan(number, settings.kinds, settings.keys, settings.each)
        base = {"number": number, "kind": one.kind, "attack": one.attack}
        try:
            rows.append(base | _searched(one, detectors, settings))
        except Exception as error:  # one bad image must not cost the run
            rows.append(base | {"error": f"{type(error).__name__}: {error}"})
    return rows


def _searched(one: Plan, detectors: Sequence[Any], settings: Settings) -> Row:
    rgb = picture(one, settings.folders)
    chosen = [detectors[(one.number + i) % len(detectors)] for i in range(one.keys)]
    row = search_all(rgb, chosen, settings.deep)
    size = {"height": rgb.shape[0], "width": rgb.shape[1]}
    return size | (row if row is not None else {"error": "smaller than what is looked at"})
