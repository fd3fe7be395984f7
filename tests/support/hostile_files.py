"""Files that are to harm who reads them: damaged, lying about themselves, or growing beyond all bounds."""

from __future__ import annotations

import functools
import io
import random
import struct
import tempfile
import zlib
from pathlib import Path

from pictures import drawn
from PIL import Image

HEIGHT, WIDTH = 160, 200
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "PPM", "JPEG2000", "QOI", "AVIF", "HEIF", "JXL")
_MOST_ZEROS = 32 << 20  # bytes that a bomb holds when it has gone off


@functools.cache
def samples():
    """A picture in every format that can be written here, some in more ways than one: name to bytes."""
    image = Image.fromarray(drawn(HEIGHT, WIDTH, 11))
    found = {}
    for name in FORMATS:
        if data := _written(image, name):
            found[name] = data
    found["progressive"] = _written(image, "JPEG", progressive=True)
    found["cmyk"] = _written(image.convert("CMYK"), "JPEG")
    found["palette"] = _written(image.quantize(16), "PNG")
    found["alpha"] = _written(image.convert("RGBA"), "WEBP", lossless=True)
    found["animation"] = _written(image, "GIF", save_all=True, append_images=[image.rotate(90)] * 3)
    found["deflated"] = _written(image, "TIFF", compression="tiff_deflate")
    found["pages"] = _written(image, "TIFF", compression="jpeg", save_all=True, append_images=[image] * 2)
    found["16 bits"] = _written(
        Image.fromarray(drawn(HEIGHT, WIDTH, 11)[..., 0].astype("uint16") * 257), "PNG"
    )
    if signed := _signed(found["JPEG"]):
        found["signed"] = signed
    return {name: data for name, data in found.items() if data}


def _written(image, name, **options):
    from fastmark.errors import FastmarkError
    from fastmark.images.encoding import encode_image

    if name in ("HEIF", "JXL"):
        try:
            return encode_image(image, name)
        except FastmarkError:  # its package is not installed
            return None
    buffer = io.BytesIO()
    try:
        image.save(buffer, name, **options)
    except (KeyError, OSError):  # Pillow was built without it
        return None
    return buffer.getvalue()


def _signed(data):
    try:
        from fastmark.errors import MissingPackageError
        from fastmark.provenance.chain import make_chain
        from fastmark.provenance.signing import Signer, sign
        from fastmark.records import Record

        with tempfile.TemporaryDirectory() as folder:
            chain = make_chain(Path(folder))
            signer = Signer(str(chain.chain), str(chain.key))
            return sign(data, "JPEG", Record(provider="Provider"), bytes(8), signer).data
    except (ImportError, MissingPackageError):
        return None


# ---- damage ----------------------------------------------------------------------------------------------


def any_sample(rng):
    return rng.choice(sorted(samples().items()))[1]


def cut(rng):
    """The beginning of a file."""
    data = any_sample(rng)
    return data[: int(len(data) * rng.random() ** rng.choice((0.3, 1, 4)))]


def flipped(rng):
    """A file with some bits turned, most of them in its beginning."""
    data = bytearray(any_sample(rng))
    reach = rng.choice((64, 1024, len(data)))
    for _ in range(rng.choice((1, 3, 30))):
        data[rng.randrange(min(reach, len(data)))] ^= 1 << rng.randrange(8)
    return bytes(data)


def spliced(rng):
    """The beginning of one file, the end of another, or a part of it in its midst."""
    first, second = any_sample(rng), any_sample(rng)
    here, there = rng.randrange(len(first)), rng.randrange(len(second))
    if rng.random() < 0.5:
        return first[:here] + second[there:]
    return first[:here] + second[there : there + rng.randrange(5000)] + first[here:]


def junk(rng):
    """Bytes that are no image, with or without the signature of one."""
    return rng.choice(_SIGNATURES) + rng.randbytes(rng.choice((0, 1, 12, 100, 3000, 100_000)))


_SIGNATURES = (
    b"", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08", b"BM",
    b"RIFF\xff\xff\xff\xffWEBPVP8 ", b"RIFF\0\0\0\0WEBPVP8X", b"P6\n", b"P1 ", b"Pf\n", b"qoif", b"\xff\n",
    b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51", b"\0\0\0\x1cftypavif", b"\0\0\0\x18ftypheic",
    b"\0\0\0\x0cJXL \r\n\x87\n", b"%PDF-1.7\n", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"<svg xmlns='a'>",
    b"\x1f\x8b\x08", b"8BPS\0\x01", b"PAR1", b'{"format": "fastmark-key"', b"\0" * 16, b"\xef\xbb\xbf<?xml",
    b"PK\x03\x04", b"SIMPLE  =", b"DDS |", b"\x01\xda", b"\0\0\x01\0", b"\xff\xd8", b"\n\x05\x01\x08",
)  # fmt: skip


# ---- lies ------------------------------------------------------------------------------------------------

_SIDES = (0, 1, 7, 200, 1500, 30_000, 65_500, 65_535, 2**24, 2**31 - 1, 2**31, 2**32 - 1)


def lying(rng):
    """A file that says it has other dimensions than it has."""
    name = rng.choice([name for name in _LIARS if name in samples()])
    width, height = (rng.choice(_SIDES) for _ in range(2))
    return _LIARS[name](samples()[name], width, height)


def _put(data, place, layout, *values):
    """Write numbers into bytes, as far as they go into their fields."""
    bits = {"B": 8, "H": 16, "I": 32}
    fields = layout.lstrip("<>")
    kept = [value & ((1 << bits[field]) - 1) for value, field in zip(values, fields, strict=True)]
    packed = struct.pack(layout, *kept)
    return data[:place] + packed + data[place + len(packed) :]


def png_with(data, width, height):
    head = struct.pack(">II", width, height) + data[24:29]
    return data[:16] + head + struct.pack(">I", zlib.crc32(b"IHDR" + head)) + data[33:]


def _jpeg_with(data, width, height):
    place = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2"))
    return _put(data, place + 5, ">HH", height, width)


def _tiff_with(data, width, height):
    (place,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, place)
    for entry in range(place + 2, place + 2 + 12 * count, 12):
        (tag,) = struct.unpack_from("<H", data, entry)
        if tag in (256, 257):
            data = _put(data, entry + 2, "<H", 4)
            data = _put(data, entry + 8, "<I", width if tag == 256 else height)
    return data


def _after(mark, offset, layout):
    def changed(data, width, height):
        place = data.find(mark)
        return data if place < 0 else _put(data, place + offset, layout, width, height)

    return changed


_LIARS = {
    "PNG": png_with,
    "palette": png_with,
    "16 bits": png_with,
    "JPEG": _jpeg_with,
    "progressive": _jpeg_with,
    "cmyk": _jpeg_with,
    "TIFF": _tiff_with,
    "deflated": _tiff_with,
    "WEBP": _after(b"\x9d\x01\x2a", 3, "<HH"),
    "GIF": _after(b"GIF8", 6, "<HH"),
    "animation": _after(b"\x2c\0\0\0\0", 5, "<HH"),
    "BMP": _after(b"BM", 18, "<II"),
    "QOI": _after(b"qoif", 4, ">II"),
    "JPEG2000": _after(b"\xff\x51", 6, ">II"),
    "AVIF": _after(b"ispe", 8, ">II"),
    "HEIF": _after(b"ispe", 8, ">II"),
    "PPM": lambda data, width, height: b"P6\n%d %d\n255\n" % (width, height) + data[15:],
}


# ---- bombs -----------------------------------------------------------------------------------------------


def bomb(rng):
    """A small file that wants much memory or time."""
    return rng.choice(_bombs())


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png(width, height, *before, data=None, depth=8, colour=0):
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = zlib.compress(bytes(min((width + 1) * height, _MOST_ZEROS)), 9) if data is None else data
    chunks = (chunk(b"IHDR", head), *before, chunk(b"IDAT", body), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@functools.cache
def _bombs():
    zeros = zlib.compress(bytes(_MOST_ZEROS), 9)
    small = samples()["PNG"][33:]
    start = samples()["PNG"][:33]
    scans = samples()["progressive"]
    scan = scans[scans.rfind(b"\xff\xda") : -2]
    frame = b"\x21\xf9\x04\0\0\0\0\0\x2c\0\0\0\0\x01\0\x01\0\0\x02\x02\x44\x01\0"
    gif = b"GIF89a" + struct.pack("<HH", 1400, 1400) + b"\x80\0\0\0\0\0\xff\xff\xff"
    loop = b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHII", 256, 4, 1, 10) + struct.pack("<I", 8)
    many = b"II*\0\x08\0\0\0" + struct.pack("<H", 65535) + struct.pack("<HHII", 273, 4, 2**32 - 1, 8) * 65535
    runs = b"qoif" + struct.pack(">IIBB", 1400, 1400, 3, 0) + b"\xfd" * 40_000 + b"\0" * 7 + b"\x01"
    rle = b"BM" + struct.pack("<IHHIIiiHHIIiiII", 0, 0, 0, 1078, 40, 1400, 1400, 1, 8, 1, 0, 0, 0, 256, 0)
    laughs = b'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "ha">' + b"".join(
        b'<!ENTITY %c "%s">' % (98 + i, b"&%c;" % (97 + i) * 10) for i in range(9)
    )
    laughs += b']><x:xmpmeta xmlns:x="adobe:ns:meta/">&j;</x:xmpmeta>'
    deep = b'<x:xmpmeta xmlns:x="adobe:ns:meta/">' + b"<a>" * 100_000
    return [
        _png(1400, 1400),  # within the bounds, with 99.9 % less bytes than pixels
        _png(30_000, 30_000),
        _png(1400, 1400, depth=16, colour=6),
        _png(16, 2**31 - 1, depth=1),
        _png(200, 160, data=zeros),
        *(start + chunk(kind, head + zeros) + small for kind, head in
          ((b"zTXt", b"XML:com.adobe.xmp\0\0"), (b"iCCP", b"x\0\0"),
           (b"iTXt", b"XML:com.adobe.xmp\0\x01\0\0\0"))),
        *(start + chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + text) + small for text in (laughs, deep)),
        start + chunk(b"tEXt", b"parameters\0" + b"a" * 3_000_000) + small,
        start + chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0)) + small,
        start + chunk(b"tEXt", b"a\0b") * 100_000 + small,
        scans[:-2] + scan * 300 + b"\xff\xd9",  # each scan is a pass over the picture
        _jpeg_with(scans, 1400, 1400)[:-2] + scan * 30 + b"\xff\xd9",
        gif + frame * 20_000 + b";",
        gif + b"\x2c" + struct.pack("<HHHH", 0, 0, 1400, 1400) + b"\0\x08" + b"\xff" + b"\0" * 255 + b"\0;",
        loop,
        many,
        rle + b"\0\0\0\0" * 256 + b"\xff\x01" * 6000 + b"\0\x01",
        runs,
        b"P6\n60000 60000\n255\n",
        b"P5\n" + b"# comment\n" * 100_000 + b"10 10\n255\n" + bytes(100),
        b"P2\n1400 1400\n65535\n" + b"1 " * 1_960_000,
        b"P1\n" + b" " * 1_000_000 + b"8 8\n" + b"1" * 64,
        b"Pf\n1400 1400\n-1e308\n" + bytes(1400),
        b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf" + b"\0\0\0\x08free" * 100_000,
        b"\0\0\0\x01ftypheic" + b"\xff" * 5000,
    ]  # fmt: skip


# ---- metadata --------------------------------------------------------------------------------------------


def metadata(rng):
    """A whole image, whose metadata are not."""
    kind, text = (
        rng.choice(("xmp", "exif", "jumbf", "icc", "mpf", "signed")),
        rng.randbytes(rng.choice((0, 9, 900))),
    )
    if kind == "signed" and "signed" in samples():
        data = bytearray(samples()["signed"])
        for _ in range(rng.choice((1, 5, 50))):
            data[rng.randrange(min(15_000, len(data)))] ^= 1 << rng.randrange(8)
        return bytes(data)
    if kind == "xmp":
        values = rng.choice(
            (b"&a;", b"\0", b"\xff\xfe", b"<rdf:RDF>" * 500, b"]]>", b"<?", b"a" * 60_000, text)
        )
        payload = b"http://ns.adobe.com/xap/1.0/\0" + b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>" + values
        return _with_segment(0xE1, payload)
    if kind == "exif":
        entries = b"".join(
            struct.pack("<HHII", rng.choice((274, 34665, 37510, 34853, 513, 0)), rng.randrange(14),
                        rng.choice((0, 1, 2**32 - 1)), rng.choice((0, 8, 2**32 - 1)))
            for _ in range(rng.choice((1, 30)))
        )  # fmt: skip
        return _with_segment(
            0xE1, b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", len(entries) // 12) + entries
        )
    if kind == "jumbf":
        boxes = struct.pack(">I", rng.choice((0, 1, 8, 30, 2**32 - 1))) + rng.choice(
            (b"jumb", b"jumd", b"c2pa")
        )
        return _with_segment(
            0xEB, b"JP\0\x01\0\0\0\x01" + boxes + b"jumdc2pa\0\x11\0\x10\x80\0\0\xaa\0" + text
        )
    if kind == "icc":
        return _with_segment(0xE2, b"ICC_PROFILE\0" + rng.randbytes(2) + text)
    return _with_segment(0xE2, b"MPF\0II*\0\x08\0\0\0" + text)


def _with_segment(marker, payload):
    payload = payload[:65_000]
    data = samples()["JPEG"]
    return data[:2] + bytes([0xFF, marker]) + struct.pack(">H", len(payload) + 2) + payload + data[2:]


FILES = {
    "cut": cut,
    "bits turned": flipped,
    "spliced": spliced,
    "no image": junk,
    "lying dimensions": lying,
    "bomb": bomb,
    "metadata": metadata,
}
"""Makers of files by kind; each takes a generator of random numbers, and makes the same of it in one process:
the signed sample has another signature in the next."""


def any_file(rng: random.Random) -> bytes:
    """A file of any kind but bombs, or a whole one."""
    kind = rng.choice([*FILES, "whole"])
    return any_sample(rng) if kind in ("whole", "bomb") else FILES[kind](rng)
