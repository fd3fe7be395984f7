"""Geometry -> place on the torus: resample to units, transform, correlate the pilot's phases.

``t`` are torus coordinates in units, (y, x) order; a placement says where on the plane each of them lies:
``matrix @ t + offset``, in samples.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fastmark import evidence, fft
from fastmark.carrier import BLOCK, TONE_COUNTS, TORUS, Carrier
from fastmark.kernels import warp as kernels
from fastmark.plane import Plane
from fastmark.scoring import ScorePlanes
from fastmark.sync import WHITE_LIMIT, Candidate, Level, Matrix, line_free_level
from fastmark.unitgrid import resample

_TONE_LIMIT = 4.0
_BAND = 256  # bins; the tones end at 245
_REACH = 10.0
_NYQUIST = 0.49  # cycles a sample
# Nats by which whole shifts are preferred when a place is chosen, not when it is judged.
_WHOLE_BONUS = 6.0
_COARSE = 2  # units between the shifts looked at first
_FINE = 4  # places a unit, each way, at which the pilot's phases are compared
# Half of the false-positive rate is given to pictures neither turned by 180 degrees nor inverted, the
# other half to the three other cases; of a picture not resampled, half of the first half to its origins.
LOG_SHIFTS = float(np.log((_FINE * TORUS) ** 2))
LOG_ORIGINS = float(np.log((TORUS // BLOCK) ** 2 * 4))


def _log_trials(*, turned: bool, inverted: bool, untouched: bool = False) -> float:
    """Return the logarithm of the price of a shift."""
    return LOG_SHIFTS + float(np.log(6 if turned or inverted else 4 if untouched else 2))


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the torus lies on a plane.

    Attributes:
        matrix, offset: float64 ``(2, 2)`` and ``(2,)``; sample ``matrix @ t + offset`` shows torus
            place ``t``.
        inverted: whether the picture's greys are turned round.
        n_tones: the prefix of the pilot's tones that the spectrum shows.
        log_phases: natural logarithm of the bound on the chance that the tones' phases agree so well here.
        log_trials: of the number of places (shifts, half turn, sign) among which this one was sought.
    """

    matrix: Matrix
    offset: NDArray[np.float64]
    inverted: bool
    n_tones: int
    log_phases: float
    log_trials: float

    @property
    def log_p(self) -> float:
        """The bound with the places paid for; it may exceed 0."""
        return self.log_phases + self.log_trials


Region = tuple[float, float, float, float]
"""Top, bottom, left, right, as shares of a grid."""


class TorusSpectrum:
    """The scored picture folded onto the torus and transformed: what all keys share at one geometry.

    Attributes:
        matrix, offset: where the grid's place (0, 0) lies on the plane; even numbers when nothing is
            resampled.
        untouched: whether the geometry is the identity.
        spectrum: complex64 ``(1024, 513)``.
        level: float32 ``(512, 257)``, local mean power over the band of the tones.
    """

    def __init__(self, planes: ScorePlanes, matrix: Matrix) -> None:
        """Resample the scores by ``matrix`` about the plane's middle, fold, transform."""
        self.matrix = matrix
        self.untouched = np.array_equal(matrix, np.eye(2))
        centre = (np.array(planes.shape) - 1) / 2
        self.offset = centre - matrix @ np.array([TORUS // 2, TORUS // 2])
        if self.untouched:
            self.offset = 2 * np.rint(self.offset / 2)
        self._grid = resample(planes, matrix, self.offset)
        self._transform(self._grid.scores)

    def restricted(self, region: Region) -> TorusSpectrum:
        """Return the same with the picture beyond ``region`` left out."""
        other = copy.copy(self)
        other._transform(self._grid.scores * _window(self._grid.scores.shape, region))
        return other

    def _transform(self, plain: Plane) -> None:
        folded = np.zeros((TORUS, TORUS), np.float32)
        kernels.fold_torus(plain, self._grid.inside, *self._grid.origin, folded)
        self.spectrum = fft.rfft2(folded)
        self.level = _local_level(self.spectrum, int(np.count_nonzero(plain)))

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
        """Return the nats of evidence in the tones' phases if the plane's first unit lies at ``origin``.

        That is minus the logarithm of the bound of :func:`fastmark.evidence.phase_sum_bound`, at least 0.
        """
        values = self.tones(carrier)[:n_tones]
        # the grid took the plane's first unit for torus place -offset
        shift = np.array(origin) + self.offset
        c = values * np.exp(-1j * carrier.phases[:n_tones])
        return -evidence.phase_sum_bound(_total(c, carrier.tones[:n_tones], shift), np.abs(values))

    def place(self, carrier: Carrier) -> Placement:
        """Find the shift at which the tones' phases agree best with the key's."""
        values = self.tones(carrier)
        n_tones, weights = _weigh(values, carrier)
        values = values[:n_tones] * weights
        first = ((self.offset + BLOCK // 2) % BLOCK).astype(int) if self.untouched else None
        return place_tones(values, carrier, self.matrix, self.offset, first)

    def place_densely(self, carrier: Carrier) -> tuple[float, Placement]:
        """Find the shift at which pilot and anchors together agree best: its z, and the placement.

        Both have independent keystreams; each is brought to unit variance, and their mean is sought.
        """
        values = self.tones(carrier)
        n_tones, weights = _weigh(values, carrier)
        values = values[:n_tones] * weights
        tones, phases = carrier.tones[:n_tones], carrier.phases[:n_tones]
        deviation = np.sqrt(max(float(np.sum(np.abs(values) ** 2)) / 2, 1e-12))
        best = (-np.inf, False, False, np.zeros(2))
        for turned in (False, True):
            c = (np.conj(values) if turned else values) * np.exp(-1j * phases)
            pattern = carrier.anchor_spectrum
            dense = (self.spectrum if turned else np.conj(self.spectrum)) * pattern
            spread = np.sqrt(2.0 * float(np.vdot(dense, dense).real)) / (TORUS * TORUS)
            dense *= np.float32(np.sqrt(0.5) / max(spread, 1e-12))
            half = 0.5 * TORUS * TORUS * np.sqrt(0.5) / deviation
            _add_tones(dense, np.conj(c) * half, tones)
            surface = fft.irfft2(dense)
            for inverted in (False, True):
                at = int(surface.argmin() if inverted else surface.argmax())
                z = float(-surface.flat[at] if inverted else surface.flat[at])
                if z > best[0]:
                    best = (z, turned, inverted, np.array(divmod(at, TORUS), np.float64))
        z, turned, inverted, shift = best
        c = (np.conj(values) if turned else values) * np.exp(-1j * phases) * (-1 if inverted else 1)
        if not self.untouched:
            shift = _refine_shift(c, tones, shift, 1)[1]
        log_phases = evidence.phase_sum_bound(_total(c, tones, shift), np.abs(values))
        trials = _log_trials(turned=turned, inverted=inverted, untouched=self.untouched)
        placement = _placed(self.matrix, self.offset, shift, turned, inverted, n_tones, log_phases, trials)
        return z, placement


def place_candidate(level: Level, candidate: Candidate, carrier: Carrier) -> Placement:
    """Find the best shift for a candidate from the scan: its tones' Fourier coefficients.

    They are taken at the tones' own frequencies. Nothing is resampled: a tone of a linearly
    distorted picture is still a tone.
    """
    count = candidate.n_tones
    factor = level.factor
    centre = (np.array(level.shape) * factor - 1) / 2
    # cycles a sample of the plane
    frequencies = carrier.tones[:count] / TORUS @ np.linalg.inv(candidate.matrix)
    inside = np.abs(frequencies * factor).max(axis=1) < _NYQUIST
    waves = []
    for axis in (0, 1):
        at = (level.corner[axis] + np.arange(level.windowed.shape[axis])) * factor
        at = at + (factor - 1) / 2 - centre[axis]
        waves.append(np.exp(-2j * np.pi * np.outer(frequencies[:, axis], at)).astype(np.complex64))
    rows = np.concatenate([waves[0].real, waves[0].imag]) @ level.windowed
    values = np.einsum("ij,ij->i", rows[:count] + 1j * rows[count:], waves[1]).astype(np.complex128)
    bins = np.rint(frequencies * factor * level.power.shape[0]).astype(int)
    bins *= np.where(bins[:, 1:] < 0, -1, 1)
    power = level.power[bins[:, 0] % level.power.shape[0], np.minimum(bins[:, 1], level.power.shape[1] - 1)]
    values /= np.sqrt(np.maximum(power, 1e-12))
    values *= inside * (_TONE_LIMIT / np.maximum(np.abs(values), _TONE_LIMIT))
    weights = _weights(values, carrier)
    return place_tones(values * weights, carrier, candidate.matrix, centre, None)


def place_tones(
    values: NDArray[np.complex128],
    carrier: Carrier,
    matrix: Matrix,
    offset: NDArray[np.float64],
    first: NDArray[np.int64] | None,
) -> Placement:
    """Find the shift at which the tones' phases agree best with the key's.

    Args:
        values: complex128 ``(n,)``, the first n tones' coefficients of a picture on a grid of units,
            weighted.
        carrier: of the key.
        matrix: of the grid on the plane, ``(2, 2)``.
        offset: of the grid's place (0, 0), samples.
        first: the least shifts, even, of a picture that was not cropped, where origins are to be tried
            apart.
    """
    n_tones = values.size
    tones, phases = carrier.tones[:n_tones], carrier.phases[:n_tones]
    radii = np.abs(values)
    placements = []
    for turned in (False, True):
        c = (np.conj(values) if turned else values) * np.exp(-1j * phases)
        surface = _shift_surface(c, tones)
        total, inverted, shift = _best_shift(surface, c, tones)
        trials = _log_trials(turned=turned, inverted=inverted, untouched=first is not None)
        found = [(total, inverted, shift, trials)]
        if first is not None:
            # A crop moves by whole units if k = 1: fractions are noise unless they fit much better.
            whole = np.rint(shift)
            found.append(
                (_total(-c if inverted else c, tones, whole), inverted, whole, trials - _WHOLE_BONUS)
            )
            if not turned:
                found.append((*_best_origin(surface, c, tones, first), LOG_ORIGINS - _WHOLE_BONUS))
        for total, inverted, shift, log_trials in found:
            log_phases = evidence.phase_sum_bound(total, radii)
            placements.append(
                _placed(matrix, offset, shift, turned, inverted, n_tones, log_phases, log_trials)
            )
    best = min(placements, key=lambda placement: placement.log_p)
    if first is not None and np.array_equal(best.offset, np.rint(best.offset)):
        best = replace(best, log_trials=best.log_trials + _WHOLE_BONUS)
    return best


def _total(c: NDArray[np.complex128], tones: NDArray[np.int64], shift: NDArray[np.float64]) -> float:
    """Return ``Re sum c_i exp(-2 pi i f_i . o / 1024)`` at one shift o."""
    return float(np.sum(c * np.exp(-2j * np.pi / TORUS * (tones @ shift))).real)


def _placed(
    matrix: Matrix,
    offset: NDArray[np.float64],
    shift: NDArray[np.float64],
    turned: bool,
    inverted: bool,
    n_tones: int,
    log_phases: float,
    log_trials: float,
) -> Placement:
    """Place the torus so that unit u of the grid (-u when turned) shows u + shift."""
    if turned:
        matrix = -matrix
    return Placement(matrix, offset - matrix @ shift, inverted, n_tones, log_phases, log_trials)


def _best_origin(
    surface: NDArray[np.float32],
    c: NDArray[np.complex128],
    tones: NDArray[np.int64],
    first: NDArray[np.int64],
) -> tuple[float, bool, NDArray[np.float64]]:
    """Maximise over the shifts ``first + 8 n``, those of a picture that was not cropped."""
    stride = BLOCK // _COARSE
    part = surface[first[0] // _COARSE :: stride, first[1] // _COARSE :: stride]
    at = first + BLOCK * np.array(divmod(int(part.argmax()), part.shape[1]))
    return _total(c, tones, at), False, at.astype(np.float64)


def _window(shape: tuple[int, ...], region: Region) -> NDArray[np.bool_]:
    """Return the mask of a region of a grid."""
    top, bottom, left, right = region
    y, x = (np.arange(shape[0]) + 0.5) / shape[0], (np.arange(shape[1]) + 0.5) / shape[1]
    return np.outer((y > top) & (y < bottom), (x > left) & (x < right))


def _local_level(spectrum: NDArray[np.complex64], n_units: int) -> NDArray[np.float32]:
    """Local mean power of the band of the tones, lines left out: float32 ``(512, 257)``."""
    band = np.concatenate([spectrum[:_BAND, : _BAND + 1], spectrum[-_BAND:, : _BAND + 1]])
    power: NDArray[np.float32] = band.real**2 + band.imag**2
    reach = min(_BAND // 4, round(_REACH * TORUS / math.sqrt(max(n_units, 1))))
    return line_free_level(power, reach)


def _weigh(values: NDArray[np.complex128], carrier: Carrier) -> tuple[int, NDArray[np.float64]]:
    """Choose the prefix and weigh its tones by what the channel left at their radius: magnitudes only."""
    excess = _excess(values)
    scores = [excess[:count].sum() / np.sqrt(count) for count in TONE_COUNTS]
    n_tones = TONE_COUNTS[int(np.argmax(scores))]
    return n_tones, _weights(values[:n_tones], carrier)


def _excess(values: NDArray[np.complex128]) -> NDArray[np.float64]:
    """Return the tones' power beyond that of the noise."""
    excess: NDArray[np.float64] = np.minimum(np.abs(values) ** 2, WHITE_LIMIT) - 1
    return excess


def _weights(values: NDArray[np.complex128], carrier: Carrier) -> NDArray[np.float64]:
    """Return the tones' weights: the root of the excess power of those of about the same radius."""
    n_tones = values.size
    excess = _excess(values)
    radius = np.log(np.hypot(carrier.tones[:n_tones, 0], carrier.tones[:n_tones, 1]))
    near = np.exp(-(((radius[:, None] - radius) / 0.2) ** 2))
    smooth: NDArray[np.float64] = (near @ excess) / near.sum(axis=1)
    return np.sqrt(np.clip(smooth, 0.05, None))


def _add_tones(
    spectrum: NDArray[np.complex64], values: NDArray[np.complex128], tones: NDArray[np.int64]
) -> None:
    """Add one value a tone to half a spectrum ``(N, N // 2 + 1)``."""
    fy, fx = tones[:, 0], tones[:, 1]
    right = fx >= 0
    spectrum[fy[right], fx[right]] += values[right]
    spectrum[-fy[~right], -fx[~right]] += np.conj(values[~right])


def _shift_surface(c: NDArray[np.complex128], tones: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return ``Re sum c_i exp(-2 pi i f_i . o / 1024)``, but for a factor, at all even shifts o.

    float32 ``(512, 512)``. The tones end below a quarter of a cycle a unit, so nothing is lost between.
    """
    n = TORUS // _COARSE
    spectrum = np.zeros((n, n // 2 + 1), np.complex64)
    _add_tones(spectrum, np.conj(c), tones)
    return fft.irfft2(spectrum)


def _best_shift(
    surface: NDArray[np.float32], c: NDArray[np.complex128], tones: NDArray[np.int64]
) -> tuple[float, bool, NDArray[np.float64]]:
    """Maximise the modulus of the surface, to a quarter of a unit: (maximum, negative?, shift)."""
    high, low = int(surface.argmax()), int(surface.argmin())
    inverted = bool(-surface.flat[low] > surface.flat[high])
    at = _COARSE * np.array(divmod(low if inverted else high, surface.shape[1]), np.float64)
    total, shift = _refine_shift(-c if inverted else c, tones, at, _COARSE)
    return total, inverted, shift


def _refine_shift(
    c: NDArray[np.complex128], tones: NDArray[np.int64], at: NDArray[np.float64], reach: int
) -> tuple[float, NDArray[np.float64]]:
    """Maximise ``Re sum c_i exp(-2 pi i f_i . o / 1024)`` over shifts o, quarters of a unit.

    They are less than ``reach`` units from ``at``, each way.
    """
    n = reach * _FINE - 1
    steps = np.arange(-n, n + 1) / _FINE
    along_y = np.exp(-2j * np.pi / TORUS * np.outer(at[0] + steps, tones[:, 0]))
    along_x = np.exp(-2j * np.pi / TORUS * np.outer(at[1] + steps, tones[:, 1]))
    totals = ((along_y * c) @ along_x.T).real
    i, j = divmod(int(totals.argmax()), steps.size)
    return float(totals[i, j]), at + np.array([steps[i], steps[j]])
