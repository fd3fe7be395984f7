"""Scanning on a real Ray of two CPUs: the rows of the local engine, whoever is killed on the way."""

import contextlib
import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest
from archives import QuickJob, encode, jpeg, tar_of, write
from commands import rows, run
from pictures import drawn, photograph

from fastmark import Watermarker, bulk, public
from fastmark.bulk import journal as journals
from fastmark.bulk.recorder import Recorder
from fastmark.bulk.runner import Stop
from fastmark.bulk.sources import entries, named
from fastmark.bulk.tables import SCAN_COLUMNS
from fastmark.bulk.walk import Walk
from fastmark.errors import FastmarkError, MissingPackageError, SourceError

ray = pytest.importorskip("ray")
pytest.importorskip("ray.data")

from fastmark.bulk import ray as engine  # noqa: E402  # after it is known that there is a Ray

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")

TESTS = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def cluster():
    """A Ray on this machine, whose processes find the modules beside this one."""
    environment = {"PYTHONPATH": os.pathsep.join(map(str, (TESTS / "support", TESTS, TESTS.parent)))}
    with contextlib.suppress(RuntimeError):
        ray.init(
            num_cpus=2,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="error",
            runtime_env={"env_vars": environment},
        )
    yield ray
    ray.shutdown()


@pytest.fixture(scope="module")
def archive(tmp_path_factory, key):
    """Files, tars and a Parquet file, names of any bytes; a few images marked or damaged."""
    folder = tmp_path_factory.mktemp("ray") / "archive"
    marked = encode(Watermarker(key).embed(photograph("astronaut", 384), 7), "JPEG", quality=92)
    for i in range(40):
        write(folder / f"{i % 3}" / f"{i:02d}.jpg", jpeg(200, 260, seed=i % 8))
    write(folder / "marked.jpg", marked)
    write(folder / "broken.jpg", b"<html>")
    tar_of(
        folder / "s.tar",
        [("a.jpg", marked), ("a.txt", b"caption"), *((f"{i}.jpg", jpeg(seed=i)) for i in range(10))],
    )
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.table({"jpg": [marked, None, jpeg(), jpeg(seed=2)]}), folder / "p.parquet")
    inner = tar_of(folder / "inner", [("b.jpg", jpeg(seed=5)), ("z.zip", b"PK\x03\x04")]).read_bytes()
    (folder / "inner").unlink()
    odd = os.fsdecode(b"caf\xe9")
    tar_of(folder / f"{odd}.tar", [("inner.tar", inner), (f"{odd}.jpg", jpeg(seed=6)), ("a.7z", b"7z")])
    write(folder / f"{odd}.jpg", jpeg(seed=7))
    write(folder / "._marked.jpg", b"\x00\x05\x16\x07")
    (folder / "cut.tar").write_bytes((folder / "s.tar").read_bytes()[:3000])
    return folder


def comparable(table):
    """Rows without the time they took."""
    return [{name: value for name, value in row.items() if name != "ms"} for row in table]


@pytest.fixture(scope="module")
def expected(archive, key, tmp_path_factory):
    """What the local engine says."""
    output = tmp_path_factory.mktemp("local") / "rows.jsonl"
    bulk.scan(archive, output, key, workers=2)
    table = comparable(rows(output.read_bytes()))
    assert sum(row["state"] == "detected" for row in table) >= 3
    return table


def test_the_rows_are_those_of_the_local_engine(cluster, archive, key, expected, tmp_path):
    output = tmp_path / "rows.jsonl"
    summary = bulk.scan(archive, output, key, workers=2, engine="ray")
    assert comparable(rows(output.read_bytes())) == expected
    assert summary.complete
    assert summary.others == 2
    assert summary.unopened == [f"{archive}/caf\\xe9.tar/{name}" for name in ("inner.tar/z.zip", "a.7z")]
    assert ("caf\\xe9.tar", "inner.tar/b.jpg") in {
        (Path(row["source"]).name, row["member"]) for row in expected
    }
    assert set(summary.stages) == {"reading", "decoding", "searching"}
    # either engine goes on with what the other has done
    again = bulk.scan(archive, output, key, engine="local", workers=1)
    assert again.resumed == sum(row["state"] != "error" for row in expected)
    assert comparable(rows(output.read_bytes())) == expected
    once_more = bulk.scan(archive, output, key, engine="ray")
    assert once_more.resumed == again.resumed
    assert (once_more.unopened, once_more.unopened_count, once_more.others) == (summary.unopened, 2, 2)


def actors():
    """Processes of Ray that look at pictures."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                if b"ray::MapWorker(MapBatches(Actor))" in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
    return found


def test_an_actor_that_is_killed_loses_nothing(cluster, archive, key, expected, tmp_path, monkeypatch):
    killed = []

    def kill_one():
        deadline = time.monotonic() + 60
        while not killed and time.monotonic() < deadline:
            if some_came.wait(0.1):
                for pid in actors()[:1]:
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)

    some_came = threading.Event()
    take = Recorder.take

    def taking(self, batch, work):
        some_came.set()
        return take(self, batch, work)

    monkeypatch.setattr(Recorder, "take", taking)
    monkeypatch.setattr(engine, "ENTRIES_PER_TASK", 4)  # many tasks, so that there is a middle
    killer = threading.Thread(target=kill_one)
    killer.start()
    output = tmp_path / "rows.jsonl"
    bulk.scan(archive, output, key, workers=2, engine="ray")
    killer.join()
    assert len(killed) == 1
    assert comparable(rows(output.read_bytes())) == expected


def recorded(tmp_path, files, job, stop=None):
    journal = journals.Journal(str(tmp_path / "j.journal"), {}, output="out")
    record = Recorder(journal, (), SCAN_COLUMNS)
    engine.run(entries(named(files), Walk()), job, None, 2, None, record, stop or Stop(quiet=True))
    table = list(journal.rows(of_this_run=True))
    journal.close()
    return table


def test_a_picture_that_kills_is_told(cluster, tmp_path):
    contents = [b"x"] * 20
    contents[3] = contents[17] = b"die"
    tar = tar_of(tmp_path / "s.tar", [(f"{i:02d}.jpg", data) for i, data in enumerate(contents)])
    table = recorded(tmp_path, tar, QuickJob())
    assert len(table) == 20
    died = [row["member"] for row in table if "died" in (row.get("error") or "")]
    assert died == ["03.jpg", "17.jpg"]


def test_a_run_can_be_stopped(cluster, tmp_path):
    for i in range(400):
        write(tmp_path / "in" / f"{i:03d}.jpg", b"x")
    stop = Stop(quiet=True)
    stop.asked.set()
    assert len(recorded(tmp_path, tmp_path / "in", QuickJob(), stop)) < 400


def test_a_dataset_of_pictures_becomes_a_dataset_of_rows(cluster, archive, key, expected, tmp_path):
    import pyarrow.parquet as pq

    # Ray itself cannot read the names that are no UTF-8
    paths = [str(path) for path in archive.rglob("[0-9a-z]*.jpg") if not path.name.startswith("caf")]
    pictures = ray.data.read_binary_files(paths, include_paths=True)
    engine.scan_dataset(pictures, key, actors=1).write_parquet(str(tmp_path / "rows"))
    table = pq.read_table(tmp_path / "rows")
    assert table.column_names == list(SCAN_COLUMNS)
    wanted = {row["source"]: row["state"] for row in expected if row["source"] in paths}
    assert len(wanted) == len(paths) == 42
    assert {row["source"]: row["state"] for row in table.to_pylist()} == wanted


def test_a_detector_key_finds_what_its_key_finds(cluster, archive, key, expected, tmp_path):
    output, check = tmp_path / "rows.jsonl", key.detector_key()
    bulk.scan(archive, output, [check], workers=1, engine="ray")
    found = rows(output.read_bytes())
    names = ("source", "member", "state", "message", "key_id", "error")
    assert [[row[name] for name in names] for row in found] == [
        [row[name] for name in names] for row in expected
    ]
    pictures = ray.data.read_binary_files(str(archive / "marked.jpg"), include_paths=True)
    (row,) = engine.scan_dataset(pictures, check, actors=1).take_all()
    assert (row["state"], row["key_id"]) == ("detected", key.id)


def test_the_public_watermark_is_found_without_a_key_and_beside_one(cluster, key, tmp_path):
    image = public.embed(drawn(320, 384, 1), "do-not-train")
    path = write(tmp_path / "in" / "a.jpg", encode(image, "JPEG", quality=92))
    for keys, state in (((), "detected"), (key, "absent")):
        pictures = ray.data.read_binary_files(str(path), include_paths=True)
        (row,) = engine.scan_dataset(pictures, keys, public=True, actors=1).take_all()
        assert (row["state"], row["public_says"]) == (state, "do-not-train")
    summary = bulk.scan(path, tmp_path / "rows.jsonl", public=True, workers=1, engine="ray")
    (row,) = rows((tmp_path / "rows.jsonl").read_bytes())
    assert (row["public_says"], summary.public_says) == ("do-not-train", {"do-not-train": 1})


def test_a_tar_on_stdin_is_refused(cluster, archive, monkeypatch, tmp_path):
    from fastmark.bulk import sources

    with (archive / "s.tar").open("rb") as tar:
        monkeypatch.setattr(sources.sys, "stdin", type("Stdin", (), {"buffer": tar}))
        with pytest.raises(SourceError, match="give its path"):
            recorded(tmp_path, "-", QuickJob())


def test_the_command_line_starts_a_ray_of_its_own(archive, key, expected, tmp_path):
    key.save(tmp_path / "my.key")
    output = tmp_path / "rows.parquet"
    options = ("--engine", "ray", "--workers", "2", "--json", "--key", tmp_path / "my.key")
    done = run("scan", archive, "-o", output, *options)
    assert done.returncode == 3, done.stderr
    import pyarrow.parquet as pq

    assert comparable(pq.read_table(output).to_pylist()) == expected
    assert json.loads(done.stdout)["pictures"] == len(expected)


def test_a_cluster_that_is_not_there_is_told(archive, key, tmp_path):
    key.save(tmp_path / "my.key")
    options = ("--engine", "ray", "--address", "127.0.0.1:1", "--key", tmp_path / "my.key")
    done = run(
        "scan",
        archive,
        "-o",
        tmp_path / "rows.csv",
        *options,
    )
    assert done.returncode == 2
    assert "no Ray at 127.0.0.1:1" in done.stderr.decode()


def test_without_ray_it_says_what_to_install(archive, key, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(MissingPackageError, match=r"fastmark-watermark\[ray\]") as caught:
        bulk.scan(archive, tmp_path / "rows.csv", key, engine="ray")
    assert isinstance(caught.value, FastmarkError)
