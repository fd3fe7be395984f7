"""Runner: a pool of processes, fed by one thread that reads; results are recorded as they come.

::

    reader thread: sources -> batches --+
                                        +--> main thread: hands out, records, commits, shows progress
    processes: read, decode, work  -----+

``IN_HAND`` batches per worker may be between being read and being recorded, which bounds the memory.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import queue
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import FrameType
from typing import Any

from fastmark.bulk.records import Item, Work, add_seconds, failed
from fastmark.bulk.worker import Job, start, work
from fastmark.errors import FastmarkError

IN_HAND = 3
"""Batches per worker: one being worked on, one waiting for it, one being read."""

BATCH_ITEMS, BATCH_BYTES = 16, 1 << 20
DIED = "the process that worked on this image died: out of memory, or a fault in a decoder"


class Stop:
    """The request to stop, by Ctrl-C or SIGTERM; a second Ctrl-C stops at once."""

    def __init__(self, *, quiet: bool) -> None:
        """Start with no request; ``quiet`` to print nothing when one comes."""
        self.asked = threading.Event()
        self._quiet = quiet

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Take the signals, if this is the main thread; in others they are left to the program."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {
            number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.asked.is_set():
            raise KeyboardInterrupt
        self.asked.set()
        if not self._quiet:
            # NOTE: not print: the signal may have come in the middle of one
            os.write(2, b"\nfastmark: finishing the images in hand; once more stops at once\n")


class Pool:
    """Worker processes, started again when one dies."""

    def __init__(self, job: Job, workers: int) -> None:
        """Prepare the pool; no process is started before the first batch."""
        self._job = job
        self._workers = workers
        self._executor = self._make(workers)

    def _make(self, workers: int) -> ProcessPoolExecutor:
        # spawn: fork would copy the thread state of Numba and FFTW
        context = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(workers, mp_context=context, initializer=start, initargs=(self._job,))

    def submit(self, batch: list[Item]) -> Future[Work]:
        """Hand a batch out."""
        with _interrupts_blocked():  # by the processes that this starts
            try:
                return self._executor.submit(work, batch)
            except BrokenProcessPool:  # one died between batches
                self.restart()
                return self._executor.submit(work, batch)

    def work_through(self, batch: list[Item]) -> Work:
        """Work on a batch and wait for it; if its process dies, work on its items one by one."""
        try:
            return self.submit(batch).result()
        except BrokenProcessPool:
            self.restart()
            return self.one_by_one(batch)

    def restart(self) -> None:
        """Replace a broken pool."""
        self._executor.shutdown(wait=False)
        self._executor = self._make(self._workers)

    def one_by_one(self, batch: list[Item]) -> Work:
        """Work on items one at a time; one that its process dies of is an error.

        Raises:
            FastmarkError: if a process dies without any item.
        """
        whole = Work()
        alone = self._make(1)
        try:
            for item in batch:
                try:
                    with _interrupts_blocked():
                        future = alone.submit(work, [item])
                    done = future.result()
                except BrokenProcessPool:
                    whole.results.append(failed(item, DIED))
                    alone.shutdown(wait=False)
                    alone = self._make(1)
                    self._check(alone)
                    continue
                whole.results += done.results
                add_seconds(whole.seconds, done.seconds)
        finally:
            alone.shutdown()
        return whole

    @staticmethod
    def _check(executor: ProcessPoolExecutor) -> None:
        try:
            with _interrupts_blocked():
                future = executor.submit(work, [])
            future.result()
        except BrokenProcessPool:
            raise FastmarkError(
                "worker processes die as they start; a script must call fastmark.bulk under"
                " if __name__ == '__main__'"
            ) from None

    def close(self, *, at_once: bool) -> None:
        """End the processes; they finish their batches first unless ``at_once``."""
        if at_once:
            # public from Python 3.14 on, as kill_workers
            for process in list((getattr(self._executor, "_processes", None) or {}).values()):
                process.kill()
        self._executor.shutdown(wait=True, cancel_futures=True)


@contextlib.contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Block Ctrl-C in processes that are started inside, even while they start."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def run(
    batches: Iterator[list[Item]],
    job: Job,
    workers: int,
    record: Callable[[list[Item], Work], int],
    tick: Callable[[], None],
    stop: Stop,
) -> None:
    """Work on every batch and record the results, until there are no more or ``stop`` is asked.

    Args:
        batches: read in a separate thread.
        job: done with every item.
        workers: number of processes.
        record: called in this thread with every batch and its results, in any order; returns how many
            batches it has fully handled since it was last called.
        tick: called in this thread several times a second.
        stop: ends it early; batches in hand are still worked on and recorded.

    Raises:
        any error of reading the batches, once the batches before it have been recorded.
    """
    events: queue.SimpleQueue[Any] = queue.SimpleQueue()
    room = threading.Semaphore(IN_HAND * workers)
    ended, no_more = object(), threading.Event()

    def read() -> None:
        try:
            for batch in batches:
                room.acquire()
                if no_more.is_set():
                    break
                events.put(batch)
            events.put(ended)
        except BaseException as error:  # raised again where it can be dealt with
            events.put(error)

    pool = Pool(job, workers)
    in_hand: dict[Future[Work], list[Item]] = {}
    trouble: BaseException | None = None
    reading = True
    at_once = True
    # a daemon: it may be waiting for a standard input that never ends
    threading.Thread(target=read, name="reader", daemon=True).start()
    try:
        while reading or in_hand:
            with contextlib.suppress(queue.Empty):
                event = events.get(timeout=0.2)
                if isinstance(event, list):
                    if reading:
                        future = pool.submit(event)
                        in_hand[future] = event
                        future.add_done_callback(events.put)
                elif isinstance(event, Future):
                    trouble = _settle(event, in_hand, pool, record, room, stop) or trouble
                elif event is ended:
                    reading = False
                else:
                    reading, trouble = False, trouble or event
            if stop.asked.is_set() or trouble:
                reading = False
                for future in list(in_hand):
                    if future.cancel():
                        del in_hand[future]
            tick()
        at_once = False
    finally:
        no_more.set()
        room.release()  # the reader may be waiting there
        pool.close(at_once=at_once)
    if trouble is not None:
        raise trouble


def _settle(
    future: Future[Work],
    in_hand: dict[Future[Work], list[Item]],
    pool: Pool,
    record: Callable[[list[Item], Work], int],
    room: threading.Semaphore,
    stop: Stop,
) -> BaseException | None:
    """Record a batch that is done; if its process died, try all batches that died with it item by item."""
    batch = in_hand.pop(future, None)
    if batch is None:  # cancelled, or of a pool that broke
        return None
    try:
        _release(room, record(batch, future.result()))
        return None
    except BrokenProcessPool:
        pass
    except FastmarkError as error:
        return error
    suspects = [(future, batch), *in_hand.items()]
    in_hand.clear()
    pool.restart()
    for other, items in suspects:
        if other.done() and not other.cancelled() and other.exception() is None:
            _release(room, record(items, other.result()))
        elif not stop.asked.is_set():  # else they are left for the next run
            _release(room, record(items, pool.one_by_one(items)))
    return None


def _release(room: threading.Semaphore, batches: int) -> None:
    for _ in range(batches):
        room.release()
