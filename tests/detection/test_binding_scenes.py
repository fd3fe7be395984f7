"""Binding where the watermarked image is a part of what is shown, or a part of it is: canvases and crops."""

import functools

import numpy as np
import pytest
from pictures import drawn
from PIL import Image, ImageDraw, ImageOps

from fastmark import Key, Watermarker
from fastmark.codec.plane import pixels_per_unit
from fastmark.detection.chip_sums import box_of, shown
from fastmark.detection.detector import analyse
from fastmark.images.opening import open_for_detection

MESSAGE = 5


def quiet(height, width, seed, amplitude):
    """A light image of hardly any content, with a little noise."""
    y, x = np.mgrid[:height, :width]
    luma = 200 + amplitude * np.sin(x / 9) * np.cos(y / 11)
    luma = luma + np.random.default_rng(seed).normal(0, 0.7, luma.shape)
    return np.repeat(np.clip(luma, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


@functools.cache
def marker_of(number, strength=1.0):
    return Watermarker(Key(bytes([number + 1] * 32)), strength=strength)


@functools.cache
def marked_quiet(number, amplitude, shape=(480, 400)):
    return marker_of(number).embed(quiet(*shape, number, amplitude), MESSAGE)


def on_canvas(picture, grey, rows, columns, at):
    canvas = np.full((rows, columns, 3), grey, np.uint8)
    height, width = picture.shape[:2]
    canvas[at[0] : at[0] + height, at[1] : at[1] + width] = picture
    return canvas


def captioned(picture):
    image = Image.fromarray(picture)
    drawing = ImageDraw.Draw(image)
    for top in (20, 300):
        drawing.rectangle((30, top, 370, top + 70), fill="black")
        drawing.text((50, top + 15), "a caption over the image", fill="white", font_size=25)
    return np.asarray(image)


def screenshot(picture):
    small = Image.fromarray(picture).resize((320, 384), Image.Resampling.BICUBIC)
    return on_canvas(np.asarray(small), 25, 900, 1440, (211, 903))


SCENES = {
    "dark canvas": lambda p: on_canvas(p, 20, 780, 1100, (170, 300)),
    "dark canvas, at an odd place": lambda p: on_canvas(p, 20, 801, 1103, (171, 303)),
    "white page": lambda p: on_canvas(p, 255, 780, 1100, (33, 8)),
    "captioned": captioned,
    "screenshot": screenshot,
}


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize(("number", "amplitude"), [(0, 0), (1, 1), (2, 2)])
def test_a_quiet_image_among_other_things_is_not_called_a_copy(number, amplitude, scene):
    found = marker_of(number).detect(SCENES[scene](marked_quiet(number, amplitude)))
    assert found.message == MESSAGE
    assert found.binding in ("match", "unknown") and found.made_with != "detector key"


def test_what_little_content_there_is_counts_beside_a_canvas():
    found = marker_of(2).detect(on_canvas(marked_quiet(2, 2, (700, 500)), 20, 1000, 1200, (170, 300)))
    assert found.message == MESSAGE and found.binding == "match"


@pytest.mark.parametrize("scene", SCENES)
def test_a_copy_among_other_things_is_still_called_one(scene):
    marker = marker_of(0)
    source, target = drawn(480, 400, 1), drawn(480, 400, 2)
    delta = marker.embed(source, MESSAGE).astype(int) - source
    forged = np.clip(target + delta, 0, 255).astype(np.uint8)
    found = marker.detect(SCENES[scene](forged))
    assert found.message == MESSAGE and found.binding == "mismatch"


def test_the_box_of_chips_is_where_the_image_lies():
    marker, detector = marker_of(1), marker_of(1).key_detector
    canvas = on_canvas(marker.embed(drawn(480, 400, 3), MESSAGE), 20, 780, 1100, (168, 304))
    finding = detector.search(analyse(open_for_detection(canvas, unit=pixels_per_unit))).finding
    rows, columns = box_of(*shown(finding.view, detector.carrier, finding.message, np.float32(1)))
    placement, origin = finding.placement, finding.view.origin
    for span, place, first, start, size in zip(
        (rows, columns), placement.offset, origin, (168, 304), (480, 400), strict=True
    ):
        low, high = (8 * (first + n) + place for n in (span.start, span.stop))
        assert abs(low - start) <= 16 and abs(high - start - size) <= 16


# ---- crops of strong watermarks ----------------------------------------------------------------------------

# shifts at which chips of low frequencies, seen from the nearest place of an image that was not cropped,
# change their signs more often than not
CROPS = [(1, 2), (3, 2), (5, 6), (6, 7), (7, 2), (2, 7)]


@pytest.mark.parametrize("strength", [1.0, 2.0, 4.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_crop_is_read_at_its_own_place(seed, strength):
    """Chips of a strong mark are read some pixels beside their place too, with the other sign."""
    marker = marker_of(seed, strength)
    marked = marker.embed(drawn(720, 760, seed), MESSAGE)
    for down, across in CROPS:
        found = marker.detect(np.ascontiguousarray(marked[down:, across:]))
        assert (found.message, found.inverted, found.binding) == (MESSAGE, False, "match"), (down, across)
        whole = marker.detect(marked)
        assert found.margin > 0.6 * whole.margin


def test_a_place_is_doubted_where_the_pilot_agrees_better_beside_it():
    marker, detector = marker_of(0, 2.0), marker_of(0, 2.0).key_detector
    marked = marker.embed(drawn(512, 600, 0), MESSAGE)

    def beside(picture):
        return (
            analyse(open_for_detection(picture, unit=pixels_per_unit))
            .origins.place(detector.carrier)
            .lies_beside()
        )

    assert not beside(marked)
    assert not beside(255 - marked)
    assert beside(np.ascontiguousarray(marked[3:, 2:])) and beside(np.ascontiguousarray(marked[5:, 6:]))
    assert not beside(np.ascontiguousarray(marked[8:, 16:]))


@pytest.mark.parametrize("seed", [0, 2, 3])
def test_an_image_whose_contrast_was_raised_by_much_is_not_called_a_copy(seed):
    """Hardly any content became a lot: the mark follows it, but not as far as it would if made for it now."""
    marker = marker_of(seed)
    marked = marker.embed((200 + 0.08 * drawn(512, 512, seed).astype(float)).astype(np.uint8), MESSAGE)
    found = marker.detect(np.asarray(ImageOps.autocontrast(Image.fromarray(marked))))
    assert found.message == MESSAGE and found.binding in ("match", "unknown")
