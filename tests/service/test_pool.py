"""Processes that survive what images do to them."""

import asyncio
import functools
import multiprocessing.connection
import os
import threading
import time

import pytest

from fastmark.errors import InvalidImageError, ServiceError
from fastmark.service import pool
from fastmark.service.pool import LostError, Pool, place_of


class Bench:
    """Does what tests ask."""

    def __init__(self, start=None):
        if start is not None:
            raise start

    def echo(self, value):
        return value

    def pid(self):
        return os.getpid()

    def die(self):
        os._exit(1)

    def hang(self, seconds):
        time.sleep(seconds)

    def fail(self):
        raise InvalidImageError("the image is damaged")

    def odd(self):
        return lambda: None  # cannot be pickled


def run(test, workers=1, seconds=30.0, make=Bench):
    """Run a coroutine function with a pool that was started."""

    async def whole():
        pool = Pool(make, workers, seconds)
        try:
            await pool.start()
            return await test(pool)
        finally:
            await pool.close()

    return asyncio.run(whole())


def test_values_go_there_and_back_and_errors_keep_their_kind():
    async def test(pool):
        data = os.urandom(5 << 20)
        assert await pool.run("echo", data) == data
        with pytest.raises(InvalidImageError, match="damaged") as error:
            await pool.run("fail")
        assert place_of(error.value).startswith(__file__)  # of the process, not of this one
        with pytest.raises(RuntimeError):
            await pool.run("odd")
        return await pool.run("pid")

    assert run(test) != os.getpid()


def test_a_process_that_dies_loses_its_own_call_and_no_other():
    async def test(pool):
        calls = [pool.run("die"), *(pool.run("echo", i) for i in range(20))]
        done = await asyncio.gather(*calls, return_exceptions=True)
        assert isinstance(done[0], LostError)
        assert done[1:] == list(range(20))

    run(test, workers=2)


def test_a_call_that_takes_too_long_is_ended():
    async def test(pool):
        first = await pool.run("pid")
        with pytest.raises(LostError):
            await pool.run("hang", 60)
        assert await pool.run("pid") != first

    run(test, seconds=1.5)


def test_a_call_that_is_cancelled_leaves_its_process_to_end_it():
    async def test(pool):
        waiting = asyncio.create_task(pool.run("hang", 1.0))
        await asyncio.sleep(0.2)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        # were the process given out while it is at work, another's answer would come back from it
        assert pool._idle.qsize() == 1
        assert await asyncio.gather(*(pool.run("echo", i) for i in range(6))) == list(range(6))

    run(test, workers=2)


def test_a_process_that_was_killed_while_idle_costs_no_call():
    async def test(pool):
        os.kill(await pool.run("pid"), 9)
        await asyncio.sleep(0.3)
        assert await pool.run("echo", 1) == 1

    run(test)


def test_a_process_that_cannot_start_is_told():
    async def test(pool):
        raise AssertionError

    with pytest.raises(ServiceError, match="did not start: ValueError: no such key"):
        run(test, make=functools.partial(Bench, ValueError("no such key")))


def test_processes_end_with_the_pool():
    pids = []

    async def test(pool):
        pids.extend(await asyncio.gather(*(pool.run("pid") for _ in range(4))))

    run(test, workers=2)
    for pid in set(pids):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_thread_that_waits_for_a_process_wakes_as_that_is_ended(monkeypatch):
    worker = pool._Worker(Bench)
    worker.start()
    waiting, ended = threading.Event(), threading.Event()

    class Late(multiprocessing.connection._WaitSelector):
        """Waits on a number that was taken before the process was ended."""

        def select(self, timeout=None):
            waiting.set()
            ended.wait(10)
            return super().select(timeout)

    monkeypatch.setattr(multiprocessing.connection, "_WaitSelector", Late)

    def wait():
        with pytest.raises(LostError):
            worker._answer(20)

    thread = threading.Thread(target=wait)
    thread.start()
    assert waiting.wait(10)
    worker.end(over=True)
    taken = [os.pipe() for _ in range(5)]  # the numbers that are free
    ended.set()
    thread.join(10)
    assert not thread.is_alive()
    for end in sum(taken, ()):
        os.close(end)
