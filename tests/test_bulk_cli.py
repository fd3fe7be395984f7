"""Archives by the command line, as people run it, interrupt it, kill it and run it again."""

from __future__ import annotations

import collections
import contextlib
import csv
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from archives import encode, jpeg, members_of, tar_of, write
from pictures import photograph
from test_cli import assert_refused, rows, run

from fastmark import Key, Watermarker, bulk

MESSAGE = 0x0123456789ABCDEF
MANY = 320
COLUMNS = (
    "source member width height state log10_p key_id message scale rotation_deg mirrored ms error".split()  # noqa: SIM905
)


class Bench(NamedTuple):
    """Files that most tests need, made once; nobody writes among them."""

    key: Path
    other_key: Path
    archive: Path
    many: Path
    marked: bytes


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """A mixed archive of 16 pictures, 2 of them marked and 1 damaged; one of MANY small pictures."""
    folder = tmp_path_factory.mktemp("bulk")
    key, other = Key.generate("ours"), Key.generate()
    key.save(folder / "our.key")
    other.save(folder / "other.key")
    marked = encode(Watermarker(key).embed(photograph("astronaut", 384), MESSAGE), "JPEG", quality=92)
    archive = folder / "archive"
    for i in range(6):
        write(archive / f"{i}.jpg", jpeg(seed=i))
    write(archive / "sub" / "marked.jpg", marked)
    write(archive / "sub" / "deeper" / "noending", jpeg(seed=10))
    write(archive / "broken.jpg", b"<html>404</html>")
    write(archive / "notes.txt", b"text")
    members = [(f"k{i}.jpg", jpeg(seed=20 + i)) for i in range(3)] + [("k3.jpg", marked)]
    tar_of(archive / "shard.tar", [pair for m in members for pair in (m, (f"{m[0][:-4]}.txt", b"caption"))])
    many = folder / "many"
    for i in range(MANY):
        write(many / f"{i % 3}" / f"{i:03d}.jpg", jpeg(200, 260, seed=i % 10))
    return Bench(folder / "our.key", folder / "other.key", archive, many, marked)


def names(table: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Source and member of every row, and that none is there twice."""
    found = [(row["source"], row["member"] or "") for row in table]
    assert len(set(found)) == len(found)
    return found


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def counted(table: list[dict[str, Any]]) -> dict[str, int]:
    return dict(collections.Counter(row["state"] for row in table))


# ---- scanning --------------------------------------------------------------------------------------


def test_scan_writes_a_row_a_picture(bench, tmp_path):
    output = tmp_path / "rows.jsonl"
    done = run("scan", bench.archive, "--key", bench.key, "-o", output, "--workers", "2")
    assert done.returncode == 3
    table = rows(output.read_bytes())
    assert all(list(row) == COLUMNS for row in table)
    assert names(table) == sorted(names(table))
    below = {(source.removeprefix(f"{bench.archive}/"), member) for source, member in names(table)}
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
            assert row["key_id"] == Key.load(bench.key).id
        elif row["state"] == "error":
            assert "not a picture" in row["error"]
            assert row["width"] is row["log10_p"] is None
        else:
            assert row["log10_p"] > -4
            assert row["message"] is row["error"] is None
    summary = done.stdout.decode().split()
    for words in (["pictures", "13"], ["detected", "2"], ["error", "1"], ["files", "5"]):
        at = summary.index(words[0])
        assert summary[at : at + 2] == words
    (line,) = done.stderr.decode().splitlines()
    assert line == f"fastmark: error: 1 of 13 pictures came to nothing: see the column error of {output}"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rows.jsonl", "rows.jsonl.journal"]


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_other_tables_hold_the_same(bench, tmp_path, ending):
    if ending == ".parquet":
        pytest.importorskip("pyarrow")
    output = tmp_path / f"rows{ending}"
    done = run("scan", bench.archive, "--key", bench.key, "-o", output, "--workers", "1", "--quiet")
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


def test_hits_only_and_several_keys(bench, tmp_path):
    output = tmp_path / "hits.csv"
    keys = ("--key", bench.other_key, "--key", bench.key, "--key", bench.key)
    done = run("scan", bench.archive, *keys, "-o", output, "--hits-only", "--json")
    assert done.returncode == 3
    assert counted(read_csv(output)) == {"detected": 2, "error": 1}
    assert {row["key_id"] for row in read_csv(output)} == {Key.load(bench.key).id, ""}
    (summary,) = rows(done.stdout)
    assert (summary["pictures"], summary["counts"]["absent"], summary["complete"]) == (13, 10, True)
    assert set(summary["stages"]) == {"reading", "decoding", "searching"}


def test_an_archive_without_faults_is_exit_code_0_whatever_is_found(bench, tmp_path):
    for key in (bench.key, bench.other_key):
        done = run("scan", bench.archive / "sub", "--key", key, "-o", tmp_path / f"{key.name}.csv")
        assert (done.returncode, done.stderr) == (0, b"")


def test_rows_on_stdout_of_a_tar_on_stdin(bench):
    tar = (bench.archive / "shard.tar").read_bytes()
    done = run("scan", "-", "--key", bench.key, "-o", "-", input=tar)
    assert done.returncode == 0
    table = rows(done.stdout)
    assert sorted(names(table)) == [("-", f"k{i}.jpg") for i in range(4)]
    assert counted(table) == {"absent": 3, "detected": 1}
    assert "pictures" in done.stderr.decode()  # the summary

    hits = run("scan", "-", "--key", bench.key, "-o", "-", "--hits-only", "--quiet", input=tar)
    assert [row["member"] for row in rows(hits.stdout)] == ["k3.jpg"]
    assert hits.stderr == b""


def test_a_list_of_paths_on_stdin(bench, tmp_path):
    listed = f"{bench.archive}/0.jpg\n{bench.archive}/sub\n{tmp_path}/gone.jpg\n".encode()
    done = run("scan", "-", "--key", bench.key, "-o", tmp_path / "rows.jsonl", input=listed)
    assert done.returncode == 3
    table = rows((tmp_path / "rows.jsonl").read_bytes())
    assert counted(table) == {"absent": 2, "detected": 1, "error": 1}
    (error,) = (row["error"] for row in table if row["error"])
    assert error.endswith("gone.jpg: no such file")


def test_parquet_files(bench, tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    pictures = [jpeg(seed=1), None, bench.marked, b"no picture"]
    pq.write_table(pa.table({"hash": [b"h"] * 4, "photo": pictures}), tmp_path / "a.parquet")
    output = tmp_path / "rows.jsonl"
    done = run("scan", tmp_path / "a.parquet", "--key", bench.key, "-o", output)
    assert done.returncode == 3  # which column?
    assert "--column" in rows(output.read_bytes())[0]["error"]
    arguments = ["scan", tmp_path / "a.parquet", "--key", bench.key, "-o", output, "--column", "photo"]
    assert_refused(run(*arguments), "other settings (column)")
    assert run(*arguments, "--force").returncode == 3
    table = rows(output.read_bytes())
    assert [(row["member"], row["state"]) for row in table] == [
        ("0", "absent"),
        ("1", "error"),
        ("2", "detected"),
        ("3", "error"),
    ]


def test_bombs_are_not_decoded(bench, tmp_path):
    output = tmp_path / "rows.jsonl"
    options = ("--max-pixels", "100000", "-o", output)
    assert run("scan", bench.archive / "sub", "--key", bench.key, *options).returncode == 3
    errors = {Path(row["source"]).name: row["error"] for row in rows(output.read_bytes())}
    assert "claims 384 x 384 pixels, more than the limit of 100000" in errors["marked.jpg"]
    assert errors["noending"] is None


# ---- again -----------------------------------------------------------------------------------------


def test_the_same_command_again_looks_at_what_is_new_changed_or_was_broken(bench, tmp_path):
    archive = tmp_path / "archive"
    for name in ("a", "b", "c", "gone"):
        write(archive / f"{name}.jpg", jpeg(seed=1))
    write(archive / "broken.jpg", b"")
    tar_of(archive / "s.tar", [("1.jpg", jpeg(seed=3)), ("2.jpg", jpeg(seed=4))])
    arguments = ["scan", archive, "--key", bench.key, "-o", tmp_path / "rows.jsonl", "--json"]
    assert run(*arguments).returncode == 3
    before = (tmp_path / "rows.jsonl").read_bytes()
    done = run(*arguments)
    assert (done.returncode, rows(done.stdout)[0]["resumed"]) == (3, 6)
    assert (tmp_path / "rows.jsonl").read_bytes() == before

    write(archive / "b.jpg", bench.marked)
    write(archive / "new.jpg", bench.marked)
    write(archive / "broken.jpg", jpeg(seed=2))
    (archive / "gone.jpg").unlink()
    tar_of(archive / "s.tar", [("1.jpg", bench.marked)])
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


def started(*arguments: Any, cwd: Path) -> subprocess.Popen[bytes]:
    """A command in a process group of its own, as a shell would start it."""
    command = [sys.executable, "-m", "fastmark", *map(str, arguments)]
    return subprocess.Popen(
        command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )


def wait_for_commits(process: subprocess.Popen[bytes], journal: Path, commits: int) -> None:
    """Wait until so many commits have followed the first, or the process has ended."""
    log = journal.with_name(f"{journal.name}-wal")
    sizes = [0]
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline and len(set(sizes)) < commits + 2:
        time.sleep(0.05)
        with contextlib.suppress(OSError):
            size = log.stat().st_size
            time.sleep(0.05)
            if size == log.stat().st_size:  # not in the middle of one
                sizes.append(size)


def children_of(pid: int) -> set[int]:
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                if int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == pid:
                    found.add(int(entry.name))
    return found


def has_ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_ctrl_c_finishes_what_is_in_hand_and_the_same_command_goes_on(bench, tmp_path):
    output = tmp_path / "rows.csv"
    arguments = ("scan", bench.many, "--key", bench.key, "-o", output, "--workers", "2")
    process = started(*arguments, cwd=tmp_path)
    wait_for_commits(process, tmp_path / "rows.csv.journal", 1)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the workers get it too
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    part = read_csv(output)
    assert 0 < len(part) < MANY
    assert all(row["state"] == "absent" for row in part)
    asked, told = [line for line in err.decode().splitlines() if line]
    assert "finishing the pictures in hand" in asked
    assert told == (
        f"fastmark: stopped before the end: {output} holds the {len(part)} rows there are;"
        " the same command goes on from here"
    )
    done = run(*arguments, "--json", cwd=tmp_path)
    assert (done.returncode, rows(done.stdout)[0]["resumed"]) == (0, len(part))
    assert len(names(read_csv(output))) == MANY
    # what was done has not been done again: it has its time of then
    later = {row["source"]: row for row in read_csv(output)}
    assert all(later[row["source"]] == row for row in part)


def test_after_kill_9_nothing_is_lost_or_doubled(bench, tmp_path):
    output = tmp_path / "rows.jsonl"
    arguments = ("scan", bench.many, "--key", bench.key, "-o", output, "--workers", "2", "--json")
    for commits in (1, 2):
        process = started(*arguments, cwd=tmp_path)
        wait_for_commits(process, tmp_path / "rows.jsonl.journal", commits)
        workers = children_of(process.pid)
        assert workers
        process.kill()
        process.communicate()
        assert process.returncode == -9
        assert not output.exists()
        deadline = time.monotonic() + 30
        while not all(map(has_ended, workers)) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert all(map(has_ended, workers))  # nobody told them
    done = run(*arguments, cwd=tmp_path)
    (summary,) = rows(done.stdout)
    assert done.returncode == 0
    assert 0 < summary["resumed"] < MANY
    assert summary["counts"] == {"absent": MANY}
    expected = [(str(path), "") for path in sorted(bench.many.rglob("*.jpg"))]
    assert names(rows(output.read_bytes())) == expected
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rows.jsonl", "rows.jsonl.journal"]


def test_a_reader_that_has_seen_enough_ends_the_run(bench, tmp_path):
    process = started("scan", bench.many, "--key", bench.key, "-o", "-", cwd=tmp_path)
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=120) == 141
    assert process.stderr is not None
    process.stderr.close()


# ---- what is refused -------------------------------------------------------------------------------


def test_scans_refused(bench, tmp_path):
    (tmp_path / "old.csv").write_text("somebody's own\n")
    (tmp_path / "empty").mkdir()
    key = ("--key", bench.key)
    for arguments, says in (
        ((tmp_path / "nowhere", *key, "-o", "r.csv"), "nowhere: no such file or folder"),
        ((bench.archive, *key, "-o", "r.xls"), "one of .jsonl, .csv, .parquet"),
        ((bench.archive, *key, "-o", "no/r.csv"), "does not exist"),
        ((bench.archive, *key, "-o", "old.csv"), "old.csv exists already"),
        ((bench.archive, *key, "-o", "r.csv", "--workers", "-1"), "--workers"),
        ((bench.archive, *key, "-o", "r.csv", "--max-pixels", "0"), "above 0"),
        ((bench.archive, *key, "-o", "r.csv", "--address", "auto"), "--engine ray"),
        ((bench.archive, "-o", "r.csv"), "--key"),
        ((*key, "-o", "r.csv"), "SOURCE"),
    ):
        assert_refused(run("scan", *arguments, cwd=tmp_path), says)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "old.csv"]
    assert (tmp_path / "old.csv").read_text() == "somebody's own\n"
    done = run("scan", "empty", *key, "-o", "none.csv", "--quiet", cwd=tmp_path)
    assert (done.returncode, b"no picture was found" in done.stderr) == (2, True)
    assert run("scan", bench.archive / "sub", *key, "-o", "old.csv", "--force", cwd=tmp_path).returncode == 0
    assert len(read_csv(tmp_path / "old.csv")) == 2


# ---- embedding -------------------------------------------------------------------------------------


def test_a_folder_is_marked_and_read_back(bench, tmp_path):
    marked = tmp_path / "marked"
    options = ("--key", bench.other_key, "--messages", "counter", "--verify")
    done = run("embed", bench.archive, "-o", marked, *options)
    assert done.returncode == 3
    assert done.stdout.decode().split()[:4] == ["pictures", "13", "marked", "12"]
    manifest = rows((marked / "manifest.jsonl").read_bytes())
    assert len(names(manifest)) == 13
    good = [row for row in manifest if row["state"] == "marked"]
    written = {str(path.relative_to(marked)) for path in marked.rglob("*") if path.is_file()}
    assert written == {row["output"] for row in good} | {"manifest.jsonl"}
    assert {"0.jpg", "sub/marked.jpg", "sub/deeper/noending", "shard/k3.jpg"} <= written
    assert sorted(int(row["message"], 16) for row in good) == sorted(
        set(range(13)) - {6}
    )  # 6 is the broken one
    for row in good:
        assert row["psnr_db"] > 38
        assert row["margin"] > 0
        assert row["verified_log10_p"] < -9
    # read by somebody else's scan
    assert run("scan", marked, "--key", bench.other_key, "-o", tmp_path / "rows.jsonl").returncode == 0
    read = {
        Path(row["source"]).relative_to(marked): row["message"]
        for row in rows((tmp_path / "rows.jsonl").read_bytes())
    }
    assert read == {Path(row["output"]): row["message"] for row in good}
    # again: nothing to do but what failed, and nothing is changed
    before = {path: path.stat().st_mtime_ns for path in marked.rglob("*.jpg")}
    again = run("embed", bench.archive, "-o", marked, *options, "--json")
    assert (again.returncode, rows(again.stdout)[0]["resumed"]) == (3, 12)
    assert {path: path.stat().st_mtime_ns for path in marked.rglob("*.jpg")} == before


def test_a_tar_keeps_its_captions_and_its_order(bench, tmp_path):
    marked = tmp_path / "marked.tar"
    shard = bench.archive / "shard.tar"
    done = run(
        "embed", shard, "-o", marked, "--key", bench.other_key, "--message", "0xbeef", "--format", "png"
    )
    assert (done.returncode, done.stderr) == (0, b"")
    inside = members_of(marked)
    wanted = [name for i in range(4) for name in (f"k{i}.png", f"k{i}.txt")]
    assert [name for name, _ in inside] == wanted
    assert {data for name, data in inside if name.endswith(".txt")} == {b"caption"}
    manifest = rows((tmp_path / "marked.manifest.jsonl").read_bytes())
    assert [(row["member"], row["output"], row["message"]) for row in manifest] == [
        (f"k{i}.jpg", f"k{i}.png", "000000000000beef") for i in range(4)
    ]
    done = run("scan", marked, "--key", bench.other_key, "-o", "-", "--quiet")
    assert {row["message"] for row in rows(done.stdout)} == {"000000000000beef"}
    # a finished tar is left alone
    before = marked.read_bytes()
    arguments = (
        "embed",
        shard,
        "-o",
        marked,
        "--key",
        bench.other_key,
        "--message",
        "0xbeef",
        "--format",
        "png",
    )
    done = run(*arguments, "--json")
    assert (done.returncode, rows(done.stdout)[0]["resumed"]) == (0, 4)
    assert marked.read_bytes() == before


@pytest.mark.parametrize("output", ["marked", "marked.tar"])
def test_embedding_goes_on_after_kill_9(bench, tmp_path, output):
    arguments = (
        "embed",
        bench.many,
        "-o",
        output,
        "--key",
        bench.key,
        "--messages",
        "random",
        "--workers",
        "2",
    )
    process = started(*arguments, cwd=tmp_path)
    wait_for_commits(process, tmp_path / f"{output}.journal", 3)
    process.kill()
    process.communicate()
    assert process.returncode == -9
    assert not (tmp_path / "marked.tar").exists()
    done = run(*arguments, "--json", cwd=tmp_path)
    (summary,) = rows(done.stdout)
    assert done.returncode == 0, done.stderr
    assert summary["counts"] == {"marked": MANY}
    assert 0 < summary["resumed"] < MANY
    if output == "marked":
        written = {str(path.relative_to(tmp_path / output)) for path in (tmp_path / output).rglob("*.jpg")}
        manifest = rows((tmp_path / "marked" / "manifest.jsonl").read_bytes())
        assert not list((tmp_path / output).rglob("*.tmp"))
    else:
        with tarfile.open(tmp_path / output) as tar:
            inside = tar.getnames()
        written = set(inside)
        assert inside == sorted(inside)  # in the order of the source, once each
        manifest = rows((tmp_path / "marked.manifest.jsonl").read_bytes())
    assert (
        written
        == {row["output"] for row in manifest}
        == {str(path.relative_to(bench.many)) for path in bench.many.rglob("*.jpg")}
    )
    assert len({row["message"] for row in manifest}) == MANY
    # what the manifest says of a picture is what it says itself
    read = run("scan", tmp_path / output, "--key", bench.key, "-o", "-", "--quiet", cwd=tmp_path)
    found = {
        row["member"] or os.path.relpath(row["source"], tmp_path / output): row["message"]
        for row in rows(read.stdout)
    }
    said = {row["output"]: row["message"] for row in manifest}
    wrong = {name for name, message in found.items() if message not in (said[name], None)}
    assert not wrong
    assert len(found) == MANY


def test_messages_from_a_file_and_from_a_manifest(bench, tmp_path):
    sources = [bench.archive / "sub", bench.archive / "5.jpg"]
    (tmp_path / "messages.txt").write_text("000000000000000a\n0xb\n0xc\n")
    key = ("--key", bench.other_key)
    done = run("embed", *sources, "-o", "one", *key, "--messages", "messages.txt", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")
    manifest = rows((tmp_path / "one" / "manifest.jsonl").read_bytes())
    said = {row["output"]: int(row["message"], 16) for row in manifest}
    assert said == {"sub/deeper/noending": 0xA, "sub/marked.jpg": 0xB, "5.jpg": 0xC}
    options = ("--messages", "one/manifest.jsonl", "--manifest", "two.csv")
    assert run("embed", *sources, "-o", "two", *key, *options, cwd=tmp_path).returncode == 0
    assert {row["output"]: int(row["message"], 16) for row in read_csv(tmp_path / "two.csv")} == said

    (tmp_path / "messages.txt").write_text("0xa\n")
    done = run("embed", *sources, "-o", "three", *key, "--messages", "messages.txt", cwd=tmp_path)
    assert done.returncode == 3
    errors = [row["error"] for row in rows((tmp_path / "three" / "manifest.jsonl").read_bytes())]
    assert sum("it ends before picture" in (error or "") for error in errors) == 2


def test_pictures_that_want_the_same_place_are_told(bench, tmp_path):
    write(tmp_path / "in" / "a.png", encode(photograph("astronaut", 256), "PNG"))
    write(tmp_path / "in" / "a.jpg", bench.marked)
    options = ("--key", bench.other_key, "--message", "0x1", "--format", "jpeg")
    assert run("embed", tmp_path / "in", "-o", tmp_path / "out", *options).returncode == 3
    manifest = rows((tmp_path / "out" / "manifest.jsonl").read_bytes())
    assert [(row["output"], row["state"]) for row in manifest] == [("a.jpg", "marked"), (None, "error")]
    assert "a.jpg, is another picture's" in manifest[1]["error"]


def test_marking_into_the_source_folder_does_not_mark_what_is_marked(bench, tmp_path):
    write(tmp_path / "a.jpg", jpeg(seed=1))
    options = ("--key", bench.key, "--message", "0x1")
    for _ in range(2):
        assert run("embed", ".", "-o", "marked", *options, cwd=tmp_path).returncode == 0
    assert [path.name for path in (tmp_path / "marked").rglob("*.jpg")] == ["a.jpg"]


def test_embeddings_refused(bench, tmp_path):
    write(tmp_path / "full" / "a.jpg", b"somebody's own")
    (tmp_path / "bad.txt").write_text("0x1\nxyz\n")
    start = ("embed", bench.archive, "--key", bench.key)
    for arguments, says in (
        (("-o", "full", "--messages", "random"), "full holds files already"),
        (("-o", "out", "--messages", "rndom"), "or random, or counter"),
        (("-o", "out", "--messages", "bad.txt"), "message 2"),
        (("-o", "out", "--message", "1"), "write 0x1"),
        (("-o", "out.tar.gz", "--messages", "random"), "plain .tar"),
        (("-o", "out", "--messages", "random", "--message", "0x1"), "not allowed with"),
        (("-o", "out", "--messages", "random", "--manifest", "m.txt"), "one of .jsonl"),
        (("-o", "-", "--messages", "random", "--format", "png"), "not to stdout"),
        (
            (
                "-o",
                "out",
            ),
            "--message",
        ),
    ):
        assert_refused(run(*start, *arguments, cwd=tmp_path), says)
    assert (tmp_path / "full" / "a.jpg").read_bytes() == b"somebody's own"
    assert not list(tmp_path.rglob("*.jsonl"))
    single = (
        "embed",
        bench.archive / "0.jpg",
        "-o",
        "x.png",
        "--key",
        bench.key,
        "--message",
        "0x1",
        "--verify",
    )
    assert_refused(run(*single, cwd=tmp_path), "--verify goes with many pictures")


# ---- from Python -----------------------------------------------------------------------------------


def test_the_functions_with_remote_files(bench, tmp_path, monkeypatch, key):
    """Read and written by this process: what lies in memory no other can see."""
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    memory.pipe({f"/in/{i}.jpg": jpeg(seed=i) for i in range(3)} | {"/in/sub/m.jpg": bench.marked})
    memory.pipe("/in/s.tar", (bench.archive / "shard.tar").read_bytes())
    monkeypatch.chdir(tmp_path)
    ours = Key.load(bench.key)
    summary = bulk.scan("memory://in", "memory://out/rows.jsonl", ours, workers=1)
    assert summary.counts == {"absent": 6, "detected": 2}
    assert len(names(rows(memory.cat("/out/rows.jsonl")))) == 8
    again = bulk.scan("memory://in", "memory://out/rows.jsonl", ours, workers=1)
    assert again.resumed == 8
    summary = bulk.embed("memory://in", "memory://marked", key, b"\0" * 7 + b"\x07", workers=1, verify=True)
    assert summary.counts == {"marked": 8}
    assert len(rows(memory.cat("/marked/manifest.jsonl"))) == 8
    assert Watermarker(key).detect(memory.cat("/marked/sub/m.jpg")).message == 7
    memory.store.clear()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["marked.journal", "rows.jsonl.journal"]


def test_file_urls_are_read(bench, tmp_path):
    pytest.importorskip("fsspec")
    url = (bench.archive / "sub").as_uri()
    summary = bulk.scan([url], tmp_path / "rows.csv", [Key.load(bench.key)], workers=1)
    assert summary.counts == {"detected": 1}  # the other has no ending, and is not opened
    assert read_csv(tmp_path / "rows.csv")[0]["source"] == f"{url}/marked.jpg"


def test_numbers_that_mean_nothing(bench, tmp_path, key):
    for options in ({"workers": -1}, {"max_pixels": 0}, {"message_bits": 63}):
        with pytest.raises(ValueError, match=next(iter(options))):
            bulk.scan(bench.archive, tmp_path / "r.csv", key, **options)
    with pytest.raises(ValueError, match="strength"):
        bulk.embed(bench.archive, tmp_path / "out", key, strength=9)
    assert json.loads(json.dumps(bulk.Summary().to_dict()))["pictures"] == 0
    assert not list(tmp_path.iterdir())
