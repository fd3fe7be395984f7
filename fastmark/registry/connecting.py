"""Connections to a registry's database: how they are set up, how long they may take, and their errors."""

from __future__ import annotations

import contextlib
import math
import os
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from fastmark._imports import package
from fastmark.errors import RegistryError
from fastmark.registry.places import Place

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

PURPOSE = "a registry"

_LATE = 1.0
"""Seconds that a server gets beyond its own limit before the connection is cut."""

_TIMED_OUT = {"57014", "55P03"}
"""PostgreSQL's codes of a statement that was cancelled, and of a lock that was not had in time."""


def make_engine(place: Place, timeout: float, *, create: bool = False) -> Engine:
    """Make an engine of SQLAlchemy, which connects when it is first used.

    SQLite: a transaction that writes takes the lock at its beginning, so that none fails half-way because of
    another. NOTE: synchronous=FULL, as an image must never leave without its row: with NORMAL a loss of power
    can take the last rows of the write-ahead log back, though never after a mere end of the process.

    Args:
        place: of the database.
        timeout: seconds to connect in, and for each statement.
        create: make the file of SQLite where there is none.

    Raises:
        MissingPackageError: if SQLAlchemy or the driver is not installed.
    """
    sqlalchemy = package("sqlalchemy", PURPOSE, "registry")
    if place.path is None:
        package("psycopg", "a registry in PostgreSQL", "postgresql")
        wait = {"connect_timeout": max(2, math.ceil(timeout)), "application_name": "fastmark"}
        engine = sqlalchemy.create_engine(
            place.url, connect_args=wait, hide_parameters=True, pool_timeout=timeout
        )
        milliseconds = max(1, round(timeout * 1e3))

        @sqlalchemy.event.listens_for(engine, "connect")  # type: ignore[untyped-decorator]
        def set_up(connection: Any, _: Any) -> None:
            connection.execute(f"SET statement_timeout = {milliseconds}")
            connection.execute("SET timezone = 'UTC'")
            connection.commit()

        for moment in ("before_cursor_execute", "after_cursor_execute"):
            sqlalchemy.event.listen(engine, moment, _give_more_time)
        return engine  # type: ignore[no-any-return]

    # `rw` makes no file where there is none: a registry is made by init alone
    uri = f"{place.path.absolute().as_uri()}?mode={'rwc' if create else 'rw'}"

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(
            uri, uri=True, timeout=timeout, isolation_level=None, check_same_thread=False
        )
        connection.execute("PRAGMA synchronous = FULL")
        return connection

    engine = sqlalchemy.create_engine(
        "sqlite://",
        creator=connect,
        hide_parameters=True,
        poolclass=sqlalchemy.pool.QueuePool,
        pool_timeout=timeout,
    )

    @sqlalchemy.event.listens_for(engine, "begin")  # type: ignore[untyped-decorator]
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("fastmark_writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine  # type: ignore[no-any-return]


@contextlib.contextmanager
def transaction(engine: Engine, place: Place, timeout: float, *, writes: bool) -> Iterator[Connection]:
    """Yield a connection in a transaction, which is committed at the end, or rolled back if anything fails.

    Raises:
        RegistryError: for every error of the database, on one line, with no secret in it.
    """
    import sqlalchemy.exc

    patience = None
    try:
        with contextlib.ExitStack() as ends:
            connection = ends.enter_context(engine.connect())
            if place.path is None:
                connection = _alive(engine, connection, place, timeout, ends)
                patience = connection.get_execution_options()["fastmark_patience"]
            connection = connection.execution_options(fastmark_writes=writes)
            with connection.get_transaction() or connection.begin():
                yield connection
    except sqlalchemy.exc.SQLAlchemyError as error:
        if patience is not None and patience.ended:
            raise _slow(place, timeout) from None
        raise told(error, place, timeout) from None
    except sqlite3.Error as error:  # of PRAGMA, which SQLAlchemy does not see
        raise told(error, place, timeout) from None


def _alive(
    engine: Engine, connection: Connection, place: Place, timeout: float, ends: contextlib.ExitStack
) -> Connection:
    """The connection, watched; another one where a restart of the server has ended those that were kept."""
    import sqlalchemy.exc

    for last in (False, True):
        patience = ends.enter_context(Patience(connection, timeout + _LATE))
        connection = connection.execution_options(fastmark_patience=patience)
        try:
            connection.exec_driver_sql("SELECT 1")  # begins the transaction
        except sqlalchemy.exc.DBAPIError as error:
            if patience.ended:
                raise _slow(place, timeout) from None
            if last or not error.connection_invalidated:
                raise
            connection = ends.enter_context(engine.connect())
        else:
            break
    return connection


class Patience:
    """Cuts a connection to PostgreSQL whose server does not answer any more, not even to cancel a statement.

    A driver waits for ever for a server that is stopped, or whose network is gone.

    Attributes:
        ended: whether the connection was cut.
    """

    def __init__(self, connection: Connection, seconds: float) -> None:
        """Watch a connection within a ``with``; each statement has so many seconds."""
        self.ended = False
        self._driver: Any = connection.connection.driver_connection
        self._seconds = seconds
        self._until = 0.0
        self._done = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Patience:
        """Begin to watch."""
        self.more()
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self._done.set()
        self._watcher.join()

    def more(self) -> None:
        """Give the next statement its whole time."""
        self._until = time.monotonic() + self._seconds

    def _watch(self) -> None:
        while (left := self._until - time.monotonic()) > 0:
            if self._done.wait(left):
                return
        self.ended = True
        with contextlib.suppress(Exception), socket.socket(fileno=os.dup(self._driver.fileno())) as copy:
            copy.shutdown(socket.SHUT_RDWR)  # the driver reads the end of the stream, and raises


def _give_more_time(connection: Connection, *_: Any) -> None:
    patience = connection.get_execution_options().get("fastmark_patience")
    if patience is not None:
        patience.more()


def _slow(place: Place, timeout: float) -> RegistryError:
    return RegistryError(
        f"the registry {place.name} did not answer within {timeout:g} seconds: try again, or give it a longer"
        " timeout"
    )


def told(error: Exception, place: Place, timeout: float) -> RegistryError:
    """What went wrong in the database, in one line that says what to do."""
    import sqlalchemy.exc

    origin = getattr(error, "orig", None) or error
    reason = place.hide(str(origin).partition("(Background on")[0])
    locked = getattr(origin, "sqlite_errorname", "").startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))
    waited = isinstance(error, sqlalchemy.exc.TimeoutError) or "timeout expired" in reason
    if locked or waited or getattr(origin, "sqlstate", None) in _TIMED_OUT:
        return _slow(place, timeout)
    if place.path is None:
        if isinstance(origin, ImportError):
            return RegistryError(f"the registry {place.name} cannot be reached: {reason}")
        if isinstance(error, sqlalchemy.exc.OperationalError | sqlalchemy.exc.InterfaceError):
            return RegistryError(
                f"the registry {place.name} cannot be reached: {reason}; is the server running, and are host,"
                " database, user and password those of it?"
            )
    elif getattr(origin, "sqlite_errorname", "") == "SQLITE_CANTOPEN":
        if not place.path.parent.is_dir():
            return RegistryError(f"the registry {place.name} cannot be opened: there is no such folder")
        if not place.path.exists():
            return missing(place)
        return RegistryError(
            f"the registry {place.name} cannot be opened: is it a file, and may it be read and written?"
        )
    elif getattr(origin, "sqlite_errorname", "") == "SQLITE_NOTADB":
        return RegistryError(f"{place.name} is no registry, and no database of SQLite: name another file")
    return RegistryError(f"the registry {place.name} failed: {reason}")


def missing(place: Place) -> RegistryError:
    """Say that there is no registry yet, and how to make it."""
    return RegistryError(
        f"the registry {place.name} is not initialised: run 'fastmark registry init --registry {place.name}'"
    )
