"""Picture to geometry: a marked plane is scaled, turned, mirrored or squeezed, and the scan says how."""

import itertools

import numpy as np
import pytest
from pictures import grey, photograph
from PIL import Image
from planted import moved, planted

from fastmark.logpolar import Templates
from fastmark.scoring import ScorePlanes
from fastmark.sync import Candidate, analyse, distinct, levels, refine, scan, score_of

SCALES = (0.2, 1.6)


@pytest.fixture(scope="module")
def templates(carrier):
    return Templates(carrier)


@pytest.fixture(scope="module")
def marked(carrier):
    return planted(grey(photograph("coffee")).astype(np.float32), carrier, strength=1.5)[0]


def turned(plane, degrees, scale=1.0):
    """A plane turned counterclockwise about its middle, and the matrix from units to samples."""
    size = tuple(round(n * scale) for n in plane.shape[::-1])
    picture = Image.fromarray(plane).resize(size, Image.Resampling.BICUBIC)
    picture = picture.rotate(degrees, Image.Resampling.BICUBIC, fillcolor=float(plane.mean()))
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.asarray(picture), scale * np.array([[c, -s], [s, c]])


def miss(candidate, matrix):
    """The largest entry of the difference; the half turn looks the same."""
    return min(np.abs(candidate.matrix - sign * matrix).max() for sign in (1, -1))


MOVED = ("as it was", "cropped", "turned by 90", "mirrored", "upside down", "enlarged", "shrunk", "squeezed")
TURNED = {"by 3": (3, 1.0), "by -40": (-40, 1.0), "by 75, shrunk": (75, 0.8), "by 160": (160, 1.0)}


@pytest.mark.parametrize("move", [*MOVED, *TURNED])
def test_the_scan_finds_what_was_done(marked, templates, move):
    plane, matrix = turned(marked, *TURNED[move]) if move in TURNED else moved(marked, move)[:2]
    found = scan(analyse(ScorePlanes(np.ascontiguousarray(plane)), 1), templates, SCALES)
    best = max((*found.anyhow, *found.upright, *found.strained), key=lambda c: c.score)
    # a sample of difference over a thousand units
    assert miss(best, matrix) < 0.002
    assert best.score > 15
    assert best.n_tones in (48, 96)
    if move in MOVED[:-1]:
        assert miss(found.upright[0], matrix) < 0.002


def test_a_picture_of_twice_the_scale_is_found_at_half_resolution(marked, templates):
    large = np.asarray(Image.fromarray(marked).resize((1200, 800), Image.Resampling.BICUBIC))
    found = scan(analyse(ScorePlanes(large), 2), templates, SCALES)
    assert miss(found.upright[0], 2 * np.eye(2)) < 0.004


def test_the_unmarked_and_the_wrong_key_score_low(marked, templates, other_carrier):
    plane = grey(photograph("coffee")).astype(np.float32)
    for seen, of in ((plane, templates), (marked, Templates(other_carrier))):
        found = scan(analyse(ScorePlanes(seen), 1), of, SCALES)
        assert max(c.score for c in found.anyhow) < 8
        assert max(c.score for c in found.upright) < 6.5


def test_candidates_come_best_first_and_differ(marked, templates):
    found = scan(analyse(ScorePlanes(marked), 1), templates, SCALES)
    for pool in (found.anyhow, found.upright, found.strained):
        assert [c.score for c in pool] == sorted((c.score for c in pool), reverse=True)
        for i, one in enumerate(pool):
            assert all(miss(other, one.matrix) > 0.01 * np.abs(one.matrix).max() for other in pool[:i])


def test_refinement_climbs_to_the_geometry_from_nearby(marked, templates):
    level = analyse(ScorePlanes(marked), 1)
    for change in (0.996 * np.eye(2), 1.005 * np.eye(2), np.array([[1, 0.003], [-0.003, 1]])):
        refined = refine(level, templates, change, 48, 0.006)
        assert miss(refined, np.eye(2)) < 0.0015
        score, n_tones = score_of(level, templates, refined.matrix)
        assert (score, n_tones) == (pytest.approx(refined.score), refined.n_tones)
        assert score > score_of(level, templates, np.linalg.inv(change).T)[0]


def test_a_spectrum_is_white_but_for_its_tones(marked, templates):
    level = analyse(ScorePlanes(marked), 1)
    n = level.white.shape[0]
    assert level.white.shape == (n, n // 2 + 1)
    assert level.white.min() >= 0 and level.white.max() <= 8
    assert level.mean == pytest.approx(1, abs=0.1)
    tones = np.rint(templates.tones[:96] * n).astype(int)
    tones *= np.where(tones[:, 1:] < 0, -1, 1)
    assert np.median(level.white[tones[:, 0], tones[:, 1]]) > 2.5 * level.mean
    assert (level.factor, level.shape, level.windowed.shape, level.corner) == (
        1,
        (400, 600),
        (400, 600),
        (0, 0),
    )


def test_only_the_middle_of_a_large_plane_is_transformed():
    plane = np.random.default_rng(0).normal(128, 20, (1100, 1300)).astype(np.float32)
    level = analyse(ScorePlanes(plane), 1)
    assert (level.windowed.shape, level.corner) == ((1024, 1024), (38, 138))
    assert level.shape == (1100, 1300)


def test_halved_planes_are_scanned_for_coarser_marks_and_large_ones_at_half_resolution_alone():
    assert list(levels((130, 500))) == [1]
    assert list(levels((300, 300))) == [1, 2]
    assert list(levels((600, 900))) == [1, 2, 4]
    assert list(levels((1150, 2048))) == [2, 4]
    for shape in ((200, 200), (600, 800), (1100, 1100)):
        found = levels(shape)
        # in samples of the plane: without a gap, from 0.8 at most
        spans = [(factor * least, factor * most) for factor, (least, most) in found.items()]
        assert spans[0][0] <= 0.8
        assert all(after[0] <= before[1] for before, after in itertools.pairwise(spans))


def test_repeats_and_half_turns_are_dropped():
    matrices = [np.eye(2), -1.001 * np.eye(2), 1.2 * np.eye(2), np.array([[0.0, 1], [-1, 0]])]
    candidates = [
        Candidate(matrix, 48, score) for matrix, score in zip(matrices, (5.0, 7.0, 6.0, 4.0), strict=True)
    ]
    assert [c.score for c in distinct(candidates)] == [7.0, 6.0, 4.0]
    assert [c.score for c in distinct(candidates, [Candidate(1.2 * np.eye(2), 96, 1.0)])] == [7.0, 4.0]
    assert distinct([]) == []


@pytest.mark.parametrize("shape", [(48, 48), (49, 300), (300, 60)], ids=str)
def test_small_and_flat_planes_are_scanned_without_harm(templates, shape):
    for plane in (
        np.full(shape, 99, np.float32),
        np.random.default_rng(1).normal(99, 9, shape).astype(np.float32),
    ):
        level = analyse(ScorePlanes(plane), 1)
        found = scan(level, templates, SCALES)
        assert all(
            np.isfinite(c.score) and np.isfinite(c.matrix).all() for c in (*found.anyhow, *found.upright)
        )
        assert max((c.score for c in found.anyhow), default=0) < 7
