"""A proven mark -> which part of the image carries it: heat, box, share, and where content disagrees.

Channels are weighed by what is left of the mark in each; then a node that carries the mark shows
``n = v + noise`` of variance v, and one that does not ``n = noise``: n is the weighed sum, v its energy (a
score's mean under a weak signal is in proportion to its variance). The logarithm of the ratio of these
likelihoods is added up with what the neighbours say; weights and parts are found in turn.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fastmark.codec.binding import CLASSES
from fastmark.codec.carrier import Carrier
from fastmark.detection.binding import class_weights
from fastmark.detection.chip_sums import measure
from fastmark.detection.cutting import evidence_of, trimmed
from fastmark.detection.placement import Placement
from fastmark.detection.reading import Finding
from fastmark.detection.scores import ScorePlanes
from fastmark.detection.smoothing import convolve, gaussian, smoothed_z, spread_for
from fastmark.detection.survey import Lattice, Survey, following, survey
from fastmark.images.opening import DetectorInput
from fastmark.kernels import location as kernels
from fastmark.locations import Box, Location
from fastmark.results import Detection

ABSENT_CELL_PX = 32
"""Side of the cells of an image in which nothing was found."""

# benchmarks/locating.py. Half the logarithm by which neighbours that differ are less likely; the prior of a
# node that shows nothing.
_COUPLING, _PRIOR = np.float32(0.6), -0.02
_ROUNDS, _SWEEPS = 6, 10
_CHANGE_SMOOTHING = 3.0  # of the window of disagreement, over that
_LEAST_EVIDENCE = 12.0  # logarithm of the ratio of likelihoods of a part that is believed
_LEAST_PART = 0.02  # the same, as a share of that of the best part
_TINY = 1e-9


@dataclass(frozen=True, slots=True)
class Ground:
    """The image that a plane was made of.

    Attributes:
        planes: the whole of it.
        pixels: of the image to a sample, each way.
        height, width: of the image, pixels.
    """

    planes: ScorePlanes
    pixels: int
    height: int
    width: int

    @classmethod
    def of(cls, luma: DetectorInput, threads: int = 1) -> Ground:
        """Score what has been opened with ``unit=pixels_per_unit``."""
        planes = ScorePlanes(luma.pixels, luma.unit // luma.reduction, threads)
        return cls(planes, luma.unit, luma.height, luma.width)

    def backdrop(self) -> NDArray[np.uint8]:
        """Return its luma for pictures, uint8."""
        return np.clip(np.rint(self.planes.reduced(1)), 0, 255).astype(np.uint8)


@dataclass(frozen=True, slots=True)
class Grid:
    """Nodes, and where they lie in the image.

    Attributes:
        placement: of the torus on the samples of some part of the image.
        corner: row and column of that part's first sample, in such samples of the whole.
        pixels: of the image to a sample, each way.
        lattice: the nodes.
    """

    placement: Placement
    corner: NDArray[np.int64]
    pixels: float
    lattice: Lattice


def locate(
    ground: Ground, middle: ScorePlanes, finding: Finding, carrier: Carrier, detection: Detection
) -> Location:
    """Say where the mark lies that was found.

    Args:
        ground: the image.
        middle: the middle of its plane, where it was searched for.
        finding: of the mark, in the middle.
        carrier: of the key by which it was found.
        detection: what is reported of it; without a detection nothing is located.
    """
    if not detection or finding.placement is None:
        return _nowhere(ground, detection)
    # Windows show what the plane does not resolve, and a field of local shifts fits the middle alone.
    planes, corner, pixels = middle, corner_of(ground.planes, middle), float(ground.pixels)
    if finding.window is not None:
        planes, corner = finding.window.planes, np.array(finding.window.corner)
        pixels *= finding.window.unit / finding.window.plane_unit
    found = finding
    if finding.window is None and finding.field is None:
        placement = replace(finding.placement, offset=finding.placement.offset + corner)
        planes, corner, found = ground.planes, np.zeros(2, np.int64), replace(finding, placement=placement)
    assert found.placement is not None
    bound = finding.message is not None and detection.binding_log_ratio is not None
    seen = survey(planes, found, carrier, pixels)
    weights, _, carries = find_parts(seen)
    n, v = _weighed(seen.plain, weights), _weighed(seen.energy, weights**2)
    spread = spread_for(float(v[carries].mean()) if carries.any() else 0.0)
    heat = smoothed_z(n, v, spread)
    change = None
    if bound:
        others, withheld = measure(middle, finding, carrier)
        depth = CLASSES[int(np.argmax(class_weights(others.plus(withheld))))].depth
        follows, power = following(seen, planes, found, carrier, carries)
        b, w = _weighed(follows, weights[:-1]), _weighed(power, weights[:-1] ** 2)
        ratio = (depth**2 * w / 2 - depth * b) * carries
        change = convolve(ratio.astype(np.float32), gaussian(_CHANGE_SMOOTHING * spread))
    grid = Grid(found.placement, corner, pixels, seen.lattice)
    return _drawn(ground, grid, detection, heat, carries, change, spread)


def corner_of(planes: ScorePlanes, middle: ScorePlanes) -> NDArray[np.int64]:
    """Return the row and column at which the middle of a plane begins, samples."""
    corner: NDArray[np.int64] = (np.array(planes.shape) - np.array(middle.shape)) // 2
    return corner


def find_parts(seen: Survey) -> tuple[NDArray[np.float64], NDArray[np.float32], NDArray[np.bool_]]:
    """Return the weights of the channels, the nodes' evidence, and which of the nodes carry the mark.

    Returns:
        float64 ``(11,)``; float32 ``(H, W)``, logarithm of the ratio of likelihoods; bool ``(H, W)``.
    """
    believed = np.ones(seen.lattice.shape, np.float32)
    told = np.empty((4, *seen.lattice.shape), np.float32)
    for _ in range(_ROUNDS):
        energy = (seen.energy * believed).sum(axis=(1, 2), dtype=np.float64)
        weights = (seen.plain * believed).sum(axis=(1, 2), dtype=np.float64) / np.maximum(energy, _TINY)
        weights = np.maximum(weights, 0)
        n, v = _weighed(seen.plain, weights), _weighed(seen.energy, weights**2)
        evidence = evidence_of(n, v)
        kernels.believe(evidence + np.float32(_PRIOR), _COUPLING, _SWEEPS, told, believed)
    return weights, evidence, _believable(evidence, believed > 0.5)


def _weighed(channels: NDArray[np.float32], weights: NDArray[np.float64]) -> NDArray[np.float32]:
    weighed: NDArray[np.float32] = np.tensordot(weights.astype(np.float32), channels, axes=1)
    return weighed


def _believable(evidence: NDArray[np.float32], carries: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Leave out parts that hang together and tell too little, and their borders that speak against a mark."""
    numbers = np.empty(carries.shape, np.int32)
    count = kernels.number_parts(carries, np.empty(carries.size, np.int64), numbers)
    if count == 0:
        return carries
    told = np.bincount(numbers.ravel(), evidence.ravel(), count + 1)
    told[0] = 0.0
    kept = np.zeros_like(carries)
    for number in np.flatnonzero(told >= max(_LEAST_EVIDENCE, _LEAST_PART * told.max())):
        part = numbers == number
        kept |= part & _trimmed(np.where(part, evidence, np.float32(0)), part)
    return kept


def _trimmed(evidence: NDArray[np.float32], part: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the rectangle of nodes around a part, less rows and columns at its border that deny the mark."""
    rows, columns = (
        slice(int(at[0]), int(at[-1]) + 1) for at in (np.flatnonzero(part.any(axis=a)) for a in (1, 0))
    )
    inside = np.zeros_like(part)
    inside[trimmed(evidence, (rows, columns))] = True
    return inside


def _nowhere(ground: Ground, detection: Detection) -> Location:
    shape = -(-ground.height // ABSENT_CELL_PX), -(-ground.width // ABSENT_CELL_PX)
    zeros = np.zeros(shape, np.float32)
    return Location(
        detection=detection,
        heat=zeros,
        carries=zeros > 0,
        disagreement=None,
        box=None,
        share=0.0,
        cell_px=ABSENT_CELL_PX,
        smoothing_px=0.0,
        width=ground.width,
        height=ground.height,
        _luma=ground.backdrop(),
    )


def _drawn(
    ground: Ground,
    grid: Grid,
    detection: Detection,
    heat: NDArray[np.float32],
    carries: NDArray[np.bool_],
    change: NDArray[np.float32] | None,
    spread: float,
) -> Location:
    """Bring maps of nodes to the picture's cells: each takes the node in which its middle lies."""
    placement, lattice = grid.placement, grid.lattice
    node_px = lattice.side * grid.pixels * math.sqrt(abs(float(np.linalg.det(placement.matrix))))
    cell = max(1, round(node_px))
    n_rows, n_columns = -(-ground.height // cell), -(-ground.width // cell)
    y, x = (
        np.minimum((np.arange(n) + 0.5) * cell, size - 0.5)
        for n, size in ((n_rows, ground.height), (n_columns, ground.width))
    )
    middles = np.stack(np.meshgrid(y, x, indexing="ij"), axis=-1) / grid.pixels - 0.5 - grid.corner
    units = (middles - placement.offset) @ np.linalg.inv(placement.matrix).T
    nodes = np.floor((units + 0.5 - lattice.start) / lattice.side).astype(int)
    last = np.array(lattice.shape) - 1
    # the border of the image has no whole blocks: it is what the next ones are
    near = (nodes >= -1).all(axis=-1) & (nodes <= last + 1).all(axis=-1)
    i, j = np.moveaxis(np.clip(nodes, 0, last), -1, 0)
    seen = carries[i, j] & near
    box, share = _extent(seen, cell, ground)
    return Location(
        detection=detection,
        heat=heat[i, j] * near,
        carries=seen,
        disagreement=None if change is None else change[i, j] * near,
        box=box,
        share=share,
        cell_px=cell,
        smoothing_px=spread * node_px,
        width=ground.width,
        height=ground.height,
        _luma=ground.backdrop(),
    )


def _extent(carries: NDArray[np.bool_], cell: int, ground: Ground) -> tuple[Box | None, float]:
    """Return the box around the cells that carry a mark, and their share of the area."""
    rows, columns = (np.flatnonzero(carries.any(axis=axis)) for axis in (1, 0))
    if rows.size == 0:
        return None, 0.0
    left, top = int(columns[0]) * cell, int(rows[0]) * cell
    right, bottom = (
        min(int(columns[-1] + 1) * cell, ground.width),
        min(int(rows[-1] + 1) * cell, ground.height),
    )
    tall, wide = (
        np.diff(np.minimum(np.arange(n + 1) * cell, size))
        for n, size in zip(carries.shape, (ground.height, ground.width), strict=True)
    )
    share = float(tall @ carries @ wide) / (ground.height * ground.width)
    return (left, top, right, bottom), share
