"""Log-polar spectra: where scaling and turning an image are shifts, and a key's tones are slid over them.

Reddy & Chatterji 1996, "An FFT-based technique for translation, rotation, and scale-invariant image
registration", with the key's tones in place of a second image. A small strain (another aspect, shear) moves
the cells of every direction by the same amount, so it costs no other spectrum: its rows are read in another
order, from other columns.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastmark._threads import in_strips
from fastmark.codec.carrier import Carrier
from fastmark.codec.tables import MAX_RADIUS, MIN_RADIUS, TONE_COUNTS, TORUS
from fastmark.detection.affine import Matrix
from fastmark.kernels import logpolar as kernels

MAX_SCALE = 3.0
"""Samples per unit: images in which the mark is larger are looked at reduced."""

_LOG_STEP = 0.006
_N_ANGLES = 512
_MIN_FREQUENCY = MIN_RADIUS / TORUS / MAX_SCALE  # cycles per sample
_N_RADII = 568  # up to the Nyquist frequency, 0.5
_MIN_TONES_INSIDE = 12
_NEUTRAL, _STEP = 3, 2.4  # bytes: of the mean, and a standard deviation
_COUNTS = np.array(TONE_COUNTS)
_FIXED = 256.0  # of scores in integers
# Sigmas of the first 48, 96 and 192 tones at the best scale of a row, without which others are not summed.
_PROMISING_ROW, _PROMISING_MORE, _PROMISING_MOST = 1.5, 2.5, 3.2
_PROMISING = (np.array([_PROMISING_ROW, _PROMISING_MORE, _PROMISING_MOST, 0.0]) * _FIXED).astype(np.int32)
_NEAR = 2  # rows within which the best rotation stands for others
_ROOM = 512  # columns right of the tones' span: scales down to 0.2
# Scales are scored so many at a time; this share of one lot is not worth another.
_LOT, _SPARED = 32, 0.05
_ROWS = 64  # hypotheses that a thread scores at a time
_LEFT = 32  # neutral cells left of the first radius: room for strains


class Grid:
    """A log-polar grid whose cells are ``pool`` times the finest, each way."""

    def __init__(self, pool: int) -> None:
        """Lay out the grid."""
        self.pool = pool
        self.n_angles, self.n_radii = _N_ANGLES // pool, _N_RADII // pool
        self.log_step = _LOG_STEP * pool
        span = int(np.log(MAX_RADIUS / MIN_RADIUS) / self.log_step) + 2  # columns of the tones
        self.stride = _LEFT + self.n_radii + span + _ROOM // pool + _LEFT  # cells of a row

    @functools.cache  # noqa: B019 -- there are three grids, for ever
    def scales(self, most: float, least: float) -> tuple[int, NDArray[np.float64]]:
        """Return the scales searched, samples per unit, from ``most`` down to about ``least``.

        Their number is a multiple of 32, as part of a vector takes as long as a whole one.

        Returns:
            how many shifts of the grid the first is from 3, and the scales, one for each shift.
        """
        first = round(math.log(MAX_SCALE / most) / self.log_step)
        n = _LOT * math.ceil(math.log(most / least) / self.log_step / _LOT - _SPARED)
        # a cell's middle lies beyond the first of the finest cells in it
        shifts = self.log_step * np.arange(first, first + n)
        return first, MAX_SCALE * np.exp(-shifts - _LOG_STEP * (self.pool - 1) / 2)


GRIDS = {pool: Grid(pool) for pool in (1, 2, 4)}


@dataclass(frozen=True, slots=True)
class LogPolarSpectrum:
    """An image's spectrum on a log-polar grid, as bytes.

    Attributes:
        grid: its dimensions.
        cells: uint8 ``(angles, stride)``, 0..15; radius i in column 32 + i, beyond the spectrum the neutral
            3.
        mean, spread: of the bytes.
        lag: radians by which the middle of a row lies beyond its angle.
    """

    grid: Grid
    cells: NDArray[np.uint8]
    mean: float
    spread: float
    lag: float


def log_polar(white: NDArray[np.float32], pools: tuple[int, ...]) -> list[LogPolarSpectrum]:
    """Sample a whitened spectrum ``(NY, NX // 2 + 1)`` on the log-polar grids of ``pools``, finest first.

    A coarser cell is the mean of the finer ones in it. The constant bin of ``white`` is set to 1.
    """
    finest = pools[0]
    places = _places(white.shape[0], 2 * (white.shape[1] - 1), finest)
    # cells beyond the spectrum are read from the constant bin, which tells nothing else
    white[0, 0] = 1.0
    cells = np.empty((places.shape[0], places.shape[1]), np.float32)
    kernels.take_bins(white.ravel(), places, cells)
    found = []
    at = finest
    for pool in pools:
        while at < pool:
            pooled = np.empty((cells.shape[0] // 2, cells.shape[1] // 2), np.float32)
            kernels.pool_cells(cells, pooled)
            cells = pooled
            at *= 2
        found.append(_quantised(GRIDS[pool], cells, (pool - finest) / 2 * np.pi / _N_ANGLES))
    return found


@functools.lru_cache(maxsize=16)
def _places(n_rows: int, n_columns: int, finest: int) -> NDArray[np.uint32]:
    """Return the bins of the cells of a grid in the spectrum of ``n_rows x n_columns`` samples.

    uint32 ``(angles, radii)``, a megabyte at most.
    """
    angles = np.arange(0, _N_ANGLES, finest) * (np.pi / _N_ANGLES)
    radii = _MIN_FREQUENCY * np.exp(_LOG_STEP * (np.arange(0, _N_RADII, finest) + (finest - 1) / 2))
    places = np.empty((angles.size, radii.size), np.uint32)
    waves = (np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32))
    kernels.place_log_polar(n_rows, n_columns, *waves, radii.astype(np.float32), places)
    return places


def _quantised(grid: Grid, cells: NDArray[np.float32], lag: float) -> LogPolarSpectrum:
    """Bring the cells of every radius to the same mean and those of all to the same spread, in bytes."""
    mean = np.empty(cells.shape[1], np.float32)
    spread = kernels.measure_cells(cells, mean)
    padded = np.full((grid.n_angles, grid.stride), _NEUTRAL, np.uint8)
    inside = padded[:, _LEFT : _LEFT + grid.n_radii]
    total, square = kernels.quantise_cells(
        cells, mean, np.float32(1 / spread), np.float32(_NEUTRAL), np.float32(_STEP), inside
    )
    average = total / cells.size
    deviation = np.sqrt(max(square / cells.size - average**2, 1e-12))
    return LogPolarSpectrum(grid, padded, average, float(deviation), lag)


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """One geometry: score in sigmas, prefix of tones, mirroring, scale, rotation in radians, strain."""

    score: float
    n_tones: int
    mirrored: bool
    scale: float
    rotation: float
    strain: Matrix


class Strains:
    """Small strains as rearrangements of a grid's rows: each angle's row, and its shift in columns.

    Attributes:
        matrices: the strains, ``(n, 2, 2)``, area-preserving, (y, x) order.
        offsets: int64 ``(n, 2 angles)``, where the cells of every angle of a full turn start.
    """

    def __init__(self, matrices: NDArray[np.float64], grid: Grid) -> None:
        """Rearrange ``grid`` so that it shows a spectrum at ``matrix @ frequency``."""
        self.matrices = matrices
        angle = np.arange(grid.n_angles) * (np.pi / grid.n_angles)
        y, x = np.moveaxis(matrices @ np.stack([np.sin(angle), np.cos(angle)]), 1, 0)
        rows = np.rint(np.arctan2(y, x) / np.pi * grid.n_angles).astype(np.int64) % grid.n_angles
        shifts = np.rint(np.log(np.hypot(y, x)) / grid.log_step).astype(np.int64)
        self.offsets = np.tile(rows * grid.stride + (shifts + _LEFT), 2)


class Templates:
    """The tones of a carrier in log-polar coordinates, on every grid."""

    def __init__(self, carrier: Carrier) -> None:
        """Prepare the templates of ``carrier``."""
        self.tones = carrier.tones / TORUS
        log_radius = np.log(np.hypot(self.tones[:, 0], self.tones[:, 1]) * (TORUS / MIN_RADIUS))
        angle = np.arctan2(self.tones[:, 0], self.tones[:, 1]) / np.pi
        self._places = {
            pool: (
                np.stack(
                    [
                        np.rint(sign * angle * grid.n_angles).astype(np.int64) % grid.n_angles
                        for sign in (1, -1)
                    ]
                ),
                np.rint(log_radius / grid.log_step).astype(np.int64),
            )
            for pool, grid in GRIDS.items()
        }
        self._norms: dict[tuple[int, int, int], NDArray[np.float64]] = {}

    def scan(
        self,
        spectrum: LogPolarSpectrum,
        strains: Strains,
        hypotheses: NDArray[np.int64],
        n_tones: int,
        scales: tuple[float, float],
        least_score: float,
        most: int,
        threads: int = 1,
    ) -> list[Hypothesis]:
        """Score ``hypotheses`` at every scale; return those of at least ``least_score``, best first.

        Of neighbouring rotations, and of prefixes, the best is returned; nothing under half of the very best.

        Args:
            spectrum: of the image.
            strains: through which it is seen.
            hypotheses: int64 ``(n, 3)``: number of the strain, 1 for mirror images, row of the rotation.
            n_tones: the longest prefix scored; an image with more tones shows some of its pilot's power in
                it.
            scales: the largest and the smallest, samples per unit.
            least_score: in sigmas.
            most: how many are returned at most.
            threads: how many may share the work.
        """
        grid = spectrum.grid
        first_shift, sizes = grid.scales(*scales)
        rows, columns = self._places[grid.pool]
        counts = _COUNTS[: TONE_COUNTS.index(n_tones) + 1]
        inside = self._tones_inside(grid, first_shift, sizes.size)[: counts.size]
        bias = spectrum.mean * inside + _NEUTRAL * (counts[:, None] - inside)
        gain = np.where(
            inside >= _MIN_TONES_INSIDE, 1 / (spectrum.spread * np.sqrt(np.maximum(inside, 1))), 0
        )
        best = np.empty((len(hypotheses), counts.size), np.int32)
        at = np.empty(best.shape, np.int32)
        pattern = (spectrum.cells.ravel(), strains.offsets, rows, columns[:n_tones] + first_shift, counts)
        norms = (
            bias.astype(np.float32),
            (gain * _FIXED).astype(np.float32),
            int(least_score * _FIXED),
            _PROMISING[: counts.size],
        )

        def score_strip(first: int, last: int) -> None:
            part = slice(first, last)
            kernels.scan_rows(*pattern, hypotheses[part], *norms, best[part], at[part])

        in_strips(score_strip, len(hypotheses), threads, _ROWS if threads > 1 else len(hypotheses))
        found: list[Hypothesis] = []
        while len(found) < most:
            i, p = divmod(int(best.argmax()), counts.size)
            score = float(best[i, p]) / _FIXED
            if score < max(least_score, 0.5 * found[0].score if found else 0.0):
                break
            strain, mirrored, row = hypotheses[i]
            found.append(
                Hypothesis(
                    score, TONE_COUNTS[p], bool(mirrored), float(sizes[at[i, p]]),
                    float(row) * np.pi / grid.n_angles + spectrum.lag, strains.matrices[strain],
                )
            )  # fmt: skip
            distance = np.abs(hypotheses[:, 2] - row)
            near = np.minimum(distance, grid.n_angles - distance) <= _NEAR
            best[near & (hypotheses[:, 1] == mirrored)] = -(2**30)
        return found

    def _tones_inside(self, grid: Grid, first: int, n: int) -> NDArray[np.float64]:
        """Return how many tones of every prefix lie within the spectrum at n shifts from ``first`` on.

        float64 ``(4, n)``.
        """
        key = (grid.pool, first, n)
        if key not in self._norms:
            columns = self._places[grid.pool][1]
            place = columns[:, None] + np.arange(first, first + n) < grid.n_radii
            self._norms[key] = np.cumsum(place, axis=0)[_COUNTS - 1].astype(np.float64)
        return self._norms[key]
