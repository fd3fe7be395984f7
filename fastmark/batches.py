"""Many images, one after another or several at a time: results in order, each with its own error."""

from __future__ import annotations

import itertools
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from PIL import Image

from fastmark._checks import check_count
from fastmark._threads import usable_cores
from fastmark.errors import InvalidImageError, InvalidMessageError

_In = TypeVar("_In")
_Out = TypeVar("_Out")
_Message = TypeVar("_Message")

_IN_HAND = 2
"""Images per worker that have been taken from the iterable and not been given back."""


@dataclass(frozen=True, slots=True)
class Outcome(Generic[_Out]):
    """One image of many, and what came of it.

    Attributes:
        index: its number among all images, from 0.
        value: the result; None where there is an error.
        error: why there is no result; None where there is one.
    """

    index: int
    value: _Out | None
    error: Exception | None

    def get(self) -> _Out:
        """Return the result, or raise the error that stands in its place."""
        if self.error is not None:
            raise self.error
        return self.value  # type: ignore[return-value]  # None is a result only if _Out says so


def threads_of_one(threads: int) -> int:
    """How many threads share the work on one image of a batch.

    Until 0.3, 0 is taken for 1: before 0.2, ``threads`` of a batch were images at a time, and 0 its default.

    Raises:
        ValueError: if ``threads`` is no int of at least 1.
    """
    if type(threads) is int and threads == 0:
        warnings.warn(
            "threads of a batch are those of one image since fastmark 0.2: say workers=0",
            DeprecationWarning,
            4,
        )
        return 1
    return check_count("threads", threads, 1)


def in_order(function: Callable[[_In], _Out], items: Iterable[_In], workers: int) -> Iterator[Outcome[_Out]]:
    """Apply ``function`` to every item, ``workers`` threads at a time; what comes of each, in order.

    No more than two items per worker are in memory at a time: the next is taken from ``items``, by the
    caller's thread, when a result is asked for.

    Args:
        function: of one item; what it raises becomes that item's error.
        items: any iterable, as long as it likes.
        workers: threads; 0 for one per usable core; 1 works in the caller's thread.

    Raises:
        ValueError: at once, if ``workers`` is no int of at least 0.
        Whatever ``items`` raises, when the items before have been given back.
    """
    workers = check_count("workers", workers, 0) or usable_cores()
    return _one_by_one(function, items) if workers == 1 else _several(function, items, workers)


def _attempt(function: Callable[[_In], _Out], index: int, item: _In) -> Outcome[_Out]:
    try:
        return Outcome(index, function(item), None)
    except Exception as error:  # one image must not end the batch
        return Outcome(index, None, error)


def _one_by_one(function: Callable[[_In], _Out], items: Iterable[_In]) -> Iterator[Outcome[_Out]]:
    for index, item in enumerate(items):
        yield _attempt(function, index, item)


def _several(function: Callable[[_In], _Out], items: Iterable[_In], workers: int) -> Iterator[Outcome[_Out]]:
    window: deque[Future[Outcome[_Out]]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="fastmark-batch")
    try:
        trouble: Exception | None = None
        numbered = enumerate(items)
        while True:
            while trouble is None and len(window) < _IN_HAND * workers:
                try:
                    index, item = next(numbered)
                except StopIteration:
                    break
                except Exception as error:  # of the iterable itself: told in its turn
                    trouble = error
                else:
                    window.append(pool.submit(_attempt, function, index, item))
                    del item  # the window holds it, and lets go of it
            if not window:
                break
            yield window.popleft().result()
        if trouble is not None:
            raise trouble
    finally:
        # whoever stops early does not wait for images that nobody has begun
        pool.shutdown(wait=True, cancel_futures=True)


def each(images: Iterable[_In]) -> Iterator[_In]:
    """Every one of many images.

    Raises:
        InvalidImageError: if ``images`` is one image, whose rows or bytes would be taken for images.
    """
    if isinstance(images, str | bytes | bytearray | memoryview | Image.Image) or hasattr(images, "read"):
        raise InvalidImageError("this is one image, and a batch is several: put it into a list")
    if isinstance(images, np.ndarray) and images.ndim != 4 and images.dtype != object:
        raise InvalidImageError(
            f"a batch as an array has the shape (N, H, W, C), not {images.shape}: put one image into a list"
        )
    return iter(images)


def pairs(images: Iterator[_In], messages: Iterable[_Message]) -> Iterator[tuple[_In, _Message]]:
    """Each image with its message.

    Raises:
        InvalidMessageError: where one of both ends before the other.
    """
    if isinstance(messages, str | bytes | bytearray | memoryview | int):
        raise InvalidMessageError("this is one message, and a batch needs one for each image: make it a list")
    nothing = object()
    for number, (image, message) in enumerate(itertools.zip_longest(images, messages, fillvalue=nothing)):
        if image is nothing or message is nothing:
            ended = "images" if image is nothing else "messages"
            raise InvalidMessageError(
                f"the {ended} end after {number}: there must be as many messages as images"
            )
        yield image, message  # type: ignore[misc]  # neither is the filling
