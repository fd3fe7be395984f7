"""What people may write: messages in hexadecimal, lengths, limits; nothing heavy is imported."""

from __future__ import annotations

from fastmark.errors import InvalidMessage

MESSAGE_BITS = (16, 32, 64, 96, 128)
"""Lengths that a message can have."""

MAX_PIXELS = 200_000_000
"""Largest width x height that is decoded of one among many pictures, unless told otherwise."""


def parse_message(text: str, message_bits: int) -> bytes:
    """The message's bytes, big-endian, from exactly ``message_bits / 4`` hex digits, or fewer after 0x.

    Raises:
        InvalidMessage: if it is not hexadecimal, too long, or shorter without 0x.
    """
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
