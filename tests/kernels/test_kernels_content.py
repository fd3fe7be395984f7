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
