"""What the scripts share: finding and reading pictures, naming the machine, tables and CSV files."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import multiprocessing
import os
import platform
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

# the checkout these scripts lie in is what they measure, not whatever version may be installed
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp"}


def one_thread_each() -> None:
    """Ask the libraries for one thread: the scripts use one process a core. Call before numba is imported."""
    for name in ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")


def find_pictures(folders: Iterable[Path], limit: int = 0) -> list[Path]:
    """All pictures below the folders, or named directly; with `limit` that many, spread evenly."""
    found = []
    for folder in folders:
        inside = sorted(folder.rglob("*")) if folder.is_dir() else [folder]
        found += [path for path in inside if path.suffix.lower() in SUFFIXES]
    if not found:
        raise SystemExit("no png, jpg or webp there")
    if 0 < limit < len(found):
        found = [found[i * len(found) // limit] for i in range(limit)]
    return found


def read_rgb(path: Path) -> np.ndarray:
    """Read a picture as RGB uint8, upright; alpha is laid on white."""
    with Image.open(path) as opened:
        image = ImageOps.exif_transpose(opened)
        if image.mode not in ("RGB", "L"):
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        return np.array(image.convert("RGB"))


def fitted(rgb: np.ndarray, height: int, width: int) -> np.ndarray:
    """The middle of a picture, as large as can be, resized."""
    return np.array(ImageOps.fit(Image.fromarray(rgb), (width, height), Image.Resampling.LANCZOS))


def jpeg_90(image: Image.Image) -> bytes:
    """The picture as a JPEG of quality 90, to which times are compared."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=90)
    return file.getvalue()


def label(path: Path) -> str:
    """Folder and name: enough to tell pictures apart without telling where they are kept."""
    return f"{path.parent.name}/{path.name}"


def in_processes(
    function: Callable[..., Any], jobs: Sequence[tuple[Any, ...]], workers: int
) -> Iterator[tuple[int, Any]]:
    """Yield (number, result) of every job as it is done; an interrupt ends it with what there is.

    The processes are fresh: fork would copy the thread state of Numba and FFTW.
    """
    pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))
    try:
        numbers = {pool.submit(function, *job): number for number, job in enumerate(jobs)}
        for future in as_completed(numbers):
            yield numbers[future], future.result()
    except KeyboardInterrupt:
        print("interrupted: what is done is reported", file=sys.stderr)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def breaches(seen: float, allowed: float) -> bool:
    """Tell whether more was seen than a bound allows, by four standard deviations and one."""
    return seen > allowed + 4 * allowed**0.5 + 1


def seeded_bytes(purpose: str, size: int = 32) -> bytes:
    """Bytes that depend on `purpose` only: keys and messages that repeat."""
    return hashlib.blake2b(f"fastmark benchmark {purpose}".encode(), digest_size=size).digest()


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


PACKAGES = ("numpy", "numba", "pyfftw", "pillow", "scikit-image", "scipy", "ssimulacra2")


def versions_of(packages: Iterable[str]) -> dict[str, str]:
    """Versions of installed packages; `absent` of others."""
    found = dict.fromkeys(packages, "absent")
    for package in found:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


def versions_of_tools(packages: Iterable[str]) -> dict[str, str]:
    """Versions of installed packages, and of the OpenCV that is imported, whoever brought it."""
    return versions_of(packages) | {"OpenCV": getattr(sys.modules.get("cv2"), "__version__", "absent")}


def header(script: str, workers: int, **settings: object) -> list[str]:
    """Return the lines that tell a result's reader what it was measured with."""
    from fastmark._version import VERSION

    return [
        f"{script}: fastmark {VERSION}, " + ", ".join(f"{k} {v}" for k, v in settings.items()),
        f"{_cpu()}, {os.cpu_count()} cores, {workers} processes of 1 thread",
        f"Python {platform.python_version()}, "
        + ", ".join(f"{package} {version}" for package, version in versions_of(PACKAGES).items()),
    ]


def _text(value: object) -> str:
    if value is None or value == "":
        return "-"
    if not isinstance(value, float):
        return str(value)
    return f"{value:.4f}" if 0.9 < value < 1 else f"{value:.2f}"  # SSIM lives in its third and fourth digit


def print_table(title: str, rows: Sequence[Mapping[str, object]]) -> None:
    """Print rows that share their keys; numbers to the right."""
    if not rows:
        return
    names = list(rows[0])
    cells = [[_text(row[name]) for name in names] for row in rows]
    widths = [max(len(name), *(len(line[i]) for line in cells)) for i, name in enumerate(names)]
    right = [not isinstance(rows[0][name], str) for name in names]

    def line(texts: Sequence[str]) -> str:
        padded = (t.rjust(w) if r else t.ljust(w) for t, w, r in zip(texts, widths, right, strict=True))
        return "  ".join(padded).rstrip()

    print(f"\n{title}\n{line(names)}\n{line(['-' * width for width in widths])}")
    for texts in cells:
        print(line(texts))


def write_csv(path: Path, head: Iterable[str], rows: Sequence[Mapping[str, object]]) -> None:
    """Write the header as comment lines, then the rows; the columns are all keys that occur."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        file.writelines(f"# {line}\n" for line in head)
        writer = csv.DictWriter(file, names, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(
            {k: round(v, 5) if isinstance(v, float) else v for k, v in row.items()} for row in rows
        )
    print(f"wrote {path}", file=sys.stderr)
