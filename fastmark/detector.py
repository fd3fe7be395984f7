"""Detector: the carriers of many keys, kept; each image is analysed once for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

from fastmark._checks import check_count, check_message_bits
from fastmark._unchanging import Unchanging
from fastmark.batches import Outcome, each, in_order, threads_of_one
from fastmark.codec.carrier import Carrier
from fastmark.codec.detector_key import DetectorKey
from fastmark.codec.key import AnyKey, Key, check_key, which_of_two
from fastmark.codec.message import MessageCode
from fastmark.codec.plane import pixels_per_unit
from fastmark.detection.detector import KeyDetector, look
from fastmark.detection.explaining import explain
from fastmark.detection.several import look_for_all, look_where, order
from fastmark.errors import KeyFormatError
from fastmark.explanations import Explanation
from fastmark.images.opening import DetectorInput, ImageInput, open_for_detection
from fastmark.locations import Location
from fastmark.results import Detection
from fastmark.watermarker import Watermarker

Sought: TypeAlias = Key | DetectorKey | Watermarker
"""What stands for a key that is looked for."""


class Detector(Unchanging):
    """Looks for the watermarks of many keys in one image, which is analysed once.

    A detector key finds the watermarks of the key that it was made from, by two thirds of the evidence.

    Making one derives the carriers of all keys, some ten milliseconds each, and keeps them. It never
    changes; threads and processes may share it as they may a :class:`Watermarker`.

    >>> detector = Detector([Key.load("ours.key"), Key.load("theirs.key")])  # doctest: +SKIP
    >>> best = detector.detect("photo.jpg")[0]  # doctest: +SKIP
    """

    __slots__ = ("_detectors", "_message_bits", "_sought")

    _sought: tuple[Sought, ...]
    _detectors: tuple[KeyDetector, ...]
    _message_bits: int

    def __init__(self, keys: Sought | Iterable[Sought], message_bits: int = 64) -> None:
        """Prepare to look.

        Args:
            keys: one or more, secret keys or detector keys. A key given twice is one key; given as secret key
                and as detector key, it is the secret key, which sees more. Watermarkers stand for their keys
                and lengths of message, where their carriers are at hand already.
            message_bits: the length of the messages of those given as keys: 16, 32, 64, 96 or 128.

        Raises:
            KeyFormatError: without any key, or if two detector keys contradict each other; it is a ValueError
                too.
            TypeError: if one of ``keys`` is none.
            InvalidMessageError: if ``message_bits`` is none of those lengths.
        """
        bits = check_message_bits(message_bits)
        sought: dict[tuple[str, int], Sought] = {}
        for one in [keys] if isinstance(keys, Key | DetectorKey | Watermarker) else keys:
            key = _key_of(one)
            at = key.key_id, one.message_bits if isinstance(one, Watermarker) else bits
            before = sought.setdefault(at, one)
            if isinstance(one, Watermarker) or which_of_two(_key_of(before), key) is key:
                sought[at] = one
        if not sought:
            raise KeyFormatError("no key to look for: give at least one")
        detectors = tuple(
            one.key_detector if isinstance(one, Watermarker) else KeyDetector(Carrier(one), MessageCode(bits))
            for one in sought.values()
        )
        self._settle(_sought=tuple(sought.values()), _detectors=detectors, _message_bits=bits)

    @property
    def keys(self) -> tuple[AnyKey, ...]:
        """The keys, in the order in which they were given."""
        return tuple(map(_key_of, self._sought))

    @property
    def message_bits(self) -> int:
        """Length of the messages of those given as keys."""
        return self._message_bits

    def __repr__(self) -> str:
        """Name the keys by their ids."""
        return f"Detector(keys=[{', '.join(key.id for key in self.keys)}], message_bits={self.message_bits})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle keys and lengths; the carriers are derived anew."""
        return type(self), (self._sought, self.message_bits)

    def detect(
        self, image: ImageInput, *, deep: bool = False, threads: int = 1, max_pixels: int | None = None
    ) -> list[Detection]:
        """Look for every key's watermark; arguments and errors as :meth:`Watermarker.detect`.

        Returns:
            One detection per key, most certain first; the number of keys is counted in their p-values.
        """
        threads = check_count("threads", threads, 1)
        luma = open_for_detection(image, unit=pixels_per_unit, max_pixels=max_pixels, native=deep)
        return self.detect_opened(luma, deep=deep, threads=threads)

    def detect_opened(self, luma: DetectorInput, *, deep: bool = False, threads: int = 1) -> list[Detection]:
        """As :meth:`detect`, of an image opened by ``open_for_detection`` with ``unit=pixels_per_unit``."""
        found = look(luma, self._detectors, deep=deep, threads=threads)
        return sorted(found, key=order)

    def explain(
        self, image: ImageInput, *, deep: bool = False, threads: int = 1, max_pixels: int | None = None
    ) -> list[Explanation]:
        """As :meth:`detect`, and say what was looked at; as :meth:`Watermarker.explain`, one for each key."""
        threads = check_count("threads", threads, 1)

        def opened() -> DetectorInput:
            return open_for_detection(image, unit=pixels_per_unit, max_pixels=max_pixels, native=deep)

        return self.explain_opened(opened, deep=deep, threads=threads)

    def explain_opened(
        self, opened: Callable[[], DetectorInput], *, deep: bool = False, threads: int = 1
    ) -> list[Explanation]:
        """As :meth:`explain`; ``opened`` opens the image as for :meth:`detect_opened`."""
        found = explain(opened, self._detectors, deep=deep, threads=threads)
        return sorted(found, key=lambda one: order(one.detection))

    def locate(
        self, image: ImageInput, *, deep: bool = False, threads: int = 1, max_pixels: int | None = None
    ) -> Location:
        """Look for every key's watermark, and locate the most certain; as :meth:`Watermarker.locate`.

        The number of keys is counted in its p-value.
        """
        threads = check_count("threads", threads, 1)
        luma = open_for_detection(image, unit=pixels_per_unit, max_pixels=max_pixels, native=deep)
        return self.locate_opened(luma, deep=deep, threads=threads)

    def locate_opened(self, luma: DetectorInput, *, deep: bool = False, threads: int = 1) -> Location:
        """As :meth:`locate`, of an image opened by ``open_for_detection`` with ``unit=pixels_per_unit``."""
        return look_where(luma, self._detectors, deep=deep, threads=threads)

    def detect_all(
        self, image: ImageInput, *, deep: bool = False, threads: int = 1, max_pixels: int | None = None
    ) -> list[Location]:
        """Look for all watermarks of every key, and locate them; as :meth:`Watermarker.detect_all`.

        Returns:
            One location for each watermark detected, most certain first, whatever its key.
        """
        threads = check_count("threads", threads, 1)
        luma = open_for_detection(image, unit=pixels_per_unit, max_pixels=max_pixels, native=deep)
        return [one for one in self.detect_all_opened(luma, deep=deep, threads=threads) if one]

    def detect_all_opened(
        self, luma: DetectorInput, *, deep: bool = False, threads: int = 1
    ) -> list[Location]:
        """As :meth:`detect_all`, of an image opened as for :meth:`locate_opened`.

        A key without any watermark there has one location, which is false.
        """
        return look_for_all(luma, self._detectors, deep=deep, threads=threads)

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


def _key_of(one: Sought) -> AnyKey:
    return one.key if isinstance(one, Watermarker) else check_key(one)


def detect(
    image: ImageInput,
    keys: Sought | Iterable[Sought],
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


def locate(
    image: ImageInput,
    keys: Sought | Iterable[Sought],
    *,
    message_bits: int = 64,
    deep: bool = False,
    threads: int = 1,
    max_pixels: int | None = None,
) -> Location:
    """Locate the most certain watermark of many keys: ``Detector(keys, message_bits).locate(image)``."""
    detector = Detector(keys, message_bits)
    return detector.locate(image, deep=deep, threads=threads, max_pixels=max_pixels)


def detect_all(
    image: ImageInput,
    keys: Sought | Iterable[Sought],
    *,
    message_bits: int = 64,
    deep: bool = False,
    threads: int = 1,
    max_pixels: int | None = None,
) -> list[Location]:
    """Look for all watermarks of many keys: ``Detector(keys, message_bits).detect_all(image)``."""
    detector = Detector(keys, message_bits)
    return detector.detect_all(image, deep=deep, threads=threads, max_pixels=max_pixels)
