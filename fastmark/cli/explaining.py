"""``fastmark detect --explain``: what was looked at in one image, how long it took, and what came of it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from fastmark._checks import redacted
from fastmark.cli import single
from fastmark.cli.codes import DONE, NOT_FOUND
from fastmark.cli.public import detector_of, is_shown
from fastmark.errors import OutputError

if TYPE_CHECKING:
    from fastmark.images.opening import DetectorInput


def detect(options: argparse.Namespace) -> int:
    """``fastmark detect``, explained if that is asked for."""
    if not options.explain:
        return single.detect(options)
    if len(options.inputs) > 1:
        raise OutputError(f"--explain takes one image, not {len(options.inputs)}: give them one by one")
    if options.all:
        raise OutputError("--explain and --all exclude each other: leave one of them out")
    return _explain(options)


def _explain(options: argparse.Namespace) -> int:
    detector = detector_of(options)

    from fastmark.bulk.tables import SCAN_COLUMNS
    from fastmark.bulk.worker import public_columns
    from fastmark.codec.plane import pixels_per_unit
    from fastmark.images.opening import open_for_detection

    (path,) = options.inputs
    image = single.read_input(path)
    size: dict[str, int] = {}

    def opened() -> DetectorInput:
        luma = open_for_detection(
            image, unit=pixels_per_unit, max_pixels=options.max_pixels, native=options.deep
        )
        size.update(width=luma.width, height=luma.height)
        return luma

    explained = detector.explain_opened(opened, deep=options.deep)
    said = public_columns([one.detection for one in explained])
    shown = [one for one in explained if is_shown(one.detection, alone=not options.key)]
    names = {key.key_id: single.name_of_key(key) for key in detector.keys}
    for number, one in enumerate(shown):
        found = one.detection
        if options.json:
            row = {"source": path, **size, **found.to_dict(), **said, "ms": round(one.ms, 1)}
            values = one.to_dict()
            values.pop("detection")  # the row itself
            single.print_row(row, SCAN_COLUMNS, explanation=values)
        else:
            print(f"{redacted(path)}: {single.detect_line(found, names[found.key_id])}")
            print(one.without_shared() if number else one)
    return DONE if any(one.detection.detected for one in explained) else NOT_FOUND
