"""An earlier watermark of the same key: seen, taken off and replaced, kept, or refused."""

import io
import itertools
import pickle

import numpy as np
import pytest
from pictures import MESSAGE, drawn, photograph, psnr_db
from PIL import Image

from fastmark import AlreadyMarkedError, Watermarker
from fastmark.codec.binding import STRONG, WEAK
from fastmark.codec.plane import add_delta, canonical_plane
from fastmark.codec.tables import TONE_COUNTS, TORUS
from fastmark.detection.scores import ScorePlanes
from fastmark.detection.torus import TorusSpectrum
from fastmark.embedding.earlier import SHOWN, SHOWN_COARSER, halved_torus, look_for, tone_excess
from fastmark.embedding.erasing import Lattice, erase, on_plane
from fastmark.embedding.host import Pixels
from fastmark.embedding.marking import prepare_image

SECOND = 0xFEDCBA9876543210
HEX = f"{MESSAGE:016x}"


def jpeg(pixels, quality):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return np.array(Image.open(file))


def part(pixels, top, left, height, width):
    return np.ascontiguousarray(pixels[top : top + height, left : left + width])


WAYS = {
    "as it is": lambda pixels: pixels,
    "cropped": lambda pixels: part(pixels, 13, 7, 301, 333),
    "JPEG 80": lambda pixels: jpeg(pixels, 80),
    "cropped, JPEG 80": lambda pixels: jpeg(part(pixels, 41, 22, 380, 363), 80),
}


def look(pixels, marker):
    image = Pixels.of(pixels, 255.0)
    return look_for(image, prepare_image(image, 1), marker.key_detector)


# ---- replaced ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_the_new_message_is_read_and_the_report_names_the_old_one(marker, marked, way):
    before = WAYS[way](marked[1])
    again, report = marker.embed_report(before, SECOND)
    assert (report.action, report.earlier_message) == ("replaced", HEX)
    assert marker.detect(again).message == SECOND
    assert marker.detect(jpeg(again, 60)).message == SECOND
    assert report.psnr_db == pytest.approx(psnr_db(before, again), abs=0.01)


@pytest.mark.parametrize("seed", range(4))
def test_drawn_pictures_cropped_by_odd_amounts(marker, seed):
    before = marker.embed(drawn(400, 520, seed), MESSAGE)[5 + seed :, 3 : 500 - 7 * seed]
    again, report = marker.embed_report(np.ascontiguousarray(before), SECOND)
    assert report.action == "replaced"
    assert marker.detect(again).message == SECOND


def test_the_same_message_again(marker, marked):
    again, report = marker.embed_report(marked[1], MESSAGE)
    assert (report.action, report.earlier_message) == ("replaced", HEX)
    assert marker.detect(again).message == MESSAGE


def test_a_third_message(marker, marked):
    pixels = marked[1]
    for message in (SECOND, 3, 4):
        pixels, report = marker.embed_report(pixels, message)
        assert report.action == "replaced"
        assert marker.detect(pixels).message == message


@pytest.mark.parametrize("bits", [16, 128])
def test_a_message_of_another_length(key, marked, bits):
    other = Watermarker(key, bits)
    again, report = other.embed_report(marked[1], 5)
    assert (report.action, report.earlier_message) == ("replaced", HEX)
    assert other.detect(again).message == 5


def test_an_unmarked_picture_and_one_of_another_key_are_marked_as_ever(marker, other_key, marked):
    for pixels in (marked[0], Watermarker(other_key).embed(marked[0], 9)):
        again, report = marker.embed_report(pixels, SECOND)
        assert (report.action, report.earlier_message) == ("marked", None)
        assert marker.detect(again).message == SECOND


def test_other_kinds_of_pixels(marker, marked):
    for pixels in (
        marked[1].astype(np.uint16) * 257,
        (marked[1] / np.float32(255)).astype(np.float32),
        marked[1][..., 1].copy(),
        np.dstack([marked[1], np.where(np.arange(512) < 470, 255, 0) * np.ones((512, 1))]).astype(np.uint8),
    ):
        again, report = marker.embed_report(pixels, SECOND)
        assert report.action == "replaced"
        assert (again.dtype, again.shape) == (pixels.dtype, pixels.shape)
        assert marker.detect(again).message == SECOND
    unseen = pixels[..., 3] == 0
    assert np.array_equal(again[unseen], pixels[unseen])


def test_large_pictures_and_parts_of_them_that_have_fewer_pixels_a_unit(marker):
    large = marker.embed(drawn(1300, 1400), MESSAGE)
    for before, k in ((large, 2), (part(large, 31, 76, 1201, 1203), 2), (part(large, 31, 75, 1010, 1100), 1)):
        again, report = marker.embed_report(before, SECOND)
        assert (report.action, report.earlier_message, report.pixels_per_unit) == ("replaced", HEX, k)
        assert marker.detect(again).message == SECOND


def test_pixels_go_where_they_are_asked_to_unless_refused(marker, marked):
    pixels = marked[1].copy()
    assert marker.embed(pixels, SECOND, out=pixels) is pixels
    assert marker.detect(pixels).message == SECOND
    pixels = marked[1].copy()
    with pytest.raises(AlreadyMarkedError):
        marker.embed(pixels, SECOND, out=pixels, on_marked="refuse")
    assert np.array_equal(pixels, marked[1])


def test_threads_do_not_change_it(marker, marked):
    one, two = (marker.embed(marked[1], SECOND, threads=n) for n in (1, 2))
    assert np.array_equal(one, two)


def test_what_the_detector_does_not_read_is_an_error(marker, marked, monkeypatch):
    monkeypatch.setattr("fastmark.embedding.remarking.erase", lambda image, *_: image)
    monkeypatch.setattr("fastmark.embedding.remarking._read", lambda *_: [MESSAGE])
    with pytest.raises(AlreadyMarkedError, match="not read beside it") as caught:
        marker.embed(marked[1], SECOND)
    assert (caught.value.message, caught.value.message_hex) == (MESSAGE, HEX)


# ---- kept and refused --------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_kept_pictures_are_the_same_to_the_bit(marker, marked, way):
    before = WAYS[way](marked[1])
    kept, report = marker.embed_report(before, SECOND, on_marked="keep")
    assert kept is not before
    assert np.array_equal(kept, before)
    assert (report.action, report.earlier_message, report.strength) == ("kept", HEX, 0)
    assert report.margin_message == pytest.approx(marker.detect(before).margin, rel=0.1)
    assert "left as it is" in report.warnings[0]
    kept, report = marker.embed_report(marked[0], SECOND, on_marked="keep")
    assert (report.action, marker.detect(kept).message) == ("marked", SECOND)


def test_refused_with_the_message_that_was_found(marker, marked):
    with pytest.raises(AlreadyMarkedError, match=f"message {HEX}") as caught:
        marker.embed(WAYS["cropped"](marked[1]), SECOND, on_marked="refuse")
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.message, again.message_hex, str(again)) == (MESSAGE, HEX, str(caught.value))
    assert marker.embed_report(marked[0], SECOND, on_marked="refuse")[1].action == "marked"


def test_batches_take_it_too(marker, marked):
    images = [marked[0], marked[1]]
    kept = marker.embed_batch(images, [SECOND, SECOND], 1, on_marked="keep")
    assert [marker.detect(one).message for one in kept] == [SECOND, MESSAGE]
    outcomes = list(marker.embed_iter(images, [SECOND, SECOND], 1, on_marked="refuse"))
    assert [type(outcome.error) for outcome in outcomes] == [type(None), AlreadyMarkedError]


def test_a_wrong_answer_is_refused_at_once(marker, marked):
    for wrong in ("Keep", "", None, True):
        with pytest.raises(ValueError, match="one of replace, keep, refuse"):
            marker.embed(marked[0], SECOND, on_marked=wrong)
        with pytest.raises(ValueError, match="one of replace, keep, refuse"):
            marker.embed_iter([], [], on_marked=wrong)


# ---- seen --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_an_earlier_mark_is_seen_and_read(marker, marked, way):
    found = look(WAYS[way](marked[1]), marker).found
    assert (found.message, found.message_hex, found.k) == (MESSAGE, HEX, 1)


def excesses(host, carrier):
    """Those of a mark as it is, and of coarser ones."""
    shown = tone_excess(host.scored.torus, carrier, [1])[0]
    return shown, tone_excess(halved_torus(host.analysis), carrier, [1 / k for k in range(2, 9)])


def test_tones_show_in_marked_pictures_alone(marker, marked, other_carrier):
    host = prepare_image(Pixels.of(marked[1], 255.0), 1)
    shown, coarser = excesses(host, marker.key_detector.carrier)
    assert shown > 5 * SHOWN
    assert max(coarser) < SHOWN_COARSER
    shown, coarser = excesses(host, other_carrier)
    assert shown < SHOWN_COARSER
    assert max(coarser) < SHOWN_COARSER


@pytest.mark.parametrize("k", [1, 2, 3])
def test_tones_of_coarser_marks_show_at_their_own_ratio(carrier, k):
    """Of a pilot alone, stretched k times, under white noise."""
    rng = np.random.default_rng(k)
    pilot = np.kron(carrier.pilot(384)[: 768 // k, : 840 // k], np.ones((k, k)))
    plane = (128 + 0.6 * pilot + rng.normal(0, 4, pilot.shape)).astype(np.float32)
    torus = TorusSpectrum(ScorePlanes(plane), np.eye(2), 1)
    shown = tone_excess(torus, carrier, [1 / n for n in range(1, 5)])
    assert int(np.argmax(shown)) == k - 1
    assert shown[k - 1] > 20
    assert np.delete(shown, k - 1).max() < shown[k - 1] / 10


def test_the_excess_one_tone_at_a_time(carrier):
    plane = np.random.default_rng(5).uniform(0, 255, (300, 420)).astype(np.float32)
    torus = TorusSpectrum(ScorePlanes(plane), np.eye(2), 1)
    whole = np.fft.fft2(ScorePlanes(plane).weighted(1).astype(np.float64), (TORUS, TORUS))
    for ratio in (1, 1 / 2, 2 / 3):
        total, best = 0.0, -np.inf
        for i, (fy, fx) in enumerate(carrier.tones):
            y, x = int(np.rint(fy * ratio)), int(np.rint(fx * ratio))
            level = torus.power.noise.at(np.array([-y if x < 0 else y]), np.array([abs(x)]))[0]
            total += min(abs(whole[y, x]) ** 2 / level, 8) - 1
            if i + 1 in TONE_COUNTS:
                best = max(best, total / (i + 1) ** 0.5)
        assert tone_excess(torus, carrier, [ratio])[0] == pytest.approx(best, abs=1e-3)


def test_chance_seldom_shows_tones(other_carrier, carrier):
    pictures = [photograph("chelsea"), photograph("coffee"), *(drawn(300, 280, seed) for seed in range(6))]
    hosts = [prepare_image(Pixels.of(pixels, 255.0), 1) for pixels in pictures]
    shown, coarser = zip(
        *(excesses(*one) for one in itertools.product(hosts, (carrier, other_carrier))), strict=True
    )
    assert np.mean(np.array(shown) >= SHOWN) <= 0.25
    assert np.mean(np.array(coarser) >= SHOWN_COARSER) <= 0.02


# ---- taken off ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("top", "left"), [(0, 0), (8, 16), (13, 7)])
def test_the_lattice_of_a_crop(marker, marked, carrier, top, left):
    whole = look(marked[1], marker).found
    first = Lattice.of(Pixels.of(marked[1], 255.0), whole, carrier)
    assert [n % 8 for n in first.origin] == [4, 4]
    pixels = part(marked[1], top, left, 400, 420)
    lattice = Lattice.of(Pixels.of(pixels, 255.0), look(pixels, marker).found, carrier)
    assert (lattice.k, lattice.start) == (1, (0, 0))
    assert lattice.origin == ((first.origin[0] + top) % TORUS, (first.origin[1] + left) % TORUS)


def test_the_lattice_of_a_part_of_a_large_picture(marker, carrier):
    large = marker.embed(drawn(1300, 1400), MESSAGE)
    first = Lattice.of(Pixels.of(large, 255.0), look(large, marker).found, carrier)
    assert (first.k, first.start) == (2, (0, 0))
    pixels = part(large, 31, 76, 1010, 1100)
    lattice = Lattice.of(Pixels.of(pixels, 255.0), look(pixels, marker).found, carrier)
    # pixel 31 is the second of its unit
    assert (lattice.k, lattice.start) == (2, (1, 0))
    assert lattice.origin == ((first.origin[0] + 16) % TORUS, (first.origin[1] + 38) % TORUS)


@pytest.mark.parametrize("bind", [False, True])
@pytest.mark.parametrize("way", ["as it is", "cropped"])
def test_nothing_is_left_of_a_mark_that_is_taken_off(marker, carrier, bind, way):
    original = WAYS[way](photograph("astronaut"))
    marked = marker.embed(photograph("astronaut"), MESSAGE, bind=bind)
    pixels = WAYS[way](marked)
    image = Pixels.of(pixels, 255.0)
    bare = erase(image, look(pixels, marker).found, carrier)
    assert marker.detect(bare.values).state == "absent"
    # nearly all of the change is undone
    assert psnr_db(original, bare.values) > psnr_db(original, pixels) + 6
    assert np.array_equal(image.values, pixels)


def test_an_image_without_a_mark_of_that_place_hardly_changes(marker, carrier, marked):
    """The amplitude comes from the image: another place's pattern is not found, and not subtracted."""
    found = look(marked[1], marker).found
    moved = Pixels.of(np.ascontiguousarray(marked[0]), 255.0)
    bare = erase(moved, found, carrier)
    change, mark = (np.square(one.astype(float) - marked[0]).mean() for one in (bare.values, marked[1]))
    assert change < 0.15 * mark


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_the_change_of_the_plane_is_what_the_pixels_give(k):
    delta = np.random.default_rng(k).normal(0, 2, (9, 11)).astype(np.float32)
    grey = np.full((9 * k, 11 * k), 0.5, np.float32)
    marked, _ = add_delta(grey, delta, k, 1.0)
    change = canonical_plane(marked, k, 1.0) - canonical_plane(grey, k, 1.0)
    assert np.allclose(on_plane(delta, k), change, atol=1e-3)


def test_the_classes_of_binding_are_told_apart(marker, carrier, marked):
    from fastmark.embedding.erasing import _Drawn

    for bind, kinds in ((True, {STRONG, WEAK}), (False, {None})):
        pixels = marker.embed(marked[0], MESSAGE, bind=bind)
        image = Pixels.of(pixels, 255.0)
        found = look(pixels, marker).found
        lattice = Lattice.of(image, found, carrier)
        drawn_again = _Drawn.of(image, lattice.origin, found, carrier, 1)
        assert drawn_again.binding in kinds
