"""The verbs for many images: scan, and embed with folders, lists, tars or Parquet files."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fastmark._checks import MAX_PIXELS_EACH
from fastmark.cli.accompanying import companions_of
from fastmark.cli.codes import DONE, ERROR, INTERRUPTED, PARTLY, fail
from fastmark.cli.public import code_of
from fastmark.cli.single import embed_one, message_of
from fastmark.codec.key_places import load_key, load_secret_key
from fastmark.errors import FastmarkError, OutputError, SourceError

if TYPE_CHECKING:
    from fastmark.bulk import Summary


def scan(options: argparse.Namespace) -> int:
    """``fastmark scan``."""
    keys = [load_key(place) for place in options.key or ()]
    if options.address is not None and options.engine != "ray":
        raise FastmarkError("--address has no effect without --engine ray: add it, or leave --address out")

    from fastmark import bulk
    from fastmark.bulk.scanning import STATES, STDOUT

    to_stdout = options.output == STDOUT
    if to_stdout and options.force:
        raise OutputError("--force replaces a table, and -o - prints the rows: leave one of them out")
    summary = bulk.scan(
        options.inputs,
        options.output,
        keys,
        public=options.public,
        lists=options.list or (),
        message_bits=options.message_bits,
        deep=options.deep,
        hits_only=options.hits_only,
        column=options.column,
        max_pixels=options.max_pixels or MAX_PIXELS_EACH,
        workers=options.workers or 0,
        engine=options.engine,
        address=options.address,
        force=options.force,
        quiet=options.quiet,
    )
    return _end(summary, STATES, options, to_stdout=to_stdout)


def embed(options: argparse.Namespace) -> int:
    """``fastmark embed``, of one image or of many."""
    if not options.inputs and not options.list:
        raise SourceError("nothing to embed in: name an image, a folder, a tar, a Parquet file or a --list")
    if not _are_many(options):
        return embed_one(options)
    if options.output == "-":
        raise OutputError("many images go to a folder or a .tar, not to stdout: name one with -o")
    code = code_of(options)
    companions = companions_of(options, code)
    key, messages = None, None
    if options.key is not None:
        messages = message_of(options) if options.messages is None else options.messages
        key = load_secret_key(options.key)

    from fastmark import bulk
    from fastmark.bulk.embedding import STATES

    summary = bulk.embed(
        options.inputs,
        options.output,
        key,
        messages,
        lists=options.list or (),
        message_bits=options.message_bits,
        strength=options.strength,
        bind=options.bind,
        on_marked=options.on_marked,
        verify=options.verify,
        manifest=options.manifest,
        format=options.format,
        quality=options.quality,
        subsampling=options.subsampling,
        lossless=options.lossless,
        column=options.column,
        max_pixels=options.max_pixels or MAX_PIXELS_EACH,
        workers=options.workers or 0,
        force=options.force,
        quiet=options.quiet,
        companions=companions,
        public=code,
    )
    return _end(summary, STATES, options, to_stdout=False)


def _are_many(options: argparse.Namespace) -> bool:
    """Whether ``embed`` is meant for many images."""
    from fastmark.bulk.kinds import is_list, is_shard
    from fastmark.images.encoding import format_by_ending

    return (
        options.messages is not None
        or options.list is not None
        or len(options.inputs) > 1
        or os.path.isdir(options.inputs[0])
        or is_shard(options.inputs[0])
        or is_list(options.inputs[0])
        or (os.path.isdir(options.output) and format_by_ending(options.output) is None)
        or options.output.endswith(("/", os.sep))
        or options.output.lower().endswith(".tar")
    )


def _end(summary: Summary, states: Sequence[str], options: argparse.Namespace, *, to_stdout: bool) -> int:
    """Tell what came of it; the exit code."""
    talk = sys.stderr if to_stdout else sys.stdout
    if options.json:
        print(json.dumps(summary.to_dict()), file=talk)
    elif not options.quiet:
        print(summary.table(states), file=talk)
    if not summary.complete:
        rows = f"{summary.images} images are done" + (summary.output and f", rows in {summary.output}")
        how = "it cannot be resumed" if to_stdout else "run the same command again to resume"
        print(f"fastmark: stopped before the end: {rows}; {how}", file=sys.stderr)
        return INTERRUPTED
    if summary.errors:
        where = f"; see the `error` column of {summary.output}" if summary.output else ""
        fail(f"{summary.errors} of {summary.images} images failed{where}")
        return PARTLY
    return DONE if summary.images else _nothing()


def _nothing() -> int:
    fail("no image was found in the sources")
    return ERROR
