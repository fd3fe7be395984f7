"""Journal: the results of a run, on disk as they come, so that the same command resumes it.

An SQLite file beside the output. An item is known by its file and its position in it; it is done when it
has a row that is no error and its file has not changed since. Rows are added in transactions: a process that
is killed loses at most the rows of the last half second, and never half a row.

Every row has the number of the last run that it belongs to. Methods that find an item done (``claim_done``,
``adopt_shard``, ``adopt_items``, ``adopt_all``) therefore write: they make its row one of the current run.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fastmark.bulk.records import Item, Result
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


class Journal:
    """An open journal; any thread may use it, one process at a time."""

    def __init__(self, path: str, settings: Mapping[str, Any], *, output: str, force: bool = False) -> None:
        """Open it, or make a new one.

        Args:
            path: of the file.
            settings: must be equal in all runs of a journal: keys, lengths, options.
            output: the output it belongs to, for messages.
            force: start over: remove an existing journal.

        Raises:
            OutputError: if it is in use, has other settings, is damaged, or cannot be written.
        """
        self.path = path
        self._lock = threading.RLock()
        self._committed = time.monotonic()
        if force:
            self._remove()
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
                f"{printable(output)} was started with different settings ({', '.join(differing)}):"
                " use the same ones, --force to start over, or another output"
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
        return f"{shown} is not a journal, or damaged ({error}): move it away, or use --force"

    def _remove(self) -> None:
        for ending in ("", "-wal", "-shm"):
            try:
                Path(self.path + ending).unlink(missing_ok=True)
            except OSError as error:
                raise OutputError(
                    f"the journal {printable(self.path)} cannot be removed: {error.strerror}"
                ) from None

    # ---- named values ------------------------------------------------------------------------------

    def get(self, name: str, default: Any = None) -> Any:
        """The value stored under a name."""
        with self._lock:
            found = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return default if found is None else json.loads(found[0])

    def set(self, name: str, value: Any) -> None:
        """Store a value, which JSON can hold; it lasts from the next commit on."""
        with self._lock:
            self._write("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, json.dumps(value)))

    def _write(self, statement: str, values: tuple[Any, ...]) -> None:
        # NOTE: an error, as of a full disk, may have ended the transaction; a row written then
        # would be committed even if its image is never written
        if not self._db.in_transaction:
            raise sqlite3.OperationalError("an earlier write failed")
        self._db.execute(statement, values)

    # ---- items -------------------------------------------------------------------------------------

    def claim_done(self, item: Item) -> bool:
        """Make the row of an item that is done one of this run; false if the item is not done."""
        if self.fresh:
            return False
        key = (self.run, item.source, item.position, item.stamp)
        with self._lock:
            changed = self._db.execute(
                "UPDATE rows SET run = ?"
                " WHERE source = ? AND position = ? AND stamp = ? AND state != 'error'",
                key,
            ).rowcount
        return changed > 0

    def row(self, item: Item) -> dict[str, Any]:
        """The row of an item that is done."""
        with self._lock:
            (row,) = self._db.execute(
                "SELECT row FROM rows WHERE source = ? AND position = ?", (item.source, item.position)
            ).fetchone()
        return dict(json.loads(row))

    def adopt_shard(self, source: str, stamp: str) -> int | None:
        """Make the rows of a shard whose items are all done rows of this run, without opening the shard.

        Returns:
            How many images it has; None if an item is not done, or it has not been read to its end.
        """
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

    def finish_shard(self, source: str, stamp: str, items: int) -> None:
        """Store how many items a shard has, companions included."""
        with self._lock:
            self._write("INSERT OR REPLACE INTO shards VALUES (?, ?, ?)", (source, stamp, items))

    def adopt_items(self, source: str, stamp: str) -> list[int]:
        """Make the rows of a shard's items that are done rows of this run; the positions of those items."""
        if self.fresh:
            return []
        where = "WHERE source = ? AND stamp = ? AND state != 'error'"
        with self._lock:
            self._db.execute(f"UPDATE rows SET run = ? {where}", (self.run, source, stamp))
            found = self._db.execute(f"SELECT position FROM rows {where}", (source, stamp)).fetchall()
        return [position for (position,) in found]

    def add(self, result: Result) -> None:
        """Add or replace an item's row."""
        row = None if result.row is None else json.dumps(result.row)
        key = (result.source, result.position, result.stamp, self.run, result.state, row)
        with self._lock:
            self._write("INSERT OR REPLACE INTO rows VALUES (?, ?, ?, ?, ?, ?)", key)

    def claim_name(self, name: str, item: Item) -> bool:
        """Reserve a name, of any bytes, below the output folder; false if another item has it."""
        name = printable(name)
        key = (name, item.source, item.position)
        with self._lock:
            self._write("INSERT OR IGNORE INTO names VALUES (?, ?, ?)", key)
            owner = self._db.execute("SELECT * FROM names WHERE name = ?", (name,)).fetchone()
        return bool(owner == key)

    # ---- as a whole ----------------------------------------------------------------------------------

    def rows(self, *, of_this_run: bool, leave_out: str = "") -> Iterator[dict[str, Any]]:
        """The rows in order of source and position.

        Without those of the state ``leave_out``, unless the public watermark was detected there.
        """
        since = self.run if of_this_run else 0
        reader = self._db.cursor()
        reader.execute(
            "SELECT row FROM rows WHERE run >= ? AND row IS NOT NULL"
            # NOTE: of a row's own texts, JSON has the quotes behind backslashes
            ' AND (state != ? OR instr(row, \'"public_says": "\'))'
            " ORDER BY source, position",
            (since, leave_out),
        )
        for (row,) in reader:
            yield json.loads(row)

    def adopt_all(self) -> int:
        """Make all rows rows of this run; the number of images they are of."""
        with self._lock:
            self._db.execute("UPDATE rows SET run = ?", (self.run,))
            return int(self._db.execute("SELECT count(row) FROM rows").fetchone()[0])

    def counts(self, *, of_this_run: bool) -> dict[str, int]:
        """The number of rows per state."""
        since = self.run if of_this_run else 0
        with self._lock:
            found = self._db.execute(
                "SELECT state, count(*) FROM rows WHERE run >= ? GROUP BY state", (since,)
            ).fetchall()
        return dict(found)

    def commit_is_due(self) -> bool:
        """Whether more than ``COMMIT_SECONDS`` have passed since the last commit."""
        return time.monotonic() - self._committed > COMMIT_SECONDS

    def commit(self) -> None:
        """Commit: everything so far survives a crash."""
        with self._lock:
            self._db.execute("COMMIT")  # an error, if an earlier one has ended the transaction
            self._db.execute("BEGIN")
            self._committed = time.monotonic()

    def roll_back(self) -> None:
        """Undo everything since the last commit."""
        with self._lock:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            self._db.execute("BEGIN")

    def close(self) -> None:
        """Commit, and unlock the file."""
        with self._lock:
            try:
                if self._db.in_transaction:
                    self._db.execute("COMMIT")
            finally:
                self._db.close()


@contextlib.contextmanager
def journal_errors(output: str) -> Iterator[None]:
    """Raise errors of an output's journal as OutputError."""
    try:
        yield
    except sqlite3.Error as error:
        raise OutputError(
            f"the journal {printable(journal_path(output))} cannot be written: {error};"
            " once that is mended, run the same command again to resume"
        ) from error


def has_journal(output: str) -> bool:
    """Whether an earlier run of an output left its journal."""
    return os.path.lexists(journal_path(output))


def journal_path(output: str) -> str:
    """The path of an output's journal: beside it, for remote storage in the working directory."""
    plain = output.rstrip("/\\")
    return f"{os.path.basename(plain) if '://' in plain else plain}.journal"
