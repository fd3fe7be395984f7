"""XMP: what a record says of an image, put into a packet beside all that is there, and read again.

| property | namespace | says |
|---|---|---|
| ``Iptc4xmpExt:DigitalSourceType`` | IPTC | how the image came to be, a term of IPTC's vocabulary, as URI |
| ``Iptc4xmpExt:AISystemUsed``, ``AISystemVersionUsed`` | IPTC 2025.1 | the system that made it |
| ``plus:DataMining`` | PLUS | whether it may be used for training, a term of PLUS's vocabulary, as URI |
| ``TC260:AIGC`` | TC260 | China's label (GB 45438-2025), JSON of seven texts |

TC260's ``Label`` is "1": generated; ``ContentProducer`` the record's ``producer_code``; ``ProduceID`` the
message of the watermark as hex digits; and ``ReservedCode1``, which is free for the producer, says by
``MARK`` that it is one. Texts of who passed the image on (``ContentPropagator``, ``PropagateID``,
``ReservedCode2``) are left as they are, empty in a new label.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from fastmark.errors import CredentialError
from fastmark.provenance.packets import EMPTY, RDF, Name, Property, escaped, parse
from fastmark.records import Record

OnDamaged = Literal["refuse", "replace"]

MARK = "fastmark.v1"
"""What ``ReservedCode1`` of China's label says where ``ProduceID`` is the message of a watermark."""

SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
PLUS_TERMS = "http://ns.useplus.org/ldf/vocab/"
NAMESPACES = {
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "plus": "http://ns.useplus.org/ldf/xmp/1.0/",
    "TC260": "http://www.tc260.org.cn/ns/AIGC/1.0/",
}
_PREFIXES = {uri: prefix for prefix, uri in NAMESPACES.items()}
_SOURCE: Name = (NAMESPACES["Iptc4xmpExt"], "DigitalSourceType")
_SYSTEM: Name = (NAMESPACES["Iptc4xmpExt"], "AISystemUsed")
_VERSION: Name = (NAMESPACES["Iptc4xmpExt"], "AISystemVersionUsed")
_MINING: Name = (NAMESPACES["plus"], "DataMining")
_AIGC: Name = (NAMESPACES["TC260"], "AIGC")
_NAMES = (_SOURCE, _SYSTEM, _VERSION, _MINING, _AIGC)

_POLICIES = {
    "no-training": "DMI-PROHIBITED-AIMLTRAINING",
    "no-generative-training": "DMI-PROHIBITED-GENAIMLTRAINING",
}
# what forbids more has a higher number; whatever else begins so refers to conditions told elsewhere
_STRICTNESS = {
    "DMI-PROHIBITED-GENAIMLTRAINING": 1,
    "DMI-PROHIBITED-AIMLTRAINING": 2,
    "DMI-PROHIBITED-EXCEPTSEARCHENGINEINDEXING": 3,
}
_PROHIBITED = "DMI-PROHIBITED"

# By the definitions of IPTC's vocabulary. Terms that speak of the way into the computer (print, screen) or of
# a change (algorithmicallyEnhanced), and "composite", of which parts "may or may not be" generated, say
# neither; nor does dataDrivenMedia, a picture of data by a program.
_WHOLLY = frozenset({"trainedAlgorithmicMedia", "trainedAlgorithmicData"})
_PARTLY = frozenset(
    {"compositeWithTrainedAlgorithmicMedia", "compositeSynthetic", "algorithmicMedia", "virtualRecording"}
)
_NOT_GENERATED = frozenset(
    {"digitalCapture", "computationalCapture", "compositeCapture", "negativeFilm", "positiveFilm"}
    | {"digitalCreation", "digitalArt", "humanEdits", "minorHumanEdits"}
)
_MOST_LABEL = 1 << 16  # characters of China's label
_HEX = re.compile(r"(?:[0-9A-Fa-f]{2})+")


@dataclass(frozen=True, slots=True)
class XmpLabel:
    """What an XMP packet says of how an image came to be; None for all that it does not say.

    Attributes:
        digital_source_type: the term of IPTC's vocabulary alone, such as "trainedAlgorithmicMedia".
        digital_source_uri: the same as it stands there.
        system: the system that made the image.
        system_version: its version.
        data_mining: the term of PLUS's vocabulary alone, such as "DMI-PROHIBITED"; of several the strictest.
        aigc: China's label.
        produce_id: its ``ProduceID``, where that is hex digits.
    """

    digital_source_type: str | None = None
    digital_source_uri: str | None = None
    system: str | None = None
    system_version: str | None = None
    data_mining: str | None = None
    aigc: dict[str, Any] | None = None
    produce_id: bytes | None = None

    @property
    def generated(self) -> bool | None:
        """Whether the source type says that the image, or a part, is synthetic; None if it says neither."""
        return is_generated(self.digital_source_type)

    @property
    def opted_out(self) -> bool:
        """Whether some use for data mining or training is forbidden."""
        return self.data_mining is not None and _PROHIBITED in self.data_mining


@dataclass(frozen=True, slots=True)
class Merged:
    """A packet with what a record says.

    Attributes:
        packet: XMP in UTF-8, with its wrapper, without padding.
        replaced: for each property that said something else before: its name and what it said, such as
            "Iptc4xmpExt:AISystemUsed 'Another'".
        kept: the same for each that says more than the record, and was left as it was.
    """

    packet: bytes
    replaced: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()


def is_generated(source_type: str | None) -> bool | None:
    """Whether a digital source type means synthetic (True), made or taken by a person (False), or neither."""
    if source_type in _WHOLLY or source_type in _PARTLY:
        return True
    return False if source_type in _NOT_GENERATED else None


def read(packet: bytes) -> XmpLabel:
    """What an XMP packet says of how an image came to be.

    Args:
        packet: as it stands in a file, of any of XMP's encodings.

    Raises:
        CredentialError: if it is damaged, too large, or no XMP.
    """
    return _label(parse(packet, _NAMES).properties)


def merge(
    packet: bytes | None, record: Record, message: bytes | None = None, *, on_damaged: OnDamaged = "refuse"
) -> bytes:
    """The packet of :func:`merge_report` alone."""
    return merge_report(packet, record, message, on_damaged=on_damaged).packet


def merge_report(
    packet: bytes | None, record: Record, message: bytes | None = None, *, on_damaged: OnDamaged = "refuse"
) -> Merged:
    """A packet with all of an earlier one, and what a record says.

    Nothing is weakened: a rule on data mining that forbids more stays, and so does a source type that says
    more clearly that the image is generated. What the record does not say is left as it is, but for the
    version of another system.

    Args:
        packet: the image's packet, as ``read`` takes it; None or empty where it has none.
        record: what is said.
        message: that of the watermark, for China's label; None where it has none.
        on_damaged: whether a packet that cannot be read is an error ("refuse"), or is given up ("replace").

    Returns:
        The packet and what changed; merged again with the same, it stays as it is.

    Raises:
        CredentialError: if the packet cannot be read, and is not to be given up.
        ValueError: if ``on_damaged`` is neither.
    """
    if on_damaged not in ("refuse", "replace"):
        raise ValueError(f'on_damaged must be "refuse" or "replace", not {on_damaged!r}')
    lost: tuple[str, ...] = ()
    try:
        earlier = parse(packet if packet and packet.strip(b" \t\r\n\0") else EMPTY, _NAMES)
    except CredentialError as error:
        if on_damaged == "refuse":
            raise CredentialError(f"{error}: repair it, or have it replaced") from None
        earlier = parse(EMPTY, _NAMES)
        lost = ("nothing that could be read",)
    label = _label(earlier.properties)
    replaced, kept = list(lost), []
    edits: list[tuple[int, int, bytes]] = []
    added = []
    for name, value in _wanted(record, message, label).items():
        there = [found for found in earlier.properties if found.name == name]
        said = [text for found in there for text in found.values]
        if value is not None and _is_stronger(name, label, value):
            value = None
            kept.append(f"{_called(name)} {_shown(said)}")
        elif value is not None and any(not _is_same(name, text, value) for text in said):
            replaced.append(f"{_called(name)} {_shown(said)}")
        if value is None or (len(there) == 1 and there[0].values == (value,)):
            continue
        for index, found in enumerate(there):
            edits.append((found.start, found.end, _written(found, value if index == 0 else "")))
        if value and not there:
            added.append(_element(name, value))
    return Merged(earlier.changed(edits, _block(earlier.about, added)), tuple(replaced), tuple(kept))


def _wanted(record: Record, message: bytes | None, label: XmpLabel) -> dict[Name, str | None]:
    """The text of each property; None for one that is left as it is, empty for one that goes."""
    system, version = (text and text.strip() for text in (record.system, record.system_version))
    if version is None and system is not None and label.system not in (None, system):
        version = ""
    policy, source = _POLICIES.get(record.policy), record.digital_source_type
    return {
        _SOURCE: SOURCE_TYPES + source if source else None,
        _SYSTEM: system,
        _VERSION: version,
        _MINING: PLUS_TERMS + policy if policy else None,
        _AIGC: _aigc(record.producer_code, message, label.aigc) if record.producer_code else None,
    }


def _aigc(producer: str, message: bytes | None, earlier: Mapping[str, Any] | None) -> str:
    """China's label; what is there of those who passed the image on stays."""
    before = dict(earlier or {})
    own = {"ProduceID": message.hex() if message else "", "ReservedCode1": MARK if message else ""}
    if message is None and before.get("ContentProducer") == producer:
        own = {key: before.get(key, "") for key in own}  # the producer's own, of another time
    values: dict[str, Any] = {"Label": "1", "ContentProducer": producer, **own}
    for key in ("ContentPropagator", "PropagateID", "ReservedCode2"):
        values[key] = before.get(key, "")
    values |= {key: value for key, value in before.items() if key not in values}
    text = json.dumps(values, ensure_ascii=False, separators=(",", ":"))
    # XML has no place for some characters that JSON has, such as half a surrogate pair
    return text if text.isprintable() else json.dumps(values, separators=(",", ":"))


def _is_stronger(name: Name, label: XmpLabel, value: str) -> bool:
    """Whether a property says more already than the text that it would get."""
    if name == _MINING:
        return _strictness(label.data_mining) > _strictness(_term(value))
    return name == _SOURCE and _clearness(label.digital_source_type) > _clearness(_term(value))


def _strictness(term: str | None) -> int:
    """How much a term of PLUS's vocabulary forbids: 0 (nothing) to 4."""
    return _STRICTNESS.get(term or "", 4 if term and _PROHIBITED in term else 0)


def _clearness(term: str | None) -> int:
    """How clearly a source type says that an image is generated: 0 to 2."""
    return 2 if term in _WHOLLY else 1 if term in _PARTLY else 0


def _is_same(name: Name, text: str, value: str) -> bool:
    """Whether two texts of a property mean the same."""
    if name == _AIGC:
        return _json(text) == _json(value)
    return _term(text) == _term(value) if name in (_SOURCE, _MINING) else text == value


def _label(properties: Iterable[Property]) -> XmpLabel:
    texts: dict[Name, list[str]] = {name: [] for name in _NAMES}
    for found in properties:
        texts[found.name] += found.values
    source = max(texts[_SOURCE], key=lambda text: _clearness(_term(text)), default=None)
    mining = max(map(_term, texts[_MINING]), key=_strictness, default=None)
    aigc = next((label for text in texts[_AIGC] if (label := _json(text)) is not None), None)
    code = aigc.get("ProduceID") if aigc else None
    return XmpLabel(
        digital_source_type=None if source is None else _term(source),
        digital_source_uri=source,
        system=", ".join(dict.fromkeys(texts[_SYSTEM])) or None,
        system_version=", ".join(dict.fromkeys(texts[_VERSION])) or None,
        data_mining=mining,
        aigc=aigc,
        produce_id=bytes.fromhex(code) if isinstance(code, str) and _HEX.fullmatch(code) else None,
    )


def _term(text: str) -> str:
    """A term without what is before it in a URI or a shortened one."""
    return re.split("[/:#]", text.rstrip("/"))[-1]


def _json(text: str) -> dict[str, Any] | None:
    """A JSON object; None where a text is none."""
    try:
        value = json.loads(text) if len(text) <= _MOST_LABEL else None
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _called(name: Name) -> str:
    return f"{_PREFIXES[name[0]]}:{name[1]}"


def _shown(texts: list[str]) -> str:
    """Texts as part of a sentence: of one line, and not long."""
    return " and ".join(repr(text if len(text) <= 80 else text[:77] + "...") for text in texts[:3])


def _element(name: Name, value: str) -> bytes:
    called = _called(name)
    return f'<{called} xmlns:{_PREFIXES[name[0]]}="{name[0]}">{escaped(value)}</{called}>'.encode()


def _written(found: Property, value: str) -> bytes:
    """What stands in place of a property when it has another text; nothing where it has none."""
    if not value:
        return b""
    if found.attribute is None:
        return _element(found.name, value)
    return b" " + found.attribute + b'="' + escaped(value).encode() + b'"'


def _block(about: str, elements: list[bytes]) -> bytes:
    if not elements:
        return b""
    head = f'<rdf:Description xmlns:rdf="{RDF}" rdf:about="{escaped(about)}">'.encode()
    return b"\n ".join([head, *elements]) + b"\n</rdf:Description>\n"
