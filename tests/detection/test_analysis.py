"""What is known of an image before any key is computed once, and shared where it is the same."""

import numpy as np
import pytest
from pictures import grey, photograph

from fastmark.detection.analysis import Analysis
from fastmark.detection.plan import ScanPlan
from fastmark.detection.scores import ScorePlanes


@pytest.fixture(scope="module")
def unmarked():
    return grey(photograph("chelsea")).astype(np.float32)


@pytest.fixture(scope="module")
def large(draw_plane):
    """A plane that is looked at at half its resolution first."""
    return draw_plane("textured", 1012, 1020)


def test_nothing_is_computed_until_it_is_needed(unmarked):
    planes = ScorePlanes(unmarked)
    analysis = Analysis(planes)
    assert analysis.plan == ScanPlan.of(unmarked.shape)
    assert not planes.computed
    assert set(vars(analysis)) == {"planes", "plan"}


def test_levels_and_the_identity_are_analysed_once(unmarked):
    analysis = Analysis(ScorePlanes(unmarked))
    assert analysis.identity is analysis.identity
    first = analysis.levels
    assert [level.plan.factor for level in first] == [1, 2]
    assert all(level is same for level, same in zip(first, analysis.levels, strict=True))


def test_the_level_of_a_large_picture_shares_the_torus_transform(large):
    analysis = Analysis(ScorePlanes(large))
    level = analysis.levels[0]
    assert level.plan.factor == 2
    assert level.white.shape == analysis.identity.power.bins.shape
    # what is interpolated, and what was not needed yet, was not transformed
    assert "padded" not in vars(level)


def test_a_picture_beyond_the_torus_has_a_transform_of_its_own(draw_plane):
    """Folded, tones between the torus' frequencies would be lost."""
    analysis = Analysis(ScorePlanes(draw_plane("textured", 1000, 1040)))
    level = analysis.levels[0]
    assert level.white.shape == level.padded.power.bins.shape != analysis.identity.power.bins.shape


def test_a_picture_beyond_2048_samples_is_analysed_in_the_middle():
    analysis = Analysis(ScorePlanes(np.zeros((100, 2100), np.float32)))
    assert analysis.planes.shape == (100, 2048)
