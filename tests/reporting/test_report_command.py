"""``fastmark report`` as people run it: written, refused, stopped, killed and gone on with."""

import json
import re
import signal
import time
from pathlib import Path

import pytest
from archive_commands import started_and_stopped
from commands import assert_refused, rows, run
from pictures import drawn
from PIL import Image
from report_pages import Page

from fastmark import Key

QUICK = ("--null-keys", "2", "--workers", "1")


def draw(path, side, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(drawn(side, side + 16, seed)).save(path)


@pytest.fixture
def place(tmp_path):
    """A folder with a key, and below it six small images."""
    Key(bytes(range(32))).save(tmp_path / "my.key")
    for i in range(6):
        draw(tmp_path / "shop" / f"{i}.png", 150, i)
    return tmp_path


def report(place, *arguments, **options):
    return run("report", "shop", "--key", "my.key", "-o", "r.html", *QUICK, *arguments, cwd=place, **options)


def files(place):
    return sorted(path.name for path in place.iterdir() if path.name not in ("shop", "my.key"))


def named(place):
    return [one["name"] for one in json.loads((place / "r.json").read_bytes())["images"]]


def test_page_and_figures_are_written_and_a_summary_printed(place):
    (place / "shop" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    draw(place / "shop" / "small.png", 90, 9)
    (place / "many.lst").write_text("shop/0.png\nshop/1.png\nshop/small.png\nshop/broken.png\n")
    done = run("report", "many.lst", "--key", "my.key", "-o", "r.html", *QUICK, "--seed", "4", cwd=place)
    assert done.returncode == 3
    assert files(place) == ["many.lst", "r.html", "r.json"]  # and no journal
    values = json.loads((place / "r.json").read_text(encoding="utf-8"), parse_constant=pytest.fail)
    assert (values["schema"], values["sample"]["measured"], values["settings"]["seed"]) == (1, 2, 4)
    assert {one["name"] for one in values["sample"]["left_out"]} == {"small.png", "broken.png"}
    page = Page((place / "r.html").read_text(encoding="utf-8"))
    assert {path: value for path, value, _ in page.figures}["sample.measured"] == "2"
    out, err = done.stdout.decode().splitlines(), done.stderr.decode().splitlines()
    assert out[0].split() == ["images", "2", "of", "4"]
    assert re.fullmatch(r"quality +PSNR [\d.]+ dB \(worst [\d.]+\), SSIM 0\.\d{4} .*", out[1])
    assert out[2].startswith("untouched           read 100 %, detected 100 %")
    assert out[-2].startswith("unmarked            0 of 8 trials detected")
    assert out[-1] == "written: r.html, r.json"
    assert err[0].startswith("fastmark: 4 images, ") and "about " in err[0]
    assert err[-1] == "fastmark: error: 2 of 4 images could not be measured: the report lists them"


def test_an_image_that_is_named_and_not_there_is_counted(place):
    (place / "named.lst").write_text("shop/0.png\nshop/missing.png\n")
    done = run("report", "named.lst", "--key", "my.key", "-o", "r.html", *QUICK, cwd=place)
    assert done.returncode == 3
    assert "error: 1 of 2 images could not be measured: the report lists them" in done.stderr.decode()


def test_what_exists_is_not_replaced_unless_it_is_forced(place):
    one = ("report", "shop/0.png", "--key", "my.key", "-o", "r.html", *QUICK, "--quiet")
    done = run(*one, "--figures", "f.json", "--json", cwd=place)
    assert (done.returncode, done.stderr) == (0, b"")
    (summary,) = rows(done.stdout)
    assert (summary["output"], summary["figures"], summary["sample"]["measured"]) == ("r.html", "f.json", 1)
    before = (place / "r.html").read_bytes()
    assert_refused(run(*one, cwd=place), "r.html exists already", "--force")
    (place / "r.html").rename(place / "other.html")
    assert_refused(run(*one, "--figures", "f.json", cwd=place), "f.json exists already")
    (place / "other.html").rename(place / "r.html")
    done = run(*one, "--force", cwd=place)
    assert (done.returncode, done.stdout) == (0, b"")
    assert (place / "r.html").read_bytes() != before  # another seed, keys and date
    assert files(place) == ["f.json", "r.html", "r.json"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("nowhere", "-o", "r.html"), ["nowhere", "no such file"]),
        (("-o", "r.html"), ["no source"]),
        (("empty", "-o", "r.html"), ["no image was found"]),
        (("shop", "-o", "r.pdf"), ["ends in .html"]),
        (("shop", "-o", "s3://x/r.html"), ["ends in .html"]),
        (("shop", "-o", "no/r.html"), ["no does not exist"]),
        (("shop", "-o", "r.html", "--figures", "r.html"), ["--figures"]),
        (("shop", "-o", "shop.html"), ["shop.html is a folder"]),
        (("my.key", "-o", "r.html"), ["key file"]),
        (("shop", "-o", "r.html", "--attacks", "some"), ["--attacks"]),
        (("shop", "-o", "r.html", "--null-keys", "5000"), ["0 to 1000"]),
        (("shop", "-o", "r.html", "--sample", "0"), ["above 0"]),
        (("shop", "-o", "r.html", "--seed", "x"), ["2^63"]),
        (("shop", "-o", "r.html", "--strength", "9"), ["0.25 to 4"]),
        (("shop", "-o", "r.html", "--public", "nice"), ["nice"]),
    ],
)
def test_mistakes_are_refused_before_any_work(place, arguments, says):
    (place / "empty").mkdir()
    (place / "shop.html").mkdir()
    before = files(place)
    assert_refused(run("report", *arguments, "--key", "my.key", cwd=place), *says)
    assert files(place) == before


def test_keys_that_cannot_embed_are_refused(place):
    Key.load(place / "my.key").detector_key("x").save(place / "check.key")
    assert_refused(run("report", "shop", "--key", "check.key", "-o", "r.html", cwd=place), "detector key")
    assert_refused(run("report", "shop", "--key", "none.key", "-o", "r.html", cwd=place), "none.key")
    assert_refused(run("report", "shop", "-o", "r.html", cwd=place), "--key")


MANY = 30
"""Images of runs that are stopped: more than are measured before they are."""


def stopped(place, number):
    """A run that was sent a signal after its first images; exit code and what it said."""
    for i in range(6, MANY):
        draw(place / "shop" / f"{i}.png", 150, i)
    command = ("report", "shop", "--key", "my.key", "-o", "r.html", *QUICK)
    process = started_and_stopped(*command, cwd=place, number=number)
    _, err = process.communicate(timeout=60)
    assert not (place / "r.html").exists()
    assert (place / "r.html.journal").exists()
    return process.returncode, err.decode()


def again(done):
    """How many images the run did not measure again."""
    first = done.stderr.decode().splitlines()[0]
    found = re.search(rf"{MANY} images(?:, (\d+) of them measured by earlier runs)?, ", first)
    assert found, first
    return int(found[1] or 0)


def test_ctrl_c_says_how_to_go_on_and_the_same_command_does(place):
    code, err = stopped(place, signal.SIGINT)
    assert code == 130
    assert "kept in r.html.journal; run the same command again to resume" in err.splitlines()[-1]
    done = report(place)
    assert done.returncode == 0
    assert 1 <= again(done) < MANY
    assert named(place) == sorted(f"shop/{i}.png" for i in range(MANY))
    assert files(place) == ["r.html", "r.json"]


def test_after_kill_9_other_settings_are_refused_and_changed_files_measured_again(place):
    assert stopped(place, signal.SIGKILL)[0] == -9
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:  # its process ends by itself, and then the journal is free
        done = report(place, "--strength", "1.5")
        if b"another run" not in done.stderr:
            break
        time.sleep(0.2)
    assert_refused(done, "different settings (strength)", "--force")
    assert_refused(report(place, "--attacks", "full"), "different settings (attacks)")
    draw(place / "shop" / "0.png", 160, 77)  # changed since it was measured
    done = report(place, "--json")
    assert done.returncode == 0
    values = json.loads((place / "r.json").read_bytes())
    assert values["images"][0]["width"] == 176
    assert named(place) == sorted(f"shop/{i}.png" for i in range(MANY))


def test_forcing_starts_over(place):
    (place / "r.html.journal").write_text("no journal")
    assert_refused(report(place), "not a journal", "--force")
    done = report(place, "--force", "--sample", "2", "--anonymous")
    assert done.returncode == 0
    assert b"by earlier runs" not in done.stderr
    assert [Path(name).name for name in named(place)] == ["image 1", "image 2"]
    assert "of 6 images that were named, drawn at random" in (place / "r.html").read_text(encoding="utf-8")


def test_help_names_the_verb():
    assert b"report " in run("--help").stdout
    assert b"--null-keys" in run("report", "--help").stdout
