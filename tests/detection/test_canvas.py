"""Images on flat canvases: their busy part is found by content alone, and the mark in it is read."""

import numpy as np
import pytest
from pictures import MESSAGE, drawn, photograph
from PIL import Image, ImageDraw

from fastmark.codec.plane import pixels_per_unit
from fastmark.detection.canvas import busy_part
from fastmark.detection.detector import analyse
from fastmark.images.opening import open_for_detection

BOX = (700, 330, 1161, 791)  # left, top, right, bottom


def screen(size, image=None, at=(0, 0)):
    """A window with a bar, lines of text down its left, and an image."""
    canvas = Image.new("RGB", size, (245, 245, 245))
    draw = ImageDraw.Draw(canvas)
    draw.rectangle((0, 0, size[0], 60), fill=(70, 80, 95))
    for line in range(80, size[1], 28):
        draw.line((30, line, 30 + (line * 37) % 120, line), fill=(90, 90, 90), width=3)
    if image is not None:
        canvas.paste(image, at)
    return np.asarray(canvas)


def shrunk(image, side=461):
    return Image.fromarray(np.asarray(image)).resize((side, side), Image.Resampling.BICUBIC)


def analysed(pixels):
    return analyse(open_for_detection(pixels, unit=pixels_per_unit))


@pytest.mark.parametrize("size", [(1400, 1000), (2560, 1440)], ids=str)
def test_the_busy_part_is_the_image_and_little_round_it(size):
    analysis = analysed(screen(size, shrunk(drawn(1024, 1024)), BOX[:2]))
    window = analysis.busy_part.window
    assert window.unit == 1
    (top, left), (height, width) = window.corner, window.planes.shape
    found = (left, top, left + width, top + height)
    # two cells of 32 samples of what was looked at, at most
    reach = 64 * analysis.plan.step * window.plane_unit
    for side, sign in enumerate((-1, -1, 1, 1)):
        assert 0 <= sign * (found[side] - BOX[side]) <= reach
    np.testing.assert_array_equal(window.planes.reduced(1).shape, (height, width))


def page():
    """Lines of words all over a page."""
    canvas = Image.new("L", (900, 1200), 250)
    draw, rng = ImageDraw.Draw(canvas), np.random.default_rng(1)
    for y in range(60, 1140, 24):
        x = 60
        while x < 820:
            width = int(rng.integers(10, 60))
            draw.line((x, y, x + width, y), fill=40, width=3)
            x += width + 12
    return np.asarray(canvas)


def sky():
    """A scene under a sky with the noise of a camera, which is smooth but not flat."""
    rng = np.random.default_rng(11)
    above = 200 + np.linspace(0, 30, 400)[:, None] + rng.normal(0, 1.0, (400, 900))
    return np.concatenate([above.round().astype(np.uint8), drawn(400, 900)[..., 1]])


@pytest.mark.parametrize(
    "image",
    [photograph("coffee"), drawn(800, 900), page(), np.full((700, 900), 200, np.uint8), sky()],
    ids=["photograph", "scene", "page", "blank", "sky"],
)
def test_there_is_no_busy_part_without_an_image_on_a_canvas(image):
    assert analysed(image).busy_part is None


def test_small_images_on_a_canvas_are_left_out():
    """Parts under 160 pixels, with a cell of 32 on each side."""
    for side, found in ((70, False), (230, True)):
        canvas = screen((640, 680), shrunk(drawn(512, 512), side), (300, 350))
        assert (analysed(canvas).busy_part is not None) == found


def test_keys_do_not_change_the_part(marker):
    """Content alone chooses it: marked, it is the same."""
    boxes = []
    for image in (drawn(1024, 1024), marker.embed(drawn(1024, 1024), MESSAGE)):
        analysis = analysed(screen((1400, 1000), shrunk(image), BOX[:2]))
        window = busy_part(analysis.planes, analysis.plan.step)
        boxes.append((window.corner, window.planes.shape))
    assert boxes[0] == boxes[1]


def test_a_small_image_on_a_large_screen_is_read(marker):
    marked = marker.embed(drawn(1024, 1024), MESSAGE)
    found = marker.detect(screen((2560, 1440), shrunk(marked), BOX[:2]))
    assert found.message == MESSAGE
    assert found.scale == pytest.approx(0.45, rel=0.01)


def test_a_screen_without_a_mark_is_absent(marker):
    found = marker.detect(screen((2560, 1440), shrunk(drawn(1024, 1024)), BOX[:2]))
    assert (found.state, found.message) == ("absent", None)
