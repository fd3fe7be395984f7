"""``fastmark embed`` of a picture that is watermarked already, and without binding."""

import io

import numpy as np
import pytest
from commands import MESSAGE, assert_refused, rows, run
from PIL import Image
from skimage import data

from fastmark import Key, Watermarker

SECOND = "fedcba9876543210"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a key, a plain picture, and a marked one as PNG and as JPEG."""
    folder = tmp_path_factory.mktemp("again")
    key = Key(bytes(range(32)), "ours")
    key.save(folder / "our.key")
    plain = data.rocket()[:400, :400]
    Image.fromarray(plain).save(folder / "plain.png")
    marked = Image.fromarray(Watermarker(key).embed(plain, MESSAGE))
    marked.save(folder / "marked.png")
    marked.crop((7, 3, 391, 388)).save(folder / "marked.jpg", quality=88)
    return folder


@pytest.fixture(scope="module")
def marker(made):
    return Watermarker(Key.load(made / "our.key"))


def embed(made, source, out, *options, **more):
    key = ("--key", made / "our.key")
    return run("embed", made / source, "-o", out, *key, "--message", SECOND, *options, **more)


def test_replaced_by_default_and_read_back(made, marker, tmp_path):
    done = embed(made, "marked.jpg", tmp_path / "out.jpg")
    assert (done.returncode, done.stderr) == (0, b"")
    assert f"message {SECOND} in place of {MESSAGE}, read back" in done.stdout.decode()
    assert marker.detect(tmp_path / "out.jpg").message_hex == SECOND
    done = embed(made, "marked.png", tmp_path / "out.png", "--json")
    (row,) = rows(done.stdout)
    assert (row["state"], row["action"], row["message"]) == ("marked", "replaced", SECOND)
    assert row["earlier_message"] == MESSAGE
    assert row["verified_log10_p"] < -9


def test_what_encoding_destroys_is_not_written(made, tmp_path):
    done = embed(made, "marked.png", tmp_path / "out.jpg", "--quality", "1")
    assert_refused(done, "already", MESSAGE, "not read beside it", "--on-marked keep")
    assert not (tmp_path / "out.jpg").exists()


def test_kept_in_its_very_bytes(made, tmp_path):
    done = embed(made, "marked.jpg", tmp_path / "out.jpg", "--on-marked", "keep", "--verify")
    assert done.returncode == 0
    assert f"kept as it is, message {MESSAGE}" in done.stdout.decode()
    assert "left as it is" in done.stderr.decode()
    assert (tmp_path / "out.jpg").read_bytes() == (made / "marked.jpg").read_bytes()
    done = embed(made, "marked.jpg", tmp_path / "out.png", "--on-marked", "keep", "--json")
    (row,) = rows(done.stdout)
    assert (row["state"], row["action"], row["message"]) == ("kept", "kept", MESSAGE)
    with Image.open(tmp_path / "out.png") as out, Image.open(made / "marked.jpg") as source:
        assert np.array_equal(np.asarray(out), np.asarray(source))


def test_kept_through_pipes(made):
    source = (made / "marked.png").read_bytes()
    pipe = ("embed", "-", "-o", "-", "--format", "png", "--key", made / "our.key", "--message", SECOND)
    done = run(*pipe, "--on-marked", "keep", "--quiet", input=source)
    assert (done.returncode, done.stdout) == (0, source)


def test_refused(made, tmp_path):
    done = embed(made, "marked.png", tmp_path / "out.png", "--on-marked", "refuse")
    assert_refused(done, f"a watermark of this key already (message {MESSAGE})", "use the original")
    assert not (tmp_path / "out.png").exists()
    assert embed(made, "plain.png", tmp_path / "out.png", "--on-marked", "refuse").returncode == 0
    done = embed(made, "marked.png", tmp_path / "out.png", "--on-marked", "ignore")
    assert_refused(done, "--on-marked", "replace", "keep", "refuse")


def test_without_binding(made, marker, tmp_path):
    with Image.open(made / "plain.png") as plain:
        picture = np.asarray(plain)
    for options, bind in (((), True), (("--no-bind",), False)):
        done = embed(made, "plain.png", "-", "--format", "png", "--quiet", *options)
        out = np.asarray(Image.open(io.BytesIO(done.stdout)))
        assert np.array_equal(out, marker.embed(picture, SECOND, bind=bind))


def test_many(made, marker, tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("plain.png", "marked.jpg"):
        (tmp_path / "in" / name).write_bytes((made / name).read_bytes())
    command = ["embed", tmp_path / "in", "--key", made / "our.key", "--message", SECOND, "--workers", "1"]
    done = run(*command, "-o", tmp_path / "kept", "--on-marked", "keep", "--json")
    assert done.returncode == 0
    assert rows(done.stdout)[0]["counts"] == {"marked": 1, "kept": 1}
    manifest = {row["output"]: row for row in rows((tmp_path / "kept" / "manifest.jsonl").read_bytes())}
    assert (manifest["marked.jpg"]["state"], manifest["marked.jpg"]["message"]) == ("kept", MESSAGE)
    assert (manifest["plain.png"]["state"], manifest["plain.png"]["message"]) == ("marked", SECOND)
    assert (tmp_path / "kept" / "marked.jpg").read_bytes() == (made / "marked.jpg").read_bytes()
    # the same command again has nothing to do; another answer is another run
    again = run(*command, "-o", tmp_path / "kept", "--on-marked", "keep", "--json")
    assert (again.returncode, rows(again.stdout)[0]["resumed"]) == (0, 2)
    assert_refused(run(*command, "-o", tmp_path / "kept"), "different settings (on_marked)")
    more = ("--on-marked", "keep", "--no-bind")
    assert_refused(run(*command, "-o", tmp_path / "kept", *more), "different settings (bind)")
    # refused ones are rows with the reason
    done = run(*command, "-o", tmp_path / "refused", "--on-marked", "refuse")
    assert done.returncode == 3
    errors = [row["error"] for row in rows((tmp_path / "refused" / "manifest.jsonl").read_bytes())]
    assert sum(error is not None and "already" in error for error in errors) == 1


def test_kept_pictures_take_no_line_of_the_messages(made, tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("a.png", "b.png"):
        (tmp_path / "in" / name).write_bytes((made / "marked.png").read_bytes())
    (tmp_path / "messages.txt").write_text(f"{SECOND}\n{SECOND}\n")
    command = ("embed", tmp_path / "in", "-o", tmp_path / "out", "--key", made / "our.key", "--workers", "1")
    options = ("--messages", tmp_path / "messages.txt", "--on-marked", "keep", "--quiet")
    assert run(*command, *options).returncode == 0
    # run again, lines are compared with what was embedded: nothing was
    done = run(*command, *options)
    assert (done.returncode, done.stderr) == (0, b"")
