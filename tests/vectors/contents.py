"""Entries of format.json, computed with the installed fastmark.

A digest is BLAKE2b-256, in hexadecimal, of the array in C order as little-endian integers of the type named.
"""

import hashlib

import numpy as np

from fastmark.codec.carrier import Carrier
from fastmark.codec.key import Key
from fastmark.codec.keystream import Domain
from fastmark.codec.message import MessageCode
from fastmark.codec.tables import PHASE_STEPS
from fastmark.embedding.host import hashed_origin

N_FIRST = 8
STREAM_BYTES = 32


def digest(data):
    return hashlib.blake2b(data, digest_size=32).hexdigest()


def array_entry(values, dtype):
    """The first eight rows and the digest of an array of integers."""
    integers = np.asarray(values).astype(dtype)
    np.testing.assert_array_equal(integers, values)
    return {"first": integers[:N_FIRST].tolist(), "digest": digest(integers.tobytes())}


def key_entry(secret):
    key = Key(bytes.fromhex(secret))
    carrier = Carrier(key)
    steps = carrier.phases * (PHASE_STEPS / (2 * np.pi))
    return {
        "secret": secret,
        "id": key.id,
        "streams": {domain.name: key.stream(domain, STREAM_BYTES).hex() for domain in Domain},
        "streams_of_context_00ff": {
            domain.name: key.stream(domain, STREAM_BYTES, b"\x00\xff").hex() for domain in Domain
        },
        "tones_int16": array_entry(carrier.tones, "<i2"),
        "phases_uint16": array_entry(np.rint(steps), "<u2"),
        "signs_int8": array_entry(carrier.signs.ravel(), "i1"),
        "code_bit_int16": array_entry(carrier.code_bit.ravel(), "<i2"),
        "binding_signs_int8": array_entry(carrier.binding.signs.ravel(), "i1"),
        "binding_flags_int8": array_entry(carrier.binding.flags.ravel(), "i1"),
        "binding_partners_uint8": array_entry(carrier.binding.partners.ravel(), "u1"),
        "withheld_uint8": array_entry(carrier.binding.withheld.ravel(), "u1"),
        "detector_key_id": key.detector_key().id,
        "detector_key_content": digest(key.detector_key().content),
    }


def codeword_entry(message_bits, message, k):
    """The digest is that of the codeword's 128 bytes, most significant bit first."""
    codeword = MessageCode(message_bits).encode(bytes.fromhex(message), k)
    packed = np.packbits(codeword).tobytes()
    return {"message_bits": message_bits, "message": message, "k": k, "digest": digest(packed)}


def synthetic_plane(height, width):
    """``(7 x + 5 y + floor(x y / 16)) mod 251``: its means are exact on every machine."""
    y, x = np.mgrid[0:height, 0:width]
    return ((7 * x + 5 * y + x * y // 16) % 251).astype(np.float32)


def origin_entry(secret, height, width):
    """Where the first unit of the synthetic plane lies on the torus, (y, x)."""
    origin = hashed_origin(synthetic_plane(height, width), Key(bytes.fromhex(secret)))
    return {"secret": secret, "height": height, "width": width, "origin": list(origin)}
