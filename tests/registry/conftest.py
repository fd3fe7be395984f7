"""Registries of both kinds: in SQLite, and in a PostgreSQL that runs while the tests do."""

import subprocess

import pytest
from postgresql import NoServerError, database, running

pytest.importorskip("sqlalchemy")
pytest.importorskip("alembic")

from fastmark.registry.store import Registry


@pytest.fixture(scope="session")
def server():
    """The URL of a PostgreSQL server; skipped with the reason where there is none."""
    pytest.importorskip("psycopg")
    try:
        context = running()
        url = context.__enter__()
    except (NoServerError, OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"no PostgreSQL: {error}")
    yield url
    context.__exit__(None, None, None)


@pytest.fixture
def postgresql_url(server):
    """The URL of an empty database."""
    with database(server) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    """Where no registry is yet, in SQLite and in PostgreSQL."""
    if request.param == "postgresql":
        return request.getfixturevalue("postgresql_url")
    return f"sqlite:///{tmp_path}/registry.db"


@pytest.fixture
def registry(url):
    """An empty registry."""
    with Registry(url) as made:
        made.init()
        yield made
