"""Chips to soft bits: what was planted comes back with its signs, once for every place of the torus."""

import numpy as np
import pytest
from planted import CODEWORD

from fastmark.codec.carrier import BASIS, COEFFICIENT_COLUMNS, COEFFICIENT_ROWS
from fastmark.codec.message import CODE_BITS
from fastmark.codec.tables import ANCHOR, BLOCK, GRID, N_COEFFICIENTS
from fastmark.detection.soft_bits import N_SOFT, ChipBlocks
from fastmark.kernels.chips import add_inverse_dct

BITS = 1.0 - 2.0 * CODEWORD
ORIGIN = (125, 9)


def chips_of(carrier, n_rows, n_columns, origin=ORIGIN):
    """Unit chips of the codeword, ``(10, BY, BX)``, and the code bits they carry."""
    rows, columns = (np.arange(n_rows) + origin[0]) % GRID, (np.arange(n_columns) + origin[1]) % GRID
    code_bit = carrier.code_bit[:, rows[:, None], columns]
    value = np.where(code_bit == ANCHOR, 1.0, BITS[code_bit])
    return (carrier.signs[:, rows[:, None], columns] * value).astype(np.float32), code_bit


def plane_of(chips):
    plane = np.zeros((8 * chips.shape[1], 8 * chips.shape[2]), np.float32)
    add_inverse_dct(chips, BASIS, COEFFICIENT_ROWS, COEFFICIENT_COLUMNS, 0, 0, plane)
    return plane


def soft_bits(plane, carrier, inside=None, origin=ORIGIN):
    return ChipBlocks.of(plane, np.ones(plane.shape, np.uint8) if inside is None else inside).soft_bits(
        carrier, origin
    )


def test_planted_bits_come_back_with_one_for_every_chip(carrier):
    chips, code_bit = chips_of(carrier, 40, 35)
    total, squares = soft_bits(plane_of(chips), carrier)
    counts = np.bincount(code_bit.ravel() + 1, minlength=N_SOFT)
    assert counts[0] == 40 * 35  # one anchor a block
    np.testing.assert_allclose(total[:-1], BITS * counts[1:], atol=1e-3)
    np.testing.assert_allclose(squares[:-1], counts[1:], atol=1e-3)
    assert total[-1] == pytest.approx(counts[0], abs=1e-2)
    assert squares[-1] == pytest.approx(counts[0], abs=1e-2)
    assert total.size == CODE_BITS + 1


def test_a_negative_plane_turns_every_bit(carrier):
    plane = plane_of(chips_of(carrier, 20, 20)[0])
    one, other = soft_bits(plane, carrier), soft_bits(-plane, carrier)
    np.testing.assert_allclose(other[0], -one[0], atol=1e-4)
    np.testing.assert_allclose(other[1], one[1], atol=1e-4)


def test_another_place_or_key_sees_noise(carrier, other_carrier):
    plane = plane_of(chips_of(carrier, 40, 35)[0])
    right = soft_bits(plane, carrier)
    for of, origin in ((carrier, (ORIGIN[0] + 1, ORIGIN[1])), (other_carrier, ORIGIN)):
        total, squares = soft_bits(plane, of, origin=origin)
        assert abs(BITS @ total[:-1]) / np.sqrt(squares[:-1].sum()) < 4
        assert abs(total[-1]) / np.sqrt(squares[-1]) < 4
        assert squares.sum() == pytest.approx(right[1].sum(), rel=1e-4)


def test_blocks_not_wholly_inside_are_left_out(carrier):
    chips, code_bit = chips_of(carrier, 20, 20)
    inside = np.ones((160, 160), np.uint8)
    inside[39, 17] = 0  # one unit of block (4, 2)
    inside[80:, 90:] = 0
    whole = inside.reshape(20, 8, 20, 8).min(axis=(1, 3)) == 1
    assert not whole[4, 2] and whole[4, 3] and not whole[10, 11]
    squares = soft_bits(plane_of(chips), carrier, inside)[1]
    counts = np.bincount(code_bit[:, whole].ravel() + 1, minlength=N_SOFT)
    np.testing.assert_allclose(squares, np.append(counts[1:], counts[0]), atol=1e-2)


def test_what_is_beyond_whole_blocks_is_not_looked_at(carrier):
    plane = plane_of(chips_of(carrier, 20, 20)[0])
    padded = np.full((167, 163), 50, np.float32)
    padded[:160, :160] = plane
    np.testing.assert_array_equal(soft_bits(padded, carrier), soft_bits(plane, carrier))


def test_beyond_the_torus_the_same_chips_are_summed_before_they_are_squared(carrier):
    chips, _ = chips_of(carrier, 6, GRID + 5)
    total, squares = soft_bits(plane_of(chips), carrier)
    # five columns of blocks came twice: 2^2 there
    assert squares.sum() == pytest.approx(N_COEFFICIENTS * 6 * (GRID - 5 + 4 * 5), rel=1e-4)
    assert BITS @ total[:-1] + total[-1] == pytest.approx(N_COEFFICIENTS * 6 * (GRID + 5), rel=1e-4)


def test_origins_repeat_with_the_torus(carrier):
    plane = plane_of(chips_of(carrier, 10, 12)[0])
    for shift in (-GRID, GRID, 5 * GRID):
        np.testing.assert_array_equal(
            soft_bits(plane, carrier, origin=(ORIGIN[0] + shift, ORIGIN[1] - shift)),
            soft_bits(plane, carrier),
        )


@pytest.mark.parametrize("shape", [(160, 136), (167, 141), (8, 8)], ids=str)
def test_chips_read_at_half_the_resolution_are_those_of_level_cells(carrier, shape):
    """Of a plane that is level over 2 x 2 units, nothing is lost by taking one sample for each cell."""
    n_rows, n_columns = (n // 2 for n in shape)
    cells = np.random.default_rng(0).normal(size=(n_rows, n_columns)).astype(np.float32)
    odd = [(0, n % 2) for n in shape]  # a last row or column that half the resolution does not show
    plane = np.pad(np.kron(cells, np.ones((2, 2), np.float32)), odd)
    inside = np.ones_like(cells, np.uint8)
    inside[n_rows // 2, 1] = 0
    whole, half = ChipBlocks.of(plane), ChipBlocks.of(cells, step=2)
    np.testing.assert_allclose(half.coefficients, whole.coefficients, atol=1e-5)
    np.testing.assert_array_equal(half.inside, 1)
    masked = ChipBlocks.of(cells, inside, step=2)
    units = np.pad(np.kron(inside, np.ones((2, 2), np.uint8)), odd)
    np.testing.assert_array_equal(masked.inside, ChipBlocks.of(plane, units).inside)
    assert np.count_nonzero(masked.inside == 0) == 1
    np.testing.assert_allclose(
        masked.soft_bits(carrier, ORIGIN), soft_bits(plane, carrier, units), rtol=1e-4, atol=1e-4
    )


def test_planted_bits_show_at_half_the_resolution(carrier):
    """Averaged over 2 x 2 units the chips are weaker, the highest the most, and none is mistaken."""
    chips, _ = chips_of(carrier, 40, 35)
    plane = plane_of(chips)
    halved = plane.reshape(160, 2, 140, 2).mean(axis=(1, 3))
    blocks = ChipBlocks.of(halved, step=2)
    assert blocks.coefficients.shape == chips.shape
    gain = (blocks.coefficients * chips).mean(axis=(1, 2))
    # a wave of index u over 8 units passes cos(pi u / 16) of a mean of two, seen twice
    u, v = COEFFICIENT_COLUMNS, COEFFICIENT_ROWS
    np.testing.assert_allclose(gain, (np.cos(np.pi * u / 16) * np.cos(np.pi * v / 16)) ** 2, atol=2e-3)
    assert np.all(blocks.coefficients * chips > 0)
    total = blocks.soft_bits(carrier, ORIGIN)[0]
    assert np.all(total[:-1] * BITS > 0)
    assert total[-1] > 0


def test_without_a_mask_all_blocks_count(carrier):
    plane = plane_of(chips_of(carrier, 12, 9)[0])
    np.testing.assert_array_equal(ChipBlocks.of(plane).soft_bits(carrier, ORIGIN), soft_bits(plane, carrier))


def test_planes_smaller_than_a_block_hold_nothing(carrier):
    for shape in ((7, 200), (200, 7), (BLOCK - 1, BLOCK - 1)):
        np.testing.assert_array_equal(soft_bits(np.ones(shape, np.float32), carrier), 0)
