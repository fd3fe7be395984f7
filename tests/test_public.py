"""The public watermark: alone, beside another, in files, in archives; read by everybody, with no key."""

import io

import numpy as np
import pytest
from pictures import MESSAGE, drawn, photograph, psnr_db
from PIL import Image

from fastmark import AlreadyMarkedError, Detector, ImageTooSmallError, Key, Watermarker, bulk, public
from fastmark.companions import Companions, record_beside, told_by
from fastmark.delivery import Delivery
from fastmark.errors import InvalidMessageError, OutputError, RecordError
from fastmark.public import PublicCode
from fastmark.records import Record

CODE = PublicCode.of("ai-generated,do-not-train", 65535, 0xABC)
OTHER = PublicCode.of("captured")


def jpeg(pixels, quality):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return np.array(Image.open(file))


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def marker():
    return Watermarker(Key(bytes(range(32))))


@pytest.fixture(scope="module")
def both(marker):
    """A photograph with two watermarks, and the report."""
    return marker.embed_report(photograph("chelsea"), MESSAGE, public=CODE)


# ---- read ------------------------------------------------------------------------------------------------


def test_it_is_read_without_a_key():
    marked = public.embed(photograph("coffee"), "do-not-train")
    for image in (marked, jpeg(marked, 50), np.ascontiguousarray(np.rot90(marked)), marked[31:290, 77:420]):
        reading = public.read(image)
        assert reading and reading.code == PublicCode.of("do-not-train")
        assert reading.detection.state == "detected"


def test_an_image_without_it_says_nothing(marker):
    for image in (photograph("coffee"), marker.embed(photograph("coffee"), MESSAGE)):
        reading = public.read(image)
        assert not reading and reading.code is None and reading.detection.state == "absent"


def test_a_later_version_is_detected_and_not_interpreted():
    later = public.marker().embed(drawn(300, 300), bytes([0x20, 1, 0, 0, 0, 0, 0, 0]))
    reading = public.read(later)
    assert reading.detection.detected and reading.code is None and not reading


def test_a_detection_of_another_key_is_no_public_code(marker):
    marked = marker.embed(drawn(300, 300), CODE.to_bytes())
    assert public.code_of(marker.detect(marked)) is None


# ---- both ------------------------------------------------------------------------------------------------


def test_both_are_read_from_one_image(marker, both):
    marked, report = both
    assert (report.message, report.public) == (f"{MESSAGE:016x}", CODE.hex)
    assert report.margin_public > 1
    for image in (
        marked,
        jpeg(marked, 50),
        np.asarray(Image.fromarray(marked).rotate(33)),
        marked[40:260, 60:390],
    ):
        own, read = marker.detect(image), public.read(image)
        assert (own.message, read.code) == (MESSAGE, CODE)
        assert {own.binding, read.detection.binding} <= {"match", "unknown"}
    assert marker.detect(marked).binding == public.read(marked).detection.binding == "match"
    found = {one.key_id: one.message_hex for one in Detector([marker, public.marker()]).detect(marked)}
    assert found == {marker.key.id: report.message, public.PUBLIC_KEY.id: report.public}


def test_the_report_tells_the_change_of_both(both):
    marked, report = both
    assert report.psnr_db == pytest.approx(psnr_db(photograph("chelsea"), marked), abs=0.01)
    assert report.psnr_db > 39.5


def test_without_it_images_are_as_they_were(marker):
    report = marker.embed_report(drawn(300, 300), MESSAGE)[1]
    assert report.public is report.margin_public is report.earlier_public is None


def test_a_batch_carries_it(marker):
    marked = marker.embed_batch([drawn(256, 288, seed) for seed in (1, 2)], [1, 2], 1, public=CODE)
    assert [public.read(image).code for image in marked] == [CODE, CODE]
    assert [marker.detect(image).message for image in marked] == [1, 2]


def test_transparent_pixels_stay_and_both_are_read_over_white(marker):
    pixels = np.dstack([drawn(400, 400), np.full((400, 400), 255, np.uint8)])
    pixels[:40, :40, 3] = 0
    marked = marker.embed(pixels, MESSAGE, public=CODE)
    np.testing.assert_array_equal(marked[:40, :40], pixels[:40, :40])
    assert public.read(marked).code == CODE and marker.detect(marked).message == MESSAGE


def test_an_image_that_carries_one_but_not_both_is_refused_and_left(marker):
    tiny = drawn(128, 128, 3)
    out = tiny.copy()
    with pytest.raises(ImageTooSmallError, match="cannot carry 128 bits"):
        Watermarker(marker.key, 128).embed(tiny, 1, public=CODE, out=out)
    np.testing.assert_array_equal(out, tiny)


def test_what_cannot_stand_beside_it_is_refused(marker):
    with pytest.raises(TypeError, match=r"PublicCode.of\('do-not-train'\)"):
        marker.embed(drawn(256, 256), 1, public="do-not-train")
    with pytest.raises(ValueError, match="has the public key"):
        public.marker().embed(drawn(256, 256), 1, public=CODE)


# ---- embedded again --------------------------------------------------------------------------------------


def test_embedding_again_replaces_both(marker, both):
    again, report = marker.embed_report(both[0], 5, public=OTHER)
    assert (report.action, report.earlier_message, report.earlier_public) == (
        "replaced", f"{MESSAGE:016x}", CODE.hex,
    )  # fmt: skip
    assert (marker.detect(again).message, public.read(again).code) == (5, OTHER)
    (warning,) = [one for one in report.warnings if "was replaced" in one]
    assert warning == f"public watermark: message {CODE.hex} was there before, and was replaced"


def test_one_is_replaced_and_the_other_is_new(marker):
    before = public.embed(photograph("coffee"), CODE)
    again, report = marker.embed_report(before, MESSAGE, public=OTHER)
    assert (report.earlier_message, report.earlier_public) == (None, CODE.hex)
    assert (marker.detect(again).message, public.read(again).code) == (MESSAGE, OTHER)


def test_a_private_watermark_alone_leaves_the_public_one(marker):
    again = marker.embed(public.embed(photograph("coffee"), CODE), MESSAGE)
    assert (marker.detect(again).message, public.read(again).code) == (MESSAGE, CODE)


def test_either_can_be_kept_or_refused(marker, both):
    kept, report = marker.embed_report(both[0], 5, public=OTHER, on_marked="keep")
    np.testing.assert_array_equal(kept, both[0])
    assert (report.action, report.message, report.public) == ("kept", f"{MESSAGE:016x}", CODE.hex)
    before = public.embed(photograph("coffee"), CODE)
    kept, report = marker.embed_report(before, 5, public=OTHER, on_marked="keep")
    np.testing.assert_array_equal(kept, before)
    assert (report.message, report.public) == (None, CODE.hex)
    assert "left as it is, without the other watermark" in report.warnings[0]
    with pytest.raises(AlreadyMarkedError, match="carries a public watermark already"):
        marker.embed(before, 5, public=OTHER, on_marked="refuse")


# ---- labels beside it ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "action", "source", "policy"),
    [
        ("ai-generated", "created", "trainedAlgorithmicMedia", "none"),
        ("ai-edited,captured", "altered", "compositeWithTrainedAlgorithmicMedia", "none"),
        ("captured,do-not-train", "labelled", "digitalCapture", "no-training"),
        ("do-not-train-generative", "labelled", None, "no-generative-training"),
    ],
)
def test_the_record_says_what_the_watermark_says(flags, action, source, policy):
    record = record_beside(None, PublicCode.of(flags))
    assert (record.action, record.digital_source_type, record.policy) == (action, source, policy)
    assert told_by(PublicCode.of(flags))["action"] == action


def test_a_record_is_not_contradicted_and_gets_the_stricter_rule():
    with pytest.raises(RecordError, match=r"says captured, and the record says trainedAlgorithmicMedia"):
        record_beside(Record(), PublicCode.of("captured"))
    with pytest.raises(RecordError, match="says ai-edited, and the record says digitalCapture"):
        record_beside(Record(source_type="digitalCapture"), PublicCode.of("ai-edited"))
    strict = Record(policy="no-training")
    assert record_beside(strict, PublicCode.of("ai-generated,do-not-train-generative")) == strict
    assert record_beside(Record(), PublicCode.of("ai-generated,do-not-train")).policy == "no-training"
    assert record_beside(strict, None) is strict and record_beside(None, None) is None


def test_a_photograph_gets_labels_that_do_not_call_it_generated():
    delivery = Delivery(public.marker(), Companions(xmp=True), verify=True)
    code = PublicCode.of("do-not-train,captured")
    done = delivery.deliver(png(drawn(256, 288)), code.to_bytes(), "PNG", {})
    with Image.open(io.BytesIO(done.data)) as opened:
        packet = opened.info["xmp"].decode()
    assert "digitalsourcetype/digitalCapture" in packet and "DMI-PROHIBITED-AIMLTRAINING" in packet
    assert "trained" not in packet
    assert done.verified.message_bytes == code.to_bytes()
    assert (done.report.message, done.report.public) == (code.hex, code.hex)
    assert public.read(done.data).code == code


def test_both_are_read_back_from_the_file(marker):
    delivery = Delivery(marker, verify=True, public=CODE)
    done = delivery.deliver(png(photograph("chelsea")), MESSAGE.to_bytes(8, "big"), "JPEG", {"quality": 80})
    assert done.to_dict()["public"] == CODE.hex
    with pytest.raises(OutputError, match="not read back"):
        delivery.deliver(png(photograph("chelsea")), MESSAGE.to_bytes(8, "big"), "JPEG", {"quality": 1})


# ---- archives --------------------------------------------------------------------------------------------


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed in (1, 2):
        (folder / f"{seed}.png").write_bytes(png(drawn(256, 288, seed)))
    return folder


def test_a_folder_is_labelled_without_a_key(photos, tmp_path):
    code = PublicCode.of("do-not-train,captured")
    out = tmp_path / "out"
    done = bulk.embed(photos, out, None, public=code, companions=Companions(xmp=True), workers=1)
    assert (done.images, done.errors) == (2, 0)
    assert [public.read(out / f"{seed}.png").code for seed in (1, 2)] == [code, code]
    again = bulk.embed(photos, out, None, public=code, companions=Companions(xmp=True), workers=1)
    assert (again.images, again.errors) == (2, 0)  # resumed: the same settings
    with pytest.raises(OutputError, match="message"):
        bulk.embed(photos, out, None, public=PublicCode.of("captured"), companions=Companions(xmp=True))


def test_a_folder_gets_both(photos, tmp_path, marker):
    out = tmp_path / "out"
    done = bulk.embed(photos, out, marker.key, "counter", public=CODE, workers=1)
    assert (done.images, done.errors) == (2, 0)
    assert [marker.detect(out / f"{seed}.png").message for seed in (1, 2)] == [0, 1]
    assert [public.read(out / f"{seed}.png").code for seed in (1, 2)] == [CODE, CODE]
    with pytest.raises(OutputError, match="public"):
        bulk.embed(photos, out, marker.key, "counter", public=OTHER, workers=1)


def test_what_needs_a_key_is_refused(photos, tmp_path, marker):
    with pytest.raises(InvalidMessageError, match="nothing to embed: give a key"):
        bulk.embed(photos, tmp_path / "out", None)
    with pytest.raises(InvalidMessageError, match="has 64 bits, not 128"):
        bulk.embed(photos, tmp_path / "out", None, public=CODE, message_bits=128)
    with pytest.raises(InvalidMessageError, match="messages need a key"):
        bulk.embed(photos, tmp_path / "out", None, "random", public=CODE)
    with pytest.raises(RecordError, match="the record says"):
        companions = Companions(record=Record(), xmp=True)
        bulk.embed(photos, tmp_path / "out", marker.key, public=OTHER, companions=companions)
    assert not (tmp_path / "out").exists()
