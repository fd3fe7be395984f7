"""Which kernels are compiled for which types of arguments, known before anything is embedded or detected.

The list is in ``_table.py``, which ``benchmarks/compiling.py --write`` makes of what images of every kind
need. A line is the seconds that compiling took, which matter among each other; the kernel, as ``dct.dct8``;
and a word for each argument: a scalar as ``i8``, float32 ``f4``; an array with its axes and its order in
memory, ``f4[2C]``, and a ``!`` where it cannot be written to.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable
from typing import Any, cast

import numpy as np
from numba import types
from numba.np.numpy_support import as_dtype, from_dtype

from fastmark.kernels._table import FIRST, FURTHER

_WORD = re.compile(r"(\w+)(?:\[(\d)([CFA])(!?)\])?")


def spell(seconds: float, kernel: str, arguments: Iterable[Any]) -> str:
    """Return the line of a kernel and numba's types of its arguments."""
    return " ".join([f"{seconds:.1f}", kernel, *map(_word_of, arguments)])


def _word_of(kind: Any) -> str:
    if isinstance(kind, types.Array):
        mark = "" if kind.mutable else "!"
        return f"{_code(kind.dtype)}[{kind.ndim}{kind.layout}{mark}]"
    return _code(kind)


def _code(kind: Any) -> str:
    return "b1" if kind == types.boolean else as_dtype(kind).str[1:]


def read(line: str) -> tuple[str, tuple[Any, ...]]:
    """Return the kernel and numba's types of a line that :func:`spell` made."""
    _seconds, kernel, *words = line.split()
    return kernel, tuple(_type_of(word) for word in words)


def _type_of(word: str) -> Any:
    match = _WORD.fullmatch(word)
    assert match is not None, word
    code, n_axes, order, readonly = match.groups()
    kind = from_dtype(np.dtype(code))
    if not n_axes:
        return kind
    return types.Array(kind, int(n_axes), cast(Any, order), readonly=bool(readonly))


def find(kernel: str) -> Any:
    """Return the compiled function of a name like ``dct.dct8``."""
    module, _, name = kernel.partition(".")
    return getattr(importlib.import_module(f"fastmark.kernels.{module}"), name)


def lines(*, further: bool = True) -> tuple[str, ...]:
    """Return the lines of the table, in the order in which kernels are first needed.

    Without ``further``, those alone that embedding in an ordinary image and detecting it need: RGB of 8 bits.
    """
    table = FIRST + (FURTHER if further else "")
    return tuple(filter(None, table.splitlines()))
