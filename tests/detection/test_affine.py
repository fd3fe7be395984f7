"""Linear geometries: what a matrix is called, and strains that change no area."""

import math

import numpy as np
import pytest

from fastmark.detection.affine import describe, is_identity, strain


def turn(degrees):
    """Counterclockwise as a picture is looked at, (y, x) order, y downwards."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.array([[c, -s], [s, c]])


MIRROR = np.diag([1.0, -1.0])


@pytest.mark.parametrize("degrees", [0, 1, 17, 45, 90, 135, 179, -1, -90, -170])
@pytest.mark.parametrize("scale", [0.2, 1, 3])
def test_turned_and_scaled_pictures_are_described(scale, degrees):
    for mirrored, flip in ((False, np.eye(2)), (True, MIRROR)):
        described = describe(scale * turn(degrees) @ flip)
        assert described == (pytest.approx(scale), pytest.approx(degrees), pytest.approx(1), mirrored)


@pytest.mark.parametrize("aspect", [0.5, 0.9, 1.3])
def test_stretching_comes_before_turning(aspect):
    stretch = np.diag([aspect**-0.5, aspect**0.5])
    for degrees in (0, 90, -30):
        for flip in (np.eye(2), MIRROR):
            scale, rotation, seen, mirrored = describe(2 * turn(degrees) @ stretch @ flip)
            assert (scale, rotation, seen) == pytest.approx((2, degrees, aspect))
            assert mirrored == (flip is MIRROR)


def test_a_half_turn_is_180_either_way_and_upside_down_is_a_mirror_image_turned():
    assert abs(describe(-np.eye(2))[1]) == pytest.approx(180)
    scale, rotation, aspect, mirrored = describe(np.diag([-1.0, 1.0]))
    assert (scale, abs(rotation), aspect, mirrored) == (1, pytest.approx(180), 1, True)


@pytest.mark.parametrize(("along", "across"), [(0.2, 0), (0, -0.1), (0.12, 0.12), (0, 0)], ids=str)
def test_a_strain_is_the_exponential_of_a_symmetric_matrix(along, across):
    exponent = np.array([[along, across], [across, -along]]) / 2
    series = sum(np.linalg.matrix_power(exponent, n) / math.factorial(n) for n in range(12))
    np.testing.assert_allclose(strain(along, across), series, atol=1e-12)
    assert np.linalg.det(strain(along, across)) == pytest.approx(1)


def test_only_the_identity_is_the_identity():
    assert is_identity(np.eye(2))
    for matrix in (-np.eye(2), np.diag([1.0, -1.0]), (1 + 1e-15) * np.eye(2)):
        assert not is_identity(matrix)
