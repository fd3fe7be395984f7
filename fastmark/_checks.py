"""What people may write: messages in hexadecimal, lengths, limits; nothing heavy is imported."""

from __future__ import annotations

import re
from numbers import Integral, Real
from typing import Literal, SupportsFloat, SupportsIndex, get_args

from fastmark.errors import InvalidMessageError

MESSAGE_BITS = (16, 32, 64, 96, 128)
"""Lengths that a message can have."""

OnMarked = Literal["replace", "keep", "refuse"]
"""The answers to an earlier watermark of the same key."""

ON_MARKED: tuple[OnMarked, ...] = get_args(OnMarked)

MAX_PIXELS_EACH = 200_000_000
"""Largest width x height that is decoded of one among many images, unless told otherwise."""

MAX_PIXELS_ALONE = 500_000_000
"""Largest width x height that is decoded of a single image, unless told otherwise."""

_SECRET = re.compile("[0-9a-fA-F]{64,}")
"""As long as the secret of a key in hex; so are some checksums, which are hidden with it."""


def redacted(text: str) -> str:
    """``text`` without what may be the secret of a key: for errors, and for names that are echoed."""
    return _SECRET.sub("[64 or more hex digits, not shown]", text)


def parse_message(text: str, message_bits: int) -> bytes:
    """The message's bytes, big-endian, from exactly ``message_bits / 4`` hex digits, or fewer after 0x.

    Raises:
        InvalidMessageError: if it is not hexadecimal, too long, or shorter without 0x.
    """
    digits, short = (text[2:], True) if text[:2] in ("0x", "0X") else (text, False)
    wanted = message_bits // 4
    if not digits or not all(digit in "0123456789abcdefABCDEF" for digit in digits):
        shown = repr(text) if len(text) <= 40 else f"of {len(text)} characters"
        raise InvalidMessageError(f"the message {shown} is not hexadecimal: use the digits 0-9 and a-f")
    if len(digits) > wanted:
        raise InvalidMessageError(
            f"the message has {len(digits)} hex digits, {message_bits} bits hold {wanted}"
        )
    if len(digits) < wanted and not short:
        raise InvalidMessageError(
            f"{message_bits} bits are {wanted} hex digits, not {len(digits)}: "
            f"write 0x{digits} to have zeros put in front, or choose --message-bits"
        )
    return bytes.fromhex(digits.zfill(wanted))


def message_bytes(message: SupportsIndex | bytes | str, message_bits: int) -> bytes:
    """The message's bytes, big-endian.

    Args:
        message: an int in ``0..2 ** message_bits - 1``; bytes, ``message_bits / 8`` of them; or text of
            ``message_bits / 4`` hex digits, or of fewer after 0x.
        message_bits: length of the message.

    Raises:
        InvalidMessageError: if it is none of these.
    """
    n_bytes = message_bits // 8
    if isinstance(message, str):
        return parse_message(message, message_bits)
    if isinstance(message, bytes | bytearray | memoryview):
        data = bytes(message)
        if len(data) != n_bytes:
            raise InvalidMessageError(f"a {message_bits}-bit message is {n_bytes} bytes, not {len(data)}")
        return data
    if isinstance(message, bool) or not isinstance(message, Integral):  # NumPy's integers are among these
        raise InvalidMessageError(f"a message is an int, bytes or hex text, not {type(message).__name__}")
    if not 0 <= int(message) < 1 << message_bits:
        raise InvalidMessageError(f"the message must be 0..2^{message_bits} - 1, not {message}")
    return int(message).to_bytes(n_bytes, "big")


def check_message_bits(message_bits: int) -> int:
    """A length that a message can have, as an int.

    Raises:
        InvalidMessageError: if it is none of ``MESSAGE_BITS``.
    """
    if isinstance(message_bits, bool) or message_bits not in MESSAGE_BITS:
        lengths = ", ".join(map(str, MESSAGE_BITS))
        raise InvalidMessageError(f"message_bits must be one of {lengths}, not {message_bits!r}")
    return int(message_bits)


def check_strength(strength: SupportsFloat) -> float:
    """An amplitude relative to the default, as a float.

    Raises:
        ValueError: if it is no number, or outside 0.25..4.
    """
    # NumPy's numbers are Real too; True is, and is a mistake
    known = isinstance(strength, Real) and not isinstance(strength, bool)
    if not known or not 0.25 <= float(strength) <= 4.0:
        raise ValueError(f"strength must be a number in 0.25..4, not {strength!r}")
    return float(strength)


def check_flag(name: str, value: object) -> bool:
    """Return a flag.

    Raises:
        TypeError: if it is neither True nor False.
    """
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, not {value!r}")
    return value


def check_on_marked(value: object) -> OnMarked:
    """Return the answer to an earlier watermark of the same key.

    Raises:
        ValueError: if it is none of ``ON_MARKED``.
    """
    for known in ON_MARKED:
        if value == known:
            return known
    raise ValueError(f"on_marked must be one of {', '.join(ON_MARKED)}, not {value!r}")


def check_count(name: str, value: int, least: int) -> int:
    """A number of things, as an int.

    Raises:
        ValueError: if it is no int, or below ``least``.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise ValueError(f"{name} must be an int of at least {least}, not {value!r}")
    return int(value)
