"""Kernels over a grid of nodes: which of them carry a mark, given what each shows and its neighbours."""

from __future__ import annotations

import numpy as np

from fastmark.kernels._jit import inline, kernel

_LARGEST = np.float32(20)  # half a log ratio beyond which nothing is in doubt


@inline
def _told(half, weight):
    """What a node tells a neighbour: ``atanh(tanh(J) tanh(half))``, e^(2 J) being ``weight``."""
    ratio = np.exp(np.float32(2) * min(max(half, -_LARGEST), _LARGEST))
    return np.float32(0.5) * np.log((ratio * weight + np.float32(1)) / (ratio + weight))


@kernel
def believe(evidence, coupling, n_sweeps, told, out):
    """Write the probability that each node carries the mark into ``out``, by belief propagation.

    The prior is Ising's: every two neighbours that differ are less likely by ``exp(-2 coupling)``. Messages
    go down, up, right and left in turn (Pearl 1988; Murphy, Weiss & Jordan 1999).

    Args:
        evidence: float32 ``(H, W)``, logarithm of the ratio of likelihoods of each node.
        coupling: float32, at least 0.
        n_sweeps: of the four directions.
        told: float32 ``(4, H, W)``, scratch: what each node was told from above, below, left and right.
        out: float32 ``(H, W)``, 0..1.
    """
    n_rows, n_columns = evidence.shape
    weight, half = np.exp(np.float32(2) * coupling), np.float32(0.5)
    above, below, left, right = told[0], told[1], told[2], told[3]
    for i in range(4):
        for y in range(n_rows):
            told[i, y, :] = np.float32(0)
    for _ in range(n_sweeps):
        for y in range(1, n_rows):
            for x in range(n_columns):
                own = half * evidence[y - 1, x] + above[y - 1, x] + left[y - 1, x] + right[y - 1, x]
                above[y, x] = _told(own, weight)
        for y in range(n_rows - 2, -1, -1):
            for x in range(n_columns):
                own = half * evidence[y + 1, x] + below[y + 1, x] + left[y + 1, x] + right[y + 1, x]
                below[y, x] = _told(own, weight)
        for y in range(n_rows):
            for x in range(1, n_columns):
                own = half * evidence[y, x - 1] + left[y, x - 1] + above[y, x - 1] + below[y, x - 1]
                left[y, x] = _told(own, weight)
            for x in range(n_columns - 2, -1, -1):
                own = half * evidence[y, x + 1] + right[y, x + 1] + above[y, x + 1] + below[y, x + 1]
                right[y, x] = _told(own, weight)
    for y in range(n_rows):
        for x in range(n_columns):
            own = half * evidence[y, x] + above[y, x] + below[y, x] + left[y, x] + right[y, x]
            own = min(max(own, -_LARGEST), _LARGEST)
            out[y, x] = np.float32(1) / (np.float32(1) + np.exp(np.float32(-2) * own))


@kernel
def number_parts(carries, stack, out):
    """Number the parts of ``carries`` ``(H, W)`` that hang together by sides; return how many there are.

    Args:
        carries: bool or uint8.
        stack: int64 ``(H * W,)``, scratch.
        out: int32 ``(H, W)``: 1 on, in the order of their first nodes; 0 where ``carries`` is.
    """
    n_rows, n_columns = carries.shape
    for y in range(n_rows):
        for x in range(n_columns):
            out[y, x] = 0
    count = 0
    for first in range(n_rows * n_columns):
        y, x = first // n_columns, first % n_columns
        if not carries[y, x] or out[y, x] != 0:
            continue
        count += 1
        out[y, x], stack[0], waiting = count, first, 1
        while waiting > 0:
            waiting -= 1
            y, x = stack[waiting] // n_columns, stack[waiting] % n_columns
            for side in range(4):
                j, i = y + (side == 0) - (side == 1), x + (side == 2) - (side == 3)
                inside = j >= 0 and j < n_rows and i >= 0 and i < n_columns
                if inside and carries[j, i] and out[j, i] == 0:
                    out[j, i] = count
                    stack[waiting] = j * n_columns + i
                    waiting += 1
    return count
