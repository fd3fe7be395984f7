"""Visible parts of pictures: the message is read over every background, or they are refused or warned of."""

import itertools

import numpy as np
import pytest
from pictures import drawn
from planted import MESSAGE
from stickers import SHAPES, disc, mark, sticker

from fastmark.codec.message import MessageCode
from fastmark.embedding import marking
from fastmark.embedding.margins import Margins
from fastmark.embedding.survival import Predictions
from fastmark.errors import ImageTooFlatError, ImageTooSmallError

BACKGROUNDS = {"white": 255, "black": 0, "grey": 128}


def over(pixels, visible, level):
    """The picture on a plain background, uint8."""
    opacity = visible[..., None].astype(np.float64)
    return np.rint(opacity * pixels + (1 - opacity) * level).astype(np.uint8)


# ---- what is seen is read --------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [(420, 450), (1210, 1250)], ids=["k = 1", "k = 2"])
def test_the_message_is_read_over_every_background(carrier, marker, shape, size):
    visible = SHAPES[shape](*size)
    pixels = sticker(visible)
    marked, report = mark(pixels, carrier, visible)
    assert report.margin_message > 1.1
    assert marker.detect(marked).message == MESSAGE
    for level in BACKGROUNDS.values():
        assert marker.detect(over(marked, visible, level)).message == MESSAGE


def test_opacity_weakens_the_mark_and_the_margins_say_so(carrier):
    pixels = drawn(370, 450)  # looked at as a whole, opaque or not
    margins = [
        mark(pixels, carrier, np.full((370, 450), opacity, np.float32))[1] for opacity in (1, 0.5, 0.25, 0.12)
    ]
    for name in ("margin_message", "margin_jpeg", "survival_jpeg"):
        values = [report.to_dict()[name] for report in margins]
        assert all(b < 1.01 * a for a, b in itertools.pairwise(values))  # what is hardened differs a little
        assert values[-1] < 0.8 * values[0]
    for name in ("survival_half", "survival_crop", "survival_screenshot"):
        # strong tones are found as well when they are weaker, until the message is the least
        assert margins[-1].to_dict()[name] < 0.95 * margins[0].to_dict()[name]


def test_colours_that_are_not_seen_drown_the_mark_of_the_file(carrier, marker):
    """The file without alpha is looked at as well: what its colours say beside the mark is noise there."""
    visible = disc(420, 450, 0.3)
    clean = sticker(visible)
    noisy = clean.copy()
    noisy[visible == 0] = np.random.default_rng(0).integers(0, 256, (int(np.sum(visible == 0)), 3))
    (_, alone), (marked, beside) = (mark(pixels, carrier, visible) for pixels in (clean, noisy))
    assert beside.margin_message < 0.9 * alone.margin_message
    assert marker.detect(over(marked, visible, 255)).message == MESSAGE


# ---- refused, or warned of -------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_picture_of_which_nothing_is_seen_is_refused(carrier, dtype):
    pixels, peak = (drawn(256, 256), 255.0) if dtype == np.uint8 else (np.ones((256, 256), dtype), 1.0)
    with pytest.raises(ImageTooFlatError, match=r"no pixel .* is visible \(alpha is 0 everywhere\).*remove"):
        mark(pixels, carrier, np.zeros((256, 256), np.float32), peak=peak)


def test_a_picture_of_which_too_little_is_seen_is_refused_and_not_changed(carrier):
    visible = np.zeros((256, 256), np.float32)
    visible[96:160, 96:160] = 1
    pixels = sticker(visible)
    out = pixels.copy()
    with pytest.raises(
        ImageTooSmallError,
        match=r"visible part \(6% of 256 x 256.* 64 bits; use fewer message bits, more str",
    ):
        mark(pixels, carrier, visible, out=out)
    np.testing.assert_array_equal(out, pixels)
    # without alpha, it would be marked without a word
    assert not mark(drawn(256, 256), carrier, None, 2.0)[1].warnings


def test_a_part_that_is_hardly_seen_is_refused(carrier):
    visible = np.full((256, 256), 1 / 255, np.float32)
    visible[96:160, 96:160] = 1
    with pytest.raises(ImageTooSmallError, match="visible part"):
        mark(drawn(256, 256), carrier, visible)


def test_a_flat_part_in_which_the_mark_is_lost_is_refused_as_flat(carrier):
    visible = np.full((256, 256), 3 / 255, np.float32)
    with pytest.raises(ImageTooFlatError, match=r"visible part .* too flat"):
        mark(np.full((256, 256, 3), 200, np.uint8), carrier, visible)


def test_fewer_bits_fit_where_more_do_not(carrier):
    visible = np.zeros((256, 256), np.float32)
    visible[74:186, 74:186] = 1
    pixels = sticker(visible)
    with pytest.raises(ImageTooSmallError):
        marking.mark(pixels, 255.0, carrier, MessageCode(128), bytes(16), 1.0, visible=visible)
    report = marking.mark(pixels, 255.0, carrier, MessageCode(16), bytes(2), 1.0, visible=visible)[1]
    assert report.margin_message >= 1


FAIR = Margins(2.0, 2.0, 2.0)
HALF_LOST = Margins(2.0, 2.0, 2.0, Predictions(2.0, 0.5, 3.0, 2.0))


@pytest.mark.parametrize(
    ("bare", "shown", "says"),
    [
        (FAIR, FAIR, []),
        (FAIR, Margins(2, 0.9, 2), ["JPEG compression at quality 50 when the image is shown over"]),
        (Margins(2, 0.9, 2), FAIR, ["JPEG compression at quality 50 when the alpha channel is dropped"]),
        (Margins(2, 0.9, 2), Margins(2, 0.8, 2), ["survive JPEG compression at quality 50"]),
        (FAIR, Margins(2, 2, 0.9), ["the mark may not be found when the image is shown over a background"]),
        (Margins(2, 0.5, 0.5), FAIR, ["JPEG", "not be found when the alpha channel is dropped"]),
        (HALF_LOST, FAIR, ["scaling to half size when the alpha channel is dropped (predicted margin 0.50)"]),
        (FAIR, HALF_LOST, ["scaling to half size when the image is shown over a background"]),
        (HALF_LOST, HALF_LOST, ["scaling to half size (predicted margin 0.50)"]),
    ],
)
def test_warnings_say_which_look_of_the_picture_is_meant(carrier, monkeypatch, bare, shown, says):
    monkeypatch.setattr(marking, "measure_seen", lambda *_: [(bare, shown)])
    report = mark(drawn(160, 200), carrier, disc(160, 200))[1]
    assert len(report.warnings) == len(says)
    assert all(words in warning for words, warning in zip(says, report.warnings, strict=True))
    if min(bare.jpeg, bare.pilot) < 1 and min(shown.jpeg, shown.pilot) < 1:
        assert "when" not in report.warnings[0]
    assert report.margin_jpeg == min(bare.jpeg, shown.jpeg)
    assert report.margin_pilot == min(bare.pilot, shown.pilot)
    expected = zip(bare.survival.margins(), shown.survival.margins(), strict=True)
    assert [one.margin for one in report.survival] == [min(pair) for pair in expected]


@pytest.mark.parametrize(
    ("bare", "shown", "says"),
    [
        (Margins(2, 2, 2), Margins(0.9, 2, 2), "visible part .* cannot carry 64 bits"),
        (Margins(0.9, 2, 2), Margins(2, 2, 2), "beside the colours of the invisible pixels: make these one"),
    ],
)
def test_what_cannot_be_read_with_alpha_or_without_is_refused(carrier, monkeypatch, bare, shown, says):
    monkeypatch.setattr(marking, "measure_seen", lambda *_: [(bare, shown)])
    with pytest.raises(ImageTooSmallError, match=says):
        mark(drawn(160, 200), carrier, disc(160, 200))


def test_a_part_beyond_what_a_detector_looks_at_does_not_count(carrier):
    visible = np.zeros((300, 3000), np.float32)
    visible[:, :400] = 1
    with pytest.raises(ImageTooSmallError, match="visible part"):
        mark(drawn(300, 3000), carrier, visible)
