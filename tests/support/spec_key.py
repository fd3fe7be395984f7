"""Sections 1 to 3 of fastmark/SPEC.md for the second embedder: keystreams, carriers and codewords.

As tests/support/spec_embedder.py, it is written from SPEC.md alone and has nothing of the package.
"""

import hashlib
import math
import zlib
from functools import cache, reduce
from itertools import product
from typing import NamedTuple

import numpy as np

TONE_FREQUENCIES, TONE_PHASES, CHIP_SIGNS, ANCHOR_PLACES, CODE_BIT_MAP, ORIGIN = 2, 3, 4, 5, 6, 7
BINDING_SIGNS, BINDING_PARTNERS, BINDING_FLAGS = 8, 9, 10
ANCHOR = -1
PARTNERS = [(y, x) for y, x in product(range(-5, 6), repeat=2) if 9 <= y * y + x * x <= 25]


class Carriers(NamedTuple):
    """What a key means (section 2)."""

    tones: np.ndarray  # (384, 2), bins (fy, fx)
    phases: np.ndarray  # (384,), radians
    signs: np.ndarray  # (10, 128, 128), +1 or -1
    code_bits: np.ndarray  # (10, 128, 128), 0..1023 or ANCHOR
    bindings: np.ndarray  # (10, 128, 128), +1 or -1
    flags: np.ndarray  # (2, 10, 128, 128), +1 or -1, by class
    partners: np.ndarray  # (128, 128, 2), blocks down and right


def keystream(secret, domain, n_bytes, context=b""):
    """Return the first bytes of the keystream of a domain and a context (section 1)."""
    person = b"fastmark" + domain.to_bytes(2, "little") + bytes(6)
    messages = (i.to_bytes(8, "little") + context for i in range(-(-n_bytes // 64)))
    pieces = (hashlib.blake2b(m, digest_size=64, key=secret, person=person).digest() for m in messages)
    return b"".join(pieces)[:n_bytes]


def draw_tones(secret):
    """Take 384 frequencies out of the 65536 proposed (section 2, tones)."""
    words = np.frombuffer(keystream(secret, TONE_FREQUENCIES, 524288), "<u2").reshape(-1, 4).astype(np.int64)
    fy, fx = 1 + 245 * words[:, 0] // 65536, 491 * words[:, 1] // 65536 - 245
    r2 = fy**2 + fx**2
    fits = (r2 >= 51**2) & (r2 <= 245**2) & (np.abs(fx) >= 6) & (fy >= 6)
    fits &= (65536 * words[:, 2] + words[:, 3]) * r2 < 2**32 * 51**2
    taken = []
    for y, x in zip(fy[fits].tolist(), fx[fits].tolist(), strict=True):
        if all((s * y - a) ** 2 + (s * x - b) ** 2 >= 36 for a, b in taken for s in (1, -1)):
            taken.append((y, x))
        if len(taken) == 384:
            break
    return np.array(taken)


def map_code_bits(anchors, words):
    """Deal the code bits to the chips of every superblock, anchors left out (section 2, code-bit map)."""
    code_bits = np.full((10, 128, 128), ANCHOR)
    chip = np.arange(10)[:, None, None]
    for s in range(64):
        rows, columns = (slice(16 * i, 16 * i + 16) for i in divmod(s, 8))
        data = chip != anchors[rows, columns]
        rank = np.empty(2304, int)
        rank[np.argsort(words[:, rows, columns][data], kind="stable")] = np.arange(2304)
        code_bits[:, rows, columns][data] = (rank + 256 * s) % 1024
    return code_bits


def draw_signs(secret, domain, n_sets=1):
    """Draw one sign for each chip, so many times (section 2, signs and binding)."""
    bits = np.unpackbits(np.frombuffer(keystream(secret, domain, 20480 * n_sets), np.uint8))
    return (1 - 2 * bits.astype(int)).reshape(n_sets, 10, 128, 128)


@cache
def carriers(secret):
    """Make tones, phases, signs, the code-bit map, and what binds (section 2)."""
    phases = 2 * np.pi * np.frombuffer(keystream(secret, TONE_PHASES, 768), "<u2") / 65536
    signs, bindings = (draw_signs(secret, domain)[0] for domain in (CHIP_SIGNS, BINDING_SIGNS))
    flags = draw_signs(secret, BINDING_FLAGS, 2)
    anchors, partners = (
        np.frombuffer(keystream(secret, d, 32768), "<u2").reshape(128, 128).astype(int)
        for d in (ANCHOR_PLACES, BINDING_PARTNERS)
    )
    words = np.frombuffer(keystream(secret, CODE_BIT_MAP, 655360), "<u4").reshape(10, 128, 128)
    code_bits = map_code_bits(anchors % 10, words)
    partners = np.array(PARTNERS)[partners % len(PARTNERS)]
    return Carriers(draw_tones(secret), phases, signs, code_bits, bindings, flags, partners)


def draw_pilot(key, n_tones):
    """Sum the first tones over the torus, to a mean square of 1 (section 2, pilot)."""
    spectrum = np.zeros((1024, 1024), complex)
    fy, fx = key.tones[:n_tones].T
    spectrum[fy, fx % 1024] = np.exp(1j * key.phases[:n_tones])
    return math.sqrt(2 / n_tones) * 1024**2 * np.fft.ifft2(spectrum).real


def checksum(message, k):
    """Return the low 24 bits of CRC-32, masked by a hash of length and k (section 3, step 1)."""
    mask = hashlib.blake2b(b"fastmark" + bytes([8 * len(message), k]), digest_size=3).digest()
    return (zlib.crc32(message) % 2**24 ^ int.from_bytes(mask, "big")).to_bytes(3, "big")


def encode(message, k):
    """Return the 1024 code bits of a message: CRC, then polar code (section 3)."""
    bits = np.unpackbits(np.frombuffer(message + checksum(message, min(k, 15)), np.uint8))
    weights = [sum(2 ** (j / 4) for j in range(10) if i >> j & 1) for i in range(1024)]
    u = np.zeros(1024, int)
    u[np.sort(np.argsort(weights)[-bits.size :])] = bits
    return u @ reduce(np.kron, [np.array([[1, 0], [1, 1]])] * 10) % 2
