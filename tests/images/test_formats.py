"""Formats and sources: files of every kind by value, what is no image, what encoders are told."""

from __future__ import annotations

import io
import json
import os
import struct
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from typing import Any

import numpy as np
import pytest
from image_files import ICC, draw, encoded, luma, luma_of, make_exif
from PIL import ExifTags, Image, ImageCms

import fastmark
from fastmark.errors import ImageNotFoundError, InvalidImageError, OutputError, UnsupportedImageError
from fastmark.images.encoding import check_encoding, check_output, encode_image, fitting, losses, save_image
from fastmark.images.formats import PREFIX_BYTES, format_by_prefix
from fastmark.images.opening import open_for_detection, open_for_embedding

GREY = draw(64, 80, 0)
DEEP = (4600 + GREY.astype(int) * 200).astype(np.uint16)
COLOUR = draw(64, 80)
STRETCHED = (GREY.astype(float) - GREY.min()) * 255 / np.ptp(GREY)


def plane(image: Any) -> np.ndarray:
    seen = luma_of(image)
    return seen.astype(float) if seen.ndim == 2 else luma(seen)


def near(pixels: np.ndarray, expected: np.ndarray) -> bool:
    """Whether pixels are the same but for what a good encoder loses."""
    return pixels.shape == expected.shape and np.abs(pixels.astype(float) - expected).mean() < 4


# ---- TIFF ------------------------------------------------------------------------------------------


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


def test_a_jpeg_of_12_bits_is_not_called_damaged():
    data = bytearray(encoded(Image.fromarray(COLOUR), "JPEG"))
    data[data.index(b"\xff\xc0") + 4] = 12
    for opening in (open_for_detection, open_for_embedding):
        with pytest.raises(UnsupportedImageError, match="12-bit"):
            opening(bytes(data))


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


def lab() -> Image.Image:
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    return ImageCms.applyTransform(Image.fromarray(COLOUR), ImageCms.buildTransform(srgb, lab, "RGB", "LAB"))


@pytest.mark.parametrize("name", [None, "TIFF"])
def test_lab_by_its_lightness(name):
    image = lab()
    given = image if name is None else encoded(image, name)
    np.testing.assert_array_equal(luma_of(given), np.asarray(image)[..., 0])
    with pytest.raises(UnsupportedImageError, match="LAB"):
        open_for_embedding(given)


@pytest.mark.parametrize("name", ["JPEG", "TIFF"])
def test_cmyk(name):
    data = encoded(
        Image.fromarray(COLOUR).convert("CMYK"), name, **({"quality": 98} if name == "JPEG" else {})
    )
    np.testing.assert_allclose(plane(data), luma(COLOUR), atol=6 if name == "JPEG" else 0.01)
    with pytest.raises(UnsupportedImageError, match="CMYK"):
        open_for_embedding(data)


@pytest.mark.parametrize("name", ["PNG", "TIFF", "PPM"])
def test_16_bits_go_in_and_out(name):
    image = Image.fromarray(DEEP)
    source = open_for_embedding(encoded(image, name))
    np.testing.assert_array_equal(source.pixels, DEEP)
    np.testing.assert_array_equal(
        open_for_embedding(encode_image(source.rebuild(source.pixels), name)).pixels, DEEP
    )


@pytest.mark.parametrize(("white", "shift"), [(1023, 6), (4095, 4), (65535, 0)])
def test_deep_pgm_and_ppm(white, shift):
    head = b"# made by hand\n80 64\n%d\n" % white
    data = b"P5\n" + head + (DEEP >> shift).astype(">u2").tobytes()
    np.testing.assert_allclose(plane(data), DEEP / 257, atol=0.3)
    np.testing.assert_allclose(open_for_embedding(data).pixels, DEEP, atol=70)
    deep = (COLOUR.astype(np.uint16) * 257) >> shift
    source = open_for_embedding(b"P6\n" + head + deep.astype(">u2").tobytes())
    np.testing.assert_allclose(source.pixels.astype(int), COLOUR, atol=1)
    assert "were read as 8 bits" in source.warnings[0]


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


# ---- HEIC, JPEG XL, AVIF ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["HEIF", "JXL"])
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_heic_and_jpeg_xl_are_read_and_written(tmp_path, name, mode):
    pytest.importorskip("pillow_heif" if name == "HEIF" else "pillow_jxl")
    image = Image.fromarray(COLOUR).convert(mode)
    if mode == "RGBA":
        image.putalpha(Image.fromarray(GREY))
    image.info.update(exif=make_exif(), xmp=b"<x:xmpmeta/>", icc_profile=ICC)
    path = tmp_path / {"HEIF": "a.heic", "JXL": "a.jxl"}[name]
    save_image(image, path, quality=95)
    data = path.read_bytes()
    assert format_by_prefix(data[:PREFIX_BYTES]) == name
    source = open_for_embedding(path)
    assert source.warnings == ()
    expected = np.asarray(image)
    assert near(source.pixels, expected[..., :3] if mode == "RGBA" else expected)
    assert near(plane(path), expected if mode == "L" else luma(COLOUR))
    marked = source.rebuild(source.pixels)
    assert marked.mode == mode
    assert marked.getexif()[ExifTags.Base.Make] == "Maker"
    if name == "HEIF":
        assert marked.info["icc_profile"] == ICC
        assert marked.info["xmp"] == b"<x:xmpmeta/>"
        assert losses(image, "heic") == ()
    else:
        assert losses(image, "jxl") == (
            "the ICC profile (how colours are meant) had no place in the JXL file and was left out",
        )


def test_jpeg_xl_without_loss():
    pytest.importorskip("pillow_jxl")
    for image in (Image.fromarray(COLOUR), Image.fromarray(DEEP)):
        source = open_for_embedding(encode_image(image, "jxl", lossless=True))
        np.testing.assert_array_equal(source.pixels, np.asarray(image))
        if image.mode == "RGB":
            assert losses(source.rebuild(source.pixels), "jxl") == ()


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:0"])
def test_chroma_of_heic(subsampling):
    pytest.importorskip("pillow_heif")
    with Image.open(
        io.BytesIO(encode_image(Image.fromarray(COLOUR), "heif", subsampling=subsampling))
    ) as image:
        assert image.info["chroma"] == int(subsampling.replace(":", ""))


def test_a_heic_turned_by_its_exif():
    pytest.importorskip("pillow_heif")
    encode_image(Image.fromarray(COLOUR), "heif")  # has the plugin there
    data = encoded(Image.fromarray(COLOUR), "HEIF", quality=95, chroma=444, exif=make_exif(6))
    source = open_for_embedding(data)
    assert near(source.pixels, np.rot90(COLOUR, -1))
    assert open_for_detection(data).height == 80
    assert source.rebuild(source.pixels).getexif().get(ExifTags.Base.Orientation, 1) == 1


def test_of_a_heic_with_several_images_the_primary_is_looked_at():
    heif = pytest.importorskip("pillow_heif")
    many = heif.from_pillow(Image.fromarray(COLOUR[::-1].copy()))
    many.add_from_pillow(Image.fromarray(COLOUR))
    buffer = io.BytesIO()
    many.save(buffer, quality=95, primary_index=1)
    seen = open_for_detection(buffer.getvalue())
    assert seen.remarks == ("the primary one of 2 images was looked at",)
    assert near(luma(seen.pixels), luma(COLOUR))
    with pytest.raises(UnsupportedImageError, match="several"):
        open_for_embedding(buffer.getvalue())


def test_limits_hold_before_a_jpeg_xl_is_decoded():
    pytest.importorskip("pillow_jxl")
    data = encode_image(Image.fromarray(np.tile(COLOUR, (5, 7, 1))), "jxl")
    for opening in (open_for_detection, open_for_embedding):
        with pytest.raises(InvalidImageError, match="560 x 320 pixels, more than the limit of 1000"):
            opening(data, max_pixels=1000)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("HEIF", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"),
        ("HEIF", b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic"),
        ("HEIF", b"\0\0\0\x18ftypmsf1\0\0\0\0msf1hevc"),
        ("AVIF", b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif"),
        ("AVIF", b"\0\0\0\x18ftypavif\0\0\0\0mif1miaf"),
        ("JXL", b"\xff\n\xd7\x06\0"),
        ("JXL", b"\0\0\0\x0cJXL \r\n\x87\n\0\0\0\0"),
        (None, b"\0\0\0\x18ftypisom\0\0\0\0mp41avc1"),
        (None, b"\0\0\0\x18ftypqt  \0\0\0\0"),
        (None, b"P6 but no image"[:2]),
        (None, b"Privacy policy"),
    ],
)
def test_signatures(name, data):
    assert format_by_prefix(data) == name


def test_plugins_that_are_not_installed_are_named(monkeypatch, tmp_path):
    for registry in ("OPEN", "SAVE"):
        others = {k: v for k, v in getattr(Image, registry).items() if k not in ("HEIF", "JXL")}
        monkeypatch.setattr(Image, registry, others)
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.setitem(sys.modules, "pillow_jxl", None)
    for data in (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", b"\xff\n\xd7\x06\0"):
        for opening in (open_for_detection, open_for_embedding):
            with pytest.raises(UnsupportedImageError, match=r"pip install 'fastmark-watermark\[formats\]'"):
                opening(data)
    for name in ("heic", "jxl"):
        with pytest.raises(OutputError, match=r"fastmark-watermark\[formats\]"):
            encode_image(Image.fromarray(COLOUR), name)
        with pytest.raises(OutputError, match=r"fastmark-watermark\[formats\]"):
            check_output(tmp_path / f"a.{name}")


def test_plugins_wait_until_they_are_needed():
    code = (
        "import sys, fastmark, fastmark.images.opening, fastmark.images.encoding\n"
        "print([m for m in ('pillow_heif', 'pillow_jxl') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


@pytest.mark.parametrize("bits", [10, 12])
def test_deep_avif(bits):
    codecs = pytest.importorskip("imagecodecs")
    deep = (COLOUR.astype(np.uint16) * 257) >> (16 - bits)
    source = open_for_embedding(codecs.avif_encode(deep, bitspersample=bits, level=100))
    np.testing.assert_allclose(source.pixels.astype(int), COLOUR, atol=3)
    assert source.warnings == (
        f"the samples of {bits} bits were read as 8 bits: pass a uint16 array to keep them",
    )


@pytest.mark.parametrize(("primaries", "transfer", "what"), [(9, 16, "BT.2020, PQ"), (9, 18, "BT.2020, HLG")])
def test_hdr_is_told_and_kept_by_png(primaries, transfer, what):
    plain = encoded(Image.fromarray(COLOUR), "AVIF", quality=95)
    place = plain.index(b"nclx") + 4
    data = plain[:place] + bytes([0, primaries, 0, transfer]) + plain[place + 4 :]
    source = open_for_embedding(data)
    assert what in source.warnings[0]
    marked = source.rebuild(source.pixels)
    assert bytes([primaries, transfer, 0, 1]) == encode_image(marked, "PNG").split(b"cICP")[1][:4]
    assert f"CICP {primaries}/{transfer}" in losses(marked, "AVIF")[0]
    assert open_for_embedding(plain).warnings == ()


# ---- file objects ----------------------------------------------------------------------------------

PNG = encoded(Image.fromarray(COLOUR), "PNG")


def test_file_objects_are_read_from_the_start_and_left_where_they_were(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(PNG)
    with (
        path.open("rb") as raw,
        path.open("rb", buffering=0) as unbuffered,
        tempfile.SpooledTemporaryFile() as spooled,
    ):
        spooled.write(PNG)
        for file in (io.BytesIO(PNG), raw, spooled, unbuffered):
            file.seek(17)
            for opening in (open_for_detection, open_for_embedding):
                np.testing.assert_array_equal(opening(file).pixels, COLOUR)
                assert file.tell() == 17
                assert not file.closed


def test_whatever_reads_like_a_file():
    class Stream:
        def read(self, n: int = -1, /) -> bytes:
            return PNG

    np.testing.assert_array_equal(luma_of(Stream()), COLOUR)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("a.png", PNG)
    with zipfile.ZipFile(archive) as file, file.open("a.png") as member:
        np.testing.assert_array_equal(luma_of(member), COLOUR)


class Coroutine:
    async def read(self, n: int = -1) -> bytes:
        return PNG


class Odd:
    def read(self) -> None:
        return None


@pytest.mark.parametrize("opening", [open_for_detection, open_for_embedding])
def test_what_cannot_be_read_from(opening, tmp_path):
    (tmp_path / "a.png").write_bytes(PNG)
    closed = io.BytesIO(PNG)
    closed.close()
    with (tmp_path / "a.png").open(encoding="latin-1") as text:
        for thing, says in (
            (text, "open as text: open it in binary mode"),
            (io.StringIO("text"), "open as text"),
            (closed, "closed file: open it again"),
            (Coroutine(), "asynchronous file: await"),
            (Odd(), "NoneType instead of bytes"),
            (io.BytesIO(), "empty"),
            (b"", "empty"),
        ):
            with pytest.raises(InvalidImageError, match=says) as caught:
                opening(thing)
            assert "\n" not in str(caught.value)


def test_paths_of_bytes_and_of_other_kinds(tmp_path):
    path = tmp_path / "ä.png"
    path.write_bytes(PNG)

    class OfBytes:
        def __fspath__(self) -> bytes:
            return os.fsencode(path)

    for given in (str(path), path, OfBytes()):
        np.testing.assert_array_equal(luma_of(given), COLOUR)


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("a\nb.png", r"'a\\nb\.png': no such file"),
        ("", "'': no such file"),
        ("https://example.org/a.png", "addresses are not fetched, download it first"),
        ("x" * 3000, r"xxx\.\.\. cannot be read"),
        ('{"format": "fastmark-key", "secret": "abc"}', "^the text of a fastmark key was given"),
    ],
)
def test_odd_paths_in_one_line(path, says):
    for opening in (open_for_detection, open_for_embedding):
        with pytest.raises(InvalidImageError, match=says) as caught:
            opening(path)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 300


# ---- what is no image ------------------------------------------------------------------------------


@pytest.mark.parametrize("opening", [open_for_detection, open_for_embedding])
def test_missing_files_and_folders(opening, tmp_path):
    with pytest.raises(ImageNotFoundError, match=r"nothing\.png: no such file") as caught:
        opening(tmp_path / "nothing.png")
    assert isinstance(caught.value, FileNotFoundError | InvalidImageError)
    with pytest.raises(
        InvalidImageError, match=r"is a folder: use `fastmark scan .*`, or fastmark\.bulk\.scan"
    ):
        opening(tmp_path)


def archive(kind: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=kind) as file:
        member = tarfile.TarInfo("a.png")
        member.size = len(PNG)
        file.addfile(member, io.BytesIO(PNG))
    return buffer.getvalue()


@pytest.mark.parametrize("opening", [open_for_detection, open_for_embedding])
@pytest.mark.parametrize(
    ("data", "says"),
    [
        (archive("w:"), "a tar archive, not an image: `fastmark scan`"),
        (archive("w:gz"), "a compressed file, not an image: `fastmark scan`"),
        (b"PAR1" + bytes(100), "a Parquet file, not an image: `fastmark scan`"),
        (b"PK\3\4" + bytes(20) + PNG, "a ZIP archive, not an image: unpack it"),
        (b"%PDF-1.7\n" + PNG, "a PDF document"),
        (b"images/a.png\nimages/b.png\n", "a text file, not an image: `fastmark scan` reads lists"),
        (b"<?xml version='1.0'?><svg/>", "render it first"),
        (b"\0\0\0\x18ftypisom\0\0\0\0mp41avc1" + bytes(100), "a video"),
        (b"\0\1\2\3" * 100, "not an image of a known format"),
    ],
)
def test_what_a_file_is_that_is_no_image(opening, data, says, tmp_path):
    path = tmp_path / "x"
    path.write_bytes(data)
    for given in (data, path, io.BytesIO(data)):
        with pytest.raises(InvalidImageError, match=says) as caught:
            opening(given)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_keys_are_not_shown(tmp_path, encoding):
    text = fastmark.Key.generate(name="mine").to_text()
    path = tmp_path / "a.png"
    path.write_bytes(text.encode(encoding))
    secrets = [value for value in json.loads(text).values() if isinstance(value, str) and len(value) > 12]
    assert secrets
    for given in (path, path.read_bytes()):
        with pytest.raises(InvalidImageError, match="is a fastmark key file, not an image") as caught:
            luma_of(given)
        assert not any(secret in str(caught.value) for secret in secrets if secret != "fastmark-key")


# ---- options of encoders ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        (
            "PNG",
            {"quality": 90},
            "quality has no effect on PNG, it goes with JPEG, WebP, AVIF, HEIC, JPEG XL",
        ),
        ("TIFF", {"quality": 90}, "quality has no effect on TIFF"),
        ("BMP", {"subsampling": "4:2:0"}, "subsampling has no effect on BMP, it goes with JPEG, AVIF, HEIC"),
        ("WEBP", {"subsampling": "4:2:0"}, "subsampling has no effect on WebP"),
        ("JXL", {"subsampling": "4:4:4"}, "subsampling has no effect on JPEG XL"),
        ("PNG", {"lossless": True}, "lossless has no effect on PNG, which is always without loss"),
        ("JPEG", {"lossless": True}, "JPEG cannot be lossless"),
        ("HEIF", {"lossless": True}, "HEIC cannot be lossless"),
        (None, {"quality": 0}, "1 to 100"),
        (None, {"quality": True}, "1 to 100"),
        (None, {"quality": 90.0}, "1 to 100"),
        (None, {"quality": "90"}, "1 to 100"),
        (None, {"subsampling": "4:1:1"}, "subsampling must be one of"),
        (None, {"lossless": "yes"}, "lossless must be"),
        ("XCF", {}, "unknown format"),
    ],
)
def test_options_that_do_not_fit(name, options, says):
    with pytest.raises(OutputError, match=says):
        check_encoding(name, **{"quality": None, "subsampling": None, "lossless": None} | options)
    if name not in (None, "XCF"):
        with pytest.raises(OutputError, match=says):
            encode_image(Image.fromarray(COLOUR), name, **options)


def test_options_that_fit():
    everything = {"quality": np.int64(90), "subsampling": "4:2:0", "lossless": True}
    assert check_encoding(None, **everything) == ""
    assert check_encoding("heic") == "HEIF"
    fits = {
        name: set(fitting(name, everything)) for name in ("png", "JPG", "webp", "AVIF", "jxl", "HEIC", "")
    }
    assert fits == {
        "png": set(), "JPG": {"quality", "subsampling"}, "webp": {"quality", "lossless"},
        "AVIF": {"quality", "subsampling"}, "jxl": {"quality", "lossless"},
        "HEIC": {"quality", "subsampling"}, "": set(),
    }  # fmt: skip
    for name in ("PNG", "JPEG", "WEBP", "AVIF", "TIFF"):
        assert encode_image(Image.fromarray(COLOUR), name, **fitting(name, everything))
    image = Image.fromarray(COLOUR)
    assert encode_image(image, "jpg") == encode_image(
        image, "JPEG", quality=95, subsampling="4:4:4", lossless=False
    )


def test_a_file_that_is_larger_than_its_pixels_can_be_is_not_read(tmp_path):
    """Unread, as its pixels may be few: the rest would fill the memory."""
    path = tmp_path / "a.png"
    path.write_bytes(encoded(Image.fromarray(COLOUR), "PNG"))
    with path.open("ab") as file:
        file.truncate(1 << 38)  # a hole: nothing of it is on the disk
    limit = COLOUR.shape[0] * COLOUR.shape[1]
    with path.open("rb") as file:
        for image in (path, file):
            with pytest.raises(InvalidImageError, match="too large"):
                open_for_detection(image, max_pixels=limit)
