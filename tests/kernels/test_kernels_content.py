"""Kernels of blocks' content against their slow twins."""

import numpy as np
import pytest
from reference import content as slow

from fastmark.kernels import content as fast


@pytest.mark.parametrize(
    ("shape", "grid", "gy", "gx"), [((1, 1), 4, 0, 0), ((5, 7), 4, 3, 1), ((17, 9), 16, 5, 12)]
)
@pytest.mark.parametrize("share", [1.0, 0.7, 0.0])
def test_content_agrees_with_its_twins(shape, grid, gy, gx, share):
    random = np.random.default_rng([*shape, gy])
    means = random.uniform(-128, 128, shape).astype(np.float32)
    inside = (random.random(shape) < share).astype(np.uint8)
    around, out = (np.full(shape, np.nan, np.float32) for _ in range(2))
    fast.mean_of_nine(means, inside, around)
    np.testing.assert_allclose(around, slow.mean_of_nine(means, inside), rtol=1e-5, atol=1e-4)
    offsets = random.integers(-3, 4, (6, 2))
    partners = random.integers(0, 6, (grid, grid)).astype(np.uint8)
    fast.compare_blocks(around, inside, offsets, partners, gy, gx, np.float32(1 / 60), out)
    exact = slow.compare_blocks(around, inside, offsets, partners, gy, gx, 1 / 60)
    np.testing.assert_allclose(out, exact, atol=1e-5)
    assert np.abs(out).max() <= 1


@pytest.mark.parametrize("shape", [(4, 4), (5, 19), (23, 6), (41, 66), (3, 9)], ids=str)
def test_ranges_of_blocks_agree_with_their_twin(shape):
    plane = np.random.default_rng(list(shape)).uniform(-9, 255, shape).astype(np.float32)
    out = np.full([n // 4 for n in shape], np.nan, np.float32)
    fast.block_ranges(plane, out)
    np.testing.assert_array_equal(out, slow.block_ranges(plane))


def test_the_range_of_a_block_is_told_by_any_two_of_its_samples():
    for first, second in (((0, 0), (3, 3)), ((3, 0), (0, 3)), ((1, 2), (2, 1))):
        plane = np.full((8, 12), 50, np.float32)
        plane[4 + first[0], 4 + first[1]], plane[4 + second[0], 4 + second[1]] = 47, 58
        out = np.empty((2, 3), np.float32)
        fast.block_ranges(plane, out)
        np.testing.assert_array_equal(out, [[0, 0, 0], [0, 11, 0]])


@pytest.mark.parametrize("grid", [1, 8, 31])
def test_sums_of_parts_agree_with_their_twin(grid):
    rng = np.random.default_rng(grid)
    shape = 10, grid, grid
    folded = rng.normal(0, 2, (3, *shape)).astype(np.float32)
    weights = rng.uniform(0.1, 2, shape).astype(np.float32)
    known, signs, *flags = (rng.integers(-1, 2, shape).astype(np.int8) for _ in range(4))
    withheld = rng.random((grid, grid)) < 0.4
    arguments = folded, known.astype(np.float32), weights, signs, np.stack(flags), withheld
    out = np.full((2, 7), np.nan)
    fast.sum_parts(*arguments, out)
    np.testing.assert_allclose(out, slow.sum_parts(*arguments), rtol=1e-5, atol=1e-4 * grid)


@pytest.mark.parametrize("grid", [1, 8, 31])
def test_sums_of_disclosed_blocks_agree_with_their_twin(grid):
    rng = np.random.default_rng(grid)
    x = rng.normal(0, 2, (10, grid, grid)).astype(np.float32)
    known = (rng.random((grid, grid)) < 0.6).astype(np.float32)
    blocks, alike = np.full((2, grid, grid), np.nan, np.float32), np.full((2, 10), np.nan)
    fast.sum_disclosed(x, known, blocks, alike)
    for found, exact in zip((blocks, alike), slow.sum_disclosed(x, known), strict=True):
        np.testing.assert_allclose(found, exact, rtol=1e-5, atol=1e-5 * grid)


@pytest.mark.parametrize(("grid", "reach"), [(1, 1), (8, 3), (31, 0), (31, 2)])
def test_sums_around_blocks_agree_with_their_twin(grid, reach):
    values = np.random.default_rng(grid).normal(1, 2, (grid, grid)).astype(np.float32)
    out = np.full((grid, grid), np.nan, np.float32)
    fast.sum_around(values, reach, out)
    np.testing.assert_allclose(out, slow.sum_around(values, reach), rtol=1e-5, atol=1e-4)
