"""The columns and filters of Hugging Face's datasets, called by the real library."""

import functools
import hashlib
import http.server
import math
import os
import pickle
import subprocess
import sys
import threading
import zipfile

import pytest
from collected import KEY, MARKED, MESSAGE, TOLD, TRAINABLE, UNMARKED, collection, holds_secret

datasets = pytest.importorskip("datasets")

from fastmark import KeyFormatError, KeyNotFoundError  # noqa: E402  # after it is known that it is there
from fastmark.codec.public import PUBLIC_KEY  # noqa: E402
from fastmark.errors import IntegrationError, InvalidImageError  # noqa: E402
from fastmark.integrations.datasets import Keep, Scan  # noqa: E402

COLUMNS = ["fm_state", "fm_log10_p", "fm_key", "fm_message", "fm_public", "fm_public_code", "fm_error"]
IMAGE = datasets.Image(decode=False)


@pytest.fixture(autouse=True)
def quiet(monkeypatch, tmp_path):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "hf"))
    datasets.disable_progress_bars()


@pytest.fixture
def names():
    return list(collection())


def dataset(names, values=None):
    values = values or [{"bytes": collection()[name], "path": None} for name in names]
    made = datasets.Dataset.from_dict({"name": names, "image": values})
    return made.cast_column("image", IMAGE)


@pytest.fixture
def ds(names):
    return dataset(names)


def check(rows):
    """Rows of a scan with KEY and the public watermark."""
    for row in rows:
        state, code = TOLD[row["name"]]
        assert row["fm_state"] == state, row["name"]
        assert row["fm_public_code"] == ("" if code is None else code.hex)
        assert row["fm_public"] == ("" if code is None else ",".join(code.flags))
        if state == "error":
            assert "cut short" in row["fm_error"]
            assert math.isnan(row["fm_log10_p"])
            assert row["fm_key"] == row["fm_message"] == ""
        else:
            assert (row["fm_error"], row["fm_key"]) == ("", KEY.id)
            assert row["fm_message"] == (MESSAGE if state == "detected" else "")
            assert (row["fm_log10_p"] <= -9) == (state == "detected")


# ---- scanning ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{"batched": True}, {}, {"batched": True, "batch_size": 2}])
def test_columns_are_added(ds, names, options):
    scanned = ds.map(Scan(KEY), **options)
    assert scanned.column_names == ["name", "image", *COLUMNS]
    assert scanned["name"][:] == names
    assert scanned.features["image"] == IMAGE
    check(scanned)
    kinds = {name: scanned.features[name].dtype for name in COLUMNS}
    assert kinds == dict.fromkeys(COLUMNS, "string") | {"fm_log10_p": "float64"}


def test_without_keys_rows_are_of_the_public_watermark(ds):
    rows = {row["name"]: row for row in ds.map(Scan(), batched=True)}
    assert {name: row["fm_state"] for name, row in rows.items()} == {
        name: "error" if state == "error" else "detected" if code else "absent"
        for name, (state, code) in TOLD.items()
    }
    assert rows["made"]["fm_message"] == rows["made"]["fm_public_code"]
    assert rows["made"]["fm_key"] == PUBLIC_KEY.id


def test_without_the_public_watermark_nothing_tells_of_it(ds):
    scanned = ds.map(Scan(KEY.detector_key(), public=False), batched=True)
    assert scanned.column_names == ["name", "image", *(name for name in COLUMNS if "public" not in name)]
    assert scanned["fm_state"][:] == [state for state, _ in TOLD.values()]


def test_several_processes_and_a_key_by_its_place(ds, key_file, monkeypatch):
    check(ds.map(Scan(key_file), batched=True, num_proc=2))
    monkeypatch.setenv("OUR_KEY", key_file.read_text())
    check(ds.map(Scan(["env:OUR_KEY", str(key_file)]), batched=True))


def test_first_rows_of_nothing_do_not_settle_the_type_of_a_column(names):
    # datasets cannot tell the type of a column whose first batch is None
    many = dataset(["plain"] * 3 + ["broken"] * 3 + names)
    check(many.map(Scan(KEY), batched=True, batch_size=2, writer_batch_size=2))


def test_streams(ds):
    stream = ds.to_iterable_dataset(num_shards=2)
    check(stream.map(Scan(KEY), batched=True, batch_size=3))
    check(stream.map(Scan(KEY)))
    kept = stream.map(Scan(KEY), batched=True).filter(Keep())
    assert sorted(row["name"] for row in kept) == sorted(TRAINABLE)
    assert sorted(row["name"] for row in stream.filter(Keep("marked", KEY), batched=True)) == sorted(MARKED)


# ---- what a column may hold --------------------------------------------------------------------------------


def test_paths_without_bytes(names, tmp_path):
    values = []
    for name in names:
        (tmp_path / f"{name}.img").write_bytes(collection()[name])
        values.append({"bytes": None, "path": str(tmp_path / f"{name}.img")})
    check(dataset(names, values).map(Scan(KEY), batched=True))
    plain = datasets.Dataset.from_dict({"name": names, "file": [value["path"] for value in values]})
    check(plain.map(Scan(KEY, column="file"), batched=True))


def test_bytes_alone(names):
    plain = datasets.Dataset.from_dict({"name": names, "image": [collection()[name] for name in names]})
    check(plain.map(Scan(KEY), batched=True))


def test_missing_images_are_errors(tmp_path):
    gone = str(tmp_path / "gone.jpg")
    values = [
        None,
        {"bytes": None, "path": None},
        {"bytes": None, "path": gone},
        {"bytes": b"", "path": gone},
    ]
    rows = dataset(list("abcd"), values).map(Scan(KEY), batched=True)
    assert set(rows["fm_state"]) == {"error"}
    assert rows["fm_error"][:2] == ["there is no image"] * 2
    assert "gone.jpg: no such file" in rows["fm_error"][2]
    assert "is empty" in rows["fm_error"][3]


def test_images_at_urls_and_in_archives(names, tmp_path):
    files = [name for name in names if name != "broken"]
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for name in files:
            archive.writestr(f"in/{name}.jpg", collection()[name])
            (tmp_path / f"{name}.jpg").write_bytes(collection()[name])
    handler = functools.partial(_Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        here = f"http://127.0.0.1:{server.server_port}"
        for place in (f"{here}/{{}}.jpg", f"zip://in/{{}}.jpg::{tmp_path}/all.zip"):
            values = [{"bytes": None, "path": place.format(name)} for name in [*files, "gone"]]
            *rows, gone = dataset([*files, "gone"], values).map(Scan(KEY), batched=True)
            check(rows)
            assert gone["fm_state"] == "error"
            assert gone["fm_error"].startswith(f"{place.format('gone')} cannot be read: ")
        server.shutdown()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


def test_decoded_images_are_taken_with_a_hint(names):
    fine = [name for name in names if name != "broken"]
    decoded = dataset(fine).cast_column("image", datasets.Image())
    with pytest.warns(UserWarning, match=r"Image\(decode=False\)"):
        check(decoded.map(Scan(KEY), batched=True))
    with pytest.warns(UserWarning, match=r"Image\(decode=False\)"):
        check(decoded.map(Scan(KEY)))


def test_a_dataset_without_such_a_column_is_told(ds):
    with pytest.raises(IntegrationError, match=r"no column 'jpg': it has 'name', 'image'; .*column="):
        ds.map(Scan(KEY, column="jpg"), batched=True)
    with pytest.raises(IntegrationError, match="no column 'jpg'"):
        ds.filter(Keep(column="jpg"))


@pytest.mark.parametrize("format_name", ["arrow", "numpy"])
def test_formats_that_hold_no_images_are_told(format_name, ds):
    fine = ds.select(range(3)).cast_column("image", datasets.Image()).with_format(format_name)
    if format_name == "arrow":
        with pytest.raises(IntegrationError, match="with_format"):
            fine.map(Scan(KEY), batched=True)
    else:
        with pytest.raises(IntegrationError, match="with_format"):
            fine.map(Scan(KEY))


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (MemoryError(), "not enough memory for this image"),
        (ZeroDivisionError("by\nzero"), "internal error, please report it: ZeroDivisionError: by zero"),
    ],
)
def test_whatever_happens_to_one_image_is_a_row(error, says, monkeypatch):
    from fastmark.detector import Detector

    def detect_opened(*args, **options):
        raise error

    monkeypatch.setattr(Detector, "detect_opened", detect_opened)
    (row,) = dataset(["plain"]).map(Scan(KEY), batched=True)
    assert (row["fm_state"], row["fm_error"]) == ("error", says)
    assert len(dataset(["plain"]).filter(Keep("unmarked", KEY))) == 0


def test_bombs_are_not_decoded(ds):
    rows = ds.map(Scan(KEY, max_pixels=1000), batched=True)
    assert all(row["fm_state"] == "error" for row in rows)
    assert "claims 320 x 288 pixels, more than the limit of 1000" in rows["fm_error"][0]


# ---- filters -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keep", "wanted"),
    [
        ({}, [*TRAINABLE]),
        ({"what": "unmarked"}, UNMARKED),
        ({"what": "marked"}, MARKED),
        ({"errors": "keep"}, [*TRAINABLE, "broken"]),
        ({"what": "marked", "errors": "keep"}, [*MARKED, "broken"]),
        ({"drop": ["ai-generated", "do-not-train"]}, ["art", *TRAINABLE]),
        ({"drop": "captured"}, ["made", "mine", "art", "plain"]),
        ({"public": False}, ["made", "mine", "art", "shot", "plain"]),
        ({"what": "marked", "public": False}, ["ours"]),
    ],
)
@pytest.mark.parametrize("batched", [True, False])
def test_filters_by_columns_and_by_pixels_agree(ds, keep, wanted, batched):
    scanned = ds.map(Scan(KEY), batched=True)
    by_columns = scanned.filter(Keep(**keep), batched=batched)
    by_pixels = ds.filter(Keep(keys=KEY, **keep), batched=batched)
    assert by_columns["name"][:] == by_pixels["name"][:] == wanted


def test_by_the_public_watermark_alone(ds):
    assert ds.filter(Keep(), num_proc=2)["name"][:] == ["ours", *TRAINABLE]
    assert ds.map(Scan(), batched=True).filter(Keep("unmarked"))["name"][:] == ["ours", "plain"]
    assert ds.map(Scan(), batched=True).filter(Keep("marked", public=False))["name"][:] == []


def test_an_image_that_cannot_be_read_may_end_the_run(ds):
    with pytest.raises(InvalidImageError, match=r"cannot be looked at: .*cut short"):
        ds.filter(Keep(errors="raise"))


def test_filters_do_not_mix_up_scans(ds):
    scanned = ds.select(range(2)).map(Scan(KEY, public=False), batched=True)
    with pytest.raises(IntegrationError, match=r"no column fm_public.*public=True"):
        scanned.filter(Keep())
    with pytest.raises(IntegrationError, match="leave keys out"):
        scanned.filter(Keep("trainable", KEY))
    with pytest.raises(IntegrationError, match="nothing to look for"):
        ds.filter(Keep(public=False))


def test_a_public_watermark_that_cannot_be_read_is_not_trained_on():
    row = {"fm_state": "absent", "fm_key": "", "fm_public": "not readable", "fm_error": ""}
    assert Keep()(row) is False
    assert Keep("unmarked")(row) is False
    assert Keep()(row | {"fm_public": "nothing known"}) is True
    assert Keep()(row | {"fm_public": "captured,resolver 7"}) is True
    assert Keep()(row | {"fm_public": "captured,do-not-train"}) is False
    assert Keep()({name: [value] * 2 for name, value in row.items()}) == [False, False]


# ---- caches and pickles ------------------------------------------------------------------------------------


HASH = """
import sys
from datasets.fingerprint import Hasher
from fastmark import Key
from fastmark.integrations.datasets import Keep, Scan
key = Key(bytes(range(32)), "integrations")
Scan(key)({"image": b""})  # a used one is the same
print(Hasher.hash(Scan(key)), Hasher.hash(Keep("marked", [key, key.detector_key()])), Hasher.hash(Keep()))
"""


def test_hashes_are_the_same_in_every_process(tmp_path):
    environment = dict(os.environ, HF_HOME=str(tmp_path))
    said = [
        subprocess.run(
            [sys.executable, "-c", HASH],
            env=environment | {"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            text=True,
        ).stdout.splitlines()[-1]
        for seed in ("1", "2")
    ]
    assert said[0] == said[1]
    assert len(set(said[0].split())) == 3


def test_whatever_changes_the_result_changes_the_hash(monkeypatch):
    from datasets.fingerprint import Hasher

    scans = [
        Scan(),
        Scan(KEY),
        Scan(KEY.detector_key()),
        Scan(KEY, public=False),
        Scan(KEY, column="jpg"),
        Scan(KEY, message_bits=96),
        Scan(KEY, deep=True),
        Scan(KEY, max_pixels=10),
        Keep(),
        Keep(drop=["captured"]),
        Keep(errors="keep"),
        Keep("marked"),
    ]
    hashes = [Hasher.hash(scan) for scan in scans]
    assert len(set(hashes)) == len(scans)
    monkeypatch.setattr("fastmark.integrations.datasets.VERSION", "another")
    assert not set(hashes) & {Hasher.hash(scan) for scan in scans}


def test_the_second_time_comes_from_the_cache_which_holds_no_secret(names, tmp_path):
    rows = dataset(names)
    rows.to_parquet(tmp_path / "all.parquet")
    load = functools.partial(
        datasets.Dataset.from_parquet, str(tmp_path / "all.parquet"), cache_dir=str(tmp_path / "cache")
    )
    one = load().cast_column("image", IMAGE).map(Scan(KEY), batched=True).filter(Keep())
    files = sorted(path for path in (tmp_path / "cache").rglob("*") if path.is_file())
    assert [path for path in files if path.name.startswith("cache-")]
    stamps = {path: path.stat().st_mtime_ns for path in files}
    two = load().cast_column("image", IMAGE).map(Scan(KEY), batched=True).filter(Keep())
    assert one["name"][:] == two["name"][:] == TRAINABLE
    assert {
        path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*") if path.is_file()
    } == stamps
    one.save_to_disk(str(tmp_path / "saved"))
    for path in tmp_path.rglob("*"):
        assert KEY.secret.hex() not in path.name
        if path.is_file():
            assert not holds_secret(path.read_bytes()), path


@pytest.mark.parametrize("made", [Scan(KEY), Keep("marked", KEY, errors="keep"), Keep(public=False)])
def test_pickles_do_the_same(made, ds):
    copy = pickle.loads(pickle.dumps(made))
    assert repr(copy) == repr(made)
    assert KEY.secret.hex() not in repr(made) and str(KEY.secret) not in repr(made)
    assert pickle.dumps(copy) == pickle.dumps(made)
    if isinstance(made, Scan):
        check([{**copy({"image": collection()["ours"]}), "name": "ours"}])


def test_what_is_refused(tmp_path):
    for wrong in (Scan, Keep):
        with pytest.raises(KeyNotFoundError):
            wrong(keys=str(tmp_path / "no.key"))
        with pytest.raises(TypeError, match="key"):
            wrong(keys=[KEY.secret])
        with pytest.raises(ValueError, match="max_pixels"):
            wrong(max_pixels=0)
        with pytest.raises(ValueError, match="message"):
            wrong(message_bits=63)
    with pytest.raises(KeyFormatError, match="public"):
        Scan(public=False)
    for options in ({"what": "mine"}, {"errors": "ignore"}, {"drop": ["do-not-eat"]}):
        with pytest.raises(ValueError, match=r"must be one of|takes ai-generated"):
            Keep(**options)
    with pytest.raises(ValueError, match="leave it out"):
        Keep("marked", drop=["ai-generated"])


def test_an_image_is_decoded_once(ds, monkeypatch):
    from fastmark.images import opening

    seen = []
    before = opening.open_file

    def open_file(image, *rest):
        seen.append(hashlib.sha256(image).hexdigest())
        return before(image, *rest)

    monkeypatch.setattr(opening, "open_file", open_file)
    ds.map(Scan(KEY), batched=True).filter(Keep()).filter(Keep("unmarked"))
    assert len(seen) == len(set(seen)) == len(TOLD)
