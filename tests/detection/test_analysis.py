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


LATER = {"identity", "levels", "origins", "tiles", "busy_part"}


def test_nothing_is_computed_until_it_is_needed(unmarked):
    planes = ScorePlanes(unmarked)
    analysis = Analysis(planes)
    assert analysis.plan == ScanPlan.of(unmarked.shape)
    assert not planes.computed
    assert not LATER & set(vars(analysis))


def test_what_is_known_is_computed_once(unmarked):
    analysis = Analysis(ScorePlanes(unmarked))
    for name in LATER:
        assert getattr(analysis, name) is getattr(analysis, name)
    assert [level.plan.factor for level in analysis.levels] == [1]
    assert vars(analysis).keys() >= LATER


def test_the_image_as_it_is_is_asked_in_the_spectrum_that_is_scanned(unmarked, large):
    for plane, step in ((unmarked, 1), (large, 2)):
        planes = ScorePlanes(plane)
        analysis = Analysis(planes)
        assert analysis.origins.padded is analysis.levels[0].padded
        assert (analysis.origins.step, analysis.levels[0].plan.factor) == (step, step)
        # neither its log-polar grids nor the torus were needed, nor scores at another resolution
        assert not {"white", "views"} & set(vars(analysis.levels[0]))
        assert not {"identity"} & set(vars(analysis))
        assert {reduction for reduction, _ in planes.computed} == {step}


def test_a_picture_without_a_flat_canvas_has_no_busy_part(large):
    assert Analysis(ScorePlanes(large)).busy_part is None


def test_the_busy_part_of_a_canvas_is_scanned_by_itself(large):
    """A picture on white, beyond which nothing is: the part holds it, with a cell of the canvas at most."""
    page = np.full((1400, 1500), 255, np.float32)
    page[320:1000, 400:1100] = large[:680, :700]
    analysis = Analysis(ScorePlanes(page))
    window, level = analysis.busy_part
    cell = 4 * 8 * analysis.plan.step
    (top, left), (height, width) = window.corner, window.planes.shape
    assert 320 - 2 * cell < top <= 320 < 1000 <= top + height < 1000 + 2 * cell
    assert 400 - 2 * cell < left <= 400 < 1100 <= left + width < 1100 + 2 * cell
    np.testing.assert_array_equal(window.planes.reduced(1), page[top : top + height, left : left + width])
    # at the pixels' resolution, which is twice that of the canvas
    assert (analysis.plan.step, window.unit, level.plan.factor) == (2, 1, 1)
    assert level.shape == window.planes.shape


def test_a_picture_beyond_2048_samples_is_analysed_in_the_middle():
    analysis = Analysis(ScorePlanes(np.zeros((100, 2100), np.float32)))
    assert analysis.planes.shape == (100, 2048)
