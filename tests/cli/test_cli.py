"""The command line as people run it: in a process of its own, told by exit code, streams and files."""

from __future__ import annotations

import io
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from commands import MESSAGE, assert_refused, rows, run
from image_commands import DETECT_COLUMNS, Bench, make_bench
from image_files import ICC, ORIENTATION, encoded, make_exif
from PIL import ExifTags, Image, JpegImagePlugin, PngImagePlugin
from skimage import data

from fastmark import Key
from fastmark.bulk.tables import MANIFEST_COLUMNS

HEAVY = {"numpy", "numba", "llvmlite", "pyfftw", "PIL"}


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return make_bench(tmp_path_factory.mktemp("bench"))


# ---- start -----------------------------------------------------------------------------------------


def test_help_imports_nothing_heavy():
    command = [sys.executable, "-X", "importtime", "-m", "fastmark", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "fastmark" in imported
    assert not imported & HEAVY
    for verb in ("keygen", "embed", "detect", "scan", "doctor"):
        assert verb in done.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "VERB"),
        (["destroy"], "invalid choice"),
        (["embed", "a.png"], "--output"),
        (["embed", "a.png", "-o", "b.png"], "no key: give --key FILE"),
        (["embed", "a.png", "-o", "b.png", "--public", "mine"], "cannot say mine: choose from ai-generated"),
        (
            ["embed", "a.png", "-o", "b.png", "--public", "captured", "--message", "00"],
            "--message goes with --key",
        ),
        (["embed", "a.png", "-o", "b.png", "--free", "1"], "would say nothing"),
        (
            ["embed", "a.png", "-o", "b.png", "--public", "captured", "--resolver", "65536"],
            "must be 0 to 65535",
        ),
        (["embed", "a.png", "-o", "b.png", "--public", "captured", "--free", "g"], "up to 8 hex digits"),
        (["detect", "a.png", "--no-public"], "nothing to look for"),
        (["embed", "a.png", "-o", "b.png", "--key", "k", "--mess", "00"], "unrecognized arguments: --mess"),
        (["embed", "a.png", "-o", "b.png", "--key", "k"], "no message: give --message HEX"),
        (
            ["embed", "a.png", "-o", "b.png", "--key", "k", "--message", "00", "--strength", "nan"],
            "0.25 to 4",
        ),
        (["embed", "a.png", "-o", "b.png", "--key", "k", "--message", "00", "--quality", "0"], "1 to 100"),
        (["embed", "a.png", "-o", "-", "--key", "k", "--message", "0x0"], "--format"),
        (["embed", "a.png", "-o", "b.png", "--format", "png", "--key", "k", "--message", "0x0"], "--format"),
        (["detect", "a.png", "--key", "k", "--message-bits", "63"], "invalid choice"),
    ],
)
def test_mistakes_in_use(arguments, says, tmp_path):
    assert_refused(run(*arguments, cwd=tmp_path), says)
    assert not list(tmp_path.iterdir())


# ---- embed and detect ------------------------------------------------------------------------------


def test_embed_says_what_it_did(bench):
    done = bench.embedded
    assert (done.returncode, done.stderr) == (0, b"")
    line = done.stdout.decode()
    assert line.count("\n") == 1
    for words in (str(bench.marked), MESSAGE, "PSNR", "(ours)"):
        assert words in line
    before, after = (np.asarray(Image.open(path)).astype(int) for path in (bench.plain, bench.marked))
    assert before.shape == after.shape
    assert 0 < np.abs(after - before).mean() < 4


def test_detect_in_words(bench):
    done = run("detect", bench.marked, bench.plain, "--key", bench.key)
    assert (done.returncode, done.stderr) == (0, b"")
    found, absent = done.stdout.decode().splitlines()
    for words in (f"{bench.marked}: detected", f"message {MESSAGE}", "p <= 1e-", "scale 1,", "(ours)"):
        assert words in found
    for words in (f"{bench.plain}: absent", "no evidence", "not AI-generated"):
        assert words in absent


def test_detect_with_several_keys_in_json(bench):
    keys = {name: Key.load(path).id for name, path in (("ours", bench.key), ("other", bench.other_key))}
    # twice the same key is one key
    places = ["--key", bench.other_key, "--key", bench.key, "--key", bench.key]
    done = run("detect", bench.plain, bench.marked, *places, "--json")
    assert (done.returncode, done.stderr) == (0, b"")
    found = rows(done.stdout)
    assert [row["path"] for row in found] == [str(bench.plain)] * 2 + [str(bench.marked)] * 2
    assert {row["key_id"] for row in found[:2]} == set(keys.values())
    assert [row["key_id"] for row in found[2:]] == [keys["ours"], keys["other"]]
    assert [row["state"] for row in found] == ["absent", "absent", "detected", "absent"]
    assert [row["message"] for row in found] == [None, None, MESSAGE, None]
    for row in found:
        assert list(row) == ["schema", "path", *DETECT_COLUMNS]
        assert (row["schema"], row["source"]) == (2, row["path"])
        assert 0 <= row["p_value"] <= 1
        assert row["ms"] > 0
    best = found[2]
    assert best["log10_p"] < -9
    assert best["scale"] == pytest.approx(1, abs=0.01)
    assert best["rotation_deg"] == pytest.approx(0, abs=0.2)
    assert best["mirrored"] is False


def test_not_found_is_exit_code_1(bench):
    done = run("detect", bench.marked, "--key", bench.other_key)
    assert (done.returncode, done.stderr) == (1, b"")
    assert b"absent" in done.stdout


def test_found_by_deep_search_is_exit_code_0(bench):
    # the public watermark would be searched for in full, which takes most of a minute
    done = run("detect", bench.marked, "--key", bench.key, "--deep", "--no-public")
    assert (done.returncode, done.stderr) == (0, b"")
    assert MESSAGE.encode() in done.stdout


def test_pipes_and_message_length(bench):
    options = ["--key", bench.key, "--message-bits", "32"]
    done = run(
        *("embed", "-", "-o", "-", "--format", "jpeg", "--message", "0xbeef", "--strength", "1.5", "--json"),
        *options,
        input=bench.plain.read_bytes(),
    )
    assert done.returncode == 0
    (report,) = rows(done.stderr)
    assert (report["path"], report["output"], report["message"]) == ("-", "-", "0000beef")
    assert report["psnr_db"] > 30
    assert list(report) == ["schema", "path", *MANIFEST_COLUMNS]  # as the manifests of many
    assert (report["state"], report["warnings"], report["member"]) == ("marked", None, None)
    assert report["margin_message"] > 1
    with Image.open(io.BytesIO(done.stdout)) as picture:
        assert picture.format == "JPEG"

    done = run("detect", "-", *options, "--json", input=done.stdout)
    assert (done.returncode, done.stderr) == (0, b"")
    (found,) = rows(done.stdout)
    assert (found["path"], found["message"]) == ("-", "0000beef")


def test_existing_output_is_kept_unless_forced(bench, tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(bench.plain.read_bytes())
    arguments = ["embed", path, "-o", path, "--key", bench.key, "--message", MESSAGE]
    assert_refused(run(*arguments), "a.png exists already")
    assert path.read_bytes() == bench.plain.read_bytes()
    assert run(*arguments, "--force").returncode == 0
    assert path.read_bytes() == bench.marked.read_bytes()  # embedding repeats to the bit
    assert list(tmp_path.iterdir()) == [path]


# ---- what goes along -------------------------------------------------------------------------------


def test_jpeg_keeps_metadata_and_is_turned_upright(bench, tmp_path):
    lying, upright = tmp_path / "lying.jpg", tmp_path / "upright.jpg"
    # as a camera held sideways stores it: to be turned by 90 degrees clockwise
    Image.fromarray(data.astronaut()[:320, :448]).save(
        lying, icc_profile=ICC, exif=make_exif(6), quality=95, dpi=(300, 300)
    )
    assert run("embed", lying, "-o", upright, "--key", bench.key, "--message", MESSAGE).returncode == 0
    with Image.open(lying) as before, Image.open(upright) as after:
        assert after.size == (320, 448)
        assert after.getexif().get(ORIENTATION, 1) == 1
        assert after.getexif()[ExifTags.Base.Make] == "Maker"
        assert after.info["icc_profile"] == ICC
        assert after.info["dpi"] == (300, 300)
        assert JpegImagePlugin.get_sampling(after) == 0  # 4:4:4
        assert after.quantization == before.quantization  # quality 95
        turned = before.transpose(Image.Transpose.ROTATE_270)
        assert np.abs(np.asarray(turned).astype(int) - np.asarray(after)).mean() < 4
    done = run("detect", upright, "--key", bench.key, "--json")
    assert rows(done.stdout)[0]["message"] == MESSAGE


def test_png_keeps_alpha_and_metadata(bench, tmp_path):
    path, marked = tmp_path / "a.png", tmp_path / "b.png"
    colour = np.asarray(Image.open(bench.plain))
    alpha = np.add.outer(np.arange(384), np.arange(384)).astype(np.uint8)
    text = PngImagePlugin.PngInfo()
    text.add_text("parameters", "an astronaut, 20 steps")
    Image.fromarray(np.dstack([colour, alpha])).save(path, icc_profile=ICC, exif=make_exif(), pnginfo=text)
    assert run("embed", path, "-o", marked, "--key", bench.key, "--message", MESSAGE).returncode == 0
    with Image.open(marked) as after:
        after.load()
        assert after.mode == "RGBA"
        np.testing.assert_array_equal(np.asarray(after)[..., 3], alpha)
        assert after.info["icc_profile"] == ICC
        assert after.getexif()[ExifTags.Base.Make] == "Maker"
        assert after.text["parameters"] == "an astronaut, 20 steps"
        # nobody sees the colours under alpha 0
        np.testing.assert_array_equal(np.asarray(after)[alpha == 0, :3], colour[alpha == 0])
    done = run("detect", marked, "--key", bench.key, "--json")
    assert rows(done.stdout)[0]["message"] == MESSAGE


# ---- what is refused -------------------------------------------------------------------------------


def animation() -> bytes:
    frames = [Image.fromarray(np.roll(data.astronaut()[:160, :160], 9 * i, axis=1)) for i in range(3)]
    return encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])


PICTURES = {
    "truncated.png": lambda: encoded(Image.fromarray(data.astronaut()), "PNG")[:-5000],
    "truncated.jpg": lambda: encoded(Image.fromarray(data.astronaut()), "JPEG")[:-5000],
    "animated.gif": animation,
    "cmyk.jpg": lambda: encoded(Image.fromarray(data.astronaut()).convert("CMYK"), "JPEG"),
    "flat.png": lambda: encoded(Image.new("RGB", (256, 256), "white"), "PNG"),
    "alpha.png": lambda: encoded(Image.fromarray(data.astronaut()[:256, :256]).convert("RGBA"), "PNG"),
    "narrow.png": lambda: encoded(Image.fromarray(data.astronaut()[:127, :400]), "PNG"),
    "small.png": lambda: encoded(Image.fromarray(data.astronaut()[:60, :60]), "PNG"),
    "text.png": lambda: b"this is no picture",
    "empty.png": lambda: b"",
}


@pytest.mark.parametrize(
    ("name", "output", "message", "says"),
    [
        ("truncated.png", "out.png", MESSAGE, "cut short"),
        ("animated.gif", "out.png", MESSAGE, "animated"),
        ("cmyk.jpg", "out.png", MESSAGE, "CMYK: convert it to RGB"),
        ("narrow.png", "out.png", MESSAGE, "400 x 127"),
        ("small.png", "out.png", MESSAGE, "60 x 60"),
        ("missing.png", "out.png", MESSAGE, "no such file"),
        ("alpha.png", "out.jpg", MESSAGE, "JPEG cannot keep transparency: use png"),
        ("alpha.png", "nowhere/out.png", MESSAGE, "does not exist"),
        ("alpha.png", "alpha.png/out.png", MESSAGE, "does not exist"),
        ("alpha.png", "folder.png", MESSAGE, "is a folder"),
        ("alpha.png", "out.xyz", MESSAGE, "unknown format '.xyz'"),
        ("alpha.png", "out", MESSAGE, "unknown format ''"),
        ("alpha.png", "x" * 300 + ".png", MESSAGE, "name too long"),
        ("alpha.png", "out.png", "not hex", "not hexadecimal"),
        ("alpha.png", "out.png", "caffee", "write 0xcaffee"),
        ("alpha.png", "out.png", "0x" + "1" * 17, "17 hex digits"),
    ],
)
def test_what_embed_refuses_leaves_nothing_behind(bench, tmp_path, name, output, message, says):
    (tmp_path / "folder.png").mkdir()
    if name in PICTURES:
        (tmp_path / name).write_bytes(PICTURES[name]())
    before = sorted(tmp_path.iterdir())
    paths = (tmp_path / name, "-o", tmp_path / output)
    assert_refused(run("embed", *paths, "--key", bench.key, "--message", message), says)
    assert sorted(tmp_path.iterdir()) == before


def test_one_bad_picture_does_not_stop_the_others(bench, tmp_path):
    bad = ["text.png", "empty.png", "missing.png"]
    good = ["truncated.jpg", "animated.gif", "cmyk.jpg", "flat.png", "small.png"]
    for name in {*bad, *good} & set(PICTURES):
        (tmp_path / name).write_bytes(PICTURES[name]())
    paths = [*bad, *good, bench.marked, "-"]
    done = run("detect", *paths, "--key", bench.key, "--json", cwd=tmp_path, input=b"")
    assert done.returncode == 2
    found = {row["path"]: row for row in rows(done.stdout)}
    assert list(found) == [str(path) for path in paths]
    lines = done.stderr.decode().splitlines()
    assert len(lines) == len(bad) + 1
    for line, name in zip(lines, [*bad, "-"], strict=True):
        assert line == f"fastmark: error: {found[name]['error']}"
        assert (name if name != "-" else "stdin") in line
    assert {found[name]["state"] for name in good} == {"absent"}
    remarks = {name: found[name]["remarks"] for name in good if found[name]["remarks"]}
    assert list(remarks) == ["truncated.jpg", "animated.gif"]
    assert "cut short" in remarks["truncated.jpg"]
    assert "first frame of 3" in remarks["animated.gif"]
    assert found[str(bench.marked)]["message"] == MESSAGE


def test_full_disk_leaves_nothing_behind(bench, tmp_path):
    def allow_small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    arguments = ["embed", bench.plain, "-o", tmp_path / "a.png", "--key", bench.key, "--message", MESSAGE]
    assert_refused(run(*arguments, preexec_fn=allow_small_files), "a.png cannot be written: File too large")
    assert not list(tmp_path.iterdir())


def test_stdout_that_takes_nothing():
    with Path("/dev/full").open("wb") as full:
        assert_refused(run("keygen", "-o", "-", stdout=full), "No space left")


def test_stdout_that_nobody_reads():
    reader, writer = os.pipe()
    os.close(reader)
    done = run("keygen", "-o", "-", stdout=writer)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


# ---- doctor ----------------------------------------------------------------------------------------


def test_doctor():
    done = run("doctor")
    assert (done.returncode, done.stderr) == (0, b"")
    report = done.stdout.decode()
    for words in ("fastmark ", "python ", "numpy ", "numba ", "pyfftw ", "cpu ", "fft ", "kernel cache "):
        assert f"\n{words}" in f"\n{report}"
    assert report.count("; embed ") == 2
    assert "FAILED" not in report
