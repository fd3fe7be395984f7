"""The host of a mark: the pixels of an image, and its plane with all that does not depend on the strength."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmark.codec.key import Key
from fastmark.codec.keystream import Domain
from fastmark.codec.mask import Perception, block_means, cell_means
from fastmark.codec.plane import (
    Plane,
    add_delta,
    add_visible_delta,
    canonical_plane,
    composite_plane,
    pixels_per_unit,
)
from fastmark.codec.tables import BLOCK, GRID
from fastmark.detection.analysis import Analysis
from fastmark.detection.scores import ScorePlanes
from fastmark.embedding.host_scores import HostScores
from fastmark.embedding.visibility import sample_colours
from fastmark.kernels import pixels as pixel_kernels


@dataclass(frozen=True, slots=True)
class Pixels:
    """The samples of an image.

    Attributes:
        values: ``(H, W)`` or ``(H, W, 3)``, uint8, uint16 or float32, C-contiguous.
        peak: the value of white.
        k: pixels per unit.
        visible: float32 ``(H, W)``, opacity on 0..1; None where all pixels are opaque.
    """

    values: NDArray[Any]
    peak: float
    k: int
    visible: NDArray[np.float32] | None = None

    @classmethod
    def of(cls, values: NDArray[Any], peak: float, visible: NDArray[np.float32] | None = None) -> Pixels:
        """Take the samples of an image; an opacity of 1 everywhere is none."""
        if visible is not None and visible.min() >= 1:
            visible = None
        return cls(values, peak, pixels_per_unit(*values.shape[:2]), visible)

    def plane(self, threads: int = 1) -> Plane:
        """Return the canonical plane of the colours: float32 ``(H // k, W // k)``, 0..255."""
        return canonical_plane(self.values, self.k, self.peak, threads)

    def plane_over(self, background: float) -> Plane:
        """Return the canonical plane of the image shown over a grey ``background``, 0..255."""
        assert self.visible is not None
        return composite_plane(self.values, self.k, self.peak, self.visible, background)

    def opacity(self) -> Plane | None:
        """Return the mean opacity of each unit's pixels, 0..1; None where all pixels are opaque."""
        if self.visible is None:
            return None
        return canonical_plane(np.ascontiguousarray(self.visible, np.float32), self.k)

    def colours(self) -> NDArray[np.uint8]:
        """Return samples of the colours, those by which the visibility of a mark is judged."""
        return sample_colours(self.values, self.peak, self.k)

    def part(self, top: int, left: int, height: int, width: int) -> Pixels:
        """Return the colours of a rectangle, given in units."""
        k = self.k
        seen = self.values[top * k : (top + height) * k, left * k : (left + width) * k]
        return Pixels(np.ascontiguousarray(seen), self.peak, k)

    def add(self, delta: Plane, threads: int = 1, out: NDArray[Any] | None = None) -> tuple[Pixels, float]:
        """Add a delta to all pixels that are not wholly transparent.

        Args:
            delta: float32 ``(H // k, W // k)``, grey levels of 255.
            threads: how many may share the work.
            out: takes the result of opaque uint8 pixels; None for a new array.

        Returns:
            The image with the delta, and the mean square of the change in grey levels of 255, every pixel
            counted by its opacity.
        """
        if self.visible is None:
            values, mse = add_delta(self.values, delta, self.k, self.peak, threads, out)
        else:
            values, mse = add_visible_delta(self.values, delta, self.k, self.peak, self.visible, threads)
        return Pixels(values, self.peak, self.k, self.visible), mse


@dataclass(frozen=True, slots=True)
class Host:
    """A plane prepared for marking, with all that does not depend on the strength.

    Attributes:
        plane: the canonical plane.
        perception: its neighbourhood measures.
        smooth_mask: float32, the mask of the pilot, a value per cell of 2 x 2 units.
        k: pixels per unit.
        block_mask: float32 ``(BY, BX)``, the perceptual mask of the 8 x 8 blocks wholly in the plane.
        analysis: the plane as a detector sees it; nothing of it is computed before it is needed.
        scored: the scores of its middle, likewise.
        opacity: float32 of the plane's shape, the mean opacity of a unit's pixels, 0..1; None where all are
            opaque.
        weights: the same of every cell.
        colours: of the image at the samples of :mod:`fastmark.embedding.visibility`, uint8; None for grey.
    """

    plane: Plane
    perception: Perception
    smooth_mask: Plane
    k: int
    block_mask: NDArray[np.float32]
    analysis: Analysis
    scored: HostScores
    opacity: Plane | None = None
    weights: Plane | None = None
    colours: NDArray[np.uint8] | None = None

    def block_luma(self) -> NDArray[np.float32]:
        """Return the mean luma, less 128, of the 8 x 8 blocks wholly in the plane: float32 ``(BY, BX)``."""
        return block_means(self.perception.means, *self.block_mask.shape)


def prepare(
    plane: Plane,
    k: int,
    opacity: Plane | None = None,
    threads: int = 1,
    colours: NDArray[np.uint8] | None = None,
) -> Host:
    """Measure a plane before marking it; blocks start at unit (4, 4)."""
    perception = Perception.of(plane)
    n_rows, n_columns = ((n - 4) // BLOCK for n in plane.shape)
    block_mask = block_means(perception.mask, n_rows, n_columns)
    weights = None if opacity is None else cell_means(opacity)
    analysis = Analysis(ScorePlanes(plane, 1, threads))
    scored, smooth_mask = HostScores(plane, perception.mask, threads), perception.smooth_mask()
    return Host(plane, perception, smooth_mask, k, block_mask, analysis, scored, opacity, weights, colours)


def hashed_origin(plane: Plane, key: Key, codeword: NDArray[np.uint8] | None = None) -> tuple[int, int]:
    """Derive an origin on the torus from key, content and message; both are 4 modulo 8.

    Args:
        plane: float32, not marked.
        key: the secret key.
        codeword: uint8 ``(1024,)``; without it, the origin is that of fastmark 0.1.
    """
    rows, columns = (np.linspace(0, n, 9).astype(int) for n in plane.shape)
    sums = np.empty((8, 8))
    for i, (top, bottom) in enumerate(itertools.pairwise(rows)):
        pixel_kernels.thumbnail_sums(plane, columns, top, bottom, sums[i])
    thumbnail = sums / np.outer(np.diff(rows), np.diff(columns))
    context = np.rint(thumbnail).astype(np.uint8).tobytes()
    if codeword is not None:
        context += np.packbits(codeword).tobytes()
    digest = key.stream(Domain.ORIGIN, 2, context)
    return 8 * (digest[0] % GRID) + 4, 8 * (digest[1] % GRID) + 4
