"""img2dataset: sidecar Parquet files that tell the watermarks of what it downloaded, by its keys.

It has no hook for pixels, so that its output is scanned afterwards, whichever of its formats that has::

    out/00000.tar, 00000.parquet, 00000_stats.json        webdataset
    out/00000/000000000.jpg, 00000.parquet, ...           files
    out/00000.parquet, 00000_stats.json                   parquet, with the images in a column
    out/fastmark/00000.parquet                            written here: key, fm_state, fm_public, ...
    out/fastmark/_scan.parquet, _scan.parquet.journal     the scan, which the same command resumes

Readers of Parquet take ``out/fastmark`` for one table, as they pass over names that begin with ``_``:
``pandas.read_parquet("out/fastmark")``, to be merged with the metadata by ``key``. Its columns are those of
``fastmark.integrations.collecting``; an image that could not be downloaded has no row.

From the command line: ``python -m fastmark.integrations.img2dataset out --key my.key``
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import posixpath
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from fastmark._checks import MAX_PIXELS_EACH, MESSAGE_BITS
from fastmark._imports import package
from fastmark.bulk import Summary
from fastmark.bulk import scan as scan_many
from fastmark.bulk.scanning import STATES
from fastmark.bulk.storage import file_system, is_url, open_input, printable, unwritable
from fastmark.bulk.tables import write_table
from fastmark.errors import FastmarkError, SourceError, SourceNotFoundError, one_line
from fastmark.integrations.collecting import Keys, Look

Format = Literal["webdataset", "files", "parquet"]

FOLDER, TABLE = "fastmark", "_scan.parquet"
_SHARD = re.compile(r"\d+")
_COLUMNS_OF_IMAGES = ("jpg", "png", "webp")  # encode_format of img2dataset
_NO_IMAGE = "holds no image"  # of a row that could not be downloaded
_TOLD = {
    "fm_state": "state",
    "fm_log10_p": "log10_p",
    "fm_key": "key_id",
    "fm_message": "message",
    "fm_public": "public_says",
    "fm_public_code": "public",
    "fm_error": "error",
}
"""Columns of a sidecar, and of the table of a scan."""

DONE, ERROR, PARTLY, INTERRUPTED = 0, 2, 3, 130
"""Exit codes, as of ``fastmark scan``."""


@dataclass(frozen=True, slots=True)
class _Output:
    """What img2dataset has finished.

    Attributes:
        format: of all shards.
        shards: path or URL of each by its name, "00000": a tar, a folder, or a Parquet file.
        unfinished: the names of others, which it has not finished.
    """

    format: Format
    shards: dict[str, str]
    unfinished: tuple[str, ...]


def scan(
    output: str | os.PathLike[str],
    keys: Keys = (),
    *,
    public: bool = True,
    message_bits: int = 64,
    deep: bool = False,
    max_pixels: int = MAX_PIXELS_EACH,
    workers: int = 0,
    force: bool = False,
    quiet: bool = True,
) -> Summary:
    """Look for watermarks in the output of img2dataset, and write a sidecar for each of its shards.

    The same call again resumes one that was stopped, and scans only shards that are new or have changed.
    Sidecars are written at the end, of all shards that could be read to theirs; those of shards that are no
    more are removed.

    A script must call this under ``if __name__ == "__main__"``: its worker processes import the script.

    Args:
        output: the ``output_folder`` of img2dataset, or its URL.
        keys: one or more keys, detector keys, or places of keys ("my.key", "env:NAME"); a row tells the most
            certain one's watermark. Without any, rows are of the public watermark.
        public: look for the public watermark too, and tell it in ``fm_public`` and ``fm_public_code``.
        message_bits: length of the messages to look for: 16, 32, 64, 96 or 128.
        deep: search longer, for images that somebody tried to clean; slow.
        max_pixels: images with more pixels than this are not decoded but are errors.
        workers: processes; 0 for one per core.
        force: start over.
        quiet: print nothing; otherwise progress goes to stderr where that is a terminal.

    Returns:
        The counts of images per state, as ``fastmark.bulk.scan``; what was not downloaded is not counted.

    Raises:
        SourceError: if there is no shard, or its format is not read; SourceNotFoundError if it is missing.
        KeyFormatError: if there is nothing to look for, or a file is no key; KeyNotFoundError if it is
            missing.
        OutputError: if something cannot be written, or was started with different settings.
        MissingPackageError: without pyarrow, or without fsspec for a URL.
    """
    package("pyarrow.parquet", "sidecars")
    look = Look.of(keys, public, message_bits, deep, max_pixels)
    place = os.fspath(output).rstrip("/") or "/"
    found = _find(place)
    folder = f"{place}/{FOLDER}"
    _make(folder)
    summary = scan_many(
        list(found.shards.values()),
        f"{folder}/{TABLE}",
        look.keys,
        public=look.public,
        message_bits=message_bits,
        deep=deep,
        column=_column_of_images(found) if found.format == "parquet" else None,
        max_pixels=max_pixels,
        workers=workers,
        force=force,
        quiet=quiet,
    )
    if found.unfinished:
        summary.remarks.append(
            f"shards that img2dataset has not finished (no _stats.json), left out: {_shown(found.unfinished)}"
        )
    if summary.complete:
        _write(found, folder, look, summary)
    return summary


# ---- what there is -----------------------------------------------------------------------------------------


def _find(place: str) -> _Output:
    names = _names(place)
    finished = {name.removesuffix("_stats.json") for name in names if name.endswith("_stats.json")}

    def those(ending: str) -> set[str]:
        stems = {name.removesuffix(ending) for name in names if name.endswith(ending)}
        return {stem for stem in stems if _SHARD.fullmatch(stem)}

    if those(".tfrecord"):
        raise SourceError(
            f"{printable(place)} has the format tfrecord, which is not read: have img2dataset write"
            " webdataset, parquet or files"
        )
    # NOTE: beside tars and folders, Parquet files are metadata alone
    formats: dict[Format, str] = {"webdataset": ".tar", "files": "", "parquet": ".parquet"}
    kind = next((kind for kind, ending in formats.items() if those(ending)), None)
    if kind is None:
        raise SourceError(
            f"{printable(place)} has no shard (00000.tar, 00000/ or 00000.parquet): name an output_folder of"
            " img2dataset"
        )
    ending = formats[kind]
    shards = those(ending)
    # without any statistics, somebody has removed them
    ready = sorted(shards & finished if finished else shards)
    if not ready:
        raise SourceError(f"no shard of {printable(place)} is finished: run this after img2dataset")
    paths = {name: f"{place}/{name}{ending}" for name in ready}
    return _Output(kind, paths, tuple(sorted(shards - set(ready))))


def _names(place: str) -> list[str]:
    """The names in a folder."""
    try:
        if is_url(place):
            remote, inner = file_system(place)
            return [posixpath.basename(path.rstrip("/")) for path in remote.ls(inner, detail=False)]
        return os.listdir(place)  # noqa: PTH208  # names are wanted
    except FileNotFoundError:
        raise SourceNotFoundError(f"{printable(place)}: no such folder") from None
    except FastmarkError:
        raise
    except OSError as error:
        raise SourceError(f"{printable(place)} cannot be read: {one_line(error)}") from None


def _column_of_images(found: _Output) -> str:
    """The column of encoded images, which has the name of their format."""
    path = next(iter(found.shards.values()))
    names = _parquet(path, None)
    for name in _COLUMNS_OF_IMAGES:
        if name in names:
            return name
    raise SourceError(
        f"{printable(path)} has no column of images ({', '.join(_COLUMNS_OF_IMAGES)}): it is not of the"
        " format parquet, and there is no tar or folder beside it"
    )


def _parquet(path: str, columns: list[str] | None) -> Any:
    """Some columns of a Parquet file as rows; None for the names of all."""
    parquet: Any = package("pyarrow.parquet", "sidecars")
    try:
        with open_input(path) as file:
            table = parquet.ParquetFile(file)
            names = table.schema_arrow.names
            if missing := set(columns or ()) - set(names):
                raise SourceError(f"{printable(path)} is not of img2dataset: it has no {', '.join(missing)}")
            return names if columns is None else table.read(columns).to_pylist()
    except FastmarkError:
        raise
    except (OSError, ValueError) as error:  # pyarrow's own are of these
        raise SourceError(f"{printable(path)} cannot be read: {one_line(error)}") from None


# ---- sidecars ----------------------------------------------------------------------------------------------


def _write(found: _Output, folder: str, look: Look, summary: Summary) -> None:
    """Write the sidecars, and count in the summary what they have."""
    columns = {"key": "string"} | {
        name: "float64" if name == "fm_log10_p" else "string" for name in look.columns
    }
    of_source = {printable(path): name for name, path in found.shards.items()}
    failed = 0
    empty, written, broken = set(found.shards), set(), []

    def shard_of(row: Mapping[str, Any]) -> str:
        source = row["source"]
        return of_source[posixpath.dirname(source) if found.format == "files" else source]

    for name, group in itertools.groupby(_rows(f"{folder}/{TABLE}"), shard_of):
        rows = list(group)
        empty.discard(name)
        if found.format != "files" and any(row["member"] is None for row in rows):
            broken.append(name)  # it cannot be read to its end: the row says why
            continue
        if found.format == "parquet":
            there = len(rows)
            rows = list(_with_keys(rows, _parquet(found.shards[name], ["key"])))
            failed += there - len(rows)
        else:
            rows = [{**row, "key": _key(row["member"] or row["source"])} for row in rows]
        told = ({"key": row["key"]} | {at: row[of] for at, of in _TOLD.items()} for row in rows)
        write_table(f"{folder}/{name}.parquet", columns, sorted(told, key=lambda row: row["key"]))
        written.add(name)
    for name in empty:  # nothing of it could be downloaded
        write_table(f"{folder}/{name}.parquet", columns, ())
    _remove_others(folder, written | empty)
    if failed:
        summary.counts["error"] -= failed
        if not summary.counts["error"]:
            del summary.counts["error"]
    if broken:
        summary.remarks.append(
            f"shards that cannot be read to their end, without a sidecar: {_shown(broken)}"
        )


def _shown(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f", and {len(names) - 5} more" if len(names) > 5 else "")


def _rows(table: str) -> Iterator[dict[str, Any]]:
    parquet: Any = package("pyarrow.parquet", "sidecars")
    with open_input(table) as file:
        for batch in parquet.ParquetFile(file).iter_batches():
            yield from batch.to_pylist()


def _key(member: str) -> str:
    """The key of a sample by the name of its file: up to the first dot."""
    return posixpath.basename(member).partition(".")[0]


def _with_keys(rows: Sequence[dict[str, Any]], keys: Sequence[Mapping[str, str]]) -> Iterator[dict[str, Any]]:
    """Rows of a Parquet file with their keys, without those of images that were not downloaded."""
    for row in rows:
        if not (row["state"] == "error" and row["error"].endswith(_NO_IMAGE)):
            yield {**row, "key": keys[int(row["member"].partition("/")[0])]["key"]}


def _make(folder: str) -> None:
    try:
        if is_url(folder):
            remote, inner = file_system(folder)
            remote.makedirs(inner, exist_ok=True)
        else:
            Path(folder).mkdir(exist_ok=True)
    except OSError as error:
        raise unwritable(folder, error) from error


def _remove_others(folder: str, written: set[str]) -> None:
    """Remove sidecars of shards that are no more, or are broken: their keys may stand for other images."""
    for name in _names(folder):
        stem = name.removesuffix(".parquet")
        if stem != name and _SHARD.fullmatch(stem) and stem not in written:
            if is_url(folder):
                remote, inner = file_system(folder)
                remote.rm_file(f"{inner}/{name}")
            else:
                Path(folder, name).unlink(missing_ok=True)


# ---- the command line --------------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; ``arguments`` default to those of the process. Returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        summary = scan(
            options.output,
            options.key,
            public=options.public,
            message_bits=options.message_bits,
            deep=options.deep,
            max_pixels=options.max_pixels,
            workers=options.workers,
            force=options.force,
            quiet=options.quiet,
        )
    except (FastmarkError, ValueError, OSError) as error:
        print(f"fastmark: error: {one_line(error)}", file=sys.stderr)
        return ERROR
    if options.json:
        print(json.dumps(summary.to_dict()))
    elif not options.quiet:
        print(summary.table(STATES))
    if not summary.complete:
        print(
            "fastmark: stopped before the end, no sidecar is written: run the same command again to resume",
            file=sys.stderr,
        )
        return INTERRUPTED
    if summary.errors:
        print(
            f"fastmark: error: {summary.errors} of {summary.images} images failed; see the column fm_error",
            file=sys.stderr,
        )
        return PARTLY
    return DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m fastmark.integrations.img2dataset",
        description="Look for watermarks in the output of img2dataset; write a table by key for each shard.",
        epilog="exit codes: 0 done, whatever was found; 2 error; 3 some images could not be read;"
        " 130 stopped: run the same command again to resume",
        allow_abbrev=False,
    )
    parser.add_argument("output", metavar="OUT", help="the output_folder of img2dataset, or its URL")
    parser.add_argument(
        "--key",
        action="append",
        default=[],
        metavar="FILE",
        help="key file, or env:NAME for a variable that holds a key file's text; a detector key will do; may"
        " be repeated; without one, the public watermark alone is looked for",
    )
    parser.add_argument(
        "--public",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="look for the public watermark",
    )
    parser.add_argument(
        "--message-bits", type=int, choices=MESSAGE_BITS, default=64, help="length of the messages"
    )
    parser.add_argument("--deep", action="store_true", help="search harder, for tampered images; slow")
    parser.add_argument(
        "--max-pixels", type=int, default=MAX_PIXELS_EACH, metavar="N", help="refuse images with more pixels"
    )
    parser.add_argument(
        "--workers", type=int, default=0, metavar="N", help="processes; default: one per core"
    )
    parser.add_argument("--force", action="store_true", help="start over")
    parser.add_argument("--json", action="store_true", help="print the summary as one JSON object")
    parser.add_argument("--quiet", action="store_true", help="print no progress and no summary")
    return parser


if __name__ == "__main__":
    sys.exit(main())
