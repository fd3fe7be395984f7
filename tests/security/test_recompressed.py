"""JPEG over and over, each time on another grid."""

import numpy as np


def test_eight_steps_down_the_ladder_leave_the_message(attacks, marker, image):
    ladders = attacks("ladders")
    made = marker.embed(image, 0x1ADDE2)
    for step, quality in enumerate(q for q in ladders.QUALITIES if q >= 60):
        made = ladders.jpeg(ladders.shifted_by(made, step), quality)
    found = marker.detect(made)
    assert found.message == 0x1ADDE2 and found.binding != "mismatch"


def test_shifts_cut_off_one_to_three_rows_and_columns(attacks):
    ladders = attacks("ladders")
    image = np.arange(20 * 20 * 3, dtype=np.uint8).reshape(20, 20, 3)
    shapes = {ladders.shifted_by(image, step).shape for step in range(4)}
    assert all(17 <= n <= 19 for shape in shapes for n in shape[:2])
    assert len(shapes) > 2
