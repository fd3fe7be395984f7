"""Planes with a mark planted at known places, and what became of them when they were moved."""

import numpy as np
from PIL import Image

from fastmark.codec.message import MessageCode
from fastmark.codec.tables import TORUS
from fastmark.detection.placement import LOG_SHIFTS, Placement
from fastmark.embedding.design import Design
from fastmark.embedding.host import hashed_origin, prepare
from fastmark.embedding.marking import make_delta

CODE = MessageCode(64)
MESSAGE = 0x0F1E2D3C4B5A6978
CODEWORD = CODE.encode(MESSAGE)

# matrices from units to samples, (y, x)
GEOMETRIES = {
    "the same": np.eye(2),
    "half turn": -np.eye(2),
    "mirrored": np.diag([1.0, -1.0]),
    "enlarged": 1.3 * np.eye(2),
    "shrunk": 0.7 * np.eye(2),
    "turned": np.array([[np.cos(0.4), -np.sin(0.4)], [np.sin(0.4), np.cos(0.4)]]),
    "sheared": np.array([[1.0, 0.1], [0.02, 0.9]]),
}


def planted(plane, carrier, n_tones=96, strength=1.0):
    """The plane with a mark of this strength in it, float32, and its origin on the torus."""
    host, design = prepare(plane, 1), Design(hashed_origin(plane, carrier.key), n_tones)
    return plane + np.float32(strength) * make_delta(host, carrier, CODEWORD, design), design.origin


def place(log_phases, offset=(0.0, 0.0), matrix=None):
    """A made-up placement of the whole plane, whose phases agree as well as they are told to."""
    matrix = np.eye(2) if matrix is None else matrix
    return Placement(matrix, np.array(offset), False, 96, log_phases, LOG_SHIFTS)


def moved(plane, name):
    """A plane moved without loss, or almost; its units u lie at samples ``matrix @ u + offset``."""
    height, width = plane.shape
    eye, zero = np.eye(2), np.zeros(2)
    flip_y, flip_x = np.diag([-1.0, 1.0]), np.diag([1.0, -1.0])
    if name == "as it was":
        return plane, eye, zero
    if name == "cropped":
        return np.ascontiguousarray(plane[37:-20, 54:-3]), eye, np.array([-37.0, -54.0])
    if name == "turned by 180":
        return np.ascontiguousarray(plane[::-1, ::-1]), -eye, np.array([height - 1.0, width - 1.0])
    if name == "turned by 90":
        matrix = np.array([[0.0, -1.0], [1.0, 0.0]])  # counterclockwise
        return np.ascontiguousarray(np.rot90(plane)), matrix, np.array([width - 1.0, 0.0])
    if name == "mirrored":
        return np.ascontiguousarray(plane[:, ::-1]), flip_x, np.array([0.0, width - 1.0])
    if name == "upside down":
        return np.ascontiguousarray(plane[::-1]), flip_y, np.array([height - 1.0, 0.0])
    across, down = {"enlarged": (1.5, 1.5), "shrunk": (0.75, 0.75), "squeezed": (0.8, 1.0)}[name]
    size = round(width * across), round(height * down)
    scaled = np.asarray(Image.fromarray(plane).resize(size, Image.Resampling.BICUBIC))
    gain = np.array([size[1] / height, size[0] / width])
    return scaled, np.diag(gain), (gain - 1) / 2


MOVES = ("as it was", "cropped", "turned by 180", "turned by 90", "mirrored", "upside down")
RESIZED = ("enlarged", "shrunk", "squeezed")


def units_off(placement, matrix, offset, origin):
    """By how many units a placement misses the truth, the torus being round: the larger of y and x."""
    place = np.linalg.solve(matrix, placement.offset - (offset - matrix @ np.array(origin)))
    return np.abs((place + TORUS / 2) % TORUS - TORUS / 2).max()
