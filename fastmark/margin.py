"""How much of a mark a plane holds: what embedding predicts and checks before it lets a picture go."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastmark.alignment import LOG_SHIFTS, TorusSpectrum
from fastmark.carrier import BLOCK, Carrier
from fastmark.chips import ChipBlocks
from fastmark.kernels import quantiser as kernels
from fastmark.plane import Plane
from fastmark.scoring import ScorePlanes
from fastmark.unitgrid import resample

REFERENCE_QUALITY = 50
"""JPEG quality of the reference attack."""

# Total SNR z at which list decoding reads nine messages of ten, measured; proof at 1e-9 needs no more.
NEEDED_Z = {16: 8.5, 32: 10.0, 64: 12.8, 96: 15.1, 128: 17.2}

# Nats at which the pilot's phases alone prove presence at 1e-9 in a picture cropped or scaled.
NEEDED_PILOT_NATS = math.log(1e9) + LOG_SHIFTS + math.log(16)

# Luminance quantisation of ITU-T T.81, table K.1.
_TABLE = """
16 11 10 16 24 40 51 61    12 12 14 19 26 58 60 55    14 13 16 24 40 57 69 56
14 17 22 29 51 87 80 62    18 22 37 56 68 109 103 77  24 35 55 64 81 104 113 92
49 64 78 87 103 121 120 101   72 92 95 98 112 100 103 99
"""


@dataclass(frozen=True, slots=True)
class Margins:
    """Signal over what is needed, as ratios of z: the message untouched and after JPEG, and the pilot.

    A bound falls as ``exp(-z^2 / 2)``, so the pilot's is the root of a ratio of nats.
    """

    message: float
    jpeg: float
    pilot: float


@functools.cache
def jpeg_steps(quality: int) -> NDArray[np.float32]:
    """Return the luminance quantiser of the IJG's libjpeg at a quality: float32 ``(8, 8)``, grey levels."""
    table = np.array(_TABLE.split(), dtype=np.int64).reshape(8, 8)
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    return np.clip((table * percent + 50) // 100, 1, 255).astype(np.float32)


def measure(
    plane: Plane,
    mask: Plane,
    origin: tuple[int, int],
    carrier: Carrier,
    codeword: NDArray[np.uint8],
    n_tones: int,
    message_bits: int,
) -> Margins:
    """Read a marked plane as a detector would that knew origin and codeword.

    Args:
        plane: float32 ``(H, W)``, of the marked picture.
        mask: float32 ``(H, W)``, perceptual mask; that of the unmarked picture is as good.
        origin: torus place of its first unit; both are 4 modulo 8.
        carrier: of the key.
        codeword: uint8 ``(1024,)``.
        n_tones: the prefix of the pilot.
        message_bits: length of the message.
    """
    compressed = np.empty_like(plane)
    kernels.quantise(plane, jpeg_steps(REFERENCE_QUALITY), compressed)
    planes = ScorePlanes(plane, mask)
    z = _message_z(planes, origin, carrier, codeword)
    z_jpeg = _message_z(ScorePlanes(compressed, mask), origin, carrier, codeword)
    nats = TorusSpectrum(planes, np.eye(2)).coherence(carrier, n_tones, origin)
    needed = NEEDED_Z[message_bits]
    return Margins(z / needed, z_jpeg / needed, math.sqrt(nats / NEEDED_PILOT_NATS))


def _message_z(
    planes: ScorePlanes, origin: tuple[int, int], carrier: Carrier, codeword: NDArray[np.uint8]
) -> float:
    """Return the total signal-to-noise ratio ``sum c L / sqrt(sum z^2)`` of a known codeword."""
    grid = resample(planes, np.eye(2), -np.array(origin, np.float64))
    place = (grid.origin[0] // BLOCK, grid.origin[1] // BLOCK)
    total, variance = ChipBlocks.of(grid.scores, grid.inside).soft_bits(carrier, place)[:, :-1]
    return float((1.0 - 2.0 * codeword) @ total) / math.sqrt(max(float(variance.sum()), 1e-12))
