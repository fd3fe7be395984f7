"""Imports of optional packages, and of those that import more than is used.

pyfftw offers its transforms under the names of SciPy's and Dask's, and for that imports both where they are
installed: a third of a second at each start. Processes of fastmark's own leave that out.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterator
from types import ModuleType

from fastmark.errors import MissingPackageError

_UNUSED = {"pyfftw": ("scipy.fftpack", "dask.array.fft")}
"""What a package imports, if it is there, that nothing of fastmark needs."""

_own = False


def own_process() -> None:
    """Say that this process runs nothing but fastmark."""
    global _own
    _own = True


def load(name: str) -> ModuleType:
    """Import a package, in a process of fastmark's own without what it only offers.

    Raises:
        ImportError: if it is not installed.
    """
    with _missing(_UNUSED.get(name, ()) if _own else ()):
        return importlib.import_module(name)


def package(name: str, purpose: str, extra: str = "bulk") -> ModuleType:
    """Import an optional package, or raise MissingPackageError that says how to get it."""
    try:
        return importlib.import_module(name)
    except ImportError:
        root = name.partition(".")[0]
        raise MissingPackageError(
            f"{purpose} needs {root}: pip install 'fastmark-watermark[{extra}]'"
        ) from None


@contextlib.contextmanager
def _missing(names: tuple[str, ...]) -> Iterator[None]:
    """Let imports of modules that are not loaded yet fail at once, as if they were not installed."""
    hidden = [name for name in names if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]  # documented: such an import fails
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
