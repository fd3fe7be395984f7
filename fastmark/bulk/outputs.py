"""Outputs: where watermarked images go, a folder or a tar; both can be resumed after an interruption."""

from __future__ import annotations

import os
import tarfile
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import IO, Protocol

from fastmark.bulk.journal import Journal
from fastmark.bulk.records import Result
from fastmark.bulk.storage import exists, file_system, is_url, printable, unwritable
from fastmark.errors import OutputError
from fastmark.images.encoding import TEMPORARY, format_by_ending


class Output(Protocol):
    """A place for watermarked images."""

    @property
    def folder(self) -> str | None:
        """The folder that workers write images to; None if their bytes are to be handed to ``put``."""

    @property
    def ordered(self) -> bool:
        """Whether ``put`` wants results in the order of the sources."""

    @property
    def excluded(self) -> tuple[str, ...]:
        """Real paths of the output itself, which are never sources."""

    def put(self, result: Result) -> None:
        """Take the bytes of a result."""

    def settle(self) -> None:
        """Put everything taken so far on disk, before the journal is committed."""

    def close(self, *, complete: bool) -> None:
        """Close the output; ``complete`` if nothing is missing."""


def open_output_of(path: str, journal: Journal) -> Output:
    """Open the output that a path names: a tar by its ending, else a folder.

    Raises:
        OutputError: if something else is there already, or it cannot be written.
    """
    if path.lower().endswith(".tar"):
        return TarOutput(path, journal)
    return RemoteFolder(path) if is_url(path) else LocalFolder(path, journal)


def check_output_of(path: str, *, known: bool, force: bool) -> None:
    """Raise OutputError where an output cannot be; ``known`` if there is a journal of it."""
    shown = printable(path)
    lower = path.lower().rstrip("/\\")
    if format_by_ending(path) and not path.endswith(("/", os.sep)) and not os.path.isdir(path):
        raise OutputError(
            f"{shown} is named like one image; many images go to a folder or a .tar"
            f" (write {shown}/ for a folder of that name)"
        )
    if lower.endswith((".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")):
        raise OutputError(f"{shown}: compression does not make encoded images smaller: write a plain .tar")
    if lower.endswith(".tar") and is_url(path):
        raise OutputError(f"{shown}: a tar is written to a local path; copy it from there")
    if is_url(path):
        remote, inner = file_system(path)
        used = remote.exists(inner) and not (remote.isdir(inner) and not remote.ls(inner, detail=False))
    elif lower.endswith(".tar"):
        if not Path(os.path.abspath(path)).parent.is_dir():
            raise OutputError(f"{shown}: its folder does not exist: make it first, or name another")
        used = exists(path)
    else:
        if exists(path) and not os.path.isdir(path):
            raise OutputError(f"{shown} is a file: name a folder, or a .tar")
        used = exists(path) and bool(os.listdir(path))
    if used and not known and not force:
        what = "exists already" if lower.endswith(".tar") else "is not empty"
        raise OutputError(f"{shown} {what} and is not from an earlier run: choose another output, or --force")


class LocalFolder:
    """A folder that workers write to, each image whole or not at all."""

    ordered = False

    def __init__(self, path: str, journal: Journal) -> None:
        """Make the folder; remove unfinished files of a run that was killed."""
        self.folder = path
        self.excluded = (os.path.realpath(path),)
        try:
            os.makedirs(path, exist_ok=True)
            if not journal.fresh:
                for left in Path(path).rglob(f"{TEMPORARY[0]}*{TEMPORARY[1]}"):
                    left.unlink()
        except OSError as error:
            raise unwritable(path, error) from None

    def put(self, result: Result) -> None:
        """Do nothing: the worker has written the file."""

    def settle(self) -> None:
        """Do nothing: each file was complete once written."""

    def close(self, *, complete: bool) -> None:
        """Do nothing: no file is open."""


class RemoteFolder:
    """A folder of remote storage, written by the process that has the connection."""

    ordered = False
    folder = None
    excluded: tuple[str, ...] = ()

    def __init__(self, path: str) -> None:
        """Connect to the remote storage."""
        self._path = path
        self._remote, self._inner = file_system(path)

    def put(self, result: Result) -> None:
        """Write an image; in remote storage, bytes of names that are no UTF-8 are escaped."""
        assert result.data is not None
        path = f"{self._inner.rstrip('/')}/{printable(result.name)}"
        try:
            self._remote.makedirs(path.rpartition("/")[0], exist_ok=True)
            self._remote.pipe_file(path, result.data)
        except Exception as error:  # a store's own exceptions
            raise unwritable(f"{self._path}/{result.name}", error) from error

    def settle(self) -> None:
        """Do nothing: each file was complete once written."""

    def close(self, *, complete: bool) -> None:
        """Do nothing: no file is open."""


class TarOutput:
    """A tar with its members in the order of the sources; named ``.partial`` until it is complete."""

    ordered = True
    folder = None

    def __init__(self, path: str, journal: Journal) -> None:
        """Start a new file, or continue after the last member in the journal."""
        self._path = path
        self._partial = f"{path}.partial"
        self._journal = journal
        self.excluded = (os.path.realpath(path), os.path.realpath(self._partial))
        self.finished = bool(journal.get("tar_finished", False))
        if self.finished:
            if exists(self._partial):  # a run ended just before it gave the archive its name
                os.replace(self._partial, path)
            if not exists(path):
                raise OutputError(
                    f"{printable(path)} was complete and has been removed: --force writes it again"
                )
            return
        end: int = journal.get("tar_end", 0)
        try:
            self._file: IO[bytes] = open(self._partial, "r+b" if end else "wb")  # noqa: SIM115  # closed by close
        except FileNotFoundError:
            raise OutputError(f"{printable(self._partial)} has been removed: --force starts over") from None
        except OSError as error:
            raise unwritable(self._partial, error) from None
        if self._file.seek(0, os.SEEK_END) < end:
            self._file.close()
            raise OutputError(
                f"{printable(self._partial)} has been truncated or replaced: --force starts over"
            )
        self._file.truncate(end)
        self._file.seek(end)
        self._end = end
        self._tar = tarfile.open(fileobj=self._file, mode="w", format=tarfile.PAX_FORMAT)  # noqa: SIM115

    def put(self, result: Result) -> None:
        """Append a member."""
        assert result.data is not None
        header = tarfile.TarInfo(result.name.replace(os.sep, "/"))
        header.size, header.mtime = len(result.data), int(time.time())
        try:
            self._tar.addfile(header, BytesIO(result.data))
        except OSError as error:
            raise unwritable(self._partial, error) from error
        self._tar.members.clear()  # type: ignore[attr-defined]  # tarfile keeps every header it has written
        self._end = self._file.tell()

    def settle(self) -> None:
        """Flush to disk, and store in the journal where the last member ends."""
        if self.finished:
            return
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise unwritable(self._partial, error) from error
        self._journal.set("tar_end", self._end)

    def close(self, *, complete: bool) -> None:
        """Complete the archive and give it its name, or leave it to be resumed."""
        if self.finished:
            return
        try:
            if not complete:
                self._file.close()
                return
            self._tar.close()
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._journal.set("tar_finished", True)
            self._journal.commit()
            os.replace(self._partial, self._path)
        except OSError as error:
            raise unwritable(self._path, error) from error


class InOrder:
    """Hands batches of results on in the order of their items; those that come early wait."""

    def __init__(self, hand_on: Callable[[list[Result]], None]) -> None:
        """Start at item 0; ``hand_on`` is called with each batch in turn."""
        self._hand_on = hand_on
        self._early: dict[int, list[Result]] = {}
        self._next = 0

    def take(self, order: int, results: list[Result]) -> int:
        """Take the batch that begins with item ``order``; the number of batches handed on."""
        self._early[order] = results
        count = 0
        while (batch := self._early.pop(self._next, None)) is not None:
            self._hand_on(batch)
            self._next += len(batch)
            count += 1
        return count
