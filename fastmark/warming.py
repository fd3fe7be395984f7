"""Compile kernels before they are needed, in several processes that share the cache on disk.

Threads would not help: numba compiles under one lock. A process that compiles is a fresh Python, told by
lines on its standard input what to compile, one kernel at a time; it answers with a line each. Two never
compile the same kernel (``kernels/_cache.py``).
"""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastmark._threads import usable_cores
from fastmark.errors import OutputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_log = logging.getLogger("fastmark")

COMPILED, FOUND, UNFIT, FAILED = "compiled", "found", "unfit", "failed"
"""What became of a line: compiled; found in the cache; of no kernel of today; not to be saved."""

_CHILD = "from fastmark.warming import serve; serve()"
_ALONE = ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class Warmup:
    """What :func:`warmup` did.

    Attributes:
        compiled: kernels that were compiled, each for its types of arguments.
        found: those that were in the cache already.
        seconds: how long it took.
        folder: where the cache is.
    """

    compiled: int
    found: int
    seconds: float
    folder: str


def warmup(workers: int = 0, *, progress: Callable[[int, int], None] | None = None) -> Warmup:
    """Compile all that embedding in and detecting of images of every kind need, into the cache on disk.

    Later processes of the same user, on the same kind of processor, load it from there. Called again, it
    compiles nothing.

    Args:
        workers: processes that compile; 0 for one per core.
        progress: called with the number of kernels that are done, and of all.

    Raises:
        OutputError: if there is no folder for the cache that can be written.
    """
    from fastmark.kernels import signatures

    start, folder = time.perf_counter(), cache_folder()
    units = _by_kernel(signatures.lines())
    total = sum(len(unit) for unit in units)
    outcomes: list[str] = []
    lock = threading.Lock()

    def count(outcome: str) -> None:
        with lock:
            outcomes.append(outcome)
            if progress is not None:
                progress(len(outcomes), total)

    if (workers or usable_cores()) == 1 or not sys.executable:
        for unit in units:
            for line in unit:
                count(compile_line(line))
    else:
        _in_processes(units, min(workers or usable_cores(), len(units)), count)
    if failed := next((outcome for outcome in outcomes if outcome.startswith(FAILED)), None):
        raise OutputError(f"kernels cannot be kept in {folder}: {failed.removeprefix(FAILED).strip()}")
    if unfit := outcomes.count(UNFIT):
        _log.warning("%d kernels are not those of the table: they are compiled when they are needed", unfit)
    seconds = time.perf_counter() - start
    return Warmup(outcomes.count(COMPILED), outcomes.count(FOUND), seconds, folder)


def cache_folder() -> str:
    """Return the folder in which compiled kernels are kept.

    Raises:
        OutputError: if there is none.
    """
    from fastmark.kernels import _jit

    folder: str | None = getattr(getattr(_jit.copy_line, "stats", None), "cache_path", None)
    if folder is None:
        if os.environ.get("FASTMARK_CACHE", "1") == "0":
            raise OutputError("compiled kernels are not kept: unset FASTMARK_CACHE, which turns that off")
        raise OutputError(
            "compiled kernels cannot be kept: no folder can be written; set NUMBA_CACHE_DIR to one that can"
        )
    wanted = os.environ.get("NUMBA_CACHE_DIR")
    if wanted and not Path(folder).resolve().is_relative_to(Path(wanted).resolve()):
        raise OutputError(
            f"compiled kernels cannot be kept in NUMBA_CACHE_DIR, {wanted}:"
            " make it a folder that can be written, or unset it"
        )
    return folder


def _by_kernel(lines: Iterable[str]) -> list[list[str]]:
    """Group the lines of a kernel, the slowest first: what comes last should be short."""
    units: dict[str, list[str]] = {}
    for line in lines:
        units.setdefault(line.split()[1], []).append(line)
    return sorted(units.values(), key=lambda unit: -sum(float(line.split()[0]) for line in unit))


def compile_line(line: str) -> str:
    """Compile what a line of the table names, or load it from the cache; what came of it."""
    from numba.core.errors import NumbaError

    from fastmark.kernels import _compiling, signatures

    before = len(_compiling.compilations())
    try:
        name, arguments = signatures.read(line)
        kernel = signatures.find(name)
        if kernel.py_func.__code__.co_argcount != len(arguments):
            return UNFIT
        kernel.compile(arguments)
    except (AttributeError, ModuleNotFoundError, NumbaError):
        return UNFIT
    except OSError as error:
        return f"{FAILED} {error.strerror or error}"
    return COMPILED if len(_compiling.compilations()) > before else FOUND


# ---- processes ---------------------------------------------------------------------------------------------


def serve() -> None:
    """Compile what standard input names, line by line, and answer each with a line, to its end."""
    for line in sys.stdin:
        print(compile_line(line), flush=True)


def _start() -> subprocess.Popen[str]:
    """Start a process that serves; it finds fastmark where this one did, and never in the working folder."""
    path = os.pathsep.join(place for place in sys.path if place)
    return subprocess.Popen(
        [sys.executable, "-P", "-c", _CHILD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": path, **dict.fromkeys(_ALONE, "1")},
    )


def _in_processes(units: list[list[str]], n: int, count: Callable[[str], None]) -> None:
    """Have ``n`` processes compile; whoever is free takes the next kernel."""
    rest = iter(units)
    lock = threading.Lock()
    errors: list[BaseException] = []

    def drive(process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None and process.stdout is not None
        try:
            while True:
                with lock:
                    unit = next(rest, None)
                if unit is None:
                    return
                for line in unit:
                    process.stdin.write(line + "\n")
                    process.stdin.flush()
                    answer = process.stdout.readline().strip()
                    count(answer or f"{FAILED} a process that compiles has ended")
        except BaseException as error:  # raised again by the caller's thread
            errors.append(error)

    with contextlib.ExitStack() as stack:
        processes = [stack.enter_context(_ended(_start())) for _ in range(n)]
        threads = [threading.Thread(target=drive, args=(process,), daemon=True) for process in processes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    if errors:
        raise errors[0]


@contextlib.contextmanager
def _ended(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


class Helper:
    """A process that compiles, from the end of the table on, while this one does as needed: they meet midway.

    Without an end of its own: it is ended with :meth:`close`.
    """

    def __init__(self, on_compiled: Callable[[], Any]) -> None:
        """Start it; ``on_compiled`` is called, in a thread, for every kernel that it has compiled."""
        from fastmark.kernels import signatures

        self._process = _start()
        lines = reversed(signatures.lines(further=False))
        threading.Thread(target=self._drive, args=(lines, on_compiled), daemon=True).start()

    def _drive(self, lines: Iterable[str], on_compiled: Callable[[], Any]) -> None:
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        with contextlib.suppress(OSError, ValueError):  # it was closed
            process.stdin.write("".join(f"{line}\n" for line in lines))
            process.stdin.close()
            for answer in process.stdout:
                if answer.strip() == COMPILED:
                    on_compiled()

    def close(self) -> None:
        """End it, whatever it is at: nothing half done is kept."""
        self._process.kill()
        self._process.wait()


def drawn_image(height: int, width: int) -> NDArray[np.uint8]:
    """Draw waves under grain: uint8 ``(height, width, 3)``, RGB; an image that carries a watermark."""
    import numpy as np

    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    waves = 128 + 50 * np.sin(x / 31 + np.cos(y / 47) * 2) + 30 * np.cos(y / 13 - x / 57)
    grain = np.random.default_rng(1).normal(0, 6, (height, width, 3))
    image: NDArray[np.uint8] = np.clip(waves[..., None] + grain, 0, 255).astype(np.uint8)
    return image
