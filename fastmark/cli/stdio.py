"""``fastmark detect --serve-stdio``: one request per line on stdin, one answer per line on stdout, in JSON.

A program in any language keeps a detector that is warm. The first line on stdout says that it is ready. A
request is an object with ``path`` or ``image`` (base64), perhaps ``id`` (any value, which comes back),
``deep``, ``locate`` and ``all``; its answer has the columns of ``detect --json``.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any, NoReturn

from fastmark._checks import redacted
from fastmark._version import VERSION
from fastmark.cli import explaining, single
from fastmark.cli.codes import DONE
from fastmark.cli.public import apart, detector_of
from fastmark.errors import FastmarkError, InvalidImageError, SourceError, one_line

if TYPE_CHECKING:
    from fastmark import Detector

MOST_BYTES = 128 << 20
"""Of a line; of images in base64 three quarters of that."""

_FLAGS = ("deep", "locate", "all")
_FIELDS = ("id", "path", "image", *_FLAGS)
_CHUNK = 1 << 20


class _RequestError(Exception):
    """A request that cannot be answered; the message says why."""


class _EndError(BaseException):
    """SIGTERM, while nothing was at work."""


def detect(options: argparse.Namespace) -> int:
    """``fastmark detect``: of the images that are named, or of those that are asked for on stdin."""
    if options.serve_stdio:
        for name in ("explain", "all", "deep"):
            if getattr(options, name):
                raise SourceError(
                    f"--{name} does not go with --serve-stdio, where each request says what is asked for"
                )
        if options.inputs:
            raise SourceError("--serve-stdio takes no images: they are named on stdin")
        return _serve(options)
    if not options.inputs:
        raise SourceError("no image to look at: name one, or - for stdin")
    return explaining.detect(options)


def _serve(options: argparse.Namespace) -> int:
    answers = _own_stdout()
    detector = detector_of(options)

    import numpy as np

    grain = np.random.default_rng(1).integers(0, 256, (256, 256, 3), np.uint8)
    detector.detect(grain)  # kernels are compiled or loaded now, and not while somebody waits
    ready = {
        "ready": True,
        "schema": single.JSON_SCHEMA,
        "version": VERSION,
        "keys": [key.key_id for key in detector.keys],
        "message_bits": options.message_bits,
    }
    waits, over = True, False

    def end(*_: object) -> None:
        nonlocal over
        over = True
        if waits:
            raise _EndError

    before = signal.signal(signal.SIGTERM, end)
    try:
        _print(answers, ready)
        lines = _lines(sys.stdin.buffer) if sys.stdin else iter(())  # None where the caller closed it
        while True:
            waits = True  # before it looks: a signal is either seen here, or ends the waiting
            line = b"" if over else next(lines, b"")
            waits = False
            if not line:
                break
            if line.strip():
                _print(answers, _answer(line, detector, options.max_pixels))
    except _EndError:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)
    return DONE


def _own_stdout() -> IO[bytes]:
    """Return stdout, on which nothing else can write from now on: what others print goes to stderr."""
    sys.stdout.flush()
    own = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return own


def _print(answers: IO[bytes], values: dict[str, Any]) -> None:
    answers.write(json.dumps(values).encode() + b"\n")
    answers.flush()


def _lines(stream: IO[bytes]) -> Iterator[bytes]:
    """Yield lines; of one that is too long one byte more than it may have, and no more is kept of it."""
    while line := stream.readline(MOST_BYTES + 1):
        yield line
        long = len(line) > MOST_BYTES
        while long and line and not line.endswith(b"\n"):
            line = stream.readline(_CHUNK)


def _answer(line: bytes, detector: Detector, max_pixels: int | None) -> dict[str, Any]:
    """Return the answer to one request; whatever goes wrong is an answer too."""
    name = None
    try:
        if len(line) > MOST_BYTES:
            raise _RequestError(f"the line has more than {MOST_BYTES} bytes: name a path instead")
        values = _parsed(line)
        name = values.get("id")
        return {"id": name} | _found(values, detector, max_pixels)
    except (FastmarkError, _RequestError) as error:
        told = redacted(one_line(error))
    except MemoryError:
        told = "not enough memory"
    except Exception as error:
        told = f"internal error, please report it: {type(error).__name__}"
    return {"id": name, "error": told}


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        values = json.loads(line.decode(), parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise _RequestError('the line is not JSON: send {"id": 1, "path": "..."}') from None
    if not isinstance(values, dict):
        raise _RequestError('the line is no JSON object: send {"id": 1, "path": "..."}')
    return values


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _found(values: dict[str, Any], detector: Detector, max_pixels: int | None) -> dict[str, Any]:
    """Return what is found in the image of a request."""
    if unknown := [name for name in values if name not in _FIELDS]:
        raise _RequestError(f"there is no field {unknown[0]!r}: send {', '.join(_FIELDS)}")
    for flag in _FLAGS:
        if not isinstance(values.get(flag, False), bool):
            raise _RequestError(f"{flag!r} must be true or false")
    image, source = _image_of(values)
    deep = values.get("deep", False)

    from fastmark.checking.beside import read_beside
    from fastmark.codec.plane import pixels_per_unit
    from fastmark.images.opening import open_for_detection
    from fastmark.images.reading import read_encoded

    start = time.perf_counter()
    luma = open_for_detection(image, unit=pixels_per_unit, max_pixels=max_pixels, native=deep)
    if values.get("all", False):
        places = detector.detect_all_opened(luma, deep=deep)
        ms = (time.perf_counter() - start) * 1e3
        return {"places": single.place_rows(source, places, ms)}
    results = detector.detect_opened(luma, deep=deep)
    place = detector.locate_opened(luma, deep=deep) if values.get("locate", False) else None
    given, _ = apart(results)
    # what the public watermark says is no id, which metadata could tell too
    beside = read_beside(read_encoded(image, max_pixels), given[0] if given else None)
    ms = (time.perf_counter() - start) * 1e3
    best, *others = single.found_rows(source, luma, results, ms)
    best |= {"metadata": beside.to_dict(), "agree": beside.agree}
    if others:
        best["others"] = others
    if place is not None:
        told = place.to_dict()
        best |= {name: told[name] for name in ("box", "share")}
    return best


def _image_of(values: dict[str, Any]) -> tuple[str | bytes, str]:
    """Return the path or the bytes of a request's image, and how the answer names it."""
    path, image = values.get("path"), values.get("image")
    if (path is None) == (image is None):
        raise _RequestError("send 'path' or 'image' (base64): exactly one of them")
    if path is not None:
        if not isinstance(path, str):
            raise _RequestError("'path' must be a text")
        return path, path
    if not isinstance(image, str):
        raise _RequestError("'image' must be a text in base64")
    try:
        data = base64.b64decode(image, validate=True)
    except (binascii.Error, ValueError):
        raise _RequestError("'image' is not base64") from None
    if not data:
        raise InvalidImageError("the image is empty")
    return data, "-"
