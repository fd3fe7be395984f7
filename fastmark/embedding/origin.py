"""Informed origin: the place on the torus at which the image, not yet marked, agrees with its mark.

Detectors need not know how it was chosen. The image's own correlation with the pattern is then some standard
deviations of help instead of none, it survives all that the image survives, and it is not seen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastmark import fft
from fastmark.codec.carrier import Carrier
from fastmark.codec.tables import BLOCK, FIRST_ORIGIN, GRID, N_COEFFICIENTS, TORUS
from fastmark.detection.origins import block_surface
from fastmark.detection.soft_bits import ChipBlocks
from fastmark.embedding.host_scores import HostScores
from fastmark.kernels import chips as kernels
from fastmark.kernels import fourier as fourier_kernels

CHIP_WEIGHT = 0.75
"""Weight of the chips beside the pilot, both in standard deviations. Measured by benchmarks/origin.py."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far an image, not yet marked, agrees with a mark whose origin is ``4 + 8 (i, j)``.

    Attributes:
        pilot: float32 ``(128, 128)``, standard deviations.
        chips: the same of the chips of one codeword.
    """

    pilot: NDArray[np.float32]
    chips: NDArray[np.float32]

    @classmethod
    def of(cls, host: HostScores, carrier: Carrier, codeword: NDArray[np.uint8], n_tones: int) -> Agreement:
        """Correlate the scores of an image with pilot and chips at all origins."""
        # from the origin of the middle to that of the plane
        back = tuple(-(at // BLOCK) for at in host.start)
        pilot = pilot_surface(host.torus.tones(carrier)[:n_tones], carrier)
        chips = chip_surface(host.blocks, carrier, codeword)
        return cls(*(np.roll(surface, back, axis=(0, 1)) for surface in (pilot, chips)))

    def best(self, weight: float = CHIP_WEIGHT) -> tuple[int, int]:
        """Return the origin at which ``pilot + weight * chips`` is largest."""
        i, j = divmod(int((self.pilot + np.float32(weight) * self.chips).argmax()), GRID)
        return FIRST_ORIGIN + BLOCK * i, FIRST_ORIGIN + BLOCK * j


def pilot_surface(values: NDArray[np.complex128], carrier: Carrier) -> NDArray[np.float32]:
    """Return ``Re sum c_i exp(-2 pi i f_i . o / 1024)`` over its standard deviation, at every origin.

    Args:
        values: complex128 ``(n,)``, the tones over the root of their local level.
        carrier: of the key.

    Returns:
        float32 ``(128, 128)``, at ``o = 4 + 8 (i, j)``.
    """
    tones, phases = carrier.tones[: values.size], carrier.phases[: values.size]
    turned = values * np.exp(-1j * (phases + 2 * np.pi * FIRST_ORIGIN / TORUS * tones.sum(axis=1)))
    deviation = math.sqrt(max(2 * float(np.vdot(values, values).real), 1e-12))
    return block_surface(turned, tones) * np.float32(2 / deviation)


def chip_surface(blocks: ChipBlocks, carrier: Carrier, codeword: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the sum of the chips' statistics times their signs over its standard deviation, likewise.

    Args:
        blocks: of the plane; the first starts at unit (4, 4).
        carrier: of the key.
        codeword: uint8 ``(1024,)``.

    Returns:
        float32 ``(128, 128)``, at the origins ``4 + 8 (i, j)``.
    """
    bits = np.append(1.0 - 2.0 * codeword, 1.0).astype(np.float32)
    known, square = np.empty((1, GRID, GRID), np.float32), 0.0
    product = np.zeros((GRID, GRID // 2 + 1), np.complex64)
    # coefficient by coefficient, which stays in a core's cache
    for c in range(N_COEFFICIENTS):
        one, folded = slice(c, c + 1), np.zeros((1, GRID, GRID), np.float32)
        # the first block lies one block behind the origin
        kernels.fold_chips(blocks.coefficients[one], blocks.inside, 1, 1, folded)
        kernels.code_signs(carrier.signs[one], carrier.code_bit[one], bits, known)
        fourier_kernels.add_correlation(fft.rfft2(folded[0]), fft.rfft2(known[0]), product)
        square += float(np.vdot(folded, folded))
    return fft.irfft2(product) / np.float32(math.sqrt(max(square, 1e-12)))
