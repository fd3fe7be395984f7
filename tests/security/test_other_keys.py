"""Keys beside the first: those that are nearly the same, and marks over marks."""

import numpy as np
import pytest

import fastmark as fm
from fastmark.codec.carrier import Carrier

MESSAGE = 0xABCDEF


@pytest.fixture(scope="module")
def near(attacks, key):
    """Keys whose secrets differ from the first key's in one bit."""
    return [fm.Key(attacks("keys").flipped(bytes(range(32)), bit)) for bit in (0, 7, 100, 255)]


def test_one_bit_makes_another_key(near, carrier, key, attacks):
    assert len({other.id for other in near} | {key.id}) == 5
    for other in near:
        like = attacks("keys").likeness(carrier, Carrier(other))
        # the largest of a dozen has about 2.2 standard deviations
        assert (
            max(like[f"{name}, z"] for name in ("signs of chips", "phases of tones", "anchors in common")) < 4
        )
        assert like["tones in common, of 384"] < 30  # two that are unrelated share about five
        assert like["correlation of pilots"] < 0.05


def test_a_key_is_like_itself(carrier, attacks):
    like = attacks("keys").likeness(carrier, carrier)
    assert like["correlation of pilots"] == pytest.approx(1, abs=1e-3)
    assert like["tones in common, of 384"] == 384


def test_near_keys_detect_nothing_in_each_others_images(near, marker, image):
    marked = marker.embed(image, MESSAGE)
    found = fm.Detector(near).detect(marked)
    assert [one.state for one in found] == ["absent"] * 4


def test_a_watermark_laid_over_another_leaves_both(marker, image):
    over = fm.Watermarker(fm.Key(bytes(range(2, 34))))
    both = over.embed(marker.embed(image, MESSAGE), 7)
    assert (marker.detect(both).message, over.detect(both).message) == (MESSAGE, 7)


def test_three_watermarks_over_it_leave_its_presence(marker, image):
    made = marker.embed(image, MESSAGE)
    for n in range(3):
        made = fm.Watermarker(fm.Key(np.full(32, n, np.uint8).tobytes())).embed(made, n)
    found = marker.detect(made)
    assert found.detected and found.message in (None, MESSAGE)
