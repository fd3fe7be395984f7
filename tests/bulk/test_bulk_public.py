"""Scans for the public watermark, without any key and beside given ones."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace

import pytest
from archives import encode, jpeg, tar_of, write
from commands import assert_refused, rows, run
from pictures import drawn, photograph

from fastmark import Watermarker, bulk
from fastmark.bulk.progress import Summary
from fastmark.bulk.records import Item
from fastmark.bulk.worker import ScanJob, public_columns
from fastmark.detector import detect
from fastmark.errors import KeyFormatError, OutputError
from fastmark.public import PUBLIC_KEY, PublicCode, embed, marker

CODE = PublicCode.of("ai-generated,do-not-train")
GIVEN = "0123456789abcdef"


def saying(code, seed=0):
    return encode(embed(drawn(320, 384, seed), code), "JPEG", quality=92)


@pytest.fixture(scope="module")
def archive(tmp_path_factory, key):
    """Of the public watermark three images, of the key's one, of none two; one is damaged."""
    folder = tmp_path_factory.mktemp("public")
    write(folder / "made.jpg", saying(CODE))
    write(folder / "mine.jpg", saying("do-not-train", 1))
    ours = Watermarker(key).embed(drawn(320, 384, 2), GIVEN)
    write(folder / "ours.jpg", encode(ours, "JPEG", quality=92))
    write(folder / "plain.jpg", jpeg(320, 384, 3))
    write(folder / "broken.jpg", b"<html>404</html>")
    resolved = saying(PublicCode.of((), 65280, 7), 4)
    tar_of(folder / "shard.tar", [("a.jpg", resolved), ("b.jpg", jpeg(200, 240, 5))])
    return folder


def told(table):
    """By the image's name: state, key and what the public watermark says."""
    return {
        (row["member"] or row["source"].rpartition("/")[2]): (row["state"], row["public"], row["public_says"])
        for row in table
    }


WITHOUT_KEYS = {
    "made.jpg": ("detected", CODE.hex, "ai-generated,do-not-train"),
    "mine.jpg": ("detected", PublicCode.of("do-not-train").hex, "do-not-train"),
    "ours.jpg": ("absent", None, None),
    "plain.jpg": ("absent", None, None),
    "broken.jpg": ("error", None, None),
    "a.jpg": ("detected", PublicCode.of((), 65280, 7).hex, "resolver 65280"),
    "b.jpg": ("absent", None, None),
}
BESIDE_A_KEY = {
    name: ("detected" if name == "ours.jpg" else "error" if state == "error" else "absent", *public)
    for name, (state, *public) in WITHOUT_KEYS.items()
}


def test_without_a_key_rows_are_of_the_public_watermark(archive, tmp_path):
    output = tmp_path / "rows.jsonl"
    summary = bulk.scan(archive, output, public=True, workers=1)
    table = rows(output.read_bytes())
    assert told(table) == WITHOUT_KEYS
    assert {row["key_id"] for row in table if row["state"] != "error"} == {PUBLIC_KEY.id}
    assert all(row["message"] == row["public"] for row in table)
    assert summary.counts == {"detected": 3, "absent": 3, "error": 1}
    assert (summary.public, summary.public_says) == (
        3,
        {"do-not-train": 2, "ai-generated": 1, "resolver": 1},
    )
    again = bulk.scan(archive, output, (), public=True, workers=1)
    assert again.resumed == 6
    assert (again.public, again.public_says) == (summary.public, summary.public_says)
    assert rows(output.read_bytes()) == table


def test_beside_keys_the_row_is_of_the_most_certain_key_given(archive, key, other_key, tmp_path):
    output = tmp_path / "rows.parquet"
    pq = pytest.importorskip("pyarrow.parquet")
    bulk.scan(archive, output, [other_key, key.detector_key()], public=True, workers=1)
    table = pq.read_table(output).to_pylist()
    assert told(table) == BESIDE_A_KEY
    by_name = {row["source"].rpartition("/")[2]: row for row in table}
    assert (by_name["ours.jpg"]["key_id"], by_name["ours.jpg"]["message"]) == (key.id, GIVEN)
    assert by_name["made.jpg"]["key_id"] in (key.id, other_key.id)
    assert by_name["made.jpg"]["message"] is None
    # three keys were looked for, and paid for
    data = (archive / "plain.jpg").read_bytes()
    found = detect(data, [other_key, key.detector_key(), marker()])
    given = [one for one in found if one.key_id != PUBLIC_KEY.id]
    assert by_name["plain.jpg"]["log10_p"] == given[0].log10_p


def test_hits_only_keeps_images_with_either(archive, key, tmp_path):
    output = tmp_path / "rows.csv"
    summary = bulk.scan(archive, output, key, public=True, hits_only=True, workers=1)
    text = output.read_text()
    assert {name for name in BESIDE_A_KEY if name in text} == {
        "made.jpg",
        "mine.jpg",
        "ours.jpg",
        "broken.jpg",
    } | {"a.jpg"}
    assert summary.counts == {"detected": 1, "absent": 5, "error": 1}
    assert summary.public == 3
    # and so it does where rows are printed
    key.save(tmp_path / "my.key")
    options = ("--public", "--hits-only", "--workers", "1", "--json", "-o", "-")
    done = run("scan", archive, "--key", tmp_path / "my.key", *options)
    wanted = {name: row for name, row in BESIDE_A_KEY.items() if name not in ("plain.jpg", "b.jpg")}
    assert told(rows(done.stdout)) == wanted
    assert json.loads(done.stderr.splitlines()[0])["public_says"]["do-not-train"] == 2


def test_a_name_that_looks_like_a_public_watermark_is_no_hit(key, tmp_path):
    name = '"public_says": "x'
    write(tmp_path / "in" / f"{name}.jpg", jpeg(160, 200))
    bulk.scan(tmp_path / "in", tmp_path / "rows.jsonl", key, hits_only=True, workers=1)
    assert (tmp_path / "rows.jsonl").read_bytes() == b""


def test_the_public_key_may_be_given_as_any_other(archive, tmp_path):
    output = tmp_path / "rows.jsonl"
    bulk.scan(archive / "made.jpg", output, PUBLIC_KEY, public=True, workers=1)
    (row,) = rows(output.read_bytes())
    assert (row["state"], row["key_id"], row["public"]) == ("detected", PUBLIC_KEY.id, CODE.hex)


def test_messages_of_other_lengths_go_with_it(tmp_path, key):
    longer = Watermarker(key, 96)
    image = longer.embed(drawn(400, 480, 7), 12345)
    write(tmp_path / "long.png", encode(image, "PNG"))
    write(tmp_path / "public.jpg", saying("captured", 8))
    bulk.scan(tmp_path, tmp_path / "rows.jsonl", key, message_bits=96, public=True, workers=1)
    one, other = rows((tmp_path / "rows.jsonl").read_bytes())
    assert (one["message"], one["public"]) == (f"{12345:024x}", None)
    assert (other["state"], other["public_says"], other["message_bits"]) == ("absent", "captured", 96)


# ---- the columns -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def found():
    return marker().detect(saying(CODE))


@pytest.mark.parametrize(
    ("change", "public", "says"),
    [
        ({}, CODE.hex, "ai-generated,do-not-train"),
        ({"message": None}, None, "not readable"),
        ({"message": 2 << 60}, "2000000000000000", "not readable"),  # of a later version
        ({"message": 1 << 60 | 1 << 58}, "1400000000000000", "nothing known"),  # a flag without a name
        ({"message": 1 << 60 | 1 << 52 | 9 << 32}, "1010000900000000", "captured,resolver 9"),
        ({"state": "possible", "message": None}, None, None),
        ({"state": "absent", "message": None}, None, None),
        ({"key_id": "0" * 16}, None, None),
    ],
)
def test_columns(found, change, public, says):
    others = [replace(found, key_id="f" * 16)]
    columns = public_columns([*others, replace(found, **change)])
    assert columns == {"public": public, "public_says": says}


def test_the_summary_names_what_is_said_most_first():
    summary = Summary({"absent": 3}, seconds=1.0)
    for says in ("do-not-train", None, "ai-generated,resolver 7", "ai-generated,resolver 8", "not readable"):
        summary.add_public({"public_says": says})
    (line,) = [line for line in summary.table(("absent",)).splitlines() if line.startswith("public")]
    assert line.split(maxsplit=2) == [
        "public",
        "4",
        "2 ai-generated, 2 resolver, 1 do-not-train, 1 not readable",
    ]
    assert not [line for line in Summary().table(()).splitlines() if line.startswith("public")]


def test_a_worker_without_the_public_watermark_tells_nothing_of_it(key):
    (result,) = ScanJob((key,), 64, False, 10**6).worker()([Item("s", data=saying(CODE))]).results
    assert (result.state, result.row["public"], result.row["public_says"]) == ("absent", None, None)


# ---- what is refused, and resumed ----------------------------------------------------------------------


def test_nothing_to_look_for_is_refused(archive, tmp_path):
    for nothing in ((), []):
        with pytest.raises(KeyFormatError, match=r"--key .*--public"):
            bulk.scan(archive, tmp_path / "rows.csv", nothing)
    assert_refused(run("scan", archive, "-o", tmp_path / "rows.csv"), "--key FILE", "--public")
    assert not list(tmp_path.iterdir())


def test_a_journal_is_of_one_choice(archive, key, tmp_path):
    one, output = archive / "made.jpg", tmp_path / "rows.jsonl"
    bulk.scan(one, output, key, workers=1)
    with pytest.raises(OutputError, match=r"different settings \(public\)"):
        bulk.scan(one, output, key, public=True, workers=1)
    # as journals of versions that did not know of it, which are gone on with
    with sqlite3.connect(tmp_path / "rows.jsonl.journal") as journal:
        (settings,) = journal.execute("SELECT value FROM meta WHERE name = 'settings'").fetchone()
    journal.close()
    assert "public" not in json.loads(settings)
    assert bulk.scan(one, output, key, workers=1).resumed == 1
    bulk.scan(one, output, key, public=True, workers=1, force=True)
    with pytest.raises(OutputError, match=r"different settings \(public\)"):
        bulk.scan(one, output, key, workers=1)


def test_the_command_line_needs_no_key(archive, tmp_path):
    output = tmp_path / "rows.jsonl"
    done = run("scan", archive, "--public", "-o", output, "--workers", "1")
    assert done.returncode == 3  # one is damaged
    assert told(rows(output.read_bytes())) == WITHOUT_KEYS
    (line,) = [line for line in done.stdout.decode().splitlines() if line.startswith("public")]
    assert line.split(maxsplit=2)[1:] == ["3", "2 do-not-train, 1 ai-generated, 1 resolver"]


def test_a_photograph_is_marked_and_found_in_a_screenshot_of_it(tmp_path):
    image = embed(photograph("astronaut"), "do-not-train")
    half = image[::2, ::2]  # shown at half its size
    write(tmp_path / "shot.png", encode(half, "PNG"))
    bulk.scan(tmp_path / "shot.png", tmp_path / "rows.jsonl", public=True, workers=1)
    (row,) = rows((tmp_path / "rows.jsonl").read_bytes())
    assert (row["public_says"], row["scale"]) == ("do-not-train", pytest.approx(0.5, abs=0.01))
