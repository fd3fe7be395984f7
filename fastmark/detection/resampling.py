"""Scores resampled to the grid of units, under any linear geometry and a field of local shifts.

``t`` are torus coordinates in units, (y, x) order; sample ``matrix @ t + offset`` of the plane shows ``t``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastmark.codec.mask import Perception
from fastmark.codec.plane import Plane, canonical_plane
from fastmark.codec.tables import BLOCK
from fastmark.detection.affine import Matrix, is_identity
from fastmark.detection.scores import SCORE_FLOOR, ScorePlanes, weighted_scores
from fastmark.kernels import resample as kernels

MAX_UNITS = 1536
"""Units a side that are looked at; the short side of a marked image never has more than 1200."""

FIELD_SPACING = 64
"""Units between the nodes of a displacement field."""

# Share of a sample by which a shift may differ from a whole one that is not resampled: a quarter is.
_WHOLE = 0.13
# Reduced planes are read where the mark is shown at more samples per unit than their reduction less this.
_EARLIER = 0.35

_TABLE = kernels.cubic_table()
_NO_FIELD = np.zeros((2, 2, 2), np.float32)


@dataclass(frozen=True, slots=True)
class UnitGrid:
    """Scores resampled to units.

    Attributes:
        origin: torus place of ``scores[0, 0]`` (any representative); multiples of eight.
        scores: float32 ``(H, W)``, weighted scores; beyond the plane its edge is repeated.
        inside: uint8 ``(H, W)``, 1 where the unit lies on the plane.
    """

    origin: tuple[int, int]
    scores: Plane
    inside: NDArray[np.uint8]


def resample(
    planes: ScorePlanes,
    matrix: Matrix,
    offset: NDArray[np.float64],
    *,
    floor: float = SCORE_FLOOR,
    field: NDArray[np.float32] | None = None,
    finely: bool = False,
) -> UnitGrid:
    """Resample scores to the units ``t`` for which ``matrix @ t + offset`` lies on the plane.

    The grid starts at a multiple of eight units, so that its 8 x 8 blocks are the torus' blocks; it is
    cut to the middle 1536 units. ``field``, float32 ``(gy, gx, 2)``, adds displacements in samples, given
    at every 64 units of the grid. ``finely``: of a mark of several samples per unit, see the samples' own
    scores as well (:func:`mean_scores`), which takes longer.
    """
    height, width = planes.shape
    samples = _whole_samples(matrix) if field is None else 0
    first = np.rint(offset - (samples - 1) / 2)
    if samples and np.abs(offset - (samples - 1) / 2 - first).max() < _WHOLE:
        whole, part = np.divmod(first.astype(int), samples)
        return _sliced(mean_scores(planes, samples, (int(part[0]), int(part[1])), floor), whole)
    corners = np.array([(y, x) for y in (-0.5, height - 0.5) for x in (-0.5, width - 0.5)])
    places = (corners - offset) @ np.linalg.inv(matrix).T
    low, high = places.min(axis=0), places.max(axis=0)
    middle, span = (low + high) / 2, np.minimum(high - low, MAX_UNITS)
    start = np.floor((middle - span / 2) / BLOCK).astype(int) * BLOCK
    size = np.maximum(np.ceil((middle + span / 2 - start) / BLOCK).astype(int), 1) * BLOCK
    reduction = reduction_of(matrix)
    source = planes.weighted(reduction, floor)
    if finely and reduction > 1:
        source = _with_finer(source, planes.weighted(1, floor), reduction)
    at = (matrix @ start + offset - (reduction - 1) / 2) / reduction
    units = np.empty((size[0], size[1]), np.float32)
    inside = np.empty((size[0], size[1]), np.uint8)
    field = _NO_FIELD if field is None else field / np.float32(reduction)
    kernels.warp_plane(source, _TABLE, matrix / reduction, at, field, float(FIELD_SPACING), units, inside)
    return UnitGrid((int(start[0]), int(start[1])), units, inside)


def reduction_of(matrix: Matrix) -> int:
    """Return over how many samples, each way, the plane is averaged before it is scored and resampled."""
    return max(1, int(np.sqrt(abs(np.linalg.det(matrix))) + _EARLIER))


def mean_scores(
    planes: ScorePlanes, samples: int, first: tuple[int, int] = (0, 0), floor: float = SCORE_FLOOR
) -> Plane:
    """Return weighted scores of units of ``samples`` x ``samples`` samples from sample ``first`` on.

    They are the mean of the scores of the units' means, and of the means of the samples' own scores, both of
    one root mean square. The latter tell the mark from finer detail of the image, the former from noise and
    compression: where one is worse than the other by a third, both together are as good as the better.

    Returns:
        float32, as many rows and columns as there are whole units.
    """
    if samples == 1:
        return planes.weighted(1, floor)
    y, x = first
    units = canonical_plane(np.ascontiguousarray(planes.reduced(1)[y:, x:]), samples)
    coarse = weighted_scores(units, Perception.of(units).mask, floor, planes.threads)
    coarse = planes.visible(coarse, samples, first)
    return _with_finer(coarse, np.ascontiguousarray(planes.weighted(1, floor)[y:, x:]), samples)


def _with_finer(coarse: Plane, fine: Plane, reduction: int) -> Plane:
    """Return the mean of a score plane and of a finer one's means, both of the root mean square of one."""
    means = canonical_plane(fine, reduction)
    power = float(np.vdot(coarse, coarse)) / max(float(np.vdot(means, means)), 1e-12)
    mean: Plane = np.float32(0.5) * (coarse + np.float32(np.sqrt(power)) * means)
    return mean


def _whole_samples(matrix: Matrix) -> int:
    """Return the samples per unit of an upright geometry whose units are whole samples, else 0."""
    samples = round(float(matrix[0, 0]))
    return samples if samples >= 1 and is_identity(matrix / samples) else 0


def _sliced(scores: Plane, offset: NDArray[np.int64]) -> UnitGrid:
    """The case that needs no interpolation: torus place t lies at sample t + offset."""
    # first torus place that is a multiple of eight and on the plane
    start = -(offset // BLOCK) * BLOCK
    y, x = start + offset
    units = np.ascontiguousarray(scores[y : y + MAX_UNITS, x : x + MAX_UNITS])
    return UnitGrid((int(start[0]), int(start[1])), units, np.ones(units.shape, np.uint8))
