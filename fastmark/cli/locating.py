"""The verb that shows where in an image a watermark lies."""

from __future__ import annotations

import argparse
import json
import sys
import time

from fastmark._checks import redacted
from fastmark.cli import single
from fastmark.cli.codes import DONE, NOT_FOUND
from fastmark.codec.key_places import load_key
from fastmark.errors import OutputError


def locate(options: argparse.Namespace) -> int:
    """``fastmark locate``."""
    to_stdout = options.output == "-"
    if to_stdout and options.force:
        raise OutputError("--force replaces a file, and -o - writes to stdout: leave one of them out")

    from fastmark.images.encoding import check_output, encode_image, write_output

    # what can be refused is refused before the slow imports and the work
    format_name = "png" if to_stdout else check_output(options.output, overwrite=options.force)
    loaded = [load_key(place) for place in options.key]
    image = single.read_input(options.input)

    from fastmark import Detector
    from fastmark.codec.plane import pixels_per_unit
    from fastmark.images.opening import open_for_detection

    start = time.perf_counter()
    detector = Detector(loaded, options.message_bits)
    luma = open_for_detection(image, unit=pixels_per_unit, max_pixels=options.max_pixels, native=options.deep)
    found = detector.locate_opened(luma, deep=options.deep)
    if found:
        data = encode_image(found.to_image(), format_name)
        if to_stdout:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        else:
            write_output(options.output, data, overwrite=options.force)
    ms = (time.perf_counter() - start) * 1e3

    talk = sys.stderr if to_stdout else sys.stdout
    if options.json:
        row = {"output": options.output if found else None, "cell_px": found.cell_px}
        print(json.dumps(single.place_row(options.input, found, ms) | row), file=talk)
    else:
        keys = {key.key_id: key for key in detector.keys}
        name = single.name_of_key(keys[found.detection.key_id])
        line = single.detect_line(found.detection, name, single.place_words(found))
        print(f"{redacted(options.input)}: {line}", file=talk)
    return DONE if found else NOT_FOUND
