"""What a detector sees of JPEG files: the Y plane, of large ones averaged by the decoder."""

from __future__ import annotations

import io

import numpy as np
import pytest
from image_files import draw, encoded, luma, luma_of, make_exif
from PIL import Image

from fastmark.images.formats import PREFIX_BYTES, format_by_prefix
from fastmark.images.opening import open_for_detection


@pytest.mark.parametrize("options", [{}, {"subsampling": 0}, {"progressive": True}, {"subsampling": 2}])
def test_jpeg_luma_is_the_y_plane(options):
    data = encoded(Image.fromarray(draw(100, 90)), "JPEG", quality=90, **options)
    seen = luma_of(data)
    assert seen.shape == (100, 90)
    assert seen.dtype == np.uint8
    with Image.open(io.BytesIO(data)) as image:
        assert np.abs(luma(np.asarray(image)) - seen).mean() < 0.6


def test_rgb_coded_jpeg_has_true_luma():
    data = encoded(Image.fromarray(draw()), "JPEG", quality=98, keep_rgb=True)
    seen = luma_of(data)
    plane = seen if seen.ndim == 2 else luma(seen)
    np.testing.assert_allclose(plane, luma(draw()), atol=6)


def test_grey_jpeg():
    seen = luma_of(encoded(Image.fromarray(draw(channels=0)), "JPEG", quality=95))
    assert seen.shape == (48, 64)


def in_units_of(k):
    return lambda height, width: k


@pytest.mark.parametrize(
    ("k", "reduction"), [(1, 1), (2, 2), (3, 1), (4, 4), (6, 2), (8, 8), (12, 4), (15, 1)]
)
@pytest.mark.parametrize("size", [(240, 320), (251, 333)], ids=str)
def test_the_jpeg_decoder_averages_what_of_a_unit_it_can(size, k, reduction):
    picture = draw(*size)
    seen = open_for_detection(
        encoded(Image.fromarray(picture), "JPEG", quality=98, subsampling=0), unit=in_units_of(k)
    )
    assert (seen.unit, seen.reduction) == (k, reduction)
    assert (seen.height, seen.width) == size
    rest = k // reduction
    if reduction == 1:
        assert seen.pixels.shape == size
        return
    assert seen.pixels.shape == tuple(n // k * rest for n in size)
    height, width = (n * reduction for n in seen.pixels.shape)
    boxes = luma(picture)[:height, :width].reshape(
        height // reduction, reduction, width // reduction, reduction
    )
    # rounded to whole levels by the decoder, and compressed before
    np.testing.assert_allclose(seen.pixels, boxes.mean(axis=(1, 3)), atol=2.5)


def test_nothing_is_averaged_of_an_image_that_is_opened_natively():
    data = encoded(Image.fromarray(draw(251, 333)), "JPEG", quality=98, subsampling=0)
    seen = open_for_detection(data, unit=in_units_of(4), native=True)
    assert (seen.unit, seen.reduction) == (4, 1)
    np.testing.assert_array_equal(seen.pixels, open_for_detection(data).pixels)


def test_only_upright_jpeg_files_are_averaged_by_the_decoder():
    picture = Image.fromarray(draw(240, 320))
    turned = encoded(picture, "JPEG", quality=95, exif=make_exif(6))
    for image in (turned, encoded(picture, "PNG"), picture, draw(240, 320)):
        assert open_for_detection(image, unit=in_units_of(4)).reduction == 1
    assert open_for_detection(encoded(picture, "JPEG", exif=make_exif(1)), unit=in_units_of(4)).reduction == 4


def test_the_size_told_is_that_of_the_upright_picture():
    picture = Image.fromarray(draw(240, 320))
    turned = open_for_detection(encoded(picture, "JPEG", exif=make_exif(6)))
    assert (turned.height, turned.width) == turned.pixels.shape[:2] == (320, 240)
    for image in (draw(240, 320), picture, encoded(picture, "PNG")):
        seen = open_for_detection(image)
        assert (seen.height, seen.width) == (240, 320)


def test_pictures_are_known_by_how_their_files_begin():
    picture = Image.fromarray(draw())
    for name in ("JPEG", "PNG", "WEBP", "AVIF", "GIF", "TIFF", "BMP", "PPM", "JPEG2000"):
        assert format_by_prefix(encoded(picture, name)[:PREFIX_BYTES]) == name
    for other in (b"", b"\xff", b"PK\x03\x04" + bytes(12), b"a text of some sort", b"PAR1" + bytes(12)):
        assert format_by_prefix(other[:PREFIX_BYTES]) is None


def test_the_unit_is_told_by_the_size_of_the_whole_upright_picture():
    asked = []
    for image in (
        draw(240, 320),
        Image.fromarray(draw(240, 320)),
        encoded(Image.fromarray(draw(240, 320)), "JPEG"),
    ):
        open_for_detection(image, unit=lambda height, width: asked.append((height, width)) or 2)
    assert asked == [(240, 320)] * 3
