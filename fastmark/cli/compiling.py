"""Told on stderr while kernels are compiled, which happens once on each machine; and ``fastmark warmup``."""

from __future__ import annotations

import argparse
import json
import logging
import sys
import threading
import time
from typing import Any

from fastmark.cli.codes import DONE

EVERY_S = 5.0
"""Between two lines, where stderr is no terminal."""


class Compiling(logging.Handler):
    """Tells how far the kernels are, and has a second process compile with this one.

    Nothing is shown or started unless a kernel is really compiled: the package's log says so.
    """

    def __init__(self, *, quiet: bool) -> None:
        """Start with nothing said; ``quiet`` to keep it so."""
        super().__init__(logging.INFO)
        self._quiet = quiet
        self._done = self._of = 0
        self._last = self._start = 0.0
        self._line = ""
        self._helper: Any = None
        self._counting = threading.Lock()

    def __enter__(self) -> Compiling:
        """Listen to the package's log."""
        log = logging.getLogger("fastmark")
        log.setLevel(logging.INFO)
        log.addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop listening, and end what was begun."""
        logging.getLogger("fastmark").removeHandler(self)
        self._wipe()
        if self._helper is not None:
            self._helper.close()
            kernels = "1 kernel" if self._done == 1 else f"{self._done} kernels"
            self._say(f"compiled {kernels} in {time.monotonic() - self._start:.0f} s")

    def emit(self, record: logging.LogRecord) -> None:
        """Show that one more kernel is compiled."""
        if not hasattr(record, "compiling"):
            return
        if self._helper is None:
            self._begin(record.__dict__["cache_folder"])
        self._count()

    def _begin(self, folder: str | None) -> None:
        from fastmark.kernels import signatures
        from fastmark.warming import Helper

        self._start = self._last = time.monotonic()
        self._of = len(signatures.lines(further=False))
        if folder is None:
            self._say(
                "compiling kernels, at each start: there is no folder to keep them in;"
                " set NUMBA_CACHE_DIR to one that can be written"
            )
            self._helper = _NoHelper()
        else:
            self._say(f"compiling kernels for this machine, which happens once; they are kept in {folder}")
            self._helper = Helper(self._count)

    def _count(self) -> None:
        with self._counting:
            self._done += 1
            text = f"compiling kernels, {self._done} of about {max(self._of, self._done)}"
            now = time.monotonic()
            if not self._quiet and sys.stderr.isatty():
                # the cursor stays at the start, so that whatever else is printed writes over it
                self._line = f"fastmark: {text}"
                sys.stderr.write(f"{self._line}\r")
                sys.stderr.flush()
            elif now - self._last >= EVERY_S:
                self._last = now
                self._say(text)

    def _wipe(self) -> None:
        if self._line:
            sys.stderr.write(" " * len(self._line) + "\r")
            self._line = ""

    def _say(self, text: str) -> None:
        if not self._quiet:
            print(f"fastmark: {text}", file=sys.stderr, flush=True)


class _NoHelper:
    """In place of a helper where nothing that it compiles could be kept."""

    def close(self) -> None:
        """Do nothing."""


def warmup(options: argparse.Namespace) -> int:
    """``fastmark warmup``."""
    from fastmark.warming import cache_folder
    from fastmark.warming import warmup as warm

    last = 0.0

    def show(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if done == total or now - last >= (0.1 if sys.stderr.isatty() else EVERY_S):
            last = now
            end = "\r" if sys.stderr.isatty() and done < total else "\n"
            print(f"fastmark: kernels, {done} of {total}", end=end, file=sys.stderr, flush=True)

    talk = not (options.quiet or options.json)
    if talk:
        print(f"fastmark: compiling kernels into {cache_folder()}", file=sys.stderr, flush=True)
    did = warm(options.workers or 0, progress=show if talk else None)
    if options.json:
        row = {"schema": 1, "compiled": did.compiled, "found": did.found, "folder": did.folder}
        print(json.dumps(row | {"seconds": round(did.seconds, 1)}))
    elif not options.quiet:
        if did.compiled:
            print(
                f"compiled {did.compiled} kernels in {did.seconds:.0f} s, found {did.found}, in {did.folder}"
            )
        else:
            print(f"nothing to do: all {did.found} kernels are in {did.folder}")
    return DONE
