"""Images that a program makes, watermarked one by one; and what becomes of one that cannot carry it."""

from __future__ import annotations

import itertools
import threading
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from fastmark._checks import OnMarked, check_on_marked, message_bytes
from fastmark.errors import (
    AlreadyMarkedError,
    ImageTooFlatError,
    ImageTooSmallError,
    InvalidImageError,
    InvalidMessageError,
    one_line,
)
from fastmark.integrations.first_image import FirstImage
from fastmark.watermarker import Marked, Message, Watermarker

if TYPE_CHECKING:
    from fastmark.codec.public import PublicCode
    from fastmark.images.opening import ImageInput
    from fastmark.records import Record
    from fastmark.registry.store import Registry
    from fastmark.results import EmbedReport

Messages: TypeAlias = "Message | Callable[[], Message] | None"
"""One message for every image; a callable that is asked for one before each; None, and a registry draws."""

OnError = Literal["warn", "raise"]

CANNOT_CARRY = (ImageTooSmallError, ImageTooFlatError, InvalidImageError, AlreadyMarkedError)
"""Errors that are an image's own: another image, with the same settings, would have been watermarked."""


class UnmarkedImageWarning(UserWarning):
    """An image leaves without a watermark; the text says which, and why."""


def first_image(where: str, message_bits: int) -> FirstImage:
    """Return what tells how the first image of a program is checked."""
    bits = "" if message_bits == 64 else f" --message-bits {message_bits}"
    return FirstImage(where, f"fastmark detect IMAGE --key KEY_FILE{bits}")


class Marking:
    """Watermarks the images of one program, from any thread.

    An image that cannot carry the watermark leaves as it is with an :class:`UnmarkedImageWarning`, or ends
    in its error, as ``on_error`` says. All else raises: a message that does not fit, a registry that fails.
    """

    def __init__(
        self,
        where: str,
        marker: Watermarker,
        message: Messages,
        *,
        registry: Registry | None = None,
        record: Record | None = None,
        public: PublicCode | None = None,
        on_error: OnError = "warn",
        on_marked: OnMarked = "replace",
        first: FirstImage | None = None,
    ) -> None:
        """Check everything that can be checked before there is an image.

        Args:
            where: the program, named in what is told.
            marker: that embeds.
            message: see :data:`Messages`.
            registry, record, public, on_marked: as for ``Watermarker.embed_report``.
            on_error: "warn" or "raise".
            first: tells how to check the first image; None for one of its own.

        Raises:
            TypeError: if ``marker`` is none.
            InvalidMessageError: if the message does not fit, or there is none and no registry.
            ValueError: if ``on_error`` is neither; if a registry is given one message for every image.
        """
        if not isinstance(marker, Watermarker):
            raise TypeError(
                f"marker must be a fastmark.Watermarker, not {type(marker).__name__}: write"
                " Watermarker(Key.load('my.key'))"
            )
        if on_error not in get_args(OnError):
            raise ValueError(f"on_error must be warn or raise, not {on_error!r}")
        if message is None and registry is None:
            raise InvalidMessageError(
                "no message to embed: give one, a function that returns one for each image, or a registry"
                " that draws one"
            )
        if registry is None and record is not None:
            raise ValueError("a record is kept by a registry: give registry too")
        if message is not None and not callable(message):
            message = message_bytes(message, marker.message_bits)
            if registry is not None:
                raise ValueError(
                    "one message cannot be the registry's id of every image: leave message out, and the"
                    " registry draws an id for each; or give a function that returns one"
                )
        self._marker, self._message, self._on_error = marker, message, on_error
        self._options: dict[str, Any] = {"registry": registry, "record": record, "public": public}
        self._options["on_marked"] = check_on_marked(on_marked)
        self._first = first or first_image(where, marker.message_bits)
        self._numbers, self._lock = itertools.count(1), threading.Lock()

    @property
    def raises(self) -> bool:
        """Whether an image that cannot carry the watermark is an error."""
        return self._on_error == "raise"

    @property
    def key_id(self) -> str:
        """Public id of the key."""
        return self._marker.key.id

    def mark(self, image: ImageInput) -> tuple[Marked, EmbedReport] | None:
        """Return an image with the watermark, and the report; None where it leaves as it is.

        Raises:
            FastmarkError: see the class.
        """
        number = next(self._numbers)
        try:
            marked, report = self._marker.embed_report(image, self._next_message(), **self._options)
        except CANNOT_CARRY as error:
            if self.raises:
                raise
            self._warn(number, one_line(error))
            return None
        self._first.tell(self.key_id, report.message)
        return marked, report

    def pass_over(self, why: str) -> None:
        """Say that something leaves without a watermark.

        Raises:
            InvalidImageError: if that is an error.
        """
        if self.raises:
            raise InvalidImageError(f"this would leave without a watermark: {why}")
        self._warn(next(self._numbers), why)

    def _next_message(self) -> Message | None:
        if not callable(self._message):
            return self._message
        with self._lock:  # so that it may be a generator's __next__
            return self._message()

    @staticmethod
    def _warn(number: int, why: str) -> None:
        # the number makes each text another: Python shows the same one once only
        text = f"fastmark: image {number} leaves without a watermark: {why}"
        warnings.warn(text, UnmarkedImageWarning, stacklevel=4)
