"""Entries as rows of the tables."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import TYPE_CHECKING, Any

from fastmark.errors import RegistryError
from fastmark.records import Record
from fastmark.registry.entries import Entry, State
from fastmark.registry.fingerprint import SAME, distance
from fastmark.registry.tables import tables

if TYPE_CHECKING:
    from sqlalchemy import Connection, Table

_ENTRY_FIELDS = tuple(field.name for field in dataclasses.fields(Entry) if field.name != "record")
_RECORD_FIELDS = tuple(field.name for field in dataclasses.fields(Record))


def row_of(entry: Entry) -> dict[str, Any]:
    """The columns of an entry."""
    row = {name: getattr(entry, name) for name in _ENTRY_FIELDS}
    row |= {name: getattr(entry.record, name) for name in _RECORD_FIELDS}
    if row["expires"] is not None:
        row["expires"] = row["expires"].astimezone(dt.UTC).replace(microsecond=0)
    return row


def entry_of(row: Any) -> Entry:
    """The entry of a row; SQLite keeps times without their zone, which is UTC."""
    values = {name: getattr(row, name) for name in (*_ENTRY_FIELDS, *_RECORD_FIELDS)}
    for name in ("created_at", "expires"):
        if values[name] is not None and values[name].tzinfo is None:
            values[name] = values[name].replace(tzinfo=dt.UTC)
    record = Record(**{name: values.pop(name) for name in _RECORD_FIELDS})
    return Entry(**values, record=record)


def insert_new(connection: Connection, table: Table, row: dict[str, Any]) -> bool:
    """Insert a row; False, and nothing done, if its primary key is taken."""
    from sqlalchemy.dialects import postgresql, sqlite

    insert: Any = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    done = connection.execute(
        insert(table).values(row).on_conflict_do_nothing(), execution_options={"preserve_rowcount": True}
    )
    return done.rowcount == 1


def completed(entry: Entry, facts: dict[str, Any]) -> Entry:
    """The entry with facts that it did not have.

    Raises:
        RegistryError: if one says otherwise than the entry.
    """
    added = {}
    for name, value in facts.items():
        known = getattr(entry, name)
        if value is None or value == known:
            continue
        if known is None:
            added[name] = value
        elif name != "perceptual_hash" or distance(known, value) > SAME:
            raise RegistryError(
                f"the entry {entry.id} has another {name} already: an id stands for one image, watermark this"
                " one with an id of its own"
            )
    state: State = "delivered" if entry.sha256 or added.get("sha256") else "marked"
    return dataclasses.replace(entry, state=state, **added)


def keep_manifest(connection: Connection, entry_id: str, manifest_id: str, store: bytes) -> None:
    """Keep a store of content credentials.

    Raises:
        RegistryError: if another store is kept by that id.
    """
    manifests = tables().manifests
    row = {"manifest_id": manifest_id, "entry_id": entry_id, "store": bytes(store)}
    if insert_new(connection, manifests, row):
        return
    kept = connection.execute(manifests.select().where(manifests.c.manifest_id == manifest_id)).one()
    if (kept.entry_id, bytes(kept.store)) != (entry_id, bytes(store)):
        raise RegistryError(f"the manifest {manifest_id} is kept already, with other content")
