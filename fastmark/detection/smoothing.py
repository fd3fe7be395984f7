"""Smoothing of what the nodes of a found mark show, as wide as the mark is weak."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

_AIM = 4.5  # z at which smoothing aims, where the mark is
_SPREADS = (0.6, 6.0)  # standard deviation of the window, nodes
_REACH = 3.0  # standard deviations at which windows end
_TINY = 1e-9


def spread_for(energy: float) -> float:
    """Return the standard deviation of the window, in nodes, that shows the mark by a z of 4.5.

    Args:
        energy: mean over the nodes that carry the mark of v, the variance of what they show.
    """
    strength = math.sqrt(max(energy, _TINY))
    return min(max(_AIM / (2 * math.sqrt(math.pi) * strength), _SPREADS[0]), _SPREADS[1])


def smoothed_z(plain: NDArray[np.float32], energy: NDArray[np.float32], spread: float) -> NDArray[np.float32]:
    """Return ``sum K n / sqrt(sum K^2 v)`` around every node, K a Gaussian window: float32 ``(H, W)``.

    Over the key, where there is no mark, its mean is 0 and its variance 1, whatever the window.

    Args:
        plain: float32 ``(H, W)``, n.
        energy: float32 ``(H, W)``, v.
        spread: standard deviation of the window, nodes.
    """
    window = gaussian(spread)
    variance = convolve(energy, window**2)
    z = convolve(plain, window) / np.sqrt(np.maximum(variance, np.float32(_TINY)))
    return np.where(variance > _TINY, z, np.float32(0))


def gaussian(spread: float) -> NDArray[np.float32]:
    """Return a Gaussian window of this standard deviation, 1 in the middle: float32, of odd length."""
    reach = max(1, math.ceil(_REACH * spread))
    at = np.arange(-reach, reach + 1)
    return np.exp(-(at**2) / (2 * spread**2)).astype(np.float32)


def convolve(values: NDArray[np.float32], window: NDArray[np.float32]) -> NDArray[np.float32]:
    """Convolve rows and columns with a symmetric window; zeros lie beyond."""
    reach = window.size // 2
    for axis in (0, 1):
        edge = [(reach, reach) if a == axis else (0, 0) for a in (0, 1)]
        padded, n = np.pad(values, edge), values.shape[axis]
        values = np.zeros_like(values)
        for i, weight in enumerate(window):
            values += weight * (padded[i : i + n] if axis == 0 else padded[:, i : i + n])
    return values


def dilated(mask: NDArray[np.bool_], reach: int) -> NDArray[np.bool_]:
    """Return which places have one of ``mask`` within ``reach``, each way."""
    for axis in (0, 1):
        n = mask.shape[axis]
        sums = np.concatenate(
            [np.zeros_like(mask.take([0], axis), np.int32), np.cumsum(mask, axis, np.int32)], axis
        )
        first, last = np.maximum(np.arange(n) - reach, 0), np.minimum(np.arange(n) + reach + 1, n)
        mask = sums.take(last, axis) > sums.take(first, axis)
    return mask
