"""The verbs for single pictures, keys and the installation."""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from typing import TYPE_CHECKING, Any

from fastmark.cli.codes import DONE, ERROR, NOT_FOUND, fail
from fastmark.errors import FastmarkError, InvalidImageError, KeyFormatError, OutputError, one_line
from fastmark.notation import parse_message

if TYPE_CHECKING:
    from fastmark import Detection, EmbedReport, Key

JSON_SCHEMA = 1


def load_key(place: str) -> Key:
    """The key of a file, or of the variable NAME where ``place`` is env:NAME."""
    from fastmark import Key

    if not place.startswith("env:"):
        return Key.load(place)
    name = place.removeprefix("env:")
    text = os.environ.get(name)
    if text is None:
        raise KeyFormatError(f"the environment variable {name} is not set")
    try:
        return Key.from_text(text)
    except KeyFormatError as error:
        raise KeyFormatError(f"{place}: {error}") from None


def _read_input(path: str) -> str | bytes:
    """A path as it is, for ``-`` all of stdin."""
    if path != "-":
        return path
    if sys.stdin and (data := sys.stdin.buffer.read()):  # None where the caller closed it
        return data
    raise InvalidImageError("stdin is empty")


def keygen(options: argparse.Namespace) -> int:
    """``fastmark keygen``."""
    from fastmark import Key

    key = Key.generate(name=options.name)
    if options.output == "-":  # for a store of secrets, as env:NAME reads it back
        sys.stdout.write(key.to_text())
        return DONE
    key.save(options.output)
    print(f"{options.output}: key {_key_name(key.id, key.name)}; keep the file secret and keep a copy of it")
    return DONE


def embed_one(options: argparse.Namespace) -> int:
    """``fastmark embed`` of one picture."""
    message = parse_message(options.message, options.message_bits)
    (path,) = options.inputs
    to_stdout = options.output == "-"
    if to_stdout != (options.format is not None):
        raise OutputError(
            "-o - needs --format"
            if to_stdout
            else "--format goes with -o -: the ending names a file's format"
        )

    from fastmark.files import check_output, encode_image, save_image

    # what can be refused is refused before the slow imports and the work
    if not to_stdout:
        check_output(options.output, overwrite=options.force)
    for name in ("verify", "manifest", "column"):
        if getattr(options, name):
            raise OutputError(f"--{name} goes with many pictures: a folder, a list, a tar, a Parquet file")
    key = load_key(options.key)
    image = _read_input(path)

    from PIL import Image

    from fastmark import Watermarker

    start = time.perf_counter()
    marker = Watermarker(key, message_bits=options.message_bits, strength=options.strength)
    marked, report = marker.embed_report(image, message)
    assert isinstance(marked, Image.Image)  # as of every path and bytes
    encoding = {name: getattr(options, name) for name in ("quality", "subsampling", "lossless")}
    if to_stdout:
        sys.stdout.buffer.write(encode_image(marked, options.format, **encoding))
        sys.stdout.buffer.flush()
    else:
        save_image(marked, options.output, overwrite=options.force, **encoding)
    ms = (time.perf_counter() - start) * 1e3

    talk = sys.stderr if to_stdout else sys.stdout
    if options.json:
        row = {"schema": JSON_SCHEMA, "path": path, "output": options.output}
        row |= {**report.to_dict(), "message": message.hex(), "key_id": key.id, "ms": round(ms, 1)}
        print(json.dumps(row), file=talk)
    else:
        print(f"{options.output}: {_embed_line(report, message, key)}", file=talk)
        for warning in report.warnings:
            print(f"fastmark: warning: {warning}", file=sys.stderr)
    return DONE


def _embed_line(report: EmbedReport, message: bytes, key: Key) -> str:
    return (
        f"marked, message {message.hex()}, PSNR {report.psnr_db:.1f} dB, strength {report.strength:.2f}, "
        f"{report.tones} tones, key {_key_name(key.id, key.name)}"
    )


def detect(options: argparse.Namespace) -> int:
    """``fastmark detect``."""
    loaded = [load_key(place) for place in options.key]
    keys = {key.id: key for key in loaded}  # the same key given twice is one key

    import fastmark

    markers = [fastmark.Watermarker(key, options.message_bits) for key in keys.values()]
    any_detected = any_error = False
    for path in options.inputs:
        start = time.perf_counter()
        try:
            results = fastmark.detect(_read_input(path), keys=markers, deep=options.deep)
        except FastmarkError as error:  # one bad picture does not keep the others from being looked at
            any_error = True
            if options.json:
                print(json.dumps({"schema": JSON_SCHEMA, "path": path, "error": one_line(error)}))
            sys.stdout.flush()  # keeps the two streams in order
            fail(one_line(error))
            continue
        ms = (time.perf_counter() - start) * 1e3
        any_detected |= any(found.state == "detected" for found in results)
        if options.json:
            for found in results:
                print(json.dumps(_detect_row(path, found, ms)))
        else:
            # one line a picture: the best key; further keys only where they found something
            for index, found in enumerate(results):
                if index == 0 or found.state != "absent":
                    print(f"{path}: {_detect_line(found, keys[found.key_id])}")
    return ERROR if any_error else DONE if any_detected else NOT_FOUND


def _detect_row(path: str, found: Detection, ms: float) -> dict[str, Any]:
    """JSON of one result; the message in hex, as JSON readers round integers beyond 2^53."""
    message = found.message_bytes.hex() if found.message_bytes is not None else None
    row = {"schema": JSON_SCHEMA, "path": path, **found.to_dict(), "message": message, "ms": round(ms, 1)}
    row.pop("message_bytes", None)
    return row


def _detect_line(found: Detection, key: Key) -> str:
    # rounded up: the bound must stay one
    bound = "p <= 1" if found.log10_p > -1 else f"p <= 1e{math.ceil(found.log10_p)}"
    name = _key_name(found.key_id, key.name)
    if found.state == "absent":
        return f"absent ({bound}), key {name}. {found.note}"
    parts = [f"{found.state} ({bound})"]
    if found.message_bytes is not None:
        parts.append(f"message {found.message_bytes.hex()}")
    else:
        parts.append("message not proven")
    if found.scale is not None:
        parts.append(f"scale {found.scale:.3g}")
    if found.rotation_deg is not None:
        parts.append(f"rotation {found.rotation_deg + 0.0:.1f} degrees")
    if found.mirrored:
        parts.append("mirrored")
    if found.inverted:
        parts.append("inverted")
    line = ", ".join([*parts, f"key {name}"])
    return f"{line}. {found.note}" if found.state == "possible" else line


def _key_name(key_id: str, name: str) -> str:
    return f"{key_id} ({name})" if name else key_id


def doctor(options: argparse.Namespace) -> int:
    """``fastmark doctor``."""
    from fastmark.doctor import examine

    return DONE if examine() else ERROR
