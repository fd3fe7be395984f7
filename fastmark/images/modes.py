"""Pillow's modes, by value: luma on 0..255 of every mode, and the modes that an image can be marked in.

Pillow's own conversions clip where they ought to scale (16 bits to 8) and do not know the white of 32-bit
levels, so only those are used that keep or mean what they say: palettes, CMYK, HSV, premultiplied alpha.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fastmark.errors import InvalidImageError, UnsupportedImageError

LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
"""Weights of red, green and blue."""

_WHITES = (1.0, 255.0, 65535.0)


def luma8(pixels: NDArray[Any], peak: float) -> NDArray[Any]:
    """``pixels`` as they are when uint8, else their luma as float32 HxW on 0..255; ``peak`` is white."""
    if pixels.dtype == np.uint8:
        return pixels
    scaled = pixels.astype(np.float32) * np.float32(255.0 / peak)
    return scaled if scaled.ndim == 2 else np.ascontiguousarray(scaled @ LUMA)


def luma_of(
    image: Image.Image,
    label: str,
    *,
    white: float | None = None,
    negative: bool = False,
    unsigned: bool = False,
) -> NDArray[Any]:
    """What a detector looks at of a loaded image of any mode that has luma.

    Args:
        image: a Pillow image; it is not changed.
        label: how errors name it.
        white: the level of white of deep grey (I;16, I, F) where it is known.
        negative: whether the levels of deep grey count from white to black.
        unsigned: whether levels of I beyond 2^31 have come as negative ones.

    Returns:
        uint8 HxW luma or HxWx3 RGB, or float32 HxW luma on 0..255.

    Raises:
        InvalidImageError: if levels are not finite.
        UnsupportedImageError: if there is no way from this mode to RGB.
    """
    mode = image.mode
    if mode.startswith("I;16"):
        grey = luma8(np.asarray(image).astype(np.uint16), white or 65535.0)
    elif mode in ("I", "F"):
        levels = np.asarray(image)
        grey = scaled_to_white(levels.view(np.uint32) if unsigned else levels, white, label)
    elif mode in ("L", "LA", "YCbCr", "LAB"):
        return np.array(image if mode == "L" else image.getchannel(0))
    else:
        try:
            image = _rgb(image)
        except ValueError:
            raise UnsupportedImageError(f"{label} is of Pillow mode {mode}: convert to RGB first") from None
        return np.ascontiguousarray(np.array(image)[..., :3]) if image.mode != "L" else np.array(image)
    return np.float32(255) - grey if negative else grey


def _rgb(image: Image.Image) -> Image.Image:
    """L, RGB or RGBA of an image of any other mode; alpha is not composited."""
    if image.mode in ("P", "PA"):
        return image.convert("RGBA" if image.has_transparency_data else "RGB")
    if image.mode == "1":
        return image.convert("L")
    if image.mode == "La":
        return image.convert("LA").getchannel(0)
    if image.mode == "RGBa":
        return image.convert("RGBA")
    return image if image.mode in ("RGB", "RGBA", "RGBX") else image.convert("RGB")


def scaled_to_white(levels: NDArray[Any], white: float | None, label: str) -> NDArray[np.float32]:
    """float32 on 0..255 of levels whose white is told by their range: 1, 255 or 65535, or else stretched."""
    low, high = float(levels.min()), float(levels.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise InvalidImageError(
            f"{label} holds NaN or infinity: replace them first, as with numpy.nan_to_num"
        )
    whites = _WHITES if levels.dtype.kind == "f" else _WHITES[1:]
    if white is None and low >= 0:
        white = next((level for level in whites if high <= level), None)
    if white is not None:
        low, high = 0.0, white
    stretched = (levels.astype(np.float64) - low) * (255.0 / max(high - low, np.finfo(float).tiny))
    return stretched.astype(np.float32)


def grey16(image: Image.Image) -> NDArray[np.uint16]:
    """The levels of an I;16 image of either byte order, or of an I image within 0..65535, in native order."""
    return np.asarray(image).astype(np.uint16)


def image_of_grey16(levels: NDArray[np.uint16], mode: str = "I;16") -> Image.Image:
    """An image of mode I;16, I;16B, I;16L or I;16N of levels in native order."""
    if mode == "I;16":
        return Image.fromarray(levels)
    dtype = {"I;16B": ">u2", "I;16N": "=u2"}.get(mode, "<u2")
    size = (levels.shape[1], levels.shape[0])
    return Image.frombytes(mode, size, levels.astype(dtype).tobytes(), "raw", mode)


def straight(image: Image.Image, label: str, *, bits: int = 16, negative: bool = False) -> Image.Image:
    """A decoded file's image in a mode that can be marked: L, LA, RGB, RGBA or I;16.

    Args:
        image: upright, with its ``info``.
        label: how errors name it.
        bits: of a sample; grey of 9 to 15 is widened to 16.
        negative: whether 16-bit levels count from white to black.

    Raises:
        UnsupportedImageError: if there is none that has the same values.
    """
    mode, info = image.mode, image.info
    transparent = info.get("transparency") is not None
    if mode in ("CMYK", "LAB", "HSV"):
        raise UnsupportedImageError(f"{label} is {mode}: convert it to RGB first")
    if mode == "F" or (mode == "I" and image_levels_are_odd(image)):
        raise UnsupportedImageError(f"{label} has no known white level: scale it to 8 or 16 bits first")
    if mode == "I" or mode.startswith("I;16"):
        if transparent:
            raise UnsupportedImageError(
                f"{label} is 16-bit grey with a transparent level: remove the transparency first"
            )
        levels = grey16(image)
        if 8 < bits < 16 and not levels.max() >> bits:
            levels = (levels << (16 - bits) | levels >> (2 * bits - 16)).astype(np.uint16)
        result = image_of_grey16(np.uint16(65535) - levels if negative else levels)
    elif mode in ("P", "PA"):
        result = image.convert("RGBA" if image.has_transparency_data else "RGB")
    elif mode in ("1", "L"):
        result = image.convert("L")
        if transparent:
            result.info["transparency"] = info["transparency"]
            result = result.convert("LA")
    elif mode in ("La", "RGBa"):
        result = image.convert(mode[:-1] + "A")
    elif mode == "RGB" and transparent:
        if bits > 8:
            raise UnsupportedImageError(
                f"{label} has colours of 16 bits and one that is transparent, which cannot be marked:"
                " convert it to 8-bit RGBA first"
            )
        result = image.convert("RGBA")
    elif mode in ("YCbCr", "RGBX"):
        result = image.convert("RGB")
    elif mode in ("LA", "RGB", "RGBA"):
        return image
    else:
        raise UnsupportedImageError(f"{label} is of Pillow mode {mode}: convert to RGB first")
    result.info = {key: value for key, value in info.items() if key != "transparency"}
    return result


def image_levels_are_odd(image: Image.Image) -> bool:
    """Whether an I image has levels beyond 0..65535."""
    low, high = image.getextrema()
    return bool(low < 0 or high > 65535)  # type: ignore[operator]
