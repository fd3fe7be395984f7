"""Processes that look at images: each is replaced where an image kills it, or takes too long.

Threads would not do. A decoder that crashes would take the service with it, one that hangs could not be
stopped, and the process that answers HTTP would wait for Python's lock.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any

from fastmark._threads import usable_cores
from fastmark.errors import ServiceError

_log = logging.getLogger("fastmark.service")

START_SECONDS = 600.0
"""Within which a process must be ready; where kernels are not in the cache, it compiles them first."""

_SPAWN = multiprocessing.get_context("spawn")  # fork would copy the locks of numba and FFTW
_READY = "ready"


class LostError(Exception):
    """The process died of what it was given, or was ended for taking too long; the message says which."""


class Pool:
    """Processes that each keep what ``make`` returned, and call its methods."""

    def __init__(self, make: Callable[[], Any], workers: int, seconds: float) -> None:
        """Prepare the pool; :meth:`start` starts it.

        Args:
            make: called in each process; it and what the methods take and return must be picklable.
            workers: how many processes; 0 for one per core.
            seconds: that a call may take.
        """
        count = workers or usable_cores()
        self.seconds = seconds
        self.ready = False
        self._workers = [_Worker(make) for _ in range(count)]
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="fastmark-worker")
        self._idle: asyncio.Queue[_Worker] = asyncio.Queue()
        self._reviving: set[asyncio.Task[None]] = set()
        self._working: set[asyncio.Task[Any]] = set()

    @property
    def size(self) -> int:
        """How many processes there are."""
        return len(self._workers)

    async def start(self) -> None:
        """Start all processes, and wait until they are ready.

        Raises:
            ServiceError: if one does not start.
        """
        await asyncio.gather(*(self._in_thread(worker.start) for worker in self._workers))
        for worker in self._workers:
            self._idle.put_nowait(worker)
        self.ready = True

    async def run(self, name: str, *arguments: Any) -> Any:
        """Call a method in the next process that is free.

        Cancelled while it works, the process goes on, and is free again when it has ended.

        Raises:
            LostError: if the process did not survive it, or took too long.
            Exception: whatever the method raised.
        """
        worker = await self._idle.get()
        while not worker.alive:  # it was killed while it waited: that is no fault of this image
            self._replace(worker, "died while it waited")
            worker = await self._idle.get()
        work = asyncio.create_task(self._work(worker, name, arguments))
        self._working.add(work)
        work.add_done_callback(self._ended)
        try:
            return await asyncio.shield(work)
        finally:
            # or it, its error and this frame hold one another, and the image with them
            del work

    def _ended(self, work: asyncio.Task[Any]) -> None:
        self._working.discard(work)
        if not work.cancelled():
            work.exception()  # asked for, as nobody else may be there to do so

    async def _work(self, worker: _Worker, name: str, arguments: tuple[Any, ...]) -> Any:
        told = "died"
        try:
            return await self._in_thread(worker.call, name, arguments, self.seconds)
        except LostError as error:
            told = str(error)
            raise
        finally:
            if worker.alive:
                self._idle.put_nowait(worker)
            else:
                self._replace(worker, told)

    async def close(self) -> None:
        """End all processes; none may be in use."""
        for task in tuple(self._reviving):
            task.cancel()
        self.ready = False
        for worker in self._workers:
            worker.end(over=True)
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _replace(self, worker: _Worker, told: str) -> None:
        _log.warning("a worker process %s, and another is started", told)
        task = asyncio.create_task(self._revive(worker))
        self._reviving.add(task)
        task.add_done_callback(self._reviving.discard)

    async def _revive(self, worker: _Worker) -> None:
        wait = 1.0
        while True:
            try:
                await self._in_thread(worker.start)
            except ServiceError as error:
                _log.error("%s; another try in %d s", error, wait)
                await asyncio.sleep(wait)
                wait = min(60.0, 2 * wait)
            else:
                self._idle.put_nowait(worker)
                return

    async def _in_thread(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)


class _Worker:
    """One process, and the pipe to it; used by one thread at a time."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._process: SpawnProcess | None = None
        self._pipe: Connection | None = None
        self._lock = threading.Lock()
        self._over = False

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.is_alive()

    def start(self) -> None:
        """Start the process, and wait until it is ready."""
        with self._lock:
            if self._over:
                raise ServiceError("a worker process did not start: the service ends")
            self._pipe, theirs = _SPAWN.Pipe()
            self._process = _SPAWN.Process(target=_serve, args=(theirs, self._make), daemon=True)
            self._process.start()
            theirs.close()
        try:
            told = self._answer(START_SECONDS)
        except LostError:
            told = "it died"
        if told != _READY:
            self.end()
            raise ServiceError(f"a worker process did not start: {told}")

    def call(self, name: str, arguments: tuple[Any, ...], seconds: float) -> Any:
        """Send a call, and wait for its answer."""
        assert self._pipe is not None
        try:
            self._pipe.send((name, arguments))
            done, value = self._answer(seconds)
        except OSError as error:  # it is gone, and does not read
            self.end()
            raise LostError("died") from error
        if done:
            return value
        try:
            raise value
        finally:
            del value  # NOTE: it holds this frame, which would hold it: a circle that keeps the image

    def _answer(self, seconds: float) -> Any:
        process, pipe = self._process, self._pipe
        told = "was ended"
        with contextlib.suppress(EOFError, OSError):
            if process is not None and pipe is not None:  # else it was ended meanwhile
                told = "died"
                if pipe.poll(seconds):
                    return pipe.recv()
                told = f"took longer than {seconds:g} seconds"
        self.end()
        raise LostError(told)

    def end(self, *, over: bool = False) -> None:
        """End the process at once, ``over`` for good; it holds nothing that would be lost."""
        with self._lock:
            self._over |= over
            process = self._process
            # NOTE: the pipe closes with its last reference: a thread that is about to wait on it must not
            # find its number closed, or given to another file; it wakes as the process dies
            self._process = self._pipe = None
            if process is not None:
                process.kill()
                process.join()
                process.close()


def _serve(pipe: Connection, make: Callable[[], Any]) -> None:
    """Answer calls until the pipe is closed: by the service, or with its end, however that comes."""
    for number in (signal.SIGINT, signal.SIGTERM):  # sent to all processes: the service says when to end
        signal.signal(number, signal.SIG_IGN)
    from fastmark._imports import own_process

    own_process()
    dump_nothing()
    try:
        made = make()
    except Exception as error:
        with contextlib.suppress(OSError):
            pipe.send(f"{type(error).__name__}: {error}")
        return
    say_nothing()
    with contextlib.suppress(EOFError, OSError):
        pipe.send(_READY)
        while True:
            name, arguments = pipe.recv()
            try:
                answer = True, getattr(made, name)(*arguments)
            except Exception as error:
                error.add_note(place_of(error))
                answer = False, error.with_traceback(None)  # whose frames hold the image
            del arguments
            try:
                pipe.send(answer)
            except Exception as error:  # an error that cannot be pickled
                pipe.send((False, RuntimeError(f"{type(error).__name__} while answering")))
            del answer


def place_of(error: BaseException) -> str:
    """Return the file and line where an error was raised, in this process or in one of a pool.

    It stands in the log in place of the error's text, which may quote what somebody sent.
    """
    if notes := getattr(error, "__notes__", ()):
        return str(notes[0])
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "?" if trace is None else f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"


def say_nothing() -> None:
    """Close this process's way to the log: decoders, in C too, tell on it what they find in images."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)


def dump_nothing() -> None:
    """See that no file of the process's memory, and so of an image, is left where a decoder crashes."""
    with contextlib.suppress(ImportError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
