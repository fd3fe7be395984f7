"""Options of the public watermark: what it says, where it is embedded and looked for."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from fastmark.codec.key_places import load_key
from fastmark.codec.public import FLAGS, MAX_FREE, MAX_RESOLVER, PUBLIC_BITS, PUBLIC_KEY
from fastmark.errors import InvalidMessageError, KeyFormatError

if TYPE_CHECKING:
    from fastmark import Detection, Detector
    from fastmark.codec.public import PublicCode


def add_to_embed(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what the public watermark says."""
    group = parser.add_argument_group("public watermark, which anybody can read, forge and remove")
    group.add_argument(
        "--public",
        metavar="FLAGS",
        help="embed the public watermark, beside that of --key or alone; with commas between:"
        f" {', '.join(FLAGS)}",
    )
    group.add_argument(
        "--resolver",
        type=_number,
        metavar="N",
        help=f"number of the service that knows more, 0 to {MAX_RESOLVER} (see SPEC.md); default: 0, none",
    )
    group.add_argument(
        "--free",
        type=_hex,
        metavar="HEX",
        help="what the resolver is told, of up to 8 hex digits; default: 0",
    )


def add_to_detect(parser: argparse.ArgumentParser) -> None:
    """Add the option to look for the public watermark, or not to."""
    parser.add_argument(
        "--public",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="look for the public watermark, which needs no key; it is, unless --no-public is given",
    )


def code_of(options: argparse.Namespace) -> PublicCode | None:
    """Return what the public watermark is to say; None where none is embedded.

    Raises:
        InvalidMessageError: if it would say nothing, or contradicts itself, or there is no key either.
    """
    from fastmark.codec.public import PublicCode

    if options.public is None and options.resolver is None and options.free is None:
        if options.key is None:
            raise InvalidMessageError(
                "no key: give --key FILE (made by 'fastmark keygen'), or --public FLAGS for the public"
                " watermark alone"
            )
        return None
    if options.key is None:
        for name in ("message", "messages", "registry"):
            if getattr(options, name) is not None:
                raise InvalidMessageError(
                    f"--{name} goes with --key: the public watermark alone says what --public names"
                )
        if options.message_bits != PUBLIC_BITS:
            raise InvalidMessageError(
                f"--message-bits goes with --key: the public watermark has {PUBLIC_BITS} bits"
            )
    return PublicCode.of(options.public or (), options.resolver or 0, options.free or 0)


def detector_of(options: argparse.Namespace) -> Detector:
    """Return a detector of the keys that are given, and of the public one unless it is not wanted.

    Raises:
        KeyFormatError: if a key cannot be read, or there is nothing to look for.
    """
    keys = [load_key(place) for place in options.key or ()]
    if not keys and not options.public:
        raise KeyFormatError("nothing to look for: give --key FILE, or leave --no-public out")

    from fastmark.bulk import worker

    return worker.detector_of(keys, options.message_bits, public=options.public)


def apart(found: list[Detection]) -> tuple[list[Detection], list[Detection]]:
    """Return the detections of given keys, and those of the public one, each in their order."""
    given = [one for one in found if one.key_id != PUBLIC_KEY.id]
    return given, [one for one in found if one.key_id == PUBLIC_KEY.id]


def is_shown(found: Detection, *, alone: bool) -> bool:
    """Whether a detection gets a block of its own: that of the public key only where it found something.

    ``alone``: whether no other key is looked for.
    """
    return alone or found.key_id != PUBLIC_KEY.id or found.state != "absent"


def line(found: Detection, bound: str, place: str) -> str:
    """The public watermark, or traces of it, for people, with the words for its place if there are any."""
    from fastmark.public import code_of

    code = code_of(found)
    bound = f"{bound}, {place}" if place else bound
    if not found:
        return f"public watermark: possible ({bound}). {found.note}"
    if code is None:
        return f"public watermark: detected ({bound}); it cannot be read, or is of a later version"
    where = f" ({code.url})" if code.url else ""
    return (
        f"public watermark: detected ({bound}), {code}, code {code.hex}: it says that"
        f" {code.sentence()}{where}. Anybody can embed, forge and remove it."
    )


def _number(text: str) -> int:
    if text.isdecimal() and int(text) <= MAX_RESOLVER:
        return int(text)
    raise argparse.ArgumentTypeError(f"must be 0 to {MAX_RESOLVER}, not {text!r}")


def _hex(text: str) -> int:
    try:
        value = int(text, 16)
    except ValueError:
        value = -1
    if 0 <= value <= MAX_FREE:
        return value
    raise argparse.ArgumentTypeError(f"must be up to 8 hex digits, not {text!r}")
