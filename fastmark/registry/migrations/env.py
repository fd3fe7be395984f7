"""Run by Alembic alone, for each upgrade: it takes the connection that it is given, and its transaction."""

from __future__ import annotations


def run() -> None:
    """Run the migrations."""
    from alembic import context

    given = context.config.attributes
    context.configure(connection=given["connection"], version_table=given["version_table"])
    with context.begin_transaction():
        context.run_migrations()


if __name__ == "env_py":  # the name that Alembic loads it by: an import of it does nothing
    run()
