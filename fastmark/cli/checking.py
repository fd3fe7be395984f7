"""``fastmark check``: watermark, registry and metadata of images, and one verdict on each."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from fastmark._checks import MAX_PIXELS_ALONE, redacted
from fastmark.cli import single
from fastmark.cli.arguments import add_deep, add_key, add_max_pixels, add_message_bits
from fastmark.cli.codes import DONE, ERROR, NOT_FOUND, fail
from fastmark.cli.public import add_to_detect
from fastmark.cli.registering import open_registry
from fastmark.codec.key_places import load_key
from fastmark.errors import CredentialError, FastmarkError, RegistryError, one_line

_UNSAYING = ("nothing found",)


def add(verbs: Any) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "check",
        help="look for the watermark, ask the registry, read the metadata, and say what follows",
        epilog="exit codes: 0 a watermark or metadata that say something were found in at least one image,"
        " 1 nothing, 2 error; nothing is fetched from the network but from the registry",
        allow_abbrev=False,
    )
    parser.add_argument("inputs", nargs="+", metavar="IN", help="an image file; - is stdin")
    add_key(parser, many=True, without="the public watermark and metadata are read")
    add_to_detect(parser)
    add_message_bits(parser)
    parser.add_argument(
        "--registry", metavar="URL", help="ask this registry for the watermark's id and for the file"
    )
    parser.add_argument(
        "--trust",
        metavar="ROOT",
        help="PEM certificates of authorities whose content credentials are trusted; default: nobody is",
    )
    add_deep(parser)
    add_max_pixels(parser, str(MAX_PIXELS_ALONE))
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object per line for each image, with scores"
    )
    parser.set_defaults(run=check)


def check(options: argparse.Namespace) -> int:
    """``fastmark check``."""
    keys = [load_key(place) for place in options.key or ()]
    registry = None if options.registry is None else open_registry(options.registry)

    from fastmark import Detector
    from fastmark.checking.check import check as check_image

    detector: Any = Detector(keys, options.message_bits) if keys else ()
    says_something = any_error = False
    for path in options.inputs:
        try:
            found = check_image(
                single.read_input(path),
                detector,
                registry,
                trust_anchors=options.trust,
                public=options.public,
                deep=options.deep,
                max_pixels=options.max_pixels,
            )
        except (RegistryError, CredentialError):
            raise  # so would every other image be
        except FastmarkError as error:  # one bad image does not keep the others from being looked at
            any_error = True
            if options.json:
                print(json.dumps({"source": redacted(path), "error": redacted(one_line(error))}))
            sys.stdout.flush()  # keeps the two streams in order
            fail(one_line(error))
            continue
        says_something |= found.verdict not in _UNSAYING
        if options.json:
            print(json.dumps({"source": redacted(path), **found.to_dict(scores=True)}))
            continue
        print(f"{redacted(path)}: {found.verdict}. {redacted(found.sentence)}")
        for finding in found.findings:
            print(f"  {finding.technique}: {finding.state}. {redacted(finding.says)}")
    return ERROR if any_error else DONE if says_something else NOT_FOUND
