"""Large canvases: overlapping tiles at the pixels' own resolution, each scanned as an image of its own.

An image that is shown small on a large canvas is lost twice: in the plane, whose units average its pixels,
and in the spectrum of the whole, to which it adds little. A tile that it fills shows its tones as well as an
image of that size does. What a tile suggests is asked of all others: neighbours that show the same geometry
are parts of one image. The window over them is then placed by phases.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fastmark.codec.carrier import Carrier
from fastmark.codec.tables import BLOCK
from fastmark.detection.affine import Matrix
from fastmark.detection.levels import ScanLevel
from fastmark.detection.logpolar import Templates
from fastmark.detection.placement import Placement, place_candidate
from fastmark.detection.plan import LevelPlan
from fastmark.detection.scan import refine, scan, score_of
from fastmark.detection.scores import ScorePlanes
from fastmark.detection.torus import TorusSpectrum
from fastmark.detection.windows import Window

TILE, STEP = 512, 256
"""Samples a side of a tile, and from one to the next."""

MOST_TILES = 320
"""A canvas of more tiles is averaged over 2 x 2 pixels or more: one of 24 megapixels has about 300."""

Look: TypeAlias = Literal["tiles", "dense tiles"]
"""What tiles show together, placed by its tones; the same with its anchors."""

_WORTH_CUTTING = 768  # samples of the long side
_LEAST_SCALE = 0.2  # samples per unit
_FLAT = 1.0  # grey levels of spread in a block of 8 x 8
_LEAST_RICH = 0.1  # share of blocks with more, of a tile that is looked at
_MOST_GEOMETRIES = 12  # that are asked of all tiles
_SAME_GEOMETRY = 0.01  # relative difference of entries within which two geometries are one
_MOST_WINDOWS = 6  # that are placed
_JOINS = 2.0  # sigmas at which a neighbouring tile shows the geometry as well
_NEARLY_AGREES = 3.0  # log_p of a placement that anchors may still save
_MOVE = 0.003  # relative size of the first moves of refinement on a window
_MOST_WINDOW = 1024  # samples a side


@dataclass(frozen=True, slots=True)
class Sight:
    """A geometry that tiles show.

    Attributes:
        matrix: from units to samples of the tiles.
        n_tones: the prefix of the pilot's tones that shows best.
        score: of all tiles that show it together, sigmas.
        box: top, bottom, left, right of these tiles, samples.
    """

    matrix: Matrix
    n_tones: int
    score: float
    box: tuple[int, int, int, int]


class Tiles:
    """The tiles of an image that are not flat: shared by all keys.

    Attributes:
        unit: pixels per sample, each way.
        shape: height and width of the canvas, samples.
        corners: first rows and columns of the tiles, samples; none where the plane itself is hardly larger
            than a tile, and as fine.
    """

    def __init__(self, planes: ScorePlanes) -> None:
        """Cut the image of which ``planes`` are the whole into tiles; nothing is scored yet."""
        self._planes = planes
        height, width = planes.pixels.shape[:2]
        self.unit = 1
        while _count((height // self.unit, width // self.unit)) > MOST_TILES:
            self.unit += 1
        self.shape = (height // self.unit, width // self.unit)
        starts = itertools.product(_starts(self.shape[0]), _starts(self.shape[1]))
        whole = max(self.shape) < _WORTH_CUTTING and self.unit == planes.unit
        self.corners = [] if whole else [corner for corner in starts if self._is_rich(corner)]

    def __len__(self) -> int:
        """Return the number of tiles."""
        return len(self.corners)

    def window(self, box: tuple[int, int, int, int]) -> Window:
        """Return the part of the canvas with these top, bottom, left and right samples."""
        top, bottom, left, right = box
        planes = self._planes.window(self.unit, slice(top, bottom), slice(left, right))
        return Window(planes, (top, left), self.unit, self._planes.unit)

    def levels(self) -> Iterator[ScanLevel]:
        """Score and transform one tile after the other."""
        for top, left in self.corners:
            window = self.window((top, min(top + TILE, self.shape[0]), left, min(left + TILE, self.shape[1])))
            yield level_of(window)

    def _is_rich(self, corner: tuple[int, int]) -> bool:
        top, left = (self.unit * n for n in corner)
        side = self.unit * TILE
        part = self._planes.pixels[top : top + side, left : left + side]
        sparse = part[:: self.unit, :: self.unit] if part.ndim == 2 else part[:: self.unit, :: self.unit, 1]
        n_rows, n_columns = (n // BLOCK for n in sparse.shape)
        blocks = sparse[: n_rows * BLOCK, : n_columns * BLOCK].reshape(n_rows, BLOCK, n_columns, BLOCK)
        spread = blocks.astype(np.float32).std(axis=(1, 3))
        return bool(np.mean(spread > _FLAT) >= _LEAST_RICH)


def _starts(n: int) -> list[int]:
    """Return the first samples of tiles along ``n``; the last one ends at the edge."""
    return [*range(0, n - TILE, STEP), n - TILE] if n > TILE else [0]


def _count(shape: tuple[int, int]) -> int:
    return len(_starts(shape[0])) * len(_starts(shape[1]))


def level_of(window: Window) -> ScanLevel:
    """Return the spectrum of a window as the scan sees it."""
    return ScanLevel(window.planes, LevelPlan.of(window.planes.shape, 1, _LEAST_SCALE))


def sights(tiles: Tiles, templates: Templates) -> list[Sight]:
    """Scan all tiles; return what they show together, best first: magnitudes alone choose.

    Every tile is transformed twice, and none kept: those of a large canvas take a gigabyte.

    Args:
        tiles: of the image.
        templates: of the key.
    """
    found: list[_Seen] = []
    for level in tiles.levels():
        found += [_Seen(one.matrix, one.n_tones, one.score) for one in scan(level, templates)]
    seen = _distinct(found)[:_MOST_GEOMETRIES]
    if not seen:
        return []
    matrices = [one.matrix for one in seen]
    scores = np.array([[score_of(level, templates, m)[0] for m in matrices] for level in tiles.levels()])
    combined = [_together(one, tiles, scores[:, i]) for i, one in enumerate(seen)]
    return sorted(combined, key=lambda sight: -sight.score)[:_MOST_WINDOWS]


class _Seen(NamedTuple):
    """A candidate of one tile: geometry, prefix of the tones, sigmas."""

    matrix: Matrix
    n_tones: int
    score: float


def _distinct(found: Sequence[_Seen]) -> list[_Seen]:
    """Sort geometries best first, and drop those that repeat a better one, or its half turn."""
    kept: list[_Seen] = []
    for one in sorted(found, key=lambda seen: -seen.score):
        least = _SAME_GEOMETRY * np.abs(one.matrix).max()
        if all(np.abs(one.matrix - sign * k.matrix).max() > least for k in kept for sign in (1, -1)):
            kept.append(one)
    return kept


def _together(seen: _Seen, tiles: Tiles, scores: NDArray[np.float64]) -> Sight:
    """Join the tile that shows a geometry best and those that show it too and touch it, or one another."""
    corners = np.array(tiles.corners)
    best = int(scores.argmax())
    joined, waiting = {best}, [best]
    while waiting:
        near = np.abs(corners - corners[waiting.pop()]).max(axis=1) <= STEP
        new = set(np.flatnonzero(near & (scores >= _JOINS)).tolist()) - joined
        joined |= new
        waiting += new
    part = sorted(joined)
    top, left = corners[part].min(axis=0).tolist()
    bottom, right = np.minimum(corners[part].max(axis=0) + TILE, tiles.shape).tolist()
    total = float(scores[part].sum()) / math.sqrt(len(part))
    return Sight(seen.matrix, seen.n_tones, max(total, float(scores[best])), (top, bottom, left, right))


def looks_at(
    sight: Sight, tiles: Tiles, templates: Templates, carrier: Carrier
) -> Iterator[tuple[Look, float, Placement, Window]]:
    """Refine a geometry on the window over its tiles, and place it there: by phases, then by anchors too.

    Yields:
        Kind of look, z of pilot and anchors together, the placement, and on whose samples it is: a window of
        at most 1024 a side. The second look is made when it is asked for, if the first warrants it.
    """
    window = tiles.window(_middle(sight.box))
    level = level_of(window)
    g = np.linalg.inv(sight.matrix).T[None].astype(np.float64)
    (candidate,) = refine(level, templates, g, [sight.n_tones], [_MOVE], promising=0.0)
    placement = place_candidate(candidate, carrier)
    yield "tiles", 0.0, placement, window
    if placement.log_p <= _NEARLY_AGREES:
        torus = TorusSpectrum(window.planes, candidate.matrix, 1)
        yield "dense tiles", *torus.place_densely(carrier), window


def _middle(box: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    """Cut a box to its middle 1024 samples a side."""
    top, bottom, left, right = box
    height, width = min(bottom - top, _MOST_WINDOW), min(right - left, _MOST_WINDOW)
    top, left = top + (bottom - top - height) // 2, left + (right - left - width) // 2
    return top, top + height, left, left + width
