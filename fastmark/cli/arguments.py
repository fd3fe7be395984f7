"""Options that several verbs share."""

from __future__ import annotations

import argparse
import contextlib

from fastmark._checks import MESSAGE_BITS


def add_key(parser: argparse.ArgumentParser, *, many: bool, without: str | None = None) -> None:
    """Add the option of the key, or of ``many``.

    ``without``: what is done where none is given; None where that is a mistake.
    """
    what = "key file, or env:NAME for a variable that holds a key file's text"
    if many:
        what += "; a detector key will do; may be repeated"
    if without is not None:
        what += f"; without one, {without}"
    parser.add_argument(
        "--key",
        required=without is None,
        action="append" if many else "store",
        metavar="FILE",
        help=what,
    )


def add_message_bits(parser: argparse.ArgumentParser) -> None:
    """Add the option of the length of messages."""
    parser.add_argument(
        "--message-bits",
        type=int,
        choices=MESSAGE_BITS,
        default=64,
        help="length of the messages, which embedding and detecting must agree on; default: %(default)s",
    )


def add_deep(parser: argparse.ArgumentParser) -> None:
    """Add the option of the harder search."""
    parser.add_argument(
        "--deep",
        action="store_true",
        help="search harder, for tampered images: some 20 seconds for each image and key that is not found,"
        " the key of the public watermark included",
    )


def add_max_pixels(parser: argparse.ArgumentParser, default: str) -> None:
    """Add the option of the most pixels; ``default`` is told in its help."""
    parser.add_argument(
        "--max-pixels",
        type=positive,
        metavar="N",
        help=f"refuse images with more pixels (guards against decompression bombs); default: {default}",
    )


def positive(text: str) -> int:
    """Return a number above 0, for argparse."""
    if text.replace("_", "").isdecimal() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"must be a number above 0, not {text!r}")


def count(text: str) -> int:
    """Return a whole number, for argparse."""
    if text.isdecimal():
        return int(text)
    raise argparse.ArgumentTypeError(f"must be a number, not {text!r}")


def strength(text: str) -> float:
    """Return an amplitude relative to the default, for argparse."""
    with contextlib.suppress(ValueError):
        if 0.25 <= (value := float(text)) <= 4:
            return value
    raise argparse.ArgumentTypeError(f"must be 0.25 to 4, not {text!r}")
