"""Services in processes of their own, and who runs them."""

import contextlib
import dataclasses
import io
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from PIL import Image

import fastmark

RIGHTS = ("detect", "scores", "embed", "private", "metrics")


@dataclasses.dataclass(frozen=True)
class House:
    """Who runs services, and what they know."""

    folder: Path
    marker: fastmark.Watermarker
    registry: fastmark.registry.Registry
    tokens: dict[str, str]
    source: bytes
    marked: bytes
    message: bytes

    @property
    def options(self):
        """Of a service that knows everything here."""
        return {
            "key": [str(self.folder / "studio.key")],
            "registry": f"sqlite:///{self.folder / 'ids.db'}",
            "tokens": str(self.folder / "tokens.json"),
            "report_keys": str(self.folder / "report-keys"),
            "embed_key": str(self.folder / "studio.key"),
            "record": str(self.folder / "record.json"),
            "workers": 1,
            "rate_public": "none",
        }

    def bearer(self, *rights):
        """Headers of a caller with these rights."""
        return {"Authorization": f"Bearer {self.tokens[','.join(rights)]}"}


def encoded(array, format_name="JPEG", **options):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format_name, **options)
    return buffer.getvalue()


@dataclasses.dataclass
class Server:
    """A service in a process of its own."""

    process: subprocess.Popen
    output: Path
    url: str = ""

    def client(self, **options):
        return httpx.Client(base_url=self.url, timeout=60, trust_env=False, **options)

    def log(self):
        return self.output.read_text(encoding="utf-8")

    def errors(self):
        return self.output.with_suffix(".err").read_text(encoding="utf-8")

    def stop(self, number=signal.SIGTERM, timeout=60):
        self.process.send_signal(number)
        return self.process.wait(timeout)


@contextlib.contextmanager
def serving(folder, options, ready=True, verb="serve", **environment):
    """A real ``fastmark serve``, or another verb that serves, on a free port, ended at the end."""
    arguments = []
    for name, value in options.items():
        for one in value if isinstance(value, list) else [value]:
            arguments += [f"--{name.replace('_', '-')}", *([] if one is True else [str(one)])]
    command = [sys.executable, "-m", "fastmark", verb, "--port", "0", *arguments]
    output = Path(folder) / f"{verb}-{time.monotonic_ns()}.log"
    with output.open("wb") as log, output.with_suffix(".err").open("wb") as errors:
        process = subprocess.Popen(
            command, stdout=log, stderr=errors, env=os.environ | environment, cwd=folder
        )
    server = Server(process, output)
    try:
        server.url = _told(server, r"listening on (http://\S+)")
        if ready:
            _told(server, r"ready, (.*)")
        yield server
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()


def _told(server, pattern, seconds=300):
    """Wait until a line on stderr matches; return what it has in parentheses."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        ended = server.process.poll() is not None
        if found := re.search(pattern, server.errors()):
            return found[1]
        if ended:
            break
        time.sleep(0.05)
    pytest.fail(f"no '{pattern}' on stderr: {server.errors()}")
