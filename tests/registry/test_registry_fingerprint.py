"""Perceptual hashes: the same for one picture however it is encoded or held, and far apart for others."""

import io

import numpy as np
import pytest
from pictures import drawn, photograph
from PIL import Image

pytest.importorskip("imagehash")

from fastmark.errors import MissingPackageError, RegistryError
from fastmark.registry.fingerprint import SAME, distance, perceptual_hash


@pytest.fixture(scope="module")
def picture():
    return photograph("astronaut")


@pytest.fixture(scope="module")
def own(picture):
    return perceptual_hash(picture)


def encoded(pixels, format_name, **options):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format_name, **options)
    return Image.open(file)


def test_it_is_that_of_imagehash(picture, own):
    import imagehash

    assert own == f"phash:{imagehash.phash(Image.fromarray(picture), hash_size=16)}"


def test_it_is_the_same_however_the_picture_is_held(picture, own):
    image = Image.fromarray(picture)
    grey = np.asarray(image.convert("L"))
    deep = picture.astype(np.uint16) * 257
    opaque = np.dstack([picture, np.full(picture.shape[:2], 255, np.uint8)])
    for same in (image, deep, picture / 255, (picture / 255).astype(np.float32), opaque, grey,
                 grey[..., None], image.convert("RGBA"),
                 Image.fromarray(grey), image.convert("CMYK")):  # fmt: skip
        assert distance(perceptual_hash(same), own) <= 2
    sixteen = Image.fromarray(grey.astype(np.uint16) * 257)
    assert sixteen.mode == "I;16"
    assert distance(perceptual_hash(sixteen), own) <= 2


def test_it_is_of_what_is_seen(picture, own):
    turned = Image.fromarray(np.rot90(picture))
    turned.getexif()[0x0112] = 6  # to be turned by 90 degrees when it is shown
    assert perceptual_hash(turned) == own
    hidden = np.dstack([picture, np.full(picture.shape[:2], 255, np.uint8)])
    hidden[100:400, 100:400, 3] = 0
    on_white = picture.copy()
    on_white[100:400, 100:400] = 255
    assert perceptual_hash(hidden) == perceptual_hash(on_white)


def test_one_picture_is_the_same_after_what_happens_to_pictures(picture, own):
    image = Image.fromarray(picture)
    for other in (
        encoded(picture, "JPEG", quality=30),
        encoded(picture, "WEBP", quality=60),
        image.resize((128, 128)),
        image.resize((1000, 900)),
        image.point(lambda level: min(255, int(level * 1.3))),
        image.point(lambda level: level // 2),
    ):
        assert distance(perceptual_hash(other), own) <= SAME
    for other in (
        image.crop((100, 100, 400, 400)),
        image.rotate(30),
        drawn(512, 512, 3),
        photograph("chelsea"),
    ):
        assert distance(perceptual_hash(other), own) > SAME + 20


def test_pictures_too_smooth_for_a_hash_have_none():
    row = np.linspace(20, 220, 512)
    for smooth in (np.zeros((300, 400)), np.full((300, 400), 0.7), np.tile(row / 255, (512, 1))):
        assert perceptual_hash(smooth) is None
    assert perceptual_hash(drawn(128, 128, 1)) is not None


def test_distance_counts_bits():
    zero, one = "phash:" + "0" * 64, "phash:8" + "0" * 62 + "7"
    assert (distance(zero, zero), distance(zero, one), distance(one, "phash:" + "f" * 64)) == (0, 4, 252)
    for wrong in ("", "0" * 64, "phash:" + "0" * 63, "dhash:" + "0" * 64, "phash:" + "F" * 64):
        with pytest.raises(RegistryError, match="perceptual hash"):
            distance(zero, wrong)


def test_imagehash_may_be_missing(monkeypatch, picture):
    monkeypatch.setitem(__import__("sys").modules, "imagehash", None)
    with pytest.raises(MissingPackageError, match=r"needs imagehash: pip install '.*\[registry\]'"):
        perceptual_hash(picture)
