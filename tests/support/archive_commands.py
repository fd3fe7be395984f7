"""Shared by tests of archives on the command line: archives, processes to be killed, tables read back."""

from __future__ import annotations

import collections
import contextlib
import csv
import signal
import subprocess
import sys
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
    return _popen([sys.executable, "-m", "fastmark", *map(str, arguments)], cwd)


STOPPED = """
import os, signal, sys
from fastmark.bulk.journal import Journal
from fastmark.cli import main

number, everyone = int(sys.argv.pop(1)), int(sys.argv.pop(1))
add, commit = Journal.add, Journal.commit
pending = kept = more = 0

def adding(journal, result):
    global pending, more
    add(journal, result)
    pending += 1
    more += kept > 0
    if more == 5:
        os.killpg(0, number) if everyone else os.kill(os.getpid(), number)

def committing(journal):
    global pending, kept
    commit(journal)
    kept, pending = kept + pending, 0

Journal.add, Journal.commit = adding, committing
Journal.commit_is_due = lambda journal: pending >= 10
sys.exit(main())
"""
"""A command that sends itself a signal when the journal has rows for good, and some that are not so yet.

When that is depends on the number of images alone: on no clock, and so on no machine.
"""


def started_and_stopped(
    *arguments: Any, cwd: Path, number: signal.Signals, everyone: bool = True
) -> subprocess.Popen[bytes]:
    """A command with a journal that gets a signal in its midst.

    Args:
        arguments: of the command; of more images than it has in hand at once.
        cwd: where it runs.
        number: the signal.
        everyone: send it to the workers too, as a terminal does.
    """
    return _popen(
        [sys.executable, "-c", STOPPED, str(int(number)), str(int(everyone)), *map(str, arguments)], cwd
    )


def _popen(command: list[str], cwd: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )


def running(group: int) -> set[int]:
    """The processes of a group that have not ended."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                state, _, of = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
                if state != "Z" and int(of) == group:
                    found.add(int(entry.name))
    return found
