"""The file of tokens: secrets are nowhere in it, changes are followed at once, and doubt accepts nobody."""

import hashlib
import json
import logging
import os
import stat
import subprocess
import sys

import pytest

pytest.importorskip("limits", reason="the extra serve is not installed")

from fastmark.errors import ServiceError
from fastmark.service.tokens import RIGHTS, UNLIMITED, Tokens


@pytest.fixture
def path(tmp_path):
    return tmp_path / "tokens.json"


@pytest.fixture
def tokens(path):
    return Tokens(path)


def test_a_token_is_found_by_its_secret_alone(tokens, path):
    secret = tokens.add("newsroom", ("detect", "scores"), UNLIMITED)
    other = tokens.add("server", ["embed"])
    found = tokens.find(secret)
    assert (found.name, found.rights, found.rate) == ("newsroom", {"detect", "scores"}, "none")
    assert (tokens.find(other).name, tokens.find(other).rate) == ("server", None)
    digest = hashlib.sha256(secret.encode()).hexdigest()
    for wrong in (
        "",
        "fm_",
        secret[:-1],
        secret + "A",
        secret.upper(),
        digest,
        "newsroom",
        "é" * 46,
        "a" * 10**6,
    ):
        assert tokens.find(wrong) is None
    assert [token.name for token in Tokens(path).list()] == ["newsroom", "server"]
    assert Tokens(path).find(secret) == found


def test_secrets_have_256_bits_and_are_kept_nowhere(tokens, path, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    made = {tokens.add(f"n{i}", RIGHTS) for i in range(20)}
    assert len(made) == 20
    for secret in made:
        assert secret.startswith("fm_") and len(secret) == 3 + 43  # base64url of 32 bytes
        tokens.find(secret)
    kept = "".join(file.read_text() for file in tmp_path.iterdir()) + caplog.text + repr(tokens)
    kept += repr([*tokens.list()]) + str(vars(tokens))
    assert not any(secret[3:] in kept for secret in made)
    if os.name == "posix":
        assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in tmp_path.iterdir())


def test_a_running_service_follows_changes(path):
    running = Tokens(path)  # there is no file yet
    assert running.find("fm_" + "A" * 43) is None and running.list() == ()
    tool = Tokens(path)
    first, second = tool.add("first", ["detect"]), tool.add("second", ["detect"])
    assert running.find(first).name == "first" and running.find(second).name == "second"
    tool.revoke("first")
    assert running.find(first) is None and running.find(second).name == "second"
    again = tool.add("first", ["embed"])
    assert running.find(first) is None and running.find(again).rights == {"embed"}


def test_the_file_is_read_only_when_it_changes(tokens, path, monkeypatch):
    secret = tokens.add("first", ["detect"])
    assert tokens.find(secret)
    monkeypatch.setattr(json, "loads", lambda _: pytest.fail("read again"))
    for _ in range(3):
        assert tokens.find(secret) and tokens.find("fm_") is None


DAMAGED = (
    "", "{", "[]", "null", '{"version": 2, "tokens": []}', '{"version": 1}', '{"version": 1, "tokens": 5}',
    '{"version": 1, "tokens": [{"name": "a"}]}', "[" * 100_000,
)  # fmt: skip


@pytest.mark.parametrize("text", DAMAGED)
def test_a_damaged_file_accepts_nobody(tokens, path, caplog, text):
    secret = tokens.add("first", ["detect"])
    good = path.read_bytes()
    assert tokens.find(secret)
    path.write_text(text)
    for _ in range(3):
        assert tokens.find(secret) is None
    (warning,) = caplog.records
    assert (warning.name, warning.levelname) == ("fastmark.service", "WARNING")
    assert "no token is accepted" in warning.getMessage() and "damaged" in warning.getMessage()
    for refused in (lambda: Tokens(path), tokens.list, lambda: tokens.revoke("first"),
                    lambda: tokens.add("second", ["detect"])):  # fmt: skip
        with pytest.raises(ServiceError, match="damaged"):
            refused()
    assert path.read_text() == text  # nothing is made of it
    path.write_bytes(good)
    assert tokens.find(secret)
    assert "accepted again" in caplog.records[-1].getMessage() and len(caplog.records) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"rights": []}, {"rights": ["detect", "all"]}, {"rights": "detect"}, {"rights": [["detect"]]},
        {"rate": "often"}, {"rate": 5}, {"rate": "0/minute"}, {"sha256": "A" * 64}, {"sha256": None},
        {"name": ""}, {"name": "a b"}, {"name": 5}, {"created_at": "yesterday"}, {"created_at": 5},
    ],
)  # fmt: skip
def test_a_file_with_one_wrong_value_accepts_nobody(tokens, path, change):
    secret = tokens.add("first", ["detect"])
    tokens.add("second", ["detect"])
    read = json.loads(path.read_bytes())
    read["tokens"][1] |= change
    path.write_text(json.dumps(read))
    assert tokens.find(secret) is None
    with pytest.raises(ServiceError, match="damaged"):
        Tokens(path)


def test_a_file_with_a_name_or_hash_twice_accepts_nobody(tokens, path):
    secret = tokens.add("first", ["detect"])
    read = json.loads(path.read_bytes())
    (row,) = read["tokens"]
    for second in ({"name": "second"}, {"sha256": "0" * 64}):
        path.write_text(json.dumps(read | {"tokens": [row, row | second]}))
        assert tokens.find(secret) is None


def test_a_file_that_goes_accepts_nobody(tokens, path, caplog):
    secret = tokens.add("first", ["detect"])
    assert tokens.find(secret)
    moved = path.rename(path.with_name("elsewhere"))
    for _ in range(3):
        assert tokens.find(secret) is None
    (warning,) = caplog.records
    assert "is gone" in warning.getMessage()
    moved.rename(path)
    assert tokens.find(secret)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="everything may be read")
def test_a_file_that_may_not_be_read_accepts_nobody(tokens, path):
    secret = tokens.add("first", ["detect"])
    path.chmod(0)
    assert tokens.find(secret) is None
    with pytest.raises(ServiceError, match="cannot be read"):
        Tokens(path)


def test_without_a_file_there_are_no_tokens():
    for tokens in (Tokens.none(), Tokens(None)):
        assert tokens.find("fm_" + "A" * 43) is None and tokens.list() == ()
        with pytest.raises(ServiceError, match="no file"):
            tokens.add("first", ["detect"])


@pytest.mark.parametrize("name", ["", "a b", "a" * 65, "a\n", "ä", "-a", "a/b", 'a"b'])
def test_names_that_would_spoil_a_log_are_refused(tokens, path, name):
    with pytest.raises(ServiceError, match="cannot be the name"):
        tokens.add(name, ["detect"])
    assert not path.exists()


def test_a_secret_in_the_place_of_a_name_is_not_shown(tokens):
    secret = tokens.add("first", ["detect"])
    for mistaken in (tokens.revoke, lambda name: tokens.add(name, ["detect"])):
        with pytest.raises(ServiceError) as refused:
            mistaken(secret)
        assert secret not in str(refused.value) and "is a secret" in str(refused.value)


@pytest.mark.parametrize("rate", ["600/minute", "5 per second", "1/day", "10/2 hours", "none", None])
def test_rates_that_are_taken(tokens, rate):
    assert tokens.find(tokens.add("first", ["detect"], rate)).rate == rate


@pytest.mark.parametrize("rate", ["", "often", "600", "0/minute", "-1/minute", "5/minute;1/second", "None"])
def test_rates_that_are_refused(tokens, path, rate):
    with pytest.raises(ServiceError, match="like 600/minute"):
        tokens.add("first", ["detect"], rate)
    assert not path.exists()


@pytest.mark.parametrize("rights", [[], [""], ["detect", "everything"], "detect"])
def test_rights_that_are_refused(tokens, path, rights):
    with pytest.raises(ServiceError, match="must be at least one of detect, scores, embed, private, metrics"):
        tokens.add("first", rights)
    assert not path.exists()


def test_names_are_given_once_and_revoked_once(tokens, path, tmp_path):
    tokens.add("first", ["detect"])
    before = path.read_bytes()
    with pytest.raises(ServiceError, match="already"):
        tokens.add("first", ["embed"])
    assert path.read_bytes() == before
    tokens.revoke("first")
    with pytest.raises(ServiceError, match="no token named"):
        tokens.revoke("first")
    with pytest.raises(ServiceError, match="no file"):
        Tokens(tmp_path / "other.json").revoke("first")
    with pytest.raises(ServiceError, match="cannot be written"):
        Tokens(tmp_path / "nowhere" / "tokens.json").add("first", ["detect"])


ADDING = """
import sys
from fastmark.service.tokens import Tokens
tokens = Tokens(sys.argv[1])
print("ready", flush=True)
sys.stdin.read()
for i in range(15):
    print(tokens.add(f"{sys.argv[2]}-{i}", ["detect"]))
"""


def test_processes_that_add_at_once_lose_nothing(path):
    started = [
        subprocess.Popen(
            [sys.executable, "-c", ADDING, str(path), f"p{i}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for i in range(3)
    ]
    for process in started:
        assert process.stdout.readline() == "ready\n"
    for process in started:
        process.stdin.close()
    made = []
    for process in started:
        with process:
            made += process.stdout.read().split()
        assert process.returncode == 0
    tokens = Tokens(path)
    assert len(made) == len(tokens.list()) == 45
    assert {tokens.find(secret).name for secret in made} == {f"p{i}-{j}" for i in range(3) for j in range(15)}


def test_a_process_that_was_killed_holds_nobody_up(tokens, path):
    holding = (
        "import sys, time; from pathlib import Path; from fastmark.service.files import alone\n"
        "with alone(Path(sys.argv[1])): print('has it', flush=True); time.sleep(60)"
    )
    lock = path.with_name(f".{path.name}.lock")
    with subprocess.Popen([sys.executable, "-c", holding, str(lock)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"has it\n"
        holder.kill()
    assert tokens.find(tokens.add("first", ["detect"]))


def test_a_lock_that_is_held_is_told(tokens, path, monkeypatch):
    from fastmark.service import files

    monkeypatch.setattr(files, "_PATIENCE_S", 0.05)
    with (
        files.alone(path.with_name(f".{path.name}.lock")),
        pytest.raises(ServiceError, match="another process"),
    ):
        tokens.add("first", ["detect"])
    assert not path.exists() and tokens.add("first", ["detect"])
