"""What embedding predicts of a mark, against counting it out, and JPEG's tables against Pillow's."""

import io

import numpy as np
import pytest
from pictures import drawn, photograph
from PIL import Image
from planted import CODE, CODEWORD, MESSAGE, planted

from fastmark._checks import MESSAGE_BITS
from fastmark.codec.mask import Perception
from fastmark.codec.message import NEEDED_Z
from fastmark.codec.plane import canonical_plane, pixels_per_unit
from fastmark.embedding import margins as margin
from fastmark.embedding.choices import choose_strength
from fastmark.embedding.hardening import harden, jpeg_steps
from fastmark.embedding.host import Pixels, prepare
from fastmark.embedding.margins import KnownMark, measure
from fastmark.embedding.marking import make_delta, make_design


@pytest.fixture(scope="module")
def host(draw_plane):
    return draw_plane("textured", 304, 360)


def margins(plane, origin, carrier, codeword=CODEWORD, n_tones=96, bits=64):
    """Of a plane that is marked already."""
    mask = Perception.of(plane).mask
    known = KnownMark(origin, carrier, codeword, n_tones, bits)
    return measure(Pixels(plane, 255.0, 1), np.zeros_like(plane), mask, known)


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
    for bits, needed in zip(MESSAGE_BITS, found, strict=True):
        assert needed.message * NEEDED_Z[bits] == pytest.approx(found[0].message * NEEDED_Z[16])


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


# ---- what is to be added, and samples of it --------------------------------------------------------


def to_be_marked(pixels, carrier, strength=1.0):
    """What :func:`measure` is told before a picture is marked, and what it is told of it when it is."""
    k = pixels_per_unit(*pixels.shape[:2])
    host = prepare(canonical_plane(pixels, k), k)
    design = make_design(host, carrier, CODEWORD)
    unit = make_delta(host, carrier, CODEWORD, design)
    delta, _ = harden(host, unit, strength * choose_strength(host, design))
    known = KnownMark(design.origin, carrier, CODEWORD, design.n_tones, 64)
    mask, image = host.perception.mask, Pixels.of(pixels, 255.0)
    return (image, delta, mask, known), (image.add(delta)[0], np.zeros_like(delta), mask, known)


@pytest.fixture
def looks(monkeypatch):
    """The lists of windows looked at."""
    seen, mosaic = [], margin._mosaic

    def record(*arguments):
        seen.append(arguments[-1])
        return mosaic(*arguments)

    monkeypatch.setattr(margin, "_mosaic", record)
    return seen


@pytest.mark.parametrize("size", [(300, 341), (600, 501), (1300, 1220)], ids=str)
def test_the_margins_are_those_of_the_pixels_that_would_be_released(carrier, size):
    """Rounded and clipped, at one pixel a unit and at two; the picture itself is not touched."""
    pixels = np.array(drawn(*size)).astype(np.int16)
    pixels = np.clip(3 * pixels - 250, 0, 255).astype(np.uint8)  # much of it black or white
    before = pixels.copy()
    told, after = to_be_marked(pixels, carrier)
    predicted, seen = measure(*told), measure(*after)
    np.testing.assert_array_equal(pixels, before)
    for field in ("message", "jpeg", "pilot"):
        # at two pixels a unit, the delta is interpolated within each window, and a window has edges
        exact = pixels_per_unit(*size) == 1
        assert getattr(predicted, field) == pytest.approx(getattr(seen, field), rel=1e-6 if exact else 0.02)


def test_pictures_under_384_units_are_looked_at_as_a_whole(carrier, looks):
    measure(*to_be_marked(drawn(383, 500), carrier, 3.0)[0])
    assert looks == [[(0, 0, 383, 500)]]


def test_large_pictures_are_looked_at_through_four_windows_if_these_are_sure(carrier, looks):
    told, _ = to_be_marked(photograph("coffee"), carrier, 2.0)
    found = measure(*told)
    assert min(found.message, found.jpeg, found.pilot) >= 1.4
    [windows] = looks
    assert len(windows) == 4
    for top, left, height, width in windows:
        assert (height, width) == (96, 96)
        assert top % 8 == left % 8 == 0
        assert 0 <= top <= 400 - 96
        assert 0 <= left <= 600 - 96
    # apart from one another, a quarter and three quarters of the way
    assert {w.top for w in windows} == {48, 248}
    assert {w.left for w in windows} == {96, 400}


def test_where_a_sample_is_not_sure_the_whole_is_looked_at(carrier, looks):
    told, _ = to_be_marked(photograph("coffee"), carrier, 0.5)
    measure(*told)
    assert [len(windows) for windows in looks] == [4, 1]
    assert looks[1] == [(0, 0, 400, 600)]


SAMPLED = {
    "astronaut": lambda draw: photograph("astronaut"),
    "coffee": lambda draw: photograph("coffee"),
    "rocket": lambda draw: photograph("rocket"),
    "drawn": lambda draw: drawn(600, 800),
    "smooth": lambda draw: draw("smooth", 600, 800, 1).astype(np.uint8),
    "edges": lambda draw: draw("edges", 900, 700, 2).astype(np.uint8),
    "two pixels a unit": lambda draw: drawn(1300, 1700),
}


@pytest.mark.parametrize("name", SAMPLED)
def test_a_sample_says_about_what_the_whole_does(carrier, draw_plane, monkeypatch, name):
    told, _ = to_be_marked(SAMPLED[name](draw_plane), carrier)
    monkeypatch.setattr(margin, "_SURE", 0.0)
    sample = measure(*told)
    monkeypatch.setattr(margin, "_WINDOW", 10**6)
    whole = measure(*told)
    # z of the sample has a standard deviation of one, and is multiplied by the root of the areas' ratio
    deviation = np.sqrt(told[1].size / (4 * 96**2)) / NEEDED_Z[64]
    for field, share in (("message", 0.1), ("jpeg", 0.2)):
        expected = getattr(whole, field)
        assert getattr(sample, field) == pytest.approx(expected, abs=share * expected + 2 * deviation)
    # no spectrum is whitened for a sample: under strong waves it says less, and the whole is looked at
    waves = name in ("drawn", "two pixels a unit")
    assert (0.1 if waves else 0.85) < sample.pilot / whole.pilot < 1.25
