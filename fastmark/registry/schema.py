"""The version of a registry's tables: looked at before each first use, brought up to date by ``init``."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from pathlib import Path
from typing import TYPE_CHECKING

from fastmark._imports import package
from fastmark.errors import RegistryError
from fastmark.registry.connecting import PURPOSE, make_engine, missing, told, transaction
from fastmark.registry.places import Place
from fastmark.registry.tables import REVISIONS, VERSION_TABLE

if TYPE_CHECKING:
    from sqlalchemy import Connection

MIGRATIONS = Path(__file__).parent / "migrations"

_LOCK = 0x666173746D61726B
"""Number of PostgreSQL's advisory lock that those who upgrade the tables take: "fastmark" in ASCII."""


def check_schema(connection: Connection, place: Place) -> None:
    """Make sure that the tables are of the version that is read and written here.

    Raises:
        RegistryError: if there are none, or they are older or newer.
    """
    version = _version(connection)
    if version == REVISIONS[-1]:
        return
    if version is None:
        raise missing(place)
    if version in REVISIONS:
        raise RegistryError(
            f"the registry {place.name} is of an older version, {version}: run 'fastmark registry init"
            f" --registry {place.name}', which brings it to {REVISIONS[-1]} and keeps what is in it"
        )
    raise RegistryError(
        f"the registry {place.name} is of a newer version, {version}: upgrade fastmark, which knows"
        f" {REVISIONS[-1]}"
    )


def upgrade(place: Place, timeout: float) -> None:
    """Create the tables, or bring them up to date; where they are, nothing is done.

    It is one transaction, and two processes wait for each other: what they find is done once.

    Raises:
        RegistryError: if the registry cannot be reached, or is of a newer version.
        MissingPackageError: if SQLAlchemy, Alembic or the driver is not installed.
    """
    alembic_config = package("alembic.config", PURPOSE, "registry")
    command = package("alembic.command", PURPOSE, "registry")
    engine = make_engine(place, timeout, create=True)
    try:
        if place.path is not None:
            _write_ahead(place, timeout)
        with transaction(engine, place, timeout, writes=True) as connection:
            if place.path is None:
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
            version = _version(connection)
            if version is not None and version not in REVISIONS:
                check_schema(connection, place)
            config = alembic_config.Config()
            config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
            config.attributes.update(connection=connection, version_table=VERSION_TABLE)
            command.upgrade(config, "head")
    finally:
        engine.dispose()


def _version(connection: Connection) -> str | None:
    """The version of the tables; None where there are none."""
    import sqlalchemy as sa

    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    return connection.execute(sa.text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()


def _write_ahead(place: Place, timeout: float) -> None:
    """Set SQLite's write-ahead log, with which readers and a writer do not wait; the file keeps that.

    SQLite does not wait for others when it is set, so it is tried until the time is over.
    """
    assert place.path is not None
    until = time.monotonic() + timeout
    while True:
        try:
            with contextlib.closing(sqlite3.connect(place.path, timeout=timeout)) as connection:
                connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.Error as error:
            if not error.sqlite_errorname.startswith("SQLITE_BUSY") or time.monotonic() > until:
                raise told(error, place, timeout) from None
            time.sleep(0.01)
