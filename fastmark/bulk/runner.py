"""Runner: a pool of processes fed by one thread that reads, results recorded as they come.

::

    reader thread: sources -> batches --+
                                        +--> main thread: hands out, records, commits, shows progress
    processes: read, decode, work  -----+

So many batches may be between being read and being recorded, and no more: memory is bounded by that.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import FrameType
from typing import Any

from fastmark.bulk.readers import Picture
from fastmark.bulk.worker import Job, Work, add_seconds, failed, start, work
from fastmark.errors import FastmarkError

IN_HAND = 3
"""Batches a worker: one being worked on, one waiting for it, one being read."""

BATCH_PICTURES, BATCH_BYTES = 16, 1 << 20
DIED = "the process that worked on this picture died: out of memory, or a fault in a decoder"


class Stop:
    """Whether to stop, told by Ctrl-C or SIGTERM; a second Ctrl-C stops at once."""

    def __init__(self, *, quiet: bool) -> None:
        """Nobody has asked yet."""
        self.asked = threading.Event()
        self._quiet = quiet

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Take signals, where this thread may: others than the main one leave that to their program."""
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
            os.write(2, b"\nfastmark: finishing the pictures in hand; once more stops at once\n")


class Pool:
    """Worker processes, made anew when one dies."""

    def __init__(self, job: Job, workers: int) -> None:
        """Nothing is started before the first batch."""
        self._job = job
        self._workers = workers
        self._executor = self._make(workers)

    def _make(self, workers: int) -> ProcessPoolExecutor:
        # spawn: fork would copy the thread state of Numba and FFTW
        context = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(workers, mp_context=context, initializer=start, initargs=(self._job,))

    def submit(self, batch: list[Picture]) -> Future[Work]:
        """Hand a batch out."""
        with _interrupts_blocked():  # by the processes that this starts
            try:
                return self._executor.submit(work, batch)
            except BrokenProcessPool:  # one died between batches
                self.restart()
                return self._executor.submit(work, batch)

    def work_through(self, batch: list[Picture]) -> Work:
        """Work on a batch and wait for it; should a process die of it, on its pictures one by one."""
        try:
            return self.submit(batch).result()
        except BrokenProcessPool:
            self.restart()
            return self.one_by_one(batch)

    def restart(self) -> None:
        """Leave a broken pool behind."""
        self._executor.shutdown(wait=False)
        self._executor = self._make(self._workers)

    def one_by_one(self, batch: list[Picture]) -> Work:
        """Work on pictures alone, each with the machine to itself; one that a process dies of is reported.

        Raises:
            FastmarkError: if processes die without any picture.
        """
        whole = Work()
        alone = self._make(1)
        try:
            for picture in batch:
                try:
                    with _interrupts_blocked():
                        future = alone.submit(work, [picture])
                    done = future.result()
                except BrokenProcessPool:
                    whole.results.append(failed(picture, DIED))
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
                "worker processes die as they start; a script that calls fastmark.bulk does so under"
                " if __name__ == '__main__'"
            ) from None

    def close(self, *, at_once: bool) -> None:
        """End the processes; what they are working on is finished first unless ``at_once``."""
        if at_once:
            # public from Python 3.14 on, as kill_workers
            for process in list((getattr(self._executor, "_processes", None) or {}).values()):
                process.kill()
        self._executor.shutdown(wait=True, cancel_futures=True)


@contextlib.contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Have processes that are started inside never see Ctrl-C, not even while they start."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def run(
    batches: Iterator[list[Picture]],
    job: Job,
    workers: int,
    record: Callable[[list[Picture], Work], int],
    tick: Callable[[], None],
    stop: Stop,
) -> None:
    """Work on every batch and record what comes of it, until there are no more or ``stop`` is asked.

    Args:
        batches: read in a thread of its own.
        job: what to do.
        workers: processes.
        record: called in this thread with every batch and its results, in any order; tells how many
            batches are off its hands since it was last called.
        tick: called in this thread several times a second.
        stop: ends it early; what is in hand is still worked on and recorded.

    Raises:
        whatever reading the batches raised, once all that was read before has been recorded.
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
    in_hand: dict[Future[Work], list[Picture]] = {}
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
    in_hand: dict[Future[Work], list[Picture]],
    pool: Pool,
    record: Callable[[list[Picture], Work], int],
    room: threading.Semaphore,
    stop: Stop,
) -> BaseException | None:
    """Record a batch that is done; where its process died, try all that died with it one by one."""
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
    for other, pictures in suspects:
        if other.done() and not other.cancelled() and other.exception() is None:
            _release(room, record(pictures, other.result()))
        elif not stop.asked.is_set():  # else they are left for the next run
            _release(room, record(pictures, pool.one_by_one(pictures)))
    return None


def _release(room: threading.Semaphore, batches: int) -> None:
    for _ in range(batches):
        room.release()


def default_workers() -> int:
    """One a core that this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
