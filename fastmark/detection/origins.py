"""An image as it is: pilot and anchors at the 128 x 128 places that an image which was not cropped can have.

Its blocks start at unit (4, 4) of its own plane, so that its place is known but for whole blocks. The pilot
is tried at all of them by a transform of 128 x 128, and so are the anchors where it does not show.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastmark import fft
from fastmark.codec.carrier import Carrier
from fastmark.codec.tables import BLOCK, FIRST_ORIGIN, GRID, N_COEFFICIENTS, TORUS
from fastmark.detection import evidence
from fastmark.detection.course import step
from fastmark.detection.levels import PaddedSpectrum
from fastmark.detection.placement import (
    LOG_ORIGINS,
    LOG_OTHERS,
    PILOT_WEIGHT,
    PilotView,
    Placement,
    view_spectrum,
)
from fastmark.detection.scores import ScorePlanes
from fastmark.detection.soft_bits import ChipBlocks
from fastmark.kernels import chips as kernels
from fastmark.kernels import fourier as fourier_kernels

_BEHIND = 1  # blocks by which the first one lies behind the origin
# Standard deviations of the tones' power from which on the pilot chooses where anchors are asked.
_PILOT_SHOWS = 1.2
_PILOT_AGREES = 3.2
TONES_MISSING = -2.0
"""Standard deviations by which the tones' power is less than the noise's, where tones were taken out."""


@dataclass(frozen=True, slots=True)
class AsItIs:
    """What an image shows as it is.

    Attributes:
        z: of pilot and anchors together at the likeliest origin.
        placement: there.
        view: of the pilot, wherever the mark lies.
    """

    z: float
    placement: Placement
    view: PilotView

    def lies_beside(self) -> bool:
        """Return whether the pilot agrees better some units beside the place, by more than its noise.

        So it does where the image was cropped. Chips of a strong mark are read near their place too, and at
        some shifts with the other sign.
        """
        c = self.view.aligned(turned=False)
        near = np.arange(1 - BLOCK, BLOCK)
        rows, columns = (
            np.exp(-2j * np.pi / TORUS * np.multiply.outer(near - offset, frequencies))
            for offset, frequencies in zip(self.placement.offset, self.view.tones.T, strict=True)
        )
        totals = np.abs(((c * rows) @ columns.T).real)
        noise = math.sqrt(float(np.vdot(c, c).real) / 2)
        return bool(totals.max() > totals[BLOCK - 1, BLOCK - 1] + noise)


class Origins:
    """The chips of a plane as it is, and the spectrum that shows its tones: shared by all keys.

    Attributes:
        padded: spectrum of the plane's scores, in which the tones are seen.
        step: units to a sample of the scores, 1 or 2.
    """

    @step("chips")
    def __init__(self, planes: ScorePlanes, padded: PaddedSpectrum, step: int) -> None:
        """Transform the blocks of a plane; ``padded`` and they are of the scores at this step."""
        self.padded = padded
        self.step = step
        blocks = ChipBlocks.of(planes.weighted(step), step=step, first=FIRST_ORIGIN // step)
        self._statistics = blocks.coefficients
        if max(blocks.inside.shape) > GRID:
            self._statistics = np.zeros((N_COEFFICIENTS, GRID, GRID), np.float32)
            kernels.fold_chips(blocks.coefficients, blocks.inside, 0, 0, self._statistics)
        self._square = float(np.vdot(self._statistics, self._statistics))

    @step("image as it is", lambda shown, *_: shown)
    def place(self, carrier: Carrier) -> AsItIs:
        """Find the origin at which pilot and anchors together agree best.

        Both have independent keystreams; each is brought to unit variance, and their weighted mean is sought
        among the places where the pilot agrees by 3.2 standard deviations. Where the pilot does not show, as
        under much noise or where lines were taken out, anchors are asked everywhere.
        """
        view = view_spectrum(self.padded, np.eye(2), self.step, None, carrier).from_first_sample()
        c = view.aligned(turned=False)
        turned = c * np.exp(-2j * np.pi / TORUS * FIRST_ORIGIN * view.tones.sum(axis=1))
        spread = math.sqrt(max(float(np.vdot(c, c).real) / 2, 1e-12))
        pilot = (block_surface(turned, view.tones) / np.float32(spread)).ravel()
        size = np.abs(pilot)
        if view.excess >= _PILOT_SHOWS:
            asked = np.flatnonzero(size >= min(_PILOT_AGREES, float(size.max())))
            anchors = self._anchors_at(asked, carrier)
        else:
            asked, anchors = np.arange(size.size), self._anchors_everywhere(carrier)
        anchors /= math.sqrt(max(self._square * carrier.anchor_share, 1e-12))
        together = (PILOT_WEIGHT * pilot[asked] + anchors) / math.hypot(1.0, PILOT_WEIGHT)
        best = int(np.abs(together).argmax())
        z = float(together[best])
        origin = FIRST_ORIGIN + BLOCK * np.array(divmod(int(asked[best]), GRID), np.float64)
        sign = math.copysign(1.0, z)
        radii = np.abs(c)
        bound = evidence.phase_sum_bound(sign * view.total(c, origin), radii)
        trials = LOG_OTHERS if z < 0 else LOG_ORIGINS
        placement = Placement(np.eye(2), -origin, z < 0, radii.size, bound, trials)
        return AsItIs(abs(z), placement, view)

    @functools.cached_property
    def _spectra(self) -> list[NDArray[np.complex64]]:
        """``rfft2`` of the statistics, coefficient by coefficient: shared by all keys."""
        height, width = self._statistics.shape[1:]
        padded = np.zeros((GRID, GRID), np.float32)
        spectra = []
        for statistics in self._statistics:
            padded[:height, :width] = statistics
            spectra.append(fft.rfft2(padded))
        return spectra

    def _anchors_at(self, origins: NDArray[np.int64], carrier: Carrier) -> NDArray[np.float64]:
        """Return the anchors' sums at the origins of these numbers, row by row."""
        sums = np.empty(origins.size)
        places = (np.stack(np.divmod(origins, GRID), axis=1) + _BEHIND) % GRID
        kernels.sum_anchors(self._statistics, carrier.anchors, places, sums)
        return sums

    def _anchors_everywhere(self, carrier: Carrier) -> NDArray[np.float64]:
        """Return the anchors' sums at all origins, by transforms."""
        product = np.zeros((GRID, GRID // 2 + 1), np.complex64)
        for spectrum, waves in zip(self._spectra, carrier.anchor_waves, strict=True):
            fourier_kernels.add_correlation(spectrum, waves, product)
        surface = np.roll(fft.irfft2(product), (-_BEHIND, -_BEHIND), axis=(0, 1))
        return surface.ravel().astype(np.float64)


def block_surface(turned: NDArray[np.complex128], tones: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return ``Re sum c_i exp(-2 pi i f_i . (8 j) / 1024)`` at all shifts of whole blocks j.

    These are eight units apart, so that frequencies count modulo 128.

    Args:
        turned: complex128 ``(n,)``, the c of the tones.
        tones: int64 ``(n, 2)``, their frequencies, cycles per torus.

    Returns:
        float32 ``(128, 128)``.
    """
    spectrum = np.zeros((GRID, GRID), np.complex128)
    np.add.at(spectrum, tuple((tones % GRID).T), turned.conj())
    np.add.at(spectrum, tuple((-tones % GRID).T), turned)
    surface = fft.irfft2(spectrum[:, : GRID // 2 + 1].astype(np.complex64))
    return surface * np.float32(GRID * GRID / 2)
