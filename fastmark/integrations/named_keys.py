"""Keys by names that may be written down anywhere, as in a workflow; the keys stay on the machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from fastmark.codec.key_places import load_key, load_secret_key
from fastmark.errors import KeyFormatError, KeyNotFoundError

if TYPE_CHECKING:
    from fastmark.codec.key import AnyKey, Key

VARIABLE = "FASTMARK_KEY"
"""Variable of the environment that holds the path of a key file, env:NAME, or a key file's text."""

FOLDER_VARIABLE = "FASTMARK_KEYS"
"""Variable of the environment that holds the folder of key files."""

_FROM_VARIABLE = f"env:{VARIABLE}"


def folder() -> Path:
    """Return where key files lie: the folder that ``FASTMARK_KEYS`` names, or ``~/.fastmark/keys``."""
    named = os.environ.get(FOLDER_VARIABLE)
    return Path(named).expanduser() if named else Path.home() / ".fastmark" / "keys"


def names() -> list[str]:
    """Return the names of keys: env:FASTMARK_KEY, and the files ``*.key`` of the folder."""
    try:
        files = sorted(path.name for path in folder().iterdir() if path.suffix == ".key" and path.is_file())
    except OSError:
        files = []
    return [_FROM_VARIABLE, *files]


def check_name(name: object) -> str:
    """Return the name of a key.

    Raises:
        KeyNotFoundError: if no key has it. The error does not repeat it, as it may be a key's text.
    """
    known = names()
    if isinstance(name, str) and name in known:
        return name
    raise KeyNotFoundError(
        "there is no key of the name that was given (it is not shown, in case it is a key itself): choose one"
        f" of {', '.join(known)}. Put key files NAME.key in {folder()}, or let the variable {VARIABLE} hold"
        " the path of one. Never paste a key's text: the workflow, and images saved with it, would hold it"
    )


def load_named(name: object) -> AnyKey:
    """Return a key of either kind.

    Raises:
        KeyNotFoundError: if no key has that name, or the variable names a file that is not there.
        KeyFormatError: if the variable is not set, or what is there is no key.
    """
    return load_key(_place(check_name(name)))


def load_named_secret(name: object) -> Key:
    """As :func:`load_named`, for a key that embeds."""
    return load_secret_key(_place(check_name(name)))


def fingerprint(name: object) -> str:
    """Return what changes with the key of a name, and tells nothing of it: its kind and public id."""
    try:
        key = load_named(name)
    except KeyFormatError:
        return "no key"
    return f"{type(key).__name__} {key.id}"


def _place(name: str) -> str:
    """Return where a key lies, for ``key_places``."""
    if name != _FROM_VARIABLE:
        return str(folder() / name)
    held = os.environ.get(VARIABLE, "").strip()
    # a key file's text is a JSON object; no variable at all is told of by that module
    return _FROM_VARIABLE if not held or held.lstrip("\ufeff").startswith("{") else held
