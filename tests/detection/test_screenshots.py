"""Images shown small in a screenshot: more pixels round an image must not find less of it."""

import numpy as np
import pytest
from pictures import MESSAGE, drawn
from PIL import Image, ImageDraw

CANVASES = [(1920, 990), (1920, 1080), (1440, 1100), (1080, 1920), (2560, 1440)]


@pytest.fixture(scope="module")
def shown(marker):
    """A function ``(share) -> image``: a marked image of 1024 pixels as a browser shows it."""
    marked = Image.fromarray(marker.embed(drawn(1024, 1024), MESSAGE))

    def shrunk(share):
        side = round(1024 * share)
        return marked.resize((side, side), Image.Resampling.BICUBIC)

    return shrunk


def screen(size, image):
    """An image in the middle of a window with a bar, lines of text and a grey ground."""
    canvas = Image.new("RGB", size, (245, 245, 245))
    draw = ImageDraw.Draw(canvas)
    draw.rectangle((0, 0, size[0], 60), fill=(70, 80, 95))
    for line in range(80, size[1], 28):
        draw.line((30, line, 30 + (line * 37) % 120, line), fill=(90, 90, 90), width=3)
    canvas.paste(image, ((size[0] - image.width) // 2, (size[1] - image.height) // 2))
    return canvas


@pytest.mark.parametrize("share", [0.5, 0.55, 0.65])
@pytest.mark.parametrize("size", CANVASES, ids=str)
def test_an_image_is_found_on_a_canvas_of_any_size(marker, shown, size, share):
    found = marker.detect(screen(size, shown(share)))
    assert found.message == MESSAGE
    assert found.scale == pytest.approx(share, rel=0.01)


def test_a_canvas_that_grows_does_not_lose_the_image(marker, shown):
    image = shown(0.6)
    for side in range(700, 1500, 100):
        assert marker.detect(screen((side, side), image)).message == MESSAGE


def test_a_screenshot_without_a_watermark_is_absent(marker):
    plain = Image.fromarray(np.asarray(drawn(1024, 1024))).resize((614, 614))
    found = marker.detect(screen((1920, 1080), plain))
    assert (found.state, found.message) == ("absent", None)
