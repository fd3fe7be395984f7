"""An earlier mark of the same key drawn again at its place, and taken off the image."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fastmark.codec.binding import CLASSES, BindingClass
from fastmark.codec.carrier import Carrier
from fastmark.codec.mask import Perception
from fastmark.codec.message import CODE_BITS, MAX_UNIT
from fastmark.codec.plane import Plane
from fastmark.codec.tables import BLOCK, N_COEFFICIENTS, TORUS
from fastmark.detection.scores import ScorePlanes, weighted_scores
from fastmark.detection.soft_bits import ChipBlocks
from fastmark.detection.torus import TorusSpectrum
from fastmark.embedding.design import Design
from fastmark.embedding.drawing import add_chips, chip_coefficients, draw_pilot
from fastmark.embedding.earlier import Earlier
from fastmark.embedding.host import Pixels, prepare
from fastmark.embedding.margins import KnownMark, Margins, measure

_FIRST = BLOCK // 2  # where the blocks of a plane begin when it is marked
_START, _LARGEST = 0.7, 2.5  # strength that is tried first, and at most
_ROUNDS = 3
_TOLERANCE = 0.02  # of a placement's matrix, relative to whole pixels per unit


@dataclass(frozen=True, slots=True)
class Lattice:
    """Where the units of an earlier mark lie on the pixels of an image that was at most cropped since.

    Attributes:
        k: pixels per unit.
        start: first pixel of the first whole unit, each way, 0..k - 1.
        origin: torus place of that unit, 0..1023.
    """

    k: int
    start: tuple[int, int]
    origin: tuple[int, int]

    @classmethod
    def of(cls, image: Pixels, earlier: Earlier, carrier: Carrier) -> Lattice | None:
        """Find the lattice of a mark in an image that holds it; None for geometries other than crops."""
        placement, decoded = earlier.placement, earlier.decoded
        scale = float(np.sqrt(abs(np.linalg.det(placement.matrix))))
        k = max(1, round(earlier.k * scale))
        if decoded is not None and decoded.k < MAX_UNIT:
            k = decoded.k
        expected = np.eye(2) * k / earlier.k
        if placement.inverted or np.abs(placement.matrix - expected).max() > _TOLERANCE * k / earlier.k:
            return None
        # a unit in the middle, where an error of the matrix moves it least
        shape = earlier.analysis.planes.shape
        corner = (np.array([n // earlier.k for n in image.values.shape[:2]]) - shape) // 2
        unit = np.rint(np.linalg.solve(placement.matrix, np.array(shape) / 2 - placement.offset))
        sample = placement.matrix @ unit + placement.offset + corner
        lattice = cls._at(k, (sample + 0.5) * earlier.k - k / 2, unit)
        uncropped = k == earlier.k and all(n % BLOCK == _FIRST for n in lattice.origin)
        return lattice if k == 1 or uncropped else lattice._refined(image, carrier)

    @classmethod
    def _at(cls, k: int, first: NDArray[np.float64], unit: NDArray[np.float64]) -> Lattice:
        """Return the lattice on which ``unit`` begins about pixel ``first``."""
        pixel = np.rint(first).astype(int)
        y, x = (int(n) for n in (unit.astype(int) - pixel // k) % TORUS)
        return cls(k, (int(pixel[0] % k), int(pixel[1] % k)), (y, x))

    def part(self, image: Pixels) -> Pixels:
        """Return the pixels of the image from the first whole unit on."""
        y, x = self.start
        values = np.ascontiguousarray(image.values[y:, x:])
        visible = None if image.visible is None else np.ascontiguousarray(image.visible[y:, x:])
        return Pixels(values, image.peak, self.k, visible)

    def _refined(self, image: Pixels, carrier: Carrier) -> Lattice:
        """Return the lattice at the first pixel at which pilot and anchors show best, side by side.

        Phases alone prefer whole units, and k pixels are too fine for them.
        """
        best, found = -np.inf, self
        for axis in (0, 1):
            for at in range(self.k):
                start = (at, found.start[1]) if axis == 0 else (found.start[0], at)
                z, lattice = replace(self, start=start)._placed(image, carrier)
                if z > best:
                    best, found = z, lattice
        return found

    def _placed(self, image: Pixels, carrier: Carrier) -> tuple[float, Lattice]:
        """Return the z of pilot and anchors on the plane of these units, and the lattice there."""
        planes = ScorePlanes(self.part(image).plane())
        middle = planes.middle(TORUS)
        z, placement = TorusSpectrum(middle, np.eye(2), 1).place_densely(carrier, turns=(False,))
        corner = (np.array(planes.shape) - middle.shape) // 2
        return z, self._at(self.k, (placement.offset + corner) * self.k + self.start, np.zeros(2))


def erase(image: Pixels, earlier: Earlier, carrier: Carrier, threads: int = 1) -> Pixels | None:
    """Take an earlier mark off an image.

    It is drawn again at its place, with the mask of the present plane, and subtracted at the strengths that
    bring its correlation with the scores to zero: of every coefficient of the chips, and of the pilot.

    Returns:
        The image without it, in new arrays; None where the mark's geometry is not that of a crop.
    """
    lattice = Lattice.of(image, earlier, carrier)
    if lattice is None:
        return None
    part = lattice.part(image)
    delta = _Drawn.of(part, lattice.origin, earlier, carrier, threads).fitted()
    values = image.values.copy()
    y, x = lattice.start
    values[y:, x:] = part.add(-delta, threads)[0].values
    return Pixels(values, image.peak, image.k, image.visible)


def measure_earlier(image: Pixels, earlier: Earlier, carrier: Carrier) -> Margins | None:
    """Return the margins of an earlier mark whose message is known; None where it cannot be drawn again."""
    lattice = Lattice.of(image, earlier, carrier)
    if lattice is None or earlier.decoded is None:
        return None
    y, x = ((_FIRST - n) % BLOCK for n in lattice.origin)
    values = lattice.part(image).values[y * lattice.k :, x * lattice.k :]
    part = Pixels(np.ascontiguousarray(values), image.peak, lattice.k)
    plane = part.plane()
    origin = (lattice.origin[0] + y) % TORUS, (lattice.origin[1] + x) % TORUS
    known = KnownMark(
        origin, carrier, earlier.decoded.codeword, earlier.placement.n_tones, earlier.message_bits
    )
    return measure(part, np.zeros_like(plane), Perception.of(plane).mask, known)


@dataclass(frozen=True, slots=True)
class _Drawn:
    """An earlier mark drawn again on the plane that holds it.

    Attributes:
        plane: that plane.
        k: pixels per unit.
        padding: rows and columns added before it, so that blocks begin as on a plane that is marked.
        mask: perceptual mask of the plane, a value per cell.
        pilot: float32 of the plane's shape, grey levels at strength 1.
        chips: DCT coefficients at strength 1, ``(10, BY, BX)``, of the padded plane's blocks.
        padded: shape of the padded plane.
        binding: the class that the chips agree with best.
    """

    plane: Plane
    k: int
    padding: tuple[int, int]
    mask: Plane
    pilot: Plane
    chips: NDArray[np.float32]
    padded: tuple[int, int]
    binding: BindingClass | None = None

    @classmethod
    def of(
        cls, part: Pixels, origin: tuple[int, int], earlier: Earlier, carrier: Carrier, threads: int
    ) -> _Drawn:
        plane = part.plane(threads)
        padding = (origin[0] - _FIRST) % BLOCK, (origin[1] - _FIRST) % BLOCK
        host = prepare(np.pad(plane, [(n, 0) for n in padding], mode="symmetric"), part.k)
        first = (origin[0] - padding[0]) % TORUS, (origin[1] - padding[1]) % TORUS
        design = Design(first, earlier.placement.n_tones)
        pilot = draw_pilot(host, carrier, design, threads)
        bits = np.zeros(CODE_BITS) if earlier.decoded is None else 1.0 - 2.0 * earlier.decoded.codeword
        drawn = cls(
            plane,
            part.k,
            padding,
            Perception.of(plane).mask,
            np.ascontiguousarray(pilot[padding[0] :, padding[1] :]),
            np.empty(0, np.float32),
            (host.plane.shape[0], host.plane.shape[1]),
        )
        seen, _ = drawn._seen(plane)
        kinds: list[BindingClass | None] = [None, *CLASSES]
        chips = [chip_coefficients(host, carrier, bits, replace(design, binding=kind)) for kind in kinds]
        fits = [float(np.vdot(seen, one)) / max(float(np.linalg.norm(one)), 1e-9) for one in chips]
        best = int(np.argmax(fits))
        return replace(drawn, chips=chips[best], binding=kinds[best])

    def _seen(self, plane: Plane) -> tuple[NDArray[np.float32], Plane]:
        """Return the chips' statistics of a plane that differs little, and its weighted scores."""
        weighted = weighted_scores(plane, self.mask)
        padded = np.zeros(self.padded, np.float32)
        padded[self.padding[0] :, self.padding[1] :] = weighted
        return ChipBlocks.of(padded, first=_FIRST).coefficients, weighted

    def correlations(self, plane: Plane) -> NDArray[np.float64]:
        """Return how the scores of a plane agree with the ten coefficients and, last, the pilot."""
        seen, weighted = self._seen(plane)
        return np.append(
            np.sum(seen * self.chips, axis=(1, 2), dtype=np.float64), float(np.vdot(weighted, self.pilot))
        )

    def delta(self, strengths: NDArray[np.float64]) -> Plane:
        """Return the mark at the strengths of ten coefficients and the pilot."""
        delta = np.zeros(self.padded, np.float32)
        add_chips(self.chips * strengths[:N_COEFFICIENTS, None, None].astype(np.float32), delta)
        visible = delta[self.padding[0] :, self.padding[1] :]
        return np.ascontiguousarray(visible + self.pilot * np.float32(strengths[-1]))

    def without(self, strengths: NDArray[np.float64]) -> Plane:
        """Return the plane of an image from whose pixels the mark is taken at these strengths."""
        return self.plane - on_plane(self.delta(strengths), self.k)

    def fitted(self) -> Plane:
        """Return the mark at the strengths at which the plane without it does not agree with it any more.

        Secant steps, each strength by its own correlation.
        """
        before = self.correlations(self.plane)
        at, last, found = np.zeros(before.size), before, np.where(before > 0, _START, 0.0)
        for _ in range(_ROUNDS):
            now = self.correlations(self.without(found))
            slope = (last - now) / np.where(found > at, found - at, np.where(found < at, found - at, 1))
            usual = before / np.maximum(np.maximum(found, at), 1e-9)
            # a slope that noise has spoilt tells nothing
            slope = np.maximum(slope, 0.25 * np.abs(usual))
            step = np.where(before > 0, now / np.maximum(slope, 1e-12), 0)
            at, last, found = found, now, np.clip(found + step, 0, _LARGEST)
        return self.delta(found)


def on_plane(delta: Plane, k: int) -> Plane:
    """Return what a delta changes of the plane: it is interpolated to pixels, and those are averaged.

    The k pixels of a unit, along a side, lie ``mean |(i + 1/2) / k - 1/2|`` of a unit from its centre: that
    share of their value comes from the two neighbours.
    """
    share = np.float32(np.abs((np.arange(k) + 0.5) / k - 0.5).mean())
    for axis in (0, 1):
        before, after = (np.take(delta, _neighbours(delta.shape[axis], by), axis=axis) for by in (-1, 1))
        delta = (1 - share) * delta + share / 2 * (before + after)
    return delta


def _neighbours(n: int, by: int) -> NDArray[np.int64]:
    """Return the indices of n values' neighbours; those at the edge are their own."""
    return np.clip(np.arange(n) + by, 0, n - 1)
