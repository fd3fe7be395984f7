"""Outputs: folders and tars that can be resumed, and nothing of anybody else's overwritten."""

import contextlib
import io
import sqlite3
import tarfile

import pytest
from archives import members_of, tar_of, write

from fastmark.bulk import outputs
from fastmark.bulk.journal import Journal
from fastmark.bulk.outputs import (
    InOrder,
    LocalFolder,
    RemoteFolder,
    TarOutput,
    check_output_of,
    open_output_of,
)
from fastmark.bulk.recorder import Recorder
from fastmark.bulk.records import Item, Result, Work
from fastmark.bulk.tables import MANIFEST_COLUMNS
from fastmark.errors import OutputError


@pytest.fixture
def journal(tmp_path):
    journal = Journal(str(tmp_path / "j.journal"), {}, output="out")
    yield journal
    with contextlib.suppress(sqlite3.ProgrammingError):  # closed by the test
        journal.close()


def marked(name, data):
    return Result("s", 0, "", "marked", {}, name, data)


# ---- tar -------------------------------------------------------------------------------------------


def test_a_tar_has_what_was_put_and_its_name_at_the_end(tmp_path, journal):
    path = tmp_path / "out.tar"
    output = open_output_of(str(path), journal)
    output.put(marked("a/1.jpg", b"one"))
    output.put(marked("ünï.jpg", b"x" * 1000))
    output.settle()
    assert not path.exists()
    output.close(complete=True)
    assert members_of(path) == [("a/1.jpg", b"one"), ("ünï.jpg", b"x" * 1000)]
    assert [entry.name for entry in tmp_path.glob("out*")] == ["out.tar"]
    assert TarOutput(str(path), journal).finished


@pytest.mark.parametrize("torn", [b"", b"half of a member", bytes(3000)])
def test_a_tar_is_gone_on_with_after_what_the_journal_knows(tmp_path, journal, torn):
    path = tmp_path / "out.tar"
    first = TarOutput(str(path), journal)
    first.put(marked("1.jpg", b"one"))
    first.settle()
    first.put(marked("lost.jpg", b"put, but never settled"))
    first._file.write(torn)
    first._file.close()  # as a kill would
    second = TarOutput(str(path), journal)
    second.put(marked("2.jpg", b"two"))
    second.settle()
    second.close(complete=False)
    assert not path.exists()
    third = TarOutput(str(path), journal)
    third.put(marked("3.jpg", b"three"))
    third.close(complete=True)
    assert members_of(path) == [("1.jpg", b"one"), ("2.jpg", b"two"), ("3.jpg", b"three")]


def test_a_tar_that_was_tampered_with_is_refused(tmp_path, journal):
    path = tmp_path / "out.tar"
    output = TarOutput(str(path), journal)
    output.put(marked("1.jpg", b"one"))
    output.settle()
    output.close(complete=False)
    partial = tmp_path / "out.tar.partial"
    partial.write_bytes(partial.read_bytes()[:600])
    with pytest.raises(OutputError, match="truncated or replaced"):
        TarOutput(str(path), journal)
    partial.unlink()
    with pytest.raises(OutputError, match="has been removed"):
        TarOutput(str(path), journal)


def test_a_finished_tar_that_is_gone_is_told(tmp_path, journal):
    path = tmp_path / "out.tar"
    TarOutput(str(path), journal).close(complete=True)
    path.unlink()
    with pytest.raises(OutputError, match="complete and has been removed"):
        TarOutput(str(path), journal)


def test_a_run_that_ended_before_the_archive_had_its_name(tmp_path, journal, monkeypatch):
    path = tmp_path / "out.tar"
    output = TarOutput(str(path), journal)
    output.put(marked("1.jpg", b"one"))
    output.settle()
    with monkeypatch.context() as patched:
        patched.setattr(outputs.os, "replace", lambda *paths: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            output.close(complete=True)
    assert not path.exists()
    assert TarOutput(str(path), journal).finished
    assert members_of(path) == [("1.jpg", b"one")]


def test_a_member_that_could_not_be_written_whole_is_cut_off(tmp_path, journal):
    path = tmp_path / "out.tar"
    output = TarOutput(str(path), journal)
    output.put(marked("1.jpg", b"one"))

    class Full:
        def __init__(self, file):
            self.file = file
            self.left = 600

        def write(self, data):
            self.file.write(data[: self.left])
            self.left -= len(data)
            if self.left < 0:
                raise OSError(28, "No space left on device")

    output._tar.fileobj = Full(output._file)
    with pytest.raises(OutputError, match="No space left"):
        output.put(marked("2.jpg", b"x" * 5000))
    output.settle()
    output.close(complete=False)
    again = TarOutput(str(path), journal)
    again.put(marked("2.jpg", b"two"))
    again.close(complete=True)
    assert members_of(path) == [("1.jpg", b"one"), ("2.jpg", b"two")]


def test_what_cannot_be_settled_is_not_known_to_the_journal(tmp_path, journal):
    class Unsettled:
        folder, ordered, excluded = None, False, ()

        def put(self, result):
            pass

        def settle(self):
            raise OutputError("no space left")

        def close(self, *, complete):
            pass

    record = Recorder(journal, (), MANIFEST_COLUMNS, output=Unsettled())
    record.take([Item("s")], Work([marked("1.jpg", b"one")]))
    record.abandon()  # whoever calls it has an error to tell already
    again = Journal(str(tmp_path / "j.journal"), {}, output="out")
    assert not list(again.rows(of_this_run=False))
    again.close()


def test_many_members_take_no_memory(tmp_path, journal):
    output = TarOutput(str(tmp_path / "out.tar"), journal)
    for i in range(50):
        output.put(marked(f"{i}", b""))
        assert len(output._tar.members) == 0
    output.close(complete=True)
    with tarfile.open(tmp_path / "out.tar") as tar:
        assert len(tar.getmembers()) == 50


# ---- folders ---------------------------------------------------------------------------------------


def test_what_a_killed_run_left_is_swept_up(tmp_path):
    folder = tmp_path / "out"
    for _ in range(2):
        journal = Journal(str(tmp_path / "j.journal"), {}, output="out")
        output = LocalFolder(str(folder), journal)
        journal.close()
        left = write(folder / "sub" / ".fastmark-00112233.tmp", b"half")
        kept = write(folder / "sub" / "a.jpg", b"whole")
    assert left.exists()
    journal = Journal(str(tmp_path / "j.journal"), {}, output="out")
    output = LocalFolder(str(folder), journal)
    journal.close()
    assert not left.exists()
    assert kept.exists()
    assert output.folder == str(folder)
    assert not output.ordered


def test_remote_folders():
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    check_output_of("memory://out", known=False, force=False)
    output = RemoteFolder("memory://out")
    output.put(marked("a/b.jpg", b"one"))
    assert memory.cat("/out/a/b.jpg") == b"one"
    assert output.folder is None
    with pytest.raises(OutputError, match="is not empty"):
        check_output_of("memory://out", known=False, force=False)
    check_output_of("memory://out", known=True, force=False)
    memory.rm("/out", recursive=True)


def test_outputs_refused(tmp_path):
    tar = tar_of(tmp_path / "old.tar", [])
    write(tmp_path / "full" / "a.jpg", b"")
    write(tmp_path / "full" / "notes", b"")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "empty").mkdir()
    for path, says in (
        (tar, "exists already"),
        (tmp_path / "full", "is not empty"),
        (tmp_path / "full" / "a.jpg", "is named like one image"),
        (tmp_path / "full" / "notes", "is a file"),
        (tmp_path / "new.png", r"new.png is named like one image; .* \(write .*new.png/ for a folder"),
        ("memory://out/new.webp", "is named like one image"),
        (tmp_path / "nowhere" / "x.tar", "folder does not exist"),
        (tmp_path / "x.tar.gz", "plain .tar"),
    ):
        with pytest.raises(OutputError, match=says):
            check_output_of(str(path), known=False, force=False)
    for path in (tar, tmp_path / "full"):
        check_output_of(str(path), known=True, force=False)
        check_output_of(str(path), known=False, force=True)
    for path in (
        *(tmp_path / name for name in ("empty", "new", "new.tar", "folder.png")),
        f"{tmp_path}/new.png/",
    ):
        check_output_of(str(path), known=False, force=False)


# ---- order -----------------------------------------------------------------------------------------


def test_batches_are_handed_on_in_order():
    handed = io.StringIO()
    order = InOrder(lambda results: handed.write(" ".join(result.name for result in results) + "|"))
    batches = {0: "ab", 2: "c", 3: "def", 6: "g"}
    counts = [order.take(first, [marked(name, b"") for name in batches[first]]) for first in (2, 6, 0, 3)]
    assert handed.getvalue() == "a b|c|d e f|g|"
    assert counts == [0, 0, 2, 2]
