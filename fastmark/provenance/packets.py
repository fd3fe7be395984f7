"""XMP packets as text: where properties stand in them, so that a change touches nothing else.

A packet is XML (W3C) that holds RDF in the shapes of ISO 16684-1 (XMP part 1). It is parsed by expat, never
built anew: what is changed is cut out of the text and put in, and all else stays to the byte.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any
from xml.parsers import expat

from fastmark.errors import CredentialError

Name = tuple[str, str]
"""Of a property: its namespace and its name there."""

MOST_BYTES = 16 << 20
MOST_ELEMENTS = 250_000
MOST_DEPTH = 64
"""Bounds of a packet; the largest that image editors write, with long histories, stay well below them."""

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
EXTENDED: Name = ("http://ns.adobe.com/xmp/note/", "HasExtendedXMP")
EMPTY = (
    f'<x:xmpmeta xmlns:x="adobe:ns:meta/">\n<rdf:RDF xmlns:rdf="{RDF}">\n</rdf:RDF>\n</x:xmpmeta>'.encode()
)

_META = "adobe:ns:meta/"
_SEPARATOR = "\x01"  # no character of XML, so no part of a name
_HEADER = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'.encode()
_TRAILER = b'\n<?xpacket end="w"?>'
_TAG = re.compile(rb"<([^\s/>]+)((?:\s+[^\s=]+\s*=\s*(?:\"[^\"]*\"|'[^']*'))*)\s*/?>")
_ATTRIBUTE = re.compile(rb"\s+([^\s=]+)\s*=\s*(\"[^\"]*\"|'[^']*')")
_DECLARED = re.compile(rb"<\?xml\s[^>]*?encoding\s*=\s*[\"']([A-Za-z0-9._-]+)[\"']")
_BLANKS = b" \t\r\n\0"
# longer marks first: UTF-32's little-endian one begins with UTF-16's
_ENCODINGS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (b"<\0\0\0", "utf-32-le"),
    (b"\0\0\0<", "utf-32-be"),
    (b"<\0", "utf-16-le"),
    (b"\0<", "utf-16-be"),
)
_EIGHT_BITS = ("utf-8", "us-ascii", "ascii", "iso-8859-1", "latin-1", "windows-1252")


@dataclass(frozen=True, slots=True)
class Property:
    """A property of a packet that was asked for.

    Attributes:
        name: its namespace and name.
        values: its texts: one, of a list all, of languages the default; none where it is empty.
        start: where in the text it begins, bytes; of an attribute with the blank before it.
        end: where it ends.
        attribute: what an attribute is called in the text; None for an element.
    """

    name: Name
    values: tuple[str, ...]
    start: int
    end: int
    attribute: bytes | None = None


@dataclass(slots=True)
class Packet:
    """A packet, taken apart.

    Attributes:
        text: its XML in UTF-8.
        properties: those that were asked for, in the order of the text.
        wrapper: places of what goes around the XML, to be written anew.
        about: what the first description says it is about; empty as a rule.
        descriptions: of each block of properties: start and end, and the namespaces declared around it.
        container: the place of the tag of the element that new blocks go into, and whether that is RDF's.
        last: where that element's closing tag begins; the end of the tag where it has none.
    """

    text: bytes
    properties: list[Property] = field(default_factory=list)
    wrapper: list[tuple[int, int]] = field(default_factory=list)
    about: str = ""
    descriptions: list[tuple[int, int, dict[str | None, str]]] = field(default_factory=list)
    container: int = -1
    is_rdf: bool = False
    last: int = 0

    def changed(self, edits: list[tuple[int, int, bytes]], blocks: bytes) -> bytes:
        """The packet with its wrapper, some stretches replaced, and more blocks of properties.

        Args:
            edits: start, end and what comes there instead; none overlaps another.
            blocks: elements for the inside of RDF; may be empty.
        """
        edits = edits + [(start, end, b"") for start, end in self.wrapper]
        if blocks:
            if not self.is_rdf:
                blocks = f'<rdf:RDF xmlns:rdf="{RDF}">\n'.encode() + blocks + b"</rdf:RDF>\n"
            tag = _TAG.match(self.text, self.container)
            assert tag is not None  # expat has read it
            if tag[0].endswith(b"/>"):
                edits.append((tag.end() - 2, tag.end(), b">\n" + blocks + b"</" + tag[1] + b">"))
            else:
                edits.append((self.last, self.last, blocks))
        parts, place = [], 0
        for start, end, instead in sorted(edits):
            parts += [self.text[place:start], instead]
            place = end
        return _HEADER + b"".join([*parts, self.text[place:]]).strip(_BLANKS) + _TRAILER


def parse(packet: bytes, names: Collection[Name]) -> Packet:
    """Take a packet apart.

    Args:
        packet: as it stands in a file: in UTF-8, UTF-16 or UTF-32, with or without wrapper, padding and a
            byte order mark.
        names: of the properties that are asked for.

    Raises:
        CredentialError: if it is no XMP, not well-formed, too large or too deep, or has a document type,
            which XMP has not.
    """
    text = _utf8(packet)
    reader = _Reader(text, names)
    try:
        reader.parser.Parse(text, True)
    except expat.ExpatError as error:
        raise CredentialError(f"the XMP is damaged: {error}") from None
    if reader.result.container < 0:
        raise CredentialError("the XMP is damaged: there is no RDF in it")
    return reader.result


def joined(packet: bytes, extension: bytes) -> bytes:
    """One packet of the two that a JPEG file has where its XMP does not fit one segment.

    Raises:
        CredentialError: if one is damaged.
    """
    first, second = parse(packet, (EXTENDED,)), parse(extension, ())
    blocks = []
    for start, end, around in second.descriptions:
        tag = _TAG.match(second.text, start)
        assert tag is not None
        own = {found[1] for found in _ATTRIBUTE.finditer(tag[2])}
        names = {f"xmlns:{prefix}" if prefix else "xmlns": uri for prefix, uri in around.items()}
        more = "".join(f' {name}="{escaped(uri)}"' for name, uri in names.items() if name.encode() not in own)
        place = tag.end(1)
        blocks += [second.text[start:place], more.encode(), second.text[place:end], b"\n"]
    edits = [(found.start, found.end, b"") for found in first.properties]
    return first.changed(edits, b"".join(blocks))


def escaped(text: str) -> str:
    """A text as it stands in XML, in an attribute in double quotes too."""
    for character, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;")):
        text = text.replace(character, entity)
    return text


def _utf8(packet: bytes) -> bytes:
    """A packet's XML in UTF-8, without byte order mark and padding."""
    if len(packet) > MOST_BYTES:
        raise CredentialError(f"the XMP is too large: {len(packet)} bytes, more than {MOST_BYTES}")
    for mark, encoding in _ENCODINGS:
        if packet.startswith(mark):
            packet = packet[: len(packet) // 4 * 4 if "32" in encoding else len(packet) // 2 * 2]
            return _recoded(packet, encoding).strip(_BLANKS)
    packet = packet.strip(_BLANKS).removeprefix(codecs.BOM_UTF8).lstrip(_BLANKS)
    if declared := _DECLARED.match(packet):
        encoding = declared[1].decode().lower()
        if encoding not in _EIGHT_BITS:
            raise CredentialError(f"the XMP is damaged: it says that it is encoded as {encoding}")
        if "ascii" not in encoding and encoding != "utf-8":
            return _recoded(packet, encoding)
    return packet


def _recoded(packet: bytes, encoding: str) -> bytes:
    try:
        return packet.decode(encoding).removeprefix("\ufeff").encode()
    except UnicodeError:
        raise CredentialError(f"the XMP is damaged: it is not the {encoding} that it seems to be") from None


class _Reader:
    """What expat calls while it reads one packet."""

    def __init__(self, text: bytes, names: Collection[Name]) -> None:
        self.result = Packet(text)
        self.names = {_SEPARATOR.join(name): name for name in names}
        self.depth = 0
        self.count = 0
        self.rdf = -1  # depth of RDF's element while it is open
        self.block: tuple[int, dict[str | None, str]] | None = None  # the open description
        self.fresh: dict[str | None, str] = {}  # namespaces of the element that comes
        self.scopes: list[dict[str | None, str]] = [{}]
        self.open: tuple[Name, int, str] | None = None  # the open property, its start, its resource
        self.parts: list[str] = []  # of its text
        self.items: list[tuple[str, str]] = []  # language and text of its items
        self.alternatives = False
        self.language = ""
        # NOTE: told the encoding, expat does not look at the one that the XML declares
        parser = self.parser = expat.ParserCreate("utf-8", _SEPARATOR)
        parser.namespace_prefixes = True
        parser.ordered_attributes = True
        parser.buffer_text = True
        parser.StartElementHandler = self.start
        parser.EndElementHandler = self.end
        parser.StartNamespaceDeclHandler = self.declare
        parser.ProcessingInstructionHandler = self.instruct
        parser.XmlDeclHandler = self.head
        parser.StartDoctypeDeclHandler = self.refuse

    def refuse(self, *_: Any) -> None:
        raise CredentialError("the XMP is damaged: it has a document type, which XMP has not")

    def head(self, *_: Any) -> None:
        self.instruct("xpacket", "")

    def instruct(self, target: str, _: str) -> None:
        if target == "xpacket":
            start = self.parser.CurrentByteIndex
            self.result.wrapper.append((start, self.result.text.index(b"?>", start) + 2))

    def declare(self, prefix: str | None, uri: str | None) -> None:
        self.fresh[prefix] = uri or ""

    def start(self, name: str, attributes: list[str]) -> None:
        self.count += 1
        depth, self.depth = self.depth, self.depth + 1
        if self.depth > MOST_DEPTH or self.count > MOST_ELEMENTS:
            raise CredentialError("the XMP is damaged: it is nested too deep, or has too many elements")
        self.scopes.append({**self.scopes[-1], **self.fresh} if self.fresh else self.scopes[-1])
        self.fresh = {}
        uri_name, _, _ = _split(name)
        if depth < 2 and self.rdf < 0:
            self._outer(uri_name, depth)
        elif self.rdf >= 0 and depth == self.rdf + 1:
            if uri_name == (RDF, "Description"):
                self._description(attributes)
        elif self.block is not None and depth == self.rdf + 2:
            if uri_name in self.names.values():
                self._begin(uri_name, attributes)
        elif self.open is not None and uri_name[0] == RDF:
            if uri_name[1] in ("li", "value"):
                self.parts = []
                given = {_split(key)[0][1]: value for key, value in _pairs(attributes)}
                self.language = given.get("lang", "")
                if "resource" in given:
                    self.parts = [given["resource"]]
            self.alternatives |= uri_name[1] == "Alt"

    def end(self, name: str) -> None:
        self.depth -= 1
        self.scopes.pop()
        place = self.parser.CurrentByteIndex
        uri_name, _, _ = _split(name)
        if self.open is not None:
            if self.depth == self.rdf + 2:
                self._finish(place)
            elif uri_name in ((RDF, "li"), (RDF, "value")):
                self.items.append((self.language, "".join(self.parts).strip()))
                self.parts = []
        elif self.block is not None and self.depth == self.rdf + 1:
            start, around = self.block
            self.result.descriptions.append((start, self._behind(start, place), around))
            self.block = None
        elif self.depth == self.rdf:
            self.rdf = -1
            if self.result.is_rdf and not self.result.last:
                self.result.last = place
        elif self.depth == 0 and not self.result.is_rdf:
            self.result.last = place

    def _outer(self, name: Name, depth: int) -> None:
        """The root, or what is in it."""
        if name == (RDF, "RDF"):
            self.rdf = depth
            if not self.result.is_rdf:
                self.result.container, self.result.is_rdf = self.parser.CurrentByteIndex, True
        elif depth == 0 and name in ((_META, "xmpmeta"), (_META, "xapmeta")):
            self.result.container = self.parser.CurrentByteIndex

    def _description(self, attributes: list[str]) -> None:
        start = self.parser.CurrentByteIndex
        self.block = (start, self.scopes[-2])
        tag = None
        for key, value in _pairs(attributes):
            name, prefix, plain = _split(key)
            if name in ((RDF, "about"), ("", "about")):
                self.result.about = self.result.about or value
            elif name in self.names.values():
                tag = tag or _TAG.match(self.result.text, start)
                called = (f"{prefix}:{plain}" if prefix else plain).encode()
                for found in _ATTRIBUTE.finditer(self.result.text, tag.start(2), tag.end(2)) if tag else ():
                    if found[1] == called:
                        values = (value.strip(),) if value.strip() else ()
                        self.result.properties.append(
                            Property(name, values, found.start(), found.end(), called)
                        )

    def _begin(self, name: Name, attributes: list[str]) -> None:
        given = {_split(key)[0]: value for key, value in _pairs(attributes)}
        resource = given.get((RDF, "resource")) or given.get((RDF, "value")) or ""
        self.open = (name, self.parser.CurrentByteIndex, resource)
        self.parts, self.items, self.alternatives = [], [], False
        # called for each stretch of text; not set before, where it would be called for nothing
        self.parser.CharacterDataHandler = self._text

    def _text(self, text: str) -> None:
        self.parts.append(text)

    def _finish(self, place: int) -> None:
        assert self.open is not None
        name, start, resource = self.open
        self.open = None
        self.parser.CharacterDataHandler = None
        if not self.items:
            texts = [resource.strip() or "".join(self.parts).strip()]
        elif self.alternatives:
            texts = [dict(reversed(self.items)).get("x-default", self.items[0][1])]
        else:
            texts = [text for _, text in self.items]
        values = tuple(text for text in texts if text)
        self.result.properties.append(Property(name, values, start, self._behind(start, place)))

    def _behind(self, start: int, place: int) -> int:
        """Where an element ends that begins at ``start``, and of which expat told the end, ``place``."""
        tag = _TAG.match(self.result.text, start)
        assert tag is not None
        return tag.end() if tag[0].endswith(b"/>") else self.result.text.index(b">", place) + 1


def _pairs(attributes: list[str]) -> zip[tuple[str, str]]:
    return zip(attributes[::2], attributes[1::2], strict=True)


def _split(name: str) -> tuple[Name, str, str]:
    """A name of expat's: namespace and name, prefix, and the name alone."""
    parts = name.split(_SEPARATOR)
    if len(parts) == 1:
        return ("", name), "", name
    return (parts[0], parts[1]), parts[2] if len(parts) > 2 else "", parts[1]
