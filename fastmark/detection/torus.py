"""The scores of a plane under one geometry, folded onto the torus and transformed; pilot and anchors in it.

``t`` are torus coordinates in units, (y, x) order; sample ``matrix @ t + offset`` of the plane shows ``t``.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fastmark import fft
from fastmark.codec.carrier import Carrier
from fastmark.codec.plane import Plane
from fastmark.codec.tables import TORUS
from fastmark.detection import evidence
from fastmark.detection.affine import Matrix, is_identity
from fastmark.detection.noise import PowerSpectrum, tukey
from fastmark.detection.placement import (
    PILOT_WEIGHT,
    SIDE,
    TONE_LIMIT,
    Peak,
    PilotView,
    Placement,
    add_tones,
    nearest_origin,
    place_pilot,
    settle,
    weigh,
)
from fastmark.detection.plan import HALF
from fastmark.detection.resampling import resample
from fastmark.detection.scores import ScorePlanes
from fastmark.kernels import fourier as fourier_kernels
from fastmark.kernels import resample as kernels

# The noise level is taken over ten bins of the image's own resolution either side, but never over more than
# an eighth of the band.
_WHITENING_REACH, _MOST_REACH = 10.0, SIDE // 8

Region = tuple[float, float, float, float]
"""Top, bottom, left, right, as shares of a grid."""


class TorusSpectrum:
    """The scored image folded onto the torus and transformed: shared by all keys at one geometry.

    Attributes:
        matrix, offset: sample ``matrix @ t + offset`` of the plane is taken for torus place t.
        is_identity: whether the geometry is the identity.
        step: units to a sample of the folded image: 2 for large planes, else 1.
        spectrum: complex64 ``(1024 / step, 512 / step + 1)``; sample j is that at torus place ``step (j +
            1/2) - 1/2``.
        power: of the band of the tones, ``(512, 257)``.
    """

    def __init__(self, planes: ScorePlanes, matrix: Matrix, step: int, weighted: Plane | None = None) -> None:
        """Resample the scores by ``matrix`` about the plane's middle, fold, transform.

        Args:
            planes: the plane's scores.
            matrix: from units to samples.
            step: see :attr:`fastmark.detection.plan.ScanPlan.step`; half resolution has the tones, but little
                more than half of what the anchors tell.
            weighted: the scores at this step, where they are at hand and nothing is resampled.
        """
        self.matrix = matrix
        self.is_identity = is_identity(matrix)
        self.step = step
        self._inside: NDArray[np.uint8] | None = None  # None: all of it
        if self.is_identity:
            self.offset = np.zeros(2)
            self._origin = (0, 0)
            self._scores = planes.weighted(step) if weighted is None else weighted
        else:
            # the middle of an image of even sides lies between two units
            self.offset = (np.array(planes.shape) - 1) / 2 - matrix @ np.full(2, TORUS // 2 - 0.5)
            first = self.offset + matrix @ np.full(2, (step - 1) / 2)
            grid = resample(planes, step * matrix, first)
            self._origin, self._scores, self._inside = grid.origin, grid.scores, grid.inside
        self._transform(self._scores)

    def restricted(self, region: Region) -> TorusSpectrum:
        """Return the same with the image beyond ``region`` left out."""
        other = copy.copy(self)
        other._transform(self._scores * _window(self._scores.shape, region))
        return other

    def _transform(self, plain: Plane) -> None:
        # NOTE: only a large image's spectrum is scanned as well, and a window costs every tone a twentieth
        vertical, horizontal = (tukey(n) if self.step > 1 else np.ones(n, np.float32) for n in plain.shape)
        side = TORUS // self.step
        if self.is_identity and max(plain.shape) <= side:
            self.spectrum = fft.rfft2_padded(plain, vertical, horizontal, (side, side))
            seen = plain.size if plain is self._scores else int(np.count_nonzero(plain))
        else:
            folded = np.zeros((side, side), np.float32)
            if self.is_identity:
                plain = plain * vertical[:, None] * horizontal
            inside = np.ones(plain.shape, np.uint8) if self._inside is None else self._inside
            kernels.fold_torus(plain, inside, *self._origin, folded)
            self.spectrum = fft.rfft2(folded)
            seen = int(np.count_nonzero(plain))
        band = self.spectrum
        if self.step == 1:
            half = SIDE // 2
            band = np.concatenate([band[:half, : half + 1], band[-half:, : half + 1]])
        reach = min(_MOST_REACH, _WHITENING_REACH * side / math.sqrt(max(seen, 1)))
        self.power = PowerSpectrum.of(band, reach, reach)

    def tones(self, carrier: Carrier) -> NDArray[np.complex128]:
        """Return the tones over the root of their local level, moduli at most 4: complex128 ``(384,)``."""
        fy, fx = carrier.tones[:, 0], carrier.tones[:, 1]
        flipped = fx < 0
        y, x = np.where(flipped, -fy, fy), np.abs(fx)
        values = self.spectrum[y, x].astype(np.complex128)
        values = np.where(flipped, np.conj(values), values)
        values /= np.sqrt(np.maximum(self.power.noise.at(y, x), 1e-12))
        modulus = np.abs(values)
        if self.step > 1:  # the first sample does not lie at (0, 0)
            values *= np.exp(-1j * np.pi * (self.step - 1) / TORUS * (fy + fx))
        scaled: NDArray[np.complex128] = values * (TONE_LIMIT / np.maximum(modulus, TONE_LIMIT))
        return scaled

    def coherence(self, carrier: Carrier, n_tones: int, origin: tuple[int, int]) -> float:
        """Return how much the tones' phases prove if the plane's first unit lies at ``origin``.

        That is minus the natural logarithm of the bound on their sum
        (:func:`fastmark.detection.evidence.phase_sum_bound`), at least 0.
        """
        view = self._view(carrier, self.tones(carrier)[:n_tones])
        # the grid took the plane's first unit for torus place -offset
        total = view.total(view.aligned(turned=False), np.array(origin) + self.offset)
        return -evidence.phase_sum_bound(total, np.abs(view.values))

    def place(self, carrier: Carrier) -> Placement:
        """Find the shift at which the tones' phases agree best with the key's."""
        return place_pilot(self._view(carrier, weigh(self.tones(carrier), carrier)))

    def place_densely(
        self, carrier: Carrier, turns: Sequence[bool] = (False, True)
    ) -> tuple[float, Placement]:
        """Find the shift at which pilot and anchors together agree best: its z, and the placement.

        Both have independent keystreams; each is brought to unit variance, and their weighted mean is sought.
        ``turns``: whether images turned by 180 degrees are looked for.
        """
        view = self._view(carrier, weigh(self.tones(carrier), carrier))
        deviation = math.sqrt(max(float(np.sum(np.abs(view.values) ** 2)) / 2, 1e-12))
        norm = math.hypot(1.0, PILOT_WEIGHT)
        n_places = (TORUS // self.step) ** 2
        half = 0.5 * n_places * PILOT_WEIGHT / deviation
        dense = np.empty_like(self.spectrum)
        best: tuple[float, bool, bool, int] | None = None
        for turned in turns:
            pattern = carrier.anchor_spectrum(self.step)
            square = fourier_kernels.correlate(self.spectrum, pattern, not turned, dense)
            spread = max(math.sqrt(2.0 * square) / n_places, 1e-12)
            c = view.aligned(turned=turned) * (half * spread)
            if turned:
                # NOTE: turned, the halves of a sample of both add up: anchors peak that much behind
                c *= np.exp(-2j * np.pi * (self.step - 1) / TORUS * view.tones.sum(axis=1))
            add_tones(dense, c.conj(), view.tones)
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
        reach = HALF if self.step > 1 else 0 if self.is_identity else 1
        peak = Peak(turned, inverted, shift, reach)
        if self.is_identity and not turned:
            origin = nearest_origin(shift)
            if np.abs(origin - shift).max() <= reach:
                peak = replace(peak, origin=origin)
        return z, settle([peak], view)

    def _view(self, carrier: Carrier, values: NDArray[np.complex128]) -> PilotView:
        return PilotView(values, carrier, self.matrix, self.offset, self.is_identity)


def _window(shape: tuple[int, ...], region: Region) -> NDArray[np.bool_]:
    """Return the mask of a region of a grid."""
    top, bottom, left, right = region
    y, x = (np.arange(shape[0]) + 0.5) / shape[0], (np.arange(shape[1]) + 0.5) / shape[1]
    return np.outer((y > top) & (y < bottom), (x > left) & (x < right))
