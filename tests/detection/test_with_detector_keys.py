"""Detecting with a detector key: the message is read by two thirds of the blocks, and bounds hold."""

import math

import numpy as np
import pytest
from pictures import MESSAGE, drawn, photograph
from PIL import Image
from test_attacks_survived import ATTACKS

import fastmark as fm
from fastmark.codec.carrier import Carrier
from fastmark.codec.key import Key
from fastmark.codec.message import MessageCode
from fastmark.codec.plane import canonical_plane, pixels_per_unit
from fastmark.codec.tables import WITHHELD, BindingTables, Tables
from fastmark.detection import evidence
from fastmark.detection.detector import LEAST_LOG10_P, KeyDetector, analyse, look
from fastmark.detection.scores import ScorePlanes
from fastmark.detection.soft_bits import ChipBlocks
from fastmark.embedding.drawing import make_delta
from fastmark.embedding.host import prepare
from fastmark.embedding.marking import make_design
from fastmark.images.opening import open_for_detection

EVERYDAY = [
    "none",
    "JPEG 30",
    "WebP 60",
    "resized to 0.5",
    "a quarter of the area",
    "rotated by 17",
    "mirrored",
    "rotated by 180",
    "inverted",
    "noise of 20",
    "cropped, shrunk and compressed",
]


@pytest.fixture(scope="module")
def detector_key(key):
    return key.detector_key("the museum")


@pytest.fixture(scope="module")
def detector(detector_key):
    return fm.Detector(detector_key)


@pytest.mark.parametrize("attack", EVERYDAY)
@pytest.mark.parametrize("name", ["astronaut", "coffee"])
def test_the_message_is_read_after_everyday_handling(marker, detector, name, attack):
    image = ATTACKS[attack](Image.fromarray(marker.embed(photograph(name), MESSAGE)))
    (found,) = detector.detect(image)
    assert (found.state, found.message) == ("detected", MESSAGE)
    whole = marker.detect(image)
    assert found.key_id == whole.key_id == marker.key.id
    assert (found.mirrored, found.inverted) == (whole.mirrored, whole.inverted)
    assert found.scale == pytest.approx(whole.scale, rel=0.01)


def test_two_thirds_of_the_blocks_tell_the_root_of_two_thirds_of_the_signal(marker, detector, marked):
    whole, part = marker.detect(marked[1]), detector.detect(marked[1])[0]
    assert part.margin == pytest.approx(whole.margin * math.sqrt(2 / 3), rel=0.05)


def test_a_large_picture_is_read_at_half_its_resolution(marker, detector):
    marked = marker.embed(drawn(1300, 1700), MESSAGE)
    assert detector.detect(marked)[0].message == MESSAGE
    assert detector.detect(marked[71:1231, 133:1633])[0].message == MESSAGE


@pytest.mark.parametrize("bits", [16, 128])
def test_messages_of_other_lengths_are_read(key, detector_key, bits):
    marked = fm.Watermarker(key, bits).embed(photograph("coffee"), 0xBEEF)
    (found,) = fm.detect(marked, detector_key, message_bits=bits)
    assert (found.message, found.message_bits) == (0xBEEF, bits)


def test_marks_that_are_not_bound_are_read_as_well(marker, detector):
    marked = marker.embed(photograph("coffee"), MESSAGE, bind=False)
    assert detector.detect(marked)[0].message == MESSAGE


@pytest.mark.parametrize("name", ["astronaut", "chelsea", "rocket"])
def test_unmarked_pictures_and_those_of_other_keys_are_absent(detector, other_key, name):
    for picture in (photograph(name), fm.Watermarker(other_key).embed(photograph(name), MESSAGE)):
        (found,) = detector.detect(picture)
        assert (found.state, found.message) == ("absent", None)


@pytest.mark.parametrize("size", [1, 47, 64])
def test_tiny_pictures_are_absent(detector, size):
    assert detector.detect(drawn(128, 128)[:size, :size])[0].state == "absent"


# ---- the bounds ------------------------------------------------------------------------------------------


def test_soft_bits_are_sums_over_known_blocks_alone(key, detector_key, carrier, draw_plane):
    part = Carrier(detector_key)
    planes = ScorePlanes(draw_plane("textured", 200, 264))
    blocks = ChipBlocks.of(np.ascontiguousarray(planes.weighted(1)[4:, 4:]))
    soft = blocks.soft_bits(part, (17, 101))
    hidden = key.binding_tables().withheld

    class Silent:
        """A key whose withheld blocks carry no chips and say so."""

        key_id = id = "00"

        def tables(self):
            known = key.tables()
            code_bit = np.where(hidden, WITHHELD, known.code_bit).astype(np.int16)
            return Tables(known.tones, known.phases, known.signs, code_bit)

        def binding_tables(self) -> BindingTables:
            return key.binding_tables()

    np.testing.assert_array_equal(soft, blocks.soft_bits(Carrier(Silent()), (17, 101)))
    whole = blocks.soft_bits(carrier, (17, 101))
    assert soft[1].sum() == pytest.approx(whole[1].sum() * 2 / 3, rel=0.1)


def test_bounds_of_anchors_and_codewords_hold_over_detector_keys(draw_plane):
    """What is seen in one unmarked plane, over many keys: no smaller than it says more often than it says."""
    planes = ScorePlanes(draw_plane("edges", 200, 264))
    blocks = ChipBlocks.of(np.ascontiguousarray(planes.weighted(1)[4:, 4:]))
    codeword = MessageCode(64).encode(MESSAGE.to_bytes(8, "big"), 1)
    anchors, words = [], []
    rng = np.random.default_rng(21)
    for _ in range(50):
        soft = blocks.soft_bits(Carrier(Key(rng.bytes(32)).detector_key()), (3, 5))
        anchors.append(evidence.sign_sum_bound(float(soft[0, -1]), float(soft[1, -1])))
        total = float((1.0 - 2.0 * codeword) @ soft[0, :-1])
        words.append(evidence.sign_sum_bound(total, float(soft[1, :-1].sum())))
    for logs in (np.array(anchors), np.array(words)):
        for level in (0.3, 0.1, 0.03):
            allowed = level * logs.size
            assert np.sum(logs <= math.log(level)) <= allowed + 3 * math.sqrt(allowed) + 1
        assert logs.min() < math.log(0.7)  # they do vary


def test_noise_is_never_called_marked(detector):
    rng = np.random.default_rng(22)
    for _ in range(6):
        picture = np.clip(rng.normal(128, 40, (300, 340)), 0, 255).astype(np.uint8)
        (found,) = detector.detect(picture)
        assert found.log10_p > -4


# ---- what a holder can make ------------------------------------------------------------------------------


def test_a_mark_drawn_from_a_detector_key_lacks_the_withheld_third(key, detector_key, detector, marker):
    """Its holder can make what other holders take for genuine; the owner sees which blocks are silent."""
    picture = photograph("coffee")
    host = prepare(np.asarray(Image.fromarray(picture).convert("L"), np.float32), 1)
    codeword = MessageCode(64).encode(MESSAGE.to_bytes(8, "big"), 1)
    design = make_design(host, Carrier(key), codeword, bind=False)
    delta = make_delta(host, Carrier(detector_key), codeword, design)
    forged = np.clip(np.rint(picture + delta[..., None]), 0, 255).astype(np.uint8)
    assert detector.detect(forged)[0].message == MESSAGE
    owner = marker.detect(forged)
    genuine = marker.detect(marker.embed(picture, MESSAGE, bind=False))
    assert owner.margin < 0.9 * genuine.margin
    assert owner.made_with != "key"


# ---- among other keys ------------------------------------------------------------------------------------


def test_a_detector_takes_both_kinds_and_prefers_the_secret(key, other_key, detector_key, marker, marked):
    both = fm.Detector([detector_key, other_key, key])
    assert both.keys == (key, other_key)
    assert both.detect(marked[1]) == fm.Detector([key, other_key]).detect(marked[1])
    assert fm.Detector([detector_key, marker]).keys == (key,)
    assert fm.Detector([marker, detector_key]).keys == (key,)
    # each is paid for, as a key is
    several = fm.Detector([detector_key, other_key.detector_key()])
    best, other = several.detect(marked[1])
    assert (best.key_id, best.message, other.state) == (key.id, MESSAGE, "absent")
    # another length of message is another thing to look for
    lengths = fm.Detector([fm.Watermarker(key, 16), detector_key])
    assert lengths.keys == (key, detector_key)
    assert {found.message_bits for found in lengths.detect(marked[1])} == {16, 64}


def test_embedding_with_a_detector_key_says_what_to_use_instead(detector_key):
    with pytest.raises(TypeError, match="a detector key only detects: embed with the secret key") as caught:
        fm.Watermarker(detector_key)
    assert "fastmark.Detector" in str(caught.value)
    with pytest.raises(TypeError, match="must be"):
        fm.Detector([detector_key, "my.key"])


def test_a_mark_erased_with_a_detector_key_is_found_by_the_blocks_it_lacks(key, detector_key, marker):
    """Its holder is given the host and the strength: he takes pilot and known chips off exactly."""
    picture = photograph("astronaut")
    marked, report = marker.embed_report(picture, MESSAGE)
    host = prepare(canonical_plane(picture, 1), 1)
    codeword = MessageCode(64).encode(MESSAGE.to_bytes(8, "big"), 1)
    design = make_design(host, Carrier(key), codeword)
    known = np.float32(report.strength) * make_delta(host, Carrier(detector_key), codeword, design)
    erased = np.clip(np.rint(marked - known[..., None]), 0, 255).astype(np.uint8)
    assert not fm.detect(erased, detector_key)[0]
    alone = KeyDetector(Carrier(key).withheld_alone(), MessageCode(64))
    image = open_for_detection(erased, unit=pixels_per_unit)
    assert look(image, [alone])[0].message == MESSAGE
    found = marker.detect(erased, deep=True)
    assert (found.message, found.made_with) in [(MESSAGE, "key"), (MESSAGE, "unknown")]


def test_a_detector_key_has_no_blocks_that_it_lacks(key, detector_key):
    assert Carrier(detector_key).withheld_alone() is None
    alone = Carrier(key).withheld_alone()
    assert 0.3 < np.mean(alone.signs != 0) < 0.37
    assert not (Carrier(detector_key).signs * alone.signs).any()
    assert (Carrier(detector_key).signs + alone.signs == Carrier(key).signs).all()


def test_the_second_search_of_deep_is_paid_for(key):
    """Both searches share the rate of false positives."""
    detector = KeyDetector(Carrier(key), MessageCode(64))
    compared = 0
    for strength in (0.5, 0.7, 0.9):
        marked = fm.Watermarker(key, strength=strength).embed(photograph("chelsea", 280), MESSAGE, bind=False)
        attacked = ATTACKS["JPEG 30"](Image.fromarray(marked))
        analysis = analyse(open_for_detection(attacked, unit=pixels_per_unit))
        plain = detector.detect(analysis, 1)
        if plain.message is not None and plain.message_log10_p > LEAST_LOG10_P:
            deep = detector.detect(analysis, 1, deep=True)
            assert deep.message_log10_p == pytest.approx(plain.message_log10_p + math.log10(2), abs=1e-6)
            compared += 1
    assert compared
