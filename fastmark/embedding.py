"""Plane + carrier + code bits -> delta."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmark import fft
from fastmark.carrier import (
    BASIS,
    BLOCK,
    COEFFICIENT_COLUMNS,
    COEFFICIENT_ROWS,
    GRID,
    N_COEFFICIENTS,
    TONE_COUNTS,
    TORUS,
    Carrier,
)
from fastmark.chips import ChipBlocks
from fastmark.kernels import blocks as kernels
from fastmark.kernels import spectrum as spectrum_kernels
from fastmark.key import Domain
from fastmark.message import MessageCode
from fastmark.perception import Perception, Plane, tukey
from fastmark.plane import add_delta, canonical_plane, pixels_per_unit
from fastmark.results import EmbedReport

CHIP_RATIO = 0.275 * 8 / np.sqrt(N_COEFFICIENTS)
PILOT_RATIO = 0.21
EMBED_FLOOR = 4.0

_REJECTION = 0.9
_MIN_BIT_GAIN, _MAX_BIT_GAIN = 0.35, 2.0
_STRENGTH_BY_UNIT = (1.0, 0.6, 0.45)
_MAX_TONE_POWER = 4.0


def choose_origin(plane: Plane, carrier: Carrier) -> tuple[int, int]:
    """Derive the picture's origin on the torus from key and content; both are 4 modulo 8."""
    height, width = plane.shape
    rows, columns = np.linspace(0, height, 9).astype(int), np.linspace(0, width, 9).astype(int)
    sums = np.add.reduceat(np.add.reduceat(plane, rows[:-1], axis=0), columns[:-1], axis=1)
    thumbnail = sums / np.outer(np.diff(rows), np.diff(columns))
    digest = carrier.key.stream(Domain.ORIGIN, 2, np.rint(thumbnail).astype(np.uint8).tobytes())
    return 8 * (digest[0] % GRID) + 4, 8 * (digest[1] % GRID) + 4


@dataclass(frozen=True, slots=True)
class Host:
    """A plane prepared for marking: what does not depend on the strength.

    Attributes:
        plane: the canonical plane.
        perception: its neighbourhood measures.
        k: pixels per unit.
        origin: place of the plane's first unit on the torus.
        blocks: the chips' coefficients of the 8 x 8 blocks that lie wholly in the plane.
    """

    plane: Plane
    perception: Perception
    k: int
    origin: tuple[int, int]
    blocks: ChipBlocks

    @property
    def grid_origin(self) -> tuple[int, int]:
        """Place of the first whole block on the torus' grid of blocks."""
        return (self.origin[0] + 4) // BLOCK % GRID, (self.origin[1] + 4) // BLOCK % GRID


def prepare(plane: Plane, k: int, carrier: Carrier) -> Host:
    """Measure a plane before marking it; blocks start at unit (4, 4)."""
    perception = Perception.of(plane)
    blocks = ChipBlocks.of(plane, perception.mask, 4)
    return Host(plane, perception, k, choose_origin(plane, carrier), blocks)


def bit_gains(host: Host, carrier: Carrier, codeword: NDArray[np.uint8], gain: float) -> NDArray[np.float32]:
    """Return sign and scale of each code bit, anchors last: host rejection.

    Improved spread spectrum (Malvar & Florencio 2003): a bit whose host already correlates with it is
    sent weaker, one whose host works against it stronger, at the same mean energy.
    """
    soft, energy, _ = host.blocks.soft_bits(carrier, EMBED_FLOOR, host.grid_origin)
    signs = np.append(1.0 - 2.0 * codeword, 1.0)
    scale = 1 - _REJECTION * signs * soft / np.maximum(gain * energy, 1e-9)
    scale = np.clip(scale, _MIN_BIT_GAIN, _MAX_BIT_GAIN)
    weight = np.maximum(energy, 1e-12)
    scale /= np.sqrt(np.average(scale**2, weights=weight))
    return (signs * scale).astype(np.float32)


def make_delta(
    host: Host, carrier: Carrier, codeword: NDArray[np.uint8], n_tones: int, chip_gain: float, pilot_gain: float
) -> Plane:
    """Return the delta, grey levels, float32 of the plane's shape."""
    oy, ox = host.origin
    height, width = host.plane.shape
    pilot = carrier.pilot(n_tones)
    rows, columns = (np.arange(height) + oy) % TORUS, (np.arange(width) + ox) % TORUS
    delta = pilot[rows[:, None], columns] * host.perception.smooth_mask()
    delta *= np.float32(pilot_gain)
    chips = np.empty_like(host.blocks.coefficients)
    gains = bit_gains(host, carrier, codeword, chip_gain)
    kernels.chip_amplitudes(
        host.blocks.mask, np.float32(chip_gain), carrier.signs, carrier.code_bit, gains, *host.grid_origin, chips
    )
    kernels.add_inverse_dct(chips, BASIS, COEFFICIENT_ROWS, COEFFICIENT_COLUMNS, 4, 4, delta)
    return delta


def choose_tones(host: Host, carrier: Carrier, pilot_gain: float) -> int:
    """Return the smallest tone count whose tones stay hidden under the picture's own spectrum."""
    plane = host.perception.highpass[:TORUS, :TORUS]
    n = 1 << max(8, (max(plane.shape) - 1).bit_length())
    taper = tukey(plane.shape[0])[:, None] * tukey(plane.shape[1])
    padded = np.zeros((n, n), np.float32)
    padded[: plane.shape[0], : plane.shape[1]] = plane * taper
    power = np.abs(fft.rfft2(padded)) ** 2
    level = np.empty_like(power)
    spectrum_kernels.local_mean(power, 10, level)
    amplitude = pilot_gain * float(np.mean(host.perception.mask)) * float(taper.sum())
    tones = carrier.tones * (n / TORUS)
    y, x = np.rint(tones[:, 0]).astype(int), np.rint(tones[:, 1]).astype(int)
    y, x = np.where(x < 0, -y, y) % n, np.abs(x)
    for count in TONE_COUNTS:
        tone_power = 0.25 * amplitude**2 * 2 / count
        if np.median(tone_power / level[y[:count], x[:count]]) <= _MAX_TONE_POWER:
            return count
    return TONE_COUNTS[-1]



def mark(
    pixels: NDArray[Any], peak: float, carrier: Carrier, code: MessageCode, message: bytes, strength: float
) -> tuple[NDArray[Any], EmbedReport]:
    """Mark pixels ``(H, W)`` or ``(H, W, 3)``, uint8, uint16 or float32; white is ``peak``."""
    k = pixels_per_unit(*pixels.shape[:2])
    plane = canonical_plane(pixels, k, peak)
    host = prepare(plane, k, carrier)
    gain = strength * _STRENGTH_BY_UNIT[min(k, 3) - 1]
    n_tones = choose_tones(host, carrier, PILOT_RATIO * gain)
    codeword = code.encode(message, k)
    delta = make_delta(host, carrier, codeword, n_tones, CHIP_RATIO * gain, PILOT_RATIO * gain)
    marked = add_delta(pixels, delta, k, peak)
    mse = float(np.mean((marked.astype(np.float32) - pixels) ** 2)) * (255.0 / peak) ** 2
    psnr = 10 * np.log10(255.0**2 / max(mse, 1e-9))
    return marked, EmbedReport(psnr, gain, n_tones, k, 0, 0, 0)
