"""Picture -> geometry, from spectral magnitudes alone: normalise, whiten, scan, refine.

Nothing here looks at a phase, so that whatever is chosen here is given when phases are judged.
Matrices are 2 x 2 in (y, x) order. ``g`` maps tone frequencies in cycles a unit to cycles a sample of
the level analysed; ``A = g^-T`` maps units to samples.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastmark import fft
from fastmark.codec.carrier import TONE_COUNTS
from fastmark.codec.plane import Plane
from fastmark.detection.logpolar import GRIDS, Hypothesis, LogPolarSpectrum, Strains, Templates, log_polar
from fastmark.detection.noise import WHITE_LIMIT, NoiseLevel, power_spectrum, tukey
from fastmark.detection.scores import ScorePlanes
from fastmark.kernels import spectrum as kernels

Matrix = NDArray[np.float64]

_MIN_FFT, _MAX_SIDE = 256, 1024
# Tones between bins lose a third of their power without; a long side, whose spectrum shows more, can do with
# less.
_PADDING, _LITTLE_PADDING, _LONG = 1.4, 1.25, 480
_SMOOTHING = 0.2
_WHITENING_REACH = 10  # bins either side, of a spectrum that is not zero-padded

# Least scale sought at the finest level, samples a unit. It does not depend on how much is seen: a picture
# shown small in a screenshot must not be lost because there is more round it.
_MIN_SCALE = 0.2
_COARSER_SCALE = 0.75
LARGE_PLANE = 1000
"""Samples; planes with a longer short side are looked at reduced by two first. They lose by it, but have
enough.
"""
_SMALL_PLANE = 700  # samples; smaller ones have less to show, and time to spare
_POOLS = {False: (1, 2, 4), True: (2, 4)}
_SMALL_LEVEL = 260  # samples; the spectrum of a smaller level has no use for the finest grid

# Scores, in sigmas, that chance reaches in few large pictures: what is followed up, and what comes of it.
_LEAST_FINE, _LEAST_UPRIGHT, _LEAST_STRAINED = 5.0, 4.7, 5.2
_LEAST_REFINED, _SMALL_LESS = 5.5, 0.8
_MAX_FOLLOWED, _MAX_SMALL_FOLLOWED = 6, 20


@dataclass(frozen=True, slots=True)
class PaddedSpectrum:
    """The spectrum of the scores of a level's middle, zero-padded, so that it can be interpolated.

    Attributes:
        size: height and width of the middle, samples; ``corner`` is its first sample.
        spectrum: complex64 ``(NY, NX // 2 + 1)``.
        power: its squared moduli, float32.
        noise: their local mean.
    """

    size: tuple[int, int]
    corner: tuple[int, int]
    spectrum: NDArray[np.complex64]
    power: NDArray[np.float32]
    noise: NoiseLevel

    @classmethod
    def of(cls, weighted: Plane) -> PaddedSpectrum:
        """Transform the middle of a plane of scores, at most 1024 samples a side."""
        height, width = (min(n, _MAX_SIDE) for n in weighted.shape)
        top, left = (weighted.shape[0] - height) // 2, (weighted.shape[1] - width) // 2
        n_rows, n_columns = (
            fft.good_size(max(_MIN_FFT, round((_PADDING if n < _LONG else _LITTLE_PADDING) * n)))
            for n in (height, width)
        )
        middle = weighted[top : top + height, left : left + width]
        spectrum = fft.rfft2_padded(middle, tukey(height), tukey(width), (n_rows, n_columns))
        power = power_spectrum(spectrum)
        reach_y, reach_x = _WHITENING_REACH * n_rows / height, _WHITENING_REACH * n_columns / width
        return cls((height, width), (top, left), spectrum, power, NoiseLevel.of(power, reach_y, reach_x))


class Level:
    """The scores of a picture's plane, box-averaged ``factor`` times, and their whitened power spectrum.

    Attributes:
        factor: samples of the plane to a sample of this level, each way.
        shape: height and width of the plane at this level, samples.
        white: float32 ``(NY, NX // 2 + 1)``, power over its local mean, at most 8.
        mean, spread: of ``white`` over the band of the tones.
        views: the spectrum on log-polar grids, finest first.
        least_scale: the smallest scale sought here, samples a unit.
        small: whether the plane is.
        threads: how many may share the work.
    """

    def __init__(
        self,
        planes: ScorePlanes,
        factor: int,
        least_scale: float,
        known: tuple[NDArray[np.float32], NoiseLevel] | None = None,
    ) -> None:
        """Whiten the spectrum of a picture's middle.

        Args:
            planes: of the picture.
            factor, least_scale: see there.
            known: a power spectrum of this level and its noise level, where there is one, padded or not.
        """
        self.factor = factor
        self.least_scale = least_scale
        self.small = min(planes.shape) < _SMALL_PLANE
        self.threads = planes.threads
        self._scores = planes.weighted(factor)
        self.shape = (self._scores.shape[0], self._scores.shape[1])
        if known is None:
            known = (self.padded.power, self.padded.noise)
        power, noise = known
        self.white = np.empty_like(power)
        kernels.whiten(power, noise.cells, np.float32(WHITE_LIMIT), self.white)
        n_rows, n_columns = power.shape
        band = self.white[n_rows // 32 : n_rows // 2, n_columns // 16 :]
        self.mean, self.spread = float(band.mean()), max(float(band.std()), 1e-12)
        # a tone between bins, or between cells, is seen from all around; so is less noise than at one bin
        smooth = np.empty_like(self.white)
        kernels.smooth_bins(self.white, np.float32(_SMOOTHING), smooth)
        self.views: list[LogPolarSpectrum] = log_polar(smooth, _POOLS[max(self.shape) <= _SMALL_LEVEL])

    @functools.cached_property
    def padded(self) -> PaddedSpectrum:
        """The spectrum as it is interpolated; computed when first needed."""
        return PaddedSpectrum.of(self._scores)


def levels(shape: tuple[int, int]) -> dict[int, float]:
    """Return the factors at which a plane is scanned, each with the least scale sought there, samples a unit.

    A large plane is not scanned at full resolution, so that in it the least scale is twice as large. Larger
    factors are for crops of larger pictures.
    """
    short = min(shape)
    found = {2 if short >= LARGE_PLANE else 1: _MIN_SCALE}
    for factor in (2, 4):
        if short >= 128 * factor:
            found.setdefault(factor, _COARSER_SCALE)
    return found


@dataclass(frozen=True, slots=True)
class Candidate:
    """A geometry worth a look: ``matrix`` maps units to samples of the plane; ``score`` in sigmas."""

    matrix: Matrix
    n_tones: int
    score: float


def _strain_matrix(along: float, across: float) -> Matrix:
    """Area-preserving strain: ``along`` the axes, ``across`` the diagonals (exponential of a symmetric
    matrix).
    """
    size = np.hypot(along, across) / 2
    if size == 0:
        return np.eye(2)
    part = np.array([[along, across], [across, -along]]) / (2 * size)
    strained: Matrix = np.cosh(size) * np.eye(2) + np.sinh(size) * part
    return strained


@dataclass(frozen=True, slots=True)
class Look:
    """Hypotheses tried on one grid.

    Attributes:
        strains: through which the spectrum is seen.
        hypotheses, n_tones: see :meth:`fastmark.logpolar.Templates.scan`.
        least: score that is followed up.
        step: relative size of the first steps of refinement.
    """

    strains: Strains
    hypotheses: NDArray[np.int64]
    n_tones: int
    least: float
    step: float

    @classmethod
    def at(
        cls,
        pool: int,
        matrices: list[Matrix],
        turn: int | None,
        mirrored: tuple[int, ...],
        n_tones: int,
        least: float,
        step: float,
    ) -> Look:
        """Look through strains on a grid: ``turn`` rows either side of upright; None: all rotations."""
        n = GRIDS[pool].n_angles
        near = np.arange(n) if turn is None else np.arange(-turn, turn + 1)
        rows = near if turn is None else np.concatenate([near % n, near + n // 2])
        grid = np.meshgrid(np.arange(len(matrices)), mirrored, rows, indexing="ij")
        hypotheses = np.stack([part.ravel() for part in grid], axis=1).astype(np.int64)
        return cls(Strains(np.array(matrices), GRIDS[pool]), hypotheses, n_tones, least, step)


@functools.cache
def looks(pools: tuple[int, ...], *, small: bool) -> list[tuple[int, Look]]:
    """Return what is looked for, and at which of a level's views.

    Every scale and rotation on the finest grid; other aspects and mild shear of upright pictures on one twice
    as coarse, of turned ones on one four times as coarse, if there is one. Many tones are found by some of
    them: half, or a quarter, is looked for, in small planes twice as many.
    """
    aspects = [_strain_matrix(0.03 * i, 0.0) for i in range(-9, 10) if i]
    shears = [_strain_matrix(0.0, across) for across in (-0.08, -0.04, 0.04, 0.08)]
    many, few = (384, 192) if small else (192, 96)
    found = [
        (0, Look.at(pools[0], [np.eye(2)], None, (0,), many, _LEAST_FINE, 0.006)),
        (0, Look.at(pools[0], [np.eye(2)], None, (1,), few, _LEAST_FINE, 0.006)),
        (-2, Look.at(pools[-2], aspects, 1, (0, 1), few, _LEAST_UPRIGHT, 0.01)),
        (-2, Look.at(pools[-2], shears, 3, (0, 1), few, _LEAST_UPRIGHT, 0.01)),
    ]
    if pools[0] == 1:
        sizes = (-0.24, -0.16, -0.08, 0.08, 0.16, 0.24)
        wide = [_strain_matrix(size, 0.0) for size in sizes] + [_strain_matrix(0.0, size) for size in sizes]
        wide += [_strain_matrix(along, across) for along in (-0.12, 0.12) for across in (-0.12, 0.12)]
        found.append((-1, Look.at(pools[-1], wide, None, (0,), few, _LEAST_STRAINED, 0.02)))
    return found


def scan(level: Level, templates: Templates) -> list[Candidate]:
    """Search scale, rotation, mirror image, aspect and mild shear; return what stands out, best first."""
    less, most = (_SMALL_LESS, _MAX_SMALL_FOLLOWED) if level.small else (0.0, _MAX_FOLLOWED)
    found: list[tuple[Hypothesis, float]] = []
    for view, look in looks(tuple(view.grid.pool for view in level.views), small=level.small):
        scored = templates.scan(
            level.views[view],
            look.strains,
            look.hypotheses,
            look.n_tones,
            level.least_scale,
            look.least - less,
            level.threads,
        )
        found += [(hypothesis, look.step) for hypothesis in scored]
    found.sort(key=lambda pair: -pair[0].score)
    refined = [_refined(level, templates, *pair) for pair in found[:most]]
    return distinct([candidate for candidate in refined if candidate.score >= _LEAST_REFINED - less])


def _refined(level: Level, templates: Templates, hypothesis: Hypothesis, step: float) -> Candidate:
    """Turn a hypothesis of the log-polar grid into a candidate."""
    angle = hypothesis.rotation
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    flip = np.diag([-1.0, 1.0]) if hypothesis.mirrored else np.eye(2)
    return refine(
        level, templates, hypothesis.strain @ turn @ flip / hypothesis.scale, hypothesis.n_tones, step
    )


def refine(level: Level, templates: Templates, g: Matrix, n_tones: int, step: float) -> Candidate:
    """Climb to the nearest peak of the tone score over the full 2 x 2 matrix."""
    g = np.array(g, dtype=np.float64)
    score = kernels.refine_geometry(
        level.white, level.mean, level.spread, templates.tones, n_tones, step, 0.0002, g
    )
    other, count = _best_prefix(level, templates, g)
    if other > score:
        score, n_tones = other, count
    matrix = (np.linalg.inv(g).T * level.factor).astype(np.float64)
    return Candidate(matrix, n_tones, float(score))


def score_of(level: Level, templates: Templates, matrix: Matrix) -> tuple[float, int]:
    """Return the best prefix's score at one geometry, and the prefix."""
    g = (np.linalg.inv(matrix).T * level.factor).astype(np.float64)
    return _best_prefix(level, templates, g)


def _best_prefix(level: Level, templates: Templates, g: Matrix) -> tuple[float, int]:
    """Return the best prefix's score and the prefix; ``g`` maps tones to cycles a sample of the level."""
    scores = [
        kernels.tone_score(level.white, level.mean, level.spread, templates.tones, count, g)
        for count in TONE_COUNTS
    ]
    best = int(np.argmax(scores))
    return float(scores[best]), TONE_COUNTS[best]


def distinct(
    candidates: list[Candidate], known: Sequence[Candidate] = (), tolerance: float = 0.01
) -> list[Candidate]:
    """Sort candidates best first and drop those that repeat a better or ``known`` one (or its half turn)."""
    kept: list[Candidate] = []
    for candidate in sorted(candidates, key=lambda c: -c.score):
        size = np.abs(candidate.matrix).max()
        if all(
            min(np.abs(candidate.matrix - k.matrix).max(), np.abs(candidate.matrix + k.matrix).max())
            > tolerance * size
            for k in (*known, *kept)
        ):
            kept.append(candidate)
    return kept
