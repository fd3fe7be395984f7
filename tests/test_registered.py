"""``Watermarker.embed`` with a registry: images of every kind get an id that has an entry."""

import io
import subprocess
import sys

import numpy as np
import pytest
from archives import encode
from pictures import drawn, grey
from PIL import Image

import fastmark
from fastmark.errors import ImageTooSmallError, InvalidMessageError, MissingPackageError, RegistryError
from fastmark.records import Record

pytest.importorskip("sqlalchemy")
pytest.importorskip("imagehash")

import fastmark.registry.fingerprint
from fastmark.registry import Registry

RECORD = Record(provider="Studio", owner="Ada L.")
RGB = drawn(256, 288)
GREY = grey(RGB)
ALPHA = np.dstack([RGB, np.full(RGB.shape[:2], 255, np.uint8)])
KINDS = {
    "uint8": RGB,
    "grey": GREY,
    "grey, one channel": GREY[..., None],
    "rgba": ALPHA,
    "uint16": RGB.astype(np.uint16) * 257,
    "float32": RGB.astype(np.float32) / 255,
    "float64 grey": GREY / 255,
    "pillow": Image.fromarray(RGB),
    "pillow grey": Image.fromarray(GREY),
    "pillow rgba": Image.fromarray(ALPHA),
    "pillow grey + alpha": Image.fromarray(ALPHA).convert("LA"),
    "pillow 16 bits": Image.fromarray(GREY.astype(np.uint16) * 257),
    "bytes": encode(RGB, "JPEG", quality=92),
    "file": None,
}


@pytest.fixture
def registry(tmp_path):
    registry = Registry(str(tmp_path / "ids.db"))
    registry.init()
    yield registry
    registry.close()


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_image_gets_an_entry(marker, registry, kind):
    image = io.BytesIO(encode(RGB, "PNG")) if kind == "file" else KINDS[kind]
    marked, report = marker.embed_report(image, registry=registry, record=RECORD)
    (entry,) = registry.entries()
    assert marker.detect(marked).message_hex == entry.id == report.message
    assert (entry.state, entry.width, entry.height, entry.sha256) == ("marked", 288, 256, None)
    assert (entry.record, entry.key_id, entry.message_bits) == (RECORD, marker.key.id, 64)
    # the hash is of the picture, however its samples are stored
    plain = fastmark.registry.fingerprint.perceptual_hash(RGB)
    assert fastmark.registry.fingerprint.distance(entry.perceptual_hash, plain) < 40
    if isinstance(image, np.ndarray):
        assert (marked.shape, marked.dtype) == (image.shape, image.dtype)


def test_a_message_of_ones_own_is_reserved(marker, registry):
    marked = marker.embed(RGB, 0xBEEF, registry=registry)
    assert marker.detect(marked).message_hex == registry.get("000000000000beef").id
    with pytest.raises(RegistryError, match="is taken"):
        marker.embed(RGB, 0xBEEF, registry=registry)
    assert registry.get("000000000000beef").state == "marked"


def test_ids_differ_and_are_of_the_markers_length(key, registry):
    marker = fastmark.Watermarker(key, message_bits=32)
    reports = [marker.embed_report(RGB, registry=registry)[1] for _ in range(4)]
    assert len({report.message for report in reports}) == 4
    assert {len(report.message) for report in reports} == {8}
    assert {entry.message_bits for entry in registry.entries()} == {32}


def test_pixels_go_into_an_array_of_the_callers(marker, registry):
    own = RGB.copy()
    marked = marker.embed(own, registry=registry, out=own)
    assert marked is own
    (entry,) = registry.entries()
    assert marker.detect(own).message_hex == entry.id and entry.state == "marked"


def test_an_image_that_fails_gives_its_id_back(marker, registry):
    with pytest.raises(ImageTooSmallError):
        marker.embed(RGB[:100], registry=registry)
    assert registry.count() == 0


def test_a_kept_image_gives_the_id_back(marker, registry):
    earlier = marker.embed(RGB, 7)
    marked, report = marker.embed_report(earlier, registry=registry, on_marked="keep")
    assert np.array_equal(marked, earlier) and report.message == f"{7:016x}"
    assert registry.count() == 0


def test_a_replaced_image_gets_a_new_id(marker, registry):
    first, one = marker.embed_report(RGB, registry=registry)
    second, two = marker.embed_report(first, registry=registry)
    assert (two.action, two.earlier_message) == ("replaced", one.message)
    assert [entry.state for entry in registry.entries()] == ["marked", "marked"]
    assert marker.detect(second).message_hex == two.message != one.message


@pytest.mark.parametrize("place", [None, "own"])
def test_what_is_not_completed_stays_reserved(marker, registry, monkeypatch, place):
    def failing(self, message, **facts):
        raise RegistryError("the registry did not answer")

    monkeypatch.setattr(Registry, "complete", failing)
    own = RGB.copy()
    with pytest.raises(RegistryError, match=r"^the registry's entry [0-9a-f]{16} stays reserved: "):
        marker.embed(own, registry=registry, out=own if place else None)
    (entry,) = registry.entries()
    assert entry.state == "reserved"
    if place:  # the pixels have left
        assert marker.detect(own).message_hex == entry.id


def test_a_hash_that_fails_leaves_the_id_reserved(marker, registry, monkeypatch):
    def failing(image):
        raise MissingPackageError("a perceptual hash needs ImageHash")

    monkeypatch.setattr(fastmark.registry.fingerprint, "perceptual_hash", failing)
    with pytest.raises(RegistryError, match="stays reserved: a perceptual hash needs ImageHash"):
        marker.embed(RGB, registry=registry)


def test_what_is_missing_is_told(marker, registry, tmp_path):
    with pytest.raises(InvalidMessageError, match="no message to embed"):
        marker.embed(RGB)
    with pytest.raises(ValueError, match="give registry too"):
        marker.embed(RGB, 1, record=RECORD)
    with pytest.raises(InvalidMessageError):
        marker.embed(RGB, 1 << 64, registry=registry)
    with pytest.raises(RegistryError, match="not initialised"):
        marker.embed(RGB, registry=Registry(str(tmp_path / "none.db")))
    assert registry.count() == 0


LATE = """
import io
import sys
import numpy as np
from PIL import Image
import fastmark
import fastmark.delivery, fastmark.companions, fastmark.records
marker = fastmark.Watermarker(fastmark.Key(bytes(range(32))))
data = sys.stdin.buffer.read()
image = np.asarray(Image.open(io.BytesIO(data)))
marked = marker.embed(image, 5)
assert marker.detect(marked).message == 5
fastmark.delivery.Delivery(marker).deliver(data, bytes(8), "png", {})
heavy = {"sqlalchemy", "alembic", "imagehash", "c2pa", "cryptography"} & set(sys.modules)
assert not heavy, heavy
"""


def test_nothing_of_the_extras_is_imported_without_them():
    done = subprocess.run(
        [sys.executable, "-c", LATE], input=encode(RGB, "PNG"), capture_output=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
