"""What a key means: pilot tones, chips and the code-bit map on the torus.

The torus is 1024 x 1024 units, 128 x 128 blocks of 8 x 8 units, 8 x 8 superblocks of 16 x 16 blocks.
Tones, phases, signs and map are integer arithmetic on the keystream, and the same on every machine.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastmark import fft
from fastmark.codec.message import CODE_BITS
from fastmark.kernels import chips as blocks
from fastmark.key import Domain, Key

TORUS = 1024
BLOCK = 8
GRID = TORUS // BLOCK
SUPERBLOCK = 16

# (vertical, horizontal) DCT-II indices of the coefficients that carry chips: the mid-band annulus.
COEFFICIENTS = ((0, 2), (1, 1), (2, 0), (0, 3), (1, 2), (2, 1), (3, 0), (1, 3), (2, 2), (3, 1))
N_COEFFICIENTS = len(COEFFICIENTS)

# An image carries the first 48, 96, 192 or 384 tones of the key's list.
TONE_COUNTS = (48, 96, 192, 384)
N_TONES = TONE_COUNTS[-1]
MIN_RADIUS = 51  # bins of 1/1024 cycle per unit: 0.05 cycles/unit
MAX_RADIUS = 245  # 0.24 cycles/unit: below the Nyquist frequency of the plane halved
_MIN_DISTANCE = 6
_MIN_FROM_AXIS = 6
PHASE_STEPS = 65536
_SAME_RADIUS = 0.2  # difference of the natural logarithms of two radii

ANCHOR = -1


class Carrier:
    """The carriers of one key.

    Attributes:
        tones: int64 ``(384, 2)``, frequencies ``(fy, fx)`` in bins of 1/1024 cycle per unit,
            ``fy > 0``, radius 51..245, pairwise at least 6 bins apart (their negatives included).
        phases: float64 ``(384,)``, radians, multiples of 2 pi / 65536.
        signs: float32 ``(10, 128, 128)``, the chips' keyed signs, +-1, by coefficient and block.
        code_bit: int16 ``(10, 128, 128)``, the code bit 0..1023 a chip carries, or -1 for an anchor.
    """

    def __init__(self, key: Key) -> None:
        """Derive the carriers of ``key``."""
        self.key = key
        self.key_id = key.id
        self.tones = _draw_tones(key)
        raw = np.frombuffer(key.stream(Domain.TONE_PHASES, 2 * N_TONES), dtype="<u2")
        self.phases = raw.astype(np.float64) * (2 * np.pi / PHASE_STEPS)
        bits = np.frombuffer(key.stream(Domain.CHIP_SIGNS, N_COEFFICIENTS * GRID * GRID // 8), np.uint8)
        signs = 1.0 - 2.0 * np.unpackbits(bits).astype(np.float32)
        self.signs: NDArray[np.float32] = signs.astype(np.float32).reshape(N_COEFFICIENTS, GRID, GRID)
        self.code_bit = _draw_code_bit_map(key)
        # NOTE: no lock, which a forked child could inherit held: threads that meet compute the same twice
        self._pilots: dict[int, NDArray[np.float32]] = {}
        self._neighbours: dict[int, NDArray[np.float64]] = {}
        self._anchor_spectra: dict[int, NDArray[np.complex64]] = {}

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


def _draw_tones(key: Key) -> NDArray[np.int64]:
    """Draw the ordered list of tones, from a longer keystream where a short one has too few."""
    for n_draws in (8192, 12288, 65536):
        tones = _take_tones(key.stream(Domain.TONE_FREQUENCIES, 8 * n_draws))
        if len(tones) == N_TONES:
            return np.array(tones, dtype=np.int64)
    raise AssertionError("the keystream ran out of tone candidates")  # pragma: no cover


def _take_tones(stream: bytes) -> list[tuple[int, int]]:
    """Take tones from a keystream, at most 384.

    Lattice points are drawn uniformly over a rectangle and kept with probability
    ``(51 / radius)^2``, which makes the radius log-uniform without any floating-point number.
    """
    words = np.frombuffer(stream, dtype="<u2").reshape(-1, 4).astype(np.int64)
    fy = 1 + words[:, 0] * MAX_RADIUS // 65536
    fx = words[:, 1] * (2 * MAX_RADIUS + 1) // 65536 - MAX_RADIUS
    u = words[:, 2] * 65536 + words[:, 3]
    r2 = fx * fx + fy * fy
    usable = (r2 >= MIN_RADIUS**2) & (r2 <= MAX_RADIUS**2)
    usable &= (np.abs(fx) >= _MIN_FROM_AXIS) & (fy >= _MIN_FROM_AXIS)
    usable &= u * r2 < (1 << 32) * MIN_RADIUS**2
    reach = np.arange(1 - _MIN_DISTANCE, _MIN_DISTANCE)
    near = np.add.outer(reach**2, reach**2) < _MIN_DISTANCE**2
    centre = MAX_RADIUS + 16
    taken = np.zeros((2 * centre, 2 * centre), dtype=bool)
    tones: list[tuple[int, int]] = []
    for y, x in zip(fy[usable].tolist(), fx[usable].tolist(), strict=True):
        if taken[centre + y, centre + x]:
            continue
        tones.append((y, x))
        for sign in (1, -1):
            top, left = (centre + sign * at + 1 - _MIN_DISTANCE for at in (y, x))
            taken[top : top + reach.size, left : left + reach.size] |= near
        if len(tones) == N_TONES:
            break
    return tones


def _draw_code_bit_map(key: Key) -> NDArray[np.int16]:
    """Draw which chip carries which code bit, and which chips are anchors.

    Each block has one anchor, at coefficient ``word mod 10``. The other 2304 chips of a superblock,
    in an order given by sorting keyed 32-bit words, carry code bits 256 s, 256 s + 1, ... modulo 1024
    in the s-th superblock, so every code bit comes two or three times in each.
    """
    n_blocks = GRID * GRID
    words = np.frombuffer(key.stream(Domain.ANCHOR_PLACES, 2 * n_blocks), dtype="<u2")
    anchor = (words % N_COEFFICIENTS).astype(np.int64).reshape(GRID, GRID)
    is_anchor = np.arange(N_COEFFICIENTS)[:, None, None] == anchor
    order_words = np.frombuffer(
        key.stream(Domain.CODE_BIT_MAP, 4 * N_COEFFICIENTS * n_blocks), dtype="<u4"
    ).reshape(N_COEFFICIENTS, GRID, GRID)
    result = np.full((N_COEFFICIENTS, GRID, GRID), ANCHOR, np.int16)
    per_side = GRID // SUPERBLOCK
    for s in range(per_side * per_side):
        rows = slice(s // per_side * SUPERBLOCK, (s // per_side + 1) * SUPERBLOCK)
        columns = slice(s % per_side * SUPERBLOCK, (s % per_side + 1) * SUPERBLOCK)
        free = ~is_anchor[:, rows, columns]
        words_here = order_words[:, rows, columns][free]
        rank = np.empty(words_here.size, np.int64)
        rank[np.argsort(words_here, kind="stable")] = np.arange(words_here.size)
        result[:, rows, columns][free] = (rank + 256 * s) % CODE_BITS
    return result


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
