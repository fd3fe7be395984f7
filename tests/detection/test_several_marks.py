"""Several marks in one image: each is found at its place, and what is left out of a search is paid for."""

import functools
import math

import numpy as np
import pytest
from pasted_images import iou, pasted, tile
from pictures import MESSAGE, drawn

import fastmark
from fastmark import Detector, Watermarker
from fastmark.codec.plane import pixels_per_unit
from fastmark.detection import masking, several
from fastmark.detection.analysis import Analysis
from fastmark.detection.masking import FINENESS, REACH, MaskedPlanes, cheapest, price
from fastmark.detection.scores import ScorePlanes
from fastmark.detection.several import look_for_all
from fastmark.images.opening import open_for_detection

SECOND = 0xFEDCBA9876543210

# ---- several marks -----------------------------------------------------------------------------------------


@functools.cache
def collage(key):
    """Marks of one key with two messages, and a picture without, side by side on a canvas."""
    canvas = np.full((420, 1400, 3), 90, np.uint8)
    for i, picture in enumerate((tile(key, 1, MESSAGE), tile(key, 2, SECOND), drawn(384, 448, 3))):
        canvas[20:404, 12 + 460 * i : 12 + 460 * i + 448] = picture
    return canvas


def test_all_marks_of_a_collage_are_found_each_at_its_place(key, marker):
    found = marker.detect_all(collage(key))
    assert sorted(one.detection.message for one in found) == [MESSAGE, SECOND]
    boxes = {one.detection.message: one.box for one in found}
    assert iou(boxes[MESSAGE], (12, 20, 460, 404)) > 0.85
    assert iou(boxes[SECOND], (472, 20, 920, 404)) > 0.85
    assert all(one.detection.log10_p <= -9 for one in found)


def test_marks_of_two_keys_on_the_same_pixels_are_both_found(key, other_key):
    both = Watermarker(other_key).embed(tile(key, 1, MESSAGE), SECOND)
    found = Detector([key, other_key]).detect_all(both)
    assert {(one.detection.key_id, one.detection.message) for one in found} == {
        (key.key_id, MESSAGE),
        (other_key.key_id, SECOND),
    }
    assert all(one.share > 0.9 for one in found)
    assert [one.detection for one in fastmark.detect_all(both, [key, other_key])] == [
        one.detection for one in found
    ]


def test_one_mark_is_found_once(key, marker):
    for picture in (tile(key, 1, MESSAGE), pasted(key)):
        assert len(marker.detect_all(picture)) == 1


def test_nothing_is_found_in_unmarked_images(marker, other_key):
    picture = drawn(300, 401, 2)
    assert marker.detect_all(picture) == []
    luma = open_for_detection(picture, unit=pixels_per_unit)
    detectors = [marker.key_detector, Watermarker(other_key).key_detector]
    found = look_for_all(luma, detectors)
    assert [bool(one) for one in found] == [False, False]
    assert len({one.detection.key_id for one in found}) == 2


def test_the_first_search_of_all_pays_for_its_place_in_the_list(key, marker, monkeypatch):
    weak = np.random.default_rng(1).normal(0, 32, (384, 448, 3)) + tile(key, 1, MESSAGE)
    weak = np.clip(np.rint(weak), 0, 255).astype(np.uint8)
    alone, (first,) = marker.detect(weak), marker.detect_all(weak)
    assert -60 < alone.log10_p < -12
    assert first.detection.log10_p == pytest.approx(alone.log10_p + math.log10(2), abs=1e-6)


def test_second_searches_pay_for_what_is_left_out(key, marker, monkeypatch):
    paid = []
    search = type(marker.key_detector).search

    def spy(self, analysis, log_trials=0.0, *, deep=False):
        paid.append(log_trials)
        return search(self, analysis, log_trials, deep=deep)

    monkeypatch.setattr(type(marker.key_detector), "search", spy)
    marker.detect_all(collage(key))
    assert len(paid) == 3
    assert paid[0] == pytest.approx(math.log(2))
    assert paid[1] > math.log(6) + 15
    assert paid[2] > math.log(12) + 15


# ---- what is left out --------------------------------------------------------------------------------------


def test_shares_of_what_can_be_left_out_add_up_to_one_at_most(monkeypatch):
    """Kraft's inequality, over all parts of a plane of 3 x 3."""
    monkeypatch.setattr(masking, "FINENESS", 3)
    bits = (np.arange(512)[:, None] >> np.arange(9)) & 1 == 1
    total = sum(math.exp(-price(one.reshape(3, 3))) for one in bits)
    assert 0.2 < total <= 1 + 1e-9


def test_boxes_are_cheap_and_ragged_parts_dear():
    box = np.zeros((FINENESS, FINENESS), bool)
    box[4:20, 7:25] = True
    ragged = np.random.default_rng(1).random(box.shape) < 0.5
    assert 15 < price(box) < 35
    assert price(ragged) > 500
    assert price(np.zeros_like(box)) < 10


def test_what_carries_a_mark_is_left_out_wholly():
    carries = np.zeros((45, 70), bool)
    carries[3:30, 11:41] = True
    left_out = cheapest(carries, np.zeros((FINENESS, FINENESS), bool))
    for y, x in np.argwhere(carries):
        at = [
            sorted({n * FINENESS // size, ((n + 1) * FINENESS - 1) // size}) for n, size in ((y, 45), (x, 70))
        ]
        assert left_out[np.ix_(*at)].all()
    assert left_out.sum() < 1.4 * carries.mean() * left_out.size
    before = np.zeros_like(left_out)
    before[-1, -1] = True
    assert cheapest(carries, before)[-1, -1]


@pytest.mark.parametrize("reduction", [1, 2, 3])
def test_scores_that_are_left_out_are_zero_and_others_unchanged(draw_plane, reduction):
    planes = ScorePlanes(draw_plane("textured", 200, 321))
    left_out = np.zeros((FINENESS, FINENESS), bool)
    left_out[:16, 8:] = True
    masked = MaskedPlanes.without(planes, left_out)
    scores, whole = masked.weighted(reduction), planes.weighted(reduction)
    top, left = 100 // reduction, 80 // reduction
    assert not scores[: top - 1, left + 2 :].any()
    below, before = top + 1 + REACH, max(left - 1 - REACH, 0)
    np.testing.assert_array_equal(scores[below:], whole[below:])
    np.testing.assert_array_equal(scores[:, :before], whole[:, :before])
    np.testing.assert_array_equal(masked.reduced(reduction), planes.reduced(reduction))
    middle = masked.middle(120)
    assert middle.shape == (120, 120)
    assert middle.middle(120) is middle
    below = 61 + REACH
    np.testing.assert_array_equal(middle.weighted()[below:], planes.middle(120).weighted()[below:])
    assert not middle.weighted()[:59].any()


def test_windows_of_what_is_left_out_are_left_out_too(draw_plane):
    planes = ScorePlanes(draw_plane("textured", 200, 320), 2)
    left_out = np.zeros((FINENESS, FINENESS), bool)
    left_out[:16, 8:] = True
    window = MaskedPlanes.without(planes, left_out).window(1, slice(40, 190), slice(20, 300))
    scores, whole = window.weighted(), planes.window(1, slice(40, 190), slice(20, 300)).weighted()
    assert scores.shape == (150, 280)
    assert not scores[:59, 61:].any()
    np.testing.assert_array_equal(scores[61 + REACH :], whole[61 + REACH :])
    np.testing.assert_array_equal(scores[:, : 59 - REACH], whole[:, : 59 - REACH])


def test_what_is_left_out_changes_no_score_that_is_seen(draw_plane):
    """The bounds of a second search need it: whatever was there, the rest shows the same."""
    left_out = np.zeros((FINENESS, FINENESS), bool)
    left_out[8:20, 5:22] = True
    plane, other = draw_plane("textured", 256, 320), draw_plane("edges", 256, 320)
    rows, columns = slice(8 * 8, 20 * 8), slice(5 * 10, 22 * 10)
    changed = plane.copy()
    changed[rows, columns] = other[rows, columns]
    for reduction in (1, 2):
        before, after = (
            MaskedPlanes.without(ScorePlanes(p), left_out).weighted(reduction) for p in (plane, changed)
        )
        np.testing.assert_allclose(after, before, atol=1e-5)
        assert np.count_nonzero(before) > 0.3 * before.size / reduction


def test_finds_of_one_mark_are_told_from_others(marker, marked):
    analysis = Analysis(ScorePlanes(open_for_detection(marked[1]).pixels))
    placement = marker.key_detector.search(analysis).finding.placement
    moved = type(placement)(placement.matrix, placement.offset + 1024, False, 48, 0.0, 0.0)
    assert several.is_same(moved, placement, analysis.planes.shape)
    for matrix, offset in ((np.eye(2), 40.0), (0.9 * np.eye(2), 0.0), (-np.eye(2), 0.0)):
        other = type(placement)(matrix, placement.offset + offset, False, 48, 0.0, 0.0)
        assert not several.is_same(other, placement, analysis.planes.shape)
