"""Power spectra and the noise level under their lines."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastmark import fft
from fastmark.kernels import spectrum as kernels
from fastmark.plane import Plane

WHITE_LIMIT = 8.0
_TILE, _SMALL_TILE = 128, 32
_MAX_TILES = 3  # each way


@functools.lru_cache(maxsize=64)
def tukey(n: int, share: float = 0.1) -> NDArray[np.float32]:
    """Tukey window of length n, cosine tapers over ``share`` of it in all (Harris 1978).

    Scores are level, and lose by a window; but what is periodic in a picture would reach all over its
    spectrum.
    """
    ramp = np.minimum(np.arange(n) + 0.5, n - np.arange(n) - 0.5) / max(share * n / 2, 1e-9)
    window: NDArray[np.float64] = 0.5 - 0.5 * np.cos(np.pi * np.minimum(ramp, 1.0))
    return window.astype(np.float32)


@dataclass(frozen=True, slots=True)
class NoiseLevel:
    """The local mean of a power spectrum over cells of 4 x 4 bins, lines cut off: ``(NY / 4, NX / 8)``."""

    cells: NDArray[np.float32]

    @classmethod
    def of(cls, power: NDArray[np.float32], reach_y: float, reach_x: float) -> NoiseLevel:
        """Average ``power`` ``(NY, NX // 2 + 1)`` over about ``2 reach + 1`` bins each way.

        Twice: the second time with what stands out cut off, so that tones and lines do not raise their own
        floor.
        """
        cells = np.empty((power.shape[0] // kernels.CELL, power.shape[1] // kernels.CELL), np.float32)
        level = np.full_like(cells, np.inf)
        # cells either side of a mean over 2 reach + 1 bins
        cells_y, cells_x = (max(0, round((2 * r + 1) / kernels.CELL / 2 - 0.5)) for r in (reach_y, reach_x))
        for limit in (np.float32(np.inf), np.float32(WHITE_LIMIT)):
            kernels.pool_power(power, level * limit, cells)
            kernels.smooth_cells(cells, cells_y, cells_x, level)
        return cls(level)

    def at(self, y: NDArray[np.int64], x: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the level at bins ``(y, x)``; y may be negative, x not."""
        n_rows, n_columns = self.cells.shape
        level: NDArray[np.float32] = self.cells[
            (y // kernels.CELL) % n_rows, np.minimum(x // kernels.CELL, n_columns - 1)
        ]
        return level


def power_spectrum(spectrum: NDArray[np.complex64]) -> NDArray[np.float32]:
    """Return the squared moduli of a C-contiguous complex64 array, float32."""
    power = np.zeros(spectrum.shape, np.float32)
    kernels.add_power(spectrum.view(np.float32), power)
    return power


@dataclass(frozen=True, slots=True)
class Density:
    """Power density of a plane, grey levels squared, at ``N x N`` frequencies of its means over 2 x 2 units.

    Attributes:
        power: float32 ``(N, N // 2 + 1)``, per sample of the means.
    """

    power: NDArray[np.float32]

    def at(self, frequencies: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the density per unit, with what folds back from above 1/4, at ``frequencies`` ``(n, 2)``,
        cycles a unit, below 1/4.
        """
        n = self.power.shape[0]
        bins = np.rint(2 * n * frequencies).astype(int)
        bins *= np.where(bins[:, 1:] < 0, -1, 1)
        # a mean over two units passes cos(pi f) of a wave; four units make one sample
        passed = np.prod(np.cos(np.pi * frequencies) ** 2, axis=1)
        density: NDArray[np.float64] = 4 * self.power[bins[:, 0] % n, bins[:, 1]] / passed
        return density


@functools.cache
def _hann(n: int) -> NDArray[np.float32]:
    """Return Hann's window of n x n, without its zeros."""
    line = np.hanning(n + 2)[1:-1]
    return np.outer(line, line).astype(np.float32)


def power_density(means: Plane) -> Density:
    """Estimate the power density of a plane, given as its means over 2 x 2 units, up to a quarter of a cycle
    a unit.

    Welch 1967: mean periodogram of tiles under Hann's window, at most 3 x 3 of them spread over the plane,
    smoothed over 3 x 3 bins.
    """
    n = _TILE if min(means.shape) >= _TILE else _SMALL_TILE
    window = _hann(n)
    total = np.zeros((n, n // 2 + 1), np.float32)
    starts = [
        np.unique(np.linspace(0, side - n, min(_MAX_TILES, -(-side // n))).astype(int))
        for side in means.shape
    ]
    for y in starts[0]:
        for x in starts[1]:
            kernels.add_power(fft.rfft2(means[y : y + n, x : x + n] * window).view(np.float32), total)
    smooth = np.empty_like(total)
    kernels.smooth_cells(total, 1, 1, smooth)
    smooth /= len(starts[0]) * len(starts[1]) * float(np.vdot(window, window))
    return Density(smooth)
