"""Attacks on images, with Pillow and NumPy alone: functions of RGB pixels, uint8 ``(H, W, 3)``.

None of them changes its argument; those that draw take a generator. Ones that take a camera's or a screen's
part are simulations, simpler than the real thing.
"""

from __future__ import annotations

import io
import math
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont

RGB: TypeAlias = NDArray[np.uint8]

_BICUBIC = Image.Resampling.BICUBIC
_LEAST_SIDE = 8  # pixels that are left of anything


def to_bytes(values: NDArray[Any]) -> RGB:
    """Round and clip to uint8."""
    rounded: RGB = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return rounded


def to_pillow(rgb: RGB) -> Image.Image:
    """Wrap pixels as a Pillow image."""
    return Image.fromarray(np.ascontiguousarray(rgb))


def to_pixels(image: Image.Image) -> RGB:
    """Return a fresh array of a Pillow image of any mode."""
    return np.array(image.convert("RGB"))


# ---- typical processing ------------------------------------------------------------------------------


def encode(rgb: RGB, codec: str, **options: Any) -> RGB:
    """Compress with an encoder of Pillow's, and decode again."""
    buffer = io.BytesIO()
    to_pillow(rgb).save(buffer, codec, **options)
    buffer.seek(0)
    with Image.open(buffer) as decoded:
        return to_pixels(decoded)


def jpeg(rgb: RGB, quality: int) -> RGB:
    """Compress as JPEG, chroma at half resolution as most programs do."""
    return encode(rgb, "JPEG", quality=quality, subsampling="4:2:0")


def avif(rgb: RGB, quality: int) -> RGB:
    """Compress as AVIF: a fast effort, and one thread, so that nothing depends on the machine."""
    return encode(rgb, "AVIF", quality=quality, speed=8, max_threads=1)


def resize(rgb: RGB, across: float, down: float | None = None) -> RGB:
    """Scale the width by ``across`` and the height by ``down``, or by the same."""
    height, width = rgb.shape[:2]
    down = across if down is None else down
    size = (max(_LEAST_SIDE, round(width * across)), max(_LEAST_SIDE, round(height * down)))
    return to_pixels(to_pillow(rgb).resize(size, _BICUBIC))


def fit(rgb: RGB, side: int) -> RGB:
    """Shrink to ``side`` pixels on the long side; smaller images stay as they are, as sites do."""
    scale = side / max(rgb.shape[:2])
    return resize(rgb, scale) if scale < 1 else rgb.copy()


def brightness(rgb: RGB, factor: float) -> RGB:
    """Multiply all levels."""
    return to_pixels(ImageEnhance.Brightness(to_pillow(rgb)).enhance(factor))


def contrast(rgb: RGB, factor: float) -> RGB:
    """Stretch all levels about the mean luma."""
    return to_pixels(ImageEnhance.Contrast(to_pillow(rgb)).enhance(factor))


def screenshot(rgb: RGB, scale: float) -> RGB:
    """Show the image scaled in a window with bars, a list and text, and take all of that without loss."""
    shown = to_pillow(resize(rgb, scale))
    bar, side = max(16, shown.height // 14), max(24, shown.width // 5)
    canvas = Image.new("RGB", (shown.width + side + 2 * bar, shown.height + 4 * bar), (246, 246, 248))
    draw = ImageDraw.Draw(canvas)
    draw.rectangle((0, 0, canvas.width, bar), (52, 58, 70))
    font = ImageFont.load_default(0.6 * bar)
    draw.text((bar / 2, bar / 2), "Images - folder - 0042", (235, 235, 235), font, anchor="lm")
    for i in range(8):
        y = 2 * bar + i * shown.height // 8
        draw.rectangle((bar // 2, y, side - bar // 2, y + bar), (255, 255, 255), (210, 210, 215))
        draw.text((bar, y + bar / 2), f"{100 + 37 * i}", (90, 90, 95), font, anchor="lm")
    canvas.paste(shown, (side + bar, 2 * bar))
    return to_pixels(canvas)


# ---- desynchronisation -------------------------------------------------------------------------------


def crop(rgb: RGB, rng: np.random.Generator, area: float) -> RGB:
    """Keep a part of that share of the area, of the same proportions, at a random place."""
    height, width = rgb.shape[:2]
    h, w = (max(_LEAST_SIDE, round(side * math.sqrt(area))) for side in (height, width))
    top, left = int(rng.integers(0, height - h + 1)), int(rng.integers(0, width - w + 1))
    return rgb[top : top + h, left : left + w].copy()


def rotate(rgb: RGB, degrees: float) -> RGB:
    """Turn counterclockwise, and cut the largest upright part without empty corners out of it."""
    height, width = rgb.shape[:2]
    turned = to_pillow(rgb).rotate(degrees, _BICUBIC, expand=True)
    w, h = _inner_rectangle(width, height, degrees)
    left, top = (turned.width - w) // 2, (turned.height - h) // 2
    return to_pixels(turned.crop((left, top, left + w, top + h)))


def _inner_rectangle(width: int, height: int, degrees: float) -> tuple[int, int]:
    """Return width and height of the largest upright rectangle in a turned one, of at most 90 degrees."""
    sin, cos = abs(math.sin(math.radians(degrees))), abs(math.cos(math.radians(degrees)))
    long, short = max(width, height), min(width, height)
    if short <= 2 * sin * cos * long or abs(sin - cos) < 1e-9:  # two corners touch the long sides
        half = short / 2
        w, h = (half / sin, half / cos) if width >= height else (half / cos, half / sin)
    else:
        w = (width * cos - height * sin) / (cos**2 - sin**2)
        h = (height * cos - width * sin) / (cos**2 - sin**2)
    return max(_LEAST_SIDE, math.floor(w) - 2), max(_LEAST_SIDE, math.floor(h) - 2)  # 2: the soiled rim


def transpose(rgb: RGB, method: Image.Transpose) -> RGB:
    """Mirror, or turn by a multiple of 90 degrees."""
    return to_pixels(to_pillow(rgb).transpose(method))


# ---- the analogue hole, simulated --------------------------------------------------------------------


def perspective(rgb: RGB, rng: np.random.Generator, share: float) -> RGB:
    """Move each corner inwards by up to a share of the side, one of them by all of it."""
    height, width = rgb.shape[:2]
    inwards = rng.uniform(0, share, (4, 2))
    inwards[rng.integers(4)] = share
    frame = np.array([[0, 0], [width, 0], [width, height], [0, height]], float)
    corners = frame + np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]]) * inwards * (width, height)
    rows, values = [], []
    for (u, v), (x, y) in zip(frame, corners, strict=True):
        rows += [[u, v, 1, 0, 0, 0, -x * u, -x * v], [0, 0, 0, u, v, 1, -y * u, -y * v]]
        values += [x, y]
    data = tuple(float(c) for c in np.linalg.solve(np.array(rows), np.array(values)))
    moved = to_pillow(rgb).transform((width, height), Image.Transform.PERSPECTIVE, data, _BICUBIC)
    return to_pixels(moved)


def photographed(rgb: RGB, rng: np.random.Generator, severity: float) -> RGB:
    """Simulate a photograph of a screen: turn, perspective, uneven light, faint lines, blur, noise, JPEG.

    ``severity``: 1 for a steady hand, 2 for twice of everything.
    """
    seen = perspective(rotate(rgb, -1.1 * severity), rng, 0.01 * severity)
    seen = to_pixels(to_pillow(seen).filter(ImageFilter.GaussianBlur(0.5 * severity)))
    height, width = seen.shape[:2]
    light = np.linspace(1 + 0.04 * severity, 1 - 0.1 * severity, width)[None, :]
    light = light * np.linspace(1, 1 - 0.04 * severity, height)[:, None]
    y, x = np.arange(height)[:, None], np.arange(width)[None, :]
    lines = 1 + 0.015 * severity * np.sin(2 * np.pi * (0.21 * y + 0.05 * x))
    return jpeg(noise(to_bytes(seen * (light * lines)[..., None]), rng, 2.5 * severity), 85)


def printed(rgb: RGB, rng: np.random.Generator) -> RGB:
    """Simulate printing and scanning: paper round it, flatter tones, a slight turn, blur, noise, JPEG."""
    margin = max(4, min(rgb.shape[:2]) // 16)
    paper = np.pad(contrast(rgb, 0.88), ((margin, margin), (margin, margin), (0, 0)), constant_values=250)
    turned = to_pillow(paper).rotate(1.3, _BICUBIC, expand=True, fillcolor=(250, 250, 250))
    scanned = perspective(resize(to_pixels(turned), 1.1), rng, 0.005)
    blurred = to_pixels(to_pillow(scanned).filter(ImageFilter.GaussianBlur(0.8)))
    return jpeg(noise(blurred, rng, 4), 85)


# ---- local edits -------------------------------------------------------------------------------------


def cover_blocks(rgb: RGB, rng: np.random.Generator, share: float) -> RGB:
    """Drop opaque rectangles of random colours until that share of the area is hidden."""
    height, width = rgb.shape[:2]
    out, hidden = rgb.copy(), np.zeros((height, width), bool)
    while hidden.mean() < share:
        h, w = (max(1, int(side * rng.uniform(0.08, 0.25))) for side in (height, width))
        top, left = int(rng.integers(0, height - h + 1)), int(rng.integers(0, width - w + 1))
        out[top : top + h, left : left + w] = rng.integers(0, 256, 3)
        hidden[top : top + h, left : left + w] = True
    return out


def overlay_text(rgb: RGB, opacity: float) -> RGB:
    """Write slanted translucent text all over, as agencies do."""
    height, width = rgb.shape[:2]
    side = 2 * max(height, width)
    layer = Image.new("L", (side, side), 0)
    step = max(24, side // 16)
    font = ImageFont.load_default(0.6 * step)
    for row in range(0, side, step):
        ImageDraw.Draw(layer).text((row % (3 * step) - step, row), "PREVIEW ONLY  " * 12, 255, font)
    layer = layer.rotate(30, _BICUBIC)
    left, top = (side - width) // 2, (side - height) // 2
    alpha = layer.crop((left, top, left + width, top + height)).point(
        [round(opacity * level) for level in range(256)]
    )
    image = to_pillow(rgb)
    image.paste((255, 255, 255), (0, 0, width, height), alpha)
    return to_pixels(image)


def banner(rgb: RGB, share: float) -> RGB:
    """Lay an opaque band with text over that share of the height."""
    height, width = rgb.shape[:2]
    top, bottom = round(height * 0.55), round(height * (0.55 + share))
    image = to_pillow(rgb)
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, top, width, bottom), (250, 210, 30))
    size = max(6.0, min(0.4 * (bottom - top), width / 12))
    draw.text((width / 2, (top + bottom) / 2), "BREAKING NEWS", (20, 20, 20), ImageFont.load_default(size),
              anchor="mm")  # fmt: skip
    return to_pixels(image)


def paste_into(rgb: RGB, rng: np.random.Generator, other: RGB, times: float) -> RGB:
    """Paste it at a random place of another picture, which is given that many times its area."""
    height, width = rgb.shape[:2]
    h, w = (round(side * math.sqrt(times)) for side in (height, width))
    canvas = to_pixels(to_pillow(other).resize((w, h), _BICUBIC))
    top, left = int(rng.integers(0, h - height + 1)), int(rng.integers(0, w - width + 1))
    canvas[top : top + height, left : left + width] = rgb
    return canvas


# ---- attacks on the watermark ------------------------------------------------------------------------


def noise(rgb: RGB, rng: np.random.Generator, sigma: float) -> RGB:
    """Add Gaussian noise of that many grey levels to each channel."""
    return to_bytes(rgb + np.float32(sigma) * rng.standard_normal(rgb.shape, np.float32))


def blur(rgb: RGB, sigma_px: float) -> RGB:
    """Blur by a Gaussian."""
    return to_pixels(to_pillow(rgb).filter(ImageFilter.GaussianBlur(sigma_px)))


def median(rgb: RGB, size: int) -> RGB:
    """Replace each pixel by the median of a square."""
    return to_pixels(to_pillow(rgb).filter(ImageFilter.MedianFilter(size)))


def wiener(rgb: RGB, sigma: float, radius: int = 2) -> RGB:
    """Take off noise of ``sigma`` grey levels by an adaptive Wiener filter (Lee 1980).

    ``mean + max(0, variance - sigma^2) / variance (x - mean)``, with mean and variance of the square of
    ``2 radius + 1`` pixels round each, channel by channel.
    """
    out = np.empty_like(rgb)
    for c in range(3):
        x = rgb[..., c].astype(np.float32)
        mean = box_mean(x, radius)
        variance = np.maximum(box_mean(x * x, radius) - mean * mean, 1e-3)
        gain = np.maximum(variance - np.float32(sigma * sigma), 0) / variance
        out[..., c] = to_bytes(mean + gain * (x - mean))
    return out


def notch(rgb: RGB, peaks: int) -> RGB:
    """Flatten the strongest peaks of the luma's spectrum, the key unknown, as one who looks for tones would.

    1. Whiten: power over its mean in 21 x 21 bins, clipped so that no peak hides itself.
    2. Take the strongest local maxima above 0.04 cycles per unit, as the format is public, without the bins
       beside the axes, which hold the jump at the frame's edges.
    3. Bring each of them and its eight neighbours down to the local level; phases are kept.
    """
    height, width = rgb.shape[:2]
    luma = rgb.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    spectrum = np.fft.rfft2(luma)
    power = (np.abs(spectrum) ** 2).astype(np.float32)
    level = box_mean(power, 10)
    level = np.float32(1.2) * box_mean(np.minimum(power, 3 * level), 10)
    white = power / np.maximum(level, np.float32(1e-6))
    unit = max(1, round(min(height, width) / 800))
    fy, fx = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :]
    allowed = (np.hypot(fy, fx) * unit > 0.04) & (np.abs(fy) * height > 3) & (fx * width > 3)
    score = np.where(allowed & (white == _maximum(white, 2)), white, 0)
    peaks = min(peaks, score.size)
    chosen = np.zeros(score.shape, np.float32)
    strongest = np.argpartition(score, -peaks, axis=None)[-peaks:]
    chosen.flat[strongest] = score.flat[strongest] > 0
    keep = np.where(_maximum(chosen, 1) > 0, np.minimum(1, 1 / np.sqrt(np.maximum(white, 1e-6))), 1)
    change = np.fft.irfft2(spectrum * keep, s=(height, width)) - luma
    return to_bytes(rgb + change[..., None])


def box_mean(plane: NDArray[np.float32], radius: int) -> NDArray[np.float32]:
    """Return the mean of the square of ``2 radius + 1`` samples round each, edges repeated."""
    size = 2 * radius + 1
    for axis in (0, 1):
        pads = [(radius + 1, radius) if a == axis else (0, 0) for a in (0, 1)]
        # NOTE: float64, for sums of a whole line would lose the digits of small differences
        sums = np.cumsum(np.pad(plane, pads, "edge"), axis=axis, dtype=np.float64)
        n = plane.shape[axis]
        upper, lower = np.take(sums, range(size, size + n), axis), np.take(sums, range(n), axis)
        plane = ((upper - lower) / size).astype(np.float32)
    return plane


def _maximum(plane: NDArray[Any], radius: int) -> NDArray[Any]:
    """Return the largest of the square of samples round each; the plane is a torus, as a spectrum is."""
    for axis in (0, 1):
        plane = np.max([np.roll(plane, shift, axis) for shift in range(-radius, radius + 1)], axis=0)
    return plane
