"""Predicted survival: its links against the detector's own statistics, and against what becomes of marks."""

import dataclasses
import io
import math

import numpy as np
import pytest
from pictures import drawn, photograph
from PIL import Image
from planted import CODEWORD, planted

from fastmark.bulk.tables import MANIFEST_COLUMNS
from fastmark.codec.mask import Perception
from fastmark.codec.message import NEEDED_Z, Decoded
from fastmark.codec.plane import canonical_plane
from fastmark.detection.levels import ScanLevel
from fastmark.detection.logpolar import Templates
from fastmark.detection.placement import place_candidate
from fastmark.detection.plan import ScanPlan
from fastmark.detection.reading import message_z
from fastmark.detection.scan import refine
from fastmark.detection.scores import ScorePlanes
from fastmark.detection.soft_bits import ChipBlocks
from fastmark.embedding import marking
from fastmark.embedding import survival as module
from fastmark.embedding.host import Pixels
from fastmark.embedding.margins import KnownMark, Margins, Window, compress, least
from fastmark.embedding.survival import Look, Looks, Predictions
from fastmark.results import REFERENCES
from fastmark.watermarker import Watermarker

MESSAGE = 0x0123456789ABCDEF
STRONG = Look(60.0, 300.0, 30.0)


@pytest.fixture(scope="module")
def host(draw_plane):
    return draw_plane("textured", 480, 560)


def looks_of(plane, origin, carrier, codeword=CODEWORD, bits=64):
    known = KnownMark(origin, carrier, codeword, 96, bits)
    compressed, mask = compress(Pixels(plane, 255.0, 1), plane), Perception.of(plane).mask
    return known.look(plane, compressed, mask, [Window(0, 0, *plane.shape)], plane.shape, 1)


def survival_of(plane, origin, carrier, bits=64):
    return looks_of(plane, origin, carrier, bits=bits).survival(NEEDED_Z[bits])


# ---- links, against the detector -------------------------------------------------------------------


@pytest.mark.parametrize("step", [1, 2])
def test_scan_and_phases_are_those_of_the_detector_at_the_true_geometry(host, carrier, step):
    marked, origin = planted(host, carrier)
    looks = looks_of(marked, origin, carrier)
    look = looks.full if step == 1 else looks.half
    planes = ScorePlanes(canonical_plane(marked, step))
    level = ScanLevel(planes, ScanPlan.of(planes.shape).levels[0])
    (candidate,) = refine(level, Templates(carrier), step * np.eye(2)[None], [96], [0.002])
    assert candidate.n_tones == 96
    # refinement climbs to the best geometry near the true one, and places to quarters of a unit
    assert 0.85 * candidate.score <= look.score <= candidate.score
    assert look.nats == pytest.approx(-place_candidate(candidate, carrier).log_phases, rel=0.1)


def test_the_message_at_half_size_is_what_its_chips_say_at_half_resolution(host, carrier):
    marked, origin = planted(host, carrier)
    seen = looks_of(marked, origin, carrier).half.message
    weighted = ScorePlanes(canonical_plane(marked, 2)).weighted()
    blocks = ChipBlocks.of(np.ascontiguousarray(weighted[2:, 2:]), step=2)
    soft = blocks.soft_bits(carrier, tuple((at + 4) // 8 for at in origin))
    assert seen == pytest.approx(message_z(Decoded(0, 1, CODEWORD), soft), rel=1e-4)


def test_a_crop_is_seen_as_the_middle_of_the_image_is(host, carrier):
    marked, (y, x) = planted(host, carrier)
    part = np.ascontiguousarray(marked[120:360, 136:416])
    crop, alone = looks_of(marked, (y, x), carrier).crop, looks_of(part, (y + 120, x + 136), carrier).full
    for name in ("message", "nats", "score"):
        # scores at the edges differ, and the mask there
        assert getattr(crop, name) == pytest.approx(getattr(alone, name), rel=0.05)


def test_nothing_survives_that_was_never_there(host, carrier, other_carrier):
    marked, (y, x) = planted(host, carrier)
    for plane, origin, of in (
        (host, (y, x), carrier),
        (marked, (y, x), other_carrier),
        (marked, ((y + 8) % 1024, x), carrier),
    ):
        predictions = survival_of(plane, origin, of)
        assert max(getattr(predictions, name) for name in REFERENCES) < 0.5


def test_a_stronger_mark_survives_more_and_a_longer_message_less(host, carrier):
    found = [survival_of(*planted(host, carrier, strength=s), carrier) for s in (0.3, 0.6, 1.2)]
    marked, origin = planted(host, carrier, strength=0.6)
    longer = [survival_of(marked, origin, carrier, bits) for bits in (128, 64)]
    for name in REFERENCES:
        values = [getattr(one, name) for one in found]
        assert values == sorted(values)
        assert values[-1] > 1.8 * values[0]
        assert getattr(longer[0], name) <= getattr(longer[1], name)
    assert longer[0].jpeg < longer[1].jpeg


def test_at_more_pixels_a_unit_compression_is_that_of_the_pixels():
    pixels = drawn(1301, 1410)
    file = io.BytesIO()
    Image.fromarray(pixels[..., 1]).save(file, "JPEG", quality=50)
    seen = canonical_plane(np.array(Image.open(file)), 2)
    grey = Pixels(np.ascontiguousarray(pixels[..., 1]), 255.0, 2)
    # Pillow rounds to whole levels, and what is beyond whole blocks is not compressed here
    difference = (compress(grey, grey.plane()) - seen)[:640, :700]
    # and so a coefficient may fall to the other side of a threshold
    assert np.std(difference) < 0.25 * np.std(grey.plane() - seen)


# ---- which links a reference has -------------------------------------------------------------------


def looks(shape=(500, 600), k=1, **other):
    return Looks(shape, k, **{name: other.get(name, STRONG) for name in ("full", "jpeg", "crop", "half")})


WEAK = {"message": Look(1.0, 300.0, 30.0), "nats": Look(60.0, 2.0, 30.0), "score": Look(60.0, 300.0, 1.0)}


@pytest.mark.parametrize(
    ("reference", "link", "weakened"),
    [
        ("jpeg", "message", True),
        ("jpeg", "score", False),  # the image as it is is not scanned for
        ("half", "message", True),
        ("half", "nats", True),
        ("half", "score", True),
        ("crop", "message", True),
        ("crop", "score", False),
        ("screenshot", "message", True),
        ("screenshot", "nats", True),
        ("screenshot", "score", True),
    ],
)
def test_the_least_link_decides(reference, link, weakened):
    name = "half" if reference == "screenshot" else reference
    strong = looks().survival(NEEDED_Z[64])
    weak = looks(**{name: WEAK[link]}).survival(NEEDED_Z[64])
    assert getattr(strong, reference) > 2
    assert (getattr(weak, reference) < 0.6) == weakened
    for other in set(REFERENCES) - {reference} - ({"half", "screenshot"} if name == "half" else set()):
        assert getattr(weak, other) == getattr(strong, other)


def test_without_phases_anchors_must_find_the_image_as_it_is():
    found = [Look(z, 0.0, 0.0).as_it_is() for z in (10.0, 30.0)]
    assert found[1] == pytest.approx(3 * found[0])
    assert found[1] == pytest.approx(30 / 3 / math.hypot(1, 1.5) / module.NEEDED_PLACE_Z)


def test_a_crop_of_a_large_image_must_be_found_by_the_scan():
    weak = Look(60.0, 300.0, 1.0)
    assert looks((750, 1000), 2, crop=weak).survival(12.8).crop < 0.6 < looks(crop=weak).survival(12.8).crop


@pytest.mark.parametrize(
    ("shape", "k", "half", "screenshot"),
    [
        ((500, 600), 1, 0.0, 0.0),
        ((750, 1000), 2, 1.0, 0.92),  # 720 rows of the screen for 1500
        ((800, 1066), 3, 0.5, 0.8),  # half of 2400 rows are 1200, of two pixels a unit
        ((750, 1000), 4, 1.0, 0.92),
    ],
)
def test_a_large_image_at_half_size_shows_more_than_half_of_its_units(shape, k, half, screenshot):
    found = looks(shape, k, full=Look(2.0, 20.0, 6.0), half=Look(1 / module.HALF_SHARE, 10.0, 3.0))
    for reference, share in (("half", half), ("screenshot", screenshot)):
        seen = found.shown(reference)
        assert seen.message == pytest.approx(1 + share)
        assert (seen.nats, seen.score) == pytest.approx((10 + 10 * share, 3 + 3 * share))


def test_a_strip_that_is_shown_at_less_than_half_of_its_size_has_less_than_half_shows():
    found = looks((300, 5120), half=Look(1.0, 8.0, 4.0)).shown("screenshot")
    assert (found.message, found.nats, found.score) == pytest.approx((0.5 * module.HALF_SHARE, 2.0, 1.0))


def test_what_is_sampled_follows_z_up_to_what_tones_can_prove():
    low, high = Look.sampled(9.0, 8.0, 96), Look.sampled(9.0, 100.0, 96)
    assert low.nats == pytest.approx(module.PHASES_SHARE * 32)
    assert low.score == pytest.approx(module.SCORE_SHARE * 32 / math.sqrt(96))
    assert high.nats == pytest.approx(module.NATS_PER_TONE * 96)
    assert high.score == pytest.approx(module.SCORE_PER_TONE * math.sqrt(96))
    assert Look.sampled(9.0, -3.0, 96) == Look(9.0, 0.0, 0.0)


def test_the_least_of_several_looks_is_that_of_each_reference():
    one = Margins(2, 3, 4, Predictions(1, 5, 2, 5))
    other = Margins(3, 2, 5, Predictions(4, 1, 3, 2))
    assert least(one, other) == Margins(2, 2, 4, Predictions(1, 1, 2, 2))


# ---- against what becomes of marks -----------------------------------------------------------------


def attacked(picture, reference):
    height, width = picture.shape[:2]
    image = Image.fromarray(picture)
    small = image.resize((width // 2, height // 2), Image.Resampling.BOX)
    if reference == "jpeg":
        file = io.BytesIO()
        image.save(file, "JPEG", quality=50)
        return np.array(Image.open(file))
    if reference == "crop":
        return picture[height // 4 : height // 4 + height // 2, width // 4 : width // 4 + width // 2]
    if reference == "half":
        return np.array(small)
    screen = Image.new("RGB", (1280, 800), (200, 200, 200))
    screen.paste(small, (300, 200))
    return np.array(screen)


PICTURES = {
    "coffee": lambda: photograph("coffee"),
    "chelsea": lambda: photograph("chelsea"),
    "part": lambda: np.ascontiguousarray(photograph("astronaut")[100:330, 120:400]),
    "drawn": lambda: drawn(300, 420, 4),
}


@pytest.mark.parametrize("strength", [1.0, 0.6])
@pytest.mark.parametrize("name", PICTURES)
def test_what_is_predicted_comes_true(key, name, strength):
    """Margins well above 1 are read, and those well below are not; between, either may happen."""
    marker = Watermarker(key, strength=strength)
    marked, report = marker.embed_report(PICTURES[name](), MESSAGE)
    assert [one.reference for one in report.survival] == list(REFERENCES)
    for one in report.survival:
        read = marker.detect(np.ascontiguousarray(attacked(marked, one.reference))).message == MESSAGE
        if one.margin > 1.5 or one.margin < 0.65:
            assert read == (one.margin > 1), one


def test_the_report_says_it_in_flat_names_that_tables_have(marker):
    report = marker.embed_report(drawn(300, 341), MESSAGE)[1]
    fields = report.to_dict()
    assert {f"survival_{name}" for name in REFERENCES} <= set(fields)
    assert set(fields) <= set(MANIFEST_COLUMNS)
    for one in report.survival:
        assert fields[f"survival_{one.reference}"] == one.margin
    bare = dataclasses.replace(report, survival=()).to_dict()
    assert set(bare) == set(fields)
    assert bare["survival_half"] is None


FAIR = Predictions(2, 2, 2, 2)


@pytest.mark.parametrize(
    ("predictions", "says"),
    [
        (FAIR, []),
        (dataclasses.replace(FAIR, jpeg=0.9), ["JPEG compression at quality 50 (predicted margin 0.90)"]),
        (dataclasses.replace(FAIR, half=0.5), ["half size (predicted margin 0.50)"]),
        (Predictions(2, 2, 0.8, 0.7), ["a quarter of the area", "a screenshot at half size"]),
    ],
)
def test_warnings_name_what_will_fail_and_what_to_do(predictions, says):
    margins = Margins(2, 2, 2, predictions)
    warnings = marking._warnings(margins, margins)
    assert len(warnings) == len(says)
    for words, warning in zip(says, warnings, strict=True):
        assert words in warning
        assert warning.endswith("use more strength, fewer message bits or a larger image")
