"""Plain metadata read from headers: our packet in every format, texts of generators, content credentials."""

from __future__ import annotations

import io
import json
import random
import struct
import sys
import zlib

import packets
import pytest
from image_files import draw, encoded, make_exif
from PIL import ExifTags, Image, PngImagePlugin

from fastmark.errors import OutputError
from fastmark.images import jpeg
from fastmark.images.encoding import encode_image, losses
from fastmark.images.findings import C2PA_DROPPED, XMP_CUT
from fastmark.images.opening import open_for_embedding
from fastmark.provenance import xmp
from fastmark.provenance.plain import Plain, c2pa_present, metadata_of
from fastmark.records import Record

RECORD = Record(system="Maler 猫", system_version="1", policy="no-training", producer_code="001")
MESSAGE = bytes(range(8))
PACKET = xmp.merge(packets.PHOTOSHOP.encode(), RECORD, MESSAGE)
FORMATS = ["PNG", "JPEG", "WEBP", "AVIF", "TIFF", "HEIF", "JXL"]


def picture() -> Image.Image:
    return Image.fromarray(draw())


def written(name: str, image: Image.Image) -> bytes:
    """A file by fastmark; the test is skipped where a package is not installed."""
    try:
        return encode_image(image, name)
    except OutputError as error:
        if "which needs the package" in str(error):
            pytest.skip(str(error))
        raise


def exif_of(tags: dict[int, object]) -> bytes:
    exif = Image.Exif()
    for tag, value in tags.items():
        (exif.get_ifd(ExifTags.IFD.Exif) if tag == ExifTags.Base.UserComment else exif)[tag] = value
    return exif.tobytes()


def png_with(**texts: str) -> bytes:
    info = PngImagePlugin.PngInfo()
    for key, text in texts.items():
        info.add_text(key.replace("_raw", ""), text)
    return encoded(picture(), "PNG", pnginfo=info)


# ---- our packet in files ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("exif", [False, True])
def test_every_written_format_holds_the_packet(name, exif):
    image = picture()
    image.info["xmp"] = PACKET
    if exif:
        image.info["exif"] = make_exif()
    data = written(name, image)
    assert not losses(image, name)
    assert metadata_of(data) == Plain(xmp=PACKET)
    # and once more, as an image that comes back to be watermarked again
    opened = open_for_embedding(data)
    again = opened.rebuild(opened.pixels)
    raw = again.info.get("xmp") or again.info.get("XML:com.adobe.xmp")
    assert (raw.encode() if isinstance(raw, str) else raw) == PACKET
    merged = xmp.merge_report(PACKET, RECORD, MESSAGE)
    assert (merged.packet, merged.replaced) == (PACKET, ())
    for other in FORMATS[:5]:
        assert metadata_of(encode_image(again, other)).xmp == PACKET


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_without_metadata_says_nothing(name):
    data = written(name, picture())
    assert metadata_of(data) == Plain()
    assert not c2pa_present(data)


@pytest.mark.parametrize("name", ["BMP", "PPM"])
def test_formats_without_xmp_say_so(name):
    image = picture()
    image.info["xmp"] = PACKET
    assert losses(image, name) == (f"the XMP had no place in the {name} file and was left out",)
    assert metadata_of(encode_image(image, name)) == Plain()


def test_a_packet_too_large_for_jpeg_is_told():
    for size, fits in ((65_504 - len(PACKET), True), (65_505 - len(PACKET), False)):
        image = picture()
        image.info["xmp"] = PACKET + b" " * size
        assert (losses(image, "JPEG") == ()) is fits
        found = metadata_of(encode_image(image, "JPEG")).xmp
        assert (found is not None) is fits


@pytest.mark.parametrize("order", ["<", ">"])
def test_big_tiff(order):
    data = struct.pack(order + "2sHHHQ", b"II" if order == "<" else b"MM", 43, 8, 0, 16)
    entries = [(256, 4, 1, 1), (257, 4, 1, 1), (273, 4, 1, 8), (279, 4, 1, 1)]
    table = [
        struct.pack(order + "HHQ", tag, 4, 1) + struct.pack(order + "L4x", value)
        for tag, _, _, value in entries
    ]
    place = 16 + 8 + 20 * 5 + 8
    table.append(struct.pack(order + "HHQQ", 700, 1, len(PACKET), place))
    data += struct.pack(order + "Q", len(table)) + b"".join(table) + bytes(8) + PACKET
    assert metadata_of(data).xmp == PACKET


def segment(content: bytes, marker: int = 0xE1) -> bytes:
    return b"\xff%c" % marker + struct.pack(">H", len(content) + 2) + content


def with_segments(*segments: bytes) -> bytes:
    data = encoded(picture(), "JPEG")
    return data[:2] + b"".join(segments) + data[2:]


GUID = b"0123456789ABCDEF0123456789ABCDEF"
NOTED = packets.described(
    f'<n:HasExtendedXMP xmlns:n="http://ns.adobe.com/xmp/note/">{GUID.decode()}</n:HasExtendedXMP>',
    "<dc:title>main</dc:title>",
)
REST = packets.described("<e:AISystemUsed>Far away</e:AISystemUsed>", f"<dc:a>{'x' * 150_000}</dc:a>")


def extended(guid: bytes = GUID, size: int = len(REST), step: int = 60_000) -> list[bytes]:
    return [
        segment(jpeg.EXTENDED_XMP + guid + struct.pack(">II", size, place) + REST[place : place + step])
        for place in range(0, len(REST), step)
    ]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_extended_xmp_of_jpeg_is_one_packet(order):
    parts = extended()
    data = with_segments(segment(jpeg.XMP + NOTED), *(parts[i] for i in order))
    found = metadata_of(data).xmp
    assert found is not None
    assert xmp.read(found).system == "Far away"
    expected = packets.statements(NOTED, ours=False) + packets.statements(REST, ours=False)
    (note,) = (key for key in expected if key[0].endswith("HasExtendedXMP"))
    del expected[note]
    assert packets.statements(found, ours=False) == expected
    assert XMP_CUT in open_for_embedding(data).warnings


@pytest.mark.parametrize(
    "parts",
    [
        extended()[:2],
        extended()[1:],
        extended(guid=GUID[::-1]),
        extended(size=1 << 31),
        extended(size=9),
        [segment(jpeg.EXTENDED_XMP + GUID)],
    ],
)
def test_extended_xmp_that_is_not_whole_or_of_another_packet(parts):
    assert metadata_of(with_segments(segment(jpeg.XMP + NOTED), *parts)).xmp == NOTED


def test_a_damaged_packet_is_given_as_it_is():
    assert metadata_of(with_segments(segment(jpeg.XMP + b"<x"), *extended())).xmp == b"<x"


@pytest.mark.parametrize("kind", ["tEXt", "zTXt", "iTXt", "iTXt compressed", "magick"])
def test_xmp_in_every_kind_of_png_text(kind):
    info = PngImagePlugin.PngInfo()
    packet = xmp.merge(None, Record(system="x"))
    text = packet.decode()
    if kind.startswith("iTXt"):
        info.add_itxt("XML:com.adobe.xmp", text, zip=kind != "iTXt")
    elif kind == "magick":
        digits = packet.hex()
        lines = "\n".join(digits[i : i + 72] for i in range(0, len(digits), 72))
        info.add_text("Raw profile type xmp", f"\nxmp\n{len(packet):8}\n{lines}\n", zip=True)
    else:
        packet = packet.replace("\ufeff".encode(), b"")
        info.add_text("XML:com.adobe.xmp", packet.decode(), zip=kind == "zTXt")
    found = metadata_of(encoded(picture(), "PNG", pnginfo=info)).xmp
    assert found is not None
    assert found == packet
    assert xmp.read(found).system == "x"


# ---- texts of generators ---------------------------------------------------------------------------

A1111 = "a cat\nNegative prompt: dog\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 512x512"
GRAPH = json.dumps({"3": {"class_type": "KSampler", "inputs": {}}})


@pytest.mark.parametrize(
    ("texts", "tool", "kept"),
    [
        ({"parameters": A1111}, "AUTOMATIC1111", {"parameters"}),
        ({"parameters": A1111 + ", Version: f2.0.1v1.10.1"}, "Forge", {"parameters"}),
        ({"parameters": A1111 + ", App: SD.Next, Version: 1"}, "SD.Next", {"parameters"}),
        ({"parameters": '{"sui_image_params": {}}'}, "SwarmUI", {"parameters"}),
        ({"parameters": "anything"}, None, {"parameters"}),
        ({"prompt": GRAPH, "workflow": '{"nodes": []}'}, "ComfyUI", {"prompt", "workflow"}),
        ({"prompt": "a cat"}, None, {"prompt"}),
        (
            {"invokeai_metadata": "{}", "invokeai_graph": "{}"},
            "InvokeAI",
            {"invokeai_metadata", "invokeai_graph"},
        ),
        ({"sd-metadata": "{}", "Dream": "cat -s 50"}, "InvokeAI", {"sd-metadata", "Dream"}),
        ({"parameters": A1111, "fooocus_scheme": "a1111"}, "Fooocus", {"parameters", "fooocus_scheme"}),
        (
            {"Software": "NovelAI", "Source": "Stable Diffusion 1D44365E", "Comment": "{}", "Title": "t"},
            "NovelAI",
            {"Software", "Source", "Comment", "Title"},
        ),
        ({"Software": "Draw Things 1.2", "Comment": "mine"}, "Draw Things", {"Software"}),
        ({"Software": "Adobe Photoshop", "Comment": "mine", "Title": "t"}, None, set()),
        ({"Software": "NotComfyUIAtAll"}, None, set()),
        ({"AIGC": '{"Label": "1"}'}, None, {"AIGC"}),
    ],
)
def test_png_texts_of_generators(texts, tool, kept):
    found = metadata_of(png_with(**texts))
    assert found.tool == tool
    assert found.png_text == {key: texts[key] for key in kept}


@pytest.mark.parametrize(
    "comment",
    [
        b"UNICODE\0" + A1111.encode("utf-16-be"),
        b"UNICODE\0" + A1111.encode("utf-16-le"),
        b"ASCII\0\0\0" + A1111.encode(),
        bytes(8) + A1111.encode() + bytes(3),
    ],
)
@pytest.mark.parametrize("name", ["JPEG", "WEBP", "PNG", "AVIF"])
def test_user_comment(name, comment):
    found = metadata_of(encoded(picture(), name, exif=exif_of({ExifTags.Base.UserComment: comment})))
    assert found == Plain(png_text={"parameters": A1111}, tool="AUTOMATIC1111")


def test_other_texts_of_exif():
    described = exif_of({ExifTags.Base.ImageDescription: A1111})
    assert metadata_of(encoded(picture(), "TIFF", exif=described)).png_text == {"parameters": A1111}
    comfy = exif_of({ExifTags.Base.Make: 'workflow:{"nodes": []}', ExifTags.Base.Model: f"prompt:{GRAPH}"})
    found = metadata_of(encoded(picture(), "WEBP", exif=comfy))
    assert found == Plain(png_text={"workflow": '{"nodes": []}', "prompt": GRAPH}, tool="ComfyUI")
    named = exif_of({ExifTags.Base.Software: "Midjourney v7", ExifTags.Base.Make: "Canon"})
    assert metadata_of(encoded(picture(), "JPEG", exif=named)) == Plain(
        png_text={"Software": "Midjourney v7"}, tool="Midjourney"
    )
    chinese = exif_of({ExifTags.Base.UserComment: b"ASCII\0\0\0" + b'{"AIGC": {"Label": "1"}}'})
    assert metadata_of(encoded(picture(), "JPEG", exif=chinese)).png_text == {
        "AIGC": '{"AIGC": {"Label": "1"}}'
    }


def test_texts_behind_the_pixels():
    data = png_with()
    text = PngImagePlugin.PngInfo()
    text.add_text("parameters", A1111)
    chunk = b"tEXt" + text.chunks[0][1]
    whole = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    end = data.index(b"IEND") - 4
    assert metadata_of(data[:end] + whole + data[end:]).tool == "AUTOMATIC1111"


def test_texts_that_are_bombs_are_left_out():
    info = PngImagePlugin.PngInfo()
    info.add_text("prompt", "x" * (40 << 20), zip=True)
    info.add_text("workflow", "y" * (2 << 20))
    info.add_text("parameters", A1111)
    assert metadata_of(encoded(picture(), "PNG", pnginfo=info)).png_text == {"parameters": A1111}


# ---- content credentials ---------------------------------------------------------------------------

JUMBF = (
    b"\0\0\0\x30jumb\0\0\0\x28jumd"
    + b"c2pa\0\x11\0\x10\x80\0\0\xaa\0\x38\x9b\x71"
    + b"\x03c2pa\0"
    + bytes(10)
)
OTHER_JUMBF = JUMBF.replace(b"c2pa", b"othr")


def chunked(data: bytes, kind: bytes, content: bytes) -> bytes:
    """A RIFF file with one more chunk."""
    body = data[8:] + kind + struct.pack("<I", len(content)) + content + bytes(len(content) & 1)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def signed(name: str, store: bytes = JUMBF) -> bytes:
    """A file with something where content credentials are."""
    if name == "TIFF":
        exif = Image.Exif()
        exif[0xCD41] = store
        return encoded(picture(), "TIFF", exif=exif)
    data = written(name, picture())
    if name == "JPEG":
        return with_segments(segment(b"JP\0\1\0\0\0\1" + store, 0xEB))
    if name == "PNG":
        info = PngImagePlugin.PngInfo()
        info.add(b"caBX", store)
        return encoded(picture(), "PNG", pnginfo=info)
    if name == "WEBP":
        return chunked(data, b"C2PA", store)
    if name == "JXL":
        if not data.startswith(b"\0\0\0\x0cJXL "):
            data = b"\0\0\0\x0cJXL \r\n\x87\n\0\0\0\x14ftypjxl \0\0\0\0jxl \0\0\0\0jxlc" + data
        return data[:32] + store + data[32:]
    content = bytes.fromhex("d8fec3d61b0e483c92975828877ec481") + store
    return data + struct.pack(">I4s", len(content) + 8, b"uuid") + content


@pytest.mark.parametrize("name", FORMATS)
def test_content_credentials_are_seen_without_a_package(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "c2pa", None)
    data = signed(name)
    assert c2pa_present(data)
    assert open_for_embedding(data).warnings.count(C2PA_DROPPED) == 1


@pytest.mark.parametrize("name", ["JPEG", "JXL"])
def test_other_boxes_are_no_content_credentials(name):
    data = signed(name, OTHER_JUMBF)
    assert not c2pa_present(data)
    assert C2PA_DROPPED not in open_for_embedding(data).warnings


# ---- odd files -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data", [b"", b"x", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\4\0\0\0WEBPVP8X", bytes(99)]
)
def test_files_that_are_none(data):
    assert metadata_of(data) == Plain()
    assert not c2pa_present(data)


@pytest.mark.parametrize("name", FORMATS)
def test_damaged_files_never_raise(name):
    image = picture()
    image.info["xmp"] = PACKET
    image.info["exif"] = exif_of({ExifTags.Base.UserComment: b"UNICODE\0" + A1111.encode("utf-16-be")})
    whole = written(name, image)
    assert metadata_of(whole).tool == "AUTOMATIC1111"
    generator = random.Random(14)
    for _ in range(250):
        data = bytearray(whole)
        for _ in range(generator.randint(0, 6)):
            # most of them where the structure is
            most = len(data) if generator.random() < 0.3 else 400
            data[generator.randrange(min(most, len(data)))] = generator.choice(
                (0, 1, 255, generator.randrange(256))
            )
        del data[generator.randrange(len(data) // 4, 3 * len(data)) :]
        assert isinstance(metadata_of(bytes(data)), Plain)
        assert c2pa_present(bytes(data)) in (False, True)


def test_what_is_behind_junk_is_found():
    assert metadata_of(b"\r\n" + png_with(parameters=A1111)).tool == "AUTOMATIC1111"


def test_an_item_of_a_heif_file_that_claims_much_is_bounded():
    image = picture()
    image.info["xmp"] = PACKET
    data = encode_image(image, "AVIF")
    place = data.index(PACKET)
    sizes = [i for i in range(len(data)) if data[i : i + 4] == struct.pack(">I", len(PACKET))]
    assert sizes
    for at in sizes:
        for claim in (0, 0xFFFFFFFF, len(data)):
            changed = data[:at] + struct.pack(">I", claim) + data[at + 4 :]
            found = metadata_of(changed).xmp
            assert found is None or len(found) <= len(data) - place


def test_a_damaged_segment_before_many_others_takes_no_time_of_their_square():
    # before it was bounded, each of the segments was a beginning from which all others were passed
    data = b"\xff\xd8\xff\xe0\xff\xff" + bytes(10) + b"\xff\xe0\x00\x02" * 60_000
    assert not c2pa_present(data)
    assert metadata_of(data) == Plain()


@pytest.mark.parametrize("chunk", [b"\0\0\0\0", b"\0\x0f\0\0IDAT\0\0\0\0"])
def test_a_damaged_chunk_before_many_others_takes_no_time_of_their_square(chunk):
    # before it was bounded, each place was one from which the rest was searched, or its checksum computed
    data = png_with()[:33] + b"\x7f\0\0\0tEXt" + chunk * (3 << 20 >> 3)
    assert not c2pa_present(data)
    assert metadata_of(data) == Plain()


def test_the_file_is_not_read_as_a_file(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(png_with(parameters=A1111))
    assert metadata_of(path.read_bytes()).png_text == {"parameters": A1111}
    with Image.open(io.BytesIO(path.read_bytes())) as image:
        assert image.info["parameters"] == A1111
