"""The first tables: entries and manifests."""

from __future__ import annotations

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables."""
    import sqlalchemy as sa
    from alembic import op

    op.create_table(
        "fastmark_entries",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("message_bits", sa.Integer, nullable=False),
        sa.Column("key_id", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("provider", sa.String(200)),
        sa.Column("system", sa.String(200)),
        sa.Column("system_version", sa.String(200)),
        sa.Column("model", sa.String(200)),
        sa.Column("action", sa.String(16), nullable=False),
        sa.Column("operation", sa.String(200)),
        sa.Column("policy", sa.String(32), nullable=False),
        sa.Column("owner", sa.String(200)),
        sa.Column("expires", sa.DateTime(timezone=True)),
        sa.Column("source_type", sa.String(64)),
        sa.Column("producer_code", sa.String(200)),
        sa.Column("width", sa.Integer),
        sa.Column("height", sa.Integer),
        sa.Column("sha256", sa.String(64)),
        sa.Column("perceptual_hash", sa.String(80)),
        sa.Column("manifest_id", sa.String(256)),
    )
    for name in ("expires", "sha256", "manifest_id"):
        op.create_index(f"ix_fastmark_entries_{name}", "fastmark_entries", [name])
    op.create_table(
        "fastmark_manifests",
        sa.Column("manifest_id", sa.String(256), primary_key=True),
        sa.Column("entry_id", sa.String(32), sa.ForeignKey("fastmark_entries.id"), nullable=False),
        sa.Column("store", sa.LargeBinary, nullable=False),
    )
    op.create_index("ix_fastmark_manifests_entry_id", "fastmark_manifests", ["entry_id"])
