"""Where a mark is looked for by the eye: samples of an image, and how they show a change of luma."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

FIRST_CELL = 2
"""Row and column of the first sampled cell: its neighbourhood of 5 x 5 cells is on the plane."""

_LARGE = 256  # cells along the short side of a plane that is sampled every eighth cell
_STEPS = 4, 8
_REACH = 3  # levels: about what a mark changes

# Cone responses of JPEG XL's XYB to linear red, green and blue (ISO/IEC 18181-1, section L.2), those that
# make up its luma, and what is added to them.
_CONES = np.array([[0.3, 0.622, 0.078], [0.23, 0.692, 0.078]], np.float32)
_BIAS = np.float32(0.0037930733)


def sample_step(shape: tuple[int, ...]) -> int:
    """Return the distance of samples, in cells, on a plane of so many cells."""
    return _STEPS[min(shape) >= _LARGE]


def n_samples(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return the number of samples each way: those whose 5 x 5 cells lie wholly on a plane of so many."""
    step = sample_step(shape)
    height, width = (max(0, (n - 2 * FIRST_CELL - 1) // step + 1) for n in shape)
    return height, width


def sample_colours(values: NDArray[Any], peak: float, k: int) -> NDArray[np.uint8]:
    """Return the pixels at the centres of the sampled cells: uint8 ``(n, m)`` or ``(n, m, 3)``.

    Args:
        values: ``(H, W)`` or ``(H, W, 3)``, on 0..peak.
        peak: the value of white.
        k: pixels per unit.
    """
    shape = tuple((n // k + 1) // 2 for n in values.shape[:2])
    first, step = (2 * FIRST_CELL + 1) * k, 2 * k * sample_step(shape)
    height, width = n_samples(shape)
    seen = values[first::step, first::step][:height, :width]
    if seen.dtype == np.uint8:
        return np.ascontiguousarray(seen)
    return np.rint(seen * (255.0 / peak)).clip(0, 255).astype(np.uint8)


@functools.cache
def _linear() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return linear light of the 256 levels of sRGB (IEC 61966-2-1), and its slope; both on 0..1.

    The slope is the root mean square of those to three levels more and to three less, which black and white
    clip.
    """
    level = np.arange(256) / 255
    light = np.where(level <= 0.04045, level / 12.92, ((level + 0.055) / 1.055) ** 2.4)
    padded = np.pad(light, _REACH, mode="edge")
    up, down = padded[2 * _REACH :] - light, light - padded[: -2 * _REACH]
    slope = np.sqrt((up**2 + down**2) / 2) * (255 / _REACH)
    return light.astype(np.float32), slope.astype(np.float32)


def sensitivity(colours: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return by how much the luma of XYB grows with the level of all channels: float32 ``(n, m)``, about 1.

    ``the mean over two cones of w . l' / (3 (w . l + 0.0038)^(2/3))``: l linear light on 0..1, l' its slope.

    Args:
        colours: uint8 sRGB or grey levels ``(n, m, 3)`` or ``(n, m)``.
    """
    light, slope = _linear()
    weights = _CONES.T if colours.ndim == 3 else _CONES.sum(axis=1)[None]
    samples = colours.reshape(-1, len(weights))
    root = np.cbrt(light[samples] @ weights + _BIAS)
    rise = (slope[samples] @ weights) / (3 * root * root)
    gains: NDArray[np.float32] = rise.mean(axis=1).reshape(colours.shape[:2])
    return gains
