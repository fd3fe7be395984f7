"""Watermarker: a key turned into carriers once; embed and detect, from any thread or process."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Mapping, Sized
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fastmark._checks import OnMarked, check_count, check_flag, check_on_marked, check_strength
from fastmark._unchanging import Unchanging
from fastmark.batches import Outcome, each, in_order, pairs, threads_of_one
from fastmark.codec.carrier import Carrier
from fastmark.codec.key import Key, check_secret_key
from fastmark.codec.message import MessageCode
from fastmark.codec.plane import pixels_per_unit
from fastmark.codec.public import PUBLIC_BITS, PUBLIC_KEY, PUBLIC_NAME, PublicCode
from fastmark.detection.detector import KeyDetector, look
from fastmark.detection.explaining import explain
from fastmark.detection.several import look_for_all, look_where
from fastmark.embedding.host import Pixels
from fastmark.embedding.inscription import Inscription
from fastmark.embedding.remarking import mark_image, not_replaced
from fastmark.errors import ImageTooSmallError, InvalidMessageError, OutputError
from fastmark.explanations import Explanation
from fastmark.images.encoding import check_encoding, encode_image
from fastmark.images.formats import PREFIX_BYTES, format_by_prefix
from fastmark.images.opening import (
    DetectorInput,
    ImageInput,
    check_out,
    open_for_detection,
    open_for_embedding,
)
from fastmark.images.reading import Encoded
from fastmark.locations import Location
from fastmark.registry.reservation import complete_as_pixels, reserved
from fastmark.results import Detection, EmbedReport

if TYPE_CHECKING:
    from fastmark.records import Record
    from fastmark.registry.store import Registry

MIN_IMAGE_SIDE = 128
"""Pixels; images with a shorter side are refused."""

_Scalar = TypeVar("_Scalar", bound=np.generic)
_Array = TypeVar("_Array", bound=np.generic)
Message: TypeAlias = int | bytes | str | np.integer[Any]
Marked: TypeAlias = Image.Image | NDArray[Any]


class Watermarker(Unchanging):
    """Embeds watermarks with one key, and detects them.

    Making one derives the key's carriers (tens of milliseconds); its methods are cheap. It never changes, so
    that threads, asyncio's ``to_thread`` and processes started by spawn, fork or forkserver may share it:
    it is pickled as its key, which the pickle then holds.

    >>> marker = Watermarker(Key.generate())
    >>> marked = marker.embed("photo.jpg", "0123456789abcdef")  # doctest: +SKIP
    >>> if found := marker.detect(marked):  # doctest: +SKIP
    ...     print(found.message_hex)
    """

    __slots__ = ("_code", "_key", "_strength", "key_detector")

    _key: Key
    _strength: float
    _code: MessageCode
    key_detector: KeyDetector

    def __init__(self, key: Key, message_bits: int = 64, strength: float | np.floating[Any] = 1.0) -> None:
        """Prepare to embed and to detect.

        Args:
            key: the secret key.
            message_bits: 16, 32, 64, 96 or 128; embedder and detector must agree on it.
            strength: amplitude relative to the default; 0.25..4.

        Raises:
            TypeError: if ``key`` is no Key; a DetectorKey is for :class:`Detector`, and cannot embed.
            InvalidMessageError: if ``message_bits`` is none of those lengths; it is a ValueError too.
            ValueError: if ``strength`` is no number or out of range.
        """
        check_secret_key(key)
        strength, code, carrier = check_strength(strength), MessageCode(message_bits), Carrier(key)
        self._settle(
            _key=key,
            _strength=strength,
            _code=code,
            key_detector=KeyDetector(carrier, code),
        )

    @property
    def key(self) -> Key:
        """The secret key."""
        return self._key

    @property
    def message_bits(self) -> int:
        """Length of the messages."""
        return self._code.message_bits

    @property
    def strength(self) -> float:
        """Amplitude relative to the default."""
        return self._strength

    def __repr__(self) -> str:
        """Name the key by its id."""
        return f"Watermarker(key={self.key.id}, message_bits={self.message_bits}, strength={self.strength})"

    def _values(self) -> tuple[Key, int, float]:
        return self.key, self.message_bits, self.strength

    def __eq__(self, other: object) -> bool:
        """Whether both embed and detect the same."""
        return self._values() == other._values() if isinstance(other, Watermarker) else NotImplemented

    def __hash__(self) -> int:
        """Agree with ``==``."""
        return hash(self._values())

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the key and the settings; the carriers are derived anew."""
        return type(self), self._values()

    # ---- one image ---------------------------------------------------------------------------------------

    @overload
    def embed(
        self,
        image: NDArray[_Scalar],
        message: Message | None = ...,
        *,
        threads: int = ...,
        bind: bool = ...,
        on_marked: OnMarked = ...,
        public: PublicCode | None = ...,
        registry: Registry | None = ...,
        record: Record | None = ...,
        out: NDArray[np.uint8] | None = ...,
        max_pixels: int | None = ...,
    ) -> NDArray[_Scalar]: ...
    @overload
    def embed(
        self,
        image: Encoded | Image.Image,
        message: Message | None = ...,
        *,
        threads: int = ...,
        bind: bool = ...,
        on_marked: OnMarked = ...,
        public: PublicCode | None = ...,
        registry: Registry | None = ...,
        record: Record | None = ...,
        out: None = ...,
        max_pixels: int | None = ...,
    ) -> Image.Image: ...
    @overload
    def embed(
        self,
        image: ImageInput,
        message: Message | None = ...,
        *,
        threads: int = ...,
        bind: bool = ...,
        on_marked: OnMarked = ...,
        public: PublicCode | None = ...,
        registry: Registry | None = ...,
        record: Record | None = ...,
        out: NDArray[np.uint8] | None = ...,
        max_pixels: int | None = ...,
    ) -> Marked: ...
    def embed(
        self,
        image: ImageInput,
        message: Message | None = None,
        *,
        threads: int = 1,
        bind: bool = True,
        on_marked: OnMarked = "replace",
        public: PublicCode | None = None,
        registry: Registry | None = None,
        record: Record | None = None,
        out: NDArray[np.uint8] | None = None,
        max_pixels: int | None = None,
    ) -> Marked:
        """Return the image with the watermark in it; as :meth:`embed_report` without the report."""
        return self.embed_report(
            image,
            message,
            threads=threads,
            bind=bind,
            on_marked=on_marked,
            public=public,
            registry=registry,
            record=record,
            out=out,
            max_pixels=max_pixels,
        )[0]

    @overload
    def embed_report(
        self,
        image: NDArray[_Scalar],
        message: Message | None = ...,
        *,
        threads: int = ...,
        bind: bool = ...,
        on_marked: OnMarked = ...,
        public: PublicCode | None = ...,
        registry: Registry | None = ...,
        record: Record | None = ...,
        out: NDArray[np.uint8] | None = ...,
        max_pixels: int | None = ...,
    ) -> tuple[NDArray[_Scalar], EmbedReport]: ...
    @overload
    def embed_report(
        self,
        image: Encoded | Image.Image,
        message: Message | None = ...,
        *,
        threads: int = ...,
        bind: bool = ...,
        on_marked: OnMarked = ...,
        public: PublicCode | None = ...,
        registry: Registry | None = ...,
        record: Record | None = ...,
        out: None = ...,
        max_pixels: int | None = ...,
    ) -> tuple[Image.Image, EmbedReport]: ...
    @overload
    def embed_report(
        self,
        image: ImageInput,
        message: Message | None = ...,
        *,
        threads: int = ...,
        bind: bool = ...,
        on_marked: OnMarked = ...,
        public: PublicCode | None = ...,
        registry: Registry | None = ...,
        record: Record | None = ...,
        out: NDArray[np.uint8] | None = ...,
        max_pixels: int | None = ...,
    ) -> tuple[Marked, EmbedReport]: ...
    def embed_report(
        self,
        image: ImageInput,
        message: Message | None = None,
        *,
        threads: int = 1,
        bind: bool = True,
        on_marked: OnMarked = "replace",
        public: PublicCode | None = None,
        registry: Registry | None = None,
        record: Record | None = None,
        out: NDArray[np.uint8] | None = None,
        max_pixels: int | None = None,
    ) -> tuple[Marked, EmbedReport]:
        """Embed a watermark in an image.

        Pixels of alpha 0, which nobody sees, are left as they are, and count for nothing.

        Samples of the result promise that the message will be read from it, and all of it does where they
        leave doubt. Where an earlier watermark of this key is seen, the detector itself reads the new message
        before the result is returned. In an image that was resized after it was marked, no earlier watermark
        is looked for; the detector tries an image as it is, which shows the new one, first.

        Args:
            image: path, binary file object, encoded bytes, Pillow image, or array ``(H, W)`` or
                ``(H, W, 1..4)`` of uint8, uint16 or float in 0..1; at least 128 pixels a side. It is not
                changed.
            message: ``0 <= int < 2 ** message_bits``; ``message_bits / 8`` bytes, big-endian; or text of
                ``message_bits / 4`` hex digits, fewer after 0x. None where ``registry`` draws one.
            threads: how many may share the work on this image; the result is the same.
            bind: tie the watermark to what the image shows, so that a copy of it on another image can be told
                (:attr:`Detection.binding`).
            on_marked: the answer to an earlier watermark of this key, in an image that is as it was or was
                cropped since: "replace" takes it off and embeds the new one, "keep" returns the image
                unchanged, "refuse" raises :class:`AlreadyMarkedError`. The report's ``action`` and
                ``earlier_message`` say what was done.
            public: what the public watermark says that is embedded beside the message, with the key that
                everybody has; both are a little weaker than one alone, and show a little more. None embeds
                none. ``on_marked`` is about both.
            registry: where the message gets an entry before the image is returned, which is completed with
                the image's size and perceptual hash after. Without ``message`` an id is drawn that is not
                taken: the report's ``message``. Where embedding fails it is given back; if this process or
                the registry ends in between, the entry says "reserved".
            record: what the entry says of the image; None says nothing of it.
            out: for an array ``(H, W)`` or ``(H, W, 3)`` of uint8: where the marked pixels go, C-contiguous
                and of the same shape; it may be ``image`` itself, which is then changed, unless it is
                refused.
            max_pixels: refuse images of more pixels, files before they are decoded; None for 500 million in
                files and bytes.

        Returns:
            The marked image, an array of the same shape and dtype for an array, else a Pillow image;
            and what was done.

        Raises:
            InvalidMessageError, InvalidImageError, UnsupportedImageError: if they are not of these kinds.
            ImageNotFoundError: if there is no such file; it is a FileNotFoundError too.
            ImageTooSmallError, ImageTooFlatError: if the image cannot carry the watermark.
            AlreadyMarkedError: if an earlier watermark of this key is refused, or the detector does not read
                the new message from an image that had one.
            RegistryError: if the registry cannot be reached, or the message has an entry already.
            ValueError: if ``out`` does not fit ``image``, or a number is out of range; if ``public`` is to
                stand beside a message of the public key itself.
        """
        threads, bind = check_count("threads", threads, 1), check_flag("bind", bind)
        on_marked = check_on_marked(on_marked)
        if public is not None:
            self._check_public(public)
        if out is not None:
            check_out(image, out)
        data = None if message is None else self._code.to_bytes(message)

        def embed(chosen: bytes) -> tuple[Marked, EmbedReport]:
            return self._embed(
                image, chosen, public, threads, out, max_pixels, bind=bind, on_marked=on_marked
            )

        if registry is not None:
            with reserved(registry, record, data, self.key.id, self.message_bits) as drawn:
                marked, report = embed(drawn)
            complete_as_pixels(registry, drawn, marked, report)
            return marked, report
        if record is not None:
            raise ValueError("a record is kept by a registry: give registry too")
        if data is None:
            raise InvalidMessageError("no message to embed: give one, or a registry that draws one")
        return embed(data)

    def _check_public(self, public: object) -> None:
        if not isinstance(public, PublicCode):
            raise TypeError(
                f"public must be a fastmark.public.PublicCode, not {type(public).__name__}:"
                " PublicCode.of('do-not-train') makes one"
            )
        if self.key == PUBLIC_KEY:
            raise ValueError(
                "this watermarker has the public key: give the code as its message, or make a Watermarker"
                " with a key of your own"
            )

    def _embed(
        self,
        image: ImageInput,
        data: bytes,
        public: PublicCode | None,
        threads: int,
        out: NDArray[np.uint8] | None,
        max_pixels: int | None,
        *,
        bind: bool,
        on_marked: OnMarked,
    ) -> tuple[Marked, EmbedReport]:
        """Embed a message; see :meth:`embed_report`."""
        source = open_for_embedding(image, max_pixels=max_pixels)
        height, width = source.pixels.shape[:2]
        if min(height, width) < MIN_IMAGE_SIDE:
            raise ImageTooSmallError(
                f"an image needs {MIN_IMAGE_SIDE} pixels a side to carry a watermark, this one has"
                f" {width} x {height}: enlarge it, or keep it without one"
            )
        written = [Inscription(self.key_detector, data)]
        if public is not None:
            written.append(Inscription(public_marker().key_detector, public.to_bytes(), PUBLIC_NAME))
        marked, report = mark_image(
            Pixels.of(source.pixels, source.peak, source.visible),
            written,
            self.strength,
            threads,
            out,
            bind=bind,
            on_marked=on_marked,
        )
        kept = report.action == "kept"
        report = dataclasses.replace(
            report,
            warnings=(*source.warnings, *report.warnings),
            message=report.earlier_message if kept else data.hex(),
            public=report.earlier_public if kept or public is None else public.hex,
        )
        if self.key == PUBLIC_KEY:  # what its message says is public
            report = dataclasses.replace(report, public=report.message, earlier_public=report.earlier_message)
        return (source.rebuild(marked) if out is None else out), report

    def detect(
        self, image: ImageInput, *, deep: bool = False, threads: int = 1, max_pixels: int | None = None
    ) -> Detection:
        """Look for this key's watermark in an image, whatever happened to it.

        Args:
            image: as for :meth:`embed_report`, of any size. Of a damaged file the intact part is looked at,
                of an animation the first frame: the result's ``remarks`` say so.
            deep: search on, for images somebody tried to clean; seconds where there is no watermark.
            threads: how many may share the work on this image; the result is the same.
            max_pixels: as for :meth:`embed_report`.

        Raises:
            InvalidImageError, UnsupportedImageError: if it cannot be read.
            ImageNotFoundError: if there is no such file; it is a FileNotFoundError too.
            ValueError: if a number is out of range.
        """
        threads = check_count("threads", threads, 1)
        luma = open_for_detection(image, unit=pixels_per_unit, max_pixels=max_pixels, native=deep)
        return look(luma, [self.key_detector], deep=deep, threads=threads)[0]

    def explain(
        self, image: ImageInput, *, deep: bool = False, threads: int = 1, max_pixels: int | None = None
    ) -> Explanation:
        """Look for this key's watermark, and say what was looked at, how long it took, and what came of it.

        Arguments, errors, and ``.detection`` of what is returned, are those of :meth:`detect`.
        """
        threads = check_count("threads", threads, 1)

        def opened() -> DetectorInput:
            return open_for_detection(image, unit=pixels_per_unit, max_pixels=max_pixels, native=deep)

        return explain(opened, [self.key_detector], deep=deep, threads=threads)[0]

    def locate(
        self, image: ImageInput, *, deep: bool = False, threads: int = 1, max_pixels: int | None = None
    ) -> Location:
        """Detect, and say which part of the image carries the watermark; arguments as of :meth:`detect`.

        Errors are as there. Where it is not detected the location is false, and its maps are zeros.
        """
        threads = check_count("threads", threads, 1)
        luma = open_for_detection(image, unit=pixels_per_unit, max_pixels=max_pixels, native=deep)
        return look_where(luma, [self.key_detector], deep=deep, threads=threads)

    def detect_all(
        self, image: ImageInput, *, deep: bool = False, threads: int = 1, max_pixels: int | None = None
    ) -> list[Location]:
        """Look for all watermarks of this key, as in collages, and say where each lies.

        The image is searched again without the parts that are explained, until nothing more is detected; the
        p-values count that in. Watermarks of one key that lie on top of each other are not told apart.
        Arguments and errors as :meth:`detect`.

        Returns:
            One location for each watermark detected, most certain first; empty where there is none.
        """
        threads = check_count("threads", threads, 1)
        luma = open_for_detection(image, unit=pixels_per_unit, max_pixels=max_pixels, native=deep)
        return [one for one in look_for_all(luma, [self.key_detector], deep=deep, threads=threads) if one]

    # ---- many images -------------------------------------------------------------------------------------

    # NOTE: an array is iterable too, of values that mypy knows nothing of
    @overload
    def embed_batch(  # type: ignore[overload-overlap]
        self,
        images: NDArray[_Array],
        messages: Iterable[Message],
        workers: int = ...,
        *,
        threads: int = ...,
        bind: bool = ...,
        on_marked: OnMarked = ...,
        public: PublicCode | None = ...,
        max_pixels: int | None = ...,
    ) -> NDArray[_Array]: ...
    @overload
    def embed_batch(
        self,
        images: Iterable[NDArray[_Array]],
        messages: Iterable[Message],
        workers: int = ...,
        *,
        threads: int = ...,
        bind: bool = ...,
        on_marked: OnMarked = ...,
        public: PublicCode | None = ...,
        max_pixels: int | None = ...,
    ) -> list[NDArray[_Array]]: ...
    @overload
    def embed_batch(
        self,
        images: Iterable[Encoded | Image.Image],
        messages: Iterable[Message],
        workers: int = ...,
        *,
        threads: int = ...,
        bind: bool = ...,
        on_marked: OnMarked = ...,
        public: PublicCode | None = ...,
        max_pixels: int | None = ...,
    ) -> list[Image.Image]: ...
    @overload
    def embed_batch(
        self,
        images: Iterable[ImageInput],
        messages: Iterable[Message],
        workers: int = ...,
        *,
        threads: int = ...,
        bind: bool = ...,
        on_marked: OnMarked = ...,
        public: PublicCode | None = ...,
        max_pixels: int | None = ...,
    ) -> list[Marked]: ...
    def embed_batch(
        self,
        images: Any,
        messages: Iterable[Message],
        workers: int = 0,
        *,
        threads: int = 1,
        bind: bool = True,
        on_marked: OnMarked = "replace",
        public: PublicCode | None = None,
        max_pixels: int | None = None,
    ) -> Any:
        """Embed watermarks in many images, in order; the first error ends it.

        Args:
            images: any iterable of images, or an array ``(N, H, W, C)``.
            messages: one for each image.
            workers: images at a time; 0 for one per core.
            threads: how many may share the work on one image.
            bind, on_marked, public, max_pixels: as for :meth:`embed_report`.

        Returns:
            A list of the marked images; of an array an array of the same shape and dtype.

        Raises:
            InvalidMessageError: if there are not as many messages as images; else as :meth:`embed_report`.
        """
        if isinstance(images, Sized) and isinstance(messages, Sized) and len(images) != len(messages):
            raise InvalidMessageError(f"{len(images)} images need as many messages, not {len(messages)}")
        outcomes = self.embed_iter(
            images,
            messages,
            workers,
            threads=threads,
            bind=bind,
            on_marked=on_marked,
            public=public,
            max_pixels=max_pixels,
        )
        marked = [outcome.get()[0] for outcome in outcomes]
        if not isinstance(images, np.ndarray):
            return marked
        return np.stack([np.asarray(image) for image in marked]) if marked else images.copy()

    def embed_iter(
        self,
        images: Iterable[ImageInput],
        messages: Iterable[Message],
        workers: int = 0,
        *,
        threads: int = 1,
        bind: bool = True,
        on_marked: OnMarked = "replace",
        public: PublicCode | None = None,
        max_pixels: int | None = None,
    ) -> Iterator[Outcome[tuple[Marked, EmbedReport]]]:
        """Embed watermarks in a stream of images: memory holds a few of them at a time.

        Args:
            images: any iterable of images; it may be endless.
            messages: one for each image.
            workers, threads, bind, on_marked, public, max_pixels: as for :meth:`embed_batch`.

        Yields:
            In order, one :class:`Outcome` for each image: the marked image and its report, or its error.

        Raises:
            InvalidMessageError: where images or messages end first.
            ValueError: at once, if a number is out of range.
        """
        threads, bind = threads_of_one(threads), check_flag("bind", bind)
        on_marked = check_on_marked(on_marked)

        def embed(pair: tuple[ImageInput, Message]) -> tuple[Marked, EmbedReport]:
            return self.embed_report(
                *pair, threads=threads, bind=bind, on_marked=on_marked, public=public, max_pixels=max_pixels
            )

        return in_order(embed, pairs(each(images), messages), workers)

    def detect_batch(
        self,
        images: Iterable[ImageInput],
        workers: int = 0,
        *,
        deep: bool = False,
        threads: int = 1,
        max_pixels: int | None = None,
    ) -> list[Detection]:
        """Look for the watermark in many images, in order; the first error ends it.

        Arguments are those of :meth:`embed_batch` and :meth:`detect`.
        """
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
    ) -> Iterator[Outcome[Detection]]:
        """Look for the watermark in a stream of images: memory holds a few of them at a time.

        Arguments are those of :meth:`embed_iter` and :meth:`detect`.

        Yields:
            In order, one :class:`Outcome` for each image: the detection, or its error.

        Raises:
            ValueError: at once, if a number is out of range.
        """
        threads = threads_of_one(threads)

        def detect(image: ImageInput) -> Detection:
            return self.detect(image, deep=deep, threads=threads, max_pixels=max_pixels)

        return in_order(detect, each(images), workers)


@functools.cache
def public_marker() -> Watermarker:
    """Return the watermarker of the public key; it is made once."""
    return Watermarker(PUBLIC_KEY, PUBLIC_BITS)


# ---- small things --------------------------------------------------------------------------------------


def encode_result(
    marked: Image.Image, report: EmbedReport, source: bytes, format_name: str, encoding: Mapping[str, Any]
) -> bytes:
    """Encode what ``embed_report`` gave for the bytes ``source``.

    An image that was kept stays the very file that it was, if the format does.

    Args:
        marked: the image.
        report: of embedding.
        source: the file in which it was embedded.
        format_name: to encode to.
        encoding: options of ``encode_image``.

    Raises:
        OutputError: as ``encode_image``.
    """
    own = format_by_prefix(source[:PREFIX_BYTES])
    if report.action == "kept" and own is not None and own == check_encoding(format_name):
        return source
    return encode_image(marked, format_name, **encoding)


def read_back(
    marker: Watermarker,
    encoded: bytes,
    message: bytes,
    format_name: str,
    report: EmbedReport,
    *,
    max_pixels: int | None = None,
) -> Detection:
    """Detect a watermark in the encoded bytes that are about to be written.

    Args:
        marker: that embedded it.
        encoded: a whole file.
        message: what it should say.
        format_name: of the file, for the error.
        report: of embedding.
        max_pixels: as for :meth:`Watermarker.detect`.

    Raises:
        AlreadyMarkedError: if the watermark replaced an earlier one, and its message is not read.
        OutputError: if the watermark is not detected, or says something else.
    """
    found = marker.detect(encoded, max_pixels=max_pixels)
    if not found or found.message_bytes != message:
        if report.action == "replaced":
            raise not_replaced(report.earlier_message)
        raise OutputError(
            f"the message is not read back from the image encoded as {format_name.lower()}, which is not"
            " written: raise --quality or --strength, or choose another format"
        )
    return found
