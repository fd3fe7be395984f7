"""How much each place of a plane may change."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastmark.kernels import local as kernels
from fastmark.plane import Plane

_BASE = 1.5
_GAIN = 0.8
_EXPONENT = 0.6
_MAX_ACTIVITY = 40.0
_STEPS = 16  # table entries a grey level of activity


def _mask_table() -> NDArray[np.float32]:
    """Mask, grey levels, at activities 0, 1/16, 2/16 ... 40 grey levels."""
    activity = np.arange(int(_MAX_ACTIVITY) * _STEPS + 2) / _STEPS
    table = _BASE + _GAIN * np.minimum(activity, _MAX_ACTIVITY) ** _EXPONENT
    return table.astype(np.float32)


_TABLE = _mask_table()


@dataclass(frozen=True, slots=True)
class Perception:
    """What is known of the neighbourhood of every unit, all float32 of the plane's shape.

    Attributes:
        highpass: the plane less its 9 x 9 mean, grey levels.
        deviation: local standard deviation of ``highpass``, grey levels.
        mask: how much may change, grey levels.
    """

    highpass: Plane
    deviation: Plane
    mask: Plane

    @classmethod
    def of(cls, plane: Plane) -> Perception:
        """Measure a float32 plane ``(H, W)`` on 0..255."""
        highpass, deviation = np.empty_like(plane), np.empty_like(plane)
        mask, scratch = np.empty_like(plane), np.empty_like(plane)
        kernels.high_pass(plane, highpass, deviation, scratch)
        kernels.activity_mask(deviation, scratch, _TABLE, np.float32(_STEPS), mask)
        return cls(highpass, deviation, mask)

    def smooth_mask(self) -> Plane:
        """Return the 9 x 9 mean of the mask."""
        out = np.empty_like(self.mask)
        kernels.box9(self.mask, out)
        return out


def block_means(x: Plane, y0: int, x0: int, n_rows: int, n_columns: int) -> NDArray[np.float32]:
    """Return the means of the 8 x 8 blocks of ``x`` from ``(y0, x0)`` on: float32 ``(rows, columns)``."""
    part = x[y0 : y0 + 8 * n_rows, x0 : x0 + 8 * n_columns]
    means = part.reshape(n_rows, 8, n_columns, 8).mean(axis=(1, 3), dtype=np.float32)
    return np.ascontiguousarray(means)


def tukey(n: int, share: float = 0.25) -> NDArray[np.float32]:
    """Tukey window of length n, cosine tapers over ``share`` of it in all (Harris 1978)."""
    ramp = np.minimum(np.arange(n) + 0.5, n - np.arange(n) - 0.5) / max(share * n / 2, 1e-9)
    window: NDArray[np.float64] = 0.5 - 0.5 * np.cos(np.pi * np.minimum(ramp, 1.0))
    return window.astype(np.float32)
