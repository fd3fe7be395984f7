"""Pictures for the tests: photographs that scikit-image's wheel holds, and drawn ones of any size."""

import functools

import numpy as np
from skimage import data

MESSAGE = 0x0123456789ABCDEF
"""What the picture of the ``marked`` fixture says."""


@functools.cache
def photograph(name, size=None):
    """``astronaut``, ``chelsea``, ``coffee``, ``rocket`` ...: uint8, read-only, or its top left square."""
    picture = np.ascontiguousarray(getattr(data, name)()[:size, :size])
    picture.flags.writeable = False
    return picture


@functools.cache
def drawn(height, width, seed=0):
    """A scene of waves, discs and noise: uint8 ``(height, width, 3)``, read-only."""
    rng = np.random.default_rng([seed, height, width])
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    scene = np.full((height, width, 3), 120, np.float32) + (40 * y / height)[..., None]
    for fy, fx, phase in rng.uniform([-0.1, -0.1, 0], [0.1, 0.1, 6.28], (8, 3)):
        scene += (9 * np.cos(2 * np.pi * (fy * y + fx * x) + phase))[..., None]
    for top, left, size in rng.random((12, 3)):
        disc = np.hypot(y - top * height, x - left * width) < 0.2 * size * min(height, width)
        scene[disc] += rng.uniform(-60, 60, 3)
    scene += rng.normal(0, 5, (height, width, 1))
    picture = np.clip(scene, 0, 255).astype(np.uint8)
    picture.flags.writeable = False
    return picture


def grey(picture):
    """Luma, uint8 ``(H, W)``."""
    return np.rint(picture @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)


def psnr_db(before, after, peak=255.0):
    """Peak signal-to-noise ratio over all samples."""
    error = np.asarray(after, np.float64) - np.asarray(before, np.float64)
    return 10 * np.log10(peak**2 / np.mean(error**2))
