"""Does anything that is sent harm the service? Ten thousand requests that are meant to, on real sockets.

A service on loopback gets damaged files of every format that is read, files that lie about their size or grow beyond all bounds, broken forms, JSON, heads, lengths and chunks, tokens of any bytes,
clients that leave or drip; see ``tests/support/hostile.py``. A tenth of them come mixed, to warm it up; the
others kind by kind. Per kind: statuses of the answers, milliseconds from the connection to the last answer
(four clients at a time), memory of the process that answers HTTP and of those that look at images, before and
after.

It is short where an answer is missing, a status is 500 or more, a process died, a file was left or is still
open, or the memory of all processes has grown by more than a tenth since it was warm.
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
MOST_GROWTH = 0.1  # of memory since it was warm
OPTIONS = {
    "workers": 2,
    "rate_public": "none",
    "answer_ms": 0,
    "max_bytes": 4 * MEBIBYTE,
    "max_pixels": 2_000_000,
    "body_seconds": 1,
    "work_seconds": 10,
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
    first = usage(pid)
    results = send_all(address, arsenal.cases(seed, count // 10), CLIENTS)
    warm = before = usage(pid)
    table = [row("mixed, to warm it up", results, first, warm)]
    shares = np.cumsum([0, *(weight for weight, _ in KINDS.values())])
    ends = len(results) + np.rint((count - len(results)) * shares / shares[-1]).astype(int)
    for kind, many in zip(KINDS, np.diff(ends).tolist(), strict=True):
        some = send_all(address, arsenal.of_kind(kind, seed, many), CLIENTS)
        time.sleep(0.2)
        after = usage(pid)
        table.append(row(kind, some, before, after))
        results, before = results + some, after
    table.append(row("all", results, warm, before))
    return table, judged(table[-1], warm, before, server, arsenal)


def judged(total: dict[str, object], warm: Usage, last: Usage, server: Server, arsenal: Arsenal) -> list[str]:
    """Return in words what is not as it should be."""
    used = [one.front + sum(one.workers.values()) for one in (warm, last)]
    with server.client() as client:
        answer = client.post("/v1/detect", content=arsenal.marked).json()
    wrong = {
        f"{total['5xx']} answers of 500 and more": total["5xx"],
        "a process died": set(warm.workers) != set(last.workers) or "died" in server.errors(),
        f"memory has grown to {used[1] / used[0]:.2f} times": used[1] > (1 + MOST_GROWTH) * used[0],
        f"open files have grown from {warm.files} to {last.files}": last.files > warm.files + CLIENTS,
        f"it says {answer['verdict']} of an image that is as it was": answer["verdict"]
        != "genuine and unchanged",
    }
    return [words for words, is_wrong in wrong.items() if is_wrong]


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
