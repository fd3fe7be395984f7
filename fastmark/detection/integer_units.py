"""Crops of large images: a mark whose units are whole samples, two to eight each way, placed to the sample.

A crop has fewer pixels than the image that was marked, and so fewer pixels per unit of its own (SPEC.md,
section 4); but it was not resampled. The scale is therefore known to be a whole number of samples per unit,
and all that is left to find is the place. Magnitudes say which of these scales are worth a look, the pilot's
phases where the mark lies, to the sample; then chips are read from exact means of samples.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fastmark.codec.carrier import Carrier
from fastmark.detection.affine import Matrix
from fastmark.detection.analysis import Analysis
from fastmark.detection.logpolar import Templates
from fastmark.detection.placement import LOG_SHIFTS, Placement, place_pilot, view_spectrum
from fastmark.detection.resampling import mean_scores
from fastmark.detection.scan import score_of
from fastmark.detection.torus import TorusSpectrum

MOST_SAMPLES = 8
"""Samples per unit, each way: images of 6400 pixels a side have as many, and their crops may have one."""

Look: TypeAlias = Literal["whole units", "dense units"]
"""A scale of whole samples per unit placed by its tones; the same with its anchors."""

SHOWN = 1.2
"""Sigmas of the tones at such a scale that are worth a look at their phases.

Chance gets there in 15 of 100 searches, by one of the seven scales.
"""

LOG_LOOKS = math.log(2)
"""Natural logarithm of the number of looks at one scale: by the phases, and with anchors."""

# Looks with anchors take most of the time: they are for tones that show this well, or whose phases come to
# this log_p; by chance, one search of a thousand each.
_SHOWN_WELL, _NEARLY_AGREES = 2.5, 0.0
_LEAST_SIDE = 64  # units of the short side: a smaller piece proves nothing
_NEIGHBOURS = np.stack(np.meshgrid((-1, 0, 1), (-1, 0, 1)), axis=-1).reshape(-1, 2)  # samples
_PHASES = 3  # places of a unit's first sample, each way, that a dense look tries


@dataclass(frozen=True, slots=True)
class WholeUnit:
    """A scale at which tones show.

    Attributes:
        samples: of the plane per unit of the mark, each way.
        score: of the tones at that scale, sigmas.
    """

    samples: int
    score: float

    @property
    def matrix(self) -> Matrix:
        """From units to samples of the plane."""
        return float(self.samples) * np.eye(2)

    def looks(
        self, analysis: Analysis, carrier: Carrier, *, deep: bool = False
    ) -> Iterator[tuple[Look, float, Placement]]:
        """Yield kinds of look, z of pilot and anchors together, and the placement that each suggests.

        The second look is by the anchors too, if the first warrants it; it is made when it is asked for.

        Args:
            analysis: of the image.
            carrier: of the key.
            deep: whether all looks are made.
        """
        placement = place_by_phases(self, analysis, carrier)
        yield "whole units", 0.0, placement
        if deep or self.score >= _SHOWN_WELL or placement.log_p <= _NEARLY_AGREES:
            yield "dense units", *place_densely(self, analysis, carrier)


def whole_units(analysis: Analysis, templates: Templates, least: float = SHOWN) -> list[WholeUnit]:
    """Return the scales at which tones show, best first: magnitudes alone choose them and their order.

    Args:
        analysis: of the image.
        templates: of the key.
        least: sigmas that are asked for; ``-math.inf`` for all scales.
    """
    short = min(analysis.planes.shape)
    found = []
    for samples in range(2, min(MOST_SAMPLES, short // _LEAST_SIDE) + 1):
        score, _ = score_of(analysis.levels[0], templates, float(samples) * np.eye(2))
        if score >= least:
            found.append(WholeUnit(samples, score))
    return sorted(found, key=lambda unit: -unit.score)


def place_by_phases(unit: WholeUnit, analysis: Analysis, carrier: Carrier) -> Placement:
    """Find the place at which the tones' phases agree best, to quarters of a unit, then to the sample.

    The bound is that of the place to quarters of a unit, all of which are paid for; of the samples next to it
    the one where phases agree best is taken.
    """
    level = analysis.levels[0]
    view = view_spectrum(level.padded, unit.matrix, level.plan.factor, None, carrier)
    placement = place_pilot(view)
    if placement.matrix[0, 0] < 0:  # turned by 180 degrees
        return placement
    c = view.aligned(turned=False) * (-1 if placement.inverted else 1)
    near = [_to_the_sample(placement.offset + step, unit.samples) for step in _NEIGHBOURS]
    totals = [view.total(c, (view.offset - offset) / unit.samples) for offset in near]
    return replace(placement, offset=near[int(np.argmax(totals))])


def place_densely(unit: WholeUnit, analysis: Analysis, carrier: Carrier) -> tuple[float, Placement]:
    """Find the place at which pilot and anchors together agree best: its z, and the placement.

    Every whole unit is tried, from up to 3 x 3 first samples. They are no more than the quarters of a unit,
    which are paid for.
    """
    best: tuple[float, Placement] | None = None
    n = min(unit.samples, _PHASES)
    for i, j in np.ndindex(n, n):
        first = (i * unit.samples // n, j * unit.samples // n)
        scores = mean_scores(analysis.planes, unit.samples, first)
        torus = TorusSpectrum(analysis.planes, np.eye(2), 1, scores)
        z, placement = torus.place_densely(carrier, turns=(False,))
        if best is None or z > best[0]:
            offset = np.array(first) + unit.samples * placement.offset + (unit.samples - 1) / 2
            best = z, replace(placement, matrix=unit.matrix, offset=offset)
    assert best is not None
    z, placement = best
    # an origin is nothing special in a crop
    log_trials = LOG_SHIFTS + math.log(6 if placement.inverted else 2)
    offset = _to_the_sample(placement.offset, unit.samples)
    return z, replace(placement, offset=offset, log_trials=log_trials)


def _to_the_sample(offset: NDArray[np.float64], samples: int) -> NDArray[np.float64]:
    """Move an offset so that units of so many samples begin where samples do."""
    middle = (samples - 1) / 2
    moved: NDArray[np.float64] = np.rint(offset - middle) + middle
    return moved
