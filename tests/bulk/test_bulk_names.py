"""Names of any bytes: files keep them, and every text that is stored is one that any encoding can store."""

import csv
import itertools
import json
import os
import sqlite3
from pathlib import Path

import pytest
from archives import jpeg, members_of, tar_of, write

from fastmark import bulk
from fastmark.bulk.journal import Journal
from fastmark.bulk.readers import read
from fastmark.bulk.records import Entry, Item
from fastmark.bulk.storage import printable, storable

ODD = os.fsdecode(b"caf\xe9.jpg")
LIKE = r"caf\xe9.jpg"  # what ODD would be, written without thought
NAMES = {ODD: r"caf\xe9.jpg", LIKE: r"caf\x5cxe9.jpg", "é \U0001f600.jpg": "é \U0001f600.jpg"}


def test_names_become_text_and_stay_apart():
    assert {name: printable(name) for name in NAMES} == NAMES
    assert printable(r"C:\new\x.jpg") == r"C:\new\x.jpg"  # like no byte
    parts = ["\\", "x", "5c", "e9", os.fsdecode(b"\xe9"), os.fsdecode(b"\\"), "\udcff", "a"]
    names = {"".join(some) for n in range(5) for some in itertools.product(parts, repeat=n)}
    texts = {printable(name) for name in names}
    assert len(texts) == len(names)
    for text in texts:
        text.encode()
        assert storable(text) == text
    printable("\ud800").encode()  # as Windows may have it


def test_claims_are_told_apart(tmp_path):
    journal = Journal(str(tmp_path / "j.journal"), {}, output="out")
    assert journal.claim_name(ODD, Item("a"))
    assert journal.claim_name(LIKE, Item("b"))
    assert not journal.claim_name(ODD, Item("c"))
    assert journal.claim_name(ODD, Item("a"))
    journal.close()


def test_members_keep_their_bytes(tmp_path):
    tar = tar_of(tmp_path / "s.tar", [(f"k/{name}", jpeg()) for name in NAMES])
    pictures = list(read(Entry(str(tar), "tar", "below"), lambda picture: False, limit=1 << 20))
    assert [(p.member, p.name) for p in pictures] == [(f"k/{NAMES[n]}", f"below/k/{n}") for n in NAMES]


@pytest.fixture(scope="module")
def odd_archive(tmp_path_factory):
    """A folder and a tar whose names and whose images' names are of any bytes."""
    folder = tmp_path_factory.mktemp("names") / os.fsdecode(b"in \xff")
    for name in NAMES:
        write(folder / name, jpeg(288, 352, seed=1))
    tar_of(folder / os.fsdecode(b"t\xe9.tar"), [(name, jpeg(288, 352, seed=2)) for name in NAMES])
    return folder


def texts_of(folder):
    """All texts of the tables and journals in a folder."""
    found = []
    for path in folder.iterdir():
        if path.name.endswith(".journal"):
            with sqlite3.connect(path) as db:
                for table in ("rows", "shards", "names", "meta"):
                    found += [value for row in db.execute(f"SELECT * FROM {table}") for value in row]
            db.close()
        elif path.suffix == ".jsonl":
            lines = path.read_text(encoding="utf-8").splitlines()
            found += [value for line in lines for value in json.loads(line).values()]
        elif path.suffix == ".csv":
            found += path.read_text(encoding="utf-8").splitlines()
        elif path.suffix == ".parquet":
            import pyarrow.parquet as pq

            found += [value for row in pq.read_table(path).to_pylist() for value in row.values()]
    return [value for value in found if isinstance(value, str)]


def members_and_sources(folder):
    base = printable(str(folder))
    return [
        *sorted((f"{base}/{text}", "") for text in NAMES.values()),
        *((f"{base}/t\\xe9.tar", text) for text in NAMES.values()),
    ]


def test_scanning_names_of_any_bytes(odd_archive, tmp_path, key):
    expected = members_and_sources(odd_archive)
    listed = write(tmp_path / "list", b"".join(os.fsencode(p) + b"\n" for p in odd_archive.iterdir()))
    jobs = (
        (odd_archive, (), tmp_path / os.fsdecode(b"rows \xe9.csv")),
        ((), listed, tmp_path / "rows.parquet"),
    )
    for sources, lists, output in jobs:
        summary = bulk.scan(sources, output, key, lists=lists, workers=1)
        assert summary.counts == {"absent": 6}
        summary.output.encode()
    with Path(jobs[0][2]).open(encoding="utf-8") as file:
        rows = [(row["source"], row["member"]) for row in csv.DictReader(file)]
    assert sorted(rows) == sorted(expected)
    texts = texts_of(tmp_path)
    assert len(texts) > 20
    for text in texts:
        text.encode()
    # resumed by the same names
    assert bulk.scan(odd_archive, jobs[0][2], key, workers=1).resumed == 6


@pytest.mark.parametrize("output", ["out", "out.tar"])
def test_marking_names_of_any_bytes(odd_archive, tmp_path, key, output):
    target = tmp_path / output
    summary = bulk.embed(odd_archive, target, key, manifest=tmp_path / "m.jsonl", workers=1)
    assert summary.counts == {"marked": 6}
    below = os.fsdecode(b"t\xe9")
    expected = {*NAMES, *(f"{below}/{name}" for name in NAMES)}
    if output == "out":
        written = {str(path.relative_to(target)) for path in target.rglob("*.jpg")}
    else:
        written = {name for name, _ in members_of(target)}
    assert written == expected
    manifest = (tmp_path / "m.jsonl").read_text(encoding="utf-8").splitlines()
    said = [json.loads(line)["output"] for line in manifest]
    assert set(said) == {*NAMES.values(), *(f"t\\xe9/{text}" for text in NAMES.values())}
    for text in texts_of(tmp_path):
        text.encode()
    assert bulk.embed(odd_archive, target, key, manifest=tmp_path / "m.jsonl", workers=1).resumed == 6


def test_remote_folders_have_names_of_text(tmp_path):
    fsspec = pytest.importorskip("fsspec")
    from fastmark.bulk.journal import Result
    from fastmark.bulk.outputs import RemoteFolder

    memory = fsspec.filesystem("memory")
    output = RemoteFolder("memory://odd")
    for name in NAMES:
        output.put(Result("s", 0, "", "marked", {}, name, b"x"))
    assert {path.rpartition("/")[2] for path in memory.ls("/odd", detail=False)} == set(NAMES.values())
    memory.rm("/odd", recursive=True)
