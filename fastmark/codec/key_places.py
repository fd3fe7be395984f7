"""Keys where they lie: in a file, or in a variable of the environment; nothing heavy is imported before."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from fastmark.errors import KeyFormatError

if TYPE_CHECKING:
    from fastmark.codec.key import AnyKey, Key

_Key = TypeVar("_Key")


def load_secret_key(place: str) -> Key:
    """Return the key of a file, or of the variable NAME where ``place`` is env:NAME.

    Raises:
        KeyNotFoundError: if there is no such file.
        KeyFormatError: if the variable is not set, or what is there is no key.
    """
    from fastmark.codec.key import Key

    return _load(place, Key.load, Key.from_text)


def load_key(place: str) -> AnyKey:
    """As :func:`load_secret_key`; a detector key will do."""
    from fastmark.codec.key import key_of_text, load_key

    return _load(place, load_key, key_of_text)


def _load(place: str, load: Callable[[str], _Key], from_text: Callable[[str], _Key]) -> _Key:
    if not place.startswith("env:"):
        return load(place)
    name = place.removeprefix("env:")
    text = os.environ.get(name)
    if text is None:
        raise KeyFormatError(
            f"the environment variable {name} is not set: set it to the text of a key, or name a key file"
        )
    try:
        return from_text(text)
    except KeyFormatError as error:
        raise KeyFormatError(f"{place}: {error}") from None
