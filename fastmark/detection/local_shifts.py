"""Local shifts of an image that was bent or seen in perspective: a displacement field from the pilot.

Only the pilot's tones are looked at: the choice made here is given when the chips are judged.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastmark import fft
from fastmark.codec.carrier import Carrier
from fastmark.codec.plane import Plane
from fastmark.codec.tables import TORUS
from fastmark.detection.placement import Placement
from fastmark.detection.resampling import FIELD_SPACING, resample
from fastmark.detection.scores import ScorePlanes

Field = NDArray[np.float32]

_TILE = 2 * FIELD_SPACING
_REACH = 8  # units, the largest shift looked for in one round
_FRAME = 160  # at least the tile and twice the reach
_ROUNDS = 2
_LEAST_PEAK = 4.0  # sigmas; tiles below it follow their neighbours
_WEAK = 1e-6  # weight of these, beside squares of peaks
_BESIDE = 0.5  # weight of a neighbouring tile beside a tile's own of 1


def local_shifts(planes: ScorePlanes, placement: Placement, carrier: Carrier) -> Field:
    """Return displacements, in samples of the plane, that bring the pilot into step everywhere.

    Args:
        planes: the image's scores.
        placement: about right in at least a part of it.
        carrier: of the key.

    Returns:
        float32 ``(gy, gx, 2)``, (y, x) shifts at every 64 units of the grid that
        :func:`fastmark.detection.resampling.resample` makes for this placement.
    """
    pilot = carrier.pilot(placement.n_tones) * np.float32(-1.0 if placement.inverted else 1.0)
    field: Field = np.zeros((2, 2, 2), np.float32)
    for _ in range(_ROUNDS):
        grid = resample(planes, placement.matrix, placement.offset, field=field)
        plain = grid.scores * grid.inside
        surfaces = _correlate_tiles(plain, pilot, grid.origin)
        shifts = _smooth_shifts(*_peaks(_blend(surfaces)))
        update = (shifts @ placement.matrix.T).astype(np.float32)
        # The pattern of t + shift shows at grid place t, so place t is found that much earlier.
        field = -update if field.shape != update.shape else field - update
    return field


def _correlate_tiles(
    plain: Plane, pilot: NDArray[np.float32], origin: tuple[int, int]
) -> NDArray[np.float32]:
    """Correlate every tile with the pilot at its place: float32 ``(gy, gx, 17, 17)``, shifts -8..8."""
    height, width = plain.shape
    half = _TILE // 2
    n_rows, n_columns = -(-height // FIELD_SPACING) + 1, -(-width // FIELD_SPACING) + 1
    padded = np.zeros(((n_rows + 1) * FIELD_SPACING, (n_columns + 1) * FIELD_SPACING), np.float32)
    padded[half : half + height, half : half + width] = plain
    window = np.sin(np.pi * (np.arange(_TILE) + 0.5) / _TILE).astype(np.float32) ** 2
    window = np.outer(window, window)
    around = np.arange(-_REACH - half, half + _REACH)
    surfaces = np.zeros((n_rows, n_columns, 2 * _REACH + 1, 2 * _REACH + 1), np.float32)
    places = np.arange(-_REACH, _REACH + 1)
    tile, pattern = np.zeros((_FRAME, _FRAME), np.float32), np.zeros((_FRAME, _FRAME), np.float32)
    inner = slice(_REACH, _REACH + _TILE)
    for i in range(n_rows):
        rows = (origin[0] + i * FIELD_SPACING + around) % TORUS
        for j in range(n_columns):
            y, x = i * FIELD_SPACING, j * FIELD_SPACING
            tile[inner, inner] = padded[y : y + _TILE, x : x + _TILE] * window
            if not tile.any():
                continue
            columns = (origin[1] + x + around) % TORUS
            pattern[: around.size, : around.size] = pilot[rows[:, None], columns]
            surface = fft.irfft2(np.conj(fft.rfft2(tile)) * fft.rfft2(pattern))
            surfaces[i, j] = surface[places[:, None], places]
    return surfaces


def _blend(surfaces: NDArray[np.float32]) -> NDArray[np.float32]:
    """Add to every tile's surface half of each neighbour's, along either axis."""
    for axis in (0, 1):
        padded = np.concatenate(
            [np.zeros_like(surfaces.take([0], axis)), surfaces, np.zeros_like(surfaces.take([0], axis))], axis
        )
        n = surfaces.shape[axis]
        before, after = padded.take(range(n), axis), padded.take(range(2, n + 2), axis)
        surfaces = surfaces + np.float32(_BESIDE) * (before + after)
    return surfaces


def _peaks(surfaces: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the place of each surface's maximum, ``(gy, gx, 2)``, and its height in sigmas ``(gy, gx)``."""
    n_rows, n_columns, n, _ = surfaces.shape
    flat = surfaces.reshape(n_rows, n_columns, -1).astype(np.float64)
    spread = flat.std(axis=2)
    best = flat.argmax(axis=2)
    height = np.where(spread > 0, flat.max(axis=2) / np.maximum(spread, 1e-12), 0.0)
    places = np.stack(np.divmod(best, n), axis=2).astype(np.float64)
    for i, j in np.ndindex(n_rows, n_columns):
        y, x = int(places[i, j, 0]), int(places[i, j, 1])
        if 0 < y < n - 1 and 0 < x < n - 1:
            s = surfaces[i, j].astype(np.float64)
            places[i, j, 0] += _vertex(s[y - 1, x], s[y, x], s[y + 1, x])
            places[i, j, 1] += _vertex(s[y, x - 1], s[y, x], s[y, x + 1])
    return places - _REACH, height


def _vertex(before: float, at: float, after: float) -> float:
    """Return the place of the vertex of the parabola through three values at -1, 0, 1."""
    curvature = before - 2 * at + after
    return 0.0 if curvature >= 0 else 0.5 * (before - after) / curvature


def _smooth_shifts(shifts: NDArray[np.float64], height: NDArray[np.float64]) -> NDArray[np.float64]:
    """Average shifts over 3 x 3 tiles by the square of their peaks; weak tiles follow their neighbours."""
    weight = np.where(height >= _LEAST_PEAK, height**2, _WEAK)[..., None]
    total, norm = shifts * weight, weight.copy()
    for axis in (0, 1):
        edge = [(1, 1) if a == axis else (0, 0) for a in range(3)]
        n = shifts.shape[axis]
        for part in (total, norm):
            padded = np.pad(part, edge)
            part += _BESIDE * (padded.take(range(n), axis) + padded.take(range(2, n + 2), axis))
    result: NDArray[np.float64] = total / norm
    return result
