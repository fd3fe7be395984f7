"""WebDataset: what the watermark of each sample says, and filters by it.

>>> from fastmark.integrations.webdataset import Keep, Scan
>>> ds = wds.WebDataset("00000.tar").map(Scan("my.key")).select(Keep("trainable"))  # doctest: +SKIP
>>> ds = ds.decode("pil").to_tuple("jpg", "json")  # doctest: +SKIP

Both are called by ``map`` and ``select`` with one sample, best before ``decode``: the image is then decoded
once here for its luma alone, and a damaged one does not end the run. They pickle, for workers of any start
method. ``webdataset`` itself is not imported.

What is told stands in one field, ``fm.json``, as fields are named by the codec that writes them: JSON, of
which ``decode`` makes a dict; in a sample that is decoded already, the dict itself. ``TarWriter`` writes
both, and :class:`Keep` reads them. It has the names of ``fastmark.integrations.collecting``, and None where
there is nothing to tell.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from fastmark._checks import MAX_PIXELS_EACH
from fastmark.bulk.kinds import IMAGE_ENDINGS
from fastmark.errors import IntegrationError
from fastmark.integrations.collecting import Errors, Keys, Look, Rule, What

FIELD = "fm.json"
"""Where a sample tells what the watermarks say."""

Sample = Mapping[str, Any]


class Scan:
    """For ``.map(Scan(...))``: adds the field ``fm.json`` to a sample.

    An image that cannot be looked at has the state "error", and the reason in ``fm_error``.
    """

    def __init__(
        self,
        keys: Keys = (),
        *,
        public: bool = True,
        image: str | None = None,
        field: str = FIELD,
        message_bits: int = 64,
        deep: bool = False,
        max_pixels: int = MAX_PIXELS_EACH,
    ) -> None:
        """Prepare to look.

        Args:
            keys: one or more keys, detector keys, or places of keys ("my.key", "env:NAME"); the most certain
                one's watermark is told. Without any, that of the public watermark.
            public: look for the public watermark too, and tell it in ``fm_public`` and ``fm_public_code``.
            image: the field of the image; None for the only one whose name ends like an image file's.
            field: where to tell it.
            message_bits: length of the messages to look for: 16, 32, 64, 96 or 128.
            deep: search longer, for images that somebody tried to clean; slow.
            max_pixels: images with more pixels than this are not decoded but are errors.

        Raises:
            KeyFormatError: if there is nothing to look for, or a file is no key; KeyNotFoundError if it is
                missing.
            InvalidMessageError: if ``message_bits`` is none of those lengths.
            TypeError: if one of ``keys`` is none.
        """
        self._look = Look.of(keys, public, message_bits, deep, max_pixels)
        self._image, self._field = image, field

    def __call__(self, sample: Sample) -> dict[str, Any]:
        """Return the sample with the field.

        Raises:
            IntegrationError: if it is not clear which field is the image.
        """
        told: Any = _columns(self._look, sample, self._image)
        if all(isinstance(value, bytes) for name, value in sample.items() if not name.startswith("_")):
            told = json.dumps(told).encode()  # decode() takes nothing but bytes
        return {**sample, self._field: told}


class Keep:
    """For ``.select(Keep(...))``: keeps samples by their watermarks.

    What :class:`Scan` told is used where it is there; otherwise the image is looked at.
    """

    def __init__(
        self,
        what: What = "trainable",
        keys: Keys = (),
        *,
        public: bool = True,
        drop: Iterable[str] | None = None,
        errors: Errors = "drop",
        image: str | None = None,
        field: str = FIELD,
        message_bits: int = 64,
        deep: bool = False,
        max_pixels: int = MAX_PIXELS_EACH,
    ) -> None:
        """Prepare to filter.

        Args:
            what: "trainable": samples without a watermark of ``keys``, whose public watermark says none of
                ``drop``; "unmarked": without any watermark; "marked": with one.
            keys: as of :class:`Scan`; not for samples that were scanned already.
            public: whether the public watermark counts.
            drop: flags of the public watermark that leave a sample out of what is trainable; by default
                "ai-generated", "do-not-train" and "do-not-train-generative". A public watermark that is
                there and cannot be read leaves it out too.
            errors: images that cannot be looked at are left out ("drop"), kept ("keep"), or end the run
                ("raise").
            image: as of :class:`Scan`.
            field: as of :class:`Scan`.
            message_bits: as of :class:`Scan`.
            deep: as of :class:`Scan`.
            max_pixels: as of :class:`Scan`.

        Raises:
            ValueError: if ``what``, ``drop`` or ``errors`` is none that is possible; else as :class:`Scan`.
        """
        self._rule = Rule.of(what, public, drop, errors)
        # with neither, it can still filter by what is told already
        self._look = Look.of(keys, public, message_bits, deep, max_pixels) if public or keys else None
        self._image, self._field = image, field

    def __call__(self, sample: Sample) -> bool:
        """Whether the sample is kept.

        Raises:
            IntegrationError: if it is not clear which field is the image, or keys were given for samples that
                were scanned already.
            InvalidImageError: if its image cannot be looked at, and that is to end the run.
        """
        if self._field in sample:
            if self._look is not None and self._look.keys:
                raise IntegrationError(
                    f"the samples were scanned already (field {self._field!r}): leave keys out to filter by"
                    " that, or name another field to look for other keys"
                )
            return self._rule.keeps(_told(sample[self._field], self._field))
        if self._look is None:
            raise IntegrationError("nothing to look for: give keys, or public=True, or scan first")
        return self._rule.keeps(_columns(self._look, sample, self._image))


def _columns(look: Look, sample: Sample, image: str | None) -> dict[str, Any]:
    """What is told of a sample's image."""
    fields = [name for name in sample if not name.startswith("__")]
    images = [name for name in fields if f".{name.rpartition('.')[2].lower()}" in IMAGE_ENDINGS]
    if image is not None and image in sample:
        return look(sample[image])
    if len(images) == 1 and image is None:
        return look(sample[images[0]])
    has = f"the sample {sample.get('__key__', '')!s} has the fields {', '.join(fields) or 'none'}"
    if images:  # a mistake of the caller rather than of this sample
        raise IntegrationError(f"{has}: name the image's with image=...")
    return look.failed(f"there is no image: {has}")


def _told(value: Any, field: str) -> Mapping[str, Any]:
    """What a scan told, as it comes from :class:`Scan`, from ``decode`` or from a tar."""
    try:
        told = json.loads(value) if isinstance(value, str | bytes) else value
    except ValueError:
        told = None
    if not isinstance(told, Mapping) or "fm_state" not in told:
        raise IntegrationError(f"the field {field!r} is not of a scan: name another with field=...")
    return told
