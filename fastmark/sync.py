"""Picture -> geometry, from spectral magnitudes alone: normalise, whiten, scan, refine.

Nothing here looks at a phase, so that whatever is chosen here is given when phases are judged.
Matrices are 2 x 2 in (y, x) order. ``g`` maps tone frequencies in cycles a unit to cycles a sample of
the level analysed; ``A = g^-T`` maps units to samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastmark import fft
from fastmark.carrier import TONE_COUNTS
from fastmark.kernels import spectrum as kernels
from fastmark.logpolar import COARSE, FINE, Hypothesis, LogPolarSpectrum, Templates, log_polar
from fastmark.perception import tukey
from fastmark.plane import Plane
from fastmark.scoring import ScorePlanes

Matrix = NDArray[np.float64]

WHITE_LIMIT = 8.0
_MIN_FFT, _MAX_SIDE = 256, 1024
_WHITENING_REACH = 10  # bins either side, of a spectrum that is not zero-padded

# Least and largest scale sought at one level, samples a unit.
_SCALES = (0.2, 1.6)
_COARSER_SCALES = (0.75, 1.6)
_LARGE_PLANE = 1000
_LARGE_SCALES = (0.4, 1.6)


def _strain_matrix(strain: float, *, diagonal: bool) -> Matrix:
    """Area-preserving strain: of the axes, or of the diagonals."""
    if diagonal:
        c, s = np.cosh(strain / 2), np.sinh(strain / 2)
        return np.array([[c, s], [s, c]])
    return np.diag([np.exp(strain / 2), np.exp(-strain / 2)])


_STRAINS = [_strain_matrix(0.04 * i, diagonal=False) for i in range(-6, 7) if i]
_STRAINS += [_strain_matrix(strain, diagonal=True) for strain in (-0.08, -0.04, 0.04, 0.08)]


@dataclass(frozen=True, slots=True)
class Level:
    """The scores of a picture's plane, box-averaged ``factor`` times, and their whitened power spectrum.

    Attributes:
        factor: samples of the plane to a sample of this level, each way.
        shape: height and width of the plane at this level, samples.
        windowed: float32, the scores of its middle, windowed; ``corner`` is the place of their first sample.
        power: float32 ``(N, N // 2 + 1)``, local mean of the power spectrum of ``windowed``.
        white: float32 ``(N, N // 2 + 1)``, power over its local mean, at most 8.
        mean, spread: of ``white`` over the band of the tones.
        views: the spectrum on log-polar grids, seen through each of the strains searched.
    """

    factor: int
    shape: tuple[int, ...]
    windowed: Plane
    corner: tuple[int, int]
    power: NDArray[np.float32]
    white: NDArray[np.float32]
    mean: float
    spread: float
    views: list[tuple[Matrix, LogPolarSpectrum]]


def levels(shape: tuple[int, int]) -> dict[int, tuple[float, float]]:
    """Return the factors at which a plane is scanned, each with the scales sought there, samples a unit.

    No marked picture has more than 1200 units on its short side, so large planes are not scanned at full
    resolution: their scale is at least about 0.8. Larger factors are for crops of larger pictures.
    """
    short = min(shape)
    found = {2: _LARGE_SCALES} if short >= _LARGE_PLANE else {1: _SCALES}
    for factor in (2, 4):
        if short >= 128 * factor:
            found.setdefault(factor, _COARSER_SCALES)
    return found


@dataclass(frozen=True, slots=True)
class Candidate:
    """A geometry worth a look: ``matrix`` maps units to samples of the plane; ``score`` in sigmas."""

    matrix: Matrix
    n_tones: int
    score: float


def line_free_level(power: NDArray[np.float32], reach: int) -> NDArray[np.float32]:
    """Return the local mean of half a power spectrum; tones and lines do not raise their own floor."""
    level = np.empty_like(power)
    kernels.local_mean(power, reach, level)
    kernels.local_mean(np.minimum(power, np.float32(WHITE_LIMIT) * level), reach, level)
    return level


def analyse(planes: ScorePlanes, factor: int) -> Level:
    """Compute the whitened spectrum of the middle of a picture, at most 1024 samples a side."""
    weighted = planes.weighted(factor)
    height, width = (min(n, _MAX_SIDE) for n in weighted.shape)
    top, left = (weighted.shape[0] - height) // 2, (weighted.shape[1] - width) // 2
    taper = tukey(height)[:, None] * tukey(width)
    windowed = weighted[top : top + height, left : left + width] * taper
    # NOTE: half as many zeros again: tones between bins lose a third of their power otherwise
    n = fft.good_size(max(_MIN_FFT, round(1.4 * max(height, width))))
    padded = np.zeros((n, n), np.float32)
    padded[:height, :width] = windowed
    spectrum = fft.rfft2(padded)
    power = spectrum.real**2 + spectrum.imag**2
    reach = int(min(n // 4, round(_WHITENING_REACH * n / np.sqrt(height * width))))
    level = line_free_level(power, reach)
    white = np.empty_like(power)
    kernels.whiten(power, level, np.float32(WHITE_LIMIT), white)
    band = white[n // 32 : n // 2, n // 32 :]
    views = [(np.eye(2), log_polar(white, np.eye(2), FINE))]
    views += [(strain, log_polar(white, strain, COARSE)) for strain in (np.eye(2), *_STRAINS)]
    mean, spread = float(band.mean()), max(float(band.std()), 1e-12)
    return Level(factor, weighted.shape[:2], windowed, (top, left), level, white, mean, spread, views)


@dataclass(frozen=True, slots=True)
class Scan:
    """Candidates, best first.

    Attributes:
        anyhow: of any geometry.
        upright: of pictures merely scaled, flipped or turned by multiples of 90 degrees.
        strained: of those whose aspect was changed as well.
    """

    anyhow: list[Candidate]
    upright: list[Candidate]
    strained: list[Candidate]


def scan(level: Level, templates: Templates, scales: tuple[float, float], *, keep: int = 4) -> Scan:
    """Search every scale, rotation, mirror image, aspect and mild shear; candidates are refined.

    Few hypotheses are upright, so chance gets less far among them, and weaker ones are worth a look.

    Args:
        level: of the picture.
        templates: of the key.
        scales: the least and the largest, samples of the level a unit.
        keep: how many peaks of every kind are followed up.
    """
    fine: list[tuple[Hypothesis, Matrix]] = []
    coarse: list[tuple[Hypothesis, Matrix]] = []
    straight: list[tuple[Hypothesis, Matrix]] = []
    strained: list[tuple[Hypothesis, Matrix]] = []
    for strain, spectrum in level.views:
        if spectrum.grid is FINE:
            anyhow, upright = templates.fine.correlate(spectrum, scales, 2 * keep)
            fine += [(hypothesis, strain) for hypothesis in anyhow]
            straight += [(hypothesis, strain) for hypothesis in upright]
        else:
            anyhow, upright = templates.coarse.correlate(spectrum, scales, keep // 2)
            coarse += [(hypothesis, strain) for hypothesis in anyhow]
            strained += [(hypothesis, strain) for hypothesis in upright]
    best = [(*h, 0.006) for h in _top(fine, 2 * keep)] + [(*h, 0.02) for h in _top(coarse, 4 * keep)]
    return Scan(
        distinct([_refined(level, templates, *h) for h in best]),
        distinct([_refined(level, templates, *h, 0.003) for h in _top(straight, 4 * keep)]),
        distinct([_refined(level, templates, *h, 0.01) for h in _top(strained, 4 * keep)]),
    )


def _top(found: list[tuple[Hypothesis, Matrix]], n: int) -> list[tuple[Hypothesis, Matrix]]:
    """Return the n best hypotheses."""
    return sorted(found, key=lambda pair: -pair[0].score)[:n]


def _refined(
    level: Level, templates: Templates, hypothesis: Hypothesis, strain: Matrix, step: float
) -> Candidate:
    """Turn a hypothesis of the log-polar grid into a candidate."""
    angle = hypothesis.rotation
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    flip = np.diag([-1.0, 1.0]) if hypothesis.mirrored else np.eye(2)
    return refine(level, templates, strain @ turn @ flip / hypothesis.scale, hypothesis.n_tones, step)


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
