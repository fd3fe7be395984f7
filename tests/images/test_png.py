"""PNG files chunk by chunk: what is damaged, what is too large for Pillow, what is kept as it was."""

from __future__ import annotations

import io
import json
import random
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from image_files import ICC, draw, encoded, luma, luma_of, make_exif
from PIL import Image, PngImagePlugin

from fastmark.errors import InvalidImageError, UnsupportedImageError
from fastmark.images.encoding import encode_image, losses
from fastmark.images.opening import open_for_detection, open_for_embedding
from fastmark.images.png import MOST_TEXT, SIGNATURE

Chunks = list[tuple[bytes, bytes]]
HEIGHT, WIDTH = 64, 80
PIXELS = draw(HEIGHT, WIDTH)


def chunk(kind: bytes, data: bytes, damaged: bool = False) -> bytes:
    checksum = zlib.crc32(kind + data) ^ (0x5A5A if damaged else 0)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)


def rows(pixels: np.ndarray) -> bytes:
    return b"".join(b"\0" + row.tobytes() for row in pixels)


def header(depth: int = 8, colour: int = 2, interlace: int = 0) -> bytes:
    return struct.pack(">IIBBBBB", WIDTH, HEIGHT, depth, colour, 0, 0, interlace)


def parts(*more: tuple[bytes, bytes], depth: int = 8, colour: int = 2, raw: bytes | None = None) -> Chunks:
    """The chunks of a picture, with some more between its header and its pixels."""
    data = zlib.compress(rows(PIXELS) if raw is None else raw)
    half = len(data) // 2
    return [
        (b"IHDR", header(depth, colour)),
        *more,
        (b"IDAT", data[:half]),
        (b"IDAT", data[half:]),
        (b"IEND", b""),
    ]


def png(chunks: Chunks, damaged: bytes = b"") -> bytes:
    """A file of chunks, those of one kind with a wrong checksum."""
    return SIGNATURE + b"".join(chunk(kind, data, kind == damaged) for kind, data in chunks)


def chunks_of(data: bytes) -> Chunks:
    found, place = [], 8
    while place < len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        found.append((kind, data[place + 8 : place + 8 + length]))
        place += 12 + length
    return found


EVERYTHING: Chunks = [
    (b"gAMA", (50_000).to_bytes(4, "big")),
    (b"cHRM", struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)),
    (b"sBIT", b"\x08\x08\x08"),
    (b"cICP", bytes([9, 16, 0, 1])),
    (b"mDCV", bytes(range(24))),
    (b"cLLI", bytes(range(8))),
    (b"iCCP", b"name\0\0" + zlib.compress(ICC)),
    (b"pHYs", struct.pack(">IIB", 3000, 3000, 1)),
    (b"tEXt", b"parameters\0a cat, 20 steps"),
    (b"zTXt", b"Comment\0\0" + zlib.compress(b"packed")),
    (b"iTXt", b"Title\0\0\0\0\0" + "Überschrift 猫".encode()),
    (b"eXIf", make_exif()[6:]),
    (b"tIME", struct.pack(">HBBBBB", 2020, 1, 2, 3, 4, 5)),
]


# ---- damaged chunks --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [kind for kind, _ in EVERYTHING])
def test_a_wrong_checksum_of_metadata_hides_nothing(kind):
    data = png(parts(*EVERYTHING), damaged=kind)
    seen = open_for_detection(data)
    np.testing.assert_array_equal(seen.pixels, PIXELS)
    source = open_for_embedding(data)
    np.testing.assert_array_equal(source.pixels, PIXELS)
    name = {b"eXIf": "EXIF", b"iCCP": "ICC profile"}.get(kind, kind.decode())
    assert len(source.warnings) == len(seen.remarks) == 1
    assert name in source.warnings[0]
    assert "damaged and was left out" in source.warnings[0]
    info = source.rebuild(source.pixels).info
    kept = {
        b"tEXt": "parameters",
        b"zTXt": "Comment",
        b"iTXt": "Title",
        b"eXIf": "exif",
        b"iCCP": "icc_profile",
    }
    assert set(kept.values()) - set(info) == ({kept[kind]} if kind in kept else set())


@pytest.mark.parametrize("kind", [b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS"])
def test_a_wrong_checksum_of_what_pixels_hang_on_is_looked_past_and_not_marked(kind):
    palette = bytes(range(96)) * 8
    indexes = PIXELS[..., 0]
    chunks = parts((b"PLTE", palette), (b"tRNS", b"\0\x80"), colour=3, raw=rows(indexes))
    data = png(chunks, damaged=kind)
    seen = open_for_detection(data)
    expected = np.frombuffer(palette, np.uint8).reshape(-1, 3)[indexes]
    np.testing.assert_allclose(luma(seen.pixels), luma(expected), atol=0.01)
    assert len(seen.remarks) == 1
    assert kind.decode() in seen.remarks[0]
    with pytest.raises(InvalidImageError, match=rf"damaged.*{kind.decode()}.*intact copy"):
        open_for_embedding(data)


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        (b"gAMA", b"\0"),
        (b"cHRM", b"short"),
        (b"sRGB", b""),
        (b"sBIT", b"\x08"),
        (b"cICP", b"\x09"),
        (b"pHYs", b"\0\0\0\1"),
        (b"iCCP", b"name\0\0not zlib"),
        (b"iCCP", b"name\0\0" + zlib.compress(ICC)[:-30]),
        (b"iCCP", b"name\0\0" + zlib.compress(ICC[:200])),
        (b"iCCP", b"name\0\7" + zlib.compress(ICC)),
        (b"iCCP", b""),
        (b"zTXt", b"Comment\0\0not zlib"),
        (b"zTXt", b"Comment"),
        (b"iTXt", b"Title\0\1\0\0\0not zlib"),
        (b"iTXt", b"Title\0\0\0\0\0\xff\xff"),
        (b"iTXt", b"Title"),
        (b"eXIf", b"II*\0\xff\xff\xff\xff"),
        (b"eXIf", b"nonsense"),
    ],
)
def test_nonsense_with_a_right_checksum_hides_nothing(kind, content):
    data = png(parts((kind, content), (b"tEXt", b"Title\0kept")))
    np.testing.assert_array_equal(luma_of(data), PIXELS)
    source = open_for_embedding(data)
    np.testing.assert_array_equal(source.pixels, PIXELS)
    assert len(source.warnings) == 1
    assert "damaged" in source.warnings[0]
    marked = source.rebuild(source.pixels)
    assert marked.info["Title"] == "kept"
    with Image.open(io.BytesIO(encode_image(marked, "PNG"))) as back:
        back.load()
        assert back.text == {"Title": "kept"}


def test_a_damaged_orientation_is_still_followed():
    exif = bytearray(make_exif(6)[6:])
    exif[-12:] = b""  # what is told to be there at the end is not
    data = png(parts((b"eXIf", bytes(exif))))
    source = open_for_embedding(data)
    np.testing.assert_array_equal(source.pixels, np.rot90(PIXELS, -1))
    assert source.warnings == ("the EXIF is damaged and was left out",)
    seen = open_for_detection(data)
    np.testing.assert_array_equal(seen.pixels, np.rot90(PIXELS, -1))
    assert (seen.height, seen.width) == (WIDTH, HEIGHT)


@pytest.mark.parametrize("change", ["late palette", "interleaved", "late header", "late profile", "no end"])
def test_chunks_in_the_wrong_order(change):
    palette = bytes(range(96)) * 8
    indexes = PIXELS[..., 0]
    chunks = parts((b"PLTE", palette), (b"tEXt", b"Title\0kept"), colour=3, raw=rows(indexes))
    ihdr, plte, text, first, second, end = chunks
    profile = (b"iCCP", b"name\0\0" + zlib.compress(ICC))
    chunks = {
        "late palette": [ihdr, first, second, plte, text, end],
        "interleaved": [ihdr, plte, first, text, second, end],
        "late header": [text, ihdr, plte, first, second, end],
        "late profile": [ihdr, plte, first, second, profile, text, end],
        "no end": [ihdr, plte, text, first, second],
    }[change]
    data = png(chunks)
    expected = np.frombuffer(palette, np.uint8).reshape(-1, 3)[indexes]
    seen = open_for_detection(data)
    np.testing.assert_array_equal(seen.pixels, expected)
    source = open_for_embedding(data)
    np.testing.assert_array_equal(source.pixels, expected)
    assert source.warnings == seen.remarks
    assert "missing" in source.warnings[0] if change == "no end" else "wrong order" in source.warnings[0]
    assert source.rebuild(source.pixels).info["Title"] == "kept"


@pytest.mark.parametrize(
    ("before", "behind"), [(b"\r\n", b""), (b"HTTP/1.1 200 OK\r\n\r\n", b""), (b"", b"PK\3\4more")]
)
def test_junk_around_an_image(before, behind):
    data = before + png(parts()) + behind
    seen = open_for_detection(data)
    np.testing.assert_array_equal(seen.pixels, PIXELS)
    source = open_for_embedding(data)
    np.testing.assert_array_equal(source.pixels, PIXELS)
    assert f"{len(before + behind)} bytes" in source.warnings[0]
    assert seen.remarks == source.warnings


def test_a_wrong_length_of_metadata_hides_nothing():
    for length in (0, 3, 200, 2**31 - 1, 2**32 - 1):
        broken = struct.pack(">I", length) + chunk(b"tEXt", b"Title\0a text of some length")[4:]
        data = png(parts())
        data = data[:33] + broken + data[33:]
        np.testing.assert_array_equal(luma_of(data), PIXELS)


def test_mutations_of_metadata_change_no_pixel():
    rng = random.Random(5)
    whole = png(parts(*EVERYTHING))
    start, end = 33, whole.index(b"IDAT") - 4
    for _ in range(200):
        data = bytearray(whole)
        for _ in range(rng.choice([1, 1, 3, 20])):
            data[rng.randrange(start, end)] = rng.randrange(256)
        np.testing.assert_array_equal(luma_of(bytes(data)), PIXELS)


# ---- what is too large for Pillow ------------------------------------------------------------------


def big_text(size: int) -> str:
    return json.dumps({"nodes": "".join(random.Random(1).choices("abcdefgh", k=1000)) * (size // 1000)})


@pytest.mark.parametrize("kind", [b"tEXt", b"zTXt", b"iTXt", b"iTXt packed"])
@pytest.mark.parametrize("size", [1000, 700_000, 3_000_000])
def test_texts_of_any_size_are_carried_over(kind, size):
    text = big_text(size)
    packed = zlib.compress(text.encode())
    content = {
        b"tEXt": b"workflow\0" + text.encode(),
        b"zTXt": b"workflow\0\0" + packed,
        b"iTXt": b"workflow\0\0\0\0\0" + text.encode(),
        b"iTXt packed": b"workflow\0\1\0\0\0" + packed,
    }[kind]
    data = png(parts((kind[:4], content), (b"tEXt", b"prompt\0a cat")))
    np.testing.assert_array_equal(luma_of(data), PIXELS)
    source = open_for_embedding(data)
    assert source.warnings == ()
    marked = source.rebuild(source.pixels)
    assert marked.info["workflow"] == text
    again = open_for_embedding(encode_image(marked, "PNG"))
    assert again.warnings == ()
    assert again.rebuild(again.pixels).info["workflow"] == text
    assert again.rebuild(again.pixels).info["prompt"] == "a cat"


def test_many_texts_that_are_much_together():
    text = b"x" * 900_000
    more = [(b"tEXt", b"node %d\0" % i + text) for i in range(80)]  # 72 MB
    source = open_for_embedding(png(parts(*more)))
    assert source.warnings == ()
    assert (
        sum(len(v) for k, v in source.rebuild(source.pixels).info.items() if str(k).startswith("node"))
        == 72_000_000
    )


def test_limits_of_the_users_program_are_neither_used_nor_touched(monkeypatch):
    monkeypatch.setattr(PngImagePlugin, "MAX_TEXT_CHUNK", 5000)
    text = big_text(20_000)
    source = open_for_embedding(png(parts((b"zTXt", b"workflow\0\0" + zlib.compress(text.encode())))))
    assert source.rebuild(source.pixels).info["workflow"] == text
    assert PngImagePlugin.MAX_TEXT_CHUNK == 5000


def test_bombs_are_dropped_with_a_warning():
    bomb = zlib.compress(bytes(MOST_TEXT + 1), 9)
    data = png(parts(*[(b"zTXt", b"bomb %d\0\0" % i + bomb) for i in range(8)], (b"tEXt", b"Title\0kept")))
    source = open_for_embedding(data)
    assert all("too large" in warning for warning in source.warnings)
    assert len(source.warnings) == 8
    assert source.rebuild(source.pixels).info["Title"] == "kept"


def test_large_profiles_are_kept():
    profile = bytearray(ICC + random.Random(2).randbytes(3_000_000))
    profile[:4] = len(profile).to_bytes(4, "big")
    source = open_for_embedding(png(parts((b"iCCP", b"big\0\0" + zlib.compress(bytes(profile))))))
    assert source.warnings == ()
    marked = source.rebuild(source.pixels)
    assert marked.info["icc_profile"] == profile
    again = open_for_embedding(encode_image(marked, "PNG"))
    assert again.rebuild(again.pixels).info["icc_profile"] == profile


# ---- the description of colours --------------------------------------------------------------------


def test_the_description_of_colours_is_kept_as_it_was():
    source = open_for_embedding(png(parts(*EVERYTHING)))
    assert source.warnings == ()
    written = chunks_of(encode_image(source.rebuild(source.pixels), "PNG"))
    colour = [
        pair for pair in EVERYTHING if pair[0] in (b"gAMA", b"cHRM", b"sBIT", b"cICP", b"mDCV", b"cLLI")
    ]
    assert [pair for pair in written if pair in colour] == colour
    kinds = [kind for kind, _ in written]
    assert kinds[0] == b"IHDR"
    assert max(kinds.index(kind) for kind, _ in [*colour, (b"iCCP", b"")]) < kinds.index(b"IDAT")
    assert all(kinds.count(kind) == 1 for kind, _ in [*colour, (b"iCCP", b""), (b"eXIf", b"")])


def test_srgb_is_kept_and_gives_way_to_a_profile():
    for more, kept in (((b"sRGB", b"\1"),), True), (((b"sRGB", b"\1"), EVERYTHING[6]), False):
        source = open_for_embedding(png(parts(*more)))
        written = chunks_of(encode_image(source.rebuild(source.pixels), "PNG"))
        assert ((b"sRGB", b"\1") in written) == kept


def test_significant_bits_go_where_bands_have_changed():
    palette = png(
        parts(
            (b"sBIT", b"\5\6\5"), (b"PLTE", bytes(768)), (b"tRNS", b"\0"), colour=3, raw=rows(PIXELS[..., 0])
        )
    )
    source = open_for_embedding(palette)
    marked = source.rebuild(source.pixels)
    assert marked.mode == "RGBA"
    assert b"sBIT" not in dict(chunks_of(encode_image(marked, "PNG")))


def test_what_other_formats_lose_is_told():
    source = open_for_embedding(png(parts(*EVERYTHING, (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0<x/>"))))
    marked = source.rebuild(source.pixels)
    assert losses(marked, "png") == ()
    told = losses(marked, "jpg")
    assert len(told) == 2
    assert "cICP, mDCV, cLLI" in told[0]
    assert "PNG text (parameters, Comment, Title)" in told[1]
    assert [line.split(" had")[0].split(" (")[0] for line in losses(marked, "BMP")] == [
        "the ICC profile", "the description of the colours", "the EXIF", "the XMP", "the PNG text",
    ]  # fmt: skip
    assert losses(Image.fromarray(PIXELS), "BMP") == ()


def test_gamma_that_other_formats_lose_is_told_unless_it_is_that_of_srgb():
    gamma = open_for_embedding(png(parts(*EVERYTHING[:2])))
    assert "gamma, cHRM" in losses(gamma.rebuild(gamma.pixels), "WEBP")[0]
    plain = open_for_embedding(png(parts((b"sRGB", b"\0"), *EVERYTHING[:2])))
    assert losses(plain.rebuild(plain.pixels), "WEBP") == ()


def test_content_credentials_are_left_out_with_a_warning():
    source = open_for_embedding(png(parts((b"caBX", b"a manifest"))))
    assert source.warnings == ("Content Credentials (C2PA) were left out; sign the watermarked image anew",)


# ---- samples ---------------------------------------------------------------------------------------


def packed(levels: np.ndarray, depth: int) -> bytes:
    bits = np.unpackbits(levels.astype(np.uint8)[..., None], axis=-1)[..., 8 - depth :]
    return rows(np.packbits(bits.reshape(HEIGHT, -1), axis=1))


@pytest.mark.parametrize("depth", [1, 2, 4])
@pytest.mark.parametrize("transparent", [False, True])
def test_grey_of_few_bits(depth, transparent):
    levels = PIXELS[..., 0].astype(int) * 2**depth // 256
    more = [(b"tRNS", struct.pack(">H", 1))] if transparent else []
    data = png(parts(*more, depth=depth, colour=0, raw=packed(levels, depth)))
    np.testing.assert_array_equal(luma_of(data), levels * 255 // (2**depth - 1))
    source = open_for_embedding(data)
    assert source.warnings == ()
    np.testing.assert_array_equal(source.pixels, levels * 255 // (2**depth - 1))
    if transparent:
        np.testing.assert_array_equal(source.visible, (levels != 1).astype(np.float32))


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_palettes_with_transparency(depth):
    levels = (PIXELS[..., 0].astype(int) - 20) * 2**depth // 256
    palette = random.Random(3).randbytes(3 * 2**depth)
    data = png(
        parts((b"PLTE", palette), (b"tRNS", b"\0\x80"), depth=depth, colour=3, raw=packed(levels, depth))
    )
    expected = np.frombuffer(palette, np.uint8).reshape(-1, 3)[levels]
    np.testing.assert_array_equal(luma_of(data), expected)
    source = open_for_embedding(data)
    np.testing.assert_array_equal(source.pixels, expected)
    alpha = np.array([0, 128] + [255] * (2**depth - 2))[levels] / 255
    np.testing.assert_allclose(source.visible, alpha, atol=1e-6)


@pytest.mark.parametrize(("colour", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
@pytest.mark.parametrize("transparent", [False, True])
def test_16_bits(colour, channels, transparent):
    deep = draw(HEIGHT, WIDTH, channels).astype(np.uint16) * 257
    more = []
    if transparent and colour in (0, 2):
        more = [(b"tRNS", deep[3, 5].astype(">u2").tobytes())]
    data = png(parts(*more, depth=16, colour=colour, raw=rows(deep.astype(">u2"))))
    grey = deep[..., 0] / 257 if colour in (0, 4) else luma(deep / 257)
    seen = luma_of(data)
    np.testing.assert_allclose(seen if seen.ndim == 2 else luma(seen), grey, atol=0.01)
    if more:
        with pytest.raises(UnsupportedImageError, match="transparent"):
            open_for_embedding(data)
        return
    source = open_for_embedding(data)
    assert len(source.warnings) == (colour != 0)
    assert all("16 bits were read as 8" in warning for warning in source.warnings)


def test_an_animation_with_damaged_control_chunks_is_looked_at():
    frames = [Image.fromarray(np.roll(PIXELS, 5 * i, axis=1)) for i in range(3)]
    data = encoded(frames[0], "PNG", save_all=True, append_images=frames[1:])
    chunks = chunks_of(data)
    for damaged in (b"acTL", b"fcTL", b"fdAT"):
        broken = png(chunks, damaged=damaged)
        seen = open_for_detection(broken)
        np.testing.assert_array_equal(seen.pixels, PIXELS)
        assert seen.remarks == ("the first frame of 3 frames was looked at",)
        with pytest.raises(UnsupportedImageError, match="animated"):
            open_for_embedding(broken)


@pytest.mark.parametrize(
    "thing", [b"", b"\0" * 40, png([(b"IHDR", header()), (b"IEND", b"")])[8:], b"\xff" * 100]
)
def test_what_has_no_header_or_no_pixels_is_refused(thing: Any):
    for opening in (open_for_detection, open_for_embedding):
        with pytest.raises(InvalidImageError, match="the image data cannot be read"):
            opening(SIGNATURE + thing)


@pytest.mark.parametrize("damaged", [b"acTL", b""])
def test_chunks_of_an_animation_that_is_none_are_left_out_with_a_warning(damaged):
    data = png(parts((b"acTL", struct.pack(">II", 3, 0))), damaged=damaged)
    sentence = "the animation chunks of the PNG file are damaged and were left out"
    assert open_for_detection(data).remarks == open_for_embedding(data).warnings == (sentence,)
    np.testing.assert_array_equal(open_for_embedding(data).pixels, PIXELS)
