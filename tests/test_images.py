"""Pictures in and out: every kind, layout, piece of metadata and damage that images.py promises to handle."""

from __future__ import annotations

import io
import os
import random
import struct
import threading
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms, PngImagePlugin

from fastmark import images
from fastmark.errors import FastmarkError, InvalidImage, OutputError, UnsupportedImage
from fastmark.images import check_output, encode_image, open_luma, open_source, save_image

ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><note>kept</note></x:xmpmeta>'
ORIENTATION = ExifTags.Base.Orientation


def draw(height: int = 48, width: int = 64, channels: int = 3) -> np.ndarray:
    """A smooth uint8 picture with no symmetry, so that a turned or flipped copy differs."""
    y, x = np.mgrid[0:height, 0:width]
    planes = [(x * (3 - c) + y * (1 + c) + 20 * c + x * y // 16) % 200 + 20 for c in range(max(channels, 1))]
    picture = np.stack(planes, axis=-1).astype(np.uint8)
    return picture[..., 0] if channels == 0 else picture


def encoded(image: Image.Image, name: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, name, **options)
    return buffer.getvalue()


def make_exif(orientation: int | None = None) -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "Maker"
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = "2020:01:02 03:04:05"
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] = "N"
    if orientation is not None:
        exif[ORIENTATION] = orientation
    return exif.tobytes()


def luma(rgb: np.ndarray) -> np.ndarray:
    return rgb[..., :3].astype(float) @ [0.299, 0.587, 0.114]


# ---- arrays ----------------------------------------------------------------------------------------

DTYPES = ["uint8", "uint16", ">u2", "float16", "float32", ">f4", "float64"]
LAYOUTS = {
    "plain": lambda a: a,
    "readonly": lambda a: _frozen(a.copy()),
    "fortran": np.asfortranarray,
    "reversed": lambda a: a[::-1, ::-1],
    "strided": lambda a: a.repeat(2, axis=0).repeat(2, axis=1)[::2, ::2],
    "unaligned": lambda a: _unaligned(a),
    "bgr view": lambda a: a[..., ::-1] if a.ndim == 3 else a.T,
}


def _frozen(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


def _unaligned(array: np.ndarray) -> np.ndarray:
    raw = np.zeros(array.nbytes + 1, np.uint8)
    view = raw[1:].view(array.dtype).reshape(array.shape)
    view[...] = array
    return view


def of_dtype(picture: np.ndarray, dtype: str) -> np.ndarray:
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return (picture / 255).astype(kind)
    return (picture.astype(int) * (257 if kind.itemsize == 2 else 1)).astype(kind)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [0, 1, 2, 3, 4])
def test_every_array_kind_goes_in_and_comes_back(channels, dtype, layout):
    array = LAYOUTS[layout](of_dtype(draw(channels=channels), dtype))
    before = array.copy()

    source = open_source(array)

    pixels = source.pixels
    assert pixels.shape == (*array.shape[:2], 3) if channels >= 3 else pixels.shape == array.shape[:2]
    assert pixels.dtype in (np.uint8, np.uint16, np.float32)
    assert pixels.dtype.isnative
    assert source.peak == {"u1": 255.0, "u2": 65535.0, "f4": 1.0}[pixels.dtype.str[1:]]
    assert pixels.flags.c_contiguous
    assert pixels.flags.writeable
    assert pixels.flags.aligned

    same = source.rebuild(pixels.copy())
    assert same.dtype == array.dtype
    np.testing.assert_allclose(same, before, rtol=6e-8 if dtype == "float64" else 0)

    changed = pixels.copy()
    changed[5:9, 5:9] = source.peak
    result = source.rebuild(changed)
    assert result.shape == array.shape
    assert result.dtype == array.dtype
    n_colour = 1 if channels <= 2 else 3
    colour = result.reshape(*result.shape[:2], -1)[..., :n_colour]
    assert (colour[5:9, 5:9].astype(float) == source.peak).all()
    if channels in (2, 4):
        np.testing.assert_array_equal(result[..., -1], before[..., -1])
    np.testing.assert_array_equal(array, before)

    seen = open_luma(array)
    np.testing.assert_array_equal(array, before)
    if seen.ndim == 3:
        assert seen.dtype == np.uint8
        assert seen.shape[2] == 3
    else:
        assert seen.dtype in (np.uint8, np.float32)
    expected = before.reshape(*before.shape[:2], -1).astype(float) * (255 / source.peak)
    expected = expected[..., 0] if channels <= 2 else luma(expected)
    np.testing.assert_allclose(seen if seen.ndim == 2 else luma(seen), expected, atol=2e-3)


def test_contiguous_array_is_not_copied():
    array = draw()
    assert np.shares_memory(open_source(array).pixels, array)
    assert np.shares_memory(open_luma(array), array)


def test_floats_beyond_the_range_by_rounding_are_clipped():
    array = np.full((8, 8, 3), 0.5, np.float32)
    array[0, 0], array[1, 1] = 1 + 5e-6, -5e-6
    pixels = open_source(array).pixels
    assert pixels.max() == 1
    assert pixels.min() == 0
    assert array.max() > 1


def test_array_subclasses_work():
    masked = np.ma.masked_array(draw(), mask=False)
    assert type(open_source(masked).pixels) is np.ndarray


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (np.zeros((0, 5, 3), np.uint8), "no pixels"),
        (np.zeros((5, 0), np.uint8), "no pixels"),
        (np.zeros((5,), np.uint8), "HxW"),
        (np.zeros((), np.uint8), "HxW"),
        (np.zeros((5, 5, 5), np.uint8), "HxW"),
        (np.zeros((5, 5, 0), np.uint8), "HxW"),
        (np.zeros((3, 50, 60), np.uint8), "moveaxis"),
        (np.zeros((2, 50, 60, 3), np.uint8), "embed_batch"),
        (np.zeros((5, 5), bool), "bool"),
        (np.zeros((5, 5), np.int32), "int32"),
        (np.zeros((5, 5), np.int8), "int8"),
        (np.zeros((5, 5), np.complex64), "complex64"),
        (np.zeros((5, 5), object), "object"),
        (np.zeros((5, 5), "U3"), "uint8"),
        (np.full((5, 5), np.nan, np.float32), "NaN"),
        (np.full((5, 5), np.inf, np.float64), "infinity"),
        (np.full((5, 5), -np.inf, np.float16), "infinity"),
        (np.full((5, 5), 255.0, np.float32), "0..1"),
        (np.full((5, 5), -0.1, np.float64), "0..1"),
    ],
)
@pytest.mark.parametrize("opening", [open_source, open_luma])
def test_arrays_that_are_no_picture_are_refused_in_one_line(opening, array, says):
    with pytest.raises(InvalidImage, match=says) as caught:
        opening(array)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("thing", [None, 3, [[1, 2]], object()])
def test_other_types_are_refused(thing):
    with pytest.raises(InvalidImage, match="a picture is a path"):
        open_source(thing)
    with pytest.raises(InvalidImage, match="a picture is a path"):
        open_luma(thing)


def test_rebuild_refuses_other_pixels():
    source = open_source(draw())
    with pytest.raises(ValueError, match="uint8"):
        source.rebuild(source.pixels.astype(np.float32))
    with pytest.raises(ValueError, match="48"):
        source.rebuild(source.pixels[:-1])


# ---- Pillow images ---------------------------------------------------------------------------------


def pil_of_mode(mode: str) -> Image.Image:
    if mode.startswith("I;16"):
        dtype = ">u2" if mode == "I;16B" else "<u2"
        return Image.fromarray((draw(channels=0).astype(np.uint16) * 257).astype(dtype))
    if mode in ("YCbCr", "L", "CMYK", "HSV", "P", "1"):
        return Image.fromarray(draw()).convert(mode)
    if mode == "LA":
        return Image.merge("LA", [Image.fromarray(draw()[..., c]) for c in (0, 1)])
    image = Image.fromarray(draw(channels=4))
    return Image.merge("RGBX", image.split()) if mode == "RGBX" else image.convert(mode)


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "RGBX", "YCbCr", "I;16", "I;16B"])
def test_pillow_image_keeps_mode_size_info_and_other_bands(mode):
    image = pil_of_mode(mode)
    image.info.update(icc_profile=ICC, exif=make_exif(6), dpi=(72, 72), comment=b"mine")
    before = image.copy()

    source = open_source(image)
    same = source.rebuild(source.pixels.copy())
    marked = source.rebuild(source.pixels + source.pixels.dtype.type(1))

    for result in (same, marked):
        assert isinstance(result, Image.Image)
        assert (result.mode, result.size) == (image.mode, image.size)
        assert result.info == before.info
        assert result.info is not image.info
    assert same.tobytes() == before.tobytes()
    assert marked.tobytes() != before.tobytes()
    assert image.tobytes() == before.tobytes()
    n_colour = 3 if mode.startswith("RGB") else 1
    if not mode.startswith("I;16"):
        for old, new in zip(before.split()[n_colour:], marked.split()[n_colour:], strict=True):
            assert old.tobytes() == new.tobytes()
    if mode == "YCbCr":
        difference = np.asarray(marked.convert("RGB")).astype(int) - np.asarray(before.convert("RGB"))
        assert np.median(difference) == 1


@pytest.mark.parametrize("mode", ["P", "PA", "1", "CMYK", "HSV", "RGBa", "I", "F", "LAB"])
def test_pillow_modes_that_cannot_be_marked_are_refused(mode):
    image = Image.new(mode, (64, 64))
    with pytest.raises(UnsupportedImage, match="convert to") as caught:
        open_source(image)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("mode", ["1", "P", "CMYK", "HSV", "L", "LA", "RGB", "RGBA", "RGBX", "RGBa", "YCbCr"])
def test_detection_takes_any_mode(mode):
    image = pil_of_mode(mode)
    rgb = image.convert("RGBA").convert("RGB") if mode == "RGBa" else image.convert("RGB")
    seen = open_luma(image)
    assert seen.dtype == np.uint8
    plane = seen if seen.ndim == 2 else luma(seen)
    np.testing.assert_allclose(plane, luma(np.asarray(rgb)), atol=1.5)


@pytest.mark.parametrize("mode", ["I;16", "I;16B", "I"])
def test_detection_of_deep_grey(mode):
    deep = pil_of_mode("I;16B" if mode == "I;16B" else "I;16")
    seen = open_luma(deep.convert("I") if mode == "I" else deep)
    assert seen.dtype == np.float32
    np.testing.assert_allclose(seen, draw(channels=0), atol=1e-3)


@pytest.mark.parametrize("image", [Image.new("F", (9, 9)), Image.new("I", (9, 9), 70_000)])
def test_detection_refuses_grey_without_a_white_level(image):
    with pytest.raises(UnsupportedImage, match="white level"):
        open_luma(image)


def test_detection_converts_lab():
    assert open_luma(Image.new("LAB", (9, 9))).shape == (9, 9, 3)


@pytest.mark.parametrize("opening", [open_source, open_luma])
def test_empty_pillow_image_is_refused(opening):
    with pytest.raises(InvalidImage, match="no pixels"):
        opening(Image.new("RGB", (0, 4)))


def test_pillow_image_with_a_transparent_colour():
    image = Image.fromarray(draw())
    image.info["transparency"] = (1, 2, 3)
    with pytest.raises(UnsupportedImage, match="RGBA"):
        open_source(image)
    np.testing.assert_array_equal(open_luma(image), draw())


def test_lazily_opened_pillow_image(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(draw()).save(path)
    with Image.open(path) as image:
        np.testing.assert_array_equal(open_source(image).pixels, draw())
    path.write_bytes(path.read_bytes()[:-100])
    with Image.open(path) as image, pytest.raises(InvalidImage):
        open_source(image)


# ---- files -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview])
def test_encoded_bytes_of_any_kind(wrap):
    data = encoded(Image.fromarray(draw()), "PNG")
    np.testing.assert_array_equal(open_source(wrap(data)).pixels, draw())
    np.testing.assert_array_equal(open_luma(wrap(data)), draw())


@pytest.mark.parametrize("wrap", [str, Path])
@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.tif", "a.bmp", "a.ppm", "wrong-ending.jpg", "none"])
def test_paths_and_formats(tmp_path, name, wrap):
    path = tmp_path / name
    kind = {".webp": "WEBP", ".tif": "TIFF", ".bmp": "BMP", ".ppm": "PPM"}.get(path.suffix, "PNG")
    path.write_bytes(encoded(Image.fromarray(draw()), kind, **({"lossless": True} if kind == "WEBP" else {})))
    source = open_source(wrap(path))
    np.testing.assert_array_equal(source.pixels, draw())
    result = source.rebuild(source.pixels)
    assert isinstance(result, Image.Image)
    assert result.mode == "RGB"
    np.testing.assert_array_equal(open_luma(wrap(path)), draw())


def test_pipe(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    data = encoded(Image.fromarray(draw()), "PNG")
    writer = threading.Thread(target=path.write_bytes, args=(data,))
    writer.start()
    np.testing.assert_array_equal(open_luma(path), draw())
    writer.join()


def palette_with_alpha() -> Image.Image:
    image = Image.fromarray(draw(channels=4)).quantize(32)
    image.info["transparency"] = bytes(range(0, 256, 8))
    return image


@pytest.mark.parametrize(
    ("data", "mode"),
    [
        (encoded(pil_of_mode("P"), "PNG"), "RGB"),
        (encoded(pil_of_mode("P"), "GIF"), "RGB"),
        (encoded(palette_with_alpha(), "PNG"), "RGBA"),
        (encoded(Image.fromarray(draw()), "PNG", transparency=(20, 40, 60)), "RGBA"),
        (encoded(Image.fromarray(draw(channels=0)), "PNG", transparency=20), "LA"),
        (encoded(pil_of_mode("1"), "PNG"), "L"),
        (encoded(pil_of_mode("LA"), "PNG"), "LA"),
        (encoded(pil_of_mode("RGBA"), "PNG"), "RGBA"),
        (encoded(pil_of_mode("I;16"), "PNG"), "I;16"),
        (encoded(pil_of_mode("I;16"), "PPM"), "I;16"),
        (encoded(pil_of_mode("I;16B"), "TIFF"), "I;16"),
        (encoded(pil_of_mode("YCbCr"), "TIFF"), "RGB"),
    ],
)
def test_file_modes_are_brought_to_those_that_can_be_marked(data, mode):
    with Image.open(io.BytesIO(data)) as opened:
        expected = np.asarray(opened.convert(mode) if mode in ("LA", "RGB", "RGBA") else opened)
    source = open_source(data)
    result = source.rebuild(source.pixels)
    assert result.mode == mode
    if opened.mode not in ("1", "I", "I;16B"):
        np.testing.assert_array_equal(np.asarray(result), expected)
    assert encode_image(result, "TIFF")
    assert "transparency" not in result.info
    assert open_luma(data).shape[:2] == (48, 64)


def test_16_bit_grey_keeps_its_depth():
    data = encoded(pil_of_mode("I;16"), "PNG")
    source = open_source(data)
    assert source.peak == 65535.0
    np.testing.assert_array_equal(source.pixels, draw(channels=0).astype(np.uint16) * 257)
    back = encode_image(source.rebuild(source.pixels), "PNG")
    np.testing.assert_array_equal(open_source(back).pixels, source.pixels)


def test_cmyk_is_refused_for_embedding_and_converted_for_detection():
    data = encoded(pil_of_mode("CMYK"), "JPEG", quality=98)
    with pytest.raises(UnsupportedImage, match="convert it to RGB"):
        open_source(data)
    seen = open_luma(data)
    assert seen.shape == (48, 64, 3)
    np.testing.assert_allclose(luma(seen), luma(draw()), atol=12)


@pytest.mark.parametrize("name", ["GIF", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("opening", [open_source, open_luma])
def test_animations_are_refused(opening, name):
    frames = [Image.fromarray(np.roll(draw(), 5 * i, axis=1)) for i in range(3)]
    data = encoded(frames[0], name, save_all=True, append_images=frames[1:])
    with pytest.raises(UnsupportedImage, match="animated"):
        opening(data)
    with Image.open(io.BytesIO(data)) as image, pytest.raises(UnsupportedImage, match="animated"):
        opening(image)


def test_phone_picture_with_helpers_behind_it_is_a_still():
    pair = [Image.fromarray(draw()), Image.fromarray(draw(24, 32))]
    data = encoded(pair[0], "MPO", save_all=True, append_images=pair[1:], quality=95)
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == "MPO"
        assert image.is_animated
    assert open_source(data).pixels.shape == (48, 64, 3)
    assert open_luma(data).shape == (48, 64)


# ---- JPEG luma -------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"subsampling": 0}, {"progressive": True}, {"subsampling": 2}])
def test_jpeg_luma_is_the_y_plane(options):
    data = encoded(Image.fromarray(draw(100, 90)), "JPEG", quality=90, **options)
    seen = open_luma(data)
    assert seen.shape == (100, 90)
    assert seen.dtype == np.uint8
    with Image.open(io.BytesIO(data)) as image:
        assert np.abs(luma(np.asarray(image)) - seen).mean() < 0.6


def test_rgb_coded_jpeg_has_true_luma():
    data = encoded(Image.fromarray(draw()), "JPEG", quality=98, keep_rgb=True)
    seen = open_luma(data)
    plane = seen if seen.ndim == 2 else luma(seen)
    np.testing.assert_allclose(plane, luma(draw()), atol=6)


def test_grey_jpeg():
    seen = open_luma(encoded(Image.fromarray(draw(channels=0)), "JPEG", quality=95))
    assert seen.shape == (48, 64)


# ---- orientation -----------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_files_are_turned_upright_and_the_tag_reset(name, orientation):
    options = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}.get(name, {})
    data = encoded(Image.fromarray(draw()), name, exif=make_exif(orientation), **options)
    turn = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
        8: lambda a: np.rot90(a),
    }[orientation]
    expected = turn(draw())

    source = open_source(data)
    np.testing.assert_allclose(source.pixels.astype(int), expected, atol=4)
    result = source.rebuild(source.pixels)
    assert result.getexif().get(ORIENTATION, 1) == 1
    assert result.getexif()[ExifTags.Base.Make] == "Maker"

    seen = open_luma(data)
    np.testing.assert_allclose(seen if seen.ndim == 2 else luma(seen), luma(expected), atol=4)

    again = open_source(encode_image(result, "PNG"))  # not turned a second time
    assert again.pixels.shape == source.pixels.shape


def test_pillow_image_is_not_turned():
    with Image.open(io.BytesIO(encoded(Image.fromarray(draw()), "PNG", exif=make_exif(6)))) as image:
        source = open_source(image)
    assert source.pixels.shape == (48, 64, 3)
    assert source.rebuild(source.pixels).getexif()[ORIENTATION] == 6


@pytest.mark.parametrize(
    "damage", [b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0garbage!" * 3, b"x"]
)
@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_does_not_lose_the_picture(damage):
    for name in ("PNG", "JPEG", "WEBP"):
        data = encoded(Image.fromarray(draw()), name, exif=damage)
        source = open_source(data)
        assert source.pixels.shape == (48, 64, 3)
        for out in ("PNG", "JPEG", "WEBP", "AVIF", "TIFF"):
            assert open_luma(encode_image(source.rebuild(source.pixels), out)).shape[:2] == (48, 64)


# ---- metadata --------------------------------------------------------------------------------------


@pytest.mark.parametrize("out", ["PNG", "JPEG", "WEBP", "AVIF", "TIFF"])
@pytest.mark.parametrize("name", ["PNG", "JPEG", "WEBP", "AVIF", "TIFF"])
def test_metadata_survives_from_file_to_file(tmp_path, name, out):
    options: dict[str, Any] = {"icc_profile": ICC, "exif": make_exif(), "dpi": (300, 300)}
    if name == "PNG":
        info = PngImagePlugin.PngInfo()
        info.add_itxt("XML:com.adobe.xmp", XMP.decode())
        options["pnginfo"] = info
    elif name == "TIFF":
        exif = Image.Exif()
        exif.load(make_exif())
        exif[ExifTags.Base.XMLPacket] = XMP
        options["exif"] = exif
    else:
        options["xmp"] = XMP
    data = encoded(Image.fromarray(draw()), name, **options)
    source = open_source(data)

    path = tmp_path / f"out.{out.lower()}"
    save_image(source.rebuild(source.pixels), path)

    with Image.open(path) as image:
        image.load()
        assert image.info["icc_profile"] == ICC
        exif = image.getexif()
        assert exif[ExifTags.Base.Make] == "Maker"
        assert exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] == "2020:01:02 03:04:05"
        assert exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] == "N"
        xmp = image.info.get("xmp") or image.info["XML:com.adobe.xmp"].encode()
        assert b"<note>kept</note>" in xmp
        if out in ("PNG", "JPEG", "TIFF") and name in ("PNG", "JPEG", "TIFF"):
            assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)


def test_png_text_and_colour_chunks_survive():
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", "a cat, 20 steps")
    info.add_text("Title", "Überschrift 猫")
    info.add(b"gAMA", (45455).to_bytes(4, "big"))
    info.add(b"sRGB", b"\0")
    source = open_source(encoded(Image.fromarray(draw()), "PNG", pnginfo=info))
    with Image.open(io.BytesIO(encode_image(source.rebuild(source.pixels), "PNG"))) as image:
        assert image.text == {"parameters": "a cat, 20 steps", "Title": "Überschrift 猫"}
        assert image.info["gamma"] == pytest.approx(0.45455)
        assert image.info["srgb"] == 0


def test_tiff_storage_tags_do_not_leak():
    data = encoded(Image.fromarray(draw()), "TIFF", exif=make_exif())
    source = open_source(data)
    exif = source.rebuild(source.pixels).getexif()
    assert set(exif) == {ExifTags.Base.Make, ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo}


@pytest.mark.parametrize("dpi", [(0, 0), (float("nan"), 1), (1e9, 1e9), ("a", "b"), None, 72])
def test_odd_resolutions_are_dropped(dpi):
    image = Image.fromarray(draw())
    image.info["dpi"] = dpi
    for name in ("PNG", "JPEG", "TIFF", "BMP"):
        assert encode_image(image, name)


# ---- hostile files ---------------------------------------------------------------------------------


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def huge_png(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(random.Random(1).randbytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF", "GIF", "BMP", "PPM"])
def test_truncated_files_raise_our_error_or_are_whole(name):
    whole = encoded(Image.fromarray(draw(96, 96)), name)
    cuts = sorted(
        {*range(0, min(len(whole), 64), 3), *np.linspace(0, len(whole) - 1, 60).astype(int).tolist()}
    )
    refused = 0
    for cut in cuts:
        for opening in (open_source, open_luma):
            try:
                opening(whole[:cut])
            except InvalidImage as error:
                refused += 1
                assert "\n" not in str(error)
    # a format may tolerate a cut in its last few bytes (trailers, padding)
    assert refused >= 2 * len(cuts) * 0.9


@pytest.mark.filterwarnings("ignore")  # Pillow's remarks on odd EXIF
@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF", "GIF"])
def test_damaged_files_raise_nothing_else(name):
    rng = random.Random(name)
    whole = encoded(Image.fromarray(draw(64, 64)), name, exif=make_exif(3)) if name != "GIF" else encoded(
        pil_of_mode("P"), name)  # fmt: skip
    for _ in range(150):
        data = bytearray(whole)
        for _ in range(rng.choice([1, 4, 40])):
            data[rng.randrange(len(data) if rng.random() < 0.5 else min(200, len(data)))] = rng.randrange(256)
        for opening in (open_source, open_luma):
            try:
                opening(bytes(data), max_pixels=100_000)
            except InvalidImage as error:
                assert "\n" not in str(error)


def test_random_bytes():
    rng = random.Random(1)
    for start in (
        b"",
        b"\xff\xd8\xff\xe0",
        b"\x89PNG\r\n\x1a\n",
        b"RIFF\x10\0\0\0WEBP",
        b"GIF89a",
        b"II*\0",
        b"BM",
    ):
        for size in (0, 1, 100, 5000):
            with pytest.raises(InvalidImage):
                open_source(start + rng.randbytes(size))


def test_error_names_the_file(tmp_path):
    path = tmp_path / "broken.jpg"
    path.write_bytes(encoded(Image.fromarray(draw()), "JPEG")[:-200])
    for opening in (open_source, open_luma):
        with pytest.raises(InvalidImage, match=r"broken\.jpg"):
            opening(path)


def test_missing_file_folder_and_odd_names(tmp_path):
    with pytest.raises(InvalidImage, match=r"nothing\.png: no such file"):
        open_source(tmp_path / "nothing.png")
    for path in (tmp_path, "a\0b", ""):
        with pytest.raises(InvalidImage):
            open_luma(path)


def test_formats_that_run_programs_or_guess_are_not_read():
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n%%EndComments\n"
    with pytest.raises(InvalidImage, match="known format"):
        open_source(eps)


@pytest.mark.parametrize("opening", [open_source, open_luma])
def test_claimed_size_is_checked_before_decoding(opening):
    with pytest.raises(InvalidImage, match=r"claims 50000 x 50000 pixels.*limit"):
        opening(huge_png(50_000, 50_000))
    with pytest.raises(InvalidImage, match="limit of 3000"):
        opening(encoded(Image.fromarray(draw()), "PNG"), max_pixels=3000)
    assert opening(encoded(Image.fromarray(draw()), "PNG"), max_pixels=48 * 64) is not None


def test_pillows_own_limit_is_neither_used_nor_touched(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    data = encoded(Image.fromarray(draw()), "PNG")
    np.testing.assert_array_equal(open_source(data).pixels, draw())  # a warning would be an error here
    assert Image.MAX_IMAGE_PIXELS == 100


def test_the_largest_promised_picture_passes_the_size_check():
    # 12,000 x 9,000 is over the size at which Pillow warns; the error must be about the missing data
    whole = huge_png(12_000, 9_000)
    for opening in (open_source, open_luma):
        with pytest.raises(InvalidImage, match="cannot be read"):
            opening(whole)


# ---- writing ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".png", ".tif", ".tiff", ".bmp", ".ppm", ".PNG"])
def test_lossless_formats_write_what_they_are_given(tmp_path, suffix):
    path = tmp_path / f"out{suffix}"
    save_image(Image.fromarray(draw()), path)
    np.testing.assert_array_equal(open_source(path).pixels, draw())
    assert list(tmp_path.iterdir()) == [path]


def test_webp_lossless_and_lossy(tmp_path):
    save_image(Image.fromarray(draw()), tmp_path / "a.webp", lossless=True)
    np.testing.assert_array_equal(open_source(tmp_path / "a.webp").pixels, draw())
    save_image(Image.fromarray(draw()), tmp_path / "b.webp", quality=30)
    assert not np.array_equal(open_source(tmp_path / "b.webp").pixels, draw())


def test_jpeg_is_quality_95_without_chroma_subsampling_by_default(tmp_path):
    path = tmp_path / "a.jpg"
    save_image(Image.fromarray(draw()), path)
    reference = encoded(Image.fromarray(draw()), "JPEG", quality=95, subsampling=0)
    assert path.read_bytes() == reference
    save_image(Image.fromarray(draw()), path, quality=50, subsampling="4:2:0")
    assert path.stat().st_size < len(reference) / 2


@pytest.mark.parametrize(
    ("mode", "name", "says"),
    [
        ("RGBA", "JPEG", "JPEG cannot keep transparency: use png, webp, avif, tiff"),
        ("LA", "JPEG", "transparency"),
        ("RGBA", "BMP", "transparency"),
        ("I;16", "JPEG", "JPEG cannot keep 16 bits: use png, tiff, ppm"),
        ("I;16", "WEBP", "16 bits"),
        ("HSV", "PNG", "another mode"),
    ],
)
def test_formats_refuse_what_they_cannot_hold(tmp_path, mode, name, says):
    with pytest.raises(OutputError, match=says):
        save_image(pil_of_mode(mode), tmp_path / f"x.{name.lower()}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "options",
    [{"quality": 0}, {"quality": 101}, {"subsampling": "4:1:1"}, {"lossless": True}],
)
def test_bad_encoding_options(options):
    with pytest.raises(OutputError):
        encode_image(Image.fromarray(draw()), "jpg", **options)


def test_pictures_too_large_for_a_format():
    with pytest.raises(OutputError, match="WEBP"):
        encode_image(Image.new("L", (17_000, 1)), "webp")
    with pytest.raises(OutputError, match="JPEG"):
        encode_image(Image.new("L", (70_000, 1)), "jpeg")


def test_check_output(tmp_path):
    assert check_output(tmp_path / "a.JPG") == "JPEG"
    (tmp_path / "b.png").touch()
    (tmp_path / "folder.png").mkdir()
    assert check_output(tmp_path / "b.png") == "PNG"
    with pytest.raises(OutputError, match="exists already"):
        check_output(tmp_path / "b.png", overwrite=False)
    with pytest.raises(OutputError, match="is a folder"):
        check_output(tmp_path / "folder.png")
    with pytest.raises(OutputError, match="does not exist"):
        check_output(tmp_path / "nowhere" / "a.png")
    for name in ("a", "a.gif", "a.xyz", "png"):
        with pytest.raises(OutputError, match="unknown format"):
            check_output(tmp_path / name)


def test_unknown_ending_is_found_before_encoding(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "encode_image", lambda *_, **__: pytest.fail("encoded"))
    with pytest.raises(OutputError):
        save_image(Image.fromarray(draw()), tmp_path / "a.xyz")


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("where", ["write", "replace", "encode"])
def test_nothing_is_left_behind_when_saving_fails(tmp_path, monkeypatch, where, failure):
    path = tmp_path / "a.png"
    path.write_bytes(b"the old file")

    def fail(*_: Any, **__: Any) -> None:
        raise failure

    if where == "encode":
        monkeypatch.setattr(Image.Image, "save", fail)
    elif where == "replace":
        monkeypatch.setattr(Path, "replace", fail)
    else:
        real_open = Path.open

        def failing_open(self: Path, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
            file = real_open(self, mode, *args, **kwargs)
            if "x" in mode:
                file.write(b"half")
                file.close()
                fail()
            return file

        monkeypatch.setattr(Path, "open", failing_open)

    expected = OutputError if isinstance(failure, OSError) else KeyboardInterrupt
    with pytest.raises(expected):
        save_image(Image.fromarray(draw()), path)
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == b"the old file"


def test_saving_follows_links_and_the_umask(tmp_path):
    (tmp_path / "real").mkdir()
    target = tmp_path / "real" / "a.png"
    target.touch()
    link = tmp_path / "link.png"
    link.symlink_to(target)
    save_image(Image.fromarray(draw()), link)
    assert link.is_symlink()
    np.testing.assert_array_equal(open_source(target).pixels, draw())
    mask = os.umask(0)
    os.umask(mask)
    assert target.stat().st_mode & 0o777 == 0o666 & ~mask


def test_every_error_is_ours():
    assert issubclass(InvalidImage, FastmarkError)
    assert issubclass(UnsupportedImage, InvalidImage)
    assert issubclass(OutputError, OSError)
