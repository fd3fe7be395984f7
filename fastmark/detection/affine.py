"""Linear geometries: 2 x 2 matrices in (y, x) order, from units to samples unless it is said otherwise."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


def is_identity(matrix: Matrix) -> bool:
    """Return whether nothing is scaled, turned or strained, to the last bit."""
    return bool(np.array_equal(matrix, np.eye(2)))


def strain(along: float, across: float) -> Matrix:
    """Return an area-preserving strain, ``along`` the axes and ``across`` the diagonals.

    It is the exponential of the symmetric matrix ``[[along, across], [across, -along]] / 2``.
    """
    size = np.hypot(along, across) / 2
    if size == 0:
        return np.eye(2)
    part = np.array([[along, across], [across, -along]]) / (2 * size)
    strained: Matrix = np.cosh(size) * np.eye(2) + np.sinh(size) * part
    return strained


def describe(matrix: Matrix) -> tuple[float, float, float, bool]:
    """Return scale, counterclockwise rotation in degrees, aspect and mirroring of a matrix.

    The matrix is read as: mirror left and right, stretch, then turn.
    """
    determinant = float(np.linalg.det(matrix))
    mirrored = determinant < 0
    if mirrored:
        matrix = matrix @ np.diag([1.0, -1.0])
    rotation = math.degrees(math.atan2(matrix[1, 0] - matrix[0, 1], matrix[0, 0] + matrix[1, 1]))
    stretch_y, stretch_x = np.linalg.norm(matrix, axis=0)
    return math.sqrt(abs(determinant)), rotation, float(stretch_x / stretch_y), mirrored
