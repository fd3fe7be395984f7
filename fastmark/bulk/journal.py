"""Journal: what a run has done, on disk as it happens, so that the same command goes on where it stopped.

An SQLite file beside the output. A picture is known by its file and its position in it; it is done when it
has a row that is no error and its file has not changed since. Rows are added in transactions: a process that
is killed loses at most the last moment's, and never half of one.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastmark.bulk.readers import Picture
from fastmark.bulk.storage import printable
from fastmark.errors import OutputError

COMMIT_SECONDS = 0.5
_VERSION = 1
_SCHEMA = """
CREATE TABLE rows (
    source TEXT NOT NULL, position INTEGER NOT NULL, stamp TEXT NOT NULL, run INTEGER NOT NULL,
    state TEXT NOT NULL, row TEXT,
    PRIMARY KEY (source, position)
) WITHOUT ROWID;
CREATE TABLE shards (source TEXT PRIMARY KEY, stamp TEXT NOT NULL, pictures INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE names (name TEXT PRIMARY KEY, source TEXT NOT NULL, position INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""


@dataclass(slots=True)
class Result:
    """What came of one picture.

    Attributes:
        source: with ``position``, which picture; see ``Picture``.
        position: as there.
        stamp: as there.
        state: "detected", "possible", "absent", "marked", "error", or "companion" of a file that was copied.
        row: of the table; None for companions.
        name: of embedding: below the output folder.
        data: of embedding: what is to be written, unless it has been.
    """

    source: str
    position: int
    stamp: str
    state: str
    row: dict[str, Any] | None = field(default=None)
    name: str = ""
    data: bytes | None = None


class Journal:
    """An open journal; any thread may use it, one process at a time."""

    def __init__(self, path: str, settings: Mapping[str, Any], *, output: str, force: bool = False) -> None:
        """Open it, or make a new one.

        Args:
            path: of the file.
            settings: what must be the same for results to be mixed: keys, lengths, options.
            output: what it belongs to, for messages.
            force: begin anew whatever there is.

        Raises:
            OutputError: if it is in use, of another command, damaged, or cannot be written.
        """
        self.path = path
        self._lock = threading.RLock()
        self._committed = time.monotonic()
        if force:
            self._make_way()
        try:
            self._db = sqlite3.connect(path, timeout=0.5, isolation_level=None, check_same_thread=False)
            self._open(dict(settings), output)
        except sqlite3.Error as error:
            raise OutputError(self._reason(error, output)) from None

    def _open(self, settings: dict[str, Any], output: str) -> None:
        db = self._db
        # NOTE: exclusive, so that a second run of the same command is refused; and WAL then needs no shared
        # memory, which network file systems lack
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute("BEGIN EXCLUSIVE")
        if not db.execute("SELECT 1 FROM sqlite_master").fetchone():
            for statement in _SCHEMA.split(";"):
                db.execute(statement)
            self.set("version", _VERSION)
            self.set("settings", settings)
            self.set("run", 0)
        elif self.get("version") != _VERSION:
            raise sqlite3.DatabaseError(f"version {self.get('version')}")
        before = self.get("settings")
        if before != settings:
            differing = sorted(k for k in {*before, *settings} if before.get(k) != settings.get(k))
            db.close()
            raise OutputError(
                f"{printable(output)} was begun with other settings ({', '.join(differing)}):"
                " use those, --force to begin anew, or another output"
            )
        self.run: int = self.get("run") + 1
        self.set("run", self.run)
        self.fresh = self.run == 1
        self.commit()

    def _reason(self, error: sqlite3.Error, output: str) -> str:
        shown = printable(self.path)
        if "locked" in str(error):
            return f"{printable(output)} is being written by another run of fastmark"
        if "unable to open" in str(error) or "readonly" in str(error):
            return f"the journal {shown} cannot be written: {error}"
        return f"{shown} is not a journal that can be gone on with ({error}): move it away, or use --force"

    def _make_way(self) -> None:
        for ending in ("", "-wal", "-shm"):
            try:
                Path(self.path + ending).unlink(missing_ok=True)
            except OSError as error:
                raise OutputError(
                    f"the journal {printable(self.path)} cannot be removed: {error.strerror}"
                ) from None

    # ---- settings of its own ------------------------------------------------------------------------

    def get(self, name: str, default: Any = None) -> Any:
        """A value kept under a name."""
        with self._lock:
            found = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return default if found is None else json.loads(found[0])

    def set(self, name: str, value: Any) -> None:
        """Keep a value, of JSON, from the next commit on."""
        with self._lock:
            self._write("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, json.dumps(value)))

    def _write(self, statement: str, values: tuple[Any, ...]) -> None:
        # NOTE: an error, a full disk's for one, may have ended the transaction; a row that were written then
        # would last by itself, whatever became of the picture
        if not self._db.in_transaction:
            raise sqlite3.OperationalError("an earlier write failed")
        self._db.execute(statement, values)

    # ---- pictures ------------------------------------------------------------------------------------

    def is_done(self, picture: Picture) -> bool:
        """Whether a picture has a row that is no error; if so, the row is one of this run too."""
        if self.fresh:
            return False
        key = (self.run, picture.source, picture.position, picture.stamp)
        with self._lock:
            changed = self._db.execute(
                "UPDATE rows SET run = ?"
                " WHERE source = ? AND position = ? AND stamp = ? AND state != 'error'",
                key,
            ).rowcount
        return changed > 0

    def row(self, picture: Picture) -> dict[str, Any]:
        """The row of a picture that is done."""
        with self._lock:
            (row,) = self._db.execute(
                "SELECT row FROM rows WHERE source = ? AND position = ?", (picture.source, picture.position)
            ).fetchone()
        return dict(json.loads(row))

    def finished(self, source: str, stamp: str) -> int | None:
        """How many pictures a shard has, if each has a row that is no error; it is not opened for that."""
        if self.fresh or not stamp:
            return None
        with self._lock:
            shard = self._db.execute(
                "SELECT pictures FROM shards WHERE source = ? AND stamp = ?", (source, stamp)
            ).fetchone()
            done, rows = self._db.execute(
                "SELECT count(*), count(row) FROM rows WHERE source = ? AND stamp = ? AND state != 'error'",
                (source, stamp),
            ).fetchone()
            if shard is None or shard[0] != done:
                return None
            self._db.execute("UPDATE rows SET run = ? WHERE source = ?", (self.run, source))
        return int(rows)

    def finish(self, source: str, stamp: str, pictures: int) -> None:
        """Note how many pictures a shard has."""
        with self._lock:
            self._write("INSERT OR REPLACE INTO shards VALUES (?, ?, ?)", (source, stamp, pictures))

    def keep(self, source: str, stamp: str) -> list[int]:
        """Which pictures of a shard have a row that is no error; those rows are of this run too."""
        if self.fresh:
            return []
        where = "WHERE source = ? AND stamp = ? AND state != 'error'"
        with self._lock:
            self._db.execute(f"UPDATE rows SET run = ? {where}", (self.run, source, stamp))
            found = self._db.execute(f"SELECT position FROM rows {where}", (source, stamp)).fetchall()
        return [position for (position,) in found]

    def add(self, result: Result) -> None:
        """Add or replace a picture's row."""
        row = None if result.row is None else json.dumps(result.row)
        key = (result.source, result.position, result.stamp, self.run, result.state, row)
        with self._lock:
            self._write("INSERT OR REPLACE INTO rows VALUES (?, ?, ?, ?, ?, ?)", key)

    def claim(self, name: str, picture: Picture) -> bool:
        """Reserve a name, of any bytes, below the output folder; false if another image has it."""
        name = printable(name)
        key = (name, picture.source, picture.position)
        with self._lock:
            self._write("INSERT OR IGNORE INTO names VALUES (?, ?, ?)", key)
            owner = self._db.execute("SELECT * FROM names WHERE name = ?", (name,)).fetchone()
        return bool(owner == key)

    # ---- as a whole ----------------------------------------------------------------------------------

    def rows(self, *, of_this_run: bool, leave_out: str = "") -> Iterator[dict[str, Any]]:
        """The rows by source and position, without those of the state ``leave_out``."""
        since = self.run if of_this_run else 0
        reader = self._db.cursor()
        reader.execute(
            "SELECT row FROM rows WHERE run >= ? AND state != ? AND row IS NOT NULL"
            " ORDER BY source, position",
            (since, leave_out),
        )
        for (row,) in reader:
            yield json.loads(row)

    def keep_all(self) -> int:
        """Have all rows be of this run too; how many pictures they are of."""
        with self._lock:
            self._db.execute("UPDATE rows SET run = ?", (self.run,))
            return int(self._db.execute("SELECT count(row) FROM rows").fetchone()[0])

    def counts(self, *, of_this_run: bool) -> dict[str, int]:
        """How many rows there are of every state."""
        since = self.run if of_this_run else 0
        with self._lock:
            found = self._db.execute(
                "SELECT state, count(*) FROM rows WHERE run >= ? GROUP BY state", (since,)
            ).fetchall()
        return dict(found)

    def commit_is_due(self) -> bool:
        """Whether the last commit is some time ago."""
        return time.monotonic() - self._committed > COMMIT_SECONDS

    def commit(self) -> None:
        """Make everything up to here last, whatever happens to this process."""
        with self._lock:
            self._db.execute("COMMIT")  # an error, if an earlier one has ended the transaction
            self._db.execute("BEGIN")
            self._committed = time.monotonic()

    def roll_back(self) -> None:
        """Forget what came since the last commit."""
        with self._lock:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            self._db.execute("BEGIN")

    def close(self) -> None:
        """Commit, and give the file free."""
        with self._lock:
            try:
                if self._db.in_transaction:
                    self._db.execute("COMMIT")
            finally:
                self._db.close()


@contextlib.contextmanager
def journalled(output: str) -> Iterator[None]:
    """Tell of trouble with the journal of an output as OutputError."""
    try:
        yield
    except sqlite3.Error as error:
        raise OutputError(
            f"the journal {printable(journal_path(output))} cannot be written: {error};"
            " once that is mended, the same command goes on"
        ) from error


def begun(output: str) -> bool:
    """Whether there is a journal of an output."""
    return os.path.lexists(journal_path(output))


def journal_path(output: str) -> str:
    """Where the journal of an output lies: beside it, for remote storage in the working directory."""
    plain = output.rstrip("/\\")
    return f"{os.path.basename(plain) if '://' in plain else plain}.journal"
