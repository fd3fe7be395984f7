"""Looking at the images of a collection: the columns of each, and whether it is kept.

Shared by ``datasets``, ``webdataset``, ``torch`` and ``img2dataset``, which fetch images and put columns in
their own ways.

| column | text or number, None where there is nothing to tell |
|---|---|
| ``fm_state`` | "detected", "possible", "absent" of the most certain key, or "error" |
| ``fm_log10_p`` | decimal logarithm of the bound on the false-positive rate |
| ``fm_key`` | id of that key |
| ``fm_message`` | in hex |
| ``fm_public`` | words of the public watermark, as ``public_says`` of scans; where it was looked for |
| ``fm_public_code`` | its code in hex, likewise |
| ``fm_error`` | why the image cannot be looked at |
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from fastmark._checks import MAX_PIXELS_EACH, check_count, check_message_bits
from fastmark.bulk._run import sought
from fastmark.bulk.worker import NOT_READABLE, best_of, detector_of, public_columns
from fastmark.codec.key import AnyKey, check_key
from fastmark.codec.key_places import load_key
from fastmark.codec.public import FLAGS, PUBLIC_KEY
from fastmark.errors import FastmarkError, IntegrationError, InvalidImageError, one_line

if TYPE_CHECKING:
    from fastmark.detector import Detector

Keys: TypeAlias = "AnyKey | str | os.PathLike[str] | Iterable[AnyKey | str | os.PathLike[str]]"
"""One or more: keys, or places of keys: a key file, or env:NAME for a variable that holds its text."""

What = Literal["trainable", "unmarked", "marked"]
Errors = Literal["drop", "keep", "raise"]

NOT_TRAINABLE = ("ai-generated", "do-not-train", "do-not-train-generative")
"""Flags of the public watermark that leave an image out of what is trainable, where no others are named."""

STATE, NUMBER, KEY, PUBLIC, ERROR = "fm_state", "fm_log10_p", "fm_key", "fm_public", "fm_error"
_PUBLIC_KEY_ID = PUBLIC_KEY.id
_KEPT = 4  # detectors of a process, each with the carriers of its keys


@dataclass(frozen=True, slots=True)
class Look:
    """What is looked for in every image; it is small, and pickles with its keys.

    Attributes:
        keys: distinct ones; may be empty if the public watermark is looked for.
        public: look for the public watermark too.
        message_bits: length of the messages of the keys.
        deep: search longer.
        max_pixels: images with more pixels are not decoded.
    """

    keys: tuple[AnyKey, ...] = ()
    public: bool = True
    message_bits: int = 64
    deep: bool = False
    max_pixels: int = MAX_PIXELS_EACH

    @classmethod
    def of(
        cls,
        keys: Keys = (),
        public: bool = True,
        message_bits: int = 64,
        deep: bool = False,
        max_pixels: int = MAX_PIXELS_EACH,
    ) -> Look:
        """Load keys from where they lie, and check all.

        Raises:
            KeyFormatError: if there is nothing to look for, or a file is no key.
            KeyNotFoundError: if a key file is missing.
            InvalidMessageError: if ``message_bits`` is no length of messages.
            TypeError: if one of ``keys`` is none.
            ValueError: if ``max_pixels`` is no whole number of at least 1.
        """
        one = isinstance(keys, str | os.PathLike) or not isinstance(keys, Iterable)
        given: list[Any] = [keys] if one else list(keys)  # type: ignore[arg-type]  # told apart above
        loaded = [
            load_key(os.fspath(key)) if isinstance(key, str | os.PathLike) else check_key(key)
            for key in given
        ]
        check_message_bits(message_bits)
        check_count("max_pixels", max_pixels, 1)
        return cls(sought(loaded, public=public), bool(public), message_bits, bool(deep), max_pixels)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns, in order."""
        public = (PUBLIC, "fm_public_code") if self.public else ()
        return (STATE, NUMBER, KEY, "fm_message", *public, ERROR)

    def __call__(self, image: Any) -> dict[str, Any]:
        """Return the columns of an image.

        Args:
            image: encoded bytes, a path, a Pillow image, an array, a tensor of C, H, W, or None, which is an
                error as any other that cannot be looked at.
        """
        try:
            return self._looked(image)
        except FastmarkError as error:
            return self.failed(one_line(error))
        except MemoryError:
            return self.failed("not enough memory for this image")
        except Exception as error:  # one image must not end the run; it is told
            return self.failed(f"internal error, please report it: {type(error).__name__}: {one_line(error)}")

    def failed(self, reason: str) -> dict[str, Any]:
        """The columns of an image that cannot be looked at."""
        return dict.fromkeys(self.columns) | {STATE: "error", ERROR: reason}

    def _looked(self, image: Any) -> dict[str, Any]:
        from fastmark.codec.plane import pixels_per_unit
        from fastmark.images.opening import open_for_detection

        luma = open_for_detection(
            _opened(image), unit=pixels_per_unit, max_pixels=self.max_pixels, native=self.deep
        )
        found = _detector(self.keys, self.public, self.message_bits).detect_opened(luma, deep=self.deep)
        best = best_of(found, self.keys)
        said = public_columns(found)
        values = (best.state, best.log10_p, best.key_id, best.message_hex)
        told = (said["public_says"], said["public"]) if self.public else ()
        return dict(zip(self.columns, (*values, *told, None), strict=True))


@functools.lru_cache(_KEPT)
def _detector(keys: tuple[AnyKey, ...], public: bool, message_bits: int) -> Detector:
    """The carriers, derived once in each process."""
    return detector_of(keys, message_bits, public=public)


def _opened(image: Any) -> Any:
    """An image as fastmark takes it."""
    if image is None:
        raise InvalidImageError("there is no image")
    if isinstance(image, bytearray | memoryview):
        return bytes(image)
    if hasattr(image, "detach") and hasattr(image, "cpu"):  # a tensor
        array = image.detach().cpu().numpy()
        if array.ndim == 3 and array.shape[0] in (1, 3, 4):
            array = array.transpose(1, 2, 0)
        return array
    return image


# ---- whether an image is kept ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rule:
    """Which images are kept.

    Attributes:
        what: "marked": a watermark of a given key, or the public one, was detected; "unmarked": none was;
            "trainable": none of a given key was, and the public watermark says nothing of ``drop``.
        public: whether the public watermark counts.
        drop: flags of the public watermark that leave an image out of what is trainable. One that is
            detected and cannot be read leaves it out too.
        errors: images that cannot be looked at are left out ("drop"), kept ("keep"), or end the run
            ("raise").
    """

    what: What = "trainable"
    public: bool = True
    drop: tuple[str, ...] = NOT_TRAINABLE
    errors: Errors = "drop"

    @classmethod
    def of(cls, what: What, public: bool, drop: Iterable[str] | None, errors: Errors) -> Rule:
        """Check all.

        Raises:
            ValueError: if one of the values is none that is possible.
        """
        if what not in get_args(What):
            raise ValueError(f"what must be one of {', '.join(get_args(What))}, not {what!r}")
        if errors not in get_args(Errors):
            raise ValueError(f"errors must be one of {', '.join(get_args(Errors))}, not {errors!r}")
        if drop is not None and what != "trainable":
            raise ValueError(f"drop is of what is trainable: leave it out where {what!r} is asked for")
        flags = NOT_TRAINABLE if drop is None else (drop,) if isinstance(drop, str) else tuple(drop)
        if unknown := sorted(set(flags) - set(FLAGS)):
            raise ValueError(f"no public watermark says {', '.join(unknown)}: drop takes {', '.join(FLAGS)}")
        return cls(what, bool(public), flags, errors)

    def keeps(self, columns: Mapping[str, Any]) -> bool:
        """Whether an image with these columns is kept.

        Raises:
            IntegrationError: if the public watermark counts, and was not looked for.
            InvalidImageError: if it could not be looked at, and that is to end the run.
        """
        if columns[STATE] == "error":
            if self.errors == "raise":
                raise InvalidImageError(f"an image cannot be looked at: {columns[ERROR]}")
            return self.errors == "keep"
        if self.public and PUBLIC not in columns:
            raise IntegrationError(
                f"there is no column {PUBLIC}, as the scan did not look for the public watermark: scan with"
                " public=True, or filter with public=False"
            )
        said = (columns[PUBLIC] if self.public else None) or ""
        # a row is of the public key where no other was given
        ours = columns[STATE] == "detected" and columns[KEY] != _PUBLIC_KEY_ID
        if self.what == "trainable":
            return not ours and not {*self.drop, NOT_READABLE} & set(said.split(","))
        return (ours or bool(said)) == (self.what == "marked")
