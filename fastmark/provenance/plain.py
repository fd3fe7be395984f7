"""Metadata that anybody can write: XMP, and the texts that image generators leave in their files.

| tool | where it leaves texts |
|---|---|
| AUTOMATIC1111's web UI, Forge, SD.Next and what follows them | PNG ``parameters``; EXIF ``UserComment`` |
| ComfyUI | PNG ``prompt`` and ``workflow``; EXIF ``Make`` and ``Model`` of WebP that begin so |
| InvokeAI | PNG ``invokeai_metadata``, ``invokeai_graph``, before 3.0 ``sd-metadata`` and ``Dream`` |
| NovelAI | PNG ``Software``, ``Source``, ``Comment`` |
| Fooocus | PNG ``fooocus_scheme`` and ``parameters`` |
| others | PNG or EXIF ``Software`` that names them; ``AIGC``, China's label outside XMP |
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from fastmark.errors import CredentialError
from fastmark.images import headers
from fastmark.images.headers import Headers, has_credentials, headers_of
from fastmark.provenance.packets import joined

_MOST_TEXT = 1 << 20  # characters of one text
_OF_GENERATORS = (
    "parameters",
    "prompt",
    "workflow",
    "invokeai_metadata",
    "invokeai_graph",
    "sd-metadata",
    "Dream",
    "fooocus_scheme",
    "AIGC",
)
_OF_NOVELAI = ("Title", "Description", "Source", "Comment")
_SOFTWARE = (
    "AUTOMATIC1111",
    "Adobe Firefly",
    "ComfyUI",
    "DALL-E",
    "DiffusionBee",
    "Draw Things",
    "DreamStudio",
    "Easy Diffusion",
    "Fooocus",
    "Ideogram",
    "InvokeAI",
    "Leonardo.Ai",
    "Midjourney",
    "Mochi Diffusion",
    "NovelAI",
    "SD.Next",
    "Stable Diffusion",
    "SwarmUI",
)
_SOFTWARE_NAMED = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, _SOFTWARE))})(?!\w)", re.IGNORECASE)
_SPELLED = {name.lower(): name for name in _SOFTWARE}
_PARAMETERS = re.compile(r"\bSteps: \d+, ")  # the line of settings in the texts of A1111's family
_KINDS = (("Version: f", "Forge"), ("App: SD.Next", "SD.Next"))


@dataclass(frozen=True, slots=True)
class Plain:
    """What a file says without a signature.

    Attributes:
        xmp: its XMP, the parts of a JPEG file's as one packet; None where it has none.
        png_text: the texts of image generators by PNG's keyword, of EXIF too: ``parameters``, ``prompt``, ...
        tool: what these name as the tool; None where they name none.
    """

    xmp: bytes | None = None
    png_text: dict[str, str] = field(default_factory=dict)
    tool: str | None = None


def metadata_of(data: bytes) -> Plain:
    """What an encoded image says without a signature; no pixel is decoded.

    Args:
        data: the file, of any format that is read. Of others, and of damaged files, there is what could be
            read, perhaps nothing; none is an error.
    """
    found = headers_of(data)
    xmp = found.xmp
    if xmp and found.extended:
        try:
            xmp = joined(xmp, found.extended)
        except CredentialError:
            xmp = found.xmp  # the rest is damaged, or this is: whoever reads it will say so
    texts = _texts(found)
    return Plain(xmp or None, texts, _tool(texts))


def c2pa_present(data: bytes) -> bool:
    """Whether an encoded image has content credentials (C2PA), be they in order or not.

    Args:
        data: the file; one that cannot be read has none.
    """
    return has_credentials(data)


def _texts(found: Headers) -> dict[str, str]:
    """The texts of generators."""
    given = {key: text for key, text in found.texts.items() if len(text) <= _MOST_TEXT}
    software = given.get("Software") or _exif_text(found, headers.SOFTWARE)
    texts = {key: given[key] for key in _OF_GENERATORS if key in given}
    if _SOFTWARE_NAMED.search(software):
        texts["Software"] = software
        if "novelai" in software.lower():
            texts |= {key: given[key] for key in _OF_NOVELAI if key in given}
    for tag in (headers.USER_COMMENT, headers.IMAGE_DESCRIPTION, headers.XP_COMMENT):
        text = _exif_text(found, tag)
        if _PARAMETERS.search(text):
            texts.setdefault("parameters", text)
        elif '"AIGC"' in text:
            texts.setdefault("AIGC", text)
    for tag in (headers.MAKE, headers.MODEL, headers.USER_COMMENT, headers.IMAGE_DESCRIPTION):
        key, colon, rest = _exif_text(found, tag).partition(":")
        if colon and key.lower() in ("prompt", "workflow") and rest.lstrip().startswith("{"):
            texts.setdefault(key.lower(), rest.strip())
    return texts


def _exif_text(found: Headers, tag: int) -> str:
    """One of EXIF's texts; empty where there is none, or a very long one."""
    raw = found.exif.get(tag, b"")
    if len(raw) > 2 * _MOST_TEXT:
        return ""
    encoding = "utf-8"
    if tag == headers.XP_COMMENT:
        encoding = "utf-16-le"
    elif tag == headers.USER_COMMENT:
        code, raw = raw[:8], raw[8:]
        if code == b"UNICODE\0":
            # EXIF's own byte order by the standard, and the other one in many files
            high, low = raw[::2].count(0), raw[1::2].count(0)
            little = low > high or (low == high and found.little)
            encoding = "utf-16-le" if little else "utf-16-be"
    return raw.decode(encoding, "replace").strip("\0 \r\n\t")


def _tool(texts: dict[str, str]) -> str | None:
    """The tool that left some texts."""
    if named := _SOFTWARE_NAMED.search(texts.get("Software", "")):
        return _SPELLED[named[0].lower()]
    if any(key in texts for key in ("invokeai_metadata", "invokeai_graph", "sd-metadata", "Dream")):
        return "InvokeAI"
    if "fooocus_scheme" in texts:
        return "Fooocus"
    parameters = texts.get("parameters", "")
    if '"sui_image_params"' in parameters:
        return "SwarmUI"
    if '"class_type"' in texts.get("prompt", "") or '"nodes"' in texts.get("workflow", ""):
        return "ComfyUI"
    if _PARAMETERS.search(parameters):
        return next((tool for sign, tool in _KINDS if sign in parameters), "AUTOMATIC1111")
    return None
