"""What embedding predicts of a mark, against counting it out, and JPEG's tables against Pillow's."""

import io

import numpy as np
import pytest
from PIL import Image
from planted import CODE, CODEWORD, MESSAGE, planted

from fastmark.margin import NEEDED_Z, jpeg_steps, measure
from fastmark.message import MESSAGE_BITS
from fastmark.perception import Perception


@pytest.fixture(scope="module")
def host(draw_plane):
    return draw_plane("textured", 304, 360)


def margins(plane, origin, carrier, codeword=CODEWORD, n_tones=96, bits=64):
    mask = Perception.of(plane).mask
    return measure(plane, mask, origin, carrier, codeword, n_tones, bits)


@pytest.mark.parametrize("quality", [1, 5, 10, 20, 49, 50, 51, 75, 90, 95, 99, 100])
def test_quantisers_are_those_of_libjpeg(quality):
    buffer = io.BytesIO()
    Image.new("L", (16, 16)).save(buffer, "JPEG", quality=quality)
    with Image.open(buffer) as image:
        table = np.array(image.quantization[0]).reshape(8, 8)
    np.testing.assert_array_equal(jpeg_steps(quality), table)


def test_a_stronger_mark_has_larger_margins(host, carrier):
    found = [margins(*planted(host, carrier, strength=strength), carrier) for strength in (0.25, 0.5, 1, 2)]
    for field in ("message", "jpeg", "pilot"):
        values = [getattr(margin, field) for margin in found]
        assert values == sorted(values)
    assert found[-1].message > 2 * found[0].message > 0
    assert all(margin.message > margin.jpeg for margin in found[1:])


def test_there_is_no_margin_without_mark_with_another_key_or_elsewhere(host, carrier, other_carrier):
    marked, (y, x) = planted(host, carrier)
    for plane, origin, of in (
        (host, (y, x), carrier),
        (marked, (y, x), other_carrier),
        (marked, ((y + 8) % 1024, x), carrier),
    ):
        seen = margins(plane, origin, of)
        assert max(abs(seen.message), abs(seen.jpeg), abs(seen.pilot)) < 0.5


def test_the_margin_of_the_opposite_codeword_is_the_negative(host, carrier):
    marked, origin = planted(host, carrier)
    one, other = (margins(marked, origin, carrier, codeword) for codeword in (CODEWORD, 1 - CODEWORD))
    assert one.message == pytest.approx(-other.message)
    assert one.pilot == other.pilot


def test_longer_messages_need_more(host, carrier):
    marked, origin = planted(host, carrier)
    found = [margins(marked, origin, carrier, bits=bits) for bits in MESSAGE_BITS]
    assert [m.message for m in found] == sorted((m.message for m in found), reverse=True)
    for bits, margin in zip(MESSAGE_BITS, found, strict=True):
        assert margin.message * NEEDED_Z[bits] == pytest.approx(found[0].message * NEEDED_Z[16])


def test_what_is_needed_is_enough_to_read_nine_messages_of_ten():
    rng = np.random.default_rng(0)
    for z, least in ((NEEDED_Z[64], 0.85), (0.6 * NEEDED_Z[64], 0.0)):
        read = 0
        for _ in range(200):
            amplitude = z / np.sqrt(CODEWORD.size)
            received = (1 - 2.0 * CODEWORD) * amplitude + rng.normal(size=CODEWORD.size)
            decoded = CODE.decode((2 * amplitude * received).astype(np.float32))
            read += decoded is not None and decoded.message == MESSAGE
        assert least * 200 <= read <= (200 if least else 40)
