"""Slow twins of the kernels over a grid of nodes."""

import numpy as np


def believe(evidence, coupling, n_sweeps):
    """Belief propagation of log ratios, message by message, in the kernel's order."""
    height, width = evidence.shape
    told = {}

    def tell(y, x, j, i):
        around = ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1))
        own = evidence[y, x] / 2 + sum(told.get((*n, y, x), 0.0) for n in around if n != (j, i))
        told[y, x, j, i] = np.arctanh(np.tanh(coupling) * np.tanh(own))

    for _ in range(n_sweeps):
        for y in range(1, height):
            for x in range(width):
                tell(y - 1, x, y, x)
        for y in range(height - 2, -1, -1):
            for x in range(width):
                tell(y + 1, x, y, x)
        for y in range(height):
            for x in range(1, width):
                tell(y, x - 1, y, x)
            for x in range(width - 2, -1, -1):
                tell(y, x + 1, y, x)
    out = np.empty(evidence.shape)
    for y, x in np.ndindex(height, width):
        around = ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1))
        own = evidence[y, x] / 2 + sum(told.get((*n, y, x), 0.0) for n in around)
        out[y, x] = 1 / (1 + np.exp(-2 * own))
    return out


def number_parts(carries):
    """Number parts that hang together by sides, by spreading the least number until nothing changes."""
    numbers = np.where(carries, np.arange(1, carries.size + 1).reshape(carries.shape), 0)
    while True:
        padded = np.pad(np.where(carries, numbers, carries.size + 1), 1, constant_values=carries.size + 1)
        around = [
            padded[1:-1, 1:-1],
            padded[:-2, 1:-1],
            padded[2:, 1:-1],
            padded[1:-1, :-2],
            padded[1:-1, 2:],
        ]
        least = np.where(carries, np.minimum.reduce(around), 0)
        if np.array_equal(least, numbers):
            break
        numbers = least
    return np.searchsorted(np.unique(numbers[carries]), numbers) + carries.astype(int)
