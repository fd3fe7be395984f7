"""Attacks made of several steps: what a picture meets on its way through phones, sites and printers."""

from __future__ import annotations

import numpy as np
from _edits import write
from _geometry import array, crop_area, fit, pad, perspective, pil, resize, rotate
from _pixels import blur, contrast, gamma, jpeg, noise, unsharp
from PIL import Image, ImageDraw


def social(rgb: np.ndarray, side: int, quality: int, sharpen: bool = False) -> np.ndarray:
    """Fit into `side`, perhaps sharpened as sites do after shrinking, then JPEG."""
    small = fit(rgb, side)
    return jpeg(unsharp(small, 0.7, 60) if sharpen else small, quality)


def reshared(rgb: np.ndarray) -> np.ndarray:
    """A phone photo sent by a messenger, saved, cropped by hand and posted again."""
    once = social(rgb, 1600, 80)
    return social(once[7:-11, 13:-4], 1080, 75)


def crop_resize_jpeg(
    rgb: np.ndarray, rng: np.random.Generator, area: float, scale: float, quality: int
) -> np.ndarray:
    return jpeg(resize(crop_area(rgb, rng, area, "random"), scale, scale), quality)


def rotate_crop_jpeg(
    rgb: np.ndarray, rng: np.random.Generator, degrees: float, area: float, quality: int
) -> np.ndarray:
    return jpeg(crop_area(rotate(rgb, degrees, "cropped"), rng, area, "random"), quality)


def rotate_scale_crop(
    rgb: np.ndarray, rng: np.random.Generator, degrees: float, scale: float, area: float
) -> np.ndarray:
    turned = rotate(rgb, degrees, "cropped")
    return crop_area(resize(turned, scale, scale), rng, area, "random")


def screenshot(rgb: np.ndarray, rng: np.random.Generator, scale: float, quality: int | None) -> np.ndarray:
    """Show scaled in a window with bars, text and buttons; saved as JPEG, or PNG when `quality` is None."""
    shown = resize(rgb, scale, scale, "bilinear")
    h, w = shown.shape[:2]
    bar, side = max(16, h // 14), max(24, w // 5)
    canvas = Image.new("RGB", (w + side + 2 * bar, h + 4 * bar), (246, 246, 248))
    draw = ImageDraw.Draw(canvas)
    draw.rectangle((0, 0, canvas.width, bar), (52, 58, 70))
    write(canvas, "Photos - Holiday - 0042", (0, 0, w // 2, bar), (235, 235, 235))
    for i in range(3):
        x = canvas.width - (i + 1) * bar
        draw.ellipse((x, bar // 4, x + bar // 2, 3 * bar // 4), (230, 90 + 60 * i, 80))
    for i in range(10):  # the sidebar's entries
        y = 2 * bar + i * (h + bar) // 10
        draw.rectangle((bar // 2, y, side - bar // 2, y + bar), (255, 255, 255), (210, 210, 215))
        write(canvas, f"Entry {int(rng.integers(100, 999))}", (bar // 2, y, side, y + bar), (90, 90, 95))
    canvas.paste(pil(shown), (side + bar, 2 * bar))
    out = array(canvas)
    return out if quality is None else jpeg(out, quality)


def print_scan(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Printed and scanned: paper margin, tone curve, blur, slight turn and perspective, noise, JPEG."""
    paper = pad(contrast(gamma(rgb, 1.15), 0.9), 0.06, 0.06, 0.06, 0.06, 250)
    turned = array(pil(paper).rotate(1.3, Image.Resampling.BICUBIC, expand=True, fillcolor=(250, 250, 250)))
    scanned = resize(perspective(turned, rng, 0.01), 1.12, 1.12)
    return jpeg(noise(blur(scanned, 0.9), rng, 4), 85)


def photographed(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A screen photographed by a phone: perspective, uneven light, blur, noise, fainter scan lines, JPEG."""
    h, w = rgb.shape[:2]
    seen = blur(perspective(rotate(rgb, -2.2, "cropped"), rng, 0.02), 1.0).astype(np.float32)
    h, w = seen.shape[:2]
    light = np.linspace(1.08, 0.8, w)[None, :] * np.linspace(1, 0.92, h)[:, None]
    moire = 1 + 0.03 * np.sin(2 * np.pi * (0.21 * np.arange(h)[:, None] + 0.05 * np.arange(w)[None, :]))
    lit = np.clip(seen * (light * moire)[..., None], 0, 255).astype(np.uint8)
    return jpeg(noise(lit, rng, 5), 80)


def photographed_print(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A print on a wall photographed from the side: paper margin, keystone, lamp light, blur, noise, JPEG."""
    paper = pad(contrast(gamma(rgb, 1.2), 0.85), 0.08, 0.08, 0.08, 0.08, 245)
    seen = blur(perspective(rotate(paper, 1.7, "cropped"), rng, 0.03), 0.8).astype(np.float32)
    h, w = seen.shape[:2]
    y, x = np.mgrid[0:h, 0:w]
    lamp = 1.05 - 0.35 * ((y / h - 0.3) ** 2 + (x / w - 0.7) ** 2)
    lit = np.clip(seen * lamp[..., None] * np.array([1.06, 1.0, 0.88]), 0, 255).astype(np.uint8)
    return jpeg(noise(lit, rng, 4), 85)


def meme(rgb: np.ndarray, quality: int) -> np.ndarray:
    """A white bar with text above, outlined text at the bottom of the picture, JPEG."""
    h, w = rgb.shape[:2]
    bar = h // 6
    image = pil(np.pad(rgb, ((bar, 0), (0, 0), (0, 0)), constant_values=255))
    write(image, "WHEN THE MARK IS STILL THERE", (0, 0, w, bar), (0, 0, 0))
    write(image, "AFTER ALL THIS", (0, h, w, h + bar), (255, 255, 255))
    return jpeg(array(image), quality)


def collage(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One of four tiles, the others noise-like fillers, JPEG."""
    h, w = rgb.shape[:2]
    canvas = Image.new("RGB", (2 * w + 30, 2 * h + 30), (255, 255, 255))
    for i in range(4):
        filler = pil(rng.integers(0, 256, (7, 9, 3), np.uint8)).resize((w, h), Image.Resampling.BICUBIC)
        canvas.paste(pil(rgb) if i == 2 else filler, (10 + (i % 2) * (w + 10), 10 + (i // 2) * (h + 10)))
    return jpeg(array(canvas), 85)
