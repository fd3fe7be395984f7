"""The command line as people run it: in a process of its own."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from typing import Any

import pytest

MESSAGE = "0123456789abcdef"


def run(*arguments: Any, **options: Any) -> subprocess.CompletedProcess[bytes]:
    """``python -m fastmark`` to its end; ``env`` is added to the environment, ``input`` goes to stdin."""
    env = options.pop("env", {})
    if "NUMBA_CACHE_DIR" not in env:
        warm()
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "timeout": 300} | options
    command = [sys.executable, "-m", "fastmark", *map(str, arguments)]
    return subprocess.run(command, env=os.environ | env, check=False, **streams)


@functools.cache
def warm() -> None:
    """Compile the kernels, once: a command that is first to need one says so on stderr, whichever it is."""
    subprocess.run([sys.executable, "-m", "fastmark", "warmup", "--quiet"], check=True, timeout=900)


def rows(text: bytes) -> list[dict[str, Any]]:
    """The JSON objects of ``text``, one a line; not even an infinity that is not JSON is let through."""
    return [json.loads(line, parse_constant=pytest.fail) for line in text.splitlines()]


def assert_refused(done: subprocess.CompletedProcess[bytes], *says: str) -> None:
    """Exit code 2, nothing on stdout, one line on stderr that says all of ``says``."""
    lines = done.stderr.decode().splitlines()
    assert (done.returncode, done.stdout or b"", len(lines)) == (2, b"", 1), lines
    assert lines[0].startswith("fastmark: error: ")
    assert "internal error" not in lines[0]
    for words in says:
        assert words in lines[0]
