"""Plane + carrier + code bits -> delta."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmark._threads import in_strips
from fastmark.codec.carrier import (
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
from fastmark.codec.mask import Perception, block_means, cell_means
from fastmark.codec.message import MessageCode
from fastmark.codec.plane import Plane, add_delta, add_visible_delta, canonical_plane, pixels_per_unit
from fastmark.detection.noise import power_density
from fastmark.embedding.margins import Known, Margins, jpeg_steps, least, measure, measure_seen
from fastmark.errors import ImageTooFlatError, ImageTooSmallError
from fastmark.kernels import chips as kernels
from fastmark.kernels import jpeg as quantiser_kernels
from fastmark.kernels import mask as local_kernels
from fastmark.kernels import pixels as pixel_kernels
from fastmark.key import Domain
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
_FLUCTUATION = 1.12  # root mean square of the delta's power over 9 x 9 units, of its expectation: measured
_MIN_STRENGTH, _MAX_STRENGTH = 0.5, 1.4
_MIN_PSNR_DB = 42.15

_MAX_TONE_POWER = 4.0
_WINDOWED = 0.823  # (sum w)^2 / (N sum w^2) of Tukey's window, 25 % of it tapered, both ways
_FLAT_DEVIATION = 1.0  # grey levels

# Quantisers whose thresholds the mark is pushed over, indexed [u, v], and by how many times its own size at
# most.
_STEPS = np.stack([jpeg_steps(10).T, jpeg_steps(20).T])
_LIMITS = np.array([2.5, 2.0], np.float32)
_HARDENING_LEAST = 1.0  # grey levels of a coefficient at strength 1
_HARDENING_MARGIN = 0.5


def choose_origin(plane: Plane, carrier: Carrier) -> tuple[int, int]:
    """Derive the picture's origin on the torus from key and content; both are 4 modulo 8."""
    rows, columns = (np.linspace(0, n, 9).astype(int) for n in plane.shape)
    sums = np.empty((8, 8))
    for i, (top, bottom) in enumerate(itertools.pairwise(rows)):
        pixel_kernels.thumbnail_sums(plane, columns, top, bottom, sums[i])
    thumbnail = sums / np.outer(np.diff(rows), np.diff(columns))
    digest = carrier.key.stream(Domain.ORIGIN, 2, np.rint(thumbnail).astype(np.uint8).tobytes())
    return 8 * (digest[0] % GRID) + 4, 8 * (digest[1] % GRID) + 4


@dataclass(frozen=True, slots=True)
class Host:
    """A plane prepared for marking: what does not depend on the strength.

    Attributes:
        plane: the canonical plane.
        perception: its neighbourhood measures.
        smooth_mask: float32, the mask of the pilot, a value a cell of 2 x 2 units.
        k: pixels per unit.
        origin: place of the plane's first unit on the torus.
        block_mask: float32 ``(BY, BX)``, the perceptual mask of the 8 x 8 blocks wholly in the plane.
        opacity: float32 of the plane's shape, the mean opacity of a unit's pixels, 0..1; None where all are
            opaque.
        weights: the same of every cell.
    """

    plane: Plane
    perception: Perception
    smooth_mask: Plane
    k: int
    origin: tuple[int, int]
    block_mask: NDArray[np.float32]
    opacity: Plane | None = None
    weights: Plane | None = None

    @property
    def grid_origin(self) -> tuple[int, int]:
        """Place of the first whole block on the torus' grid of blocks."""
        return (self.origin[0] + 4) // BLOCK % GRID, (self.origin[1] + 4) // BLOCK % GRID


def prepare(plane: Plane, k: int, carrier: Carrier, opacity: Plane | None = None) -> Host:
    """Measure a plane before marking it; blocks start at unit (4, 4)."""
    perception = Perception.of(plane)
    n_rows, n_columns = ((n - 4) // BLOCK for n in plane.shape)
    block_mask = block_means(perception.mask, n_rows, n_columns)
    origin = choose_origin(plane, carrier)
    weights = None if opacity is None else cell_means(opacity)
    return Host(plane, perception, perception.smooth_mask(), k, origin, block_mask, opacity, weights)


def make_delta(
    host: Host, carrier: Carrier, codeword: NDArray[np.uint8], n_tones: int, threads: int = 1
) -> Plane:
    """Return the delta at strength 1, grey levels, float32 of the plane's shape."""
    delta = np.empty_like(host.plane)
    pilot, gain = carrier.pilot(n_tones), np.float32(PILOT_RATIO)
    in_strips(
        lambda first, last: kernels.draw_pilot(
            pilot, *host.origin, gain, host.smooth_mask, first, last, delta
        ),
        delta.shape[0],
        threads,
    )
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
    in_strips(
        lambda first, last: kernels.add_inverse_dct(
            chips[:, first:last], BASIS, COEFFICIENT_ROWS, COEFFICIENT_COLUMNS, 4 + BLOCK * first, 4, delta
        ),
        chips.shape[1],
        threads,
        rows=32,
    )
    return delta


def choose_tones(host: Host, carrier: Carrier, pilot_gain: float) -> int:
    """Return the smallest tone count whose tones, at strength 1, hide under the picture's own spectrum.

    In a picture of N units, of which 1024 x 1024 are looked at, a tone of amplitude A stands ``A^2 N / 4``
    above the power density, less what a window takes.
    """
    n_units = _WINDOWED * math.prod(min(n, TORUS) for n in host.plane.shape)
    if host.weights is None:
        amplitude = pilot_gain * float(np.mean(host.perception.mask))
    else:
        amplitude = pilot_gain * float(np.average(host.perception.mask, weights=host.weights))
        # a tone's waves add up under the weights, and the picture's power under their squares
        n_units *= float(np.mean(host.weights)) ** 2 / float(np.mean(host.weights**2))
    level = power_density(host.perception.means, host.weights).at(carrier.tones / TORUS)
    for count in TONE_COUNTS:
        tone_power = 0.25 * amplitude**2 * 2 / count * n_units
        if np.median(tone_power / np.maximum(level[:count], 1e-12)) <= _MAX_TONE_POWER:
            return count
    return TONE_COUNTS[-1]


def choose_strength(host: Host) -> float:
    """Return the strength at which the mark is just not seen.

    At one pixel a unit, the local power of the delta over that of the picture, ``power / (deviation^2 +
    200)``, in the root mean square over the picture, predicts SSIMULACRA2. The delta's local power is what
    its amplitudes make of the mask.
    """
    if host.k > 1:
        return _STRENGTH_BY_UNIT[min(host.k, 5) - 2]
    pilot_mask, chip_mask, share = host.smooth_mask, host.perception.mask, 1.0
    if host.weights is not None:
        # the square of the contrast goes with the fourth power of the masks
        fourth_roots = np.sqrt(np.sqrt(host.weights))
        pilot_mask, chip_mask = pilot_mask * fourth_roots, chip_mask * fourth_roots
        share = float(np.mean(host.weights))
    chips = CHIP_RATIO**2 * N_COEFFICIENTS / BLOCK**2
    square = local_kernels.contrast(
        pilot_mask,
        np.float32(PILOT_RATIO**2),
        chip_mask,
        np.float32(chips),
        host.perception.deviation,
        np.float32(_ACTIVITY_FLOOR),
    )
    square /= share
    noise = math.log(max(_FLUCTUATION * math.sqrt(square), 1e-9))
    strength = math.exp(_VISIBILITY_OFFSET + _VISIBILITY_SLOPE * noise)
    return min(max(strength, _MIN_STRENGTH), _MAX_STRENGTH)


def harden(host: Host, delta: Plane, strength: float, threads: int = 1) -> tuple[Plane, float]:
    """Bring the delta to ``strength``, and push it over thresholds of strong JPEG compression that are near.

    A coefficient that JPEG quantises to the same value with and without the mark carries nothing afterwards;
    one that lies near a decision threshold carries a whole step for little energy: informed embedding (Cox,
    Miller & Bloom 2001, section 5). JPEG's blocks are the picture's only at one pixel a unit.

    What nobody sees is not marked: units without opacity are 0, and JPEG blocks with any of them not
    hardened.

    Returns:
        The delta, and its mean square, every unit counted by its opacity.
    """
    if host.k > 1:
        scaled = delta * np.float32(strength)
        if host.opacity is not None:
            return _seen(scaled, host.opacity)
        return scaled, float(np.vdot(scaled, scaled)) / delta.size
    hardened = np.empty_like(delta)
    size, least = np.float32(strength), np.float32(_HARDENING_LEAST * strength)
    limits = (_STEPS, _LIMITS, least, np.float32(_HARDENING_MARGIN))
    squares = in_strips(
        lambda first, last: quantiser_kernels.harden(host.plane, delta, size, *limits, first, last, hardened),
        -(-delta.shape[0] // BLOCK),
        threads,
        rows=32,
    )
    if host.opacity is not None:
        whole = _wholly_seen(host.opacity)
        return _seen(np.where(whole, hardened, delta * size), host.opacity)
    return hardened, sum(squares) / delta.size


def _wholly_seen(opacity: Plane) -> NDArray[np.bool_]:
    """Tell of every unit whether its 8 x 8 block, from (0, 0) on, has none of opacity 0."""
    seen = np.pad(opacity > 0, [(0, -n % BLOCK) for n in opacity.shape], constant_values=True)
    blocks = seen.reshape(seen.shape[0] // BLOCK, BLOCK, seen.shape[1] // BLOCK, BLOCK).all(axis=(1, 3))
    whole = np.repeat(np.repeat(blocks, BLOCK, axis=0), BLOCK, axis=1)
    return whole[: opacity.shape[0], : opacity.shape[1]]


def _seen(delta: Plane, opacity: Plane) -> tuple[Plane, float]:
    """Return the delta without units of opacity 0, and its mean square, units counted by their opacity."""
    seen = np.where(opacity > 0, delta, np.float32(0))
    return seen, float(np.average(seen**2, weights=opacity))


def _decibels(mse: float) -> float:
    """Return the PSNR of a mean square error in grey levels of 255."""
    return 10 * math.log10(255.0**2 / mse)


def mark(
    pixels: NDArray[Any],
    peak: float,
    carrier: Carrier,
    code: MessageCode,
    message: bytes,
    strength: float,
    threads: int = 1,
    out: NDArray[Any] | None = None,
    visible: NDArray[np.float32] | None = None,
) -> tuple[NDArray[Any], EmbedReport]:
    """Mark pixels ``(H, W)`` or ``(H, W, 3)``, uint8, uint16 or float32; white is ``peak``.

    ``out``, uint8 like ``pixels``, takes the marked pixels, and may be ``pixels``; nothing is written to it
    where the picture is refused. ``visible``, float32 ``(H, W)``, is the opacity of the pixels, 0..1; those
    of opacity 0 stay as they are, and all others count by it. None where all are opaque.

    Raises:
        ImageTooSmallError, ImageTooFlatError: if the message could not be read back from the marked picture.
    """
    k = pixels_per_unit(*pixels.shape[:2])
    if visible is not None and visible.min() >= 1:
        visible = None
    opacity = None if visible is None else canonical_plane(np.ascontiguousarray(visible, np.float32), k)
    if opacity is not None and not opacity.any():
        raise ImageTooFlatError(
            "no pixel of this image is visible (alpha is 0 everywhere): it cannot carry a watermark;"
            " remove the alpha channel or choose another image"
        )
    host = prepare(canonical_plane(pixels, k, peak, threads), k, carrier, opacity)
    codeword = code.encode(message, k)
    n_tones = choose_tones(host, carrier, PILOT_RATIO)
    unit_delta = make_delta(host, carrier, codeword, n_tones, threads)
    total = strength * choose_strength(host)
    delta, square = harden(host, unit_delta, total, threads)
    # rounding to whole levels adds a twelfth
    excess_db = _MIN_PSNR_DB - 20 * math.log10(max(strength, 1.0)) - _decibels(square + 1 / 12)
    if excess_db > 0:
        total *= 10 ** (-excess_db / 20)
        delta, _ = harden(host, unit_delta, total, threads)
    bits = code.message_bits
    if visible is None:
        mask = host.perception.mask
        bare = measure(pixels, peak, delta, k, mask, host.origin, carrier, codeword, n_tones, bits)
        _refuse_lost(host, bare, bits)
        marked, mse = add_delta(pixels, delta, k, peak, threads, out)
        margins, warnings = bare, _warnings(bare, bare)
    else:
        marked, mse = add_visible_delta(pixels, delta, k, peak, visible, threads)
        known = Known(host.origin, carrier, codeword, n_tones, bits)
        bare, shown = measure_seen(marked, peak, visible, k, known)
        _refuse_unseen(host, bare, shown, bits)
        margins, warnings = least(bare, shown), _warnings(bare, shown)
        if out is not None:
            np.copyto(out, marked)
            marked = out
    psnr = _decibels(max(mse, 1e-9))
    report = EmbedReport(psnr, total, n_tones, k, margins.message, margins.jpeg, margins.pilot, warnings)
    return marked, report


def _warnings(bare: Margins, shown: Margins) -> tuple[str, ...]:
    """Say what a mark will not survive, by its margins in the file without alpha and over a background."""
    warnings = []
    for bare_margin, shown_margin, warning in (
        (bare.jpeg, shown.jpeg, "the message is not expected to survive JPEG compression at quality 50"),
        (bare.pilot, shown.pilot, "the pilot is weak: after cropping or scaling the mark may not be found"),
    ):
        if bare_margin < 1 <= shown_margin:
            warning += " when the alpha channel is dropped"
        elif shown_margin < 1 <= bare_margin:
            warning += " when the image is shown over a background"
        if min(bare_margin, shown_margin) < 1:
            warnings.append(warning)
    return tuple(warnings)


def _refuse_lost(host: Host, margins: Margins, message_bits: int) -> None:
    """Raise unless the message can be read from the marked picture as it is."""
    if margins.message >= 1:
        return
    height, width = (n * host.k for n in host.plane.shape)
    if float(np.mean(host.perception.deviation)) < _FLAT_DEVIATION:
        raise ImageTooFlatError(
            f"the picture ({width} x {height}) is too flat or clipped to carry {message_bits} bits: the mark"
            " was lost in rounding; use fewer message bits or more strength"
        )
    raise ImageTooSmallError(
        f"a picture of {width} x {height} pixels with this texture cannot carry {message_bits} bits;"
        " use fewer message bits, more strength or a larger picture"
    )


def _refuse_unseen(host: Host, bare: Margins, shown: Margins, message_bits: int) -> None:
    """Raise unless the message can be read from a picture with transparent pixels, with alpha and without."""
    if min(bare.message, shown.message) >= 1:
        return
    assert host.opacity is not None and host.weights is not None
    height, width = (n * host.k for n in host.plane.shape)
    share, mean = float(np.mean(host.opacity > 0)), float(np.mean(host.opacity))
    part = (
        f"its visible part ({share:.0%} of {width} x {height} pixels, {mean / share:.0%} opaque on average)"
    )
    if shown.message >= 1:
        raise ImageTooSmallError(
            f"{part} carries {message_bits} bits, but not beside the colours of the invisible pixels: make"
            " these one colour, or use fewer message bits or more strength"
        )
    if float(np.average(host.perception.deviation, weights=host.weights)) < _FLAT_DEVIATION:
        raise ImageTooFlatError(
            f"{part} is too flat or clipped and cannot carry {message_bits} bits: the mark was lost in"
            " rounding; use fewer message bits or more strength"
        )
    raise ImageTooSmallError(
        f"{part} cannot carry {message_bits} bits; use fewer message bits, more strength or a larger image"
    )
