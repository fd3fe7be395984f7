"""Keystreams: all that must be unpredictable is read from keyed BLAKE2b (RFC 7693), by numbered domains."""

from __future__ import annotations

import enum
import hashlib

_BLOCK = 64


class Domain(enum.IntEnum):
    """Numbered keystreams; the numbers are part of the format (SPEC.md), and no meaning ever changes."""

    KEY_ID = 1
    TONE_FREQUENCIES = 2
    TONE_PHASES = 3
    CHIP_SIGNS = 4
    ANCHOR_PLACES = 5
    CODE_BIT_MAP = 6
    ORIGIN = 7
    BINDING_SIGNS = 8
    BINDING_PARTNERS = 9
    BINDING_FLAGS = 10
    WITHHELD_BLOCKS = 11


def keystream(secret: bytes, domain: Domain, n_bytes: int, context: bytes = b"") -> bytes:
    """Return the first ``n_bytes`` of the keystream of ``domain``.

    Block ``i`` is ``BLAKE2b-512(key=secret, person="fastmark" + domain as two bytes LE,
    message = i as eight bytes LE + context)``.
    """
    person = b"fastmark" + int(domain).to_bytes(2, "little")
    start = hashlib.blake2b(key=secret, person=person)
    blocks = []
    for index in range(-(-n_bytes // _BLOCK)):
        block = start.copy()
        block.update(index.to_bytes(8, "little") + context)
        blocks.append(block.digest())
    return b"".join(blocks)[:n_bytes]
