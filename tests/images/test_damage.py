"""Damaged files: metadata that hide nothing, pixels that are looked at as far as they go and never marked."""

from __future__ import annotations

import io
import random
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from image_files import ICC, draw, encoded, luma_of, make_exif
from PIL import ExifTags, Image

from fastmark.errors import InvalidImageError
from fastmark.images.encoding import encode_image
from fastmark.images.opening import open_for_detection, open_for_embedding

HEIGHT, WIDTH = 200, 240
XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"


def textured() -> np.ndarray:
    """A picture with noise, so that no row is flat and files are not tiny."""
    noise = np.random.default_rng(1).normal(0, 12, (HEIGHT, WIDTH, 3))
    return np.clip(draw(HEIGHT, WIDTH) * 0.5 + 60 + noise, 0, 255).astype(np.uint8)


PICTURE = Image.fromarray(textured())


def of_kind(kind: str) -> bytes:
    name, _, how = kind.partition(" ")
    image, options = PICTURE, {}
    if name == "JPEG":
        options = {"quality": 90, "progressive": how == "progressive"}
    if how == "grey":
        image = image.convert("L")
    elif how == "CMYK":
        image = image.convert("CMYK")
    elif how == "palette":
        image = image.quantize(64)
    elif how == "1-bit":
        image = image.convert("1")
    elif how == "16-bit":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    elif how == "turned":
        options["exif"] = make_exif(6)
    elif how == "plain":
        options["interlace"] = 0
    return encoded(image, name, **options)


# ---- files cut short -------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.35, 0.7, 0.95])
@pytest.mark.parametrize(
    "kind",
    [
        "JPEG",
        "JPEG grey",
        "JPEG CMYK",
        "PNG",
        "PNG palette",
        "PNG 1-bit",
        "PNG 16-bit",
        "GIF plain",
        "BMP",
        "BMP palette",
        "PPM",
        "PPM grey",
        "PPM 16-bit",
        "TIFF",
        "TIFF 16-bit",
    ],
)
def test_the_intact_rows_of_a_file_cut_short_are_looked_at(kind, share):
    data = of_kind(kind)
    whole = luma_of(data)
    cut = data[: int(len(data) * share)]
    seen = open_for_detection(cut)
    rows = seen.pixels.shape[0]
    lower = kind.startswith("BMP")
    assert share * HEIGHT - 24 - (30 if kind.startswith("JPEG") else 0) <= rows <= share * HEIGHT + 8
    np.testing.assert_array_equal(seen.pixels, whole[-rows:] if lower else whole[:rows])
    assert (seen.height, seen.width) == (HEIGHT, WIDTH)
    where = "lower" if lower else "upper"
    assert seen.remarks[-1] == f"the file is cut short: the {where} {rows} of {HEIGHT} rows were looked at"
    with pytest.raises(InvalidImageError, match=r"cut short.*intact copy"):
        open_for_embedding(cut)


@pytest.mark.parametrize("kind", ["JPEG turned", "TIFF turned"])
def test_intact_rows_are_turned_upright(kind):
    data = of_kind(kind)
    whole = luma_of(data)
    seen = open_for_detection(data[: int(len(data) * 0.7)])
    columns = seen.pixels.shape[1]
    assert 100 < columns < 150
    np.testing.assert_array_equal(seen.pixels, whole[:, -columns:])
    assert (seen.height, seen.width) == (WIDTH, HEIGHT)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_a_progressive_jpeg_cut_short_is_looked_at_in_the_detail_that_arrived(share):
    data = of_kind("JPEG progressive")
    seen = open_for_detection(data[: int(len(data) * share)])
    assert seen.remarks == ("the file is cut short: it was looked at in the detail that arrived",)
    assert np.abs(seen.pixels.astype(int) - luma_of(data)).mean() < 15
    with pytest.raises(InvalidImageError, match="cut short"):
        open_for_embedding(data[: int(len(data) * share)])


def test_a_progressive_jpeg_cut_in_its_first_scan():
    data = of_kind("JPEG progressive")
    scan = data.index(b"\xff\xda")
    end = data.index(b"\xff\xda", scan + 2)
    seen = open_for_detection(data[: scan + (end - scan) * 2 // 3])
    assert 48 <= seen.pixels.shape[0] < HEIGHT
    assert "the upper" in seen.remarks[0]


@pytest.mark.parametrize("kind", ["JPEG", "JPEG progressive", "JPEG grey"])
def test_a_jpeg_without_its_last_two_bytes_is_whole(kind):
    data = of_kind(kind)
    seen = open_for_detection(data[:-2])
    np.testing.assert_array_equal(seen.pixels, luma_of(data))
    assert "cut short" in seen.remarks[0]
    with pytest.raises(InvalidImageError, match="cut short"):
        open_for_embedding(data[:-2])


def test_a_large_jpeg_cut_short_is_decoded_without_averaging():
    data = of_kind("JPEG")
    seen = open_for_detection(data[: len(data) * 2 // 3], unit=lambda height, width: 2)
    assert (seen.unit, seen.reduction, seen.width) == (2, 1, WIDTH)
    assert seen.pixels.shape[1] == WIDTH


def test_limits_hold_for_damaged_files():
    for kind in ("JPEG", "PNG", "BMP"):
        data = of_kind(kind)
        with pytest.raises(InvalidImageError, match="more than the limit of 1000"):
            open_for_detection(data[: len(data) // 2], max_pixels=1000)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "GIF plain", "TIFF"])
def test_few_rows_are_not_worth_a_look(kind):
    data = of_kind(kind)
    with pytest.raises(InvalidImageError, match=r"(\d+) of 200 rows are intact, too few"):
        open_for_detection(data[: len(data) * 15 // 100])


@pytest.mark.parametrize("kind", ["WEBP", "AVIF", "QOI", "JPEG2000"])
def test_formats_that_are_decoded_as_a_whole_are_refused(kind):
    data = of_kind(kind)
    for opening in (open_for_detection, open_for_embedding):
        with pytest.raises(InvalidImageError, match=r"cut short or damaged.*intact copy"):
            opening(data[: len(data) * 2 // 3])


def test_pixels_that_are_damaged_in_the_midst():
    whole = of_kind("PNG")
    data = bytearray(whole)
    place = len(data) * 2 // 3
    data[place : place + 200] = bytes(200)
    seen = open_for_detection(bytes(data))
    np.testing.assert_array_equal(seen.pixels[: HEIGHT // 2], textured()[: HEIGHT // 2])
    assert seen.remarks[0] == "the pixel data of the PNG file (IDAT) are damaged"
    with pytest.raises(InvalidImageError, match="damaged"):
        open_for_embedding(bytes(data))


# ---- JPEG's segments -------------------------------------------------------------------------------


def segment(marker: int, content: bytes) -> bytes:
    return b"\xff%c" % marker + (len(content) + 2).to_bytes(2, "big") + content


def with_segments(*segments: bytes) -> bytes:
    data = of_kind("JPEG")
    return data[:20] + b"".join(segments) + data[20:]  # behind JFIF


def profile_parts(profile: bytes, count: int) -> list[bytes]:
    size = -(-len(profile) // count)
    chunks = [profile[i * size : (i + 1) * size] for i in range(count)]
    return [segment(0xE2, b"ICC_PROFILE\0%c%c" % (i + 1, count) + c) for i, c in enumerate(chunks)]


@pytest.mark.parametrize(
    ("segments", "says"),
    [
        ([segment(0xE1, b"Exif\0\0nonsense")], "EXIF is damaged"),
        ([segment(0xE1, b"Exif\0\0" + make_exif()[6:60])], "EXIF is damaged"),
        (profile_parts(ICC, 3)[:2], "ICC profile is damaged"),
        ([segment(0xE2, b"ICC_PROFILE\0")], "ICC profile is damaged"),
        ([segment(0xE2, b"ICC_PROFILE\0\1\1" + ICC[:-100])], "ICC profile is damaged"),
        ([segment(0xEE, b"Adobe")], "Adobe segment"),
        ([segment(0xE0, b"JFIF\0")], "JFIF segment"),
        ([segment(0xED, b"Photoshop 3.0\0" + b"8BIM")], None),
        ([segment(0xED, b"Photoshop 3.0\0" + b"8BIM\3\xed\xff\xff")], None),
        ([segment(0xE2, b"MPF\0nonsense")], "further images"),
        ([segment(0xE2, b"MPF\0" + struct.pack(">2sHIH", b"MM", 42, 8, 9))], "further images"),
        ([b"\xff\xe5\0\7ab"], "segment of metadata"),
        ([b"\xff\xe1\xff\xffExif\0\0too long"], "segment of metadata"),
        ([b"\xff\xe1\0\0Exif\0\0no length"], "segment of metadata"),
        ([b"junk"], "segment of metadata"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_damaged_segments_hide_nothing(segments, says):
    data = with_segments(*segments)
    expected = luma_of(of_kind("JPEG"))
    seen = open_for_detection(data)
    np.testing.assert_array_equal(seen.pixels, expected)
    source = open_for_embedding(data)
    np.testing.assert_array_equal(source.pixels, np.asarray(Image.open(io.BytesIO(of_kind("JPEG")))))
    if says:
        assert len(source.warnings) == 1
        assert says in source.warnings[0]
    assert len(seen.remarks) == ("damaged" in (source.warnings or [""])[0])
    assert encode_image(source.rebuild(source.pixels), "JPEG")


@pytest.mark.parametrize("parts", [1, 3])
def test_profiles_in_parts_are_kept_in_any_order(parts):
    segments = profile_parts(ICC, parts)[::-1]
    source = open_for_embedding(with_segments(*segments))
    assert source.warnings == ()
    assert source.rebuild(source.pixels).info["icc_profile"] == ICC


def test_a_thumbnail_is_not_taken_for_the_image():
    thumbnail = encoded(Image.fromarray(draw(60, 80)), "JPEG")
    broken = b"\xff\xe1\0\x20Exif\0\0" + thumbnail  # its length is a lie
    np.testing.assert_array_equal(luma_of(with_segments(broken)), luma_of(of_kind("JPEG")))


def test_helpers_and_credentials_of_jpeg_are_left_out_with_a_warning():
    pair = [PICTURE, Image.fromarray(draw(24, 32))]
    source = open_for_embedding(encoded(pair[0], "MPO", save_all=True, append_images=pair[1:], quality=95))
    assert source.warnings == ("the file's further images (depth, gain map or preview) were left out",)
    gain = segment(0xE1, b'http://ns.adobe.com/xap/1.0/\0<x hdrgm:Version="1.0"/>')
    source = open_for_embedding(with_segments(gain, segment(0xE2, b"MPF\0nonsense")))
    assert source.warnings == ("the gain map (HDR) was left out: the image is written without it",)
    source = open_for_embedding(
        with_segments(segment(0xEB, b"JP\0\1\0\0\0\1\0\0\0\x20jumb\0\0\0\x10jumdc2pa"))
    )
    assert source.warnings == ("Content Credentials (C2PA) were left out; sign the watermarked image anew",)


def test_metadata_too_long_for_a_jpeg_are_lost_and_told():
    from fastmark.images.encoding import losses

    image = PICTURE.copy()
    image.info["xmp"] = b"<x>" + b"x" * 70_000 + b"</x>"
    assert luma_of(encode_image(image, "JPEG")).shape == (HEIGHT, WIDTH)
    assert losses(image, "JPEG") == ("the XMP had no place in the JPEG file and was left out",)
    assert losses(image, "PNG") == ()


# ---- other formats' metadata -----------------------------------------------------------------------


def full(name: str) -> bytes:
    """A file with every kind of metadata."""
    options: dict[str, Any] = {"icc_profile": ICC, "exif": make_exif()}
    if name == "TIFF":
        exif = Image.Exif()
        exif.load(make_exif())
        exif[ExifTags.Base.XMLPacket] = XMP
        exif[ExifTags.Base.ImageDescription] = "a description of some length"
        options["exif"] = exif
    else:
        options["xmp"] = XMP
    if name == "WEBP":
        options["lossless"] = True
    return encoded(Image.fromarray(draw()), name, **options)


def metadata_of_jpeg(data: bytes) -> range:
    return range(20, data.index(b"\xff\xdb", 20))


def metadata_of_webp(data: bytes) -> range:
    return range(data.index(b"EXIF"), len(data))


def metadata_of_tiff(data: bytes) -> range:
    """Values of tags that are stored away from their directory."""
    return range(data.index(b"a description"), data.index(b"a description") + 28)


@pytest.mark.parametrize(
    ("name", "where"),
    [("JPEG", metadata_of_jpeg), ("WEBP", metadata_of_webp), ("TIFF", metadata_of_tiff)],
)
def test_mutations_of_metadata_change_no_pixel(name: str, where: Callable[[bytes], range]):
    whole = full(name)
    expected = luma_of(whole)
    places = where(whole)
    rng = random.Random(name)
    for _ in range(150):
        data = bytearray(whole)
        for _ in range(rng.choice([1, 1, 3, 20])):
            data[rng.choice(places)] = rng.randrange(256)
        np.testing.assert_array_equal(luma_of(bytes(data)), expected)


@pytest.mark.parametrize("damage", [b"nonsense", b"II*\0\xff\xff\xff\xff", make_exif()[6:60]])
@pytest.mark.parametrize("name", ["WEBP", "AVIF", "HEIF", "JXL"])
def test_damaged_exif_of_files_of_boxes(name, damage):
    if name in ("HEIF", "JXL"):
        pytest.importorskip("pillow_heif" if name == "HEIF" else "pillow_jxl")
    picture = Image.fromarray(draw(64, 64))
    encode_image(picture, name)  # has the plugin there
    plain = encoded(picture, name, quality=95, exif=make_exif())
    assert plain.count(make_exif()[6:]) == 1
    data = plain.replace(make_exif()[6:], damage.ljust(len(make_exif()) - 6, b"x"))
    seen = open_for_detection(data)
    np.testing.assert_array_equal(seen.pixels, luma_of(plain))
    source = open_for_embedding(data)
    assert any("damaged" in warning for warning in source.warnings)
    assert seen.remarks == source.warnings
    assert encode_image(source.rebuild(source.pixels), "PNG")


@pytest.mark.parametrize("cut", [1, 10, 40])
def test_a_webp_cut_short_in_its_metadata(cut):
    whole = full("WEBP")
    source = open_for_embedding(whole[:-cut])
    np.testing.assert_array_equal(source.pixels, draw())
    assert len(source.warnings) == 1
    assert "cut short" in source.warnings[0]
    assert open_for_detection(whole[:-cut]).remarks == source.warnings


def tag_place(data: bytes, tag: int) -> int:
    (start,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, start)
    return next(
        p
        for p in range(start + 2, start + 2 + 12 * count, 12)
        if data[p : p + 2] == tag.to_bytes(2, "little")
    )


@pytest.mark.parametrize(
    ("tag", "says"),
    [(34665, "EXIF"), (34853, "EXIF"), (270, "270"), (700, "700"), (34675, "34675|ICC")],
)
def test_tags_of_a_tiff_that_lead_nowhere(tag, says):
    data = bytearray(full("TIFF"))
    place = tag_place(data, tag)
    data[place + 8 : place + 12] = b"\xf0\xff\xff\x7f"
    seen = open_for_detection(bytes(data))
    np.testing.assert_array_equal(seen.pixels, draw())
    source = open_for_embedding(bytes(data))
    np.testing.assert_array_equal(source.pixels, draw())
    assert len(source.warnings) == 1
    assert "damaged" in source.warnings[0]
    if tag != 34675:
        assert says in source.warnings[0]
    assert seen.remarks == source.warnings


def test_damaged_files_never_raise_anything_else():
    rng = random.Random(9)
    for kind in ("JPEG", "JPEG progressive", "PNG palette", "GIF plain", "BMP", "TIFF", "PPM"):
        whole = of_kind(kind)
        for _ in range(25):
            data = bytearray(whole[: rng.randrange(1, len(whole))] if rng.random() < 0.5 else whole)
            for _ in range(rng.choice([1, 5, 50])):
                data[rng.randrange(len(data))] = rng.randrange(256)
            for opening in (open_for_detection, open_for_embedding):
                try:
                    opening(bytes(data), max_pixels=200_000)
                except InvalidImageError as error:
                    assert "\n" not in str(error)


def test_an_animation_that_is_cut_short_is_not_marked():
    frames = [Image.fromarray(np.roll(textured(), 5 * i, axis=1)) for i in range(3)]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    for share in (0.5, 0.6, 0.7, 0.8, 0.9):
        cut = data[: int(len(data) * share)]
        seen = open_for_detection(cut)
        assert seen.pixels.shape[:2] == (HEIGHT, WIDTH)
        assert seen.remarks
        with pytest.raises(InvalidImageError, match=r"animated|damaged"):
            open_for_embedding(cut)


def test_mutations_of_descriptive_tags_change_no_pixel():
    whole = full("TIFF")
    places = []
    for tag in (270, 700, 34665, 34853, 34675):
        place = tag_place(whole, tag)
        places += range(place + 2, place + 12)
    rng = random.Random(4)
    for _ in range(150):
        data = bytearray(whole)
        for _ in range(rng.choice([1, 3, 20])):
            data[rng.choice(places)] = rng.randrange(256)
        np.testing.assert_array_equal(luma_of(bytes(data)), draw())


def test_mutations_of_the_exif_of_an_avif_change_no_pixel():
    plain = encoded(Image.fromarray(draw(64, 64)), "AVIF", exif=make_exif())
    place, expected = plain.index(make_exif()[6:]), luma_of(plain)
    rng = random.Random(6)
    for _ in range(60):
        data = bytearray(plain)
        for _ in range(rng.choice([1, 3, 20])):
            data[place + rng.randrange(len(make_exif()) - 6)] = rng.randrange(256)
        np.testing.assert_array_equal(luma_of(bytes(data)), expected)
