"""Shared by tests of archives on the command line: archives, processes to be killed, tables read back."""

from __future__ import annotations

import collections
import contextlib
import csv
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from archives import encode, jpeg, tar_of, write
from pictures import photograph

from fastmark import Key, Watermarker

MESSAGE = 0x0123456789ABCDEF
MANY = 320


class Bench(NamedTuple):
    """Files that most tests need, made once; nobody writes among them."""

    key: Path
    other_key: Path
    archive: Path
    many: Path
    marked: bytes


def make_bench(folder: Path) -> Bench:
    """A mixed archive of 16 images, 2 of them marked and 1 damaged; one of MANY small images."""
    key, other = Key(bytes(range(32)), "ours"), Key(bytes(range(1, 33)))
    key.save(folder / "our.key")
    other.save(folder / "other.key")
    marked = encode(Watermarker(key).embed(photograph("astronaut", 384), MESSAGE), "JPEG", quality=92)
    archive = folder / "archive"
    for i in range(6):
        write(archive / f"{i}.jpg", jpeg(288, 352, seed=i))
    write(archive / "sub" / "marked.jpg", marked)
    write(archive / "sub" / "deeper" / "noending", jpeg(288, 352, seed=10))
    write(archive / "broken.jpg", b"<html>404</html>")
    write(archive / "notes.txt", b"text")
    members = [(f"k{i}.jpg", jpeg(288, 352, seed=20 + i)) for i in range(3)] + [("k3.jpg", marked)]
    tar_of(archive / "shard.tar", [pair for m in members for pair in (m, (f"{m[0][:-4]}.txt", b"caption"))])
    many = folder / "many"
    for i in range(MANY):
        write(many / f"{i % 3}" / f"{i:03d}.jpg", jpeg(200, 260, seed=i % 10))
    return Bench(folder / "our.key", folder / "other.key", archive, many, marked)


def names(table: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Source and member of every row, and that none is there twice."""
    found = [(row["source"], row["member"] or "") for row in table]
    assert len(set(found)) == len(found)
    return found


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def counted(table: list[dict[str, Any]]) -> dict[str, int]:
    return dict(collections.Counter(row["state"] for row in table))


def started(*arguments: Any, cwd: Path) -> subprocess.Popen[bytes]:
    """A command in a process group of its own, as a shell would start it."""
    command = [sys.executable, "-m", "fastmark", *map(str, arguments)]
    return subprocess.Popen(
        command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )


def wait_for_commits(
    process: subprocess.Popen[bytes], journal: Path, commits: int, begun: Callable[[], bool] = lambda: True
) -> None:
    """Wait until so many commits have followed the first one and ``begun``, or the process has ended."""
    log = journal.with_name(f"{journal.name}-wal")
    sizes: set[int] = set()
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline and len(sizes) < commits + 1:
        time.sleep(0.05)
        with contextlib.suppress(OSError):
            size = log.stat().st_size
            time.sleep(0.05)
            # not in the middle of one
            if size and size == log.stat().st_size and begun():
                sizes.add(size)


def children_of(pid: int) -> set[int]:
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                if int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == pid:
                    found.add(int(entry.name))
    return found


def has_ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
