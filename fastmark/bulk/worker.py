"""Workers: what is done with one picture, in whichever process; everything they need is made once.

Imports of numpy and numba wait for the processes that use them.
"""

from __future__ import annotations

import errno
import os
import sys
import threading
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing import parent_process
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from fastmark.bulk.journal import Result
from fastmark.bulk.readers import Picture, most_bytes, too_large
from fastmark.bulk.storage import printable, storable, unwritable
from fastmark.errors import FastmarkError, InvalidImageError, OutputError, one_line
from fastmark.images.decoding import PREFIX_BYTES, format_by_prefix
from fastmark.key import Key

if TYPE_CHECKING:
    from fastmark.results import Detection

# nothing that is tried again could be written either: the run ends, to be gone on with
_FATAL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


@dataclass(slots=True)
class Work:
    """What came of some pictures, in their order, and the seconds that each stage took."""

    results: list[Result] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)


def add_seconds(total: dict[str, float], more: Mapping[str, float]) -> None:
    """Add the seconds of some work to ``total``, stage by stage."""
    for stage, seconds in more.items():
        total[stage] = total.get(stage, 0.0) + seconds


class Job(Protocol):
    """What is to be done: small, picklable, the same for all pictures."""

    def worker(self) -> Worker:
        """Make what does it."""


class Worker:
    """Does something with pictures, one at a time; errors become rows."""

    max_pixels: int

    def __init__(self) -> None:
        """Start with no seconds spent."""
        self._seconds: dict[str, float] = {}
        self._clock = 0.0

    def __call__(self, pictures: Sequence[Picture]) -> Work:
        """Work on pictures in order.

        Raises:
            OutputError: if nothing more can be written: a full disk, for one.
        """
        self._seconds = {}
        results = [self._one(picture) for picture in pictures]
        return Work(results, self._seconds)

    def work(self, data: bytes, picture: Picture) -> tuple[str, dict[str, Any], bytes | None]:
        """State, columns and bytes to be written of one picture; any FastmarkError becomes a row."""
        raise NotImplementedError

    def _one(self, picture: Picture) -> Result:
        if picture.companion and not picture.error:
            return Result(
                picture.source, picture.position, picture.stamp, "companion", None, picture.name, picture.data
            )
        self._clock = time.perf_counter()
        try:
            if picture.error:
                return failed(picture, picture.error)
            data = picture.data if picture.data is not None else self._read(picture)
            self.lap("reading")
            start = time.perf_counter()
            state, columns, out = self.work(data, picture)
            ms = round((time.perf_counter() - start) * 1e3, 1)
        except OutputError as error:
            if error.errno in _FATAL:
                raise
            return failed(picture, _line(error))
        except FastmarkError as error:
            return failed(picture, _line(error))
        except MemoryError:
            return failed(picture, "not enough memory for this picture")
        except Exception as error:  # one picture must not end the run; it is reported
            return failed(
                picture, f"internal error, please report it: {type(error).__name__}: {_line(error)}"
            )
        row = {"source": picture.source, "member": picture.member, "state": state, **columns, "ms": ms}
        return Result(picture.source, picture.position, picture.stamp, state, row, picture.name, out)

    def lap(self, stage: str) -> None:
        """Count the time since the last call for a stage."""
        now = time.perf_counter()
        add_seconds(self._seconds, {stage: now - self._clock})
        self._clock = now

    def _read(self, picture: Picture) -> bytes:
        assert picture.path is not None
        limit = most_bytes(self.max_pixels)
        try:
            if picture.size > limit:
                raise InvalidImageError(too_large(picture.size, limit))
            return Path(picture.path).read_bytes()
        except FileNotFoundError:
            raise InvalidImageError(f"{picture.source}: no such file") from None
        except OSError as error:
            raise InvalidImageError(f"{picture.source} cannot be read: {error.strerror or error}") from None


def failed(picture: Picture, reason: str) -> Result:
    """The row of a picture that came to nothing."""
    row = {"source": picture.source, "member": picture.member, "state": "error", "error": reason}
    return Result(picture.source, picture.position, picture.stamp, "error", row)


def _line(error: BaseException) -> str:
    return storable(one_line(error))


# ---- scanning --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ScanJob:
    """Looking for marks; see ``fastmark.bulk.scan``."""

    keys: tuple[Key, ...]
    message_bits: int
    deep: bool
    max_pixels: int

    def worker(self) -> Scanner:
        """Keys with their carriers derived."""
        return Scanner(self)


class Scanner(Worker):
    """Opens a picture, looks for every key's mark, reports the most certain."""

    def __init__(self, job: ScanJob) -> None:
        """Derive the carriers."""
        from fastmark.detector import Detector

        super().__init__()
        self.job = job
        self.max_pixels = job.max_pixels
        self.detector = Detector(job.keys, job.message_bits)

    def work(self, data: bytes, picture: Picture) -> tuple[str, dict[str, Any], None]:
        """The row of one picture."""
        from fastmark.codec.plane import pixels_per_unit
        from fastmark.images.opening import open_luma

        luma = open_luma(data, unit=pixels_per_unit, max_pixels=self.max_pixels)
        self.lap("decoding")
        found = self.detector.detect_opened(luma, deep=self.job.deep)[0]
        self.lap("searching")
        return found.state, scan_columns(found, luma.width, luma.height), None


def scan_columns(found: Detection, width: int, height: int) -> dict[str, Any]:
    """A detection's part of a row of ``SCAN_COLUMNS``."""
    return {"width": width, "height": height, **found.to_dict()}


# ---- embedding -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EmbedJob:
    """Marking; see ``fastmark.bulk.embed``.

    Attributes:
        format: that all are written in, lower case, or None for each picture's own.
        encoding: options of ``encode_image``.
        verify: whether the encoded bytes are read back.
        folder: where the worker writes them; None to hand them over.
    """

    key: Key
    message_bits: int
    strength: float
    max_pixels: int
    format: str | None
    encoding: dict[str, Any]
    verify: bool
    folder: str | None

    def worker(self) -> Marker:
        """The key with its carriers derived."""
        return Marker(self)


class Marker(Worker):
    """Opens a picture, marks and encodes it, reads it back if asked to, and writes it."""

    def __init__(self, job: EmbedJob) -> None:
        """Derive the carriers."""
        from fastmark.watermarker import Watermarker

        super().__init__()
        self.job = job
        self.max_pixels = job.max_pixels
        self.marker = Watermarker(job.key, job.message_bits, job.strength)

    def work(self, data: bytes, picture: Picture) -> tuple[str, dict[str, Any], bytes | None]:
        """Mark one picture."""
        from fastmark.images.encoding import encode_image, fitting, losses

        job, message = self.job, bytes.fromhex(picture.message)
        name = job.format or format_by_prefix(data[:PREFIX_BYTES]) or ""
        marked, report = self.marker.embed_report(data, message, max_pixels=job.max_pixels)
        self.lap("marking")
        try:
            # a mix of formats may hold some that an option is nothing for
            encoded = encode_image(marked, name, **fitting(name, job.encoding))
        except OutputError as error:
            raise OutputError(
                f"{error} (choose one with --format)" if job.format is None else error
            ) from None
        self.lap("encoding")
        warnings = "; ".join((*report.warnings, *losses(marked, name)))
        columns = {
            "output": printable(picture.name),
            "width": marked.width,
            "height": marked.height,
            "message": picture.message,
            **report.to_dict(),
            "key_id": job.key.id,
            "warnings": warnings or None,
        }
        if job.verify:
            columns["verified_log10_p"] = self._verify(encoded, message, name)
        if job.folder is None:
            return "marked", columns, encoded
        self._write(os.path.join(job.folder, picture.name), encoded)
        return "marked", columns, None

    def _verify(self, encoded: bytes, message: bytes, name: str) -> float:
        from fastmark.watermarker import read_back

        found = read_back(self.marker, encoded, message, name, max_pixels=self.job.max_pixels)
        self.lap("verifying")
        return found.log10_p

    def _write(self, path: str, data: bytes) -> None:
        from fastmark.images.encoding import write_atomically

        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, data)
        except OSError as error:
            raise unwritable(path, error) from error
        self.lap("writing")


# ---- a process's own worker ------------------------------------------------------------------------

_worker: Worker | None = None


def start(job: Job) -> None:
    """Make this process ready to ``work``."""
    global _worker  # what an initialiser of a pool leaves for its tasks
    one_thread_each()
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # decoders' remarks on odd metadata, in the midst of progress
    ignore_interrupts()
    end_with_parent()
    _worker = job.worker()


def work(pictures: list[Picture]) -> Work:
    """Work on pictures in a process that has been started."""
    assert _worker is not None
    return _worker(pictures)


def one_thread_each() -> None:
    """Have the libraries that are imported from here on use one thread: there is a process a core."""
    for name in ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")


def ignore_interrupts() -> None:
    """Leave Ctrl-C, which reaches all processes of a terminal, to the one that hands out the work."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)


def end_with_parent() -> None:
    """End this process when its parent does, even by ``kill -9``: nobody else would tell it."""
    parent = parent_process()
    if parent is None:
        return

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, name="end-with-parent", daemon=True).start()
