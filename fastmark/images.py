"""Pictures in: path, encoded bytes, Pillow image or array to pixels, and back to what they were.

What is marked is colour only; alpha, ICC profile, EXIF, XMP, resolution and PNG text go through untouched.
What Pillow cannot read is lost: 16-bit-per-channel *colour* files arrive as 8 bits (pass a uint16
array instead), and metadata it does not parse (JPEG APP11 content credentials, for one) is dropped.

| picture | embed | detect |
|---|---|---|
| array uint8, uint16, float in 0..1; HxW, HxWx1, x2 (grey + alpha), x3, x4 | same shape and dtype | yes |
| Pillow L, LA, RGB, RGBA, RGBX, YCbCr (Y is marked), I;16, I;16B | same mode | yes |
| Pillow P, PA, 1, CMYK, HSV, premultiplied alpha, LAB, colour-key transparency | refused | yes |
| Pillow I | refused | when within 0..65535 |
| Pillow F | refused | refused |
| file or bytes | Pillow L, LA, RGB, RGBA or I;16, upright; palettes become RGB(A), 1 becomes L | yes |
| CMYK, LAB file | refused | yes |
| animated or multi-page | refused | refused |
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fastmark.decoder import check_still, decoder_of, is_upright, label_of, reading, upright
from fastmark.errors import InvalidImageError, UnsupportedImageError
from fastmark.files import descriptive_exif

ImageInput: TypeAlias = str | os.PathLike[str] | bytes | bytearray | memoryview | Image.Image | NDArray[Any]

_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


# ---- pixels in -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Source:
    """A picture opened for marking.

    Attributes:
        pixels: the colour, HxW or HxWx3, never empty; uint8 on 0..255, uint16 on 0..65535 or float32 on
            0..1. C-contiguous, aligned, of native byte order and writeable, so that kernels see one type
            of array; but it may share memory with the caller's picture: never write to it.
        peak: the level of white: 255.0, 65535.0 or 1.0.
        visible: float32 HxW, the opacity of every pixel, 0 (not seen) to 1; None where all are opaque.
        warnings: what of the file the result will not have; empty as a rule.
    """

    pixels: NDArray[Any]
    peak: float
    _restore: Callable[[NDArray[Any]], NDArray[Any] | Image.Image]
    visible: NDArray[np.float32] | None = None
    warnings: tuple[str, ...] = ()

    def rebuild(self, marked: NDArray[Any]) -> NDArray[Any] | Image.Image:
        """The user's kind of picture from ``marked``, pixels of the shape, dtype and range of ``pixels``.

        Array in: array of the same shape and dtype. Pillow image in: Pillow image of the same mode
        and size with a copy of ``info``. Path or bytes in: Pillow image with its metadata. Alpha is
        the original's. The result may share memory with ``marked``.

        Raises:
            ValueError: if shape or dtype differ.
        """
        if marked.shape != self.pixels.shape or marked.dtype != self.pixels.dtype:
            want, got = (f"{a.dtype} {a.shape}" for a in (self.pixels, marked))
            raise ValueError(f"marked pixels must be {want}, not {got}")
        return self._restore(marked)


def open_source(image: ImageInput, *, max_pixels: int | None = None) -> Source:
    """The picture's pixels, and the way back to what it was; ``image`` is never modified.

    Files are decoded, turned upright by their EXIF orientation (the tag is then removed) and brought
    to L, LA, RGB, RGBA or I;16. A Pillow image keeps its geometry and mode whatever its EXIF says.

    Args:
        image: path, encoded bytes, Pillow image, or array of HxW, HxWx1, HxWx2 (grey and alpha), HxWx3
            or HxWx4; uint8, uint16 or floats in 0..1; of any memory layout, read-only or not.
        max_pixels: bound of width x height, checked before a file is decoded; None is
            ``decoder.MAX_PIXELS``.

    Raises:
        UnsupportedImageError: for kinds that cannot be marked: animated, CMYK, palette, ... (table above).
        InvalidImageError: for all else: unreadable, missing, truncated, too large, zero-sized, wrong shape or
            dtype, not finite, out of range.
    """
    if isinstance(image, np.ndarray):
        return _array_source(image)
    if isinstance(image, Image.Image):
        with reading("the Pillow image"):
            check_still(image, "the Pillow image")
            image.load()
            return _pil_source(image, image.info.copy())
    label = label_of(image)
    with decoder_of(image, label, max_pixels) as decoder:
        decoder.load()
        return _pil_source(*_normalise(decoder, label))


@dataclass(frozen=True, slots=True)
class Luma:
    """A picture opened to be looked at.

    Attributes:
        pixels: uint8 HxW luma or HxWx3 RGB, or float32 HxW luma, all on 0..255; C-contiguous. It may share
            memory with the caller's picture: never write to it.
        height: of the whole upright picture, pixels.
        width: as ``height``.
        unit: how many pixels of the picture, each way, will be averaged.
        reduction: how many, each way, already are: 1, 2, 4 or 8.
        remarks: what of the file was not as usual: damaged, or more than one picture.
    """

    pixels: NDArray[Any]
    height: int
    width: int
    unit: int = 1
    reduction: int = 1
    remarks: tuple[str, ...] = ()


def open_luma(
    image: ImageInput,
    *,
    max_pixels: int | None = None,
    unit: Callable[[int, int], int] = lambda height, width: 1,
) -> Luma:
    """What a detector looks at.

    YCbCr JPEG files decode their Y plane only, which is several times faster, and in large ones the decoder
    averages. Alpha is ignored, EXIF orientation of files applied.

    Args:
        image: as for ``open_source``, and CMYK, palettes and 1-bit pictures, which are converted.
        max_pixels: as for ``open_source``.
        unit: tells of a height and width how many pixels, each way, will be averaged. Powers of two of
            it the decoder of a JPEG file may do, from the picture's corner on; what is not a whole unit is
            left out.

    Raises:
        UnsupportedImageError: for animations, and grey values with no known white.
        InvalidImageError: as ``open_source``.
    """
    if isinstance(image, np.ndarray):
        source = _array_source(image)
        height, width = source.pixels.shape[:2]
        return Luma(_luma8(source.pixels, source.peak), height, width, unit(height, width))
    if isinstance(image, Image.Image):
        with reading("the Pillow image"):
            check_still(image, "the Pillow image")
            image.load()
            pixels = _pil_luma(image, "the Pillow image")
            return Luma(pixels, image.height, image.width, unit(image.height, image.width))
    label = label_of(image)
    with decoder_of(image, label, max_pixels) as decoder:
        width, height = decoder.size
        k = unit(height, width)
        # NOTE: turned by its EXIF, a picture's corner is another; where units begin would change
        wanted = math.gcd(k, 8) if is_upright(decoder) else 1
        # NOTE: a no-op for all but JPEG, and for JPEGs that are grey or CMYK: mode and size are looked at
        # below.
        decoder.draft("L", (width // wanted, height // wanted))
        reduction = wanted if decoder.size != (width, height) else 1
        decoder.load()
        pixels = _pil_luma(upright(decoder), label)
        if reduction == 1:
            return Luma(pixels, pixels.shape[0], pixels.shape[1], k)
        rows, columns = (n // k * (k // reduction) for n in (height, width))
        return Luma(np.ascontiguousarray(pixels[:rows, :columns]), height, width, k, reduction)


# ---- arrays ----------------------------------------------------------------------------------------


def _array_source(array: NDArray[Any]) -> Source:
    _check_array(array)
    channels = 0 if array.ndim == 2 else array.shape[2]
    colour = array if channels == 0 else array[..., 0] if channels <= 2 else array[..., :3]
    if array.dtype.kind == "f":
        dtype, peak = np.dtype(np.float32), 1.0
        if colour.min() < 0 or colour.max() > 1:  # by rounding only, see _check_array
            colour = np.clip(colour, 0, 1)
    else:
        dtype, peak = array.dtype.newbyteorder("="), float(np.iinfo(array.dtype).max)
    pixels = np.require(colour, dtype, ["C", "A", "W", "E"])

    def restore(marked: NDArray[Any]) -> NDArray[Any]:
        if channels in (0, 3):
            return marked.astype(array.dtype, copy=False)
        if channels == 1:
            return marked.astype(array.dtype, copy=False)[..., None]
        result = np.empty(array.shape, array.dtype)
        result[..., :-1] = marked if channels == 4 else marked[..., None]
        result[..., -1] = array[..., -1]
        return result

    return Source(pixels, peak, restore)


def _check_array(array: NDArray[Any]) -> None:
    """Raise InvalidImageError unless ``array`` is one picture of a known dtype within its range."""
    shape, dtype = array.shape, array.dtype
    if dtype.newbyteorder("=") not in (np.uint8, np.uint16, np.float16, np.float32, np.float64):
        raise InvalidImageError(f"arrays must be uint8, uint16, or float in 0..1, not {dtype}: convert it first")
    if array.ndim == 4:
        raise InvalidImageError(f"one picture at a time, not shape {shape}: use embed_batch or detect_batch")
    if array.ndim == 3 and shape[2] not in (1, 2, 3, 4) and shape[0] in (1, 3, 4):
        raise InvalidImageError(f"channels come last, not shape {shape}: use numpy.moveaxis(array, 0, -1)")
    if array.ndim not in (2, 3) or (array.ndim == 3 and shape[2] not in (1, 2, 3, 4)):
        raise InvalidImageError(f"arrays must be HxW or HxWxC with C = 1, 2, 3 or 4, not shape {shape}")
    if array.size == 0:
        raise InvalidImageError(f"the array has no pixels: shape {shape}")
    if dtype.kind == "f":
        with np.errstate(invalid="ignore"):
            low, high = float(array.min()), float(array.max())
        if not (math.isfinite(low) and math.isfinite(high)):
            raise InvalidImageError(
                "the array holds NaN or infinity: replace them first, as with numpy.nan_to_num"
            )
        slack = max(1e-5, float(np.finfo(dtype).eps))
        if low < -slack or high > 1 + slack:
            raise InvalidImageError(
                f"float arrays must lie in 0..1, this one spans {low:.6g}..{high:.6g}: scale or clip it first"
            )


def _luma8(pixels: NDArray[Any], peak: float) -> NDArray[Any]:
    """``pixels`` as they are when uint8, else their luma as float32 HxW on 0..255."""
    if pixels.dtype == np.uint8:
        return pixels
    scaled = pixels.astype(np.float32) * np.float32(255.0 / peak)
    return scaled if scaled.ndim == 2 else np.ascontiguousarray(scaled @ _LUMA)


# ---- Pillow images ---------------------------------------------------------------------------------


def _pil_source(image: Image.Image, info: dict[str | tuple[int, int], Any]) -> Source:
    """Source of a loaded image; ``info`` goes to the result."""
    mode = image.mode
    if mode not in ("L", "LA", "RGB", "RGBA", "RGBX", "YCbCr", "I;16", "I;16B"):
        hint = "I;16 or L" if mode in ("I", "F") or mode.startswith("I;") else "RGB"
        raise UnsupportedImageError(f"pictures of Pillow mode {mode} cannot be marked: convert to {hint} first")
    if "transparency" in info and mode not in ("LA", "RGBA"):
        raise UnsupportedImageError("a transparent colour cannot survive marking: convert('RGBA') first")
    if mode.startswith("I;16"):
        stored = np.asarray(image)
        dtype = stored.dtype

        def restore16(marked: NDArray[Any]) -> Image.Image:
            result = Image.fromarray(marked.astype(dtype, copy=False))
            result.info = info.copy()
            return result

        return Source(stored.astype(np.uint16), 65535.0, restore16)

    bands = image.getbands()
    n_colour = 1 if mode in ("L", "LA", "YCbCr") else 3
    colour = image if len(bands) == n_colour else _first_bands(image, n_colour)
    rest = [image.getchannel(band) for band in bands[n_colour:]]

    def restore8(marked: NDArray[Any]) -> Image.Image:
        result = Image.fromarray(marked)
        if rest:
            result = Image.merge(mode, [*result.split(), *rest])
        result.info = info.copy()
        return result

    return Source(np.array(colour), 255.0, restore8)


def _first_bands(image: Image.Image, count: int) -> Image.Image:
    """The colour of RGBA, RGBX, LA, the Y of YCbCr: bands dropped, nothing composited."""
    return image.getchannel(0) if count == 1 else Image.merge("RGB", image.split()[:3])


def _pil_luma(image: Image.Image, label: str) -> NDArray[Any]:
    """uint8 HxW or HxWx3, or float32 HxW on 0..255, of a loaded image of any mode that has luma."""
    image = _without_oddities(image, label)
    if image.mode.startswith("I;16"):
        return _luma8(np.asarray(image).astype(np.uint16), 65535.0)
    if image.mode in ("LA", "YCbCr"):
        image = image.getchannel(0)
    elif image.mode not in ("L", "RGB"):
        try:
            image = image.convert("RGB")
        except ValueError:
            raise UnsupportedImageError(f"{label} is of Pillow mode {image.mode}: convert to RGB first") from None
    return np.array(image)


def _without_oddities(image: Image.Image, label: str) -> Image.Image:
    """Palettes, 1-bit and 32-bit grey pictures brought to L, LA, RGB, RGBA or I;16."""
    if image.mode in ("P", "PA"):
        return image.convert("RGBA" if image.has_transparency_data else "RGB")
    if image.mode in ("1", "La"):
        return image.convert("L" if image.mode == "1" else "LA")
    if image.mode == "RGBa":
        return image.convert("RGBA")
    if image.mode in ("I", "F"):
        # 16-bit PGM comes as I; wider or floating values have no white to scale by.
        levels = np.asarray(image)
        if image.mode == "F" or levels.min() < 0 or levels.max() > 65535:
            raise UnsupportedImageError(f"{label} has no known white level: scale it to 8 or 16 bits first")
        return image.convert("I;16")
    return image


def _normalise(decoder: Image.Image, label: str) -> tuple[Image.Image, dict[str | tuple[int, int], Any]]:
    """A loaded file in a mode that can be marked, and its metadata."""
    if decoder.mode in ("CMYK", "LAB", "HSV"):
        raise UnsupportedImageError(f"{label} is {decoder.mode}: convert it to RGB first")
    image = _without_oddities(upright(decoder), label)
    if image.mode in ("L", "RGB") and "transparency" in image.info:
        image = image.convert(image.mode + "A")
    elif image.mode in ("YCbCr", "RGBX"):
        image = image.convert("RGB")
    elif image.mode == "I;16B":
        image = image.convert("I;16")
    info = image.info.copy()
    if decoder.format == "TIFF" and (exif := descriptive_exif(decoder.getexif())):
        info["exif"] = exif.tobytes()
    if image.mode == "RGBA" and image.info.get("transparency") is not None:
        info.pop("transparency")
    return image, info
