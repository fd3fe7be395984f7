"""Picture to geometry: a marked plane is scaled, turned, mirrored or squeezed, and the scan says how."""

import numpy as np
import pytest
from pictures import grey, photograph
from PIL import Image
from planted import moved, planted

from fastmark.detection.course import recording
from fastmark.detection.levels import ScanLevel
from fastmark.detection.logpolar import GRIDS, Templates
from fastmark.detection.plan import LevelPlan
from fastmark.detection.scan import Candidate, ScanPass, distinct, refine, scan, scan_passes, score_of
from fastmark.detection.scores import ScorePlanes

LEAST_SCALE = 0.2


@pytest.fixture(scope="module")
def templates(carrier):
    return Templates(carrier)


@pytest.fixture(scope="module")
def marked(carrier):
    return planted(grey(photograph("coffee")).astype(np.float32), carrier, strength=1.5)[0]


def level_of(plane, factor=1, least_scale=LEAST_SCALE):
    plan = LevelPlan.of(plane.shape, factor, least_scale)
    return ScanLevel(ScorePlanes(np.ascontiguousarray(plane)), plan)


def turned(plane, degrees, scale=1.0):
    """A plane turned counterclockwise about its middle, and the matrix from units to samples."""
    size = tuple(round(n * scale) for n in plane.shape[::-1])
    picture = Image.fromarray(plane).resize(size, Image.Resampling.BICUBIC)
    picture = picture.rotate(degrees, Image.Resampling.BICUBIC, fillcolor=float(plane.mean()))
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.asarray(picture), scale * np.array([[c, -s], [s, c]])


def sheared(plane, share):
    """A plane whose lower lines move to the left, and the matrix from units to samples."""
    size = plane.shape[::-1]
    moved = Image.fromarray(plane).transform(
        size, Image.Transform.AFFINE, (1, share, 0, 0, 1, 0), Image.Resampling.BICUBIC
    )
    return np.asarray(moved), np.array([[1.0, 0.0], [-share, 1.0]])


def miss(candidate, matrix):
    """The largest entry of the difference; the half turn looks the same."""
    return min(np.abs(candidate.matrix - sign * matrix).max() for sign in (1, -1))


MOVED = ("as it was", "cropped", "turned by 90", "mirrored", "upside down", "enlarged", "shrunk", "squeezed")
TURNED = {"by 3": (3, 1.0), "by -40": (-40, 1.0), "by 75, shrunk": (75, 0.8), "by 160": (160, 1.0)}
SHEARED = {"sheared": 0.06, "sheared the other way": -0.09}


def what_became(plane, move):
    if move in SHEARED:
        return sheared(plane, SHEARED[move])
    return turned(plane, *TURNED[move]) if move in TURNED else moved(plane, move)[:2]


# ---- the scan --------------------------------------------------------------------------------------


@pytest.mark.parametrize("move", [*MOVED, *TURNED, *SHEARED])
def test_the_scan_finds_what_was_done(marked, templates, move):
    plane, matrix = what_became(marked, move)
    best = scan(level_of(plane), templates)[0]
    # a sample of difference over a thousand units, and half of one for the search's last step
    assert miss(best, matrix) < 0.002
    assert best.score > 15
    assert best.n_tones in (48, 96)


@pytest.mark.parametrize("degrees", [20, 35, 60])
def test_a_turned_picture_of_another_aspect_is_found(marked, templates, degrees):
    plane, matrix = turned(marked, degrees)
    size = round(0.85 * plane.shape[1]), plane.shape[0]
    squeezed = np.asarray(Image.fromarray(plane).resize(size, Image.Resampling.BICUBIC))
    matrix = np.diag([1.0, size[0] / plane.shape[1]]) @ matrix
    assert miss(scan(level_of(squeezed), templates)[0], matrix) < 0.002


@pytest.mark.parametrize("degrees", [0, 90, 33])
def test_small_levels_are_scanned_too(carrier, templates, degrees):
    """Their spectra are looked at on coarser grids, and none for turned strains where they are tiny."""
    plane, _ = planted(grey(photograph("astronaut", 250)).astype(np.float32), carrier, strength=1.5)
    plane, matrix = turned(plane, degrees, 0.9)
    level = level_of(plane)
    assert list(level.views) == ([2] if max(plane.shape) <= 260 else [2, 4])
    # bins are wider than those of larger levels by as much
    assert miss(scan(level, templates)[0], matrix) < 0.004


def test_a_picture_of_twice_the_scale_is_found_at_half_resolution(marked, templates):
    large = np.asarray(Image.fromarray(marked).resize((1200, 800), Image.Resampling.BICUBIC))
    assert miss(scan(level_of(large, 2), templates)[0], 2 * np.eye(2)) < 0.004


def test_an_enlarged_picture_is_found_without_being_reduced(marked, templates):
    part, matrix = turned(np.ascontiguousarray(marked[:250, :300]), 0, 2.6)
    found = scan(level_of(part), templates)[0]
    assert miss(found, matrix) < 0.005


def test_scales_below_the_least_are_not_sought(marked, templates):
    shrunk, matrix = turned(marked, 0, 0.5)
    assert miss(scan(level_of(shrunk, 1, 0.45), templates)[0], matrix) < 0.002
    # strains at any rotation are sought at scales of their own
    level = ScanLevel(ScorePlanes(shrunk), LevelPlan(1, 1.0, (2, 2, 0)))
    found = scan(level, templates)
    assert all(miss(candidate, matrix) > 0.05 for candidate in found)


def test_the_unmarked_and_the_wrong_key_score_low(marked, templates, other_carrier):
    plane = grey(photograph("coffee")).astype(np.float32)
    for seen, of in ((plane, templates), (marked, Templates(other_carrier))):
        assert max((c.score for c in scan(level_of(seen), of)), default=0) < 8


def test_candidates_come_best_first_differ_and_stand_out(marked, templates):
    for plane in (marked, moved(marked, "squeezed")[0]):
        found = scan(level_of(plane), templates)
        assert 1 <= len(found) <= 6
        assert [c.score for c in found] == sorted((c.score for c in found), reverse=True)
        assert found[-1].score >= 5.2
        for i, one in enumerate(found):
            assert all(miss(other, one.matrix) > 0.01 * np.abs(one.matrix).max() for other in found[:i])


def test_refinement_climbs_to_the_geometry_from_nearby(marked, templates):
    level = level_of(marked)
    changes = np.array([0.996 * np.eye(2), 1.005 * np.eye(2), [[1, 0.003], [-0.003, 1]]])
    found = refine(level, templates, changes, [48] * 3, [0.006] * 3)
    assert len(found) == len(changes)
    # what is refined is not changed
    np.testing.assert_array_equal(changes[0], 0.996 * np.eye(2))
    for refined, change in zip(found, changes, strict=True):
        assert miss(refined, np.eye(2)) < 0.0015
        score, n_tones = score_of(level, templates, refined.matrix)
        assert (score, n_tones) == (pytest.approx(refined.score), refined.n_tones)
        assert score > score_of(level, templates, np.linalg.inv(change).T)[0]


def test_what_is_not_promising_is_left_where_it_came_to_coarsely(marked, templates):
    level = level_of(marked)
    start = np.array([[[1.0017, 0.0031], [-0.0026, 0.9985]]])
    finely, coarsely = (
        refine(level, templates, start, [48], [0.006], promising=promising)[0] for promising in (0.0, 1e9)
    )
    assert finely.score > coarsely.score
    # moves of 0.006 and 0.003 alone
    assert coarsely.score > score_of(level, templates, np.linalg.inv(start[0]).T)[0] - 1e-9
    assert np.abs(np.linalg.inv(coarsely.matrix) - np.linalg.inv(finely.matrix)).max() < 0.006


def test_nothing_refined_is_nothing(marked, templates):
    assert refine(level_of(marked), templates, np.empty((0, 2, 2)), [], []) == []


@pytest.mark.parametrize("shape", [(48, 48), (49, 300), (300, 60)], ids=str)
def test_small_and_flat_planes_are_scanned_without_harm(templates, shape):
    assert scan(level_of(np.full(shape, 99, np.float32)), templates) == []
    found = scan(level_of(np.random.default_rng(1).normal(99, 9, shape).astype(np.float32)), templates)
    assert all(np.isfinite(c.score) and np.isfinite(c.matrix).all() for c in found)
    assert max((c.score for c in found), default=0) < 7


# ---- what is looked at -----------------------------------------------------------------------------


def test_a_pass_tries_every_strain_mirror_image_and_rotation_once():
    matrices = [np.eye(2), np.diag([1.1, 1 / 1.1])]
    everywhere = ScanPass.of(2, matrices, None, (0, 1), (3.0, 0.2), 5.0, 0.01)
    assert {tuple(row) for row in everywhere.hypotheses} == {
        (strain, mirrored, row) for strain in (0, 1) for mirrored in (0, 1) for row in range(256)
    }
    assert len(everywhere.hypotheses) == 2 * 2 * 256
    # upright and lying on their side, and a row or two beside
    upright = ScanPass.of(2, matrices, 2, (1,), (3.0, 0.2), 5.0, 0.01)
    rows = {254, 255, 0, 1, 2, 126, 127, 128, 129, 130}
    assert {tuple(row) for row in upright.hypotheses} == {(s, 1, row) for s in (0, 1) for row in rows}
    assert len(upright.hypotheses) == 2 * len(rows)
    assert upright.strains.offsets.shape == (2, 2 * GRIDS[2].n_angles)


@pytest.mark.parametrize("least_scale", [0.2, 0.75])
@pytest.mark.parametrize("pools", [(1, 2, 4), (2, 2, 4), (2, 2, 0)], ids=str)
def test_passes_use_the_grids_that_a_level_has(pools, least_scale):
    passes = scan_passes(pools, least_scale)
    fine, upright, turned = pools
    # the plain, aspects and shears of upright ones; strains at any rotation where there is a grid for them
    n = 4 if turned else 3
    assert [one.pool for one in passes] == [fine, upright, upright, turned][:n]
    assert [one.n_tones for one in passes] == [384] * n
    # aspects either way and shears, along the axes, and upright alone
    assert [len(one.strains.matrices) for one in passes] == [1, 18, 4, 16][:n]
    rows = GRIDS[fine].n_angles
    assert [len(one.hypotheses) for one in passes] == [2 * rows, 18 * 2 * 6, 4 * 2 * 14, 16 * 128][:n]
    # turned strains are seen in the middle of the scales
    assert [one.scales for one in passes] == [(3.0, least_scale)] * 3 + [(2.0, 0.43)] * (n - 3)


def test_passes_are_laid_out_once():
    assert scan_passes((1, 2, 4), 0.2) is scan_passes((1, 2, 4), 0.2)


def test_a_scan_notes_how_much_it_looked_at_and_how_well_it_came_out(marked, templates):
    level = level_of(marked)
    with recording() as course:
        found = scan(level, templates)
    (note,) = [event.note for event in course.events if event.name == "scan"]
    assert note.scores == tuple(candidate.score for candidate in found)
    passes = scan_passes(level.plan.pools, level.plan.least_scale)
    n = [len(one.hypotheses) * GRIDS[one.pool].scales(*one.scales)[1].size for one in passes]
    assert note.n_hypotheses == sum(n)


# ---- repeats ---------------------------------------------------------------------------------------


def test_repeats_and_half_turns_are_dropped():
    matrices = [np.eye(2), -1.001 * np.eye(2), 1.2 * np.eye(2), np.array([[0.0, 1], [-1, 0]])]
    candidates = [
        Candidate(matrix, 48, score, None)
        for matrix, score in zip(matrices, (5.0, 7.0, 6.0, 4.0), strict=True)
    ]
    assert [c.score for c in distinct(candidates)] == [7.0, 6.0, 4.0]
    assert distinct([]) == []
