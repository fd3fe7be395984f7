"""Polar code of length 1024: encoder, and successive-cancellation list decoder.

Natural bit order throughout: ``x = u F`` with ``F`` the 10-fold Kronecker power of [[1, 0], [1, 1]]
(Arikan 2009 without the bit reversal), so a node of the decoding tree is ``(left XOR right, right)``.

The decoder works in the domain of log-likelihood ratios (LLR, natural logarithm, positive means bit 0)
with min-sum LLRs and the hardware-friendly path metric of Balatsoukas-Stimming, Bastani Parizi & Burg 2015,
"LLR-based successive cancellation list decoding of polar codes", equation 11b: ``PM += |LLR|`` where the bit
goes against its LLR. At the root that is ``-log P`` but for a constant, so final metrics are exact.
It walks a flat schedule (``plan_schedule``) in place of a recursion. Frozen subtrees and subtrees with
one free bit, which is their last (repetition nodes), are decided at their root, where the sum of the same
metric over the root's LLRs equals the sum over the leaves (Hashemi, Condo & Gross 2016).

NOTE: bits inside the decoder are signs, +1 for 0 and -1 for 1, in float32: XOR is a product, and vectorises.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastmark.kernels._jit import copy_line, inline, kernel

# Operations of a schedule; s is the binary logarithm of the number of LLRs they write or read.
LOWER, UPPER, UPPER_FROZEN, FROZEN, REPEAT, JOIN, JOIN_FROZEN = range(7)


def plan_schedule(frozen: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Operations that decode the code whose frozen bits are ``frozen`` (shape (N,), N a power of two).

    Returns int32 (operations, 3): operation, s, and 1 where the result is a left child, else 0.
    """
    rows: list[tuple[int, int, int]] = []

    def visit(first: int, s: int, is_left: int, alone: bool) -> None:
        free = np.flatnonzero(~frozen[first : first + (1 << s)])
        if free.size == 0:
            rows.append((FROZEN, s, is_left))
            return
        if free.size == 1 and free[0] == (1 << s) - 1:
            rows.append((REPEAT, s, is_left))
            return
        m = 1 << (s - 1)
        left_frozen = bool(frozen[first : first + m].all())
        # A single path has nothing to be compared with: its metric may stay at zero.
        if not (left_frozen and alone):
            rows.append((LOWER, s - 1, 1))
            visit(first, s - 1, 1, alone)
        rows.append((UPPER_FROZEN if left_frozen else UPPER, s - 1, 0))
        visit(first + m, s - 1, 0, alone and left_frozen)
        rows.append((JOIN_FROZEN if left_frozen else JOIN, s - 1, is_left))

    visit(0, int(frozen.size).bit_length() - 1, 0, True)
    return np.array(rows, dtype=np.int32)


@kernel
def encode_polar(u: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
    """Write the codeword ``u F`` modulo 2 to ``out``: both uint8 (N,) of 0 and 1, N a power of two.

    The butterfly of Arikan 2009, figure 8, without the bit reversal. It is its own inverse.
    """
    size = u.shape[0]
    copy_line(u, out)
    half = 1
    while half < size:
        for start in range(0, size, 2 * half):
            for i in range(start, start + half):
                out[i] ^= out[i + half]
        half *= 2


@inline
def lower_llrs(alpha, alpha_row, paths, s):
    """LLRs of left children, size 2^s, of every path: ``sign(a b) min(|a|, |b|)``.

    The min-sum approximation (Leroux et al. 2011).
    """
    m = 1 << s
    for path in range(paths):
        source = alpha[alpha_row[s + 1, path]]
        first = source[2 * m : 3 * m]
        second = source[3 * m : 4 * m]
        out = alpha[path, m : 2 * m]
        for i in range(m):
            a = first[i]
            b = second[i]
            # sign(a b) min(|a|, |b|) = (|a + b| - |a - b|) / 2, without a branch
            out[i] = np.float32(0.5) * (abs(a + b) - abs(a - b))
        alpha_row[s, path] = path


@inline
def upper_llrs(alpha, alpha_row, left, left_row, paths, s):
    """LLRs of right children, size 2^s, of every path, the left ones decided: ``b + (1 - 2 u) a``."""
    m = 1 << s
    for path in range(paths):
        source = alpha[alpha_row[s + 1, path]]
        first = source[2 * m : 3 * m]
        second = source[3 * m : 4 * m]
        sign = left[left_row[s, path], m : 2 * m]
        out = alpha[path, m : 2 * m]
        for i in range(m):
            out[i] = second[i] + sign[i] * first[i]
        alpha_row[s, path] = path


@inline
def upper_llrs_frozen(alpha, alpha_row, paths, s):
    """``upper_llrs`` after left children of zeros: ``a + b``, of every path."""
    m = 1 << s
    for path in range(paths):
        source = alpha[alpha_row[s + 1, path]]
        first = source[2 * m : 3 * m]
        second = source[3 * m : 4 * m]
        out = alpha[path, m : 2 * m]
        for i in range(m):
            out[i] = first[i] + second[i]
        alpha_row[s, path] = path


@inline
def join_bits(left, left_row, right, paths, s, is_left):
    """Signs of nodes of size 2^(s + 1) from their children: ``(left right, right)``, of every path."""
    m = 1 << s
    for path in range(paths):
        u = left[left_row[s, path], m : 2 * m]
        v = right[path, m : 2 * m]
        target = left[path] if is_left else right[path]
        low = target[2 * m : 3 * m]
        high = target[3 * m : 4 * m]
        for i in range(m):
            low[i] = u[i] * v[i]
            high[i] = v[i]
        if is_left:
            left_row[s + 1, path] = path


@inline
def join_bits_frozen(left, left_row, right, paths, s, is_left):
    """``join_bits`` with left children of zeros: ``(right, right)``, of every path."""
    m = 1 << s
    for path in range(paths):
        v = right[path, m : 2 * m]
        target = left[path] if is_left else right[path]
        low = target[2 * m : 3 * m]
        high = target[3 * m : 4 * m]
        for i in range(m):
            low[i] = v[i]
            high[i] = v[i]
        if is_left:
            left_row[s + 1, path] = path


@kernel
def cost_node(llr):
    """Path-metric costs of a node being all 0 and being all 1.

    ``sum max(-x, 0)`` and ``sum max(x, 0)``, which is the first plus ``sum x``.
    """
    magnitude = np.float32(0.0)
    total = np.float32(0.0)
    for i in range(llr.shape[0]):
        magnitude += abs(llr[i])
        total += llr[i]
    half = np.float32(0.5)
    return half * (magnitude - total), half * (magnitude + total)


@inline
def add_frozen(alpha, alpha_row, right, metric, paths, s, is_left):
    """Add the cost of a frozen node (all bits 0) of size 2^s to the metric of every path."""
    m = 1 << s
    for path in range(paths):
        zero, _one = cost_node(alpha[alpha_row[s, path], m : 2 * m])
        metric[path] += zero
        if not is_left:  # of frozen left children the signs are never read
            right[path, m : 2 * m] = np.float32(1.0)


@inline
def cost_repeat(alpha, alpha_row, metric, paths, s, cost):
    """Metrics of every path extended by a repetition node: bit b of path p to ``cost[2 p + b]``.

    The node is of size 2^s.
    """
    m = 1 << s
    for path in range(paths):
        zero, one = cost_node(alpha[alpha_row[s, path], m : 2 * m])
        cost[2 * path] = metric[path] + zero
        cost[2 * path + 1] = metric[path] + one


@inline
def write_repeat(target, left_row, chosen, paths, s, is_left):
    """Signs of a repetition node of size 2^s of every path."""
    m = 1 << s
    for path in range(paths):
        target[path, m : 2 * m] = np.float32(1.0 - 2.0 * chosen[path])
        if is_left:
            left_row[s, path] = path


@kernel
def pick_candidates(cost, kept, order):
    """Mark the ``kept`` cheapest of ``cost``: their indices, cheapest first, to ``order[:kept]``.

    An insertion sort. Equal costs: the lower index first.
    """
    count = 0
    for candidate in range(cost.shape[0]):
        c = cost[candidate]
        if count == kept:
            if not c < cost[order[count - 1]]:
                continue
            count -= 1
        at = count
        while at > 0 and c < cost[order[at - 1]]:
            order[at] = order[at - 1]
            at -= 1
        order[at] = candidate
        count += 1


@inline
def fork_paths(cost, metric, paths, list_size, rows, order, chosen):
    """Split each path into bit 0 and bit 1, keep the ``list_size`` best; returns the new number of paths.

    ``cost`` float32 (2 * paths,): metric of path p with bit b at ``2 p + b``. ``rows`` int32
    (tables, list_size): where each path's data are; a path that doubles is copied by copying its column
    (Tal & Vardy 2015, "lazy copy"). No counting of references: all paths move in step, so a row is rewritten
    only when no path needs it any more. ``metric`` float32 and ``chosen`` (the bit, as int32), both
    (list_size,), are updated. ``order`` is scratch.
    """
    kept = min(2 * paths, list_size)
    pick_candidates(cost[: 2 * paths], kept, order)
    # 1. chosen: -1 nothing of this path survives; a survivor's first child stays in its slot
    chosen[:] = -1
    for i in range(kept):
        path = order[i] >> 1
        if chosen[path] < 0:
            chosen[path] = order[i] & 1
            metric[path] = cost[order[i]]
            order[i] = -1
    # 2. second children go to free slots
    slot = 0
    for i in range(kept):
        if order[i] < 0:
            continue
        while chosen[slot] >= 0:
            slot += 1
        path = order[i] >> 1
        chosen[slot] = order[i] & 1
        metric[slot] = cost[order[i]]
        for table in range(rows.shape[0]):
            rows[table, slot] = rows[table, path]
    return kept


@kernel
def decode_polar_list(llr, schedule, list_size, codewords, metrics):
    """List-decode ``llr``; returns the number of paths written, best first.

    llr: float32 (N,), finite, natural-log units (best within about |x| < 1e6); positive means bit 0.
    schedule: int32 (operations, 3) from ``plan_schedule``. list_size: 1..32.
    codewords: uint8 (list_size, N), written with 0 and 1. metrics: float32 (list_size,), written with the
    path metrics, ``-log P(codeword | llr)`` up to a constant common to all paths; smaller is more likely.
    """
    size = llr.shape[0]
    levels = 0
    while (1 << levels) < size:
        levels += 1
    # A node of size m = 2^s owns columns m .. 2m of its path's row.
    alpha = np.empty((list_size, 2 * size), np.float32)
    left = np.empty((list_size, 2 * size), np.float32)
    right = np.empty((list_size, 2 * size), np.float32)
    rows = np.empty((2 * (levels + 1), list_size), np.int32)
    alpha_row = rows[: levels + 1]
    left_row = rows[levels + 1 :]
    metric = np.empty(list_size, np.float32)
    cost = np.empty(2 * list_size, np.float32)
    order = np.empty(2 * list_size, np.int32)
    chosen = np.empty(list_size, np.int32)
    rows[:], metric[:], chosen[:] = 0, 0, 0
    copy_line(llr, alpha[0, size:])
    paths = np.int64(1)  # NOTE: not 1, a literal, for which numba would compile all that takes it once more
    for step in range(schedule.shape[0]):
        operation = schedule[step, 0]
        s = schedule[step, 1]
        is_left = schedule[step, 2]
        if operation == LOWER:
            lower_llrs(alpha, alpha_row, paths, s)
        elif operation == UPPER:
            upper_llrs(alpha, alpha_row, left, left_row, paths, s)
        elif operation == UPPER_FROZEN:
            upper_llrs_frozen(alpha, alpha_row, paths, s)
        elif operation == FROZEN:
            add_frozen(alpha, alpha_row, right, metric, paths, s, is_left)
        elif operation == REPEAT:
            cost_repeat(alpha, alpha_row, metric, paths, s, cost)
            paths = fork_paths(cost, metric, paths, list_size, rows, order, chosen)
            write_repeat(left if is_left else right, left_row, chosen, paths, s, is_left)
        elif operation == JOIN:
            join_bits(left, left_row, right, paths, s, is_left)
        else:
            join_bits_frozen(left, left_row, right, paths, s, is_left)
    pick_candidates(metric[:paths], paths, order)
    for i in range(paths):
        metrics[i] = metric[order[i]]
        for k in range(size):
            codewords[i, k] = right[order[i], size + k] < np.float32(0.0)
    return paths
