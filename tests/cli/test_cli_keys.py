"""Keys and messages on the command line: ``fastmark keygen``, and what is taken for either or refused."""

from __future__ import annotations

import json

import pytest
from commands import MESSAGE, assert_refused, rows, run
from image_commands import DETECT_COLUMNS, Bench, make_bench

from fastmark import DetectorKey, Key
from fastmark._checks import parse_message
from fastmark.errors import InvalidMessageError


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return make_bench(tmp_path_factory.mktemp("bench"))


# ---- message ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "bits", "value"),
    [
        ("0123456789abcdef", 64, 0x0123456789ABCDEF),
        ("FFFFFFFFFFFFFFFF", 64, 2**64 - 1),
        ("0x1f", 64, 0x1F),
        ("0X0", 16, 0),
        ("beef", 16, 0xBEEF),
        ("00" * 12, 96, 0),
        ("f" * 32, 128, 2**128 - 1),
    ],
)
def test_messages(text, bits, value):
    assert parse_message(text, bits) == value.to_bytes(bits // 8, "big")


@pytest.mark.parametrize(
    ("text", "bits", "says"),
    [
        ("", 64, "hexadecimal"),
        ("0x", 64, "hexadecimal"),
        ("-1", 64, "hexadecimal"),
        ("12_4", 16, "hexadecimal"),
        ("١٢٣٤", 16, "hexadecimal"),  # digits to str.isdigit
        ("hello, world 123", 64, "hexadecimal"),
        ("1f", 64, "write 0x1f"),
        ("10000", 16, "5 hex digits"),
        ("0x00000", 16, "5 hex digits"),
    ],
)
def test_messages_refused(text, bits, says):
    with pytest.raises(InvalidMessageError, match=says):
        parse_message(text, bits)


# ---- keys ------------------------------------------------------------------------------------------


def test_keygen(tmp_path):
    path = tmp_path / "my.key"
    done = run("keygen", "-o", path, "--name", "mine")
    assert (done.returncode, done.stderr) == (0, b"")
    key = Key.load(path)
    assert key.name == "mine"
    assert f"{key.id} (mine)" in done.stdout.decode()
    assert key.secret.hex() not in done.stdout.decode()
    assert path.stat().st_mode & 0o777 == 0o600

    text = path.read_text()
    assert_refused(run("keygen", "-o", path), "my.key", "exists already")
    assert path.read_text() == text
    assert list(tmp_path.iterdir()) == [path]


def test_keygen_has_names_of_its_own_for_files(tmp_path):
    assert run("keygen", cwd=tmp_path).stdout.startswith(b"fastmark.key: key ")
    done = run("keygen", "--detector-of", "fastmark.key", cwd=tmp_path)
    assert done.stdout.startswith(b"fastmark-detector.key: detector key ")
    assert {path.name for path in tmp_path.iterdir()} == {"fastmark.key", "fastmark-detector.key"}
    for arguments in ((), ("--detector-of", "fastmark.key")):
        assert_refused(run("keygen", *arguments, cwd=tmp_path), "exists already")


def test_keygen_makes_detector_keys(bench, tmp_path):
    key, path = Key.load(bench.key), tmp_path / "check.key"
    done = run("keygen", "--detector-of", bench.key, "-o", path, "--name", "the museum")
    assert (done.returncode, done.stderr) == (0, b"")
    made = DetectorKey.load(path)
    assert (made, made.name) == (key.detector_key(), "the museum")
    line = f"{path}: detector key {made.id} (the museum) of key {key.id}; it detects, and embeds nothing\n"
    assert done.stdout.decode() == line
    text = bench.key.read_text()
    done = run("keygen", "--detector-of", "env:KEY", "-o", "-", env={"KEY": text})
    assert (done.returncode, DetectorKey.from_text(done.stdout.decode())) == (0, made)
    assert key.secret.hex() not in path.read_text() + done.stdout.decode()
    for source, says in (
        (path, "check.key: this is a detector key, which only detects"),
        (bench.plain, "not a fastmark key file"),
        (tmp_path / "no.key", "no such file"),
    ):
        assert_refused(run("keygen", "--detector-of", source, "-o", tmp_path / "other.key"), says)
    assert_refused(run("keygen", "--detector-of", bench.key, "-o", path), "exists already")
    assert list(tmp_path.iterdir()) == [path]


def test_a_detector_key_detects_and_does_not_embed(bench, tmp_path):
    key, path = Key.load(bench.key), tmp_path / "check.key"
    key.detector_key("the museum").save(path)
    done = run("detect", bench.marked, bench.plain, "--key", path)
    assert (done.returncode, done.stderr) == (0, b"")
    marked, plain = done.stdout.decode().splitlines()
    assert f"message {MESSAGE}" in marked
    assert f"key {key.id} (the museum), by a detector key" in marked
    assert "absent" in plain
    assert "by a detector key. No watermark" in plain
    (row,) = rows(run("detect", bench.marked, "--json", "--key", path).stdout)
    assert (row["key_id"], row["message"], list(row)[2:]) == (key.id, MESSAGE, DETECT_COLUMNS)
    # with the key itself at hand, the detector key adds nothing
    done = run("detect", bench.marked, "--key", path, "--key", bench.key)
    assert f"key {key.id} (ours)\n" in done.stdout.decode()
    assert "detector key" not in done.stdout.decode()
    for embed in (
        ("embed", bench.plain, "-o", tmp_path / "out.png", "--message", MESSAGE),
        ("embed", bench.plain, bench.marked, "-o", tmp_path / "out", "--messages", "counter"),
    ):
        done = run(*embed, "--key", path)
        assert_refused(
            done, "check.key: this is a detector key, which only detects: embed with the secret key"
        )
    for verb in (("detect", path), ("scan", path, "-o", "-")):
        assert_refused(run(*verb, "--key", path), "is a fastmark key file, not an image")
    assert list(tmp_path.iterdir()) == [path]


def test_key_from_stdout_to_the_environment(bench):
    text = run("keygen", "-o", "-").stdout.decode()
    key = Key.from_text(text)
    done = run("detect", bench.plain, "--key", "env:THE_KEY", "--json", env={"THE_KEY": text})
    assert (done.returncode, done.stderr) == (1, b"")
    assert rows(done.stdout)[0]["key_id"] == key.id


def test_keys_refused(bench, tmp_path):
    damaged = tmp_path / "damaged.key"
    fields = json.loads(bench.key.read_text())
    fields["secret"] = fields["secret"][:-1] + ("0" if fields["secret"][-1] != "0" else "1")
    damaged.write_text(json.dumps(fields))
    environment = {"EMPTY": "", "DAMAGED": damaged.read_text()}
    for key, says in (
        (damaged, "damaged"),
        (bench.plain, "not a fastmark key file"),
        (tmp_path, "cannot read"),
        (tmp_path / "no.key", "no.key: no such file; make one"),
        ("env:NOWHERE", "NOWHERE is not set"),
        ("env:EMPTY", "env:EMPTY: this is not a fastmark key file"),
        ("env:DAMAGED", "damaged"),
    ):
        done = run("detect", bench.plain, "--key", key, env=environment)
        assert_refused(done, says)
        assert fields["secret"][2:66] not in done.stderr.decode()
