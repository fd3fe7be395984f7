"""Local shifts: a smooth displacement planted in a marked plane is recovered from the pilot."""

import numpy as np
import pytest
from pictures import grey, photograph
from planted import planted

from fastmark.detection.local_shifts import local_shifts
from fastmark.detection.placement import Placement
from fastmark.detection.resampling import FIELD_SPACING, resample
from fastmark.detection.scores import ScorePlanes
from fastmark.kernels.resample import cubic_table, warp_plane


@pytest.fixture(scope="module")
def marked(carrier):
    return planted(grey(photograph("coffee")).astype(np.float32), carrier, strength=1.5)


def bent(plane, displacement):
    """The plane with ``displacement(y, x)`` (y, x), samples, at every 16 samples: W(s) = P(s + d(s))."""
    spacing = 16
    y, x = np.mgrid[0 : plane.shape[0] + 2 * spacing : spacing, 0 : plane.shape[1] + 2 * spacing : spacing]
    field = np.stack(displacement(y.astype(float), x.astype(float)), axis=-1).astype(np.float32)
    out, inside = np.empty_like(plane), np.empty(plane.shape, np.uint8)
    warp_plane(plane, cubic_table(), np.eye(2), np.zeros(2), field, spacing, out, inside)
    return out


def nowhere(y, x):
    return 0 * y, 0 * x


def constant(y, x):
    return 3.0 + 0 * y, -2.0 + 0 * x


def waves(y, x):
    return 3 * np.sin(2 * np.pi * x / 900), 3 * np.cos(2 * np.pi * y / 800)


def perspective(y, x):
    return 6e-5 * (y - 200) * (x - 300), 4e-5 * (x - 300) ** 2


@pytest.mark.parametrize("inverted", [False, True])
@pytest.mark.parametrize("displacement", [nowhere, constant, waves, perspective])
def test_smooth_displacements_are_recovered_to_half_a_unit(marked, carrier, displacement, inverted):
    plane, origin = marked
    warped = bent(plane, displacement)
    planes = ScorePlanes(255 - warped if inverted else warped)
    offset = -np.array(origin, np.float64)
    placement = Placement(np.eye(2), offset, inverted, 96, -99.0, 17.0)
    field = local_shifts(planes, placement, carrier)
    grid = resample(planes, placement.matrix, placement.offset, field=np.zeros_like(field))
    assert field.shape == (*(-(-n // FIELD_SPACING) + 1 for n in grid.scores.shape), 2)
    # at s + f(s) shows what was at s: f is -d, there
    y, x = (
        FIELD_SPACING * np.arange(n) + o
        for n, o in zip(field.shape, np.array(grid.origin) + offset, strict=False)
    )
    y, x = np.meshgrid(y, x, indexing="ij")
    truth = np.zeros_like(field)
    for _ in range(10):
        truth = -np.stack(displacement(y + truth[..., 0], x + truth[..., 1]), axis=-1)
    within = (y >= 0) & (x >= 0) & (y < plane.shape[0]) & (x < plane.shape[1])
    error = np.abs(field - truth)[within]
    assert np.median(error) < 0.25
    assert np.percentile(error, 90) < 0.5


def test_the_unmarked_is_not_pulled_far(carrier):
    plane = grey(photograph("coffee")).astype(np.float32)
    placement = Placement(np.eye(2), np.zeros(2), False, 96, 0.0, 17.0)
    assert np.abs(local_shifts(ScorePlanes(plane), placement, carrier)).max() <= 2 * 8.5


def test_flat_planes_have_no_shifts(carrier):
    placement = Placement(np.eye(2), np.zeros(2), False, 48, 0.0, 17.0)
    field = local_shifts(ScorePlanes(np.full((200, 200), 80, np.float32)), placement, carrier)
    assert np.isfinite(field).all()
