"""The command line as people run it: in a process of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import Any

import pytest

MESSAGE = "0123456789abcdef"

_COMPILED_ONCE = re.compile(
    rb"^fastmark: (compiling kernels for this machine, which happens once; .*"
    rb"|compiling kernels, \d+ of about \d+|compiled \d+ kernels? in \d+ s)\n",
    re.MULTILINE,
)


def run(*arguments: Any, compiling: bool = False, **options: Any) -> subprocess.CompletedProcess[bytes]:
    """``python -m fastmark`` to its end; ``env`` is added to the environment, ``input`` goes to stdin.

    Whichever test is first to need a kernel compiles it, and is told so: only with ``compiling`` is that left
    on stderr.
    """
    env = os.environ | options.pop("env", {})
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "timeout": 300} | options
    command = [sys.executable, "-m", "fastmark", *map(str, arguments)]
    done = subprocess.run(command, env=env, check=False, **streams)
    if done.stderr and not compiling:
        done.stderr = _COMPILED_ONCE.sub(b"", done.stderr)
    return done


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
