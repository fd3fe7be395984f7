"""Archives in archives: tars in tars are read, others are named, and macOS's metadata is no image."""

import bz2
import gzip
import io
import json
import lzma
import zipfile

import pytest
from archives import jpeg, members_of, tar_of, write

from fastmark import bulk
from fastmark.bulk.progress import Summary
from fastmark.bulk.readers import read
from fastmark.bulk.recorder import Recorder
from fastmark.bulk.records import Entry, Passed
from fastmark.bulk.sources import check_sources, entries, named
from fastmark.bulk.tables import SCAN_COLUMNS
from fastmark.bulk.walk import Walk
from fastmark.errors import SourceError

ONE, TWO, THREE = jpeg(seed=1), jpeg(seed=2), jpeg(seed=3)
METADATA = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        " + bytes(40)


def packed(folder, *members):
    """The bytes of a tar."""
    return tar_of(folder / "packed", members).read_bytes()


def zipped():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.jpg", ONE)
    return file.getvalue()


ARCHIVES = {
    "a.zip": zipped(),
    "b.7z": b"7z\xbc\xaf\x27\x1c\x00\x04",
    "c.tar.zst": b"\x28\xb5\x2f\xfd\x24",
    "d.rar": b"Rar!\x1a\x07\x01\x00",
    "e": zipped(),  # told by what it holds
    "f.jpg.gz": gzip.compress(ONE),
    "g.cbz": zipped(),
}


def reading(path, **options):
    ends = []
    entry = Entry(str(path), "tar", "below", stamp="s")
    options = {"limit": 1 << 20, "finished": ends.append} | options
    return list(read(entry, options.pop("done", lambda picture: False), **options)), ends


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize("outer", [bytes, gzip.compress])
def test_a_tar_in_a_tar_is_read(tmp_path, pack, outer):
    ending = {bytes: ".tar", gzip.compress: ".tgz", bz2.compress: ".tar.bz2", lzma.compress: ".tar.xz"}[pack]
    inner = pack(packed(tmp_path, ("k/2.jpg", TWO), ("k/2.txt", b"caption")))
    data = packed(tmp_path, ("1.jpg", ONE), (f"d/inner{ending}", inner), ("3.jpg", THREE), ("n.txt", b""))
    pictures, (end,) = reading(write(tmp_path / "s.tar", outer(data)))
    assert [(p.position, p.member, p.name, p.data) for p in pictures] == [
        (0, "1.jpg", "below/1.jpg", ONE),
        (2, f"d/inner{ending}/k/2.jpg", "below/d/inner/k/2.jpg", TWO),
        (4, "3.jpg", "below/3.jpg", THREE),
    ]
    assert (end.items, end.passed) == (3, Passed(others=2))


def test_a_tar_in_a_tar_is_known_by_what_it_holds(tmp_path):
    inner = packed(tmp_path, ("2.jpg", TWO))
    members = [("plain", inner), ("packed.part", gzip.compress(inner)), ("text", gzip.compress(b"text"))]
    pictures, (end,) = reading(tar_of(tmp_path / "s.tar", members))
    assert [(p.member, p.data) for p in pictures] == [("plain/2.jpg", TWO), ("packed.part/2.jpg", TWO)]
    assert end.passed == Passed(others=1)


def test_what_is_done_in_an_inner_tar_is_not_read_again(tmp_path):
    inner = packed(tmp_path, ("2.jpg", TWO), ("3.jpg", THREE))
    path = tar_of(tmp_path / "s.tar", [("i.tar", inner), ("1.jpg", ONE)])
    pictures, (end,) = reading(path, done=lambda picture: picture.position == 1)
    assert [(p.position, p.data) for p in pictures] == [(2, THREE), (3, ONE)]
    assert end.items == 3


def test_tars_are_read_so_deep_and_no_deeper(tmp_path):
    data = packed(tmp_path, ("x.jpg", ONE))
    for depth in range(1, 6):
        data = packed(tmp_path, (f"{depth}.jpg", TWO), (f"t{depth}.tar", data))
    pictures, (end,) = reading(write(tmp_path / "s.tar", data))
    assert [p.member for p in pictures if p.data] == [
        "5.jpg",
        "t5.tar/4.jpg",
        "t5.tar/t4.tar/3.jpg",
        "t5.tar/t4.tar/t3.tar/2.jpg",
        "t5.tar/t4.tar/t3.tar/t2.tar/1.jpg",
    ]
    (error,) = (p for p in pictures if p.error)
    assert error.member == "t5.tar/t4.tar/t3.tar/t2.tar/t1.tar"
    assert "more than 4 tars" in error.error
    assert end.items == 6


def test_a_damaged_tar_in_a_tar_is_told_and_the_rest_is_read(tmp_path):
    inner = packed(tmp_path, ("1.jpg", ONE), ("2.jpg", TWO))
    cut = inner[: 512 + -(-len(ONE) // 512) * 512 + 700]
    members = [("cut.tar", cut), ("no.tgz", b"<html>404</html>" * 99), ("empty.tar", b""), ("3.jpg", THREE)]
    pictures, (end,) = reading(tar_of(tmp_path / "s.tar", members))
    assert [(p.member, p.data) for p in pictures if not p.error] == [("cut.tar/1.jpg", ONE), ("3.jpg", THREE)]
    errors = {p.member: p.error for p in pictures if p.error}
    assert set(errors) == {"cut.tar", "no.tgz", "empty.tar"}
    assert f"{tmp_path}/s.tar: cut.tar cannot be read to its end" in errors["cut.tar"]
    assert "is empty" in errors["empty.tar"]
    assert end.items == 5
    assert len({p.position for p in pictures}) == 5


def test_a_tar_without_members_is_no_fault(tmp_path):
    pictures, (end,) = reading(tar_of(tmp_path / "s.tar", [("none.tar", packed(tmp_path)), ("1.jpg", ONE)]))
    assert [(p.member, p.error) for p in pictures] == [("1.jpg", "")]
    assert end.items == 1


# ---- what is not opened ----------------------------------------------------------------------------


def test_archives_in_folders_are_counted_and_named(tmp_path):
    for name, data in ARCHIVES.items():
        write(tmp_path / "in" / name, data)
    write(tmp_path / "in" / "index.json.gz", gzip.compress(b"{}"))
    write(tmp_path / "in" / "x.jpg", ONE)
    walk = Walk()
    assert [entry.name for entry in entries(named(tmp_path / "in"), walk)] == ["x.jpg"]
    assert walk.unopened == [f"{tmp_path}/in/{name}" for name in ARCHIVES]
    assert (walk.unopened_count, walk.others) == (len(ARCHIVES), 1)


def test_archives_in_tars_are_counted_and_named_and_not_copied(tmp_path):
    inner = packed(tmp_path, ("x.parquet", b"PAR1"), ("2.jpg", TWO))
    path = tar_of(tmp_path / "s.tar", [*ARCHIVES.items(), ("i.tar", inner), ("1.jpg", ONE), ("1.txt", b"c")])
    for companions in (False, True):
        pictures, (end,) = reading(path, companions=companions)
        assert [p.member for p in pictures] == ["i.tar/2.jpg", "1.jpg", *(["1.txt"] if companions else [])]
        assert end.passed.unopened == [f"{path}/{name}" for name in (*ARCHIVES, "i.tar/x.parquet")]
        assert (end.passed.unopened_count, end.passed.others) == (8, 0 if companions else 1)


def test_a_summary_names_the_first_of_them():
    passed = Passed()
    for i in range(30):
        passed.leave(f"{i}.zip")
    passed.add(Passed(2, 1, ["x.7z"]))
    assert (passed.others, passed.unopened_count) == (2, 31)
    assert passed.unopened == [f"{i}.zip" for i in range(20)]
    summary = Summary(unopened=["a.zip", "b.7z", "c.tar.zst"], unopened_count=3, remarks=["So it is."])
    lines = summary.table(()).splitlines()
    assert lines[-3].split() == ["not", "opened", "3", "archives:", "a.zip,", "b.7z,", "c.tar.zst"]
    assert lines[-1] == "So it is."
    summary.unopened_count = 21
    assert summary.table(()).splitlines()[-3].endswith("21  archives: a.zip, b.7z, c.tar.zst, ...")
    said = json.loads(json.dumps(summary.to_dict()))
    assert (said["unopened"], said["unopened_count"]) == (["a.zip", "b.7z", "c.tar.zst"], 21)
    assert said["remarks"] == ["So it is."]


def test_scanning_names_them_again_when_it_is_resumed(tmp_path, key):
    members = [("i.tar", packed(tmp_path, ("2.jpg", TWO))), ("a.zip", zipped()), ("1.txt", b"caption")]
    write(tmp_path / "in" / "b.7z", b"7z")
    tar_of(tmp_path / "in" / "s.tar", members)
    for resumed in (0, 1):
        summary = bulk.scan(tmp_path / "in", tmp_path / "rows.csv", key, column="x", workers=1)
        assert (summary.counts, summary.resumed, summary.others) == ({"absent": 1}, resumed, 1)
        assert summary.unopened == [f"{tmp_path}/in/b.7z", f"{tmp_path}/in/s.tar/a.zip"]
        assert summary.unopened_count == 2
        assert summary.remarks == ["--column x had no effect: no Parquet file was among the sources"]


def test_a_tar_made_of_tars_holds_nothing_unmarked(tmp_path, key):
    pictures = [jpeg(288, 352, seed=i) for i in range(2)]
    inner = packed(tmp_path, ("2.jpg", pictures[1]), ("2.txt", b"two"))
    members = [("1.jpg", pictures[0]), ("1.txt", b"one"), ("i.tar", inner), ("a.zip", zipped())]
    source = tar_of(tmp_path / "s.tar", [*members, ("._1.jpg", METADATA)])
    summary = bulk.embed(source, tmp_path / "out.tar", key, "counter", workers=1)
    assert (summary.counts, summary.unopened_count, summary.others) == ({"marked": 2}, 1, 1)
    written = dict(members_of(tmp_path / "out.tar"))
    assert list(written) == ["1.jpg", "1.txt", "i/2.jpg", "i/2.txt"]
    assert (written["1.txt"], written["i/2.txt"]) == (b"one", b"two")
    assert not any(original in data for original in pictures for data in written.values())


def test_a_column_that_meets_a_parquet_file_is_no_remark(tmp_path):
    record = Recorder(None, (), SCAN_COLUMNS, column="x")
    record.walk.ended, record.walk.parquets = True, 1
    assert record.finish("-", complete=True).remarks == []
    record = Recorder(None, (), SCAN_COLUMNS, column="x")  # stopped before the end: who knows
    assert record.finish("-", complete=False).remarks == []


# ---- AppleDouble -----------------------------------------------------------------------------------


def test_metadata_of_macos_is_passed_over(tmp_path):
    folder = tmp_path / "in"
    for name, data in (
        ("._a.jpg", METADATA),
        ("._s.tar", METADATA),
        ("._noending", METADATA),
        ("._real.jpg", ONE),
        ("._damaged.jpg", b""),
        ("a.jpg", ONE),
    ):
        write(folder / name, data)
    walk = Walk()
    assert [entry.name for entry in entries(named(folder), walk)] == ["._damaged.jpg", "._real.jpg", "a.jpg"]
    assert walk.others == 3
    members = [(f"d/{path.name}", path.read_bytes()) for path in sorted(folder.iterdir())]
    for companions in (False, True):
        pictures, (end,) = reading(tar_of(tmp_path / "s.tar", members), companions=companions)
        assert [p.member for p in pictures] == ["d/._damaged.jpg", "d/._real.jpg", "d/a.jpg"]
        assert end.passed.others == 3
    with pytest.raises(SourceError, match=r"\._a\.jpg is macOS's metadata \(AppleDouble\) of another file"):
        check_sources(named(folder / "._a.jpg"))
    check_sources(named(folder / "._real.jpg"))


def test_of_remote_folders_names_decide():
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    memory.pipe({"/mac/._a.jpg": METADATA, "/mac/a.jpg": ONE, "/mac/a.zip": zipped()})
    walk = Walk()
    assert [entry.name for entry in entries(named("memory://mac"), walk)] == ["a.jpg"]
    assert (walk.others, walk.unopened) == (1, ["memory:///mac/a.zip"])
    memory.store.clear()
