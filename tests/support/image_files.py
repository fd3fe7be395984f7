"""Small drawn images, and files of them in every format, with metadata."""

from __future__ import annotations

import io
import os
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageCms

from fastmark.images.encoding import check_output, encode_image, write_output
from fastmark.images.opening import open_for_detection

ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
ORIENTATION = ExifTags.Base.Orientation


def draw(height: int = 48, width: int = 64, channels: int = 3) -> np.ndarray:
    """A smooth uint8 picture with no symmetry, so that a turned or flipped copy differs."""
    y, x = np.mgrid[0:height, 0:width]
    planes = [(x * (3 - c) + y * (1 + c) + 20 * c + x * y // 16) % 200 + 20 for c in range(max(channels, 1))]
    picture = np.stack(planes, axis=-1).astype(np.uint8)
    return picture[..., 0] if channels == 0 else picture


def encoded(image: Image.Image, name: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, name, **options)
    return buffer.getvalue()


def make_exif(orientation: int | None = None) -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "Maker"
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = "2020:01:02 03:04:05"
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] = "N"
    if orientation is not None:
        exif[ORIENTATION] = orientation
    return exif.tobytes()


def luma(rgb: np.ndarray) -> np.ndarray:
    return rgb[..., :3].astype(float) @ [0.299, 0.587, 0.114]


def luma_of(image: Any) -> np.ndarray:
    return open_for_detection(image).pixels


def pil_of_mode(mode: str) -> Image.Image:
    if mode.startswith("I;16"):
        dtype = ">u2" if mode == "I;16B" else "<u2"
        return Image.fromarray((draw(channels=0).astype(np.uint16) * 257).astype(dtype))
    if mode in ("YCbCr", "L", "CMYK", "HSV", "P", "1"):
        return Image.fromarray(draw()).convert(mode)
    if mode == "LA":
        return Image.merge("LA", [Image.fromarray(draw()[..., c]) for c in (0, 1)])
    image = Image.fromarray(draw(channels=4))
    return Image.merge("RGBX", image.split()) if mode == "RGBX" else image.convert(mode)


def save_image(
    image: Image.Image, path: str | os.PathLike[str], *, overwrite: bool = True, **options: Any
) -> None:
    """Encode an image and put it in a file, by the steps that commands take; options of the encoding."""
    name = check_output(path, overwrite=overwrite)
    write_output(path, encode_image(image, name, **options), overwrite=overwrite)
