"""Does anything that is sent harm the service? Ten thousand requests that are meant to, on real sockets.

A service on loopback gets damaged files of every format that is read, files that lie about their size or grow
beyond all bounds, broken forms, JSON, heads, lengths and chunks, tokens of any bytes, clients that leave or
drip; see ``tests/support/hostile.py``. A tenth of them come mixed, the others kind by kind, in two rounds.
For each kind of the second: statuses of the answers, milliseconds from the connection to the last answer
(four clients at a time), memory of the process that answers HTTP, and of those that look at images.

It is short where an answer is missing, a status is 500 or more, a process died, a file was left or is still
open, or the memory of all processes grew by more than a twentieth in the second round. Bombs are looked at
apart: a process keeps what the largest image it has met took, so that they raise it until each has met each.
"""

from __future__ import annotations

import argparse
import collections
import itertools
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path
from urllib.parse import urlsplit

from _common import header, one_thread_each, print_table, seeded_bytes, write_csv

one_thread_each()
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "support"))

import numpy as np  # noqa: E402
from hostile import KINDS, Arsenal  # noqa: E402
from hostile_runs import Result, Usage, send_all, usage  # noqa: E402
from pictures import drawn  # noqa: E402
from services import Server, encoded, serving  # noqa: E402

import fastmark  # noqa: E402
from fastmark.companions import Companions  # noqa: E402
from fastmark.delivery import Delivery  # noqa: E402
from fastmark.registry import Registry  # noqa: E402
from fastmark.service.reports import ReportKeys  # noqa: E402
from fastmark.service.tokens import Tokens  # noqa: E402

CLIENTS = 4
MEBIBYTE = 1 << 20
MOST_GROWTH = 0.05  # of memory in the second round, apart from bombs
MOST_PEAK = 64 * MEBIBYTE  # by which bombs may raise it for each process
OPTIONS = {
    "workers": 2,
    "rate_public": "none",
    "answer_ms": 0,
    "max_bytes": 4 * MEBIBYTE,
    "max_pixels": 2_000_000,
    "body_seconds": 1,
}


def furnish(folder: Path) -> tuple[dict[str, object], Arsenal]:
    """Make a key, a registry, tokens and keys of reports; return options that name them, and what is sent."""
    key = fastmark.Key(seeded_bytes("service-fuzz"), name="fuzz")
    key.save(folder / "fuzz.key")
    url = f"sqlite:///{folder / 'ids.db'}"
    registry = Registry(url)
    registry.init()
    ReportKeys.make(folder / "report-keys")
    token = Tokens(folder / "tokens.json").add("fuzz", ["detect", "embed"], "none")
    delivery = Delivery(fastmark.Watermarker(key), Companions(registry=registry))
    done = delivery.deliver(encoded(drawn(200, 260), "PNG"), None, "jpeg", {"quality": 92})
    named: dict[str, object] = {"key": [str(folder / "fuzz.key")], "registry": url}
    named |= {"tokens": str(folder / "tokens.json"), "report_keys": str(folder / "report-keys")}
    return named | {"embed_key": str(folder / "fuzz.key")} | OPTIONS, Arsenal(done.data, token)


def row(kind: str, results: list[Result], before: Usage, after: Usage) -> dict[str, object]:
    statuses = collections.Counter(itertools.chain(*(result.statuses for result in results)))
    times = np.array([result.ms for result in results])
    return {
        "kind": kind,
        "requests": len(results),
        "answers": statuses.total(),
        "200": statuses[200],
        "4xx": sum(count for status, count in statuses.items() if 400 <= status < 500),
        "5xx": sum(count for status, count in statuses.items() if status >= 500),
        "statuses": " ".join(f"{status}x{count}" for status, count in sorted(statuses.items())),
        "median_ms": float(np.median(times)),
        "p99_ms": float(np.quantile(times, 0.99)),
        "front_mib_before": before.front / MEBIBYTE,
        "front_mib_after": after.front / MEBIBYTE,
        "workers_mib_before": sum(before.workers.values()) / MEBIBYTE,
        "workers_mib_after": sum(after.workers.values()) / MEBIBYTE,
    }


def run(server: Server, arsenal: Arsenal, count: int, seed: int) -> tuple[list[dict[str, object]], list[str]]:
    """Send all of it; return the table, and what is short."""
    parts = urlsplit(server.url)
    address, pid = (str(parts.hostname), int(parts.port or 0)), server.process.pid
    cold = usage(pid)
    mixed = send_all(address, arsenal.cases(seed, count // 10), CLIENTS)
    rounds = [usage(pid)]
    by_round = []
    for number, many in enumerate((3 * count // 10, count - count // 10 - 3 * count // 10)):
        by_round.append(kind_by_kind(address, pid, arsenal, many, seed + number))
        rounds.append(usage(pid))
    (_, first), (rows, second) = by_round
    table = [row("mixed", mixed, cold, rounds[0]), row("first round", first, *rounds[:2]), *rows]
    table += [row("second round", second, *rounds[1:]), row("all", mixed + first + second, cold, rounds[2])]
    return table, judged(rows, table[-1], rounds[1], rounds[2], server, arsenal)


def kind_by_kind(
    address: tuple[str, int], pid: int, arsenal: Arsenal, count: int, seed: int
) -> tuple[list[dict[str, object]], list[Result]]:
    """Send so many requests, each kind by its weight; return a row for each kind, and all results."""
    shares = np.cumsum([0, *(weight for weight, _ in KINDS.values())])
    counts = np.diff(np.rint(count * shares / shares[-1])).astype(int).tolist()
    rows, results, before = [], [], usage(pid)
    for kind, many in zip(KINDS, counts, strict=True):
        some = send_all(address, arsenal.of_kind(kind, seed, many), CLIENTS)
        time.sleep(0.2)  # in which those that left are done
        after = usage(pid)
        rows.append(row(kind, some, before, after))
        results += some
        before = after
    return rows, results


def judged(
    rows: list[dict[str, object]],
    total: dict[str, object],
    warm: Usage,
    last: Usage,
    server: Server,
    arsenal: Arsenal,
) -> list[str]:
    """Return in words what is not as it should be."""
    used = warm.front + sum(warm.workers.values())
    peaks = sum(grown(one) for one in rows if one["kind"] == "bomb")
    others = sum(map(grown, rows)) - peaks
    with server.client() as client:
        answer = client.post("/v1/detect", content=arsenal.marked).json()
    lost = [line for line in server.errors().splitlines() if "a worker process" in line]
    wrong = {
        f"{total['5xx']} answers of 500 and more": total["5xx"],
        "; ".join(lost) or "a process is another one": lost or set(warm.workers) != set(last.workers),
        f"memory has grown by {others / MEBIBYTE:.0f} MiB": others > MOST_GROWTH * used,
        f"bombs have raised it by {peaks / MEBIBYTE:.0f} MiB": peaks > MOST_PEAK * (1 + len(last.workers)),
        f"open files have grown from {warm.files} to {last.files}": last.files > warm.files + CLIENTS,
        f"it says {answer['verdict']} of an image that is as it was": answer["verdict"]
        != "genuine and unchanged",
    }
    return [words for words, is_wrong in wrong.items() if is_wrong]


def grown(one: dict[str, object]) -> float:
    """Return by how many bytes all processes grew."""
    return MEBIBYTE * sum(
        float(str(one[f"{who}_mib_after"])) - float(str(one[f"{who}_mib_before"]))
        for who in ("front", "workers")
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("-o", "--output", type=Path, help="CSV file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fastmark-fuzz-") as name:
        folder = Path(name)
        (folder / "temporary").mkdir()
        settings, arsenal = furnish(folder)
        with serving(folder, settings, TMPDIR=str(folder / "temporary")) as server:
            begin = time.perf_counter()
            table, short = run(server, arsenal, options.requests, options.seed)
            seconds = time.perf_counter() - begin
            short += [f"{path.name} was left" for path in (folder / "temporary").iterdir()]
    print_table(f"{options.requests} requests in {seconds:.0f} s", table)
    print("\n" + ("; ".join(short) or "nothing is short"))
    if options.output is not None:
        head = header("service_fuzz.py", 2, requests=options.requests, seed=options.seed, clients=CLIENTS)
        packages = ("fastapi", "starlette", "uvicorn", "httptools", "python-multipart", "c2pa-python")
        head.append(", ".join(f"{package} {metadata.version(package)}" for package in packages))
        head.append("short: " + ("; ".join(short) or "nothing"))
        write_csv(options.output, head, table)
    raise SystemExit(1 if short else 0)


if __name__ == "__main__":
    main()
