"""Formats: deep, CMYK and LAB samples, HEIC, JPEG XL and AVIF, what encoders are told."""

from __future__ import annotations

import io
import subprocess
import sys

import numpy as np
import pytest
from depths import COLOUR, DEEP, GREY, plane
from image_files import ICC, encoded, luma, luma_of, make_exif, save_image
from PIL import ExifTags, Image, ImageCms

from fastmark.errors import InvalidImageError, OutputError, UnsupportedImageError
from fastmark.images.encoding import check_encoding, check_output, encode_image, fitting, losses
from fastmark.images.formats import PREFIX_BYTES, format_by_prefix
from fastmark.images.opening import open_for_detection, open_for_embedding


def near(pixels: np.ndarray, expected: np.ndarray) -> bool:
    """Whether pixels are the same but for what a good encoder loses."""
    return pixels.shape == expected.shape and np.abs(pixels.astype(float) - expected).mean() < 4


# ---- deep, CMYK and LAB samples --------------------------------------------------------------------


def test_a_jpeg_of_12_bits_is_not_called_damaged():
    data = bytearray(encoded(Image.fromarray(COLOUR), "JPEG"))
    data[data.index(b"\xff\xc0") + 4] = 12
    for opening in (open_for_detection, open_for_embedding):
        with pytest.raises(UnsupportedImageError, match="12-bit"):
            opening(bytes(data))


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
