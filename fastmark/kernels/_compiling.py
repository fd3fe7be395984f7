"""Compilations of kernels in this process, seen and told as they happen.

Nothing of this costs a call anything: numba tells of compilations alone. Kernels that come from the cache on
disk are not compiled, and a kernel that another one calls is part of it.
"""

from __future__ import annotations

import gc
import logging
import time
from typing import Any, NamedTuple

from numba.core import event

_log = logging.getLogger("fastmark")


class Compilation(NamedTuple):
    """A kernel compiled for types of arguments.

    Attributes:
        kernel: its module and name, as ``dct.dct8``.
        arguments: numba's types of its arguments.
        seconds: how long that took, kernels that it calls included.
        cpu_seconds: of the processor's time.
    """

    kernel: str
    arguments: tuple[Any, ...]
    seconds: float
    cpu_seconds: float


class _Listener(event.Listener):
    """Writes down and logs what numba compiles of fastmark.

    numba compiles under one lock, so that its events come one at a time.
    """

    def __init__(self) -> None:
        self.done: list[Compilation] = []
        self._depth = 0
        self._start = self._cpu_start = 0.0
        self._ours = self._collects = False

    def on_start(self, event: Any) -> None:
        self._depth += 1
        if self._depth > 1:
            return
        name = _name(event)
        self._ours = name is not None
        if not self._ours:
            return
        _tell(len(self.done) + 1, name, event.data["dispatcher"].stats.cache_path)
        # a fifth of the time of compiling is the garbage collector's, which finds next to nothing
        self._collects = gc.isenabled()
        gc.disable()
        self._start, self._cpu_start = time.perf_counter(), time.thread_time()

    def on_end(self, event: Any) -> None:
        self._depth -= 1
        if self._depth or not self._ours:
            return
        seconds, cpu_seconds = time.perf_counter() - self._start, time.thread_time() - self._cpu_start
        if self._collects:
            gc.enable()
        self.done.append(Compilation(str(_name(event)), event.data["args"], seconds, cpu_seconds))


def _name(event: Any) -> str | None:
    """Module and name of the kernel that is compiled; None for those of other packages."""
    function = event.data["dispatcher"].py_func
    _, ours, module = function.__module__.partition("fastmark.kernels.")
    return f"{module}.{function.__name__}" if ours else None


def _tell(number: int, name: str | None, folder: str | None) -> None:
    """Log that a kernel is being compiled, the ``number``-th; its record tells those who show progress."""
    if number == 1:
        where = f"once, into {folder}" if folder else "at each start, for no folder can be written"
        _log.info("compiling kernels for this machine, %s", where)
    _log.info("compiling kernel %d: %s", number, name, extra={"compiling": number, "cache_folder": folder})


def compilations() -> tuple[Compilation, ...]:
    """Return what this process has compiled so far, in order."""
    return tuple(_listener.done)


_listener = _Listener()
event.register("numba:compile", _listener)  # type: ignore[no-untyped-call]  # numba is untyped
