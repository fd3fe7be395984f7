"""Power spectra and the noise level under their lines."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastmark import fft
from fastmark.codec.plane import Plane
from fastmark.kernels import spectrum as kernels

WHITE_LIMIT = 8.0
_TILE, _SMALL_TILE = 128, 32
_MAX_TILES = 3  # each way
_WHOLE = 0.5  # weight of the cells of a tile that shows no border of what counts


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


def power_density(means: Plane, weights: Plane | None = None) -> Density:
    """Estimate the power density of a plane, given as its means over 2 x 2 units, up to a quarter of a cycle
    a unit.

    Welch 1967: mean periodogram of tiles under Hann's window, at most 3 x 3 of them spread over the plane,
    smoothed over 3 x 3 bins.

    Args:
        means: float32 ``(H, W)``, the middle of the range taken off.
        weights: of the same shape, 0..1, how much each of them counts, not 0 everywhere: the windows are
            multiplied by them, and tiles are those of :func:`_counting_tiles`; None for all alike.
    """
    if weights is None:
        n = _TILE if min(means.shape) >= _TILE else _SMALL_TILE
        tiles = _tiles(means.shape, n, [min(_MAX_TILES, -(-side // n)) for side in means.shape])
    else:
        means = means - np.float32(np.average(means, weights=weights))
        tiles = _counting_tiles(weights)
    n = tiles[0][0].stop - tiles[0][0].start
    window, total, square = _hann(n), np.zeros((n, n // 2 + 1), np.float32), 0.0
    for tile in tiles:
        weighted = window if weights is None else window * weights[tile]
        kernels.add_power(fft.rfft2(means[tile] * weighted).view(np.float32), total)
        square += float(np.vdot(weighted, weighted))
    smooth = np.empty_like(total)
    kernels.smooth_cells(total, 1, 1, smooth)
    smooth /= square
    return Density(smooth)


def _tiles(shape: tuple[int, ...], n: int, counts: list[int]) -> list[tuple[slice, slice]]:
    """Return tiles of n x n, so many each way, spread over a plane."""
    rows, columns = (
        np.unique(np.linspace(0, side - n, count).astype(int))
        for side, count in zip(shape, counts, strict=True)
    )
    return [(slice(y, y + n), slice(x, x + n)) for y in rows for x in columns]


def _counting_tiles(weights: Plane) -> list[tuple[slice, slice]]:
    """Return tiles in which everything counts half at least, as the border of what counts is no texture.

    They overlap by half or more; the larger ones if there are any, else the smaller, else all of these.
    """
    tiles: list[tuple[slice, slice]] = []
    for n in (_TILE, _SMALL_TILE):
        if min(weights.shape) >= n:
            tiles = _tiles(weights.shape, n, [-(-2 * side // n) - 1 for side in weights.shape])
        whole = [tile for tile in tiles if weights[tile].min() >= _WHOLE]
        if whole:
            return whole
    return tiles
