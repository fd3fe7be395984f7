"""Tables are made and brought up to date, and those of other versions refused."""

import logging

import pytest
import sqlalchemy as sa

from fastmark.errors import RegistryError
from fastmark.records import Record
from fastmark.registry import schema, tables
from fastmark.registry.connecting import make_engine
from fastmark.registry.places import find_place
from fastmark.registry.store import Registry

KEY = "0123456789abcdef"


def run(url, *statements):
    """Change a database by hand."""
    engine = make_engine(find_place(url), 10)
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    engine.dispose()


def set_version(url, version):
    run(url, f"UPDATE {tables.VERSION_TABLE} SET version_num = '{version}'")


def test_the_known_versions_are_those_of_the_migrations_in_their_order():
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(schema.MIGRATIONS))
    script = ScriptDirectory.from_config(config)
    assert script.get_heads() == [tables.REVISIONS[-1]]
    assert tuple(one.revision for one in script.walk_revisions())[::-1] == tables.REVISIONS


def test_the_migrations_lead_to_the_tables_that_are_used(registry):
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    engine = make_engine(find_place(registry.url), 10)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": tables.VERSION_TABLE})
        assert compare_metadata(context, tables.tables().metadata) == []
        names = set(sa.inspect(connection).get_table_names())
    engine.dispose()
    assert names == {"fastmark_entries", "fastmark_manifests", tables.VERSION_TABLE}


def test_init_keeps_what_is_there(registry):
    message = registry.reserve(Record(owner="me"), key_id=KEY)
    entry = registry.get(message)
    registry.init()
    registry.init()
    assert list(registry.entries()) == [entry]


@pytest.mark.parametrize("oldest", tables.REVISIONS)
def test_every_released_version_is_brought_up_to_date(url, oldest):
    from alembic import command
    from alembic.config import Config

    engine = make_engine(find_place(url), 10, create=True)
    config = Config()
    config.set_main_option("script_location", str(schema.MIGRATIONS))
    with engine.begin() as connection:
        config.attributes.update(connection=connection, version_table=tables.VERSION_TABLE)
        command.upgrade(config, oldest)
        connection.exec_driver_sql(
            "INSERT INTO fastmark_entries"
            " (id, message_bits, key_id, state, created_at, action, policy, owner) VALUES"
            " ('00000000000000ff', 64, 'ab', 'reserved', '2026-01-02 03:04:05', 'created', 'none', 'me')"
        )
    engine.dispose()
    registry = Registry(url)
    registry.init()
    (entry,) = registry.entries()
    assert (entry.id, entry.record, entry.created_at.isoformat()) == (
        "00000000000000ff",
        Record(owner="me"),
        "2026-01-02T03:04:05+00:00",
    )


def test_registries_of_other_versions_are_refused(registry, monkeypatch):
    set_version(registry.url, "9999")
    for use in (Registry(registry.url).count, Registry(registry.url).check, Registry(registry.url).init):
        with pytest.raises(RegistryError, match=r"newer version, 9999: upgrade fastmark"):
            use()
    monkeypatch.setattr(schema, "REVISIONS", ("0000", *tables.REVISIONS))
    set_version(registry.url, "0000")
    with pytest.raises(RegistryError, match=r"older version, 0000: run 'fastmark registry init --registry "):
        Registry(registry.url).reserve(Record(), key_id=KEY)


def test_a_registry_that_is_not_made_is_told_and_not_made(url, tmp_path):
    with pytest.raises(RegistryError, match="is not initialised: run 'fastmark registry init"):
        Registry(url).count()
    assert list(tmp_path.iterdir()) == []
    engine = make_engine(find_place(url), 10, create=True)
    engine.connect().close()  # there is a database, and nothing in it
    engine.dispose()
    with pytest.raises(RegistryError, match="is not initialised: run 'fastmark registry init"):
        Registry(url).count()


def test_a_failed_upgrade_leaves_nothing_behind(url, monkeypatch):
    from alembic import op

    def fail(*_, **__):
        raise RuntimeError("in the middle")

    with monkeypatch.context() as patch:
        patch.setattr(op, "create_index", fail)
        with pytest.raises(RuntimeError, match="in the middle"):
            Registry(url).init()
    with pytest.raises(RegistryError, match="is not initialised"):
        Registry(url).count()
    registry = Registry(url)
    registry.init()
    assert registry.count() == 0


def test_logging_is_left_as_it_is(registry, caplog):
    before = logging.getLogger().handlers[:], logging.getLogger("alembic").level
    registry.init()
    assert (logging.getLogger().handlers, logging.getLogger("alembic").level) == before


def test_sqlite_keeps_every_commit(tmp_path):
    registry = Registry(f"sqlite:///{tmp_path}/registry.db")
    registry.init()
    engine = make_engine(find_place(registry.url), 10)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL
    engine.dispose()
