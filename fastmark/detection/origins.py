"""An image as it is: pilot and anchors at the 128 x 128 places that an image which was not cropped can have.

Its blocks start at unit (4, 4) of its own plane, so that its place is known but for whole blocks. All places
are tried by transforms of 128 x 128, and each key adds no more than two of them.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from fastmark import fft
from fastmark.codec.carrier import Carrier
from fastmark.codec.tables import BLOCK, GRID, N_COEFFICIENTS, TORUS
from fastmark.detection import evidence
from fastmark.detection.levels import PaddedSpectrum
from fastmark.detection.placement import LOG_ORIGINS, LOG_OTHERS, PILOT_WEIGHT, Placement, view_spectrum
from fastmark.detection.scores import ScorePlanes
from fastmark.detection.soft_bits import ChipBlocks
from fastmark.kernels import chips as kernels
from fastmark.kernels import fourier as fourier_kernels

FIRST_ORIGIN = BLOCK // 2
"""Least origin each way: the plane's blocks start at unit (4, 4)."""


class OriginSpectra:
    """The chips of a plane as it is, folded onto the torus' blocks and transformed: shared by all keys.

    Attributes:
        padded: spectrum of the plane's scores, in which the tones are seen.
        step: units to a sample of the scores, 1 or 2.
    """

    def __init__(self, planes: ScorePlanes, padded: PaddedSpectrum, step: int) -> None:
        """Transform the chips of a plane; ``padded`` and they are of the scores at this step."""
        self.padded = padded
        self.step = step
        blocks = ChipBlocks.of(planes.weighted(step), step=step, first=FIRST_ORIGIN // step)
        self._spectra = np.empty((N_COEFFICIENTS, GRID, GRID // 2 + 1), np.complex64)
        self._square = 0.0
        # coefficient by coefficient, which stays in a core's cache
        for c in range(N_COEFFICIENTS):
            folded = np.zeros((1, GRID, GRID), np.float32)
            # the first block lies one block behind the origin
            kernels.fold_chips(blocks.coefficients[c : c + 1], blocks.inside, 1, 1, folded)
            self._spectra[c] = fft.rfft2(folded[0])
            self._square += float(np.vdot(folded, folded))

    def place(self, carrier: Carrier) -> tuple[float, Placement]:
        """Find the origin at which pilot and anchors together agree best: its z, and the placement.

        Both have independent keystreams; each is brought to unit variance, and their weighted mean is sought.
        """
        view = view_spectrum(self.padded, np.eye(2), self.step, None, carrier)
        c = view.aligned(turned=False)
        # the tones are seen from the plane's middle, origins are those of its first unit
        first = view.offset + FIRST_ORIGIN
        turned = c * np.exp(-2j * np.pi / TORUS * (view.tones @ first))
        pilot = block_surface(turned, view.tones)
        spread = math.sqrt(max(float(np.sum(np.abs(c) ** 2)) / 2, 1e-12))
        anchors = self._anchors(carrier)
        total = (np.float32(PILOT_WEIGHT / spread) * pilot + anchors) / np.float32(
            math.hypot(1.0, PILOT_WEIGHT)
        )
        high, low = int(total.argmax()), int(total.argmin())
        inverted = bool(-total.flat[low] > total.flat[high])
        at = low if inverted else high
        origin = FIRST_ORIGIN + BLOCK * np.array(divmod(at, GRID), np.float64)
        sign = -1.0 if inverted else 1.0
        radii = np.abs(c)
        bound = evidence.phase_sum_bound(sign * view.total(c, origin + view.offset), radii)
        trials = LOG_OTHERS if inverted else LOG_ORIGINS
        placement = Placement(np.eye(2), -origin, inverted, radii.size, bound, trials)
        return sign * float(total.flat[at]), placement

    def _anchors(self, carrier: Carrier) -> NDArray[np.float32]:
        """Return the anchors' sum over its standard deviation at every origin: float32 ``(128, 128)``."""
        product = np.zeros((GRID, GRID // 2 + 1), np.complex64)
        for image, known in zip(self._spectra, carrier.anchor_blocks, strict=True):
            fourier_kernels.add_correlation(image, known, product)
        variance = max(self._square * carrier.anchor_share, 1e-12)
        return fft.irfft2(product) / np.float32(math.sqrt(variance))


def block_surface(turned: NDArray[np.complex128], tones: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return ``Re sum c_i exp(-2 pi i f_i . (8 j) / 1024)`` at all shifts of whole blocks j.

    These are eight units apart, so that frequencies count modulo 128.

    Args:
        turned: complex128 ``(n,)``, the c of the tones.
        tones: int64 ``(n, 2)``, their frequencies, cycles per torus.

    Returns:
        float32 ``(128, 128)``.
    """
    spectrum = np.zeros((GRID, GRID // 2 + 1), np.complex64)
    fourier_kernels.fold_tones(turned, tones, spectrum)
    return fft.irfft2(spectrum)
