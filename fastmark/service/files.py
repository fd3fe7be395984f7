"""Files of the service and its tools: written whole, by one process at a time; seen when they change."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from fastmark.errors import ServiceError, reason_of
from fastmark.images.encoding import atomic_file

State = tuple[int, ...]
"""What differs between two contents of a file: times of change in ns, size in bytes, number on the disk."""

_PATIENCE_S, _PAUSE_S = 10.0, 0.01


def state_of(status: os.stat_result) -> State:
    """Return a file's state: one that is replaced has another number, one that is written another time."""
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino


def write_whole(path: Path, data: bytes, mode: int) -> None:
    """Put all of ``data`` at ``path``, on the disk, or nothing.

    Args:
        path: where to.
        data: the whole file.
        mode: who may read and write it, from its creation on.

    Raises:
        ServiceError: if it cannot be written.
    """
    try:
        with atomic_file(path, mode) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        raise ServiceError(f"{path} cannot be written: {reason_of(error)}") from None


@contextlib.contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Keep other processes and threads from what ``lock`` stands for; the file stays, empty.

    The system gives the lock back when a process ends, however it ends.

    Raises:
        ServiceError: if somebody else has it for ten seconds, or the file cannot be made.
    """
    try:
        file = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    except (OSError, ValueError) as error:
        raise ServiceError(f"{lock} cannot be written: {reason_of(error)}") from None
    try:
        end = time.monotonic() + _PATIENCE_S
        while not _taken(file):
            if time.monotonic() > end:
                raise ServiceError(f"{lock} is held by another process: try again when that has ended")
            time.sleep(_PAUSE_S)
        yield
    finally:
        os.close(file)  # which gives the lock back


if sys.platform == "win32":
    import msvcrt

    def _taken(file: int) -> bool:
        os.lseek(file, 0, os.SEEK_SET)
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _taken(file: int) -> bool:
        try:
            fcntl.flock(
                file, fcntl.LOCK_EX | fcntl.LOCK_NB
            )  # of this descriptor: threads exclude each other too
        except BlockingIOError:
            return False
        return True
