"""Geometry -> place on the torus: resample to units, transform, correlate the pilot's phases.

``t`` are torus coordinates in units, (y, x) order; a placement says where on the plane each of them lies:
``matrix @ t + offset``, in samples.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fastmark import evidence, fft
from fastmark.carrier import BLOCK, TONE_COUNTS, TORUS, Carrier
from fastmark.kernels import spectrum as spectrum_kernels
from fastmark.kernels import warp as kernels
from fastmark.perception import Perception, Plane, scores
from fastmark.sync import WHITE_LIMIT, Matrix, reduce_plane

MAX_UNITS = 1536
"""Units a side that are looked at; the short side of a marked picture never has more than 1200."""

_TABLE = kernels.cubic_table()
_NO_FIELD = np.zeros((2, 2, 2), np.float32)
_TONE_LIMIT = 4.0
_BAND = 256  # bins; the tones end at 245
_REACH = 10.0
_FINE = 4  # places a unit, each way, at which the pilot's phases are compared
LOG_SHIFTS = float(np.log((_FINE * TORUS) ** 2 * 2 * 2))  # with the half turn, and with inversion


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the torus lies on a plane.

    Attributes:
        matrix, offset: float64 ``(2, 2)`` and ``(2,)``; sample ``matrix @ t + offset`` shows torus place ``t``.
        inverted: whether the picture's greys are turned round.
        n_tones: the prefix of the pilot's tones that the spectrum shows.
        log_p: bound on the chance of such agreement of phases, natural logarithm, the shifts, the half turn and
            the sign searched counted in.
    """

    matrix: Matrix
    offset: NDArray[np.float64]
    inverted: bool
    n_tones: int
    log_p: float


@dataclass(frozen=True, slots=True)
class UnitGrid:
    """A plane resampled to units.

    Attributes:
        origin: torus place of ``units[0, 0]`` (any representative).
        units: float32 ``(H, W)`` luma; beyond the plane its edge is repeated.
        inside: uint8 ``(H, W)``, 1 where the unit lies on the plane.
    """

    origin: tuple[int, int]
    units: Plane
    inside: NDArray[np.uint8]


def resample(
    plane: Plane, matrix: Matrix, offset: NDArray[np.float64], field: NDArray[np.float32] | None = None
) -> UnitGrid:
    """Resample ``plane`` to the units ``t`` for which ``matrix @ t + offset`` lies on it.

    The grid starts at a multiple of eight units, so that its 8 x 8 blocks are the torus' blocks; it is
    cut to the middle 1536 units. ``field``, float32 ``(gy, gx, 2)``, adds displacements in samples, at
    every ``unit size / (g - 1)``.
    """
    height, width = plane.shape
    rounded = np.rint(offset)
    if field is None and np.array_equal(matrix, np.eye(2)) and np.abs(offset - rounded).max() < 0.13:
        return _sliced(plane, rounded.astype(int))
    corners = np.array([(y, x) for y in (-0.5, height - 0.5) for x in (-0.5, width - 0.5)])
    places = (corners - offset) @ np.linalg.inv(matrix).T
    low, high = places.min(axis=0), places.max(axis=0)
    middle, span = (low + high) / 2, np.minimum(high - low, MAX_UNITS)
    start = np.floor((middle - span / 2) / BLOCK).astype(int) * BLOCK
    size = np.maximum(np.ceil((middle + span / 2 - start) / BLOCK).astype(int), 1) * BLOCK
    reduction = max(1, int(np.sqrt(abs(np.linalg.det(matrix))) + 0.35))
    source = reduce_plane(plane, reduction)
    at = (matrix @ start + offset - (reduction - 1) / 2) / reduction
    units = np.empty((size[0], size[1]), np.float32)
    inside = np.empty((size[0], size[1]), np.uint8)
    spacing = 1.0
    if field is None:
        field = _NO_FIELD
    else:
        field = field / np.float32(reduction)
        spacing = float(max(size[0] / (field.shape[0] - 1), size[1] / (field.shape[1] - 1)))
    kernels.warp_plane(source, _TABLE, matrix / reduction, at, field, spacing, units, inside)
    return UnitGrid((int(start[0]), int(start[1])), units, inside)


def _sliced(plane: Plane, offset: NDArray[np.int64]) -> UnitGrid:
    """The case that needs no interpolation: torus place t lies at sample t + offset."""
    # first torus place that is a multiple of eight and on the plane
    start = -(-(-offset) // BLOCK) * BLOCK
    y, x = start + offset
    units = plane[y:, x:]
    units = np.ascontiguousarray(units[:MAX_UNITS, :MAX_UNITS])
    return UnitGrid((int(start[0]), int(start[1])), units, np.ones(units.shape, np.uint8))


class TorusSpectrum:
    """The whitened picture folded onto the torus and transformed: what all keys share at one geometry."""

    def __init__(self, plane: Plane, matrix: Matrix) -> None:
        """Resample ``plane`` by ``matrix`` about its middle, whiten, fold, transform."""
        self.matrix = matrix
        centre = (np.array(plane.shape) - 1) / 2
        middle = TORUS // 2
        self.offset = centre - matrix @ np.array([middle, middle])
        if np.array_equal(matrix, np.eye(2)):
            self.offset = np.rint(self.offset)
        grid = resample(plane, matrix, self.offset)
        whitened = scores(grid.units) * Perception.of(grid.units).mask
        folded = np.zeros((TORUS, TORUS), np.float32)
        kernels.fold_torus(whitened, grid.inside, grid.origin[0], grid.origin[1], folded)
        self.spectrum = fft.rfft2(folded)
        self.level = _local_level(self.spectrum, int(grid.inside.sum()))

    def tones(self, carrier: Carrier) -> NDArray[np.complex128]:
        """Return the tones over the root of their local level, moduli at most 4: complex128 ``(384,)``."""
        fy, fx = carrier.tones[:, 0], carrier.tones[:, 1]
        flipped = fx < 0
        y, x = np.where(flipped, -fy, fy), np.abs(fx)
        values = self.spectrum[y, x].astype(np.complex128)
        values = np.where(flipped, np.conj(values), values)
        level = self.level[y % (2 * _BAND), x]
        values /= np.sqrt(np.maximum(level, 1e-12))
        modulus = np.abs(values)
        scaled: NDArray[np.complex128] = values * (_TONE_LIMIT / np.maximum(modulus, _TONE_LIMIT))
        return scaled

    def coherence(self, carrier: Carrier, n_tones: int, origin: tuple[int, int]) -> float:
        """Return the z of the tones' phases if the plane's first unit lies at torus place ``origin``."""
        values = self.tones(carrier)[:n_tones]
        # the grid took the plane's first unit for torus place -offset
        shift = np.array(origin) + self.offset
        angles = carrier.phases[:n_tones] + 2 * np.pi / TORUS * (carrier.tones[:n_tones] @ shift)
        total = float(np.sum(values * np.exp(-1j * angles)).real)
        return total / np.sqrt(max(float(np.sum(np.abs(values) ** 2)) / 2, 1e-12))

    def place(self, carrier: Carrier) -> Placement:
        """Find the shift at which the tones' phases agree best with the key's."""
        values = self.tones(carrier)
        n_tones, weights = _weigh(values, carrier)
        values = values[:n_tones] * weights
        tones, phases = carrier.tones[:n_tones], carrier.phases[:n_tones]
        best = (-np.inf, False, False, np.zeros(2))
        for turned in (False, True):
            c = (np.conj(values) if turned else values) * np.exp(-1j * phases)
            total, inverted, shift = _best_shift(c, tones)
            if total > best[0]:
                best = (total, turned, inverted, shift)
        total, turned, inverted, shift = best
        log_p = evidence.union_bound(evidence.phase_sum_bound(total, np.abs(values)), LOG_SHIFTS)
        matrix = -self.matrix if turned else self.matrix
        # Unit u of this grid (-u when turned) shows torus place u + shift.
        return Placement(matrix, self.offset - matrix @ shift, inverted, n_tones, log_p)


def _local_level(spectrum: NDArray[np.complex64], n_units: int) -> NDArray[np.float32]:
    """Local mean power of the band of the tones, lines left out: float32 ``(512, 257)``."""
    band = np.concatenate([spectrum[:_BAND, : _BAND + 1], spectrum[-_BAND:, : _BAND + 1]])
    power = band.real**2 + band.imag**2
    reach = int(min(_BAND // 4, round(_REACH * TORUS / np.sqrt(max(n_units, 1)))))
    level = np.empty_like(power)
    spectrum_kernels.local_mean(power, reach, level)
    np.minimum(power, np.float32(WHITE_LIMIT) * level, out=power)
    spectrum_kernels.local_mean(power, reach, level)
    return level


def _weigh(values: NDArray[np.complex128], carrier: Carrier) -> tuple[int, NDArray[np.float64]]:
    """Choose the prefix and weigh its tones by what the channel left at their radius: magnitudes only."""
    excess = np.minimum(np.abs(values) ** 2, WHITE_LIMIT) - 1
    scores = [excess[:count].sum() / np.sqrt(count) for count in TONE_COUNTS]
    n_tones = TONE_COUNTS[int(np.argmax(scores))]
    radius = np.log(np.hypot(carrier.tones[:n_tones, 0], carrier.tones[:n_tones, 1]))
    near = np.exp(-(((radius[:, None] - radius) / 0.2) ** 2))
    smooth = (near @ excess[:n_tones]) / near.sum(axis=1)
    return n_tones, np.sqrt(np.clip(smooth, 0.05, None))


def _best_shift(
    c: NDArray[np.complex128], tones: NDArray[np.int64]
) -> tuple[float, bool, NDArray[np.float64]]:
    """Maximise ``|Re sum c_i exp(-2 pi i f_i . o / 1024)|`` over o: (maximum, negative?, o)."""
    fy, fx = tones[:, 0], tones[:, 1]
    surface_spectrum = np.zeros((TORUS, TORUS // 2 + 1), np.complex64)
    right = fx >= 0
    surface_spectrum[fy[right], fx[right]] = np.conj(c[right])
    surface_spectrum[-fy[~right], -fx[~right]] = c[~right]
    surface = fft.irfft2(surface_spectrum)
    high, low = int(surface.argmax()), int(surface.argmin())
    inverted = bool(-surface.flat[low] > surface.flat[high])
    at = np.array(divmod(low if inverted else high, TORUS), np.float64)
    if inverted:
        c = -c
    steps = np.arange(-_FINE + 1, _FINE) / _FINE
    along_y = np.exp(-2j * np.pi / TORUS * np.outer(at[0] + steps, fy))
    along_x = np.exp(-2j * np.pi / TORUS * np.outer(at[1] + steps, fx))
    totals = ((along_y * c) @ along_x.T).real
    i, j = divmod(int(totals.argmax()), steps.size)
    return float(totals[i, j]), inverted, at + np.array([steps[i], steps[j]])


def moved(placement: Placement, shift: NDArray[np.float64]) -> Placement:
    """Return the placement with the torus moved by ``shift`` units."""
    return replace(placement, offset=placement.offset - placement.matrix @ shift)
