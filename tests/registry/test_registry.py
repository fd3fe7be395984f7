"""The life of an id in a registry, in SQLite and in PostgreSQL alike."""

import dataclasses
import datetime as dt
import pickle
import threading

import pytest

from fastmark.errors import IdTakenError, InvalidMessageError, RegistryError
from fastmark.records import Record
from fastmark.registry.entries import Entry, PublicRecord
from fastmark.registry.fingerprint import SAME
from fastmark.registry.store import Registry

KEY = "0123456789abcdef"
SHA, OTHER_SHA = "ab" * 32, "cd" * 32
HASH = "phash:" + "0f" * 32
RECORD = Record(
    provider="Provider",
    system="System",
    system_version="1.2",
    model="model",
    action="altered",
    operation="inpainting",
    policy="no-training",
    owner="an owner, who is private",
    expires=dt.datetime(2030, 1, 31, 12, tzinfo=dt.timezone(dt.timedelta(hours=2))),
    source_type="algorithmicallyEnhanced",
    producer_code="91110000MA001",
)


def flipped(text, bits):
    """A perceptual hash that differs from ``text`` by so many bits."""
    return f"phash:{int(text[6:], 16) ^ ((1 << bits) - 1):064x}"


@pytest.mark.parametrize("bits", [16, 32, 64, 96, 128])
def test_an_id_is_reserved_then_marked_then_delivered(registry, bits):
    before = dt.datetime.now(dt.UTC).replace(microsecond=0)
    message = registry.reserve(RECORD, key_id=KEY, message_bits=bits)
    assert len(message) * 8 == bits
    entry = registry.get(message)
    assert entry == registry.get(message.hex().upper())
    assert (entry.id, entry.message, entry.message_bits) == (message.hex(), message, bits)
    assert (entry.key_id, entry.state, entry.record) == (KEY, "reserved", RECORD)
    assert before <= entry.created_at <= dt.datetime.now(dt.UTC)
    assert (entry.created_at.utcoffset(), entry.record.expires.utcoffset()) == (dt.timedelta(0),) * 2
    assert entry.width is entry.height is entry.sha256 is entry.perceptual_hash is entry.manifest_id is None

    marked = registry.complete(message, width=640, height=480, perceptual_hash=HASH)
    assert marked == registry.get(message)
    assert marked == dataclasses.replace(entry, state="marked", width=640, height=480, perceptual_hash=HASH)
    delivered = registry.complete(
        message, width=640, height=480, sha256=SHA, manifest_id="urn:c2pa:1", manifest=b"\0store"
    )
    assert delivered == registry.get(message)
    assert delivered == dataclasses.replace(marked, state="delivered", sha256=SHA, manifest_id="urn:c2pa:1")
    assert registry.find(SHA) == [delivered]
    assert registry.find(OTHER_SHA) == []
    assert registry.manifest("urn:c2pa:1") == registry.find_manifest(message) == b"\0store"
    assert registry.manifest("urn:c2pa:2") is registry.find_manifest(bytes(8)) is None
    assert registry.count() == 1


def test_what_is_known_is_added_and_never_contradicted(registry):
    message = registry.reserve(Record(), key_id=KEY)
    known = {"width": 300, "height": 200}
    first = registry.complete(message, **known, sha256=SHA)
    assert first.state == "delivered"
    assert registry.complete(message, **known) == first  # nothing new, nothing lost
    entry = registry.complete(message, **known, perceptual_hash=HASH)
    assert (entry.sha256, entry.perceptual_hash) == (SHA, HASH)
    # encoded once more, the hash differs by some bits: it is the same image
    assert registry.complete(message, **known, perceptual_hash=flipped(HASH, SAME)) == entry
    registry.complete(message, **known, manifest_id="urn:c2pa:1", manifest=b"store")
    for wrong in (
        {"sha256": OTHER_SHA},
        {"width": 301},
        {"height": 201},
        {"perceptual_hash": flipped(HASH, SAME + 1)},
        {"manifest_id": "urn:c2pa:2"},
        {"manifest_id": "urn:c2pa:1", "manifest": b"another store"},
    ):
        with pytest.raises(RegistryError, match=r"another|other content"):
            registry.complete(message, **known | wrong)
    assert registry.get(message) == dataclasses.replace(entry, manifest_id="urn:c2pa:1")
    assert registry.find_manifest(message) == b"store"


@pytest.mark.parametrize(
    "wrong",
    [
        {"width": 0},
        {"width": True},
        {"height": 2.5},
        {"height": 2**31},
        {"sha256": SHA.upper()},
        {"sha256": "ab"},
        {"perceptual_hash": "ab" * 32},
        {"manifest_id": "http://manifest"},
        {"manifest": b"of no id"},
    ],
)
def test_values_of_another_form_are_refused(registry, wrong):
    message = registry.reserve(Record(), key_id=KEY)
    with pytest.raises(RegistryError, match=next(iter(wrong))):
        registry.complete(message, **{"width": 1, "height": 1} | wrong)
    assert registry.get(message).state == "reserved"


def test_only_reserved_ids_are_given_back(registry):
    message = registry.reserve(Record(), key_id=KEY)
    registry.release(message)
    assert registry.get(message) is None
    with pytest.raises(RegistryError, match=f"has no entry {message.hex()}"):
        registry.release(message)
    with pytest.raises(RegistryError, match=f"has no entry {message.hex()}"):
        registry.complete(message, width=1, height=1)
    registry.reserve(Record(), key_id=KEY, message=message)  # it is free again
    registry.complete(message, width=1, height=1)
    with pytest.raises(RegistryError, match="an image has left with it"):
        registry.release(message)
    assert registry.get(message).state == "marked"


def test_a_message_of_ones_own_is_reserved_once(registry):
    assert registry.reserve(Record(), key_id=KEY, message=bytes(8)) == bytes(8)
    with pytest.raises(IdTakenError, match="0000000000000000 is taken"):
        registry.reserve(Record(owner="another"), key_id=KEY, message=bytes(8))
    assert registry.get(bytes(8)).record == Record()
    # ids of another length are others
    assert registry.reserve(Record(), key_id=KEY, message_bits=16, message=bytes(2)) == bytes(2)


def test_bad_messages_are_refused(registry):
    for bits, message in ((64, bytes(7)), (64, bytes(2)), (65, None), (65, bytes(8))):
        with pytest.raises(InvalidMessageError):
            registry.reserve(Record(), key_id=KEY, message_bits=bits, message=message)
    for wrong in ("", "xyz", "0x12", "12345", bytes(3), 7):
        with pytest.raises(InvalidMessageError):
            registry.get(wrong)
    with pytest.raises(RegistryError, match="key_id"):
        registry.reserve(Record(), key_id="not hex")
    assert registry.count() == 0


def test_ids_that_are_taken_are_drawn_again_until_none_is_left(registry, monkeypatch):
    draws = iter([b"\0\1", b"\0\1", b"\0\1", b"\0\2", *[b"\0\2"] * 64])
    monkeypatch.setattr("fastmark.registry.store.secrets.token_bytes", lambda size: next(draws))
    assert registry.reserve(Record(), key_id=KEY, message_bits=16) == b"\0\1"
    assert registry.reserve(Record(), key_id=KEY, message_bits=16) == b"\0\2"
    with pytest.raises(RegistryError, match=r"16 bits are all taken: use longer messages"):
        registry.reserve(Record(), key_id=KEY, message_bits=16)
    assert registry.count() == 2


# ---- what anybody may see --------------------------------------------------------------------------------


def test_the_public_part_has_the_fields_of_the_law_and_no_others(registry):
    message = registry.reserve(RECORD, key_id=KEY)
    assert registry.public(message) is None  # no image has left
    registry.complete(message, width=1, height=1, sha256=SHA)
    public = registry.public(message)
    assert public == registry.public(message.hex()) == registry.get(message).public
    assert type(public) is PublicRecord
    names = ["id", "provider", "system", "system_version", "created_at", "action"]
    assert [field.name for field in dataclasses.fields(public)] == names
    created = registry.get(message).created_at.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert public.to_dict() == dict(
        zip(names, (message.hex(), "Provider", "System", "1.2", created, "altered"), strict=True)
    )
    for private in (RECORD.owner, RECORD.model, RECORD.operation, KEY, SHA, RECORD.producer_code):
        assert private not in repr(public) + str(public.to_dict())
    assert not hasattr(public, "__dict__")
    assert registry.public(bytes(8)) is None


# ---- many ------------------------------------------------------------------------------------------------


def test_entries_come_ordered_in_pages(registry, monkeypatch):
    monkeypatch.setattr("fastmark.registry.store._PAGE", 3)
    numbers = [5, 1, 9, 7, 3, 8, 2]
    for number in numbers:
        registry.reserve(Record(), key_id=KEY, message=number.to_bytes(8, "big"))
    ids = [f"{number:016x}" for number in sorted(numbers)]
    assert [entry.id for entry in registry.entries()] == ids
    assert [entry.id for entry in registry.entries(limit=0)] == []
    assert [entry.id for entry in registry.entries(limit=3)] == ids[:3]
    assert [entry.id for entry in registry.entries(limit=4)] == ids[:4]
    assert [entry.id for entry in registry.entries(after=ids[2])] == ids[3:]
    assert [entry.id for entry in registry.entries(after=bytes.fromhex(ids[2]), limit=2)] == ids[3:5]
    assert list(registry.entries(after=ids[-1])) == []


def test_expired_entries_go_with_their_manifests(registry):
    day = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)
    kept = [registry.reserve(Record(), key_id=KEY)]
    kept.append(registry.reserve(Record(expires=day + dt.timedelta(seconds=1)), key_id=KEY))
    gone = registry.reserve(Record(expires=day), key_id=KEY)
    for number, message in enumerate((*kept, gone)):
        manifest_id = f"urn:c2pa:{number}"
        registry.complete(message, width=1, height=1, manifest_id=manifest_id, manifest=b"store")
    west = dt.timezone(dt.timedelta(hours=-7))
    assert registry.delete_expired(day.astimezone(west)) == 1
    assert registry.delete_expired(day) == 0
    assert registry.get(gone) is registry.manifest("urn:c2pa:2") is None
    assert {entry.message for entry in registry.entries()} == set(kept)
    assert registry.manifest("urn:c2pa:1") == b"store"
    with pytest.raises(ValueError, match="zone"):
        registry.delete_expired(dt.datetime(2030, 1, 1))


# ---- connections -----------------------------------------------------------------------------------------


def test_many_threads_use_one_registry(registry):
    drawn, failed = [], []

    def work():
        try:
            for _ in range(10):
                message = registry.reserve(Record(), key_id=KEY)
                registry.complete(message, width=1, height=1)
                drawn.append(message)
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert len(set(drawn)) == len(drawn) == registry.count() == 80


def test_pickled_and_closed_registries_go_on(registry):
    message = registry.reserve(Record(), key_id=KEY)
    copy = pickle.loads(pickle.dumps(registry))
    assert (copy.url, copy.timeout, copy.name) == (registry.url, registry.timeout, registry.name)
    assert copy.get(message) == registry.get(message)
    with copy as same:
        assert same is copy
    assert copy.count() == 1
    copy.close()
    copy.close()


def test_values_of_an_entry_are_checked():
    good = {"id": "ab" * 8, "message_bits": 64, "key_id": KEY, "state": "marked", "record": Record()}
    good["created_at"] = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    Entry(**good)
    for wrong in (
        {"id": "AB" * 8},
        {"id": "ab"},
        {"message_bits": 63},
        {"key_id": ""},
        {"state": "lost"},
        {"state": "delivered"},
        {"sha256": SHA},
        {"created_at": dt.datetime(2026, 1, 1)},
        {"width": -1},
    ):
        with pytest.raises(RegistryError):
            Entry(**good | wrong)


def test_nothing_is_opened_before_the_first_use(tmp_path):
    registry = Registry(str(tmp_path / "none.db"))
    assert repr(registry) == f"Registry('sqlite:///{tmp_path}/none.db', timeout=10)"
    registry.close()
    assert list(tmp_path.iterdir()) == []
