"""``fastmark locate`` and ``fastmark detect --all``, as people run them."""

import io

import numpy as np
import pytest
from commands import MESSAGE, assert_refused, rows, run
from pictures import drawn
from PIL import Image

from fastmark import Key, Watermarker


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with two keys, a picture pasted on another, the other alone, and a collage."""
    folder = tmp_path_factory.mktemp("located")
    key = Key(bytes(range(32)))
    key.save(folder / "my.key")
    Key(bytes(range(1, 33))).save(folder / "other.key")
    marker = Watermarker(key)
    bare = drawn(500, 640, 9)
    pasted, collage = bare.copy(), np.full((400, 900, 3), 90, np.uint8)
    marked = marker.embed(drawn(384, 448, 1), MESSAGE)
    pasted[60:444, 120:568] = marked
    collage[8:392, :448], collage[8:392, 452:] = marked, marker.embed(drawn(384, 448, 2), 2)
    for name, pixels in (("pasted", pasted), ("bare", bare), ("collage", collage)):
        Image.fromarray(pixels).save(folder / f"{name}.png")
    return folder


def at(folder, *arguments, **options):
    return run(*arguments, cwd=folder, **options)


def test_the_map_is_written_and_the_place_told(place):
    done = at(place, "locate", "pasted.png", "-o", "map.jpg", "--key", "my.key")
    assert (done.returncode, done.stderr) == (0, b"")
    (line,) = done.stdout.decode().splitlines()
    assert line.startswith(f"pasted.png: detected (p <= 1e-77), message {MESSAGE}")
    assert ", box 1" in line and " % of the image" in line
    with Image.open(place / "map.jpg") as image:
        assert (image.size, image.format) == ((640, 500), "JPEG")
    assert_refused(at(place, "locate", "pasted.png", "-o", "map.jpg", "--key", "my.key"), "exists already")
    assert at(place, "locate", "pasted.png", "-o", "map.jpg", "--key", "my.key", "--force").returncode == 0


def test_json_has_the_place(place):
    done = at(place, "locate", "-", "-o", "json.png", "--key", "my.key", "--key", "other.key", "--json",
              input=(place / "pasted.png").read_bytes())  # fmt: skip
    (row,) = rows(done.stdout)
    assert done.returncode == 0
    assert (row["source"], row["state"], row["message"], row["output"]) == (
        "-",
        "detected",
        MESSAGE,
        "json.png",
    )
    assert np.abs(np.array(row["box"]) - (120, 60, 568, 444)).max() <= 16
    assert row["share"] == pytest.approx(384 * 448 / 320000, abs=0.05)
    assert (row["width"], row["height"], row["schema"]) == (640, 500, 2)


def test_the_map_goes_to_stdout_and_words_to_stderr(place):
    done = at(place, "locate", "pasted.png", "-o", "-", "--key", "my.key")
    assert done.returncode == 0
    with Image.open(io.BytesIO(done.stdout)) as image:
        assert (image.size, image.format) == ((640, 500), "PNG")
    assert b"detected" in done.stderr
    assert_refused(at(place, "locate", "pasted.png", "-o", "-", "--force", "--key", "my.key"), "--force")


def test_nothing_is_written_where_there_is_no_watermark(place):
    done = at(place, "locate", "bare.png", "-o", "none.png", "--key", "my.key", "--json")
    (row,) = rows(done.stdout)
    assert (done.returncode, row["state"], row["box"], row["output"]) == (1, "absent", None, None)
    assert not (place / "none.png").exists()


def test_bad_uses_are_refused(place):
    assert_refused(at(place, "locate", "pasted.png", "-o", "map.xyz", "--key", "my.key"), "unknown format")
    assert_refused(at(place, "locate", "gone.png", "-o", "a.png", "--key", "my.key"), "gone.png")
    assert_refused(at(place, "locate", "pasted.png", "-o", "a.png"), "--key")


def test_detect_all_tells_every_watermark_and_its_place(place):
    done = at(place, "detect", "--all", "collage.png", "--key", "my.key", "--key", "other.key")
    lines = done.stdout.decode().splitlines()
    assert done.returncode == 0
    assert len(lines) == 2
    assert {MESSAGE in line for line in lines} == {True, False}
    assert all("box" in line and "detected" in line for line in lines)
    done = at(place, "detect", "--all", "collage.png", "--key", "my.key", "--key", "other.key", "--json")
    found = rows(done.stdout)
    assert [row["state"] for row in found] == ["detected", "detected", "absent"]
    assert found[2]["box"] is None and found[2]["share"] == 0
    assert sorted(row["box"][0] // 400 for row in found[:2]) == [0, 1]


def test_detect_all_of_an_unmarked_image(place):
    done = at(place, "detect", "--all", "bare.png", "--key", "my.key")
    assert done.returncode == 1
    assert done.stdout.startswith(b"bare.png: absent")
