"""A mark whose place is known -> what every part of the image shows of it, channel by channel.

The pattern is cut into nodes: squares of whole 8 x 8 blocks, laid out in torus coordinates, each of about
eight pixels or more. Channels are the ten chips of a block and the pilot. With the message known all chips
are; without it the anchors are, and the pilot.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastmark.codec.binding import block_content
from fastmark.codec.carrier import Carrier
from fastmark.codec.plane import Plane
from fastmark.codec.tables import BLOCK, N_COEFFICIENTS, TORUS
from fastmark.detection.chip_sums import BESIDE, block_luma, known_signs, places_of
from fastmark.detection.placement import Placement
from fastmark.detection.reading import Finding
from fastmark.detection.resampling import FIELD_SPACING, reduction_of, resample
from fastmark.detection.scores import SCORE_FLOOR, ScorePlanes
from fastmark.detection.smoothing import dilated
from fastmark.detection.soft_bits import ChipBlocks
from fastmark.kernels import chips as chip_kernels
from fastmark.kernels import resample as kernels

N_CHANNELS = N_COEFFICIENTS + 1
"""The chips of a block by coefficient, and the pilot."""

_LEAST_PIXELS = 8.0  # a side of a node
_STRIP = 256  # units of height that are looked at at a time
_TABLE = kernels.cubic_table()
_NO_FIELD = np.zeros((2, 2, 2), np.float32)


@dataclass(frozen=True, slots=True)
class Lattice:
    """Nodes in torus coordinates.

    Attributes:
        start: torus place of the first unit of the first node, multiples of eight.
        side: units a side of a node, a multiple of eight.
        shape: number of nodes, down and across.
    """

    start: tuple[int, int]
    side: int
    shape: tuple[int, int]

    @classmethod
    def over(cls, shape: tuple[int, int], placement: Placement, pixels: float) -> Lattice:
        """Cover a plane of ``shape`` samples, each of ``pixels`` pixels a side."""
        corners = np.array([(y, x) for y in (-0.5, shape[0] - 0.5) for x in (-0.5, shape[1] - 0.5)])
        places = (corners - placement.offset) @ np.linalg.inv(placement.matrix).T
        unit = pixels * math.sqrt(abs(np.linalg.det(placement.matrix)))
        side = BLOCK * max(1, round(_LEAST_PIXELS / (BLOCK * unit)))
        start = np.floor(places.min(axis=0) / BLOCK).astype(int) * BLOCK
        count = np.maximum(np.ceil((places.max(axis=0) + 1 - start) / side).astype(int), 1)
        return cls((int(start[0]), int(start[1])), side, (int(count[0]), int(count[1])))

    @property
    def blocks(self) -> tuple[int, int]:
        """Number of blocks, down and across."""
        per_node = self.side // BLOCK
        return self.shape[0] * per_node, self.shape[1] * per_node

    @property
    def first_block(self) -> tuple[int, int]:
        """Place of the first block on the torus' grid, any representative."""
        return self.start[0] // BLOCK, self.start[1] // BLOCK

    def pool(self, blocks: NDArray[np.float32]) -> NDArray[np.float32]:
        """Sum values of blocks ``(..., BY, BX)`` over nodes."""
        n = self.side // BLOCK
        *rest, n_rows, n_columns = blocks.shape
        pooled: NDArray[np.float32] = blocks.reshape(*rest, n_rows // n, n, n_columns // n, n).sum(
            axis=(-3, -1)
        )
        return pooled


@dataclass(frozen=True, slots=True)
class Survey:
    """What each node of a lattice shows of a mark; x is a statistic of a block times its known sign.

    Attributes:
        lattice: the nodes.
        plain: float32 ``(11, H, W)``, ``sum x`` by channel.
        energy: float32 ``(11, H, W)``, ``sum x^2``: over the key, the variance of ``plain`` where there is no
            mark.
        chips: float32 ``(10, BY, BX)``, x of the blocks.
        whole: bool ``(BY, BX)``, which blocks lie on the plane.
    """

    lattice: Lattice
    plain: NDArray[np.float32]
    energy: NDArray[np.float32]
    chips: NDArray[np.float32]
    whole: NDArray[np.bool_]


def survey(planes: ScorePlanes, finding: Finding, carrier: Carrier, pixels: float) -> Survey:
    """Look at every block of a found mark.

    Args:
        planes: of the image, whose samples the finding's placement speaks of.
        finding: with a placement.
        carrier: of the key.
        pixels: a side of a sample.
    """
    placement = finding.placement
    assert placement is not None
    sign = np.float32(-1 if placement.inverted else 1)
    known = known_signs(carrier, finding.message, sign)
    pilot = carrier.pilot(placement.n_tones)
    lattice = Lattice.over(planes.shape, placement, pixels)
    floor = SCORE_FLOOR if finding.view is None else finding.view.floor
    if finding.field is None:
        whole = _whole_blocks(lattice, placement, planes.shape)
        strips = _straight_strips(planes, placement, lattice, floor)
    else:
        grid = resample(planes, placement.matrix, placement.offset, floor=floor, field=finding.field)
        lattice = Lattice(grid.origin, BLOCK, (grid.scores.shape[0] // BLOCK, grid.scores.shape[1] // BLOCK))
        whole = np.empty(lattice.blocks, np.float32)
        chip_kernels.whole_blocks(grid.inside, BLOCK, whole)
        strips = _cut(grid.scores)
    down, across = places_of(lattice.first_block, lattice.blocks)
    x = np.empty((N_CHANNELS, *lattice.blocks), np.float32)
    for first, scores in strips:
        rows = slice(first, first + scores.shape[0] // BLOCK)
        place = lattice.start[0] + BLOCK * first, lattice.start[1]
        x[:-1, rows] = ChipBlocks.of(scores).coefficients * known[:, down[rows], across]
        x[-1, rows] = sign * _pilot_blocks(scores, pilot, place)
    x *= whole
    return Survey(lattice, lattice.pool(x), lattice.pool(x**2), x[:-1], whole > 0)


def following(
    seen: Survey, planes: ScorePlanes, finding: Finding, carrier: Carrier, carries: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return how the chips of each node follow its content: ``sum b C x`` and ``sum (C x)^2``.

    float32 ``(10, H, W)``, b the keyed signs of the binding, C the content of the block. It is 0 where the
    block or its partner lies beside parts that do not carry the mark: those may be a canvas, or a caption.

    Args:
        seen: what the blocks show.
        planes, finding, carrier: as of :func:`survey`, with a message.
        carries: bool ``(H, W)``, the nodes that carry the mark.
    """
    assert finding.placement is not None
    lattice, sign = seen.lattice, np.float32(-1 if finding.placement.inverted else 1)
    luma = block_luma(planes, finding.placement, lattice.first_block, lattice.blocks, finding.field)
    per_node = lattice.side // BLOCK
    others = seen.whole & ~carries.repeat(per_node, axis=0).repeat(per_node, axis=1)
    sure = ~dilated(others, BESIDE)
    content = block_content(luma, carrier.binding.partners, lattice.first_block, seen.whole, sure)
    x = seen.chips * (sign * content)
    down, across = places_of(lattice.first_block, lattice.blocks)
    signs = carrier.binding.signs[:, down, across].astype(np.float32)
    return lattice.pool(signs * x), lattice.pool(x**2)


def _pilot_blocks(scores: Plane, pilot: NDArray[np.float32], at: tuple[int, int]) -> NDArray[np.float32]:
    """Return ``sum scores pilot`` over each 8 x 8 block, the first unit at torus place ``at``."""
    rows, columns = ((start + np.arange(n)) % TORUS for start, n in zip(at, scores.shape, strict=True))
    product = scores * pilot[rows[:, None], columns]
    n_rows, n_columns = (n // BLOCK for n in scores.shape)
    sums: NDArray[np.float32] = product.reshape(n_rows, BLOCK, n_columns, BLOCK).sum(axis=(1, 3))
    return sums


def _whole_blocks(lattice: Lattice, placement: Placement, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Return 1 for blocks whose four corners show on a plane of ``shape`` samples, else 0."""
    whole = np.ones(lattice.blocks, np.bool_)
    y, x = (start + BLOCK * np.arange(n) for start, n in zip(lattice.start, lattice.blocks, strict=True))
    for dy in (0, BLOCK - 1):
        for dx in (0, BLOCK - 1):
            for axis in range(2):
                matrix, offset = placement.matrix[axis], placement.offset[axis]
                samples = (matrix[0] * (y + dy) + offset)[:, None] + matrix[1] * (x + dx)
                whole &= (samples >= -0.5) & (samples <= shape[axis] - 0.5)
    return whole.astype(np.float32)


def _straight_strips(
    planes: ScorePlanes, placement: Placement, lattice: Lattice, floor: float
) -> Iterator[tuple[int, Plane]]:
    """Yield the first block row of each strip, and its scores resampled to units."""
    reduction = reduction_of(placement.matrix)
    source = planes.weighted(reduction, floor)
    height, width = (n * lattice.side for n in lattice.shape)
    step = max(1, _STRIP // lattice.side) * lattice.side
    for top in range(0, height, step):
        scores = np.empty((min(step, height - top), width), np.float32)
        inside = np.empty(scores.shape, np.uint8)
        first = np.array([lattice.start[0] + top, lattice.start[1]])
        at = (placement.matrix @ first + placement.offset - (reduction - 1) / 2) / reduction
        kernels.warp_plane(
            source, _TABLE, placement.matrix / reduction, at, _NO_FIELD, float(FIELD_SPACING), scores, inside
        )
        yield top // BLOCK, scores


def _cut(scores: Plane) -> Iterator[tuple[int, Plane]]:
    """Yield the first block row of each strip, and its scores."""
    for top in range(0, scores.shape[0], _STRIP):
        yield top // BLOCK, scores[top : top + _STRIP]
