"""Registries as JSON Lines: what is written, and that an import is whole or nothing."""

import base64
import datetime as dt
import json

import pytest

from fastmark.errors import RegistryError
from fastmark.records import Record
from fastmark.registry import store
from fastmark.registry.exchange import export_lines, import_lines
from fastmark.registry.store import Registry

KEY = "0123456789abcdef"
SECRETS = ("the owner", "the model", KEY, "urn:c2pa:1")
KNOWN = {"width": 640, "height": 480}


def fill(registry):
    """Entries of each state; the ids of those whose images have left."""
    full = Record(
        provider="Anbieter · 提供者",
        owner="the owner",
        model="the model",
        expires=dt.datetime(2030, 1, 1, 0, 0, 0, 123456, dt.UTC),
    )
    reserved = registry.reserve(full, key_id=KEY)
    marked = registry.reserve(Record(), key_id=KEY, message_bits=32)
    registry.complete(marked, **KNOWN, perceptual_hash="phash:" + "0f" * 32)
    delivered = registry.reserve(full, key_id=KEY, message_bits=128)
    facts = {"sha256": "ab" * 32, "manifest_id": "urn:c2pa:1", "manifest": bytes(range(256))}
    registry.complete(delivered, **KNOWN, **facts)
    return reserved, marked, delivered


@pytest.fixture
def copy(tmp_path):
    """An empty registry in SQLite."""
    made = Registry(f"sqlite:///{tmp_path}/copy.db")
    made.init()
    return made


def test_a_private_export_is_the_whole_registry(registry, copy):
    _, _, delivered = fill(registry)
    lines = list(export_lines(registry, private=True))
    assert len(lines) == 3 and not any("\n" in line for line in lines)
    assert import_lines(copy, lines) == (3, 3)
    assert list(copy.entries()) == list(registry.entries())
    assert copy.find_manifest(delivered) == bytes(range(256))
    assert list(export_lines(copy, private=True)) == lines
    # and back: what is there and identical is passed over
    assert import_lines(registry, [lines[0].encode(), "", *lines[1:], "\n"]) == (3, 0)
    assert import_lines(registry, []) == (0, 0)


def test_a_public_export_has_nothing_private(registry, copy):
    reserved, marked, delivered = fill(registry)
    lines = list(export_lines(registry))
    rows = [json.loads(line) for line in lines]
    assert {row["id"] for row in rows} == {marked.hex(), delivered.hex()}
    names = {"schema", "id", "provider", "system", "system_version", "created_at", "action"}
    assert all(set(row) == names and row["schema"] == 1 for row in rows)
    for secret in (*SECRETS, reserved.hex(), base64.b64encode(bytes(range(256))).decode()):
        assert secret not in "".join(lines)
    with pytest.raises(RegistryError, match="line 1: it is of a public export, which is not complete"):
        import_lines(copy, lines)


def test_ids_that_are_taken_are_told_by_their_lines(registry, copy, monkeypatch):
    monkeypatch.setattr(store, "_PAGE", 4)
    for number in range(30):
        registry.reserve(Record(owner="one"), key_id=KEY, message=number.to_bytes(8, "big"))
    lines = list(export_lines(registry, private=True))
    copy.reserve(Record(owner="two"), key_id=KEY, message=(5).to_bytes(8, "big"))
    before = list(copy.entries())
    with pytest.raises(RegistryError, match=r"nothing was added: line 6 \(id 0000000000000005\)$"):
        import_lines(copy, lines)
    assert list(copy.entries()) == before
    other = [line.replace('"one"', '"another"') for line in lines]
    with pytest.raises(RegistryError, match=r"line 1 \(id 0+\), .*line 10 \(id 0+9\) and 20 more$"):
        import_lines(registry, other)
    # the same id twice in one file, in one batch and in two
    for again in ([*lines[6:9], other[6]], [*lines[6:20], other[6]]):
        with pytest.raises(RegistryError, match=rf"nothing was added: line {len(again)} \(id 0+6\)$"):
            import_lines(copy, again)
    assert list(copy.entries()) == before
    assert import_lines(copy, [*lines[6:20], lines[6]]) == (15, 14)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda row: "{", "it is no JSON"),
        (lambda row: "[" * 100_000, "it is no JSON"),
        (lambda row: "[]", "it is no entry"),
        (lambda row: "\xff", "it is no JSON"),
        (lambda row: row | {"schema": 2}, "newer version"),
        (lambda row: row | {"shape": 2}, "an entry has no shape"),
        (lambda row: {k: v for k, v in row.items() if k != "state"}, "state missing"),
        (lambda row: row | {"id": "00"}, "id of an entry"),
        (lambda row: row | {"id": 7}, "id of an entry"),
        (lambda row: row | {"created_at": "yesterday"}, "'yesterday' is no time"),
        (lambda row: row | {"created_at": 7}, "created_at a text"),
        (lambda row: row | {"record": []}, "record must be an object"),
        (lambda row: row | {"record": {"owner": "a\nb"}}, "owner of a record"),
        (lambda row: row | {"record": {"color": "red"}}, "a record has no color"),
        (lambda row: row | {"state": "delivered"}, "sha256"),
        (lambda row: row | {"width": "9"}, "width"),
        (lambda row: row | {"manifest": "AAAA"}, "beside a manifest_id"),
        (lambda row: row | {"manifest_id": "urn:c2pa:1", "manifest": "%%"}, "no base64"),
    ],
)
def test_lines_that_are_no_entries_are_told_and_nothing_is_added(registry, copy, change, says):
    registry.reserve(Record(), key_id=KEY)
    registry.reserve(Record(), key_id=KEY)
    first, second = export_lines(registry, private=True)
    changed = change(json.loads(second))
    line = changed if isinstance(changed, str) else json.dumps(changed)
    with pytest.raises(RegistryError, match=r"^line 3: .*nothing was added") as caught:
        import_lines(copy, [first, "", line.encode("latin-1")])
    assert says in str(caught.value)
    assert copy.count() == 0


def test_an_export_that_breaks_off_adds_nothing(registry, copy):
    fill(registry)

    def broken():
        yield next(export_lines(registry, private=True))
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        import_lines(copy, broken())
    assert copy.count() == 0
