"""Registries that cannot be used: one line each, which says what to do and never tells the password."""

import contextlib
import logging
import os
import pickle
import signal
import socket
import sqlite3
import sys
import threading
import time
import traceback

import pytest
from postgresql import PASSWORD

from fastmark.errors import MissingPackageError, RegistryError
from fastmark.records import Record
from fastmark.registry.places import find_place
from fastmark.registry.store import Registry

KEY = "0123456789abcdef"
SECRET = "hunter2-%40secret"
OURS = "application_name = 'fastmark' AND datname = current_database()"


def refused(use, *says):
    """Call ``use``; it raises a RegistryError of one line that says all of ``says``; returns the line."""
    with pytest.raises(RegistryError) as caught:
        use()
    text = str(caught.value)
    assert "\n" not in text and text == " ".join(text.split())
    for words in says:
        assert words in text
    whole = "".join(traceback.format_exception(caught.value))
    for secret in (SECRET, "hunter2-@secret", PASSWORD, PASSWORD.replace("%2F", "/")):
        assert secret not in whole
    return text


@pytest.fixture
def silent():
    """The port of a server that accepts connections and never answers."""
    with socket.socket() as listening, contextlib.ExitStack() as accepted:
        listening.bind(("127.0.0.1", 0))
        listening.listen()

        def accept():
            with contextlib.suppress(OSError):
                while True:
                    accepted.enter_context(listening.accept()[0])

        threading.Thread(target=accept, daemon=True).start()
        yield listening.getsockname()[1]


# ---- URLs ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "says"),
    [
        (
            "mysql://me:" + SECRET + "@host/db",
            "cannot be at mysql: it can be at sqlite:///FILE and postgresql://",
        ),
        ("postgresql+asyncpg://me:" + SECRET + "@host/db", "cannot be at postgresql+asyncpg"),
        ("registry.txt", "cannot be at such a text"),
        ("", "cannot be at such a text"),
        (SECRET + "://host", "cannot be at such a text"),
        ("sqlite://", "a registry in SQLite is a file"),
        ("sqlite:///:memory:", "a registry in SQLite is a file"),
        ("sqlite://registry.db", "a registry in SQLite is a file"),
        ("sqlite:///registry.db?mode=ro", "takes no parameters"),
        ("postgresql://me:hunter2-@secret@host/db", "in the password as %40"),
        ("postgresql://me:hunter2-/@secret@host/db", "in the password as %40"),
        ("postgresql://me:" + SECRET + "@host:port/db", "is not in order"),
        ("postgresql://me:" + SECRET + "@host/db?password", "is not in order"),
    ],
)
def test_urls_that_are_none(url, says):
    text = refused(lambda: Registry(url), says)
    assert "hunter2" not in text


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), 1e9])
def test_timeouts_that_are_none(timeout):
    with pytest.raises(ValueError, match="timeout"):
        Registry(timeout=timeout)


def test_names_of_places_have_no_password():
    for url, name in (
        ("postgresql://me:" + SECRET + "@host:5433/db", "postgresql://me:***@host:5433/db"),
        ("postgres://me:" + SECRET + "@host/db?sslmode=require", "postgresql://me:***@host/db"),
        ("postgresql+psycopg://me@host/db?password=" + SECRET, "postgresql://me@host/db"),
        ("postgresql://[::1]/db", "postgresql://::1/db"),
        ("folder/registry.db", "sqlite:///folder/registry.db"),
        ("sqlite:////whole/registry", "sqlite:////whole/registry"),
    ):
        registry = Registry(url)
        assert registry.name == name
        for text in (repr(registry), str(registry), repr(find_place(url)), f"{registry!r}"):
            assert "hunter2" not in text
        assert pickle.loads(pickle.dumps(registry)).url == url
    assert find_place("postgresql://me@host/db").url == "postgresql+psycopg://me@host/db"
    assert "hunter2" not in find_place("postgresql://me:" + SECRET + "@h/d").hide("not hunter2-@secret,\n no")


# ---- SQLite ----------------------------------------------------------------------------------------------


def test_files_that_are_no_registry(tmp_path):
    (tmp_path / "text.db").write_text("a text, and no database of SQLite at all" * 100)
    refused(Registry(f"{tmp_path}/text.db").count, "text.db is no registry", "name another file")
    refused(Registry(f"{tmp_path}/text.db").init, "text.db is no registry")
    (tmp_path / "folder.db").mkdir()
    refused(Registry(f"{tmp_path}/folder.db").count, "cannot be opened", "is it a file")
    refused(Registry(f"{tmp_path}/folder.db").init, "cannot be opened", "is it a file")
    refused(Registry(f"{tmp_path}/none/some.db").init, "there is no such folder")
    with contextlib.closing(sqlite3.connect(tmp_path / "other.db")) as other:
        other.execute("CREATE TABLE others (id INTEGER)")
    refused(Registry(f"{tmp_path}/other.db").count, "is not initialised")
    Registry(f"{tmp_path}/other.db").init()  # beside what is there
    assert Registry(f"{tmp_path}/other.db").count() == 0


def test_a_registry_that_is_locked_by_another_is_waited_for_and_told(tmp_path):
    url = f"sqlite:///{tmp_path}/registry.db"
    Registry(url).init()
    registry = Registry(url, timeout=0.3)
    with contextlib.closing(sqlite3.connect(tmp_path / "registry.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        refused(
            lambda: registry.reserve(Record(), key_id=KEY), "did not answer within 0.3 seconds: try again"
        )
        refused(registry.init, "did not answer within 0.3 seconds")
        assert registry.count() == 0  # reading does not wait
        other.execute("ROLLBACK")
    registry.reserve(Record(), key_id=KEY)


def test_private_values_are_in_no_error(tmp_path):
    registry = Registry(f"sqlite:///{tmp_path}/registry.db")
    registry.init()
    registry.reserve(Record(), key_id=KEY)
    with contextlib.closing(sqlite3.connect(tmp_path / "registry.db")) as other:
        other.execute("DROP TABLE fastmark_entries")
    owner = " ".join(("a", "private", "owner"))  # not a line of this file that a traceback shows
    with pytest.raises(RegistryError, match="no such table") as caught:
        registry.reserve(Record(owner=owner), key_id=KEY)
    assert owner not in "".join(traceback.format_exception(caught.value))


# ---- PostgreSQL ------------------------------------------------------------------------------------------


def test_a_server_that_is_not_there():
    pytest.importorskip("psycopg")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    registry = Registry(f"postgresql://me:{SECRET}@127.0.0.1:{port}/db")
    refused(
        registry.count, f"postgresql://me:***@127.0.0.1:{port}/db cannot be reached", "is the server running"
    )
    refused(registry.init, "cannot be reached")


def test_a_server_that_never_answers(silent):
    pytest.importorskip("psycopg")
    registry = Registry(f"postgresql://me:{SECRET}@127.0.0.1:{silent}/db", timeout=1)
    start = time.monotonic()
    refused(registry.count, "did not answer within 1 seconds")
    assert time.monotonic() - start < 60


def test_passwords_users_and_databases_that_are_wrong(postgresql_url, caplog):
    caplog.set_level(logging.DEBUG)
    refused(Registry(postgresql_url.replace(PASSWORD, SECRET)).count, "password authentication failed")
    refused(Registry(postgresql_url.replace("//fastmark:", "//nobody:")).count, "cannot be reached")
    refused(Registry(postgresql_url + "_no").count, "_no cannot be reached", "does not exist")
    registry = Registry(postgresql_url)
    registry.init()
    registry.reserve(Record(), key_id=KEY)
    registry.close()
    for secret in (SECRET, PASSWORD, PASSWORD.replace("%2F", "/")):
        assert secret not in caplog.text + repr(registry)


def test_statements_that_take_too_long(postgresql_url):
    import psycopg

    Registry(postgresql_url).init()
    registry = Registry(postgresql_url, timeout=0.3)
    message = registry.reserve(Record(), key_id=KEY)
    with psycopg.connect(postgresql_url) as other:
        other.execute("LOCK TABLE fastmark_entries")
        refused(lambda: registry.release(message), "did not answer within 0.3 seconds")
        refused(registry.count, "did not answer within 0.3 seconds")
    registry.release(message)


def test_a_server_that_stops_answering(postgresql_url):
    import psycopg

    Registry(postgresql_url).init()
    registry = Registry(postgresql_url, timeout=0.3)
    registry.check()  # leaves a connection in the pool, of a process of the server
    with psycopg.connect(postgresql_url) as other:
        query = f"SELECT pid FROM pg_stat_activity WHERE {OURS}"
        pids = [row[0] for row in other.execute(query)]
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
    except PermissionError:
        pytest.skip("the server is another user's")
    try:
        refused(registry.count, "did not answer within 0.3 seconds")
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    assert registry.count() == 0


def test_a_restart_of_the_server_is_not_noticed(postgresql_url):
    import psycopg

    registry = Registry(postgresql_url)
    registry.init()
    registry.check()
    with psycopg.connect(postgresql_url, autocommit=True) as other:
        query = f"SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE {OURS}"
        assert other.execute(query).fetchone()[0] >= 1
    assert registry.count() == 0


# ---- packages --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("package", "extra", "url"),
    [
        ("sqlalchemy", "registry", "registry.db"),
        ("alembic", "registry", "registry.db"),
        ("psycopg", "postgresql", "postgresql://localhost/db"),
    ],
)
def test_packages_that_are_missing(tmp_path, monkeypatch, package, extra, url):
    monkeypatch.chdir(tmp_path)
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingPackageError, match=rf"needs {package}: pip install '.*\[{extra}\]'"):
        Registry(url).init()
    assert list(tmp_path.iterdir()) == []
