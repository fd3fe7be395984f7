"""Coherent search over geometries with pilot and anchors together, for images whose tones were taken out.

The scan needs the tones' magnitudes; this needs only that phases and signs still agree, and pays for it
with one resampling and three transforms per geometry.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fastmark.codec.carrier import Carrier
from fastmark.detection.affine import Matrix
from fastmark.detection.analysis import Analysis
from fastmark.detection.torus import TorusSpectrum

_WINDOW = 448  # samples a side of the middle that is searched; larger ones want finer steps
_SCALE_STEP = 0.006
_SCALES = np.exp(np.arange(np.log(0.45), np.log(2.2), _SCALE_STEP))
_ASPECTS = (0.8, 0.9, 1.1, 1.25)
_TURNS_DEG = (-2.0, -1.0, 1.0, 2.0)
# z of about 2 million shifts and 1000 geometries: chance gets there once in a hundred images
_FIRST_LOOK = 6.2
_STEPS = (0.002, 0.001, 0.0005)
_MOVES = tuple(
    np.array(move)
    for move in (((1.0, 0), (0, 1)), ((1.0, 0), (0, -1)), ((0.0, 1), (-1, 0)), ((0.0, 1), (1, 0)))
)

LOG_CLIMBS = float(len(_MOVES) * len(_STEPS) * np.log(3))
"""Price of a climb: every step goes one way, the other, or stays."""


def coherent_geometries(analysis: Analysis, carrier: Carrier) -> Iterator[tuple[Matrix, int]]:
    """Yield geometries at which pilot and anchors agree by more than chance, and how many were tried so far.

    Uniform scales 0.45..2.2 first, then mirrored ones, then small turns and other aspects at full scale.

    Args:
        analysis: of the image.
        carrier: of the key.
    """
    middle = analysis.planes.middle(_WINDOW)  # at full resolution, whatever the image's size
    for tried, matrix in enumerate(_geometries(), start=1):
        if TorusSpectrum(middle, matrix, 1).place_densely(carrier)[0] >= _FIRST_LOOK:
            yield _climb(analysis, matrix, carrier), tried


def _geometries() -> Iterator[Matrix]:
    flip = np.diag([1.0, -1.0])
    for shape in (np.eye(2), flip):
        for scale in _SCALES:
            yield shape * scale
    for degrees in _TURNS_DEG:
        angle = np.radians(degrees)
        yield np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    for aspect in _ASPECTS:
        yield np.diag([1.0, aspect])
        yield np.diag([aspect, 1.0])


def _climb(analysis: Analysis, matrix: Matrix, carrier: Carrier) -> Matrix:
    """Improve scale, aspect, turn and shear on the whole plane by pattern search."""

    def z_of(trial: Matrix) -> float:
        return TorusSpectrum(analysis.planes, trial, analysis.plan.step).place_densely(carrier)[0]

    best = z_of(matrix)
    for step in _STEPS:
        for move in _MOVES:
            for sign in (1.0, -1.0):
                trial = (np.eye(2) + sign * step * move) @ matrix
                z = z_of(trial)
                if z > best:
                    best, matrix = z, trial
                    break
    return matrix
