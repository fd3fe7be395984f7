"""The verbs for single images, keys and the installation."""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import stat
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastmark._checks import parse_message, redacted
from fastmark.cli.codes import DONE, ERROR, NOT_FOUND, fail
from fastmark.cli.public import apart, code_of, detector_of, is_shown
from fastmark.cli.public import line as public_line
from fastmark.codec.key_places import load_secret_key
from fastmark.errors import (
    FastmarkError,
    InvalidImageError,
    InvalidMessageError,
    OutputError,
    one_line,
)

if TYPE_CHECKING:
    from fastmark import Detection, Key, Location
    from fastmark.bulk.tables import Columns
    from fastmark.codec.key import AnyKey
    from fastmark.delivery import Delivered
    from fastmark.images.opening import DetectorInput

JSON_SCHEMA = 2
"""2: the columns of the tables; 1, before fastmark 0.2, had fewer."""

KEY_FILE, DETECTOR_KEY_FILE = "fastmark.key", "fastmark-detector.key"
"""Where ``keygen`` writes if it is not told."""


def read_input(path: str) -> str | bytes:
    """A path as it is; all of stdin for ``-``; and all of a pipe, which can be read but once."""
    if path != "-":
        with contextlib.suppress(OSError, ValueError):  # told when it is opened
            if stat.S_ISFIFO(Path(path).stat().st_mode):
                return Path(path).read_bytes()
        return path
    if sys.stdin and (data := sys.stdin.buffer.read()):  # None where the caller closed it
        return data
    raise InvalidImageError("stdin is empty: send it an image, or name a file")


def keygen(options: argparse.Namespace) -> int:
    """``fastmark keygen``."""
    from fastmark import Key

    key: AnyKey
    if options.detector_of is None:
        key, output = Key.generate(name=options.name), options.output or KEY_FILE
        advice = f"key {_key_name(key.id, key.name)}; keep the file secret and keep a copy of it"
    else:
        key = load_secret_key(options.detector_of).detector_key(options.name)
        output = options.output or DETECTOR_KEY_FILE
        advice = (
            f"detector key {_key_name(key.id, key.name)} of key {key.key_id}; it detects, and embeds nothing"
        )
    if output == "-":  # for a store of secrets, as env:NAME reads it back
        sys.stdout.write(key.to_text())
        return DONE
    key.save(output)
    print(f"{output}: {advice}")
    return DONE


def embed_one(options: argparse.Namespace) -> int:
    """``fastmark embed`` of one image."""
    (path,) = options.inputs
    to_stdout = options.output == "-"
    if to_stdout != (options.format is not None):
        raise OutputError(
            "-o - needs --format"
            if to_stdout
            else "--format goes with -o -: the ending of OUT names a file's format"
        )
    if to_stdout and options.force:
        raise OutputError("--force replaces a file, and -o - writes to stdout: leave one of them out")
    for name in ("workers", "manifest", "column"):
        if getattr(options, name) is not None:
            raise OutputError(
                f"--{name} goes with many images (a folder, a list, a tar, a Parquet file), and {path} is one"
            )

    from fastmark.cli.accompanying import companions_of
    from fastmark.images.encoding import check_encoding, check_output, write_output

    # what can be refused is refused before the slow imports and the work
    encoding = {name: getattr(options, name) for name in ("quality", "subsampling", "lossless")}
    name = options.format if to_stdout else check_output(options.output, overwrite=options.force)
    check_encoding(name, **encoding)
    code = code_of(options)
    companions = companions_of(options, code)
    companions.check_format(name)
    message = code.to_bytes() if options.key is None and code is not None else message_of(options)
    key = None if options.key is None else load_secret_key(options.key)
    image = read_input(path)

    from fastmark import Watermarker
    from fastmark.bulk.tables import MANIFEST_COLUMNS
    from fastmark.delivery import Delivery
    from fastmark.public import marker as public_marker

    def write(ready: Delivered) -> None:
        if to_stdout:
            sys.stdout.buffer.write(ready.data)
            sys.stdout.buffer.flush()
        else:
            write_output(options.output, ready.data, overwrite=options.force)

    start = time.perf_counter()
    bits = public_marker().message_bits if key is None else options.message_bits
    key, beside = (public_marker().key, None) if key is None else (key, code)
    delivery = Delivery(
        Watermarker(key, message_bits=bits, strength=options.strength),
        companions,
        options.bind,
        options.on_marked,
        options.verify,
        options.max_pixels,
        public=beside,
    )
    done = delivery.deliver(image, message, name, encoding, write)
    ms = (time.perf_counter() - start) * 1e3

    talk = sys.stderr if to_stdout else sys.stdout
    if options.json:
        row = {"source": path, "output": options.output, **done.to_dict(), "key_id": key.id}
        print(_json_row(row | {"ms": round(ms, 1)}, MANIFEST_COLUMNS), file=talk)
    elif not options.quiet:
        print(f"{options.output}: {_embed_line(done, key)}", file=talk)
    if not options.json:
        for warning in done.report.warnings:
            print(f"fastmark: warning: {warning}", file=sys.stderr)
    return DONE


def message_of(options: argparse.Namespace) -> bytes | None:
    """The message of --message; None where the registry draws one.

    Raises:
        InvalidMessageError: if it is none, or there is neither.
    """
    if options.message is not None:
        return parse_message(options.message, options.message_bits)
    if options.registry is None:
        raise InvalidMessageError(
            "no message: give --message HEX, --messages for many images, or --registry, which draws an id"
        )
    return None


def _embed_line(done: Delivered, key: Key) -> str:
    report, key_name = done.report, _key_name(key.id, key.name)
    says = f"message {report.message}"
    if report.public is not None:
        alone = report.public == report.message
        says = f"{'' if alone else f'{says}, '}public watermark {report.public}"
    if report.action == "kept":
        return f"kept as it is, message {report.earlier_message or 'not readable'}, key {key_name}"
    read = "" if done.verified is None else f", read back ({_bound(done.verified.log10_p)})"
    replaced = f" in place of {report.earlier_message or 'another'}" if report.action == "replaced" else ""
    return (
        f"marked, {says}{replaced}{read}, PSNR {report.psnr_db:.1f} dB,"
        f" strength {report.strength:.2f}, {report.tones} tones, key {key_name}"
    )


def detect(options: argparse.Namespace) -> int:
    """``fastmark detect``."""
    detector = detector_of(options)

    from fastmark.bulk.tables import SCAN_COLUMNS
    from fastmark.checking.beside import read_beside
    from fastmark.codec.plane import pixels_per_unit
    from fastmark.images.opening import open_for_detection
    from fastmark.images.reading import read_encoded

    names = {key.key_id: name_of_key(key) for key in detector.keys}
    any_detected = any_error = False
    for path in options.inputs:
        start = time.perf_counter()
        try:
            image = read_input(path)
            luma = open_for_detection(
                image, unit=pixels_per_unit, max_pixels=options.max_pixels, native=options.deep
            )
            if options.all:
                places = detector.detect_all_opened(luma, deep=options.deep)
                results = [place.detection for place in places]
            else:
                places, results = [], detector.detect_opened(luma, deep=options.deep)
            given, public = apart(results)
            beside = None
            if results and not (options.json and options.all):
                # what the public watermark says is no id, which metadata could tell too
                beside = read_beside(read_encoded(image, options.max_pixels), given[0] if given else None)
        except FastmarkError as error:  # one bad image does not keep the others from being looked at
            any_error = True
            if options.json:
                row = {"source": path, "state": "error", "error": redacted(one_line(error))}
                print(_json_row(row, SCAN_COLUMNS))
            sys.stdout.flush()  # keeps the two streams in order
            fail(one_line(error))
            continue
        ms = (time.perf_counter() - start) * 1e3
        any_detected |= any(results)
        if options.json and places:
            for row in place_rows(path, places, ms):
                print(json.dumps(row))
        elif options.json:
            more = {"metadata": beside and beside.to_dict(), "agree": beside and beside.agree}
            for row in found_rows(path, luma, results, ms):
                print(json.dumps(row | more))
        else:
            # one line per image: the best key; further keys only where they found something
            at = {id(place.detection): place_words(place) for place in places}
            for index, found in enumerate((*given, *public)):
                words = at.get(id(found), "")
                if found in public and found.state != "absent":
                    print(f"{redacted(path)}: {public_line(found, _bound(found.log10_p), words)}")
                elif index == 0 or found.state != "absent":
                    print(f"{redacted(path)}: {detect_line(found, names[found.key_id], words)}")
            for line in beside.lines() if beside is not None else ():
                print(f"{redacted(path)}: {redacted(line)}")
    return ERROR if any_error else DONE if any_detected else NOT_FOUND


def _json_row(row: dict[str, Any], columns: Columns) -> str:
    """One result as JSON, as :func:`shaped_row`."""
    return json.dumps(shaped_row(row, columns))


def print_row(row: dict[str, Any], columns: Columns, **more: Any) -> None:
    """Print one result as JSON, as :func:`shaped_row`, with what is given beside it."""
    print(json.dumps(shaped_row(row, columns) | more))


def shaped_row(row: dict[str, Any], columns: Columns) -> dict[str, Any]:
    """One result with the columns of the table that ``scan`` or bulk embedding writes of it.

    ``path`` is the old name of ``source``; it goes with fastmark 0.3.
    """
    from fastmark.bulk.storage import printable

    row["source"] = redacted(printable(row["source"]))
    shape = {name: row.get(name) for name in columns}
    return {"schema": JSON_SCHEMA, "path": row["source"], **shape}


def _bound(log10_p: float) -> str:
    # rounded up: the bound must stay one
    return "p <= 1" if log10_p > -1 else f"p <= 1e{math.ceil(log10_p)}"


_BINDING_WORDS = {
    "match": "made for this image",
    "mismatch": "genuine watermark, not made for this image",
}


def detect_line(found: Detection, name: str, place: str = "") -> str:
    """One detection for people, with the words for its place if there are any."""
    bound = _bound(found.log10_p)
    remarks = "".join(f" NOTE: {remark}." for remark in found.remarks)
    if found.state == "absent":
        return f"absent ({bound}), key {name}. {found.note}{remarks}"
    parts = [f"{found.state} ({bound})"]
    if found.message_hex is not None:
        parts.append(f"message {found.message_hex}")
        if found.binding in _BINDING_WORDS:
            parts.append(_BINDING_WORDS[found.binding])
        if found.made_with == "detector key":
            parts.append("made with a detector key, not with the key itself")
    elif found:
        parts.append(f"message not readable (is --message-bits {found.message_bits} right?)")
    if found.scale is not None:
        parts.append(f"scale {found.scale:.3g}")
    if found.rotation_deg is not None:
        parts.append(f"rotation {found.rotation_deg + 0.0:.1f} degrees")
    if found.mirrored:
        parts.append("mirrored")
    if found.inverted:
        parts.append("inverted")
    if place:
        parts.append(place)
    line = ", ".join([*parts, f"key {name}"])
    return f"{line}. {found.note}{remarks}" if found.state == "possible" or remarks else line


def found_rows(source: str, luma: DetectorInput, results: list[Detection], ms: float) -> list[dict[str, Any]]:
    """The detections of one image as JSON: of the given keys, or of the public one where it is alone."""
    from fastmark.bulk.tables import SCAN_COLUMNS
    from fastmark.bulk.worker import public_columns

    size = {"source": source, "width": luma.width, "height": luma.height}
    said = public_columns(results) | {"ms": round(ms, 1)}
    given, _ = apart(results)
    return [shaped_row(size | found.to_dict() | said, SCAN_COLUMNS) for found in given or results]


def place_rows(source: str, places: list[Location], ms: float) -> list[dict[str, Any]]:
    """The locations in one image as JSON; that of the public key only where it found something, or alone."""
    from fastmark.bulk.worker import public_columns

    given, _ = apart([place.detection for place in places])
    return [
        place_row(source, place, ms) | public_columns([place.detection])
        for place in places
        if is_shown(place.detection, alone=not given)
    ]


def place_row(source: str, found: Location, ms: float) -> dict[str, Any]:
    """One location as JSON: the columns of ``detect``, and its place."""
    from fastmark.bulk.tables import SCAN_COLUMNS

    values = found.to_dict()
    row = shaped_row({"source": source, **values, "ms": round(ms, 1)}, SCAN_COLUMNS)
    return row | {name: values[name] for name in ("box", "share")}


def place_words(found: Location) -> str:
    """The place for people: "box 10,20,300,400, 56 % of the image"; empty where there is none."""
    if found.box is None:
        return ""
    return f"box {','.join(map(str, found.box))}, {100 * found.share:.0f} % of the image"


def name_of_key(key: AnyKey) -> str:
    """How lines of ``detect`` name the key, whose name is that of the file that was given."""
    from fastmark import Key

    name = _key_name(key.key_id, key.name)
    return name if isinstance(key, Key) else f"{name}, by a detector key"


def _key_name(key_id: str, name: str) -> str:
    return f"{key_id} ({name})" if name else key_id


def doctor(options: argparse.Namespace) -> int:
    """``fastmark doctor``."""
    from fastmark.doctor import examine

    return DONE if examine(options.url) else ERROR
