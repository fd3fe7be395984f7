"""``fastmark embed`` with a registry, a record, XMP and content credentials, as people run it."""

import hashlib
import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from archives import encode, jpeg, write
from commands import MESSAGE, assert_refused, rows, run
from pictures import drawn

pytest.importorskip("sqlalchemy")
pytest.importorskip("imagehash")
pytest.importorskip("c2pa")

import certificates

from fastmark import Key, Watermarker
from fastmark.provenance import xmp
from fastmark.provenance.credentials import read
from fastmark.provenance.plain import metadata_of
from fastmark.registry import Registry

KEY = Key(bytes(range(32)), "ours")
RECORD = {"provider": "Studio", "system": "Painter", "owner": "Ada L.", "expires": "2031-01-01T00:00:00Z"}


@pytest.fixture(scope="module")
def made():
    return certificates.make()


@pytest.fixture
def at(tmp_path, made):
    """A function that runs ``fastmark embed`` in a folder with a key, an image, a registry and a chain."""
    KEY.save(tmp_path / "our.key")
    write(tmp_path / "in.png", encode(drawn(256, 288), "PNG"))
    write(tmp_path / "chain.pem", made.chain)
    write(tmp_path / "signer.key", made.key)
    write(tmp_path / "record.json", json.dumps(RECORD).encode())
    Registry(str(tmp_path / "ids.db")).init()

    def embed(*arguments, **options):
        return run("embed", *arguments, "--key", "our.key", cwd=tmp_path, **options)

    return embed


SIGN = ("--sign", "chain.pem", "--sign-key", "signer.key")


def entries(folder):
    with Registry(str(folder / "ids.db")) as registry:
        return list(registry.entries())


def detected(path):
    return Watermarker(KEY).detect(path).message_hex


# ---- one image -------------------------------------------------------------------------------------


def test_every_layer_in_one_command(at, tmp_path, made):
    record = ("--record", "record.json", "--system", "Other Painter", "--action", "altered")
    done = at(
        "in.png", "-o", "out.jpg", "--registry", "ids.db", *record, "--xmp", *SIGN, "--verify", "--json"
    )
    assert done.returncode == 0, done.stderr.decode()
    (row,) = rows(done.stdout)
    data = (tmp_path / "out.jpg").read_bytes()
    (entry,) = entries(tmp_path)
    assert (entry.id, entry.state) == (row["message"], "delivered") and detected(data) == entry.id
    assert entry.sha256 == hashlib.sha256(data).hexdigest()
    assert entry.manifest_id == row["manifest_id"] != None  # noqa: E711
    # options go before the file
    assert entry.record.to_dict() == (
        dict.fromkeys(entry.record.to_dict())
        | RECORD
        | {"system": "Other Painter", "action": "altered", "policy": "none"}
    )
    credential = read(data, trust_anchors=made.root)
    assert credential.state == "trusted" and credential.system == "Other Painter"
    label = xmp.read(metadata_of(data).xmp)
    assert label.digital_source_type == "compositeWithTrainedAlgorithmicMedia"
    assert label.system == "Other Painter"
    assert b"Ada L." not in data + done.stdout + done.stderr


def test_every_option_of_the_record(at, tmp_path):
    given = {"provider": "P", "system": "S", "system-version": "2", "model": "M", "owner": "O"}
    given |= {"action": "altered", "policy": "no-training"}
    options = [text for name, value in given.items() for text in (f"--{name}", value)]
    assert at("in.png", "-o", "out.png", "--registry", "ids.db", *options, "--xmp").returncode == 0
    (entry,) = entries(tmp_path)
    said = entry.record.to_dict()
    assert {name.replace("_", "-"): value for name, value in said.items() if value is not None} == given
    label = xmp.read(metadata_of((tmp_path / "out.png").read_bytes()).xmp)
    assert label.data_mining == "DMI-PROHIBITED-AIMLTRAINING"


def test_a_message_of_ones_own_and_none(at, tmp_path):
    assert at("in.png", "-o", "a.png", "--registry", "ids.db", "--message", MESSAGE).returncode == 0
    assert [entry.id for entry in entries(tmp_path)] == [MESSAGE] and detected(tmp_path / "a.png") == MESSAGE
    again = at("in.png", "-o", "b.png", "--registry", "ids.db", "--message", MESSAGE)
    assert_refused(again, f"the id {MESSAGE} is taken")
    assert not (tmp_path / "b.png").exists()
    assert_refused(at("in.png", "-o", "b.png"), "no message", "--registry, which draws an id")
    done = at("in.png", "-o", "b.png", "--registry", "sqlite:///ids.db")
    assert done.returncode == 0 and detected(tmp_path / "b.png").encode() in done.stdout
    assert len(entries(tmp_path)) == 2


def test_xmp_alone(at, tmp_path):
    done = at("in.png", "-o", "out.png", "--message", MESSAGE, "--xmp", "--json")
    assert (done.returncode, rows(done.stdout)[0]["manifest_id"]) == (0, None)
    data = (tmp_path / "out.png").read_bytes()
    assert xmp.read(metadata_of(data).xmp).digital_source_type == "trainedAlgorithmicMedia"
    assert read(data) is None and entries(tmp_path) == []


def test_a_soft_binding_of_ones_own_name(at, tmp_path):
    options = ("--message", MESSAGE, *SIGN, "--soft-binding", "com.example.mark")
    assert at("in.png", "-o", "out.png", *options).returncode == 0
    credential = read((tmp_path / "out.png").read_bytes())
    assert [name for name, _ in credential.soft_bindings] == ["com.example.mark"]


def test_stdin_and_stdout(at, tmp_path):
    data = (tmp_path / "in.png").read_bytes()
    options = ("--format", "png", "--registry", "ids.db", *SIGN, "--action", "altered", "--json")
    done = at("-", "-o", "-", *options, input=data)
    assert done.returncode == 0, done.stderr.decode()
    (entry,) = entries(tmp_path)
    assert entry.sha256 == hashlib.sha256(done.stdout).hexdigest() and detected(done.stdout) == entry.id
    assert rows(done.stderr)[0]["manifest_id"] == entry.manifest_id
    assert b"parentOf" in done.stdout


@pytest.mark.skipif(not Path("/dev/fd").exists() or shutil.which("bash") is None, reason="no bash here")
def test_a_pipe_that_is_named_is_read_once(at, tmp_path):
    start = shlex.join([sys.executable, "-m", "fastmark"])
    shell = ["bash", "-c"]
    options = "-o out.png --key our.key --registry ids.db --sign chain.pem --sign-key signer.key"
    embed = f"{start} embed <(cat in.png) {options} --action altered"
    done = subprocess.run([*shell, embed], cwd=tmp_path, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr.decode()
    detect = f"{start} detect <(cat out.png) --key our.key --json"
    done = subprocess.run([*shell, detect], cwd=tmp_path, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr.decode()
    (row,) = rows(done.stdout)
    assert row["message"] == entries(tmp_path)[0].id and row["agree"] is True


def test_a_write_that_fails_leaves_the_id_reserved(at, tmp_path):
    if not Path("/dev/full").exists():
        pytest.skip("no full device here")
    with Path("/dev/full").open("wb") as full:
        done = at("in.png", "-o", "-", "--format", "png", "--registry", "ids.db", stdout=full)
    assert done.returncode == 2 and b"internal error" not in done.stderr
    assert [entry.state for entry in entries(tmp_path)] == ["reserved"]


# ---- refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b'{"colour": "red"}', "a record has no colour: it has provider,"),
        (b"provider = x", "the record bad.json is not JSON: write an object such as"),
        (b"\xff\xfe\x00", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b'["provider"]', "the record bad.json must be one JSON object, not a list"),
        (b'{"provider": "' + b"x" * 201 + b'"}', "provider of a record must have at most 200 characters"),
        (b'{"policy": "never"}', "policy of a record must be one of none, no-training"),
        (b'{"expires": "2031-01-01"}', "is no time with its zone"),
        (None, "the record bad.json cannot be read"),
    ],
)
def test_bad_records(at, tmp_path, content, says):
    if content is not None:
        (tmp_path / "bad.json").write_bytes(content)
    done = at("in.png", "-o", "out.png", "--registry", "ids.db", "--record", "bad.json")
    assert_refused(done, says)
    assert not (tmp_path / "out.png").exists() and entries(tmp_path) == []


def test_options_that_do_not_go_together(at, tmp_path):
    def refused(options, *says):
        done = at("in.png", "-o", "out.png", "--message", MESSAGE, *options)
        assert_refused(done, *says)
        assert not (tmp_path / "out.png").exists()

    refused(("--sign", "chain.pem"), "--sign needs --sign-key")
    refused(("--sign-key", "signer.key"), "--sign-key goes with --sign")
    refused(("--tsa", "http://tsa.example"), "--tsa goes with --sign")
    refused(("--soft-binding", "com.x"), "--soft-binding goes with --sign")
    refused(("--owner", "Ada"), "a record is written nowhere: add --registry, --xmp or --sign")
    refused(("--registry", "none.db"), "not initialised: run 'fastmark registry init --registry")
    refused(("--registry", "mysql://x:hidden@y/z"), "a registry cannot be at mysql")
    refused(("--registry", "ids.db", "--provider", "a\nb"), "no line breaks")
    refused(("--sign", "none.pem", "--sign-key", "signer.key"), "none.pem")
    refused(("--sign", "chain.pem", "--sign-key", "chain.pem"), "private key")
    refused((*SIGN, "--soft-binding", "a b"), "soft")


def test_what_cannot_be_signed_is_refused_before_the_work(at, tmp_path):
    for name in ("out.bmp", "out.ppm"):
        done = at("in.png", "-o", name, "--registry", "ids.db", *SIGN)
        assert_refused(done, "has no place for content credentials: write JPEG, PNG")
        assert not (tmp_path / name).exists() and entries(tmp_path) == []
    done = at("in.png", "-o", "out.bmp", "--message", MESSAGE, "--xmp")
    assert done.returncode == 0 and b"warning: the XMP had no place in the BMP file" in done.stderr


def test_an_expired_chain_is_refused(at, tmp_path):
    old = certificates.make(days=(-30, -1))
    write(tmp_path / "old.pem", old.chain)
    write(tmp_path / "old.key", old.key)
    done = at("in.png", "-o", "o.png", "--registry", "ids.db", "--sign", "old.pem", "--sign-key", "old.key")
    assert_refused(done, "certificate", "expired")
    assert not (tmp_path / "o.png").exists() and entries(tmp_path) == []


def test_secrets_are_in_no_output(at, tmp_path, made):
    secret = made.key.decode()
    inside = secret.splitlines()[1]
    env = {"SIGNER": secret, "BROKEN": secret[:60]}
    sign = ("--sign", "chain.pem", "--sign-key")
    done = at("in.png", "-o", "o.png", "--message", MESSAGE, *sign, "env:SIGNER", "--json", env=env)
    assert done.returncode == 0 and read((tmp_path / "o.png").read_bytes()).state == "valid"
    broken = at("in.png", "-o", "p.png", "--message", MESSAGE, *sign, "env:BROKEN", env=env)
    assert_refused(broken)
    absent = at("in.png", "-o", "p.png", "--message", MESSAGE, *sign, "env:NOT_THERE")
    assert_refused(absent, "NOT_THERE")
    away = "postgresql://user:hidden%20word@127.0.0.1:1/ids"
    told = at("in.png", "-o", "p.png", "--registry", away)
    assert_refused(told, "postgresql://user:***@127.0.0.1:1/ids", "cannot be reached")
    write(tmp_path / "in" / "a.jpg", jpeg(200, 260))
    many = at("in", "-o", "out", "--registry", away)
    assert_refused(many, "cannot be reached")
    assert not (tmp_path / "out").exists()
    for one in (done, broken, told, many):
        output = (one.stdout + one.stderr).decode()
        assert inside[:30] not in output and "hidden" not in output


# ---- many images -----------------------------------------------------------------------------------


def test_every_layer_of_many(at, tmp_path):
    for number in range(3):
        write(tmp_path / "in" / f"{number}.jpg", jpeg(200, 260, seed=number))
    options = ("--registry", "ids.db", "--record", "record.json", "--xmp", *SIGN, "--workers", "1")
    done = at("in", "-o", "out", *options, "--json")
    assert (done.returncode, rows(done.stdout)[0]["images"]) == (0, 3)
    table = rows((tmp_path / "out" / "manifest.jsonl").read_bytes())
    held = {entry.id: entry for entry in entries(tmp_path)}
    assert len(held) == len(table) == 3
    for row in table:
        data = (tmp_path / "out" / row["output"]).read_bytes()
        entry = held[row["message"]]
        assert entry.sha256 == hashlib.sha256(data).hexdigest() and entry.manifest_id == row["manifest_id"]
        assert detected(data) == entry.id and read(data) is not None
    # other options are refused by their name
    changed = at("in", "-o", "out", *options, "--owner", "Grace H.")
    assert_refused(changed, "different settings (record)")
    assert b"Grace" not in changed.stderr
    one_id = at("in", "-o", "out2", "--registry", "ids.db", "--message", MESSAGE)
    assert_refused(one_id, "every image has an id of its own")


def test_messages_of_many(at, tmp_path):
    for number in range(2):
        write(tmp_path / "in" / f"{number}.jpg", jpeg(200, 260, seed=number))
    (tmp_path / "ids.txt").write_text(f"{MESSAGE}\n{'0' * 16}\n")
    done = at("in", "-o", "out", "--registry", "ids.db", "--messages", "ids.txt", "--workers", "1")
    assert done.returncode == 0, done.stderr.decode()
    assert {entry.id for entry in entries(tmp_path)} == {MESSAGE, "0" * 16}
    assert detected(tmp_path / "out" / "0.jpg") == MESSAGE
    assert_refused(at("in", "-o", "out3"), "no message", "--messages for many images")
