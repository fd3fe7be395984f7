"""Kernels that resample onto the grid of units, against their twins."""

import numpy as np
import pytest
from reference import resample as slow

from fastmark.kernels import resample as fast

SOURCES = [(1, 1), (1, 9), (9, 1), (3, 3), (8, 8), (21, 34)]
SOURCED = pytest.mark.parametrize("shape", SOURCES, ids=str)
MATRICES = {
    "identity": np.eye(2),
    "turned": np.array([[0.8937, 0.4012], [-0.3871, 0.9143]]),
    "mirrored": np.array([[1.0, 0.0], [0.0, -1.0]]),
    "shrunk": np.array([[2.3, 0.0], [0.1, 1.7]]),
}
NO_FIELD = np.zeros((2, 2, 2), np.float32)
TABLE = fast.cubic_table()

GREY_LEVELS = 1e-3  # float32 sums of 16 products of 255


def draw(shape, seed=0):
    return (np.random.default_rng([seed, *shape]).random(shape) * 255).astype(np.float32)


def warp(source, matrix, offset, field=NO_FIELD, spacing=8.0, shape=(13, 17)):
    out, inside = np.full(shape, np.nan, np.float32), np.full(shape, 9, np.uint8)
    offset = np.asarray(offset, np.float64)
    fast.warp_plane(source, TABLE, matrix, offset, field, spacing, out, inside)
    return out, inside


def assert_agrees_with_twin(source, matrix, offset, field=NO_FIELD, spacing=8.0, shape=(13, 17)):
    out, inside = warp(source, matrix, offset, field, spacing, shape)
    exact, exact_inside = slow.warp_plane(source, matrix, np.array(offset), field, spacing, shape)
    np.testing.assert_array_equal(inside, exact_inside)
    np.testing.assert_allclose(out, exact, rtol=0, atol=GREY_LEVELS)


def test_the_cubic_table_is_the_formula():
    distances = np.arange(257)[:, None] / 256 - [-1, 0, 1, 2]
    np.testing.assert_allclose(TABLE, slow._keys(distances), rtol=0, atol=1e-7)


def test_cubic_weights_sum_to_one_and_reproduce_a_slope():
    np.testing.assert_allclose(TABLE.sum(axis=1), 1, rtol=0, atol=1e-6)
    np.testing.assert_allclose(TABLE @ [-1, 0, 1, 2], np.arange(257) / 256, rtol=0, atol=1e-6)


@pytest.mark.parametrize("offset", [(0.0, 0.0), (-3.37, 2.81), (0.113, -7.29)])
@pytest.mark.parametrize("name", MATRICES)
@SOURCED
def test_warp_plane_agrees_with_its_twin(shape, name, offset):
    assert_agrees_with_twin(draw(shape), MATRICES[name], offset)


@pytest.mark.parametrize("spacing", [3.0, 8.0, 16.0])
@SOURCED
def test_warp_plane_along_a_bent_field_agrees_with_its_twin(shape, spacing):
    nodes = (int(12 / spacing) + 2, int(16 / spacing) + 3, 2)
    field = np.random.default_rng(7).uniform(-2, 2, nodes).astype(np.float32)
    # sixteenths, so that float32 and float64 meet the same 256th of a sample
    field = np.rint(16 * field) / np.float32(16)
    assert_agrees_with_twin(draw(shape), MATRICES["turned"], (0.31, 1.77), field, spacing)


def test_the_identity_gives_the_source_back_to_the_bit():
    source = draw((20, 31))
    out, inside = warp(source, np.eye(2), (0, 0), shape=(20, 31))
    np.testing.assert_array_equal(out, source)
    assert inside.all()


def test_a_quarter_turn_moves_samples_without_change():
    source = draw((20, 31))
    out, inside = warp(source, np.array([[0.0, 1.0], [-1.0, 0.0]]), (0, 30), shape=(31, 20))
    np.testing.assert_array_equal(out, np.rot90(source))
    assert inside.all()


def test_a_constant_field_shifts_as_an_offset_does():
    source = draw((30, 30))
    field = np.full((4, 4, 2), (0.75, -1.5), np.float32)
    bent, bent_inside = warp(source, np.eye(2), (0, 0), field)
    shifted, inside = warp(source, np.eye(2), (0.75, -1.5))
    np.testing.assert_allclose(bent, shifted, rtol=0, atol=GREY_LEVELS)
    np.testing.assert_array_equal(bent_inside, inside)


def test_a_constant_stays_constant_inside_and_out():
    out, _ = warp(np.full((9, 9), 77, np.float32), MATRICES["turned"], (-4.3, 2.2))
    np.testing.assert_allclose(out, 77, rtol=1e-6)


def test_a_slope_is_interpolated_to_a_256th_of_a_sample():
    y, x = np.mgrid[0:40, 0:40].astype(np.float32)
    out, _ = warp(3 * y - 2 * x, np.array([[0.93, 0.21], [-0.18, 0.89]]), (5.1, 9.4))
    i, j = np.mgrid[0:13, 0:17]
    exact = 3 * (0.93 * i + 0.21 * j + 5.1) - 2 * (-0.18 * i + 0.89 * j + 9.4)
    np.testing.assert_allclose(out, exact, rtol=0, atol=5 / 512 + 1e-3)


def test_inside_reaches_half_a_sample_beyond_the_outermost_centres():
    source = draw((4, 6))
    for offset, expected in [(-0.5, 1), (-0.51, 0), (3.5, 1), (3.51, 0)]:
        assert warp(source, np.eye(2), (offset, 0), shape=(1, 1))[1] == expected
    for offset, expected in [(-0.5, 1), (-0.51, 0), (5.5, 1), (5.51, 0)]:
        assert warp(source, np.eye(2), (0, offset), shape=(1, 1))[1] == expected


@pytest.mark.parametrize(("sy", "sx"), [(0, 0), (3, 11), (15, 15), (16, 32), (1021, 77)])
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (16, 16), (37, 53)], ids=str)
def test_fold_torus_agrees_with_its_twin(shape, sy, sx):
    x = draw(shape)
    inside = (draw(shape, 1) < 200).astype(np.uint8)
    out = np.zeros((16, 16), np.float32)
    fast.fold_torus(x, inside, sy, sx, out)
    np.testing.assert_allclose(out, slow.fold_torus(x, inside, sy, sx, (16, 16)), rtol=1e-5)


def test_fold_torus_adds_to_what_is_there_and_loses_nothing():
    x = draw((37, 53))
    out = np.ones((16, 16), np.float32)
    fast.fold_torus(x, np.ones(x.shape, np.uint8), 5, 9, out)
    assert out.sum(dtype=np.float64) == pytest.approx(256 + x.sum(dtype=np.float64), rel=1e-6)


def test_a_shift_of_the_plane_is_a_shift_of_the_torus():
    x, inside = draw((20, 20)), np.ones((20, 20), np.uint8)
    out, shifted = np.zeros((2, 16, 16), np.float32)
    fast.fold_torus(x, inside, 0, 0, out)
    fast.fold_torus(x, inside, 3, 14, shifted)
    np.testing.assert_array_equal(shifted, np.roll(out, (3, 14), axis=(0, 1)))


def test_places_outside_the_picture_are_not_folded():
    x, inside = draw((20, 20)), np.ones((20, 20), np.uint8)
    inside[3, 4] = 0
    out, whole = np.zeros((2, 32, 32), np.float32)
    fast.fold_torus(x, inside, 30, 29, out)
    fast.fold_torus(x, np.ones_like(inside), 30, 29, whole)
    assert out[1, 1] == 0
    out[1, 1] = x[3, 4]
    np.testing.assert_array_equal(out, whole)
