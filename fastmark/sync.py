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
from fastmark.carrier import TONE_COUNTS, TORUS, Carrier
from fastmark.kernels import spectrum as kernels
from fastmark.perception import Perception, Plane, scores, tukey
from fastmark.plane import canonical_plane

Matrix = NDArray[np.float64]
Hypothesis = tuple[float, int, bool, float, float]

WHITE_LIMIT = 8.0
_MIN_FFT, _MAX_SIDE = 256, 1024
_WHITENING_REACH = 10  # bins either side, of a spectrum that is not zero-padded

N_ANGLES = 512
N_RADII = 540
_MIN_FREQUENCY = 0.02  # cycles a sample
_LOG_STEP = 0.006
_RADII = _MIN_FREQUENCY * np.exp(_LOG_STEP * np.arange(N_RADII))
_POOL = 4
_MIN_TONES_INSIDE = 12

# Largest and least scale sought at one level, samples a unit.
_LEVEL_SCALES = {1: (0.2, 1.6), 2: (0.75, 1.6), 4: (0.75, 1.6)}

_ASPECT_STRAINS = tuple(0.04 * i for i in range(-6, 7) if i)
_SHEAR_STRAINS = (-0.08, -0.04, 0.04, 0.08)


@dataclass(frozen=True, slots=True)
class Level:
    """A picture's plane, box-averaged ``factor`` times, and its whitened power spectrum.

    Attributes:
        factor: samples of the plane to a sample of this level, each way.
        plane: float32 luma.
        white: float32 ``(N, N // 2 + 1)``, power over its local mean, at most 8.
        mean, spread: of ``white`` over the band of the tones.
    """

    factor: int
    plane: Plane
    white: NDArray[np.float32]
    mean: float
    spread: float


@dataclass(frozen=True, slots=True)
class Candidate:
    """A geometry worth a look: ``matrix`` maps units to samples of the plane; ``score`` in sigmas."""

    matrix: Matrix
    n_tones: int
    score: float


def reduce_plane(plane: Plane, factor: int) -> Plane:
    """Box-average a plane ``factor`` times."""
    return plane if factor == 1 else canonical_plane(plane, factor)


def analyse(plane: Plane, factor: int) -> Level:
    """Compute the whitened spectrum of the middle of a plane, at most 1024 samples a side."""
    reduced = reduce_plane(plane, factor)
    height, width = (min(n, _MAX_SIDE) for n in reduced.shape)
    top, left = (reduced.shape[0] - height) // 2, (reduced.shape[1] - width) // 2
    middle = np.ascontiguousarray(reduced[top : top + height, left : left + width])
    # NOTE: half as many zeros again: tones between bins lose a third of their power otherwise
    n = fft.good_size(max(_MIN_FFT, round(1.4 * max(height, width))))
    padded = np.zeros((n, n), np.float32)
    whitened = scores(middle) * Perception.of(middle).mask
    padded[:height, :width] = whitened * (tukey(height)[:, None] * tukey(width))
    spectrum = fft.rfft2(padded)
    power = spectrum.real**2 + spectrum.imag**2
    reach = int(min(n // 4, round(_WHITENING_REACH * n / np.sqrt(height * width))))
    level = np.empty_like(power)
    white = np.empty_like(power)
    kernels.local_mean(power, reach, level)
    kernels.whiten(power, level, np.float32(WHITE_LIMIT), white)
    np.minimum(power, white * level, out=power)  # tones and lines must not raise their own floor
    kernels.local_mean(power, reach, level)
    kernels.whiten(spectrum.real**2 + spectrum.imag**2, level, np.float32(WHITE_LIMIT), white)
    band = white[n // 32 : n // 2, n // 32 :]
    return Level(factor, reduced, white, float(band.mean()), float(band.std()))


class Templates:
    """The tones of a carrier in log-polar coordinates, transformed once, for every prefix and mirror."""

    def __init__(self, carrier: Carrier) -> None:
        """Prepare the templates of ``carrier``."""
        self.tones = carrier.tones / TORUS
        radius = np.hypot(self.tones[:, 0], self.tones[:, 1])
        self.log_radius = np.log(radius)
        self.angle = np.arctan2(self.tones[:, 0], self.tones[:, 1])

    @functools.cached_property
    def fine(self) -> LogPolarTemplates:
        """Templates at the full resolution of the log-polar grid."""
        return LogPolarTemplates(self, 1)

    @functools.cached_property
    def coarse(self) -> LogPolarTemplates:
        """Templates for the grid averaged over 4 x 4 cells: four times the tolerance."""
        return LogPolarTemplates(self, _POOL)


class LogPolarTemplates:
    """Templates on one log-polar grid: correlation over every scale and rotation by FFT."""

    def __init__(self, templates: Templates, pool: int) -> None:
        """Splat the tones bilinearly onto a grid of cells ``pool`` times the finest."""
        self.pool = pool
        self.n_angles, self.n_radii = N_ANGLES // pool, N_RADII // pool
        self.log_step = _LOG_STEP * pool
        span = int(np.ceil(np.ptp(templates.log_radius) / self.log_step)) + 2
        self.size = fft.good_size(self.n_radii + span)
        self.log_start = float(templates.log_radius.min())
        row = templates.angle / np.pi * self.n_angles
        column = (templates.log_radius - self.log_start) / self.log_step
        self.spectra: list[tuple[int, bool, NDArray[np.complex64], NDArray[np.float64]]] = []
        for count in TONE_COUNTS:
            occupied = np.zeros(self.size)
            np.add.at(occupied, np.rint(column[:count]).astype(int), 1.0)
            inside_band = np.zeros(self.size)
            inside_band[: self.n_radii] = 1.0
            inside = np.fft.ifft(np.fft.fft(inside_band) * np.conj(np.fft.fft(occupied))).real
            for mirrored in (False, True):
                grid = self._splat(-row[:count] if mirrored else row[:count], column[:count])
                self.spectra.append((count, mirrored, np.conj(fft.rfft2(grid)), np.maximum(inside, 0)))

    def _splat(self, row: NDArray[np.float64], column: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return the grid with every tone shared among its four cells."""
        grid = np.zeros((self.n_angles, self.size), np.float32)
        y0, x0 = np.floor(row).astype(int), np.floor(column).astype(int)
        ty, tx = row - y0, column - x0
        for dy in (0, 1):
            for dx in (0, 1):
                weight = (ty if dy else 1 - ty) * (tx if dx else 1 - tx)
                np.add.at(grid, ((y0 + dy) % self.n_angles, x0 + dx), weight.astype(np.float32))
        return grid

    def correlate(
        self, cells: NDArray[np.float32], scales: tuple[float, float], keep: int, *, upright: bool = False
    ) -> tuple[list[Hypothesis], list[Hypothesis]]:
        """Return the best hypotheses as (score, tone count, mirrored, scale, rotation in radians).

        ``cells`` is the log-polar spectrum ``(angles, radii)`` less its mean; scores are in sigmas. With
        ``upright`` the second list holds the best at multiples of 90 degrees.
        """
        padded = np.zeros((self.n_angles, self.size), np.float32)
        padded[:, : self.n_radii] = cells
        spread = float(np.sqrt(np.mean(cells[cells != 0] ** 2))) if np.any(cells) else 1.0
        transformed = fft.rfft2(padded)
        # A tone of frequency f at scale s lies at f / s: column shift c means ln s = start - ln f_min - c step
        shifts = np.arange(self.size)
        shifts = np.where(shifts > self.n_radii, shifts - self.size, shifts)
        scale = np.exp(self.log_start - np.log(_MIN_FREQUENCY) - shifts * self.log_step)
        allowed = (scale >= scales[0]) & (scale <= scales[1])
        found, straight = [], []
        quarter = self.n_angles // 2
        near = [row % self.n_angles for centre in (0, quarter) for row in (centre - 1, centre, centre + 1)]
        for count, mirrored, template, inside in self.spectra:
            usable = allowed & (inside >= _MIN_TONES_INSIDE)
            columns = np.flatnonzero(usable)
            surface = fft.irfft2(transformed * template)[:, columns]
            surface *= (1.0 / (spread * np.sqrt(inside[columns]))).astype(np.float32)
            for score, a, c in _peaks(surface, keep):
                found.append((score, count, mirrored, float(scale[columns[c]]), a * np.pi / self.n_angles))
            if upright:
                for score, i, c in _peaks(surface[near], 2 * keep):
                    angle = near[i] * np.pi / self.n_angles
                    straight.append((score, count, mirrored, float(scale[columns[c]]), angle))
        found.sort(key=lambda hypothesis: -hypothesis[0])
        straight.sort(key=lambda hypothesis: -hypothesis[0])
        return found[: 3 * keep], straight[: 4 * keep]


def _peaks(surface: NDArray[np.float32], keep: int) -> list[tuple[float, int, int]]:
    """Return the ``keep`` highest values and their places, each neighbourhood once."""
    work = surface.copy()
    found = []
    for _ in range(keep):
        a, c = divmod(int(work.argmax()), work.shape[1])
        found.append((float(work[a, c]), a, c))
        rows = np.arange(a - 2, a + 3) % work.shape[0]
        work[rows, max(c - 2, 0) : c + 3] = -np.inf
    return found


def _strain_matrix(strain: float, diagonal: bool) -> Matrix:
    """Area-preserving strain: of the axes, or of the diagonals."""
    if diagonal:
        return np.array(
            [[np.cosh(strain / 2), np.sinh(strain / 2)], [np.sinh(strain / 2), np.cosh(strain / 2)]]
        )
    return np.diag([np.exp(strain / 2), np.exp(-strain / 2)])


def _log_polar(level: Level, strain: Matrix) -> NDArray[np.float32]:
    """Sample the level's whitened spectrum on the log-polar grid, seen through a strain."""
    angles = np.arange(N_ANGLES) * (np.pi / N_ANGLES)
    cells = np.empty((N_ANGLES, N_RADII), np.float32)
    kernels.sample_log_polar(level.white, strain, np.cos(angles), np.sin(angles), _RADII, cells)
    return cells


def _centred(cells: NDArray[np.float32]) -> NDArray[np.float32]:
    """Subtract the mean of each radius where the cell lies inside the spectrum."""
    inside = cells != 0
    mean = cells.sum(axis=0) / np.maximum(inside.sum(axis=0), 1)
    result: NDArray[np.float32] = np.where(inside, cells - mean, np.float32(0)).astype(np.float32)
    return result


@dataclass(frozen=True, slots=True)
class Scan:
    """Candidates, best first: of any geometry, and among pictures that are merely scaled, flipped or turned by 90."""

    anyhow: list[Candidate]
    upright: list[Candidate]


def scan(level: Level, templates: Templates, *, keep: int = 4) -> Scan:
    """Search every scale, rotation, mirror image, aspect and mild shear; candidates are refined.

    Few hypotheses are upright, so chance gets less far among them, and weaker ones are worth a look.
    """
    least, largest = _LEVEL_SCALES[level.factor]
    hypotheses = []
    cells = _log_polar(level, np.eye(2))
    fine, upright = templates.fine.correlate(_centred(cells), (least, largest), keep, upright=True)
    hypotheses += [(found, np.eye(2), 0.006) for found in fine]
    strains = [(s, False) for s in _ASPECT_STRAINS] + [(s, True) for s in _SHEAR_STRAINS] + [(0.0, False)]
    for strain, diagonal in strains:
        matrix = _strain_matrix(strain, diagonal)
        if strain:
            cells = _log_polar(level, matrix)
        pooled = _centred(_pool(cells))
        found, _ = templates.coarse.correlate(pooled, (least, largest), 2)
        hypotheses += [(hypothesis, matrix, 0.02) for hypothesis in found]
    hypotheses.sort(key=lambda hypothesis: -hypothesis[0][0])
    best = [h for h in hypotheses if h[2] < 0.01][: 2 * keep] + [h for h in hypotheses if h[2] > 0.01][: 4 * keep]
    return Scan(
        distinct([_refined(level, templates, *hypothesis) for hypothesis in best]),
        distinct([_refined(level, templates, hypothesis, np.eye(2), 0.003) for hypothesis in upright]),
    )


def _refined(
    level: Level, templates: Templates, hypothesis: Hypothesis, strain: Matrix, step: float
) -> Candidate:
    """Turn a hypothesis of the log-polar grid into a candidate."""
    _, count, mirrored, scale, rotation = hypothesis
    turn = np.array([[np.cos(rotation), np.sin(rotation)], [-np.sin(rotation), np.cos(rotation)]])
    flip = np.diag([-1.0, 1.0]) if mirrored else np.eye(2)
    return refine(level, templates, strain @ turn @ flip / scale, count, step)


def _pool(cells: NDArray[np.float32]) -> NDArray[np.float32]:
    """Average the log-polar grid over 4 x 4 cells."""
    pooled = cells.reshape(N_ANGLES // _POOL, _POOL, N_RADII // _POOL, _POOL).mean(
        axis=(1, 3), dtype=np.float32
    )
    return np.ascontiguousarray(pooled)


def refine(level: Level, templates: Templates, g: Matrix, n_tones: int, step: float) -> Candidate:
    """Climb to the nearest peak of the tone score over the full 2 x 2 matrix."""
    g = np.array(g, dtype=np.float64)
    score = kernels.refine_geometry(
        level.white, level.mean, level.spread, templates.tones, n_tones, step, 0.0002, g
    )
    for count in TONE_COUNTS:
        other = kernels.tone_score(level.white, level.mean, level.spread, templates.tones, count, g)
        if other > score:
            score, n_tones = other, count
    matrix = np.linalg.inv(g).T * level.factor
    return Candidate(matrix, n_tones, float(score))


def score_of(level: Level, templates: Templates, matrix: Matrix) -> tuple[float, int]:
    """Return the best prefix's score at one geometry, and the prefix."""
    g = np.linalg.inv(matrix).T * level.factor
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
