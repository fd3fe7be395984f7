"""Kernels over the chips' blocks against their twins, and the transform against its definition."""

import itertools

import numpy as np
import pytest
from reference import chips as slow

from fastmark.codec.carrier import BASIS, COEFFICIENT_COLUMNS, COEFFICIENT_ROWS, HALF_BASIS
from fastmark.codec.tables import COEFFICIENTS
from fastmark.kernels import chips as fast

PLACES = COEFFICIENT_ROWS, COEFFICIENT_COLUMNS
N = len(COEFFICIENTS)

# planes that hold one block, a row of them, a column, and rests of rows and columns; then where blocks start
PLANES = [((8, 8), 0, 0), ((12, 12), 4, 4), ((9, 67), 1, 2), ((70, 13), 3, 5), ((45, 62), 4, 4)]
PLACED = pytest.mark.parametrize(("shape", "y0", "x0"), PLANES, ids=str)
BASES = pytest.mark.parametrize("basis", [BASIS, HALF_BASIS], ids=["8", "4"])
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
PILOTED = pytest.mark.parametrize("shape", [(1, 1), (1, 30), (30, 1), (9, 16), (21, 34), (40, 67)], ids=str)
ORIGINS = pytest.mark.parametrize(("oy", "ox"), [(0, 0), (4, 12), (15, 31), (1020, 517)])

COEFFICIENT = 1e-3  # float32 sums of 64 products of 255
RELATIVE = 1e-5


def draw(shape, low=0.0, high=1.0, seed=0):
    return np.random.default_rng([seed, *shape]).uniform(low, high, shape).astype(np.float32)


def draw_torus(grid, n_bits, seed=0):
    rng = np.random.default_rng([seed, grid])
    signs = np.where(rng.random((N, grid, grid)) < 0.5, -1, 1).astype(np.int8)
    return signs, rng.integers(-1, n_bits, (N, grid, grid)).astype(np.int16)


def n_blocks(shape, y0, x0, basis=BASIS):
    side = basis.shape[1]
    return (shape[0] - y0) // side, (shape[1] - x0) // side


def forward(plane, y0=0, x0=0, basis=BASIS):
    out = np.full((N, *n_blocks(plane.shape, y0, x0, basis)), np.nan, np.float32)
    fast.forward_dct(plane, basis, *PLACES, y0, x0, out)
    return out


def inverse(chips, y0, x0, shape, basis=BASIS):
    plane = np.zeros(shape, np.float32)
    fast.add_inverse_dct(chips, basis, *PLACES, y0, x0, plane)
    return plane


def fold(coefficients, mask, gy, gx, grid):
    out = np.zeros((N, grid, grid), np.float32)
    fast.fold_chips(coefficients, mask, gy, gx, out)
    return out


def amplitudes(mask, gain, signs, code_bit, bits, bound, depth, flags, flag, content, gy, gx):
    out = np.full((N, *mask.shape), np.nan, np.float32)
    gain, depth, flag = (np.float32(factor) for factor in (gain, depth, flag))
    fast.chip_amplitudes(mask, gain, signs, code_bit, bits, bound, depth, flags, flag, content, gy, gx, out)
    return out


def draw_pilot(pilot, oy, ox, gain, cells, shape, pieces=None):
    out = np.full(shape, np.nan, np.float32)
    for first, last in pieces or [(0, shape[0])]:
        fast.draw_pilot(pilot, oy, ox, np.float32(gain), cells, first, last, out)
    return out


# ---- transforms ------------------------------------------------------------------------------------


@BASES
@PLACED
def test_forward_dct_agrees_with_its_twin(shape, y0, x0, basis):
    plane = draw(shape, 0, 255)
    exact = slow.forward_dct(plane, basis, *PLACES, y0, x0, *n_blocks(shape, y0, x0, basis))
    np.testing.assert_allclose(forward(plane, y0, x0, basis), exact, rtol=0, atol=COEFFICIENT)


def test_forward_dct_is_the_orthonormal_dct_of_the_textbook():
    fft = pytest.importorskip("scipy.fft", reason="an independent DCT")
    block = draw((8, 8), 0, 255)
    textbook = fft.dctn(block.astype(np.float64), norm="ortho")
    expected = [textbook[place] for place in COEFFICIENTS]
    np.testing.assert_allclose(forward(block)[:, 0, 0], expected, rtol=0, atol=COEFFICIENT)


def test_blocks_of_4_see_in_a_halved_plane_what_blocks_of_8_see_in_the_plane():
    halved = draw((20, 28), 0, 255)
    plane = np.kron(halved, np.ones((2, 2), np.float32))
    np.testing.assert_allclose(forward(halved, basis=HALF_BASIS), forward(plane), rtol=0, atol=COEFFICIENT)


def test_the_basis_is_orthonormal():
    np.testing.assert_allclose(BASIS @ BASIS.T, np.eye(4), rtol=0, atol=1e-6)


@BASES
@PLACED
def test_add_inverse_dct_agrees_with_its_twin(shape, y0, x0, basis):
    chips = draw((N, *n_blocks(shape, y0, x0, basis)), -5, 5)
    plane = draw(shape, 0, 255)
    exact = plane + slow.add_inverse_dct(chips, basis, *PLACES, y0, x0, shape)
    fast.add_inverse_dct(chips, basis, *PLACES, y0, x0, plane)
    np.testing.assert_allclose(plane, exact, rtol=0, atol=1e-4)


@pytest.mark.parametrize("n", [1, 2, 9, 64])
def test_spread_waves_agrees_with_its_twin(n):
    waves = draw((4, n), -5, 5)
    row = np.full(8 * n, np.nan, np.float32)
    fast.spread_waves(*waves, BASIS, row)
    np.testing.assert_allclose(row, slow.spread_waves(*waves, BASIS), rtol=0, atol=RELATIVE)


@PLACED
def test_forward_dct_gives_back_the_chips_that_add_inverse_dct_laid_down(shape, y0, x0):
    chips = draw((N, *n_blocks(shape, y0, x0)), -5, 5)
    np.testing.assert_allclose(forward(inverse(chips, y0, x0, shape), y0, x0), chips, rtol=0, atol=1e-5)


@BASES
@PLACED
def test_add_inverse_dct_is_the_transpose_of_forward_dct(shape, y0, x0, basis):
    plane, chips = draw(shape, -1, 1), draw((N, *n_blocks(shape, y0, x0, basis)), -1, 1)
    image = inverse(chips, y0, x0, shape, basis)
    projected = np.vdot(forward(plane, y0, x0, basis), chips)
    assert projected == pytest.approx(np.vdot(plane, image), abs=COEFFICIENT)


@BASES
@PLACED
def test_chips_change_no_mean_and_nothing_outside_their_blocks(shape, y0, x0, basis):
    side = basis.shape[1]
    chips = draw((N, *n_blocks(shape, y0, x0, basis)), -5, 5)
    plane = inverse(chips, y0, x0, shape, basis)
    height, width = (side * n for n in chips.shape[1:])
    blocks = plane[y0 : y0 + height, x0 : x0 + width]
    means = blocks.reshape(height // side, side, width // side, side).mean(axis=(1, 3))
    np.testing.assert_allclose(means, 0, rtol=0, atol=1e-5)
    blocks[:] = 0
    assert not plane.any()


@BASES
def test_rows_of_blocks_laid_down_in_pieces_give_the_bits_of_one_go(basis):
    shape, side = (60, 53), basis.shape[1]
    chips = draw((N, *n_blocks(shape, 4, 4, basis)), -5, 5)
    pieces = np.zeros(shape, np.float32)
    for first, last in ((0, 1), (1, 4), (4, chips.shape[1])):
        fast.add_inverse_dct(chips[:, first:last], basis, *PLACES, 4 + side * first, 4, pieces)
    np.testing.assert_array_equal(pieces, inverse(chips, 4, 4, shape, basis))


# ---- whole blocks ----------------------------------------------------------------------------------


def whole_blocks(inside, side):
    out = np.full([n // side for n in inside.shape], np.nan, np.float32)
    fast.whole_blocks(inside, side, out)
    return out


@pytest.mark.parametrize("side", [4, 8])
@pytest.mark.parametrize("shape", [(8, 8), (9, 67), (70, 13), (45, 62)], ids=str)
def test_whole_blocks_agrees_with_its_twin(shape, side):
    # zeros so few that blocks of either kind come about
    inside = (draw(shape) > 0.02).astype(np.uint8)
    np.testing.assert_array_equal(whole_blocks(inside, side), slow.whole_blocks(inside, side))


@pytest.mark.parametrize("side", [4, 8])
def test_one_place_outside_makes_its_block_no_whole_one(side):
    for place in ((side, 0), (2 * side - 1, side - 1), (side + 1, 2)):
        inside = np.ones((4 * side, 3 * side), np.uint8)
        inside[place] = 0
        whole = whole_blocks(inside, side)
        assert whole[1, 0] == 0
        assert whole.sum() == 11


# ---- statistics of chips ---------------------------------------------------------------------------


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


def test_soft_bits_leaves_out_what_is_not_known():
    signs, code_bit = draw_torus(16, 40)
    folded = draw((N, 16, 16), -3, 3)
    unknown = draw((16, 16)) < 0.3
    out, exact = np.empty((2, 41)), np.empty((2, 41))
    fast.soft_bits(np.where(unknown, np.float32(0), folded), signs, code_bit, exact)
    fast.soft_bits(folded, signs, np.where(unknown, np.int16(-2), code_bit), out)
    np.testing.assert_allclose(out, exact, rtol=RELATIVE, atol=1e-5)


def test_soft_bits_leaves_out_no_chip():
    signs, code_bit = draw_torus(16, 40)
    folded = draw((N, 16, 16), -3, 3)
    out = np.empty((2, 41))
    fast.soft_bits(folded, signs, code_bit, out)
    everything = [np.vdot(signs, folded), np.vdot(folded, folded)]
    np.testing.assert_allclose(out.sum(axis=1), everything, rtol=1e-4, atol=1e-3)


def draw_anchors(grid, seed=0):
    """Signs of a fifth of the chips, 0 for others."""
    signs, _ = draw_torus(grid, 2, seed)
    return signs * (draw((N, grid, grid), seed=seed) < 0.2).astype(np.int8)


def sum_anchors(statistics, anchors, places):
    totals = np.full(len(places), np.nan)
    fast.sum_anchors(statistics, np.concatenate([anchors, anchors], axis=2), places, totals)
    return totals


@pytest.mark.parametrize(("grid", "shape"), [(1, (1, 1)), (8, (3, 5)), (8, (8, 8)), (24, (24, 7))], ids=str)
def test_sum_anchors_agrees_with_its_twin(grid, shape):
    anchors, statistics = draw_anchors(grid), draw((N, *shape), -3, 3)
    rng = np.random.default_rng(grid)
    places = np.concatenate([[[0, 0], [grid - 1, grid - 1], [0, grid - 1]], rng.integers(0, grid, (6, 2))])
    exact = slow.sum_anchors(statistics, anchors, places)
    atol = RELATIVE * float(np.abs(statistics).sum())
    np.testing.assert_allclose(sum_anchors(statistics, anchors, places), exact, rtol=0, atol=atol)


def test_anchors_agree_most_where_they_were_laid_down():
    anchors = draw_anchors(16)
    statistics = np.roll(anchors, (-5, -11), axis=(1, 2))[:, :12, :9] + draw((N, 12, 9), -1, 1)
    places = np.argwhere(np.ones((16, 16)))
    totals = sum_anchors(statistics.astype(np.float32), anchors, places)
    assert places[totals.argmax()].tolist() == [5, 11]
    assert np.sort(totals)[-2] < 0.6 * totals.max()


# ---- what is laid down -----------------------------------------------------------------------------


@FOLDED
def test_chip_amplitudes_agrees_with_its_twin(grid, shape, gy, gx):
    signs, code_bit = draw_torus(grid, 64)
    bound, flags = (draw_torus(grid, 64, seed)[0] for seed in (1, 2))
    content, bits = draw(shape, -1, 1), draw((65,), -2, 2)
    arguments = draw(shape, 1.5, 9), 0.7, signs, code_bit, bits, bound, 0.4, flags, 0.3, content, gy, gx
    np.testing.assert_allclose(
        amplitudes(*arguments), slow.chip_amplitudes(*arguments), rtol=RELATIVE, atol=RELATIVE
    )


@FOLDED
def test_known_row_agrees_with_its_twin(grid, shape, gy, gx):
    signs, code_bit = draw_torus(grid, 64)
    bits, out = draw((65,), -2, 2), np.full(shape[1], np.nan, np.float32)
    fast.known_row(signs[3, gy], code_bit[3, gy], bits, gx, out)
    exact = slow.known_row(signs[3, gy], code_bit[3, gy], bits, gx, shape[1])
    np.testing.assert_allclose(out, exact, rtol=RELATIVE)


@pytest.mark.parametrize("grid", [1, 8, 24])
def test_code_signs_agrees_with_its_twin(grid):
    signs, code_bit = draw_torus(grid, 64)
    bits, out = draw((65,), -2, 2), np.full(signs.shape, np.nan, np.float32)
    fast.code_signs(signs, code_bit, bits, out)
    np.testing.assert_allclose(out, slow.code_signs(signs, code_bit, bits), rtol=RELATIVE)


def test_the_torus_comes_back_to_the_same_chips():
    signs, code_bit = draw_torus(8, 64)
    mask, bits = draw((11, 13), 1.5, 9), draw((65,), -2, 2)
    once, again = (
        amplitudes(mask, 0.7, signs, code_bit, bits, signs, 0.4, signs, 0.3, mask, 5 + n, 6 + n)
        for n in (0, 8)
    )
    np.testing.assert_array_equal(again, once)


@FOLDED
def test_sum_known_agrees_with_its_twin(grid, shape, gy, gx):
    signs, code_bit = draw_torus(grid, 40, seed=4)
    bits = draw((41,), -1, 1, seed=5)
    arguments = draw((N, *shape), -3, 3), signs, code_bit, bits, gy, gx
    total, square = slow.sum_known(*arguments)
    found = fast.sum_known(*arguments)
    assert found[0] == pytest.approx(total, abs=RELATIVE * float(np.abs(arguments[0]).sum()))
    assert found[1] == pytest.approx(square, rel=RELATIVE)


def test_soft_bits_reads_the_signs_that_chip_amplitudes_wrote():
    signs, code_bit = draw_torus(16, 40)
    bits = np.append(np.where(draw((40,)) < 0.5, -1, 1), 1).astype(np.float32)
    mask, content = draw((35, 21), 2.5, 8), draw((35, 21), -1, 1)
    chips = amplitudes(mask, 1, signs, code_bit, bits, signs, 0.4, -signs, 0.3, content, 9, 5)
    out = np.empty((2, 41))
    fast.soft_bits(fold(chips, np.ones((35, 21), np.float32), 9, 5, 16), signs, code_bit, out)
    np.testing.assert_array_equal(np.sign(out[0]), bits)


def pilot_and_cells(shape):
    return draw((16, 32), -2, 2), draw([(n + 1) // 2 for n in shape], 1.5, 9)


@ORIGINS
@PILOTED
def test_draw_pilot_agrees_with_its_twin(shape, oy, ox):
    pilot, cells = pilot_and_cells(shape)
    exact = slow.draw_pilot(pilot, oy, ox, 0.21, cells, shape)
    np.testing.assert_allclose(draw_pilot(pilot, oy, ox, 0.21, cells, shape), exact, rtol=RELATIVE)


@PILOTED
def test_a_pilot_drawn_in_strips_has_the_bits_of_one_drawn_in_one_go(shape):
    pilot, cells = pilot_and_cells(shape)
    # odd rows are the second of a cell; the last strip comes first, so that none finds the weights it needs
    edges = sorted({min(edge, shape[0]) for edge in (0, 3, 4, 11, shape[0])})
    pieces = draw_pilot(pilot, 4, 12, 0.21, cells, shape, reversed(list(itertools.pairwise(edges))))
    np.testing.assert_array_equal(pieces, draw_pilot(pilot, 4, 12, 0.21, cells, shape))


def test_a_strip_of_the_pilot_leaves_other_rows_alone():
    pilot, cells = pilot_and_cells((20, 30))
    out = draw_pilot(pilot, 0, 0, 1, cells, (20, 30), [(5, 8)])
    assert np.isfinite(out[5:8]).all()
    assert np.isnan(out[:5]).all()
    assert np.isnan(out[8:]).all()
