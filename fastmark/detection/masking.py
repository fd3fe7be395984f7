"""Images of which a part is left out, and what it costs that a finding chose the part.

A second mark of a key is sought in what the first one does not explain. The bounds of that search hold for
any part that was fixed before the key was looked at; as the part was chosen by what the key showed, it pays
for its place in a list of all parts: its share is ``exp(-price)``, and all shares together are at most 1.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from fastmark.codec.plane import Plane
from fastmark.detection.scores import SCORE_FLOOR, ScorePlanes
from fastmark.detection.smoothing import dilated

FINENESS = 32
"""Parts of a plane's height and width, of whose products what is left out is made."""

REACH = 20
"""Samples of a plane, each way, from which a score comes: its blocks, and the perceptual mask around it."""

LeftOut = NDArray[np.bool_]
"""bool ``(32, 32)``, True where a plane is left out."""


def price(left_out: LeftOut) -> float:
    """Return minus the logarithm of the share that this part has among all parts.

    Rows that are alike form bands; a row is told by the columns where it changes. Every number of bands and
    of changes is as likely, and every choice of so many of their places:
    ``ln 32 + ln C(31, bands - 1) + sum over the bands of (ln 33 + ln C(32, changes))``.
    """
    starts = [0, *(np.flatnonzero((left_out[1:] != left_out[:-1]).any(axis=1)) + 1)]
    nats = math.log(FINENESS) + _log_choices(FINENESS - 1, len(starts) - 1)
    for row in left_out[starts]:
        changes = int(row[0]) + int(np.count_nonzero(row[1:] != row[:-1]))
        nats += math.log(FINENESS + 1) + _log_choices(FINENESS, changes)
    return nats


def cheapest(carries: NDArray[np.bool_], before: LeftOut) -> LeftOut:
    """Return what to leave out so that no cell that carries a mark is seen: all of it, or the box around it.

    Args:
        carries: bool ``(H, W)``, cells of an image that carry a mark.
        before: what is left out already.
    """
    exact = before | _spread(carries)
    box = before.copy()
    rows, columns = (np.flatnonzero(_spread(carries).any(axis=axis)) for axis in (1, 0))
    if rows.size:
        box[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
    # a box that hides little more is simpler, and its borders are not ragged
    return box if box.sum() <= 1.1 * exact.sum() else exact


def _spread(carries: NDArray[np.bool_]) -> LeftOut:
    """Return the parts of which any cell carries a mark."""
    left_out = np.zeros((FINENESS, FINENESS), np.bool_)
    rows, columns = (
        (np.arange(n) * FINENESS // n, ((np.arange(n) + 1) * FINENESS - 1) // n) for n in carries.shape
    )
    for i in rows:
        for j in columns:
            down, across = np.broadcast_arrays(i[:, None], j)
            np.logical_or.at(left_out, (down, across), carries)
    return left_out


def _log_choices(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


class MaskedPlanes(ScorePlanes):
    """The score planes of an image with scores of 0 where it is left out; its luma stays."""

    def __init__(self, planes: ScorePlanes, keep: NDArray[np.bool_]) -> None:
        """Keep a part of ``planes``, ``keep`` being bool of the plane's shape."""
        self.__dict__.update(planes.__dict__)  # pixels and planes are shared
        self._whole = planes
        self._keep = keep
        self._masked: dict[tuple[int, float], Plane] = {}

    @classmethod
    def without(cls, planes: ScorePlanes, left_out: LeftOut) -> MaskedPlanes:
        """Leave out a part of the whole of ``planes``."""
        rows, columns = (np.arange(n) * FINENESS // n for n in planes.shape)
        return cls(planes, ~left_out[rows[:, None], columns])

    def middle(self, side: int) -> ScorePlanes:
        """Return those of the middle of the plane, at most ``side`` samples each way."""
        part = self._whole.middle(side)
        if part is self._whole:
            return self
        top, left = ((n - m) // 2 for n, m in zip(self.shape, part.shape, strict=True))
        return MaskedPlanes(part, self._keep[top : top + part.shape[0], left : left + part.shape[1]])

    def window(self, unit: int, rows: slice, columns: slice) -> ScorePlanes:
        """Return those of a part of the image averaged over ``unit`` pixels, each way; arguments as there."""
        part = self._whole.window(unit, rows, columns)
        y, x = (
            np.minimum((np.arange(one.start, one.stop) * unit + unit // 2) // self.unit, size - 1)
            for one, size in zip((rows, columns), self.shape, strict=True)
        )
        return MaskedPlanes(part, self._keep[y[:, None], x])

    def weighted(self, reduction: int = 1, floor: float = SCORE_FLOOR) -> Plane:
        """Return the scores of the whole image, 0 where it is left out; arguments as of the whole."""
        found = self._masked.get((reduction, floor))
        if found is None:
            found = self.visible(self._whole.weighted(reduction, floor), reduction)
            self._masked[reduction, floor] = found
        return found

    def visible(self, scores: Plane, samples: int = 1, first: tuple[int, int] = (0, 0)) -> Plane:
        """Return scores with 0 where the image is left out, and wherever they depend on what is."""
        rows, columns = (
            np.minimum(start + samples * np.arange(n) + samples // 2, size - 1)
            for start, n, size in zip(first, scores.shape, self.shape, strict=True)
        )
        kept: Plane = scores * ~dilated(~self._keep[rows[:, None], columns], REACH)
        return kept
