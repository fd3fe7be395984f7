"""Journal: what is done stays done, whatever ends the process; nothing else counts as done."""

import contextlib
import sqlite3
import subprocess
import sys

import pytest

from fastmark.bulk.journal import Journal, has_journal, journal_errors, journal_path
from fastmark.bulk.records import Item, Result
from fastmark.errors import OutputError


@contextlib.contextmanager
def opened(folder, **options):
    settings = options.pop("settings", {"keys": ["k"]})
    journal = Journal(str(folder / "out.csv.journal"), settings, output="out.csv", **options)
    try:
        yield journal
    finally:
        journal.close()


def result(source, position=0, state="absent", stamp="s"):
    return Result(source, position, stamp, state, {"source": source, "state": state, "n": position})


def is_done(journal, source, position=0, stamp="s"):
    return journal.claim_done(Item(source, position, stamp=stamp))


def test_what_is_done_is_done_in_later_runs(tmp_path):
    with opened(tmp_path) as journal:
        assert not is_done(journal, "a")
        journal.add(result("a"))
        journal.add(result("t", 5, "detected"))
        journal.add(result("broken", 0, "error"))
    with opened(tmp_path) as journal:
        assert is_done(journal, "a")
        assert is_done(journal, "t", 5)
        assert not is_done(journal, "t", 4)
        assert not is_done(journal, "broken")  # tried again
        assert not is_done(journal, "a", stamp="changed since")


def test_rows_come_by_source_and_position(tmp_path):
    with opened(tmp_path) as journal:
        for source, position in (("b", 0), ("a", 10), ("a", 9), ("c", 0)):
            journal.add(result(source, position))
        journal.add(Result("c", 1, "s", "companion"))
        journal.add(result("c", 0, "error"))  # in place of the first
        rows = list(journal.rows(of_this_run=True))
        assert [(row["source"], row["n"], row["state"]) for row in rows] == [
            ("a", 9, "absent"),
            ("a", 10, "absent"),
            ("b", 0, "absent"),
            ("c", 0, "error"),
        ]
        assert [row["state"] for row in journal.rows(of_this_run=True, leave_out="absent")] == ["error"]
        assert journal.counts(of_this_run=True) == {"absent": 3, "error": 1, "companion": 1}


def test_rows_of_pictures_that_are_gone_are_left_out_of_a_whole_run(tmp_path):
    with opened(tmp_path) as journal:
        journal.add(result("a"))
        journal.add(result("gone"))
    with opened(tmp_path) as journal:
        assert is_done(journal, "a")
        journal.add(result("new"))
        assert [row["source"] for row in journal.rows(of_this_run=True)] == ["a", "new"]
        assert [row["source"] for row in journal.rows(of_this_run=False)] == ["a", "gone", "new"]
        assert journal.counts(of_this_run=True) == {"absent": 2}


def test_shards_are_finished_when_all_their_pictures_are(tmp_path):
    with opened(tmp_path) as journal:
        for position in range(3):
            journal.add(result("t", position))
        journal.add(Result("t", 3, "s", "companion"))
        journal.finish_shard("t", "s", 4)
        journal.add(result("u", 0))
        journal.add(result("u", 1, "error"))
        journal.finish_shard("u", "s", 2)
        journal.add(result("v", 0))
        assert journal.adopt_shard("t", "s") is None  # a first run skips nothing
    with opened(tmp_path) as journal:
        assert journal.adopt_shard("t", "s") == 3
        assert journal.adopt_shard("t", "other") is None
        assert journal.adopt_shard("u", "s") is None
        assert journal.adopt_shard("v", "s") is None
        assert journal.adopt_items("u", "s") == [0]
        assert len(list(journal.rows(of_this_run=True))) == 4
        assert journal.adopt_all() == 6


def test_names_belong_to_the_first_that_claims_them(tmp_path):
    with opened(tmp_path) as journal:
        assert journal.claim_name("x.jpg", Item("a"))
        assert journal.claim_name("x.jpg", Item("a"))
        assert not journal.claim_name("x.jpg", Item("b"))
        assert not journal.claim_name("x.jpg", Item("a", 1))
    with opened(tmp_path) as journal:
        assert not journal.claim_name("x.jpg", Item("b"))


def test_names_of_any_bytes_do_not_matter(tmp_path):
    with opened(tmp_path) as journal:
        journal.add(result("caf\\xe9.jpg"))
        journal.add(result("ünïcode \U0001f600.jpg"))
        assert len(list(journal.rows(of_this_run=True))) == 2


def test_trouble_while_it_is_written_is_told(tmp_path):
    with opened(tmp_path) as journal:
        journal.commit()
        size = journal._db.execute("PRAGMA page_count").fetchone()[0]
        journal._db.execute(f"PRAGMA max_page_count = {size}")  # as a disk that is full
        with (
            pytest.raises(OutputError, match=r"out\.csv\.journal cannot be written.*full.*to resume"),
            journal_errors("out.csv"),
        ):
            for position in range(10_000):
                journal.add(result("a", position))
        # what would be written now would last by itself: nothing is
        for late in (lambda: journal.add(result("b")), journal.commit, lambda: journal.set("x", 1)):
            with pytest.raises(sqlite3.OperationalError):
                late()
        journal.roll_back()
    with opened(tmp_path) as journal:
        assert not list(journal.rows(of_this_run=False))


# ---- whose journal ---------------------------------------------------------------------------------


def test_other_settings_are_refused_by_name(tmp_path):
    with opened(tmp_path, settings={"keys": ["k"], "deep": False}) as journal:
        journal.add(result("a"))
    with (
        pytest.raises(OutputError, match=r"different settings \(deep\).*--force"),
        opened(tmp_path, settings={"keys": ["k"], "deep": True}),
    ):
        pass
    with opened(tmp_path, settings={"keys": ["k"], "deep": True}, force=True) as journal:
        assert journal.fresh
        assert not list(journal.rows(of_this_run=False))


def test_a_second_run_at_the_same_time_is_refused(tmp_path):
    with (
        opened(tmp_path),
        pytest.raises(OutputError, match=r"out\.csv is being written by another run"),
        opened(tmp_path),
    ):
        pass
    with opened(tmp_path):
        pass


def test_what_is_no_journal_is_refused(tmp_path):
    path = tmp_path / "out.csv.journal"
    path.write_bytes(b"something else altogether" * 100)
    with pytest.raises(OutputError, match="not a journal"), opened(tmp_path):
        pass
    assert path.read_bytes().startswith(b"something")
    with opened(tmp_path, force=True) as journal:
        assert journal.fresh


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(OutputError, match="cannot be written"), opened(tmp_path / "nowhere"):
        pass


def test_where_journals_lie(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert journal_path("a/rows.csv") == "a/rows.csv.journal"
    assert journal_path("marked/") == "marked.journal"
    assert journal_path("s3://bucket/rows.csv") == "rows.csv.journal"
    assert not has_journal("rows.csv")
    (tmp_path / "rows.csv.journal").touch()
    assert has_journal("rows.csv")


KILLED = """
import os, signal, sys
from fastmark.bulk.journal import Journal
from fastmark.bulk.records import Result
journal = Journal(sys.argv[1], {"keys": ["k"]}, output="out.csv")
for i in range(1000):
    journal.add(Result(f"{i:04d}", 0, "s", "absent", {"source": str(i)}))
    journal.set("last", i)
    if i % 100 == 49:
        journal.commit()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_after_a_kill_all_that_was_committed_is_there_and_no_more(tmp_path):
    path = tmp_path / "out.csv.journal"
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert done.returncode == -9
    with opened(tmp_path) as journal:
        assert len(list(journal.rows(of_this_run=False))) == 950
        assert journal.get("last") == 949
    # the database is sound, and one file again
    with contextlib.closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.csv.journal"]
