"""Pictures with transparent pixels: opacities of many shapes, pictures cut out by them, and their marking."""

import numpy as np
from pictures import drawn
from planted import CODE, MESSAGE

from fastmark.embedding import marking

DATA = CODE.to_bytes(MESSAGE)


def disc(height, width, radius=0.4):
    """Opacity of a disc in the middle, its radius in shares of the shorter side: float32."""
    y, x = np.mgrid[:height, :width]
    distance = np.hypot(y - (height - 1) / 2, x - (width - 1) / 2)
    return (distance < radius * min(height, width)).astype(np.float32)


def star(height, width):
    """Opacity of a star of five points."""
    y, x = np.mgrid[:height, :width]
    y, x = y - (height - 1) / 2, x - (width - 1) / 2
    reach = 0.37 + 0.11 * np.cos(5 * np.arctan2(x, -y))
    return (np.hypot(y, x) < reach * min(height, width)).astype(np.float32)


def shadowed(height, width):
    """Opacity of a disc that throws a soft shadow."""
    y, x = np.mgrid[:height, :width]
    distance = np.hypot(y - 0.54 * height, x - 0.54 * width) / min(height, width)
    shadow = 0.5 / (1 + np.exp((distance - 0.38) / 0.02))
    return np.rint(255 * np.maximum(disc(height, width, 0.38), shadow)).astype(np.float32) / np.float32(255)


def holes(height, width):
    """Opacity of a sheet with round holes."""
    y, x = np.mgrid[:height, :width]
    return (np.hypot(y % 90 - 45, x % 110 - 55) > 20).astype(np.float32)


def half(height, width):
    return np.full((height, width), 128 / 255, np.float32)


def fading(height, width):
    """Opacity that grows from left to right."""
    return np.rint(np.linspace(0, 255, width * height).reshape(width, height).T).astype(np.float32) / 255


SHAPES = {f.__name__: f for f in (disc, star, shadowed, holes, half, fading)}


def sticker(visible, seed=0):
    """A scene, black where it is not visible: uint8 ``(H, W, 3)``."""
    pixels = drawn(*visible.shape, seed).copy()
    pixels[visible == 0] = 0
    return pixels


def mark(pixels, carrier, visible, strength=1.0, peak=255.0, **options):
    return marking.mark(pixels, peak, carrier, CODE, DATA, strength, visible=visible, **options)
