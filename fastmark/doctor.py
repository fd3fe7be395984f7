"""The facts that a bug report needs: versions, processor, FFT, kernel cache, a test of the installation."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
import time

import llvmlite.binding  # type: ignore[import-untyped]  # ships no type information
import numpy as np
from numpy.typing import NDArray

from fastmark import Key, Watermarker, fft
from fastmark._version import VERSION

_PACKAGES = ("numpy", "numba", "llvmlite", "pillow", "pyfftw")
_OPTIONAL = (
    *("pillow-heif", "pillow-jxl-plugin", "pyarrow", "fsspec", "tqdm", "ray"),
    *("sqlalchemy", "alembic", "imagehash", "psycopg", "c2pa-python", "cryptography"),
)
_MESSAGE = 0x0123456789ABCDEF


def examine() -> bool:
    """Print the facts to stdout, one per line; false if the self-test failed."""
    _row("fastmark", VERSION)
    _row("python", f"{platform.python_version()} ({platform.platform()})")
    for package in (*_PACKAGES, *_OPTIONAL):
        try:
            _row(package, importlib.metadata.version(package))
        except importlib.metadata.PackageNotFoundError:
            _row(package, "not installed")
    _row("cpu", f"{llvmlite.binding.get_host_cpu_name()}, {os.cpu_count()} cores")
    _row("fft", _fft_library())
    # the first test also compiles the kernels, or loads them from their cache; the second shows the speed
    healthy = _self_test("first") and _self_test("warm")
    _row("kernel cache", _kernel_cache())
    return healthy


def _row(name: str, value: str) -> None:
    print(f"{name:<17} {value}", flush=True)


def _fft_library() -> str:
    if fft.backend() == "numpy":
        return "numpy.fft (BSD-3-Clause)"
    import pyfftw

    return f"{pyfftw.fftw_version} (GPL-2.0-or-later; FASTMARK_FFT=numpy does without)"


def _self_test(turn: str) -> bool:
    """Embed a message in a drawn image and read it back, timed; true if it came back."""
    image = _draw()
    marker = Watermarker(Key.generate(), message_bits=64)
    start = time.perf_counter()
    marked = marker.embed(image, _MESSAGE)
    middle = time.perf_counter()
    found = marker.detect(marked)
    embed_ms, detect_ms = (middle - start) * 1e3, (time.perf_counter() - middle) * 1e3
    healthy = found.state == "detected" and found.message == _MESSAGE
    verdict = "ok" if healthy else "FAILED: the message was not read back"
    _row(f"test ({turn})", f"{verdict}; embed {embed_ms:.0f} ms, detect {detect_ms:.0f} ms at 512 x 512")
    return healthy


def _draw() -> NDArray[np.uint8]:
    """Draw waves under grain: uint8 ``(512, 512, 3)``, RGB."""
    y, x = np.mgrid[0:512, 0:512].astype(np.float32)
    waves = 128 + 50 * np.sin(x / 31 + np.cos(y / 47) * 2) + 30 * np.cos(y / 13 - x / 57)
    grain = np.random.default_rng(1).normal(0, 6, (512, 512, 3))
    image: NDArray[np.uint8] = np.clip(waves[..., None] + grain, 0, 255).astype(np.uint8)
    return image


def _kernel_cache() -> str:
    """Return the folder of the compiled kernels, which numba tells of those that the self-test has loaded."""
    for name, module in sorted(sys.modules.items()):
        if name.startswith("fastmark.kernels."):
            for value in vars(module).values():
                if path := getattr(getattr(value, "stats", None), "cache_path", None):
                    writable = os.access(path, os.W_OK)
                    return f"{path} ({'' if writable else 'NOT '}writable)"
    return "none: kernels compile at each start (FASTMARK_CACHE=0, or no folder can be written)"
