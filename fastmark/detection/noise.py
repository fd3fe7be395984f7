"""Power spectra and the noise level under their lines."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastmark.kernels import noise as kernels

WHITE_LIMIT = 8.0


@functools.lru_cache(maxsize=64)
def tukey(n: int, share: float = 0.1) -> NDArray[np.float32]:
    """Tukey window of length n, cosine tapers over ``share`` of it in all (Harris 1978).

    Scores are level, and lose by a window; but what is periodic in an image would reach all over its
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
class PowerSpectrum:
    """Half a power spectrum with the noise level under its lines.

    Attributes:
        bins: squared moduli, float32 ``(NY, NX // 2 + 1)``.
        noise: their local mean.
    """

    bins: NDArray[np.float32]
    noise: NoiseLevel

    @classmethod
    def of(cls, spectrum: NDArray[np.complex64], reach_y: float, reach_x: float) -> PowerSpectrum:
        """Measure half a spectrum, C-contiguous; its noise level over about ``2 reach + 1`` bins each way."""
        bins = power_spectrum(spectrum)
        return cls(bins, NoiseLevel.of(bins, reach_y, reach_x))

    def whitened(self) -> NDArray[np.float32]:
        """Return the power over the noise level, at most 8: float32 of the same shape."""
        white = np.empty_like(self.bins)
        kernels.whiten(self.bins, self.noise.cells, np.float32(WHITE_LIMIT), white)
        return white
