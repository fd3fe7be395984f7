"""Batches of images in tensors of torch, which is not imported: to arrays that are watermarked, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fastmark._imports import package
from fastmark.errors import InvalidImageError

Layout = Literal["NCHW", "NHWC"]

_MOST, _LEAST = 10.0, -0.5
"""Beyond these, values are of another range. Decoders overshoot by 1 or so; levels of 0..255 exceed 10, and
images on -1..1 that were taken for 0..1 go below -0.5."""


def check_batch(images: Any, layout: Layout, what: str) -> None:
    """Check that a tensor is a batch of images.

    Args:
        images: the tensor.
        layout: of its axes.
        what: stands for it in the error.

    Raises:
        InvalidImageError: if it is no tensor, not of floats, or not of four axes with 1, 3 or 4 channels.
    """
    shape: Any = getattr(images, "shape", None)
    dtype: Any = getattr(images, "dtype", None)
    if shape is None or not hasattr(dtype, "is_floating_point"):
        raise InvalidImageError(f"{what} must be a torch tensor {layout}, not {type(images).__name__}")
    if not dtype.is_floating_point:
        raise InvalidImageError(f"{what} must be a tensor of floats, not {dtype}: convert and scale it first")
    if images.device.type == "meta":
        raise InvalidImageError(f"{what} is on the device meta, and has no values")
    if len(shape) != 4:
        raise InvalidImageError(f"{what} must be a batch {layout}, not of shape {tuple(shape)}")
    channels, other = (shape[i] for i in ((1, 3) if layout == "NCHW" else (3, 1)))
    if channels not in (1, 3, 4):
        hint = ""
        if other in (1, 3, 4):
            hint = f": its channels are on another axis, bring it to {layout} by permute"
        raise InvalidImageError(
            f"{what} must be a batch {layout} of 1, 3 or 4 channels, not of shape {tuple(shape)}{hint}"
        )
    if 0 in shape:
        raise InvalidImageError(f"{what} has no pixels: shape {tuple(shape)}")


def to_arrays(images: Any, layout: Layout, *, signed: bool, what: str = "the tensor") -> NDArray[np.float32]:
    """Return a batch as an array.

    Args:
        images: tensor of any float dtype on any device.
        layout: of its axes.
        signed: whether its values lie in -1..1; else they lie in 0..1. Values a little beyond are clipped.
        what: stands for it in errors.

    Returns:
        float32 ``(N, H, W, C)`` on 0..1; where a value was not finite, NaN.

    Raises:
        InvalidImageError: as :func:`check_batch`; and for values far out of range.
    """
    torch = package("torch", "images in tensors", "diffusers")
    check_batch(images, layout, what)
    on_cpu = images.detach().to("cpu", torch.float32)
    if layout == "NCHW":
        on_cpu = on_cpu.permute(0, 2, 3, 1)
    values: NDArray[np.float32] = np.array(on_cpu.numpy(), np.float32, order="C")  # a copy, always
    values[~np.isfinite(values)] = np.nan
    with np.errstate(invalid="ignore"):
        most, least = float(np.nanmax(values, initial=0.0)), float(np.nanmin(values, initial=0.0))
    if max(most, -least) > _MOST or (least < _LEAST and not signed):
        span = "-1..1" if signed else "0..1"
        raise InvalidImageError(
            f"{what} must have values in {span}, this one spans {least:.6g}..{most:.6g}: scale it first"
        )
    if signed:
        values *= np.float32(0.5)
        values += np.float32(0.5)
    return np.clip(values, 0, 1, out=values)


def with_arrays(
    images: Any, changed: Mapping[int, NDArray[np.float32]], layout: Layout, *, signed: bool
) -> Any:
    """Return a copy of a batch in which some images are others; the rest is the same to the last bit.

    Args:
        images: as for :func:`to_arrays`.
        changed: by the place in the batch, float32 ``(H, W, C)`` on 0..1.
        layout, signed: as there.

    Returns:
        A tensor of the same shape, dtype and device.
    """
    torch = package("torch", "images in tensors", "diffusers")
    result = images.detach().clone()
    for place, array in changed.items():
        image = torch.from_numpy(np.ascontiguousarray(array))
        if signed:
            image = image * 2 - 1
        result[place].copy_(image.permute(2, 0, 1) if layout == "NCHW" else image)
    return result
