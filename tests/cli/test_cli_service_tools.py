"""``fastmark token``, ``report-key`` and ``verify-report``, as people run them."""

import pytest
from commands import assert_refused, rows, run

pytest.importorskip("limits", reason="the extra serve is not installed")

from fastmark.service.tokens import RIGHTS, Tokens

# ---- tokens ----------------------------------------------------------------------------------------------


def token(folder, *arguments, **options):
    return run("token", *arguments, cwd=folder, **options)


def test_the_secret_of_a_token_is_printed_once_and_alone(tmp_path):
    done = token(tmp_path, "add", "newsroom", "--rights", "detect, scores", "--rate", "none")
    assert done.returncode == 0
    secret = done.stdout.decode()
    assert secret.endswith("\n") and secret.count("\n") == 1
    found = Tokens(tmp_path / "fastmark-tokens.json").find(secret.strip())
    assert (found.name, found.rights, found.rate) == ("newsroom", {"detect", "scores"}, "none")
    assert secret.strip().encode() not in done.stderr and b"cannot be shown again" in done.stderr
    assert token(tmp_path, "add", "server", "--rights", "embed").returncode == 0

    listed = token(tmp_path, "list")
    lines = listed.stdout.decode().splitlines()
    assert (listed.returncode, listed.stderr, len(lines)) == (0, b"", 2)
    assert lines[0].startswith("newsroom: detect, scores; no limit; made 20")
    assert lines[1].startswith("server: embed; the service's rate; made 20")
    read = rows(token(tmp_path, "list", "--json").stdout)
    assert [(row["name"], row["rights"], row["rate"]) for row in read] == [
        ("newsroom", ["detect", "scores"], "none"),
        ("server", ["embed"], None),
    ]
    assert set(read[0]) == {"schema", "name", "rights", "rate", "created_at"}

    gone = token(tmp_path, "revoke", "newsroom")
    assert (gone.returncode, gone.stdout, gone.stderr) == (0, b"newsroom: revoked\n", b"")
    assert [row["name"] for row in rows(token(tmp_path, "list", "--json").stdout)] == ["server"]
    assert_refused(token(tmp_path, "revoke", "newsroom"), "no token named 'newsroom'")


def test_the_variable_names_the_file_of_tokens(tmp_path):
    env = {"FASTMARK_TOKENS": "of-the-variable.json"}
    assert token(tmp_path, "add", "a", "--rights", "detect", env=env).returncode == 0
    done = token(tmp_path, "add", "a", "--rights", "detect", "--tokens", "of-the-option.json", env=env)
    assert done.returncode == 0
    names = {path.name for path in tmp_path.glob("*.json")}
    assert names == {"of-the-variable.json", "of-the-option.json"}


def test_tokens_that_are_refused(tmp_path):
    assert_refused(token(tmp_path, "add", "a"), "--rights")
    assert_refused(token(tmp_path, "add", "a", "--rights", "all"), "must be at least one of", *RIGHTS)
    assert_refused(token(tmp_path, "add", "a b", "--rights", "detect"), "cannot be the name")
    assert_refused(token(tmp_path, "add", "a", "--rights", "detect", "--rate", "often"), "600/minute")
    (tmp_path / "fastmark-tokens.json").write_text("{")
    for arguments in (("list",), ("revoke", "a"), ("add", "a", "--rights", "detect")):
        assert_refused(token(tmp_path, *arguments), "damaged")


def test_help_names_every_right():
    told = run("token", "add", "--help").stdout.decode()
    assert all(f"{right} (" in " ".join(told.split()) for right in RIGHTS)
