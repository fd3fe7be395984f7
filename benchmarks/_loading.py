"""A client that costs little, and what processes cost: for measuring a service."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_TICK = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


@dataclass(frozen=True, slots=True)
class Answer:
    """Of one request: its number, when it was sent and how long it took (seconds), and what came."""

    number: int
    sent: float
    seconds: float
    status: int
    body: bytes

    @property
    def values(self) -> dict[str, Any]:
        return json.loads(self.body)


class Client:
    """Keep-alive connections to one service; a request that finds none free opens one."""

    def __init__(self, url: str, token: str | None = None) -> None:
        self.host, _, port = url.removeprefix("http://").partition("/")[0].rpartition(":")
        self.port, self._free = int(port), []
        self._token = f"Authorization: Bearer {token}\r\n" if token else ""

    def request(self, data: bytes) -> bytes:
        """Return the bytes of a request for an image."""
        head = (
            f"POST /v1/detect HTTP/1.1\r\nHost: {self.host}\r\n{self._token}Content-Type: image/jpeg\r\n"
            f"Content-Length: {len(data)}\r\n\r\n"
        )
        return head.encode() + data

    async def ask(self, number: int, request: bytes) -> Answer:
        begin = time.perf_counter()
        reader, writer = (
            self._free.pop() if self._free else await asyncio.open_connection(self.host, self.port)
        )
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        body = await reader.readexactly(int(re.search(rb"content-length: (\d+)", head.lower())[1]))
        seconds = time.perf_counter() - begin
        if b"connection: close" in head.lower():
            writer.close()
        else:
            self._free.append((reader, writer))
        return Answer(number, begin, seconds, int(head.split(b" ", 2)[1]), body)

    def close(self) -> None:
        for _, writer in self._free:
            writer.close()
        self._free.clear()

    async def closed(self, requests: Sequence[bytes], clients: int, seconds: float) -> list[Answer]:
        """Let some clients ask, each again as soon as it is answered."""
        answers: list[Answer] = []
        end = time.perf_counter() + seconds

        async def one(number: int) -> None:
            while time.perf_counter() < end:
                answers.append(await self.ask(number, requests[number % len(requests)]))
                number += clients

        await asyncio.gather(*map(one, range(clients)))
        return answers

    async def opened(
        self, requests: Sequence[bytes], rate: float, seconds: float, random_times: bool = False
    ) -> list[Answer]:
        """Ask so many times per second, whether there are answers or not: evenly, or as chance has it."""
        rng = random.Random(1)
        start, due, asking = time.perf_counter(), 0.0, []
        while due < seconds:
            await asyncio.sleep(start + due - time.perf_counter())
            number = len(asking)
            asking.append(asyncio.create_task(self.ask(number, requests[number % len(requests)])))
            due += rng.expovariate(rate) if random_times else 1 / rate
        return list(await asyncio.gather(*asking))


def cpu_s(pid: int) -> float:
    """Seconds of processor that a process has used, by all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def resident_mb(pid: int) -> float:
    """Memory of a process, MB."""
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) / 1024


def workers_of(pid: int) -> list[int]:
    """Processes that were spawned by a process, but for Python's own helpers."""
    children = [
        int(child)
        for task in Path(f"/proc/{pid}/task").iterdir()
        for child in (task / "children").read_text().split()
    ]
    return [child for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that so large a share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
