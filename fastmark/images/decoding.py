"""Encoded images: opened, told from what only looks like one, and decoded as far as they are intact.

| damage | detect | embed |
|---|---|---|
| of metadata: EXIF, ICC profile, texts, indexes | looks, with a remark | leaves them out, with a warning |
| of checksums of header or pixels | looks, with a remark | refuses |
| cut short or broken: JPEG, PNG, GIF, BMP, PPM, TIFF | looks at the intact rows, with a remark | refuses |
| cut short or broken: WebP, AVIF, HEIC, JPEG XL, JPEG 2000, QOI; interlaced PNG | refuses | refuses |
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import Any

from PIL import ExifTags, Image, ImageOps

from fastmark._checks import MAX_PIXELS_ALONE
from fastmark.errors import InvalidImageError, UnsupportedImageError, reason_of
from fastmark.images import boxes, jpeg, png, tiff
from fastmark.images.findings import EXIF_DAMAGED, GAIN_MAP_DROPPED, Findings
from fastmark.images.formats import Encoded, factory_of
from fastmark.images.ifd import exif_is_damaged, orientation_of
from fastmark.images.reading import check_size, most_bytes, read_image

_EXAMINERS: dict[str, Any] = {
    "JPEG": jpeg.examine,
    "TIFF": tiff.examine,
    "WEBP": boxes.examine_webp,
    "AVIF": boxes.examine_heif,
    "HEIF": boxes.examine_heif,
}
_FOREIGN = "whose samples Pillow cannot read: convert it to 8 or 16 bits first"
_SRGB_CICP = b"cicp\0\0\0\0\1\r\0\1"
_ROW_BY_ROW = ("JPEG", "PNG", "GIF", "BMP", "PPM", "TIFF")
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(slots=True)
class Opened:
    """A file whose header is read and whose pixels are not.

    Attributes:
        decoder: Pillow's; its size is checked.
        findings: what was seen of the file.
        name: Pillow's name of the format.
        label: how errors name the file.
        remarks: what a detector should pass on, in sentences.
    """

    decoder: Any
    findings: Findings
    name: str
    label: str
    remarks: list[str] = field(default_factory=list)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the marked image will not have."""
        return tuple(dict.fromkeys([*self.findings.damaged, *self.findings.dropped]))

    def is_upright(self) -> bool:
        """Whether the image stands as it is stored."""
        return self._orientation() == 1

    def is_turned(self) -> bool:
        """Whether the decoder tells the height of the upright image as its width."""
        return self.name != "TIFF" and self._orientation() >= 5  # Pillow turns TIFFs itself

    def upright(self, image: Image.Image) -> Image.Image:
        """``image``, what the decoder gave, turned as the EXIF tells."""
        if self.findings.turned:
            return _without_orientation(image)
        orientation = self._orientation()
        if orientation == 1:
            return image
        with contextlib.suppress(Exception):  # any damage to the EXIF: the pixels are fine
            if image.getexif().get(ExifTags.Base.Orientation) == orientation:
                return ImageOps.exif_transpose(image)
        info = image.info
        image = image.transpose(_TURNS[orientation])
        image.info = info
        return image

    def load(self) -> Image.Image:
        """The decoded image, if the file is intact.

        Raises:
            UnsupportedImageError: if there are several.
            InvalidImageError: if pixels are damaged or missing.
        """
        if self.findings.broken:
            raise InvalidImageError(
                f"{self.label} is damaged: {self.findings.broken[0]}: an intact copy is needed"
            )
        if self.findings.frames > 1:
            raise _several(self.label)
        if self.findings.foreign:
            raise UnsupportedImageError(f"{self.label} is {self.name} {_FOREIGN}")
        try:
            return self._load(self.decoder)
        except MemoryError:
            raise
        except Exception as error:
            if self._bare():
                with contextlib.suppress(Exception):
                    return self._load(self.decoder)
            raise _unreadable(self.label, error) from error

    def look(self, reduction: int) -> Image.Image:
        """What can be decoded, first frame or intact rows; the sentences that go with it join ``remarks``.

        Args:
            reduction: how many pixels, each way, the decoder may average: 1, 2, 4 or 8. Of JPEG files
                the luma alone is decoded.

        Raises:
            InvalidImageError: if there is not enough.
        """
        self.remarks += [*self.findings.damaged, *self.findings.broken]
        if self.findings.frames > 1:
            self.remarks.append(self._first_of())
        width, height = self.decoder.size
        try:
            self.decoder.draft("L", (width // reduction, height // reduction))
            return self._load(self.decoder)
        except MemoryError:
            raise
        except Exception as error:
            if self._bare():
                with contextlib.suppress(Exception):
                    image = self._load(self.decoder)
                    self.remarks += self.findings.damaged[-1:]
                    return image
            if self.name not in _ROW_BY_ROW:
                raise _unreadable(self.label, error) from error
            from fastmark.images.salvage import intact_part  # and with it numpy

            return intact_part(self, error)

    def decoder_for(self, data: bytes) -> Any:
        """A decoder of what is left of this file, given the metadata that were found."""
        decoder = factory_of(self.name, self.label)(Encoded(data), "")
        _take_info(decoder, self.findings)
        return decoder

    def _first_of(self) -> str:
        count = self.findings.frames
        if self.name == "JXL":
            return "the last frame of an animation was looked at"  # the plugin gives no other
        which = "the primary one" if self.name == "HEIF" else f"the first {self.findings.unit}"
        return f"{which} of {count} {self.findings.unit}s was looked at"

    def _orientation(self) -> int:
        if self.findings.turned:
            return 1
        try:
            found = self.findings.info.get("orientation", 0) or self.decoder.getexif().get(
                ExifTags.Base.Orientation, 1
            )
            return int(found) if found in _TURNS else 1
        except Exception:  # any damage to the EXIF: the pixels are fine
            return 1

    def _load(self, decoder: Any) -> Image.Image:
        if self.name == "TIFF" and not self.findings.foreign and decoder._im is None:
            # else Pillow measures against its own limit, which other threads rely on
            decoder.im = Image.new(decoder.mode, decoder._tile_size).im
        decoder.load()
        return decoder  # type: ignore[no-any-return]

    def _bare(self) -> bool:
        """Open the file again, without any metadata; whether that was possible."""
        if self.name not in _EXAMINERS:
            return False
        try:
            findings = _EXAMINERS[self.name](self.findings.data, bare=True)
            findings.damaged = [*self.findings.damaged, *findings.damaged]
            findings.dropped = self.findings.dropped
            decoder = factory_of(self.name, self.label)(Encoded(findings.data), "")
        except Exception:
            return False
        if decoder.size != self.decoder.size:
            return False
        findings.frames, findings.unit = self.findings.frames, self.findings.unit
        findings.broken, findings.min_is_white = self.findings.broken, self.findings.min_is_white
        self.decoder, self.findings = decoder, findings
        _take_info(decoder, findings)
        if self.name == "TIFF":
            tiff.describe(decoder, findings)
        return True


def open_file(image: Any, label: str, max_pixels: int | None) -> Opened:
    """Open an encoded image; to be called within ``reading``.

    Args:
        image: a path, bytes or a file object.
        label: how errors name it.
        max_pixels: bound of width x height; None is ``MAX_PIXELS_ALONE``.

    Raises:
        InvalidImageError, UnsupportedImageError: if it cannot be opened, or is too large.
    """
    limit = MAX_PIXELS_ALONE if max_pixels is None else max_pixels
    name, data, junk = read_image(image, label, most_bytes(limit))
    findings = examine(name, data)
    if junk:
        findings.damaged.insert(0, f"{junk} bytes before the beginning of the image were left out")
    if findings.size:  # its decoder decodes when it opens
        check_size(findings.size[0], findings.size[1], limit, label)
    opened = Opened(None, findings, name, label)
    try:
        opened.decoder = factory_of(name, label)(Encoded(findings.data), "")
    except (UnsupportedImageError, MemoryError):
        raise
    except Exception as error:
        if name == "TIFF" and "unknown pixel mode" in str(error):
            return _foreign(opened, limit)
        if name not in _EXAMINERS:
            raise _unreadable(label, error) from error
        opened.findings = _EXAMINERS[name](findings.data, bare=True)
        opened.findings.damaged[:0] = findings.damaged
        try:
            opened.decoder = factory_of(name, label)(Encoded(opened.findings.data), "")
        except MemoryError:
            raise
        except Exception:
            raise _unreadable(label, error) from error
    check_size(opened.decoder.width, opened.decoder.height, limit, label)
    _describe(opened)
    return opened


def _foreign(opened: Opened, limit: int) -> Opened:
    """A TIFF of samples that Pillow has no mode for, as luma to be looked at."""
    from fastmark.images.samples import luma_of_samples  # and with it numpy

    opened.findings.foreign = True
    opened.findings.turned = True
    opened.decoder = Image.fromarray(luma_of_samples(opened.findings.data, limit, opened.label))
    return opened


def check_still(image: Image.Image, label: str) -> None:
    """Raise unless a Pillow image has pixels and is a single one."""
    if 0 in image.size:
        raise InvalidImageError(f"{label} has no pixels: {image.width} x {image.height}")
    # NOTE: a phone's MPO holds one image and its helpers (depth, gain map), not an animation.
    if getattr(image, "is_animated", False) and image.format != "MPO":
        if image.format == "TIFF" and tiff.is_still(image):
            return
        raise _several(label)


def _several(label: str) -> UnsupportedImageError:
    return UnsupportedImageError(f"{label} is animated or has several pages: extract and pass single frames")


def _unreadable(label: str, error: Exception) -> InvalidImageError:
    if any(
        words in str(error) for words in ("cannot handle", "unknown pixel mode", "unknown data organization")
    ):
        return UnsupportedImageError(f"{label} is of a kind {_FOREIGN} ({reason_of(error)})")
    return InvalidImageError(
        f"{label} cannot be read, it is cut short or damaged ({reason_of(error)}): an intact copy is needed"
    )


def examine(name: str, data: bytes) -> Findings:
    """Look at the parts of a file of a format, of Pillow's name.

    Raises:
        InvalidImageError: if a PNG file has no pixels.
    """
    if name == "PNG":
        return png.examine(data)
    if name == "JXL":
        return boxes.examine_jxl(data)
    if name in _EXAMINERS:
        return _EXAMINERS[name](data)  # type: ignore[no-any-return]
    return Findings(data)


def _describe(opened: Opened) -> None:
    """Complete the findings by what Pillow read."""
    decoder, findings, name = opened.decoder, opened.findings, opened.name
    _take_info(decoder, findings)
    if name == "TIFF":
        tiff.describe(decoder, findings)
    elif name in ("JPEG2000", "PPM"):
        findings.bits = _bits_of(name, findings.data)
        findings.keeps_deep = decoder.mode in ("I", "F") or decoder.mode.startswith("I;16")
    elif name == "HEIF":
        _describe_heif(decoder, findings)
    elif name == "JXL":
        findings.turned = not getattr(decoder, "jpeg", False)  # of a JPEG packed into it
        findings.keeps_deep = decoder.mode in ("I;16", "F")
        if _SRGB_CICP in decoder.info.get("icc_profile", b""):
            decoder.info.pop("icc_profile")  # made up by the plugin, for files that say sRGB in a bit
    if name in ("GIF", "WEBP", "AVIF", "HEIF"):
        try:
            findings.frames = max(findings.frames, decoder.n_frames)
        except Exception:
            findings.broken.append("what follows the first frame is damaged")
    if findings.bits > 8 and not findings.keeps_deep:
        findings.dropped.append(
            f"the samples of {findings.bits} bits were read as 8 bits: pass a uint16 array to keep them"
        )


def _describe_heif(decoder: Any, findings: Findings) -> None:
    findings.turned = True
    findings.keeps_deep = decoder.mode.startswith("I;16")
    info = decoder.info
    if any("gainmap" in str(kind).lower() for kind in info.get("aux", {})):
        findings.dropped.append(GAIN_MAP_DROPPED)
    if info.get("depth_images"):
        findings.dropped.append("the depth images were left out")
    kept = ("exif", "xmp", "icc_profile", "nclx_profile", "dpi", boxes.CICP)
    decoder.info = {key: info[key] for key in kept if info.get(key)}


def _take_info(decoder: Any, findings: Findings) -> None:
    """Give the decoder what metadata were kept aside, and take from it those that are damaged."""
    decoder.info.update({key: value for key, value in findings.info.items() if key != "orientation"})
    exif = decoder.info.get("exif")
    if "exif" in decoder.info and (not isinstance(exif, bytes) or exif_is_damaged(exif)):
        decoder.info.pop("exif")
        if exif:
            findings.info["orientation"] = orientation_of(exif)
            if EXIF_DAMAGED not in findings.damaged:
                findings.damaged.append(EXIF_DAMAGED)
    with contextlib.suppress(Exception):
        decoder._reload_exif()
    if "icc_profile" in decoder.info and not decoder.info["icc_profile"]:
        decoder.info.pop("icc_profile")


def _without_orientation(image: Image.Image) -> Image.Image:
    """An image that stands upright, without the EXIF that says it does not."""
    with contextlib.suppress(Exception):
        exif = image.getexif()
        if ExifTags.Base.Orientation in exif:
            del exif[ExifTags.Base.Orientation]
            image.info["exif"] = exif.tobytes()
    return image


def _bits_of(name: str, data: bytes) -> int:
    """Of a sample of a JPEG 2000 or PPM file."""
    if name == "PPM":
        # P5 and P6: width, height and white follow, with comments between them
        fields = b" ".join(line.split(b"#")[0] for line in data[:1024].split(b"\n")).split()
        if fields[0][1:2] in b"2356" and len(fields) > 3 and fields[3].isdigit():
            return max(8, int(fields[3]).bit_length())
        return 8
    place = data.find(b"\xff\x4f\xff\x51", 0, 1 << 16)
    return max(8, (data[place + 42] & 0x7F) + 1) if 0 <= place < len(data) - 42 else 8
