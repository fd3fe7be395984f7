"""``fastmark.check`` on images that were delivered, changed, copied, forged or stripped, and on others."""

import io
import json

import numpy as np
import pytest
from pictures import drawn, photograph
from PIL import Image

import fastmark
from fastmark.codec.carrier import Carrier
from fastmark.codec.message import MessageCode
from fastmark.companions import Companions
from fastmark.delivery import Delivery
from fastmark.embedding.drawing import make_delta
from fastmark.embedding.host import prepare
from fastmark.embedding.marking import make_design


def pixels(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def encoded(image, format_name="JPEG", **options):
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    buffer = io.BytesIO()
    image.save(buffer, format_name, **options)
    return buffer.getvalue()


def states(found):
    return {finding.technique: finding.state for finding in found.findings}


# ---- genuine ---------------------------------------------------------------------------------------------


def test_the_very_file_is_genuine_and_unchanged(studio, delivered):
    found = studio.check(delivered.data)
    assert found.verdict == "genuine and unchanged"
    assert states(found) == {
        "watermark": "detected", "binding": "match", "registry": "same file",
        "xmp": "says", "c2pa": "trusted",
    }  # fmt: skip
    assert (found.agree, found.band, bool(found)) == (True, "strong", True)
    assert found.detection.message_bytes == delivered.message
    assert (found.entry.provider, found.entry.id) == ("Example Studio", delivered.message.hex())
    assert "studio, registered by Example Studio" in found.sentence


def test_a_signer_that_nobody_trusts_is_told_and_does_not_prove_that_nothing_changed(studio, delivered):
    found = studio.check(delivered.data, trust_anchors=None, registry=None)
    assert found.verdict == "genuine"
    assert states(found)["c2pa"] == "valid"
    trusted = studio.check(delivered.data, registry=None)
    assert trusted.verdict == "genuine and unchanged"
    assert "since its content credentials were signed" in trusted.sentence


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda image: image, "the file was written anew"),
        (lambda image: image.resize((350, 300)), "scaled to 0.5 times"),
        (lambda image: image.rotate(90, expand=True), "turned by 90 degrees"),
        (lambda image: image.crop((60, 40, 600, 500)), "cropped"),
        (lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), "mirrored"),
    ],
    ids=["recompressed", "half", "turned", "cropped", "mirrored"],
)
def test_changed_images_are_genuine_and_say_how_they_were_changed(studio, delivered, change, says):
    image = Image.open(io.BytesIO(delivered.data)).convert("RGB")
    found = studio.check(encoded(change(image), quality=85))
    assert found.verdict == "genuine, changed since"
    assert says in found.sentence
    # the credentials were stripped; the watermark leads to them, and they are never shown as intact
    assert states(found)["c2pa"] == "recovered"
    (recovered,) = [one for one in found.findings if one.technique == "c2pa"]
    assert "not in this file" in recovered.says
    assert recovered.details["message"] == delivered.message.hex()


def test_a_file_changed_in_place_has_credentials_that_do_not_hold(studio, delivered):
    data = bytearray(delivered.data)
    data[-2000] ^= 1
    found = studio.check(bytes(data))
    assert found.verdict == "genuine, changed since"
    assert states(found)["c2pa"] == "invalid"
    assert studio.check(bytes(data), registry=None).verdict == "genuine, changed since"


def test_an_edit_of_a_part_stays_an_edit(studio, delivered):
    """A banner over a quarter of the image changes its hash; the watermark was made for the rest."""
    image = pixels(delivered.data).copy()
    image[:, :170] = drawn(600, 170)[..., ::-1]
    found = studio.check(encoded(image, quality=90))
    assert found.verdict == "genuine, changed since"


@pytest.mark.parametrize("kind", ["file", "Pillow image", "array"])
def test_what_is_transparent_is_compared_as_it_is_seen(studio, kind):
    """A picture cut out of another: what nobody sees is hidden in its pixels still."""
    picture = photograph("coffee")
    y, x = np.mgrid[-1 : 1 : picture.shape[0] * 1j, -1 : 1 : picture.shape[1] * 1j]
    alpha = np.where(x**2 + y**2 < 0.6, 255, 0).astype(np.uint8)
    done = studio.deliver(encoded(np.dstack([picture, alpha]), "PNG"), "png", signer=None)
    image = Image.open(io.BytesIO(done.data))
    again = {"file": encoded(image, "WEBP", lossless=True), "Pillow image": image, "array": np.asarray(image)}
    found = studio.check(again[kind])
    assert states(found)["registry"] == "same image"


def test_pixels_alone_have_no_file(studio, delivered):
    found = studio.check(pixels(delivered.data))
    assert found.verdict == "genuine"
    assert found.sha256 is None
    assert states(found) == {"watermark": "detected", "binding": "match", "registry": "same image"}


# ---- not what it seems -----------------------------------------------------------------------------------


def test_a_copied_watermark_is_genuine_and_not_made_for_the_image(studio, delivered):
    mark = pixels(delivered.data).astype(np.float32) - pixels(studio.source)
    other = np.asarray(Image.fromarray(photograph("coffee")).resize((700, 600)).convert("RGB"))
    copy = np.clip(np.rint(other + 1.5 * mark), 0, 255).astype(np.uint8)
    found = studio.check(encoded(copy, quality=95))
    assert found.verdict == "genuine, not made for this image"
    assert found.to_dict()["mismatch"] is True
    assert states(found)["registry"] == "other image"
    # the credentials are another image's, and are not shown as this one's
    assert "c2pa" not in states(found)


def test_a_watermark_under_another_images_id_is_not_made_for_it(studio, delivered):
    """The key's holder embeds a taken id in another image: the binding fits, the registered hash does not."""
    other = encoded(Image.fromarray(photograph("astronaut")).resize((700, 600)), "PNG")
    marked = studio.marker.embed(other, delivered.message, bind=False)
    found = studio.check(encoded(marked, "PNG"))
    assert states(found)["registry"] == "other image"
    assert found.verdict == "genuine, not made for this image"


def test_a_watermark_of_a_detector_key_is_not_genuine(studio):
    """Drawn as its holder can, who lacks a third of the pattern; see the tests of detector keys."""
    key, picture = studio.marker.key, photograph("coffee")
    host = prepare(np.asarray(Image.fromarray(picture).convert("L"), np.float32), 1)
    codeword = MessageCode(64).encode(bytes(8), 1)
    design = make_design(host, Carrier(key), codeword, bind=False)
    delta = make_delta(host, Carrier(key.detector_key("a museum")), codeword, design)
    forged = np.clip(np.rint(picture + 1.4 * delta[..., None]), 0, 255).astype(np.uint8)
    found = studio.check(encoded(forged, "PNG"))
    assert found.detection.made_with == "detector key"
    assert found.verdict == "not genuine"
    assert states(found)["registry"] == "unknown"


def test_metadata_that_name_another_watermark_disagree_with_the_pixels(studio):
    first, second = studio.deliver(), studio.deliver(encoded(photograph("chelsea"), "PNG"))
    from fastmark.provenance.signing import sign

    # signed well, for the message of another image
    bare = encoded(pixels(second.data), quality=95)
    lying = sign(bare, "jpeg", studio.record, first.message, studio.signer).data
    found = studio.check(lying)
    assert found.verdict == "metadata and pixels disagree"
    assert found.agree is False
    assert first.message.hex() in found.sentence
    assert second.message.hex() in found.sentence


def test_metadata_of_a_camera_disagree_with_the_register_of_a_generator(studio, delivered):
    from fastmark.provenance.xmp import merge

    packet = merge(None, fastmark.Record(source_type="digitalCapture"))
    found = studio.check(encoded(pixels(delivered.data), quality=90, xmp=packet))
    assert found.verdict == "metadata and pixels disagree"
    assert "as the registry says" in found.sentence


def test_credentials_that_promise_a_watermark_which_is_not_there_disagree(studio, delivered):
    from fastmark.provenance.signing import sign

    bare = encoded(photograph("coffee"), quality=90)
    signed = sign(bare, "jpeg", studio.record, delivered.message, studio.signer).data
    found = studio.check(signed)
    assert found.verdict == "metadata and pixels disagree"
    assert "which was not found" in found.sentence
    # of a key that is not looked for, nothing is promised
    other = fastmark.Watermarker(fastmark.Key.generate())
    assert fastmark.check(signed, other, studio.registry).verdict == "metadata only"


# ---- little or nothing -----------------------------------------------------------------------------------


def test_metadata_alone(studio, delivered):
    for keys in ((), fastmark.Key.generate()):
        found = fastmark.check(delivered.data, keys)
        assert found.verdict == "metadata only"
        assert not found
        assert {"xmp", "c2pa"} <= set(states(found))
        assert "a trained model" in found.sentence


def test_an_innocent_image(studio):
    found = studio.check(encoded(photograph("rocket"), "PNG"))
    assert found.verdict == "nothing found"
    assert (found.agree, found.band, found.entry, found.key_name) == (None, "none", None, None)
    assert states(found) == {"watermark": "absent"}
    assert "This does not show that the image was made by a person." in found.sentence


def test_without_registry_and_metadata_a_watermark_is_genuine_and_no_more(studio, delivered):
    found = studio.check(encoded(pixels(delivered.data), quality=90), registry=None)
    assert found.verdict == "genuine"
    assert "Nothing here tells whether the image was changed since." in found.sentence


def test_a_change_of_shape_is_told_without_a_registry_too(studio, delivered):
    half = Image.open(io.BytesIO(delivered.data)).convert("RGB").resize((350, 300))
    for registry in (None, studio.registry):
        found = studio.check(encoded(half, quality=90), registry=registry)
        assert found.verdict == "genuine, changed since"
        assert "scaled to 0.5 times" in found.sentence


def test_an_id_that_the_registry_does_not_have_or_only_reserved(studio):
    marked = studio.marker.embed(studio.source, 77)
    found = studio.check(encoded(marked, "PNG"))
    assert (states(found)["registry"], found.entry) == ("unknown", None)
    reserved = studio.registry.reserve(studio.record, key_id=studio.marker.key.id)
    marked = studio.marker.embed(studio.source, reserved)
    found = studio.check(encoded(marked, "PNG"))
    assert (states(found)["registry"], found.entry) == ("reserved", None)
    assert found.verdict == "genuine"


@pytest.mark.parametrize("damaged", [b"<x:xmpmeta", b"\xff\xfe\x00", b"<!DOCTYPE a><a/>"], ids=str)
def test_damaged_xmp_is_a_finding_and_no_error(studio, delivered, damaged):
    found = studio.check(encoded(pixels(delivered.data), quality=90, xmp=damaged))
    assert states(found)["xmp"] == "damaged"
    assert found.verdict == "genuine, changed since"


# ---- the answer ------------------------------------------------------------------------------------------


def test_the_public_answer_has_bands_and_no_scores_and_nothing_private(studio, delivered):
    for data in (delivered.data, encoded(photograph("rocket"), "PNG"), encoded(pixels(delivered.data))):
        answer = studio.check(data).to_dict()
        text = json.dumps(answer)
        assert "Ada L." not in text
        for name in ("log10_p", "p_value", "margin", "log_ratio", "score"):
            assert name not in text
        assert set(answer) == {
            "schema", "verdict", "sentence", "watermark", "confidence", "key_id", "key_name", "id",
            "registry", "mismatch", "agree", "where", "transform", "findings", "detector", "time",
            "sha256", "limits", "width", "height", "remarks", "changes",
        }  # fmt: skip
        assert answer["detector"]["name"] == "fastmark"
        assert "it does not show who made it" in answer["limits"]
    scores = studio.check(delivered.data).to_dict(scores=True)["detection"]
    assert scores["log10_p"] < -9


def test_all_traces_in_public_fields_are_of_the_entry_alone(studio, delivered):
    entry = studio.check(delivered.data).to_dict()["registry"]
    assert set(entry) == {"id", "provider", "system", "system_version", "created_at", "action"}


def test_where_it_lies_is_told_where_that_is_asked_for(studio, delivered):
    found = studio.check(delivered.data, locate=True)
    assert found.location.share > 0.9
    assert found.to_dict()["where"] == found.location.box


def test_mistakes_of_the_caller_are_errors(studio, delivered, tmp_path):
    from fastmark.registry import Registry

    with pytest.raises(fastmark.CredentialError):
        studio.check(delivered.data, trust_anchors=b"no certificate")
    with pytest.raises(fastmark.RegistryError, match="fastmark registry init"):
        studio.check(delivered.data, registry=Registry(f"sqlite:///{tmp_path / 'none.db'}"))
    with pytest.raises(fastmark.InvalidImageError):
        studio.check(b"no image")
    with pytest.raises(fastmark.ImageNotFoundError):
        studio.check(str(tmp_path / "none.jpg"))


def test_without_the_packages_of_credentials_the_finding_says_so(studio, delivered, monkeypatch):
    import sys

    for name in [name for name in sys.modules if name == "c2pa" or name.startswith("c2pa.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "c2pa", None)
    found = fastmark.check(delivered.data, studio.marker)
    assert states(found)["c2pa"] == "not read"
    (finding,) = [one for one in found.findings if one.technique == "c2pa"]
    assert "fastmark-watermark[c2pa]" in finding.says


def test_a_delivery_without_companions_is_checked_by_its_pixels(studio):
    plain = Delivery(studio.marker, Companions()).deliver(studio.source, bytes(8), "png", {})
    found = fastmark.check(plain.data, studio.marker)
    assert states(found) == {"watermark": "detected", "binding": "match"}
