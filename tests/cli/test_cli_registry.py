"""``fastmark registry``, as people run it."""

import json
import os
import stat

import pytest
from commands import assert_refused, rows, run

pytest.importorskip("sqlalchemy")
pytest.importorskip("alembic")

from fastmark.records import Record
from fastmark.registry.store import Registry

KEY = "0123456789abcdef"
OWNER = "the owner"


@pytest.fixture
def folder(tmp_path):
    """A folder with a registry of the default's name: one id is reserved, one delivered."""
    registry = Registry(f"sqlite:///{tmp_path}/fastmark-registry.db")
    registry.init()
    record = Record(provider="Provider", system="System", owner=OWNER, policy="no-training")
    registry.reserve(record, key_id=KEY, message=bytes(8))
    delivered = registry.reserve(record, key_id=KEY, message=bytes(range(8)))
    registry.complete(delivered, width=640, height=480, sha256="ab" * 32)
    registry.close()
    return tmp_path


DELIVERED, RESERVED = "0001020304050607", "0" * 16


def at(folder, *arguments, **options):
    return run("registry", *arguments, cwd=folder, **options)


def test_a_registry_is_made_and_made_again(tmp_path):
    for place in ((), ("--registry", "other.db"), ("--registry", "sqlite:///third.db")):
        for _ in range(2):
            done = at(tmp_path, "init", *place)
            assert (done.returncode, done.stderr) == (0, b"")
            assert done.stdout.startswith(b"sqlite:///") and done.stdout.endswith(b".db: ready, 0 entries\n")
    names = {path.name for path in tmp_path.iterdir() if path.suffix == ".db"}
    assert names == {"fastmark-registry.db", "other.db", "third.db"}


def test_the_variable_names_the_registry(tmp_path):
    env = {"FASTMARK_REGISTRY": "of-the-variable.db"}
    assert at(tmp_path, "init", env=env).returncode == 0
    assert at(tmp_path, "init", "--registry", "of-the-option.db", env=env).returncode == 0
    assert (tmp_path / "of-the-variable.db").exists() and (tmp_path / "of-the-option.db").exists()
    assert not (tmp_path / "fastmark-registry.db").exists()


def test_show_tells_what_anybody_may_see(folder):
    done = at(folder, "show", DELIVERED)
    assert (done.returncode, done.stderr) == (0, b"")
    lines = done.stdout.decode().splitlines()
    assert lines[:3] == [f"id: {DELIVERED}", "provider: Provider", "system: System"]
    assert [line.partition(":")[0] for line in lines] == ["id", "provider", "system", "created_at", "action"]
    (row,) = rows(at(folder, "show", DELIVERED.upper(), "--json").stdout)
    assert set(row) == {"schema", "id", "provider", "system", "system_version", "created_at", "action"}


def test_show_private_tells_everything(folder):
    done = at(folder, "show", DELIVERED, "--private")
    assert done.returncode == 0
    for line in (
        f"owner: {OWNER}",
        "state: delivered",
        "policy: no-training",
        "width: 640",
        f"key_id: {KEY}",
    ):
        assert line in done.stdout.decode().splitlines()
    (row,) = rows(at(folder, "show", RESERVED, "--private", "--json").stdout)
    assert (row["state"], row["record"]["owner"], row["sha256"]) == ("reserved", OWNER, None)


def test_ids_that_stand_for_no_image_are_not_found(folder):
    for name in (RESERVED, "f" * 16, "f" * 32):
        done = at(folder, "show", name)
        assert (done.returncode, done.stdout) == (1, b"")
        assert done.stderr == b"fastmark: sqlite:///fastmark-registry.db has no image with this id\n"
    assert_refused(at(folder, "show", "0x12"), "an id has 4, 8, 16, 24, 32 hex digits")


def test_export_and_import(folder):
    done = at(folder, "export")
    assert (done.returncode, done.stderr) == (0, b"")
    (public,) = rows(done.stdout)
    assert public["id"] == DELIVERED and OWNER not in done.stdout.decode()

    done = at(folder, "export", "--private", "-o", "all.jsonl")
    assert (done.returncode, done.stdout) == (0, b"all.jsonl: 2 entries\n")
    exported = (folder / "all.jsonl").read_bytes()
    assert [row["id"] for row in rows(exported)] == [RESERVED, DELIVERED]
    if os.name == "posix":
        assert stat.S_IMODE((folder / "all.jsonl").stat().st_mode) == 0o600
    assert_refused(at(folder, "export", "-o", "all.jsonl"), "exists already: add --force")
    assert (folder / "all.jsonl").read_bytes() == exported

    assert at(folder, "init", "--registry", "copy.db").returncode == 0
    done = at(folder, "import", "all.jsonl", "--registry", "copy.db")
    assert done.stdout == b"sqlite:///copy.db: 2 entries read, 2 of them new\n"
    done = at(folder, "import", "-", "--registry", "copy.db", input=exported)
    assert done.stdout == b"sqlite:///copy.db: 2 entries read, 0 of them new\n"
    assert at(folder, "export", "--private", "--registry", "copy.db").stdout == exported
    assert at(folder, "export", "--private", "-o", "all.jsonl", "--force").returncode == 0
    assert (folder / "all.jsonl").read_bytes() == exported
    assert not list(folder.glob(".*"))


def test_imports_that_do_not_fit_add_nothing(folder):
    at(folder, "init", "--registry", "copy.db")
    (folder / "public.jsonl").write_bytes(at(folder, "export").stdout)
    refused = at(folder, "import", "public.jsonl", "--registry", "copy.db")
    assert_refused(refused, "line 1: it is of a public export", "export with --private", "nothing was added")
    row = json.loads(at(folder, "show", DELIVERED, "--private", "--json").stdout)
    row["record"]["owner"] = "another"
    refused = at(folder, "import", "-", input=json.dumps(row).encode())
    assert_refused(refused, f"line 1 (id {DELIVERED})")
    assert_refused(at(folder, "import", "none.jsonl"), "there is no such file")
    assert_refused(at(folder, "import", "."), "cannot be read")


def test_registries_that_cannot_be_used(tmp_path):
    for action in (("show", DELIVERED), ("export",), ("export", "-o", "out.jsonl"), ("import", "-")):
        refused = at(tmp_path, *action, input=b"")
        assert_refused(
            refused, "is not initialised: run 'fastmark registry init --registry sqlite:///fastmark-reg"
        )
    secret = "hunter2-%40secret"
    for url, says in (
        (f"mysql://me:{secret}@host/db", "a registry cannot be at mysql"),
        (f"postgresql://me:{secret}@host:x/db", "is not in order"),
        (f"postgresql://me:{secret}@127.0.0.1:1/db", "postgresql://me:***@127.0.0.1:1/db cannot be reached"),
    ):
        refused = at(tmp_path, "init", env={"FASTMARK_REGISTRY": url})
        assert_refused(refused, says)
        assert b"hunter2" not in refused.stderr
    assert list(tmp_path.iterdir()) == []


def test_bad_uses_are_refused(folder):
    assert_refused(at(folder), "ACTION")
    assert_refused(at(folder, "init", "--timeout", "0"), "must be a number of seconds above 0")
    assert_refused(at(folder, "export", "--force"), "--force replaces a file")
    assert_refused(at(folder, "export", "-o", "none/out.jsonl"), "cannot be written")


def test_other_verbs_import_no_package_of_the_registry():
    code = (
        "import sys; from fastmark.cli.options import make_parser; make_parser(); import fastmark, numpy;"
        "fastmark.Watermarker(fastmark.Key(bytes(32)));"
        "print(sorted({'sqlalchemy', 'alembic', 'imagehash', 'psycopg'} & set(sys.modules)))"
    )
    import subprocess
    import sys

    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True).stdout == b"[]\n"
