"""Real two-dimensional FFTs: the only place that knows pyfftw.

FFTW where it is installed, ``numpy.fft`` otherwise or when ``FASTMARK_FFT=numpy``. Plans and their
buffers belong to one thread (a shared plan gives wrong answers silently); planning is under one lock.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections import OrderedDict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmark import _imports

Real = NDArray[np.float32]
Complex = NDArray[np.complex64]

_PLANS_PER_THREAD = 16
_planning = threading.RLock()
_local = threading.local()

if hasattr(os, "register_at_fork"):
    # no thread is planning while this process forks: the child would wait for it for ever
    os.register_at_fork(
        before=_planning.acquire, after_in_parent=_planning.release, after_in_child=_planning.release
    )

_pyfftw: Any = None
if os.environ.get("FASTMARK_FFT", "fftw") != "numpy":
    with contextlib.suppress(ImportError):
        _pyfftw = _imports.load("pyfftw")


def backend() -> str:
    """Name of the library in use: ``fftw`` or ``numpy``."""
    return "numpy" if _pyfftw is None else "fftw"


def good_size(n: int) -> int:
    """Return the least size >= n of the form 2^a, 3 * 2^a or 5 * 2^a: fast in every FFT library."""
    best = 1 << max(0, n - 1).bit_length()
    for factor in (3, 5):
        size = factor
        while size < n:
            size *= 2
        best = min(best, size)
    return best


def rfft2(x: Real) -> Complex:
    """Forward transform of a float32 array ``(H, W)`` with even W -> complex64 ``(H, W // 2 + 1)``."""
    if _pyfftw is None:
        return np.fft.rfft2(x).astype(np.complex64, copy=False)
    plan = _plan((x.shape[0], x.shape[1]), _REAL_TO_COMPLEX)
    np.copyto(plan.input_array, x)
    plan.execute()
    result: Complex = plan.output_array.copy()
    return result


def rfft2_padded(x: Real, vertical: Real, horizontal: Real, shape: tuple[int, int]) -> Complex:
    """Transform ``x`` times two windows, zero-padded to ``shape`` (H, W), W even.

    Returns complex64 ``(H, W // 2 + 1)``. Rows of zeros are not transformed horizontally.
    """
    height, width = x.shape
    if _pyfftw is None:
        windowed = x * horizontal * vertical[:, None]
        return np.fft.rfft2(windowed, s=shape).astype(np.complex64, copy=False)
    rows, columns = _plan(shape, _PADDED, height)
    part = rows.input_array[:, :width]
    np.multiply(x, horizontal, out=part)
    part *= vertical[:, None]
    rows.input_array[:, width:] = 0
    columns.input_array[height:] = 0
    rows.execute()
    columns.execute()
    result: Complex = columns.output_array.copy()
    return result


def irfft2(spectrum: Complex) -> Real:
    """Inverse of :func:`rfft2`, normalised by 1 / (H W): ``(H, W // 2 + 1)`` -> ``(H, W)``."""
    shape = (spectrum.shape[0], 2 * (spectrum.shape[1] - 1))
    if _pyfftw is None:
        return np.fft.irfft2(spectrum, s=shape).astype(np.float32, copy=False)
    plan = _plan(shape, _COMPLEX_TO_REAL)
    np.copyto(plan.input_array, spectrum)
    plan.execute()
    result: Real = plan.output_array * np.float32(1.0 / (shape[0] * shape[1]))
    return result


_REAL_TO_COMPLEX, _COMPLEX_TO_REAL, _PADDED = range(3)
_PAD = 8  # complex numbers behind every row: strides of a power of two share few lines of the cache


def _plan(shape: tuple[int, int], kind: int, height: int = 0) -> Any:
    """Return this thread's plan for one shape, of the real signal, and kind, made on first use.

    That of a padded transform is a pair, of the horizontal transforms of ``height`` rows, and of the vertical
    ones.
    """
    plans: OrderedDict[tuple[tuple[int, int], int, int], Any] | None = getattr(_local, "plans", None)
    if plans is None:
        plans = _local.plans = OrderedDict()
    key = (shape, kind, height)
    if key in plans:
        plans.move_to_end(key)
        return plans[key]
    n = shape[1] // 2 + 1
    with _planning:
        real = _pyfftw.empty_aligned((height or shape[0], shape[1] + 2 * _PAD), "float32")[:, : shape[1]]
        half = _pyfftw.empty_aligned((shape[0], n - 1 + _PAD), "complex64")[:, :n]
        if kind == _PADDED:
            plan = (_planned(real, half[:height], (1,)), _planned(half, half, (0,)))
        elif kind == _REAL_TO_COMPLEX:
            plan = _planned(real, half, (0, 1))
        else:
            plan = _planned(half, real, (0, 1), "FFTW_BACKWARD")
        plans[key] = plan
        if len(plans) > _PLANS_PER_THREAD:
            plans.popitem(last=False)
    return plan


def _planned(source: Any, target: Any, axes: tuple[int, ...], direction: str = "FFTW_FORWARD") -> Any:
    # NOTE: ESTIMATE, not MEASURE: measured plans differ from run to run, and so would the bits.
    flags = ("FFTW_ESTIMATE", "FFTW_DESTROY_INPUT")
    return _pyfftw.FFTW(source, target, axes=axes, direction=direction, flags=flags, threads=1)
