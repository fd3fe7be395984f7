"""Plane + carrier + code bits -> delta."""

from __future__ import annotations

import itertools
import math
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
from fastmark.errors import ImageTooFlat, ImageTooSmall
from fastmark.kernels import blocks as kernels
from fastmark.kernels import local as local_kernels
from fastmark.kernels import quantiser as quantiser_kernels
from fastmark.kernels import spectrum as spectrum_kernels
from fastmark.key import Domain
from fastmark.margin import Margins, jpeg_steps, measure
from fastmark.message import MessageCode
from fastmark.perception import Perception, block_means, tukey
from fastmark.plane import Plane, add_delta, canonical_plane, pixels_per_unit
from fastmark.results import EmbedReport

# Amplitudes at strength 1, of the mask: a chip's DCT coefficient, the pilot's root mean square.
CHIP_RATIO = 0.275 * 8 / math.sqrt(N_COEFFICIENTS)
PILOT_RATIO = 0.21

# A coarse pattern is seen sooner, and as soon on texture: strength at 2, 3, 4, 5 and more pixels a unit for
# an SSIMULACRA2 of about 88.5, found on five pictures of 4 to 24 megapixels and reductions of them.
_STRENGTH_BY_UNIT = (0.70, 0.66, 0.62, 0.59)

# At one pixel a unit, ln(100 - SSIMULACRA2) = 5.165 + 1.181 ln(strength) + 0.489 ln(noise to activity at
# strength 1): least squares over 29 photographs and generated pictures at two strengths, residual 0.093.
# Solved for 88.5.
_VISIBILITY_OFFSET, _VISIBILITY_SLOPE = (math.log(100 - 88.5) - 5.165) / 1.181, -0.489 / 1.181
_ACTIVITY_FLOOR = 200.0  # grey levels squared
_MIN_STRENGTH, _MAX_STRENGTH = 0.5, 1.4
_MIN_PSNR_DB = 42.15

_MAX_TONE_POWER = 4.0
_FLAT_DEVIATION = 1.0  # grey levels

# Quantisers whose thresholds the mark is pushed over, and by how many times its own size at most.
_HARDENING = ((10, 2.5), (20, 2.0))
_HARDENING_LEAST = 1.0  # grey levels of a coefficient at strength 1
_HARDENING_MARGIN = 0.5


def choose_origin(plane: Plane, carrier: Carrier) -> tuple[int, int]:
    """Derive the picture's origin on the torus from key and content; both are 4 modulo 8."""
    height, width = plane.shape
    rows, columns = np.linspace(0, height, 9).astype(int), np.linspace(0, width, 9).astype(int)
    cells = [[plane[y, x] for x in _slices(columns)] for y in _slices(rows)]
    thumbnail = np.array([[cell.mean(dtype=np.float64) for cell in line] for line in cells])
    digest = carrier.key.stream(Domain.ORIGIN, 2, np.rint(thumbnail).astype(np.uint8).tobytes())
    return 8 * (digest[0] % GRID) + 4, 8 * (digest[1] % GRID) + 4


def _slices(edges: NDArray[np.int64]) -> list[slice]:
    """Return the intervals between edges."""
    return [slice(low, high) for low, high in itertools.pairwise(edges)]


@dataclass(frozen=True, slots=True)
class Host:
    """A plane prepared for marking: what does not depend on the strength.

    Attributes:
        plane: the canonical plane.
        perception: its neighbourhood measures.
        k: pixels per unit.
        origin: place of the plane's first unit on the torus.
        block_mask: float32 ``(BY, BX)``, the perceptual mask of the 8 x 8 blocks wholly in the plane.
    """

    plane: Plane
    perception: Perception
    k: int
    origin: tuple[int, int]
    block_mask: NDArray[np.float32]

    @property
    def grid_origin(self) -> tuple[int, int]:
        """Place of the first whole block on the torus' grid of blocks."""
        return (self.origin[0] + 4) // BLOCK % GRID, (self.origin[1] + 4) // BLOCK % GRID


def prepare(plane: Plane, k: int, carrier: Carrier) -> Host:
    """Measure a plane before marking it; blocks start at unit (4, 4)."""
    perception = Perception.of(plane)
    n_rows, n_columns = ((n - 4) // BLOCK for n in plane.shape)
    block_mask = block_means(perception.mask, 4, 4, n_rows, n_columns)
    return Host(plane, perception, k, choose_origin(plane, carrier), block_mask)


def make_delta(host: Host, carrier: Carrier, codeword: NDArray[np.uint8], n_tones: int) -> Plane:
    """Return the delta at strength 1, grey levels, float32 of the plane's shape."""
    oy, ox = host.origin
    height, width = host.plane.shape
    pilot = carrier.pilot(n_tones)
    rows, columns = (np.arange(height) + oy) % TORUS, (np.arange(width) + ox) % TORUS
    delta = pilot[rows[:, None], columns] * host.perception.smooth_mask()
    delta *= np.float32(PILOT_RATIO)
    chips = np.empty((N_COEFFICIENTS, *host.block_mask.shape), np.float32)
    bits = np.append(1.0 - 2.0 * codeword, 1.0).astype(np.float32)
    kernels.chip_amplitudes(
        host.block_mask,
        np.float32(CHIP_RATIO),
        carrier.signs,
        carrier.code_bit,
        bits,
        *host.grid_origin,
        chips,
    )
    kernels.add_inverse_dct(chips, BASIS, COEFFICIENT_ROWS, COEFFICIENT_COLUMNS, 4, 4, delta)
    return delta


def choose_tones(host: Host, carrier: Carrier, pilot_gain: float) -> int:
    """Return the smallest tone count whose tones, at strength 1, hide under the picture's own spectrum."""
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
        if np.median(tone_power / np.maximum(level[y[:count], x[:count]], 1e-12)) <= _MAX_TONE_POWER:
            return count
    return TONE_COUNTS[-1]


def choose_strength(host: Host, delta: Plane) -> float:
    """Return the strength at which ``delta``, made at strength 1, is just not seen.

    At one pixel a unit, the local power of the delta over that of the picture,
    ``box9(delta^2) / (deviation^2 + 200)``, in the root mean square over the picture, predicts SSIMULACRA2.
    """
    if host.k > 1:
        return _STRENGTH_BY_UNIT[min(host.k, 5) - 2]
    power = np.empty_like(delta)
    local_kernels.box9(delta * delta, power)
    power /= host.perception.deviation**2 + np.float32(_ACTIVITY_FLOOR)
    noise = math.log(max(float(np.sqrt(np.mean(power * power))), 1e-9))
    strength = math.exp(_VISIBILITY_OFFSET + _VISIBILITY_SLOPE * noise)
    return min(max(strength, _MIN_STRENGTH), _MAX_STRENGTH)


def harden(host: Host, delta: Plane, strength: float) -> Plane:
    """Push the delta over thresholds of strong JPEG compression where they are near: informed embedding.

    A coefficient that JPEG quantises to the same value with and without the mark carries nothing afterwards;
    one that lies near a decision threshold carries a whole step for little energy (Cox, Miller & Bloom 2001,
    section 5). JPEG's blocks are the picture's only at one pixel a unit.
    """
    if host.k > 1:
        return delta
    for quality, limit in _HARDENING:
        hardened = np.empty_like(delta)
        quantiser_kernels.harden(
            host.plane, delta, jpeg_steps(quality), np.float32(_HARDENING_LEAST * strength),
            np.float32(limit), np.float32(_HARDENING_MARGIN), hardened,
        )  # fmt: skip
        delta = hardened
    return delta


def psnr_db(delta: Plane) -> float:
    """Predict the PSNR of pixels changed by ``delta`` and rounded, dB."""
    return _decibels(float(np.mean(delta * delta)) + 1 / 12)


def _decibels(mse: float) -> float:
    """Return the PSNR of a mean square error in grey levels of 255."""
    return 10 * math.log10(255.0**2 / mse)


def mark(
    pixels: NDArray[Any], peak: float, carrier: Carrier, code: MessageCode, message: bytes, strength: float
) -> tuple[NDArray[Any], EmbedReport]:
    """Mark pixels ``(H, W)`` or ``(H, W, 3)``, uint8, uint16 or float32; white is ``peak``.

    Raises:
        ImageTooSmall, ImageTooFlat: if the message could not be read back from the marked picture.
    """
    k = pixels_per_unit(*pixels.shape[:2])
    host = prepare(canonical_plane(pixels, k, peak), k, carrier)
    codeword = code.encode(message, k)
    n_tones = choose_tones(host, carrier, PILOT_RATIO)
    unit_delta = make_delta(host, carrier, codeword, n_tones)
    total = strength * choose_strength(host, unit_delta)
    delta = harden(host, unit_delta * np.float32(total), total)
    excess_db = _MIN_PSNR_DB - 20 * math.log10(max(strength, 1.0)) - psnr_db(delta)
    if excess_db > 0:
        total *= 10 ** (-excess_db / 20)
        delta = harden(host, unit_delta * np.float32(total), total)
    marked, mse = add_delta(pixels, delta, k, peak)
    marked_plane = canonical_plane(marked, k, peak)
    margins = measure(
        marked_plane, host.perception.mask, host.origin, carrier, codeword, n_tones, code.message_bits
    )
    _refuse_lost(host, margins, code.message_bits)
    warnings = []
    if margins.jpeg < 1:
        warnings.append("the message is not expected to survive JPEG compression at quality 50")
    if margins.pilot < 1:
        warnings.append("the pilot is weak: after cropping or scaling the mark may not be found")
    psnr = _decibels(max(mse, 1e-9))
    report = EmbedReport(
        psnr, total, n_tones, k, margins.message, margins.jpeg, margins.pilot, tuple(warnings)
    )
    return marked, report


def _refuse_lost(host: Host, margins: Margins, message_bits: int) -> None:
    """Raise unless the message can be read from the marked picture as it is."""
    if margins.message >= 1:
        return
    height, width = (n * host.k for n in host.plane.shape)
    if float(np.mean(host.perception.deviation)) < _FLAT_DEVIATION:
        raise ImageTooFlat(
            f"the picture ({width} x {height}) is too flat or clipped to carry {message_bits} bits: the mark"
            " was lost in rounding; use fewer message bits or more strength"
        )
    raise ImageTooSmall(
        f"a picture of {width} x {height} pixels with this texture cannot carry {message_bits} bits;"
        " use fewer message bits, more strength or a larger picture"
    )
