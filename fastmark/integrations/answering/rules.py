"""What an operator decides: which answers are looked at, and what is done with images that stay unmarked."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args
from urllib.parse import unquote

PATHS = ("/images/generations", "/images/edits", "/images/variations")
"""How the paths of OpenAI's Images API end."""

OnUrl = Literal["refuse", "pass"]
OnPartial = Literal["drop", "pass", "mark"]
Fail = Literal["closed", "open"]
ON_URL: tuple[OnUrl, ...] = get_args(OnUrl)
ON_PARTIAL: tuple[OnPartial, ...] = get_args(OnPartial)
FAIL: tuple[Fail, ...] = get_args(Fail)

MAX_BYTES, MAX_MEMORY = 64 << 20, 256 << 20
MAX_PIXELS = 50_000_000
"""Bounds of one answer, of all at a time, and of one image, unless told otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The decisions.

    Attributes:
        paths: answers to POST on paths that end in one of these are looked at.
        on_url: what is done with an answer that says where an image is instead of having it; None refuses it,
            unless ``fail`` is "open".
        on_partial: what is done with partial images of a stream.
        fail: whether an image that cannot be watermarked is refused, or passed as it is.
        max_bytes: of one answer, or of one event of a stream.
        max_memory: bytes of all answers that are held at a time.
        tell: called with the key's id and the message of each image that was watermarked.
    """

    paths: tuple[str, ...] = PATHS
    on_url: OnUrl | None = None
    on_partial: OnPartial = "drop"
    fail: Fail = "closed"
    max_bytes: int = MAX_BYTES
    max_memory: int = MAX_MEMORY
    tell: Callable[[str, str | None], None] = lambda _key_id, _message: None

    def __post_init__(self) -> None:
        """Refuse values that none of these can have, with a ValueError."""
        for name, known in (("on_url", ON_URL), ("on_partial", ON_PARTIAL), ("fail", FAIL)):
            value = getattr(self, name)
            if value not in known and not (name == "on_url" and value is None):
                raise ValueError(f"{name} must be one of {', '.join(known)}, not {value!r}")
        for name in ("max_bytes", "max_memory"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be a whole number above 0, not {value!r}")
        if isinstance(self.paths, str) or not all(path.startswith("/") for path in self.paths):
            raise ValueError("paths must be a list of paths that begin with /")

    @property
    def refuses_urls(self) -> bool:
        """Whether an answer that says where an image is is refused."""
        return self.on_url == "refuse" or (self.on_url is None and self.fail == "closed")

    def match(self, method: str, path: str) -> str | None:
        """Return the path of the rules that a request is for; None if its answer is passed as it is.

        Servers differ in what they take for the same path, so that all that one of them might take for it
        counts: any case of letters, double slashes, dots, one at the end, parts that are quoted twice.
        """
        if method.upper() != "POST":
            return None
        plain = _plain(path)
        return next((one for one in self.paths if plain.endswith(_plain(one))), None)


def _plain(path: str) -> str:
    """Return a path in the one form that all its spellings have."""
    before = ""
    while before != path:
        before, path = path, unquote(path)
    path = re.sub(r";[^/]*", "", path.replace("\\", "/"))
    return posixpath.normpath("/" + re.sub(r"[\0\s]", "", path)).replace("//", "/").casefold()
