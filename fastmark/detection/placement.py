"""Geometry -> place on the torus: resample to units, transform, correlate the pilot's phases.

``t`` are torus coordinates in units, (y, x) order; a placement says where on the plane each of them lies:
``matrix @ t + offset``, in samples.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fastmark import fft
from fastmark.codec.carrier import BLOCK, TONE_COUNTS, TORUS, Carrier
from fastmark.codec.plane import Plane
from fastmark.detection import evidence
from fastmark.detection.noise import WHITE_LIMIT, NoiseLevel, power_spectrum, tukey
from fastmark.detection.resampling import resample
from fastmark.detection.scan import LARGE_PLANE, Candidate, Level, Matrix
from fastmark.detection.scores import ScorePlanes
from fastmark.kernels import resample as kernels
from fastmark.kernels import spectrum as spectrum_kernels

_TONE_LIMIT = 4.0
_REACH = 10.0
_NYQUIST = 0.49  # cycles a sample
# Nats by which whole shifts are preferred when a place is chosen, not when it is judged.
_WHOLE_BONUS = 6.0
STEP = 2
"""Units to a sample of the torus where the pilot is looked for: its tones end below a quarter of a cycle a
unit.
"""
_SIDE = TORUS // STEP
_MANY_TONES = (0.0, 0.4, 0.9, 1.4)  # sigmas by which more tones must stand out to be believed
_FINE = 4  # places a unit, each way, at which the pilot's phases are compared
_PILOT_WEIGHT = 1.5  # of the pilot beside the anchors: what is left of a blurred picture has no anchors
# Half of the false-positive rate is given to pictures neither turned by 180 degrees nor inverted, the
# other half to the three other cases; of a picture not resampled, half of the first half to its origins.
LOG_SHIFTS = float(np.log((_FINE * TORUS) ** 2))
LOG_ORIGINS = float(np.log((TORUS // BLOCK) ** 2 * 4))

_SINC = spectrum_kernels.sinc_table()


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
        matrix, offset: sample ``matrix @ t + offset`` of the plane is taken for torus place t.
        untouched: whether the geometry is the identity.
        step: units to a sample of the folded picture: 2 for large planes, else 1.
        spectrum: complex64 ``(1024 / step, 512 / step + 1)``; sample j is that at torus place ``step (j +
            1/2) - 1/2``.
        power: squared moduli of the band of the tones, float32 ``(512, 257)``; level: their local mean.
    """

    def __init__(self, planes: ScorePlanes, matrix: Matrix) -> None:
        """Resample the scores by ``matrix`` about the plane's middle, fold, transform."""
        self.matrix = matrix
        self.untouched = np.array_equal(matrix, np.eye(2))
        # NOTE: half resolution has the tones, but little more than half of what the anchors tell
        self.step = STEP if min(planes.shape) >= LARGE_PLANE else 1
        if self.untouched:
            self.offset = np.zeros(2)
            self._origin = (0, 0)
            self._scores = planes.weighted(self.step)
            self._inside = np.ones(self._scores.shape, np.uint8)
        else:
            # the middle of a picture of even sides lies between two units
            self.offset = (np.array(planes.shape) - 1) / 2 - matrix @ np.full(2, TORUS // 2 - 0.5)
            first = self.offset + matrix @ np.full(2, (self.step - 1) / 2)
            grid = resample(planes, self.step * matrix, first)
            self._origin, self._scores, self._inside = grid.origin, grid.scores, grid.inside
        self._transform(self._scores)

    def restricted(self, region: Region) -> TorusSpectrum:
        """Return the same with the picture beyond ``region`` left out."""
        other = copy.copy(self)
        other._transform(self._scores * _window(self._scores.shape, region))
        return other

    def _transform(self, plain: Plane) -> None:
        # NOTE: only a large picture's spectrum is scanned as well, and a window costs every tone a twentieth
        vertical, horizontal = (tukey(n) if self.step > 1 else np.ones(n, np.float32) for n in plain.shape)
        side = TORUS // self.step
        if self.untouched and max(plain.shape) <= side:
            self.spectrum = fft.rfft2_padded(plain, vertical, horizontal, (side, side))
            seen = plain.size if plain is self._scores else int(np.count_nonzero(plain))
        else:
            folded = np.zeros((side, side), np.float32)
            if self.untouched:
                plain = plain * vertical[:, None] * horizontal
            kernels.fold_torus(plain, self._inside, *self._origin, folded)
            self.spectrum = fft.rfft2(folded)
            seen = int(np.count_nonzero(plain))
        band = self.spectrum
        if self.step == 1:
            half = _SIDE // 2
            band = np.concatenate([band[:half, : half + 1], band[-half:, : half + 1]])
        reach = min(_SIDE // 8, _REACH * side / math.sqrt(max(seen, 1)))
        self.power = power_spectrum(band)
        self.level = NoiseLevel.of(self.power, reach, reach)

    def tones(self, carrier: Carrier) -> NDArray[np.complex128]:
        """Return the tones over the root of their local level, moduli at most 4: complex128 ``(384,)``."""
        fy, fx = carrier.tones[:, 0], carrier.tones[:, 1]
        flipped = fx < 0
        y, x = np.where(flipped, -fy, fy), np.abs(fx)
        values = self.spectrum[y, x].astype(np.complex128)
        values = np.where(flipped, np.conj(values), values)
        values /= np.sqrt(np.maximum(self.level.at(y, x), 1e-12))
        modulus = np.abs(values)
        if self.step > 1:  # the first sample does not lie at (0, 0)
            values *= np.exp(-1j * np.pi * (self.step - 1) / TORUS * (fy + fx))
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
        return place_tones(values, carrier, self.matrix, self.offset, self._first)

    @property
    def _first(self) -> NDArray[np.int64] | None:
        """The least origin of an uncropped picture, where this may be one."""
        return np.full(2, BLOCK // 2) if self.untouched else None

    def place_densely(
        self, carrier: Carrier, turns: Sequence[bool] = (False, True)
    ) -> tuple[float, Placement]:
        """Find the shift at which pilot and anchors together agree best: its z, and the placement.

        Both have independent keystreams; each is brought to unit variance, and their weighted mean is sought.
        ``turns``: whether pictures turned by 180 degrees are looked for.
        """
        values = self.tones(carrier)
        n_tones, weights = _weigh(values, carrier)
        values = values[:n_tones] * weights
        tones = carrier.tones[:n_tones]
        deviation = math.sqrt(max(float(np.sum(np.abs(values) ** 2)) / 2, 1e-12))
        norm = math.hypot(1.0, _PILOT_WEIGHT)
        n_places = (TORUS // self.step) ** 2
        half = 0.5 * n_places * _PILOT_WEIGHT / deviation
        dense = np.empty_like(self.spectrum)
        best: tuple[float, bool, bool, int] | None = None
        for turned in turns:
            pattern = carrier.anchor_spectrum(self.step)
            square = spectrum_kernels.correlate(self.spectrum, pattern, not turned, dense)
            spread = max(math.sqrt(2.0 * square) / n_places, 1e-12)
            c = _aligned(values, carrier, turned) * (half * spread)
            if turned:
                # NOTE: turned, the halves of a sample of both add up: anchors peak that much behind
                c *= np.exp(-2j * np.pi * (self.step - 1) / TORUS * tones.sum(axis=1))
            _add_tones(dense, c.conj(), tones)
            surface = fft.irfft2(dense)
            for inverted in (False, True):
                at = int(surface.argmin() if inverted else surface.argmax())
                z = float(surface.flat[at]) * (-1 if inverted else 1) / (norm * spread)
                if best is None or z > best[0]:
                    best = (z, turned, inverted, at)
        assert best is not None
        z, turned, inverted, at = best
        shift = self.step * np.array(divmod(at, TORUS // self.step), np.float64)
        if turned:
            shift += self.step - 1
        # NOTE: where every whole shift was tried, anchors tell them apart, and phases of a weak pilot would
        # undo it
        reach = STEP if self.step > 1 else 0 if self.untouched else 1
        peak = Peak(turned, inverted, shift, reach)
        if self._first is not None and not turned:
            origin = self._first + BLOCK * np.rint((shift - self._first) / BLOCK)
            if np.abs(origin - shift).max() <= reach:
                peak = replace(peak, origin=origin)
        return z, _settle([peak], values, carrier, self.matrix, self.offset, untouched=self.untouched)


def place_candidate(level: Level, candidate: Candidate, carrier: Carrier) -> Placement:
    """Find the best shift for a candidate from the scan: its tones' Fourier coefficients.

    They are taken at the tones' own frequencies. Nothing is resampled: a tone of a linearly
    distorted picture is still a tone.
    """
    count = candidate.n_tones
    factor, padded = level.factor, level.padded
    # cycles a sample of the level
    frequencies = carrier.tones[:count] / TORUS @ np.linalg.inv(candidate.matrix) * factor
    inside = np.abs(frequencies).max(axis=1) < _NYQUIST
    values = np.empty(count, np.complex128)
    spectrum_kernels.spectrum_at(
        padded.spectrum, *padded.size, np.where(inside[:, None], frequencies, 0), _SINC, values
    )
    n_rows, n_columns = padded.power.shape
    bins = np.rint(frequencies * (n_rows, 2 * (n_columns - 1))).astype(int)
    bins *= np.where(bins[:, 1:] < 0, -1, 1)
    values /= np.sqrt(np.maximum(padded.noise.at(bins[:, 0], np.minimum(bins[:, 1], n_columns - 1)), 1e-12))
    values *= inside * (_TONE_LIMIT / np.maximum(np.abs(values), _TONE_LIMIT))
    weights = _weights(values, carrier)
    middle = np.array(padded.corner) + (np.array(padded.size) - 1) / 2
    return place_tones(values * weights, carrier, candidate.matrix, middle * factor + (factor - 1) / 2, None)


@dataclass(frozen=True, slots=True)
class Peak:
    """A place where phases agree, or phases and anchors.

    Attributes:
        turned, inverted: whether the picture is turned by 180 degrees, or its greys turned round.
        shift: in units.
        reach: units from there, each way, within which phases may find a better one.
        origin: the shift of an uncropped picture, if one is near.
    """

    turned: bool
    inverted: bool
    shift: NDArray[np.float64]
    reach: int
    origin: NDArray[np.float64] | None = None


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
    peaks = []
    for turned in (False, True):
        surface = _shift_surface(_aligned(values, carrier, turned), carrier.tones[: values.size])
        high, low = int(surface.argmax()), int(surface.argmin())
        inverted = bool(-surface.flat[low] > surface.flat[high])
        at = STEP * np.array(divmod(low if inverted else high, surface.shape[1]), np.float64)
        origin = None if first is None or turned else _best_origin(surface, first)
        peaks.append(Peak(turned, inverted, at, STEP, origin))
    return _settle(peaks, values, carrier, matrix, offset, untouched=first is not None)


def _aligned(values: NDArray[np.complex128], carrier: Carrier, turned: bool) -> NDArray[np.complex128]:
    """Return the tones' values less the key's phases, of the picture or of the one turned by 180 degrees."""
    waves: NDArray[np.complex128] = np.exp(-1j * carrier.phases[: values.size])
    return (values.conj() if turned else values) * waves


def _settle(
    peaks: Sequence[Peak],
    values: NDArray[np.complex128],
    carrier: Carrier,
    matrix: Matrix,
    offset: NDArray[np.float64],
    *,
    untouched: bool,
) -> Placement:
    """Improve peaks to quarters of a unit, and return the likeliest of what that gives.

    Where the picture was not resampled, whole shifts and origins are tried too.
    """
    tones, radii = carrier.tones[: values.size], np.abs(values)
    square = max(float(radii @ radii), 1e-12)
    best: tuple[float, Placement, float] | None = None
    for peak in peaks:
        c = _aligned(values, carrier, peak.turned)
        signed = -c if peak.inverted else c
        total, shift = _refine_shift(signed, tones, peak.shift, peak.reach)
        trials = _log_trials(turned=peak.turned, inverted=peak.inverted, untouched=untouched)
        found = [(total, peak.inverted, shift, trials, 0.0)]
        if untouched:
            # A crop moves by whole units if k = 1: fractions are noise unless they fit much better.
            whole = np.rint(shift)
            found.append((_total(signed, tones, whole), peak.inverted, whole, trials, _WHOLE_BONUS))
        if peak.origin is not None:
            found.append((_total(c, tones, peak.origin), False, peak.origin, LOG_ORIGINS, _WHOLE_BONUS))
        for total, inverted, shift, log_trials, bonus in found:
            # the Gaussian bound orders places as the tighter one does, which costs a search
            likelihood = log_trials - bonus - math.copysign(total * total / square, total)
            if best is None or likelihood < best[0]:
                place = -matrix if peak.turned else matrix
                placement = Placement(place, offset - place @ shift, inverted, values.size, 0.0, log_trials)
                best = (likelihood, placement, total)
    assert best is not None
    _, placement, total = best
    return replace(placement, log_phases=evidence.phase_sum_bound(total, radii))


def _total(c: NDArray[np.complex128], tones: NDArray[np.int64], shift: NDArray[np.float64]) -> float:
    """Return ``Re sum c_i exp(-2 pi i f_i . o / 1024)`` at one shift o."""
    return float(np.sum(c * np.exp(-2j * np.pi / TORUS * (tones @ shift))).real)


def _best_origin(surface: NDArray[np.float32], first: NDArray[np.int64]) -> NDArray[np.float64]:
    """Maximise over the shifts ``first + 8 n``, those of a picture that was not cropped."""
    stride = BLOCK // STEP
    part = surface[first[0] // STEP :: stride, first[1] // STEP :: stride]
    place = np.array(divmod(int(part.argmax()), part.shape[1]), np.float64)
    return first + BLOCK * place


def _window(shape: tuple[int, ...], region: Region) -> NDArray[np.bool_]:
    """Return the mask of a region of a grid."""
    top, bottom, left, right = region
    y, x = (np.arange(shape[0]) + 0.5) / shape[0], (np.arange(shape[1]) + 0.5) / shape[1]
    return np.outer((y > top) & (y < bottom), (x > left) & (x < right))


def _weigh(values: NDArray[np.complex128], carrier: Carrier) -> tuple[int, NDArray[np.float64]]:
    """Choose the prefix and weigh its tones by what the channel left at their radius: magnitudes only.

    Few tones are preferred: where they are many the pilot is strong, and shows it.
    """
    excess = _excess(values)
    scores = [excess[:n].sum() / np.sqrt(n) - less for n, less in zip(TONE_COUNTS, _MANY_TONES, strict=True)]
    n_tones = TONE_COUNTS[int(np.argmax(scores))]
    return n_tones, _weights(values[:n_tones], carrier)


def _excess(values: NDArray[np.complex128]) -> NDArray[np.float64]:
    """Return the tones' power beyond that of the noise."""
    excess: NDArray[np.float64] = np.minimum(np.abs(values) ** 2, WHITE_LIMIT) - 1
    return excess


def _weights(values: NDArray[np.complex128], carrier: Carrier) -> NDArray[np.float64]:
    """Return the tones' weights: the root of the excess power of those of about the same radius."""
    smooth: NDArray[np.float64] = carrier.neighbours(values.size) @ _excess(values)
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
    spectrum = np.zeros((_SIDE, _SIDE // 2 + 1), np.complex64)
    _add_tones(spectrum, np.conj(c), tones)
    return fft.irfft2(spectrum)


def _refine_shift(
    c: NDArray[np.complex128], tones: NDArray[np.int64], at: NDArray[np.float64], reach: int
) -> tuple[float, NDArray[np.float64]]:
    """Maximise ``Re sum c_i exp(-2 pi i f_i . o / 1024)`` over shifts o, quarters of a unit.

    They are less than ``reach`` units from ``at``, each way.
    """
    n = max(reach * _FINE - 1, 0)
    steps = np.arange(-n, n + 1) / _FINE
    along_y = _waves(tones[:, 0], at[0] + steps[0], steps.size)
    along_x = _waves(tones[:, 1], at[1] + steps[0], steps.size)
    totals = ((along_y * c) @ along_x.T).real
    i, j = divmod(int(totals.argmax()), steps.size)
    return float(totals[i, j]), at + np.array([steps[i], steps[j]])


def _waves(frequencies: NDArray[np.int64], start: float, count: int) -> NDArray[np.complex128]:
    """Return ``exp(-2 pi i f o / 1024)`` at the shifts o = start, start + 1/4, ...: complex128 ``(count,
    n)``.
    """
    waves = np.empty((count, frequencies.size), np.complex128)
    waves[0] = np.exp(-2j * np.pi / TORUS * start * frequencies)
    turn = np.exp(-2j * np.pi / TORUS / _FINE * frequencies)
    for k in range(1, count):
        np.multiply(waves[k - 1], turn, out=waves[k])
    return waves
