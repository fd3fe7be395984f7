"""Deliveries that fail, are interrupted or killed: no file without an entry, and ids are given back."""

import dataclasses
import io
import signal
import subprocess
import sys

import pytest
from archives import encode
from pictures import drawn
from PIL import Image

import fastmark
from fastmark.companions import Companions
from fastmark.delivery import Delivery
from fastmark.errors import CredentialError, ImageTooSmallError, InvalidImageError, OutputError, RegistryError
from fastmark.records import Record

pytest.importorskip("sqlalchemy")
pytest.importorskip("imagehash")
pytest.importorskip("c2pa")

import certificates
from deliveries import MESSAGE, RECORD, everything, never, only, png_file, registry_in, states

import fastmark.delivery
import fastmark.registry.fingerprint
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


# ---- whatever fails --------------------------------------------------------------------------------


def test_an_image_that_cannot_be_marked_gives_its_id_back(marker, beside, registry):
    small = encode(drawn(100, 100), "PNG")
    with pytest.raises(ImageTooSmallError):
        Delivery(marker, beside).deliver(small, None, "png", {}, never)
    with pytest.raises(InvalidImageError):
        Delivery(marker, beside).deliver(b"no image", None, "png", {}, never)
    assert states(registry) == []


def test_an_encoder_that_refuses_gives_the_id_back(marker, beside, registry):
    see_through = io.BytesIO()
    Image.fromarray(drawn(256, 256)).convert("RGBA").save(see_through, "PNG")
    delivery = Delivery(marker, beside, advice=" (choose one with --format)")
    with pytest.raises(OutputError, match=r"transparency.*\(choose one with --format\)$"):
        delivery.deliver(see_through.getvalue(), None, "jpeg", {}, never)
    assert states(registry) == []


def test_a_signer_that_fails_gives_the_id_back(marker, beside, registry, png, made):
    def broken(data):
        raise OSError("the key is elsewhere")

    failing = Signer.from_callback(broken, "es256", made.chain)
    with pytest.raises(CredentialError, match="the key is elsewhere"):
        Delivery(marker, dataclasses.replace(beside, signer=failing)).deliver(png, None, "png", {}, never)
    assert states(registry) == []


@pytest.mark.parametrize("format_name", ["bmp", "ppm"])
def test_what_cannot_be_signed_is_not_written(marker, beside, registry, png, format_name):
    with pytest.raises(CredentialError, match="no place for content credentials"):
        Delivery(marker, beside).deliver(png, None, format_name, {}, never)
    assert states(registry) == []


def test_a_perceptual_hash_that_fails_does_so_before_the_file_is_written(
    marker, beside, registry, png, monkeypatch
):
    def failing(image):
        raise fastmark.errors.MissingPackageError("no hash")

    monkeypatch.setattr(fastmark.registry.fingerprint, "perceptual_hash", failing)
    with pytest.raises(fastmark.errors.MissingPackageError):
        Delivery(marker, beside).deliver(png, None, "png", {}, never)
    assert states(registry) == []


def test_an_interrupt_gives_the_id_back(marker, beside, registry, png, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(fastmark.delivery, "encode_result", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Delivery(marker, beside).deliver(png, None, "png", {}, never)
    assert states(registry) == []


def test_a_write_that_fails_leaves_the_id_reserved(marker, beside, registry, png):
    def full(ready):
        raise OutputError("the disk is full")

    with pytest.raises(OutputError, match="the disk is full"):
        Delivery(marker, beside).deliver(png, MESSAGE, "png", {}, full)
    assert (only(registry).id, only(registry).state) == (MESSAGE.hex(), "reserved")


@pytest.mark.parametrize("written", [True, False])
def test_a_registry_that_fails_after_leaves_the_id_reserved_and_says_so(
    marker, beside, registry, png, monkeypatch, written
):
    def failing(self, message, **facts):
        raise RegistryError("the registry did not answer")

    monkeypatch.setattr(Registry, "complete", failing)
    files = []
    start = "the image was written, but the" if written else "the"
    with pytest.raises(RegistryError, match=f"^{start} registry's entry {MESSAGE.hex()} stays reserved"):
        Delivery(marker, beside).deliver(png, MESSAGE, "png", {}, files.append if written else None)
    assert len(files) == written
    assert states(registry) == ["reserved"]


def test_a_registry_that_is_not_there_is_told_before_the_work(marker, png, tmp_path, monkeypatch):
    monkeypatch.setattr(fastmark.Watermarker, "embed_report", never)
    missing = Companions(registry=Registry(str(tmp_path / "none.db")))
    with pytest.raises(RegistryError, match="not initialised"):
        Delivery(marker, missing).deliver(png, None, "png", {}, never)


def test_the_first_error_is_told_where_giving_back_fails_too(marker, beside, registry, monkeypatch):
    def failing(self, message):
        raise RegistryError("gone")

    monkeypatch.setattr(Registry, "release", failing)
    with pytest.raises(InvalidImageError):
        Delivery(marker, beside).deliver(b"no image", None, "png", {}, never)
    assert states(registry) == ["reserved"]


def test_a_taken_message_is_refused(marker, beside, registry, png):
    Delivery(marker, beside).deliver(png, MESSAGE, "png", {})
    before = only(registry)
    with pytest.raises(RegistryError, match=f"the id {MESSAGE.hex()} is taken"):
        Delivery(marker, beside).deliver(png, MESSAGE, "png", {}, never)
    assert only(registry) == before


def test_a_source_that_goes_away_is_told(marker, beside, registry, png, tmp_path, monkeypatch):
    path = tmp_path / "in.png"
    path.write_bytes(png)
    real = fastmark.Watermarker.embed_report

    def embed(self, *arguments, **options):
        done = real(self, *arguments, **options)
        path.unlink()
        return done

    monkeypatch.setattr(fastmark.Watermarker, "embed_report", embed)
    with pytest.raises(InvalidImageError, match="cannot be read any more"):
        Delivery(marker, beside).deliver(str(path), None, "png", {}, never)
    assert states(registry) == []


# ---- runs that are killed --------------------------------------------------------------------------


KILLED = """
import os, signal, sys
from pathlib import Path
import fastmark
from fastmark.companions import Companions
from fastmark.delivery import Delivery
from fastmark.registry import Registry

source, out, url, moment = sys.argv[1:]
def end(*_):
    os.kill(os.getpid(), signal.SIGKILL)
def write(ready):
    if moment == "before writing":
        end()
    Path(out).write_bytes(ready.data)
    if moment == "after writing":
        end()
def lap(name):
    if name == moment:
        end()
Delivery(fastmark.Watermarker(fastmark.Key(bytes(range(32)))), Companions(registry=Registry(url))).deliver(
    source, None, "png", {}, write, lap)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
@pytest.mark.parametrize("moment", ["marking", "before writing", "after writing"])
def test_a_killed_process_leaves_no_file_without_an_entry(registry, png, tmp_path, moment, marker):
    source, out = tmp_path / "in.png", tmp_path / "out.png"
    source.write_bytes(png)
    command = [sys.executable, "-c", KILLED, source, out, tmp_path / "ids.db", moment]
    done = subprocess.run(list(map(str, command)), check=False, timeout=120, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert states(registry) == ["reserved"]
    assert out.exists() == (moment == "after writing")
    if out.exists():
        assert marker.detect(out).message_hex == only(registry).id


@pytest.mark.parametrize(
    ("said", "key_id", "seconds", "taken_over"),
    [
        (RECORD, None, 1, True),
        (RECORD, None, 0, False),  # not older: another's, at this very moment
        (Record(provider="Other"), None, 1, False),
        (RECORD, "0" * 16, 1, False),
    ],
)
def test_what_was_abandoned_is_taken_over(marker, beside, registry, png, said, key_id, seconds, taken_over):
    import datetime as dt

    registry.reserve(said, key_id=key_id or marker.key.id, message=MESSAGE)
    before = only(registry).created_at + dt.timedelta(seconds=seconds)
    delivery = Delivery(marker, beside, abandoned_before=before)
    if taken_over:
        assert delivery.deliver(png, MESSAGE, "png", {}).message == MESSAGE
        assert states(registry) == ["delivered"]
    with pytest.raises(RegistryError, match="is taken"):  # an image has left with it
        delivery.deliver(png, MESSAGE, "png", {}, never)
    assert len(states(registry)) == 1
