"""What people may write: messages in hexadecimal, lengths, limits; nothing heavy is imported."""

from __future__ import annotations

from numbers import Integral

from fastmark.errors import InvalidMessageError

MESSAGE_BITS = (16, 32, 64, 96, 128)
"""Lengths that a message can have."""

MAX_PIXELS = 200_000_000
"""Largest width x height that is decoded of one among many pictures, unless told otherwise."""


def parse_message(text: str, message_bits: int) -> bytes:
    """The message's bytes, big-endian, from exactly ``message_bits / 4`` hex digits, or fewer after 0x.

    Raises:
        InvalidMessageError: if it is not hexadecimal, too long, or shorter without 0x.
    """
    digits, short = (text[2:], True) if text[:2] in ("0x", "0X") else (text, False)
    wanted = message_bits // 4
    if not digits or not all(digit in "0123456789abcdefABCDEF" for digit in digits):
        raise InvalidMessageError(f"the message {text!r} is not hexadecimal: use the digits 0-9 and a-f")
    if len(digits) > wanted:
        raise InvalidMessageError(f"the message has {len(digits)} hex digits, {message_bits} bits hold {wanted}")
    if len(digits) < wanted and not short:
        raise InvalidMessageError(
            f"{message_bits} bits are {wanted} hex digits, not {len(digits)}: "
            f"write 0x{digits} to have zeros put in front, or choose --message-bits"
        )
    return bytes.fromhex(digits.zfill(wanted))


def message_bytes(message: int | bytes, message_bits: int) -> bytes:
    """The message's bytes, big-endian.

    Raises:
        InvalidMessageError: if it is neither an int in range nor bytes of the right length.
    """
    n_bytes = message_bits // 8
    if isinstance(message, bytes | bytearray | memoryview):
        if len(message) != n_bytes:
            raise InvalidMessageError(f"a {message_bits}-bit message is {n_bytes} bytes, not {len(message)}")
        return bytes(message)
    if isinstance(message, bool) or not isinstance(message, Integral):  # NumPy's integers are among these
        raise InvalidMessageError(f"a message is an int or bytes, not {type(message).__name__}")
    if not 0 <= int(message) < 1 << message_bits:
        raise InvalidMessageError(f"the message must be 0..2^{message_bits} - 1, not {message}")
    return int(message).to_bytes(n_bytes, "big")


def check_strength(strength: float) -> None:
    """Raise ValueError unless the amplitude relative to the default is one that is marked with."""
    if not (isinstance(strength, int | float) and 0.25 <= strength <= 4.0):
        raise ValueError(f"strength must be 0.25..4, not {strength!r}")
