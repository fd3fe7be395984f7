"""The one place where JIT compilation is applied.

A kernel is a plain function over arrays and scalars; ``@kernel`` compiles it lazily, without the
GIL, and caches the machine code on disk when a cache folder can be written.

What makes a kernel slow to compile: parts that are kernels themselves, each optimised alone and again in
every caller, where ``inline`` would do; ``np.zeros``, for which numba compiles three functions, where
``np.empty(...)`` and ``x[:] = 0`` are one; a literal handed to another kernel, which is a type of its own,
as ``np.int64(0)`` is not; arrays of more than one layout.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any

import numba
from numba.core.dispatcher import Dispatcher

from fastmark.kernels import _compiling  # noqa: F401  # listens from here on
from fastmark.kernels._cache import SharedCache

# NOTE: never nnan/ninf: LLVM may then drop isnan/isfinite tests (numba#2919).
FASTMATH = {"contract", "reassoc", "nsz", "arcp"}

_log = logging.getLogger("fastmark")
_caching = os.environ.get("FASTMARK_CACHE", "1") != "0"


def _compile(function: Callable[..., Any], **flags: Any) -> Any:
    """``numba.njit`` with the disk cache where it can be had, without it elsewhere."""
    global _caching
    # C calls no kernel of ours: the wrappers for it would be a fifth of what is compiled
    flags |= {"nogil": True, "error_model": "numpy", "fastmath": FASTMATH, "no_cfunc_wrapper": True}
    if _caching:
        try:
            cache = SharedCache(function)
        except RuntimeError as error:  # no locator: zipped package or read-only home (numba#4908)
            _caching = False
            _log.info("compiled kernels are not cached on disk: %s", error)
        else:
            dispatcher = numba.njit(**flags)(function)
            # NOTE: njit(cache=True) sets the same attribute, to a cache that cannot be shared (numba#4807)
            if isinstance(dispatcher, Dispatcher):  # not where NUMBA_DISABLE_JIT leaves Python's function
                dispatcher._cache = cache  # type: ignore[attr-defined]  # numba is untyped
            return dispatcher
    return numba.njit(**flags)(function)


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile ``function`` as a serial kernel."""
    return _compile(function)  # type: ignore[no-any-return]  # numba is untyped


def inline(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a small helper that its callers' kernels always inline."""
    return _compile(function, inline="always")  # type: ignore[no-any-return]  # numba is untyped


@kernel
def copy_line(source, target):
    """Copy the first values of ``source`` ``(n or more,)`` into ``target`` ``(n,)``.

    NOTE: not ``target[:] = source``, for whose error message numba compiles its string formatting: seconds.
    """
    for i in range(target.size):
        target[i] = source[i]
