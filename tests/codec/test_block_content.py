"""The content of blocks: what chips follow, against the same block by block."""

import numpy as np
import pytest
from reference import binding as reference

from fastmark.codec.binding import CLASSES, FULL_DIFFERENCE, block_content
from fastmark.codec.tables import GRID, PARTNERS


@pytest.fixture(scope="module")
def partners():
    return np.random.default_rng(1).integers(0, len(PARTNERS), (GRID, GRID)).astype(np.uint8)


def test_partners_are_three_to_five_blocks_away_in_the_order_of_the_format():
    assert list(PARTNERS) == reference.PARTNERS
    assert len(PARTNERS) == 56


@pytest.mark.parametrize(
    ("shape", "origin"),
    [((17, 23), (0, 0)), ((9, 140), (120, 100)), ((1, 6), (5, 7)), ((31, 12), (-20, 300))],
)
def test_content_of_blocks(shape, origin, partners):
    rng = np.random.default_rng(2)
    means = rng.normal(0, 6, shape).cumsum(axis=1).astype(np.float32)
    everywhere = np.ones(shape, bool)
    expected = reference.block_content(means, partners, origin, everywhere)
    np.testing.assert_allclose(block_content(means, partners, origin), expected, atol=1e-4)
    holes = rng.random(shape) < 0.8
    found = block_content(means, partners, origin, holes)
    np.testing.assert_allclose(found, reference.block_content(means, partners, origin, holes), atol=1e-4)
    assert not found[~holes].any()


def test_content_does_not_depend_on_a_constant_and_turns_round_with_the_greys(partners):
    means = np.random.default_rng(3).normal(0, 4, (20, 30)).astype(np.float32)
    content = block_content(means, partners, (3, 4))
    np.testing.assert_allclose(block_content(means + 100, partners, (3, 4)), content, atol=1e-4)
    np.testing.assert_allclose(block_content(-means, partners, (3, 4)), -content, atol=1e-6)


def test_content_is_limited_and_in_proportion_below_the_limit(partners):
    ramp = np.tile(np.arange(40, dtype=np.float32), (40, 1))  # a grey level a block
    content = block_content(ramp, partners, (0, 0))[6:-6, 6:-6]
    dx = np.array(PARTNERS)[partners[6:34, 6:34]][..., 1]
    np.testing.assert_allclose(content, -dx / FULL_DIFFERENCE, atol=1e-5)
    assert np.abs(block_content(100 * ramp, partners, (0, 0))).max() == 1


def test_amplitudes_stay_positive_whatever_the_signs():
    """A chip whose factor were negative would say the opposite."""
    assert [kind.number for kind in CLASSES] == [1, 2]
    for kind in CLASSES:
        assert 1 - kind.depth - kind.flag > 0.2
