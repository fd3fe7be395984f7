"""Pixels to the canonical plane and back."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmark._threads import in_strips
from fastmark.kernels import pixels as kernels

Plane = NDArray[np.float32]

UNITS_PER_SIDE = 800
_ROWS = 64
"""Rows of units that are worked on at a time where numpy makes copies of pixels."""


def pixels_per_unit(height: int, width: int) -> int:
    """Return ``k = max(1, round(min(H, W) / 800))``, half rounded up: the side of a unit in pixels."""
    return max(1, (2 * min(height, width) + UNITS_PER_SIDE) // (2 * UNITS_PER_SIDE))


def canonical_plane(pixels: NDArray[Any], k: int, peak: float = 255.0, threads: int = 1) -> Plane:
    """Box-average the luma of ``pixels`` over k x k pixels.

    Args:
        pixels: ``(H, W)`` or ``(H, W, 3)``, uint8, uint16 or float32, C-contiguous.
        k: pixels per unit.
        peak: the value of white.
        threads: how many may share the work.

    Returns:
        float32 ``(H // k, W // k)``, luma on 0..255.
    """
    out = np.empty((pixels.shape[0] // k, pixels.shape[1] // k), np.float32)
    average = kernels.average_grey if pixels.ndim == 2 else kernels.average_luma
    rows = pixels.reshape(pixels.shape[0], -1)
    in_strips(lambda first, last: average(rows, k, 255.0 / peak, first, last, out), out.shape[0], threads)
    return out


def add_delta(
    pixels: NDArray[Any],
    delta: Plane,
    k: int,
    peak: float = 255.0,
    threads: int = 1,
    out: NDArray[Any] | None = None,
) -> tuple[NDArray[Any], float]:
    """Add ``delta`` (grey levels of 255, one value per unit), up-sampled k times, to every channel.

    Args:
        pixels: as for :func:`canonical_plane`; not changed, but where it is ``out``.
        delta: float32 ``(H // k, W // k)``.
        k: pixels per unit.
        peak: the value of white; sums are clipped to 0..peak and, for integers, rounded.
        threads: how many may share the work.
        out: uint8, where the result of uint8 ``pixels`` goes, C-contiguous; None for a new array.

    Returns:
        An array of the shape and dtype of ``pixels``, and the mean square of the change, in grey levels
        of 255.
    """
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    flat = pixels.reshape(pixels.shape[0], -1)
    if pixels.dtype == np.uint8:
        marked = np.empty_like(flat) if out is None else out.reshape(flat.shape)
        squares = in_strips(
            lambda first, last: kernels.add_delta_u8(flat, channels, delta, k, first, last, marked),
            flat.shape[0],
            threads,
        )
        return marked.reshape(pixels.shape), sum(squares) / flat.size
    real, gain, white = flat.astype(np.float32), np.float32(peak / 255.0), np.float32(peak)
    squares = in_strips(
        lambda first, last: kernels.add_delta_real(real, channels, delta, k, gain, white, first, last, real),
        flat.shape[0],
        threads,
    )
    if pixels.dtype.kind == "u":
        np.rint(real, out=real)
    mse = sum(squares) / flat.size * (255.0 / peak) ** 2
    return real.astype(pixels.dtype, copy=False).reshape(pixels.shape), mse


def add_visible_delta(
    pixels: NDArray[Any],
    delta: Plane,
    k: int,
    peak: float,
    visible: NDArray[np.float32],
    threads: int = 1,
) -> tuple[NDArray[Any], float]:
    """Add ``delta`` as :func:`add_delta` does, but to no pixel of opacity 0.

    Args:
        pixels: as for :func:`canonical_plane`; not changed.
        delta: float32 ``(H // k, W // k)``.
        k: pixels per unit.
        peak: the value of white.
        visible: float32 ``(H, W)``, opacity on 0..1, not 0 everywhere.
        threads: how many may share the work.

    Returns:
        An array of the shape and dtype of ``pixels``, and the mean square of the change, in grey levels of
        255, every pixel counted by its opacity.
    """
    marked, _ = add_delta(pixels, delta, k, peak, threads)
    # between units the delta is interpolated, and reaches into pixels of units that have none to be seen
    weights = visible if pixels.ndim == 2 else visible[..., None]
    np.copyto(marked, pixels, where=weights == 0)
    total = 0.0
    for first in range(0, pixels.shape[0], _ROWS * k):
        rows = slice(first, first + _ROWS * k)
        change = marked[rows].astype(np.float32) - pixels[rows]
        total += float(np.vdot(change * weights[rows], change))
    channels = pixels.size // visible.size
    mse = total / (channels * float(visible.sum(dtype=np.float64))) * (255.0 / peak) ** 2
    return marked, mse


def composite_plane(
    pixels: NDArray[Any], k: int, peak: float, visible: NDArray[np.float32], background: float
) -> Plane:
    """Return the canonical plane of pixels shown over a plain grey background, in whole levels of 255.

    Args:
        pixels: as for :func:`canonical_plane`.
        k: pixels per unit.
        peak: the value of white.
        visible: float32 ``(H, W)``, opacity on 0..1.
        background: its grey level, 0 is black and 255 white.
    """
    strips = []
    for first in range(0, pixels.shape[0] // k * k, _ROWS * k):
        rows = slice(first, min(first + _ROWS * k, pixels.shape[0] // k * k))
        opacity = visible[rows] if pixels.ndim == 2 else visible[rows, :, None]
        colours = pixels[rows].astype(np.float32) * np.float32(255.0 / peak)
        shown = np.rint(background + opacity * (colours - np.float32(background)))
        strips.append(canonical_plane(shown.astype(np.float32, copy=False), k))
    return np.concatenate(strips)
