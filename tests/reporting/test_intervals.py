"""Intervals of shares against scipy's, and by what they cover."""

import numpy as np
import pytest
from scipy import stats

from fastmark.reporting.intervals import clopper_pearson, wilson

COUNTS = [(0, 1), (1, 1), (0, 20), (1, 20), (7, 20), (20, 20), (3, 1000), (999, 1000), (12, 1_000_000)]


@pytest.mark.parametrize(("successes", "trials"), COUNTS)
@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
@pytest.mark.parametrize(("ours", "method"), [(wilson, "wilson"), (clopper_pearson, "exact")])
def test_intervals_are_those_of_scipy(ours, method, successes, trials, confidence):
    theirs = stats.binomtest(successes, trials).proportion_ci(confidence, method)
    assert ours(successes, trials, confidence) == pytest.approx(
        (theirs.low, theirs.high), rel=1e-9, abs=1e-12
    )


@pytest.mark.parametrize("share", [0.001, 0.02, 0.3, 0.97])
def test_exact_interval_covers_at_least_what_it_promises(share):
    counts = np.arange(201)
    chance = stats.binom.pmf(counts, 200, share)
    covered = [low <= share <= high for low, high in (clopper_pearson(int(n), 200) for n in counts)]
    assert chance[covered].sum() >= 0.95


def test_no_trials_tell_nothing():
    assert wilson(0, 0) == clopper_pearson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize("interval", [wilson, clopper_pearson])
@pytest.mark.parametrize(
    ("counts", "what"), [((-1, 4), "successes"), ((5, 4), "successes"), ((1, 4, 1.0), "confidence")]
)
def test_counts_out_of_range_are_refused(interval, counts, what):
    with pytest.raises(ValueError, match=what):
        interval(*counts)
