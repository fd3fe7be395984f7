"""Images in: path, encoded bytes, file object, Pillow image or array to pixels, and back to what they were.

Only colour is marked; alpha, ICC profile, EXIF, XMP, resolution, PNG text and PNG's description of its
colours go through untouched. ``MarkableImage.warnings`` tells of losses: colour of more than 8 bits in files
(pass a uint16 array instead), content credentials, gain maps, damaged metadata.

| image | embed | detect |
|---|---|---|
| array uint8, uint16, float in 0..1; HxW, HxWx1, x2 (grey + alpha), x3, x4 | same shape and dtype | yes |
| Pillow L, LA, RGB, RGBA, RGBX, YCbCr (Y is marked), I;16, I;16B, I;16L, I;16N | same mode | yes |
| Pillow P, PA, 1, CMYK, HSV, premultiplied alpha, LAB (its L), colour-key transparency | refused | yes |
| Pillow I, F | refused | yes: white is 1 (F), 255 or 65535, the least that holds all levels, else stretched |
| file, bytes, file object | Pillow L, LA, RGB, RGBA or I;16, upright; palettes as RGB(A), 1 as L | yes |
| CMYK, LAB, 32-bit file; 16-bit PNG with a transparent colour | refused | yes |
| TIFF whose further pages are previews or masks | the full page | the full page |
| animated or multi-page | refused | the first frame, the primary of a HEIC, a Pillow image's current |
| damaged file | see ``decoder`` | see ``decoder`` |
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fastmark.errors import InvalidImageError, UnsupportedImageError
from fastmark.images import modes
from fastmark.images.decoding import Opened, check_still, open_file
from fastmark.images.encoding import descriptive_exif
from fastmark.images.reading import Encoded, check_limit, check_size, label_of, reading

ImageInput: TypeAlias = Encoded | Image.Image | NDArray[Any]

_PILLOW = "the Pillow image"
_NO_LIMIT = 1 << 62


# ---- pixels in -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MarkableImage:
    """An image opened for marking.

    Attributes:
        pixels: the colour, HxW or HxWx3, never empty; uint8 on 0..255, uint16 on 0..65535 or float32 on
            0..1. C-contiguous, aligned, of native byte order and writeable, so that kernels see one type
            of array; but it may share memory with the caller's image: never write to it.
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
        """The user's kind of image from ``marked``, pixels of the shape, dtype and range of ``pixels``.

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


def open_for_embedding(image: ImageInput, *, max_pixels: int | None = None) -> MarkableImage:
    """The image's pixels, and the way back to what it was; ``image`` is never modified.

    Files are decoded, turned upright by their EXIF orientation (the tag is then removed) and brought
    to L, LA, RGB, RGBA or I;16. A Pillow image keeps its geometry and mode whatever its EXIF says.

    Args:
        image: path, encoded bytes, open binary file, Pillow image, or array of HxW, HxWx1, HxWx2 (grey and
            alpha), HxWx3 or HxWx4; uint8, uint16 or floats in 0..1; of any memory layout, read-only or not.
        max_pixels: bound of width x height, at least 1, checked before a file is decoded; None is
            500 million for what is decoded, and no bound for arrays and Pillow images.

    Raises:
        UnsupportedImageError: for kinds that cannot be marked: animated, CMYK, ... (table above).
        ImageNotFoundError: if there is no such file.
        InvalidImageError: for all else: unreadable, damaged, too large, zero-sized, wrong shape or
            dtype, not finite, out of range.
        ValueError: if ``max_pixels`` is no whole number of at least 1.
    """
    check_limit(max_pixels)
    if isinstance(image, np.ndarray):
        return _array_source(image, max_pixels)
    if isinstance(image, Image.Image):
        with reading(_PILLOW):
            check_size(*image.size, max_pixels or _NO_LIMIT, _PILLOW)
            check_still(image, _PILLOW)
            image.load()
            return _pil_source(image, image.info.copy())
    label = label_of(image)
    with reading(label):
        opened = open_file(image, label, max_pixels)
        upright = opened.upright(opened.load())
        findings = opened.findings
        straight = modes.straight(upright, label, bits=findings.bits, negative=findings.min_is_white)
        return _pil_source(straight, _info_of(straight, opened), opened.warnings)


@dataclass(frozen=True, slots=True)
class DetectorInput:
    """An image opened to be looked at.

    Attributes:
        pixels: uint8 HxW luma or HxWx3 RGB, or float32 HxW luma, all on 0..255; C-contiguous. It may share
            memory with the caller's image: never write to it.
        height: of the whole upright image, were it intact, pixels.
        width: as ``height``.
        unit: how many pixels of the image, each way, will be averaged.
        reduction: how many, each way, already are: 1, 2, 4 or 8.
        remarks: what of the file was not as usual: damaged, or more than one image.
    """

    pixels: NDArray[Any]
    height: int
    width: int
    unit: int = 1
    reduction: int = 1
    remarks: tuple[str, ...] = ()


def open_for_detection(
    image: ImageInput,
    *,
    max_pixels: int | None = None,
    unit: Callable[[int, int], int] = lambda height, width: 1,
    native: bool = False,
) -> DetectorInput:
    """What a detector looks at.

    YCbCr JPEG files decode their Y plane only, which is several times faster, and in large ones the decoder
    averages. Alpha is ignored, EXIF orientation of files applied.

    Args:
        image: as for ``open_for_embedding``, and of any Pillow mode; the first frame of an animated one, and
            the intact part of a damaged file: see ``DetectorInput.remarks``.
        max_pixels: as for ``open_for_embedding``.
        unit: tells of a height and width how many pixels, each way, will be averaged. Powers of two of
            it the decoder of a JPEG file may do, from the image's corner on; what is not a whole unit is
            left out.
        native: whether pixels are given as they are, and nothing is averaged: a deep search looks at them.

    Raises:
        UnsupportedImageError: for modes that have no way to luma, and formats whose package is missing.
        ImageNotFoundError, InvalidImageError, ValueError: as ``open_for_embedding``.
    """
    check_limit(max_pixels)
    if isinstance(image, np.ndarray):
        source = _array_source(image, max_pixels)
        height, width = source.pixels.shape[:2]
        return DetectorInput(modes.luma8(source.pixels, source.peak), height, width, unit(height, width))
    if isinstance(image, Image.Image):
        with reading(_PILLOW):
            check_size(*image.size, max_pixels or _NO_LIMIT, _PILLOW)
            image.load()
            pixels = modes.luma_of(image, _PILLOW)
            k = unit(image.height, image.width)
            return DetectorInput(pixels, image.height, image.width, k, remarks=_frame_remarks(image))
    label = label_of(image)
    with reading(label):
        opened = open_file(image, label, max_pixels)
        width, height = opened.decoder.size
        k = unit(height, width)
        # NOTE: turned by its EXIF, an image's corner is another; where units begin would change
        wanted = math.gcd(k, 8) if opened.is_upright() and not native else 1
        image = opened.look(wanted)
        # a no-op for all but JPEG, and for JPEGs that are grey or CMYK, or damaged
        reduction = wanted if wanted > 1 and image.size == (-(-width // wanted), -(-height // wanted)) else 1
        upright = opened.upright(image)
        found = opened.findings
        pixels = modes.luma_of(
            upright, label, white=_white_of(opened), negative=found.min_is_white, unsigned=found.unsigned
        )
        remarks = tuple(dict.fromkeys(opened.remarks))
        if reduction == 1:
            if opened.is_turned():
                height, width = width, height
            return DetectorInput(pixels, height, width, k, remarks=remarks)
        rows, columns = (n // k * (k // reduction) for n in (height, width))
        return DetectorInput(
            np.ascontiguousarray(pixels[:rows, :columns]), height, width, k, reduction, remarks
        )


def _frame_remarks(image: Image.Image) -> tuple[str, ...]:
    """That a Pillow image has further frames; none is sought."""
    if image.format == "MPO" or not getattr(image, "is_animated", False):
        return ()
    with contextlib.suppress(Exception):
        return (f"frame {image.tell() + 1} of {image.n_frames}, the current one, was looked at",)  # type: ignore[attr-defined]
    return ("the current frame of an animation was looked at",)


def _white_of(opened: Opened) -> float | None:
    """The white of a file's deep grey, where its format tells."""
    mode, bits = opened.decoder.mode, opened.findings.bits
    if opened.findings.foreign:
        return 255.0
    if opened.name == "PPM" and mode == "I":
        return 65535.0
    if opened.name == "TIFF" and mode.startswith("I;16") and 8 < bits < 16:
        return float((1 << bits) - 1)
    return None


def _info_of(image: Image.Image, opened: Opened) -> dict[str | tuple[int, int], Any]:
    """The metadata that go to the marked image."""
    info = image.info.copy()
    if opened.name == "TIFF" and (exif := descriptive_exif(opened.decoder.getexif())):
        info["exif"] = exif.tobytes()
    if image.mode in ("LA", "RGBA"):
        info.pop("transparency", None)
    return info


def open_transparent(
    image: ImageInput, *, max_pixels: int | None = None
) -> Image.Image | NDArray[Any] | None:
    """The upright image with its transparency, which a detector does not look at; None where it has none.

    Args:
        image, max_pixels: as for ``open_for_detection``.

    Returns:
        An array as it was given, or a Pillow image.

    Raises:
        InvalidImageError, UnsupportedImageError, ImageNotFoundError: as there.
    """
    if isinstance(image, np.ndarray):
        return image if image.ndim == 3 and image.shape[2] in (2, 4) else None
    if isinstance(image, Image.Image):
        return image if image.has_transparency_data else None
    label = label_of(image)
    with reading(label):
        opened = open_file(image, label, max_pixels)
        return opened.upright(opened.look(1)) if opened.decoder.has_transparency_data else None


# ---- arrays ----------------------------------------------------------------------------------------


def _array_source(array: NDArray[Any], max_pixels: int | None) -> MarkableImage:
    _check_array(array)
    check_size(array.shape[1], array.shape[0], max_pixels or _NO_LIMIT, "the array")
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
        # what nobody sees stays as it is to the last bit, beyond the precision of the work too
        shown = (array[..., -1] > 0)[..., None]
        result = array.copy()
        np.copyto(result[..., :-1], marked if channels == 4 else marked[..., None], "same_kind", shown)
        return result

    visible = _opacity(array[..., -1], peak) if channels in (2, 4) else None
    return MarkableImage(pixels, peak, restore, visible)


def _opacity(alpha: NDArray[Any], peak: float) -> NDArray[np.float32] | None:
    """Alpha on 0..1; None where it is full everywhere."""
    if (alpha >= peak).all():
        return None
    opacity: NDArray[np.float32] = np.clip(alpha.astype(np.float32) / np.float32(peak), 0, 1)
    return opacity


def _check_array(array: NDArray[Any]) -> None:
    """Raise InvalidImageError unless ``array`` is one image of a known dtype within its range."""
    shape, dtype = array.shape, array.dtype
    if dtype.newbyteorder("=") not in (np.uint8, np.uint16, np.float16, np.float32, np.float64):
        raise InvalidImageError(
            f"arrays must be uint8, uint16, or float in 0..1, not {dtype}: convert it first"
        )
    if array.ndim == 4:
        raise InvalidImageError(f"one image at a time, not shape {shape}: use embed_batch or detect_batch")
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


def check_out(image: ImageInput, out: NDArray[np.uint8]) -> None:
    """Raise ValueError unless ``out`` can take the marked ``image``."""
    if not (
        isinstance(image, np.ndarray)
        and isinstance(out, np.ndarray)
        and image.dtype == out.dtype == np.uint8
        and image.shape == out.shape
        and (out.ndim == 2 or out.shape[2:] == (3,))
        and out.flags.c_contiguous
        and out.flags.writeable
    ):
        raise ValueError(
            "out must be a C-contiguous, writeable uint8 array of the shape of image,"
            " itself a uint8 array (H, W) or (H, W, 3)"
        )
    # an image that is not contiguous is copied first
    same = not image.flags.c_contiguous or image.ctypes.data == out.ctypes.data
    if not same and np.may_share_memory(image, out):
        raise ValueError("out must be image itself or share no memory with it")


# ---- Pillow images ---------------------------------------------------------------------------------


def _pil_source(
    image: Image.Image, info: dict[str | tuple[int, int], Any], warnings: tuple[str, ...] = ()
) -> MarkableImage:
    """A loaded image opened for embedding; ``info`` goes to the result."""
    mode = image.mode
    deep = mode in ("I;16", "I;16B", "I;16L", "I;16N")
    if not deep and mode not in ("L", "LA", "RGB", "RGBA", "RGBX", "YCbCr"):
        hint = "I;16 or L" if mode in ("I", "F") or mode.startswith("I;") else "RGB"
        raise UnsupportedImageError(f"images of Pillow mode {mode} cannot be marked: convert to {hint} first")
    if info.get("transparency") is not None and mode not in ("LA", "RGBA"):
        how = "remove the transparency" if deep else "convert('RGBA')"
        raise UnsupportedImageError(f"a transparent colour cannot survive marking: {how} first")
    if deep:

        def restore16(marked: NDArray[Any]) -> Image.Image:
            result = modes.image_of_grey16(marked, mode)
            result.info = info.copy()
            return result

        return MarkableImage(modes.grey16(image), 65535.0, restore16, warnings=warnings)

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

    visible = _opacity(np.asarray(rest[-1]), 255.0) if mode in ("LA", "RGBA") else None
    return MarkableImage(np.array(colour), 255.0, restore8, visible, warnings)


def _first_bands(image: Image.Image, count: int) -> Image.Image:
    """The colour of RGBA, RGBX, LA, the Y of YCbCr: bands dropped, nothing composited."""
    return image.getchannel(0) if count == 1 else Image.merge("RGB", image.split()[:3])
