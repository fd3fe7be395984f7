"""TIFF files: samples of every depth and layout, alpha that is multiplied in, pages and thumbnails."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest
from depths import COLOUR, DEEP, GREY, plane
from image_files import luma, luma_of
from PIL import Image

from fastmark.errors import InvalidImageError, UnsupportedImageError
from fastmark.images.opening import open_for_detection, open_for_embedding

STRETCHED = (GREY.astype(float) - GREY.min()) * 255 / np.ptp(GREY)


# ---- samples ---------------------------------------------------------------------------------------


def tiff(array: np.ndarray, **options: Any) -> bytes:
    tifffile = pytest.importorskip("tifffile")
    if options.get("compression"):
        pytest.importorskip("imagecodecs")
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "packbits"])
@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_16_bit_grey_tiff(order, bigtiff, compression):
    for negative in (False, True):
        levels = 65535 - DEEP if negative else DEEP
        photometric = "miniswhite" if negative else "minisblack"
        data = tiff(
            levels, byteorder=order, bigtiff=bigtiff, compression=compression, photometric=photometric
        )
        np.testing.assert_allclose(plane(data), DEEP / 257, atol=0.01)
        source = open_for_embedding(data)
        assert source.warnings == ()
        np.testing.assert_array_equal(source.pixels, DEEP)
        assert source.rebuild(source.pixels).mode == "I;16"


@pytest.mark.parametrize(
    "options", [{}, {"compression": "zlib"}, {"tile": (32, 32)}, {"planarconfig": "separate"}], ids=str
)
@pytest.mark.parametrize("order", ["<", ">"])
def test_16_bit_colour_tiff(order, options):
    pixels = COLOUR.astype(np.uint16) * 257
    if "planarconfig" in options:
        pixels = np.ascontiguousarray(np.moveaxis(pixels, -1, 0))
    data = tiff(pixels, byteorder=order, photometric="rgb", **options)
    np.testing.assert_array_equal(luma_of(data), COLOUR)
    source = open_for_embedding(data)
    np.testing.assert_array_equal(source.pixels, COLOUR)
    assert source.warnings == (
        "the samples of 16 bits were read as 8 bits: pass a uint16 array to keep them",
    )


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        ((GREY / 255).astype("f4"), GREY),
        (GREY.astype("f4"), GREY),
        (DEEP.astype("f4"), DEEP / 257),
        (DEEP.astype("i4"), DEEP / 257),
        (GREY.astype("i4") * 10**6, STRETCHED),
        (DEEP.astype(int).astype("i4") - 30_000, STRETCHED),
        ((DEEP.astype(int) - 32768).astype("i2"), STRETCHED),
    ],
    ids=["f1", "f255", "f65535", "i65535", "iwide", "inegative", "i2"],
)
def test_deep_grey_tiff(levels, expected, order, compression):
    data = tiff(levels, byteorder=order, compression=compression)
    np.testing.assert_allclose(plane(data), expected, atol=0.01)


def test_unsigned_levels_of_32_bits():
    data = tiff(GREY.astype("u4") << 24)
    np.testing.assert_allclose(plane(data), STRETCHED, atol=0.01)


def test_levels_that_are_not_finite():
    with pytest.raises(InvalidImageError, match="NaN"):
        luma_of(tiff(np.full((64, 64), np.nan, "f4")))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": "zlib"},
        {"compression": "zlib", "predictor": True},
        {"tile": (32, 48)},
        {"planarconfig": "separate"},
        {"rowsperstrip": 7},
        {"bigtiff": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("order", ["<", ">"])
def test_samples_that_pillow_has_no_mode_for(order, options):
    colour = COLOUR.astype(float)
    planar = options.get("planarconfig") == "separate"
    for array in (GREY / 255, (GREY / 255).astype("f2"), (colour / 255).astype("f4"), colour):
        if array.ndim == 3 and planar:
            array = np.ascontiguousarray(np.moveaxis(array, -1, 0))
        if array.ndim == 2 and planar:
            continue
        photometric = "rgb" if array.ndim == 3 else "minisblack"
        if "predictor" in options and array.dtype != "f4":
            continue
        data = tiff(array, byteorder=order, photometric=photometric, **options)
        expected = GREY if array.ndim == 2 else luma(COLOUR)
        np.testing.assert_allclose(plane(data), expected, atol=0.07 if array.dtype == "f2" else 0.01)
        with pytest.raises(UnsupportedImageError, match="convert it to 8 or 16 bits"):
            open_for_embedding(data)
        with pytest.raises(InvalidImageError, match="more than the limit"):
            open_for_detection(data, max_pixels=100)
        with pytest.raises(InvalidImageError):
            open_for_detection(data[:-3000])


def test_deep_grey_with_alpha_and_turned_samples():
    pixels = np.dstack([DEEP, DEEP])
    options = {"photometric": "minisblack", "planarconfig": "contig", "extrasamples": ["unassalpha"]}
    np.testing.assert_allclose(plane(tiff(pixels, **options)), DEEP / 257, atol=0.01)
    turned = tiff(GREY / 255, extratags=[(274, 3, 1, 6, True)])
    seen = open_for_detection(turned)
    np.testing.assert_allclose(seen.pixels, np.rot90(GREY, -1), atol=0.01)
    assert (seen.height, seen.width) == (80, 64)


def test_premultiplied_samples_that_pillow_has_no_mode_for():
    colour = (COLOUR / 255).astype("f4")
    pixels = np.dstack([colour / 4, np.full((64, 80), 0.25, "f4")])
    data = tiff(pixels, photometric="rgb", extrasamples=["assocalpha"])
    np.testing.assert_allclose(plane(data), luma(COLOUR), atol=0.01)


@pytest.mark.parametrize("negative", [False, True])
def test_1_bit_tiff(negative):
    bits = GREY > 120
    data = tiff(bits ^ negative, photometric="miniswhite" if negative else "minisblack")
    np.testing.assert_array_equal(luma_of(data), bits * 255)
    np.testing.assert_array_equal(open_for_embedding(data).pixels, bits * 255)


@pytest.mark.parametrize("channels", [2, 4])
@pytest.mark.parametrize("order", ["<", ">"])
def test_premultiplied_alpha(channels, order):
    colour = GREY[..., None] if channels == 2 else COLOUR
    pixels = np.dstack([colour // 2, np.full((64, 80), 128, np.uint8)])
    photometric = "minisblack" if channels == 2 else "rgb"
    data = tiff(
        pixels, byteorder=order, photometric=photometric, planarconfig="contig", extrasamples=["assocalpha"]
    )
    np.testing.assert_allclose(plane(data), GREY if channels == 2 else luma(COLOUR), atol=2)
    source = open_for_embedding(data)
    np.testing.assert_allclose(source.pixels.astype(int), colour[..., 0] if channels == 2 else colour, atol=2)
    np.testing.assert_allclose(source.visible, 128 / 255)
    image = Image.fromarray(np.dstack([COLOUR, np.full((64, 80), 128, np.uint8)])).convert("RGBa")
    np.testing.assert_allclose(plane(image), luma(COLOUR), atol=3)


def test_12_bit_grey_tiff():
    levels = GREY.astype(np.uint16) << 4
    bits = np.unpackbits(levels.astype(">u2").view(np.uint8).reshape(64, 80, 2), axis=-1)[..., 4:]
    raw = np.packbits(bits.reshape(64, -1), axis=1).tobytes()
    shorts = [
        (256, 80),
        (257, 64),
        (258, 12),
        (259, 1),
        (262, 1),
        (273, 8),
        (277, 1),
        (278, 64),
        (279, len(raw)),
    ]
    table = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in shorts)
    head = b"II*\0" + struct.pack("<I", 8 + len(raw))
    data = head + raw + struct.pack("<H", len(shorts)) + table + bytes(4)
    np.testing.assert_allclose(plane(data), GREY * (16 * 255 / 4095), atol=0.01)
    np.testing.assert_allclose(
        open_for_embedding(data).pixels, GREY.astype(float) * (16 * 65535 / 4095), atol=1
    )


# ---- pages -----------------------------------------------------------------------------------------


def pages(*kinds: tuple[np.ndarray, dict[str, Any]], order: str = "<", bigtiff: bool = False) -> bytes:
    tifffile = pytest.importorskip("tifffile")
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer, byteorder=order, bigtiff=bigtiff) as writer:
        for array, options in kinds:
            writer.write(array, **options)
    return buffer.getvalue()


THUMBNAIL = (COLOUR[::4, ::4], {"subfiletype": 1, "photometric": "rgb"})
MASK = (GREY > 99, {"subfiletype": 4})
OLD = (COLOUR[::4, ::4], {"photometric": "rgb", "extratags": [(255, 3, 1, 2, True)]})
FULL = (COLOUR, {"photometric": "rgb"})


@pytest.mark.parametrize(
    "kinds", [(THUMBNAIL, FULL), (FULL, THUMBNAIL), (MASK, THUMBNAIL, FULL, OLD)], ids=len
)
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("bigtiff", [False, True])
def test_a_tiff_with_a_thumbnail_is_one_image(kinds, order, bigtiff):
    data = pages(*kinds, order=order, bigtiff=bigtiff)
    seen = open_for_detection(data)
    np.testing.assert_array_equal(seen.pixels, COLOUR)
    assert seen.remarks == ()
    source = open_for_embedding(data)
    np.testing.assert_array_equal(source.pixels, COLOUR)
    assert source.warnings == ()


def test_a_tiff_with_a_thumbnail_that_the_caller_opened():
    with Image.open(io.BytesIO(pages(FULL, THUMBNAIL))) as image:
        np.testing.assert_array_equal(open_for_embedding(image).pixels, COLOUR)
        np.testing.assert_array_equal(luma_of(image), COLOUR)


def test_pages_of_a_tiff_of_which_some_are_thumbnails():
    data = pages(THUMBNAIL, FULL, THUMBNAIL, FULL)
    seen = open_for_detection(data)
    np.testing.assert_array_equal(seen.pixels, COLOUR)
    assert seen.remarks == ("the first page of 2 pages was looked at",)
    with pytest.raises(UnsupportedImageError, match="pages"):
        open_for_embedding(data)


def test_a_tiff_of_a_thumbnail_only():
    data = pages(THUMBNAIL)
    assert "preview" in open_for_detection(data).remarks[0]
    with pytest.raises(InvalidImageError, match="preview"):
        open_for_embedding(data)


def test_the_colour_description_of_a_tiff_is_told():
    data = tiff(COLOUR, photometric="rgb", extratags=[(318, 5, 2, (3127, 10000, 3290, 10000), True)])
    assert open_for_embedding(data).warnings == (
        "the colour description of the TIFF file (WhitePoint) was left out",
    )
