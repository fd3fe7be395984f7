"""Kernels of the 8 x 8 DCT against their twins, and the transform against its definition."""

import numpy as np
import pytest
from reference import dct as slow

from fastmark.kernels import dct as fast

COUNTS = pytest.mark.parametrize("n", [1, 2, 7, 40])
# (plane, first row, blocks' offset to the left): whole blocks; rests; edges on every side
PLANES = [
    ((8, 8), 0, 0),
    ((16, 24), 8, 0),
    ((9, 21), 8, 0),
    ((11, 8), -5, 4),
    ((30, 37), 26, 7),
    ((8, 64), -1, 1),
]

COEFFICIENT = 1e-3  # float32 sums of 64 products of 255
RELATIVE = 1e-6


def draw(shape, seed=0):
    return np.random.default_rng([seed, *shape]).uniform(-128, 128, shape).astype(np.float32)


def transformed(kernel, a):
    out = a.copy()
    kernel(out, np.full_like(a, np.nan))
    return out


def n_blocks(plane, ox):
    return (plane.shape[1] + ox + 7) // 8


@COUNTS
def test_dct8_agrees_with_its_twin(n):
    a = draw((8, n))
    out = np.full_like(a, np.nan)
    fast.dct8(a, out)
    np.testing.assert_allclose(out, slow.dct8(a), rtol=0, atol=COEFFICIENT / 8)


@COUNTS
def test_idct8_agrees_with_its_twin(n):
    a = draw((8, n))
    out = np.full_like(a, np.nan)
    fast.idct8(a, out)
    np.testing.assert_allclose(out, slow.idct8(a), rtol=0, atol=COEFFICIENT / 8)


@COUNTS
def test_forward_blocks_agrees_with_its_twin(n):
    a = draw((8, 8, n))
    np.testing.assert_allclose(
        transformed(fast.forward_blocks, a), slow.forward_blocks(a), rtol=0, atol=COEFFICIENT
    )


@COUNTS
def test_inverse_blocks_agrees_with_its_twin(n):
    a = draw((8, 8, n))
    np.testing.assert_allclose(
        transformed(fast.inverse_blocks, a), slow.inverse_blocks(a), rtol=0, atol=COEFFICIENT
    )


def test_the_twins_matrix_is_orthonormal_and_the_textbooks():
    fft = pytest.importorskip("scipy.fft", reason="an independent DCT")
    np.testing.assert_allclose(slow.MATRIX @ slow.MATRIX.T, np.eye(8), rtol=0, atol=1e-14)
    np.testing.assert_allclose(slow.MATRIX, fft.dct(np.eye(8), axis=0, norm="ortho"), rtol=0, atol=1e-14)


@COUNTS
def test_the_inverse_undoes_the_transform(n):
    a = draw((8, 8, n))
    back = transformed(fast.inverse_blocks, transformed(fast.forward_blocks, a))
    np.testing.assert_allclose(back, a, rtol=0, atol=COEFFICIENT / 8)


@COUNTS
def test_the_transform_keeps_the_energy_of_every_block(n):
    a = draw((8, 8, n))
    energy = (transformed(fast.forward_blocks, a) ** 2).sum(axis=(0, 1))
    np.testing.assert_allclose(energy, (a**2).sum(axis=(0, 1)), rtol=10 * RELATIVE)


def test_a_constant_block_has_a_constant_term_only():
    out = transformed(fast.forward_blocks, np.full((8, 8, 3), 25, np.float32))
    np.testing.assert_allclose(out[0, 0], 200, rtol=RELATIVE)
    out[0, 0] = 0
    assert np.abs(out).max() < 1e-4


@pytest.mark.parametrize(("shape", "y0", "ox"), PLANES, ids=str)
def test_load_blocks_agrees_with_its_twin(shape, y0, ox):
    plane = draw(shape)
    out = np.full((8, 8, n_blocks(plane, ox)), np.nan, np.float32)
    fast.load_blocks(plane, y0, ox, out)
    np.testing.assert_array_equal(out, slow.load_blocks(plane, y0, ox, out.shape[2]))


@COUNTS
def test_store_blocks_agrees_with_its_twin(n):
    x = draw((8, 8, n))
    plane = np.zeros((19, 8 * n + 5), np.float32)
    fast.store_blocks(x, 6, plane)
    np.testing.assert_array_equal(plane[6:14, : 8 * n], slow.store_blocks(x))
    plane[6:14, : 8 * n] = 0
    assert not plane.any()


@COUNTS
def test_what_is_loaded_is_stored_back(n):
    plane = draw((24, 8 * n))
    x, out = np.empty((8, 8, n), np.float32), np.zeros_like(plane)
    for y0 in range(0, 24, 8):
        fast.load_blocks(plane, y0, 0, x)
        fast.store_blocks(x, y0, out)
    np.testing.assert_array_equal(out, plane)
