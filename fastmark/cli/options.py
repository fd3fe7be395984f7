"""Options of every verb."""

from __future__ import annotations

import argparse
from typing import Any, NoReturn

from fastmark._checks import MAX_PIXELS_ALONE, MAX_PIXELS_EACH, ON_MARKED, redacted
from fastmark._version import VERSION
from fastmark.cli import (
    accompanying,
    checking,
    compiling,
    locating,
    many,
    provenance,
    proxying,
    public,
    registering,
    reporting,
    reports,
    serving,
    single,
    stdio,
    tokens,
)
from fastmark.cli.arguments import add_deep, add_key, add_max_pixels, add_message_bits, count, strength
from fastmark.cli.codes import ERROR

SOURCES = (
    "a folder, an image, a tar shard, a Parquet file, a list of paths (.txt or .lst), or the URL of one;"
    " - is a tar or a list on stdin"
)
FORMATS = ("png", "jpeg", "webp", "avif", "heif", "jxl", "tiff", "bmp", "ppm")


class _Parser(argparse.ArgumentParser):
    """argparse, but errors are one line, as all of ours are, and show no secret that was typed by mistake."""

    def error(self, message: str) -> NoReturn:
        self.exit(ERROR, f"fastmark: error: {redacted(message)} (see '{self.prog} --help')\n")


def make_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line; ``run`` of what it returns is the verb's function."""
    parser = _Parser(
        prog="fastmark",
        description="Invisible, keyed, robust image watermark.",
        epilog="exit codes: 0 done or found, 1 not found, 2 error, 3 some of many images failed",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"fastmark {VERSION}")
    verbs = parser.add_subparsers(metavar="VERB", required=True)

    for add in (_add_keygen, _add_embed, _add_detect, _add_locate, _add_scan, _add_doctor, _add_warmup):
        add(verbs)
    for module in (checking, provenance, proxying, registering, reporting, reports, serving, tokens):
        module.add(verbs)
    return parser


def _add_keygen(verbs: Any) -> None:
    keygen = verbs.add_parser(
        "keygen",
        help="make a secret key, or a detector key for others",
        epilog="a detector key lets others detect watermarks and read messages, but not embed: the key that"
        " it was made from is not in it",
        allow_abbrev=False,
    )
    keygen.add_argument(
        "-o",
        "--output",
        metavar="OUT",
        help=f"the key file; - prints the key on stdout; default: {single.KEY_FILE}, for a detector"
        f" key {single.DETECTOR_KEY_FILE}",
    )
    keygen.add_argument(
        "--detector-of",
        metavar="FILE",
        help="make a detector key of this key: a key file, or env:NAME for a variable that holds its text",
    )
    keygen.add_argument("--name", default="", help="a label for people, kept in the key file; not secret")
    keygen.set_defaults(run=single.keygen)


def _add_embed(verbs: Any) -> None:
    embed = verbs.add_parser(
        "embed",
        help="watermark an image, or many",
        epilog="exit codes: 0 done, 2 error, 3 some of many images were not watermarked (see the manifest),"
        " 130 stopped: run the same command again to resume",
        allow_abbrev=False,
    )
    embed.add_argument(
        "inputs",
        nargs="*",
        metavar="IN",
        help=f"an image file, - is stdin; for many images: {SOURCES}",
    )
    embed.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="OUT",
        help="for one image: a file, whose ending names the format, or - for stdout;"
        " for many images: a folder or a .tar",
    )
    add_key(embed, many=False, without="--public FLAGS embeds the public watermark alone")
    message = embed.add_mutually_exclusive_group()
    message.add_argument("--message", metavar="HEX", help="message in hex, e.g. 0x1f; one for all images")
    message.add_argument(
        "--messages",
        metavar="FILE|random|counter",
        help="for many images: one message per image. FILE has one per line, in the order of the images,"
        " or is a .csv or .jsonl with source and message",
    )
    add_message_bits(embed)
    embed.add_argument(
        "--strength",
        type=strength,
        default=1.0,
        metavar="S",
        help="amplitude relative to the default, 0.25..4; default: %(default)s",
    )
    embed.add_argument(
        "--on-marked",
        choices=ON_MARKED,
        default="replace",
        help="where an image carries a watermark of this key already: replace it, keep the image unchanged,"
        " or refuse; default: %(default)s",
    )
    embed.add_argument(
        "--no-bind",
        dest="bind",
        action="store_false",
        help="do not tie the watermark to what the image shows; detecting then cannot tell whether it was"
        " copied from another image",
    )
    embed.add_argument("--force", action="store_true", help="replace what exists; of many: start over")
    embed.add_argument(
        "--format",
        choices=FORMATS,
        help="format of one image written to stdout, or of all of many images; default for many: its own",
    )
    embed.add_argument(
        "--quality",
        type=_quality,
        metavar="1..100",
        help="of JPEG, WebP, AVIF, HEIF, JPEG XL; default: 95",
    )
    embed.add_argument(
        "--subsampling",
        choices=("4:4:4", "4:2:2", "4:2:0"),
        help="chroma resolution of JPEG, AVIF and HEIF; default: 4:4:4",
    )
    embed.add_argument("--lossless", action="store_true", default=None, help="write WebP or JPEG XL lossless")
    embed.add_argument(
        "--verify",
        action="store_true",
        help="read the message back from the encoded image; write nothing if that fails",
    )
    add_max_pixels(embed, f"{MAX_PIXELS_ALONE} for one image, {MAX_PIXELS_EACH} for each of many")
    embed.add_argument("--json", action="store_true", help="print the report as one JSON object")
    embed.add_argument("--quiet", action="store_true", help="print no progress, report or summary")
    public.add_to_embed(embed)
    accompanying.add(embed)
    only_many = embed.add_argument_group("many images")
    only_many.add_argument(
        "--manifest",
        metavar="FILE",
        help="table with one row per image: .jsonl, .csv or .parquet; default: manifest.jsonl",
    )
    _add_many(only_many)
    embed.set_defaults(run=many.embed)


def _add_detect(verbs: Any) -> None:
    detect = verbs.add_parser(
        "detect",
        help="look for the watermark in images",
        epilog="exit codes: 0 at least one image detected, 1 none, 2 any image could not be read;"
        " for folders and archives use 'fastmark scan'",
        allow_abbrev=False,
    )
    detect.add_argument("inputs", nargs="*", metavar="IN", help="an image file; - is stdin")
    add_key(detect, many=True, without="the public watermark alone is looked for")
    public.add_to_detect(detect)
    add_message_bits(detect)
    add_deep(detect)
    detect.add_argument(
        "--all",
        action="store_true",
        help="look for several watermarks in one image, as in collages, and say where each lies",
    )
    detect.add_argument(
        "--explain",
        action="store_true",
        help="print what is looked at in one image, how long each step takes, and what comes of it",
    )
    add_max_pixels(detect, str(MAX_PIXELS_ALONE))
    detect.add_argument(
        "--json",
        action="store_true",
        help="one JSON object per line for each image and key, the most certain key first; what the public"
        " watermark says is in each, under public and public_says",
    )
    detect.add_argument(
        "--serve-stdio",
        action="store_true",
        help="keep at work for another program: one JSON object per line on stdin, as"
        ' {"id": 1, "path": "photo.jpg"} or {"id": 1, "image": BASE64}, and one answer per line on stdout',
    )
    detect.set_defaults(run=stdio.detect)


def _add_locate(verbs: Any) -> None:
    locate = verbs.add_parser(
        "locate",
        help="show which part of an image carries the watermark",
        epilog="exit codes: 0 detected, 1 not detected, 2 error",
        allow_abbrev=False,
    )
    locate.add_argument("input", metavar="IN", help="an image file; - is stdin")
    locate.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="OUT",
        help="the map: a file, whose ending names the format, or - for PNG on stdout; written where the"
        " watermark is detected",
    )
    add_key(locate, many=True)
    add_message_bits(locate)
    add_deep(locate)
    locate.add_argument("--force", action="store_true", help="replace what exists")
    add_max_pixels(locate, str(MAX_PIXELS_ALONE))
    locate.add_argument("--json", action="store_true", help="print one JSON object, of the most certain key")
    locate.set_defaults(run=locating.locate)


def _add_scan(verbs: Any) -> None:
    scan = verbs.add_parser(
        "scan",
        help="look for the watermark in an archive",
        epilog="exit codes: 0 done, whatever was found; 2 error; 3 some images could not be read;"
        " 130 stopped: run the same command again to resume",
        allow_abbrev=False,
    )
    scan.add_argument("inputs", nargs="*", metavar="SOURCE", help=SOURCES)
    scan.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="OUT",
        help="table with one row per image: .jsonl, .csv or .parquet; - prints JSON Lines",
    )
    add_key(scan, many=True, without="--public is needed")
    scan.add_argument(
        "--public",
        action="store_true",
        help="look for the public watermark, which needs no key, and tell what it says: ai-generated,"
        " do-not-train, ...",
    )
    add_message_bits(scan)
    scan.add_argument("--hits-only", action="store_true", help="write only detections and errors")
    add_deep(scan)
    scan.add_argument("--force", action="store_true", help="replace OUT, and start over")
    add_max_pixels(scan, str(MAX_PIXELS_EACH))
    scan.add_argument("--json", action="store_true", help="print the summary as one JSON object")
    scan.add_argument("--quiet", action="store_true", help="print no progress and no summary")
    _add_many(scan)
    scan.add_argument(
        "--engine",
        choices=("local", "ray"),
        default="local",
        help="processes of this machine, or a Ray cluster; default: %(default)s",
    )
    scan.add_argument("--address", metavar="ADDR", help="of a Ray cluster; default: a Ray on this machine")
    scan.set_defaults(run=many.scan)


def _add_doctor(verbs: Any) -> None:
    doctor = verbs.add_parser(
        "doctor",
        help="show versions, test this installation, and say what is reachable",
        epilog="looks at what the variables of 'fastmark serve' name: keys, registry, tokens, certificates,"
        " the service itself; exit codes: 0 all is well, 2 the test failed, or something cannot be reached",
        allow_abbrev=False,
    )
    doctor.add_argument(
        "--url", metavar="URL", help="service that is asked; default: the variable FASTMARK_PUBLIC_URL"
    )
    doctor.set_defaults(run=single.doctor)


def _add_warmup(verbs: Any) -> None:
    warmup = verbs.add_parser(
        "warmup",
        help="compile all kernels now, for a container image or a new machine",
        epilog="kernels are compiled for this kind of processor, and kept in NUMBA_CACHE_DIR, or where numba"
        " finds a folder; exit codes: 0 done, 2 they cannot be kept",
        allow_abbrev=False,
    )
    warmup.add_argument("--workers", type=count, metavar="N", help="processes; default: one per core")
    warmup.add_argument("--json", action="store_true", help="print what was done as one JSON object")
    warmup.add_argument("--quiet", action="store_true", help="print no progress and no summary")
    warmup.set_defaults(run=compiling.warmup)


def _add_many(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    parser.add_argument(
        "--list",
        action="append",
        metavar="FILE",
        help="text file with one path or URL per line, whatever its name; - is stdin; may be repeated",
    )
    parser.add_argument("--workers", type=count, metavar="N", help="processes; default: one per core")
    parser.add_argument("--column", metavar="NAME", help="Parquet column that holds the encoded images")


def _quality(text: str) -> int:
    if text.isdecimal() and 1 <= int(text) <= 100:
        return int(text)
    raise argparse.ArgumentTypeError(f"must be 1 to 100, not {text!r}")
