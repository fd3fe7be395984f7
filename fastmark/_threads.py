"""One image, several threads: strips of rows, each the work of a kernel that holds no lock.

Strips are the same for any number of threads, and so are their sums and the bits of the results.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

_Result = TypeVar("_Result")

_ROWS = 128
"""Rows in a strip: enough work to be worth a call, few enough for an even share."""

_MOST_THREADS = 64
_lock = threading.Lock()
_pool: ThreadPoolExecutor | None = None


def in_strips(
    work: Callable[[int, int], _Result], n_rows: int, threads: int, rows: int = _ROWS
) -> list[_Result]:
    """Apply ``work(first, last)`` to strips of ``n_rows`` rows; the results in order.

    Args:
        work: of rows ``first`` to ``last``, the last one excluded; it must not call this function.
        n_rows: how many there are.
        threads: how many work at a time, the caller's among them.
        rows: rows in a strip.
    """
    strips = [(first, min(first + rows, n_rows)) for first in range(0, n_rows, rows)]
    threads = min(threads, len(strips))
    if threads <= 1:
        return [work(*strip) for strip in strips]
    results: dict[int, _Result] = {}
    numbers = iter(range(len(strips)))  # whoever is free takes the next

    def take() -> None:
        for number in numbers:
            results[number] = work(*strips[number])

    others = [_workers().submit(take) for _ in range(threads - 1)]
    try:
        take()
    finally:
        wait(others)
    for other in others:
        other.result()
    return [results[number] for number in range(len(strips))]


def usable_cores() -> int:
    """How many cores this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _workers() -> ThreadPoolExecutor:
    """Return the threads of this process: started once, for that takes as long as a strip."""
    global _pool
    with _lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(_MOST_THREADS, thread_name_prefix="fastmark")
        return _pool


def _forget_workers() -> None:
    """Start anew in a forked child, which has the pool but not its threads."""
    global _lock, _pool
    _lock, _pool = threading.Lock(), None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_workers)
