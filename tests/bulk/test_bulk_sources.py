"""Sources: what the user names becomes files to be opened, in order, with nothing lost on the way."""

import gzip
import io
import os
import types
from pathlib import Path

import pytest
from archives import jpeg, tar_of, write

from fastmark.bulk import sources
from fastmark.bulk.kinds import kind_by_ending
from fastmark.bulk.sources import check_sources, entries, named
from fastmark.bulk.walk import Walk
from fastmark.errors import MissingPackageError, SourceError, SourceNotFoundError


def found(*names, lists=(), walk=None):
    return list(entries(named(names, lists), walk or Walk()))


def check(*names, lists=(), column=None):
    check_sources(named(names, lists), column)


def paths(*names, **options):
    return [(Path(entry.path).name, entry.kind) for entry in found(*names, **options)]


@pytest.fixture
def archive(tmp_path):
    """A folder with pictures at two levels and things that are none."""
    folder = tmp_path / "archive"
    write(folder / "b.JPG", jpeg())
    write(folder / "a.png", b"damaged, but called a picture")
    write(folder / "sub" / "c.webp", b"")
    write(folder / "sub" / "deeper" / "d", jpeg())  # no ending
    write(folder / "notes.txt", b"text")
    write(folder / "sub" / "unknown.xyz", b"no picture at all")
    write(folder / ".fastmark-0123456789abcdef.tmp", jpeg())
    tar_of(folder / "s.tar", [("x.jpg", jpeg())])
    return folder


def test_a_folder_is_walked_in_the_order_of_names(archive):
    walk = Walk()
    assert paths(archive, walk=walk) == [
        ("a.png", "image"),
        ("b.JPG", "image"),
        ("s.tar", "tar"),
        ("c.webp", "image"),
        ("d", "image"),
    ]
    assert walk.others == 2
    for entry in found(archive):
        status = Path(entry.path).stat()
        assert entry.size == status.st_size
        assert str(status.st_mtime_ns) in entry.stamp
        assert not entry.error


def test_names_are_paths_below_the_source(archive):
    assert [entry.name for entry in found(archive)] == ["a.png", "b.JPG", "s", "sub/c.webp", "sub/deeper/d"]
    # of several sources each has a folder of its own
    other = archive.parent / "other.tar"
    tar_of(other, [])
    single = write(archive.parent / "single.jpg", jpeg())
    names = [entry.name for entry in found(archive, other, single)]
    assert names == [
        *("archive/a.png", "archive/b.JPG", "archive/s", "archive/sub/c.webp", "archive/sub/deeper/d"),
        *("other", "single.jpg"),
    ]


def test_what_is_excluded_is_not_looked_into(archive):
    walk = Walk(excluded=(os.path.realpath(archive / "sub"), os.path.realpath(archive / "s.tar")))
    assert paths(archive, walk=walk) == [("a.png", "image"), ("b.JPG", "image")]


def test_links_are_followed_but_not_in_circles(archive):
    (archive / "sub" / "up").symlink_to(archive)
    (archive / "link.jpg").symlink_to(archive / "b.JPG")
    (archive / "z").symlink_to(archive / "sub" / "deeper")
    names = [entry.name for entry in found(archive)]
    assert names == ["a.png", "b.JPG", "link.jpg", "s", "sub/c.webp", "sub/deeper/d", "z/d"]


def test_what_cannot_be_looked_at_is_told(archive):
    (archive / "gone.jpg").symlink_to(archive / "nowhere")
    (archive / "gone.txt").symlink_to(archive / "nowhere")
    (entry,) = (entry for entry in found(archive) if entry.kind == "error")
    assert entry.name == "gone.jpg"
    assert entry.error.endswith("gone.jpg: no such file")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_told(archive):
    (archive / "sub").chmod(0)
    try:
        errors = [entry.error for entry in found(archive) if entry.kind == "error"]
    finally:
        (archive / "sub").chmod(0o755)
    assert len(errors) == 1
    assert "Permission denied" in errors[0]


def test_an_unreadable_folder_becomes_an_error_entry(archive, monkeypatch):
    listdir = os.listdir

    def refusing(path):
        if str(path).endswith("sub"):
            raise PermissionError(13, "Permission denied")
        return listdir(path)

    monkeypatch.setattr(sources.os, "listdir", refusing)
    kinds = [entry.kind for entry in found(archive)]
    assert kinds == ["image", "image", "tar", "error"]


def test_names_of_any_bytes_and_deep_folders(tmp_path):
    folder = tmp_path
    for _ in range(300):  # with calls in calls Python would give up somewhere
        folder = folder / "d"
        if len(str(folder)) > 3500:
            break
    folder.mkdir(parents=True)
    odd = os.fsdecode(b"caf\xe9.jpg")
    write(folder / odd, jpeg())
    (entry,) = found(tmp_path)
    assert entry.path.endswith(odd)


@pytest.mark.parametrize("form", ["tar", "parquet", "image"])
def test_a_file_is_known_by_what_it_holds(tmp_path, form):
    path = tmp_path / "source.txt"  # whatever its name
    contents = {
        "tar": tar_of(tmp_path / "t", [("a.jpg", b"")]).read_bytes(),
        "parquet": b"PAR1\x15\x04 and so on",
        "image": jpeg(),
    }
    write(path, contents[form])
    assert [entry.kind for entry in found(path)] == [form]


def test_compressed_tars_and_damaged_pictures_are_known(tmp_path):
    write(tmp_path / "a.bin", gzip.compress(tar_of(tmp_path / "t", [("a.jpg", b"")]).read_bytes()))
    assert paths(tmp_path / "a.bin") == [("a.bin", "tar")]
    write(tmp_path / "a.jpg", b"<html>")
    assert paths(tmp_path / "a.jpg") == [("a.jpg", "image")]
    write(tmp_path / "b.jpg", bytes(600))
    assert paths(tmp_path / "b.jpg") == [("b.jpg", "image")]


def test_a_list_may_name_folders_and_shards(archive, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = ["archive/b.JPG", "archive/sub", "archive/s.tar", "archive/missing.tar", "archive/notes.txt"]
    write(tmp_path / "list.txt", "\r\n".join(lines).encode())
    listed = [(entry.path, entry.kind, entry.name) for entry in found(tmp_path / "list.txt")]
    assert listed == [
        ("archive/b.JPG", "image", "archive/b.JPG"),
        ("archive/sub/c.webp", "image", "archive/sub/c.webp"),
        ("archive/sub/deeper/d", "image", "archive/sub/deeper/d"),
        ("archive/s.tar", "tar", "archive/s"),
        ("archive/missing.tar", "error", "archive/missing"),
        ("archive/notes.txt", "image", "archive/notes.txt"),  # who lists it means it
    ]


def test_names_of_listed_paths_stay_below_the_output(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "inner").mkdir()
    picture = write(tmp_path / "x" / "a.jpg", jpeg())
    monkeypatch.chdir(tmp_path / "inner")
    write(tmp_path / "list.txt", f"../x/a.jpg\n{picture}\n".encode())
    names = [entry.name for entry in found(tmp_path / "list.txt")]
    assert names == ["x/a.jpg", str(picture).lstrip("/")]


def test_sources_refused(tmp_path):
    write(tmp_path / "zeros.bin", bytes(1000))
    write(tmp_path / "zeros.txt", bytes(1000))
    write(tmp_path / "a.zip", b"PK\x03\x04 and so on")
    os.mkfifo(tmp_path / "pipe")
    for source, says in (
        (tmp_path / "nowhere", "no such file or folder"),
        (tmp_path / "zeros.bin", "of no known kind"),
        (tmp_path / "zeros.txt", "is no text"),
        (tmp_path / "a.zip", "not opened: unpack it, or make it a tar"),
        (tmp_path / "pipe", "not a regular file"),
        ("a\0b", "cannot be read"),
    ):
        with pytest.raises(SourceError, match=says):
            check(source)
    with pytest.raises(SourceError, match="no source"):
        check()
    with pytest.raises(SourceError, match="named twice"):
        check("-", lists="-")


def test_a_missing_source_is_a_file_that_is_not_found(tmp_path):
    for options in ({}, {"lists": tmp_path / "gone.txt"}):
        with pytest.raises(SourceNotFoundError, match=r"gone\.\w+: no such file or folder") as caught:
            check(*([] if options else [tmp_path / "gone.jpg"]), **options)
        assert isinstance(caught.value, FileNotFoundError)


def test_a_column_needs_something_that_can_hold_parquet_files(tmp_path):
    picture, folder = write(tmp_path / "in" / "a.jpg", jpeg()), tmp_path / "in"
    tar = tar_of(tmp_path / "t.tar", [])
    listed = write(tmp_path / "list", b"in/a.jpg\n")
    with pytest.raises(SourceError, match="--column goes with Parquet files"):
        check(picture, tar, column="jpg")
    check(picture, folder, column="jpg")
    check(picture, lists=listed, column="jpg")
    check("-", column="jpg")


# ---- lists -----------------------------------------------------------------------------------------


def test_a_text_is_a_list_only_where_it_is_named_as_one(tmp_path):
    content = f"{write(tmp_path / 'in.jpg', jpeg())}\n\n{tmp_path / 'nowhere.jpg'}\n".encode()
    for name in ("a.txt", "a.LST"):
        assert [entry.kind for entry in found(write(tmp_path / name, content))] == ["image", "error"]
    for name in ("a.csv", "a.json", "a", "a.key", "README.md"):
        path = write(tmp_path / name, content)
        with pytest.raises(SourceError, match=r"no image, tar or Parquet file; a list .* --list ") as caught:
            check(path)
        assert "in.jpg" not in str(caught.value)
        assert [entry.kind for entry in found(lists=path)] == ["image", "error"]


@pytest.mark.parametrize(
    "first", ["BMW", "P6", "Pyrenees", "GIF89a", "RIFF", "qoif", "PAR1", "BZhang", "LZIP"]
)
def test_a_list_may_begin_like_a_file_of_another_kind(tmp_path, monkeypatch, first):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / first / "1.jpg", jpeg())
    for name in ("list.txt", "list"):
        listed = write(tmp_path / name, f"{first}/1.jpg\n".encode())
        assert [entry.path for entry in found(lists=listed)] == [f"{first}/1.jpg"]
    assert [entry.kind for entry in found("list.txt")] == ["image"]


def test_pixels_in_decimals_are_an_image(tmp_path):
    assert paths(write(tmp_path / "plain", b"P2\n# drawn\n2 1\n255\n0 255\n")) == [("plain", "image")]


def test_what_is_named_as_a_list_must_be_one(tmp_path):
    for name, data, says in (
        ("a.txt", jpeg(), "is no text: give a list of paths"),
        ("b", tar_of(tmp_path / "t", [("a.jpg", b"")]).read_bytes(), "is no text"),
        ("c.lst", bytes(100), "is no text"),
    ):
        with pytest.raises(SourceError, match=says):
            check(lists=write(tmp_path / name, data))
    with pytest.raises(SourceError, match="is a folder, not a list"):
        check(lists=tmp_path)
    assert found(lists=write(tmp_path / "empty", b"")) == []


def test_lists_count_as_sources_where_names_are_made(archive, tmp_path):
    listed = write(tmp_path / "list", f"{archive / 'b.JPG'}\n".encode())
    names = [entry.name for entry in found(archive / "sub", lists=[listed])]
    assert names == ["sub/c.webp", "sub/deeper/d", str(archive / "b.JPG").lstrip("/")]


def test_a_list_may_come_by_a_pipe(archive):
    reader, writer = os.pipe()
    os.write(writer, f"{archive / 'b.JPG'}\n".encode())
    os.close(writer)
    path = f"/dev/fd/{reader}"
    check(lists=path)
    assert [entry.kind for entry in found(lists=path)] == ["image"]
    os.close(reader)


def test_a_list_finds_out_what_its_files_are(tmp_path, monkeypatch):
    """By the same rules as a folder, but that who lists a file means it."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "noending", tar_of(tmp_path / "t", [("a.jpg", b"")]).read_bytes())
    write(tmp_path / "._a.jpg", b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X")
    write(tmp_path / "a.zip", b"PK\x03\x04")
    write(tmp_path / "list", b"noending\n._a.jpg\na.zip\n")
    walk = Walk()
    listed = [(entry.path, entry.kind) for entry in found(lists=tmp_path / "list", walk=walk)]
    assert listed == [("noending", "tar"), ("a.zip", "error")]
    assert walk.others == 1


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.JPEG", "image"),
        ("a.tar", "tar"),
        ("a.tar.gz", "tar"),
        ("a.TGZ", "tar"),
        ("a.parquet", "parquet"),
        ("a.json", "other"),
        ("a.json.gz", "other"),
        ("a.jpg.gz", "archive"),
        ("a.tar.zst", "archive"),
        ("a.ZIP", "archive"),
        ("a", None),
        ("a.v2", None),
    ],
)
def test_kinds_by_ending(name, kind):
    assert kind_by_ending(name) == kind


# ---- standard input --------------------------------------------------------------------------------


def stdin(monkeypatch, data):
    stream = io.BufferedReader(io.BytesIO(data))
    monkeypatch.setattr(sources.sys, "stdin", types.SimpleNamespace(buffer=stream))


def test_stdin_is_a_tar_or_a_list(archive, tmp_path, monkeypatch):
    tar = tar_of(tmp_path / "t.tar", [("a.jpg", jpeg())]).read_bytes()
    for data in (tar, gzip.compress(tar)):
        stdin(monkeypatch, data)
        assert paths("-") == [("-", "tar")]
    stdin(monkeypatch, f"{archive / 'b.JPG'}\n".encode())
    assert paths("-") == [("b.JPG", "image")]
    stdin(monkeypatch, f"{archive / 'b.JPG'}\n".encode())
    assert paths(lists="-") == [("b.JPG", "image")]
    stdin(monkeypatch, jpeg())
    with pytest.raises(SourceError, match="standard input holds one image"):
        found("-")
    with pytest.raises(SourceError, match="standard input is no text"):
        found(lists="-")


# ---- other file systems ----------------------------------------------------------------------------


@pytest.fixture
def memory():
    """An empty folder of fsspec's memory file system."""
    fsspec = pytest.importorskip("fsspec")
    file_system = fsspec.filesystem("memory")
    file_system.store.clear()
    yield file_system
    file_system.store.clear()


def test_folders_of_other_file_systems(memory):
    memory.pipe(
        {"/top/b.jpg": jpeg(), "/top/sub/a.png": b"x", "/top/notes.txt": b"", "/top/noending": jpeg()}
    )
    tar = io.BytesIO()
    memory.pipe("/top/s.tar", tar.getvalue())
    walk = Walk()
    listed = [(entry.path, entry.kind, entry.name) for entry in found("memory://top", walk=walk)]
    assert listed == [
        ("memory:///top/b.jpg", "image", "b.jpg"),
        ("memory:///top/s.tar", "tar", "s"),
        ("memory:///top/sub/a.png", "image", "sub/a.png"),
    ]
    assert walk.others == 2
    assert all(entry.stamp for entry in found("memory://top"))
    memory.pipe("/list.txt", b"memory://top/b.jpg\nmemory://top/s.tar\nmemory://top/t.tar\n")
    assert [entry.kind for entry in found("memory://list.txt")] == ["image", "tar", "error"]
    with pytest.raises(SourceError, match="no such file"):
        check("memory://nowhere.jpg")


def test_file_urls(archive):
    pytest.importorskip("fsspec")
    names = [entry.name for entry in found(archive.as_uri())]
    assert names == ["a.png", "b.JPG", "s", "sub/c.webp"]  # by ending only


def test_schemes_that_need_a_package_or_do_not_exist():
    pytest.importorskip("fsspec")
    with pytest.raises(SourceError, match="Protocol not known"):
        check("nosuch://a/b.jpg")


def test_without_fsspec_a_url_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "fsspec.core", None)
    with pytest.raises(
        MissingPackageError, match=r"s3:// needs fsspec: pip install 'fastmark-watermark\[bulk\]'"
    ):
        check("s3://bucket/folder")
