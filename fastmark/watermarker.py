"""Watermarker: a key turned into carriers once; embed and detect, from any thread."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fastmark.carrier import Carrier
from fastmark.detection import Detector
from fastmark.embedding import mark
from fastmark.errors import ImageTooSmallError, InvalidMessageError
from fastmark.images import ImageInput, Luma, open_luma, open_source
from fastmark.key import Key
from fastmark.message import MessageCode
from fastmark.notation import check_strength
from fastmark.plane import pixels_per_unit
from fastmark.results import Detection, EmbedReport
from fastmark.scoring import ScorePlanes
from fastmark.search import Analysis

MIN_SIDE = 128
"""Pixels; pictures with a shorter side are refused."""

_In = TypeVar("_In")
_Out = TypeVar("_Out")
Marked = Image.Image | NDArray[Any]


class Watermarker:
    """Marks pictures with one key, and finds the mark again.

    Making one derives the key's carriers (tens of milliseconds); its methods are cheap and may be
    called from many threads at once.
    """

    def __init__(self, key: Key, message_bits: int = 64, strength: float = 1.0) -> None:
        """Prepare to mark and to look.

        Args:
            key: the secret key.
            message_bits: 16, 32, 64, 96 or 128; embedder and detector must agree on it.
            strength: amplitude relative to the default; 0.25..4.

        Raises:
            InvalidMessageError: if ``message_bits`` is none of those lengths.
            ValueError: if ``strength`` is out of range.
        """
        if not isinstance(key, Key):
            raise TypeError(f"key must be a fastmark.Key, not {type(key).__name__}")
        check_strength(strength)
        self.key = key
        self.message_bits = message_bits
        self.strength = float(strength)
        self._code = MessageCode(message_bits)
        self._carrier = Carrier(key)
        self._detector = Detector(self._carrier, self._code)

    def __repr__(self) -> str:
        """Name the key by its id."""
        return f"Watermarker(key={self.key.id}, message_bits={self.message_bits}, strength={self.strength})"

    def embed(
        self,
        image: ImageInput,
        message: int | bytes,
        *,
        threads: int = 1,
        out: NDArray[np.uint8] | None = None,
    ) -> Marked:
        """Return the picture with the mark in it; as :meth:`embed_report` without the report."""
        return self.embed_report(image, message, threads=threads, out=out)[0]

    def embed_report(
        self,
        image: ImageInput,
        message: int | bytes,
        *,
        threads: int = 1,
        out: NDArray[np.uint8] | None = None,
        max_pixels: int | None = None,
    ) -> tuple[Marked, EmbedReport]:
        """Mark a picture.

        Args:
            image: path, encoded bytes, Pillow image, or array ``(H, W)``, ``(H, W, 1..4)`` of uint8, uint16
                or float in 0..1; at least 128 pixels a side. It is not changed.
            message: ``0 <= int < 2 ** message_bits``, or ``message_bits / 8`` bytes, big-endian.
            threads: how many may share the work on this picture; the result is the same.
            out: for an array ``(H, W)`` or ``(H, W, 3)`` of uint8: where the marked pixels go, C-contiguous
                and of the same shape; it may be ``image`` itself, which is then changed, unless it is
                refused.
            max_pixels: refuse files and bytes of more pixels before they are decoded; None for 500 million.

        Returns:
            The marked picture, an array of the same shape and dtype for an array, else a Pillow image;
            and what was done.

        Raises:
            InvalidMessageError, InvalidImageError, UnsupportedImageError: if they are not of these kinds.
            ImageTooSmallError, ImageTooFlatError: if the picture cannot carry the mark.
            ValueError: if ``out`` does not fit ``image``.
        """
        _check_threads(threads)
        if out is not None:
            _check_out(image, out)
        data = self._code.to_bytes(message)
        source = open_source(image, max_pixels=max_pixels)
        height, width = source.pixels.shape[:2]
        if min(height, width) < MIN_SIDE:
            raise ImageTooSmallError(
                f"a picture needs {MIN_SIDE} pixels a side to carry a mark, this one has {width} x {height}"
            )
        marked, report = mark(
            source.pixels, source.peak, self._carrier, self._code, data, self.strength, threads, out
        )
        return (source.rebuild(marked) if out is None else out), report

    def detect(
        self, image: ImageInput, *, deep: bool = False, threads: int = 1, max_pixels: int | None = None
    ) -> Detection:
        """Look for this key's mark in a picture, whatever happened to it.

        Args:
            image: as for :meth:`embed_report`, of any size.
            deep: search on, for pictures somebody tried to clean; seconds where there is no mark.
            threads: how many may share the work on this picture; the result is the same.
            max_pixels: as for :meth:`embed_report`.

        Raises:
            InvalidImageError, UnsupportedImageError: if it cannot be read.
        """
        _check_threads(threads)
        luma = open_luma(image, unit=pixels_per_unit, max_pixels=max_pixels)
        return self._detector.detect(analyse(luma, threads), luma.unit, deep=deep)

    def embed_batch(
        self, images: Iterable[ImageInput], messages: Iterable[int | bytes], threads: int = 0
    ) -> list[Marked]:
        """Mark many pictures, in order.

        Args:
            images: a list of pictures, or an array ``(N, H, W, C)``.
            messages: one for each picture.
            threads: how many at a time; 0 for one a core.

        Raises:
            InvalidMessageError: if there are not as many messages as pictures; else as :meth:`embed_report`.
        """
        images, messages = list(images), list(messages)
        if len(images) != len(messages):
            raise InvalidMessageError(f"{len(images)} pictures need as many messages, not {len(messages)}")
        return in_threads(lambda pair: self.embed(*pair), list(zip(images, messages, strict=True)), threads)

    def detect_batch(
        self, images: Iterable[ImageInput], threads: int = 0, *, deep: bool = False
    ) -> list[Detection]:
        """Look for the mark in many pictures, in order; arguments as :meth:`embed_batch`."""
        return in_threads(lambda image: self.detect(image, deep=deep), list(images), threads)


def detect(
    image: ImageInput,
    keys: Sequence[Key | Watermarker],
    *,
    message_bits: int = 64,
    deep: bool = False,
    max_pixels: int | None = None,
) -> list[Detection]:
    """Look for the marks of many keys in one picture, which is analysed once.

    Args:
        image: as for :meth:`Watermarker.embed_report`.
        keys: keys, or watermarkers where their carriers are at hand already.
        message_bits: the length of the messages of those given as keys.
        deep: search on, as there.
        max_pixels: as there.

    Returns:
        One detection a key, most certain first; the number of keys is counted in their p-values.
    """
    if isinstance(keys, Key | Watermarker):
        keys = [keys]
    markers = [key if isinstance(key, Watermarker) else Watermarker(key, message_bits) for key in keys]
    return detect_luma(open_luma(image, unit=pixels_per_unit, max_pixels=max_pixels), markers, deep=deep)


def detect_luma(luma: Luma, markers: Sequence[Watermarker], *, deep: bool = False) -> list[Detection]:
    """:func:`detect` in a picture that has been opened with ``unit=pixels_per_unit``."""
    analysis = analyse(luma)
    found = [marker._detector.detect(analysis, luma.unit, len(markers), deep=deep) for marker in markers]
    return sorted(found, key=lambda detection: (detection.log10_p, detection.message_log10_p))


def _check_out(image: ImageInput, out: NDArray[np.uint8]) -> None:
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
    # a picture that is not contiguous is copied first
    same = not image.flags.c_contiguous or image.ctypes.data == out.ctypes.data
    if not same and np.may_share_memory(image, out):
        raise ValueError("out must be image itself or share no memory with it")


def _check_threads(threads: int) -> None:
    if threads < 1:
        raise ValueError(f"threads must be 1 or more, not {threads}")


def analyse(luma: Luma, threads: int = 1) -> Analysis:
    """Score what has been opened with ``unit=pixels_per_unit``."""
    return Analysis(ScorePlanes(luma.pixels, luma.unit // luma.reduction, threads))


def in_threads(function: Callable[[_In], _Out], items: list[_In], threads: int) -> list[_Out]:
    """Apply ``function`` to every item, ``threads`` at a time (0: one a core), results in order."""
    if threads < 0:
        raise ValueError(f"threads must be 0 or more, not {threads}")
    threads = min(threads or os.cpu_count() or 1, max(len(items), 1))
    if threads == 1:
        return [function(item) for item in items]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(function, items))
