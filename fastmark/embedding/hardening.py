"""Hardening: a delta pushed over the thresholds of strong JPEG compression that are near."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from fastmark._threads import in_strips
from fastmark.codec.plane import Plane
from fastmark.codec.tables import BLOCK
from fastmark.embedding.host import Host
from fastmark.kernels import jpeg as kernels

# Luminance quantisation of ITU-T T.81, table K.1.
_TABLE = """
16 11 10 16 24 40 51 61    12 12 14 19 26 58 60 55    14 13 16 24 40 57 69 56
14 17 22 29 51 87 80 62    18 22 37 56 68 109 103 77  24 35 55 64 81 104 113 92
49 64 78 87 103 121 120 101   72 92 95 98 112 100 103 99
"""


@functools.cache
def jpeg_steps(quality: int) -> NDArray[np.float32]:
    """Return the luminance quantiser of the IJG's libjpeg at a quality: float32 ``(8, 8)``, grey levels."""
    table = np.array(_TABLE.split(), dtype=np.int64).reshape(8, 8)
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    return np.clip((table * percent + 50) // 100, 1, 255).astype(np.float32)


QUALITIES = (10, 15, 20, 25, 30, 35, 40)
"""Qualities over whose thresholds the mark is pushed: multiples of five, which is what people ask for."""

# Found by benchmarks/hardening.py: an image shows about as much of the mark as with a push for two qualities
# alone, and more is left at every quality than without a push.
LIMIT = 3.0  # times its own size that a coefficient may become
COST = 5.0  # of the energy of a move, in that of the steps that survive by it

_STEPS = np.stack([jpeg_steps(quality).T for quality in QUALITIES])  # indexed [u, v]
_LEAST = 1.0  # grey levels of a coefficient at strength 1
_MARGIN = 0.5  # grey levels beyond the threshold


def harden(host: Host, delta: Plane, strength: float, threads: int = 1) -> tuple[Plane, float]:
    """Bring the delta to ``strength``, and push it over thresholds of strong JPEG compression that are near.

    A coefficient that JPEG quantises to the same value with and without the mark carries nothing afterwards;
    one that lies near a decision threshold carries a whole step for little energy: informed embedding (Cox,
    Miller & Bloom 2001, section 5). Nobody knows the quality that an image will meet: a push is chosen by
    the mean over several. JPEG's blocks are the image's only at one pixel per unit.

    Units of opacity 0 have no delta, and JPEG blocks with any of them are not hardened.

    Returns:
        The delta, and its mean square, every unit counted by its opacity.
    """
    if host.k > 1:
        scaled = delta * np.float32(strength)
        if host.opacity is not None:
            return _seen(scaled, host.opacity)
        return scaled, float(np.vdot(scaled, scaled)) / delta.size
    hardened = np.empty_like(delta)
    size, least = np.float32(strength), np.float32(_LEAST * strength)
    how = (_STEPS, np.float32(LIMIT), np.float32(COST), least, np.float32(_MARGIN))
    squares = in_strips(
        lambda first, last: kernels.harden(host.plane, delta, size, *how, first, last, hardened),
        -(-delta.shape[0] // BLOCK),
        threads,
        rows=32,
    )
    if host.opacity is not None:
        whole = _wholly_seen(host.opacity)
        return _seen(np.where(whole, hardened, delta * size), host.opacity)
    return hardened, sum(squares) / delta.size


def _wholly_seen(opacity: Plane) -> NDArray[np.bool_]:
    """Tell of every unit whether its 8 x 8 block, from (0, 0) on, has none of opacity 0."""
    seen = np.pad(opacity > 0, [(0, -n % BLOCK) for n in opacity.shape], constant_values=True)
    blocks = seen.reshape(seen.shape[0] // BLOCK, BLOCK, seen.shape[1] // BLOCK, BLOCK).all(axis=(1, 3))
    whole = np.repeat(np.repeat(blocks, BLOCK, axis=0), BLOCK, axis=1)
    return whole[: opacity.shape[0], : opacity.shape[1]]


def _seen(delta: Plane, opacity: Plane) -> tuple[Plane, float]:
    """Return the delta without units of opacity 0, and its mean square, units counted by their opacity."""
    seen = np.where(opacity > 0, delta, np.float32(0))
    return seen, float(np.average(seen**2, weights=opacity))
