"""``fastmark proxy``: watermark what an image server answers with, without a change to it."""

from __future__ import annotations

import argparse
from typing import Any

from fastmark._checks import ON_MARKED, redacted
from fastmark._imports import package
from fastmark.cli import accompanying, public
from fastmark.cli.arguments import add_key, add_max_pixels, add_message_bits, positive
from fastmark.cli.codes import DONE
from fastmark.codec.key_places import load_secret_key
from fastmark.integrations.answering.rules import MAX_BYTES, MAX_MEMORY, MAX_PIXELS, ON_PARTIAL, ON_URL, PATHS


def add(verbs: Any) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "proxy",
        help="watermark what an image server with OpenAI's API answers with",
        epilog="images come in base64 in the answers to POST .../images/generations, edits and variations;"
        " all else is passed as it is; GET /healthz says whether it is ready; exit codes: 0 it was ended by"
        " SIGTERM or Ctrl-C and has answered what it had accepted, 2 it could not start",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--upstream", required=True, metavar="URL", help="the image server, as http://127.0.0.1:8000"
    )
    add_key(parser, many=False)
    parser.add_argument(
        "--message", metavar="HEX", help="message of all images; without one, --registry draws an id for each"
    )
    add_message_bits(parser)
    parser.add_argument(
        "--on-marked",
        choices=ON_MARKED,
        default="replace",
        help="where an image carries a watermark of this key already: replace it, keep the image unchanged,"
        " or refuse; default: %(default)s",
    )
    parser.add_argument(
        "--quality",
        type=_whole,
        metavar="1..100",
        help="of JPEG, WebP, AVIF; default: 95; WebP without loss stays so",
    )
    _add_policy(parser)
    _add_place(parser)
    _add_bounds(parser)
    public.add_to_embed(parser)
    accompanying.add(parser)
    parser.set_defaults(run=proxy, quiet=True)


def _add_policy(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what may leave without a watermark")
    group.add_argument(
        "--fail-open",
        action="store_true",
        help="pass an image that cannot be watermarked as it is, with a header and a line on stderr that say"
        " so; without this, the answer is refused (502)",
    )
    group.add_argument(
        "--on-url",
        choices=ON_URL,
        help="answers that say where an image is instead of having it, which no proxy can watermark;"
        " default: refuse, with --fail-open: pass",
    )
    group.add_argument(
        "--on-partial",
        choices=ON_PARTIAL,
        default="drop",
        help="partial images of a stream; default: %(default)s",
    )
    group.add_argument(
        "--path",
        type=_path,
        action="append",
        metavar="PATH",
        help="watermark the images of answers to POST on paths that end so, too; may be repeated",
    )


def _add_place(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("where it listens")
    group.add_argument(
        "--host", default="127.0.0.1", metavar="ADDRESS", help="default: %(default)s, this machine alone"
    )
    group.add_argument(
        "--port", type=_port, default=8080, metavar="N", help="0 takes a free one; default: %(default)s"
    )
    group.add_argument(
        "--trusted-proxies",
        metavar="ADDRESSES",
        help="proxies before this one, with commas between them, whose X-Forwarded-For and X-Forwarded-Proto"
        " are believed; default: none",
    )


def _add_bounds(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("how much it takes in")
    for name, kind, default, metavar, text in (
        ("workers", _whole, 0, "N", "processes that work on images; default: one per core"),
        ("max-bytes", positive, MAX_BYTES, "N", "most bytes of an answer; default: %(default)s"),
        (
            "max-memory",
            positive,
            MAX_MEMORY,
            "N",
            "most bytes of all answers that are held; further ones wait; default: %(default)s",
        ),
        ("max-connections", positive, 1000, "N", "most connections at a time; default: %(default)s"),
        ("upstream-seconds", _seconds, 600.0, "S", "within which each part of an answer must come;"
         " default: %(default)g"),
        ("work-seconds", _seconds, 60.0, "S", "after which the work on an image is ended;"
         " default: %(default)g"),
        ("shutdown-seconds", _seconds, 60.0, "S", "how long requests in hand may take when it ends;"
         " default: %(default)g"),
    ):  # fmt: skip
        group.add_argument(f"--{name}", type=kind, default=default, metavar=metavar, help=text)
    add_max_pixels(parser, str(MAX_PIXELS))


def proxy(options: argparse.Namespace) -> int:
    """``fastmark proxy``."""
    for name in ("httpx", "uvicorn", "httptools"):
        package(name, "the proxy", "proxy")

    from fastmark import Watermarker
    from fastmark.cli.single import message_of
    from fastmark.integrations.proxy import Proxy, Reach, serve

    reach = Reach(url=options.upstream, seconds=options.upstream_seconds, connections=options.max_connections)
    message = message_of(options)
    code = public.code_of(options)
    companions = accompanying.companions_of(options, code)
    if companions.registry is not None:
        companions.registry.check()
    marker = Watermarker(load_secret_key(options.key), options.message_bits)
    bits = "" if options.message_bits == 64 else f" --message-bits {options.message_bits}"

    def make() -> Proxy:
        return Proxy(
            reach,
            marker,
            message,
            workers=options.workers,
            work_seconds=options.work_seconds,
            paths=(*PATHS, *(options.path or ())),
            companions=companions,
            public=code,
            on_url=options.on_url,
            on_partial=options.on_partial,
            on_marked=options.on_marked,
            fail="open" if options.fail_open else "closed",
            quality=options.quality,
            max_bytes=options.max_bytes,
            max_pixels=options.max_pixels or MAX_PIXELS,
            max_memory=options.max_memory,
            check=f"fastmark detect IMAGE --key {redacted(options.key)}{bits}",
        )

    serve(
        make,
        host=options.host,
        port=options.port,
        trusted_proxies=options.trusted_proxies,
        max_connections=options.max_connections,
        shutdown_seconds=options.shutdown_seconds,
    )
    return DONE


def _whole(text: str) -> int:
    if text.isdecimal():
        return int(text)
    raise argparse.ArgumentTypeError(f"must be a whole number, not {text!r}")


def _path(text: str) -> str:
    if text.startswith("/"):
        return text
    raise argparse.ArgumentTypeError(f"must begin with /, not {text!r}")


def _port(text: str) -> int:
    if text.isdecimal() and int(text) < 65536:
        return int(text)
    raise argparse.ArgumentTypeError(f"must be 0..65535, not {text!r}")


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if 0 < value < 1e6:
        return value
    raise argparse.ArgumentTypeError(f"must be seconds, more than 0, not {text!r}")
