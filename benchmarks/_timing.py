"""What the scripts of speed share: calls timed in turn, ratios judged against their targets."""

from __future__ import annotations

import io
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

Row = dict[str, Any]
Work = Callable[[], object]


def timed(work: Work) -> float:
    """Milliseconds of one call."""
    start = time.perf_counter()
    work()
    return 1e3 * (time.perf_counter() - start)


def median_ms(work: Work, runs: int) -> float:
    """Median of some calls after a first one."""
    work()
    return statistics.median(timed(work) for _ in range(runs))


def paired(work: Work, reference: Work, runs: int) -> tuple[float, float, float]:
    """Medians of the work, of the reference, and of their ratio, timed in turn."""
    work(), reference()
    pairs = [(timed(work), timed(reference)) for _ in range(runs)]
    return (
        statistics.median(a for a, _ in pairs),
        statistics.median(b for _, b in pairs),
        statistics.median(a / b for a, b in pairs),
    )


def cpu_ms(work: Work, runs: int = 3) -> float:
    """Median of the milliseconds that this thread works, waiting left out: neighbours count for less."""
    times = []
    for _ in range(runs):
        start = time.thread_time()
        work()
        times.append(1e3 * (time.thread_time() - start))
    return statistics.median(times)


def decoded(jpeg: bytes) -> np.ndarray:
    """To RGB."""
    return np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB"))


def verdict(ratio: float, reach: float | None, aim: float | None) -> str:
    if reach is None:
        return "-"
    if aim is not None and ratio <= aim:
        return "aim"
    return "reach" if ratio <= reach else "SHORT"
