"""Deliveries: the entry is there before the file and complete after, and the file has all that goes along."""

import dataclasses
import hashlib
import io
import os

import pytest
from archives import encode
from pictures import drawn
from PIL import Image

import fastmark
from fastmark.companions import Companions
from fastmark.delivery import Delivery
from fastmark.errors import InvalidMessageError
from fastmark.images.findings import C2PA_DROPPED
from fastmark.records import Record

pytest.importorskip("sqlalchemy")
pytest.importorskip("imagehash")
pytest.importorskip("c2pa")

import certificates
from deliveries import MESSAGE, RECORD, everything, never, only, png_file, registry_in, states

import fastmark.delivery
import fastmark.registry.fingerprint
from fastmark.provenance import xmp
from fastmark.provenance.credentials import read
from fastmark.provenance.plain import metadata_of
from fastmark.provenance.signing import Signer
from fastmark.registry import Registry


@pytest.fixture(scope="module")
def made():
    return certificates.make()


@pytest.fixture(scope="module")
def signer(made):
    return Signer(made.chain, made.key)


@pytest.fixture(scope="module")
def png():
    return png_file()


@pytest.fixture
def registry(tmp_path):
    with registry_in(tmp_path) as registry:
        yield registry


@pytest.fixture
def beside(registry, signer):
    return everything(registry, signer)


def label_of(data):
    return xmp.read(metadata_of(data).xmp)


def told_by(credential):
    """The message in credentials."""
    ((algorithm, message),) = credential.soft_bindings
    assert algorithm == "fastmark.v1"
    return message


# ---- the order -------------------------------------------------------------------------------------


def test_everything_is_written_in_order(marker, beside, registry, png, made, tmp_path):
    seen = []

    def write(ready):
        entry = only(registry)
        seen.append((entry.id, entry.state, entry.sha256))
        (tmp_path / "out.jpg").write_bytes(ready.data)

    laps = []
    done = Delivery(marker, beside, verify=True).deliver(
        png, None, "jpeg", {"quality": 92}, write, laps.append
    )
    assert seen == [(done.message.hex(), "reserved", None)]
    assert laps == [
        "reserving",
        "marking",
        "labelling",
        "encoding",
        "signing",
        "verifying",
        "hashing",
        "completing",
    ]
    data = (tmp_path / "out.jpg").read_bytes()
    entry = only(registry)
    assert (entry.state, entry.sha256) == ("delivered", hashlib.sha256(data).hexdigest())
    assert (entry.width, entry.height, entry.record, entry.key_id) == (288, 256, RECORD, marker.key.id)
    assert entry.manifest_id == done.manifest_id and done.manifest_id.startswith("urn:c2pa:")
    assert fastmark.registry.fingerprint.perceptual_hash(Image.open(io.BytesIO(data)))[:6] == "phash:"
    assert fastmark.registry.fingerprint.distance(
        entry.perceptual_hash, fastmark.registry.fingerprint.perceptual_hash(Image.open(io.BytesIO(data)))
    ) < 16  # fmt: skip
    # the file: the mark, credentials that say the same, and the XMP, that the signature covers
    assert marker.detect(data).message_bytes == done.message
    assert done.verified.message_bytes == done.message
    credential = read(data, trust_anchors=made.root)
    assert credential.state == "trusted" and told_by(credential) == done.message
    label = label_of(data)
    assert label.system == "Painter" and label.digital_source_type == "trainedAlgorithmicMedia"
    assert b"Ada L." not in data
    # the store that is kept is found by the mark
    assert registry.find_manifest(done.message) == registry.manifest(done.manifest_id)
    assert registry.find_manifest(done.message) in data or len(registry.find_manifest(done.message)) > 1000
    told = done.to_dict()
    assert (told["state"], told["manifest_id"], told["message"]) == (
        "marked",
        done.manifest_id,
        done.message.hex(),
    )


def test_verify_reads_the_signed_bytes(marker, beside, png, monkeypatch):
    given = []
    real = fastmark.delivery.read_back

    def spy(marker, data, *rest, **options):
        given.append(data)
        return real(marker, data, *rest, **options)

    monkeypatch.setattr(fastmark.delivery, "read_back", spy)
    done = Delivery(marker, beside, verify=True).deliver(png, None, "png", {})
    assert given == [done.data] and read(done.data) is not None


@pytest.mark.parametrize("format_name", ["jpeg", "png", "webp", "tiff", "avif"])
def test_every_layer_is_in_every_format_that_has_room(marker, beside, registry, png, format_name):
    done = Delivery(marker, beside).deliver(png, MESSAGE, format_name, {})
    assert not [line for line in done.report.warnings if "place" in line or "left out" in line]
    assert marker.detect(done.data).message_bytes == MESSAGE
    assert told_by(read(done.data)) == MESSAGE
    assert label_of(done.data).system == "Painter"
    assert only(registry).sha256 == hashlib.sha256(done.data).hexdigest()


def test_without_companions_the_file_is_that_of_the_marker(marker, png):
    done = Delivery(marker).deliver(png, MESSAGE, "png", {})
    marked = marker.embed(png, MESSAGE)
    assert Image.open(io.BytesIO(done.data)).tobytes() == marked.tobytes()
    assert done.manifest_id is None and "xmp" not in Image.open(io.BytesIO(done.data)).info
    with pytest.raises(InvalidMessageError, match="a registry that draws one"):
        Delivery(marker).deliver(png, None, "png", {})


def test_a_callback_may_sign(marker, beside, registry, png, made):
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    there = Signer.from_callback(
        lambda data: made.private.sign(data, ec.ECDSA(hashes.SHA256())), "es256", made.chain
    )
    done = Delivery(marker, dataclasses.replace(beside, signer=there)).deliver(png, None, "png", {})
    assert read(done.data, trust_anchors=made.root).state == "trusted"
    assert states(registry) == ["delivered"]


# ---- XMP that has no place, or gives way -----------------------------------------------------------


@pytest.mark.parametrize("format_name", ["bmp", "ppm"])
def test_xmp_without_a_place_is_a_warning(marker, registry, png, format_name):
    beside = Companions(record=RECORD, registry=registry, xmp=True)
    done = Delivery(marker, beside).deliver(png, None, format_name, {})
    assert any("the XMP had no place in" in line for line in done.report.warnings)
    assert states(registry) == ["delivered"]


def test_damaged_xmp_gives_way_to_the_record_with_a_warning(marker, registry):
    image = encode(drawn(256, 256), "JPEG", xmp=b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><broken")
    beside = Companions(record=RECORD, registry=registry, xmp=True)
    done = Delivery(marker, beside).deliver(image, None, "jpeg", {})
    assert any(line.startswith("the XMP is damaged and was replaced: ") for line in done.report.warnings)
    assert label_of(done.data).system == RECORD.system


def test_what_xmp_said_before_is_told_where_it_gives_way_and_where_it_stays(marker):
    earlier = xmp.merge(None, Record(system="Another", policy="no-training"))
    image = encode(drawn(256, 256), "JPEG", xmp=earlier)
    record = Record(system="Painter", policy="no-generative-training")
    done = Delivery(marker, Companions(record=record, xmp=True)).deliver(image, bytes(8), "jpeg", {})
    warnings = [line for line in done.report.warnings if line.startswith("the XMP")]
    assert len(warnings) == 2
    assert "AISystemUsed 'Another', which was replaced" in warnings[0]
    assert "DataMining" in warnings[1]
    assert warnings[1].endswith("which says more and was kept")


# ---- images that were marked before ----------------------------------------------------------------


def test_a_kept_image_stays_as_it_is(marker, beside, registry, png):
    earlier = Delivery(marker).deliver(png, MESSAGE, "png", {}).data
    done = Delivery(marker, beside, on_marked="keep").deliver(earlier, None, "png", {})
    assert done.data == earlier and done.kept
    assert (done.message, done.manifest_id, done.to_dict()["state"]) == (MESSAGE, None, "kept")
    assert states(registry) == []


def test_a_kept_image_in_another_format_is_not_labelled(marker, beside, registry, png):
    earlier = Delivery(marker).deliver(png, MESSAGE, "png", {}).data
    done = Delivery(marker, beside, on_marked="keep").deliver(earlier, None, "jpeg", {})
    assert done.data[:2] == b"\xff\xd8" and marker.detect(done.data).message_bytes == MESSAGE
    assert read(done.data) is None and metadata_of(done.data).xmp is None
    assert states(registry) == []


def test_a_refused_image_gives_the_id_back(marker, beside, registry, png):
    earlier = Delivery(marker).deliver(png, MESSAGE, "png", {}).data
    with pytest.raises(fastmark.AlreadyMarkedError):
        Delivery(marker, beside, on_marked="refuse").deliver(earlier, None, "png", {}, never)
    assert states(registry) == []


def test_credentials_of_a_replaced_image_become_its_parents(marker, beside, registry, png, made):
    first = Delivery(marker, beside).deliver(png, None, "png", {})
    second = Delivery(marker, beside).deliver(first.data, None, "png", {})
    assert second.report.action == "replaced" and second.verified is not None
    assert C2PA_DROPPED not in second.report.warnings
    credential = read(second.data, trust_anchors=made.root)
    assert credential.state == "trusted" and credential.manifest_id == second.manifest_id
    assert first.manifest_id.encode() in second.data, "the parent's manifest is not there"
    assert sorted(states(registry)) == ["delivered", "delivered"]
    # and without a signer they are lost, which is said
    third = Delivery(marker).deliver(first.data, MESSAGE, "png", {})
    assert C2PA_DROPPED in third.report.warnings and read(third.data) is None


def test_an_altered_image_has_its_original_as_parent(marker, signer, png):
    altered = dataclasses.replace(RECORD, action="altered")
    done = Delivery(marker, Companions(record=altered, signer=signer)).deliver(png, MESSAGE, "png", {})
    created = Delivery(marker, Companions(record=RECORD, signer=signer)).deliver(png, MESSAGE, "png", {})
    assert b"c2pa.opened" in done.data and b"c2pa.opened" not in created.data
    assert b"c2pa.created" in created.data and b"parentOf" in done.data


# ---- sources ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a b.png", "ümläut %20 #?.png", "-dash.png", "quote'\"\n.png", b"\xff.png"])
def test_paths_of_any_name(marker, beside, registry, png, tmp_path, name):
    path = tmp_path / os.fsdecode(name)
    try:
        path.write_bytes(png)
    except OSError:
        pytest.skip("no such names here")
    altered = dataclasses.replace(beside, record=dataclasses.replace(RECORD, action="altered"))
    done = Delivery(marker, altered).deliver(str(path), None, "png", {})
    assert only(registry).id == done.message.hex() and b"parentOf" in done.data


# ---- fingerprints ----------------------------------------------------------------------------------


def test_fingerprints_differ_where_values_do_and_tell_none(registry, signer, tmp_path):
    assert Companions().fingerprints() == {}
    whole = Companions(record=RECORD, registry=registry, xmp=True, signer=signer, soft_binding="com.x.y")
    marks = whole.fingerprints()
    assert sorted(marks) == ["record", "registry", "sign", "soft_binding", "xmp"]
    assert "Ada" not in str(marks) and "ids.db" not in str(marks)
    assert whole.fingerprints() == marks
    others = {
        "record": dataclasses.replace(RECORD, owner="Grace H."),
        "registry": Registry(str(tmp_path / "other.db")),
        "soft_binding": "com.x.z",
    }
    for name, value in others.items():
        differing = dataclasses.replace(whole, **{name: value}).fingerprints()
        assert {key for key in marks if differing[key] != marks[key]} == {name}
    # another timeout is the same registry
    patient = Registry(registry.url, timeout=99)
    assert dataclasses.replace(whole, registry=patient).fingerprints() == marks
