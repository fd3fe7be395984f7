"""What a look at the parts of an image file tells before its pixels are decoded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

C2PA_DROPPED = "Content Credentials (C2PA) were left out; sign the watermarked image anew"
EXIF_DAMAGED = "the EXIF is damaged and was left out"
ICC_DAMAGED = "the ICC profile is damaged and was left out"
XMP_DAMAGED = "the XMP is damaged and was left out"
XMP_CUT = "the XMP goes on in further segments, which were left out"
GAIN_MAP_DROPPED = "the gain map (HDR) was left out: the image is written without it"


def is_c2pa(jumbf: bytes) -> bool:
    """Whether a JUMBF box, from a little before its letters on, is a store of content credentials.

    C2PA names its own by "c2pa" in the type and in the label of the description that comes first.
    """
    return b"jumd" in jumbf[:64] and b"c2pa" in jumbf[:64]


@dataclass(slots=True)
class Findings:
    """What is handed to the decoder, and what was seen on the way.

    Attributes:
        data: the file for the decoder: as it came, or without what the decoder would stumble over.
        info: metadata that the decoder will not take, with the names that Pillow gives it.
        damaged: sentences on damage outside the pixels: remarks when detecting, warnings when embedding.
        dropped: sentences on what is in order and will not be carried over: warnings when embedding.
        broken: sentences on damage of the pixels or of what they hang on: remarks when detecting,
            and embedding refuses.
        frames: how many images there are; 1 for a still, helpers (thumbnails, gain maps) not counted.
        unit: what one of them is called: "frame", "page" or "image".
        page: which of a TIFF's pages is the image.
        bits: of one sample; 8 where unknown.
        turned: whether the decoder has done already what the EXIF orientation says.
        keeps_deep: whether Pillow hands over samples of more than 8 bits as they are.
        unsigned: whether Pillow hands over unsigned levels of 32 bits as signed ones.
        min_is_white: whether Pillow hands over the negative of the image.
        foreign: whether Pillow cannot read the samples; in its place is luma on 0..255, to look at.
        size: width and height where they must be known before the decoder is called, else None.
    """

    data: bytes
    info: dict[str | tuple[int, int], Any] = field(default_factory=dict)
    damaged: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    frames: int = 1
    unit: str = "frame"
    page: int = 0
    bits: int = 8
    turned: bool = False
    keeps_deep: bool = False
    unsigned: bool = False
    min_is_white: bool = False
    foreign: bool = False
    size: tuple[int, int] | None = None
