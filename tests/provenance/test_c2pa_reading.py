"""Content credentials are read: what holds, what does not, in plain words, and never from the network."""

import contextlib
import copy
import datetime as dt
import io
import json
import socket
import threading
import time

import numpy as np
import pytest
from pictures import drawn
from PIL import Image

c2pa = pytest.importorskip("c2pa", reason="the extra c2pa is not installed")

from certificates import make  # noqa: E402

from fastmark.errors import CredentialError  # noqa: E402
from fastmark.images.encoding import encode_image  # noqa: E402
from fastmark.provenance.credentials import read, recover  # noqa: E402
from fastmark.provenance.signing import Signer, sign  # noqa: E402
from fastmark.records import Record  # noqa: E402

RECORD = Record(provider="Provider Inc", system="System", system_version="3.1", policy="no-training")
MESSAGE = bytes.fromhex("0123456789abcdef")
WHEN = dt.datetime(2026, 11, 26, 12, tzinfo=dt.UTC)
CHANGED = "the file was changed since it was signed"
NO_LIST = "no list of trusted authorities was given: the signer's name is what the signer says"


@pytest.fixture(scope="module")
def made():
    return make()


@pytest.fixture(scope="module")
def signer(made):
    return Signer(made.chain, made.key)


@pytest.fixture(scope="module")
def signed(signer):
    return sign(image(), "JPEG", RECORD, MESSAGE, signer, when=WHEN)


def image(format_name="JPEG", seed=1, quality=None):
    return encode_image(Image.fromarray(drawn(96, 128, seed)), format_name, quality=quality)


def foreign(made, manifest, data=None, *, remote=None, embedded=True):
    """An image signed by c2pa-python itself, with any manifest; its store too."""
    info = c2pa.C2paSignerInfo(b"es256", made.chain, made.key, None)
    settings = {"builder": {"thumbnail": {"enabled": False}}, "verify": {"remote_manifest_fetch": False}}
    out = io.BytesIO()
    with (
        c2pa.Context.from_dict(settings) as context,
        c2pa.Signer.from_info(info) as signer,
        c2pa.Builder(manifest, context) as builder,
    ):
        if remote is not None:
            builder.set_remote_url(remote)
        if not embedded:
            builder.set_no_embed()
        store = builder.sign(signer, "image/jpeg", io.BytesIO(data or image()), out)
    return out.getvalue(), store


CREATED = {
    "label": "c2pa.actions.v2",
    "data": {"actions": [{"action": "c2pa.created", "digitalSourceType":
                          "http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture"}]},
}  # fmt: skip


# ---- in order --------------------------------------------------------------------------------------------


def test_everything_that_was_signed_is_read(made, signed, tmp_path):
    (tmp_path / "root.pem").write_bytes(made.root)
    for anchors in (made.root, tmp_path / "root.pem", str(tmp_path / "root.pem"), make().root + made.root):
        credential = read(signed.data, trust_anchors=anchors)
        assert (credential.state, credential.intact, credential.problems) == ("trusted", True, ())
    assert credential.manifest_id == signed.manifest_id
    assert credential.generator.startswith("fastmark 0.")
    assert (credential.issuer, credential.common_name) == ("Tests", "Test Signer")
    assert credential.when == WHEN
    assert (credential.system, credential.system_version, credential.provider) == (
        "System",
        "3.1",
        "Provider Inc",
    )
    assert credential.digital_source_type == "trainedAlgorithmicMedia"
    assert credential.soft_bindings == (("fastmark.v1", MESSAGE),)
    assert credential.opted_out
    as_json = json.loads(json.dumps(credential.to_dict()))
    assert as_json["soft_bindings"] == [{"alg": "fastmark.v1", "value": MESSAGE.hex()}]
    assert (as_json["when"], as_json["state"]) == ("2026-11-26T12:00:00Z", "trusted")


def test_who_is_not_on_the_list_is_not_trusted(signed):
    other = make()
    credential = read(signed.data)
    assert (credential.state, credential.intact, credential.problems) == ("valid", True, (NO_LIST,))
    credential = read(signed.data, trust_anchors=other.root)
    assert (credential.state, credential.intact) == ("valid", True)
    assert credential.problems == ("signed by somebody who is not on the list of trusted authorities",)


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "BMP", "PPM"])
def test_images_without_have_none(name):
    assert read(image(name)) is None


@pytest.mark.parametrize("data", [b"", b"\xff\xd8", b"no image", bytes(1000)])
def test_what_is_no_image_has_none_or_is_damaged(data):
    with contextlib.suppress(CredentialError):
        assert read(data) is None


def test_a_list_that_is_none_is_refused(signed, tmp_path):
    for anchors in (b"junk", b"", signed.data):
        with pytest.raises(CredentialError, match="the trusted certificates: no certificates can be read"):
            read(signed.data, trust_anchors=anchors)
    with pytest.raises(CredentialError, match=r"the trusted certificates .*gone.pem cannot be read"):
        recover(signed.data, signed.manifest, trust_anchors=tmp_path / "gone.pem")


# ---- not in order ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_changed_pixels_are_told(name, made, signer):
    plain = image(name)
    data = bytearray(sign(plain, name, RECORD, MESSAGE, signer).data)
    piece = plain[len(plain) // 2 : len(plain) // 2 + 24]  # of the pixels, well away from the manifest
    place = bytes(data).rindex(piece) + 12
    data[place] ^= 4
    credential = read(bytes(data), trust_anchors=made.root)
    assert (credential.state, credential.intact, credential.problems) == ("invalid", False, (CHANGED,))
    assert credential.soft_bindings == (("fastmark.v1", MESSAGE),)


def test_changed_credentials_are_told(made, signed):
    data = bytearray(signed.data)
    data[signed.data.index(b"Provider Inc")] = ord("X")
    credential = read(bytes(data), trust_anchors=made.root)
    assert (credential.state, credential.intact) == ("invalid", False)
    assert credential.problems == ("the credentials themselves were changed since they were signed",)
    data = bytearray(signed.data)
    place = signed.data.index(b"Test Signer")
    data[place : place + 4] = b"Pest"  # in the certificate
    with contextlib.suppress(CredentialError):
        credential = read(bytes(data), trust_anchors=made.root)
        assert (credential.state, credential.intact) == ("invalid", False)
        assert credential.problems


def test_a_cut_file_is_told(signed):
    credential = read(signed.data[: len(signed.data) * 3 // 4])
    assert (credential.state, credential.intact) == ("invalid", False)
    assert CHANGED in credential.problems
    with pytest.raises(
        CredentialError, match=r"^the content credentials cannot be read: the image is damaged"
    ):
        read(signed.data[: signed.data.index(b"Provider Inc")])


def test_no_damage_raises_anything_else_or_passes_for_genuine(made, signed):
    rng = np.random.default_rng(14)
    start = signed.data.index(signed.manifest[:40])
    end = start + len(signed.manifest)
    outside = [place for place in range(len(signed.data)) if not start - 20 <= place < end]
    for inside in [True] * 150 + [False] * 50:
        data = bytearray(signed.data)
        place = int(rng.integers(start, end)) if inside else int(rng.choice(outside))
        data[place] ^= int(rng.integers(1, 256))
        try:
            credential = read(bytes(data), trust_anchors=made.root)
        except CredentialError as error:
            assert "\n" not in str(error)
            continue
        if credential is None or not credential.intact:
            continue
        # what is not covered by hashes or signature is padding, and says nothing
        assert inside and credential.state == "trusted"
        assert credential == read(signed.data, trust_anchors=made.root)


def test_an_expired_certificate_is_told_and_the_file_is_intact_still():
    made = make(days=(-1, 2 / 86400))
    signer = Signer(made.chain, made.key)
    data = sign(image(), "JPEG", RECORD, MESSAGE, signer).data
    assert read(data, trust_anchors=made.root).state == "trusted"
    time.sleep(max(0, (signer.expires - dt.datetime.now(dt.UTC)).total_seconds()) + 1.1)
    credential = read(data, trust_anchors=made.root)
    assert (credential.state, credential.intact) == ("invalid", True)
    assert any(problem.startswith("the certificate has expired") for problem in credential.problems)


def test_an_ingredient_that_is_not_in_order_is_told(made, signer, signed):
    first = bytearray(signed.data)
    first[signed.data.index(b"Provider Inc")] = ord("X")
    second = sign(image(seed=2), "JPEG", RECORD, MESSAGE, signer, parent=bytes(first))
    credential = read(second.data, trust_anchors=made.root)
    assert (credential.state, credential.intact) == ("trusted", True)
    of_parent = "of an image that it was made from: "
    assert credential.problems == (
        f"{of_parent}the credentials themselves were changed since they were signed",
    )
    data = bytearray(second.data)
    data[second.data.index(b"Xrovider")] = ord("Y")  # the ingredient's own manifest, changed after
    credential = read(bytes(data), trust_anchors=made.root)
    assert (credential.state, len(credential.problems)) == ("invalid", 2)
    assert all(problem.startswith(of_parent) for problem in credential.problems)


# ---- of others -------------------------------------------------------------------------------------------


def test_a_manifest_of_another_tool_is_read(made):
    manifest = {
        "claim_generator_info": [{"name": "Camera\nFirm", "version": "2"}],
        "assertions": [
            CREATED,
            {"label": "c2pa.soft-binding", "data": {"alg": "com.other.mark", "blocks": [
                {"scope": {}, "value": "not base64!"}, {"scope": {}, "value": "AAEC"}]}},
            {"label": "c2pa.training-mining",
             "data": {"entries": {"c2pa.ai_generative_training": {"use": "constrained"}}}},
        ],
    }  # fmt: skip
    data, _ = foreign(made, manifest)
    credential = read(data, trust_anchors=made.root)
    assert (credential.state, credential.generator) == ("trusted", "Camera Firm 2")
    assert credential.digital_source_type == "digitalCapture"
    assert (credential.system, credential.when, credential.provider) == (None, None, None)
    assert credential.soft_bindings == (("com.other.mark", b"not base64!"), ("com.other.mark", b"\0\1\2"))
    assert credential.opted_out


@pytest.mark.parametrize(
    ("entries", "out"),
    [
        ({"cawg.ai_training": {"use": "allowed"}}, False),
        ({"cawg.data_mining": {"use": "notAllowed"}}, False),
        ({"cawg.ai_training": {"use": "notAllowed"}}, True),
    ],
)
def test_only_training_that_is_not_allowed_is_an_opt_out(entries, out, made):
    manifest = {"assertions": [CREATED, {"label": "cawg.training-mining", "data": {"entries": entries}}]}
    assert read(foreign(made, manifest)[0]).opted_out is out


def test_values_of_odd_types_count_as_not_said(made):
    odd = copy.deepcopy(CREATED)
    odd["data"]["actions"][0] |= {"when": "yesterday", "parameters": {"fastmark.provider": 7}}
    odd["data"]["actions"][0]["softwareAgent"] = {"name": "x" * 5000 + "\x1b[31m\n"}
    data, _ = foreign(made, {"assertions": [odd, {"label": "c2pa.soft-binding", "data": {
        "alg": "com.other.mark", "blocks": []}}]})  # fmt: skip
    credential = read(data)
    assert (credential.when, credential.provider, credential.soft_bindings) == (None, None, ())
    assert credential.system == "x" * 300


@contextlib.contextmanager
def listening():
    """A socket on this machine that nobody must call; yields its URL and who did."""
    server = socket.create_server(("127.0.0.1", 0))
    callers = []

    def accept():
        with contextlib.suppress(OSError):
            while True:
                connection, _ = server.accept()
                callers.append(connection.recv(1000))
                connection.close()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.getsockname()[1]}", callers
        time.sleep(0.3)
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join(10)


def test_nothing_is_fetched_from_addresses_in_a_file():
    with listening() as (url, callers):
        made = make(ocsp=f"{url}/ocsp")
        elsewhere, store = foreign(made, {"assertions": [CREATED]}, remote=f"{url}/m.c2pa", embedded=False)
        with pytest.raises(CredentialError, match="its manifest lies elsewhere, and is not fetched"):
            read(elsewhere, trust_anchors=made.root)
        both, _ = foreign(made, {"assertions": [CREATED]}, remote=f"{url}/m.c2pa")
        assert read(both, trust_anchors=made.root).state == "trusted"
        assert recover(elsewhere, store, trust_anchors=made.root).state == "recovered"
        signer = Signer(made.chain, made.key)
        again = sign(image(), "JPEG", RECORD, MESSAGE, signer, parent=both)
        assert read(again.data, trust_anchors=made.root).state == "trusted"
        again = sign(image(), "JPEG", RECORD, MESSAGE, signer, parent=elsewhere)
        credential = read(again.data, trust_anchors=made.root)
        assert credential.problems == (
            "of an image that it was made from: the credentials lie elsewhere, and were not fetched",
        )
    assert callers == []


def test_the_socket_that_nobody_calls_would_hear_it():
    with listening() as (url, callers):
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(b"hello")
    assert callers == [b"hello"]


# ---- found by the watermark ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "BMP", "PPM"])
def test_a_store_is_recovered_for_an_image_encoded_anew_in_any_format(name, made, signed):
    again = encode_image(Image.open(io.BytesIO(signed.data)), name, quality=70 if name == "JPEG" else None)
    assert read(again) is None
    credential = recover(again, signed.manifest, trust_anchors=made.root)
    assert (credential.state, credential.intact) == ("recovered", False)
    assert credential.problems == (
        "the file is not the one that was signed: pixels or metadata were changed since, or encoded anew",
    )
    assert credential.manifest_id == signed.manifest_id
    assert credential.soft_bindings == (("fastmark.v1", MESSAGE),)
    assert NO_LIST in recover(again, signed.manifest).problems


def test_a_store_is_recovered_even_where_everything_holds(made, signed):
    credential = recover(signed.data, signed.manifest, trust_anchors=made.root)
    assert (credential.state, credential.intact, credential.problems) == ("recovered", True, ())


def test_what_is_recovered_is_the_store_not_what_the_file_has(made, signed, signer):
    other = sign(image(seed=2), "JPEG", Record(), b"87654321", signer)
    credential = recover(other.data, signed.manifest, trust_anchors=made.root)
    assert (credential.state, credential.intact) == ("recovered", False)
    assert credential.manifest_id == signed.manifest_id


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.9, 0.99])
def test_a_cut_store_is_told(share, signed):
    with pytest.raises(CredentialError, match=r"^the content credentials in the registry cannot be read: "):
        recover(signed.data, signed.manifest[: int(share * len(signed.manifest))])


def test_a_store_of_something_else_is_told(signed):
    for store in (b"x" * 500, image(), bytes(100)):
        with pytest.raises(CredentialError, match="the manifest is damaged"):
            recover(signed.data, store)
