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

from fastmark.codec.carrier import Carrier
from fastmark.detection.affine import Matrix
from fastmark.detection.analysis import Analysis
from fastmark.detection.logpolar import Templates
from fastmark.detection.placement import LOG_SHIFTS, PilotView, Placement, place_pilot, view_spectrum
from fastmark.detection.reading import AGREES
from fastmark.detection.resampling import mean_scores
from fastmark.detection.scan import score_of
from fastmark.detection.torus import TorusSpectrum

MOST_SAMPLES = 8
"""Samples per unit, each way: images of 6400 pixels a side have as many, and their crops may have one."""

Look: TypeAlias = Literal["whole units", "dense units"]
"""A scale of whole samples per unit placed by its tones; the same with its anchors."""

SHOWN = 1.6
"""Sigmas of the tones at such a scale that are worth a look at their phases.

Chance gets there in 7 of 100 searches, by one of the seven scales.
"""

LOG_LOOKS = math.log(4)
"""Natural logarithm of the number of looks at one scale: three by phases, and one with anchors."""

# Looks with anchors take most of the time: they are for tones that show this well, or whose phases come to
# this log_p; by chance, one search of a hundred.
_SHOWN_WELL, _NEARLY_AGREES = 2.5, 0.0
_MOST_UNITS = 2**17  # that are asked with anchors: a larger piece shows its pilot
_LEAST_SIDE = 64  # units of the short side: a smaller piece proves nothing
_NEIGHBOURS = np.stack(np.meshgrid((-1, 0, 1), (-1, 0, 1)), axis=-1).reshape(-1, 2)  # samples
_NEAREST = 3  # samples next to a place whose phases agree that are tried
_PHASES = 2  # places of a unit's first sample, each way, that a look with anchors tries


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
        self, analysis: Analysis, carrier: Carrier, *, sure: bool = False, dense: bool = True
    ) -> Iterator[tuple[Look, float, Placement]]:
        """Yield kinds of look, z of pilot and anchors together, and the placement that each suggests.

        Phases that agree suggest three samples next to one another, the likeliest first. The last look is by
        the anchors too, if the first warrants it. Each is made when it is asked for.

        Args:
            analysis: of the image.
            carrier: of the key.
            sure: whether a look by the anchors needs no warrant.
            dense: whether there is one at all.
        """
        placement, *others = place_by_phases(self, analysis, carrier)
        yield "whole units", 0.0, placement
        if placement.log_p <= AGREES:
            yield from (("whole units", 0.0, other) for other in others)
        warranted = self.score >= _SHOWN_WELL or placement.log_p <= _NEARLY_AGREES
        n_units = math.prod(analysis.planes.shape) / self.samples**2
        if dense and (sure or (warranted and n_units <= _MOST_UNITS)):
            yield "dense units", *place_densely(self, analysis, carrier)


def scales_of(shape: tuple[int, int]) -> range:
    """Return the samples per unit that are sought in a plane of ``shape``."""
    return range(2, min(MOST_SAMPLES, min(shape) // _LEAST_SIDE) + 1)


def whole_units(analysis: Analysis, templates: Templates, least: float = SHOWN) -> list[WholeUnit]:
    """Return the scales at which tones show, best first: magnitudes alone choose them and their order.

    Args:
        analysis: of the image.
        templates: of the key.
        least: sigmas that are asked for; ``-math.inf`` for all scales.
    """
    found = []
    for samples in scales_of(analysis.planes.shape):
        score, _ = score_of(analysis.levels[0], templates, float(samples) * np.eye(2))
        if score >= least:
            found.append(WholeUnit(samples, score))
    return sorted(found, key=lambda unit: -unit.score)


def place_by_phases(unit: WholeUnit, analysis: Analysis, carrier: Carrier) -> list[Placement]:
    """Find where the tones' phases agree best, to quarters of a unit, and the samples next to it.

    The bound is that of the place to quarters of a unit, all of which are paid for. The three samples are
    those where phases agree best, best first: they leave a doubt of a sample where the mark is weak.
    """
    view = _view(unit, analysis, carrier)
    placement = place_pilot(view, turns=(False,))
    return _to_the_sample(placement, unit.samples, view)[:_NEAREST]


def place_densely(unit: WholeUnit, analysis: Analysis, carrier: Carrier) -> tuple[float, Placement]:
    """Find the place at which pilot and anchors together agree best: its z, and the placement.

    Every whole unit is tried, from 2 x 2 first samples: a quarter of the places that are paid for. Of larger
    units phases then choose among the samples next to the best.
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
    placement = replace(placement, log_trials=log_trials)
    if unit.samples > _PHASES:
        placement = _to_the_sample(placement, unit.samples, _view(unit, analysis, carrier))[0]
    return z, placement


def _view(unit: WholeUnit, analysis: Analysis, carrier: Carrier) -> PilotView:
    level = analysis.levels[0]
    return view_spectrum(level.padded, unit.matrix, level.plan.factor, None, carrier)


def _to_the_sample(placement: Placement, samples: int, view: PilotView) -> list[Placement]:
    """Move an upright placement to where units begin with samples: those next to it, likeliest first."""
    c = view.aligned(turned=False) * (-1 if placement.inverted else 1)
    middle = (samples - 1) / 2
    near = np.rint(placement.offset - middle) + middle + _NEIGHBOURS
    totals = [view.total(c, shift) for shift in (view.offset - near) / samples]
    return [replace(placement, offset=near[i]) for i in np.argsort(totals)[::-1]]
