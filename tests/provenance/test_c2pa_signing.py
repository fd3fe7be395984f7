"""Content credentials: what is signed and when, looked at with c2pa-python's own reader."""

import base64
import contextlib
import datetime as dt
import io
import re
import shutil
import socket
import subprocess
import threading

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("c2pa", reason="the extra c2pa is not installed")

from certificates import make
from cryptography.hazmat.primitives.asymmetric import rsa
from signed_images import MESSAGE, OWNER, RECORD, image, report

from fastmark._version import VERSION
from fastmark.errors import CredentialError
from fastmark.provenance.credentials import read
from fastmark.provenance.signing import Signer, check_soft_binding, sign
from fastmark.records import Record

WHEN = dt.datetime(2026, 11, 26, 12, tzinfo=dt.UTC)
MIME = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "TIFF": "image/tiff",
        "AVIF": "image/avif", "HEIF": "image/heic", "JXL": "image/jxl"}  # fmt: skip
PLUGINS = {"HEIF": "pillow_heif", "JXL": "pillow_jxl"}


@pytest.fixture(scope="module")
def made():
    return make()


@pytest.fixture(scope="module")
def signer(made):
    return Signer(made.chain, made.key)


def active(data, mime="image/jpeg", root=None):
    said = report(data, mime, root)
    return said["manifests"][said["active_manifest"]]


def assertions(data, mime="image/jpeg"):
    return {entry["label"]: entry["data"] for entry in active(data, mime)["assertions"]}


# ---- what is signed --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MIME)
def test_every_format_goes_there_and_back_through_the_librarys_reader(name, made, signer):
    if name in PLUGINS:
        pytest.importorskip(PLUGINS[name])
    plain = image(name)
    signed = sign(plain, name, RECORD, MESSAGE, signer, when=WHEN, title="A title")
    said = report(signed.data, MIME[name], made.root)
    assert (said["validation_state"], said["active_manifest"]) == ("Trusted", signed.manifest_id)
    assert signed.manifest_id.startswith("urn:c2pa:")
    assert report(signed.data, MIME[name])["validation_state"] == "Valid"
    manifest = said["manifests"][signed.manifest_id]
    assert manifest["title"] == "A title"
    assert manifest["claim_generator_info"][0]["name"] == "fastmark"
    assert manifest["claim_generator_info"][0]["version"] == VERSION
    assert "thumbnail" not in manifest
    found = {entry["label"]: entry["data"] for entry in manifest["assertions"]}
    assert found["c2pa.actions.v2"]["actions"] == [
        {
            "action": "c2pa.created",
            "when": "2026-11-26T12:00:00Z",
            "digitalSourceType": "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia",
            "softwareAgent": {"name": "System", "version": "3.1"},
            "parameters": {"fastmark.provider": "Provider Inc", "fastmark.model": "model-x"},
        },
        {
            "action": "c2pa.watermarked.bound",
            "when": "2026-11-26T12:00:00Z",
            "softwareAgent": {"name": "fastmark", "version": VERSION},
        },
    ]
    (block,) = found["c2pa.soft-binding"]["blocks"]
    assert found["c2pa.soft-binding"]["alg"] == "fastmark.v1"
    assert block == {"scope": {}, "value": base64.b64encode(MESSAGE).decode()}
    before, after = (np.asarray(opened(data, name)) for data in (plain, signed.data))
    assert np.array_equal(before, after)
    assert read(signed.data, trust_anchors=made.root).state == "trusted"


def opened(data, name):
    if name in PLUGINS:
        from fastmark.images.formats import register_plugin

        register_plugin(name, "the image")
    return Image.open(io.BytesIO(data))


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_the_owner_is_in_no_byte_of_file_and_store(name, signer):
    signed = sign(image(name), name, RECORD, MESSAGE, signer, parent=image())
    for spelled in (OWNER, "Zacharias"):
        for encoding in ("utf-8", "utf-16-le", "utf-16-be"):
            assert spelled.encode(encoding) not in signed.data
            assert spelled.encode(encoding) not in signed.manifest
    assert b"Provider Inc" in signed.data  # is looked for in the right place


@pytest.mark.parametrize(
    ("policy", "entries"),
    [
        ("none", None),
        ("no-training", ["cawg.ai_generative_training", "cawg.ai_training"]),
        ("no-generative-training", ["cawg.ai_generative_training"]),
    ],
)
def test_a_policy_is_told_in_the_entries_of_cawg(policy, entries, signer):
    data = sign(image(), "JPEG", Record(policy=policy), MESSAGE, signer).data
    told = assertions(data).get("cawg.training-mining")
    assert (None if told is None else sorted(told["entries"])) == entries
    assert told is None or all(entry == {"use": "notAllowed"} for entry in told["entries"].values())
    assert read(data).opted_out is (policy != "none")


def test_without_a_message_nothing_is_said_of_a_watermark(made, signer):
    data = sign(image(), "JPEG", Record(source_type="digitalCapture"), None, signer).data
    assert list(assertions(data)) == ["c2pa.actions.v2"]
    (action,) = assertions(data)["c2pa.actions.v2"]["actions"]
    assert action["digitalSourceType"].endswith("/digitalCapture")
    assert "softwareAgent" not in action
    assert read(data, trust_anchors=made.root).soft_bindings == ()


@pytest.mark.parametrize("length", [2, 4, 8, 12, 16])
def test_a_soft_binding_is_the_base64_of_the_message(length, signer):
    message = bytes(range(250, 250 - length, -1))
    data = sign(image(), "JPEG", RECORD, message, signer, soft_binding="com.example.mark-1").data
    told = assertions(data)["c2pa.soft-binding"]
    assert (told["alg"], base64.b64decode(told["blocks"][0]["value"])) == ("com.example.mark-1", message)
    assert read(data).soft_bindings == (("com.example.mark-1", message),)


@pytest.mark.parametrize(
    "name", ["fastmark", "a.b", "com..mark", ".com.mark", "com.-mark", "com.mark!", "", 5]
)
def test_names_of_soft_bindings_have_the_lists_pattern(name, signer):
    with pytest.raises(CredentialError, match="cannot be the name of a soft binding"):
        sign(image(), "JPEG", RECORD, MESSAGE, signer, soft_binding=name)
    check_soft_binding("com.adobe.trustmark.Q")


@pytest.mark.parametrize("name", ["BMP", "PPM", "ppm"])
def test_formats_without_a_place_for_them_are_refused_by_name(name, signer):
    with pytest.raises(CredentialError, match=rf"{name.upper()} has no place .* write JPEG, PNG"):
        sign(image(name), name, RECORD, MESSAGE, signer)


@pytest.mark.parametrize("data", [b"", b"no image", image()[:300], image("PNG")])
def test_what_is_no_such_image_is_refused_in_plain_words(data, signer):
    with pytest.raises(CredentialError, match=r"^content credentials cannot be signed: the image"):
        sign(data, "JPEG", RECORD, MESSAGE, signer)


def test_a_time_without_zone_is_refused(signer):
    with pytest.raises(CredentialError, match="with its zone"):
        sign(image(), "JPEG", RECORD, MESSAGE, signer, when=dt.datetime(2026, 1, 1))


# ---- images made from others -----------------------------------------------------------------------------


def test_a_parent_and_its_credentials_are_kept(made, signer):
    first = sign(image(), "JPEG", RECORD, b"12345678", signer)
    record = Record(action="altered", system="Editor", operation="inpainting")
    second = sign(image(seed=2), "JPEG", record, MESSAGE, signer, parent=first.data)
    said = report(second.data, "image/jpeg", made.root)
    assert said["validation_state"] == "Trusted"
    assert set(said["manifests"]) == {first.manifest_id, second.manifest_id}
    manifest = said["manifests"][second.manifest_id]
    (ingredient,) = manifest["ingredients"]
    assert (ingredient["relationship"], ingredient["active_manifest"]) == ("parentOf", first.manifest_id)
    opened_, edited, marked = assertions(second.data)["c2pa.actions.v2"]["actions"]
    assert opened_["action"] == "c2pa.opened"
    assert len(opened_["parameters"]["ingredients"]) == 1
    assert (edited["action"], marked["action"]) == ("c2pa.edited", "c2pa.watermarked.bound")
    assert edited["digitalSourceType"].endswith("/compositeWithTrainedAlgorithmicMedia")
    assert edited["parameters"] == {"fastmark.operation": "inpainting"}
    credential = read(second.data, trust_anchors=made.root)
    assert (credential.state, credential.system) == ("trusted", "Editor")
    assert credential.digital_source_type == "compositeWithTrainedAlgorithmicMedia"
    assert credential.soft_bindings == (("fastmark.v1", MESSAGE),)


def test_a_created_image_with_a_parent_is_opened(made, signer):
    data = sign(image(), "JPEG", RECORD, MESSAGE, signer, parent=image("PNG")).data
    opened_, marked = assertions(data)["c2pa.actions.v2"]["actions"]
    assert (opened_["action"], marked["action"]) == ("c2pa.opened", "c2pa.watermarked.bound")
    assert opened_["parameters"]["fastmark.provider"] == "Provider Inc"
    assert read(data, trust_anchors=made.root).digital_source_type == "trainedAlgorithmicMedia"


@pytest.mark.parametrize("parent", [None, image("PNG"), image("BMP"), image("PPM")])
def test_an_altered_image_has_an_ingredient_whatever_its_original_is(parent, made, signer):
    data = sign(image(), "JPEG", Record(action="altered"), None, signer, parent=parent).data
    assert report(data, "image/jpeg", made.root)["validation_state"] == "Trusted"
    assert [entry["relationship"] for entry in active(data)["ingredients"]] == ["parentOf"]


def test_a_damaged_parent_is_told_as_such(signer):
    with pytest.raises(
        CredentialError, match=r"^the original of the image cannot be kept .*: the image is damaged"
    ):
        sign(image(), "JPEG", RECORD, MESSAGE, signer, parent=image()[:300])


# ---- time stamp authorities ------------------------------------------------------------------------------


@contextlib.contextmanager
def server(answer):
    """A server on this machine that answers each connection in its own way; yields its URL."""
    listening = socket.create_server(("127.0.0.1", 0))
    kept = []

    def serve():
        with contextlib.suppress(OSError):  # closed
            while True:
                connection, _ = listening.accept()
                kept.append(connection)
                answer(connection)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/tsa"
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        for connection in kept:
            connection.close()
        thread.join(10)


def stamping(folder):
    """How an authority answers that openssl is; its certificate's root is in the folder."""
    from cryptography.x509.oid import ExtendedKeyUsageOID

    made = make(rsa.generate_private_key(65537, 2048), purpose=ExtendedKeyUsageOID.TIME_STAMPING)
    for name in ("chain", "key", "root"):
        (folder / f"{name}.pem").write_bytes(getattr(made, name))
    (folder / "openssl.cnf").write_text(
        "[tsa]\ndefault_tsa = stamp\n[stamp]\nserial = serial\nsigner_cert = chain.pem\ncerts = chain.pem\n"
        "signer_key = key.pem\nsigner_digest = sha256\ndefault_policy = 1.2.3.4\n"
        "digests = sha256, sha384, sha512\n"
    )
    (folder / "serial").write_text("01")

    def answer(connection):
        request = b""
        while True:
            head, _, body = request.partition(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: *(\d+)", head)
            if length and len(body) >= int(length[1]):
                break
            request += connection.recv(65536)
        (folder / "query").write_bytes(body)
        command = [
            "openssl",
            "ts",
            "-reply",
            "-config",
            "openssl.cnf",
            "-queryfile",
            "query",
            "-out",
            "reply",
        ]
        subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=60)
        reply = (folder / "reply").read_bytes()
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/timestamp-reply\r\nConnection: close\r\n"
        connection.sendall(head + b"Content-Length: %d\r\n\r\n" % len(reply) + reply)
        connection.close()

    return answer


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl, to be a time stamp authority")
def test_a_time_stamp_is_asked_for_and_its_time_is_read(made, tmp_path):
    with server(stamping(tmp_path)) as url:
        signer = Signer(made.chain, made.key, tsa_url=url)
        data = sign(image(), "JPEG", RECORD, MESSAGE, signer, when=WHEN).data
    roots = made.root + (tmp_path / "root.pem").read_bytes()
    credential = read(data, trust_anchors=roots)
    assert (credential.state, credential.problems) == ("trusted", ())
    assert abs(credential.when - dt.datetime.now(dt.UTC)) < dt.timedelta(minutes=5)
    assert (
        read(sign(image(), "JPEG", RECORD, MESSAGE, Signer(made.chain, made.key), when=WHEN).data).when
        == WHEN
    )


def rubbish(connection):
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/timestamp-reply\r\n"
                       b"Content-Length: 4\r\nConnection: close\r\n\r\nxxxx")  # fmt: skip
    connection.close()


def refusing(connection):
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    connection.close()


@pytest.mark.parametrize("answer", [rubbish, refusing, socket.socket.close])
def test_a_time_stamp_authority_that_fails_is_named_as_the_cause(answer, made):
    with server(answer) as url:
        signer = Signer(made.chain, made.key, tsa_url=url)
        with pytest.raises(
            CredentialError, match=r"^content credentials cannot be signed: the time stamp authority"
        ):
            sign(image(), "JPEG", RECORD, MESSAGE, signer)


def test_a_time_stamp_authority_that_never_answers_is_given_up():
    made = make()  # NOTE: takes the 30 seconds that the library waits
    with server(lambda _: None) as url:
        signer = Signer(made.chain, made.key, tsa_url=url)
        with pytest.raises(CredentialError, match="the time stamp authority did not answer"):
            sign(image(), "JPEG", RECORD, MESSAGE, signer)
