"""Attacks that change a part of the image: covering, masking, writing, drawing, blurring, pasting."""

from __future__ import annotations

import numpy as np
from _geometry import array, pil
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

Box = tuple[int, int, int, int]  # left, top, right, bottom


def cover_blocks(rgb: np.ndarray, rng: np.random.Generator, share: float) -> np.ndarray:
    """Drop opaque rectangles of random colours until `share` of the area is hidden."""
    h, w = rgb.shape[:2]
    out, hidden = rgb.copy(), np.zeros((h, w), bool)
    while hidden.mean() < share:
        bh, bw = (int(side * rng.uniform(0.08, 0.25)) for side in (h, w))
        top, left = int(rng.integers(0, h - bh)), int(rng.integers(0, w - bw))
        out[top : top + bh, left : left + bw] = rng.integers(0, 256, 3)
        hidden[top : top + bh, left : left + bw] = True
    return out


def write(image: Image.Image, text: str, box: tuple[int, int, int, int], colour: object) -> None:
    """Write one centred line of text into `box`, as large as it fits."""
    left, top, right, bottom = box
    size = max(6.0, min(0.7 * (bottom - top), 1.7 * (right - left) / max(1, len(text))))
    ImageDraw.Draw(image).text(
        ((left + right) / 2, (top + bottom) / 2),
        text,
        colour,
        ImageFont.load_default(size),
        anchor="mm",
    )


def cover_banner(rgb: np.ndarray, share: float) -> np.ndarray:
    """Lay an opaque text banner over `share` of the height."""
    h, w = rgb.shape[:2]
    image, top, bottom = pil(rgb), round(h * 0.55), round(h * (0.55 + share))
    ImageDraw.Draw(image).rectangle((0, top, w, bottom), (250, 210, 30))
    for line in range(3):
        y = top + (bottom - top) * line // 3
        write(image, "BREAKING NEWS TODAY", (0, y, w, y + (bottom - top) // 3), (20, 20, 20))
    return array(image)


def cover_half(rgb: np.ndarray) -> np.ndarray:
    out = rgb.copy()
    out[:, rgb.shape[1] // 2 :] = (40, 60, 90)
    return out


def overlay_text(rgb: np.ndarray, opacity: float) -> np.ndarray:
    """Write slanted translucent text all over, as stock agencies do."""
    h, w = rgb.shape[:2]
    layer = Image.new("L", (2 * max(h, w), 2 * max(h, w)), 0)
    step = max(24, max(h, w) // 8)
    font = ImageFont.load_default(step * 0.6)
    for row in range(0, layer.height, step):
        ImageDraw.Draw(layer).text((row % (3 * step) - step, row), "PREVIEW ONLY  " * 12, 255, font)
    layer = layer.rotate(30, Image.Resampling.BICUBIC)
    left, top = (layer.width - w) // 2, (layer.height - h) // 2
    alpha = layer.crop((left, top, left + w, top + h)).point([round(opacity * i) for i in range(256)])
    image = pil(rgb)
    image.paste((255, 255, 255), (0, 0, w, h), alpha)
    return array(image)


def blend_picture(rgb: np.ndarray, rng: np.random.Generator, opacity: float) -> np.ndarray:
    """Blend in another 'picture' (smooth random colours with edges)."""
    h, w = rgb.shape[:2]
    other = pil(rng.integers(0, 256, (9, 12, 3), np.uint8)).resize((w, h), Image.Resampling.BICUBIC)
    other = ImageChops.add(other, other.quantize(12).convert("RGB"), 2)
    return array(Image.blend(pil(rgb), other, opacity))


def _parts(rng: np.random.Generator, shape: tuple[int, ...], share: float) -> np.ndarray:
    """A mask, bool H x W: random rectangles until `share` of the area is in them."""
    h, w = shape[:2]
    mask = np.zeros((h, w), bool)
    while mask.mean() < share:
        bh, bw = (int(side * rng.uniform(0.08, 0.3)) for side in (h, w))
        top, left = int(rng.integers(0, h - bh)), int(rng.integers(0, w - bw))
        mask[top : top + bh, left : left + bw] = True
    return mask


def mask_black(rgb: np.ndarray, rng: np.random.Generator, share: float) -> np.ndarray:
    """Black rectangles over a share of the area."""
    return np.where(_parts(rng, rgb.shape, share)[..., None], np.uint8(0), rgb)


def blur_parts(rgb: np.ndarray, rng: np.random.Generator, share: float, radius: float) -> np.ndarray:
    """Blur rectangles over a share of the area, as faces and number plates are."""
    blurred = array(pil(rgb).filter(ImageFilter.GaussianBlur(radius)))
    return np.where(_parts(rng, rgb.shape, share)[..., None], blurred, rgb)


def strokes(rgb: np.ndarray, rng: np.random.Generator, count: int) -> np.ndarray:
    """Thick strokes of a brush, and as many round stickers with faces."""
    h, w = rgb.shape[:2]
    image = pil(rgb)
    draw = ImageDraw.Draw(image)
    for _ in range(count):
        points = [tuple(map(float, p)) for p in rng.uniform((0, 0), (w, h), (4, 2))]
        draw.line(points, tuple(map(int, rng.integers(0, 256, 3))), max(2, min(h, w) // 40), joint="curve")
        x, y, r = float(rng.uniform(0, w)), float(rng.uniform(0, h)), min(h, w) / 14
        draw.ellipse((x - r, y - r, x + r, y + r), (255, 204, 51), (90, 60, 0), 2)
        for side in (-0.4, 0.4):
            draw.ellipse((x + side * r - r / 8, y - r / 2, x + side * r + r / 8, y - r / 6), (60, 40, 0))
        draw.arc((x - r / 2, y - r / 2, x + r / 2, y + r / 2), 20, 160, (60, 40, 0), max(1, round(r / 8)))
    return array(image)


def paste_into(rgb: np.ndarray, rng: np.random.Generator, share: float) -> np.ndarray:
    """Cut out an ellipse of a share of the area, and paste it into another, drawn image of the same size."""
    h, w = rgb.shape[:2]
    coarse = rng.integers(30, 226, (6, 8, 3), np.uint8)
    other = array(pil(coarse).resize((w, h), Image.Resampling.BICUBIC)).astype(np.float32)
    other += rng.normal(0, 6, (h, w, 1))
    y, x = np.mgrid[0:h, 0:w]
    a = np.sqrt(share / np.pi)
    cy, cx = rng.uniform(a, 1 - a, 2)
    inside = ((y / h - cy) ** 2 + (x / w - cx) ** 2) < a * a
    return np.where(inside[..., None], rgb, np.clip(np.rint(other), 0, 255).astype(np.uint8))
