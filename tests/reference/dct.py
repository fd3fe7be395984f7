"""Twins of ``fastmark.kernels.dct``."""

import numpy as np

_FREQUENCY, _PLACE = np.mgrid[0:8, 0:8]
# orthonormal DCT-II of length 8, its rows the frequencies (Ahmed, Natarajan & Rao 1974)
MATRIX = np.cos(np.pi * (2 * _PLACE + 1) * _FREQUENCY / 16) * np.where(_FREQUENCY == 0, np.sqrt(1 / 8), 1 / 2)


def dct8(a):
    return MATRIX @ a


def idct8(a):
    return MATRIX.T @ a


def load_blocks(plane, y0, ox, n):
    rows = np.clip(np.arange(y0, y0 + 8), 0, plane.shape[0] - 1)
    columns = np.clip(np.arange(8 * n) - ox, 0, plane.shape[1] - 1)
    return plane[np.ix_(rows, columns)].reshape(8, n, 8).transpose(0, 2, 1)


def forward_blocks(a):
    return np.einsum("vy,ux,yxn->vun", MATRIX, MATRIX, a)


def inverse_blocks(a):
    return np.einsum("vy,ux,vun->yxn", MATRIX, MATRIX, a)


def store_blocks(x):
    """The eight rows of the plane that the blocks fill."""
    return x.transpose(0, 2, 1).reshape(8, -1)
