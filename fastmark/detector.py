"""Detector: the carriers of many keys, kept; each image is analysed once for all of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from fastmark._checks import check_count, check_message_bits
from fastmark._unchanging import Unchanging
from fastmark.batches import Outcome, each, in_order, threads_of_one
from fastmark.codec.key import Key
from fastmark.codec.plane import pixels_per_unit
from fastmark.detection.detector import look
from fastmark.errors import KeyFormatError
from fastmark.images.opening import DetectorInput, ImageInput, open_for_detection
from fastmark.results import Detection
from fastmark.watermarker import Watermarker


class Detector(Unchanging):
    """Looks for the watermarks of many keys in one image, which is analysed once.

    Making one derives the carriers of all keys, some ten milliseconds each, and keeps them. It never
    changes; threads and processes may share it as they may a :class:`Watermarker`.

    >>> detector = Detector([Key.load("ours.key"), Key.load("theirs.key")])  # doctest: +SKIP
    >>> best = detector.detect("photo.jpg")[0]  # doctest: +SKIP
    """

    __slots__ = ("_markers", "_message_bits")

    _markers: tuple[Watermarker, ...]
    _message_bits: int

    def __init__(self, keys: Key | Watermarker | Iterable[Key | Watermarker], message_bits: int = 64) -> None:
        """Prepare to look.

        Args:
            keys: one or more; a key given twice is one key. Watermarkers stand for their keys and lengths of
                message, where their carriers are at hand already.
            message_bits: the length of the messages of those given as keys: 16, 32, 64, 96 or 128.

        Raises:
            KeyFormatError: without any key; it is a ValueError too.
            TypeError: if one of ``keys`` is none.
            InvalidMessageError: if ``message_bits`` is none of those lengths.
        """
        given = [keys] if isinstance(keys, Key | Watermarker) else list(keys)
        if not given:
            raise KeyFormatError("no key to look for: give at least one")
        bits = check_message_bits(message_bits)
        markers: dict[tuple[str, int], Watermarker] = {}
        for key in given:
            marker = key if isinstance(key, Watermarker) else Watermarker(key, bits)
            markers.setdefault((marker.key.id, marker.message_bits), marker)
        self._settle(_markers=tuple(markers.values()), _message_bits=bits)

    @property
    def keys(self) -> tuple[Key, ...]:
        """The keys, in the order in which they were given."""
        return tuple(marker.key for marker in self._markers)

    @property
    def message_bits(self) -> int:
        """Length of the messages of those given as keys."""
        return self._message_bits

    def __repr__(self) -> str:
        """Name the keys by their ids."""
        return f"Detector(keys=[{', '.join(key.id for key in self.keys)}], message_bits={self.message_bits})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle keys and lengths; the carriers are derived anew."""
        return type(self), (self._markers, self.message_bits)

    def detect(
        self, image: ImageInput, *, deep: bool = False, threads: int = 1, max_pixels: int | None = None
    ) -> list[Detection]:
        """Look for every key's watermark; arguments and errors as :meth:`Watermarker.detect`.

        Returns:
            One detection per key, most certain first; the number of keys is counted in their p-values.
        """
        threads = check_count("threads", threads, 1)
        luma = open_for_detection(image, unit=pixels_per_unit, max_pixels=max_pixels)
        return self.detect_opened(luma, deep=deep, threads=threads)

    def detect_opened(self, luma: DetectorInput, *, deep: bool = False, threads: int = 1) -> list[Detection]:
        """As :meth:`detect`, of an image opened by ``open_for_detection`` with ``unit=pixels_per_unit``."""
        detectors = [marker.key_detector for marker in self._markers]
        found = look(luma, detectors, deep=deep, threads=threads)
        # bounds end at the strength of a key: beyond, the margins tell which is the more certain
        return sorted(found, key=lambda f: (f.log10_p, f.message_log10_p, -(f.margin or 0.0)))

    def detect_batch(
        self,
        images: Iterable[ImageInput],
        workers: int = 0,
        *,
        deep: bool = False,
        threads: int = 1,
        max_pixels: int | None = None,
    ) -> list[list[Detection]]:
        """Look in many images, in order; arguments as :meth:`Watermarker.detect_batch`."""
        outcomes = self.detect_iter(images, workers, deep=deep, threads=threads, max_pixels=max_pixels)
        return [outcome.get() for outcome in outcomes]

    def detect_iter(
        self,
        images: Iterable[ImageInput],
        workers: int = 0,
        *,
        deep: bool = False,
        threads: int = 1,
        max_pixels: int | None = None,
    ) -> Iterator[Outcome[list[Detection]]]:
        """Look in a stream of images; arguments as :meth:`Watermarker.detect_iter`."""
        threads = threads_of_one(threads)

        def detect(image: ImageInput) -> list[Detection]:
            return self.detect(image, deep=deep, threads=threads, max_pixels=max_pixels)

        return in_order(detect, each(images), workers)


def detect(
    image: ImageInput,
    keys: Key | Watermarker | Iterable[Key | Watermarker],
    *,
    message_bits: int = 64,
    deep: bool = False,
    threads: int = 1,
    max_pixels: int | None = None,
) -> list[Detection]:
    """Look for the watermarks of many keys in one image: ``Detector(keys, message_bits).detect(image)``.

    The carriers of the keys are derived at every call; for more images than one keep a :class:`Detector`.

    Returns:
        One detection per key, most certain first; the number of keys is counted in their p-values.
    """
    detector = Detector(keys, message_bits)
    return detector.detect(image, deep=deep, threads=threads, max_pixels=max_pixels)
