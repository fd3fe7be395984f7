"""What does `fastmark proxy` cost before an image server, and may its images be worked on by threads?

A server on loopback that answers with an image at once is asked directly, through a real `fastmark proxy`,
and through `FastmarkMiddleware` with threads around the same forwarding, in turns; ways are compared by
medians of such turns. `alone` is the library's own work on the string of one answer: base64, decoding,
watermark, encoding. Latency is of one client, throughput of eight. `small` is how long a request takes
meanwhile that is only passed: how far the work on images holds up all else. `levels` is what zlib's levels
make of watermarked PNGs. All images are drawn.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import io
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from _common import header, one_thread_each, print_table, seeded_bytes, write_csv
from _loading import Answer, Client, cpu_s, quantile, resident_mb, workers_of

one_thread_each()

import numpy as np  # noqa: E402
from _kinds import KINDS  # noqa: E402
from PIL import Image  # noqa: E402

import fastmark  # noqa: E402

CASES = ((512, "PNG"), (1024, "PNG"), (1024, "JPEG"))
CLIENTS, WORKERS = 8, 2
LEVELS = (1, 2, 3, 4, 6)
MESSAGE = "0123456789abcdef"
KEY = fastmark.Key(seeded_bytes("proxy"))
WAYS = ("direct", "proxy", "threads")
HERE = Path(__file__).resolve()

Row = dict[str, object]


class Asking(Client):
    """A client of the Images API, or of a path that is only passed."""

    def request(self, data: bytes) -> bytes:
        head = (
            f"POST /v1/images/generations HTTP/1.1\r\nHost: {self.host}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(data)}\r\n\r\n"
        )
        return head.encode() + data

    def passed(self) -> bytes:
        return f"GET /small HTTP/1.1\r\nHost: {self.host}\r\n\r\n".encode()


def answer_of(side: int, format_name: str) -> bytes:
    """An answer with one image, as servers make them."""
    rgb = KINDS["scene"](np.random.default_rng([1, side]), side, side)
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, format_name, **({"quality": 92} if format_name == "JPEG" else {}))
    data = base64.b64encode(file.getvalue()).decode()
    return json.dumps({"created": 1, "data": [{"b64_json": data}]}).encode()


# ---- processes -------------------------------------------------------------------------------------------


def run_upstream(folder: Path, port: int) -> None:
    """Answer with what the request names; nothing is made."""
    answers = {name: (folder / name).read_bytes() for name in map(_file, CASES)}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                size = int(head.partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
                body = await reader.readexactly(size)
                data = answers[json.loads(body)["case"]] if body else b"{}"
                told = f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
                writer.write(b"HTTP/1.1 200 OK\r\n" + told.encode() + data)
                await writer.drain()
        writer.close()

    async def main() -> None:
        async with await asyncio.start_server(serve, "127.0.0.1", port):
            print("ready, ", file=sys.stderr, flush=True)
            await asyncio.Event().wait()

    asyncio.run(main())


def run_threads(upstream: str, port: int) -> None:
    """The proxy's forwarding, with the middleware's threads in place of processes."""
    import uvicorn

    from fastmark.integrations.answering.upstream import Reach, Upstream
    from fastmark.integrations.asgi import FastmarkMiddleware

    app = FastmarkMiddleware(Upstream(Reach(url=upstream)), KEY, MESSAGE, workers=WORKERS)
    app.make().warm()
    print("ready, ", file=sys.stderr, flush=True)
    uvicorn.run(app, port=port, log_level="error", http="httptools", ws="none", lifespan="off")


@contextlib.contextmanager
def process(folder: Path, *command: str) -> Iterator[int]:
    """A process of Python's, once it says that it is ready."""
    log = folder / f"log-{time.monotonic_ns()}"
    path = str(Path(fastmark.__file__).parent.parent)
    with log.open("wb") as errors:
        started = subprocess.Popen(
            [sys.executable, *command], stderr=errors, env=os.environ | {"PYTHONPATH": path}, cwd=folder
        )
    try:
        end = time.monotonic() + 300
        while "ready, " not in log.read_text():
            if started.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"it did not start: {log.read_text()}")
            time.sleep(0.05)
        yield started.pid
    finally:
        started.terminate()
        started.wait(60)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def _file(case: tuple[int, str]) -> str:
    return f"{case[0]}.{case[1].lower()}"


# ---- measuring -------------------------------------------------------------------------------------------


async def one_by_one(port: int, data: bytes, seconds: float) -> list[Answer]:
    client = Asking(f"http://127.0.0.1:{port}")
    try:
        return await client.closed([client.request(data)], 1, seconds)
    finally:
        client.close()


async def loaded(port: int, data: bytes, seconds: float) -> tuple[list[Answer], list[Answer], float]:
    """All clients at work, and small requests beside them: answers, small answers, seconds passed."""
    client, small = Asking(f"http://127.0.0.1:{port}"), Asking(f"http://127.0.0.1:{port}")
    begin = time.perf_counter()
    try:
        answers, passed = await asyncio.gather(
            client.closed([client.request(data)], CLIENTS, seconds),
            small.opened([small.passed()], 20, seconds),
        )
        return answers, passed, time.perf_counter() - begin
    finally:
        client.close()
        small.close()


def check(answers: Sequence[Answer], marked: bool) -> None:
    """Refuse to measure what is not right."""
    last = answers[-1]
    data = base64.b64decode(json.loads(last.body)["data"][0]["b64_json"])
    found = fastmark.Watermarker(KEY).detect(data)
    if any(one.status != 200 for one in answers) or (found.message_hex == MESSAGE) != marked:
        raise SystemExit(f"wrong answers: {last.status}, {found.state}")


def alone(text: bytes, seconds: float) -> list[float]:
    """Milliseconds of the work on one image's string, of this thread's own time."""
    from fastmark.delivery import Delivery
    from fastmark.integrations.answering.marking import Marking

    marking = Marking(Delivery(fastmark.Watermarker(KEY)), MESSAGE)
    image = json.loads(text)["data"][0]["b64_json"]
    marking.text(image)
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 3:
        begin = time.thread_time()
        marking.text(image)
        times.append(1e3 * (time.thread_time() - begin))
    return times


def levels(turns: int) -> list[Row]:
    """What zlib's levels make of a watermarked PNG: this thread's milliseconds, and bytes."""
    marker, rows = fastmark.Watermarker(KEY), []
    for side, kind in ((512, "scene"), (1024, "scene"), (1024, "grainy scan")):
        marked = Image.fromarray(marker.embed(KINDS[kind](np.random.default_rng([1, side]), side, side), 1))
        times: dict[int, list[float]] = {level: [] for level in LEVELS}
        sizes = {}
        for _ in range(turns):
            for level in LEVELS:
                file, begin = io.BytesIO(), time.thread_time()
                marked.save(file, "PNG", compress_level=level)
                times[level].append(1e3 * (time.thread_time() - begin))
                sizes[level] = len(file.getvalue())
        rows += [
            {
                "size": f"{side}x{side}", "kind": kind, "level": level, "ms": statistics.median(times[level]),
                "of level 6's time": statistics.median(times[level]) / statistics.median(times[6]),
                "bytes": sizes[level], "of level 6's bytes": sizes[level] / sizes[6],
            }
            for level in LEVELS
        ]  # fmt: skip
    return rows


def measure(
    case: tuple[int, str],
    ports: dict[str, int],
    pids: dict[str, list[int]],
    text: bytes,
    rounds: int,
    seconds: float,
) -> list[Row]:
    data = json.dumps({"case": _file(case)}).encode()
    single: dict[str, list[float]] = {way: [] for way in WAYS}
    rates: dict[str, list[float]] = {way: [] for way in WAYS}
    costs: dict[str, list[float]] = {way: [] for way in WAYS}
    health: dict[str, list[float]] = {way: [] for way in WAYS}
    for way, port in ports.items():  # connections, kernels and plans of this size
        check(asyncio.run(one_by_one(port, data, 0.3)), way != "direct")
    for _ in range(rounds):
        for way, port in ports.items():
            single[way] += [1e3 * one.seconds for one in asyncio.run(one_by_one(port, data, seconds))]
            before = sum(map(cpu_s, pids[way]))
            answers, small, passed = asyncio.run(loaded(port, data, seconds))
            costs[way].append(1e3 * (sum(map(cpu_s, pids[way])) - before) / len(answers))
            rates[way].append(len(answers) / passed)
            health[way] += [1e3 * one.seconds for one in small]
            check(answers, way != "direct")
    direct = statistics.median(single["direct"])
    work = statistics.median(alone(text, seconds))
    rows: list[Row] = []
    for way in WAYS:
        ms = statistics.median(single[way])
        rows.append({
            "size": f"{case[0]}x{case[0]}", "format": case[1], "way": way, "ms": ms,
            "p90 ms": quantile(single[way], 0.9), "added ms": ms - direct, "alone ms": work,
            "per second": statistics.median(rates[way]), "cpu ms": statistics.median(costs[way]),
            "small ms": statistics.median(health[way]), "small p95 ms": quantile(health[way], 0.95),
            "resident MB": sum(map(resident_mb, pids[way])) if pids[way] else None,
        })  # fmt: skip
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, help="CSV of the table")
    parser.add_argument("--rounds", type=int, default=3, help="turns of the three ways; default: 3")
    parser.add_argument("--seconds", type=float, default=1.5, help="of each turn; default: 1.5")
    parser.add_argument("--run", nargs=3, metavar=("WHAT", "WHERE", "PORT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        what, where, port = options.run
        if what == "upstream":
            run_upstream(Path(where), int(port))
        else:
            run_threads(where, int(port))
        return
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        KEY.save(folder / "bench.key")
        texts = {case: answer_of(*case) for case in CASES}
        for case, text in texts.items():
            (folder / _file(case)).write_bytes(text)
        ports = {way: free_port() for way in WAYS}
        upstream = f"http://127.0.0.1:{ports['direct']}"
        start = [str(HERE), "--run"]
        stack.enter_context(process(folder, *start, "upstream", str(folder), str(ports["direct"])))
        threads = stack.enter_context(process(folder, *start, "threads", upstream, str(ports["threads"])))
        front = stack.enter_context(
            process(
                folder, "-m", "fastmark", "proxy", "--upstream", upstream, "--key", "bench.key",
                "--message", MESSAGE, "--port", str(ports["proxy"]), "--workers", str(WORKERS),
            )
        )  # fmt: skip
        pids = {"direct": [], "proxy": [front, *workers_of(front)], "threads": [threads]}
        for case, text in texts.items():
            rows += measure(case, ports, pids, text, options.rounds, options.seconds)
    tables = {"ways": rows, "levels": levels(3)}
    for title, table in tables.items():
        print_table(title, table)
    if options.output:
        lines = header("proxy", WORKERS, clients=CLIENTS, rounds=options.rounds, seconds=options.seconds)
        told = [{"table": title, **row} for title, table in tables.items() for row in table]
        write_csv(options.output, lines, told)


if __name__ == "__main__":
    main()
