"""Outputs: where marked images go, a folder or a tar, to be gone on with after an interruption."""

from __future__ import annotations

import os
import tarfile
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import IO, Protocol

from fastmark.bulk.journal import Journal, Result
from fastmark.bulk.storage import exists, file_system, is_url, printable, unwritable
from fastmark.errors import OutputError
from fastmark.images.encoding import TEMPORARY, format_by_ending


class Output(Protocol):
    """A place for marked pictures."""

    @property
    def folder(self) -> str | None:
        """Where workers write pictures themselves; None if they are to be handed to ``put``."""

    @property
    def ordered(self) -> bool:
        """Whether ``put`` wants results in the order of the sources."""

    @property
    def excluded(self) -> tuple[str, ...]:
        """Real paths of its own, which are no sources."""

    def put(self, result: Result) -> None:
        """Take a picture's bytes."""

    def settle(self) -> None:
        """Make sure of what was put, before the journal says that it is there."""

    def close(self, *, complete: bool) -> None:
        """End; ``complete`` if nothing is missing."""


def open_output_of(path: str, journal: Journal) -> Output:
    """The output that a path names: a tar by its ending, else a folder.

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
        raise OutputError(f"{shown}: encoded pictures do not get smaller: write a plain .tar")
    if lower.endswith(".tar") and is_url(path):
        raise OutputError(f"{shown}: a tar is written to a local path; copy it from there")
    if is_url(path):
        remote, inner = file_system(path)
        used = remote.exists(inner) and not (remote.isdir(inner) and not remote.ls(inner, detail=False))
    elif lower.endswith(".tar"):
        if not Path(os.path.abspath(path)).parent.is_dir():
            raise OutputError(f"{shown}: its folder does not exist")
        used = exists(path)
    else:
        if exists(path) and not os.path.isdir(path):
            raise OutputError(f"{shown} is a file: name a folder, or a .tar")
        used = exists(path) and bool(os.listdir(path))
    if used and not known and not force:
        what = "exists already" if lower.endswith(".tar") else "holds files already"
        raise OutputError(f"{shown} {what}, not of an earlier run: choose another output, or --force")


class LocalFolder:
    """A folder that workers write to, each picture whole or not at all."""

    ordered = False

    def __init__(self, path: str, journal: Journal) -> None:
        """Make the folder; sweep up what a killed run left unfinished."""
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
        """Nothing: it is written."""

    def settle(self) -> None:
        """Nothing: it is written."""

    def close(self, *, complete: bool) -> None:
        """Nothing."""


class RemoteFolder:
    """A folder of remote storage, written by the process that has the connection."""

    ordered = False
    folder = None
    excluded: tuple[str, ...] = ()

    def __init__(self, path: str) -> None:
        """Connect."""
        self._path = path
        self._remote, self._inner = file_system(path)

    def put(self, result: Result) -> None:
        """Write an image; names of remote storage are text, whatever the bytes of the source's."""
        assert result.data is not None
        path = f"{self._inner.rstrip('/')}/{printable(result.name)}"
        try:
            self._remote.makedirs(path.rpartition("/")[0], exist_ok=True)
            self._remote.pipe_file(path, result.data)
        except Exception as error:  # a store's own exceptions
            raise unwritable(f"{self._path}/{result.name}", error) from error

    def settle(self) -> None:
        """Nothing: it is written."""

    def close(self, *, complete: bool) -> None:
        """Nothing."""


class TarOutput:
    """A tar, members in the order of the sources; beside it as ``.partial`` until it is complete."""

    ordered = True
    folder = None

    def __init__(self, path: str, journal: Journal) -> None:
        """Begin, or go on after the last member that the journal knows of."""
        self._path = path
        self._partial = f"{path}.partial"
        self._journal = journal
        self.excluded = (os.path.realpath(path), os.path.realpath(self._partial))
        self.finished = bool(journal.get("tar_finished", False))
        if self.finished:
            if exists(self._partial):  # a run ended just before it gave the archive its name
                os.replace(self._partial, path)
            if not exists(path):
                raise OutputError(f"{printable(path)} was finished and is gone: --force makes it anew")
            return
        end: int = journal.get("tar_end", 0)
        try:
            self._file: IO[bytes] = open(self._partial, "r+b" if end else "wb")  # noqa: SIM115  # closed by close
        except FileNotFoundError:
            raise OutputError(f"{printable(self._partial)} is gone: --force begins anew") from None
        except OSError as error:
            raise unwritable(self._partial, error) from None
        if self._file.seek(0, os.SEEK_END) < end:
            self._file.close()
            raise OutputError(f"{printable(self._partial)} has been cut or replaced: --force begins anew")
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
        """Have the disk hold what was put, and the journal know where it ends."""
        if self.finished:
            return
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise unwritable(self._partial, error) from error
        self._journal.set("tar_end", self._end)

    def close(self, *, complete: bool) -> None:
        """End the archive and give it its name, or leave it to be gone on with."""
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
    """Hands batches of results on in the order of their pictures, those that come early kept back."""

    def __init__(self, hand_on: Callable[[list[Result]], None]) -> None:
        """Nothing has come."""
        self._hand_on = hand_on
        self._early: dict[int, list[Result]] = {}
        self._next = 0

    def take(self, order: int, results: list[Result]) -> int:
        """Take the batch that begins at ``order``; how many were handed on."""
        self._early[order] = results
        count = 0
        while (batch := self._early.pop(self._next, None)) is not None:
            self._hand_on(batch)
            self._next += len(batch)
            count += 1
        return count
