"""XMP packets of the shapes that programs write, and what they say by a reader of the tests' own."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections import Counter

RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
EXT = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}"
PLUS = "{http://ns.useplus.org/ldf/xmp/1.0/}"
AIGC = "{http://www.tc260.org.cn/ns/AIGC/1.0/}AIGC"
OURS = {
    EXT + "DigitalSourceType",
    EXT + "AISystemUsed",
    EXT + "AISystemVersionUsed",
    PLUS + "DataMining",
    AIGC,
}

BEGIN = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
END = "\n" + (" " * 99 + "\n") * 20 + '<?xpacket end="w"?>'

PHOTOSHOP = (
    BEGIN
    + """<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="Adobe XMP Core 9.1-c001">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/"
    xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" xmlns:xmpMM="http://ns.adobe.com/xap/1.0/mm/"
    xmlns:stEvt="http://ns.adobe.com/xap/1.0/sType/ResourceEvent#"
   xmp:CreatorTool="Adobe Photoshop 25.0 (Windows)" xmp:Rating='3' dc:format="image/jpeg"
   photoshop:ColorMode="3" xmpMM:InstanceID="xmp.iid:1">
   <xmpMM:History>
    <rdf:Seq>
     <rdf:li stEvt:action="created" stEvt:when="2026-01-02T03:04:05+01:00"/>
     <rdf:li stEvt:action="saved" stEvt:changed="/"/>
    </rdf:Seq>
   </xmpMM:History>
   <photoshop:DocumentAncestors><rdf:Bag><rdf:li>xmp.did:1</rdf:li></rdf:Bag></photoshop:DocumentAncestors>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>"""
    + END
)

EXIFTOOL = (
    BEGIN
    + """<x:xmpmeta xmlns:x='adobe:ns:meta/' x:xmptk='Image::ExifTool 12.76'>
<rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'>

 <rdf:Description rdf:about='uuid:5'
  xmlns:Iptc4xmpExt='http://iptc.org/std/Iptc4xmpExt/2008-02-29/'>
  <Iptc4xmpExt:DigitalSourceType>http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture</Iptc4xmpExt:DigitalSourceType>
  <Iptc4xmpExt:PersonInImage><rdf:Bag><rdf:li>Ann &amp; Bob</rdf:li></rdf:Bag></Iptc4xmpExt:PersonInImage>
 </rdf:Description>

 <rdf:Description rdf:about='uuid:5'
  xmlns:plus='http://ns.useplus.org/ldf/xmp/1.0/'>
  <plus:DataMining>http://ns.useplus.org/ldf/vocab/DMI-PROHIBITED</plus:DataMining>
  <plus:CreditLineRequired>http://ns.useplus.org/ldf/vocab/CR-CRI</plus:CreditLineRequired>
 </rdf:Description>
</rdf:RDF>
</x:xmpmeta>
<?xpacket end='w'?>"""
)

LIGHTROOM = """<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="Adobe XMP Core 7.0-c000">
 <!-- a comment --> <?adobe-xap-filters esc="CRLF"?>
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/"
    xmlns:crs="http://ns.adobe.com/camera-raw-settings/1.0/"
    xmlns:e="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" crs:Exposure2012="+0.35"
    e:AISystemUsed="Other &lt;1&gt;"
    e:AISystemVersionUsed='7'>
   <dc:subject><rdf:Bag><rdf:li>猫</rdf:li><rdf:li>tree</rdf:li></rdf:Bag></dc:subject>
   <dc:title><rdf:Alt><rdf:li xml:lang="x-default">Cat</rdf:li>
    <rdf:li xml:lang="de">Katze</rdf:li></rdf:Alt></dc:title>
   <dc:creator><rdf:Seq><rdf:li>Somebody</rdf:li></rdf:Seq></dc:creator>
   <e:LocationCreated rdf:parseType="Resource"><e:City>Bonn</e:City>
    <e:AISystemUsed>inner</e:AISystemUsed></e:LocationCreated>
   <crs:ToneCurve><rdf:Seq><rdf:li>0, 0</rdf:li><rdf:li>255, 255</rdf:li></rdf:Seq></crs:ToneCurve>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>"""

BARE_RDF = """<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description about="a"
 xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:format>image/png</dc:format></rdf:Description></rdf:RDF>"""

EMPTY_RDF = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><R:RDF xmlns:R="http://www.w3.org/1999/02/22-rdf-syntax-ns#"/></x:xmpmeta>'
NO_RDF = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><note>kept</note></x:xmpmeta>'
EMPTY_META = '<x:xapmeta xmlns:x="adobe:ns:meta/"/>'
DEFAULT_NAMESPACE = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><RDF xmlns="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<Description><DigitalSourceType xmlns="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">x</DigitalSourceType>
<Iptc4xmpExt:Event xmlns:Iptc4xmpExt="urn:another">kept</Iptc4xmpExt:Event></Description></RDF></x:xmpmeta>"""

SHAPES = {
    "photoshop": PHOTOSHOP,
    "exiftool": EXIFTOOL,
    "lightroom": LIGHTROOM,
    "bare rdf": BARE_RDF,
    "empty rdf": EMPTY_RDF,
    "no rdf": NO_RDF,
    "empty": EMPTY_META,
    "default namespace": DEFAULT_NAMESPACE,
}


def described(*inside: str, attributes: str = "") -> bytes:
    """A packet with elements and attributes in one description, under the usual prefixes."""
    spaces = {"e": EXT, "plus": PLUS, "TC260": AIGC, "dc": "{http://purl.org/dc/elements/1.1/}"}
    declared = " ".join(f'xmlns:{prefix}="{uri[1:].partition("}")[0]}"' for prefix, uri in spaces.items())
    return (
        f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{RDF[1:-1]}"><rdf:Description rdf:about=""'
        f" {declared} {attributes}>{''.join(inside)}</rdf:Description></rdf:RDF></x:xmpmeta>"
    ).encode()


def statements(packet: bytes, *, ours: bool) -> Counter[tuple[str, str]]:
    """What a packet says of our properties or of others, name and text or canonical XML, by ElementTree."""
    tree = ET.fromstring(packet.decode().removeprefix("\ufeff").strip("\0 \n"))
    said: Counter[tuple[str, str]] = Counter()
    for rdf in [tree] if tree.tag == RDF + "RDF" else tree.findall(RDF + "RDF"):
        for description in rdf:
            for name, value in description.attrib.items():
                if name not in (RDF + "about", "about") and (name in OURS) == ours:
                    said[name, value] += 1
            for element in description:
                if (element.tag in OURS) == ours:
                    element.tail = None
                    text = (element.text or "") if ours else ET.tostring(element, encoding="unicode")
                    said[element.tag, text if ours else ET.canonicalize(text, rewrite_prefixes=True)] += 1
    if not ours and tree.tag != RDF + "RDF":
        said.update(("outside", element.tag) for element in tree if element.tag != RDF + "RDF")
    return said
