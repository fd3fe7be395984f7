"""Kernels over 8 x 8 blocks against their twins, and the transform against its definition."""

import numpy as np
import pytest
from reference import blocks as slow

from fastmark.carrier import BASIS, COEFFICIENT_COLUMNS, COEFFICIENT_ROWS, COEFFICIENTS
from fastmark.kernels import blocks as fast

DCT = BASIS, COEFFICIENT_ROWS, COEFFICIENT_COLUMNS
N = len(COEFFICIENTS)

# planes that hold one block, a row of them, a column, and rests of rows and columns; then where blocks start
PLANES = [((8, 8), 0, 0), ((12, 12), 4, 4), ((9, 67), 1, 2), ((70, 13), 3, 5), ((45, 62), 4, 4)]
PLACED = pytest.mark.parametrize(("shape", "y0", "x0"), PLANES, ids=str)
BLOCK_GRIDS = [(1, 1), (1, 7), (7, 1), (2, 2), (5, 9), (13, 20)]
GRIDS = pytest.mark.parametrize("shape", BLOCK_GRIDS, ids=str)
# (torus' grid, blocks, place of the first): within, across the border, from its first, up to thrice round
FOLDS = [
    (8, (3, 5), 1, 2),
    (8, (5, 6), 6, 7),
    (8, (8, 8), 0, 0),
    (8, (19, 27), 5, 3),
    (128, (3, 140), 126, 127),
]
FOLDED = pytest.mark.parametrize(("grid", "shape", "gy", "gx"), FOLDS, ids=str)

COEFFICIENT = 1e-3  # float32 sums of 64 products of 255
RELATIVE = 1e-5


def draw(shape, low=0.0, high=1.0, seed=0):
    return np.random.default_rng([seed, *shape]).uniform(low, high, shape).astype(np.float32)


def draw_torus(grid, n_bits, seed=0):
    rng = np.random.default_rng([seed, grid])
    signs = np.where(rng.random((N, grid, grid)) < 0.5, -1, 1).astype(np.float32)
    return signs, rng.integers(-1, n_bits, (N, grid, grid)).astype(np.int16)


def n_blocks(shape, y0, x0):
    return (shape[0] - y0) // 8, (shape[1] - x0) // 8


def forward(plane, y0=0, x0=0):
    out = np.full((N, *n_blocks(plane.shape, y0, x0)), np.nan, np.float32)
    fast.forward_dct(plane, *DCT, y0, x0, out)
    return out


def fold(coefficients, mask, gy, gx, grid):
    out = np.zeros((N, grid, grid), np.float32)
    fast.fold_chips(coefficients, mask, gy, gx, out)
    return out


@PLACED
def test_forward_dct_agrees_with_its_twin(shape, y0, x0):
    plane = draw(shape, 0, 255)
    exact = slow.forward_dct(plane, *DCT, y0, x0, *n_blocks(shape, y0, x0))
    np.testing.assert_allclose(forward(plane, y0, x0), exact, rtol=0, atol=COEFFICIENT)


def test_forward_dct_is_the_orthonormal_dct_of_the_textbook():
    fft = pytest.importorskip("scipy.fft", reason="an independent DCT")
    block = draw((8, 8), 0, 255)
    textbook = fft.dctn(block.astype(np.float64), norm="ortho")
    expected = [textbook[place] for place in COEFFICIENTS]
    np.testing.assert_allclose(forward(block)[:, 0, 0], expected, rtol=0, atol=COEFFICIENT)


def test_the_basis_is_orthonormal():
    np.testing.assert_allclose(BASIS @ BASIS.T, np.eye(4), rtol=0, atol=1e-6)


@PLACED
def test_add_inverse_dct_agrees_with_its_twin(shape, y0, x0):
    chips = draw((N, *n_blocks(shape, y0, x0)), -5, 5)
    plane = draw(shape, 0, 255)
    exact = plane + slow.add_inverse_dct(chips, *DCT, y0, x0, shape)
    fast.add_inverse_dct(chips, *DCT, y0, x0, plane)
    np.testing.assert_allclose(plane, exact, rtol=0, atol=1e-4)


@PLACED
def test_forward_dct_gives_back_the_chips_that_add_inverse_dct_laid_down(shape, y0, x0):
    chips = draw((N, *n_blocks(shape, y0, x0)), -5, 5)
    plane = np.zeros(shape, np.float32)
    fast.add_inverse_dct(chips, *DCT, y0, x0, plane)
    np.testing.assert_allclose(forward(plane, y0, x0), chips, rtol=0, atol=1e-5)


@PLACED
def test_add_inverse_dct_is_the_transpose_of_forward_dct(shape, y0, x0):
    plane, chips = draw(shape, -1, 1), draw((N, *n_blocks(shape, y0, x0)), -1, 1)
    image = np.zeros(shape, np.float32)
    fast.add_inverse_dct(chips, *DCT, y0, x0, image)
    assert np.vdot(forward(plane, y0, x0), chips) == pytest.approx(np.vdot(plane, image), abs=1e-3)


@PLACED
def test_chips_change_no_mean_and_nothing_outside_their_blocks(shape, y0, x0):
    chips = draw((N, *n_blocks(shape, y0, x0)), -5, 5)
    plane = np.zeros(shape, np.float32)
    fast.add_inverse_dct(chips, *DCT, y0, x0, plane)
    height, width = (8 * n for n in chips.shape[1:])
    blocks = plane[y0 : y0 + height, x0 : x0 + width]
    means = blocks.reshape(height // 8, 8, width // 8, 8).mean(axis=(1, 3))
    np.testing.assert_allclose(means, 0, rtol=0, atol=1e-5)
    blocks[:] = 0
    assert not plane.any()


@FOLDED
def test_fold_chips_agrees_with_its_twin(grid, shape, gy, gx):
    coefficients, mask = draw((N, *shape), -0.4, 0.4, 1), draw(shape, 1.5, 9, 2)
    exact = slow.fold_chips(coefficients, mask, gy, gx, grid)
    np.testing.assert_allclose(fold(coefficients, mask, gy, gx, grid), exact, rtol=RELATIVE, atol=1e-5)


def test_fold_chips_adds_to_what_is_there():
    coefficients, mask = draw((N, 4, 4)), np.ones((4, 4), np.float32)
    out = fold(coefficients, mask, 2, 6, 8)
    once = out.copy()
    fast.fold_chips(coefficients, mask, 2, 6, out)
    np.testing.assert_array_equal(out, 2 * once)


def test_blocks_of_zero_mask_leave_no_trace():
    mask = np.ones((6, 6), np.float32)
    mask[2, 3] = 0
    out = fold(draw((N, 6, 6), 1, 2), mask, 0, 0, 8)
    assert not out[:, 2, 3].any()
    assert np.count_nonzero(out[0]) == 35


@pytest.mark.parametrize(("grid", "n_bits"), [(1, 2), (8, 16), (24, 1024)])
def test_soft_bits_agrees_with_its_twin(grid, n_bits):
    signs, code_bit = draw_torus(grid, n_bits)
    folded = draw((N, grid, grid), -3, 3)
    out = np.full((2, n_bits + 1), np.nan)
    fast.soft_bits(folded, signs, code_bit, out)
    exact = slow.soft_bits(folded, signs, code_bit, n_bits)
    np.testing.assert_allclose(out, exact, rtol=RELATIVE, atol=1e-5)


def test_soft_bits_leaves_out_no_chip():
    signs, code_bit = draw_torus(16, 40)
    folded = draw((N, 16, 16), -3, 3)
    out = np.empty((2, 41))
    fast.soft_bits(folded, signs, code_bit, out)
    everything = [np.vdot(signs, folded), np.vdot(folded, folded)]
    np.testing.assert_allclose(out.sum(axis=1), everything, rtol=1e-4, atol=1e-3)


@FOLDED
def test_chip_amplitudes_agrees_with_its_twin(grid, shape, gy, gx):
    signs, code_bit = draw_torus(grid, 64)
    mask, bits = draw(shape, 1.5, 9), draw((65,), -2, 2)
    out = np.full((N, *shape), np.nan, np.float32)
    fast.chip_amplitudes(mask, np.float32(0.7), signs, code_bit, bits, gy, gx, out)
    exact = slow.chip_amplitudes(mask, 0.7, signs, code_bit, bits, gy, gx)
    np.testing.assert_allclose(out, exact, rtol=RELATIVE)


def test_soft_bits_reads_the_signs_that_chip_amplitudes_wrote():
    signs, code_bit = draw_torus(16, 40)
    bits = np.append(np.where(draw((40,)) < 0.5, -1, 1), 1).astype(np.float32)
    mask = draw((35, 21), 2.5, 8)
    chips = np.empty((N, 35, 21), np.float32)
    fast.chip_amplitudes(mask, np.float32(1), signs, code_bit, bits, 9, 5, chips)
    out = np.empty((2, 41))
    fast.soft_bits(fold(chips, mask, 9, 5, 16), signs, code_bit, out)
    np.testing.assert_array_equal(np.sign(out[0]), bits)
