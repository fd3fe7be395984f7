"""Marking folders and tars by the command line and from Python, killed and run again."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import tarfile
from pathlib import Path

import pytest
from archive_commands import MANY, names, read_csv, started_and_stopped
from archives import encode, jpeg, members_of, write
from commands import assert_refused, rows, run
from pictures import photograph

from fastmark import Key, Watermarker, bulk
from fastmark.errors import FastmarkError, InvalidMessageError

# ---- embedding -------------------------------------------------------------------------------------


def test_a_folder_is_marked_and_read_back(archives, tmp_path):
    marked = tmp_path / "marked"
    options = ("--key", archives.other_key, "--messages", "counter", "--verify")
    done = run("embed", archives.archive, "-o", marked, *options)
    assert done.returncode == 3
    assert done.stdout.decode().split()[:4] == ["images", "13", "marked", "12"]
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
        assert row["margin_message"] > 0
        assert row["verified_log10_p"] < -9
    # read by somebody else's scan
    assert run("scan", marked, "--key", archives.other_key, "-o", tmp_path / "rows.jsonl").returncode == 0
    read = {
        Path(row["source"]).relative_to(marked): row["message"]
        for row in rows((tmp_path / "rows.jsonl").read_bytes())
    }
    assert read == {Path(row["output"]): row["message"] for row in good}
    # again: nothing to do but what failed, and nothing is changed
    before = {path: path.stat().st_mtime_ns for path in marked.rglob("*.jpg")}
    again = run("embed", archives.archive, "-o", marked, *options, "--json")
    assert (again.returncode, rows(again.stdout)[0]["resumed"]) == (3, 12)
    assert {path: path.stat().st_mtime_ns for path in marked.rglob("*.jpg")} == before
    # what somebody took away is made again
    (marked / "0.jpg").unlink()
    assert run("embed", archives.archive, "-o", marked, *options, "--quiet").returncode == 3
    assert (marked / "0.jpg").exists()
    assert {path: path.stat().st_mtime_ns for path in before if path.name != "0.jpg"} == {
        path: when for path, when in before.items() if path.name != "0.jpg"
    }


def test_a_tar_keeps_its_captions_and_its_order(archives, tmp_path):
    marked = tmp_path / "marked.tar"
    shard = archives.archive / "shard.tar"
    done = run(
        "embed", shard, "-o", marked, "--key", archives.other_key, "--message", "0xbeef", "--format", "png"
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
    done = run("scan", marked, "--key", archives.other_key, "-o", "-", "--quiet")
    assert {row["message"] for row in rows(done.stdout)} == {"000000000000beef"}
    # a finished tar is left alone
    before = marked.read_bytes()
    arguments = (
        "embed",
        shard,
        "-o",
        marked,
        "--key",
        archives.other_key,
        "--message",
        "0xbeef",
        "--format",
        "png",
    )
    done = run(*arguments, "--json")
    assert (done.returncode, rows(done.stdout)[0]["resumed"]) == (0, 4)
    assert marked.read_bytes() == before


@pytest.mark.parametrize("output", ["marked", "marked.tar"])
def test_embedding_goes_on_after_kill_9(archives, tmp_path, output):
    arguments = (
        "embed",
        archives.many,
        "-o",
        output,
        "--key",
        archives.key,
        "--messages",
        "random",
        "--workers",
        "2",
    )
    process = started_and_stopped(*arguments, cwd=tmp_path, number=signal.SIGKILL, everyone=False)
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
        == {str(path.relative_to(archives.many)) for path in archives.many.rglob("*.jpg")}
    )
    assert len({row["message"] for row in manifest}) == MANY
    # what the manifest says of a picture is what it says itself
    read = run("scan", tmp_path / output, "--key", archives.key, "-o", "-", "--quiet", cwd=tmp_path)
    found = {
        row["member"] or os.path.relpath(row["source"], tmp_path / output): row["message"]
        for row in rows(read.stdout)
    }
    said = {row["output"]: row["message"] for row in manifest}
    wrong = {name for name, message in found.items() if message not in (said[name], None)}
    assert not wrong
    assert len(found) == MANY


def test_messages_from_a_file_and_from_a_manifest(archives, tmp_path):
    sources = [archives.archive / "sub", archives.archive / "5.jpg"]
    (tmp_path / "messages.txt").write_text("000000000000000a\n0xb\n0xc\n")
    key = ("--key", archives.other_key)
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
    assert sum("it ends before image" in (error or "") for error in errors) == 2


def test_lines_that_no_longer_belong_to_their_pictures_are_told(archives, tmp_path):
    for name in ("b", "d"):
        write(tmp_path / "in" / f"{name}.jpg", jpeg(288, 352, seed=1))
    (tmp_path / "messages.txt").write_text("0x1\n0x2\n0x3\n")
    arguments = ("embed", "in", "-o", "out", "--key", archives.key, "--messages", "messages.txt", "--quiet")
    for name in ("d", "e"):  # at the end there is room for more
        write(tmp_path / "in" / f"{name}.jpg", jpeg(288, 352, seed=1))
        assert run(*arguments, cwd=tmp_path).returncode == 0
    write(tmp_path / "in" / "a.jpg", jpeg(288, 352, seed=1))
    assert_refused(run(*arguments, cwd=tmp_path), "b.jpg carries 0000000000000001", "source and message")


def test_lists_and_shards_need_no_more_than_their_names(archives, tmp_path):
    (tmp_path / "list.txt").write_text(f"{archives.archive}/1.jpg\n")
    options = ("--key", archives.other_key, "--message", "0x1", "--quiet")
    for source, output in ((tmp_path / "list.txt", "a"), (archives.archive / "shard.tar", "b")):
        done = run("embed", source, "-o", output, *options, cwd=tmp_path)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    below = str(archives.archive).lstrip("/")
    assert (tmp_path / "a" / below / "1.jpg").exists()
    assert sorted(path.name for path in (tmp_path / "b").glob("*.jpg")) == [f"k{i}.jpg" for i in range(4)]


def test_pictures_that_want_the_same_place_are_told(archives, tmp_path):
    write(tmp_path / "in" / "a.png", encode(photograph("astronaut", 256), "PNG"))
    write(tmp_path / "in" / "a.jpg", archives.marked)
    options = ("--key", archives.other_key, "--message", "0x1", "--format", "jpeg")
    assert run("embed", tmp_path / "in", "-o", tmp_path / "out", *options).returncode == 3
    manifest = rows((tmp_path / "out" / "manifest.jsonl").read_bytes())
    assert [(row["output"], row["state"]) for row in manifest] == [("a.jpg", "marked"), (None, "error")]
    assert "another image already has the output name a.jpg" in manifest[1]["error"]


def test_marking_into_the_source_folder_does_not_mark_what_is_marked(archives, tmp_path):
    write(tmp_path / "a.jpg", jpeg(seed=1))
    options = ("--key", archives.key, "--message", "0x1")
    for _ in range(2):
        assert run("embed", ".", "-o", "marked", *options, cwd=tmp_path).returncode == 0
    assert [path.name for path in (tmp_path / "marked").rglob("*.jpg")] == ["a.jpg"]


def test_embeddings_refused(archives, tmp_path):
    write(tmp_path / "full" / "a.jpg", b"somebody's own")
    (tmp_path / "bad.txt").write_text("0x1\nxyz\n")
    start = ("embed", archives.archive, "--key", archives.key)
    for arguments, says in (
        (("-o", "full", "--messages", "random"), "full is not empty"),
        (("-o", "out", "--messages", "rndom"), "or random, or counter"),
        (("-o", "out", "--messages", "bad.txt"), "message 2"),
        (("-o", "out", "--message", "1"), "write 0x1"),
        (("-o", "out.tar.gz", "--messages", "random"), "plain .tar"),
        (("-o", "out.png", "--messages", "random"), "out.png is named like one image"),
        (("-o", "out", "--messages", "random", "--format", "png", "--quality", "80"), "quality"),
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


# ---- from Python -----------------------------------------------------------------------------------


def test_the_functions_with_remote_files(archives, tmp_path, monkeypatch, other_key):
    """Read and written by this process: what lies in memory no other can see."""
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    memory.pipe({f"/in/{i}.jpg": jpeg(seed=i) for i in range(3)} | {"/in/sub/m.jpg": archives.marked})
    memory.pipe("/in/s.tar", (archives.archive / "shard.tar").read_bytes())
    monkeypatch.chdir(tmp_path)
    ours = Key.load(archives.key)
    summary = bulk.scan("memory://in", "memory://out/rows.jsonl", ours, workers=1)
    assert summary.counts == {"absent": 6, "detected": 2}
    assert len(names(rows(memory.cat("/out/rows.jsonl")))) == 8
    again = bulk.scan("memory://in", "memory://out/rows.jsonl", ours, workers=1)
    assert again.resumed == 8
    summary = bulk.embed(
        "memory://in", "memory://marked", other_key, b"\0" * 7 + b"\x07", workers=1, verify=True
    )
    assert summary.counts == {"marked": 8}
    assert len(rows(memory.cat("/marked/manifest.jsonl"))) == 8
    assert Watermarker(other_key).detect(memory.cat("/marked/sub/m.jpg")).message == 7
    memory.store.clear()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["marked.journal", "rows.jsonl.journal"]


def test_file_urls_are_read(archives, tmp_path):
    pytest.importorskip("fsspec")
    url = (archives.archive / "sub").as_uri()
    summary = bulk.scan([url], tmp_path / "rows.csv", [Key.load(archives.key)], workers=1)
    assert summary.counts == {"detected": 1}  # the other has no ending, and is not opened
    assert read_csv(tmp_path / "rows.csv")[0]["source"] == f"{url}/marked.jpg"


def test_numbers_that_mean_nothing(archives, tmp_path, key):
    for options in ({"workers": -1}, {"max_pixels": 0}, {"message_bits": 63}):
        with pytest.raises(ValueError, match=next(iter(options))):
            bulk.scan(archives.archive, tmp_path / "r.csv", key, **options)
    with pytest.raises(InvalidMessageError, match="message_bits must be one of"):
        bulk.embed(archives.archive, tmp_path / "out", key, message_bits=63)
    with pytest.raises(FastmarkError, match="nothing to look for: give a key"):
        bulk.scan(archives.archive, tmp_path / "r.csv", [])
    with pytest.raises(ValueError, match="strength"):
        bulk.embed(archives.archive, tmp_path / "out", key, strength=9)
    assert json.loads(json.dumps(bulk.Summary().to_dict()))["images"] == 0
    assert not list(tmp_path.iterdir())


def test_options_that_are_not_given_are_the_usual_ones(tmp_path, key):
    """In the journal too, so that a run started with them is resumed without."""
    source = write(tmp_path / "in" / "a.jpg", jpeg(288, 352, seed=1))
    usual = {"quality": 95, "subsampling": "4:4:4", "lossless": False}
    for options, resumed in (({}, 0), (usual, 1), ({"quality": None}, 1)):
        summary = bulk.embed(source.parent, tmp_path / "out", key, 7, workers=1, **options)
        assert (summary.counts, summary.resumed) == ({"marked": 1}, resumed)
    with sqlite3.connect(tmp_path / "out.journal") as db:
        (text,) = db.execute("SELECT value FROM meta WHERE name = 'settings'").fetchone()
    db.close()
    assert {name: json.loads(text)[name] for name in usual} == usual


def test_lists_alone_are_sources(tmp_path, monkeypatch, key):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "in" / "a.jpg", jpeg(288, 352, seed=1))
    write(tmp_path / "whatever.dat", b"in/a.jpg\r\n")
    assert bulk.embed([], "out", key, 7, lists="whatever.dat", workers=1).counts == {"marked": 1}
    assert (tmp_path / "out" / "in" / "a.jpg").exists()
