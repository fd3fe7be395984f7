"""Parquet files: which of their columns hold images, and the images row by row.

A column is one of bytes, or a struct or list that holds bytes, however deep. Of several columns those are
taken whose values begin like images. Nothing is read whole: 16 rows of the columns that are wanted at a time.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from fastmark._imports import package
from fastmark.bulk.storage import open_input, printable
from fastmark.errors import FastmarkError, SourceError
from fastmark.images.formats import PREFIX_BYTES, format_by_prefix

_ROWS = 16
_LEAST_BYTES = 64
"""Values of a fixed size of so many bytes or fewer are hashes and identifiers."""

_USUAL = frozenset(
    {"image", "images", "img", "picture", "photo", "image_bytes", "bytes", "content", "data"}
    | {"jpg", "jpeg", "png", "webp", "avif", "tiff"}
)

_EACH = None
"""The step of a path from a list to its items; others are names of fields."""


@dataclass(frozen=True, slots=True)
class Column:
    """Where in a row there are bytes.

    Attributes:
        steps: from the row: names of a column and of fields in it, and ``None`` from a list to its items.
        fixed: whether it holds values of one size, too small for images.
    """

    steps: tuple[str | None, ...]
    fixed: bool = False

    @property
    def top(self) -> str:
        """The name of the column of the table."""
        assert self.steps[0] is not None
        return self.steps[0]

    @property
    def name(self) -> str:
        """The names on the way, with dots."""
        return ".".join(step for step in self.steps if step is not _EACH)

    @property
    def in_lists(self) -> bool:
        """Whether a row may hold several."""
        return _EACH in self.steps

    @property
    def wanted(self) -> str:
        """The name to ask pyarrow for: names of fields in lists depend on the writer of the file."""
        return self.top if self.in_lists else self.name


class Cell(NamedTuple):
    """One image of a row.

    Attributes:
        row: its number, from 0.
        label: the names that tell it from others of the row, of columns and numbers in lists; empty if a
            row has but one.
        value: pyarrow's buffer; None where the row holds no image at all.
    """

    row: int
    label: tuple[str, ...]
    value: Any | None


def columns_of(schema: Any, *, every: bool = False) -> list[Column]:
    """Where a row of an Arrow schema has bytes that may be images.

    Args:
        schema: of pyarrow.
        every: also values too short for images, and fields of a struct beside its ``bytes``.
    """
    found = (
        Column((field.name, *steps), fixed) for field in schema for steps, fixed in _ways(field.type, every)
    )
    return [column for column in found if every or not column.fixed]


def _ways(kind: Any, every: bool) -> Iterator[tuple[tuple[str | None, ...], bool]]:
    """The ways from a value of an Arrow type to bytes, and whether those are of a fixed small size."""
    types = package("pyarrow.types", "Parquet")
    if hasattr(kind, "storage_type"):  # of an extension
        yield from _ways(kind.storage_type, every)
    elif types.is_dictionary(kind):
        yield from _ways(kind.value_type, every)
    elif types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind):
        yield (), False
    elif types.is_fixed_size_binary(kind):
        yield (), kind.byte_width <= _LEAST_BYTES
    elif types.is_struct(kind):
        inner = {field.name: list(_ways(field.type, every)) for field in kind}
        if inner.get("bytes") and not every:  # as of Hugging Face's datasets
            inner = {"bytes": inner["bytes"]}
        for name, ways in inner.items():
            for steps, fixed in ways:
                yield (name, *steps), fixed
    elif types.is_map(kind):
        for steps, fixed in _ways(kind.item_type, every):
            yield (_EACH, kind.item_field.name, *steps), fixed
    elif any(is_list(kind) for is_list in _lists(types)):
        for steps, fixed in _ways(kind.value_type, every):
            yield (_EACH, *steps), fixed


def _lists(types: Any) -> list[Any]:
    names = ("is_list", "is_large_list", "is_fixed_size_list", "is_list_view", "is_large_list_view")
    return [getattr(types, name) for name in names if hasattr(types, name)]


def choose(file: Any, column: str | None) -> list[Column]:
    """The columns of a ``ParquetFile`` that hold images.

    Args:
        file: opened.
        column: its name, with dots down to a field; None to find it.

    Raises:
        SourceError: if there is none, or several are equally likely.
    """
    found = columns_of(file.schema_arrow)
    if column is not None:
        found = _of_name(file.schema_arrow, column)
    elif not found:
        raise SourceError("no column is of bytes, so that none can hold images")
    if len(found) == 1 or not file.metadata.num_rows:
        return found
    looking = [each for each in found if _begins_like_images(file, each)]
    usual = found if column is not None else [each for each in found if each.top.lower() in _USUAL]
    if not looking and not usual:
        names = ", ".join(each.name for each in found)
        raise SourceError(
            f"several columns are of bytes ({names}) and none begins like an image: name the images' with"
            " --column"
        )
    return looking or usual


def _of_name(schema: Any, column: str) -> list[Column]:
    """The columns that a name means: itself, or all below it."""
    every = columns_of(schema, every=True)
    found = [each for each in every if each.name == column]
    if not found:
        found = [each for each in columns_of(schema) if each.name.startswith(f"{column}.")]
    if not found:
        names = ", ".join(each.name for each in every) or "none"
        raise SourceError(f"no column {printable(column)!r} of bytes; of bytes are: {names}")
    return found


def check_columns(path: str, column: str | None) -> None:
    """Raise SourceError for a Parquet file without a column that could be one of images.

    A damaged file passes: it is reported when it is read.

    Raises:
        MissingPackageError: without pyarrow.
    """
    parquet = package("pyarrow.parquet", "Parquet")
    try:
        with open_input(path) as file:
            opened = parquet.ParquetFile(file)
            schema, rows = opened.schema_arrow, opened.metadata.num_rows
            if column is not None:
                _of_name(schema, column)
            elif rows and not columns_of(schema):
                raise SourceError("no column is of bytes: it holds no images")
    except SourceError as error:
        raise SourceError(f"{printable(path)}: {error}") from None
    except FastmarkError:
        raise
    except Exception:  # any damage; a store's own exceptions
        return


def has_columns(path: str) -> bool:
    """Whether a Parquet file has a column that could be one of images; if in doubt, it has."""
    try:
        parquet = package("pyarrow.parquet", "Parquet")
        with open_input(path) as file:
            return bool(columns_of(parquet.ParquetFile(file).schema_arrow))
    except Exception:  # reported when it is read: a missing package, any damage
        return True


# ---- values ----------------------------------------------------------------------------------------


def cells(file: Any, columns: Sequence[Column]) -> Iterator[Cell]:
    """The images of all rows, in order, and for each row without any a cell without a value."""
    tops = [column.top for column in columns]
    names = [column.top if tops.count(column.top) == 1 else column.name for column in columns]
    row = 0
    for batch in _batches(file, columns):
        arrays = [batch.column(_index(batch, column)) for column in columns]
        for i in range(batch.num_rows):
            empty = True
            for column, name, array in zip(columns, names, arrays, strict=True):
                for places, value in _values(array, i, column.steps[1:]):
                    empty = False
                    yield Cell(row, ((name,) if len(columns) > 1 else ()) + places, value)
            if empty:
                yield Cell(row, (), None)
            row += 1


def _batches(file: Any, columns: Sequence[Column], **options: Any) -> Iterator[Any]:
    wanted = list(dict.fromkeys(column.wanted for column in columns))
    return iter(file.iter_batches(batch_size=_ROWS, columns=wanted, use_threads=False, **options))


def _index(batch: Any, column: Column) -> int:
    index: int = batch.schema.get_field_index(column.top)
    if index < 0:
        raise SourceError(f"two columns have the name {column.top!r}: write the file again with other names")
    return index


def _values(
    array: Any, i: int, steps: Sequence[str | None], places: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The values that are not null of an array's place ``i``, with their numbers in lists."""
    array = getattr(array, "storage", array)  # of an extension
    scalar = array[i]
    if not scalar.is_valid:
        return
    if not steps:
        scalar = getattr(scalar, "value", scalar)  # of a dictionary
        if scalar.is_valid:
            yield places, scalar.as_buffer()
    elif steps[0] is not _EACH:
        yield from _values(array.field(steps[0]), i, steps[1:], places)
    else:
        items = scalar.values
        for k in range(0 if items is None else len(items)):
            yield from _values(items, k, steps[1:], (*places, str(k)))


def _begins_like_images(file: Any, column: Column) -> bool:
    """Whether most of the first values that a column has begin like images."""
    groups = [g for g in range(file.metadata.num_row_groups) if not _is_null(file.metadata, g, column)]
    for group in groups:  # one at a time: only the first that has a value is read from
        for batch in _batches(file, [column], row_groups=[group]):
            array = batch.column(_index(batch, column))
            values = (
                value for i in range(batch.num_rows) for _, value in _values(array, i, column.steps[1:])
            )
            starts = [
                value.slice(0, min(value.size, PREFIX_BYTES)).to_pybytes()
                for value in itertools.islice(values, _ROWS)
            ]
            if starts:
                return 2 * sum(format_by_prefix(start) is not None for start in starts) >= len(starts)
    return False


def _is_null(metadata: Any, group: int, column: Column) -> bool:
    """Whether a row group is known to have no value of a column."""
    about = metadata.row_group(group)
    for k in range(about.num_columns):
        chunk = about.column(k)
        if chunk.path_in_schema == column.name:
            counted = chunk.statistics
            return bool(
                counted is not None and counted.has_null_count and counted.null_count == about.num_rows
            )
    return False
