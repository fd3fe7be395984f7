"""Registries as JSON Lines: for a copy, another database, or a look at what is in it."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Iterator
from typing import Any

from fastmark.errors import RegistryError
from fastmark.registry.entries import Entry
from fastmark.registry.store import Registry

SCHEMA = 1
"""Version of what a line has."""


def export_lines(registry: Registry, *, private: bool = False) -> Iterator[str]:
    """Yield the entries of a registry ordered by id, each a JSON object without a line break.

    Entries that are added meanwhile may be in it or not.

    Args:
        registry: to export.
        private: everything, with owners and manifests, which :func:`import_lines` reads; else what anybody
            may see of images that have left.

    Raises:
        RegistryError: if the registry cannot be read.
    """
    for entry in registry.entries():
        if private:
            store = None if entry.manifest_id is None else registry.manifest(entry.manifest_id)
            yield entry_line(entry, store)
        elif entry.state != "reserved":
            yield _line(entry.public.to_dict())


def import_lines(registry: Registry, lines: Iterable[str | bytes]) -> tuple[int, int]:
    """Add all entries of a private export, or none of them; see :meth:`Registry.insert`.

    Args:
        registry: that gets them.
        lines: of the export; they are read one after another and not kept.

    Returns:
        How many entries there were, and how many of them are new: the others were there already, identical.

    Raises:
        RegistryError: if a line is no whole entry, or ids are taken by other entries. It names the lines, and
            nothing was added.
    """
    seen = 0

    def entries() -> Iterator[tuple[int, Entry, bytes | None]]:
        nonlocal seen
        for number, line in enumerate(lines, 1):
            if line.strip():
                seen += 1
                try:
                    entry, store = _read(line)
                except RegistryError as error:
                    raise RegistryError(f"line {number}: {error}; nothing was added") from None
                yield number, entry, store

    new = registry.insert(entries())
    return seen, new


def entry_line(entry: Entry, store: bytes | None) -> str:
    """Return the line of a whole entry, with its manifest if there is one."""
    text = None if store is None else base64.b64encode(store).decode("ascii")
    return _line(entry.to_dict() | {"manifest": text})


def _line(values: dict[str, Any]) -> str:
    return json.dumps({"schema": SCHEMA} | values, ensure_ascii=False)


def _read(line: str | bytes) -> tuple[Entry, bytes | None]:
    """The entry of a line, and its manifest."""
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        raise RegistryError("it is no JSON") from None
    if not isinstance(values, dict) or "id" not in values:
        raise RegistryError("it is no entry of a registry")
    if values.pop("schema", SCHEMA) != SCHEMA:
        raise RegistryError("it is of a newer version: upgrade fastmark")
    if "key_id" not in values:
        raise RegistryError("it is of a public export, which is not complete: export with --private")
    text = values.pop("manifest", None)
    entry = Entry.from_dict(values)
    if text is None:
        return entry, None
    if entry.manifest_id is None or not isinstance(text, str):
        raise RegistryError("its manifest must be base64, beside a manifest_id")
    try:
        return entry, base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise RegistryError("its manifest is no base64") from None
