"""Decision and report: what a matrix is called, what a state means, and what is not looked at."""

import dataclasses
import math

import numpy as np
import pytest
from pictures import MESSAGE, drawn, photograph

import fastmark as fm
from fastmark.detection.detector import describe


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


def found(log10_p, message=None):
    return fm.Detection("absent", log10_p, message, 16, 0.0, None, None, None, None, False, False, "00")


def test_p_values_and_bytes_follow_from_the_fields():
    assert found(-3.0).p_value == pytest.approx(1e-3)
    assert found(0.0).p_value == 1
    assert found(-2000.0).p_value == 0
    assert found(0.0).message_bytes is None
    assert found(0.0, 0x0102).message_bytes == b"\x01\x02"
    assert found(0.0).message_hex is found(0.0).to_dict()["message"] is None
    assert found(0.0, 7).message_hex == found(0.0, 7).to_dict()["message"] == "0007"


def test_an_image_is_true_where_it_is_detected_and_only_there():
    for state in ("detected", "possible", "absent"):
        one = dataclasses.replace(found(-9.0), state=state)
        assert bool(one) is one.detected is (state == "detected")


def test_remarks_are_one_text_in_json():
    assert found(0.0).to_dict()["remarks"] is None
    several = dataclasses.replace(found(0.0), remarks=("first of 3 frames", "cut short"))
    assert several.to_dict()["remarks"] == "first of 3 frames; cut short"


def test_bounds_end_at_the_strength_of_the_key_and_margins_go_on(marker, marked):
    seen = marker.detect(marked[1])
    assert seen.log10_p == seen.message_log10_p == pytest.approx(-77.0637, abs=1e-3)
    assert seen.p_value == pytest.approx(2.0**-256)
    # as much as the report of embedding promised
    promised = marker.embed_report(marked[0], MESSAGE)[1].margin_message
    assert seen.margin == pytest.approx(promised, rel=0.25)
    assert marker.detect(marked[0]).margin is None


def test_every_state_has_its_words():
    notes = {
        fm.Detection(state, 0.0, None, 64, 0.0, None, None, None, None, False, False, "00").note
        for state in ("detected", "possible", "absent")
    }
    assert len(notes) == 3
    assert sum("no evidence" in note for note in notes) == 1


@pytest.mark.parametrize("size", [1, 7, 8, 47, 48, 64])
def test_tiny_pictures_are_absent(key, size):
    marker = fm.Watermarker(key)
    for picture in (drawn(128, 128)[:size, :size], np.zeros((size, size), np.uint8)):
        assert marker.detect(picture).state == "absent"


def test_a_weak_mark_is_possible_or_absent_but_never_another_message(key):
    """The mark fades under noise: the message goes first, then the mark; none is ever wrong."""
    marker = fm.Watermarker(key)
    marked = marker.embed(photograph("astronaut", 256), 0x5566).astype(float)
    noise = np.random.default_rng(4).normal(size=marked.shape)
    log10_ps = []
    for sigma in (0, 30, 60):
        seen = marker.detect(np.clip(np.rint(marked + sigma * noise), 0, 255).astype(np.uint8))
        assert seen.message in (0x5566, None)
        assert seen.state == (
            "detected" if seen.log10_p <= -9 else "possible" if seen.log10_p <= -4 else "absent"
        )
        assert (seen.scale is None) == (seen.state == "absent")
        log10_ps.append(seen.log10_p)
    assert log10_ps == sorted(log10_ps)
    assert log10_ps[0] < -77 < log10_ps[-1]
