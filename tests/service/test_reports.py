"""Signed reports: what was altered, or signed otherwise, does not hold; keys change and no report is lost."""

import base64
import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
import time

import pytest

pytest.importorskip("jwt", reason="the extra serve is not installed")

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519

from fastmark.errors import ReportError, ServiceError
from fastmark.service import files, reports
from fastmark.service.reports import ReportKeys, open_report, parse_jwks, verify

ANSWER = {
    "verdict": "genuine",
    "sentence": "Grün \ud800",
    "sha256": "ab" * 32,
    "where": [1, 2],
    "agree": None,
}
ISSUER = "https://check.example"


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "keys"


@pytest.fixture
def keys(folder):
    return ReportKeys.make(folder)


def parts(report):
    return [json.loads(base64.urlsafe_b64decode(part + "==")) for part in report.split(".")[:2]]


def packed(value):
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def private_of(folder):
    return serialization.load_pem_private_key((folder / "private.pem").read_bytes(), None)


def signed(folder, payload, **header):
    """A report of whatever, by the folder's key."""
    header = {"alg": "EdDSA", "kid": ReportKeys.load(folder).kid, "typ": "fastmark-report+jwt"} | header
    text = f"{packed(header)}.{packed(payload)}"
    return f"{text}.{packed(private_of(folder).sign(text.encode()))}"


# ---- the form --------------------------------------------------------------------------------------------


def test_a_report_is_the_answer_signed(keys):
    begin = int(time.time())
    report = keys.sign(ANSWER, ISSUER)
    header, payload = parts(report)
    assert header == {"alg": "EdDSA", "kid": keys.kid, "typ": "fastmark-report+jwt"}
    assert begin <= payload.pop("iat") <= time.time()
    assert payload == ANSWER | {"iss": ISSUER}
    answer, key = open_report(report, keys.jwks())
    assert answer == verify(report, keys.jwks()) == payload | {"iat": answer["iat"]}
    assert key["kid"] == keys.kid and "retired_at" not in key
    assert "iss" not in verify(keys.sign(ANSWER), keys.jwks())


def test_the_set_of_keys_is_as_the_rfcs_have_it(keys, folder):
    (key,) = keys.jwks()["keys"]
    assert set(key) == {"kty", "crv", "x", "kid", "alg", "use", "created_at"}
    assert (key["kty"], key["crv"], key["alg"], key["use"]) == ("OKP", "Ed25519", "EdDSA", "sig")
    public = private_of(folder).public_key()
    assert base64.urlsafe_b64decode(key["x"] + "=") == public.public_bytes_raw()
    # others read it too
    other = jwt.PyJWKSet.from_dict(keys.jwks())[keys.kid]
    assert jwt.decode(keys.sign(ANSWER), other.key, algorithms=["EdDSA"])["verdict"] == "genuine"


def test_ids_of_keys_are_those_of_rfc_8037():
    """The example of its appendix A.3."""
    x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
    assert reports._thumbprint(x) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def test_a_report_of_rfc_8037s_key_verifies():
    """Signature of its appendix A.4, which is of another type: only the type is refused."""
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "kid": "k"}
    token = (
        "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCj"
        "P0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
    )
    with pytest.raises(ReportError, match="no report of fastmark"):
        verify(token, {"keys": [jwk]})
    payload = jwt.PyJWS().decode(token, reports._public_of(jwk), algorithms=["EdDSA"])
    assert payload == b"Example of Ed25519 signing"


def test_values_that_are_not_json_are_not_signed(keys):
    for value in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="JSON compliant"):
            keys.sign({"score": value})


# ---- what does not hold ----------------------------------------------------------------------------------


def test_every_change_of_a_character_is_noticed(keys):
    report, jwks = keys.sign({"a": 1}, ISSUER), keys.jwks()
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for i, letter in enumerate(report):
        for other in (
            ".=" + alphabet[(alphabet.find(letter) + 1) % 64] + alphabet[(alphabet.find(letter) + 32) % 64]
        ):
            if other != letter:
                with pytest.raises(ReportError):
                    verify(report[:i] + other + report[i + 1 :], jwks)


@pytest.mark.parametrize(
    "change",
    [
        lambda r: "", lambda r: r[:-1], lambda r: r[:-4], lambda r: r + "A", lambda r: r + "=",
        lambda r: r + "\n", lambda r: f" {r}", lambda r: r.rpartition(".")[0],
        lambda r: r.rpartition(".")[0] + ".",
        lambda r: r + "." + r, lambda r: "é" + r, lambda r: "A" * (1 << 20),
        lambda r: ".".join([packed(b"[" * 10**5), *r.split(".")[1:]]),
        lambda r: ".".join(["e30", *r.split(".")[1:]]), lambda r: ".".join([packed([]), *r.split(".")[1:]]),
    ],
)  # fmt: skip
def test_damaged_reports_do_not_hold(keys, change):
    report = keys.sign(ANSWER)
    with pytest.raises(ReportError):
        verify(change(report), keys.jwks())


def test_another_answer_under_the_signature_does_not_hold(keys):
    header, _, signature = keys.sign(ANSWER).split(".")
    with pytest.raises(ReportError, match="altered"):
        verify(f"{header}.{packed(ANSWER | {'verdict': 'other', 'iat': 1})}.{signature}", keys.jwks())


def test_the_header_does_not_choose_the_algorithm(keys, folder):
    public = private_of(folder).public_key()
    raw = public.public_bytes_raw()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    payload = ANSWER | {"iat": int(time.time())}
    for algorithm in ("none", "None", "", None, "HS256", "HS512", "ES256", "Ed25519", "eddsa", ["EdDSA"], 5):
        header = {"alg": algorithm, "kid": keys.kid, "typ": "fastmark-report+jwt"}
        text = f"{packed(header)}.{packed(payload)}"
        macs = [hashlib.sha256(secret + text.encode()).digest() for secret in (raw, pem)]
        for signature in ("", "A", packed(b"\0" * 64), *map(packed, macs)):
            with pytest.raises(ReportError):
                verify(f"{text}.{signature}", keys.jwks())
        with pytest.raises(ReportError):  # not even with the right signature
            verify(signed(folder, payload, alg=algorithm), keys.jwks())
    # a public key used as the secret of a MAC, as libraries that trust the header let pass
    forged = jwt.encode(payload, raw, "HS256", headers={"kid": keys.kid, "typ": "fastmark-report+jwt"})
    with pytest.raises(ReportError, match="not signed with EdDSA"):
        verify(forged, keys.jwks())


def test_a_key_in_the_header_is_not_used(keys, folder, tmp_path):
    other = ReportKeys.make(tmp_path / "other")
    (jwk,) = other.jwks()["keys"]
    forged = signed(tmp_path / "other", ANSWER | {"iat": 1}, jwk=jwk, kid=keys.kid)
    with pytest.raises(ReportError, match="altered"):
        verify(forged, keys.jwks())
    with pytest.raises(ReportError, match="none of the keys"):
        verify(other.sign(ANSWER), keys.jwks())


@pytest.mark.parametrize(
    "header",
    [{"typ": "JWT"}, {"typ": None}, {"crit": ["x"], "x": 1}, {"crit": []}, {"b64": False}, {"b64": True}],
)
def test_what_is_signed_otherwise_is_no_report(keys, folder, header):
    with pytest.raises(ReportError):
        verify(signed(folder, ANSWER | {"iat": 1}, **header), keys.jwks())


@pytest.mark.parametrize("kid", [None, 5, "", [], {}])
def test_reports_without_the_id_of_a_key_do_not_hold(keys, folder, kid):
    with pytest.raises(ReportError):
        verify(signed(folder, ANSWER | {"iat": 1}, kid=kid), keys.jwks())


@pytest.mark.parametrize(
    "payload",
    [b"", b"{", b"[]", b"5", b'"a"', b"\xff", b'{"iat": 1, "a": NaN}', b"[" * 100_000, b"{}", b'{"iat": "1"}',
     b'{"iat": true}', b'{"iat": null}', b'{"iat": 1.5}', b'{"iat": 1, "iss": 5}'],
)  # fmt: skip
def test_signed_things_that_are_no_answer_do_not_hold(keys, folder, payload):
    assert verify(signed(folder, {"iat": 1}), keys.jwks()) == {"iat": 1}
    with pytest.raises(ReportError, match="damaged"):
        verify(signed(folder, payload), keys.jwks())


def test_reports_of_the_future_do_not_hold(keys, folder):
    now = int(time.time())
    assert verify(signed(folder, {"iat": now + 200}), keys.jwks())
    with pytest.raises(ReportError, match="future"):
        verify(signed(folder, {"iat": now + 1000}), keys.jwks())


@pytest.mark.parametrize(
    "change",
    [{"kty": "EC"}, {"crv": "X25519"}, {"crv": "Ed448"}, {"use": "enc"}, {"alg": "HS256"}, {"x": ""},
     {"x": None}, {"x": "AAAA"}, {"x": "é" * 43}, {"x": 5}, {"retired_at": "soon"}, {"retired_at": 5}],
)  # fmt: skip
def test_keys_that_are_not_for_reports_verify_none(keys, change):
    report, (key,) = keys.sign(ANSWER), keys.jwks()["keys"]
    assert verify(report, {"keys": [None, 5, {}, {"kid": [keys.kid]}, key]})
    with pytest.raises(ReportError):
        verify(report, {"keys": [key | change]})


@pytest.mark.parametrize("jwks", [{}, {"keys": None}, {"keys": {}}, {"keys": []}, {"keys": [5]}])
def test_sets_without_keys_verify_none(keys, jwks):
    with pytest.raises(ReportError, match="none of the keys"):
        verify(keys.sign(ANSWER), jwks)


def test_sets_of_keys_are_read(keys):
    assert parse_jwks(json.dumps(keys.jwks()).encode()) == keys.jwks()
    for data in (b"", b"{}", b"[]", b'{"keys": {}}', b"\xff", b"[" * 100_000):
        with pytest.raises(ServiceError, match="no JWK set"):
            parse_jwks(data)


# ---- changing keys ---------------------------------------------------------------------------------------


def test_rotated_keys_stay_listed_and_their_reports_hold(keys, folder):
    made = [(keys.kid, keys.sign(ANSWER))]
    for _ in range(3):
        later = ReportKeys.rotate(folder)
        made.append((later.kid, later.sign(ANSWER)))
        assert keys.kid == later.kid  # a service that runs has it too
        for kid, report in made:
            answer, key = open_report(report, keys.jwks())
            assert answer["verdict"] == "genuine" and key["kid"] == kid
            assert ("retired_at" in key) == (kid != later.kid)
    listed = keys.jwks()["keys"]
    assert len({key["kid"] for key in listed}) == 4 and listed[0]["kid"] == later.kid
    assert "retired_at" not in listed[0] and all("retired_at" in key for key in listed[1:])


def test_private_keys_are_kept_private_and_gone_when_retired(keys, folder):
    old = (folder / "private.pem").read_bytes()
    ReportKeys.rotate(folder)
    secret = serialization.load_pem_private_key(old, None).private_bytes_raw()
    current = private_of(folder).private_bytes_raw()
    for file in folder.iterdir():
        data = file.read_bytes()
        assert old not in data and secret not in data and packed(secret).encode() not in data
        if file.name != "private.pem":
            assert packed(current).encode() not in data
    if os.name == "posix":
        assert stat.S_IMODE((folder / "private.pem").stat().st_mode) == 0o600
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert packed(current) not in repr(keys) + repr(vars(keys))


def test_a_retired_key_signs_nothing_more(keys, folder, tmp_path):
    shutil.copytree(folder, tmp_path / "stolen")
    ReportKeys.rotate(folder)
    (old,) = (key for key in keys.jwks()["keys"] if "retired_at" in key)
    stolen = ReportKeys.load(tmp_path / "stolen").sign(ANSWER)
    assert verify(stolen, keys.jwks())  # within the minutes that clocks may differ
    with pytest.raises(ReportError, match="after its key was retired"):
        verify(stolen, {"keys": [old | {"retired_at": "2026-01-01T00:00:00Z"}]})


CUT = """
import os, sys
from fastmark.service import files, reports
steps, real = int(sys.argv[2]), files.atomic_file

def cut(path, mode):
    global steps
    if not steps:
        os._exit(9)
    steps -= 1
    return real(path, mode)

files.atomic_file = cut
reports.ReportKeys.rotate(sys.argv[1])
os._exit(0)
"""


@pytest.mark.parametrize("steps", [0, 1, 2, 3, 4])
def test_a_rotation_that_is_cut_off_leaves_keys_that_work(keys, folder, steps):
    """Two keys are there: five files are written, or fewer."""
    first = keys.sign(ANSWER)
    ReportKeys.rotate(folder)
    second, before = keys.sign(ANSWER), keys.kid
    done = subprocess.run([sys.executable, "-c", CUT, folder, str(steps)], check=False)
    assert done.returncode == (0 if steps == 4 else 9)
    fresh = ReportKeys.load(folder)
    assert fresh.kid == keys.kid and fresh.jwks() == keys.jwks()
    assert (fresh.kid != before) == (steps >= 2)
    third = fresh.sign(ANSWER)
    for _ in range(2):
        listed = keys.jwks()["keys"]
        assert [key["kid"] for key in listed if "retired_at" not in key] == [keys.kid]
        assert all(verify(report, keys.jwks()) for report in (first, second, third))
        ReportKeys.rotate(folder)  # the next one tidies up
    for file in folder.glob("key-*.json"):
        assert ("retired_at" in json.loads(file.read_bytes())) == (keys.kid not in file.name)
    assert not list(folder.glob("*.tmp"))


ROTATING = """
import sys
from fastmark.service.reports import ReportKeys
print("ready", flush=True)
sys.stdin.read()
for _ in range(6):
    ReportKeys.rotate(sys.argv[1])
"""


def test_services_sign_while_keys_are_rotated(keys, folder):
    tools = [
        subprocess.Popen(
            [sys.executable, "-c", ROTATING, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for _ in range(2)
    ]
    for tool in tools:
        assert tool.stdout.readline() == b"ready\n"
        tool.stdin.close()
    made = []
    while any(tool.poll() is None for tool in tools):
        made.append(keys.sign(ANSWER))
        ReportKeys.load(folder)
    for tool in tools:
        tool.stdout.close()
    assert [tool.returncode for tool in tools] == [0, 0]
    assert len(keys.jwks()["keys"]) == 13
    assert len({parts(report)[0]["kid"] for report in made}) > 3
    assert all(verify(report, keys.jwks()) for report in made)


def test_keys_are_changed_by_one_process_at_a_time(keys, folder, monkeypatch):
    monkeypatch.setattr(files, "_PATIENCE_S", 0.05)
    kid = keys.kid
    with files.alone(folder / ".lock"):
        for verb in (ReportKeys.make, ReportKeys.rotate):
            with pytest.raises(ServiceError, match="another process"):
                verb(folder)
        assert verify(keys.sign(ANSWER), ReportKeys.load(folder).jwks()) and keys.kid == kid
    assert ReportKeys.rotate(folder).kid != kid


# ---- folders that are not in order -----------------------------------------------------------------------


def test_a_folder_has_one_first_key(folder, keys, tmp_path):
    before = (folder / "private.pem").read_bytes()
    with pytest.raises(ServiceError, match="has a key already"):
        ReportKeys.make(folder)
    assert (folder / "private.pem").read_bytes() == before and len(keys.jwks()["keys"]) == 1
    for verb in (ReportKeys.load, ReportKeys.rotate):
        with pytest.raises(ServiceError, match="report-key init"):
            verb(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()
    (tmp_path / "file").touch()
    with pytest.raises(ServiceError, match="cannot be made"):
        ReportKeys.make(tmp_path / "file" / "keys")


def pem_of(private, password=None):
    locked = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked)


def test_private_keys_that_are_none_are_refused_and_a_running_service_keeps_its_own(keys, folder, caplog):
    good, kid = (folder / "private.pem").read_bytes(), keys.kid
    ours = ed25519.Ed25519PrivateKey.generate()
    bad = [b"", b"-----BEGIN PRIVATE KEY-----", good[:-40], pem_of(ed448.Ed448PrivateKey.generate())]
    bad += [pem_of(ec.generate_private_key(ec.SECP256R1())), pem_of(ours, b"password")]
    for data in bad:
        (folder / "private.pem").write_bytes(data)
        for verb in (ReportKeys.load, ReportKeys.rotate):
            with pytest.raises(ServiceError, match="must be an Ed25519 key"):
                verb(folder)
        assert keys.kid == kid and verify(keys.sign(ANSWER), keys.jwks())
    assert {record.levelname for record in caplog.records} == {"WARNING"} and len(caplog.records) == 1
    assert "key of before" in caplog.text
    (folder / "private.pem").write_bytes(pem_of(ours))
    assert keys.kid != kid and verify(keys.sign(ANSWER), ReportKeys.load(folder).jwks())


@pytest.mark.parametrize(
    "change",
    [{"x": "A" * 43}, {"kid": "a"}, {"created_at": "soon"}, {"created_at": None}, {"retired_at": None}],
)
def test_public_keys_that_are_damaged_are_told(keys, folder, change):
    ReportKeys.rotate(folder)
    old = keys.jwks()["keys"][1]
    path = folder / f"key-{old['kid']}.json"
    path.write_text(json.dumps(old | change))
    with pytest.raises(ServiceError, match=r"damaged: restore a copy"):
        ReportKeys.load(folder)
    assert len(keys.jwks()["keys"]) == 2  # of before
    path.write_text(json.dumps(old))
    assert ReportKeys.load(folder).jwks() == keys.jwks()


def test_the_signing_key_is_listed_even_if_its_file_was_lost(keys, folder):
    (folder / f"key-{keys.kid}.json").unlink()
    report = keys.sign(ANSWER)
    fresh = ReportKeys.load(folder)
    assert verify(report, fresh.jwks()) and len(fresh.jwks()["keys"]) == 1
    ReportKeys.rotate(folder)
    assert verify(report, ReportKeys.load(folder).jwks()) and len(keys.jwks()["keys"]) == 2


def test_callers_cannot_change_the_keys(keys):
    report = keys.sign(ANSWER)
    keys.jwks()["keys"][0]["x"] = "A"
    keys.jwks()["keys"].clear()
    assert verify(report, keys.jwks())
