"""Perceptual hashes: whether two images show the same, after encoding, scaling and changes of tone."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from fastmark._imports import package
from fastmark.errors import RegistryError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

SAME = 72
"""Bits of 256 that two images of the same picture differ by at most, of images that are whole and upright.

By ``benchmarks/registry.py``: 0.11 % of images that were encoded, scaled, posted or changed in tone are
farther away than that; of 18146 pairs of different pictures none is nearer than 98. Crops, rotations and
whole screenshots cannot be compared: they are as far away as other pictures."""

OTHER = 96
"""Bits from which on it is another picture, if the image is whole and upright; what lies between is not
known. A part that covers a third to half of the image brings it as far away in some cases."""

LEAST_SPREAD = 2.0
"""Grey levels, of the lowest frequencies: rounding gives 0.2, and images of clear skies have less than 1."""

_SIDE, _REDUCED = 16, 64
"""Frequencies a side: 256 bits; pixels a side that they are taken of."""

_GAP = 3.0
"""Pixels, for each of the small image's, that averaging leaves: few bits differ from ImageHash's own."""

_FORM = re.compile("phash:[0-9a-f]{64}")


def perceptual_hash(image: Image.Image | NDArray[Any]) -> str | None:
    """Return the perceptual hash of an image: 256 bits, one for each low frequency above their median.

    Reference: C. Zauner, Implementation and benchmarking of perceptual image hash functions, 2010; by
    ImageHash's ``phash`` with ``hash_size=16``. It is of the image as it is seen: upright, and what is
    transparent on white.

    Args:
        image: a PIL image, or an array ``(H, W)`` or ``(H, W, 1..4)`` of uint8, uint16 or float in 0..1.

    Returns:
        "phash:" and 64 hex digits; None for an image so smooth that it would be a hash of rounding errors,
        and like that of any other such image.

    Raises:
        MissingPackageError: if ImageHash is not installed.
    """
    imagehash = package("imagehash", "a perceptual hash", "registry")
    small = _small(image)
    if _spread(small) < LEAST_SPREAD:
        return None
    return f"phash:{imagehash.phash(small, hash_size=_SIDE)}"


def distance(a: str, b: str) -> int:
    """Return by how many of 256 bits two perceptual hashes differ; half of them is what chance gives.

    Raises:
        RegistryError: if one is no perceptual hash.
    """
    for text in (a, b):
        if not _FORM.fullmatch(text):
            raise RegistryError(f"{text[:80]!r} is no perceptual hash: phash: and 64 hex digits")
    return (int(a[6:], 16) ^ int(b[6:], 16)).bit_count()


def _spread(small: Image.Image) -> float:
    """Median distance of the lowest frequencies from their median, by the orthonormal DCT."""
    import numpy as np

    positions = np.arange(_REDUCED) + 0.5
    waves = np.cos(np.pi / _REDUCED * np.arange(_SIDE)[:, None] * positions) * (2 / _REDUCED) ** 0.5
    waves[0] *= 0.5**0.5
    low = waves @ np.asarray(small, np.float64) @ waves.T
    return float(np.median(np.abs(low - np.median(low))))


def _small(image: Image.Image | NDArray[Any]) -> Image.Image:
    """The image as it is seen, in grey, 64 x 64 pixels."""
    from PIL import Image, ImageOps

    if not isinstance(image, Image.Image):
        image = Image.fromarray(_eight_bits(image))
    else:
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith(("I", "F")):
        import numpy as np

        samples = np.asarray(image)
        image = Image.fromarray(_eight_bits(samples if image.mode == "F" else samples.astype(np.uint16)))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    if image.mode not in ("L", "RGB"):
        image = image.convert("L")
    # as phash does, but large images are averaged first, and turned to grey last: a tenth of the time
    small = image.resize((_REDUCED, _REDUCED), Image.Resampling.LANCZOS, reducing_gap=_GAP)
    return small.convert("L")


def _eight_bits(samples: NDArray[Any]) -> NDArray[np.uint8]:
    """Samples as uint8, of a shape that Pillow takes."""
    import numpy as np

    if samples.ndim == 3 and samples.shape[2] == 1:
        samples = samples[..., 0]
    if samples.dtype == np.uint16:
        samples = samples >> 8
    elif samples.dtype != np.uint8:
        samples = np.rint(np.clip(samples, 0, 1) * 255)
    return samples.astype(np.uint8, copy=False)
