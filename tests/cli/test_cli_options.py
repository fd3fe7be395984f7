"""Options of the command line: each has its effect or is refused, and no output ever holds a secret."""

from __future__ import annotations

import io
import json
import shutil

import numpy as np
import pytest
from commands import MESSAGE, assert_refused, rows, run
from image_files import save_image
from pictures import drawn
from PIL import Image

from fastmark import Key, Watermarker


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a key, an image and the same marked; nobody writes in it."""
    folder = tmp_path_factory.mktemp("options")
    key = Key(bytes(range(32)), "ours")
    key.save(folder / "my.key")
    Image.fromarray(drawn(300, 360)).save(folder / "plain.png")
    Image.fromarray(Watermarker(key).embed(drawn(300, 360), MESSAGE)).save(folder / "marked.png")
    return folder


# ---- options without effect ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("plain.png -o out.png --workers 2", "--workers goes with many images"),
        ("plain.png -o out.png --workers 0", "--workers goes with many images"),
        ("plain.png -o out.png --manifest rows.csv", "--manifest goes with many images"),
        ("plain.png -o out.png --column image", "--column goes with many images"),
        ("plain.png -o out.png --quality 80", "no effect on PNG"),
        ("plain.png -o out.png --subsampling 4:2:0", "no effect on PNG"),
        ("plain.png -o out.webp --subsampling 4:2:0", "no effect on WebP"),
        ("plain.png -o out.jpg --lossless", "JPEG cannot be lossless"),
        ("plain.png -o - --format bmp --quality 80", "no effect on BMP"),
        ("plain.png -o - --format png --force", "--force replaces a file"),
        ("plain.png -o out.png --format png", "--format goes with -o -"),
        ("plain.png plain.png -o -", "not to stdout"),
        ("plain.png plain.png -o out.png", "named like one image"),
        ("-o out.png", "name an image"),
    ],
)
def test_embed_refuses_what_would_do_nothing(made, tmp_path, options, says):
    shutil.copy(made / "plain.png", tmp_path)
    done = run("embed", *options.split(), "--key", made / "my.key", "--message", MESSAGE, cwd=tmp_path)
    assert_refused(done, says)
    assert [path.name for path in tmp_path.iterdir()] == ["plain.png"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("{made}/plain.png -o - --force", "--force replaces a table"),
        ("{made} -o rows.csv --address auto", "--address has no effect without --engine ray"),
        ("{made}/plain.png -o rows.csv --column image", "--column goes with Parquet"),
        ("-o rows.csv", "no source"),
    ],
)
def test_scan_refuses_what_would_do_nothing(made, tmp_path, options, says):
    done = run("scan", *options.format(made=made).split(), "--key", made / "my.key", cwd=tmp_path)
    assert_refused(done, says)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "says"),
    [
        (".", "is a folder: use `fastmark scan"),
        ("a.tar", "fastmark scan"),
        ("my.key", "is a fastmark key file"),
    ],
)
def test_detect_names_the_verb_for_what_is_no_image(made, tmp_path, name, says):
    shutil.copy(made / "my.key", tmp_path)
    (tmp_path / "a.tar").write_bytes(b"x".ljust(257, b"\0") + b"ustar\0" + bytes(800))
    assert_refused(run("detect", name, "--key", "my.key", cwd=tmp_path), says)


# ---- options that work on one image as on many -----------------------------------------------------


def test_limits_of_pixels_hold_for_one_image_of_both_verbs(made, tmp_path):
    key = ("--key", made / "my.key")
    embed = ("embed", made / "plain.png", "-o", tmp_path / "out.png", *key, "--message", MESSAGE)
    assert_refused(run(*embed, "--max-pixels", "107999"), "300", "360", "107999")
    assert not list(tmp_path.iterdir())
    assert run(*embed, "--max-pixels", "108_000").returncode == 0
    detect = ("detect", made / "marked.png", *key)
    assert_refused(run(*detect, "--max-pixels", "107999"), "300", "360", "107999")
    assert run(*detect, "--max-pixels", "108000").returncode == 0


def test_verify_reads_what_is_written_and_leaves_nothing_where_that_fails(made, tmp_path):
    embed = ("embed", made / "plain.png", "--key", made / "my.key", "--message", MESSAGE, "--verify")
    done = run(*embed, "-o", tmp_path / "out.jpg", "--json")
    assert rows(done.stdout)[0]["verified_log10_p"] <= -9
    assert "read back (p <= 1e-" in run(*embed, "-o", tmp_path / "out.png").stdout.decode()
    refused = run(*embed, "-o", tmp_path / "bad.jpg", "--quality", "1", "--strength", "0.5")
    assert_refused(refused, "not read back", "not written", "--quality")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.jpg", "out.png"]


def test_quiet_prints_nothing_and_does_the_same(made, tmp_path):
    embed = ("embed", made / "plain.png", "--key", made / "my.key", "--message", MESSAGE)
    done = run(*embed, "-o", tmp_path / "out.png", "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    with Image.open(tmp_path / "out.png") as quiet, Image.open(made / "marked.png") as marked:
        np.testing.assert_array_equal(np.asarray(quiet), np.asarray(marked))


def test_lists_are_named_by_an_option_by_their_ending_or_come_on_stdin(made, tmp_path):
    key = ("--key", made / "my.key", "-o", "-", "--quiet")
    text = f"{made / 'plain.png'}\r\n\r\n{made / 'marked.png'}\r\n"
    for name, data in {
        "paths": text.encode(),
        "list.txt": b"\xef\xbb\xbf" + text.encode(),
        "LIST.LST": text.encode("utf-16"),
    }.items():
        (tmp_path / name).write_bytes(data)
    for sources in (["--list", "paths"], ["list.txt"], ["LIST.LST"], ["--list", "-"], ["-"]):
        done = run("scan", *sources, *key, cwd=tmp_path, input=text.encode())
        assert (done.returncode, done.stderr) == (0, b""), sources
        assert [row["state"] for row in rows(done.stdout)] == ["absent", "detected"]
    assert_refused(run("scan", "paths", *key, cwd=tmp_path), "--list")


def test_a_message_of_another_length_asks_whether_the_length_is_right(made):
    done = run("detect", made / "marked.png", "--key", made / "my.key", "--message-bits", "128")
    assert done.returncode == 0
    assert "message not readable (is --message-bits 128 right?)" in done.stdout.decode()


def test_formats_that_lose_something_warn(made, tmp_path):
    with Image.open(made / "plain.png") as image:
        image.save(tmp_path / "a.png", icc_profile=b"profile" * 30, dpi=(300, 300))
    options = ("--key", made / "my.key", "--message", MESSAGE)
    done = run("embed", tmp_path / "a.png", "-o", tmp_path / "b.bmp", *options)
    assert done.returncode == 0
    assert "fastmark: warning: " in done.stderr.decode()
    assert "ICC" in done.stderr.decode()
    assert run("embed", tmp_path / "a.png", "-o", tmp_path / "b.png", *options).stderr == b""


# ---- secrets ---------------------------------------------------------------------------------------


def holds_secret(text, key):
    return any(part in text.lower() for part in (key.secret.hex().encode(), key.secret.hex()[16:48].encode()))


@pytest.mark.parametrize(
    "arguments",
    [
        "detect my.key --key my.key",
        "detect my.key marked.png --key my.key --json",
        "detect marked.png --key {text}",
        "detect marked.png --key {hex}",
        "detect {text} --key my.key --json",
        "detect {words} --key my.key --json",
        "detect - --key my.key",
        "embed my.key -o out.png --key my.key --message 0x7",
        "embed marked.png -o out.png --key my.key --message {hex}",
        "embed marked.png -o out.png --key env:KEY --message 0x7 --json",
        "embed marked.png my.key -o out/ --key my.key --message 0x7",
        "embed marked.png -o out/ --key my.key --messages my.key",
        "embed --list my.key -o out/ --key my.key --message 0x7",
        "embed . -o out.tar --key my.key --messages random",
        "scan . --key my.key -o rows.csv",
        "scan my.key --key my.key -o rows.jsonl",
        "scan marked.png my.key --key my.key -o rows.jsonl",
        "scan key.txt --key my.key -o rows.jsonl",
        "scan --list key.txt --key my.key -o rows.jsonl",
        "scan list.txt --key my.key -o rows.jsonl",
        "scan - --key my.key -o rows.jsonl",
        "scan {words} --key my.key -o rows.jsonl",
        "scan marked.png --key env:KEY -o -",
        "keygen -o my.key",
        "keygen --name {hex} -o new.key",
        "keygen --detector-of my.key -o check.key",
        "keygen --detector-of my.key --name {hex} -o check.key",
        "keygen --detector-of my.key -o my.key",
        "keygen --detector-of {text} -o check.key",
        "keygen --detector-of env:KEY -o -",
        "doctor",
    ],
)
def test_no_verb_shows_or_writes_a_secret(made, tmp_path, arguments):
    for name in ("my.key", "marked.png"):
        shutil.copy(made / name, tmp_path)
    key, text = Key.load(made / "my.key"), (made / "my.key").read_text()
    shutil.copy(made / "my.key", tmp_path / "key.txt")
    (tmp_path / "list.txt").write_text("marked.png\nmy.key\nkey.txt\n")
    hidden = {"{text}": [text], "{words}": text.split(), "{hex}": [key.secret.hex()]}
    words = [part for word in arguments.split() for part in hidden.get(word, [word])]
    done = run(*words, cwd=tmp_path, input=text.encode(), env={"KEY": text, "FASTMARK_DEBUG": "1"})
    assert not holds_secret(done.stdout + done.stderr, key)
    for path in tmp_path.rglob("*"):
        if path.is_file() and path.name not in ("my.key", "key.txt", "new.key"):
            assert not holds_secret(path.read_bytes(), key), path
            assert not holds_secret(path.name.encode(), key)


def test_objects_that_hold_a_key_do_not_print_it():
    key = Key.generate("ours")
    marker = Watermarker(key)
    from fastmark import Detector
    from fastmark.bulk.worker import EmbedJob, ScanJob

    check = key.detector_key("check")
    jobs = (ScanJob((key, check), 64, False, 1), EmbedJob(key, 64, 1.0, 1, None, {}, False, None))
    for thing in (key, [key], {"key": key}, check, marker, Detector([key]), *jobs):
        assert not holds_secret(f"{thing!r} {thing!s}".encode(), key)
    assert key.id in repr(key)
    assert "ours" in repr(key)
    with pytest.raises(TypeError) as caught:
        Watermarker(key.secret)
    assert not holds_secret(str(caught.value).encode(), key)


def test_key_files_of_windows_programs_are_read(made, tmp_path):
    text = (made / "my.key").read_text().replace("\n", "\r\n")
    for name, data in {
        "bom": b"\xef\xbb\xbf" + text.encode(),
        "utf16": text.encode("utf-16"),
        "big": b"\xfe\xff" + text.encode("utf-16-be"),
    }.items():
        (tmp_path / name).write_bytes(data)
        assert Key.load(tmp_path / name) == Key.load(made / "my.key")
    done = run("detect", made / "marked.png", "--key", "env:KEY", env={"KEY": "\ufeff" + text})
    assert done.returncode == 0


def test_heic_and_jpeg_xl_go_through_every_verb(made, tmp_path):
    pytest.importorskip("pillow_heif")
    pytest.importorskip("pillow_jxl")
    key = ("--key", made / "my.key")
    for ending in ("heic", "jxl"):
        out = tmp_path / f"a.{ending}"
        done = run("embed", made / "plain.png", "-o", out, *key, "--message", MESSAGE, "--verify")
        assert (done.returncode, done.stderr) == (0, b"")
        assert run("detect", out, *key).returncode == 0
    done = run("scan", tmp_path, *key, "-o", "-", "--quiet", "--workers", "1")
    assert [row["message"] for row in rows(done.stdout)] == [MESSAGE] * 2
    (tmp_path / "in").mkdir()
    for name in ("b.heic", "b.jxl"):
        save_image(Image.fromarray(drawn(300, 360)), tmp_path / "in" / name)
    done = run(
        "embed", tmp_path / "in", "-o", tmp_path / "out", *key, "--messages", "counter", "--workers", "1"
    )
    assert done.returncode == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["b.heic", "b.jxl", "manifest.jsonl"]
    marker = Watermarker(Key.load(made / "my.key"))
    for row in map(json.loads, (tmp_path / "out" / "manifest.jsonl").read_text().splitlines()):
        data = io.BytesIO((tmp_path / "out" / row["output"]).read_bytes())
        assert marker.detect(data).message_hex == row["message"]
