"""Decision and report: what a state means, and what is not looked at."""

import dataclasses

import numpy as np
import pytest
from pictures import MESSAGE, drawn, photograph

import fastmark as fm


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
