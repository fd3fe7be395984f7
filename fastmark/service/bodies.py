"""Bodies of requests, read into memory within limits of size and time; no file is made of them."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field, replace
from typing import Any

from fastapi import Request
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from fastmark.service.admission import Room
from fastmark.service.problems import Problem

IMAGE_FIELDS = ("image", "images", "file")
"""Names of the fields of a form that hold images."""

logging.getLogger("python_multipart").setLevel(logging.ERROR)  # below, it writes bytes of forms

_MOST_FIELDS = 20
_MOST_TEXT = 64 << 10  # bytes of a field that is no file, and of a body that is no image


@dataclass(slots=True)
class Body:
    """What a request brought.

    Attributes:
        images: encoded images, in their order.
        fields: texts of a form.
        url: of an image that is to be fetched; None without.
    """

    images: list[bytes] = field(default_factory=list, repr=False)
    fields: dict[str, str] = field(default_factory=dict, repr=False)
    url: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Limits:
    """Of a body: bytes, seconds in which it must arrive, images in it, and the memory of all bodies."""

    most_bytes: int
    seconds: float
    images: int
    memory: Room

    def small(self) -> Limits:
        """Return those of a body that is no image: what stands in 32 MiB of JSON is a gigabyte in memory."""
        return replace(self, most_bytes=min(self.most_bytes, _MOST_TEXT))


async def read_body(request: Request, limits: Limits) -> Body:
    """Read the body: a form with images, JSON with a URL, or the bytes of one image.

    Raises:
        Problem: as :func:`read_bytes`, 400 if it is damaged, 415 if it is of another kind.
    """
    kind = media_type(request)
    is_json = kind in ("application/json", "text/json")
    data = await read_bytes(request, limits.small() if is_json else limits)
    if kind == "multipart/form-data":
        return await _form(request.headers, data, limits.images)
    if is_json:
        return _json(data)
    if kind and not kind.startswith("image/") and kind not in _RAW:
        raise Problem(
            415,
            "The body is of a kind that is not known here: send a form with the field 'image'"
            " (multipart/form-data), or the bytes of an image (image/*, application/octet-stream).",
        )
    if not data:
        raise Problem(400, "The body is empty: send an image.")
    return Body(images=[data])


_RAW = ("application/octet-stream", "application/x-www-form-urlencoded", "binary/octet-stream")
# the second is what curl --data-binary says, if it is told nothing


def media_type(request: Request) -> str:
    """Return what the body is said to be, in lower case and without parameters; empty if nothing is said."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def read_bytes(request: Request, limits: Limits) -> bytes:
    """Read the body as it is.

    The memory that it takes is written down in ``request.state.memory``, to be given back when the request
    ends.

    Raises:
        Problem: 400 if the connection ends within it, 408 if it comes too slowly, 413 if it is too large, 429
            if there is no memory for it.
    """
    told = request.headers.get("content-length", "")
    if told.isdecimal() and int(told) > limits.most_bytes:
        raise _too_large(limits)
    memory, taken = limits.memory, bytearray()
    try:
        async with asyncio.timeout(limits.seconds):
            async for chunk in request.stream():
                if len(taken) + len(chunk) > limits.most_bytes:
                    raise _too_large(limits)
                memory.take(len(chunk))
                request.state.memory += len(chunk)
                taken += chunk
    except TimeoutError:
        raise Problem(408, f"The body did not arrive within {limits.seconds:g} seconds: try again.") from None
    except ClientDisconnect:
        raise Problem(400, "The connection ended within the body.") from None
    return bytes(taken)


def _too_large(limits: Limits) -> Problem:
    return Problem(413, f"The body has more than {limits.most_bytes} bytes: send a smaller file.")


class _InMemory(MultiPartParser):
    """Keeps all parts in memory: nothing that somebody asks about may touch the disk."""

    spool_max_size = 1 << 40  # the whole body is in memory already, and was measured


async def _form(headers: Headers, data: bytes, most_images: int) -> Body:
    async def stream() -> AsyncGenerator[bytes, None]:
        yield data

    parser = _InMemory(
        headers, stream(), max_files=most_images, max_fields=_MOST_FIELDS, max_part_size=_MOST_TEXT
    )
    body = Body()
    try:
        form = await parser.parse()
    except MultiPartException as error:
        if "Too many files" in error.message:
            one = "one image" if most_images == 1 else f"{most_images} images"
            raise Problem(413, f"The form has more files than {one}: send fewer at a time.") from None
        raise Problem(400, "The form cannot be read: its parts are damaged, too many or too long.") from None
    except Exception:  # of the parser below, for hostile headers
        raise Problem(400, "The form cannot be read: it is damaged.") from None
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            if name in IMAGE_FIELDS and value.size:
                body.images.append(await value.read())
        elif name == "url" and value:
            body.url = value
        else:
            body.fields[name] = value
    await form.close()
    if not body.images and body.url is None:
        raise Problem(400, "The form has no image: put a file into the field 'image'.")
    return body


def _json(data: bytes) -> Body:
    try:
        values: Any = json.loads(data)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict) or not isinstance(values.get("url"), str) or len(values) != 1:
        raise Problem(400, 'JSON must be an object with a URL, {"url": "https://..."}; images come as bytes.')
    return Body(url=values["url"])
