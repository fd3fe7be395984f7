"""Options of every verb."""

from __future__ import annotations

import argparse
import contextlib
from typing import Any, NoReturn

from fastmark._version import VERSION
from fastmark.cli import many, single
from fastmark.cli.codes import ERROR
from fastmark.notation import MAX_PIXELS, MESSAGE_BITS

SOURCES = (
    "a folder, a text file with a path a line, tar shards, Parquet files, or URLs of these;"
    " - is a tar or a list on stdin"
)
FORMATS = ("png", "jpeg", "webp", "avif", "tiff", "bmp", "ppm")


class _Parser(argparse.ArgumentParser):
    """argparse, but errors are one line, as all of ours are."""

    def error(self, message: str) -> NoReturn:
        self.exit(ERROR, f"fastmark: error: {message} (see '{self.prog} --help')\n")


def make_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line; ``run`` of what it returns is the verb's function."""
    parser = _Parser(
        prog="fastmark",
        description="Invisible, keyed, robust image watermark.",
        epilog="exit codes: 0 done or found, 1 not found, 2 error, 3 some of many pictures came to nothing",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"fastmark {VERSION}")
    verbs = parser.add_subparsers(metavar="VERB", required=True)

    for add in (_add_keygen, _add_embed, _add_detect, _add_scan, _add_doctor):
        add(verbs)
    return parser


def _add_keygen(verbs: Any) -> None:
    keygen = verbs.add_parser("keygen", help="make a secret key", allow_abbrev=False)
    keygen.add_argument(
        "-o", "--output", default="fastmark.key", metavar="OUT", help="- is stdout; default: %(default)s"
    )
    keygen.add_argument("--name", default="", help="a label for people, kept in the key file; not secret")
    keygen.set_defaults(run=single.keygen)


def _add_embed(verbs: Any) -> None:
    embed = verbs.add_parser(
        "embed",
        help="mark a picture, or many",
        epilog="exit codes: 0 done, 2 error, 3 some of many pictures were not marked (see the manifest),"
        " 130 stopped: the same command goes on",
        allow_abbrev=False,
    )
    embed.add_argument(
        "inputs",
        nargs="+",
        metavar="IN",
        help=f"picture file, - is stdin; of many: {SOURCES}",
    )
    embed.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="OUT",
        help="of one picture: its ending names the format, - is stdout; of many: a folder or a .tar",
    )
    _add_key(embed, many=False)
    message = embed.add_mutually_exclusive_group(required=True)
    message.add_argument(
        "--message", metavar="HEX", help="16 hex digits for 64 bits, or 0x1f; for all the same"
    )
    message.add_argument(
        "--messages",
        metavar="FILE|random|counter",
        help="of many: a message each; FILE has one a line in the order of the pictures,"
        " or is a .csv or .jsonl with source and message",
    )
    _add_message_bits(embed)
    embed.add_argument(
        "--strength", type=_strength, default=1.0, metavar="S", help="0.25..4; default: %(default)s"
    )
    embed.add_argument("--force", action="store_true", help="replace what exists; of many: begin anew")
    embed.add_argument("--format", choices=FORMATS, help="of a picture written to stdout; of many: of all")
    embed.add_argument(
        "--quality",
        type=_quality,
        default=95,
        metavar="1..100",
        help="JPEG, WebP, AVIF; default: %(default)s",
    )
    embed.add_argument(
        "--subsampling",
        choices=("4:4:4", "4:2:2", "4:2:0"),
        default="4:4:4",
        help="chroma of JPEG and AVIF; default: %(default)s",
    )
    embed.add_argument("--lossless", action="store_true", help="WebP without loss")
    embed.add_argument("--json", action="store_true", help="print the report as one JSON object")
    only_many = embed.add_argument_group("many pictures")
    only_many.add_argument("--verify", action="store_true", help="read every picture back once it is encoded")
    only_many.add_argument(
        "--manifest",
        metavar="FILE",
        help="a row a picture: .jsonl, .csv or .parquet; default: manifest.jsonl",
    )
    _add_many(only_many)
    embed.set_defaults(run=many.embed)


def _add_detect(verbs: Any) -> None:
    detect = verbs.add_parser(
        "detect",
        help="look for the mark in pictures",
        epilog="exit codes: 0 at least one picture detected, 1 none, 2 any picture could not be read",
        allow_abbrev=False,
    )
    detect.add_argument("inputs", nargs="+", metavar="IN", help="picture file; - is stdin")
    _add_key(detect, many=True)
    _add_message_bits(detect)
    detect.add_argument("--deep", action="store_true", help="search harder, for tampered pictures; slow")
    detect.add_argument(
        "--json", action="store_true", help="one JSON object a line for each picture and key, best key first"
    )
    detect.set_defaults(run=single.detect)


def _add_scan(verbs: Any) -> None:
    scan = verbs.add_parser(
        "scan",
        help="look for the mark in an archive",
        epilog="exit codes: 0 done, whatever was found; 2 error; 3 some pictures could not be read;"
        " 130 stopped: the same command goes on",
        allow_abbrev=False,
    )
    scan.add_argument("sources", nargs="+", metavar="SOURCE", help=SOURCES)
    scan.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="OUT",
        help="a row a picture: .jsonl, .csv or .parquet; - prints JSON Lines",
    )
    _add_key(scan, many=True)
    _add_message_bits(scan)
    scan.add_argument("--hits-only", action="store_true", help="no rows of unmarked pictures; errors always")
    scan.add_argument("--deep", action="store_true", help="search harder, for tampered pictures; slow")
    scan.add_argument("--force", action="store_true", help="replace OUT, and begin anew")
    scan.add_argument("--json", action="store_true", help="print the summary as one JSON object")
    _add_many(scan)
    scan.add_argument("--engine", choices=("local", "ray"), default="local", help="default: %(default)s")
    scan.add_argument("--address", metavar="ADDR", help="of a Ray cluster; default: a Ray on this machine")
    scan.set_defaults(run=many.scan)


def _add_doctor(verbs: Any) -> None:
    doctor = verbs.add_parser("doctor", help="show versions and test this installation", allow_abbrev=False)
    doctor.set_defaults(run=single.doctor)


def _add_key(parser: argparse.ArgumentParser, *, many: bool) -> None:
    what = "key file, or env:NAME for a variable that holds a key file's text"
    parser.add_argument(
        "--key",
        required=True,
        action="append" if many else "store",
        metavar="FILE",
        help=what + ("; may be repeated" if many else ""),
    )


def _add_message_bits(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--message-bits", type=int, choices=MESSAGE_BITS, default=64, help="default: %(default)s"
    )


def _add_many(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    parser.add_argument(
        "--workers", type=_count, default=0, metavar="N", help="processes; default: one a core"
    )
    parser.add_argument(
        "--max-pixels",
        type=_positive,
        default=MAX_PIXELS,
        metavar="N",
        help="do not decode pictures of more, against decompression bombs; default: %(default)s",
    )
    parser.add_argument("--column", metavar="NAME", help="of Parquet files: the encoded pictures'")
    parser.add_argument("--quiet", action="store_true", help="no progress and no summary")


def _count(text: str) -> int:
    if text.isdecimal():
        return int(text)
    raise argparse.ArgumentTypeError(f"must be a number, not {text!r}")


def _positive(text: str) -> int:
    if text.replace("_", "").isdecimal() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"must be a number above 0, not {text!r}")


def _strength(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0.25 <= (value := float(text)) <= 4:
            return value
    raise argparse.ArgumentTypeError(f"must be 0.25 to 4, not {text!r}")


def _quality(text: str) -> int:
    if text.isdecimal() and 1 <= int(text) <= 100:
        return int(text)
    raise argparse.ArgumentTypeError(f"must be 1 to 100, not {text!r}")
