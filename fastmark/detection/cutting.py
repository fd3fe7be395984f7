"""Images among other things: the box in which a mark lies, by its pilot, and then by its chips.

What lies round an image adds its noise to every statistic of the mark, and nothing else.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fastmark.codec.carrier import Carrier
from fastmark.codec.tables import BLOCK, TORUS
from fastmark.detection.placement import Placement
from fastmark.detection.resampling import resample
from fastmark.detection.windows import Window

_CELL = 4 * BLOCK  # units a side of the cells in which the pilot is summed, or a multiple of it
_MOST_CELLS = 32  # a side
_CELL_COST = 1e-3  # sigmas

# benchmarks/locating.py. The mark is asked for at this share of its mean strength, as it is weaker in places.
_ASKED = 0.6
_DENIES = 1.0  # logarithm of the ratio of likelihoods against the mark, of a border that is left out


def cut_to_pilot(placement: Placement, window: Window, carrier: Carrier) -> tuple[Placement, Window]:
    """Cut a window to the box in which the pilot lies.

    Phases choose the box. They are charged for the place that they were seen at; what the smaller window
    shows is for anchors and chips to judge.

    Args:
        placement: on the samples of ``window``.
        window: a part of an image, or all of it.
        carrier: of the key.

    Returns:
        The same place on the samples of the smaller window, and that window.
    """
    grid = resample(window.planes, placement.matrix, placement.offset)
    pilot = carrier.pilot(placement.n_tones)
    (y, x), (height, width) = grid.origin, grid.scores.shape
    rows, columns = (y + np.arange(height)) % TORUS, (x + np.arange(width)) % TORUS
    product = grid.scores * grid.inside * pilot[rows[:, None], columns]
    if placement.inverted:
        product = -product
    side = _CELL * -(-max(product.shape) // (_CELL * _MOST_CELLS))
    box = _best_box(_cells(product, side), _cells(product**2, side))
    if box is None:
        return placement, window
    top, bottom, left, right = (side * n for n in box)
    # the borders of units lie half a unit from their middles
    corners = np.array([(y, x) for y in (top, bottom) for x in (left, right)]) + grid.origin - 0.5
    samples = corners @ placement.matrix.T + placement.offset + 0.5
    low = np.clip(np.floor(samples.min(axis=0)).astype(int), 0, window.planes.shape)
    high = np.clip(np.ceil(samples.max(axis=0)).astype(int), 0, window.planes.shape)
    return replace(placement, offset=placement.offset - low), window.part(low.tolist(), high.tolist())


def _cells(units: NDArray[np.float32], side: int) -> NDArray[np.float64]:
    """Sum units over cells of ``side``; a rest is left out."""
    n_rows, n_columns = (n // side for n in units.shape)
    part = units[: n_rows * side, : n_columns * side].astype(np.float64)
    summed: NDArray[np.float64] = part.reshape(n_rows, side, n_columns, side).sum(axis=(1, 3))
    return summed


def _best_box(total: NDArray[np.float64], square: NDArray[np.float64]) -> tuple[int, int, int, int] | None:
    """Return the box of cells, top, bottom, left, right, of the largest ``sum total / sqrt(sum square)``.

    Every cell costs a little: flat ones have nothing to say either way.
    """
    sums = [np.pad(part, ((1, 0), (1, 0))).cumsum(0).cumsum(1) for part in (total, square)]
    n_rows, n_columns = total.shape
    widths = np.arange(n_columns + 1) - np.arange(n_columns + 1)[:, None]
    best, box = 0.0, None
    for top in range(n_rows):
        for bottom in range(top + 1, n_rows + 1):
            t, s = (part[bottom] - part[top] for part in sums)
            # from every column to every later one
            z = np.triu(t - t[:, None], 1) / np.sqrt(np.maximum(s - s[:, None], 1e-12))
            z -= _CELL_COST * (bottom - top) * widths
            at = int(z.argmax())
            if z.flat[at] > best:
                left, right = divmod(at, n_columns + 1)
                best, box = float(z.flat[at]), (top, bottom, left, right)
    return box


def evidence_of(plain: NDArray[np.float32], energy: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return how much likelier what nodes show is if they carry the mark: logarithms, float32 ``(H, W)``.

    A node that carries it shows n = v, give or take the root of v, and another n = 0, give or take the same.

    Args:
        plain: float32 ``(H, W)``, n: weighed sums of statistics times their known signs.
        energy: float32 ``(H, W)``, v: the sums of their squares.
    """
    ratio: NDArray[np.float32] = np.float32(_ASKED) * plain - np.float32(_ASKED**2 / 2) * energy
    return ratio


def trimmed(evidence: NDArray[np.float32], box: tuple[slice, slice]) -> tuple[slice, slice]:
    """Return a box less the rows and columns at its borders that deny the mark.

    On every side those are left out whose sum is the least, if it is negative enough.

    Args:
        evidence: ``(H, W)``, of nodes, as of :func:`evidence_of`.
        box: rows and columns of nodes.
    """
    spans = list(box)
    for _ in range(2):
        for axis in (0, 1):
            profile = evidence[spans[0], spans[1]].sum(axis=1 - axis, dtype=np.float64)
            first, last = _borders(profile), _borders(profile[::-1])
            span = spans[axis]
            if first + last < span.stop - span.start:
                spans[axis] = slice(span.start + first, span.stop - last)
    return spans[0], spans[1]


def _borders(profile: NDArray[np.float64]) -> int:
    """Return how many of the first sums deny the mark together."""
    sums = np.cumsum(profile)
    least = int(sums.argmin())
    return least + 1 if sums[least] <= -_DENIES else 0
