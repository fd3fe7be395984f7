"""Pixels to the canonical plane and back."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmark.kernels import pixels as kernels

Plane = NDArray[np.float32]

UNITS_PER_SIDE = 800


def pixels_per_unit(height: int, width: int) -> int:
    """Return ``k = max(1, round(min(H, W) / 800))``, half rounded up: the side of a unit in pixels."""
    return max(1, (2 * min(height, width) + UNITS_PER_SIDE) // (2 * UNITS_PER_SIDE))


def canonical_plane(pixels: NDArray[Any], k: int, peak: float = 255.0) -> Plane:
    """Box-average the luma of ``pixels`` over k x k pixels.

    Args:
        pixels: ``(H, W)`` or ``(H, W, 3)``, uint8, uint16 or float32, C-contiguous.
        k: pixels per unit.
        peak: the value of white.

    Returns:
        float32 ``(H // k, W // k)``, luma on 0..255.
    """
    out = np.empty((pixels.shape[0] // k, pixels.shape[1] // k), np.float32)
    average = kernels.average_grey if pixels.ndim == 2 else kernels.average_luma
    average(pixels, k, 255.0 / peak, out)
    return out


def add_delta(pixels: NDArray[Any], delta: Plane, k: int, peak: float = 255.0) -> tuple[NDArray[Any], float]:
    """Add ``delta`` (grey levels of 255, one value a unit), up-sampled k times, to every channel.

    Args:
        pixels: as for :func:`canonical_plane`; not changed.
        delta: float32 ``(H // k, W // k)``.
        k: pixels per unit.
        peak: the value of white; sums are clipped to 0..peak and, for integers, rounded.

    Returns:
        An array of the shape and dtype of ``pixels``, and the mean square of the change, in grey levels
        of 255.
    """
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    flat = pixels.reshape(pixels.shape[0], -1)
    if pixels.dtype == np.uint8:
        marked = np.empty_like(flat)
        square = kernels.add_delta_u8(flat, channels, delta, k, marked)
        return marked.reshape(pixels.shape), square / flat.size
    real = np.empty(flat.shape, np.float32)
    square = kernels.add_delta_real(
        flat.astype(np.float32), channels, delta, k, np.float32(peak / 255.0), np.float32(peak), real
    )
    if pixels.dtype.kind == "u":
        np.rint(real, out=real)
    mse = square / flat.size * (255.0 / peak) ** 2
    return real.astype(pixels.dtype).reshape(pixels.shape), mse
