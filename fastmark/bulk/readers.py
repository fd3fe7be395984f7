"""Readers: what an entry holds, picture by picture, with a position that finds it again in a later run.

Shards are read as streams, in order, never whole.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import itertools
import os
import sys
import tarfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import IO, Any

from fastmark.bulk.kinds import compression, kind_by_ending
from fastmark.bulk.sources import STDIN, Entry
from fastmark.bulk.storage import is_url, open_input, package, printable
from fastmark.decoder import PREFIX_BYTES, format_by_prefix
from fastmark.errors import SourceError, one_line, reason_of

Done = Callable[["Picture"], bool]
"""Tells whether a picture needs no more work, before its bytes are read."""

_METADATA_BYTES = 64 << 20
_BYTES_A_PIXEL = 8  # 16 bits of red, green, blue and alpha, not compressed
_FETCHING = 16
"""How many files of remote storage are on their way at a time."""

_COLUMNS = (
    "image",
    "jpg",
    "jpeg",
    "png",
    "webp",
    "img",
    "picture",
    "image_bytes",
    "bytes",
    "content",
    "data",
)


@dataclass(slots=True)
class Picture:
    """One picture to be worked on, or to be reported as unreadable.

    Attributes:
        source: path or URL of the file it is in, as text for people.
        position: its number in a shard, from 0; 0 for a file of its own.
        member: its name in a tar, its row in a Parquet file; None for a file of its own.
        stamp: of the file it is in: changes when that does.
        name: where it goes below an output folder.
        path: the local file to be read by whoever works on it; None where ``data`` holds it.
        url: of remote storage, to be fetched into ``data`` first.
        data: its encoded bytes.
        size: encoded bytes; 0 if not known.
        error: why it cannot be read; empty if it can.
        companion: a file beside pictures in a shard, copied with them but not a picture.
        message: of bulk embedding: what it is to say, in hex.
        order: among all that are worked on in this run, from 0.
    """

    source: str
    position: int = 0
    member: str | None = None
    stamp: str = ""
    name: str = ""
    path: str | None = None
    url: str | None = None
    data: bytes | None = None
    size: int = 0
    error: str = ""
    companion: bool = False
    message: str = ""
    order: int = 0


def most_bytes(max_pixels: int) -> int:
    """How large a file of ``max_pixels`` can be with any reason; larger ones are not read into memory."""
    return max_pixels * _BYTES_A_PIXEL + _METADATA_BYTES


def too_large(size: int, limit: int) -> str:
    """The error of a file of more bytes than ``most_bytes``."""
    return f"{size} bytes are more than the {limit} that pictures of --max-pixels need"


def read(
    entry: Entry,
    done: Done,
    *,
    column: str | None = None,
    limit: int,
    companions: bool = False,
    finished: Callable[[int, int], None] = lambda pictures, others: None,
) -> Iterator[Picture]:
    """The pictures of an entry that are not done, in order.

    Args:
        entry: a file of a source.
        done: asked before a picture's bytes are read.
        column: of the pictures in Parquet files; None to find it.
        limit: most bytes of a picture, see ``most_bytes``.
        companions: whether other files of a tar are wanted too.
        finished: called after the last picture with the number of all, done ones too, and of files that
            were passed over; not called if the entry could not be read to its end.

    Whatever is wrong with an entry comes as a picture with an ``error``; nothing is raised.
    """
    source = printable(entry.path)
    if entry.kind == "error":
        yield Picture(source, name=entry.name, error=entry.error)
    elif entry.kind == "picture":
        picture = Picture(source, 0, None, entry.stamp, entry.name, size=entry.size)
        if is_url(entry.path):
            picture.url = entry.path
        else:
            picture.path = entry.path
        if not done(picture):
            yield picture
        finished(1, 0)
    else:
        position = count = passed = 0
        shard = _tar(entry, companions) if entry.kind == "tar" else _parquet(entry, column)
        try:
            for picture, load in shard:
                position = picture.position + 1
                if load is None:  # no picture
                    passed += 1
                    continue
                count += 1
                if done(picture):
                    continue
                if picture.size > limit:
                    picture.error = too_large(picture.size, limit)
                elif not picture.error:
                    picture.data = load()
                yield picture
        except Exception as error:  # tarfile, zlib, lzma, pyarrow, a store: each has errors of its own
            what = f"{source} cannot be read after {position} members: {reason_of(error)}"
            yield Picture(source, position, None, entry.stamp, entry.name, error=what)
            return
        finished(count, passed)


# ---- tar -------------------------------------------------------------------------------------------


class _Header(tarfile.TarInfo):
    """A header that fails where tarfile would take a damaged one for the archive's end."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> _Header:
        try:
            return super().fromtarfile(archive)
        except (tarfile.InvalidHeaderError, tarfile.TruncatedHeaderError) as error:  # type: ignore[attr-defined]  # typeshed has neither
            raise tarfile.ReadError(f"damaged header: {error}") from None


@contextlib.contextmanager
def _opened_tar(entry: Entry) -> Iterator[tarfile.TarFile]:
    """As a stream where seeking is impossible or costly, else with what is not wanted left unread."""
    # ignore_zeros: several tars may stand one after the other, as `cat` puts them on a pipe
    options: dict[str, Any] = {"mode": "r|", "tarinfo": _Header, "ignore_zeros": True}
    with contextlib.ExitStack() as stack:
        file: Any = sys.stdin.buffer if entry.path == STDIN else stack.enter_context(open_input(entry.path))
        if not hasattr(file, "peek"):
            file = io.BufferedReader(file)
        module = compression(file.peek(8))
        if module is not None:
            # NOTE: by these modules, as tarfile's own streams end after the first of several parts
            file = stack.enter_context(importlib.import_module(module).open(file))
        elif entry.path != STDIN and not is_url(entry.path):
            options["mode"] = "r:"
        yield stack.enter_context(tarfile.open(fileobj=file, **options))


def _tar(entry: Entry, companions: bool) -> Iterator[tuple[Picture, Callable[[], bytes] | None]]:
    source = printable(entry.path)
    with _opened_tar(entry) as archive:
        for position in itertools.count():
            header = archive.next()
            if header is None:
                return
            archive.members.clear()  # type: ignore[attr-defined]  # tarfile keeps every header it has read
            name = printable(header.name)
            inside = os.path.join(entry.name, _harmless(name))
            picture = Picture(source, position, name, entry.stamp, inside, size=header.size)
            kind = kind_by_ending(header.name)
            if not header.isreg():
                # a link stands for a member that comes by itself; what else is there is no picture
                yield picture, None
                continue
            file = archive.extractfile(header)
            assert file is not None  # as of every regular member
            start = b""
            if kind is None:
                start = file.read(PREFIX_BYTES)
                kind = "picture" if format_by_prefix(start) else "other"
            picture.companion = kind != "picture"
            wanted = companions or not picture.companion

            def load(start: bytes = start, file: IO[bytes] = file, size: int = header.size) -> bytes:
                data = start + file.read()
                if len(data) != size:
                    raise tarfile.ReadError("unexpected end of data")
                return data

            yield picture, load if wanted else None


def _harmless(name: str) -> str:
    """A member's name as a path that stays where it is put."""
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    return os.path.join(*parts) if parts else "unnamed"


# ---- Parquet ---------------------------------------------------------------------------------------


def picture_column(schema: Any, column: str | None) -> tuple[str, bool]:
    """Which column of a Parquet schema holds pictures, and whether as a struct with a field ``bytes``.

    Without a ``column``: the first by a usual name, or the only one of bytes.

    Raises:
        SourceError: if there is none, or too many.
    """
    types = package("pyarrow.types", "Parquet")

    def is_bytes(kind: Any) -> bool:
        return bool(types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind))

    kinds = {}
    for field in schema:
        if is_bytes(field.type):
            kinds[field.name] = False
        elif types.is_struct(field.type) and any(
            inner.name == "bytes" and is_bytes(inner.type) for inner in field.type
        ):
            kinds[field.name] = True
    if column is not None:
        if column not in kinds:
            raise SourceError(f"no column {column!r} of bytes; of bytes are: {', '.join(kinds) or 'none'}")
        return column, kinds[column]
    usual = [name for name in _COLUMNS if name in kinds]
    if not usual and len(kinds) != 1:
        found = f"several columns are of bytes ({', '.join(kinds)})" if kinds else "no column is of bytes"
        raise SourceError(f"{found}: name the pictures' with --column")
    name = usual[0] if usual else next(iter(kinds))
    return name, kinds[name]


def _parquet(entry: Entry, column: str | None) -> Iterator[tuple[Picture, Callable[[], bytes] | None]]:
    parquet = package("pyarrow.parquet", "Parquet")
    source = printable(entry.path)
    with open_input(entry.path) as file:
        # NOTE: buffered, so that a row group's pictures are not all in memory at a time
        table = parquet.ParquetFile(file, buffer_size=1 << 20, pre_buffer=False)
        name, nested = picture_column(table.schema_arrow, column)
        wanted = f"{name}.bytes" if nested else name
        position = 0
        for batch in table.iter_batches(batch_size=16, columns=[wanted], use_threads=False):
            values = batch.column(0)
            for value in values.field("bytes") if nested else values:
                buffer = value.as_buffer()
                size = 0 if buffer is None else buffer.size
                inside = os.path.join(entry.name, f"{position:08d}")
                picture = Picture(source, position, str(position), entry.stamp, inside, size=size)
                if buffer is None:
                    picture.error = f"row {position} holds no picture"
                position += 1
                yield picture, (lambda: b"") if buffer is None else buffer.to_pybytes


# ---- remote files, batches -------------------------------------------------------------------------


def fetched(pictures: Iterable[Picture], limit: int) -> Iterator[Picture]:
    """The same pictures in the same order, those of remote storage with their bytes, several at a time."""
    with contextlib.ExitStack() as stack:
        pool: ThreadPoolExecutor | None = None
        window: deque[Future[Picture] | Picture] = deque()
        for picture in pictures:
            if picture.url is None:
                window.append(picture)
            else:
                pool = pool or stack.enter_context(ThreadPoolExecutor(_FETCHING))
                window.append(pool.submit(_fetch, picture, limit))
            while window and (len(window) >= _FETCHING or not isinstance(window[0], Future)):
                yield _settled(window.popleft())
        while window:
            yield _settled(window.popleft())


def _settled(picture: Future[Picture] | Picture) -> Picture:
    return picture.result() if isinstance(picture, Future) else picture


def _fetch(picture: Picture, limit: int) -> Picture:
    assert picture.url is not None
    try:
        with open_input(picture.url) as file:
            data = file.read(limit + 1)
    except FileNotFoundError:
        picture.error = f"{picture.source}: no such file"
    except Exception as error:  # a store's own exceptions
        picture.error = f"{picture.source} cannot be read: {one_line(error) or repr(error)}"
    else:
        picture.size = len(data)
        if len(data) > limit:
            picture.error = too_large(len(data), limit)
        else:
            picture.data = data
    return picture


def batches(pictures: Iterable[Picture], most: int, most_bytes: int) -> Iterator[list[Picture]]:
    """Pictures in groups of up to ``most``, and of more than ``most_bytes`` only when alone."""
    batch: list[Picture] = []
    size = 0
    for picture in pictures:
        if batch and (len(batch) >= most or size + picture.size > most_bytes):
            yield batch
            batch, size = [], 0
        batch.append(picture)
        size += picture.size
    if batch:
        yield batch
