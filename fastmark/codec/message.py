"""Message <-> 1024 code bits: CRC, and a polar code with list decoding."""

from __future__ import annotations

import functools
import hashlib
import zlib
from dataclasses import dataclass
from typing import SupportsIndex

import numpy as np
from numpy.typing import NDArray

from fastmark._checks import check_message_bits, message_bytes
from fastmark.kernels import polar as kernels

CODE_BITS = 1024
CRC_BITS = 24
LIST_SIZE = 32
MAX_UNIT = 15
"""Largest value of k, the pixels per unit, that the code tells apart; larger ones are sent as 15."""

NEEDED_Z = {16: 8.5, 32: 10.0, 64: 12.8, 96: 15.1, 128: 17.2}
"""By message bits, the SNR at which list decoding reads nine messages of ten; proof at 1e-9 needs no more."""

_BETA = 2.0**0.25


@dataclass(frozen=True, slots=True)
class Decoded:
    """A decoder's answer: the message, the k it was marked with, and the codeword, uint8 ``(1024,)``."""

    message: int
    k: int
    codeword: NDArray[np.uint8]


class MessageCode:
    """The code for messages of one length.

    A codeword is ``u F`` (Arikan 2009, natural order); the message and its check sit on the most reliable
    positions of ``u`` by polarisation weight ``sum_j b_j 2^(j / 4)`` (He et al. 2017), in ascending order of
    position, most significant bit first. The check is the low 24 bits of CRC-32 (ISO 3309, as in zlib) over
    the message's bytes, XOR a mask of k: three bytes of BLAKE2b of ``b"fastmark"``, the message's bits and k,
    one byte each. So it also tells the pixels per unit.

    NOTE: 24 bits, not 16: where an image is bent the noise is not Gaussian, the list ends near the truth
    but without it, and one of its words, at one of the values of k, would pass 16 bits once in 137 times. And
    a hash of k, not the CRC's start value: that is the same as some message bits, and makes near neighbours.
    """

    def __init__(self, message_bits: int) -> None:
        """Build the code.

        Raises:
            InvalidMessageError: if ``message_bits`` is not 16, 32, 64, 96 or 128.
        """
        self.message_bits = check_message_bits(message_bits)
        self.n_bytes = message_bits // 8
        self.information = _information_set(message_bits + CRC_BITS)
        self._frozen = np.ones(CODE_BITS, dtype=bool)
        self._frozen[self.information] = False
        self._schedule = kernels.plan_schedule(self._frozen)

    def to_bytes(self, message: SupportsIndex | bytes | str) -> bytes:
        """Return the message's bytes, big-endian.

        Raises:
            InvalidMessageError: if it is neither an int in range, nor bytes or hex text of the right length.
        """
        return message_bytes(message, self.message_bits)

    def encode(self, message: int | bytes, k: int = 1) -> NDArray[np.uint8]:
        """Return the codeword of a message marked at ``k`` pixels per unit: uint8 ``(1024,)`` of 0 and 1."""
        data = self.to_bytes(message)
        payload = data + self._crc(data, min(max(k, 1), MAX_UNIT)).to_bytes(CRC_BITS // 8, "big")
        u = np.zeros(CODE_BITS, np.uint8)
        u[self.information] = np.unpackbits(np.frombuffer(payload, np.uint8))
        codeword = np.empty(CODE_BITS, np.uint8)
        kernels.encode_polar(u, codeword)
        return codeword

    def decode(self, llr: NDArray[np.float32], list_size: int = LIST_SIZE) -> Decoded | None:
        """Return the likeliest listed codeword whose CRC fits, or None.

        Args:
            llr: float32 ``(1024,)``, log-likelihood ratios, positive for bit 0.
            list_size: paths kept, 1..32.
        """
        codewords = np.empty((list_size, CODE_BITS), np.uint8)
        metrics = np.empty(list_size, np.float32)
        llr = np.ascontiguousarray(llr, np.float32)
        n_paths = kernels.decode_polar_list(llr, self._schedule, list_size, codewords, metrics)
        u = np.empty(CODE_BITS, np.uint8)
        for codeword in codewords[:n_paths]:
            kernels.encode_polar(codeword, u)  # its own inverse
            payload = np.packbits(u[self.information]).tobytes()
            data, crc = payload[: self.n_bytes], int.from_bytes(payload[self.n_bytes :], "big")
            # one table entry tells which k, if any, explains the difference
            k = self._unit_of.get(crc ^ self._crc(data, 0))
            if k is not None:
                return Decoded(int.from_bytes(data, "big"), k, codeword.copy())
        return None

    def _crc(self, data: bytes, k: int) -> int:
        return _crc24(data) ^ self._masks[k]

    @functools.cached_property
    def _masks(self) -> list[int]:
        """What k = 0..15 does to the check."""
        hashed = [
            hashlib.blake2b(b"fastmark" + bytes([self.message_bits, k]), digest_size=CRC_BITS // 8)
            for k in range(1, MAX_UNIT + 1)
        ]
        return [0] + [int.from_bytes(value.digest(), "big") for value in hashed]

    @functools.cached_property
    def _unit_of(self) -> dict[int, int]:
        """Difference of the check from that of k = 0 -> k."""
        return {mask: k for k, mask in enumerate(self._masks) if k}


def _crc24(data: bytes) -> int:
    return zlib.crc32(data) & (1 << CRC_BITS) - 1


def _information_set(count: int) -> NDArray[np.int64]:
    """Return the ``count`` most reliable positions by polarisation weight, ascending."""
    bits = (np.arange(CODE_BITS)[:, None] >> np.arange(10)) & 1
    # NOTE: natural order: a 1 at binary place j makes the channel better, and more so for larger j.
    weight = bits @ _BETA ** np.arange(10)
    order = np.argsort(weight, kind="stable")
    return np.sort(order[CODE_BITS - count :])
