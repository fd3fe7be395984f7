"""The format, to the bit, against tests/vectors/format.json: marks made by older versions must be found."""

import json
from pathlib import Path

import pytest
from vectors.contents import codeword_entry, key_entry, origin_entry

from fastmark._checks import MESSAGE_BITS
from fastmark.codec.keystream import Domain
from fastmark.codec.message import MessageCode

FILE = Path(__file__).parents[1] / "vectors" / "format.json"
VECTORS = json.loads(FILE.read_text(encoding="utf-8"))
BROKEN = f"the format has changed: {FILE}"

ARRAYS = ["tones_int16", "phases_uint16", "signs_int8", "code_bit_int16"]
BINDING = ["binding_signs_int8", "binding_flags_int8", "binding_partners_uint8", "withheld_uint8"]
DETECTOR_KEY = ["detector_key_id", "detector_key_content"]


@pytest.fixture(scope="module", params=VECTORS["keys"], ids=lambda entry: entry["id"])
def entries(request):
    """A key's golden entry, and the same computed anew."""
    return request.param, key_entry(request.param["secret"])


@pytest.mark.parametrize(
    "field", ["id", "streams", "streams_of_context_00ff", *ARRAYS, *BINDING, *DETECTOR_KEY]
)
def test_what_a_key_means_has_not_changed(entries, field):
    golden, now = entries
    assert now[field] == golden[field], BROKEN


def test_the_golden_entries_of_a_key_leave_nothing_out(entries):
    golden, now = entries
    assert golden.keys() == now.keys()
    assert golden["streams"].keys() == {domain.name for domain in Domain}


@pytest.mark.parametrize(
    "golden", VECTORS["codewords"], ids=lambda c: f"{c['message_bits']}-{c['message'][:4]}-{c['k']}"
)
def test_the_codeword_of_a_message_has_not_changed(golden):
    assert codeword_entry(golden["message_bits"], golden["message"], golden["k"]) == golden, BROKEN


def test_the_golden_codewords_are_of_every_length_and_all_different():
    assert {entry["message_bits"] for entry in VECTORS["codewords"]} == set(MESSAGE_BITS)
    assert len({entry["digest"] for entry in VECTORS["codewords"]}) == len(VECTORS["codewords"])
    assert len(VECTORS["keys"]) == 2
    for bits in MESSAGE_BITS:
        assert MessageCode(bits).n_bytes * 2 in {len(entry["message"]) for entry in VECTORS["codewords"]}


@pytest.mark.parametrize(
    "golden", VECTORS["origins"], ids=lambda o: f"{o['secret'][:4]}-{o['height']}-{o['width']}"
)
def test_the_origin_of_a_picture_has_not_changed(golden):
    assert origin_entry(golden["secret"], golden["height"], golden["width"]) == golden, BROKEN
