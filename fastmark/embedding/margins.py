"""How much of a mark a plane holds, which embedding checks before it lets an image go."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastmark.codec.carrier import Carrier
from fastmark.codec.mask import CELL, Perception
from fastmark.codec.message import NEEDED_Z
from fastmark.codec.plane import Plane
from fastmark.codec.tables import BLOCK, GRID, TORUS
from fastmark.detection.placement import LOG_SHIFTS
from fastmark.detection.plan import MAX_SIDE, ScanPlan
from fastmark.detection.scores import ScorePlanes, scores
from fastmark.detection.soft_bits import ChipBlocks
from fastmark.detection.torus import TorusSpectrum
from fastmark.embedding.hardening import jpeg_steps
from fastmark.embedding.host import Pixels
from fastmark.kernels import chips as chip_kernels
from fastmark.kernels import jpeg as jpeg_kernels
from fastmark.kernels import mask as mask_kernels

REFERENCE_QUALITY = 50
"""JPEG quality of the reference attack."""

# Nats at which the pilot's phases alone prove presence at 1e-9 in an image cropped or scaled.
NEEDED_PILOT_NATS = math.log(1e9) + LOG_SHIFTS + math.log(16)

PHASES_SHARE, NATS_PER_TONE = 0.7, 2.6
"""How the nats that the pilot's phases prove follow from its z, ``min(0.7 z^2 / 2, 2.6 n)`` of n tones.

The moduli of tones are levelled and limited, which costs a part of the nats of a Gaussian, and one tone
proves so much at most. Measured by benchmarks/calibrate.py.
"""

_WINDOW = 96  # units each way
_SURE = 1.2  # margin of the pilot of a sample that stands for the whole


@dataclass(frozen=True, slots=True)
class Margins:
    """Signal over the signal needed, as ratios of z: the message untouched and after JPEG, and the pilot.

    A bound falls as ``exp(-z^2 / 2)``, so the pilot's is the root of a ratio of nats.
    """

    message: float
    jpeg: float
    pilot: float


@dataclass(frozen=True, slots=True)
class KnownMark:
    """A mark whose place and message are known, as they are to the embedder.

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
            gain: factor of every z.
            whole: whether there is one window, of everything: then the pilot is seen as a detector sees it.
        """
        signs = np.append(1.0 - 2.0 * self.codeword, 0.0).astype(np.float32)
        compressed = np.empty_like(plane)
        jpeg_kernels.quantise(plane, jpeg_steps(REFERENCE_QUALITY), compressed)
        weighted, weighted_jpeg = (_weighted(p, cells) for p in (plane, compressed))
        z, z_jpeg = (
            gain * _message_z(w, windows, self.origin, self.carrier, signs) for w in (weighted, weighted_jpeg)
        )
        if whole:
            place = self.origin[0] + windows[0].top, self.origin[1] + windows[0].left
            torus = TorusSpectrum(ScorePlanes(plane), np.eye(2), ScanPlan.of(plane.shape).step)
            nats = torus.coherence(self.carrier, self.n_tones, place)
        else:
            z_pilot = gain * _pilot_z(weighted, windows, self.origin, self.carrier.pilot(self.n_tones))
            nats = min(PHASES_SHARE * max(z_pilot, 0.0) ** 2 / 2, NATS_PER_TONE * self.n_tones)
        return Margins(z / self.needed, z_jpeg / self.needed, math.sqrt(nats / NEEDED_PILOT_NATS))


def measure(image: Pixels, delta: Plane, mask: Plane, known: KnownMark) -> Margins:
    """Read the image that would be marked as a detector would that knew origin and codeword.

    A large image is read in four windows, which stand for the rest; where they leave doubt, the whole image
    is read.

    Args:
        image: not marked; its opacity is ignored.
        delta: float32 ``(H // k, W // k)``, to be added.
        mask: the perceptual mask of the plane not marked, a value per cell.
        known: the mark that ``delta`` is.
    """

    def read(windows: list[Window], *, whole: bool) -> Margins:
        plane, cells = _mosaic(image, delta, mask, windows)
        # the windows stand for the rest
        return known.read(plane, cells, windows, math.sqrt(delta.size / plane.size), whole=whole)

    height, width = delta.shape
    everything = [Window(0, 0, height, width)]
    if min(height, width) < 4 * _WINDOW:
        return read(everything, whole=True)
    tops, lefts = ([(i * n // 4 - _WINDOW // 2) // BLOCK * BLOCK for i in (1, 3)] for n in (height, width))
    windows = [Window(top, left, _WINDOW, _WINDOW) for top in tops for left in lefts]
    sample = read(windows, whole=False)
    # a sampled z is off by one standard deviation, 1, times the gain
    error = math.sqrt(delta.size / (len(windows) * _WINDOW**2)) / known.needed
    sure = sample.message >= 1 + 3 * error and sample.jpeg >= 1 + error and sample.pilot >= _SURE
    return sample if sure else read(everything, whole=True)


def measure_seen(marked: Pixels, known: KnownMark) -> tuple[Margins, Margins]:
    """Read a marked image with transparent pixels, all that a detector looks at.

    Returns:
        The margins of the colours without alpha, as a detector sees the file itself; and the least of those
        of the image over white and over black, as others show it.
    """

    def read(plane: Plane) -> Margins:
        sides = [min(n, MAX_SIDE) for n in plane.shape]
        # that a detector begins at any unit and not at a block's makes no difference to speak of
        starts = [(n - side) // 2 // BLOCK * BLOCK for n, side in zip(plane.shape, sides, strict=True)]
        rows, columns = (slice(at, at + side) for at, side in zip(starts, sides, strict=True))
        part = np.ascontiguousarray(plane[rows, columns])
        return known.read(part, Perception.of(part).mask, [Window(*starts, *sides)], whole=True)

    shown = [read(marked.plane_over(background)) for background in (255.0, 0.0)]
    return read(marked.plane()), least(*shown)


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


def _mosaic(image: Pixels, delta: Plane, mask: Plane, windows: list[Window]) -> tuple[Plane, Plane]:
    """Return windows of the plane of the marked image, side by side, and the mask of their cells."""
    parts, cells = [], []
    for top, left, height, width in windows:
        added = np.ascontiguousarray(delta[top : top + height, left : left + width])
        parts.append(image.part(top, left, height, width).add(added)[0].plane())
        rows, columns = (slice(at // CELL, (at + n + 1) // CELL) for at, n in ((top, height), (left, width)))
        cells.append(mask[rows, columns])
    return np.concatenate(parts, axis=1), np.concatenate(cells, axis=1)


def _weighted(plane: Plane, cells: Plane) -> Plane:
    """Return scores times the mask."""
    weighted = scores(plane)
    mask_kernels.multiply_cells(weighted, cells)
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
        chip_kernels.chip_amplitudes(
            one,
            np.float32(1),
            carrier.signs,
            carrier.signs,
            np.zeros_like(one),
            carrier.code_bit,
            signs,
            *place,
            expected,
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
