"""How much of a mark a plane holds, which embedding checks before it lets an image go."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastmark.codec.carrier import Carrier
from fastmark.codec.mask import CELL, Perception
from fastmark.codec.message import NEEDED_Z
from fastmark.codec.plane import Plane, canonical_plane
from fastmark.codec.tables import BLOCK, GRID, TORUS
from fastmark.detection.placement import LOG_SHIFTS
from fastmark.detection.plan import MAX_SIDE
from fastmark.detection.scores import weighted_scores
from fastmark.detection.soft_bits import ChipBlocks
from fastmark.embedding.hardening import jpeg_steps
from fastmark.embedding.host import Pixels
from fastmark.embedding.survival import SURE, Look, Looks, Predictions
from fastmark.kernels import chips as chip_kernels
from fastmark.kernels import jpeg as jpeg_kernels

REFERENCE_QUALITY = 50
"""JPEG quality of the reference attack."""

# Nats at which the pilot's phases alone prove presence at 1e-9 in an image cropped or scaled.
NEEDED_PILOT_NATS = math.log(1e9) + LOG_SHIFTS + math.log(16)

_WINDOW = 96  # units each way
_ROWS = 64  # of units, that are compressed at a time
_SURE = 1.2  # margin of the pilot of a sample that stands for the whole


@dataclass(frozen=True, slots=True)
class Margins:
    """Signal over the signal needed, as ratios of z: the message untouched and after JPEG, and the pilot.

    A bound falls as ``exp(-z^2 / 2)``, so the pilot's is the root of a ratio of nats. ``survival``: what is
    predicted of each reference attack, from the same looks.
    """

    message: float
    jpeg: float
    pilot: float
    survival: Predictions = SURE


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

    def margins(self, looks: Looks) -> Margins:
        """Return what was seen over what is needed of it."""
        return Margins(
            looks.full.message / self.needed,
            looks.jpeg.message / self.needed,
            math.sqrt(looks.full.nats / NEEDED_PILOT_NATS),
            looks.survival(self.needed),
        )

    def look(
        self,
        plane: Plane,
        compressed: Plane,
        cells: Plane,
        windows: list[Window],
        shape: tuple[int, int],
        k: int,
    ) -> Looks:
        """Read a marked plane, or windows of one side by side, as a detector would that knew all this.

        Of a single window, the pilot is seen as a detector sees it. Several stand for the rest.

        Args:
            plane: float32, the windows' units.
            compressed: the same after the reference compression.
            cells: the mask of their cells.
            windows: where they lie.
            shape: of the whole plane, units.
            k: pixels per unit.
        """
        weighted, weighted_jpeg = (weighted_scores(p, cells) for p in (plane, compressed))
        half = canonical_plane(plane, 2)
        weighted_half = weighted_scores(half, Perception.of(half).mask)
        pattern = _pilot_of(windows, self.origin, self.carrier.pilot(self.n_tones))
        pilots = [_pilot_z(w, pattern) for w in (weighted, weighted_jpeg)]
        z, z_jpeg = (self._message_z(w, windows) for w in (weighted, weighted_jpeg))
        z_half = self._message_z(weighted_half, windows, 2)
        if len(windows) > 1:
            gain = math.sqrt(math.prod(shape) / plane.size)
            z, z_jpeg, z_half = gain * z, gain * z_jpeg, gain * z_half
            pilot, pilot_jpeg = (gain * p for p in pilots)
            pilot_half = gain * _pilot_z(weighted_half, canonical_plane(pattern, 2))
            look = functools.partial(Look.sampled, n_tones=self.n_tones)
            # a quarter of the area has half of every z
            full, crop = look(z, pilot), look(z / 2, pilot / 2)
            return Looks(shape, k, full, look(z_jpeg, pilot_jpeg), crop, look(z_half, pilot_half))
        full = self._look(z, weighted, windows[0], 1)
        kept = (max(pilots[1], 0.0) / max(pilots[0], 1e-9)) ** 2
        jpeg = Look(z_jpeg, kept * full.nats, kept * full.score)
        half_look = self._look(z_half, weighted_half, windows[0], 2)
        return Looks(shape, k, full, jpeg, self._crop(weighted, windows[0]), half_look)

    def _look(self, z: float, weighted: Plane, window: Window, step: int) -> Look:
        place = self.origin[0] + window.top, self.origin[1] + window.left
        return Look.whole(z, weighted, self.carrier, place, step)

    def _crop(self, weighted: Plane, window: Window) -> Look:
        """Look at the quarter of the area in the middle of a window."""
        top, left = window.height // 4 // BLOCK * BLOCK, window.width // 4 // BLOCK * BLOCK
        height, width = window.height // 2, window.width // 2
        middle = Window(window.top + top, window.left + left, height, width)
        part = np.ascontiguousarray(weighted[top : top + height, left : left + width])
        return self._look(self._message_z(part, [middle]), part, middle, 1)

    def _message_z(self, weighted: Plane, windows: list[Window], step: int = 1) -> float:
        """Return the total signal-to-noise ratio ``sum c L / sqrt(sum z^2)`` of the codeword in a mosaic.

        ``step``: units to a sample, 1 or 2. Anchors are left out.
        """
        signs = np.append(1.0 - 2.0 * self.codeword, 0.0).astype(np.float32)
        total = square = 0.0
        for i, window in enumerate(windows):
            width, first = window.width // step, 4 // step
            part = weighted[first:, i * width + first : (i + 1) * width]
            seen = ChipBlocks.of(np.ascontiguousarray(part), step=step).coefficients
            place = (
                (at + start + 4) // BLOCK % GRID for at, start in zip(self.origin, window[:2], strict=True)
            )
            part_total, part_square = chip_kernels.sum_known(
                seen, self.carrier.signs, self.carrier.code_bit, signs, *place
            )
            total += part_total
            square += part_square
        return total / math.sqrt(max(square, 1e-12))


def measure(image: Pixels, delta: Plane, mask: Plane, known: KnownMark) -> Margins:
    """Read an image that would be marked; as :func:`measure_each` of one mark."""
    return measure_each(image, delta, mask, [known])[0]


def measure_each(image: Pixels, delta: Plane, mask: Plane, knowns: Sequence[KnownMark]) -> list[Margins]:
    """Read the image that would be marked as a detector would that knew origin and codeword of each mark.

    A large image is read in four windows, which stand for the rest; where they leave doubt, the whole image
    is read.

    Args:
        image: not marked; its opacity is ignored.
        delta: float32 ``(H // k, W // k)``, to be added.
        mask: the perceptual mask of the plane not marked, a value per cell.
        knowns: the marks whose sum ``delta`` is.
    """
    height, width = delta.shape

    def read(windows: list[Window], sought: Sequence[KnownMark]) -> list[Margins]:
        if not sought:
            return []
        mosaic = _mosaic(image, delta, mask, windows)
        return [one.margins(one.look(*mosaic, windows, (height, width), image.k)) for one in sought]

    everything = [Window(0, 0, height, width)]
    if min(height, width) < 4 * _WINDOW:
        return read(everything, knowns)
    tops, lefts = ([(i * n // 4 - _WINDOW // 2) // BLOCK * BLOCK for i in (1, 3)] for n in (height, width))
    windows = [Window(top, left, _WINDOW, _WINDOW) for top in tops for left in lefts]
    margins = read(windows, knowns)
    # a sampled z is off by one standard deviation, 1, times the gain
    gain = math.sqrt(delta.size / (len(windows) * _WINDOW**2))
    unsure = [i for i, one in enumerate(knowns) if not _is_sure(margins[i], gain / one.needed)]
    for i, whole in zip(unsure, read(everything, [knowns[i] for i in unsure]), strict=True):
        margins[i] = whole
    return margins


def _is_sure(sample: Margins, error: float) -> bool:
    """Whether margins of windows, with a standard deviation of ``error``, leave no doubt."""
    survives = min(sample.jpeg, *sample.survival.margins()) >= 1 + error
    return sample.message >= 1 + 3 * error and survives and sample.pilot >= _SURE


def measure_seen(marked: Pixels, knowns: Sequence[KnownMark]) -> list[tuple[Margins, Margins]]:
    """Read a marked image with transparent pixels, all that a detector looks at.

    Returns:
        For each mark, the margins of the colours without alpha, as a detector sees the file itself; and the
        least of those of the image over white and over black, as others show it.
    """

    def read(background: float | None) -> list[Margins]:
        plane = marked.plane() if background is None else marked.plane_over(background)
        sides = [min(n, MAX_SIDE) for n in plane.shape]
        # that a detector begins at any unit and not at a block's makes no difference to speak of
        starts = [(n - side) // 2 // BLOCK * BLOCK for n, side in zip(plane.shape, sides, strict=True)]
        rows, columns = (slice(at, at + side) for at, side in zip(starts, sides, strict=True))
        compressed = compress(marked, plane, background)
        part, part_jpeg = (np.ascontiguousarray(whole[rows, columns]) for whole in (plane, compressed))
        windows, mask = [Window(*starts, *sides)], Perception.of(part).mask
        looks = [one.look(part, part_jpeg, mask, windows, part.shape, marked.k) for one in knowns]
        return [one.margins(look) for one, look in zip(knowns, looks, strict=True)]

    shown = map(least, read(255.0), read(0.0))
    return list(zip(read(None), shown, strict=True))


def compress(image: Pixels, plane: Plane, background: float | None = None) -> Plane:
    """Return the plane of an image after JPEG at the reference quality, of which its luma is quantised.

    That is done at its own pixels: a mark of more pixels per unit loses less by it.

    Args:
        image: its opacity is ignored without a background.
        plane: of the image.
        background: grey level over which it is shown; None for its colours alone.
    """
    steps = jpeg_steps(REFERENCE_QUALITY)
    if image.k == 1:
        compressed = np.empty_like(plane)
        jpeg_kernels.quantise(plane, steps, compressed)
        return compressed
    strips = []
    for first in range(0, plane.shape[0], _ROWS):
        last = min(first + _ROWS, plane.shape[0])
        place = np.s_[first * image.k : last * image.k, : plane.shape[1] * image.k]
        visible = None if image.visible is None else image.visible[place]
        strip = Pixels(np.ascontiguousarray(image.values[place]), image.peak, 1, visible)
        luma = strip.plane() if background is None else strip.plane_over(background)
        quantised = np.empty_like(luma)
        jpeg_kernels.quantise(luma, steps, quantised)
        strips.append(canonical_plane(quantised, image.k))
    return np.concatenate(strips)


def least(*margins: Margins) -> Margins:
    """Return the smallest margin of each kind."""
    return Margins(
        min(m.message for m in margins),
        min(m.jpeg for m in margins),
        min(m.pilot for m in margins),
        Predictions.least(*(m.survival for m in margins)),
    )


class Window(NamedTuple):
    """A part of the plane, in units; top and left are multiples of eight."""

    top: int
    left: int
    height: int
    width: int


def _mosaic(image: Pixels, delta: Plane, mask: Plane, windows: list[Window]) -> tuple[Plane, Plane, Plane]:
    """Return windows of the plane of the marked image, side by side.

    Then the same after the reference compression, and the mask of their cells.
    """
    parts, compressed, cells = [], [], []
    for top, left, height, width in windows:
        added = np.ascontiguousarray(delta[top : top + height, left : left + width])
        marked = image.part(top, left, height, width).add(added)[0]
        parts.append(marked.plane())
        compressed.append(compress(marked, parts[-1]))
        rows, columns = (slice(at // CELL, (at + n + 1) // CELL) for at, n in ((top, height), (left, width)))
        cells.append(mask[rows, columns])
    if len(windows) == 1:
        return parts[0], compressed[0], cells[0]
    return np.concatenate(parts, axis=1), np.concatenate(compressed, axis=1), np.concatenate(cells, axis=1)


def _pilot_of(windows: list[Window], origin: tuple[int, int], pilot: NDArray[np.float32]) -> Plane:
    """Return the pilot as windows side by side show it."""
    parts = []
    for top, left, height, width in windows:
        part = np.empty((height, width), np.float32)
        even = np.ones(((height + 1) // CELL, (width + 1) // CELL), np.float32)
        place = (origin[0] + top) % TORUS, (origin[1] + left) % TORUS
        chip_kernels.draw_pilot(pilot, *place, np.float32(1), even, 0, height, part)
        parts.append(part)
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)


def _pilot_z(weighted: Plane, pattern: Plane) -> float:
    """Return the signal-to-noise ratio of a known pilot in a mosaic."""
    products = weighted * pattern
    total = float(products.sum(dtype=np.float64))
    return total / math.sqrt(max(float(np.vdot(products, products)), 1e-12))
