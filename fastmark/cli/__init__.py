"""The command line: keygen, embed, detect, scan, doctor, warmup.

Exit codes: 0 done, or at least one image detected; 1 no image detected; 2 an error, of use, of a
key or of any one image; 3 some of many images failed; 130 interrupted; 141 nobody reads
stdout any more. Results go to stdout, errors as one line each to stderr.

Heavy imports happen inside the verbs: ``--help`` and a mistyped option load neither numpy nor numba.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from fastmark._imports import own_process
from fastmark.cli.codes import INTERRUPTED, PIPE_CLOSED, fail
from fastmark.cli.compiling import Compiling
from fastmark.cli.options import make_parser
from fastmark.errors import FastmarkError, one_line


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; ``arguments`` default to those of the process. Returns the exit code."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the caller
            nowhere = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115  # stays open to the end
            setattr(sys, name, nowhere)
        if reconfigure := getattr(getattr(sys, name), "reconfigure", None):
            reconfigure(errors="backslashreplace")  # file names may be any bytes, the terminal any encoding
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # decoders' remarks on odd metadata; -W brings them back
    try:
        options = make_parser().parse_args(arguments)
        run: Callable[[argparse.Namespace], int] = options.run
        own_process()
        with Compiling(quiet=getattr(options, "quiet", False)):
            code = run(options)
            sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        print("fastmark: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader, as `head`, has seen enough
        _settle_stdout()
        return PIPE_CLOSED
    except (FastmarkError, OSError) as error:
        _settle_stdout()
        return fail(one_line(error))
    except MemoryError:
        return fail("not enough memory")
    except Exception as error:
        if os.environ.get("FASTMARK_DEBUG"):
            raise
        reason = f"{type(error).__name__}: {one_line(error)}"
        return fail(f"internal error, please report it: {reason} (FASTMARK_DEBUG=1 shows where)")


def _settle_stdout() -> None:
    """Throw away what stdout does not take; the interpreter would complain about it once more at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
