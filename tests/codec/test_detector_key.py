"""Detector keys: what is in them and what is not, their files, their damage."""

import base64
import copy
import hashlib
import json
import os
import pickle
import stat
import traceback

import numpy as np
import pytest

import fastmark as fm
from fastmark.codec.carrier import Carrier
from fastmark.codec.detector_key import BLOCK_BITS, DetectorKey
from fastmark.codec.key import Key, check_secret_key, distinct_keys, key_of_text
from fastmark.codec.keystream import Domain
from fastmark.codec.message import CODE_BITS
from fastmark.codec.tables import ANCHOR, GRID, N_TONES, PARTNERS, WITHHELD, BindingTables, Tables
from fastmark.errors import KeyFormatError, KeyNotFoundError, OutputError

HEAD = 8 + 4 * N_TONES + 2 * N_TONES + GRID * GRID // 8
ID_OF = {"digest_size": 8, "person": b"fastmark-detect"}


@pytest.fixture(scope="module")
def detector_key(key):
    return key.detector_key("the museum")


@pytest.fixture(scope="module")
def withheld(key):
    """By the keystream itself."""
    words = np.frombuffer(key.stream(Domain.WITHHELD_BLOCKS, 2 * GRID * GRID), "<u2")
    return (words % 3 == 0).reshape(GRID, GRID)


def with_fields(key, **changes):
    return json.dumps(json.loads(key.to_text()) | changes)


def with_content(key, content):
    """The text of a file whose ids belong to its content, whatever that is."""
    own_id = hashlib.blake2b(content, **ID_OF).hexdigest()
    return with_fields(key, content=base64.b64encode(content).decode(), id=own_id, key_id=content[:8].hex())


# ---- what is in it ---------------------------------------------------------------------------------------


def test_a_third_of_the_blocks_is_withheld_and_always_the_same(key, other_key, detector_key, withheld):
    tables = detector_key.binding_tables()
    np.testing.assert_array_equal(tables.withheld, withheld)
    assert abs(withheld.mean() - 1 / 3) < 5 * np.sqrt(2 / 9) / GRID
    assert key.detector_key("another").content == Key(key.secret).detector_key().content
    apart = other_key.detector_key().binding_tables().withheld
    assert abs(np.mean(apart & withheld) - 1 / 9) < 0.02


def test_known_blocks_are_those_of_the_key(key, detector_key, withheld):
    for whole, part in (
        (key.tables(), detector_key.tables()),
        (key.binding_tables(), detector_key.binding_tables()),
    ):
        for name in whole.__slots__:
            one, other = getattr(whole, name), getattr(part, name)
            assert (one.shape, one.dtype) == (other.shape, other.dtype)
            if one.shape[-2:] == (GRID, GRID):
                one, other = one[..., ~withheld], other[..., ~withheld]
            np.testing.assert_array_equal(other, one)


def test_of_withheld_blocks_there_is_nothing(detector_key, withheld):
    tables, binding = detector_key.tables(), detector_key.binding_tables()
    assert np.all(tables.signs[:, withheld] == 0)
    assert np.all(tables.code_bit[:, withheld] == WITHHELD)
    assert np.all(binding.signs[:, withheld] == 0)
    assert np.all(binding.flags[:, :, withheld] == 0)
    assert np.all(binding.partners[withheld] == 0)


class Other:
    """A key whose withheld blocks mean something else."""

    def __init__(self, key):
        self.key, self.key_id, self.id = key, key.key_id, key.id

    def binding_tables(self):
        known = self.key.binding_tables()
        hidden = known.withheld
        partners = np.where(hidden, (known.partners + 1) % len(PARTNERS), known.partners).astype(np.uint8)
        return BindingTables(
            np.where(hidden, -known.signs, known.signs),
            np.where(hidden, -known.flags, known.flags),
            partners,
            hidden,
        )

    def tables(self):
        known, hidden = self.key.tables(), self.key.binding_tables().withheld
        signs = np.where(hidden, -known.signs, known.signs)
        # another chip is the anchor, and the others carry other bits
        code_bit = np.where(hidden, np.roll(known.code_bit, 1, axis=0), known.code_bit)
        return Tables(known.tones, known.phases, signs, code_bit)


def test_the_content_does_not_depend_on_what_withheld_blocks_hold(key, detector_key):
    other = Other(key)
    assert np.mean(other.tables().code_bit != key.tables().code_bit) > 0.3
    assert DetectorKey.of(other).content == detector_key.content


def test_nothing_of_the_secret_or_of_other_streams_is_in_it(key, detector_key):
    text, content = detector_key.to_text(), detector_key.content
    shown = (text, repr(detector_key), str(pickle.dumps(detector_key)))
    for part in (key.secret, key.secret[:8], key.secret[-8:]):
        assert part not in content
        for form in (part.hex(), base64.b64encode(part).decode().rstrip("="), repr(part)[2:-1]):
            assert not any(form in one for one in shown)
    windows = {content[at : at + 8] for at in range(len(content))}
    for domain in Domain:
        if domain != Domain.TONE_PHASES:  # which is disclosed whole
            stream = key.stream(domain, 40960)
            pieces = {stream[at : at + 8] for at in range(8, 40960, 8)}  # the first of KEY_ID are the id
            assert not pieces & windows
    assert not hasattr(detector_key, "secret")
    assert not hasattr(detector_key, "stream")
    assert not hasattr(detector_key, "__dict__")


def packed_slowly(key):
    """The content as SPEC.md has it, bit by bit."""
    tables, binding = key.tables(), key.binding_tables()
    data = bytes.fromhex(key.id)
    for fy, fx in tables.tones.tolist():
        data += fy.to_bytes(2, "little", signed=True) + fx.to_bytes(2, "little", signed=True)
    for phase in tables.phases.tolist():
        data += phase.to_bytes(2, "little")
    bits = "".join("1" if hidden else "0" for hidden in binding.withheld.ravel().tolist())
    for y in range(GRID):
        for x in range(GRID):
            if binding.withheld[y, x]:
                continue
            code_bits = tables.code_bit[:, y, x].tolist()
            anchor = code_bits.index(ANCHOR)
            bits += "".join("1" if sign < 0 else "0" for sign in tables.signs[:, y, x].tolist())
            bits += f"{anchor:04b}"
            bits += "".join(f"{j:010b}" for j in code_bits[:anchor] + code_bits[anchor + 1 :])
            for signs in (binding.signs, *binding.flags):
                bits += "".join("1" if sign < 0 else "0" for sign in signs[:, y, x].tolist())
            bits += f"{binding.partners[y, x]:06b}"
    bits += "0" * (-len(bits) % 8)
    return data + int(bits, 2).to_bytes(len(bits) // 8, "big")


def test_the_content_is_packed_as_specified(key, detector_key):
    assert detector_key.content == packed_slowly(key)
    n_known = np.count_nonzero(~detector_key.binding_tables().withheld)
    assert len(detector_key.content) == HEAD + -(-n_known * BLOCK_BITS // 8)
    assert (BLOCK_BITS, CODE_BITS, len(PARTNERS)) == (140, 1 << 10, 56)


def test_ids_tell_whose_it_is_and_which_it_is(key, other_key, detector_key):
    assert detector_key.key_id == key.id == key.key_id
    assert detector_key.id == hashlib.blake2b(detector_key.content, **ID_OF).hexdigest()
    assert len({key.id, other_key.id, detector_key.id, other_key.detector_key().id}) == 4
    assert key.detector_key("another name").id == detector_key.id
    shown = repr(detector_key)
    assert shown == f"DetectorKey(id='{detector_key.id}', key_id='{key.id}', name='the museum')"


def test_carriers_of_a_detector_key_know_its_blocks_alone(key, carrier, detector_key, withheld):
    part = Carrier(detector_key)
    assert (part.key, part.key_id) == (detector_key, carrier.key_id)
    np.testing.assert_array_equal(part.pilot(96), carrier.pilot(96))
    np.testing.assert_array_equal(part.code_bit == ANCHOR, (carrier.code_bit == ANCHOR) & ~withheld)
    whole, known = carrier.anchor_spectrum(1), part.anchor_spectrum(1)
    assert np.vdot(known, whole - known).real < 1e-3 * np.vdot(known, known).real
    power = np.vdot(known, known).real / np.vdot(whole, whole).real
    assert power == pytest.approx(1 - withheld.mean(), abs=0.01)


# ---- as an object ----------------------------------------------------------------------------------------


def test_equality_is_that_of_contents_and_survives_pickling(key, other_key, detector_key):
    same = key.detector_key("another name")
    assert same == detector_key
    assert hash(same) == hash(detector_key)
    assert len({same, detector_key, other_key.detector_key()}) == 2
    assert detector_key != key
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        again = pickle.loads(pickle.dumps(detector_key, protocol))
        assert (again, again.name) == (detector_key, detector_key.name)
    assert copy.deepcopy(detector_key) == detector_key
    for name in ("content", "name"):
        with pytest.raises(AttributeError):
            setattr(detector_key, name, b"")


@pytest.mark.parametrize("name", ["x" * 65, "line\nbreak", None, b"bytes"])
def test_a_name_is_short_printable_text(detector_key, name):
    with pytest.raises(KeyFormatError, match="name"):
        DetectorKey(detector_key.content, name)


def test_a_name_that_may_be_a_secret_is_refused(key):
    with pytest.raises(KeyFormatError, match="64 hex digits") as caught:
        key.detector_key(key.secret.hex())
    assert key.secret.hex() not in str(caught.value)


# ---- files -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "archive 2", "Ключ — 鍵", "x" * 64])
def test_a_saved_detector_key_loads_as_itself(tmp_path, key, name):
    made = key.detector_key(name)
    made.save(tmp_path / "check.key")
    for loaded in (
        DetectorKey.load(tmp_path / "check.key"),
        fm.load_key(str(tmp_path / "check.key")),
        DetectorKey.from_text("\ufeff" + made.to_text().replace("\n", "\r\n")),
        key_of_text(made.to_text()),
    ):
        assert isinstance(loaded, DetectorKey)
        assert (loaded, loaded.name) == (made, name)
    for encoding in ("utf-16", "utf-8-sig"):
        (tmp_path / encoding).write_bytes(made.to_text().encode(encoding))
        assert DetectorKey.load(tmp_path / encoding) == made


def test_load_key_reads_secret_keys_too(tmp_path, key):
    key.save(tmp_path / "my.key")
    assert fm.load_key(tmp_path / "my.key") == key_of_text(key.to_text()) == key
    with pytest.raises(KeyNotFoundError):
        fm.load_key(tmp_path / "missing")
    (tmp_path / "other").write_text('{"format": "another"}')
    with pytest.raises(KeyFormatError, match="not a fastmark key file"):
        fm.load_key(tmp_path / "other")


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX's")
def test_others_may_read_it_unless_the_umask_says_no(tmp_path, detector_key):
    for umask, mode in ((0o000, 0o644), (0o022, 0o644), (0o077, 0o600)):
        before = os.umask(umask)
        try:
            detector_key.save(tmp_path / f"{umask}")
        finally:
            os.umask(before)
        assert stat.S_IMODE((tmp_path / f"{umask}").stat().st_mode) == mode


def test_a_file_is_never_overwritten(tmp_path, key, detector_key):
    key.save(tmp_path / "my.key")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for name in ("my.key", "link"):
        with pytest.raises(OutputError, match="exists already"):
            detector_key.save(tmp_path / name)
    assert Key.load(tmp_path / "my.key") == key
    assert not (tmp_path / "elsewhere").exists()
    with pytest.raises(OutputError, match="cannot write"):
        detector_key.save(tmp_path / "missing" / "check.key")


def test_each_kind_of_file_says_what_it_is_where_the_other_is_wanted(tmp_path, key, detector_key):
    key.save(tmp_path / "my.key")
    detector_key.save(tmp_path / "check.key")
    with pytest.raises(KeyFormatError, match=r"check\.key: this is a detector key, which only detects"):
        Key.load(tmp_path / "check.key")
    with pytest.raises(KeyFormatError, match=r"my\.key: this is a secret key: hand it to nobody") as caught:
        DetectorKey.load(tmp_path / "my.key")
    assert "keygen --detector-of" in str(caught.value)
    for wrong in (
        lambda: DetectorKey.from_text(key.to_text()),
        lambda: DetectorKey.from_text(key.to_text()[:-40] + '0"}'),
        lambda: DetectorKey.load(key.to_text()),
        lambda: fm.load_key(key.to_text()),
        lambda: DetectorKey(key.secret),
        lambda: DetectorKey(key),
    ):
        with pytest.raises(KeyFormatError) as caught:
            wrong()
        assert key.secret.hex()[:16] not in "".join(traceback.format_exception(caught.value))


# ---- damage ----------------------------------------------------------------------------------------------

PLACES = {
    "the key's id": 3,
    "first tone": 8,
    "last tone": 8 + 4 * N_TONES - 1,
    "phases": 8 + 4 * N_TONES + 99,
    "which are withheld": HEAD - 7,
    "first block": HEAD,
    "a block": HEAD + 77777,
    "last block": -1,
}


@pytest.mark.parametrize("place", PLACES.values(), ids=list(PLACES))
@pytest.mark.parametrize("bit", [0, 5, 7])
def test_a_flipped_bit_of_the_content_is_noticed(detector_key, place, bit):
    changed = bytearray(detector_key.content)
    changed[place] ^= 1 << bit
    with pytest.raises(KeyFormatError, match="damaged"):
        DetectorKey.from_text(with_fields(detector_key, content=base64.b64encode(changed).decode()))


CHANGES = {
    "another format": ({"format": "another-key"}, "not a fastmark key file"),
    "format of another type": ({"format": ["fastmark-detector-key"]}, "not a fastmark key file"),
    "a version of the future": ({"version": 2}, "version 2, this fastmark reads version 1"),
    "a version of another type": ({"version": "one"}, "version unknown"),
    "another id": ({"id": "0123456789abcdef"}, "its id does not"),
    "id of another type": ({"id": 12}, "its id does not"),
    "another key_id": ({"key_id": "0123456789abcdef"}, "its key_id does not"),
    "key_id of another type": ({"key_id": None}, "its key_id does not"),
    "no content": ({"content": ""}, "cut or changed"),
    "content of another type": ({"content": 5}, "cut or changed"),
    "content that is no base64": ({"content": "!!!!"}, "cut or changed"),
    "name of another type": ({"name": 3}, "name is printable text"),
    "name too long": ({"name": "x" * 65}, "name is printable text"),
    "name not printable": ({"name": "a\nb"}, "name is printable text"),
}


@pytest.mark.parametrize(("changes", "says"), CHANGES.values(), ids=list(CHANGES))
def test_a_changed_field_is_refused(detector_key, changes, says):
    with pytest.raises(KeyFormatError, match=says):
        DetectorKey.from_text(with_fields(detector_key, **changes))


@pytest.mark.parametrize("field", ["format", "version", "name", "id", "key_id", "content"])
def test_a_missing_field_is_refused(detector_key, field):
    fields = json.loads(detector_key.to_text())
    del fields[field]
    with pytest.raises(KeyFormatError, match="not a fastmark key file"):
        DetectorKey.from_text(json.dumps(fields))


def test_cuts_are_noticed(detector_key):
    text = detector_key.to_text().rstrip()
    rng = np.random.default_rng(8)
    for length in (*range(0, 220, 7), *rng.integers(220, len(text), 20).tolist(), len(text) - 1):
        with pytest.raises(KeyFormatError):
            DetectorKey.from_text(text[:length])
    content = detector_key.content
    for cut in (content[:4], content[: HEAD - 1], content[:HEAD], content[:-1], content + b"\0"):
        with pytest.raises(KeyFormatError, match="damaged"):
            DetectorKey.from_text(with_content(detector_key, cut))


def test_contents_that_no_key_draws_do_not_reach_the_detector(detector_key):
    """With ids that fit, as a forger would write it: every index into a table stays inside it."""

    def changed(at, data):
        content = bytearray(detector_key.content)
        content[at : at + len(data)] = data
        return bytes(content)

    def in_first_block(at, bits):
        first = f"{int.from_bytes(detector_key.content[HEAD : HEAD + 17], 'big'):0136b}"
        first = first[:at] + bits + first[at + len(bits) :]
        return changed(HEAD, int(first, 2).to_bytes(17, "big"))

    def tone(fy, fx):
        return fy.to_bytes(2, "little", signed=True) + fx.to_bytes(2, "little", signed=True)

    assert DetectorKey.from_text(with_content(detector_key, changed(8, b""))) == detector_key
    second = detector_key.tables().tones[1].tolist()
    for content in (
        changed(8, tone(0, 100)),
        changed(8, tone(-60, 100)),
        changed(8, tone(30, 30)),
        changed(8, tone(300, 100)),
        changed(8, tone(100, 32767)),
        changed(8, tone(*second)),
        changed(8, tone(second[0] + 5, second[1])),
        in_first_block(10, f"{10:04b}"),
        in_first_block(10, f"{15:04b}"),
        changed(len(detector_key.content) - 1, bytes([detector_key.content[-1] | 1])),
    ):
        with pytest.raises(KeyFormatError, match="damaged"):
            DetectorKey.from_text(with_content(detector_key, content))
        with pytest.raises(KeyFormatError, match="damaged"):
            DetectorKey(content)


# ---- one key among others --------------------------------------------------------------------------------


def test_of_a_secret_key_and_its_detector_key_the_secret_key_is_used(key, other_key, detector_key):
    assert distinct_keys(key) == distinct_keys([detector_key, key, detector_key]) == (key,)
    assert distinct_keys(detector_key) == distinct_keys((detector_key, key.detector_key())) == (detector_key,)
    both = distinct_keys([detector_key, other_key, key])
    assert both == (key, other_key)
    with pytest.raises(KeyFormatError, match="at least one"):
        distinct_keys([])
    for wrong in ("my.key", [key, b""], [None]):
        with pytest.raises(TypeError, match="must be a"):
            distinct_keys(wrong)


def test_detector_keys_that_contradict_each_other_are_refused(key, other_key, detector_key):
    content = detector_key.content[:8] + other_key.detector_key().content[8:]
    false = DetectorKey.from_text(with_content(detector_key, content))
    assert false.key_id == key.id
    with pytest.raises(KeyFormatError, match=f"{key.id}, and differ"):
        distinct_keys([detector_key, false])
    assert distinct_keys([false, key]) == (key,)


def test_embedding_takes_the_secret_key_alone(key, detector_key):
    assert check_secret_key(key) is key
    with pytest.raises(TypeError, match="a detector key only detects: embed with the secret key"):
        check_secret_key(detector_key)
    with pytest.raises(TypeError, match=r"must be a fastmark\.Key, not bytes"):
        check_secret_key(key.secret)
