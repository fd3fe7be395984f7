"""Tables: rows written as JSON Lines, CSV or Parquet, whole or not at all."""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import IO, Any

from fastmark._imports import package
from fastmark.bulk.storage import check_folder_of, open_output, printable
from fastmark.errors import OutputError

ENDINGS = (".jsonl", ".csv", ".parquet")
Columns = Mapping[str, str]
"""Names of columns and their types, as pyarrow names them."""

SCAN_COLUMNS: Columns = {
    "source": "string",
    "member": "string",
    "width": "int32",
    "height": "int32",
    "state": "string",
    "log10_p": "float64",
    "p_value": "float64",
    "key_id": "string",
    "message": "string",
    "message_bits": "int32",
    "message_log10_p": "float64",
    "margin": "float64",
    "scale": "float64",
    "rotation_deg": "float64",
    "aspect": "float64",
    "mirrored": "bool",
    "inverted": "bool",
    "binding": "string",
    "binding_log_ratio": "float64",
    "made_with": "string",
    "remarks": "string",
    "ms": "float64",
    "error": "string",
    "public": "string",
    "public_says": "string",
}
"""Of a scan: where the image is, every key of ``Detection.to_dict``, the time it took, and what the public
watermark says, if it was looked for.

Files of their own have no ``member``; where there is an error, the other columns are empty.
"""

MANIFEST_COLUMNS: Columns = {
    "source": "string",
    "member": "string",
    "output": "string",
    "width": "int32",
    "height": "int32",
    "state": "string",
    "message": "string",
    "psnr_db": "float64",
    "strength": "float64",
    "tones": "int32",
    "pixels_per_unit": "int32",
    "margin_message": "float64",
    "margin_jpeg": "float64",
    "margin_pilot": "float64",
    "survival_jpeg": "float64",
    "survival_half": "float64",
    "survival_crop": "float64",
    "survival_screenshot": "float64",
    "action": "string",
    "earlier_message": "string",
    "verified_log10_p": "float64",
    "manifest_id": "string",
    "key_id": "string",
    "warnings": "string",
    "ms": "float64",
    "error": "string",
    "public": "string",
    "margin_public": "float64",
    "earlier_public": "string",
}
"""Of embedding: every key of ``EmbedReport.to_dict`` too; its margins are predicted for the pixels before
encoding.
"""


def check_table(path: str) -> None:
    """Raise unless a table can be written there: OutputError, or MissingPackageError for Parquet."""
    _ending(path)
    check_folder_of(path)
    if path.endswith(".parquet"):
        package("pyarrow.parquet", "writing Parquet")


def write_table(path: str, columns: Columns, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write rows in the format that the ending names; the number of rows.

    Raises:
        OutputError: if it cannot be written; then nothing has changed.
    """
    write = {".jsonl": _write_jsonl, ".csv": _write_csv, ".parquet": _write_parquet}[_ending(path)]
    count = itertools.count()
    with open_output(path) as file:
        write(file, columns, (row for row, _ in zip(rows, count, strict=False)))
    return next(count)


def json_line(row: Mapping[str, Any], columns: Columns) -> str:
    """One row, with all columns, as a line of JSON in ASCII."""
    return json.dumps({name: row.get(name) for name in columns}) + "\n"


def _ending(path: str) -> str:
    ending = PurePosixPath(path).suffix.lower()
    if ending not in ENDINGS:
        raise OutputError(f"{printable(path)}: a table is written as one of {', '.join(ENDINGS)}")
    return ending


def _write_jsonl(file: IO[bytes], columns: Columns, rows: Iterator[Mapping[str, Any]]) -> None:
    for row in rows:
        file.write(json_line(row, columns).encode())


def _write_csv(file: IO[bytes], columns: Columns, rows: Iterator[Mapping[str, Any]]) -> None:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=False)
    writer = csv.DictWriter(text, list(columns), restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _csv_value(value) for name, value in row.items()})
    text.flush()
    text.detach()


def _csv_value(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value


def arrow_schema(columns: Columns) -> Any:
    """The columns as a schema of pyarrow."""
    pyarrow = package("pyarrow", "Parquet")
    types = {"string": pyarrow.string(), "int32": pyarrow.int32(), "float64": pyarrow.float64()}
    types["bool"] = pyarrow.bool_()
    return pyarrow.schema([(name, types[kind]) for name, kind in columns.items()])


def _write_parquet(file: IO[bytes], columns: Columns, rows: Iterator[Mapping[str, Any]]) -> None:
    pyarrow = package("pyarrow", "writing Parquet")
    parquet = package("pyarrow.parquet", "writing Parquet")
    schema = arrow_schema(columns)
    with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        while chunk := list(itertools.islice(rows, 10_000)):
            writer.write_table(pyarrow.Table.from_pylist(chunk, schema=schema))
