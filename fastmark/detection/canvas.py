"""Images on flat canvases: the busy part of a screenshot, a slide or a page, looked at by itself.

A canvas is looked at at the resolution that suits its own size. That is too coarse for an image that is shown
small on it, and its text adds noise to every statistic of the mark. Content alone chooses the part, whatever
the key.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastmark.detection.plan import HALF
from fastmark.detection.scores import ScorePlanes
from fastmark.detection.windows import Window
from fastmark.kernels import content as kernels

_BLOCK = 4  # samples a side of the blocks that are flat or not
_CELL = 8  # blocks a side of the cells that are busy or not
# Grey levels: a block of a smaller range than the first is flat, as no sky is; one of the second is busy.
_RANGE_OF_FLAT, _RANGE_OF_BUSY = 2.0, 4.0
_LEAST_FLAT = 0.25  # share of the blocks of a canvas that are flat, at least
_BUSY = 0.6  # share of the blocks of a busy cell that are busy
_LEAST_BUSY_SIDE, _MOST_BUSY_SIDE = 160, 1100  # pixels of the short side of a busy part
_MOST_OF_CANVAS = 0.7  # share of a canvas; a larger part is seen well enough with the canvas


def busy_part(planes: ScorePlanes, step: int) -> Window | None:
    """Return the window over the largest busy part of an image that is flat elsewhere; None if there is none.

    Its samples are pixels where its short side has at most 1100 of them, else those of the plane.

    Args:
        planes: of the whole image.
        step: samples of the plane to one that was looked at, 1 or 2.
    """
    looked = planes.reduced(step)
    ranges = np.empty((looked.shape[0] // _BLOCK, looked.shape[1] // _BLOCK), np.float32)
    kernels.block_ranges(looked, ranges)
    if (ranges < _RANGE_OF_FLAT).mean() < _LEAST_FLAT:
        return None
    busy = ranges >= _RANGE_OF_BUSY
    n_rows, n_columns = (n // _CELL for n in busy.shape)
    cells = busy[: n_rows * _CELL, : n_columns * _CELL].reshape(n_rows, _CELL, n_columns, _CELL)
    part = _largest(cells.mean(axis=(1, 3)) >= _BUSY)
    if part is None:
        return None
    # a cell that is busy in part, on every side, holds the border of the image
    pixels = _BLOCK * _CELL * step * planes.unit
    first = [max(part[0] - 1, 0) * pixels, max(part[2] - 1, 0) * pixels]
    stop = [
        min((end + 1) * pixels, n) for end, n in zip((part[1], part[3]), planes.pixels.shape[:2], strict=True)
    ]
    height, width = (end - start for start, end in zip(first, stop, strict=True))
    canvas = planes.pixels.shape[0] * planes.pixels.shape[1]
    if min(height, width) < _LEAST_BUSY_SIDE or height * width > _MOST_OF_CANVAS * canvas:
        return None
    unit = 1 if min(height, width) <= _MOST_BUSY_SIDE else planes.unit
    rows, columns = (slice(start // unit, end // unit) for start, end in zip(first, stop, strict=True))
    window = planes.window(unit, rows, columns)
    return Window(window, (rows.start, columns.start), unit, planes.unit)


def scan_step(window: Window) -> int:
    """Return samples of the window to one that is scanned: 2 for a part that is large, else 1."""
    return HALF if min(window.planes.shape) > _MOST_BUSY_SIDE else 1


def _largest(busy: NDArray[np.bool_]) -> tuple[int, int, int, int] | None:
    """Return top, bottom, left and right of the cells of the largest connected part, if any is busy."""
    waiting = set(zip(*(axis.tolist() for axis in np.nonzero(busy)), strict=True))
    best: set[tuple[int, int]] = set()
    while waiting:
        part, front = set(), [waiting.pop()]
        while front:
            y, x = front.pop()
            part.add((y, x))
            near = {(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)} & waiting
            waiting -= near
            front += near
        best = max(best, part, key=len)
    if not best:
        return None
    rows, columns = [y for y, _ in best], [x for _, x in best]
    return min(rows), max(rows) + 1, min(columns), max(columns) + 1
