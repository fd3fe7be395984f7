"""Fetching: the bytes of remote files, several at a time; and items put together into batches."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

from fastmark.bulk.readers import filled
from fastmark.bulk.records import Item
from fastmark.bulk.storage import open_input, storable
from fastmark.errors import one_line
from fastmark.images.reading import too_large

_FETCHING = 16
"""How many files of remote storage are being fetched at a time."""


def fetched(items: Iterable[Item], limit: int) -> Iterator[Item]:
    """The same items in the same order, those of remote storage with their bytes.

    Args:
        items: as the readers make them.
        limit: most bytes of an image, see ``most_bytes``.
    """
    with contextlib.ExitStack() as stack:
        pool: ThreadPoolExecutor | None = None
        window: deque[Future[Item] | Item] = deque()
        for item in items:
            if item.url is None:
                window.append(item)
            else:
                pool = pool or stack.enter_context(ThreadPoolExecutor(_FETCHING))
                window.append(pool.submit(_fetch, item, item.url, limit))
            while window and (len(window) >= _FETCHING or not isinstance(window[0], Future)):
                yield _settled(window.popleft())
        while window:
            yield _settled(window.popleft())


def _settled(item: Future[Item] | Item) -> Item:
    return item.result() if isinstance(item, Future) else item


def _fetch(item: Item, url: str, limit: int) -> Item:
    try:
        with open_input(url) as file:
            data = file.read(limit + 1)
    except FileNotFoundError:
        return replace(item, error=f"{item.source}: no such file")
    except Exception as error:  # a store's own exceptions
        reason = storable(one_line(error) or repr(error))
        return replace(item, error=f"{item.source} cannot be read: {reason}")
    item = replace(item, size=len(data))
    if len(data) > limit:
        return replace(item, error=too_large(len(data), limit))
    return filled(item, data)


def batches(items: Iterable[Item], most: int, most_bytes: int) -> Iterator[list[Item]]:
    """Items in lists of up to ``most``, and of more than ``most_bytes`` only when alone."""
    batch: list[Item] = []
    size = 0
    for item in items:
        if batch and (len(batch) >= most or size + item.size > most_bytes):
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += item.size
    if batch:
        yield batch
