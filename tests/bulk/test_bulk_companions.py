"""Many images with registry, XMP and content credentials: resumed, mixed, refused before the work."""

import contextlib
import dataclasses
import hashlib
import json
import signal
import sqlite3

import pytest
from archive_commands import started, started_and_stopped
from archives import encode, jpeg, members_of, write
from pictures import drawn

from fastmark import Key, bulk
from fastmark.companions import Companions
from fastmark.errors import CredentialError, InvalidMessageError, OutputError, RegistryError
from fastmark.records import Record

pytest.importorskip("sqlalchemy")
pytest.importorskip("imagehash")
pytest.importorskip("c2pa")

import certificates

from fastmark.provenance import xmp
from fastmark.provenance.credentials import read
from fastmark.provenance.plain import metadata_of
from fastmark.provenance.signing import Signer
from fastmark.registry import Registry

KEY = Key(bytes(range(32)), "ours")
RECORD = Record(provider="Studio", system="Painter", owner="Ada L.")


@pytest.fixture(scope="module")
def made():
    return certificates.make()


@pytest.fixture
def registry(tmp_path):
    registry = Registry(str(tmp_path / "ids.db"))
    registry.init()
    yield registry
    registry.close()


@pytest.fixture
def beside(registry, made):
    return Companions(record=RECORD, registry=registry, xmp=True, signer=Signer(made.chain, made.key))


@pytest.fixture
def folder(tmp_path):
    """Four images of two formats, below each other."""
    for number in range(3):
        write(tmp_path / "in" / f"{number}.jpg", jpeg(200, 260, seed=number))
    write(tmp_path / "in" / "sub" / "3.png", encode(drawn(200, 260, 3), "PNG"))
    return tmp_path / "in"


def table(path):
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def assert_in_order(rows, files, registry):
    """Each row's file is its entry's, and no id is there twice."""
    ids = [row["message"] for row in rows]
    assert len(set(ids)) == len(ids) == len(files)
    for row in rows:
        data, entry = files[row["output"]], registry.get(row["message"])
        assert (entry.state, entry.sha256) == ("delivered", hashlib.sha256(data).hexdigest())
        assert (entry.width, entry.height) == (row["width"], row["height"]) and entry.perceptual_hash
        assert entry.manifest_id == row["manifest_id"]
        assert entry.record == RECORD and entry.key_id == row["key_id"]
        assert b"Ada L." not in data


def files_in(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "manifest.jsonl"
    }


@pytest.mark.parametrize("ending", ["", ".tar"])
def test_every_layer_of_every_image(folder, beside, registry, made, tmp_path, ending):
    out = tmp_path / f"out{ending}"
    summary = bulk.embed(folder, out, KEY, companions=beside, workers=1)
    assert (summary.images, summary.errors, summary.counts["marked"]) == (4, 0, 4)
    files = dict(members_of(out)) if ending else files_in(out)
    rows = table(tmp_path / "out.manifest.jsonl" if ending else out / "manifest.jsonl")
    assert set(files) == {"0.jpg", "1.jpg", "2.jpg", "sub/3.png"}
    assert_in_order(rows, files, registry)
    assert registry.count() == 4
    for row in rows:
        data = files[row["output"]]
        credential = read(data, trust_anchors=made.root)
        assert (credential.state, credential.manifest_id) == ("trusted", row["manifest_id"])
        ((_, told),) = credential.soft_bindings
        assert told.hex() == row["message"]
        assert xmp.read(metadata_of(data).xmp).system == "Painter"
        assert registry.find_manifest(row["message"]) is not None
    # again: nothing is done, no id is drawn
    again = bulk.embed(folder, out, KEY, companions=beside, workers=1)
    assert (again.resumed, again.errors, registry.count()) == (4, 0, 4)
    assert (dict(members_of(out)) if ending else files_in(out)) == files


def test_an_image_that_cannot_be_signed_is_a_row(folder, beside, registry, tmp_path):
    write(folder / "4.bmp", encode(drawn(200, 260, 4), "BMP"))
    write(folder / "5.jpg", b"no image")
    summary = bulk.embed(folder, tmp_path / "out", KEY, companions=beside, workers=1)
    assert (summary.errors, summary.counts["marked"]) == (2, 4)
    rows = {row["source"].rpartition("/")[2]: row for row in table(tmp_path / "out" / "manifest.jsonl")}
    assert "BMP has no place for content credentials" in rows["4.bmp"]["error"]
    assert rows["5.jpg"]["error"] and rows["5.jpg"]["message"] is None
    good = [row for row in rows.values() if row["state"] == "marked"]
    assert_in_order(good, files_in(tmp_path / "out"), registry)
    assert registry.count() == 4  # those of the others were given back


def test_xmp_without_a_place_is_in_the_row(tmp_path, registry):
    write(tmp_path / "in" / "a.bmp", encode(drawn(200, 260), "BMP"))
    beside = Companions(record=RECORD, registry=registry, xmp=True)
    assert bulk.embed(tmp_path / "in", tmp_path / "out", KEY, companions=beside, workers=1).errors == 0
    (row,) = table(tmp_path / "out" / "manifest.jsonl")
    assert "XMP had no place" in str(row["warnings"]) and row["manifest_id"] is None
    assert registry.get(row["message"]).state == "delivered"


def test_messages_of_a_list_are_reserved(folder, registry, tmp_path):
    (tmp_path / "ids.txt").write_text("".join(f"{n:016x}\n" for n in (7, 8, 9, 7)))
    beside = Companions(registry=registry, record=RECORD)
    summary = bulk.embed(folder, tmp_path / "out", KEY, str(tmp_path / "ids.txt"), companions=beside)
    assert (summary.errors, summary.counts["marked"]) == (1, 3)
    errors = [row["error"] for row in table(tmp_path / "out" / "manifest.jsonl") if row["error"]]
    assert len(errors) == 1 and f"the id {7:016x} is taken" in errors[0]
    assert [int(entry.id, 16) for entry in registry.entries()] == [7, 8, 9]


def test_a_kept_image_has_no_entry_of_its_own(tmp_path, beside, registry):
    import fastmark

    marked = fastmark.Watermarker(KEY).embed(drawn(256, 300), 5)
    data = write(tmp_path / "in" / "a.png", encode(marked, "PNG")).read_bytes()
    summary = bulk.embed(
        tmp_path / "in", tmp_path / "out", KEY, companions=beside, on_marked="keep", workers=1
    )
    assert summary.counts["kept"] == 1
    assert (tmp_path / "out" / "a.png").read_bytes() == data and registry.count() == 0


# ---- refused before the first image ----------------------------------------------------------------


def refused(error, words, *arguments, **options):
    with pytest.raises(error, match=words):
        bulk.embed(*arguments, workers=1, **options)


def test_what_no_image_could_have_is_refused(folder, beside, registry, made, tmp_path):
    out = tmp_path / "out"
    missing = Companions(registry=Registry(str(tmp_path / "none.db")))
    refused(RegistryError, "not initialised", folder, out, KEY, companions=missing)
    away = Companions(registry=Registry("postgresql://u:hidden@127.0.0.1:1/db", timeout=1))
    with pytest.raises(RegistryError, match="cannot be reached") as caught:
        bulk.embed(folder, out, KEY, companions=away)
    assert "hidden" not in str(caught.value)
    elsewhere = Signer.from_callback(lambda data: data, "es256", made.chain)
    refused(CredentialError, "one image at a time", folder, out, KEY, companions=Companions(signer=elsewhere))
    refused(CredentialError, "BMP has no place", folder, out, KEY, companions=beside, format="bmp")
    refused(InvalidMessageError, "an id of its own", folder, out, KEY, 7, companions=beside)
    refused(InvalidMessageError, "an id of its own", folder, out, KEY, bytes(8), companions=beside)
    assert not out.exists() and not (tmp_path / "out.journal").exists()
    assert registry.count() == 0


def test_a_file_of_messages_may_have_any_name(folder, registry, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("registry", "drawn"):
        (tmp_path / name).write_text("".join(f"{n:016x}\n" for n in range(4)))
        assert bulk.embed(folder, tmp_path / f"out-{name}", KEY, name, workers=1).errors == 0
        rows = table(tmp_path / f"out-{name}" / "manifest.jsonl")
        assert [int(row["message"], 16) for row in rows] == [0, 1, 2, 3]


def test_other_companions_are_refused_by_name(folder, beside, registry, made, tmp_path):
    out = tmp_path / "out"
    assert bulk.embed(folder, out, KEY, companions=beside, workers=1).errors == 0
    before = files_in(out)
    other = Registry(str(tmp_path / "other.db"))
    other.init()
    changes = {
        "record": {"record": dataclasses.replace(RECORD, owner="Grace H.")},
        "registry": {"registry": other},
        "xmp": {"xmp": False},
        "sign": {"signer": None},
        "soft_binding": {"soft_binding": "com.example.mark"},
        "sign, xmp": {"signer": None, "xmp": False},
    }
    for name, change in changes.items():
        changed = dataclasses.replace(beside, **change)
        with pytest.raises(OutputError, match=rf"different settings \({name}\)") as caught:
            bulk.embed(folder, out, KEY, companions=changed, workers=1)
        assert "Ada" not in str(caught.value) and "Grace" not in str(caught.value)
    refused(OutputError, r"\(messages, record, registry, sign, xmp\)", folder, out, KEY)
    # the same ones, made anew, are the same; nothing of them is told in the journal
    same = Companions(
        record=Record.from_dict(RECORD.to_dict()),
        registry=Registry(str(tmp_path / "ids.db"), timeout=30),
        xmp=True,
        signer=Signer(made.chain, made.key),
    )
    assert bulk.embed(folder, out, KEY, companions=same, workers=1).resumed == 4
    assert files_in(out) == before
    assert b"Ada" not in (tmp_path / "out.journal").read_bytes()


# ---- killed and resumed ----------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
@pytest.mark.parametrize(("ending", "listed"), [("", False), (".tar", False), ("", True)])
def test_a_killed_run_is_resumed(registry, made, tmp_path, ending, listed):
    count = 96
    for number in range(count):
        write(tmp_path / "in" / f"{number:02d}.jpg", jpeg(200, 260, seed=number % 8))
    KEY.save(tmp_path / "our.key")
    write(tmp_path / "chain.pem", made.chain)
    write(tmp_path / "signer.key", made.key)
    write(tmp_path / "record.json", json.dumps(RECORD.to_dict()).encode())
    wanted = [f"{number:016x}" for number in range(1, count + 1)]
    write(tmp_path / "ids.txt", "\n".join(wanted).encode())
    out = tmp_path / f"out{ending}"
    command = ["embed", "in", "-o", out.name, "--key", "our.key", "--registry", "ids.db", "--workers", "1"]
    command += ["--record", "record.json", "--xmp", "--sign", "chain.pem", "--sign-key", "signer.key"]
    command += ["--messages", "ids.txt"] if listed else []
    process = started_and_stopped(*command, cwd=tmp_path, number=signal.SIGKILL)
    process.communicate()
    assert process.returncode == -9
    early = {entry.id: entry.state for entry in registry.entries()}
    assert 2 < len(early) < count, "the run was not stopped in its midst"
    if not ending:
        for path in out.rglob("*.jpg"):  # no file without an entry
            data = path.read_bytes()
            ((_, message),) = read(data).soft_bindings
            assert message.hex() in early

    process = started(*command, cwd=tmp_path)
    _, errors = process.communicate(timeout=300)
    rows = table(tmp_path / "out.manifest.jsonl" if ending else out / "manifest.jsonl")
    good = [row for row in rows if row["state"] == "marked"]
    files = dict(members_of(out)) if ending else files_in(out)
    assert len(rows) == len(files) == count
    assert process.returncode == 0, errors.decode()
    assert len(good) == count
    assert_in_order(good, files, registry)
    if listed:  # ids that were reserved, and files that had left, are those of the list still
        assert [entry.id for entry in registry.entries()] == wanted
        assert all(wanted.index(row["message"]) == int(row["output"][:2]) for row in good)
        assert {entry.state for entry in registry.entries()} == {"delivered"}
    # what the killed run gave to images that did not get into the output stays
    assert set(early) <= {entry.id for entry in registry.entries()}


@pytest.mark.parametrize("moment", ["write", "complete", "journal"])
def test_a_list_of_messages_is_resumed_after_whatever_moment(folder, beside, registry, tmp_path, moment):
    """As if the process had been killed there: the rows of the images are not in the journal."""
    (tmp_path / "ids.txt").write_text("".join(f"{n:016x}\n" for n in range(1, 5)))
    arguments = (folder, tmp_path / "out", KEY, str(tmp_path / "ids.txt"))
    assert bulk.embed(*arguments, companions=beside, workers=1).errors == 0
    with contextlib.closing(sqlite3.connect(tmp_path / "out.journal")) as journal, journal:
        journal.execute("DELETE FROM rows WHERE position = 0 AND source LIKE '%1.jpg'")
    if moment == "write":
        (tmp_path / "out" / "1.jpg").unlink()
    if moment != "journal":
        with contextlib.closing(sqlite3.connect(tmp_path / "ids.db")) as database, database:
            database.execute(f"DELETE FROM fastmark_manifests WHERE entry_id = '{2:016x}'")
            database.execute(f"DELETE FROM fastmark_entries WHERE id = '{2:016x}'")
        registry.reserve(RECORD, key_id=KEY.id, message=bytes(7) + b"\x02")
    before = files_in(tmp_path / "out")
    summary = bulk.embed(*arguments, companions=beside, workers=1, verify=False)
    rows = table(tmp_path / "out" / "manifest.jsonl")
    if moment == "journal":
        assert (summary.errors, files_in(tmp_path / "out")) == (0, before)
    assert (summary.resumed, summary.errors) == (3, 0), [row["error"] for row in rows]
    assert sorted(int(row["message"], 16) for row in rows) == [1, 2, 3, 4]
    assert_in_order(rows, files_in(tmp_path / "out"), registry)


def test_a_listed_message_of_another_image_stays_taken_when_resumed(folder, registry, tmp_path):
    (tmp_path / "ids.txt").write_text("".join(f"{n:016x}\n" for n in range(1, 5)))
    registry.reserve(Record(), key_id=KEY.id, message=bytes(7) + b"\x02")
    registry.complete(bytes(7) + b"\x02", width=9, height=9, sha256="ab" * 32)
    arguments = (folder, tmp_path / "out", KEY, str(tmp_path / "ids.txt"))
    for _ in range(2):
        summary = bulk.embed(*arguments, companions=Companions(registry=registry), workers=1)
        assert (summary.errors, summary.counts["marked"]) == (1, 3)
    assert "1.jpg" not in files_in(tmp_path / "out")
    assert registry.get(f"{2:016x}").sha256 == "ab" * 32
