"""``fastmark check``, and what ``fastmark detect`` tells of metadata, on the command line."""

import io
import json

import pytest
from commands import assert_refused, rows, run
from pictures import drawn, photograph
from PIL import Image

pytest.importorskip("sqlalchemy")
pytest.importorskip("imagehash")
pytest.importorskip("c2pa")

REGISTRY, CHAIN, ROOT = "ids.db", "signer/chain.pem", "signer/root.pem"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder in which an image was delivered with everything, and changed."""
    folder = tmp_path_factory.mktemp("check")
    Image.fromarray(drawn(500, 560)).save(folder / "drawn.png")
    Image.fromarray(photograph("coffee")).save(folder / "plain.png")
    for arguments in (
        ("keygen", "-o", "my.key", "--name", "studio"),
        ("keygen", "-o", "other.key"),
        ("registry", "init", "--registry", REGISTRY),
        ("provenance", "init", "signer"),
        (
            "embed", "drawn.png", "-o", "out.jpg", "--key", "my.key", "--registry", REGISTRY, "--xmp",
            "--sign", CHAIN, "--sign-key", "signer/key.pem", "--provider", "Example Studio",
            "--system", "Painter", "--policy", "no-training", "--owner", "Ada L.",
        ),
    ):  # fmt: skip
        done = run(*arguments, cwd=folder)
        assert done.returncode == 0, done.stderr
    with Image.open(folder / "out.jpg") as image:
        image.convert("RGB").resize((280, 250)).save(folder / "half.jpg", quality=90)
    return folder


def check(place, *arguments):
    return run("check", *arguments, cwd=place)


def test_one_line_for_the_verdict_and_one_for_each_finding(place):
    done = check(place, "out.jpg", "--key", "my.key", "--registry", REGISTRY, "--trust", ROOT)
    assert (done.returncode, done.stderr) == (0, b"")
    verdict, *findings = done.stdout.decode().splitlines()
    assert verdict.startswith("out.jpg: genuine and unchanged. This image carries the watermark of studio")
    assert "registered by Example Studio" in verdict
    assert [line.split(":")[0].strip() for line in findings] == [
        "watermark", "binding", "registry", "xmp", "c2pa",
    ]  # fmt: skip
    assert "Ada L." not in done.stdout.decode()


def test_exit_codes_say_whether_anything_was_found(place):
    assert check(place, "half.jpg", "--key", "my.key").returncode == 0
    assert check(place, "plain.png", "--key", "my.key").returncode == 1
    # metadata say something, whatever the key
    assert check(place, "out.jpg", "--key", "other.key").returncode == 0
    assert check(place, "out.jpg").returncode == 0
    assert check(place, "plain.png").returncode == 1
    done = check(place, "none.png", "plain.png", "--key", "my.key")
    assert (done.returncode, done.stderr.count(b"\n")) == (2, 1)
    assert b"plain.png: nothing found." in done.stdout


def test_json_has_the_answer_and_its_scores(place):
    done = check(
        place, "half.jpg", "plain.png", "none.png", "--key", "my.key", "--registry", REGISTRY, "--json"
    )
    changed, nothing, error = rows(done.stdout)
    assert (changed["source"], changed["verdict"]) == ("half.jpg", "genuine, changed since")
    assert changed["registry"]["provider"] == "Example Studio"
    assert changed["detection"]["log10_p"] < -9
    assert changed["transform"]["scale"] == 0.5
    assert (nothing["verdict"], nothing["registry"]) == ("nothing found", None)
    assert set(error) == {"source", "error"}
    assert "Ada L." not in done.stdout.decode()


def test_an_image_on_stdin(place):
    done = run("check", "-", "--key", "my.key", cwd=place, input=(place / "out.jpg").read_bytes())
    assert done.stdout.startswith(b"-: genuine")


def test_mistakes_in_use(place):
    assert_refused(check(place, "out.jpg", "--registry", "none.db"), "fastmark registry init")
    assert_refused(check(place, "out.jpg", "--registry", "ftp://x"), "ftp")
    assert_refused(check(place, "out.jpg", "--trust", "plain.png"), "trust")
    assert_refused(check(place, "out.jpg", "--trust", "none.pem"), "none.pem")
    assert_refused(check(place, "out.jpg", "--key", "none.key"), "none.key")
    assert_refused(check(place), "IN")


# ---- detect ----------------------------------------------------------------------------------------------


def test_detect_tells_what_metadata_say_and_whether_they_agree(place):
    done = run("detect", "out.jpg", "plain.png", "--key", "my.key", cwd=place)
    pixels, xmp, c2pa, agree, plain = done.stdout.decode().splitlines()
    assert "detected" in pixels
    assert xmp.startswith("out.jpg: xmp says: XMP says: the image was made by a trained model")
    assert c2pa.startswith("out.jpg: c2pa valid: ")
    assert agree == "out.jpg: pixels and metadata agree"
    assert "absent" in plain


def test_detect_tells_that_pixels_and_metadata_disagree(place):
    """The metadata of one delivered image on the pixels of another."""
    other = ("embed", "plain.png", "-o", "other.png", "--key", "my.key", "--message", "0x7")
    assert run(*other, cwd=place).returncode == 0
    from fastmark.provenance.signing import Signer, sign
    from fastmark.records import Record

    with Image.open(place / "other.png") as image:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=95)
    signer = Signer(str(place / CHAIN), str(place / "signer" / "key.pem"))
    lying = sign(buffer.getvalue(), "jpeg", Record(), bytes(7) + b"\x08", signer).data
    (place / "lying.jpg").write_bytes(lying)
    done = run("detect", "lying.jpg", "--key", "my.key", cwd=place)
    last = done.stdout.decode().splitlines()[-1]
    assert last.startswith(
        "lying.jpg: pixels and metadata disagree: the pixels carry the message 00000000000"
    )
    (row,) = rows(run("detect", "lying.jpg", "--key", "my.key", "--json", cwd=place).stdout)
    assert row["agree"] is False
    assert [finding["technique"] for finding in row["metadata"]] == ["c2pa"]
    assert json.dumps(row["metadata"]).count("0000000000000008") == 1
