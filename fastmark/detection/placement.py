"""Geometry -> place on the torus: correlate the pilot's phases with the key's.

``t`` are torus coordinates in units, (y, x) order; a placement says where on the plane each of them lies:
``matrix @ t + offset``, in samples.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fastmark import fft
from fastmark.codec.carrier import Carrier
from fastmark.codec.tables import BLOCK, FIRST_ORIGIN, TONE_COUNTS, TORUS
from fastmark.detection import evidence
from fastmark.detection.affine import Matrix
from fastmark.detection.levels import PaddedSpectrum
from fastmark.detection.noise import WHITE_LIMIT
from fastmark.detection.plan import HALF
from fastmark.detection.scan import Candidate
from fastmark.kernels import fourier as kernels

TONE_LIMIT = 4.0
"""Most that one tone counts, in roots of its noise level."""

SIDE = TORUS // HALF
"""Shifts each way among which the pilot is placed first: as its tones end below a quarter of a cycle per
unit, nothing is lost between even shifts.
"""

_NYQUIST = 0.49  # cycles per sample
_MANY_TONES = (0.0, 0.4, 0.9, 1.4)  # sigmas by which more tones must stand out to be believed
_LEAST_EXCESS = 0.05  # of the noise's power: where nothing of the tones can be seen they still count a little
_FINE = 4  # places per unit, each way, at which the pilot's phases are compared
# Natural logarithm by which whole shifts are preferred when a place is chosen, not when it is judged.
_WHOLE_BONUS = 6.0
# Half of the false-positive rate is given to images neither turned by 180 degrees nor inverted, the other
# half to the three other cases; of an image not resampled, half of the first half to its origins.
LOG_SHIFTS = float(np.log((_FINE * TORUS) ** 2))
LOG_ORIGINS = float(np.log((TORUS // BLOCK) ** 2 * 4))
LOG_OTHERS = LOG_SHIFTS + float(np.log(6))

PILOT_WEIGHT = 1.5
"""Weight of the pilot's z beside the anchors': a blurred image keeps no anchors."""

_SINC = kernels.sinc_table()


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the torus lies on a plane.

    Attributes:
        matrix, offset: float64 ``(2, 2)`` and ``(2,)``; sample ``matrix @ t + offset`` shows torus
            place ``t``.
        inverted: whether the image's greys are turned round.
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


@dataclass(frozen=True)
class PilotView:
    """A key's pilot as one geometry shows it.

    Attributes:
        values: complex128 ``(n,)``, coefficients of the first n tones on a grid of units.
        carrier: of the key.
        matrix, offset: of the grid; sample ``matrix @ t + offset`` of the plane is taken for torus place t.
        is_identity: whether the plane was not resampled, so that whole shifts are likely, and the origins of
            an image that was not cropped are tried apart.
        excess: power of the tones beyond that of the noise, in standard deviations, of the prefix that shows
            most; 0 where it was not asked for.
    """

    values: NDArray[np.complex128]
    carrier: Carrier
    matrix: Matrix
    offset: NDArray[np.float64]
    is_identity: bool
    excess: float = 0.0

    @functools.cached_property
    def tones(self) -> NDArray[np.int64]:
        """Frequencies ``(n, 2)`` of the tones, cycles per torus."""
        return self.carrier.tones[: self.values.size]

    @functools.cached_property
    def _waves(self) -> NDArray[np.complex128]:
        waves: NDArray[np.complex128] = np.exp(-1j * self.carrier.phases[: self.values.size])
        return waves

    def aligned(self, *, turned: bool) -> NDArray[np.complex128]:
        """Return the values less the key's phases, of the image or of the one turned by 180 degrees."""
        return (self.values.conj() if turned else self.values) * self._waves

    def from_first_sample(self) -> PilotView:
        """Return the same of a plane that was not resampled, with its first sample in place of ``offset``."""
        values = self.values * np.exp(-2j * np.pi / TORUS * (self.tones @ self.offset))
        return replace(self, values=values, offset=np.zeros(2), is_identity=True)

    def total(self, c: NDArray[np.complex128], shift: NDArray[np.float64]) -> float:
        """Return ``Re sum c_i exp(-2 pi i f_i . o / 1024)`` at one shift o, units."""
        return float(np.sum(c * np.exp(-2j * np.pi / TORUS * (self.tones @ shift))).real)


@dataclass(frozen=True, slots=True)
class Peak:
    """A place where phases agree, or phases and anchors.

    Attributes:
        turned, inverted: whether the image is turned by 180 degrees, or its greys turned round.
        shift: in units.
        reach: units from there, each way, within which phases may find a better one.
        origin: the shift of an uncropped image, if one is near.
    """

    turned: bool
    inverted: bool
    shift: NDArray[np.float64]
    reach: int
    origin: NDArray[np.float64] | None = None


def view_candidate(candidate: Candidate, carrier: Carrier) -> PilotView:
    """Return the Fourier coefficients of a candidate's tones, weighted, on a grid from the plane's middle."""
    level = candidate.level
    return view_spectrum(level.padded, candidate.matrix, level.plan.factor, candidate.n_tones, carrier)


def view_spectrum(
    padded: PaddedSpectrum, matrix: Matrix, factor: int, n_tones: int | None, carrier: Carrier
) -> PilotView:
    """Return the Fourier coefficients of tones, weighted, on a grid from the plane's middle.

    They are taken at the tones' own frequencies. Nothing is resampled: a tone of a linearly distorted image
    is still a tone.

    Args:
        padded: spectrum of the plane's scores, ``factor`` samples of the plane to one of theirs.
        matrix: from units to samples of the plane.
        factor: 1 for the plane itself.
        n_tones: the prefix of the pilot; None for the one that stands out most.
        carrier: of the key.
    """
    # cycles per sample of the level
    frequencies = carrier.tones[:n_tones] / TORUS @ np.linalg.inv(matrix) * factor
    inside = np.abs(frequencies).max(axis=1) < _NYQUIST
    values = np.empty(len(frequencies), np.complex128)
    kernels.spectrum_at(
        padded.spectrum, *padded.size, np.where(inside[:, None], frequencies, 0), _SINC, values
    )
    n_rows, n_columns = padded.spectrum.shape
    bins = np.rint(frequencies * (n_rows, 2 * (n_columns - 1))).astype(int)
    bins *= np.where(bins[:, 1:] < 0, -1, 1)
    noise = padded.power.noise.at(bins[:, 0], np.minimum(bins[:, 1], n_columns - 1))
    values /= np.sqrt(np.maximum(noise, 1e-12))
    values *= inside * (TONE_LIMIT / np.maximum(np.abs(values), TONE_LIMIT))
    middle = np.array(padded.corner) + (np.array(padded.size) - 1) / 2
    offset = middle * factor + (factor - 1) / 2
    if n_tones is not None:
        return PilotView(values * _weights(values, carrier), carrier, matrix, offset, False)
    shown = _excess(values)
    most = max(float(shown[:n].sum()) / math.sqrt(n) for n in TONE_COUNTS)
    return PilotView(weigh(values, carrier), carrier, matrix, offset, False, most)


def place_candidate(candidate: Candidate, carrier: Carrier) -> Placement:
    """Find the best shift for a candidate from the scan."""
    return place_pilot(view_candidate(candidate, carrier))


def place_pilot(view: PilotView, turns: Sequence[bool] = (False, True)) -> Placement:
    """Find the shift at which the tones' phases agree best with the key's, of weighted values.

    ``turns``: whether images turned by 180 degrees are looked for.
    """
    peaks = []
    for turned in turns:
        surface = _shift_surface(view.aligned(turned=turned), view.tones)
        high, low = int(surface.argmax()), int(surface.argmin())
        inverted = bool(-surface.flat[low] > surface.flat[high])
        at = HALF * np.array(divmod(low if inverted else high, surface.shape[1]), np.float64)
        origin = _best_origin(surface) if view.is_identity and not turned else None
        peaks.append(Peak(turned, inverted, at, HALF, origin))
    return settle(peaks, view)


def settle(peaks: Sequence[Peak], view: PilotView) -> Placement:
    """Improve peaks to quarters of a unit, and return the likeliest of what that gives.

    Where the image was not resampled, whole shifts and origins are tried too.
    """
    radii = np.abs(view.values)
    square = max(float(radii @ radii), 1e-12)
    best: tuple[float, Placement, float] | None = None
    for peak in peaks:
        c = view.aligned(turned=peak.turned)
        signed = -c if peak.inverted else c
        total, shift = _refine_shift(signed, view.tones, peak.shift, peak.reach)
        trials = _log_trials(peak, is_identity=view.is_identity)
        found = [(total, peak.inverted, shift, trials, 0.0)]
        if view.is_identity:
            # A crop moves by whole units if k = 1: fractions are noise unless they fit much better.
            whole = np.rint(shift)
            found.append((view.total(signed, whole), peak.inverted, whole, trials, _WHOLE_BONUS))
        if peak.origin is not None:
            found.append((view.total(c, peak.origin), False, peak.origin, LOG_ORIGINS, _WHOLE_BONUS))
        for total, inverted, shift, log_trials, bonus in found:
            # the Gaussian bound orders places as the tighter one does, which costs a search
            likelihood = log_trials - bonus - math.copysign(total * total / square, total)
            if best is None or likelihood < best[0]:
                place = -view.matrix if peak.turned else view.matrix
                offset = view.offset - place @ shift
                placement = Placement(place, offset, inverted, radii.size, 0.0, log_trials)
                best = (likelihood, placement, total)
    assert best is not None
    _, placement, total = best
    return replace(placement, log_phases=evidence.phase_sum_bound(total, radii))


def nearest_origin(shift: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the origin of an image that was not cropped nearest to a shift, units."""
    origin: NDArray[np.float64] = FIRST_ORIGIN + BLOCK * np.rint((shift - FIRST_ORIGIN) / BLOCK)
    return origin


def weigh(values: NDArray[np.complex128], carrier: Carrier) -> NDArray[np.complex128]:
    """Choose a prefix of all tones, and weigh it by what the channel left at each radius: magnitudes only.

    Few tones are preferred: where they are many the pilot is strong, and shows it.
    """
    excess = _excess(values)
    scores = [excess[:n].sum() / np.sqrt(n) - less for n, less in zip(TONE_COUNTS, _MANY_TONES, strict=True)]
    prefix = values[: TONE_COUNTS[int(np.argmax(scores))]]
    return prefix * _weights(prefix, carrier)


def add_tones(
    spectrum: NDArray[np.complex64], values: NDArray[np.complex128], tones: NDArray[np.int64]
) -> None:
    """Add one value per tone to half a spectrum ``(N, N // 2 + 1)``."""
    fy, fx = tones[:, 0], tones[:, 1]
    right = fx >= 0
    spectrum[fy[right], fx[right]] += values[right]
    spectrum[-fy[~right], -fx[~right]] += np.conj(values[~right])


def _log_trials(peak: Peak, *, is_identity: bool) -> float:
    """Return the logarithm of the number of shifts, over their share of the false-positive rate."""
    return LOG_SHIFTS + float(np.log(6 if peak.turned or peak.inverted else 4 if is_identity else 2))


def _best_origin(surface: NDArray[np.float32]) -> NDArray[np.float64]:
    """Maximise over the shifts of an image that was not cropped."""
    part = surface[FIRST_ORIGIN // HALF :: BLOCK // HALF, FIRST_ORIGIN // HALF :: BLOCK // HALF]
    place = np.array(divmod(int(part.argmax()), part.shape[1]), np.float64)
    return FIRST_ORIGIN + BLOCK * place


def _excess(values: NDArray[np.complex128]) -> NDArray[np.float64]:
    """Return the tones' power beyond that of the noise."""
    excess: NDArray[np.float64] = np.minimum(np.abs(values) ** 2, WHITE_LIMIT) - 1
    return excess


def _weights(values: NDArray[np.complex128], carrier: Carrier) -> NDArray[np.float64]:
    """Return the tones' weights: the root of the excess power of those of about the same radius."""
    smooth: NDArray[np.float64] = carrier.neighbours(values.size) @ _excess(values)
    return np.sqrt(np.clip(smooth, _LEAST_EXCESS, None))


def _shift_surface(c: NDArray[np.complex128], tones: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return ``Re sum c_i exp(-2 pi i f_i . o / 1024)``, but for a factor, at all even shifts o.

    float32 ``(512, 512)``.
    """
    spectrum = np.zeros((SIDE, SIDE // 2 + 1), np.complex64)
    add_tones(spectrum, np.conj(c), tones)
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
    """Return ``exp(-2 pi i f o / 1024)`` at the shifts o = start, start + 1/4, ...: ``(count, n)``."""
    waves = np.empty((count, frequencies.size), np.complex128)
    waves[0] = np.exp(-2j * np.pi / TORUS * start * frequencies)
    turn = np.exp(-2j * np.pi / TORUS / _FINE * frequencies)
    for k in range(1, count):
        np.multiply(waves[k - 1], turn, out=waves[k])
    return waves
