"""Encoded pictures: metadata kept, damage refused on the way in, all or nothing on the way out."""

from __future__ import annotations

import io
import os
import random
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_files import ICC, ORIENTATION, draw, encoded, luma, luma_of, make_exif, pil_of_mode, save_image
from PIL import ExifTags, Image, PngImagePlugin

from fastmark.errors import FastmarkError, InvalidImageError, OutputError, UnsupportedImageError
from fastmark.images import encoding as files
from fastmark.images.encoding import check_output, encode_image
from fastmark.images.opening import open_for_detection, open_for_embedding

XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><note>kept</note></x:xmpmeta>'


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

    source = open_for_embedding(data)
    np.testing.assert_allclose(source.pixels.astype(int), expected, atol=4)
    result = source.rebuild(source.pixels)
    assert result.getexif().get(ORIENTATION, 1) == 1
    assert result.getexif()[ExifTags.Base.Make] == "Maker"

    seen = luma_of(data)
    np.testing.assert_allclose(seen if seen.ndim == 2 else luma(seen), luma(expected), atol=4)

    again = open_for_embedding(encode_image(result, "PNG"))  # not turned a second time
    assert again.pixels.shape == source.pixels.shape


def test_pillow_image_is_not_turned():
    with Image.open(io.BytesIO(encoded(Image.fromarray(draw()), "PNG", exif=make_exif(6)))) as image:
        source = open_for_embedding(image)
    assert source.pixels.shape == (48, 64, 3)
    assert source.rebuild(source.pixels).getexif()[ORIENTATION] == 6


@pytest.mark.parametrize(
    "damage", [b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0garbage!" * 3, b"x"]
)
@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_does_not_lose_the_picture(damage):
    for name in ("PNG", "JPEG", "WEBP"):
        data = encoded(Image.fromarray(draw()), name, exif=damage)
        source = open_for_embedding(data)
        assert source.pixels.shape == (48, 64, 3)
        for out in ("PNG", "JPEG", "WEBP", "AVIF", "TIFF"):
            assert luma_of(encode_image(source.rebuild(source.pixels), out)).shape[:2] == (48, 64)


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
    source = open_for_embedding(data)

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
    source = open_for_embedding(encoded(Image.fromarray(draw()), "PNG", pnginfo=info))
    with Image.open(io.BytesIO(encode_image(source.rebuild(source.pixels), "PNG"))) as image:
        assert image.text == {"parameters": "a cat, 20 steps", "Title": "Überschrift 猫"}
        assert image.info["gamma"] == pytest.approx(0.45455)
        assert image.info["srgb"] == 0


def test_tiff_storage_tags_do_not_leak():
    data = encoded(Image.fromarray(draw()), "TIFF", exif=make_exif())
    source = open_for_embedding(data)
    exif = source.rebuild(source.pixels).getexif()
    assert set(exif) == {ExifTags.Base.Make, ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo}


@pytest.mark.parametrize("dpi", [(0, 0), (float("nan"), 1), (1e9, 1e9), ("a", "b"), None, 72])
def test_odd_resolutions_are_dropped(dpi):
    image = Image.fromarray(draw())
    image.info["dpi"] = dpi
    for name in ("PNG", "JPEG", "TIFF", "BMP"):
        assert encode_image(image, name)


def test_png_drops_text_it_has_no_room_for():
    image = Image.fromarray(draw())
    image.info.update({"\u732b": "a key beyond Latin-1", "half": "\ud800", "Title": "kept"})
    with Image.open(io.BytesIO(encode_image(image, "PNG"))) as back:
        assert back.text == {"Title": "kept"}


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
    cuts = {*range(0, min(len(whole), 64), 3), *np.linspace(0, len(whole) - 1, 60).astype(int).tolist()}
    refused = shut = 0
    for cut in cuts:
        for opening in (open_for_embedding, open_for_detection):
            try:
                opening(whole[:cut])
            except InvalidImageError as error:
                refused += 1
                assert "\n" not in str(error)
            else:
                shut += opening is open_for_embedding
    # a format may tolerate a cut in its last few bytes (trailers, padding)
    assert refused >= len(cuts)
    assert shut <= 0.1 * len(cuts)


@pytest.mark.filterwarnings("ignore")  # Pillow's remarks on odd EXIF
@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF", "GIF"])
def test_damaged_files_raise_nothing_else(name):
    rng = random.Random(name)
    whole = encoded(pil_of_mode("P" if name == "GIF" else "RGB"), name, exif=make_exif(3))
    for _ in range(150):
        data = bytearray(whole)
        for _ in range(rng.choice([1, 4, 40])):
            data[rng.randrange(len(data) if rng.random() < 0.5 else min(200, len(data)))] = rng.randrange(256)
        for opening in (open_for_embedding, open_for_detection):
            try:
                opening(bytes(data), max_pixels=100_000)
            except InvalidImageError as error:
                assert "\n" not in str(error)


def test_random_bytes():
    rng = random.Random(1)
    for start in (b"", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"RIFF\x10\0\0\0WEBP", b"GIF89a", b"II*\0"):
        for size in (0, 1, 100, 5000):
            with pytest.raises(InvalidImageError):
                open_for_embedding(start + rng.randbytes(size))


def test_error_names_the_file(tmp_path):
    path = tmp_path / "broken.jpg"
    path.write_bytes(encoded(Image.fromarray(draw()), "JPEG")[:-200])
    for opening in (open_for_embedding, open_for_detection):
        with pytest.raises(InvalidImageError, match=r"broken\.jpg"):
            opening(path)


def test_missing_file_folder_and_odd_names(tmp_path):
    with pytest.raises(InvalidImageError, match=r"nothing\.png: no such file"):
        open_for_embedding(tmp_path / "nothing.png")
    for path in (tmp_path, "a\0b", ""):
        with pytest.raises(InvalidImageError):
            luma_of(path)


def test_formats_that_run_programs_or_guess_are_not_read():
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n%%EndComments\n"
    with pytest.raises(InvalidImageError, match="known format"):
        open_for_embedding(eps)


@pytest.mark.parametrize("opening", [open_for_embedding, open_for_detection])
def test_claimed_size_is_checked_before_decoding(opening):
    with pytest.raises(InvalidImageError, match=r"claims 50000 x 50000 pixels.*limit"):
        opening(huge_png(50_000, 50_000))
    with pytest.raises(InvalidImageError, match="limit of 3000"):
        opening(encoded(Image.fromarray(draw()), "PNG"), max_pixels=3000)
    assert opening(encoded(Image.fromarray(draw()), "PNG"), max_pixels=48 * 64) is not None


def test_pillows_own_limit_is_neither_used_nor_touched(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    data = encoded(Image.fromarray(draw()), "PNG")
    np.testing.assert_array_equal(open_for_embedding(data).pixels, draw())  # a warning would be an error here
    for name in ("JPEG", "WEBP", "AVIF", "TIFF", "GIF", "BMP", "PPM", "JPEG2000", "QOI"):
        options = [{"lossless": True}, {}] if name == "WEBP" else [{}]
        for more in [*options, {"compression": "tiff_lzw"}] if name == "TIFF" else options:
            data = encoded(Image.fromarray(draw()), name, **more)
            assert open_for_embedding(data).pixels.shape == draw().shape
            assert luma_of(data).shape[:2] == draw().shape[:2]
            with pytest.raises(InvalidImageError, match="more than the limit of 99"):
                open_for_detection(data, max_pixels=99)
    assert Image.MAX_IMAGE_PIXELS == 100


def test_the_largest_promised_picture_passes_the_size_check():
    # 12,000 x 9,000 is over the size at which Pillow warns; the error must be about the missing data
    whole = huge_png(12_000, 9_000)
    for opening in (open_for_embedding, open_for_detection):
        with pytest.raises(InvalidImageError, match="cannot be read"):
            opening(whole)


# ---- writing ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".png", ".tif", ".tiff", ".bmp", ".ppm", ".PNG"])
def test_lossless_formats_write_what_they_are_given(tmp_path, suffix):
    path = tmp_path / f"out{suffix}"
    save_image(Image.fromarray(draw()), path)
    np.testing.assert_array_equal(open_for_embedding(path).pixels, draw())
    assert list(tmp_path.iterdir()) == [path]


def test_levels_of_png_change_the_file_and_not_the_image():
    image = Image.fromarray(draw())
    files = {level: encode_image(image, "png", compress_level=level) for level in (0, 3, 9)}
    assert len(files[9]) <= len(files[3]) < len(files[0])
    for data in files.values():
        np.testing.assert_array_equal(open_for_embedding(data).pixels, draw())
    for name, level in (("png", 10), ("png", -1), ("jpeg", 3)):
        with pytest.raises(OutputError, match="compress_level"):
            encode_image(image, name, compress_level=level)


def test_webp_lossless_and_lossy(tmp_path):
    save_image(Image.fromarray(draw()), tmp_path / "a.webp", lossless=True)
    np.testing.assert_array_equal(open_for_embedding(tmp_path / "a.webp").pixels, draw())
    save_image(Image.fromarray(draw()), tmp_path / "b.webp", quality=30)
    assert not np.array_equal(open_for_embedding(tmp_path / "b.webp").pixels, draw())


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
    monkeypatch.setattr(files, "encode_image", lambda *_, **__: pytest.fail("encoded"))
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
    np.testing.assert_array_equal(open_for_embedding(target).pixels, draw())
    mask = os.umask(0)
    os.umask(mask)
    assert target.stat().st_mode & 0o777 == 0o666 & ~mask


def test_names_as_long_as_the_file_system_allows(tmp_path):
    path = tmp_path / ("\u732b" * 83 + ".png")
    save_image(Image.fromarray(draw()), path)
    assert list(tmp_path.iterdir()) == [path]
    for name in ("x" * 300 + ".png", "a\0b.png"):
        with pytest.raises(OutputError, match="cannot be written"):
            save_image(Image.fromarray(draw()), tmp_path / name)


def test_every_error_is_ours():
    for kind in (InvalidImageError, OutputError):
        assert issubclass(kind, FastmarkError)
    assert issubclass(UnsupportedImageError, InvalidImageError)
