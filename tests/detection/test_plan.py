"""What is looked at follows from the size of the plane alone, and can be said in words."""

import dataclasses

import pytest

from fastmark.detection.plan import HALVED_FROM, LevelPlan, ScanPlan

LARGE, SMALL, TINY = (1, 2, 4), (2, 2, 4), (2, 2, 0)


@pytest.mark.parametrize(
    ("shape", "factor"),
    [
        ((48, 48), 1),
        ((130, 500), 1),
        ((699, 699), 1),
        ((699, 2048), 1),
        # large planes are not looked at as they are; what is shown small in them is sought all the same
        ((700, 700), 2),
        ((2048, 1200), 2),
    ],
    ids=str,
)
def test_a_plane_is_scanned_at_one_resolution_which_is_half_of_a_large_one(shape, factor):
    plan = ScanPlan.of(shape)
    (level,) = plan.levels
    assert (level.factor, plan.step) == (factor, factor)
    assert level.least_scale == 0.2
    assert plan.half == (factor == 2) == (min(shape) >= HALVED_FROM)


def test_least_scales_other_than_the_usual_can_be_asked_for():
    assert LevelPlan.of((300, 300), 1, 0.75).least_scale == 0.75


@pytest.mark.parametrize("shape", [(48, 48), (300, 300), (699, 2048), (2048, 2048)], ids=str)
def test_planes_of_any_size_are_followed_up_alike(shape):
    plan = ScanPlan.of(shape)
    assert {level.n_followed for level in plan.levels} == {6}
    assert plan.n_candidates == 2


@pytest.mark.parametrize(
    ("shape", "factor", "pools"),
    [
        ((260, 100), 1, TINY),
        ((261, 100), 1, SMALL),
        ((521, 300), 2, TINY),
        ((522, 300), 2, SMALL),
        # that of the short side makes a plane large, whatever is left of it
        ((999, 2048), 1, SMALL),
        ((999, 2048), 2, SMALL),
        ((1000, 1000), 2, LARGE),
        ((1000, 1000), 4, LARGE),
    ],
    ids=str,
)
def test_the_finest_grid_is_for_large_planes_and_tiny_levels_are_not_sought_turned_and_strained(
    shape, factor, pools
):
    assert LevelPlan.of(shape, factor, 0.2).pools == pools


def test_a_plan_says_in_words_what_is_looked_at():
    others = [
        "- crops of larger images: whole samples per unit, 2 to 8",
        "- where the canvas is flat, its busy part by itself",
    ]
    assert str(ScanPlan.of((1200, 1500))).splitlines() == [
        "a plane of 1200 x 1500 samples:",
        "- the image as it is or cropped, at half resolution",
        *others,
        "- every rotation, mirror image and scale from 0.4 to 6, at half resolution",
        "- of what these suggest, the 2 likeliest geometries at most",
    ]
    assert str(ScanPlan.of((200, 300))).splitlines()[1:] == [
        "- the image as it is or cropped, at full resolution",
        *others,
        "- every rotation, mirror image and scale from 0.2 to 3, at full resolution",
        "- of what these suggest, the 2 likeliest geometries at most",
    ]


def test_a_plan_does_not_change():
    plan = ScanPlan.of((300, 300))
    assert plan == ScanPlan.of((300, 300))
    with pytest.raises(dataclasses.FrozenInstanceError):
        plan.step = 2
