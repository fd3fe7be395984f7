"""``fastmark detect --explain``, as people run it."""

import pytest
from commands import MESSAGE, assert_refused, rows, run
from pictures import drawn
from PIL import Image

from fastmark import Key, Watermarker


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with two keys, and an image with and without a watermark."""
    folder = tmp_path_factory.mktemp("explained")
    key = Key(bytes(range(32)))
    key.save(folder / "my.key")
    Key(bytes(range(1, 33))).save(folder / "other.key")
    bare = drawn(300, 320, 4)
    Image.fromarray(bare).save(folder / "bare.png")
    Image.fromarray(Watermarker(key).embed(bare, MESSAGE)).save(folder / "marked.png")
    return folder


def explain(folder, *arguments, **options):
    return run("detect", "--explain", *arguments, cwd=folder, **options)


def test_a_table_follows_the_line_of_detect(place):
    done = explain(place, "marked.png", "--key", "my.key")
    assert (done.returncode, done.stderr) == (0, b"")
    lines = done.stdout.decode().splitlines()
    assert lines[0].encode() + b"\n" == run("detect", "marked.png", "--key", "my.key", cwd=place).stdout
    assert lines[1] == "a plane of 300 x 320 samples:"
    assert any(line.startswith("image as it is") and line.endswith("passed") for line in lines)
    assert lines[-1].startswith(" ") or lines[-1].startswith("verdict")
    assert explain(place, "bare.png", "--key", "my.key").returncode == 1


def test_each_key_has_a_block_and_shared_steps_come_once(place):
    done = explain(place, "-", "--key", "my.key", "--key", "other.key",
                   input=(place / "marked.png").read_bytes())  # fmt: skip
    text = done.stdout.decode()
    assert (text.count("\nverdict"), text.count("\nspectrum"), text.count("\nimage as it is")) == (2, 1, 2)


def test_json_has_the_explanation_beside_the_columns_of_detect(place):
    done = explain(place, "marked.png", "--key", "my.key", "--json")
    plain = run("detect", "marked.png", "--key", "my.key", "--json", cwd=place)
    ((row,), (other,)) = rows(done.stdout), rows(plain.stdout)
    explained = row.pop("explanation")
    assert (other.pop("metadata"), other.pop("agree")) == ([], None)
    assert row | {"ms": 0} == other | {"ms": 0}
    assert set(explained) == {"plan", "steps", "ms"}
    assert {step["name"] for step in explained["steps"]} > {"open", "image as it is", "scan"}


def test_it_takes_one_image(place):
    assert_refused(explain(place, "bare.png", "marked.png", "--key", "my.key"), "--explain takes one image")
    assert_refused(explain(place, "bare.png", "--all", "--key", "my.key"), "--explain and --all")
    assert_refused(explain(place, "none.png", "--key", "my.key"), "none.png")
