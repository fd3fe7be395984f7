"""Hugging Face ``datasets``: columns that tell the watermark of every image, and filters by them.

>>> from fastmark.integrations.datasets import Keep, Scan
>>> ds = ds.cast_column("image", Image(decode=False))  # doctest: +SKIP
>>> ds = ds.map(Scan("my.key"), batched=True, num_proc=4)  # doctest: +SKIP
>>> ds = ds.filter(Keep("trainable"))  # doctest: +SKIP

Both are called by ``map`` and ``filter`` of a Dataset or an IterableDataset, with ``batched=True`` or
without. Their pickles, and so the names of cache files, which hash them, are the same in every process.
``datasets`` itself is imported where an image lies at a URL or in an archive.

Columns are those of ``fastmark.integrations.collecting``, but where there is nothing to tell, texts are empty
and numbers not a number: ``datasets`` takes the type of a column from its first thousand values, and cannot
if all of them are None.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

from PIL.Image import Image as PillowImage

from fastmark._checks import MAX_PIXELS_EACH
from fastmark._imports import package
from fastmark._version import VERSION
from fastmark.errors import IntegrationError, InvalidImageError, one_line, reason_of
from fastmark.images.reading import most_bytes, too_large
from fastmark.integrations.collecting import NUMBER, STATE, Errors, Keys, Look, Rule, What

Batch = Mapping[str, Any]


class Scan:
    """For ``ds.map(Scan(...), batched=True, num_proc=N)``: adds the columns ``fm_...``.

    An image that cannot be looked at has the state "error", and the reason in ``fm_error``.
    """

    def __init__(
        self,
        keys: Keys = (),
        *,
        public: bool = True,
        column: str = "image",
        message_bits: int = 64,
        deep: bool = False,
        max_pixels: int = MAX_PIXELS_EACH,
    ) -> None:
        """Prepare to look.

        Args:
            keys: one or more keys, detector keys, or places of keys ("my.key", "env:NAME"); a row tells the
                most certain one's watermark. Without any, rows are of the public watermark.
            public: look for the public watermark too, and tell it in ``fm_public`` and ``fm_public_code``.
            column: of images: best cast to ``Image(decode=False)``, which is then decoded once, here, and
                where a damaged image is no end of the run. Decoded images, bytes and paths are taken too.
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
        self._column = column

    def __repr__(self) -> str:
        """Name the keys by their ids."""
        return f"Scan({_shown(self._look)}, column={self._column!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle what was asked for, and the version, so that no other one takes its cached results."""
        return _scan, (VERSION, self._look, self._column)

    def __call__(self, batch: Batch) -> dict[str, Any]:
        """Return the columns of a batch, or of one row.

        Raises:
            IntegrationError: if there is no such column of images.
        """
        rows, batched = _looked(self._look, batch, self._column)
        columns = {name: [_filled(name, row[name]) for row in rows] for name in self._look.columns}
        return columns if batched else {name: values[0] for name, values in columns.items()}


class Keep:
    """For ``ds.filter(Keep(...))``: keeps images by their watermarks.

    The columns of :class:`Scan` are used where they are there; otherwise the images are looked at.
    """

    def __init__(
        self,
        what: What = "trainable",
        keys: Keys = (),
        *,
        public: bool = True,
        drop: Iterable[str] | None = None,
        errors: Errors = "drop",
        column: str = "image",
        message_bits: int = 64,
        deep: bool = False,
        max_pixels: int = MAX_PIXELS_EACH,
    ) -> None:
        """Prepare to filter.

        Args:
            what: "trainable": images without a watermark of ``keys``, whose public watermark says none of
                ``drop``; "unmarked": without any watermark; "marked": with one.
            keys: as of :class:`Scan`; not for a dataset that has its columns already.
            public: whether the public watermark counts.
            drop: flags of the public watermark that leave an image out of what is trainable; by default
                "ai-generated", "do-not-train" and "do-not-train-generative". A public watermark that is
                there and cannot be read leaves it out too.
            errors: images that cannot be looked at are left out ("drop"), kept ("keep"), or end the run
                ("raise").
            column: as of :class:`Scan`.
            message_bits: as of :class:`Scan`.
            deep: as of :class:`Scan`.
            max_pixels: as of :class:`Scan`.

        Raises:
            ValueError: if ``what``, ``drop`` or ``errors`` is none that is possible; else as :class:`Scan`.
        """
        self._rule = Rule.of(what, public, drop, errors)
        # with neither, it can still filter by columns
        self._look = Look.of(keys, public, message_bits, deep, max_pixels) if public or keys else None
        self._column = column

    def __repr__(self) -> str:
        """Name the keys by their ids."""
        return f"Keep({self._rule.what!r}, {_shown(self._look)}, column={self._column!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle what was asked for, as :class:`Scan`."""
        return _keep, (VERSION, self._rule, self._look, self._column)

    def __call__(self, batch: Batch) -> list[bool] | bool:
        """Whether each image of a batch is kept, or that of one row.

        Raises:
            IntegrationError: if there is no such column of images, or keys were given for a dataset with the
                columns of a scan.
            InvalidImageError: if an image cannot be looked at, and that is to end the run.
        """
        if STATE in _names(batch):
            if self._look is not None and self._look.keys:
                raise IntegrationError(
                    f"the dataset has the columns of a scan already ({STATE}, ...): leave keys out to filter"
                    " by them, or remove those columns to look for other keys"
                )
            rows, batched = _told(batch)
        elif self._look is None:
            raise IntegrationError("nothing to look for: give keys, or public=True, or scan first")
        else:
            rows, batched = _looked(self._look, batch, self._column)
        kept = [self._rule.keeps(columns) for columns in rows]
        return kept if batched else kept[0]


def _scan(version: str, look: Look, column: str) -> Scan:
    scan = Scan.__new__(Scan)
    scan._look, scan._column = look, column
    return scan


def _keep(version: str, rule: Rule, look: Look | None, column: str) -> Keep:
    keep = Keep.__new__(Keep)
    keep._rule, keep._look, keep._column = rule, look, column
    return keep


def _shown(look: Look | None) -> str:
    keys = ", ".join(key.id for key in look.keys) if look else ""
    return f"keys=[{keys}], public={look is not None and look.public}"


# ---- images and columns of a batch -------------------------------------------------------------------------


def _filled(name: str, value: Any) -> Any:
    """A value of a column, of the column's type where there is nothing to tell."""
    if value is not None:
        return value
    return math.nan if name == NUMBER else ""


def _looked(look: Look, batch: Batch, column: str) -> tuple[list[dict[str, Any]], bool]:
    """The columns of every image of a batch, or of that of a row; and whether it is a batch."""
    if column not in _names(batch):
        raise IntegrationError(
            f"the dataset has no column {column!r}: it has {', '.join(map(repr, _names(batch)))};"
            " name the images' with column=..."
        )
    values, batched = _listed(batch[column])
    rows = []
    for value in values:
        try:
            rows.append(look(_image(value, most_bytes(look.max_pixels))))
        except InvalidImageError as error:
            rows.append(look.failed(one_line(error)))
    return rows, batched


def _told(batch: Batch) -> tuple[list[dict[str, Any]], bool]:
    """The columns of a scan, row by row; and whether there are several."""
    names = [name for name in batch if name.startswith("fm_")]
    columns = [_listed(batch[name])[0] for name in names]
    rows = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
    return rows, _listed(batch[STATE])[1]


def _names(batch: Batch) -> list[str]:
    if not isinstance(batch, Mapping):
        raise IntegrationError(
            f"the dataset has a format, by which its batches are of {type(batch).__name__}: scan it without"
            " one (ds.with_format(None)), and give it its format again"
        )
    return list(batch)


def _listed(values: Any) -> tuple[list[Any], bool]:
    """The values of a column of a batch, or of a row; and whether it is a batch."""
    if isinstance(values, list | tuple):
        return list(values), True
    if hasattr(values, "dtype") and hasattr(values, "ndim"):  # of NumPy, or a tensor
        if values.ndim == 1:
            return list(values), True
        if values.ndim:
            raise IntegrationError(
                "the dataset has a format, by which its images are arrays: scan it without one"
                " (ds.with_format(None)), and give it its format again"
            )
    return [values], False


def _image(value: Any, limit: int) -> Any:
    """What a column of images holds, as :class:`Look` takes it.

    Raises:
        InvalidImageError: if it lies elsewhere, and cannot be fetched.
    """
    if isinstance(value, Mapping):
        value = value.get("path") if value.get("bytes") is None else value["bytes"]
    if isinstance(value, str):
        return _fetched(value, limit) if "://" in value else value
    if isinstance(value, PillowImage):
        warnings.warn(
            "the images were decoded by datasets already, where a damaged one ends the run: cast the column"
            ' to Image(decode=False) before (ds.cast_column("image", datasets.Image(decode=False)))',
            UserWarning,
            stacklevel=2,
        )
    return value


def _fetched(place: str, limit: int) -> bytes:
    """The bytes of an image at a URL, or in an archive: "zip://a.jpg::https://host/b.zip"."""
    xopen = package("datasets.utils.file_utils", "images that are not on this machine", "datasets").xopen
    try:
        with xopen(place, "rb") as file:
            data: bytes = file.read(limit + 1)
    except Exception as error:  # of whichever store it lies in
        raise InvalidImageError(f"{place} cannot be read: {reason_of(error)}") from None
    if len(data) > limit:
        raise InvalidImageError(too_large(len(data), limit))
    return data
