"""The cache of compiled kernels on disk, shared by processes that compile at the same time.

numba's cache alone lets two processes compile the same kernel twice; and where they save two signatures of
one kernel at once, both may choose the same file, so that one is later loaded for the other (numba#4807).
Here a process that does not find a kernel takes its lock, and keeps it until it has saved it; others that
need it wait, and load it. No kernel calls itself by way of others, so nobody waits in a circle.
"""

from __future__ import annotations

import os
import time
import zlib
from pathlib import Path
from typing import Any

from numba.core.caching import FunctionCache

LOCK_FILE = "fastmark.lock"
"""In the cache's folder: its n-th byte is the lock of the kernels whose names have the hash n."""

_PLACES = 1 << 20
_PATIENCE_S, _PAUSE_S = 60.0, 0.02
"""How long to wait for another process, which may be stopped: then the kernel is compiled here as well."""


class SharedCache(FunctionCache):
    """numba's cache of one kernel, whose misses are one process's to fill."""

    def __init__(self, function: Any) -> None:
        """Find the folder.

        Raises:
            RuntimeError: if there is none that can be written.
        """
        super().__init__(function)  # type: ignore[no-untyped-call]  # numba is untyped
        self._place = zlib.crc32(function.__qualname__.encode()) % _PLACES
        self._lock: _Lock | None = None

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Load what is compiled for ``sig``; None, and the lock taken, where the caller has to compile it."""
        found = self._load(sig, target_context)
        if found is not None:
            return found
        if self._lock is None:
            self._lock = _Lock(Path(self.cache_path), self._place)
        if self._lock.take():  # somebody else had it: it may be there now
            found = self._load(sig, target_context)
        if found is not None:
            self._lock.give()
        return found

    def _load(self, sig: Any, target_context: Any) -> Any:
        return super().load_overload(sig, target_context)  # type: ignore[no-untyped-call]  # as above

    def save_overload(self, sig: Any, data: Any) -> None:
        """Save what was compiled, and give the lock back."""
        try:
            super().save_overload(sig, data)  # type: ignore[no-untyped-call]  # as above
        finally:
            if self._lock is not None:
                self._lock.give()


class _Lock:
    """One byte of a file, locked against other processes; threads of one are numba's lock's business."""

    def __init__(self, folder: Path, place: int) -> None:
        self._folder, self._place = folder, place
        self._held = 0

    def take(self) -> bool:
        """Take the lock, or give up after a minute; whether it took time."""
        self._held += 1
        if self._held > 1:  # a kernel of another signature, which this one calls
            return False
        end, waited = time.monotonic() + _PATIENCE_S, False
        while not _try_lock(self._folder, self._place, lock=True) and time.monotonic() < end:
            waited = True
            time.sleep(_PAUSE_S)
        return waited

    def give(self) -> None:
        """Give the lock back, if it is held."""
        if self._held:
            self._held -= 1
            if not self._held:
                _try_lock(self._folder, self._place, lock=False)


_files: dict[tuple[int, Path], int] = {}
"""The lock files that this process has open: they stay so, for closing one gives up all locks in it."""


def _try_lock(folder: Path, place: int, *, lock: bool) -> bool:
    """Lock or unlock one byte; false only if another process holds it."""
    owner = (os.getpid(), folder)
    try:
        if owner not in _files:
            folder.mkdir(parents=True, exist_ok=True)
            _files[owner] = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError:  # then nobody can save a kernel either
        return True
    return _lock_byte(_files[owner], place, lock=lock)


if os.name == "nt":
    import msvcrt

    def _lock_byte(file: int, place: int, *, lock: bool) -> bool:
        os.lseek(file, place, os.SEEK_SET)
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK if lock else msvcrt.LK_UNLCK, 1)  # type: ignore[attr-defined]
        except OSError:
            return not lock
        return True

else:
    import fcntl

    def _lock_byte(file: int, place: int, *, lock: bool) -> bool:
        how = fcntl.LOCK_EX | fcntl.LOCK_NB if lock else fcntl.LOCK_UN
        try:
            fcntl.lockf(file, how, 1, place)
        except (BlockingIOError, PermissionError):  # which of them depends on the system
            return not lock
        except OSError:  # a file system without locks
            return True
        return True
