"""Means of many marked images: what halves of them have in common, and what they are good for."""

import contextlib

import numpy as np
import pytest
from pictures import drawn

import fastmark as fm

COUNT = 48
MESSAGE = 0x5EC0DE


@pytest.fixture(scope="module")
def averages(attacks):
    return attacks("averages")


@pytest.fixture(scope="module")
def sums(averages, marker):
    """Sums over marked images of one message, drawn and of noise."""
    sums, random, side, number = averages.Sums(), np.random.default_rng(4), averages.SIDE, 0
    while sums.count < COUNT:
        number += 1
        if number % 2:
            image = np.array(drawn(side, side, number))
        else:
            image = np.clip(random.normal(128, 20, (side, side, 1)).repeat(3, 2), 0, 255).astype(np.uint8)
        with contextlib.suppress(fm.ImageTooSmallError):
            sums.add(image, marker.embed(image, MESSAGE))
    return sums


def test_halves_have_no_more_in_common_than_those_of_unmarked_images(sums):
    # 256 x 256 pixels have about 12000 independent values at these frequencies
    for of in ("residuals", "scores"):
        marked, unmarked = (sums.halves(kind, of) for kind in ("marked", "unmarked"))
        assert abs(marked) < 0.05
        assert abs(marked - unmarked) < 0.05


def test_halves_show_a_pattern_that_all_have_at_one_place(averages):
    random = np.random.default_rng(5)
    pattern = averages.band_pass(random.normal(size=(averages.SIDE, averages.SIDE)))
    same = averages.Sums()
    for _ in range(12):
        image = random.normal(128, 12, (averages.SIDE, averages.SIDE))
        both = [np.clip(image + extra, 0, 255)[..., None].repeat(3, 2) for extra in (0, 8 * pattern)]
        same.add(*(np.rint(one).astype(np.uint8) for one in both))
    assert same.halves("marked", "residuals") > 0.3
    assert abs(same.halves("unmarked", "residuals")) < 0.05


@pytest.mark.parametrize("of", ["residuals", "scores"])
def test_the_mean_neither_removes_nor_forges(averages, attacks, sums, marker, image, of):
    shared = attacks("marks")
    delta = averages._AMPLITUDE * sums.mean(of)
    part = np.ascontiguousarray(image[: averages.SIDE, : averages.SIDE])
    without = marker.detect(shared.added(marker.embed(part, MESSAGE), -delta))
    assert without.message == MESSAGE and without.binding == "match"
    assert marker.detect(shared.added(part, delta)).state == "absent"
