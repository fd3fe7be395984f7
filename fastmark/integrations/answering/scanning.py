"""Images in JSON: where in the text they stand, so that all else of it stays as it is, to the byte."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from fastmark.images.formats import PREFIX_BYTES, format_by_prefix

IMAGE_KEYS = ("b64_json", "partial_image_b64")
"""Keys whose strings are images, whatever they hold."""

URL_KEYS = ("url", "image_url")
"""Keys whose strings say where an image is."""

MOST_VALUES = 200_000
"""Of one text: each takes about a microsecond."""

_MOST_DEPTH = 64
_SPACE = re.compile(r"[ \t\n\r]*")
_BASE64 = re.compile(r"[A-Za-z0-9+/_\-\s]+={0,2}\s*")
_TO_STANDARD = str.maketrans("-_", "+/")
_LEAST_CHARACTERS = 64
# formats whose signatures no other text has by chance, under whatever key it stands
_TELLING = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "AVIF", "HEIF")
_decode: Callable[[str, int], tuple[Any, int]] = json.JSONDecoder().raw_decode


@dataclass(frozen=True, slots=True)
class Found:
    """A string of JSON that is an image, or says where one is.

    Attributes:
        start, end: of the string in the text, its quotes included.
        value: the string.
    """

    start: int
    end: int
    value: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Scan:
    """What is in a JSON text.

    Attributes:
        images, urls: in their order.
        kind: the string under ``type`` in the outermost object, as events have it; empty without one.
    """

    images: tuple[Found, ...]
    urls: tuple[Found, ...]
    kind: str


def scan(text: str) -> Scan:
    """Find all images and URLs of a JSON text.

    Keys that stand twice in an object are all looked at, as readers differ in which they take; in any case of
    letters, as some readers do not mind it.

    Raises:
        ValueError: if the text is not JSON, nested too deeply, or has too many values.
    """
    walk = _Walk(text)
    end = walk.value(1 if text.startswith("\ufeff") else 0, "", 0)
    if walk.space(end) != len(text):
        raise ValueError("something follows the JSON")
    return Scan(tuple(walk.images), tuple(walk.urls), walk.kind)


def replaced(text: str, parts: list[tuple[Found, str]]) -> bytes:
    """Return the text with other strings in some places, in UTF-8.

    Args:
        text: that was searched.
        parts: what was found, in its order, and the string to stand there, of base64 alone.
    """
    pieces, at = [], 0
    for found, value in parts:
        pieces += [text[at : found.start].encode(), json.dumps(value).encode()]
        at = found.end
    return b"".join([*pieces, text[at:].encode()])


class _Walk:
    """One way through a text; strings and numbers are read by the json module."""

    def __init__(self, text: str) -> None:
        self.text, self.left, self.kind = text, MOST_VALUES, ""
        self.images, self.urls = list[Found](), list[Found]()

    def space(self, at: int) -> int:
        """Return where the next thing begins."""
        match = _SPACE.match(self.text, at)
        assert match is not None
        return match.end()

    def value(self, at: int, key: str, depth: int) -> int:
        """Pass over a value under a key; return where it ends."""
        self.left -= 1
        if self.left < 0 or depth > _MOST_DEPTH:
            raise ValueError("the JSON has too many values, or is nested too deeply")
        at = self.space(at)
        kind = self.text[at : at + 1]
        if kind == "{":
            return self._items(at, "}", key, depth)
        if kind == "[":
            return self._items(at, "]", key, depth)
        value, end = _decode(self.text, at)
        if isinstance(value, str) and value:
            folded = key.casefold()
            if folded in IMAGE_KEYS or looks_like_image(value):
                self.images.append(Found(at, end, value))
            elif folded in URL_KEYS:
                self.urls.append(Found(at, end, value))
            elif depth == 1 and key == "type":
                self.kind = value
        return end

    def _items(self, at: int, close: str, key: str, depth: int) -> int:
        """Pass over an object or an array, whose elements stand under its own key."""
        at = self.space(at + 1)
        if self.text[at : at + 1] == close:
            return at + 1
        while True:
            if close == "}":
                if self.text[at : at + 1] != '"':
                    raise ValueError("a key was expected")
                key, at = _decode(self.text, at)
                at = self.space(at)
                if self.text[at : at + 1] != ":":
                    raise ValueError("a colon was expected")
                at += 1
            at = self.space(self.value(at, key, depth + 1))
            found = self.text[at : at + 1]
            if found == close:
                return at + 1
            if found != ",":
                raise ValueError("a comma was expected")
            at = self.space(at + 1)


def looks_like_image(value: str) -> bool:
    """Whether a string is an image in base64, or a data URL of one, judged by how it begins."""
    if len(value) < _LEAST_CHARACTERS:
        return False
    if value[:11].lower() == "data:image/":
        return True
    start = "".join(value[: 2 * PREFIX_BYTES].split()).translate(_TO_STANDARD)
    try:
        prefix = base64.b64decode(start[: len(start) // 4 * 4])
    except binascii.Error:
        return False
    return format_by_prefix(prefix[:PREFIX_BYTES]) in _TELLING and _BASE64.fullmatch(value) is not None


def split_data_url(value: str) -> tuple[str, str]:
    """Return what stands before the base64 of a data URL, and the base64; of another string "" and all."""
    if value[:5].lower() != "data:":
        return "", value
    head, comma, data = value.partition(",")
    if not comma or not head.lower().endswith(";base64"):
        raise ValueError("the data URL is not in base64")
    return head + comma, data


def decode_base64(text: str) -> bytes:
    """Return the bytes of a base64 text, of either alphabet, with or without padding and line breaks.

    Raises:
        ValueError: if it is none.
    """
    plain = "".join(text.split()).translate(_TO_STANDARD).rstrip("=")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("it is not base64") from None
