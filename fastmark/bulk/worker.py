"""Workers: scan or watermark one image; their carriers and plans are made once per process.

Imports of numpy and numba wait for the processes that use them.
"""

from __future__ import annotations

import datetime as dt
import errno
import os
import sys
import threading
import time
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from multiprocessing import parent_process
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from fastmark._imports import own_process
from fastmark.bulk.records import Item, Result, Work, add_seconds, failed
from fastmark.bulk.storage import printable, storable, unwritable
from fastmark.codec.key import AnyKey, Key
from fastmark.companions import NOTHING, Companions
from fastmark.errors import FastmarkError, InvalidImageError, OutputError, RegistryError, one_line
from fastmark.images.formats import PREFIX_BYTES, format_by_prefix
from fastmark.images.reading import most_bytes, too_large

if TYPE_CHECKING:
    from fastmark._checks import OnMarked
    from fastmark.codec.public import PublicCode
    from fastmark.delivery import Delivered
    from fastmark.detector import Detector
    from fastmark.results import Detection

# no other image could be written either: the run ends, and can be resumed
_FATAL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


class Job(Protocol):
    """The task of a run: small, picklable, the same for all images."""

    def worker(self) -> Worker:
        """Make the worker that does it."""


class Worker:
    """Works on items, one at a time; errors become rows."""

    max_pixels: int

    def __init__(self) -> None:
        """Start with no seconds spent."""
        self._seconds: dict[str, float] = {}
        self._clock = 0.0

    def __call__(self, items: Sequence[Item]) -> Work:
        """Work on items in order.

        Raises:
            OutputError: if nothing more can be written, as on a full disk.
        """
        self._seconds = {}
        results = [self._one(item) for item in items]
        return Work(results, self._seconds)

    def work(self, data: bytes, item: Item) -> tuple[str, dict[str, Any], bytes | None]:
        """Work on one image.

        Args:
            data: its encoded bytes.
            item: the image.

        Returns:
            Its state, columns of its row, and the bytes to be written, if any.

        Raises:
            FastmarkError: becomes a row.
        """
        raise NotImplementedError

    def _one(self, item: Item) -> Result:
        if item.companion and not item.error:
            return Result(item.source, item.position, item.stamp, "companion", None, item.name, item.data)
        self._clock = time.perf_counter()
        try:
            if item.error:
                return failed(item, item.error)
            data = item.data if item.data is not None else self._read(item)
            self.lap("reading")
            start = time.perf_counter()
            state, columns, out = self.work(data, item)
            ms = round((time.perf_counter() - start) * 1e3, 1)
        except OutputError as error:
            if error.errno in _FATAL:
                raise
            return failed(item, _line(error))
        except FastmarkError as error:
            return failed(item, _line(error))
        except MemoryError:
            return failed(item, "not enough memory for this image")
        except Exception as error:  # one image must not end the run; it is reported
            return failed(item, f"internal error, please report it: {type(error).__name__}: {_line(error)}")
        row = {"source": item.source, "member": item.member, "state": state, **columns, "ms": ms}
        return Result(item.source, item.position, item.stamp, state, row, item.name, out)

    def lap(self, stage: str) -> None:
        """Count the time since the last call for a stage."""
        now = time.perf_counter()
        add_seconds(self._seconds, {stage: now - self._clock})
        self._clock = now

    def _read(self, item: Item) -> bytes:
        assert item.path is not None
        limit = most_bytes(self.max_pixels)
        try:
            if item.size > limit:
                raise InvalidImageError(too_large(item.size, limit))
            return Path(item.path).read_bytes()
        except FileNotFoundError:
            raise InvalidImageError(f"{item.source}: no such file") from None
        except OSError as error:
            raise InvalidImageError(f"{item.source} cannot be read: {error.strerror or error}") from None


def _line(error: BaseException) -> str:
    return storable(one_line(error))


# ---- scanning --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ScanJob:
    """The task of ``fastmark.bulk.scan``.

    Attributes:
        keys: distinct ones; may be empty if the public watermark is looked for.
        message_bits: length of the messages.
        deep: search longer.
        max_pixels: images with more pixels are not decoded.
        public: look for the public watermark too.
    """

    keys: tuple[AnyKey, ...]
    message_bits: int
    deep: bool
    max_pixels: int
    public: bool = False

    def worker(self) -> ScanWorker:
        """Derive the carriers of the keys."""
        return ScanWorker(self)


class ScanWorker(Worker):
    """Opens an image, looks for the watermark of every key, reports the most certain of those given."""

    def __init__(self, job: ScanJob) -> None:
        """Derive the carriers."""
        super().__init__()
        self.job = job
        self.max_pixels = job.max_pixels
        self.detector = detector_of(job.keys, job.message_bits, public=job.public)

    def work(self, data: bytes, item: Item) -> tuple[str, dict[str, Any], None]:
        """The row of one image."""
        from fastmark.codec.plane import pixels_per_unit
        from fastmark.images.opening import open_for_detection

        luma = open_for_detection(
            data, unit=pixels_per_unit, max_pixels=self.max_pixels, native=self.job.deep
        )
        self.lap("decoding")
        found = self.detector.detect_opened(luma, deep=self.job.deep)
        self.lap("searching")
        best = best_of(found, self.job.keys)
        columns = {"width": luma.width, "height": luma.height, **best.to_dict(), **public_columns(found)}
        return best.state, columns, None


def detector_of(keys: Iterable[AnyKey], message_bits: int, *, public: bool) -> Detector:
    """Return a detector of keys, and of the public one if its watermark is looked for."""
    from fastmark.detector import Detector
    from fastmark.public import marker

    return Detector([*keys, *([marker()] if public else [])], message_bits)


def best_of(found: Sequence[Detection], keys: Iterable[AnyKey]) -> Detection:
    """Return the most certain detection of given keys, or of the public one where none is given.

    Args:
        found: the detections of one image, most certain first.
        keys: the given ones.
    """
    given = {key.key_id for key in keys}
    return next((one for one in found if one.key_id in given), found[0])


NOT_READABLE, NOTHING_KNOWN = "not readable", "nothing known"
"""What ``public_says`` of one without a message, or of a later version; and of one without any known flag."""


def public_columns(found: Sequence[Detection]) -> dict[str, str | None]:
    """The public watermark's part of a row of ``SCAN_COLUMNS``: ``public``, ``public_says``.

    Args:
        found: the detections of one image, that of the public key among them if it was looked for.

    Returns:
        The code in hex, and in words with commas between them: its flags and "resolver N". Both are None
        where the public watermark was not detected. Of one that cannot be read, or is of a later version,
        the words are ``NOT_READABLE``; of one that says nothing that has a name, ``NOTHING_KNOWN``.
    """
    from fastmark.public import PUBLIC_KEY, code_of

    public = next((one for one in found if one.key_id == PUBLIC_KEY.id and one.detected), None)
    if public is None:
        return {"public": None, "public_says": None}
    code = code_of(public)
    if code is None:
        return {"public": public.message_hex, "public_says": NOT_READABLE}
    resolver = [f"resolver {code.resolver}"] if code.resolver else []
    return {"public": code.hex, "public_says": ",".join([*code.flags, *resolver]) or NOTHING_KNOWN}


# ---- embedding -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EmbedJob:
    """The task of ``fastmark.bulk.embed``.

    Attributes:
        format: of all images, lower case; None for each image's own.
        encoding: options of ``encode_image``.
        verify: whether the encoded bytes are read back.
        folder: where the worker writes images; None if it hands their bytes over.
        bind: tie watermarks to what their images show.
        on_marked: the answer to an earlier watermark of the key.
        companions: what goes beside the watermarks.
        abandoned_before: ids of the registry reserved before may be taken over, see ``Delivery``.
        public: what the public watermark says that is embedded too; None without one.
    """

    key: Key
    message_bits: int
    strength: float
    max_pixels: int
    format: str | None
    encoding: dict[str, Any]
    verify: bool
    folder: str | None = None
    bind: bool = True
    on_marked: OnMarked = "replace"
    companions: Companions = NOTHING
    abandoned_before: dt.datetime | None = None
    public: PublicCode | None = None

    def worker(self) -> EmbedWorker:
        """Derive the carrier of the key."""
        return EmbedWorker(self)


class EmbedWorker(Worker):
    """Opens an image, watermarks and encodes it, reads it back if asked to, and writes it."""

    def __init__(self, job: EmbedJob) -> None:
        """Derive the carriers."""
        from fastmark.delivery import Delivery
        from fastmark.watermarker import Watermarker

        super().__init__()
        self.job = job
        self.max_pixels = job.max_pixels
        marker = Watermarker(job.key, job.message_bits, job.strength)
        self.delivery = Delivery(
            marker,
            job.companions,
            job.bind,
            job.on_marked,
            job.verify,
            job.max_pixels,
            " (choose one with --format)" if job.format is None else "",
            job.public,
            job.abandoned_before,
        )

    def work(self, data: bytes, item: Item) -> tuple[str, dict[str, Any], bytes | None]:
        """Watermark one image."""
        from fastmark.images.encoding import fitting

        job, message = self.job, bytes.fromhex(item.message) if item.message else None
        name = job.format or format_by_prefix(data[:PREFIX_BYTES]) or ""
        folder = job.folder

        def write(ready: Delivered) -> None:
            assert folder is not None
            self._write(os.path.join(folder, item.name), ready.data)

        # of a mix of formats, some may not have every option
        encoding = fitting(name, job.encoding)
        try:
            done = self.delivery.deliver(
                data, message, name, encoding, None if folder is None else write, self.lap
            )
        except RegistryError:
            before = None
            if folder is not None:
                path = Path(folder, item.name)
                before = self.delivery.delivered_before(data, message, name, path.read_bytes)
            if before is None:
                raise
            done = before
        columns = {"output": printable(item.name), **done.to_dict(), "key_id": job.key.id}
        return columns.pop("state"), columns, done.data if folder is None else None

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
    """Prepare this process for ``work``."""
    global _worker  # how a pool's initialiser reaches its tasks
    one_thread_each()
    own_process()
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # decoders' remarks on odd metadata, in the midst of progress
    ignore_interrupts()
    end_with_parent()
    _worker = job.worker()


def work(items: list[Item]) -> Work:
    """Work on items in a process that has been prepared."""
    assert _worker is not None
    return _worker(items)


def one_thread_each() -> None:
    """Limit libraries imported from here on to one thread, as there is a process per core."""
    for name in ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")


def ignore_interrupts() -> None:
    """Leave Ctrl-C, which reaches all processes of a terminal, to the one that hands out the work."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)


def end_with_parent() -> None:
    """End this process when its parent ends, even by ``kill -9``."""
    parent = parent_process()
    if parent is None:
        return

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, name="end-with-parent", daemon=True).start()
