"""The carriers of a key, in the form that kernels take: pilot, chips, their transforms."""

from __future__ import annotations

import copy
import functools

import numpy as np
from numpy.typing import NDArray

from fastmark import fft
from fastmark.codec.tables import (
    ANCHOR,
    BLOCK,
    COEFFICIENTS,
    PHASE_STEPS,
    TORUS,
    WITHHELD,
    BindingTables,
    CarrierSource,
)
from fastmark.kernels import chips as blocks

_SAME_RADIUS = 0.2  # difference of the natural logarithms of two radii


class Carrier:
    """The carriers of one key; those of a detector key lack the blocks that are withheld.

    Attributes:
        key: of which they are made.
        key_id: whose marks they find: of a detector key, its owner's key.
        tones: int64 ``(384, 2)``, frequencies ``(fy, fx)`` in bins of 1/1024 cycle per unit.
        phases: float64 ``(384,)``, radians, multiples of 2 pi / 65536.
        signs: int8 ``(10, 128, 128)``, the chips' keyed signs, +-1, by coefficient and block; 0 if
            withheld.
        code_bit: int16 ``(10, 128, 128)``, the code bit 0..1023 a chip carries, ANCHOR or WITHHELD.
    """

    def __init__(self, key: CarrierSource) -> None:
        """Derive the carriers of ``key``."""
        tables = key.tables()
        self.key = key
        self.key_id = key.key_id
        self.tones = tables.tones
        self.phases = tables.phases.astype(np.float64) * (2 * np.pi / PHASE_STEPS)
        self.signs = tables.signs
        self.code_bit = tables.code_bit
        # NOTE: no lock, which a forked child could inherit held: threads that meet compute the same twice
        self._pilots: dict[int, NDArray[np.float32]] = {}
        self._neighbours: dict[int, NDArray[np.float64]] = {}
        self._anchor_spectra: dict[int, NDArray[np.complex64]] = {}
        self._anchors: NDArray[np.int8] | None = None
        self._anchor_waves: NDArray[np.complex64] | None = None

    def withheld_alone(self) -> Carrier | None:
        """Return the carriers of the blocks that detector keys lack; None of a detector key."""
        withheld = self.binding.withheld
        if not self.signs[:, withheld].any():
            return None
        alone = copy.copy(self)
        alone.signs = np.where(withheld, self.signs, np.int8(0))
        alone.code_bit = np.where(withheld, self.code_bit, np.int16(WITHHELD))
        alone._anchor_spectra, alone._anchors, alone._anchor_waves = {}, None, None
        alone.__dict__.pop("anchor_share", None)
        return alone

    @functools.cached_property
    def binding(self) -> BindingTables:
        """What ties marks to their images; drawn when first needed."""
        return self.key.binding_tables()

    def pilot(self, n_tones: int) -> NDArray[np.float32]:
        """Return the pilot of the first ``n_tones`` tones: float32 ``(1024, 1024)``, unit mean square.

        ``pilot[y, x] = sqrt(2 / n) sum_i cos(2 pi (fy_i y + fx_i x) / 1024 + phase_i)``
        """
        if n_tones not in self._pilots:
            fy, fx = self.tones[:n_tones, 0], self.tones[:n_tones, 1]
            amplitude = np.sqrt(2.0 / n_tones) * 0.5 * TORUS * TORUS
            values = (amplitude * np.exp(1j * self.phases[:n_tones])).astype(np.complex64)
            spectrum = np.zeros((TORUS, TORUS // 2 + 1), np.complex64)
            right = fx >= 0
            spectrum[fy[right], fx[right]] = values[right]
            spectrum[-fy[~right], -fx[~right]] = np.conj(values[~right])
            self._pilots.setdefault(n_tones, fft.irfft2(spectrum))
        return self._pilots[n_tones]

    def neighbours(self, n_tones: int) -> NDArray[np.float64]:
        """Return the matrix that averages over tones of about the same radius: float64 ``(n, n)``."""
        if n_tones not in self._neighbours:
            radius = np.log(np.hypot(self.tones[:n_tones, 0], self.tones[:n_tones, 1]))
            near = np.exp(-(((radius[:, None] - radius) / _SAME_RADIUS) ** 2))
            self._neighbours.setdefault(n_tones, near / near.sum(axis=1, keepdims=True))
        return self._neighbours[n_tones]

    def anchor_spectrum(self, step: int) -> NDArray[np.complex64]:
        """Return ``rfft2`` of the anchors alone: complex64 ``(1024 / step, 512 / step + 1)``.

        Each has unit amplitude; they are averaged over ``step`` x ``step`` units, 1 or 2.
        """
        if step not in self._anchor_spectra:
            chips = np.where(self.code_bit == ANCHOR, self.signs, np.float32(0))
            pattern = np.zeros((TORUS // step, TORUS // step), np.float32)
            basis = BASIS if step == 1 else np.float32(0.5) * HALF_BASIS
            blocks.add_inverse_dct(chips, basis, COEFFICIENT_ROWS, COEFFICIENT_COLUMNS, 0, 0, pattern)
            self._anchor_spectra.setdefault(step, fft.rfft2(pattern))
        return self._anchor_spectra[step]

    @property
    def anchors(self) -> NDArray[np.int8]:
        """Signs of the anchors, 0 for other chips: int8 ``(10, 128, 256)``, each row of blocks twice."""
        if self._anchors is None:
            signs = np.where(self.code_bit == ANCHOR, self.signs, np.int8(0))
            self._anchors = np.concatenate([signs, signs], axis=2)
        return self._anchors

    @property
    def anchor_waves(self) -> NDArray[np.complex64]:
        """``rfft2`` of the anchors' signs, coefficient by coefficient: complex64 ``(10, 128, 65)``."""
        if self._anchor_waves is None:
            signs = self.anchors[:, :, : self.signs.shape[2]].astype(np.float32)
            self._anchor_waves = np.stack([fft.rfft2(one) for one in signs])
        return self._anchor_waves

    @functools.cached_property
    def anchor_share(self) -> float:
        """The share of chips that are anchors: about a tenth."""
        return float(np.mean(self.code_bit == ANCHOR))


def _dct_basis() -> NDArray[np.float32]:
    """Orthonormal DCT-II rows 0..3 of length 8: float32 ``(4, 8)`` (Ahmed, Natarajan & Rao 1974)."""
    n, f = np.arange(BLOCK), np.arange(4)[:, None]
    angles = np.pi * (2 * n + 1) * f / (2 * BLOCK)
    basis: NDArray[np.float64] = np.cos(angles) * np.sqrt(2.0 / BLOCK)
    basis[0] /= np.sqrt(2.0)
    return basis.astype(np.float32)


BASIS = _dct_basis()
HALF_BASIS = BASIS.reshape(4, 4, 2).sum(axis=2)
"""The same of a plane averaged over 2 x 2 units, whose blocks are 4 x 4: float32 ``(4, 4)``."""
COEFFICIENT_ROWS = np.array([v for v, _ in COEFFICIENTS], np.int64)
COEFFICIENT_COLUMNS = np.array([u for _, u in COEFFICIENTS], np.int64)
