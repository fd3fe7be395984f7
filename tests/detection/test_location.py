"""Where marks lie: heat, box, share, disagreement, and several marks in one image."""

import dataclasses
import functools
import math
import pickle

import numpy as np
import pytest
from pictures import drawn, photograph
from PIL import Image

import fastmark
from fastmark import Detector, Location, Watermarker
from fastmark.codec.plane import pixels_per_unit
from fastmark.detection import masking, several
from fastmark.detection.analysis import Analysis
from fastmark.detection.location import Ground, find_parts, locate, smoothed_z
from fastmark.detection.masking import FINENESS, REACH, MaskedPlanes, cheapest, price
from fastmark.detection.reading import Finding
from fastmark.detection.scores import ScorePlanes
from fastmark.detection.several import look_for_all
from fastmark.detection.survey import Lattice, Survey, survey
from fastmark.detection.windows import Window
from fastmark.images.opening import open_for_detection

MESSAGE, SECOND = 0x0123456789ABCDEF, 0xFEDCBA9876543210


@functools.cache
def tile(key, seed, message, height=384, width=448):
    return Watermarker(key).embed(drawn(height, width, seed), message)


@functools.cache
def pasted(key):
    """A marked picture at (72, 160) of one that is not marked."""
    canvas = drawn(620, 800, 9).copy()
    canvas[72 : 72 + 384, 160 : 160 + 448] = tile(key, 1, MESSAGE)
    return canvas


PASTED_BOX = (160, 72, 608, 456)


def iou(a, b):
    sides = [max(0, min(a[i + 2], b[i + 2]) - max(a[i], b[i])) for i in (0, 1)]
    both = sides[0] * sides[1]
    return both / (sum((c[2] - c[0]) * (c[3] - c[1]) for c in (a, b)) - both)


def mapped(place, y, x):
    """Index of the cell of a pixel."""
    return y // place.cell_px, x // place.cell_px


# ---- one mark ------------------------------------------------------------------------------------------


def test_a_whole_image_carries_its_mark_throughout(marker, marked):
    place = marker.locate(marked[1])
    height, width = marked[1].shape[:2]
    assert place and place.detection.message == MESSAGE
    assert place.box == (0, 0, width, height)
    assert place.share > 0.97
    assert place.heat.dtype == np.float32
    assert (
        place.heat.shape == place.carries.shape == (-(-height // place.cell_px), -(-width // place.cell_px))
    )
    assert 3 < np.median(place.heat) < 7


def test_what_is_located_was_detected_alike(marker, marked):
    place = marker.locate(marked[1])
    assert place.detection == marker.detect(marked[1])


def test_boxes_of_pasted_images_fit(marker):
    """Over several: borders lie within a cell or three of the true ones, as the content there allows."""
    fits = []
    for seed in range(6):
        canvas = drawn(620, 800, 100 + seed).copy()
        canvas[72 : 72 + 384, 160 : 160 + 448] = marker.embed(drawn(384, 448, seed), MESSAGE)
        fits.append(iou(marker.locate(canvas).box, PASTED_BOX))
    assert np.mean(fits) > 0.88
    assert min(fits) > 0.75


def test_a_pasted_image_is_boxed(key, marker):
    place = marker.locate(pasted(key))
    assert iou(place.box, PASTED_BOX) > 0.85
    assert place.share == pytest.approx(384 * 448 / (620 * 800), abs=0.04)
    inside = np.zeros((620, 800), bool)
    inside[72:456, 160:608] = True
    y, x = (
        np.minimum((np.arange(n) + 0.5) * place.cell_px, size - 1).astype(int)
        for n, size in zip(place.heat.shape, (620, 800), strict=True)
    )
    truth = inside[y[:, None], x]
    assert np.mean(place.heat[truth] > np.quantile(place.heat[~truth], 0.9)) > 0.9
    assert np.mean(place.carries == truth) > 0.95


TURNS = {
    "mirrored": (
        lambda p: p[:, ::-1],
        lambda left, top, right, bottom: (800 - right, top, 800 - left, bottom),
    ),
    "turned by 90": (
        lambda p: np.rot90(p),
        lambda left, top, right, bottom: (top, 800 - right, bottom, 800 - left),
    ),
    "at 0.75": (
        lambda p: np.asarray(Image.fromarray(p).resize((600, 465), Image.Resampling.LANCZOS)),
        lambda *box: tuple(round(0.75 * n) for n in box),
    ),
    "inverted": (lambda p: 255 - p, lambda *box: box),
}


@pytest.mark.parametrize("turn", TURNS)
def test_boxes_follow_the_image(key, marker, turn):
    move, box = TURNS[turn]
    place = marker.locate(np.ascontiguousarray(move(pasted(key))))
    assert place, turn
    assert iou(place.box, box(*PASTED_BOX)) > 0.85


def test_maps_of_large_images_are_in_their_own_pixels(key, marker):
    large = np.asarray(Image.fromarray(pasted(key)[:600]).resize((2400, 1800), Image.Resampling.BICUBIC))
    assert pixels_per_unit(*large.shape[:2]) == 2
    place = marker.locate(large)
    assert (place.width, place.height) == (2400, 1800)
    assert iou(place.box, tuple(3 * n for n in PASTED_BOX)) > 0.85


def test_a_replaced_half_carries_nothing(key, marker):
    picture = tile(key, 1, MESSAGE).copy()
    picture[:, 224:] = drawn(384, 448, 5)[:, 224:]
    place = marker.locate(picture)
    assert place.share == pytest.approx(0.5, abs=0.06)
    assert place.box[2] == pytest.approx(224, abs=25)
    assert not place.carries[:, mapped(place, 0, 280)[1] :].any()
    out = place.heat[:, mapped(place, 0, 260)[1] :]
    assert out.std() < 1.6 and abs(out.mean()) < 1


def test_presence_without_a_message_is_located(key):
    """Messages of another length are not read: pilot and anchors remain."""
    place = Watermarker(key, message_bits=32).locate(pasted(key))
    assert place and place.detection.message is None
    assert place.disagreement is None
    assert iou(place.box, PASTED_BOX) > 0.75


def test_detector_keys_locate(key):
    place = fastmark.locate(pasted(key), key.detector_key("others"))
    assert place.detection.message == MESSAGE
    assert iou(place.box, PASTED_BOX) > 0.85


def test_an_unmarked_image_has_no_place(marker):
    place = marker.locate(drawn(300, 401, 2))
    assert not place
    assert (place.box, place.share, place.disagreement) == (None, 0.0, None)
    assert place.heat.shape == (10, 13) and not place.heat.any() and not place.carries.any()
    assert place.to_image().size == (401, 300)


def test_another_key_finds_no_place(key, other_key):
    assert not Watermarker(other_key).locate(pasted(key))


def test_the_best_of_many_keys_is_located(key, other_key):
    place = fastmark.locate(pasted(key), [other_key, key])
    assert place.detection.key_id == key.key_id
    assert place.detection == Detector([other_key, key]).detect(pasted(key))[0]


def test_content_that_was_exchanged_under_the_mark_disagrees(key, marker):
    original = drawn(512, 640, 1)
    marked = marker.embed(original, MESSAGE)
    delta = marked.astype(np.int16) - original
    other = drawn(512, 640, 6)
    picture = marked.copy()
    picture[:, :240] = np.clip(other[:, :240].astype(np.int16) + delta[:, :240], 0, 255)
    place = marker.locate(picture)
    column = mapped(place, 0, 240)[1]
    assert place.share > 0.9  # the mark is there all the same
    assert np.median(place.disagreement[:, : column - 4]) > 1.2
    assert np.median(place.disagreement[:, column + 4 :]) < -1
    untouched = marker.locate(marked).disagreement
    assert np.mean(untouched > 0) < 0.1


def test_an_unbound_mark_says_nothing_of_content(key, marker):
    place = marker.locate(marker.embed(drawn(384, 448, 1), MESSAGE, bind=False))
    assert place and place.disagreement is None


def test_a_bent_image_is_located(marker):
    picture = marker.embed(drawn(512, 640, 1), MESSAGE)
    height, width = picture.shape[:2]
    corners = (0, 0, 0, height, width, height - 6, width - 2, 6)
    bent = np.asarray(
        Image.fromarray(picture).transform(
            (width, height), Image.Transform.QUAD, corners, Image.Resampling.BICUBIC
        )
    )
    place = marker.locate(bent)
    assert place
    assert place.share > 0.4


# ---- statistics of heat ----------------------------------------------------------------------------------


def test_heat_is_unit_normal_where_there_is_no_mark(key, marker, other_carrier, carrier):
    """Over keys: survey an unmarked image as if a mark had been found at some place."""
    finding = Finding()
    analysis = Analysis(ScorePlanes(open_for_detection(photograph("coffee")).pixels))
    found = marker.key_detector.search(Analysis(ScorePlanes(open_for_detection(pasted(key)).pixels)))
    values = []
    for one in (carrier, other_carrier):
        for shift in ((0, 0), (40, 120), (-333, 17), (512, 512)):
            placement = found.finding.placement
            finding.placement = type(placement)(
                placement.matrix, np.array(shift, float), False, placement.n_tones, 0.0, 0.0
            )
            finding.message, finding.view = found.finding.message, found.finding.view
            seen = survey(analysis.planes, finding, one, 1, bound=False)
            n, v = seen.plain.sum(axis=0), seen.energy.sum(axis=0)
            values.append(smoothed_z(n, v, 1.2)[::5, ::5])
    z = np.concatenate([one.ravel() for one in values])
    assert z.size > 500
    assert abs(z.mean()) < 0.1
    assert z.std() == pytest.approx(1, abs=0.1)
    assert np.mean(np.abs(z) > 3) < 0.012


def test_smoothing_keeps_the_variance_of_noise():
    rng = np.random.default_rng(4)
    v = rng.uniform(0, 3, (200, 200)).astype(np.float32)
    n = rng.normal(0, np.sqrt(v)).astype(np.float32)
    for spread in (0.6, 2.0, 6.0):
        assert smoothed_z(n, v, spread).std() == pytest.approx(1, abs=0.1)
    assert not smoothed_z(n, np.zeros_like(v), 2.0).any()


def test_parts_are_found_in_noise():
    """A planted part, of channels of which some carry nothing."""
    rng = np.random.default_rng(5)
    v = rng.uniform(0.2, 1, (11, 60, 80)).astype(np.float32)
    truth = np.zeros((60, 80), bool)
    truth[10:40, 20:70] = True
    gains = np.where(np.arange(11) % 3 == 0, 0.0, 0.35)[:, None, None]
    n = (rng.normal(0, np.sqrt(v)) + gains * v * truth).astype(np.float32)

    seen = Survey(Lattice((0, 0), 8, truth.shape), n, v, None, None)
    weights, evidence, carries = find_parts(seen)
    assert np.mean(carries == truth) > 0.96
    np.testing.assert_allclose(weights, gains.ravel(), atol=0.08)
    assert evidence[truth].mean() > 0 > evidence[~truth].mean()


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


@pytest.mark.parametrize("unit", [1, 2])
def test_marks_found_in_windows_are_located_in_the_image(key, marker, unit):
    """As tiles of large canvases give them: part of the image, at the resolution of its pixels."""
    luma = open_for_detection(np.kron(pasted(key), np.ones((unit, unit, 1), np.uint8)), unit=lambda h, w: 2)
    ground = Ground.of(luma)
    part = ground.planes.window(unit, slice(40, 480), slice(120, 660))
    found = marker.key_detector.search(Analysis(part))
    window = Window(part, (40, 120), unit, 2)
    finding = dataclasses.replace(found.finding, window=window)
    found = dataclasses.replace(found, finding=finding)
    detection = marker.key_detector.report(Analysis(ground.planes), 2, found)
    assert detection.scale == pytest.approx(unit, rel=1e-3)
    assert detection.binding == "match"
    place = locate(ground, ground.planes, finding, found.carrier, detection)
    assert iou(place.box, tuple(unit * n for n in PASTED_BOX)) > 0.85
    assert not place.heat[:, mapped(place, 0, 700 * unit)[1] :].any()


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


# ---- the result ------------------------------------------------------------------------------------------


def test_the_map_is_drawn_in_colours_that_differ(key, marker):
    place = marker.locate(pasted(key))
    image = np.asarray(place.to_image()).astype(int)
    assert image.shape == (620, 800, 3)
    blue = image[..., 2] - image[..., 0]
    left, top, right, bottom = place.box
    assert np.median(blue[top + 20 : bottom - 20, left + 20 : right - 20]) > 40
    assert np.median(np.abs(blue[500:])) < 3
    assert (image[top + place.cell_px : bottom - 9, left + 3] == 255).all()  # the box's white line


def test_locations_are_values(key, marker):
    place = marker.locate(pasted(key))
    again = pickle.loads(pickle.dumps(place))
    np.testing.assert_array_equal(again.heat, place.heat)
    assert again.detection == place.detection
    row = place.to_dict()
    assert row["box"] == list(place.box) and row["message"] == f"{MESSAGE:016x}"
    assert isinstance(place, Location)
    assert Ground.of(open_for_detection(pasted(key))).height == 620
