"""Readers: pictures of files, tars and Parquet files, one at a time, and what becomes of damaged ones."""

import bz2
import gzip
import lzma
import tarfile

import pytest
from archives import jpeg, tar_of, write

from fastmark.bulk import readers
from fastmark.bulk.fetching import batches, fetched
from fastmark.bulk.readers import read
from fastmark.bulk.records import Entry, Item
from fastmark.images.reading import most_bytes

ONE, TWO, THREE = jpeg(seed=1), jpeg(seed=2), jpeg(seed=3)


def reading(entry, done=lambda picture: False, **options):
    """The pictures of an entry, and what was told at its end."""
    ends = []
    options = {"limit": 1 << 20, "finished": ends.append} | options
    pictures = list(read(entry, done, **options))
    return pictures, [(end.items, end.passed.others) for end in ends]


def tar_entry(path, **fields):
    return Entry(str(path), "tar", **fields)


def test_a_file_is_read_by_who_works_on_it(tmp_path):
    path = write(tmp_path / "a.jpg", ONE)
    (picture,), ends = reading(Entry(str(path), "image", "a.jpg", len(ONE), "stamp"))
    assert picture == Item(str(path), 0, None, "stamp", "a.jpg", path=str(path), size=len(ONE))
    assert ends == [(1, 0)]
    assert reading(Entry(str(path), "image"), done=lambda picture: True) == ([], [(1, 0)])


def test_an_entry_in_error_is_a_picture_in_error():
    (picture,), ends = reading(Entry("x.jpg", "error", error="x.jpg: no such file"))
    assert (picture.error, picture.data, ends) == ("x.jpg: no such file", None, [])


# ---- tar -------------------------------------------------------------------------------------------


@pytest.fixture
def shard(tmp_path):
    members = [
        ("k/1.jpg", ONE),
        ("k/1.txt", b"caption"),
        ("k/2", TWO),
        ("k/3.png", b"damaged"),
        ("n", b"note"),
    ]
    return tar_of(tmp_path / "s.tar", members)


@pytest.mark.parametrize("module", [None, gzip, bz2, lzma])
def test_members_that_are_pictures(shard, module):
    if module:
        shard = write(shard.with_suffix(".tar.any"), module.compress(shard.read_bytes()))
    pictures, ends = reading(tar_entry(shard, stamp="s"))
    assert [(p.position, p.member, p.data) for p in pictures] == [
        (0, "k/1.jpg", ONE),
        (2, "k/2", TWO),
        (3, "k/3.png", b"damaged"),
    ]
    assert {(p.source, p.stamp) for p in pictures} == {(str(shard), "s")}
    assert ends == [(3, 2)]


def test_other_members_come_along_where_they_are_wanted(shard):
    pictures, ends = reading(tar_entry(shard, name="below"), companions=True)
    assert [(p.name, p.companion, len(p.data)) for p in pictures] == [
        ("below/k/1.jpg", False, len(ONE)),
        ("below/k/1.txt", True, 7),
        ("below/k/2", False, len(TWO)),
        ("below/k/3.png", False, 7),
        ("below/n", True, 4),
    ]
    assert ends == [(5, 0)]


def test_members_that_are_done_are_not_read(shard):
    asked = []

    def done(picture):
        asked.append((picture.position, picture.data))
        return picture.position == 2

    pictures, ends = reading(tar_entry(shard), done)
    assert asked == [(0, None), (2, None), (3, None)]
    assert [p.position for p in pictures] == [0, 3]
    assert ends == [(3, 2)]  # of all, for the next run


def test_links_and_folders_in_a_tar_are_no_pictures(tmp_path):
    link, folder = tarfile.TarInfo("link.jpg"), tarfile.TarInfo("folder.jpg")
    link.type, link.linkname = tarfile.SYMTYPE, "1.jpg"
    folder.type = tarfile.DIRTYPE
    path = tar_of(tmp_path / "s.tar", [folder, ("1.jpg", ONE), link])
    pictures, ends = reading(tar_entry(path))
    assert [(p.position, p.member) for p in pictures] == [(1, "1.jpg")]
    assert ends == [(1, 2)]


def test_members_of_the_same_name_are_different_pictures(tmp_path):
    path = tar_of(tmp_path / "s.tar", [("a.jpg", ONE), ("a.jpg", TWO)])
    pictures, _ = reading(tar_entry(path))
    assert [(p.position, p.data) for p in pictures] == [(0, ONE), (1, TWO)]


@pytest.mark.parametrize("name", ["../../etc/a.jpg", "/a.jpg", "x/../../a.jpg", "..", ""])
def test_members_stay_where_they_are_put(tmp_path, name):
    path = tar_of(tmp_path / "s.tar", [(name or "a.jpg", ONE)])
    pictures, _ = reading(tar_entry(path, name="below"), companions=True)
    for picture in pictures:
        assert picture.name.startswith("below/")
        assert ".." not in picture.name.split("/")


def test_a_large_member_is_not_read(tmp_path):
    path = tar_of(tmp_path / "s.tar", [("a.jpg", bytes(5000)), ("b.jpg", ONE)])
    limit = max(len(ONE), 4000)
    pictures, _ = reading(tar_entry(path), limit=min(limit, 4999))
    assert pictures[0].data is None
    assert "5000 bytes are more than" in pictures[0].error
    assert (pictures[1].data == ONE) == (len(ONE) < 5000)


def test_headers_are_not_kept(tmp_path, monkeypatch):
    """However long the tar; tarfile would keep every one."""
    path = tar_of(tmp_path / "s.tar", [(f"{i}.jpg", b"x") for i in range(50)])
    opened = tarfile.open
    archives = []
    monkeypatch.setattr(
        readers.tarfile, "open", lambda **options: archives.append(opened(**options)) or archives[-1]
    )
    for _ in read(tar_entry(path), lambda picture: False, limit=100):
        assert len(archives[0].members) <= 1


@pytest.mark.parametrize("suffix", [".tar", ".tgz"])
def test_tars_one_after_the_other_are_read_to_the_last(tmp_path, suffix):
    tars = [
        tar_of(tmp_path / "w", [(f"{i}.jpg", data)]).read_bytes() for i, data in enumerate((ONE, TWO, THREE))
    ]
    data = b"".join(map(gzip.compress, tars)) if suffix == ".tgz" else b"".join(tars)
    pictures, ends = reading(tar_entry(write(tmp_path / f"s{suffix}", data)))
    assert [(p.position, p.member, p.data) for p in pictures] == [
        (0, "0.jpg", ONE),
        (1, "1.jpg", TWO),
        (2, "2.jpg", THREE),
    ]
    assert ends == [(3, 0)]


def ends_of(path, data):
    pictures, ends = reading(tar_entry(write(path, data)))
    return [p.data for p in pictures if not p.error], [p for p in pictures if p.error], ends


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz"])
def test_a_cut_tar_is_told_and_what_it_still_holds_is_read(tmp_path, suffix):
    whole = tar_of(tmp_path / "w", [("1.jpg", ONE), ("2.jpg", TWO), ("3.jpg", THREE)]).read_bytes()
    second = 1024 + -(-len(ONE) // 512) * 512  # where its content begins
    data = whole[: second + 700]
    data = gzip.compress(data) if suffix == ".tar.gz" else data
    good, bad, ends = ends_of(tmp_path / f"s{suffix}", data)
    assert (good, ends) == ([ONE], [])
    (error,) = bad
    assert (error.position, error.member) == (2, None)
    assert "cannot be read after" in error.error


def test_a_damaged_header_is_told_where_tarfile_sees_the_end(tmp_path):
    whole = bytearray(tar_of(tmp_path / "w", [("1.jpg", ONE), ("2.jpg", TWO)]).read_bytes())
    header = 512 + -(-len(ONE) // 512) * 512
    whole[header + 148 : header + 156] = b"damaged!"  # its checksum
    (tmp_path / "t.tar").write_bytes(whole)
    with tarfile.open(tmp_path / "t.tar") as tar:
        assert len(tar.getmembers()) == 1  # without a word
    good, bad, ends = ends_of(tmp_path / "t.tar", bytes(whole))
    assert (good, len(bad), ends) == ([ONE], 1, [])
    assert "damaged header" in bad[0].error
    assert bad[0].position == 1


def test_cut_gzip_and_what_is_no_tar(tmp_path):
    whole = gzip.compress(tar_of(tmp_path / "w", [("1.jpg", ONE), ("2.jpg", TWO)]).read_bytes())
    _, bad, ends = ends_of(tmp_path / "a.tgz", whole[: len(whole) // 2])
    assert (len(bad), ends) == (1, [])
    for data in (b"", b"no tar at all" * 100):
        good, bad, ends = ends_of(tmp_path / "b.tar", data)
        assert (good, len(bad), ends) == ([], 1, [])
        assert "b.tar cannot be read" in bad[0].error


def test_a_missing_tar_is_told(tmp_path):
    (picture,), _ = reading(tar_entry(tmp_path / "gone.tar"))
    assert "gone.tar cannot be read after 0 members: No such file" in picture.error


# ---- remote files, batches -------------------------------------------------------------------------


def test_remote_files_are_fetched_in_order():
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    memory.pipe({f"/f/{i}.jpg": bytes([i]) * (i + 1) for i in range(40)})
    pictures = []
    for i in range(40):
        pictures.append(Item(f"{i}", url=f"memory://f/{i}.jpg"))
        pictures.append(Item(f"local {i}", path="x"))
    pictures.append(Item("gone", url="memory://f/gone.jpg"))
    came = list(fetched(iter(pictures), limit=35))
    memory.store.clear()
    assert [p.source for p in came] == [p.source for p in pictures]
    remote = came[:-1:2]
    assert [p.data for p in remote[:35]] == [bytes([i]) * (i + 1) for i in range(35)]
    assert all(p.data is None and "more than the 35" in p.error for p in remote[35:])
    assert came[-1].error == "gone: no such file"
    assert all(p.data is None and not p.error for p in came[1:-1:2])


def test_fetching_keeps_to_a_window():
    """Of an endless source no more is taken than is on its way."""
    taken = []

    def endless():
        while True:
            taken.append(len(taken))
            yield Item(str(len(taken)), path="x")

    stream = fetched(endless(), 100)
    for _ in range(5):
        next(stream)
    assert len(taken) == 5


def test_batches_keep_to_their_bounds_and_lose_nothing():
    sizes = [1, 1, 1, 50, 200, 1, 99, 1, 1, 1, 1, 1]
    pictures = [Item(str(i), size=size) for i, size in enumerate(sizes)]
    groups = list(batches(iter(pictures), 4, 100))
    assert [p for group in groups for p in group] == pictures
    assert [[p.size for p in group] for group in groups] == [
        [1, 1, 1, 50],
        [200],
        [1, 99],
        [1, 1, 1, 1],
        [1],
    ]


def test_the_limit_leaves_room_for_any_picture_of_so_many_pixels():
    assert most_bytes(10_000) > 10_000 * 4 * 2
    assert most_bytes(200_000_000) < 2 << 30
