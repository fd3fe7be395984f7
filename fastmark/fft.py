"""Real two-dimensional FFTs: the only place that knows pyfftw.

FFTW where it is installed, ``numpy.fft`` otherwise or when ``FASTMARK_FFT=numpy``. Plans and their
buffers belong to one thread (a shared plan gives wrong answers silently); planning is under one lock.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import threading
from collections import OrderedDict
from typing import Any

import numpy as np
from numpy.typing import NDArray

Real = NDArray[np.float32]
Complex = NDArray[np.complex64]

_PLANS_PER_THREAD = 12
_planning = threading.RLock()
_local = threading.local()

_pyfftw: Any = None
if os.environ.get("FASTMARK_FFT", "fftw") != "numpy":
    with contextlib.suppress(ImportError):
        _pyfftw = importlib.import_module("pyfftw")


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
    plan = _plan(x.shape, forward=True)
    np.copyto(plan.input_array, x)
    plan.execute()
    result: Complex = plan.output_array.copy()
    return result


def irfft2(spectrum: Complex) -> Real:
    """Inverse of :func:`rfft2`, normalised by 1 / (H W): ``(H, W // 2 + 1)`` -> ``(H, W)``."""
    shape = (spectrum.shape[0], 2 * (spectrum.shape[1] - 1))
    if _pyfftw is None:
        return np.fft.irfft2(spectrum, s=shape).astype(np.float32, copy=False)
    plan = _plan(shape, forward=False)
    np.copyto(plan.input_array, spectrum)
    plan.execute()
    result: Real = plan.output_array * np.float32(1.0 / (shape[0] * shape[1]))
    return result


def _plan(shape: tuple[int, ...], *, forward: bool) -> Any:
    """Return this thread's plan for one real shape and direction, made on first use."""
    plans: OrderedDict[tuple[tuple[int, ...], bool], Any] | None = getattr(_local, "plans", None)
    if plans is None:
        plans = _local.plans = OrderedDict()
    key = (shape, forward)
    if key in plans:
        plans.move_to_end(key)
        return plans[key]
    half = (shape[0], shape[1] // 2 + 1)
    with _planning:
        # NOTE: ESTIMATE, not MEASURE: measured plans differ from run to run, and so would the bits.
        plan = _pyfftw.FFTW(
            _pyfftw.empty_aligned(shape if forward else half, "float32" if forward else "complex64"),
            _pyfftw.empty_aligned(half if forward else shape, "complex64" if forward else "float32"),
            axes=(0, 1),
            direction="FFTW_FORWARD" if forward else "FFTW_BACKWARD",
            flags=("FFTW_ESTIMATE", "FFTW_DESTROY_INPUT"),
            threads=1,
        )
        plans[key] = plan
        if len(plans) > _PLANS_PER_THREAD:
            plans.popitem(last=False)
    return plan
