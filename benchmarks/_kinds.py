"""Drawn pictures of many kinds, unmarked: what a detector must stay silent on.

Each is a function of a generator, a height and a width, and returns RGB uint8. Among them are those that a
search for tones and blocks might mistake for a mark: patterns whose period is that of JPEG's blocks or of the
mark's torus, halftones, moire, pictures compressed hard on two grids.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from _geometry import array, pil, resize_to, rotate
from _pixels import jpeg, to_bytes
from _scenes import captioned, page, paragraph, phone_chat, slide, viewer
from PIL import Image

Draw = Callable[[np.random.Generator, int, int], np.ndarray]
TORUS_PX = 1024  # the mark repeats after so many units, and its blocks after 8
_PERIODS = (2, 3, 4, 5, 7, 8, 8, 12, 16, 24, 32, 64, 100, 128)


def _grey(plane: np.ndarray) -> np.ndarray:
    return np.repeat(to_bytes(plane)[..., None], 3, axis=2)


def _grid(h: int, w: int) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[0:h, 0:w].astype(np.float32)
    return y, x


def _turned(rng: np.random.Generator, h: int, w: int) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates turned by any angle, upright in one picture of two."""
    y, x = _grid(h, w)
    angle = 0.0 if rng.random() < 0.5 else rng.uniform(0, math.pi)
    return y * math.cos(angle) - x * math.sin(angle), y * math.sin(angle) + x * math.cos(angle)


# --- little texture -----------------------------------------------------------------------------------------


def flat(rng: np.random.Generator, h: int, w: int) -> np.ndarray:
    """One colour; one level of rounding noise in one picture of two."""
    colour = np.full((h, w, 3), rng.integers(0, 256, 3), np.int16)
    if rng.random() < 0.5:
        colour += rng.integers(0, 2, (h, w, 1), np.int16)
    return np.clip(colour, 0, 255).astype(np.uint8)


def gradient(rng: np.random.Generator, h: int, w: int) -> np.ndarray:
    """From one colour to another, linear or round: bands of one level."""
    y, x = _turned(rng, h, w)
    ramp = np.hypot(y - y.mean(), x - x.mean()) if rng.random() < 0.5 else y
    ramp = (ramp - ramp.min()) / max(1.0, float(np.ptp(ramp)))
    a, b = rng.integers(0, 256, (2, 3))
    return to_bytes(a + ramp[..., None] * (b - a))


def scene(rng: np.random.Generator, h: int, w: int) -> np.ndarray:
    """Waves, discs, edges and a little noise."""
    y, x = _grid(h, w)
    drawn = np.full((h, w, 3), rng.uniform(60, 180, 3), np.float32)
    for fy, fx, phase in rng.uniform([-0.1, -0.1, 0], [0.1, 0.1, 6.28], (5, 3)):
        drawn += (rng.uniform(3, 14) * np.cos(2 * np.pi * (fy * y + fx * x) + phase))[..., None]
    for top, left, size in rng.random((12, 3)):
        radius = 0.4 * min(h, w) * size**2
        rows, columns = (
            slice(max(0, math.floor(middle - radius)), math.ceil(middle + radius) + 1)
            for middle in (h * top, w * left)
        )
        inside = np.hypot(y[rows, columns] - h * top, x[rows, columns] - w * left) < radius
        drawn[rows, columns][inside] += rng.uniform(-70, 70, 3)
    return to_bytes(drawn + rng.normal(0, rng.uniform(0, 7), (h, w, 1)))


# --- noise --------------------------------------------------------------------------------------------------


def white_noise(rng: np.random.Generator, h: int, w: int) -> np.ndarray:
    """Uniform or normal, of any strength; grey or of three colours."""
    depth = int(rng.choice((1, 3)))
    if rng.random() < 0.3:
        noise = rng.integers(0, 256, (h, w, depth), np.uint8)
    else:
        noise = to_bytes(rng.normal(128, rng.uniform(1, 60), (h, w, depth)))
    return np.ascontiguousarray(np.broadcast_to(noise, (h, w, 3)))


def pink_noise(rng: np.random.Generator, h: int, w: int) -> np.ndarray:
    """Power falling as a power of the frequency, 1 to 2.5, as that of photographs does."""
    spectrum = np.fft.rfft2(rng.normal(size=(h, w)))
    radius = np.hypot(np.fft.fftfreq(h)[:, None], np.fft.rfftfreq(w)[None, :])
    radius[0, 0] = 1
    plane = np.fft.irfft2(spectrum / radius ** rng.uniform(0.5, 1.25), s=(h, w))
    return _grey(128 + rng.uniform(15, 60) * (plane - plane.mean()) / plane.std())


# --- periodic -----------------------------------------------------------------------------------------------


def stripes(rng: np.random.Generator, h: int, w: int) -> np.ndarray:
    """One to four gratings, sinusoidal or of hard edges."""
    plane = np.full((h, w), 128, np.float32)
    for _ in range(rng.integers(1, 5)):
        y, _ = _turned(rng, h, w)
        wave = np.cos(2 * np.pi * y / rng.uniform(2.2, 60) + rng.uniform(0, 6))
        plane += rng.uniform(10, 60) * (np.sign(wave) if rng.random() < 0.5 else wave)
    return _grey(plane)


def tiles(rng: np.random.Generator, h: int, w: int) -> np.ndarray:
    """A patch of noise repeated, its period JPEG's, the torus' or another."""
    rows, columns = (int(rng.choice((*_PERIODS, TORUS_PX))) for _ in range(2))
    patch = rng.integers(0, 256, (rows, columns, 3), np.uint8)
    strength = rng.uniform(0.1, 1)
    repeated = np.tile(patch, (-(-h // rows), -(-w // columns), 1))[:h, :w]
    return to_bytes(128 + strength * (repeated.astype(np.float32) - 128))


def checkerboard(rng: np.random.Generator, h: int, w: int) -> np.ndarray:
    """Squares of 1 to 64 pixels, also turned."""
    y, x = _turned(rng, h, w)
    side = float(rng.choice((1, 2, 4, 8, 16, 64, rng.uniform(1.5, 40))))
    dark, light = sorted(rng.integers(0, 256, 2))
    return _grey(np.where((np.floor(y / side) + np.floor(x / side)) % 2 == 0, float(dark), float(light)))


def moire(rng: np.random.Generator, h: int, w: int) -> np.ndarray:
    """A fine screen photographed by a coarser one: two gratings multiplied, each way."""
    y, x = _turned(rng, h, w)
    period, factor = rng.uniform(2, 6), rng.uniform(1.02, 1.3)
    fine = np.cos(2 * np.pi * y / period) + np.cos(2 * np.pi * x / period)
    v, u = _turned(rng, h, w)
    other = np.cos(2 * np.pi * v / (period * factor)) + np.cos(2 * np.pi * u / (period * factor))
    return _grey(128 + rng.uniform(10, 30) * fine * other)


def halftone(rng: np.random.Generator, h: int, w: int) -> np.ndarray:
    """A scene in black dots on a turned grid of 3 to 9 pixels, or in dithered dots."""
    luma = scene(rng, h, w)[..., 1]
    if rng.random() < 0.3:
        return array(Image.fromarray(luma).convert("1"))
    angle, pitch = rng.uniform(0, math.pi / 2), rng.uniform(3, 9)
    y, x = _grid(h, w)
    v, u = y * math.cos(angle) - x * math.sin(angle), y * math.sin(angle) + x * math.cos(angle)
    screen = 64 * (np.cos(2 * np.pi * v / pitch) + np.cos(2 * np.pi * u / pitch)) + 128
    return _grey(np.where(luma > screen, 255.0, 0.0))


# --- pages and screens --------------------------------------------------------------------------------------


def text_page(rng: np.random.Generator, h: int, w: int) -> np.ndarray:
    """A page of text."""
    canvas = Image.new("RGB", (w, h), (255, 255, 255))
    size = rng.uniform(10, 26)
    paragraph(canvas, rng, (w // 12, h // 16, w - w // 12, h - h // 16), size)
    return array(canvas)


def grainy_scan(rng: np.random.Generator, h: int, w: int) -> np.ndarray:
    """A page of text, scanned askew: uneven paper, grain, JPEG."""
    shade = pink_noise(rng, h, w)[..., :1].astype(np.float32)
    grown = text_page(rng, h + h // 8, w + w // 8)
    turned = rotate(grown, rng.uniform(-2, 2), "clipped")[h // 16 : h // 16 + h, w // 16 : w // 16 + w]
    grain = rng.normal(0, rng.uniform(2, 12), (h, w, 1))
    return jpeg(to_bytes(0.92 * turned + 0.05 * shade + grain), int(rng.integers(40, 90)))


def screen(rng: np.random.Generator, h: int, w: int) -> np.ndarray:
    """One of the scenes of the attacks round an unmarked picture, at the size asked for."""
    inner = scene(rng, 512, 640)
    kind = rng.integers(5)
    quality = None if rng.random() < 0.5 else 75
    if kind == 0:
        seen = page(inner, rng, (1920, 1080), rng.uniform(0.4, 0.8), quality)
    elif kind == 1:
        seen = viewer(inner, rng, (1600, 1200), rng.uniform(0.5, 1), quality)
    elif kind == 2:
        seen = slide(inner, rng, quality)
    elif kind == 3:
        seen = phone_chat(inner, rng, 1600, 80)
    else:
        seen = captioned(inner, rng, 640, 80)
    if rng.random() < 0.5 or seen.shape[0] < h or seen.shape[1] < w:
        return resize_to(seen, w, h)
    return np.ascontiguousarray(seen[:h, :w])


def jpeg_grid(rng: np.random.Generator, h: int, w: int) -> np.ndarray:
    """A scene compressed very hard, often twice, on two grids or at two sizes: little but blocks is left."""
    once = jpeg(scene(rng, h + 8, w + 8), int(rng.integers(3, 20)))
    kind = rng.integers(3)
    if kind == 0:
        return once[:h, :w].copy()
    y, x = rng.integers(0, 8, 2)
    if kind == 1:
        return jpeg(once[y : y + h, x : x + w], int(rng.integers(3, 30)))
    factor = rng.uniform(0.5, 0.95)
    small = array(pil(once).resize((max(8, round(w * factor)), max(8, round(h * factor)))))
    return resize_to(jpeg(small, int(rng.integers(5, 40))), w, h)


KINDS: dict[str, Draw] = {
    function.__name__.replace("_", " "): function
    for function in (
        flat, gradient, scene, white_noise, pink_noise, stripes, tiles, checkerboard, moire, halftone,
        text_page, grainy_scan, screen, jpeg_grid,
    )
}  # fmt: skip


def drawn_size(
    rng: np.random.Generator, least_side: int, least_area: float, most_area: float
) -> tuple[int, int]:
    """Height and width: the logarithm of the area uniform, sides in proportions up to 1 : 2."""
    area = math.exp(rng.uniform(math.log(least_area), math.log(most_area)))
    aspect = math.exp(rng.uniform(-math.log(2), math.log(2)))
    height, width = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
    return max(least_side, height), max(least_side, width)
