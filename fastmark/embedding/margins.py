"""How much of a mark a plane holds: what embedding predicts and checks before it lets a picture go."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastmark.codec.carrier import BLOCK, GRID, TORUS, Carrier
from fastmark.codec.mask import CELL, Perception
from fastmark.codec.message import NEEDED_Z
from fastmark.codec.plane import Plane, add_delta, canonical_plane, composite_plane
from fastmark.detection.placement import LOG_SHIFTS, TorusSpectrum
from fastmark.detection.scores import ScorePlanes, scores
from fastmark.detection.soft_bits import ChipBlocks
from fastmark.kernels import chips as block_kernels
from fastmark.kernels import jpeg as kernels
from fastmark.kernels import mask as local_kernels

MAX_SIDE = 2048
"""Units of the middle of a picture, each way, that a detector looks at."""

REFERENCE_QUALITY = 50
"""JPEG quality of the reference attack."""

# Nats at which the pilot's phases alone prove presence at 1e-9 in a picture cropped or scaled.
NEEDED_PILOT_NATS = math.log(1e9) + LOG_SHIFTS + math.log(16)

# Of the nats of a Gaussian of the pilot's z, what phases prove whose moduli are levelled and limited, and the
# most that one of them does: measured.
_PHASES_SHARE, _NATS_A_TONE = 0.7, 2.6
_WINDOW = 96  # units a side
_SURE = 1.2  # margin of the pilot of a sample that stands for the whole

# Luminance quantisation of ITU-T T.81, table K.1.
_TABLE = """
16 11 10 16 24 40 51 61    12 12 14 19 26 58 60 55    14 13 16 24 40 57 69 56
14 17 22 29 51 87 80 62    18 22 37 56 68 109 103 77  24 35 55 64 81 104 113 92
49 64 78 87 103 121 120 101   72 92 95 98 112 100 103 99
"""


@dataclass(frozen=True, slots=True)
class Margins:
    """Signal over what is needed, as ratios of z: the message untouched and after JPEG, and the pilot.

    A bound falls as ``exp(-z^2 / 2)``, so the pilot's is the root of a ratio of nats.
    """

    message: float
    jpeg: float
    pilot: float


@functools.cache
def jpeg_steps(quality: int) -> NDArray[np.float32]:
    """Return the luminance quantiser of the IJG's libjpeg at a quality: float32 ``(8, 8)``, grey levels."""
    table = np.array(_TABLE.split(), dtype=np.int64).reshape(8, 8)
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    return np.clip((table * percent + 50) // 100, 1, 255).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a mark by who made it.

    Attributes:
        origin: torus place of the plane's first unit; both are 4 modulo 8.
        carrier: of the key.
        codeword: uint8 ``(1024,)``.
        n_tones: the prefix of the pilot.
        message_bits: length of the message.
    """

    origin: tuple[int, int]
    carrier: Carrier
    codeword: NDArray[np.uint8]
    n_tones: int
    message_bits: int

    @property
    def needed(self) -> float:
        """The z at which the message can be read."""
        return NEEDED_Z[self.message_bits]

    def read(
        self, plane: Plane, cells: Plane, windows: list[Window], gain: float = 1.0, *, whole: bool
    ) -> Margins:
        """Read a marked plane, or windows of one side by side, as a detector would that knew all this.

        Args:
            plane: float32, the windows' units.
            cells: the mask of their cells.
            windows: where they lie.
            gain: what every z is multiplied by.
            whole: whether there is one window, which shows all: then the pilot is seen as a detector sees it.
        """
        signs = np.append(1.0 - 2.0 * self.codeword, 0.0).astype(np.float32)
        compressed = np.empty_like(plane)
        kernels.quantise(plane, jpeg_steps(REFERENCE_QUALITY), compressed)
        weighted, weighted_jpeg = (_weighted(p, cells) for p in (plane, compressed))
        z, z_jpeg = (
            gain * _message_z(w, windows, self.origin, self.carrier, signs) for w in (weighted, weighted_jpeg)
        )
        if whole:
            place = self.origin[0] + windows[0].top, self.origin[1] + windows[0].left
            torus = TorusSpectrum(ScorePlanes(plane), np.eye(2))
            nats = torus.coherence(self.carrier, self.n_tones, place)
        else:
            z_pilot = gain * _pilot_z(weighted, windows, self.origin, self.carrier.pilot(self.n_tones))
            nats = min(_PHASES_SHARE * max(z_pilot, 0.0) ** 2 / 2, _NATS_A_TONE * self.n_tones)
        return Margins(z / self.needed, z_jpeg / self.needed, math.sqrt(nats / NEEDED_PILOT_NATS))


def measure(
    pixels: NDArray[Any],
    peak: float,
    delta: Plane,
    k: int,
    mask: Plane,
    origin: tuple[int, int],
    carrier: Carrier,
    codeword: NDArray[np.uint8],
    n_tones: int,
    message_bits: int,
) -> Margins:
    """Read the picture that would be marked as a detector would that knew origin and codeword.

    A large picture is read in four windows, and what they show is taken for the rest; where that is short,
    the whole picture is read.

    Args:
        pixels: ``(H, W)`` or ``(H, W, 3)``, not marked; white is ``peak``.
        peak: as there.
        delta: float32 ``(H // k, W // k)``, what is to be added.
        k: pixels per unit.
        mask: perceptual mask, a value a cell.
        origin: torus place of the first unit; both are 4 modulo 8.
        carrier: of the key.
        codeword: uint8 ``(1024,)``.
        n_tones: the prefix of the pilot.
        message_bits: length of the message.
    """
    known = Known(origin, carrier, codeword, n_tones, message_bits)

    def read(windows: list[Window], *, whole: bool) -> Margins:
        plane, cells = _mosaic(pixels, peak, delta, k, mask, windows)
        # what the windows show is taken for the rest
        return known.read(plane, cells, windows, math.sqrt(delta.size / plane.size), whole=whole)

    height, width = delta.shape
    everything = [Window(0, 0, height, width)]
    if min(height, width) < 4 * _WINDOW:
        return read(everything, whole=True)
    tops, lefts = ([(i * n // 4 - _WINDOW // 2) // BLOCK * BLOCK for i in (1, 3)] for n in (height, width))
    windows = [Window(top, left, _WINDOW, _WINDOW) for top in tops for left in lefts]
    sample = read(windows, whole=False)
    # a sampled z is off by one standard deviation, 1, times what it is taken for
    error = math.sqrt(delta.size / (len(windows) * _WINDOW**2)) / known.needed
    sure = sample.message >= 1 + 3 * error and sample.jpeg >= 1 + error and sample.pilot >= _SURE
    return sample if sure else read(everything, whole=True)


def measure_seen(
    marked: NDArray[Any], peak: float, visible: NDArray[np.float32], k: int, known: Known
) -> tuple[Margins, Margins]:
    """Read a marked picture with transparent pixels, all that a detector looks at.

    Args:
        marked: ``(H, W)`` or ``(H, W, 3)``, the colours, marked.
        peak: the value of white.
        visible: float32 ``(H, W)``, opacity on 0..1.
        k: pixels per unit.
        known: of the mark.

    Returns:
        The margins of the colours without alpha, as a detector sees the file itself; and the least of those
        of the picture over white and over black, as others show it.
    """

    def read(plane: Plane) -> Margins:
        sides = [min(n, MAX_SIDE) for n in plane.shape]
        # that a detector begins at any unit and not at a block's makes no difference to speak of
        starts = [(n - side) // 2 // BLOCK * BLOCK for n, side in zip(plane.shape, sides, strict=True)]
        rows, columns = (slice(at, at + side) for at, side in zip(starts, sides, strict=True))
        part = np.ascontiguousarray(plane[rows, columns])
        return known.read(part, Perception.of(part).mask, [Window(*starts, *sides)], whole=True)

    shown = [read(composite_plane(marked, k, peak, visible, level)) for level in (255.0, 0.0)]
    return read(canonical_plane(marked, k, peak)), least(*shown)


def least(*margins: Margins) -> Margins:
    """Return the smallest margin of each kind."""
    return Margins(
        min(m.message for m in margins), min(m.jpeg for m in margins), min(m.pilot for m in margins)
    )


class Window(NamedTuple):
    """A part of the plane, in units; top and left are multiples of eight."""

    top: int
    left: int
    height: int
    width: int


def _mosaic(
    pixels: NDArray[Any], peak: float, delta: Plane, k: int, mask: Plane, windows: list[Window]
) -> tuple[Plane, Plane]:
    """Return windows of the plane of the marked picture, side by side, and the mask of their cells."""
    parts, cells = [], []
    for top, left, height, width in windows:
        seen = pixels[top * k : (top + height) * k, left * k : (left + width) * k]
        added = np.ascontiguousarray(delta[top : top + height, left : left + width])
        parts.append(canonical_plane(add_delta(np.ascontiguousarray(seen), added, k, peak)[0], k, peak))
        rows, columns = (slice(at // CELL, (at + n + 1) // CELL) for at, n in ((top, height), (left, width)))
        cells.append(mask[rows, columns])
    return np.concatenate(parts, axis=1), np.concatenate(cells, axis=1)


def _weighted(plane: Plane, cells: Plane) -> Plane:
    """Return scores times the mask."""
    weighted = scores(plane)
    local_kernels.multiply_cells(weighted, cells)
    return weighted


def _message_z(
    weighted: Plane,
    windows: list[Window],
    origin: tuple[int, int],
    carrier: Carrier,
    signs: NDArray[np.float32],
) -> float:
    """Return the total signal-to-noise ratio ``sum c L / sqrt(sum z^2)`` of a known codeword in a mosaic.

    ``signs`` ``(1025,)``: the code bits as +-1, and 0 for anchors, which are left out.
    """
    total = square = 0.0
    for i, window in enumerate(windows):
        part = weighted[4:, i * window.width + 4 : (i + 1) * window.width]
        seen = ChipBlocks.of(np.ascontiguousarray(part)).coefficients
        place = ((at + start + 4) // BLOCK % GRID for at, start in zip(origin, window[:2], strict=True))
        expected, one = np.empty_like(seen), np.ones(seen.shape[1:], np.float32)
        block_kernels.chip_amplitudes(
            one, np.float32(1), carrier.signs, carrier.code_bit, signs, *place, expected
        )
        expected *= seen
        total += float(expected.sum(dtype=np.float64))
        square += float(np.vdot(expected, expected))
    return total / math.sqrt(max(square, 1e-12))


def _pilot_z(
    weighted: Plane, windows: list[Window], origin: tuple[int, int], pilot: NDArray[np.float32]
) -> float:
    """Return the signal-to-noise ratio of a known pilot in a mosaic."""
    total = square = 0.0
    for i, (top, left, height, width) in enumerate(windows):
        rows, columns = (
            (origin[0] + top + np.arange(height)) % TORUS,
            (origin[1] + left + np.arange(width)) % TORUS,
        )
        products = weighted[:, i * width : (i + 1) * width] * pilot[rows[:, None], columns]
        total += float(products.sum(dtype=np.float64))
        square += float(np.vdot(products, products))
    return total / math.sqrt(max(square, 1e-12))
