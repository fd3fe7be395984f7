"""Sidecars of what img2dataset downloaded, in each of its formats, laid out as its version 1.47 does."""

import json
import shutil
import subprocess
import sys

import pytest
from collected import KEY, MESSAGE, TOLD, collection, holds_secret

from fastmark.errors import KeyFormatError, OutputError, SourceError, SourceNotFoundError
from fastmark.integrations import img2dataset

pytest.importorskip("pyarrow")
import pyarrow.parquet as pq  # after it is known that it is there
from downloaded import IN_ORDER, KEYS, SHARDS, write_shard

SIDECAR = ["key", "fm_state", "fm_log10_p", "fm_key", "fm_message", "fm_public", "fm_public_code", "fm_error"]


@pytest.fixture(params=["webdataset", "files", "parquet"])
def kind(request):
    return request.param


@pytest.fixture
def out(tmp_path, kind):
    for shard in SHARDS:
        write_shard(tmp_path / "out", shard, kind)
    return tmp_path / "out"


def sidecar(out, shard):
    return pq.read_table(out / "fastmark" / f"{shard}.parquet").to_pylist()


def check(rows):
    """Sidecars of both shards, with KEY and the public watermark."""
    assert [row["key"] for row in rows] == [key for key, _ in IN_ORDER]
    for row, (_, name) in zip(rows, IN_ORDER, strict=True):
        state, code = TOLD[name]
        assert list(row) == SIDECAR
        assert (row["fm_state"], row["fm_public_code"]) == (state, code and code.hex), name
        assert row["fm_public"] == (",".join(code.flags) if code else None)
        assert row["fm_message"] == (MESSAGE if state == "detected" else None)
        assert (row["fm_error"] is not None) == (state == "error")
        assert row["fm_key"] == (None if state == "error" else KEY.id)


def test_every_shard_has_its_sidecar_by_key(out):
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    summary = img2dataset.scan(out, KEY, workers=1)
    check(sidecar(out, "00000") + sidecar(out, "00001"))
    assert summary.counts == {"detected": 1, "absent": 5, "error": 1}
    assert (summary.public, summary.remarks) == (4, [])
    after = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert {path: after[path] for path in before} == before
    made = {path.relative_to(out).as_posix() for path in set(after) - set(before)}
    names = ("00000.parquet", "00001.parquet", "_scan.parquet", "_scan.parquet.journal")
    assert made == {f"fastmark/{name}" for name in names}
    assert not any(holds_secret(data) for data in after.values())
    # the folder is one table for those who read Parquet, and goes with the metadata by key
    whole = pq.read_table(out / "fastmark").to_pylist()
    check(sorted(whole, key=lambda row: row["key"]))


def test_again_looks_at_new_and_changed_shards_alone(out, kind):
    assert img2dataset.scan(out, KEY, workers=1).resumed == 0
    # what failed is tried again
    assert img2dataset.scan(out, KEY, workers=1).resumed == 6
    # the second shard is downloaded anew, and has another image by one of its keys; another one was begun
    write_shard(out, "00001", kind, ["plain"], {"plain": collection()["made"]})
    if kind == "files":
        for name in ("art", "broken", "shot"):
            (out / "00001" / f"{KEYS[name]}.jpg").unlink()
    shutil.copy(out / "00000.parquet", out / "00002.parquet")
    if kind == "webdataset":
        shutil.copy(out / "00000.tar", out / "00002.tar")
    elif kind == "files":
        shutil.copytree(out / "00000", out / "00002")
    summary = img2dataset.scan(out, KEY, workers=1)
    assert (summary.resumed, summary.errors) == (3, 0)
    assert summary.remarks == ["shards that img2dataset has not finished (no _stats.json), left out: 00002"]
    (row,) = sidecar(out, "00001")
    assert (row["key"], row["fm_public"]) == (KEYS["plain"], "ai-generated")
    assert len(sidecar(out, "00000")) == 3
    # a shard that is no more leaves no sidecar, whose keys may come to stand for others
    for name in ("00001.tar", "00001_stats.json", "00001.parquet"):
        (out / name).unlink(missing_ok=True)
    shutil.rmtree(out / "00001", ignore_errors=True)
    img2dataset.scan(out, KEY, workers=1)
    assert sorted(path.name for path in (out / "fastmark").glob("0*")) == ["00000.parquet"]


@pytest.mark.parametrize("kind", ["webdataset"], indirect=True)
def test_other_settings_are_refused_or_begin_anew(out):
    img2dataset.scan(out, KEY, workers=1)
    with pytest.raises(OutputError, match=r"different settings \(keys\)"):
        img2dataset.scan(out, workers=1)
    img2dataset.scan(out, KEY, public=False, workers=1, force=True)
    assert list(sidecar(out, "00000")[0]) == [name for name in SIDECAR if "public" not in name]


@pytest.mark.parametrize("kind", ["webdataset"], indirect=True)
def test_the_command(out, tmp_path):
    KEY.save(tmp_path / "my.key")
    command = [sys.executable, "-m", "fastmark.integrations.img2dataset", out, "--workers", "1"]

    def run(*more):
        return subprocess.run([*command, *more], capture_output=True, text=True, check=False)

    done = run("--key", tmp_path / "my.key", "--public")
    assert done.returncode == 3
    assert done.stderr == "fastmark: error: 1 of 7 images failed; see the column fm_error\n"
    assert "1 ai-generated, 1 captured, 1 do-not-train" in done.stdout
    check(sidecar(out, "00000") + sidecar(out, "00001"))
    refused = run()
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "different settings (keys)" in refused.stderr
    assert run("--no-public").stderr.startswith("fastmark: error: nothing to look for")
    done = run("--force", "--json")
    assert json.loads(done.stdout)["counts"] == {"detected": 4, "absent": 2, "error": 1}


@pytest.mark.parametrize("kind", ["webdataset"], indirect=True)
def test_a_run_that_was_stopped_writes_no_sidecar_and_is_gone_on_with(out, monkeypatch, capsys):
    whole = img2dataset.scan_many

    def stopped(sources, *rest, **options):
        summary = whole(sources[:1], *rest, **options)
        summary.complete = False
        return summary

    with monkeypatch.context() as patch:
        patch.setattr(img2dataset, "scan_many", stopped)
        assert img2dataset.main([str(out), "--workers", "1", "--quiet"]) == 130
    assert "run the same command again to resume" in capsys.readouterr().err
    assert list((out / "fastmark").glob("0*")) == []
    summary = img2dataset.scan(out, workers=1)
    assert (summary.resumed, summary.images) == (3, 7)
    assert len(sidecar(out, "00000") + sidecar(out, "00001")) == 7


@pytest.mark.parametrize("kind", ["webdataset"], indirect=True)
def test_a_shard_that_cannot_be_read_to_its_end_has_no_sidecar(out):
    img2dataset.scan(out, KEY, workers=1)
    tar = out / "00001.tar"
    tar.write_bytes(tar.read_bytes()[:60_000])
    summary = img2dataset.scan(out, KEY, workers=1)
    assert summary.errors
    assert summary.remarks == ["shards that cannot be read to their end, without a sidecar: 00001"]
    assert [path.name for path in (out / "fastmark").glob("0*")] == ["00000.parquet"]


def test_a_shard_of_which_nothing_was_downloaded_has_an_empty_sidecar(out, kind):
    write_shard(out, "00002", kind, ["gone"])
    summary = img2dataset.scan(out, KEY, workers=1)
    assert summary.counts == {"detected": 1, "absent": 5, "error": 1}
    assert pq.read_table(out / "fastmark" / "00002.parquet").column_names == SIDECAR
    assert sidecar(out, "00002") == []


@pytest.mark.parametrize("kind", ["webdataset"], indirect=True)
def test_without_statistics_all_shards_are_taken(out):
    for path in out.glob("*_stats.json"):
        path.unlink()
    assert img2dataset.scan(out, KEY, workers=1).remarks == []
    check(sidecar(out, "00000") + sidecar(out, "00001"))


@pytest.mark.parametrize("kind", ["webdataset"], indirect=True)
def test_outputs_that_are_none(out, tmp_path):
    with pytest.raises(SourceNotFoundError, match="no such folder"):
        img2dataset.scan(tmp_path / "nowhere")
    with pytest.raises(SourceError, match="has no shard"):
        img2dataset.scan(tmp_path)
    with pytest.raises(KeyFormatError, match="nothing to look for"):
        img2dataset.scan(out, public=False)
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / "00000.tfrecord").write_bytes(b"")
    with pytest.raises(SourceError, match="tfrecord, which is not read"):
        img2dataset.scan(tmp_path / "records")
    for name in ("00000", "00001"):
        (out / f"{name}.tar").unlink()
    with pytest.raises(SourceError, match="no column of images"):
        img2dataset.scan(out)
    for name in ("00000", "00001"):
        (out / f"{name}_stats.json").rename(out / f"9{name}_stats.json")
    with pytest.raises(SourceError, match=r"no shard of .* is finished"):
        img2dataset.scan(out)


@pytest.mark.parametrize("kind", ["parquet"], indirect=True)
def test_tables_of_others_are_told(out):
    for path in out.glob("0*.parquet"):
        pq.write_table(pq.read_table(path).drop_columns("key"), path)
    with pytest.raises(SourceError, match=r"^[^ ]*00000.parquet is not of img2dataset: it has no key$"):
        img2dataset.scan(out, KEY, workers=1)
    (out / "00000.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(SourceError, match=r"00000.parquet cannot be read"):
        img2dataset.scan(out, KEY, workers=1)


@pytest.mark.parametrize("kind", ["webdataset"], indirect=True)
def test_an_output_at_a_url(out, tmp_path, monkeypatch):
    fsspec = pytest.importorskip("fsspec")
    monkeypatch.chdir(tmp_path)  # where its journal goes
    memory = fsspec.filesystem("memory")
    memory.put(f"{out}/", "/here/out/", recursive=True)
    img2dataset.scan("memory://here/out", KEY, workers=1)
    rows = []
    for shard in SHARDS:
        with memory.open(f"/here/out/fastmark/{shard}.parquet") as file:
            rows += pq.read_table(file).to_pylist()
    check(rows)
    assert (tmp_path / "_scan.parquet.journal").exists()
