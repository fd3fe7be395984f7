"""One number for one search: how strong its best evidence is, on a scale that also ranks unmarked images.

The p-value of a search is 1 for nearly every unmarked image, because it pays for all that was tried. The
score is what it would be without the cut at 1: ``-(ln p + ln 4)`` in nats, p the smallest bound of any place
or reading, its trials paid for, and 4 the kinds of evidence that share the total. A score of 20.72 nats is p
= 1e-9, 0 is p = 1, and unmarked images lie below. Every search looks at the origins of an image as it is, so
there is always a bound, and scores of different images are practically never the same.

`null.py --kinds` writes the scores of unmarked images, from which :func:`threshold` takes the score that a
given share of them exceeds.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from fastmark.detection.analysis import Analysis
    from fastmark.detection.detector import KeyDetector

# Classes of sizes by the short side, pixels: name -> the largest of the class.
SIDES = {"<= 256": 256, "257-512": 512, "513-1024": 1024, "> 1024": math.inf}
# Trials that are no evidence by themselves: what they suggest is judged by the readings that follow.
_PROPOSALS = ("piece", "straightened")


class Outcome(NamedTuple):
    """What one search for one key says; `score` is in nats, and minus infinity if it did not look."""

    score: float
    detected: bool
    possible: bool
    message: int | None
    log10_p: float


class Evidence(NamedTuple):
    """One bound of a search: what it comes to with its trials paid for, and their logarithm; nats."""

    kind: str
    paid: float
    price: float


def evidence_of(trace: Iterable[Any]) -> list[Evidence]:
    """The bounds in a search's trace, places and readings, not cut at 0."""
    from fastmark.detection.reading import FLOORS

    found: list[Evidence] = []
    price, name = 0.0, "reading"
    for entry in trace:
        kind = getattr(entry, "kind", None)
        if kind is None:
            found.append(Evidence(name, float(entry.log_p), price + math.log(len(FLOORS) + 1)))
            continue
        # phases that choose local shifts count for nothing, so that their places are not paid for either
        straight = kind == "straightened"
        name = "straightened reading" if straight else "reading"
        price = float(entry.log_trials + (0.0 if straight else entry.placement.log_trials))
        if kind not in _PROPOSALS:
            found.append(Evidence(kind, float(entry.placement.log_phases) + price, price))
    return found


def _listen(reader: Any) -> list[Evidence]:
    """Return a list to which a reader adds the bound of every message that it decodes, not cut at 0."""
    from fastmark.detection import evidence

    heard: list[Evidence] = []
    bounded = reader._message_bound

    def message_bound(decoded: Any, soft: Any) -> float:
        total = float((1.0 - 2.0 * decoded.codeword) @ soft[0, :-1])
        price = (reader._code.message_bits + decoded.k) * math.log(2)
        price += evidence.open_list(reader.n_paid + 1)
        alone = evidence.sign_sum_bound(total, float(soft[1, :-1].sum()))
        heard.append(Evidence("message", alone + price, price))
        return float(bounded(decoded, soft))

    reader._message_bound = message_bound
    return heard


def search_analysed(
    analysis: Analysis, detector: KeyDetector, deep: bool = False
) -> tuple[Outcome, list[Evidence], list[Any]]:
    """Search an analysed image as :meth:`KeyDetector.search` does for one key.

    Returns:
        The outcome, all bounds (the four kinds of evidence are not paid for in them) and the traces.
    """
    from fastmark.detection.detector import MIN_PLANE_SIDE
    from fastmark.detection.evidence import DETECTED, LOG_SHARES, POSSIBLE
    from fastmark.detection.search import Search

    if min(analysis.planes.shape) < MIN_PLANE_SIDE:
        return Outcome(-math.inf, False, False, None, 0.0), [], []
    carriers = [detector.carrier]
    if deep and (withheld := detector._withheld) is not None:
        carriers.append(withheld)
    more = math.log(len(carriers))
    message, found = 0.0, None
    bounds: list[Evidence] = []
    traces = []
    for carrier in carriers:
        search = Search(analysis, carrier, detector.templates, detector.code)
        heard = _listen(search.reader)
        search.run(deep=deep)
        finding = search.finding
        traces += search.trace
        every = evidence_of(search.trace) + heard
        bounds += [Evidence(one.kind, one.paid + more, one.price + more) for one in every]
        if finding.message_log_p < message:
            message, found = finding.message_log_p, finding.message
        if finding.proven:
            break
    log_p = min(one.paid for one in bounds) + LOG_SHARES
    cut = min(log_p, 0.0)
    proven = found is not None and message + more + LOG_SHARES <= DETECTED
    outcome = Outcome(
        score=-log_p,
        detected=cut <= DETECTED,
        possible=DETECTED < cut <= POSSIBLE,
        message=found.message if found is not None and proven else None,
        log10_p=cut / math.log(10),
    )
    return outcome, bounds, traces


def search(rgb: Any, detector: KeyDetector, deep: bool = False) -> Outcome:
    """Open an image, analyse it and search it for one key.

    Args:
        rgb: whatever :func:`fastmark.detect` opens: pixels, a file's bytes or its path.
        detector: of the key, as ``Watermarker(key).key_detector``.
        deep: as for :func:`fastmark.detect`.
    """
    from fastmark.codec.plane import pixels_per_unit
    from fastmark.detection.detector import analyse
    from fastmark.images.opening import open_for_detection

    return search_analysed(analyse(open_for_detection(rgb, unit=pixels_per_unit)), detector, deep)[0]


def side_class(height: int, width: int) -> str:
    """The class of an image's short side."""
    return next(name for name, most in SIDES.items() if min(height, width) <= most)


def threshold(path: Path, rate: float = 0.001, size: str = "all") -> float:
    """The score that a share of `rate` of the unmarked images exceeds: take a mark for found above it.

    Of n images, ``floor(rate n)`` have a score above the one returned.

    Args:
        path: results/null-scores.csv.
        rate: of false positives.
        size: a class of :data:`SIDES`, or all of them.

    Raises:
        ValueError: if there are fewer than ``1 / rate`` images of that class.
    """
    with path.open(newline="") as file:
        rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
    if size != "all":
        rows = [row for row in rows if side_class(int(row["height"]), int(row["width"])) == size]
    return exceeded_by([float(row["score"]) for row in rows], rate)


def exceeded_by(scores: list[float], rate: float) -> float:
    """The score that ``floor(rate n)`` of n scores exceed."""
    above = math.floor(rate * len(scores) + 1e-9)
    if above < 1:
        raise ValueError(
            f"{len(scores)} unmarked images do not show a rate of {rate:g}: at least {1 / rate:.0f} do"
        )
    return sorted(scores, reverse=True)[above]
