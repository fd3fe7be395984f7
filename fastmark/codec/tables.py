"""What a key means, drawn from its keystreams: tones, chips, the code-bit map, what binds marks to images.

The torus is 1024 x 1024 units, 128 x 128 blocks of 8 x 8 units, 8 x 8 superblocks of 16 x 16 blocks. All of
it is integer arithmetic, and the same on every machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fastmark.codec.keystream import Domain
from fastmark.codec.message import CODE_BITS

TORUS = 1024
BLOCK = 8
GRID = TORUS // BLOCK
SUPERBLOCK = 16

FIRST_ORIGIN = BLOCK // 2
"""Least origin of an uncropped image, each way: its plane's blocks start at unit (4, 4)."""

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

ANCHOR, WITHHELD = -1, -2
"""In a code-bit map: chips whose sign is known, and those that a detector key does not know."""

PARTNERS = tuple((dy, dx) for dy in range(-5, 6) for dx in range(-5, 6) if 3**2 <= dy * dy + dx * dx <= 5**2)
"""Where the block lies with which a block's content is compared: (vertical, horizontal), in blocks."""
N_CLASSES = 2
"""Classes of binding, told apart by their flags."""


class Streams(Protocol):
    """A key, as far as it is drawn from."""

    def stream(self, domain: Domain, n_bytes: int, context: bytes = b"") -> bytes:
        """Return the first ``n_bytes`` of the keystream of ``domain``."""


class CarrierSource(Protocol):
    """A key or a detector key: that of which carriers are made."""

    @property
    def id(self) -> str:
        """Which one it is."""

    @property
    def key_id(self) -> str:
        """Whose marks are found: the id of the secret key."""

    def tables(self) -> Tables:
        """Return what all its marks share."""

    def binding_tables(self) -> BindingTables:
        """Return what ties them to their images."""


@dataclass(frozen=True, slots=True)
class Tables:
    """What all marks of a key share, and all that is needed to find and read them.

    Attributes:
        tones: int64 ``(384, 2)``, frequencies ``(fy, fx)`` in bins of 1/1024 cycle per unit,
            ``fy > 0``, radius 51..245, pairwise at least 6 bins apart (their negatives included).
        phases: uint16 ``(384,)``, steps of 2 pi / 65536.
        signs: int8 ``(10, 128, 128)``, the chips' keyed signs, +-1, by coefficient and block; 0 if withheld.
        code_bit: int16 ``(10, 128, 128)``, the code bit 0..1023 a chip carries, ANCHOR or WITHHELD.
    """

    tones: NDArray[np.int64]
    phases: NDArray[np.uint16]
    signs: NDArray[np.int8]
    code_bit: NDArray[np.int16]

    @classmethod
    def drawn(cls, key: Streams) -> Tables:
        """Draw them from the keystreams."""
        phases = np.frombuffer(key.stream(Domain.TONE_PHASES, 2 * N_TONES), dtype="<u2")
        return cls(
            _draw_tones(key),
            phases.astype(np.uint16),
            _draw_signs(key, Domain.CHIP_SIGNS, 1)[0],
            _draw_code_bit_map(key),
        )


@dataclass(frozen=True, slots=True)
class BindingTables:
    """What ties the marks of a key to their images (:mod:`fastmark.codec.binding`).

    Attributes:
        signs: int8 ``(10, 128, 128)``, the sign with which a chip's amplitude follows its block's content,
            +-1; 0 if withheld.
        flags: int8 ``(2, 10, 128, 128)``, by class, the sign of what tells the class from a chip's amplitude;
            0 if withheld.
        partners: uint8 ``(128, 128)``, index into PARTNERS: with which block one is compared.
        withheld: bool ``(128, 128)``, the blocks of which a detector key knows nothing.
    """

    signs: NDArray[np.int8]
    flags: NDArray[np.int8]
    partners: NDArray[np.uint8]
    withheld: NDArray[np.bool_]

    @classmethod
    def drawn(cls, key: Streams) -> BindingTables:
        """Draw them from the keystreams."""
        words = _draw_words(key, Domain.BINDING_PARTNERS)
        return cls(
            _draw_signs(key, Domain.BINDING_SIGNS, 1)[0],
            _draw_signs(key, Domain.BINDING_FLAGS, N_CLASSES),
            (words % len(PARTNERS)).astype(np.uint8),
            _draw_words(key, Domain.WITHHELD_BLOCKS) % 3 == 0,
        )


def _draw_words(key: Streams, domain: Domain) -> NDArray[np.uint16]:
    """One 16-bit word per block."""
    return np.frombuffer(key.stream(domain, 2 * GRID * GRID), dtype="<u2").reshape(GRID, GRID)


def _draw_signs(key: Streams, domain: Domain, n_sets: int) -> NDArray[np.int8]:
    """One sign per chip and set: int8 ``(n_sets, 10, 128, 128)``; bit 0 stands for +1."""
    shape = n_sets, N_COEFFICIENTS, GRID, GRID
    n_bytes = n_sets * N_COEFFICIENTS * GRID * GRID // 8
    bits = np.unpackbits(np.frombuffer(key.stream(domain, n_bytes), np.uint8))
    return (1 - 2 * bits.astype(np.int8)).reshape(shape)


def _draw_tones(key: Streams) -> NDArray[np.int64]:
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


def are_tones(tones: NDArray[np.int64]) -> bool:
    """Whether ``(N, 2)`` frequencies lie in the band, and as far apart as those that are drawn."""
    fy, fx = tones.T
    r2 = fy * fy + fx * fx
    inside = (r2 >= MIN_RADIUS**2) & (r2 <= MAX_RADIUS**2) & (fy >= _MIN_FROM_AXIS)
    if not np.all(inside & (np.abs(fx) >= _MIN_FROM_AXIS)):
        return False
    points = np.concatenate([tones, -tones])
    apart = np.subtract.outer(points[:, 0], points[:, 0]) ** 2
    apart += np.subtract.outer(points[:, 1], points[:, 1]) ** 2
    np.fill_diagonal(apart, _MIN_DISTANCE**2)
    return bool(np.all(apart >= _MIN_DISTANCE**2))


def _draw_code_bit_map(key: Streams) -> NDArray[np.int16]:
    """Draw which chip carries which code bit, and which chips are anchors.

    Each block has one anchor, at coefficient ``word mod 10``. The other 2304 chips of a superblock,
    in an order given by sorting keyed 32-bit words, carry code bits 256 s, 256 s + 1, ... modulo 1024
    in the s-th superblock, so every code bit comes two or three times in each.
    """
    n_blocks = GRID * GRID
    anchor = (_draw_words(key, Domain.ANCHOR_PLACES) % N_COEFFICIENTS).astype(np.int64)
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
