"""Copies of one image with several messages put together: no message that none of them has."""

import numpy as np
import pytest

MESSAGES = (
    0x1111111111111111,
    0x2222222222222222,
    0x0F0F0F0F0F0F0F0F,
    0x123456789ABCDEF0,
    0xFEDCBA0987654321,
)


@pytest.fixture(scope="module")
def joined(attacks, marker, image):
    """Ways to join copies, by their number: name and image."""
    copies = [marker.embed(image, message) for message in MESSAGES]
    return {n: list(attacks("collusion").joined(copies[:n], np.random.default_rng(n))) for n in (2, 5)}


@pytest.mark.parametrize("n", [2, 5])
def test_a_message_of_one_of_the_copies_is_read_or_none(joined, marker, n):
    for way, made in joined[n]:
        found = marker.detect(made)
        assert found.message in (None, *MESSAGES[:n]), way


def test_two_copies_do_not_hide_that_there_is_a_watermark(joined, marker):
    for way, made in joined[2]:
        assert marker.detect(made).detected, way


def test_joining_changes_pixels_within_what_the_copies_have(attacks):
    copies = np.random.default_rng(1).integers(0, 256, (5, 24, 40, 3)).astype(np.uint8)
    ways = dict(attacks("collusion").joined(list(copies), np.random.default_rng(2)))
    assert set(ways) == {"mean", "median", "middle of least and largest", "least", "blocks at random"}
    for made in ways.values():
        assert made.shape == (24, 40, 3) and made.dtype == np.uint8
        assert np.all(made >= copies.min(axis=0)) and np.all(made <= copies.max(axis=0))
    of_one = [(ways["blocks at random"][:8, :8] == copy[:8, :8]).all() for copy in copies]
    assert sum(of_one) == 1
