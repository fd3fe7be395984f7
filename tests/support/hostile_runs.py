"""Hostile requests are sent on real sockets, and the server's processes are watched meanwhile."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import socket
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

_SECONDS = 60.0  # that an answer may take
_PATIENCE = 1.5  # that is waited where none need come


@dataclass(frozen=True)
class Case:
    """What is sent, and how.

    Attributes:
        kind: of which it is one.
        parts: sent one after the other.
        pause: seconds between them, and before it is left.
        answers: how many must come.
        leaves: whether the connection is closed at once, and none is waited for.
        silent: whether the server may say nothing: what was sent is no whole request.
    """

    kind: str
    parts: tuple[bytes, ...]
    pause: float = 0.0
    answers: int = 1
    leaves: bool = False
    silent: bool = False


@dataclass(frozen=True)
class Result:
    """What became of a request: statuses of the answers, and milliseconds until the last."""

    kind: str
    statuses: tuple[int, ...]
    ms: float


@dataclass(frozen=True)
class Usage:
    """What the processes of a server use.

    Attributes:
        front: bytes in memory of the process that answers HTTP.
        workers: those of each process that looks at images, by its number.
        files: open in the first.
        threads: of the first.
    """

    front: int
    workers: dict[int, int]
    files: int
    threads: int


def usage(pid: int) -> Usage:
    """What a server uses now, by its process number."""
    children = children_of(pid)
    files, threads = (len([*Path(f"/proc/{pid}/{what}").iterdir()]) for what in ("fd", "task"))
    return Usage(_resident(pid), {child: _resident(child) for child in children}, files, threads)


def children_of(pid: int) -> list[int]:
    """Numbers of the processes that look at images, without the helper of Python's multiprocessing."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += map(int, (task / "children").read_text().split())
    return sorted(
        child for child in found if b"resource_tracker" not in Path(f"/proc/{child}/cmdline").read_bytes()
    )


def _resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def send_all(address: tuple[str, int], cases: Iterable[Case], threads: int) -> list[Result]:
    """Send requests on some connections at a time; results in their order.

    Raises:
        AssertionError: if an answer that must come does not.
    """
    left, lock = iter(cases), threading.Lock()

    def one_after_another(_: int) -> list[tuple[int, Result]]:
        done = []
        while True:
            with lock:
                if (case := next(left, None)) is None:
                    return done
                number = next(numbers)
            begin = time.perf_counter()
            statuses = ask(address, case)
            ms = (time.perf_counter() - begin) * 1e3
            done.append((number, Result(case.kind, tuple(statuses), ms)))

    numbers = itertools.count()
    with ThreadPoolExecutor(threads) as pool:
        parts = list(pool.map(one_after_another, range(threads)))
    return [result for _, result in sorted(itertools.chain(*parts), key=lambda pair: pair[0])]


def ask(address: tuple[str, int], case: Case) -> list[int]:
    """Send a request; return the statuses of the answers.

    Raises:
        AssertionError: if an answer that must come does not, or is none of HTTP.
    """
    with socket.create_connection(address, _SECONDS) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(ConnectionError):  # it may have answered, and listen no more
            for number, part in enumerate(case.parts):
                if number and case.pause:
                    time.sleep(case.pause)
                connection.sendall(part)
        if case.leaves:
            time.sleep(case.pause)
            return []
        if case.silent:
            connection.settimeout(_PATIENCE)
        statuses: list[int] = []
        left = b""
        while len(statuses) < case.answers:
            try:
                status, left = _answer(connection, left, case.parts[0].startswith(b"HEAD "))
            except (ConnectionError, TimeoutError, EOFError) as error:
                assert case.silent, f"{case.kind}: {type(error).__name__} instead of an answer"
                break
            if status >= 200:
                statuses.append(status)
        return statuses


def _answer(connection: socket.socket, data: bytes, head_only: bool) -> tuple[int, bytes]:
    """Read an answer; return its status, and what came behind it."""

    def more() -> bytes:
        if not (got := connection.recv(1 << 16)):
            raise EOFError
        return got

    while b"\r\n\r\n" not in data:
        data += more()
    head, _, data = data.partition(b"\r\n\r\n")
    line, _, rest = head.partition(b"\r\n")
    found = re.fullmatch(rb"HTTP/1\.[01] (\d{3}) [ -~]*", line)
    assert found, line[:100]
    headers = dict(one.lower().split(b": ", 1) for one in rest.split(b"\r\n") if b": " in one)
    status = int(found[1])
    if head_only:
        return status, data
    if b"content-length" in headers:
        length = int(headers[b"content-length"])
        while len(data) < length:
            data += more()
        body, data = data[:length], data[length:]
        if headers.get(b"content-type", b"").startswith(b"application/problem+json"):
            assert json.loads(body)["status"] == status
    elif status >= 200:  # to the end of the connection
        with contextlib.suppress(EOFError):
            while True:
                data += more()
        data = b""
    return status, data
