"""Records: what they refuse, and that they stay themselves through JSON."""

import datetime as dt
import json

import pytest

from fastmark.errors import FastmarkError, RecordError
from fastmark.records import Record, format_time, parse_time

FULL = {
    "provider": "Example Studio",
    "system": "Painter",
    "system_version": "2.1",
    "model": "painter-xl",
    "action": "altered",
    "operation": "inpainting",
    "policy": "no-generative-training",
    "owner": "Ada L.",
    "expires": "2031-02-03T04:05:06Z",
    "source_type": "algorithmicallyEnhanced",
    "producer_code": "001191000000000000000X",
}


def test_every_field_goes_through_json():
    record = Record.from_dict(json.loads(json.dumps(FULL)))
    assert record.to_dict() == FULL
    assert set(FULL) == set(Record().to_dict())
    assert record.expires == dt.datetime(2031, 2, 3, 4, 5, 6, tzinfo=dt.UTC)
    assert Record.from_dict(record.to_dict()) == record
    assert Record.from_dict({}) == Record() and Record().to_dict()["owner"] is None


def test_the_source_type_follows_the_action():
    assert Record().digital_source_type == "trainedAlgorithmicMedia"
    assert Record(action="altered").digital_source_type == "compositeWithTrainedAlgorithmicMedia"
    assert Record(action="altered", source_type="humanEdits").digital_source_type == "humanEdits"


@pytest.mark.parametrize(
    "text", ["", "  ", "a\nb", "a\x00b", "\x1b[31m", "\ud800", "\u202e", "x" * 201, 5, b"bytes", ["a"], True]
)
@pytest.mark.parametrize("name", ["provider", "owner", "producer_code"])
def test_texts_are_texts_of_one_line(name, text):
    with pytest.raises(RecordError, match=f"^{name} of a record must"):
        Record(**{name: text})


def test_texts_may_be_of_any_script_and_200_characters():
    for text in ("x" * 200, "Ümläut & <tags> \"'", "合成图像", "🎨 " + "y" * 198):
        assert Record(provider=text).provider == text


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"action": "made"}, "action of a record must be one of created, altered, labelled, not 'made'"),
        ({"action": None}, "action of a record must be one of"),
        ({"action": ["created"]}, "action of a record must be one of"),
        ({"policy": "no"}, "policy of a record must be one of none, no-training, no-generative-training"),
        ({"source_type": "photo"}, "source_type of a record must be one of trainedAlgorithmicMedia"),
        ({"expires": "tomorrow"}, "'tomorrow' is no time with its zone: write it as 2030-01-31T00:00:00Z"),
        ({"expires": "2030-01-31T00:00:00"}, "is no time with its zone"),
        ({"expires": 1900000000}, "expires of a record must be a time with its zone"),
        ({"colour": "red", "Provider": "x"}, "a record has no Provider, colour: it has provider, system,"),
    ],
)
def test_bad_values_are_told(values, says):
    with pytest.raises(RecordError) as caught:
        Record.from_dict(values)
    assert says in str(caught.value) and "\n" not in str(caught.value)
    assert isinstance(caught.value, FastmarkError) and isinstance(caught.value, ValueError)


def test_a_time_without_zone_is_refused_in_python_too():
    with pytest.raises(RecordError, match="with its zone"):
        Record(expires=dt.datetime(2030, 1, 1))


def test_times_are_told_in_utc_to_the_second():
    east = dt.timezone(dt.timedelta(hours=5, minutes=30))
    time = dt.datetime(2030, 1, 1, 3, 0, 0, 999999, tzinfo=east)
    assert format_time(time) == "2029-12-31T21:30:00Z"
    assert parse_time("2030-01-01T03:00:00+05:30") == dt.datetime(2029, 12, 31, 21, 30, tzinfo=dt.UTC)
    assert Record(expires=time).to_dict()["expires"] == "2029-12-31T21:30:00Z"


def test_a_record_is_a_value():
    record = Record(provider="a")
    assert record == Record(provider="a") and hash(record) == hash(Record(provider="a"))
    with pytest.raises(AttributeError):
        record.provider = "b"
