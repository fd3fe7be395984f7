"""What watermarking changed: PSNR, SSIM, and SSIMULACRA2 where its package is installed."""

from __future__ import annotations

import importlib.util
import io
import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fastmark.reporting.handling import RGB

MOST_PSNR_DB = 99.0
"""What stands for the PSNR of two images that are the same."""

SCORED_SIDE = 1024
"""SSIMULACRA2 scores at most so many pixels each way, those in the middle: it takes seconds per megapixel."""

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue (BT.601)."""


def psnr_db(before: RGB, after: RGB) -> float:
    """Return the peak signal-to-noise ratio over all three channels, dB; ``MOST_PSNR_DB`` if nothing changed.

    ``10 log10(255^2 / mean((before - after)^2))``
    """
    difference = before.astype(np.float32) - after
    error = float(np.mean(difference * difference, dtype=np.float64))
    return MOST_PSNR_DB if error == 0 else min(MOST_PSNR_DB, 10 * math.log10(255**2 / error))


def ssim(before: RGB, after: RGB) -> float:
    """Return the structural similarity of the luma of two images (Wang, Bovik, Sheikh & Simoncelli 2004).

    Means, variances and the covariance are of a Gaussian window of 11 x 11 pixels with a standard deviation
    of 1.5; K1 = 0.01, K2 = 0.03, L = 255. The mean is over all places where the window lies in the image.

    Args:
        before: RGB, at least 11 pixels a side.
        after: of the same shape.
    """
    weights = np.array(LUMA, np.float32)
    # NOTE: less 128, which changes no variance, so that squares have fewer digits to lose
    x, y = (image.astype(np.float32) @ weights - np.float32(128) for image in (before, after))
    mean_x, mean_y = _window(x), _window(y)
    variances = _window(x * x) + _window(y * y) - mean_x**2 - mean_y**2
    covariance = _window(x * y) - mean_x * mean_y
    mean_x, mean_y = mean_x + 128, mean_y + 128
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    likeness = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    likeness /= (mean_x**2 + mean_y**2 + c1) * (variances + c2)
    return float(likeness.mean(dtype=np.float64))


def _window(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the weighted means of all windows that lie in the plane: 10 samples less each way."""
    taps = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    taps = (taps / taps.sum()).astype(np.float32)
    for _ in range(2):
        n = plane.shape[0] - 10
        sums = plane[5 : 5 + n] * taps[5]
        for i in range(5):  # the window is symmetric
            sums += (plane[i : i + n] + plane[10 - i : 10 - i + n]) * taps[i]
        plane = np.ascontiguousarray(sums.T)
    return plane


def has_ssimulacra2() -> bool:
    """Whether the package that computes SSIMULACRA2 is installed."""
    return importlib.util.find_spec("ssimulacra2") is not None


def ssimulacra2(before: RGB, after: RGB, side: int = SCORED_SIDE) -> float:
    """Return SSIMULACRA2 (Sneyers 2023) of the middle of two images; from 90 on they are hard to tell apart.

    Args:
        before: RGB.
        after: of the same shape.
        side: pixels of the middle, at most, each way.

    Raises:
        ImportError: without the package ssimulacra2.
    """
    compute = importlib.import_module("ssimulacra2").compute_ssimulacra2
    height, width = before.shape[:2]
    top, left = max(0, height - side) // 2, max(0, width - side) // 2
    files = []
    for image in (before, after):  # the package takes what Image.open takes: files in memory will do
        file = io.BytesIO()
        part = image[top : top + side, left : left + side]
        Image.fromarray(np.ascontiguousarray(part)).save(file, "BMP")
        file.seek(0)
        files.append(file)
    return float(compute(*files))
