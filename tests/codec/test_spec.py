"""The package marks as fastmark/SPEC.md says: an embedder written from that alone makes the same pixels."""

import numpy as np
import pytest
import spec_embedder
from pictures import drawn

import fastmark as fm
from fastmark.codec.public import PUBLIC_KEY, PublicCode

SECRET = bytes(range(7, 39))
ROUNDED_OTHERWISE = (
    1e-4  # share of samples at which sums of float32 and of float64 may lie on two sides of a half
)
CLEAR = 0.02
"""Lead of an origin over the next best, standard deviations; in float32 the sums are off by about 1e-5."""
NO_OPINION = "smooth", "flat black", "grey, shapes", "grey, more shapes"
"""Pictures with so little detail that their origin is a hash."""


@pytest.fixture(scope="module")
def pictures(draw_plane):
    """Drawn pictures, uint8.

    Of sizes and seeds at which, under ``SECRET`` and the messages below, no coefficient is so nearly hardened
    and no cell of the thumbnail so nearly a half that float32 might decide otherwise; and the origin agrees
    better than any other by 0.02 standard deviations and more, which the test asserts.
    """
    sky = draw_plane("smooth", 410, 433)
    return {
        "textured": drawn(340, 371, 12),
        "smooth": np.stack([0.7 * sky, 0.9 * sky, 255 - 0.5 * sky], axis=-1).astype(np.uint8),
        "flat black": np.zeros((400, 360, 3), np.uint8),
        "grey, textured": draw_plane("textured", 312, 341, 6).astype(np.uint8),
        "grey, shapes": draw_plane("edges", 333, 350, 1).astype(np.uint8),
        "grey, more shapes": draw_plane("edges", 533, 550, 1).astype(np.uint8),
        "barely enough": draw_plane("textured", 265, 290, 1).astype(np.uint8),  # of margin for class 2
        "small": drawn(181, 203, 3),  # its spectrum is looked at in tiles of 32 cells, those above in 128
        "wide": drawn(530, 801),  # two tiles by three, and one block grid for the origin
        "long": drawn(150, 1310),  # its origin is looked for in its middle,
        "large": drawn(1199, 1250),  # and that of this one in half of the torus
        "two pixels a unit": drawn(1200, 1301),  # 1200 / 800 is rounded up; a column is left over
    }


@pytest.mark.parametrize(
    ("name", "bits", "strength", "tones"),
    [
        ("textured", 64, 1, 192),
        ("textured", 128, 3, 192),
        ("smooth", 32, 1, 384),
        ("smooth", 16, 3, 384),
        ("flat black", 16, 1, 384),
        ("flat black", 64, 3, 384),
        ("grey, textured", 128, 1, 384),
        ("grey, textured", 32, 3, 384),
        ("grey, shapes", 32, 1, 48),
        ("grey, shapes", 64, 3, 48),
        ("grey, more shapes", 64, 1, 96),
        ("barely enough", 128, 1, 384),
        ("small", 16, 1, 48),
        ("small", 32, 3, 48),
        ("wide", 96, 1, 384),
        ("long", 32, 3, 48),
        ("large", 96, 1, 384),
        ("two pixels a unit", 64, 1, 384),
        ("two pixels a unit", 128, 3, 384),
    ],
)
def test_marked_pixels_are_those_of_the_specification(pictures, name, bits, strength, tones):
    picture, message = pictures[name], np.random.default_rng(bits).bytes(bits // 8)
    expected = spec_embedder.embed(picture, SECRET, message, strength)
    assert (expected.lead == np.inf) == (name in NO_OPINION)
    assert expected.lead > CLEAR, "another picture or message is needed: its origin may be either of two"
    marked, report = fm.Watermarker(fm.Key(SECRET), bits, strength).embed_report(picture, message)
    assert report.tones == expected.tones == tones
    assert report.pixels_per_unit == expected.pixels_per_unit
    assert expected.binding == (2 if name == "barely enough" else 1)
    if min(picture.shape[:2]) < 4 * 96:  # planes that are not looked at through windows
        assert report.margin_message == pytest.approx(expected.margin, rel=1e-4)
    assert report.strength == pytest.approx(expected.strength, rel=1e-5)
    assert_same(picture, marked, expected)


@pytest.mark.parametrize(
    ("name", "strength"),
    [("textured", 1), ("smooth", 2), ("grey, shapes", 1), ("grey, more shapes", 4), ("wide", 1),
     ("two pixels a unit", 1)],
)  # fmt: skip
def test_two_watermarks_at_once_are_those_of_the_specification(pictures, name, strength):
    picture, message = pictures[name], np.random.default_rng(14).bytes(8)
    code = PublicCode.of("ai-generated,do-not-train", 65535, 7)
    public = (PUBLIC_KEY.secret, code.to_bytes())
    expected, other = spec_embedder.embed_both(picture, (SECRET, message), public, strength)
    assert min(expected.lead, other.lead) > CLEAR
    marked, report = fm.Watermarker(fm.Key(SECRET), 64, strength).embed_report(picture, message, public=code)
    if min(picture.shape[:2]) < 4 * 96:
        told = report.margin_message, report.margin_public
        assert told == pytest.approx((expected.margin, other.margin), rel=1e-4)
    assert report.tones == expected.tones
    assert report.strength == pytest.approx(expected.strength, rel=1e-5)
    assert_same(picture, marked, expected)


def assert_same(picture, marked, expected):
    assert (marked.shape, marked.dtype) == (picture.shape, np.uint8)
    difference = np.abs(marked.astype(int) - expected.pixels)
    assert difference.max() <= 1
    assert np.mean(difference > 0) <= ROUNDED_OTHERWISE
    assert np.mean(marked != picture) > 0.1
