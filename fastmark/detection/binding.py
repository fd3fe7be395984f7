"""A proven message -> whether its mark was made for this image, and with the key itself.

Chips follow the content of their blocks (:mod:`fastmark.codec.binding`). With the message known, the sign of
every chip is known; what its amplitude follows is seen by correlating with the keyed signs of binding and
flags. Blocks of which detector keys know nothing are looked at apart: whoever holds one can neither draw a
mark there nor bind one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastmark.codec.binding import CLASSES
from fastmark.codec.carrier import Carrier
from fastmark.detection import evidence
from fastmark.detection.chip_sums import ChipSums, measure
from fastmark.detection.course import step
from fastmark.detection.reading import Finding
from fastmark.detection.scores import ScorePlanes
from fastmark.results import Binding, MadeWith

# Models of z over its expectation, mean and standard deviation, that of noise left out: benchmarks/binding.py
_GENUINE, _OTHER = (0.97, 0.2), (0.01, 0.09)
_WITHHELD_SPREAD = 0.07  # of what withheld blocks show over what others do, of the mark and of its binding

_MATCH, _MISMATCH = math.log(100), math.log(7)  # least ratio of likelihoods, either way
_BOUND_MATCH = math.log(1e-5)  # of z of the binding, where the mark is not bound
# The same, from which on a mark follows the image too well for one that was made for another. So it does
# where contrast was raised so much that hardly any content became a lot.
_FOLLOWS = math.log(1e-3)
_BOUND_FLAGS = math.log(3e-4)  # of the flags' z, where the mark is not bound
# Standard deviations by which withheld chips show less: what they carry alone, or together with how they are
# bound, at least in forgeries; together where a match is doubted, and at most in whole marks.
_LACKS, _LACKS_BOTH, _DOUBT, _WHOLE = 4.0, 3.5, 2.5, 1.5
_CLEAR = math.log(20)  # ratio of likelihoods of the binding in withheld blocks, or in the others
_BOUND_KEY = math.log(1e-6)  # of the chips in withheld blocks, where they carry no mark
_RADEMACHER = 3.1788  # 1 / (4 P(N >= root of 2)) of a standard Gaussian N, rounded up
_LEAST_ENERGY, _LEAST_WEIGHT, _LEAST_DUE = 1e-12, 1e-12, 0.1


@dataclass(frozen=True, slots=True)
class Origins:
    """Where a mark comes from, as far as it can be told.

    Attributes:
        binding: whether it was made for this image.
        log_ratio: natural logarithm of how much likelier the binding is if it was, than if it was made for
            another; None where nothing proves that the mark is bound at all.
        made_with: the key or a detector key.
    """

    binding: Binding = "unknown"
    log_ratio: float | None = None
    made_with: MadeWith = "unknown"


UNKNOWN = Origins()
"""What is known without a message."""


@step("binding")
def examine(planes: ScorePlanes, finding: Finding, carrier: Carrier) -> Origins:
    """Judge the mark whose message was found.

    Args:
        planes: of the image.
        finding: with a message.
        carrier: of the key, or of a detector key: then nothing is said of what the mark was made with.
    """
    origins = judge(*measure(planes, finding, carrier))
    if origins.binding == "mismatch":
        # NOTE: a quiet image on a canvas, or with a caption over it, has next to no content of its own, and
        # does not follow what it lies on. Flags that prove a binding come first: the second look costs a mark
        # that is not bound next to nothing.
        origins = judge(*measure(planes, finding, carrier, surely=True))
    return origins


def judge(others: ChipSums, withheld: ChipSums) -> Origins:
    """Judge sums over the blocks that detector keys know, and over the withheld ones.

    The sums of withheld blocks are 0 where the key is a detector key.
    """
    total = others.plus(withheld)
    weights = class_weights(total)
    ratio = log_ratio(total, weights)
    log_bound, log_flags = sign_bound(total.bound, total.bound_energy), flags_bound(total)
    binding: Binding = "unknown"
    if ratio >= _MATCH and log_bound <= _BOUND_MATCH:
        binding = "match"
    elif ratio <= -_MISMATCH and log_flags <= _BOUND_FLAGS and log_bound > _FOLLOWS:
        binding = "mismatch"
    known = log_bound <= _BOUND_MATCH or log_flags <= _BOUND_FLAGS
    made_with: MadeWith = "unknown"
    if withheld.energy > 0:
        made_with, doubt = _made_with(others, withheld, weights)
        if made_with == "detector key":  # its holder may bind a mark to any image
            return Origins("unknown", None, made_with)
        if binding == "match" and doubt:
            binding = "unknown"
        if made_with == "key" and binding != "match" and log_flags <= _BOUND_FLAGS:
            # a copy whose known blocks were added to a little looks whole
            made_with = "unknown"
    return Origins(binding, ratio if known else None, made_with)


def class_weights(sums: ChipSums) -> NDArray[np.float64]:
    """Return how likely each class is by its flags, if the mark is bound: they add up to 1.

    A class' z is its expectation, give or take 1, and the others' are 0, give or take 1.
    """
    norm = math.sqrt(max(sums.energy, _LEAST_ENERGY))
    expected = np.array([kind.flag for kind in CLASSES]) * (sums.plain / norm)
    logs = expected * (np.array(sums.flags) / norm) - expected**2 / 2
    likelihoods = np.exp(logs - logs.max())
    weights: NDArray[np.float64] = likelihoods / likelihoods.sum()
    return weights


def log_ratio(sums: ChipSums, weights: NDArray[np.float64]) -> float:
    """Return the logarithm of the likelihood of the binding's z in the image it was made for over another.

    z over its expectation is taken for normal, with the models' means, and their variances beside that of
    the noise.

    Args:
        sums: over any part of the blocks.
        weights: of the classes.
    """
    norm = math.sqrt(max(sums.bound_energy, _LEAST_ENERGY))
    z, expected = sums.bound / norm, max(sums.expected / norm, 0.0)
    logs = np.empty((2, len(CLASSES)))
    for i, kind in enumerate(CLASSES):
        for j, (mean, spread) in enumerate((_GENUINE, _OTHER)):
            due = kind.depth * expected
            variance = 1 + (spread * due) ** 2
            logs[j, i] = -((z - mean * due) ** 2) / (2 * variance) - math.log(variance) / 2
    genuine, other = logs + np.log(np.maximum(weights, _LEAST_WEIGHT))
    return float(np.logaddexp.reduce(genuine) - np.logaddexp.reduce(other))


def sign_bound(total: float, sum_of_squares: float) -> float:
    """Bound ``ln P(sum s_i x_i >= total)`` over independent fair signs.

    It is at most 3.178 times that of the Gaussian of the same variance (Bentkus & Dzindzalieta 2015),
    which is less than Hoeffding's bound where it matters here.
    """
    hoeffding = evidence.sign_sum_bound(total, sum_of_squares)
    if hoeffding == 0.0:
        return 0.0
    tail = math.erfc(total / math.sqrt(2 * sum_of_squares)) / 2
    return min(hoeffding, math.log(_RADEMACHER * tail)) if tail > 0 else hoeffding


def flags_bound(sums: ChipSums) -> float:
    """Return the logarithm of a bound on the chance of such flags where there are none; classes paid for."""
    best = min(sign_bound(total, sums.energy) for total in sums.flags)
    return evidence.union_bound(best, math.log(len(sums.flags)))


def lack(others: ChipSums, withheld: ChipSums) -> float:
    """Return by how many standard deviations withheld chips show less of the mark than the others.

    Of a whole mark the evidence per energy, ``sum x / sum x^2``, is the same in both parts, but for the noise
    of both and a spread of its own.
    """
    if min(others.energy, withheld.energy) <= 0 or others.plain <= 0:
        return 0.0
    z = withheld.plain / math.sqrt(withheld.energy)
    due = others.plain / others.energy * math.sqrt(withheld.energy)
    variance = 1 + due**2 * (_WITHHELD_SPREAD**2 + others.energy / others.plain**2)
    return (due - z) / math.sqrt(variance)


def lack_of_binding(others: ChipSums, withheld: ChipSums, weights: NDArray[np.float64]) -> float:
    """Return by how many standard deviations withheld chips are bound less to this image than the others.

    Whether a mark was made for the image or for another, z of the binding over its expectation is the same in
    both parts, but for the noise of both and a spread of its own.
    """
    depth = float(weights @ [kind.depth for kind in CLASSES])
    difference, variance = 0.0, _WITHHELD_SPREAD**2
    for part, sign in ((others, 1), (withheld, -1)):
        due = depth * part.expected / math.sqrt(max(part.bound_energy, _LEAST_ENERGY))
        if due <= _LEAST_DUE:
            return 0.0
        difference += sign * part.bound / (depth * part.expected)
        variance += 1 / due**2
    return difference / math.sqrt(variance)


def _made_with(others: ChipSums, withheld: ChipSums, weights: NDArray[np.float64]) -> tuple[MadeWith, bool]:
    """Return what a mark was made with, and whether withheld blocks make its binding doubtful."""
    missing = lack(others, withheld)
    both = (missing + lack_of_binding(others, withheld, weights)) / math.sqrt(2)
    # a copied mark fills the withheld blocks, but its holder cannot bind it there to another image
    known, hidden = log_ratio(others, weights), log_ratio(withheld, weights)
    contradict = known >= _CLEAR and hidden <= -_CLEAR
    if missing >= _LACKS or both >= _LACKS_BOTH or contradict:
        return "detector key", True
    proven = sign_bound(withheld.plain, withheld.energy) <= _BOUND_KEY
    if proven and both <= _WHOLE and (known < _CLEAR or hidden >= _CLEAR):
        return "key", False
    return "unknown", both >= _DOUBT
