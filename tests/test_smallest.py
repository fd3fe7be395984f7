"""One small image from end to end: quick enough for kernels that are interpreted, and for old releases."""

import fastmark as fm


def test_the_smallest_image_is_marked_and_read(draw_plane, key):
    image = draw_plane("textured", 128, 128).astype("uint8")
    marker = fm.Watermarker(key, 16)
    marked, report = marker.embed_report(image, 0x1234)
    assert report.margin_message > 1
    found = marker.detect(marked)
    assert (found.state, found.message) == ("detected", 0x1234)
