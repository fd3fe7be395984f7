"""How much of the library's speed does the service keep, how evenly does it answer, what does overload do?

A real `fastmark serve` on loopback, asked over connections that stay open by a client in this process. The
library does the same on the same files, in as many processes, in turns with the service; ratios are medians
of such turns. `throughput` has the processor's milliseconds per image besides, of the library, the service's
workers, its front process and the client: on two cores with one worker, nobody waits for a core. `latency` is
that at 80 % of the throughput, with requests evenly spaced and at random times, where theory has p99 at over
four medians already. `overload` offers four times the throughput. `times` asks as the public does: images
without a watermark, and others that are nearly suspected, whose search takes longest. All images are drawn.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import json
import multiprocessing
import os
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

SIDES = {1: (256, 384, 512, 1024, 2048), 2: (384, 1024)}
"""Of the squares, by the number of workers: 0.07 to 4 megapixels."""
FILES = 6  # of one size, every other with a watermark
LEAST_RATIO, MOST_SPREAD, MOST_REFUSAL_MS = 0.8, 3.0, 50.0  # what the service is to reach
SHARE, OVERLOAD = 0.8, 4.0
PUBLIC_SIDES = (256, 512, 1024)
ANSWER_MS = 500  # the default of --answer-ms
LONGEST_SIZES = ((320, 384), (480, 640), (1200, 1600))
FADED = (0.1, 0.13, 0.16, 0.19, 0.22, 0.26, 0.3, 0.35)
"""Shares of a watermark that are tried until an image is nearly suspected."""

Row = dict[str, object]
KEY = fastmark.Key(seeded_bytes("service"))
MARKER = fastmark.Watermarker(KEY)


def drawn(number: int, side: int) -> np.ndarray:
    kinds = [KINDS[name] for name in ("scene", "grainy scan", "scene")]
    return kinds[number % 3](np.random.default_rng([number, side]), side, side)


def jpeg(rgb: np.ndarray, quality: int = 88) -> bytes:
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, "JPEG", quality=quality)
    return file.getvalue()


def files_of(side: int) -> list[bytes]:
    """Files of one size, every other with a watermark."""
    images = (drawn(number, side) for number in range(FILES))
    return [jpeg(MARKER.embed(image, i + 1) if i % 2 else image) for i, image in enumerate(images)]


@contextlib.contextmanager
def serving(folder: Path, workers: int, answer_ms: int = 0) -> Iterator[tuple[str, str, int]]:
    """A service: its URL, a token that sees scores, and its process."""
    from fastmark.service.tokens import Tokens

    key, tokens = folder / "bench.key", folder / "tokens.json"
    if not key.exists():
        KEY.save(key)
    token = Tokens(tokens).add(f"bench{time.monotonic_ns()}", ["scores"], "none")
    command = [sys.executable, "-m", "fastmark", "serve", "--port", "0", "--key", str(key)]
    command += ["--tokens", str(tokens), "--workers", str(workers), "--answer-ms", str(answer_ms)]
    command += ["--rate-public", "none"]
    path = str(Path(fastmark.__file__).parent.parent)
    with (folder / "log").open("wb") as log, (folder / "errors").open("wb") as errors:
        process = subprocess.Popen(
            command, stdout=log, stderr=errors, env=os.environ | {"PYTHONPATH": path}, cwd=folder
        )
    try:
        end = time.monotonic() + 300
        while "ready, " not in (text := (folder / "errors").read_text()):
            if process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"the service did not start: {text}")
            time.sleep(0.1)
        yield text.partition("listening on ")[2].split()[0], token, process.pid
    finally:
        process.terminate()
        process.wait(60)


# ---- the library, in processes of its own ----------------------------------------------------------------


def _library(pipe: multiprocessing.connection.Connection) -> None:
    detector = fastmark.Detector(KEY)
    with contextlib.suppress(EOFError):
        while True:
            files, seconds = pipe.recv()
            for data in files:  # plans and kernels of this size
                fastmark.check(data, detector)
            pipe.send(None)
            pipe.recv()
            count, begin, end = 0, time.process_time(), time.perf_counter() + seconds
            while time.perf_counter() < end:
                fastmark.check(files[count % len(files)], detector)
                count += 1
            pipe.send((count, time.process_time() - begin))


class Library:
    """As many processes as the service has."""

    def __init__(self, workers: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipes, self._processes = [], []
        for _ in range(workers):
            ours, theirs = context.Pipe()
            process = context.Process(target=_library, args=(theirs,), daemon=True)
            process.start()
            theirs.close()
            self._pipes.append(ours)
            self._processes.append(process)

    def run(self, files: list[bytes], seconds: float) -> tuple[float, float]:
        """Return images per second, and the processor's milliseconds per image."""
        for pipe in self._pipes:
            pipe.send((files, seconds))
        for pipe in self._pipes:
            pipe.recv()
        begin = time.perf_counter()
        for pipe in self._pipes:
            pipe.send(None)
        done = [pipe.recv() for pipe in self._pipes]
        passed, count = time.perf_counter() - begin, sum(one for one, _ in done)
        return count / passed, 1e3 * sum(cpu for _, cpu in done) / count

    def close(self) -> None:
        for pipe, process in zip(self._pipes, self._processes, strict=True):
            pipe.close()
            process.join(10)


# ---- the tables ------------------------------------------------------------------------------------------


def check_answers(answers: Sequence[Answer], files: Sequence[bytes], expected: Sequence[str | None]) -> int:
    """Return how many answers are not what the library says of the file."""
    return sum(one.values["id"] != expected[one.number % len(files)] for one in answers if one.status == 200)


def throughput(folder: Path, workers: int, sides: Sequence[int], rounds: int, seconds: float) -> list[Row]:
    library, rows = Library(workers), []
    with serving(folder, workers) as (url, token, pid):
        pids = [pid, *workers_of(pid), os.getpid()]
        for side in sides:
            files = files_of(side)
            expected = [fastmark.check(data, KEY).to_dict()["id"] for data in files]
            client, turns = Client(url, token), []
            requests = [client.request(data) for data in files]
            asyncio.run(_and_close(client, client.closed(requests, workers + 2, 0.5)))
            for _ in range(rounds):
                alone, cpu = library.run(files, seconds)
                before, begin = [cpu_s(one) for one in pids], time.perf_counter()
                answers = asyncio.run(_and_close(client, client.closed(requests, workers + 2, seconds)))
                passed = time.perf_counter() - begin
                wrong = check_answers(answers, files, expected)
                if wrong or any(one.status != 200 for one in answers):
                    raise SystemExit(f"{wrong} answers were wrong, or refused, at {side}")
                used = [1e3 * (cpu_s(p) - b) / len(answers) for p, b in zip(pids, before, strict=True)]
                turns.append((alone, len(answers) / passed, cpu, used[0], sum(used[1:-1]), used[-1]))
            alone, served, cpu, front, at_work, own = (statistics.median(c) for c in zip(*turns, strict=True))
            ratio = statistics.median(turn[1] / turn[0] for turn in turns)
            rows.append({
                "workers": workers, "size": f"{side}x{side}", "library per second": alone,
                "service per second": served, "ratio": ratio, "aim": LEAST_RATIO, "library cpu ms": cpu,
                "worker cpu ms": at_work, "front cpu ms": front, "client cpu ms": own,
            })  # fmt: skip
    library.close()
    return rows


async def _and_close(client: Client, work: object) -> list[Answer]:
    try:
        return await work  # type: ignore[misc]
    finally:
        client.close()


def latency(folder: Path, side: int, turns: int, seconds: float) -> tuple[list[Row], list[Row]]:
    """At 80 % of what one worker does, and at four times as much as it does."""
    files = files_of(side)
    expected = [fastmark.check(data, KEY).to_dict()["id"] for data in files]
    spread, overload = [], []
    with serving(folder, 1) as (url, token, pid):
        client = Client(url, token)
        requests = [client.request(data) for data in files]

        def run(work: object) -> list[Answer]:
            return asyncio.run(_and_close(client, work))

        run(client.closed(requests, 3, 1.0))
        found: dict[str, list[tuple[float, ...]]] = {"even": [], "random": []}
        for _ in range(turns):  # neighbours come and go: medians of turns
            rate = SHARE * len(run(client.closed(requests, 3, seconds))) / seconds
            for name, some in found.items():
                answers = run(client.opened(requests, rate, 2 * seconds, name == "random"))
                taken = [1e3 * one.seconds for one in answers]
                refused = sum(one.status != 200 for one in answers)
                some.append((rate, statistics.median(taken), quantile(taken, 0.99), len(answers), refused))
        for name, some in found.items():
            spread.append({
                "size": f"{side}x{side}", "arrivals": name,
                "per second": statistics.median(t[0] for t in some),
                "requests": sum(t[3] for t in some), "not 200": sum(t[4] for t in some),
                "p50 ms": statistics.median(t[1] for t in some),
                "p99 ms": statistics.median(t[2] for t in some),
                "p99 / p50": statistics.median(t[2] / t[1] for t in some), "aim": MOST_SPREAD,
            })  # fmt: skip
        pids = [pid, *workers_of(pid)]
        before = [resident_mb(one) for one in pids]
        seconds *= 4
        most = len(run(client.closed(requests, 3, seconds / 4))) / (seconds / 4)
        answers = run(client.opened(requests, OVERLOAD * most, seconds))
        after = [resident_mb(one) for one in pids]
        done = [one for one in answers if one.status == 200]
        refused = [1e3 * one.seconds for one in answers if one.status == 429]
        overload.append({
            "size": f"{side}x{side}", "per second": OVERLOAD * most, "requests": len(answers),
            "answered": len(done), "of what it can": len(done) / most / seconds,
            "wrong": check_answers(done, files, expected), "refused": len(refused),
            "others": len(answers) - len(done) - len(refused),
            "refused p50 ms": statistics.median(refused), "refused p99 ms": quantile(refused, 0.99),
            "refused max ms": max(refused), "aim": MOST_REFUSAL_MS,
            "front MB": f"{before[0]:.0f} -> {after[0]:.0f}",
            "worker MB": f"{before[1]:.0f} -> {after[1]:.0f}",
        })  # fmt: skip
    return spread, overload


def nearly(side: int, wanted: int) -> tuple[list[bytes], list[bytes]]:
    """Files without a watermark, and others that are nearly suspected: both have the answer `absent`."""
    without, near = [], []
    for number in range(2 * wanted):
        image = drawn(number, side).astype(float)
        marked = MARKER.embed(drawn(number, side), 5).astype(float)
        if (
            len(without) < wanted
            and MARKER.detect(data := jpeg(image.astype(np.uint8), 60)).state == "absent"
        ):
            without.append(data)
        for share in FADED:
            mixed = jpeg(np.rint(image + share * (marked - image)).clip(0, 255).astype(np.uint8), 60)
            found = MARKER.detect(mixed)
            if found.state == "absent" and found.log10_p < 0:
                near.append(mixed)
            if found.state == "detected":
                break
        if len(near) >= wanted:
            break
    return without, near[:wanted]


def public_times(folder: Path, wanted: int, repeats: int) -> list[Row]:
    from fastmark.service.service import MS_PER_MEGAPIXEL

    rows, detector = [], fastmark.Detector(KEY)
    with serving(folder, 1, ANSWER_MS) as (url, _, _):
        client = Client(url)
        for side in PUBLIC_SIDES:
            period = ANSWER_MS + MS_PER_MEGAPIXEL * side * side / 1e6
            for name, files in zip(("no watermark", "nearly suspected"), nearly(side, wanted), strict=True):
                if not files:
                    continue
                work = []
                for data in files:
                    begin = time.thread_time()
                    fastmark.check(data, detector)
                    work.append(1e3 * (time.thread_time() - begin))
                requests = [client.request(data) for data in files]

                async def one_by_one(requests: list[bytes] = requests) -> list[Answer]:
                    return [
                        await client.ask(i, request)
                        for _ in range(repeats)
                        for i, request in enumerate(requests)
                    ]

                answers = asyncio.run(_and_close(client, one_by_one()))
                taken = [1e3 * one.seconds for one in answers]
                late = [ms - period * max(1, int(ms / period)) for ms in taken]
                rows.append({
                    "size": f"{side}x{side}", "images": name, "files": len(files), "answers": len(answers),
                    "work p50 ms": statistics.median(work), "work max ms": max(work), "period ms": period,
                    "work max / period": max(work) / period,
                    "p50 ms": statistics.median(taken), "max ms": max(taken),
                    "in one period": sum(ms < 2 * period for ms in taken) / len(taken),
                    "least after ms": min(late), "p50 after ms": statistics.median(late),
                    "p99 after ms": quantile(late, 0.99),
                    "kinds of answer": len({_without_file(one.values) for one in answers}),
                })  # fmt: skip
    return rows


def longest() -> list[Row]:
    """How long the work takes, by the answer: the period must be longer wherever that is `absent`."""
    from fastmark.service.service import MS_PER_MEGAPIXEL

    rows, detector = [], fastmark.Detector(KEY)
    for height, width in LONGEST_SIZES:
        period = ANSWER_MS + MS_PER_MEGAPIXEL * height * width / 1e6
        times: dict[str, list[float]] = {
            "no trace": [],
            "nearly suspected": [],
            "possible": [],
            "detected": [],
        }
        for number, name in enumerate(("scene", "grainy scan", "pink noise", "scene") * 2):
            image = KINDS[name](np.random.default_rng([number, height]), height, width)
            try:
                marked = MARKER.embed(image, 5).astype(float)
            except fastmark.errors.ImageTooSmallError:
                continue
            for share in (0.0, *FADED):
                mixed = image + share * (marked - image)
                data = jpeg(np.rint(mixed).clip(0, 255).astype(np.uint8), (85, 60)[number % 2])
                work = []
                for _ in range(2):  # the first may compile, or plan
                    begin = time.thread_time()
                    found = detector.detect(data)[0]
                    work.append(1e3 * (time.thread_time() - begin))
                state = found.state
                if state == "absent":
                    state = "nearly suspected" if found.log10_p < 0 else "no trace"
                times[state].append(min(work))
        rows += [
            {
                "size": f"{height}x{width}", "images": state, "files": len(some), "period ms": period,
                "work p50 ms": statistics.median(some), "work max ms": max(some),
                "work max / period": max(some) / period,
            }
            for state, some in times.items() if some
        ]  # fmt: skip
    return rows


def _without_file(answer: dict[str, object]) -> str:
    return json.dumps({name: value for name, value in answer.items() if name not in ("sha256", "time")})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, help="CSV of all tables")
    parser.add_argument("--tables", default="throughput,latency,times", help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=4, help="turns of library and service; default: 4")
    parser.add_argument("--seconds", type=float, default=1.5, help="of each turn; default: 1.5")
    options = parser.parse_args()
    tables: dict[str, list[Row]] = {}
    with tempfile.TemporaryDirectory() as folder:
        place, wanted = Path(folder), options.tables.split(",")
        if "throughput" in wanted:
            tables["throughput"] = [
                row
                for workers, sides in SIDES.items()
                for row in throughput(place, workers, sides, options.rounds, options.seconds)
            ]
        if "latency" in wanted:
            spread, overload = latency(place, 512, options.rounds + 1, 2 * options.seconds)
            tables |= {"latency": spread, "overload": overload}
        if "times" in wanted:
            tables |= {"times": public_times(place, 6, 3), "longest": longest()}
    for title, rows in tables.items():
        print_table(title, rows)
    if options.output:
        lines = [{"table": title, **row} for title, rows in tables.items() for row in rows]
        write_csv(options.output, header("service", 1, rounds=options.rounds, seconds=options.seconds), lines)


if __name__ == "__main__":
    main()
