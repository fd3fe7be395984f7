"""What is looked at follows from the size of the plane alone, and can be said in words."""

import dataclasses
import itertools

import pytest

from fastmark.detection.plan import LARGE_PLANE, LevelPlan, ScanPlan


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        # one level alone is large enough to show tones; of the least scale, 0.2, there is nothing below
        ((48, 48), {1: 0.2}),
        ((130, 500), {1: 0.2}),
        ((255, 255), {1: 0.2}),
        # a coarser one for enlarged pictures
        ((256, 300), {1: 0.2, 2: 0.75}),
        ((480, 2000), {1: 0.2, 2: 0.75}),
        ((511, 511), {1: 0.2, 2: 0.75}),
        ((600, 900), {1: 0.2, 2: 0.75, 4: 0.75}),
        ((999, 2048), {1: 0.2, 2: 0.75, 4: 0.75}),
        # large planes are not looked at as they are; what is shown small in them is sought all the same
        ((1000, 1000), {2: 0.2, 4: 0.75}),
        ((2048, 1200), {2: 0.2, 4: 0.75}),
    ],
    ids=str,
)
def test_large_planes_are_scanned_at_half_resolution_alone_and_coarser_ones_for_enlarged_marks(
    shape, expected
):
    plan = ScanPlan.of(shape)
    assert {level.factor: level.least_scale for level in plan.levels} == pytest.approx(expected)
    assert [level.factor for level in plan.levels] == list(expected)
    assert plan.step == min(expected)
    assert plan.half == (min(shape) >= LARGE_PLANE)


def test_levels_leave_no_gap_between_their_scales():
    for side in range(48, 1300, 7):
        for finer, coarser in itertools.pairwise(ScanPlan.of((side, side)).levels):
            # in samples of the plane, of which a level sees up to 1.6 per unit
            assert coarser.factor * coarser.least_scale <= 1.6 * finer.factor


@pytest.mark.parametrize(
    ("shape", "shares"),
    [
        ((999, 999), False),  # not reduced, so the torus shows other samples
        ((1000, 1000), True),
        ((1000, 1024), True),
        ((1000, 1025), False),  # folded, tones between the torus' frequencies would be lost
        ((2048, 2048), False),
    ],
    ids=str,
)
def test_the_torus_serves_the_scan_where_it_shows_the_same_samples(shape, shares):
    assert ScanPlan.of(shape).shares_spectrum == shares


@pytest.mark.parametrize(("shape", "small"), [((699, 2048), True), ((700, 700), False), ((48, 48), True)])
def test_more_is_followed_up_in_small_planes(shape, small):
    plan = ScanPlan.of(shape)
    assert {level.small for level in plan.levels} == {small}
    assert {level.n_followed for level in plan.levels} == {20 if small else 6}
    assert plan.n_candidates == (12 if small else 6)


@pytest.mark.parametrize(
    ("shape", "factor", "pools"),
    [
        ((260, 100), 1, (2, 4)),
        ((261, 100), 1, (1, 2, 4)),
        ((521, 300), 2, (2, 4)),
        ((522, 300), 2, (1, 2, 4)),
    ],
    ids=str,
)
def test_small_levels_have_no_use_for_the_finest_grid(shape, factor, pools):
    assert LevelPlan.of(shape, factor, 0.2).pools == pools


def test_a_plan_says_in_words_what_is_looked_at():
    assert str(ScanPlan.of((1200, 1500))).splitlines() == [
        "a plane of 1200 x 1500 samples:",
        "- the image as it is or cropped, at half resolution",
        "- every rotation, mirror image and scale from 0.4 to 3.2, at half resolution",
        "- every rotation, mirror image and scale from 3 to 6.4, at 1/4 of the resolution",
        "- of what these suggest, the 6 likeliest geometries at most",
    ]
    assert str(ScanPlan.of((200, 300))).splitlines()[1:] == [
        "- the image as it is or cropped, at full resolution",
        "- every rotation, mirror image and scale from 0.2 to 1.6, at full resolution",
        "- of what these suggest, the 12 likeliest geometries at most",
    ]


def test_a_plan_does_not_change():
    plan = ScanPlan.of((300, 300))
    assert plan == ScanPlan.of((300, 300))
    with pytest.raises(dataclasses.FrozenInstanceError):
        plan.step = 2
