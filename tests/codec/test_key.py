"""Keys: their files, their damage, their streams."""

import hashlib
import json
import os
import pickle
import stat
import traceback

import numpy as np
import pytest

from fastmark.codec.key import FILE_VERSION, SECRET_BYTES, Key
from fastmark.codec.keystream import Domain
from fastmark.errors import FastmarkError, KeyFormatError, OutputError

SECRET = bytes(range(32))


def blake2b_stream(secret, domain, n_bytes, context=b""):
    """The keystream as SPEC has it, one hash a block."""
    stream, index = b"", 0
    while len(stream) < n_bytes:
        message = index.to_bytes(8, "little") + context
        person = b"fastmark" + bytes([domain % 256, domain // 256])
        stream += hashlib.blake2b(message, digest_size=64, key=secret, person=person).digest()
        index += 1
    return stream[:n_bytes]


def with_fields(key, **changes):
    return json.dumps(json.loads(key.to_text()) | changes)


def test_generated_keys_differ_and_carry_their_name():
    keys = [Key.generate("label") for _ in range(8)]
    assert len({k.secret for k in keys}) == len({k.id for k in keys}) == 8
    assert {len(k.secret) for k in keys} == {SECRET_BYTES}
    assert {k.name for k in keys} == {"label"}


@pytest.mark.parametrize("name", ["", "archive 2", "Ключ — 鍵", "x" * 64])
def test_a_saved_key_loads_as_itself(tmp_path, name):
    key = Key.generate(name)
    key.save(tmp_path / "k.json")
    assert Key.load(tmp_path / "k.json") == key
    assert Key.load(str(tmp_path / "k.json")).id == key.id


def test_the_id_is_sixteen_hex_digits_of_the_first_stream(key):
    assert key.id == blake2b_stream(key.secret, 1, 8).hex()
    assert len(key.id) == 16


def test_the_name_is_no_part_of_the_mark():
    assert Key(SECRET, "a").id == Key(SECRET, "b").id


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX's")
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_only_its_owner_may_read_a_saved_key(tmp_path, key, umask):
    before = os.umask(umask)
    try:
        key.save(tmp_path / "k.json")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "k.json").stat().st_mode) == 0o600


def test_a_key_file_is_never_overwritten(tmp_path, key, other_key):
    path = tmp_path / "k.json"
    key.save(path)
    with pytest.raises(OutputError, match="exists already"):
        other_key.save(path)
    assert Key.load(path) == key


def test_a_dangling_link_is_not_followed(tmp_path, key):
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputError):
        key.save(tmp_path / "link")
    assert not (tmp_path / "elsewhere").exists()


def test_saving_into_a_missing_folder_says_so(tmp_path, key):
    with pytest.raises(OutputError, match="cannot write the key file"):
        key.save(tmp_path / "missing" / "k.json")


def test_a_save_that_fails_leaves_no_file(tmp_path, key, monkeypatch):
    def fail(_key):
        raise RuntimeError

    monkeypatch.setattr(Key, "to_text", fail)
    with pytest.raises(RuntimeError):
        key.save(tmp_path / "k.json")
    assert list(tmp_path.iterdir()) == []


def test_the_secret_is_in_no_text_that_people_see(key):
    for text in (repr(key), str(key), f"{key}", repr([key])):
        assert key.secret.hex() not in text
        assert repr(key.secret) not in text
    assert "first" in repr(key)


def test_errors_about_a_damaged_key_do_not_show_its_secret(key):
    body = bytes([FILE_VERSION]) + key.secret
    for value in (body.hex(), (body + bytes(4)).hex(), "zz" + body.hex()):
        with pytest.raises(KeyFormatError) as caught:
            Key.from_text(with_fields(key, secret=value))
        assert key.secret.hex()[:16] not in "".join(traceback.format_exception(caught.value))


NOT_KEYS = {
    "empty": "",
    "not JSON": "fastmark-key",
    "a list": "[1, 2]",
    "a number": "7",
    "a string": '"format"',
    "null": "null",
    "nested beyond reason": "[" * 100_000,
    "a field missing": '{"format": "fastmark-key", "name": "", "id": ""}',
}


@pytest.mark.parametrize("text", NOT_KEYS.values(), ids=list(NOT_KEYS))
def test_what_is_no_key_file_is_refused(text):
    with pytest.raises(KeyFormatError) as caught:
        Key.from_text(text)
    assert isinstance(caught.value, FastmarkError)


CHANGES = {
    "another format": {"format": "another-key"},
    "format of another type": {"format": ["fastmark-key"]},
    "another id": {"id": "0123456789abcdef"},
    "id of another type": {"id": 12},
    "no secret": {"secret": ""},
    "secret not hexadecimal": {"secret": "xyz"},
    "secret of another type": {"secret": 5},
    "secret cut": {"secret": "01" + "00" * 31},
    "version of the future": {"secret": "02" + "00" * 36},
    "name of another type": {"name": 3},
    "name too long": {"name": "x" * 65},
    "name not printable": {"name": "a\nb"},
    "name half a surrogate": {"name": "\ud800"},
}


@pytest.mark.parametrize("changes", CHANGES.values(), ids=list(CHANGES))
def test_a_changed_field_is_refused(key, changes):
    with pytest.raises(KeyFormatError):
        Key.from_text(with_fields(key, **changes))


def test_every_flipped_bit_of_the_secret_is_noticed(key):
    raw = bytes.fromhex(json.loads(key.to_text())["secret"])
    for bit in range(8 * len(raw)):
        flipped = bytearray(raw)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(KeyFormatError):
            Key.from_text(with_fields(key, secret=flipped.hex()))


def test_every_cut_of_a_key_file_is_noticed(key):
    text = key.to_text().rstrip()
    for length in range(len(text)):
        with pytest.raises(KeyFormatError):
            Key.from_text(text[:length])


def test_files_that_cannot_be_read_are_named(tmp_path):
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "text").write_text("nothing")
    for path in (tmp_path / "missing", tmp_path, tmp_path / "binary", tmp_path / "text"):
        with pytest.raises(KeyFormatError, match=str(path)):
            Key.load(path)


@pytest.mark.parametrize("secret", [b"", bytes(31), bytes(33), "0" * 32, bytearray(32), None])
def test_a_secret_is_exactly_32_bytes(secret):
    with pytest.raises(KeyFormatError):
        Key(secret)


@pytest.mark.parametrize("name", ["x" * 65, "line\nbreak", "\x1b[31m", None, b"bytes"])
def test_a_name_is_short_printable_text(name):
    with pytest.raises(KeyFormatError):
        Key(SECRET, name)


def test_a_key_cannot_be_changed_and_survives_pickling(key):
    with pytest.raises(AttributeError):
        key.secret = bytes(32)
    assert pickle.loads(pickle.dumps(key)) == key


@pytest.mark.parametrize("context", [b"", b"thumbnail", bytes(200)])
@pytest.mark.parametrize("domain", list(Domain))
def test_a_stream_is_keyed_blake2b_in_counter_mode(key, domain, context):
    for n_bytes in (0, 1, 63, 64, 65, 1000):
        assert key.stream(domain, n_bytes, context) == blake2b_stream(SECRET, int(domain), n_bytes, context)


def test_a_shorter_stream_is_the_beginning_of_a_longer_one(key):
    long = key.stream(Domain.TONE_PHASES, 500)
    assert all(key.stream(Domain.TONE_PHASES, n) == long[:n] for n in (1, 64, 129, 499))


def test_the_domains_keep_their_numbers():
    assert {domain.name: int(domain) for domain in Domain} == {
        "KEY_ID": 1,
        "TONE_FREQUENCIES": 2,
        "TONE_PHASES": 3,
        "CHIP_SIGNS": 4,
        "ANCHOR_PLACES": 5,
        "CODE_BIT_MAP": 6,
        "ORIGIN": 7,
        "BINDING_SIGNS": 8,
        "BINDING_PARTNERS": 9,
        "BINDING_FLAGS": 10,
        "WITHHELD_BLOCKS": 11,
    }


def test_streams_of_other_domains_contexts_and_keys_are_unrelated(key, other_key):
    n_bytes = 4096
    streams = [key.stream(domain, n_bytes, context) for domain in Domain for context in (b"", b"\0", b"a")]
    streams += [other_key.stream(domain, n_bytes) for domain in Domain]
    bits = np.unpackbits(np.frombuffer(b"".join(streams), np.uint8).reshape(len(streams), n_bytes), axis=1)
    signs = 1 - 2 * bits.astype(np.int64)
    correlation = signs @ signs.T / np.sqrt(8 * n_bytes)
    np.fill_diagonal(correlation, 0)
    assert np.abs(correlation).max() < 5
    assert np.abs(signs.sum(axis=1)).max() / np.sqrt(8 * n_bytes) < 5
