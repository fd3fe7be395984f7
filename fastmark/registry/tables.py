"""The tables of a registry as they are now; ``migrations`` has how they came to be."""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from fastmark._imports import package
from fastmark.registry.connecting import PURPOSE

if TYPE_CHECKING:
    from sqlalchemy import MetaData, Table

REVISIONS = ("0001",)
"""Versions of the tables, the oldest first; the last is the one that this fastmark reads and writes."""

VERSION_TABLE = "fastmark_registry_version"


class Tables(SimpleNamespace):
    """The tables, as SQLAlchemy describes them."""

    metadata: MetaData
    entries: Table
    manifests: Table


@functools.cache
def tables() -> Tables:
    """Describe the tables; their names begin with fastmark, as a database may serve others as well."""
    sa = package("sqlalchemy", PURPOSE, "registry")
    metadata = sa.MetaData()

    def text(name: str, length: int, **options: Any) -> Any:
        return sa.Column(name, sa.String(length), **options)

    entries = sa.Table(
        "fastmark_entries",
        metadata,
        text("id", 32, primary_key=True),
        sa.Column("message_bits", sa.Integer, nullable=False),
        text("key_id", 64, nullable=False),
        text("state", 16, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        *(text(name, 200) for name in ("provider", "system", "system_version", "model")),
        text("action", 16, nullable=False),
        text("operation", 200),
        text("policy", 32, nullable=False),
        text("owner", 200),
        sa.Column("expires", sa.DateTime(timezone=True), index=True),
        text("source_type", 64),
        text("producer_code", 200),
        sa.Column("width", sa.Integer),
        sa.Column("height", sa.Integer),
        text("sha256", 64, index=True),
        text("perceptual_hash", 80),
        text("manifest_id", 256, index=True),
    )
    manifests = sa.Table(
        "fastmark_manifests",
        metadata,
        text("manifest_id", 256, primary_key=True),
        sa.Column(
            "entry_id", sa.String(32), sa.ForeignKey("fastmark_entries.id"), nullable=False, index=True
        ),
        sa.Column("store", sa.LargeBinary, nullable=False),
    )
    return Tables(metadata=metadata, entries=entries, manifests=manifests)
