"""Exit codes, and how errors are told."""

from __future__ import annotations

import sys

from fastmark._checks import redacted

DONE, NOT_FOUND, ERROR, PARTLY, INTERRUPTED, PIPE_CLOSED = 0, 1, 2, 3, 130, 141
"""Done or found; nothing found; an error; some images of many failed; Ctrl-C; stdout closed."""


def fail(message: str) -> int:
    """Print an error, without the secret of a key that may stand in it, and return its exit code."""
    print(f"fastmark: error: {redacted(message)}", file=sys.stderr)
    return ERROR
