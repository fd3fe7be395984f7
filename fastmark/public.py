"""The public watermark: a label in the pixels that anybody can read, with no key (SPEC.md, section 14).

It says what an image is, and what it must not be used for: that AI made it, that no model may be trained on
it, which resolver knows more. Its key is published, so anybody can embed it, forge it, and remove it: it is a
signpost and no proof. A watermark with a key of your own can stand beside it (``Watermarker.embed(...,
public=...)``).

>>> marked = embed("photo.jpg", PublicCode.of("do-not-train"))  # doctest: +SKIP
>>> read(marked).code.flags  # doctest: +SKIP
('do-not-train',)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict, TypeVar, Unpack, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fastmark._checks import OnMarked
from fastmark.codec.public import (
    FLAGS,
    MAX_FREE,
    MAX_RESOLVER,
    PUBLIC_BITS,
    PUBLIC_KEY,
    RESOLVERS,
    Flag,
    Flags,
    PublicCode,
)
from fastmark.errors import InvalidMessageError
from fastmark.watermarker import Marked
from fastmark.watermarker import public_marker as marker

if TYPE_CHECKING:
    from fastmark.images.opening import ImageInput
    from fastmark.images.reading import Encoded
    from fastmark.results import Detection

__all__ = [
    "FLAGS",
    "MAX_FREE",
    "MAX_RESOLVER",
    "PUBLIC_BITS",
    "PUBLIC_KEY",
    "RESOLVERS",
    "Flag",
    "Flags",
    "Options",
    "PublicCode",
    "Reading",
    "code_of",
    "embed",
    "marker",
    "read",
]


class Options(TypedDict, total=False):
    """Options of :func:`embed`, as ``Watermarker.embed_report`` describes them."""

    threads: int
    bind: bool
    on_marked: OnMarked
    out: NDArray[np.uint8] | None
    max_pixels: int | None


@dataclass(frozen=True, slots=True)
class Reading:
    """What the public watermark of an image says; true in an ``if`` where it says something.

    Attributes:
        code: what it says; None where there is none, where it cannot be read, or where it is of a version
            that this fastmark does not know.
        detection: of the public key's watermark, with its p-value. The p-value bounds the chance that an
            image without the watermark looks like this; it says nothing of who embedded it.
    """

    code: PublicCode | None
    detection: Detection

    def __bool__(self) -> bool:
        """Whether the watermark was detected and read."""
        return self.code is not None


_Scalar = TypeVar("_Scalar", bound=np.generic)


@overload
def embed(
    image: NDArray[_Scalar], code: PublicCode | Flags, **options: Unpack[Options]
) -> NDArray[_Scalar]: ...
@overload
def embed(
    image: Encoded | Image.Image, code: PublicCode | Flags, **options: Unpack[Options]
) -> Image.Image: ...
@overload
def embed(image: ImageInput, code: PublicCode | Flags, **options: Unpack[Options]) -> Marked: ...
def embed(image: ImageInput, code: PublicCode | Flags, **options: Unpack[Options]) -> Marked:
    """Return the image with a public watermark alone.

    Args:
        image: as for ``Watermarker.embed_report``.
        code: what it says, or the names of its flags.
        options: those of ``Watermarker.embed_report`` that are about one watermark.

    Raises:
        InvalidMessageError: if the code says nothing, or contradicts itself; else as there.
    """
    code = code if isinstance(code, PublicCode) else PublicCode.of(code)
    return marker().embed(image, code.to_bytes(), **options)


def read(
    image: ImageInput, *, deep: bool = False, threads: int = 1, max_pixels: int | None = None
) -> Reading:
    """Look for the public watermark in an image; arguments and errors as ``Watermarker.detect``."""
    found = marker().detect(image, deep=deep, threads=threads, max_pixels=max_pixels)
    return Reading(code_of(found), found)


def code_of(found: Detection) -> PublicCode | None:
    """Return what a detection of the public key says.

    None for other keys, without a message, and for messages of a version that this fastmark does not know.
    """
    message = found.message_bytes
    if message is None or found.key_id != PUBLIC_KEY.id:
        return None
    try:
        return PublicCode.from_bytes(message)
    except InvalidMessageError:
        return None
