"""Exit codes, and how errors are told."""

from __future__ import annotations

import sys

DONE, NOT_FOUND, ERROR, PARTLY, INTERRUPTED, PIPE_CLOSED = 0, 1, 2, 3, 130, 141
"""Done or found; nothing found; an error; some pictures of many came to nothing; Ctrl-C; stdout closed."""


def fail(message: str) -> int:
    """Print an error, and return its exit code."""
    print(f"fastmark: error: {message}", file=sys.stderr)
    return ERROR
