"""Twins of ``fastmark.kernels.polar``: plain successive cancellation, leaf by leaf, without a schedule.

The kernels keep the data of all paths in tables; a twin sees the node of one path. Bits are signs, +1 for 0.
"""

import numpy as np


def encode_polar(u):
    """``u F`` modulo 2 with F, a Kronecker power of [[1, 0], [1, 1]], written out."""
    F = np.ones((1, 1), np.int64)
    while F.shape[0] < u.size:
        F = np.kron([[1, 0], [1, 1]], F)
    return (u @ F % 2).astype(np.uint8)


def _encode_rows(u):
    """``u F`` modulo 2 of every row: ``F`` is a product of stages, one a binary digit of the position."""
    size = u.shape[1]
    for half in 2 ** np.arange(size.bit_length() - 1):
        pairs = u.reshape(-1, size // (2 * half), 2, half)
        u = np.stack([pairs[:, :, 0] ^ pairs[:, :, 1], pairs[:, :, 1]], axis=2).reshape(-1, size)
    return u


def lower_llrs(node):
    """``sign(a b) min(|a|, |b|)`` of the node's two halves: the min-sum check node."""
    a, b = np.split(np.asarray(node, np.float64), 2)
    return np.sign(a * b) * np.minimum(abs(a), abs(b))


def upper_llrs(node, left_signs):
    a, b = np.split(np.asarray(node, np.float64), 2)
    return b + left_signs * a


def upper_llrs_frozen(node):
    return upper_llrs(node, 1)


def join_bits(left_signs, right_signs):
    return np.concatenate([left_signs * right_signs, right_signs])


def join_bits_frozen(right_signs):
    return join_bits(1, right_signs)


def cost_node(llr):
    """``sum max(0, -x)`` and ``sum max(0, x)``: the weight of the LLRs that all 0, or all 1, contradict."""
    return np.maximum(-llr, 0).sum(dtype=np.float64), np.maximum(llr, 0).sum(dtype=np.float64)


def add_frozen(metric, llr):
    return metric + cost_node(llr)[0]


def cost_repeat(metric, llr):
    zero, one = cost_node(llr)
    return metric + zero, metric + one


def write_repeat(bit, size):
    return np.full(size, 1 - 2 * bit)


def pick_candidates(cost, kept):
    return np.argsort(cost, kind="stable")[:kept]


def fork_paths(cost, list_size):
    """Return ``(path, bit)`` of the best ``list_size`` extensions, cheapest first."""
    return [(int(i) // 2, int(i) % 2) for i in pick_candidates(cost, list_size)]


def _leaf_llrs(llr, decided, leaf):
    """LLR of bit ``leaf`` of every path, given its bits before: down from the root, one level at a time."""
    node = np.broadcast_to(llr.astype(np.float64), (decided.shape[0], llr.size))
    first = 0
    while node.shape[1] > 1:
        half = node.shape[1] // 2
        a, b = node[:, :half], node[:, half:]
        if leaf < first + half:
            node = np.sign(a * b) * np.minimum(abs(a), abs(b))
        else:
            node = b + (1 - 2.0 * _encode_rows(decided[:, first : first + half])) * a
            first += half
    return node[:, 0]


def decode_polar_list(llr, frozen, list_size):
    """Tal & Vardy's list decoder (2015), the metric of Balatsoukas-Stimming et al. (2015), equation 11b.

    Returns the codewords and metrics, best first.
    """
    u = np.zeros((1, llr.size), np.uint8)
    metric = np.zeros(1)
    for leaf in range(llr.size):
        here = _leaf_llrs(llr, u, leaf)
        if frozen[leaf]:
            metric = metric + np.maximum(-here, 0)
            continue
        cost = np.stack([metric + np.maximum(-here, 0), metric + np.maximum(here, 0)], axis=1).ravel()
        forks = fork_paths(cost, list_size)
        u = np.array([u[path] for path, _ in forks])
        u[:, leaf] = [bit for _, bit in forks]
        metric = np.array([cost[2 * path + bit] for path, bit in forks])
    order = pick_candidates(metric, metric.size)
    return _encode_rows(u[order]), metric[order]
