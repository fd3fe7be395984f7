"""Middleware for ASGI: images that an app answers with are watermarked on their way out.

For FastAPI, Starlette, BentoML, and whatever else takes one:

>>> app.add_middleware(FastmarkMiddleware, key="my.key", message="0123456789abcdef")  # doctest: +SKIP

Nothing is imported for it but fastmark.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from fastmark._checks import OnMarked, check_count, check_on_marked, message_bytes
from fastmark.codec.key import Key
from fastmark.codec.key_places import load_secret_key
from fastmark.companions import NOTHING, Companions
from fastmark.delivery import Delivery
from fastmark.errors import InvalidMessageError
from fastmark.integrations.answering.answer import Answer
from fastmark.integrations.answering.bounds import Bounds, Crew, Threads
from fastmark.integrations.answering.marking import Marking, MessageSource
from fastmark.integrations.answering.problems import Refusal
from fastmark.integrations.answering.rules import (
    MAX_BYTES,
    MAX_MEMORY,
    MAX_PIXELS,
    PATHS,
    Fail,
    OnPartial,
    OnUrl,
    Rules,
)
from fastmark.integrations.answering.types import App, Receive, Scope, Send
from fastmark.integrations.first_image import FirstImage
from fastmark.watermarker import Watermarker

if TYPE_CHECKING:
    from fastmark.codec.public import PublicCode

_PARTS_OR_PACKED = frozenset((b"accept-encoding", b"range", b"if-range"))
"""Headers of requests that ask for a part of an answer, or for one that would have to be unpacked."""


class FastmarkMiddleware:
    """Watermarks the images of an app's answers, or refuses the answers.

    Answers to POST on ``paths`` are held until each image in them is watermarked: images in base64 in JSON,
    under ``b64_json`` or any other key, data URLs, and bodies that are an image. Each leaves in the format
    that it came in, with its metadata. What else stands in the JSON stays as it is, to the byte. Streams
    (text/event-stream) are passed event by event. All other requests and answers, and those that are not
    2xx, are passed as they are.

    An image that cannot be watermarked is refused (502, an error as OpenAI's API tells it), unless ``fail``
    is "open". Headers tell what was done: ``Fastmark-State`` ("marked", "kept", "unmarked"), ``Fastmark-Id``
    (messages), ``Fastmark-Warning`` (what left without a watermark, and why).
    """

    def __init__(
        self,
        app: App,
        marker: Watermarker | Key | str | os.PathLike[str] | None = None,
        message: MessageSource = None,
        *,
        key: Key | str | os.PathLike[str] | None = None,
        message_bits: int = 64,
        paths: Iterable[str] = PATHS,
        companions: Companions = NOTHING,
        public: PublicCode | None = None,
        on_url: OnUrl | None = None,
        on_partial: OnPartial = "drop",
        on_marked: OnMarked = "replace",
        fail: Fail = "closed",
        quality: int | None = None,
        workers: int = 0,
        max_bytes: int = MAX_BYTES,
        max_pixels: int = MAX_PIXELS,
        max_memory: int = MAX_MEMORY,
        name: str = "middleware",
        check: str = "fastmark detect IMAGE --key KEY_FILE",
    ) -> None:
        """Prepare to watermark; keys are read, and nothing is started.

        Args:
            app: whose answers are watermarked.
            marker: that embeds; or a key, the path of a key file, or ``env:NAME``, as ``key``.
            message: of all images, or a function that is called, in a thread, for each of them. None where
                the registry of ``companions`` draws them.
            key: in place of ``marker``.
            message_bits: length of the messages, where a key is given.
            paths: answers to POST on paths that end in one of these are watermarked.
            companions: what goes beside the watermark: registry, record, XMP, content credentials.
            public: public watermark that is embedded too; see ``fastmark.public``.
            on_url: "refuse" or "pass" answers that say where an image is; they are refused where nothing is
                said, unless ``fail`` is "open".
            on_partial: "drop", "pass" or "mark" partial images of a stream.
            on_marked: as for ``Watermarker.embed_report``.
            fail: "closed" refuses an image that cannot be watermarked, "open" passes it as it is, with a
                header and a line in the log ``fastmark.integrations`` that say so.
            quality: of JPEG, WebP, AVIF, HEIF and JPEG XL, 1..100; None is 95. WebP without loss stays so.
            workers: threads that work on images; 0 for one per core.
            max_bytes: of one answer, of one event of a stream.
            max_pixels: of one image.
            max_memory: bytes of all answers that are held; further ones wait.
            name: how the lines about the first image name this.
            check: the command by which they say it is checked.

        Raises:
            KeyFormatError: if there is no key, or it is damaged.
            InvalidMessageError: if the message is none, or there is neither message nor registry.
            ValueError: if another argument is out of range.
        """
        self.app = app
        marker = _marker_of(marker, key, message_bits)
        if message is None and companions.registry is None:
            raise InvalidMessageError("no message: give one, or companions with a registry, which draws ids")
        if message is not None and not callable(message):
            message = message_bytes(message, marker.message_bits)
        delivery = Delivery(
            marker,
            companions,
            on_marked=check_on_marked(on_marked),
            max_pixels=check_count("max_pixels", max_pixels, 1),
            public=public,
        )
        self.rules = Rules(
            paths=tuple(paths),
            on_url=on_url,
            on_partial=on_partial,
            fail=fail,
            max_bytes=max_bytes,
            max_memory=max_memory,
            tell=FirstImage(name, check).tell,
        )
        check_quality(quality)
        self.make = functools.partial(Marking, delivery, message, quality)
        self._threads = Threads(self.make, check_count("workers", workers, 0))
        self.crew: Crew = self._threads
        self._bounds: Bounds | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, as ASGI has it."""
        if scope["type"] == "lifespan":
            try:
                await self.app(scope, receive, send)
            finally:
                self._threads.close()
            return
        path = None if scope["type"] != "http" else self.rules.match(scope["method"], scope["path"])
        if path is None:
            await self.app(scope, receive, send)
            return
        if self._bounds is None:
            size = max(self.rules.max_memory, self.rules.max_bytes)
            self._bounds = Bounds.of(size, self.crew)
        answer = Answer(self.rules, self.crew, self._bounds, send)
        try:
            await self.app(_plain_request(scope), receive, answer.send)
        except Exception as error:
            if answer.refused:  # it is over, and the app told so
                return
            if not (isinstance(error, Refusal) and answer.open):
                raise
            await answer.refuse(error)
        else:
            if answer.open:
                await answer.refuse(Refusal("the answer ended too early", "upstream", again=True))
        finally:
            answer.close()


def check_quality(quality: int | None) -> None:
    """Raise OutputError unless a quality is 1..100, or None."""
    from fastmark.images.encoding import check_encoding

    check_encoding(None, quality=quality)


def _marker_of(
    marker: Watermarker | Key | str | os.PathLike[str] | None,
    key: Key | str | os.PathLike[str] | None,
    message_bits: int,
) -> Watermarker:
    if (marker is None) == (key is None):
        raise ValueError("give a marker or a key: exactly one of them")
    source = marker if key is None else key
    if isinstance(source, Watermarker):
        return source
    if isinstance(source, str | os.PathLike):
        source = load_secret_key(os.fspath(source))
    assert source is not None
    return Watermarker(source, message_bits)


def _plain_request(scope: Scope) -> Scope:
    """Return a request whose answer comes as a whole, unpacked, and by way of ``send`` alone."""
    kept = [(name, value) for name, value in scope["headers"] if name.lower() not in _PARTS_OR_PACKED]
    return {**scope, "headers": [*kept, (b"accept-encoding", b"identity")], "extensions": {}}
