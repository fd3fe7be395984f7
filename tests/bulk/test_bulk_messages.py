"""Messages: every picture its own, by whatever rule; mistakes are told before anything is marked."""

import pytest

from fastmark.bulk.journal import Journal
from fastmark.bulk.messages import Constant, Counter, Listed, Random, messages_of
from fastmark.bulk.records import Item
from fastmark.errors import InvalidMessageError, SourceError


@pytest.fixture
def journal(tmp_path):
    journal = Journal(str(tmp_path / "j.journal"), {}, output="out")
    yield journal
    journal.close()


def listed(tmp_path, text, name="messages.txt", bits=16):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return Listed(str(path), bits)


def test_constant_and_random():
    assert Constant(b"\x01\xff").of(Item("a"), 7) == "01ff"
    drawn = {Random(32).of(Item("a"), 0) for _ in range(100)}
    assert len(drawn) == 100
    assert {len(text) for text in drawn} == {8}


def test_the_counter_goes_on_in_the_next_run(tmp_path, journal):
    counter = Counter(16, journal)
    assert [counter.of(Item("a"), 9) for _ in range(3)] == ["0000", "0001", "0002"]
    assert Counter(16, journal).of(Item("a"), 0) == "0003"


def test_the_counter_does_not_begin_again(journal):
    journal.set("counter", 0xFFFF)
    counter = Counter(16, journal)
    assert counter.of(Item("a"), 0) == "ffff"
    with pytest.raises(InvalidMessageError, match="cannot count further than 65535"):
        counter.of(Item("b"), 1)


def test_lines_go_by_the_order_of_the_pictures(tmp_path):
    messages = listed(tmp_path, "\ufeff0001\n\n0x2\r\nBEEF")
    assert messages.in_order
    assert [messages.of(Item("any"), i) for i in (2, 0, 1)] == ["beef", "0001", "0002"]
    with pytest.raises(InvalidMessageError, match="ends before image 4"):
        messages.of(Item("any"), 3)


TABLES = {
    "t.csv": "source,member,message\na.jpg,,0001\ns.tar,k/1.jpg,0002\nb.jpg,,\n",
    "t.jsonl": '{"source": "a.jpg", "member": null, "message": "0001"}\n'
    '{"source": "s.tar", "member": "k/1.jpg", "message": "0002"}\n{"source": "b.jpg", "message": null}\n',
}


@pytest.mark.parametrize("name", TABLES)
def test_tables_go_by_name(tmp_path, name):
    messages = listed(tmp_path, TABLES[name], name)
    assert not messages.in_order
    assert messages.of(Item("s.tar", 9, "k/1.jpg"), 5) == "0002"
    assert messages.of(Item("/data/a.jpg", name="a.jpg"), 5) == "0001"  # below its source folder
    for picture in (Item("b.jpg"), Item("s.tar", 0, "k/2.jpg"), Item("c.jpg", name="c.jpg")):
        with pytest.raises(InvalidMessageError, match="does not name it"):
            messages.of(picture, 0)


@pytest.mark.parametrize(
    ("text", "name", "says"),
    [
        ("0001\nxyz\n", "m.txt", "message 2: its 3 characters are not all hexadecimal"),
        ("00001\n", "m.txt", "5 hex digits"),
        ("source,message\na,0001\na,0002\n", "m.csv", "message 2: the image has a message already"),
        ("source,message\na,1\n", "m.csv", "message 1: 16 bits are 4 hex digits"),
    ],
)
def test_messages_that_are_none(tmp_path, text, name, says):
    with pytest.raises(InvalidMessageError, match=says):
        listed(tmp_path, text, name)


@pytest.mark.parametrize(
    ("text", "name", "says"),
    [
        ("", "m.txt", "holds no messages"),
        ("name,message\na,0001\n", "m.csv", "no columns 'source' and 'message'"),
        ("source,text\na,0001\n", "m.csv", "holds no messages"),
        ("not json\n", "m.jsonl", "no columns"),
        ("[1]\n", "m.jsonl", "no columns"),
    ],
)
def test_files_that_hold_none(tmp_path, text, name, says):
    with pytest.raises(SourceError, match=says):
        listed(tmp_path, text, name)


def test_what_a_choice_names(tmp_path):
    assert isinstance(messages_of("random", 16), Random)
    assert messages_of("counter", 16) is None
    for choice in ("rnadom", str(tmp_path / "gone.csv")):
        with pytest.raises(SourceError, match="or random, or counter"):
            messages_of(choice, 16)
