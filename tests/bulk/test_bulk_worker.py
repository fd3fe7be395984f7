"""Workers: the row of one picture, marked, unmarked, damaged or hostile."""

import io
from dataclasses import replace

import numpy as np
import pytest
from archives import QuickJob, encode, jpeg, write
from pictures import drawn, photograph
from PIL import Image

from fastmark.bulk.records import Item, Work
from fastmark.bulk.tables import MANIFEST_COLUMNS, SCAN_COLUMNS
from fastmark.bulk.worker import EmbedJob, ScanJob
from fastmark.detector import detect
from fastmark.errors import OutputError
from fastmark.images.reading import most_bytes

MESSAGE = "0123456789abcdef"
ENCODING = {"quality": 95, "subsampling": "4:4:4", "lossless": False}


@pytest.fixture(scope="module")
def scanner(key, other_key):
    return ScanJob((other_key, key), 64, deep=False, max_pixels=1_000_000).worker()


def marker_of(key, **options):
    fields = {"message_bits": 64, "strength": 1.0, "max_pixels": 1_000_000, "format": None}
    fields |= {"encoding": ENCODING, "verify": True, "folder": None}
    return EmbedJob(key, **(fields | options)).worker()


def one(worker, **fields):
    (result,) = worker([Item("s", 3, "m", "stamp", "n", **fields)]).results
    assert (result.source, result.position, result.stamp) == ("s", 3, "stamp")
    return result


# ---- scanning --------------------------------------------------------------------------------------


def test_a_marked_picture(scanner, key, marked):
    data = encode(marked[1], "JPEG", quality=90)
    result = one(scanner, data=data)
    row = result.row
    assert set(row) <= set(SCAN_COLUMNS)
    assert (row["source"], row["member"], row["state"], result.state) == ("s", "m", "detected", "detected")
    assert (row["width"], row["height"]) == (512, 512)
    assert (row["message"], row["key_id"], row["mirrored"]) == (MESSAGE, key.id, False)
    assert row["scale"] == pytest.approx(1, abs=0.01)
    assert row["ms"] > 0
    # the same as of detect, with both keys paid for
    assert row["log10_p"] == detect(data, scanner.job.keys)[0].log10_p


def test_an_unmarked_picture(scanner):
    row = one(scanner, data=encode(photograph("coffee"), "PNG")).row
    assert (row["state"], row["width"], row["height"]) == ("absent", 600, 400)
    assert row["log10_p"] > -4
    assert row["message"] is row["scale"] is row["rotation_deg"] is None


def test_a_picture_turned_by_its_exif_is_told_upright(scanner):
    exif = Image.Exif()
    exif[274] = 6
    row = one(scanner, data=jpeg(160, 200, exif=exif)).row
    assert (row["width"], row["height"]) == (160, 200)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "is empty"),
        (b"<html>404</html>", "not an image"),
        (jpeg()[:400], "cut short or damaged"),
        (encode(drawn(1100, 1000), "PNG"), "claims 1000 x 1100 pixels, more than the limit of 1000000"),
    ],
)
def test_what_cannot_be_read_is_a_row(scanner, data, says):
    result = one(scanner, data=data)
    assert result.state == result.row["state"] == "error"
    assert says in result.row["error"]
    assert result.row["source"] == "s"


def test_files_are_read_by_the_worker(scanner, tmp_path):
    path = write(tmp_path / "a.jpg", jpeg())
    assert one(scanner, path=str(path), size=path.stat().st_size).state == "absent"
    assert "no such file" in one(scanner, path=str(tmp_path / "gone.jpg")).row["error"]
    assert "cannot be read: Is a directory" in one(scanner, path=str(tmp_path)).row["error"]
    large = one(scanner, path=str(path), size=most_bytes(1_000_000) + 1)
    assert "are more than" in large.row["error"]


def test_an_error_from_reading_is_passed_on(scanner):
    assert one(scanner, error="the tar ended").row["error"] == "the tar ended"


def test_no_picture_ends_the_run_but_a_disk_that_is_full_does():
    worker = QuickJob().worker()
    work = worker([Item("a", data=text) for text in (b"bug", b"memory", b"fine")])
    errors = [result.row.get("error") for result in work.results]
    assert errors[0].startswith("internal error, please report it: ZeroDivisionError")
    assert "not enough memory" in errors[1]
    assert errors[2] is None
    assert set(work.seconds) == {"reading", "working"}
    with pytest.raises(OutputError, match="No space left"):
        worker([Item("a", data=b"disk full")])


# ---- embedding -------------------------------------------------------------------------------------


def pixels(data):
    return np.asarray(Image.open(io.BytesIO(data))).astype(int)


@pytest.mark.parametrize(("format_name", "wanted"), [(None, "PNG"), ("jpeg", "JPEG"), ("webp", "WEBP")])
def test_a_marked_picture_is_read_back(key, marker, format_name, wanted):
    picture = photograph("astronaut", 384)
    worker = marker_of(key, format=format_name)
    result = one(worker, data=encode(picture, "PNG"), message=MESSAGE)
    assert result.state == "marked", result.row
    assert set(result.row) <= set(MANIFEST_COLUMNS)
    assert (result.row["message"], result.row["output"], result.row["key_id"]) == (MESSAGE, "n", key.id)
    assert result.row["psnr_db"] > 38
    assert result.row["margin_message"] > 1
    assert result.row["verified_log10_p"] < -9
    assert Image.open(io.BytesIO(result.data)).format == wanted
    assert marker.detect(result.data).message_bytes.hex() == MESSAGE


def test_without_verifying_nothing_is_read_back(key):
    result = one(
        marker_of(key, verify=False), data=encode(photograph("astronaut", 256), "PNG"), message=MESSAGE
    )
    assert result.state == "marked"
    assert result.row["verified_log10_p"] is None


def test_a_mark_that_encoding_destroys_is_not_written(key):
    worker = marker_of(key, format="jpeg", encoding=ENCODING | {"quality": 1, "subsampling": "4:2:0"})
    result = one(worker, data=encode(photograph("astronaut", 256), "PNG"), message=MESSAGE)
    assert (result.state, result.data) == ("error", None)
    assert "not read back from the image encoded as jpeg" in result.row["error"]


def test_what_cannot_be_marked_is_a_row(key):
    for data, says in (
        (jpeg(100, 300), "needs 128 pixels a side"),
        (encode(drawn(200, 200), "GIF"), "choose one with --format"),
        (b"nothing", "not an image"),
    ):
        result = one(marker_of(key), data=data, message=MESSAGE)
        assert (result.state, result.data) == ("error", None)
        assert says in result.row["error"]


def test_pictures_are_written_by_the_worker(key, tmp_path):
    worker = marker_of(key, folder=str(tmp_path / "out"), verify=False)
    picture = Item(
        "s", name="deep/er/a.png", data=encode(photograph("astronaut", 256), "PNG"), message=MESSAGE
    )
    (result,) = worker([picture]).results
    assert (result.state, result.data) == ("marked", None)
    with Image.open(tmp_path / "out" / "deep" / "er" / "a.png") as written:
        assert written.size == (256, 256)
    write(tmp_path / "out" / "file", b"")
    (result,) = worker([replace(picture, name="file/a.png")]).results
    assert result.state == "error"
    assert "cannot be written" in result.row["error"]


def test_companions_are_passed_on(key):
    result = one(marker_of(key), data=b"a caption", companion=True)
    assert (result.state, result.row, result.data, result.name) == ("companion", None, b"a caption", "n")


def test_nothing_to_do():
    assert QuickJob().worker()([]) == Work()


# ---- embedding over an earlier watermark --------------------------------------------------------------


@pytest.mark.parametrize("format_name", [None, "png"])
def test_a_kept_picture_stays_as_it_is(key, marked, format_name):
    data = encode(marked[1], "JPEG", quality=90)
    result = one(marker_of(key, on_marked="keep", format=format_name), data=data, message="00" * 8)
    assert (result.state, result.row["action"]) == ("kept", "kept")
    assert result.row["message"] == result.row["earlier_message"] == MESSAGE
    assert "left as it is" in result.row["warnings"]
    assert set(result.row) <= set(MANIFEST_COLUMNS)
    assert (result.data == data) == (format_name is None)
    assert np.array_equal(pixels(result.data), pixels(data))
    again = one(marker_of(key, on_marked="keep"), data=encode(marked[0], "PNG"), message=MESSAGE)
    assert (again.state, again.row["action"], again.row["earlier_message"]) == ("marked", "marked", None)


def test_a_refused_picture_is_a_row_with_the_reason(key, marked):
    result = one(marker_of(key, on_marked="refuse"), data=encode(marked[1], "PNG"), message="00" * 8)
    assert (result.state, result.data) == ("error", None)
    assert f"carries a watermark of this key already (message {MESSAGE})" in result.row["error"]


def test_a_replaced_message_is_read_back_from_the_encoded_bytes(key, marker, marked):
    data = encode(marked[1], "PNG")
    result = one(marker_of(key, verify=False, format="jpeg"), data=data, message="12" * 8)
    assert (result.state, result.row["action"], result.row["earlier_message"]) == (
        "marked",
        "replaced",
        MESSAGE,
    )
    assert result.row["verified_log10_p"] < -9
    assert marker.detect(result.data).message_hex == "12" * 8
    worst = ENCODING | {"quality": 1, "subsampling": "4:2:0"}
    result = one(marker_of(key, verify=False, format="jpeg", encoding=worst), data=data, message="12" * 8)
    assert (result.state, result.data) == ("error", None)
    assert "not read beside it" in result.row["error"]
