"""Grids of units against ground truth: under any linear geometry, with and without a field of shifts."""

import numpy as np
import pytest
from pictures import grey, photograph
from planted import GEOMETRIES

from fastmark.codec.mask import Perception
from fastmark.codec.plane import canonical_plane
from fastmark.detection.resampling import FIELD_SPACING, MAX_UNITS, mean_scores, reduction_of, resample
from fastmark.detection.scores import ScorePlanes, weighted_scores


class Waves:
    """In place of a picture's scores: a smooth known function of the samples."""

    shape = (150, 210)

    @staticmethod
    def value(y, x):
        return np.cos(0.11 * y + 0.3) + np.sin(0.07 * x - 0.05 * y)

    def weighted(self, reduction=1, floor=4.0):
        y, x = np.mgrid[0 : self.shape[0] // reduction, 0 : self.shape[1] // reduction]
        return self.value(*(reduction * place + (reduction - 1) / 2 for place in (y, x))).astype(np.float32)


@pytest.mark.parametrize("name", GEOMETRIES)
@pytest.mark.parametrize("offset", [(0.0, 0.0), (-3.0, 20.0), (17.3, -401.6)], ids=str)
def test_units_show_the_samples_that_the_geometry_says(name, offset):
    matrix, offset = GEOMETRIES[name], np.array(offset)
    grid = resample(Waves(), matrix, offset)
    assert all(place % 8 == 0 for place in grid.origin)
    assert grid.scores.shape == grid.inside.shape
    units = np.stack(np.meshgrid(*(np.arange(n) for n in grid.scores.shape), indexing="ij"), axis=-1)
    y, x = np.moveaxis((units + grid.origin) @ matrix.T + offset, -1, 0)
    deep = (y > 3) & (x > 3) & (y < Waves.shape[0] - 4) & (x < Waves.shape[1] - 4)
    assert np.count_nonzero(deep) * abs(np.linalg.det(matrix)) > 0.8 * 150 * 210 or name == "the same"
    assert np.all(grid.inside[deep] == 1)
    np.testing.assert_allclose(grid.scores[deep], Waves.value(y, x)[deep], atol=0.01)
    outside = (y < -0.6) | (x < -0.6) | (y > Waves.shape[0] - 0.4) | (x > Waves.shape[1] - 0.4)
    assert np.all(grid.inside[outside] == 0)


def test_a_whole_shift_is_no_resampling():
    scores = Waves().weighted()
    for offset in ((0, 0), (5, 3), (-5, -13), (1029, -2048)):
        grid = resample(Waves(), np.eye(2), np.array(offset, np.float64))
        y, x = np.array(grid.origin) + offset
        assert 0 <= y < 8 and 0 <= x < 8
        np.testing.assert_array_equal(grid.scores, scores[y:, x:])
        assert grid.inside.all()


def test_a_shrunk_mark_is_read_from_the_plane_averaged():
    grid = resample(Waves(), 2.2 * np.eye(2), np.zeros(2))
    units = np.stack(np.meshgrid(*(np.arange(n) for n in grid.scores.shape), indexing="ij"), axis=-1)
    y, x = np.moveaxis(2.2 * (units + grid.origin), -1, 0)
    deep = (y > 6) & (x > 6) & (y < 142) & (x < 202)
    np.testing.assert_allclose(grid.scores[deep], Waves.value(y, x)[deep], atol=0.03)


def test_a_field_adds_its_displacements():
    matrix, offset = np.eye(2), np.zeros(2)
    nodes = -(-np.array(Waves.shape) // FIELD_SPACING) + 1
    field = np.zeros((*nodes, 2), np.float32)
    field[..., 0] = 2 + 0.5 * np.arange(nodes[1])  # down, more so to the right
    field[..., 1] = -1.5
    grid = resample(Waves(), matrix, offset, field=field)
    y, x = np.mgrid[0 : grid.scores.shape[0], 0 : grid.scores.shape[1]].astype(float)
    y, x = y + grid.origin[0], x + grid.origin[1]
    y, x = y + 2 + 0.5 * (x - grid.origin[1]) / FIELD_SPACING, x - 1.5
    deep = (y > 3) & (x > 3) & (y < Waves.shape[0] - 4) & (x < Waves.shape[1] - 4)
    np.testing.assert_allclose(grid.scores[deep], Waves.value(y, x)[deep], atol=0.01)


def test_no_more_units_are_made_than_a_marked_picture_has():
    planes = Waves()
    planes.shape = (60, 4000)
    for matrix in (np.eye(2), 0.5 * np.eye(2)):
        grid = resample(planes, matrix, np.zeros(2))
        assert max(grid.scores.shape) <= MAX_UNITS + 16


def reduced_scores(plane, samples, first):
    """Of whole units: the mean of their own scores and of the means of their samples', of one power."""
    part = np.ascontiguousarray(plane[first[0] :, first[1] :])
    units = canonical_plane(part, samples)
    coarse = weighted_scores(units, Perception.of(units).mask, 4.0)
    fine = ScorePlanes(plane).weighted()[first[0] :, first[1] :]
    n_rows, n_columns = coarse.shape
    fine = fine[: samples * n_rows, : samples * n_columns].astype(np.float64)
    means = fine.reshape(n_rows, samples, n_columns, samples).mean(axis=(1, 3))
    return (coarse + means * np.sqrt(np.mean(coarse**2) / np.mean(means**2))) / 2


@pytest.mark.parametrize("first", [(0, 0), (1, 0), (1, 1)], ids=str)
@pytest.mark.parametrize("samples", [2, 3])
def test_units_of_whole_samples_see_means_and_samples_alike(samples, first):
    plane = grey(photograph("coffee")[:240, :300]).astype(np.float32)
    planes, exact = ScorePlanes(plane), reduced_scores(plane, samples, first)
    np.testing.assert_allclose(mean_scores(planes, samples, first), exact, atol=2e-3)
    # and so does a grid of such units: the middle of the first lies half of them further on
    grid = resample(planes, samples * np.eye(2), np.array(first) + (samples - 1) / 2)
    np.testing.assert_allclose(grid.scores, exact, atol=2e-3)
    assert grid.inside.all()


def test_one_sample_a_unit_is_the_sample_s_score():
    planes = ScorePlanes(grey(photograph("coffee")[:200, :200]).astype(np.float32))
    np.testing.assert_array_equal(mean_scores(planes, 1), planes.weighted())


@pytest.mark.parametrize(("scale", "reduction"), [(0.5, 1), (1.6, 1), (1.7, 2), (2.6, 2), (2.7, 3), (4, 4)])
def test_planes_are_averaged_from_a_third_before_the_next_whole_sample(scale, reduction):
    turned = scale * GEOMETRIES["turned"]
    assert reduction_of(turned) == reduction_of(turned @ np.diag([1.0, -1.0])) == reduction
