"""The attacks of a report: what each does to pixels, and that all repeat."""

import inspect

import numpy as np
import pytest
from pictures import drawn, photograph
from scipy import ndimage

from fastmark.reporting import handling
from fastmark.reporting.attacks import (
    ATTACKS,
    GROUPS,
    NULL_VIEWS,
    SECOND_KEY,
    Attack,
    attacks_of,
    copies_of,
    null_views_of,
    untried,
)

RGB = drawn(150, 201, 4)
OTHER = drawn(90, 120, 5)


def test_names_are_distinct_and_every_group_is_there():
    assert len({one.name for one in ATTACKS}) == len(ATTACKS)
    for extent in ("quick", "full"):
        assert {one.group for one in attacks_of(extent)} == set(GROUPS)
        assert copies_of(extent)
        assert null_views_of(extent)[0].name == "untouched"
    assert len(attacks_of("quick")) < len(attacks_of("full"))
    assert set(NULL_VIEWS) <= {one.name for one in ATTACKS}


def test_what_this_pillow_lacks_is_told(monkeypatch):
    lacking = Attack("AVIF 50", "typical", False, handling.avif, "AVIF")
    monkeypatch.setattr("fastmark.reporting.attacks.ATTACKS", (ATTACKS[0], lacking))
    assert [one.name for one in attacks_of("full")] == ["untouched"]
    assert untried("full") == (lacking,)
    assert untried("quick") == ()


@pytest.mark.parametrize("attack", [one for one in attacks_of("full") if one.function], ids=lambda a: a.name)
def test_every_attack_gives_rgb_leaves_its_argument_alone_and_repeats(attack):
    before = RGB.copy()
    first = attack.apply(before, OTHER, 1)
    assert (first.dtype, first.ndim, first.shape[2]) == (np.uint8, 3, 3)
    assert min(first.shape[:2]) >= 8
    assert np.array_equal(before, RGB)
    assert not np.shares_memory(first, before)
    assert np.array_equal(first, attack.apply(RGB, OTHER, 1))
    if attack.name != "untouched":
        assert first.shape != RGB.shape or not np.array_equal(first, RGB)
    if "rng" in inspect.signature(attack.function).parameters:
        other = attack.apply(RGB, OTHER, 2)
        assert first.shape != other.shape or not np.array_equal(first, other)


@pytest.mark.parametrize("attack", [one for one in attacks_of("full") if one.function], ids=lambda a: a.name)
def test_every_attack_takes_the_smallest_and_the_narrowest_images(attack):
    for shape in ((128, 128), (130, 700)):
        assert min(attack.apply(drawn(*shape), OTHER, 3).shape[:2]) >= 8


def test_the_second_key_is_for_the_worker():
    (attack,) = [one for one in ATTACKS if one.name == SECOND_KEY]
    assert attack.function is None


def test_box_means_are_those_of_scipy():
    plane = np.random.default_rng(1).normal(100, 30, (37, 52)).astype(np.float32)
    for radius in (1, 2, 10):
        expected = ndimage.uniform_filter(plane.astype(np.float64), 2 * radius + 1, mode="nearest")
        assert np.abs(handling.box_mean(plane, radius) - expected).max() < 1e-3


def test_the_wiener_filter_takes_noise_off_and_keeps_edges():
    clean = np.zeros((80, 80, 3), np.uint8) + np.where(np.arange(80) < 40, 60, 190).astype(np.uint8)[:, None]
    noise = np.random.default_rng(2).normal(0, 6, clean.shape)
    dirty = np.clip(np.rint(clean + noise), 0, 255).astype(np.uint8)
    after = handling.wiener(dirty, 6)
    errors = [float(np.mean((image.astype(float) - clean) ** 2)) for image in (dirty, after)]
    assert errors[1] < 0.35 * errors[0]
    assert after[:, :35].mean() < 70 and after[:, 45:].mean() > 180


def test_notching_takes_out_a_planted_tone_and_little_else():
    picture = photograph("astronaut", 256).astype(float)
    y, x = np.mgrid[0:256, 0:256]
    tone = np.cos(2 * np.pi * (33 * y + 47 * x) / 256)
    toned = np.clip(np.rint(picture + 6 * tone[..., None]), 0, 255).astype(np.uint8)
    after = handling.notch(toned, 30)

    def strength(image):
        return abs(float(np.mean((image.astype(float) @ [0.299, 0.587, 0.114]) * tone))) * 2

    assert strength(toned) > 5
    assert strength(after) < 1.5
    assert np.abs(after.astype(float) - picture).mean() < np.abs(toned - picture).mean()


def test_blocks_hide_as_much_as_they_should():
    after = handling.cover_blocks(RGB, np.random.default_rng(0), 0.3)
    assert 0.28 < np.any(after != RGB, axis=2).mean() < 0.45


def test_a_pasted_image_is_there_pixel_by_pixel():
    after = handling.paste_into(RGB, np.random.default_rng(5), OTHER, 2.0)
    assert after.shape[0] * after.shape[1] == pytest.approx(2 * RGB.shape[0] * RGB.shape[1], rel=0.01)
    h, w = RGB.shape[:2]
    places = ((y, x) for y in range(after.shape[0] - h + 1) for x in range(after.shape[1] - w + 1))
    assert any(
        np.array_equal(after[y, x], RGB[0, 0]) and np.array_equal(after[y : y + h, x : x + w], RGB)
        for y, x in places
    )


@pytest.mark.parametrize("degrees", [2, 10, 45, 80])
def test_turned_images_have_no_empty_corners(degrees):
    white = np.full((120, 200, 3), 255, np.uint8)
    assert handling.rotate(white, degrees).min() > 250
