"""XMP: what a record says goes in, everything else stays, and nothing is weakened or lost in silence."""

from __future__ import annotations

import json
import random

import packets
import pytest
from packets import AIGC, EXT, PLUS, SHAPES, described, statements

from fastmark.errors import CredentialError
from fastmark.provenance import xmp
from fastmark.records import Record

SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/"
TERMS = "http://ns.useplus.org/ldf/vocab/"
MESSAGE = bytes.fromhex("00112233445566ff")
RECORD = Record(
    system='S & "<Q>"', system_version="2.1", policy="no-training", producer_code="001191110000MA01"
)
PLAIN = Record(system="Paint", system_version="1")


def mining(term: str) -> bytes:
    return described(f"<plus:DataMining>{TERMS}{term}</plus:DataMining>")


def source(term: str) -> bytes:
    return described(f"<e:DigitalSourceType>{term}</e:DigitalSourceType>")


# ---- each property by value ------------------------------------------------------------------------


def test_a_new_packet_says_what_the_record_says():
    packet = xmp.merge(None, RECORD, MESSAGE)
    assert packet.startswith(b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>')
    assert packet.endswith(b'<?xpacket end="w"?>')
    said = dict(statements(packet, ours=True).keys())
    assert json.loads(said.pop(AIGC)) == {
        "Label": "1",
        "ContentProducer": "001191110000MA01",
        "ProduceID": "00112233445566ff",
        "ReservedCode1": "fastmark.v1",
        "ContentPropagator": "",
        "PropagateID": "",
        "ReservedCode2": "",
    }
    assert said == {
        EXT + "DigitalSourceType": SOURCE + "trainedAlgorithmicMedia",
        EXT + "AISystemUsed": 'S & "<Q>"',
        EXT + "AISystemVersionUsed": "2.1",
        PLUS + "DataMining": TERMS + "DMI-PROHIBITED-AIMLTRAINING",
    }
    assert statements(packet, ours=False).total() == 0
    for none in (b"", b" \n\0"):
        assert xmp.merge(none, RECORD, MESSAGE) == packet


def test_what_was_written_is_read():
    label = xmp.read(xmp.merge(None, RECORD, MESSAGE))
    assert label.digital_source_type == "trainedAlgorithmicMedia"
    assert label.digital_source_uri == SOURCE + "trainedAlgorithmicMedia"
    assert (label.system, label.system_version) == ('S & "<Q>"', "2.1")
    assert label.data_mining == "DMI-PROHIBITED-AIMLTRAINING"
    assert label.produce_id == MESSAGE
    assert label.generated is True
    assert label.opted_out


@pytest.mark.parametrize(
    ("policy", "term"),
    [
        ("none", None),
        ("no-training", "DMI-PROHIBITED-AIMLTRAINING"),
        ("no-generative-training", "DMI-PROHIBITED-GENAIMLTRAINING"),
    ],
)
def test_policies(policy, term):
    label = xmp.read(xmp.merge(None, Record(policy=policy)))
    assert label.data_mining == term
    assert label.opted_out is (term is not None)
    assert label.system is label.system_version is label.aigc is label.produce_id is None


@pytest.mark.parametrize(
    ("term", "generated"),
    [
        *[(term, True) for term in ("trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia")],
        *[(term, True) for term in ("compositeSynthetic", "algorithmicMedia", "virtualRecording")],
        *[
            (term, False)
            for term in ("digitalCapture", "computationalCapture", "negativeFilm", "positiveFilm")
        ],
        *[(term, False) for term in ("compositeCapture", "digitalCreation", "humanEdits")],
        *[(term, None) for term in ("screenCapture", "print", "composite", "algorithmicallyEnhanced", "odd")],
    ],
)
@pytest.mark.parametrize("form", ["{}", SOURCE + "{}", "https://cv.iptc.org/newscodes/digitalsourcetype/{}/"])
def test_source_types(term, generated, form):
    label = xmp.read(source(form.format(term)))
    assert (label.digital_source_type, label.digital_source_uri) == (term, form.format(term))
    assert label.generated is generated


def test_a_packet_that_says_nothing():
    label = xmp.read(packets.PHOTOSHOP.encode())
    assert label == xmp.XmpLabel()
    assert label.generated is None
    assert not label.opted_out


@pytest.mark.parametrize(
    "inside",
    [
        "<e:AISystemUsed>Tool</e:AISystemUsed>",
        "<e:AISystemUsed> \n Tool\t</e:AISystemUsed>",
        "<e:AISystemUsed><![CDATA[Tool]]></e:AISystemUsed>",
        "<e:AISystemUsed>To&#x6f;l</e:AISystemUsed>",
        "<e:AISystemUsed>To<!-- a -->ol</e:AISystemUsed>",
        '<e:AISystemUsed rdf:resource="Tool"/>',
        '<e:AISystemUsed rdf:parseType="Resource"><rdf:value>Tool</rdf:value><dc:x>y</dc:x></e:AISystemUsed>',
        "<e:AISystemUsed><rdf:Bag><rdf:li>Tool</rdf:li></rdf:Bag></e:AISystemUsed>",
        '<e:AISystemUsed><rdf:Alt><rdf:li xml:lang="de">Zeug</rdf:li>'
        '<rdf:li xml:lang="x-default">Tool</rdf:li></rdf:Alt></e:AISystemUsed>',
        '<e:AISystemUsed xmlns:e="urn:other">no</e:AISystemUsed><e:AISystemUsed>Tool</e:AISystemUsed>',
    ],
)
def test_forms_of_a_value(inside):
    assert xmp.read(described(inside)).system == "Tool"
    merged = xmp.merge_report(described(inside), Record(system="Tool"))
    assert merged.replaced == ()
    assert xmp.read(merged.packet).system == "Tool"
    merged = xmp.merge_report(described(inside), Record(system="New"))
    assert merged.replaced == ("Iptc4xmpExt:AISystemUsed 'Tool'",)
    assert xmp.read(merged.packet).system == "New"
    assert merged.packet.count(b"New") == 1
    assert b"Tool" not in merged.packet


@pytest.mark.parametrize("quote", "'\"")
def test_attributes_are_changed_in_their_place(quote):
    packet = described("<dc:a>1</dc:a>", attributes=f"dc:b='2' e:AISystemUsed = {quote}Old{quote} dc:c='3'")
    assert xmp.read(packet).system == "Old"
    merged = xmp.merge_report(packet, Record(system="a \"'<&>"))
    assert b"dc:b='2' e:AISystemUsed=\"a &quot;'&lt;&amp;&gt;\" dc:c='3'" in merged.packet
    assert xmp.read(merged.packet).system == "a \"'<&>"
    assert merged.replaced == ("Iptc4xmpExt:AISystemUsed 'Old'",)


# ---- what was there stays --------------------------------------------------------------------------


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("record", [RECORD, PLAIN, Record(action="altered", policy="no-generative-training")])
def test_other_properties_stay(name, record):
    packet = SHAPES[name].encode()
    merged = xmp.merge_report(packet, record, MESSAGE)
    assert statements(merged.packet, ours=False) == statements(packet, ours=False)
    label = xmp.read(merged.packet)
    assert label.digital_source_type == record.digital_source_type
    if record.system:
        assert (label.system, label.system_version) == (record.system, record.system_version)
    again = xmp.merge_report(merged.packet, record, MESSAGE)
    assert again.packet == merged.packet
    assert again.replaced == ()


def test_the_text_around_stays_to_the_byte():
    merged = xmp.merge(packets.LIGHTROOM.encode(), Record())
    before, after = packets.LIGHTROOM.encode().split(b"</rdf:RDF>")
    assert before in merged
    assert merged.endswith(after + b'\n<?xpacket end="w"?>')


def test_descriptions_are_about_the_same():
    assert xmp.merge(packets.EXIFTOOL.encode(), RECORD).count(b"uuid:5") == 3
    assert b'rdf:about="a"' in xmp.merge(packets.BARE_RDF.encode(), RECORD)


def test_the_same_namespace_under_another_prefix():
    merged = xmp.merge_report(packets.LIGHTROOM.encode(), PLAIN)
    assert merged.replaced == ("Iptc4xmpExt:AISystemUsed 'Other <1>'", "Iptc4xmpExt:AISystemVersionUsed '7'")
    assert b'e:AISystemUsed="Paint"' in merged.packet
    assert b"<e:AISystemUsed>inner</e:AISystemUsed>" in merged.packet


def test_two_of_the_same_become_one():
    two = "<e:AISystemUsed>One</e:AISystemUsed><dc:a/><e:AISystemUsed>Two</e:AISystemUsed>"
    assert xmp.read(described(two)).system == "One, Two"
    merged = xmp.merge_report(described(two, attributes='e:AISystemUsed="Three"'), PLAIN)
    assert merged.replaced == ("Iptc4xmpExt:AISystemUsed 'Three' and 'One' and 'Two'",)
    assert statements(merged.packet, ours=True)[EXT + "AISystemUsed", "Paint"] == 1
    assert b"One" not in merged.packet


def test_the_version_of_another_system_goes():
    packet = xmp.merge(None, RECORD, MESSAGE)
    assert xmp.read(xmp.merge(packet, Record(system='S & "<Q>"'))).system_version == "2.1"
    assert xmp.read(xmp.merge(packet, Record())).system_version == "2.1"
    merged = xmp.merge_report(packet, Record(system="Another"))
    assert xmp.read(merged.packet).system_version is None
    assert "Iptc4xmpExt:AISystemVersionUsed '2.1'" in merged.replaced


@pytest.mark.parametrize(
    ("encode", "wrapped"),
    [
        (lambda text: text.encode(), False),
        (lambda text: b"\xef\xbb\xbf" + text.encode(), False),
        (lambda text: text.encode("utf-16"), True),
        (lambda text: b"\xfe\xff" + text.encode("utf-16-be"), True),
        (lambda text: text.encode("utf-16-le"), False),
        (lambda text: text.encode("utf-16-be"), False),
        (lambda text: text.encode("utf-32"), False),
        (lambda text: b"\xff\xfe" + text.encode("utf-16-le") + b"\0", False),
        (lambda text: b"\n" + text.encode() + bytes(5), True),
        (lambda text: b'<?xml version="1.0" encoding="UTF-8"?>\n' + text.encode(), True),
        (lambda text: ('<?xml version="1.0" encoding="UTF-16"?>' + text).encode("utf-16"), False),
    ],
)
def test_encodings_and_wrappers(encode, wrapped):
    text = packets.BEGIN + packets.LIGHTROOM + packets.END if wrapped else packets.LIGHTROOM
    assert xmp.merge(encode(text), RECORD, MESSAGE) == xmp.merge(packets.LIGHTROOM.encode(), RECORD, MESSAGE)


def test_latin_1_where_it_is_declared():
    text = '<?xml version="1.0" encoding="ISO-8859-1"?>' + described("<dc:a>\xe9</dc:a>").decode()
    assert "é".encode() in xmp.merge(text.encode("latin-1"), Record())


def random_packet(generator: random.Random) -> bytes:
    """Elements, attributes, lists and blocks in any order, ours among them."""
    words = ["a", "x &amp; y", "", "猫", "&#65;", "DMI-ALLOWED", "DMI-PROHIBITED", "digitalCapture", "é " * 9]
    ours = ["e:DigitalSourceType", "e:AISystemUsed", "e:AISystemVersionUsed", "plus:DataMining", "TC260:AIGC"]
    blocks = []
    for _ in range(generator.randint(0, 4)):
        names = generator.sample([*ours, "dc:a", "dc:b", "e:Event"], generator.randint(0, 6))
        split = generator.randint(0, len(names))
        attributes = "\n ".join(f'{name}="{generator.choice(words)}"' for name in names[:split])
        inside = [
            generator.choice(
                ["<{0}>{1}</{0}>", "<{0}><rdf:Bag><rdf:li>{1}</rdf:li></rdf:Bag></{0}>", "<{0}/>"]
            )
            for _ in names[split:]
        ]
        filled = [
            form.format(name, generator.choice(words))
            for form, name in zip(inside, names[split:], strict=True)
        ]
        text = described(*filled, attributes=attributes).decode()
        blocks.append(text[text.index("<rdf:Description") : text.index("</rdf:RDF>")])
        blocks[-1] = blocks[-1].replace(
            " ></rdf:Description>", generator.choice(["/>", "></rdf:Description>"])
        )
    return (
        described().decode().partition("<rdf:Desc")[0].encode()
        + "".join([*blocks, "</rdf:RDF></x:xmpmeta>"]).encode()
    )


def test_merging_twice_is_merging_once():
    generator = random.Random(20261127)
    for _ in range(300):
        packet = random_packet(generator)
        record = Record(
            system=generator.choice([None, "a", " Paint "]),
            system_version=generator.choice([None, "a", "1"]),
            policy=generator.choice(["none", "no-training", "no-generative-training"]),
            action=generator.choice(["created", "altered"]),
            producer_code=generator.choice([None, "001"]),
        )
        message = generator.choice([None, MESSAGE])
        once = xmp.merge_report(packet, record, message)
        twice = xmp.merge_report(once.packet, record, message)
        assert twice.packet == once.packet
        assert twice.replaced == ()
        assert statements(once.packet, ours=False) == statements(packet, ours=False)
        label = xmp.read(once.packet)
        assert label.digital_source_type == record.digital_source_type
        assert label.system == record.system.strip() if record.system else True
        assert label.opted_out or record.policy == "none"
        assert label.opted_out or not xmp.read(packet).opted_out


# ---- nothing is weakened ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("there", "policy", "result"),
    [
        ("DMI-PROHIBITED", "no-training", "DMI-PROHIBITED"),
        ("DMI-PROHIBITED", "none", "DMI-PROHIBITED"),
        (
            "DMI-PROHIBITED-EXCEPTSEARCHENGINEINDEXING",
            "no-training",
            "DMI-PROHIBITED-EXCEPTSEARCHENGINEINDEXING",
        ),
        ("DMI-PROHIBITED-SEECONSTRAINT", "no-training", "DMI-PROHIBITED-SEECONSTRAINT"),
        ("DMI-PROHIBITED-SEELINKEDRIGHTSEXPR", "no-training", "DMI-PROHIBITED-SEELINKEDRIGHTSEXPR"),
        ("DMI-PROHIBITED-AIMLTRAINING", "no-generative-training", "DMI-PROHIBITED-AIMLTRAINING"),
        ("DMI-PROHIBITED-GENAIMLTRAINING", "no-training", "DMI-PROHIBITED-AIMLTRAINING"),
        ("DMI-ALLOWED", "no-generative-training", "DMI-PROHIBITED-GENAIMLTRAINING"),
        ("DMI-ALLOWED", "none", "DMI-ALLOWED"),
        ("DMI-UNSPECIFIED", "no-training", "DMI-PROHIBITED-AIMLTRAINING"),
        ("nonsense", "no-training", "DMI-PROHIBITED-AIMLTRAINING"),
    ],
)
def test_rules_on_data_mining(there, policy, result):
    merged = xmp.merge_report(mining(there), Record(policy=policy))
    assert xmp.read(merged.packet).data_mining == result
    assert merged.replaced == (() if there == result else (f"plus:DataMining {TERMS + there!r}",))
    assert merged.kept == (
        (f"plus:DataMining {TERMS + there!r}",) if there == result and policy != "none" else ()
    )


def test_the_strictest_of_several_counts():
    packet = described(
        "<plus:DataMining>DMI-ALLOWED</plus:DataMining>", attributes='plus:DataMining="DMI-PROHIBITED"'
    )
    assert xmp.read(packet).data_mining == "DMI-PROHIBITED"
    assert xmp.read(xmp.merge(packet, RECORD)).data_mining == "DMI-PROHIBITED"


def test_a_generated_image_stays_one():
    made = xmp.merge(None, Record())
    for record in (
        Record(source_type="digitalCapture"),
        Record(source_type="humanEdits"),
        Record(action="altered"),
    ):
        merged = xmp.merge_report(made, record)
        assert xmp.read(merged.packet).digital_source_type == "trainedAlgorithmicMedia"
        assert merged.kept == (f"Iptc4xmpExt:DigitalSourceType {SOURCE + 'trainedAlgorithmicMedia'!r}",)
        assert merged.replaced == ()
    merged = xmp.merge_report(source(SOURCE + "digitalCapture"), Record(action="altered"))
    assert xmp.read(merged.packet).digital_source_type == "compositeWithTrainedAlgorithmicMedia"
    assert merged.replaced == (f"Iptc4xmpExt:DigitalSourceType {SOURCE + 'digitalCapture'!r}",)


def test_who_passed_it_on_stays_in_the_label_of_china():
    there = {"Label": "2", "ContentProducer": "x", "ContentPropagator": "p", "PropagateID": "q", "More": "m"}
    packet = described(attributes=f"TC260:AIGC='{json.dumps(there)}'")
    merged = xmp.merge_report(packet, RECORD, MESSAGE)
    label = xmp.read(merged.packet)
    assert label.aigc == {
        "Label": "1",
        "ContentProducer": RECORD.producer_code,
        "ProduceID": MESSAGE.hex(),
        "ReservedCode1": "fastmark.v1",
        "ContentPropagator": "p",
        "PropagateID": "q",
        "ReservedCode2": "",
        "More": "m",
    }
    assert len(merged.replaced) == 1
    assert xmp.read(xmp.merge(merged.packet, RECORD)).produce_id == MESSAGE
    assert xmp.read(xmp.merge(merged.packet, Record(producer_code="other"))).produce_id is None
    assert xmp.read(xmp.merge(packet, PLAIN)).aigc == there


@pytest.mark.parametrize(
    "text", ["", "x", "[1]", "{", "[" * 50_000, "1" * 5000, '{"a": ' * 9000, '"' + "x" * 99999]
)
def test_odd_labels_of_china(text):
    packet = described(f"<TC260:AIGC>{text}</TC260:AIGC>")
    assert xmp.read(packet).aigc is None
    assert xmp.read(xmp.merge(packet, RECORD, MESSAGE)).produce_id == MESSAGE


@pytest.mark.parametrize("code", ["xyz", "", "123", 5, None, "00 11"])
def test_a_produce_id_that_is_no_hex(code):
    packet = described(f"<TC260:AIGC>{json.dumps({'ProduceID': code})}</TC260:AIGC>")
    assert xmp.read(packet).produce_id is None
    assert xmp.read(packet).aigc == {"ProduceID": code}


def test_characters_of_json_that_xml_has_not():
    packet = described(r'<TC260:AIGC>{"a": "\ud800\uffff\u0001"}</TC260:AIGC>')
    assert xmp.read(xmp.merge(packet, RECORD)).aigc["a"] == "\ud800\uffff\x01"


# ---- damaged and hostile packets -------------------------------------------------------------------

LAUGHS = (
    b'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "ha">'
    + b"".join(b'<!ENTITY %c "%s">' % (98 + i, b"&%c;" % (97 + i) * 10) for i in range(9))
    + b"]><rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'>&j;</rdf:RDF>"
)
WHOLE = xmp.merge(packets.PHOTOSHOP.encode(), RECORD, MESSAGE)
DAMAGED = {
    "laughs": LAUGHS,
    "outer entity": b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>',
    "unknown entity": described("<dc:a>&nbsp;</dc:a>"),
    "deep": described("<dc:a>" * 5000 + "</dc:a>" * 5000),
    "many": described("<dc:a/>" * 300_000),
    "large": described("x" * (100 << 20)),
    "cut": WHOLE[: len(WHOLE) // 2],
    "unbound prefix": b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><a:b/></x:xmpmeta>",
    "no xmp": b"<html><body/></html>",
    "no xml": b"\xff\xd8\xff\xe0 JFIF",
    "not utf-8": described("<dc:a>").replace(b"<dc:a>", b"<dc:a>\xe9</dc:a>"),
    "odd encoding": b'<?xml version="1.0" encoding="EBCDIC"?>' + described(),
    "half of utf-16": b"\xff\xfe" + "<a>\ud800</a>".encode("utf-16-le", "surrogatepass"),
    "two roots": described() + described(),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_and_hostile_packets_are_refused_or_replaced_as_told(name):
    packet = DAMAGED[name]
    with pytest.raises(CredentialError, match=r"^the XMP is (damaged|too large)") as caught:
        xmp.read(packet)
    assert "\n" not in str(caught.value)
    with pytest.raises(CredentialError, match=r"repair it, or have it replaced$"):
        xmp.merge(packet, RECORD)
    merged = xmp.merge_report(packet, RECORD, MESSAGE, on_damaged="replace")
    assert merged.packet == xmp.merge(None, RECORD, MESSAGE)
    assert merged.replaced == ("nothing that could be read",)


def test_any_cut_or_changed_byte_is_read_or_refused():
    generator = random.Random(5)
    for _ in range(400):
        packet = bytearray(WHOLE)
        for _ in range(generator.randint(1, 4)):
            packet[generator.randrange(len(packet))] = generator.randrange(256)
        del packet[generator.randrange(len(packet) // 2, 2 * len(packet)) :]
        try:
            xmp.read(bytes(packet))
        except CredentialError:
            continue
        assert xmp.read(xmp.merge(bytes(packet), RECORD)).generated


def test_what_to_do_with_damage_is_one_of_two():
    with pytest.raises(ValueError, match="on_damaged"):
        xmp.merge(None, RECORD, on_damaged="ignore")  # type: ignore[arg-type]


def test_reports_are_of_one_short_line():
    packet = described(f"<e:AISystemUsed>{'long &#10; ' * 50}</e:AISystemUsed>")
    (said,) = xmp.merge_report(packet, PLAIN).replaced
    assert "\n" not in said
    assert len(said) < 130
