"""Where a mark lies: heat, box, share, disagreement."""

import dataclasses
import pickle

import numpy as np
import pytest
from pasted_images import PASTED_BOX, iou, pasted, tile
from pictures import MESSAGE, drawn, photograph
from PIL import Image

import fastmark
from fastmark import Detector, Location, Watermarker
from fastmark.codec.plane import pixels_per_unit
from fastmark.detection.analysis import Analysis
from fastmark.detection.location import Ground, find_parts, locate
from fastmark.detection.reading import Finding
from fastmark.detection.scores import ScorePlanes
from fastmark.detection.smoothing import smoothed_z
from fastmark.detection.survey import Lattice, Survey, survey
from fastmark.detection.windows import Window
from fastmark.images.opening import open_for_detection


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
            seen = survey(analysis.planes, finding, one, 1)
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
