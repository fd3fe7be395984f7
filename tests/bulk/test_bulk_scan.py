"""Scanning archives by the command line, as people run it, interrupt it, kill it and run it again."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import pytest
from archive_commands import (
    MANY,
    MESSAGE,
    counted,
    names,
    read_csv,
    running,
    started,
    started_and_stopped,
)
from archives import jpeg, tar_of, write
from commands import assert_refused, rows, run

from fastmark import Key, bulk
from fastmark.errors import KeyFormatError

COLUMNS = [
    *("source", "member", "width", "height", "state", "log10_p", "p_value", "key_id"),
    *("message", "message_bits", "message_log10_p", "margin"),
    *("scale", "rotation_deg", "aspect", "mirrored", "inverted"),
    *("binding", "binding_log_ratio", "made_with", "remarks", "ms", "error", "public", "public_says"),
]


# ---- scanning --------------------------------------------------------------------------------------


def test_scan_writes_a_row_a_picture(archives, tmp_path):
    output = tmp_path / "rows.jsonl"
    done = run("scan", archives.archive, "--key", archives.key, "-o", output, "--workers", "2")
    assert done.returncode == 3
    table = rows(output.read_bytes())
    assert all(list(row) == COLUMNS for row in table)
    assert names(table) == sorted(names(table))
    below = {(source.removeprefix(f"{archives.archive}/"), member) for source, member in names(table)}
    assert below == {
        *((f"{i}.jpg", "") for i in range(6)),
        *(("shard.tar", f"k{i}.jpg") for i in range(4)),
        *(("broken.jpg", ""), ("sub/marked.jpg", ""), ("sub/deeper/noending", "")),
    }
    assert counted(table) == {"absent": 10, "detected": 2, "error": 1}
    for row in table:
        if row["state"] == "detected":
            assert row["source"].endswith("marked.jpg") or row["member"] == "k3.jpg"
            assert (row["message"], row["width"], row["height"]) == (f"{MESSAGE:016x}", 384, 384)
            assert row["log10_p"] < -9
            assert row["key_id"] == Key.load(archives.key).id
        elif row["state"] == "error":
            assert "not an image" in row["error"]
            assert row["width"] is row["log10_p"] is None
        else:
            assert row["log10_p"] > -4
            assert row["message"] is row["error"] is None
    summary = done.stdout.decode().split()
    for words in (["images", "13"], ["detected", "2"], ["error", "1"], ["files", "5"]):
        at = summary.index(words[0])
        assert summary[at : at + 2] == words
    (line,) = done.stderr.decode().splitlines()
    assert line == f"fastmark: error: 1 of 13 images failed; see the `error` column of {output}"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rows.jsonl", "rows.jsonl.journal"]


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_other_tables_hold_the_same(archives, tmp_path, ending):
    if ending == ".parquet":
        pytest.importorskip("pyarrow")
    output = tmp_path / f"rows{ending}"
    done = run("scan", archives.archive, "--key", archives.key, "-o", output, "--workers", "1", "--quiet")
    assert (done.returncode, done.stdout) == (3, b"")
    if ending == ".csv":
        table: list[dict[str, Any]] = read_csv(output)
    else:
        import pyarrow.parquet as pq

        table = pq.read_table(output).to_pylist()
    assert list(table[0]) == COLUMNS
    assert counted(table) == {"absent": 10, "detected": 2, "error": 1}
    assert {row["message"] for row in table if row["state"] == "detected"} == {f"{MESSAGE:016x}"}
    assert names(table) == sorted(names(table))


def test_hits_only_and_several_keys(archives, tmp_path):
    output = tmp_path / "hits.csv"
    keys = ("--key", archives.other_key, "--key", archives.key, "--key", archives.key)
    done = run("scan", archives.archive, *keys, "-o", output, "--hits-only", "--json")
    assert done.returncode == 3
    assert counted(read_csv(output)) == {"detected": 2, "error": 1}
    assert {row["key_id"] for row in read_csv(output)} == {Key.load(archives.key).id, ""}
    (summary,) = rows(done.stdout)
    assert (summary["pictures"], summary["counts"]["absent"], summary["complete"]) == (13, 10, True)
    assert set(summary["stages"]) == {"reading", "decoding", "searching"}


def test_a_detector_key_scans_as_its_key_does(archives, tmp_path):
    key, check, output = Key.load(archives.key), tmp_path / "check.key", tmp_path / "rows.jsonl"
    key.detector_key("the museum").save(check)
    scan = ("scan", archives.archive, "-o", output, "--workers", "1", "--quiet")
    assert run(*scan, "--key", check).returncode == 3
    table = rows(output.read_bytes())
    assert counted(table) == {"absent": 10, "detected": 2, "error": 1}
    found = [row for row in table if row["state"] == "detected"]
    assert {(row["key_id"], row["message"]) for row in found} == {(key.id, f"{MESSAGE:016x}")}
    # the key itself sees more: its rows are others, and the journal is not mixed of both
    assert_refused(run(*scan, "--key", archives.key), "different settings (keys)")
    assert run(*scan, "--key", archives.key, "--key", check, "--force").returncode == 3
    assert run(*scan, "--key", archives.key).returncode == 3
    margins = {row["source"]: row["margin"] for row in rows(output.read_bytes())}
    assert all(margins[row["source"]] > row["margin"] for row in found)


def test_python_scans_with_keys_of_both_kinds_and_embeds_with_secret_ones(archives, tmp_path):
    key, other = Key.load(archives.key), Key.load(archives.other_key)
    keys = [other.detector_key(), key.detector_key()]
    summary = bulk.scan(archives.archive / "sub", tmp_path / "rows.csv", keys, workers=1)
    assert (summary.counts["detected"], summary.counts["absent"]) == (1, 1)
    (row,) = (row for row in read_csv(tmp_path / "rows.csv") if row["state"] == "detected")
    assert row["key_id"] == key.id
    for wrong, error in (([], KeyFormatError), (["my.key"], TypeError), ("my.key", TypeError)):
        with pytest.raises(error):
            bulk.scan(archives.archive, tmp_path / "no.csv", wrong)
    for wrong in (key.detector_key(), "my.key"):
        with pytest.raises(TypeError, match="key"):
            bulk.embed(archives.archive, tmp_path / "out", wrong, "counter")
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "no.csv").exists()


def test_an_archive_without_faults_is_exit_code_0_whatever_is_found(archives, tmp_path):
    for key in (archives.key, archives.other_key):
        done = run("scan", archives.archive / "sub", "--key", key, "-o", tmp_path / f"{key.name}.csv")
        assert (done.returncode, done.stderr) == (0, b"")


def test_rows_on_stdout_of_a_tar_on_stdin(archives):
    tar = (archives.archive / "shard.tar").read_bytes()
    done = run("scan", "-", "--key", archives.key, "-o", "-", input=tar)
    assert done.returncode == 0
    table = rows(done.stdout)
    assert sorted(names(table)) == [("-", f"k{i}.jpg") for i in range(4)]
    assert counted(table) == {"absent": 3, "detected": 1}
    assert "images" in done.stderr.decode()  # the summary

    hits = run("scan", "-", "--key", archives.key, "-o", "-", "--hits-only", "--quiet", input=tar)
    assert [row["member"] for row in rows(hits.stdout)] == ["k3.jpg"]
    assert hits.stderr == b""


def test_a_list_of_paths_on_stdin(archives, tmp_path):
    listed = f"{archives.archive}/0.jpg\n{archives.archive}/sub\n{tmp_path}/gone.jpg\n".encode()
    done = run("scan", "-", "--key", archives.key, "-o", tmp_path / "rows.jsonl", input=listed)
    assert done.returncode == 3
    table = rows((tmp_path / "rows.jsonl").read_bytes())
    assert counted(table) == {"absent": 2, "detected": 1, "error": 1}
    (error,) = (row["error"] for row in table if row["error"])
    assert error.endswith("gone.jpg: no such file")


def test_parquet_files(archives, tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    pictures = [b"no image", None, archives.marked, b"nor this"]
    pq.write_table(pa.table({"hash": [b"h"] * 4, "thing": pictures}), tmp_path / "a.parquet")
    output = tmp_path / "rows.jsonl"
    done = run("scan", tmp_path / "a.parquet", "--key", archives.key, "-o", output)
    assert done.returncode == 3  # which column?
    (row,) = rows(output.read_bytes())
    assert "(hash, thing) and none begins like an image: name the images' with --column" in row["error"]
    arguments = ["scan", tmp_path / "a.parquet", "--key", archives.key, "-o", output, "--column", "thing"]
    assert_refused(run(*arguments), "different settings (column)")
    assert run(*arguments, "--force").returncode == 3
    table = rows(output.read_bytes())
    assert [(row["member"], row["state"]) for row in table] == [
        ("0", "error"),
        ("1", "error"),
        ("2", "detected"),
        ("3", "error"),
    ]


def test_bombs_are_not_decoded(archives, tmp_path):
    output = tmp_path / "rows.jsonl"
    options = ("--max-pixels", "120000", "-o", output)
    assert run("scan", archives.archive / "sub", "--key", archives.key, *options).returncode == 3
    errors = {Path(row["source"]).name: row["error"] for row in rows(output.read_bytes())}
    assert "claims 384 x 384 pixels, more than the limit of 120000" in errors["marked.jpg"]
    assert errors["noending"] is None


# ---- again -----------------------------------------------------------------------------------------


def test_the_same_command_again_looks_at_what_is_new_changed_or_was_broken(archives, tmp_path):
    archive = tmp_path / "archive"
    for name in ("a", "b", "c", "gone"):
        write(archive / f"{name}.jpg", jpeg(seed=1))
    write(archive / "broken.jpg", b"")
    tar_of(archive / "s.tar", [("1.jpg", jpeg(seed=3)), ("2.jpg", jpeg(seed=4))])
    arguments = ["scan", archive, "--key", archives.key, "-o", tmp_path / "rows.jsonl", "--json"]
    assert run(*arguments).returncode == 3
    before = (tmp_path / "rows.jsonl").read_bytes()
    done = run(*arguments)
    assert (done.returncode, rows(done.stdout)[0]["resumed"]) == (3, 6)
    assert (tmp_path / "rows.jsonl").read_bytes() == before

    write(archive / "b.jpg", archives.marked)
    write(archive / "new.jpg", archives.marked)
    write(archive / "broken.jpg", jpeg(seed=2))
    (archive / "gone.jpg").unlink()
    tar_of(archive / "s.tar", [("1.jpg", archives.marked)])
    done = run(*arguments)
    assert (done.returncode, rows(done.stdout)[0]["resumed"]) == (0, 2)
    after = {
        Path(source).name: member for source, member in names(rows((tmp_path / "rows.jsonl").read_bytes()))
    }
    assert after == dict.fromkeys(("a.jpg", "b.jpg", "broken.jpg", "c.jpg", "new.jpg"), "") | {
        "s.tar": "1.jpg"
    }
    states = {Path(row["source"]).name: row["state"] for row in rows((tmp_path / "rows.jsonl").read_bytes())}
    assert {name for name, state in states.items() if state == "detected"} == {"b.jpg", "new.jpg", "s.tar"}


def test_ctrl_c_finishes_what_is_in_hand_and_the_same_command_goes_on(archives, tmp_path):
    output = tmp_path / "rows.csv"
    arguments = ("scan", archives.many, "--key", archives.key, "-o", output, "--workers", "2")
    process = started_and_stopped(*arguments, cwd=tmp_path, number=signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    part = read_csv(output)
    assert 0 < len(part) < MANY
    assert all(row["state"] == "absent" for row in part)
    asked, told = [line for line in err.decode().splitlines() if line]
    assert "finishing the images in hand" in asked
    assert told == (
        f"fastmark: stopped before the end: {len(part)} images are done, rows in {output};"
        " run the same command again to resume"
    )
    done = run(*arguments, "--json", cwd=tmp_path)
    assert (done.returncode, rows(done.stdout)[0]["resumed"]) == (0, len(part))
    assert len(names(read_csv(output))) == MANY
    # what was done has not been done again: it has its time of then
    later = {row["source"]: row for row in read_csv(output)}
    assert all(later[row["source"]] == row for row in part)


def test_after_kill_9_nothing_is_lost_or_doubled(archives, tmp_path):
    output = tmp_path / "rows.jsonl"
    arguments = ("scan", archives.many, "--key", archives.key, "-o", output, "--workers", "2", "--json")
    for _ in range(2):
        process = started_and_stopped(*arguments, cwd=tmp_path, number=signal.SIGKILL, everyone=False)
        process.wait(timeout=120)
        assert process.returncode == -9
        assert not output.exists()
        deadline = time.monotonic() + 60
        while running(process.pid) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not running(process.pid)  # its workers have ended too, though nobody told them
        process.communicate()
    done = run(*arguments, cwd=tmp_path)
    (summary,) = rows(done.stdout)
    assert done.returncode == 0
    assert 0 < summary["resumed"] < MANY
    assert summary["counts"] == {"absent": MANY}
    expected = [(str(path), "") for path in sorted(archives.many.rglob("*.jpg"))]
    assert names(rows(output.read_bytes())) == expected
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rows.jsonl", "rows.jsonl.journal"]


def test_a_reader_that_has_seen_enough_ends_the_run(archives, tmp_path):
    process = started("scan", archives.many, "--key", archives.key, "-o", "-", cwd=tmp_path)
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=120) == 141
    assert process.stderr is not None
    process.stderr.close()


# ---- what is refused -------------------------------------------------------------------------------


def test_scans_refused(archives, tmp_path):
    (tmp_path / "old.csv").write_text("somebody's own\n")
    (tmp_path / "empty").mkdir()
    key = ("--key", archives.key)
    for arguments, says in (
        ((tmp_path / "nowhere", *key, "-o", "r.csv"), "nowhere: no such file or folder"),
        ((archives.archive, *key, "-o", "r.xls"), "one of .jsonl, .csv, .parquet"),
        ((archives.archive, *key, "-o", "no/r.csv"), "does not exist"),
        ((archives.archive, *key, "-o", "old.csv"), "old.csv exists already"),
        ((archives.archive, *key, "-o", "r.csv", "--workers", "-1"), "--workers"),
        ((archives.archive, *key, "-o", "r.csv", "--max-pixels", "0"), "above 0"),
        ((archives.archive, *key, "-o", "r.csv", "--address", "auto"), "--engine ray"),
        ((archives.archive, "-o", "r.csv"), "--key"),
        ((*key, "-o", "r.csv"), "no source"),
        ((archives.archive / "0.jpg", *key, "-o", "r.csv", "--column", "jpg"), "--column goes with Parquet"),
        ((archives.key, *key, "-o", "r.csv"), "is a fastmark key file"),
    ):
        assert_refused(run("scan", *arguments, cwd=tmp_path), says)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "old.csv"]
    assert (tmp_path / "old.csv").read_text() == "somebody's own\n"
    done = run("scan", "empty", *key, "-o", "none.csv", "--quiet", cwd=tmp_path)
    assert (done.returncode, b"no image was found" in done.stderr) == (2, True)
    assert (
        run("scan", archives.archive / "sub", *key, "-o", "old.csv", "--force", cwd=tmp_path).returncode == 0
    )
    assert len(read_csv(tmp_path / "old.csv")) == 2
