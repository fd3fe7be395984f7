"""Everyday attacks on photographs: the message comes back, and what was done to the picture is told."""

import io

import numpy as np
import pytest
from pictures import grey, photograph
from PIL import Image, ImageFilter

import fastmark as fm
from fastmark.codec.tables import TORUS

MESSAGE = 0xFEDCBA9876543210
NAMES = ("astronaut", "coffee")


@pytest.fixture(scope="module")
def marker(key):
    return fm.Watermarker(key)


@pytest.fixture(scope="module", params=NAMES)
def marked(request, marker):
    """A marked photograph."""
    return Image.fromarray(marker.embed(photograph(request.param), MESSAGE))


def recompressed(image, name, **options):
    buffer = io.BytesIO()
    image.save(buffer, name, **options)
    return buffer.getvalue()


def resized(image, across, down=None):
    size = round(image.width * across), round(image.height * (down or across))
    return image.resize(size, Image.Resampling.LANCZOS)


def turned(image, degrees):
    return image.rotate(degrees, Image.Resampling.BICUBIC, expand=True)


def sheared(image, share):
    moved = (1, share, -share * image.height / 2, 0, 1, 0)
    return image.transform(image.size, Image.Transform.AFFINE, moved, Image.Resampling.BICUBIC)


def in_perspective(image, share):
    """Two corners drawn in by a share of the sides."""
    x, y = image.width * share, image.height * share
    corners = [(x, y), (0, image.height), (image.width, image.height - y), (image.width - x, 0)]
    quad = [value for corner in corners for value in corner]
    return image.transform(image.size, Image.Transform.QUAD, quad, Image.Resampling.BICUBIC)


def noisy(image, sigma):
    pixels = np.asarray(image) + np.random.default_rng(1).normal(0, sigma, (image.height, image.width, 3))
    return Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))


ATTACKS = {
    "none": lambda image: image,
    "JPEG 30": lambda image: recompressed(image, "JPEG", quality=30),
    "WebP 60": lambda image: recompressed(image, "WEBP", quality=60),
    "resized to 0.5": lambda image: resized(image, 0.5),
    "resized to 1.7": lambda image: resized(image, 1.7),
    "a quarter of the area": lambda image: image.crop(
        (
            image.width // 5,
            image.height // 7,
            image.width // 5 + image.width // 2,
            image.height // 7 + image.height // 2,
        )
    ),
    "rotated by 17": lambda image: turned(image, 17),
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "upside down": lambda image: image.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
    "rotated by 90": lambda image: image.transpose(Image.Transpose.ROTATE_90),
    "rotated by 180": lambda image: image.transpose(Image.Transpose.ROTATE_180),
    "aspect 0.85": lambda image: resized(image, 0.85, 1.0),
    "sheared": lambda image: sheared(image, 0.04),
    "in perspective": lambda image: in_perspective(image, 0.02),
    "inverted": lambda image: Image.fromarray(255 - np.asarray(image)),
    "in greys": lambda image: Image.fromarray(grey(np.asarray(image))),
    "3 bits a channel": lambda image: Image.fromarray(np.asarray(image) // 32 * 36),
    "noise of 20": lambda image: noisy(image, 20),
    "blurred by 1.5": lambda image: image.filter(ImageFilter.GaussianBlur(1.5)),
    "mirrored, rotated and inverted": lambda image: Image.fromarray(
        255 - np.asarray(turned(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), -33))
    ),
    "cropped, shrunk and compressed": lambda image: recompressed(
        resized(image.crop((37, 21, image.width - 60, image.height - 35)), 0.8), "JPEG", quality=60
    ),
}

# what is told of the picture, where it is not (scale 1, rotation 0, aspect 1, as it was)
TOLD = {
    "resized to 0.5": {"scale": 0.5},
    "resized to 1.7": {"scale": 1.7},
    "rotated by 17": {"rotation_deg": 17},
    "mirrored": {"mirrored": True},
    "upside down": {"mirrored": True, "rotation_deg": 180},
    "rotated by 90": {"rotation_deg": 90},
    "rotated by 180": {"rotation_deg": 180},
    "aspect 0.85": {"scale": 0.85**0.5, "aspect": 0.85},
    "inverted": {"inverted": True},
    "mirrored, rotated and inverted": {"mirrored": True, "inverted": True, "rotation_deg": -33},
    "cropped, shrunk and compressed": {"scale": 0.8},
}
# no one scale, turn and aspect describes these
NOT_DESCRIBED = {"sheared", "in perspective"}


def degrees_apart(a, b):
    return abs((a - b + 180) % 360 - 180)


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_message_and_the_geometry_survive(marker, marked, attack):
    found = marker.detect(ATTACKS[attack](marked))
    assert (found.state, found.message) == ("detected", MESSAGE)
    told = {"scale": 1, "rotation_deg": 0, "aspect": 1, "mirrored": False, "inverted": False} | TOLD.get(
        attack, {}
    )
    assert (found.mirrored, found.inverted) == (told["mirrored"], told["inverted"])
    if attack not in NOT_DESCRIBED:
        assert found.scale == pytest.approx(told["scale"], rel=0.01)
        assert degrees_apart(found.rotation_deg, told["rotation_deg"]) < 0.3
        assert found.aspect == pytest.approx(told["aspect"], rel=0.01)


@pytest.mark.parametrize("attack", ["JPEG 30", "rotated by 17", "resized to 0.5"])
def test_no_attack_makes_a_mark_out_of_none(marker, attack):
    found = marker.detect(ATTACKS[attack](Image.fromarray(photograph("chelsea"))))
    assert (found.state, found.message) == ("absent", None)


def test_a_small_piece_of_a_picture_is_enough(key):
    marker = fm.Watermarker(key, 16)
    marked = marker.embed(photograph("rocket"), 0xBEEF)
    assert marker.detect(marked[100:260, 200:360]).message == 0xBEEF


def without_tones(picture, carrier, n_tones):
    """The pilot's first lines taken out of the spectrum, with the bins around, as by somebody who sees them
    there.
    """
    pixels = picture.astype(np.float64)
    height, width = pixels.shape[:2]
    spectrum = np.fft.rfft2(pixels, axes=(0, 1))
    for fy, fx in carrier.tones[:n_tones] / TORUS:
        y, x = (round(-f if fx < 0 else f) for f in (fy * height, fx * width))
        spectrum[np.arange(y - 1, y + 2)[:, None] % height, np.arange(x - 1, x + 2)] = 0
    pixels = np.fft.irfft2(spectrum, s=(height, width), axes=(0, 1))
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)


def test_deep_search_finds_a_shrunk_picture_whose_tones_were_taken_out(marker, carrier):
    """All there are, and twice as many: no magnitude shows the scale. Anchors and what is left of the phases
    do.
    """
    cleaned = without_tones(marker.embed(photograph("rocket"), MESSAGE), carrier, 192)
    assert marker.detect(cleaned).message == MESSAGE
    shrunk = resized(Image.fromarray(cleaned), 0.5)
    assert marker.detect(shrunk).message is None
    found = marker.detect(shrunk, deep=True)
    assert found.message == MESSAGE
    assert found.scale == pytest.approx(0.5, rel=0.01)


def test_deep_search_adds_nothing_to_what_is_found_without(marker, marked):
    shrunk = resized(marked, 0.7)
    assert marker.detect(shrunk, deep=True) == marker.detect(shrunk)
