"""Kernels of the 8 x 8 DCT against their twins, and the transform against its definition."""

import numpy as np
import pytest
from reference import dct as slow

from fastmark.kernels import dct as fast

COUNTS = pytest.mark.parametrize("n", [1, 2, 7, 40])
ROWS = pytest.mark.parametrize("y", [0, 3, 7])
# (plane, first row, blocks' offset to the left): whole blocks; rests; edges on every side; less than a block
PLANES = [
    ((8, 8), 0, 0),
    ((16, 24), 8, 0),
    ((9, 21), 8, 0),
    ((11, 8), -5, 4),
    ((30, 37), 26, 7),
    ((8, 64), -1, 1),
    ((1, 1), 0, 5),
    ((3, 5), -2, 0),
]
PLACED = pytest.mark.parametrize(("shape", "y0", "ox"), PLANES, ids=str)

COEFFICIENT = 1e-3  # float32 sums of 64 products of 255
RELATIVE = 1e-6


def draw(shape, seed=0):
    return np.random.default_rng([seed, *shape]).uniform(-128, 128, shape).astype(np.float32)


def n_blocks(plane, ox):
    return (plane.shape[1] + ox + 7) // 8


def forward(plane, y0, ox, n):
    line, scratch, out = (np.full(shape, np.nan, np.float32) for shape in (8 * n, (8, 8, n), (8, 8, n)))
    fast.forward_blocks(plane, y0, ox, line, scratch, out)
    return out


def inverse(x):
    """A row of blocks, ``(8, 8 n)``."""
    columns = np.full_like(x, np.nan)
    fast.inverse_columns(x, columns)
    pixels = np.full((8, 8 * x.shape[2]), np.nan, np.float32)
    for y in range(8):
        fast.idct_row(columns, y, pixels[y])
    return pixels


def energies(pixels):
    return (pixels.reshape(8, -1, 8) ** 2).sum(axis=(0, 2))


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


@ROWS
@COUNTS
def test_dct_row_agrees_with_its_twin_and_writes_one_row(n, y):
    line = draw((8 * n,))
    out = np.full((8, 8, n), 9, np.float32)
    fast.dct_row(line, y, out)
    np.testing.assert_allclose(out[:, y], slow.dct_row(line), rtol=0, atol=COEFFICIENT / 8)
    out[:, y] = 9
    assert np.all(out == 9)


@ROWS
@COUNTS
def test_idct_row_agrees_with_its_twin(n, y):
    a = draw((8, 8, n))
    line = np.full(8 * n, np.nan, np.float32)
    fast.idct_row(a, y, line)
    np.testing.assert_allclose(line, slow.idct_row(a, y), rtol=0, atol=COEFFICIENT / 8)


@PLACED
def test_forward_blocks_agrees_with_its_twin(shape, y0, ox):
    plane = draw(shape)
    n = n_blocks(plane, ox)
    exact = slow.forward_blocks(plane, y0, ox, n)
    np.testing.assert_allclose(forward(plane, y0, ox, n), exact, rtol=0, atol=COEFFICIENT)


@pytest.mark.parametrize(
    ("shape", "y0", "ox", "n"), [((8, 30), 0, 0, 2), ((9, 40), 0, 3, 6), ((8, 8), 0, 0, 3)]
)
def test_forward_blocks_does_as_many_blocks_as_it_is_asked_for(shape, y0, ox, n):
    plane = draw(shape)
    exact = slow.forward_blocks(plane, y0, ox, n)
    np.testing.assert_allclose(forward(plane, y0, ox, n), exact, rtol=0, atol=COEFFICIENT)


@COUNTS
def test_inverse_columns_agrees_with_its_twin(n):
    a = draw((8, 8, n))
    out = np.full_like(a, np.nan)
    fast.inverse_columns(a, out)
    np.testing.assert_allclose(out, slow.inverse_columns(a), rtol=0, atol=COEFFICIENT / 8)


def test_the_twins_matrix_is_orthonormal_and_the_textbooks():
    fft = pytest.importorskip("scipy.fft", reason="an independent DCT")
    np.testing.assert_allclose(slow.MATRIX @ slow.MATRIX.T, np.eye(8), rtol=0, atol=1e-14)
    np.testing.assert_allclose(slow.MATRIX, fft.dct(np.eye(8), axis=0, norm="ortho"), rtol=0, atol=1e-14)


def test_forward_blocks_is_the_textbooks_transform_with_the_horizontal_frequency_first():
    fft = pytest.importorskip("scipy.fft", reason="an independent DCT")
    plane = draw((8, 24))
    blocks = plane.astype(np.float64).reshape(8, 3, 8).transpose(1, 0, 2)
    textbook = [fft.dctn(block, norm="ortho").T for block in blocks]
    np.testing.assert_allclose(forward(plane, 0, 0, 3), np.moveaxis(textbook, 0, 2), rtol=0, atol=COEFFICIENT)


@COUNTS
def test_the_inverse_undoes_the_transform(n):
    plane = draw((8, 8 * n))
    np.testing.assert_allclose(inverse(forward(plane, 0, 0, n)), plane, rtol=0, atol=COEFFICIENT / 8)


@COUNTS
def test_the_transform_keeps_the_energy_of_every_block(n):
    plane = draw((8, 8 * n))
    x = forward(plane, 0, 0, n)
    np.testing.assert_allclose((x**2).sum(axis=(0, 1)), energies(plane), rtol=10 * RELATIVE)


def test_a_constant_block_has_a_constant_term_only():
    x = forward(np.full((8, 24), 25, np.float32), 0, 0, 3)
    np.testing.assert_allclose(x[0, 0], 200, rtol=RELATIVE)
    x[0, 0] = 0
    assert np.abs(x).max() < 1e-4


def test_what_varies_along_a_row_alone_has_no_vertical_frequency():
    x = forward(np.tile(draw((40,)), (8, 1)), 0, 0, 5)
    assert np.abs(x[:, 1:]).max() < COEFFICIENT
    assert np.abs(x[1:, 0]).max() > 10


def test_a_block_does_not_depend_on_its_neighbours():
    plane = draw((8, 40))
    x = forward(plane, 0, 0, 5)
    plane[:, :16], plane[:, 24:] = 0, 255
    np.testing.assert_array_equal(forward(plane, 0, 0, 5)[:, :, 2], x[:, :, 2])
