"""Confidence intervals of a share: how far a count of trials can be trusted."""

from __future__ import annotations

import math
from statistics import NormalDist

CONFIDENCE = 0.95
_HALVINGS = 200  # of an interval of 0 to 1: more than a float64 has digits, also near 0


def wilson(successes: int, trials: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return the interval of a share by its score test (Wilson 1927): what survival is quoted with.

    On average over shares it covers what it promises; for a share near 0 or 1 it may cover less.

    Args:
        successes: how many trials succeeded, 0 to ``trials``.
        trials: how many there were. With none, the interval is all of 0 to 1.
        confidence: chance that such an interval covers the true share, above 0 and below 1.

    Raises:
        ValueError: if the counts or the confidence are out of range.
    """
    _check(successes, trials, confidence)
    if trials == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share = successes / trials
    scale = 1 + z * z / trials
    centre = (share + z * z / (2 * trials)) / scale
    half = z / scale * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    low = 0.0 if successes == 0 else centre - half
    high = 1.0 if successes == trials else centre + half
    return max(0.0, low), min(1.0, high)


def clopper_pearson(successes: int, trials: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return the exact interval of a share (Clopper & Pearson 1934): what false positives are quoted with.

    It covers at least what it promises, whatever the true share is. Each end is the share at which the
    binomial tail beyond the count is half of what is left of 1.

    Args:
        successes: how many trials succeeded, 0 to ``trials``.
        trials: how many there were. With none, the interval is all of 0 to 1.
        confidence: least chance that such an interval covers the true share, above 0 and below 1.

    Raises:
        ValueError: if the counts or the confidence are out of range.
    """
    _check(successes, trials, confidence)
    tail = math.log((1 - confidence) / 2)
    low = 0.0 if successes == 0 else _share_at(successes, trials, tail)
    high = 1.0 if successes == trials else 1 - _share_at(trials - successes, trials, tail)
    return low, high


def _check(successes: int, trials: int, confidence: float) -> None:
    if not 0 <= successes <= trials:
        raise ValueError(f"{successes} successes of {trials} trials: give 0 to all of them")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence {confidence} is not between 0 and 1")


def _share_at(least: int, trials: int, log_tail: float) -> float:
    """Return the share at which at least ``least`` successes have the probability exp(log_tail)."""
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if not low < middle < high:
            break
        if _log_upper_tail(least, trials, middle) < log_tail:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _log_upper_tail(least: int, trials: int, share: float) -> float:
    """Return ln P(X >= least) of a binomial X: the terms upwards, or what those below leave of 1."""
    if least > trials * share:
        return _log_sum(least, trials, share, 1)
    below = _log_sum(least - 1, trials, share, -1)
    return math.log1p(-math.exp(below)) if below < 0 else -math.inf


def _log_sum(first: int, trials: int, share: float, step: int) -> float:
    """Return ln of the sum of the binomial's terms from ``first`` on, away from its middle."""
    if not 0 <= first <= trials:
        return -math.inf
    log_first = (
        math.lgamma(trials + 1) - math.lgamma(first + 1) - math.lgamma(trials - first + 1)
        + first * math.log(share) + (trials - first) * math.log1p(-share)
    )  # fmt: skip
    odds = share / (1 - share)
    term = total = 1.0
    k = first
    while 0 <= k + step <= trials and term > 1e-18 * total:
        term *= (trials - k) / (k + 1) * odds if step > 0 else k / (trials - k + 1) / odds
        total += term
        k += step
    return log_first + math.log(total)
