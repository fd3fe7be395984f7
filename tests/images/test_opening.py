"""Pictures in and back: every kind, memory layout, mode and orientation that images.py promises to handle."""

from __future__ import annotations

import io
import os
import threading
from pathlib import Path

import numpy as np
import pytest
from image_files import ICC, draw, encoded, luma, luma_of, make_exif, pil_of_mode
from PIL import Image

from fastmark.errors import InvalidImageError, UnsupportedImageError
from fastmark.images.encoding import encode_image
from fastmark.images.opening import open_for_detection, open_for_embedding

# ---- arrays ----------------------------------------------------------------------------------------

DTYPES = ["uint8", "uint16", ">u2", "float16", "float32", ">f4", "float64"]
LAYOUTS = {
    "plain": lambda a: a,
    "readonly": lambda a: _frozen(a.copy()),
    "fortran": np.asfortranarray,
    "reversed": lambda a: a[::-1, ::-1],
    "strided": lambda a: a.repeat(2, axis=0).repeat(2, axis=1)[::2, ::2],
    "unaligned": lambda a: _unaligned(a),
    "masked": np.ma.masked_array,
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

    source = open_for_embedding(array)

    pixels = source.pixels
    assert type(pixels) is np.ndarray
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

    seen = luma_of(array)
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
    assert np.shares_memory(open_for_embedding(array).pixels, array)
    assert np.shares_memory(luma_of(array), array)


def test_floats_beyond_the_range_by_rounding_are_clipped():
    array = np.full((8, 8, 3), 0.5, np.float32)
    array[0, 0], array[1, 1] = 1 + 5e-6, -5e-6
    pixels = open_for_embedding(array).pixels
    assert pixels.max() == 1
    assert pixels.min() == 0
    assert array.max() > 1


@pytest.mark.parametrize(
    ("thing", "says"),
    [
        (None, "an image is a path"),
        ([[1, 2]], "an image is a path"),
        (Image.new("RGB", (0, 4)), "no pixels"),
        (np.zeros((0, 5, 3), np.uint8), "no pixels"),
        (np.zeros((5, 0), np.uint8), "no pixels"),
        (np.zeros((5,), np.uint8), "HxW"),
        (np.zeros((5, 5, 5), np.uint8), "HxW"),
        (np.zeros((5, 5, 0), np.uint8), "HxW"),
        (np.zeros((3, 50, 60), np.uint8), "moveaxis"),
        (np.zeros((2, 50, 60, 3), np.uint8), "embed_batch"),
        (np.zeros((5, 5), bool), "bool"),
        (np.zeros((5, 5), np.int32), "int32"),
        (np.zeros((5, 5), object), "object"),
        (np.zeros((5, 5), "U3"), "uint8"),
        (np.full((5, 5), np.nan, np.float32), "NaN"),
        (np.full((5, 5), np.inf, np.float64), "infinity"),
        (np.full((5, 5), -np.inf, np.float16), "infinity"),
        (np.full((5, 5), 255.0, np.float32), "0..1"),
        (np.full((5, 5), -0.1, np.float64), "0..1"),
    ],
)
@pytest.mark.parametrize("opening", [open_for_embedding, open_for_detection])
def test_what_is_no_image_is_refused_in_one_line(opening, thing, says):
    with pytest.raises(InvalidImageError, match=says) as caught:
        opening(thing)
    assert "\n" not in str(caught.value)


def test_rebuild_refuses_other_pixels():
    source = open_for_embedding(draw())
    with pytest.raises(ValueError, match="uint8"):
        source.rebuild(source.pixels.astype(np.float32))
    with pytest.raises(ValueError, match="48"):
        source.rebuild(source.pixels[:-1])


# ---- Pillow images ---------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "RGBX", "YCbCr", "I;16", "I;16B"])
def test_pillow_image_keeps_mode_size_info_and_other_bands(mode):
    image = pil_of_mode(mode)
    image.info.update(icc_profile=ICC, exif=make_exif(6), dpi=(72, 72), comment=b"mine")
    before = image.copy()

    source = open_for_embedding(image)
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
    with pytest.raises(UnsupportedImageError, match="convert to") as caught:
        open_for_embedding(image)
    assert "\n" not in str(caught.value)
    assert luma_of(image).shape[:2] == (64, 64)


@pytest.mark.parametrize("mode", ["1", "P", "CMYK", "HSV", "L", "LA", "RGB", "RGBA", "RGBX", "RGBa", "YCbCr"])
def test_detection_takes_any_mode(mode):
    image = pil_of_mode(mode)
    rgb = image.convert("RGBA").convert("RGB") if mode == "RGBa" else image.convert("RGB")
    seen = luma_of(image)
    assert seen.dtype == np.uint8
    plane = seen if seen.ndim == 2 else luma(seen)
    np.testing.assert_allclose(plane, luma(np.asarray(rgb)), atol=1.5)


@pytest.mark.parametrize("mode", ["I;16", "I;16B", "I"])
def test_detection_of_deep_grey(mode):
    deep = pil_of_mode("I;16B" if mode == "I;16B" else "I;16")
    seen = luma_of(deep.convert("I") if mode == "I" else deep)
    assert seen.dtype == np.float32
    np.testing.assert_allclose(seen, draw(channels=0), atol=1e-3)


@pytest.mark.parametrize(
    ("scale", "offset", "mode"),
    [(1 / 255, 0, "F"), (1, 0, "F"), (257, 0, "F"), (1, 0, "I"), (257, 0, "I")],
)
def test_the_white_of_deep_grey_is_the_least_that_holds_its_levels(scale, offset, mode):
    levels = draw(channels=0).astype(float) * scale + offset
    image = Image.fromarray(levels.astype(np.float32 if mode == "F" else np.int32))
    np.testing.assert_allclose(luma_of(image), draw(channels=0), atol=0.01)


@pytest.mark.parametrize(("mode", "scale", "offset"), [("F", 3.0, -70.0), ("I", 70_000, -5), ("F", 1e6, 0)])
def test_grey_with_no_white_is_stretched(mode, scale, offset):
    grey = draw(channels=0).astype(float)
    image = Image.fromarray((grey * scale + offset).astype(np.float32 if mode == "F" else np.int32))
    stretched = (grey - grey.min()) * 255 / np.ptp(grey)
    np.testing.assert_allclose(luma_of(image), stretched, atol=0.01)
    with pytest.raises(UnsupportedImageError, match="convert to I;16 or L"):
        open_for_embedding(image)


@pytest.mark.parametrize("odd", [np.nan, np.inf])
def test_levels_that_are_not_finite_are_refused(odd):
    levels = np.full((9, 9), 0.5, np.float32)
    levels[3, 3] = odd
    with pytest.raises(InvalidImageError, match="NaN or infinity"):
        luma_of(Image.fromarray(levels))


def test_pillow_image_with_a_transparent_colour():
    image = Image.fromarray(draw())
    image.info["transparency"] = (1, 2, 3)
    with pytest.raises(UnsupportedImageError, match="RGBA"):
        open_for_embedding(image)
    np.testing.assert_array_equal(luma_of(image), draw())


def test_lazily_opened_pillow_image(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(draw()).save(path)
    with Image.open(path) as image:
        np.testing.assert_array_equal(open_for_embedding(image).pixels, draw())
    path.write_bytes(path.read_bytes()[:-100])
    with Image.open(path) as image, pytest.raises(InvalidImageError):
        open_for_embedding(image)


# ---- files -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview])
def test_encoded_bytes_of_any_kind(wrap):
    data = encoded(Image.fromarray(draw()), "PNG")
    np.testing.assert_array_equal(open_for_embedding(wrap(data)).pixels, draw())
    np.testing.assert_array_equal(luma_of(wrap(data)), draw())


@pytest.mark.parametrize("wrap", [str, Path])
@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.tif", "a.bmp", "a.ppm", "wrong-ending.jpg", "none"])
def test_paths_and_formats(tmp_path, name, wrap):
    path = tmp_path / name
    kind = {".webp": "WEBP", ".tif": "TIFF", ".bmp": "BMP", ".ppm": "PPM"}.get(path.suffix, "PNG")
    path.write_bytes(encoded(Image.fromarray(draw()), kind, **({"lossless": True} if kind == "WEBP" else {})))
    source = open_for_embedding(wrap(path))
    np.testing.assert_array_equal(source.pixels, draw())
    result = source.rebuild(source.pixels)
    assert isinstance(result, Image.Image)
    assert result.mode == "RGB"
    np.testing.assert_array_equal(luma_of(wrap(path)), draw())


def test_pipe(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    data = encoded(Image.fromarray(draw()), "PNG")
    writer = threading.Thread(target=path.write_bytes, args=(data,))
    writer.start()
    np.testing.assert_array_equal(luma_of(path), draw())
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
    source = open_for_embedding(data)
    result = source.rebuild(source.pixels)
    assert result.mode == mode
    if opened.mode not in ("1", "I", "I;16B"):
        np.testing.assert_array_equal(np.asarray(result), expected)
    assert encode_image(result, "TIFF")
    assert "transparency" not in result.info
    assert luma_of(data).shape[:2] == (48, 64)


def test_16_bit_grey_keeps_its_depth():
    data = encoded(pil_of_mode("I;16"), "PNG")
    source = open_for_embedding(data)
    assert source.peak == 65535.0
    np.testing.assert_array_equal(source.pixels, draw(channels=0).astype(np.uint16) * 257)
    back = encode_image(source.rebuild(source.pixels), "PNG")
    np.testing.assert_array_equal(open_for_embedding(back).pixels, source.pixels)


def test_cmyk_is_refused_for_embedding_and_converted_for_detection():
    data = encoded(pil_of_mode("CMYK"), "JPEG", quality=98)
    with pytest.raises(UnsupportedImageError, match="convert it to RGB"):
        open_for_embedding(data)
    seen = luma_of(data)
    assert seen.shape == (48, 64, 3)
    np.testing.assert_allclose(luma(seen), luma(draw()), atol=12)


@pytest.mark.parametrize("name", ["GIF", "PNG", "WEBP", "TIFF", "AVIF"])
def test_of_animations_the_first_frame_is_looked_at_and_none_is_marked(name):
    frames = [Image.fromarray(np.roll(draw(), 5 * i, axis=1)) for i in range(3)]
    options = {"lossless": True} if name == "WEBP" else {"quality": 95} if name == "AVIF" else {}
    data = encoded(frames[0], name, save_all=True, append_images=frames[1:], **options)
    seen = open_for_detection(data)
    unit = {"TIFF": "page", "AVIF": "image"}.get(name, "frame")
    assert seen.remarks == (f"the first {unit} of 3 {unit}s was looked at",)
    plane = seen.pixels if seen.pixels.ndim == 2 else luma(seen.pixels)
    np.testing.assert_allclose(plane, luma(draw()), atol=20 if name in ("GIF", "AVIF") else 0.01)
    with pytest.raises(UnsupportedImageError, match="animated"):
        open_for_embedding(data)
    with Image.open(io.BytesIO(data)) as image:
        with pytest.raises(UnsupportedImageError, match="animated"):
            open_for_embedding(image)
        image.seek(1)
        seen = open_for_detection(image)
        assert seen.remarks == ("frame 2 of 3, the current one, was looked at",)
        assert image.tell() == 1
        plane = seen.pixels if seen.pixels.ndim == 2 else luma(seen.pixels)
        expected = luma(np.roll(draw(), 5, axis=1))
        np.testing.assert_allclose(plane, expected, atol=20 if name in ("GIF", "AVIF") else 0.01)


def test_phone_picture_with_helpers_behind_it_is_a_still():
    pair = [Image.fromarray(draw()), Image.fromarray(draw(24, 32))]
    data = encoded(pair[0], "MPO", save_all=True, append_images=pair[1:], quality=95)
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == "MPO"
        assert image.is_animated
    assert open_for_embedding(data).pixels.shape == (48, 64, 3)
    assert luma_of(data).shape == (48, 64)


# ---- opacity ---------------------------------------------------------------------------------------


def opacity() -> np.ndarray:
    alpha = np.full((48, 64), 255, np.uint8)
    alpha[:5] = 0
    alpha[5:9, 3:] = 77
    return alpha


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [2, 4])
def test_what_of_an_array_is_seen(channels, dtype):
    array = draw(channels=channels)
    array[..., -1] = opacity()
    deep = of_dtype(array, dtype)
    source = open_for_embedding(deep)
    assert source.visible is not None
    assert source.visible.dtype == np.float32
    np.testing.assert_allclose(source.visible, opacity() / 255, atol=1e-3 if dtype == "float16" else 1e-6)
    np.testing.assert_array_equal(source.rebuild(source.pixels)[..., -1], deep[..., -1])
    array[..., -1] = 255
    assert open_for_embedding(of_dtype(array, dtype)).visible is None


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
@pytest.mark.parametrize("name", [None, "PNG", "WEBP", "TIFF"])
def test_what_of_an_image_is_seen(mode, name):
    image = pil_of_mode(mode)
    image.putalpha(Image.fromarray(opacity()))
    given = image if name is None else encoded(image, name, **({"lossless": True} if name == "WEBP" else {}))
    source = open_for_embedding(given)
    np.testing.assert_array_equal(source.visible, opacity() / np.float32(255))
    np.testing.assert_array_equal(np.asarray(source.rebuild(source.pixels))[..., -1], opacity())
    image.putalpha(255)
    assert open_for_embedding(image).visible is None


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBX", "YCbCr", "I;16"])
def test_what_has_no_alpha_is_seen(mode):
    assert open_for_embedding(pil_of_mode(mode)).visible is None


# ---- limits ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("opening", [open_for_embedding, open_for_detection])
def test_the_limit_holds_for_every_kind_of_image(opening):
    for image in (draw(), Image.fromarray(draw()), encoded(Image.fromarray(draw()), "PNG")):
        with pytest.raises(InvalidImageError, match="64 x 48 pixels, more than the limit of 3071"):
            opening(image, max_pixels=3071)
        assert opening(image, max_pixels=np.int64(3072)) is not None
        for odd in (0, -1, True, 2.5, "10"):
            with pytest.raises(ValueError, match="max_pixels"):
                opening(image, max_pixels=odd)


@pytest.mark.parametrize("dtype", ["uint8", ">u2", "float16", "float64"])
@pytest.mark.parametrize("channels", [2, 4])
def test_pixels_that_nobody_sees_come_back_to_the_last_bit(channels, dtype):
    """Beyond the precision of the work too, which is float32."""
    array = of_dtype(draw(channels=channels), dtype)
    if dtype == "float64":
        array += 1e-12
    array[:20, :30, -1] = 0
    source = open_for_embedding(array)
    changed = source.rebuild(source.pixels // 2 if dtype in ("uint8", ">u2") else source.pixels / 2)
    hidden = array[..., -1] == 0
    assert changed.dtype == array.dtype
    np.testing.assert_array_equal(changed[hidden], array[hidden])
    assert np.all(changed[~hidden][:, 0] < array[~hidden][:, 0])
    np.testing.assert_array_equal(changed[..., -1], array[..., -1])
