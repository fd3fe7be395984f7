"""How much is done at a time: memory that answers wait for, threads that work on images."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

from fastmark._threads import usable_cores


class Crew(Protocol):
    """What works on images: threads here, or the processes of ``fastmark.service.pool.Pool``."""

    @property
    def size(self) -> int:
        """How many images are worked on at a time."""

    async def run(self, name: str, *arguments: Any) -> Any:
        """Call a method of what works; whatever it raises is passed on."""


class Threads:
    """Threads that share one object, and call its methods; they start when they are needed."""

    def __init__(self, make: Callable[[], Any], workers: int) -> None:
        """Prepare them; ``workers`` of 0 is one per core."""
        self.size = workers or usable_cores()
        self._make, self._made, self._making = make, None, threading.Lock()
        self._executor: ThreadPoolExecutor | None = None

    async def run(self, name: str, *arguments: Any) -> Any:
        """Call a method in the next thread that is free; whatever it raises is passed on."""
        if self._executor is None:
            self._executor = ThreadPoolExecutor(self.size, thread_name_prefix="fastmark-image")
        return await asyncio.get_running_loop().run_in_executor(self._executor, self._call, name, arguments)

    def close(self) -> None:
        """End the threads when they are done; a later use starts others."""
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)
            self._executor = None

    def _call(self, name: str, arguments: tuple[Any, ...]) -> Any:
        with self._making:
            if self._made is None:
                self._made = self._make()
        return getattr(self._made, name)(*arguments)


class Room:
    """So many bytes, which are waited for in the order of asking."""

    def __init__(self, size: int) -> None:
        """All are free."""
        self._size = self._free = size
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def free(self) -> int:
        """How many bytes are free."""
        return self._free

    async def take(self, amount: int) -> int:
        """Take some, when they are free, all there are at most; return how many, which are to be given back.

        Who holds some must not wait for more, or all might wait for each other.
        """
        amount = min(amount, self._size)
        if not self._waiting and self.take_now(amount):
            return amount
        future = asyncio.get_running_loop().create_future()
        entry = amount, future
        self._waiting.append(entry)
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self.give(amount)
            else:
                with contextlib.suppress(ValueError):
                    self._waiting.remove(entry)
                self._wake()
            raise
        return amount

    def take_now(self, amount: int) -> bool:
        """Take some if they are free, without waiting; whether they were."""
        if amount > self._free:
            return False
        self._free -= amount
        return True

    def give(self, amount: int) -> None:
        """Give some back."""
        self._free += amount
        self._wake()

    def _wake(self) -> None:
        while self._waiting and self._waiting[0][0] <= self._free:
            amount, future = self._waiting.popleft()
            if not future.done():
                self._free -= amount
                future.set_result(None)


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of all answers together.

    Attributes:
        room: for those that are held.
        turns: as many as are taken apart at a time: one more than there are images at work.
        slots: as many as images are worked on at a time.
    """

    room: Room
    turns: asyncio.Semaphore
    slots: asyncio.Semaphore

    @classmethod
    def of(cls, size: int, crew: Crew) -> Bounds:
        """Return those of so many bytes, and of a crew."""
        return cls(Room(size), asyncio.Semaphore(crew.size + 1), asyncio.Semaphore(crew.size))
