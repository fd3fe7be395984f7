"""The command line: keygen, embed, detect, doctor.

Exit codes: 0 done, or at least one picture detected; 1 no picture detected; 2 an error, of use, of a
key or of any one picture; 130 interrupted; 141 nobody reads stdout any more. Results go to stdout,
errors as one line each to stderr.

Heavy imports happen inside the verbs: ``--help`` and a mistyped option load neither numpy nor numba.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from fastmark._version import VERSION
from fastmark.errors import FastmarkError, InvalidImage, InvalidMessage, KeyFormatError, OutputError

if TYPE_CHECKING:
    from fastmark import Detection, EmbedReport, Key

DONE, NOT_FOUND, ERROR, INTERRUPTED, PIPE_CLOSED = 0, 1, 2, 130, 141
MESSAGE_BITS = (16, 32, 64, 96, 128)
FORMATS = ("png", "jpeg", "webp", "avif", "tiff", "bmp", "ppm")
JSON_SCHEMA = 1


class _Parser(argparse.ArgumentParser):
    """argparse, but errors are one line, as all of ours are."""

    def error(self, message: str) -> NoReturn:
        self.exit(ERROR, f"fastmark: error: {message} (see '{self.prog} --help')\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; ``arguments`` default to those of the process. Returns the exit code."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the caller
            nowhere = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115  # stays open to the end
            setattr(sys, name, nowhere)
        if reconfigure := getattr(getattr(sys, name), "reconfigure", None):
            reconfigure(errors="backslashreplace")  # file names may be any bytes, the terminal any encoding
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # decoders' remarks on odd metadata; -W brings them back
    try:
        options = _parser().parse_args(arguments)
        run: Callable[[argparse.Namespace], int] = options.run
        code = run(options)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        print("fastmark: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader, as `head`, has seen enough
        _settle_stdout()
        return PIPE_CLOSED
    except (FastmarkError, OSError) as error:
        _settle_stdout()
        return _fail(_one_line(error))
    except MemoryError:
        return _fail("not enough memory")
    except Exception as error:
        if os.environ.get("FASTMARK_DEBUG"):
            raise
        reason = f"{type(error).__name__}: {_one_line(error)}"
        return _fail(f"internal error, please report it: {reason} (FASTMARK_DEBUG=1 shows where)")


def _settle_stdout() -> None:
    """Throw away what stdout does not take; the interpreter would complain about it once more at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(message: str) -> int:
    print(f"fastmark: error: {message}", file=sys.stderr)
    return ERROR


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


# ---- options ---------------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="fastmark",
        description="Invisible, keyed, robust image watermark.",
        epilog="exit codes: 0 done or found, 1 not found, 2 error",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"fastmark {VERSION}")
    verbs = parser.add_subparsers(metavar="VERB", required=True)

    keygen = verbs.add_parser("keygen", help="make a secret key", allow_abbrev=False)
    keygen.add_argument(
        "-o", "--output", default="fastmark.key", metavar="OUT", help="- is stdout; default: %(default)s"
    )
    keygen.add_argument("--name", default="", help="a label for people, kept in the key file; not secret")
    keygen.set_defaults(run=_keygen)

    embed = verbs.add_parser("embed", help="mark a picture", allow_abbrev=False)
    embed.add_argument("input", metavar="IN", help="picture file; - is stdin")
    embed.add_argument(
        "-o", "--output", required=True, metavar="OUT", help="its ending names the format; - is stdout"
    )
    _add_key(embed, many=False)
    embed.add_argument("--message", required=True, metavar="HEX", help="16 hex digits for 64 bits, or 0x1f")
    _add_message_bits(embed)
    embed.add_argument(
        "--strength", type=_strength, default=1.0, metavar="S", help="0.25..4; default: %(default)s"
    )
    embed.add_argument("--force", action="store_true", help="replace OUT if it exists")
    embed.add_argument("--format", choices=FORMATS, help="of the picture written to stdout")
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
    embed.set_defaults(run=_embed)

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
    detect.set_defaults(run=_detect)

    doctor = verbs.add_parser("doctor", help="show versions and test this installation", allow_abbrev=False)
    doctor.set_defaults(run=_doctor)
    return parser


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


def _strength(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0.25 <= (value := float(text)) <= 4:
            return value
    raise argparse.ArgumentTypeError(f"must be 0.25 to 4, not {text!r}")


def _quality(text: str) -> int:
    if text.isdecimal() and 1 <= int(text) <= 100:
        return int(text)
    raise argparse.ArgumentTypeError(f"must be 1 to 100, not {text!r}")


def parse_message(text: str, message_bits: int) -> bytes:
    """The message's bytes, big-endian, from exactly ``message_bits / 4`` hex digits, or fewer after 0x."""
    digits, short = (text[2:], True) if text[:2] in ("0x", "0X") else (text, False)
    wanted = message_bits // 4
    if not digits or not all(digit in "0123456789abcdefABCDEF" for digit in digits):
        raise InvalidMessage(f"the message {text!r} is not hexadecimal: use the digits 0-9 and a-f")
    if len(digits) > wanted:
        raise InvalidMessage(f"the message has {len(digits)} hex digits, {message_bits} bits hold {wanted}")
    if len(digits) < wanted and not short:
        raise InvalidMessage(
            f"{message_bits} bits are {wanted} hex digits, not {len(digits)}: "
            f"write 0x{digits} to have zeros put in front, or choose --message-bits"
        )
    return bytes.fromhex(digits.zfill(wanted))


def _load_key(place: str) -> Key:
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
    raise InvalidImage("stdin is empty")


# ---- verbs -----------------------------------------------------------------------------------------


def _keygen(options: argparse.Namespace) -> int:
    from fastmark import Key

    key = Key.generate(name=options.name)
    if options.output == "-":  # for a store of secrets, as env:NAME reads it back
        sys.stdout.write(key.to_text())
        return DONE
    key.save(options.output)
    print(f"{options.output}: key {_key_name(key.id, key.name)}; keep the file secret and keep a copy of it")
    return DONE


def _embed(options: argparse.Namespace) -> int:
    message = parse_message(options.message, options.message_bits)
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
    key = _load_key(options.key)
    image = _read_input(options.input)

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
        row = {"schema": JSON_SCHEMA, "path": options.input, "output": options.output}
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


def _detect(options: argparse.Namespace) -> int:
    loaded = [_load_key(place) for place in options.key]
    keys = {key.id: key for key in loaded}  # the same key given twice is one key

    from fastmark import Watermarker, detect

    markers = [Watermarker(key, options.message_bits) for key in keys.values()]
    any_detected = any_error = False
    for path in options.inputs:
        start = time.perf_counter()
        try:
            results = detect(_read_input(path), keys=markers, deep=options.deep)
        except FastmarkError as error:  # one bad picture does not keep the others from being looked at
            any_error = True
            if options.json:
                print(json.dumps({"schema": JSON_SCHEMA, "path": path, "error": _one_line(error)}))
            sys.stdout.flush()  # keeps the two streams in order
            _fail(_one_line(error))
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


def _doctor(options: argparse.Namespace) -> int:
    from fastmark.doctor import examine

    return DONE if examine() else ERROR
