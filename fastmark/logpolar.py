"""Log-polar spectra: where scaling and turning a picture are shifts, and one FFT tries them all.

Reddy & Chatterji 1996, "An FFT-based technique for translation, rotation, and scale-invariant image
registration", with the key's tones in place of a second picture.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastmark import fft
from fastmark.carrier import MAX_RADIUS, MIN_RADIUS, TONE_COUNTS, TORUS, Carrier
from fastmark.kernels import spectrum as kernels

N_ANGLES = 512
N_RADII = 540
POOL = 4
_MIN_FREQUENCY = 0.02  # cycles a sample
_LOG_STEP = 0.006
_RADII = _MIN_FREQUENCY * np.exp(_LOG_STEP * np.arange(N_RADII))
_LOG_START = float(np.log(MIN_RADIUS / TORUS))
_MIN_TONES_INSIDE = 12


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """One scale and rotation: the score in sigmas, the prefix of tones, and the geometry (radians)."""

    score: float
    n_tones: int
    mirrored: bool
    scale: float
    rotation: float


class Grid:
    """The dimensions of a log-polar grid whose cells are ``pool`` times the finest, each way."""

    def __init__(self, pool: int) -> None:
        """Lay out the grid; its width leaves room for the tones' span, so that correlation does not wrap."""
        self.pool = pool
        self.n_angles, self.n_radii = N_ANGLES // pool, N_RADII // pool
        self.log_step = _LOG_STEP * pool
        span = int(np.ceil(np.log(MAX_RADIUS / MIN_RADIUS) / self.log_step)) + 2
        self.size = fft.good_size(self.n_radii + span)
        # A tone of frequency f at scale s lies at f / s: column shift c means
        # ln s = start - ln f_min - c step
        shifts = np.arange(self.size)
        shifts = np.where(shifts > self.n_radii, shifts - self.size, shifts)
        self.scale = np.exp(_LOG_START - np.log(_MIN_FREQUENCY) - shifts * self.log_step)


FINE, COARSE = Grid(1), Grid(POOL)


@dataclass(frozen=True, slots=True)
class LogPolarSpectrum:
    """A picture's spectrum on a log-polar grid, of unit variance, transformed.

    ``transformed`` is complex64 ``(angles, size // 2 + 1)``.
    """

    grid: Grid
    transformed: NDArray[np.complex64]


def log_polar(white: NDArray[np.float32], strain: NDArray[np.float64], grid: Grid) -> LogPolarSpectrum:
    """Sample a whitened spectrum ``(N, N // 2 + 1)``, seen through a 2 x 2 strain, on a log-polar grid.

    A coarse cell is the mean of a quarter of the finest cells in it, those of every other row and column.
    """
    stride = max(1, grid.pool // 2)
    angles = np.arange(0, N_ANGLES, stride) * (np.pi / N_ANGLES)
    cells = np.empty((N_ANGLES // stride, N_RADII // stride), np.float32)
    kernels.sample_log_polar(white, strain, np.cos(angles), np.sin(angles), _RADII[::stride], cells)
    if grid.pool > 1:
        side = grid.pool // stride
        cells = cells.reshape(grid.n_angles, side, grid.n_radii, side).mean(axis=(1, 3), dtype=np.float32)
    inside = cells != 0
    mean = cells.sum(axis=0) / np.maximum(inside.sum(axis=0), 1)
    centred = np.where(inside, cells - mean, np.float32(0))
    spread = np.sqrt(np.sum(centred * centred) / max(np.count_nonzero(inside), 1))
    padded = np.zeros((grid.n_angles, grid.size), np.float32)
    padded[:, : grid.n_radii] = centred / max(float(spread), 1e-12)
    return LogPolarSpectrum(grid, fft.rfft2(padded))


class Templates:
    """The tones of a carrier in log-polar coordinates, transformed once, for every prefix and mirror."""

    def __init__(self, carrier: Carrier) -> None:
        """Prepare the templates of ``carrier``."""
        self.tones = carrier.tones / TORUS
        self.log_radius = np.log(np.hypot(self.tones[:, 0], self.tones[:, 1]))
        self.angle = np.arctan2(self.tones[:, 0], self.tones[:, 1])

    @functools.cached_property
    def fine(self) -> LogPolarTemplates:
        """Templates at the full resolution of the log-polar grid."""
        return LogPolarTemplates(self, FINE)

    @functools.cached_property
    def coarse(self) -> LogPolarTemplates:
        """Templates for cells four times as large: four times the tolerance."""
        return LogPolarTemplates(self, COARSE)


class LogPolarTemplates:
    """Templates on one log-polar grid: correlation over every scale and rotation by FFT."""

    def __init__(self, templates: Templates, grid: Grid) -> None:
        """Splat the tones bilinearly onto ``grid``."""
        self.grid = grid
        row = templates.angle / np.pi * grid.n_angles
        column = (templates.log_radius - _LOG_START) / grid.log_step
        self.spectra: list[tuple[int, bool, NDArray[np.complex64], NDArray[np.float64]]] = []
        for count in TONE_COUNTS:
            occupied = np.zeros(grid.size)
            np.add.at(occupied, np.rint(column[:count]).astype(int), 1.0)
            inside_band = np.zeros(grid.size)
            inside_band[: grid.n_radii] = 1.0
            inside = np.fft.ifft(np.fft.fft(inside_band) * np.conj(np.fft.fft(occupied))).real
            for mirrored in (False, True):
                cells = self._splat(-row[:count] if mirrored else row[:count], column[:count])
                self.spectra.append((count, mirrored, np.conj(fft.rfft2(cells)), np.maximum(inside, 0)))

    def _splat(self, row: NDArray[np.float64], column: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return the grid with every tone shared among its four cells."""
        cells = np.zeros((self.grid.n_angles, self.grid.size), np.float32)
        y0, x0 = np.floor(row).astype(int), np.floor(column).astype(int)
        ty, tx = row - y0, column - x0
        for dy in (0, 1):
            for dx in (0, 1):
                weight = (ty if dy else 1 - ty) * (tx if dx else 1 - tx)
                np.add.at(cells, ((y0 + dy) % self.grid.n_angles, x0 + dx), weight.astype(np.float32))
        return cells

    def correlate(
        self, spectrum: LogPolarSpectrum, scales: tuple[float, float], keep: int
    ) -> tuple[list[Hypothesis], list[Hypothesis]]:
        """Return the ``keep`` best hypotheses of each prefix and mirror.

        First those of any rotation, then those at multiples of 90 degrees alone.
        """
        grid = self.grid
        allowed = (grid.scale >= scales[0]) & (grid.scale <= scales[1])
        anyhow: list[Hypothesis] = []
        upright: list[Hypothesis] = []
        quarter = grid.n_angles // 2
        near = [row % grid.n_angles for centre in (0, quarter) for row in (centre - 1, centre, centre + 1)]
        for count, mirrored, template, inside in self.spectra:
            columns = np.flatnonzero(allowed & (inside >= _MIN_TONES_INSIDE))
            surface = fft.irfft2(spectrum.transformed * template)[:, columns]
            surface *= (1.0 / np.sqrt(inside[columns])).astype(np.float32)
            for found, part, rows in (
                (upright, surface[near], near),
                (anyhow, surface, range(grid.n_angles)),
            ):
                for score, i, c in _peaks(part, keep):
                    angle = rows[i] * np.pi / grid.n_angles
                    found.append(Hypothesis(score, count, mirrored, float(grid.scale[columns[c]]), angle))
        return anyhow, upright


def _peaks(surface: NDArray[np.float32], keep: int) -> list[tuple[float, int, int]]:
    """Return the ``keep`` highest values and their places, each neighbourhood once; they are erased."""
    found = []
    for _ in range(keep):
        a, c = divmod(int(surface.argmax()), surface.shape[1])
        found.append((float(surface[a, c]), a, c))
        rows = np.arange(a - 2, a + 3) % surface.shape[0]
        surface[rows, max(c - 2, 0) : c + 3] = -np.inf
    return found
