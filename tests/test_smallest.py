"""One small image from end to end: quick enough for kernels that are interpreted, and for old releases."""

import numpy as np

import fastmark as fm


def test_the_smallest_image_is_marked_and_read(key):
    y, x = np.mgrid[0:128, 0:128]
    grain = np.random.default_rng(0).normal(0, 6, (128, 128))
    image = np.clip(128 + 40 * np.sin(x / 9 + np.cos(y / 7)) + grain, 0, 255).astype(np.uint8)
    marker = fm.Watermarker(key, 16)
    found = marker.detect(marker.embed(image, 0x1234))
    assert (found.state, found.message) == ("detected", 0x1234)
