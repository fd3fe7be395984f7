"""Attacks that move pixels: resizing, cropping, framing, rotation, shear, perspective, bending."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageFilter
from scipy import ndimage

FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
BICUBIC = Image.Resampling.BICUBIC


def pil(rgb: np.ndarray) -> Image.Image:
    """Wrap an array as a Pillow picture."""
    return Image.fromarray(np.ascontiguousarray(rgb))


def array(image: Image.Image) -> np.ndarray:
    """Turn a Pillow picture of any mode into a fresh RGB array."""
    return np.array(image.convert("RGB"))


# --- size ---------------------------------------------------------------------------------------------------


def resize_to(rgb: np.ndarray, width: int, height: int, method: str = "bicubic") -> np.ndarray:
    return array(pil(rgb).resize((max(1, width), max(1, height)), FILTERS[method]))


def resize(rgb: np.ndarray, sx: float, sy: float, method: str = "bicubic", back: bool = False) -> np.ndarray:
    """Scale the width by `sx` and the height by `sy`; with `back` return to the first size."""
    h, w = rgb.shape[:2]
    out = resize_to(rgb, round(w * sx), round(h * sy), method)
    return resize_to(out, w, h, method) if back else out


def fit(rgb: np.ndarray, side: int) -> np.ndarray:
    """Shrink to `side` pixels on the long side; smaller pictures stay as they are, as web sites do."""
    h, w = rgb.shape[:2]
    scale = side / max(h, w)
    return resize(rgb, scale, scale, "lanczos") if scale < 1 else rgb.copy()


# --- cropping and framing -----------------------------------------------------------------------------------


def crop_box(rgb: np.ndarray, left: int, top: int, width: int, height: int) -> np.ndarray:
    return rgb[top : top + height, left : left + width].copy()


def crop_area(rgb: np.ndarray, rng: np.random.Generator, area: float, where: str) -> np.ndarray:
    """Keep `area` of the picture, aspect kept, at the 'centre', a 'corner' (bottom right) or a 'random' spot.

    The bottom-right corner and not the top-left: the origin of the pixel grid moves, usually to an odd place.
    """
    h, w = rgb.shape[:2]
    ch, cw = round(h * math.sqrt(area)), round(w * math.sqrt(area))
    if where == "centre":
        top, left = (h - ch) // 2, (w - cw) // 2
    elif where == "corner":
        top, left = h - ch, w - cw
    else:
        top, left = int(rng.integers(0, h - ch + 1)), int(rng.integers(0, w - cw + 1))
    return crop_box(rgb, left, top, cw, ch)


def crop_sides(rgb: np.ndarray, left: float, top: float, right: float, bottom: float) -> np.ndarray:
    """Cut a share of the width or height from each side."""
    h, w = rgb.shape[:2]
    return rgb[round(h * top) : h - round(h * bottom), round(w * left) : w - round(w * right)].copy()


def crop_pixels(rgb: np.ndarray, left: int, top: int, right: int, bottom: int) -> np.ndarray:
    h, w = rgb.shape[:2]
    return rgb[top : h - bottom, left : w - right].copy()


def crop_aspect(rgb: np.ndarray, aspect: float) -> np.ndarray:
    """Keep the largest centred piece with width / height = `aspect`."""
    h, w = rgb.shape[:2]
    cw, ch = min(w, round(h * aspect)), min(h, round(w / aspect))
    return crop_box(rgb, (w - cw) // 2, (h - ch) // 2, cw, ch)


def pad(
    rgb: np.ndarray, left: float, top: float, right: float, bottom: float, colour: int = 255
) -> np.ndarray:
    """Add a border; the four widths are shares of the short side."""
    side = min(rgb.shape[:2])
    x0, y0, x1, y1 = (round(side * share) for share in (left, top, right, bottom))
    return np.pad(rgb, ((y0, y1), (x0, x1), (0, 0)), constant_values=colour)


def pad_blurred(rgb: np.ndarray, aspect: float) -> np.ndarray:
    """Fill up to `aspect` with a blown-up, blurred copy of the picture, as phone editors do."""
    h, w = rgb.shape[:2]
    cw, ch = max(w, round(h * aspect)), max(h, round(w / aspect))
    scale = max(cw / w, ch / h)
    back = pil(resize_to(rgb, math.ceil(w * scale), math.ceil(h * scale), "bilinear"))
    canvas = back.filter(ImageFilter.GaussianBlur(max(h, w) / 40)).crop((0, 0, cw, ch))
    canvas.paste(pil(rgb), ((cw - w) // 2, (ch - h) // 2))
    return array(canvas)


def paste_random(rgb: np.ndarray, rng: np.random.Generator, times: float) -> np.ndarray:
    """Paste at a random spot of a grey canvas with `times` the picture's area."""
    h, w = rgb.shape[:2]
    ch, cw = round(h * math.sqrt(times)), round(w * math.sqrt(times))
    canvas = np.full((ch, cw, 3), (232, 234, 237), np.uint8)
    top, left = int(rng.integers(0, ch - h + 1)), int(rng.integers(0, cw - w + 1))
    canvas[top : top + h, left : left + w] = rgb
    return canvas


# --- linear maps --------------------------------------------------------------------------------------------


def _inner_rectangle(w: int, h: int, degrees: float) -> tuple[int, int]:
    """Width and height of the largest upright rectangle inside a w x h picture turned by `degrees`."""
    sin, cos = abs(math.sin(math.radians(degrees))), abs(math.cos(math.radians(degrees)))
    long, short = max(w, h), min(w, h)
    if short <= 2 * sin * cos * long or abs(sin - cos) < 1e-9:
        # two corners touch the long sides
        a, b = (short / 2 / sin, short / 2 / cos) if w >= h else (short / 2 / cos, short / 2 / sin)
    else:
        a, b = (w * cos - h * sin) / (cos**2 - sin**2), (h * cos - w * sin) / (cos**2 - sin**2)
    return max(1, math.floor(a) - 2), max(1, math.floor(b) - 2)  # 2: the bicubic kernel's soiled rim


def rotate(rgb: np.ndarray, degrees: float, corners: str) -> np.ndarray:
    """Turn counter-clockwise.

    `corners`: 'cropped' away, 'black' in a grown canvas, or 'clipped' to the old size.
    """
    h, w = rgb.shape[:2]
    turned = pil(rgb).rotate(degrees, BICUBIC, expand=corners != "clipped")
    if corners != "cropped":
        return array(turned)
    cw, ch = _inner_rectangle(w, h, degrees)
    left, top = (turned.width - cw) // 2, (turned.height - ch) // 2
    return array(turned.crop((left, top, left + cw, top + ch)))


def transpose(rgb: np.ndarray, method: Image.Transpose) -> np.ndarray:
    return array(pil(rgb).transpose(method))


def shear(rgb: np.ndarray, x: float = 0.0, y: float = 0.0) -> np.ndarray:
    """Slant about the centre, size kept; the wedges that open are black."""
    h, w = rgb.shape[:2]
    return array(
        pil(rgb).transform(
            (w, h), Image.Transform.AFFINE, (1, x, -x * h / 2, y, 1, -y * w / 2), resample=BICUBIC
        )
    )


# --- non-linear maps ----------------------------------------------------------------------------------------


def perspective_quad(rgb: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Stretch the quadrilateral `corners` (4 x 2, x and y, clockwise from top left) over the frame."""
    h, w = rgb.shape[:2]
    frame = np.array([[0, 0], [w, 0], [w, h], [0, h]], float)
    rows, values = [], []
    for (u, v), (x, y) in zip(frame, corners, strict=True):
        rows += [[u, v, 1, 0, 0, 0, -x * u, -x * v], [0, 0, 0, u, v, 1, -y * u, -y * v]]
        values += [x, y]
    data = tuple(float(c) for c in np.linalg.solve(np.array(rows), np.array(values)))
    return array(pil(rgb).transform((w, h), Image.Transform.PERSPECTIVE, data, resample=BICUBIC))


def perspective(rgb: np.ndarray, rng: np.random.Generator, share: float) -> np.ndarray:
    """Move each corner inwards by up to `share` of the side, one of them by all of it: no border opens."""
    h, w = rgb.shape[:2]
    inwards = rng.uniform(0, share, (4, 2))
    inwards[rng.integers(4)] = share
    sign = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]])
    frame = np.array([[0, 0], [w, 0], [w, h], [0, h]], float)
    return perspective_quad(rgb, frame + sign * inwards * (w, h))


def keystone(rgb: np.ndarray, share: float) -> np.ndarray:
    """Camera tilted upwards: the upper side `share` shorter, half of it at each end."""
    h, w = rgb.shape[:2]
    dx = w * share / 2
    return perspective_quad(rgb, np.array([[dx, 0], [w - dx, 0], [w, h], [0, h]], float))


def bend(rgb: np.ndarray, rng: np.random.Generator, amplitude_px: float, waves: float) -> np.ndarray:
    """Displace smoothly: each axis by a sinusoid of the other, `waves` periods over the short side."""
    h, w = rgb.shape[:2]
    period = min(h, w) / waves
    phase = rng.uniform(0, 2 * math.pi, 2)
    y, x = np.mgrid[0:h, 0:w].astype(np.float32)
    dy = amplitude_px * np.sin(2 * math.pi * x / period + phase[0])
    dx = amplitude_px * np.sin(2 * math.pi * y / period + phase[1])
    out = np.empty_like(rgb)
    for c in range(3):
        moved = ndimage.map_coordinates(
            rgb[..., c].astype(np.float32), [y + dy, x + dx], order=3, mode="mirror"
        )
        out[..., c] = np.clip(np.rint(moved), 0, 255)
    return out
