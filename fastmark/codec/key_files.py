"""Key files of both kinds: JSON text, how it is told apart, read and written (SPEC.md, section 1)."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from fastmark._checks import redacted
from fastmark.errors import KeyFormatError, KeyNotFoundError, OutputError

KEY_FORMAT, DETECTOR_KEY_FORMAT = "fastmark-key", "fastmark-detector-key"

_MAX_NAME = 64
_T = TypeVar("_T")


def check_name(name: object) -> None:
    """Refuse what is no label for people.

    Raises:
        KeyFormatError: if ``name`` is not printable text of at most 64 characters.
    """
    if not isinstance(name, str) or len(name) > _MAX_NAME or not name.isprintable():
        raise KeyFormatError(
            f"a key's name is printable text of at most {_MAX_NAME} characters: choose another"
        )


def check_new_name(name: str) -> None:
    """Refuse a name that may be a secret by mistake, for names are shown.

    Raises:
        KeyFormatError: if ``name`` is 64 hex digits or holds them.
    """
    if redacted(name) != name:
        raise KeyFormatError("the name of a key is no secret and is shown: it must not be 64 hex digits")


def fields_of(text: str) -> dict[str, Any]:
    """Return the fields of a key file of either kind; ``format`` is one of the two.

    Args:
        text: the whole text; a byte order mark at its start, as Windows programs write, is passed over.

    Raises:
        KeyFormatError: if the text is no key file.
    """
    try:
        fields = json.loads(text.removeprefix("\ufeff"))
        if fields["format"] in (KEY_FORMAT, DETECTOR_KEY_FORMAT):
            return dict(fields)
    except (ValueError, TypeError, KeyError, RecursionError):
        pass
    raise no_key_file()


def no_key_file() -> KeyFormatError:
    """Return the error of what is no key file, or lacks a field."""
    return KeyFormatError("this is not a fastmark key file; make one with 'fastmark keygen'")


def to_json(fields: dict[str, object]) -> str:
    """Return the text of a key file."""
    return json.dumps(fields, indent=1, ensure_ascii=False) + "\n"


def write_new(path: str | os.PathLike[str], text: str, mode: int) -> None:
    """Write a key file that does not exist yet.

    Args:
        path: of the file.
        text: of the file.
        mode: permissions, from which the process's umask is taken off.

    Raises:
        OutputError: if the file exists already (keys are never overwritten) or cannot be written.
    """
    path = Path(path)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        raise OutputError(f"{path} exists already; a key file is never overwritten") from None
    except OSError as error:
        raise OutputError(f"cannot write the key file {path}: {error.strerror}") from None
    except ValueError as error:  # a null byte in the path
        raise OutputError(f"cannot write the key file {str(path)!r}: {error}") from None
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def load(path: str | os.PathLike[str], from_text: Callable[[str], _T]) -> _T:
    """Read a key file; errors name it.

    Args:
        path: of the file.
        from_text: makes the key of the file's text.

    Raises:
        KeyNotFoundError: if there is no such file; it is a FileNotFoundError too.
        KeyFormatError: if the file cannot be read, or ``from_text`` refuses it.
    """
    shown = _shown(path)
    try:
        text = _decoded(Path(path).read_bytes())
    except FileNotFoundError:
        raise KeyNotFoundError(
            f"cannot read the key file {shown}: no such file; make one with 'fastmark keygen'"
        ) from None
    except OSError as error:
        raise KeyFormatError(f"cannot read the key file {shown}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise KeyFormatError(
            f"{shown} is not a fastmark key file: make one with 'fastmark keygen', or name another file"
        ) from None
    except ValueError as error:  # a null byte in the path
        raise KeyFormatError(f"cannot read the key file {shown!r}: {error}") from None
    try:
        return from_text(text)
    except KeyFormatError as error:
        raise KeyFormatError(f"{shown}: {error}") from None


def _shown(path: str | os.PathLike[str]) -> str:
    """A path as errors show it; not where the key itself was given for it."""
    text = os.fsdecode(path)
    is_text = KEY_FORMAT in text or DETECTOR_KEY_FORMAT in text
    return "(a key's text instead of its path; not shown)" if is_text else redacted(text)


def _decoded(data: bytes) -> str:
    """The text of a file, which Windows programs may have saved as UTF-16."""
    return data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
