"""Texts of people and their tools: byte order marks, line ends and odd bytes, in lists and in messages."""

import io
import os
import types

import pytest
from archives import jpeg, write

from fastmark.bulk import sources
from fastmark.bulk.messages import Listed
from fastmark.bulk.records import Item
from fastmark.bulk.sources import entries, named
from fastmark.bulk.texts import text_lines
from fastmark.bulk.walk import Walk
from fastmark.errors import InvalidMessageError, SourceError

ENCODINGS = {
    "plain": lambda text: text.encode(),
    "UTF-8 with its mark": lambda text: text.encode("utf-8-sig"),
    "PowerShell's": lambda text: b"\xff\xfe" + text.encode("utf-16-le"),
    "the other end first": lambda text: b"\xfe\xff" + text.encode("utf-16-be"),
    "UTF-32": lambda text: text.encode("utf-32"),
}


def lines(data):
    return list(text_lines(io.BytesIO(data), "it", "list", key_error="a key"))


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lines_come_in_utf_8_without_marks(encoding, end):
    text = end.join(["naïve 1", "", "ਊ\u0a0d 2", "\U0001f600" * 9000, "last"])
    expected = [f"naïve 1{end}", end, f"ਊ\u0a0d 2{end}", "\U0001f600" * 9000 + end, "last"]
    assert [line.decode() for line in lines(ENCODINGS[encoding](text))] == expected
    assert lines(ENCODINGS[encoding]("")) == []


def test_bytes_that_are_no_utf_8_stay_as_they_are():
    assert lines(b"caf\xe9.jpg\nb\n") == [b"caf\xe9.jpg\n", b"b\n"]


def test_what_is_no_text_is_refused():
    for data in (jpeg(), bytes(10), b"a\0b"):
        with pytest.raises(SourceError, match="it is no text: give a list"):
            lines(data)
    with pytest.raises(SourceError, match="a line of more than 1048576 bytes"):
        lines(b"x" * 3_000_000)


def test_a_pipe_is_read_as_it_is_written():
    reader, writer = os.pipe()
    with open(reader, "rb") as file:  # noqa: PTH123
        os.write(writer, b"1\n" + b"x" * 8190)  # what tells its kind
        came = text_lines(file, "it", "list", key_error="a key")
        assert next(came) == b"1\n"
        os.write(writer, b"\n2\n")
        assert next(came) == b"x" * 8190 + b"\n"
        assert next(came) == b"2\n"
        os.close(writer)
        assert list(came) == []


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_lists_of_any_encoding(tmp_path, monkeypatch, encoding):
    monkeypatch.chdir(tmp_path)
    for name in ("a.jpg", "b é.jpg"):
        write(tmp_path / name, jpeg())
    data = ENCODINGS[encoding]("a.jpg\r\n\r\n  \r\nb é.jpg\r\n")
    path = write(tmp_path / "list.txt", data)
    expected = [("a.jpg", "image"), ("b é.jpg", "image")]
    for given in (named(path), named((), path)):
        assert [(entry.path, entry.kind) for entry in entries(given, Walk())] == expected
    for given in (named("-"), named((), "-")):
        stream = io.BufferedReader(io.BytesIO(data))
        monkeypatch.setattr(sources.sys, "stdin", types.SimpleNamespace(buffer=stream))
        assert [(entry.path, entry.kind) for entry in entries(given, Walk())] == expected


def test_paths_of_any_bytes_in_a_list(tmp_path):
    odd = os.fsencode(tmp_path) + b"/caf\xe9.jpg"
    write(os.fsdecode(odd), jpeg())
    (entry,) = entries(named((), write(tmp_path / "list", odd + b"\n")), Walk())
    assert (os.fsencode(entry.path), entry.kind) == (odd, "image")


MESSAGES = {
    "m.txt": "0001\r\n\r\n0x2\r\n",
    "m.csv": "source,message\r\na.jpg,0001\r\nb é.jpg,0x2\r\n",
    "m.jsonl": '{"source": "a.jpg", "message": "0001"}\r\n\r\n{"source": "b é.jpg", "message": "0x2"}\r\n',
}


@pytest.mark.parametrize("name", MESSAGES)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_messages_of_any_encoding(tmp_path, encoding, name):
    path = write(tmp_path / name, ENCODINGS[encoding](MESSAGES[name]))
    messages = Listed(str(path), 16)
    pictures = [Item("a.jpg"), Item("b é.jpg")]
    assert [messages.of(picture, i) for i, picture in enumerate(pictures)] == ["0001", "0002"]


def test_a_table_of_messages_may_name_files_of_any_bytes(tmp_path):
    path = write(tmp_path / "m.csv", b"source,message\ncaf\xe9.jpg,0001\n")
    name = os.fsdecode(b"caf\xe9.jpg")
    assert Listed(str(path), 16).of(Item("elsewhere", name=name), 0) == "0001"
    # as a manifest writes it
    path = write(tmp_path / "n.csv", b"source,message\ncaf\\xe9.jpg,0002\n")
    assert Listed(str(path), 16).of(Item("caf\\xe9.jpg"), 0) == "0002"


@pytest.mark.parametrize("line", ["not hex at all", "0123456789abcdefg", "deadbeefdeadbeef"])
@pytest.mark.parametrize("name", ["m.txt", "m.csv", "m.jsonl"])
def test_what_a_line_holds_is_not_repeated(tmp_path, line, name):
    form = {
        "m.txt": f"0001\n{line}\n",
        "m.csv": f"source,message\na,0001\nb,{line}\n",
        "m.jsonl": f'{{"source": "a", "message": "0001"}}\n{{"source": "b", "message": "{line}"}}\n',
    }
    with pytest.raises(InvalidMessageError, match="message 2: ") as caught:
        Listed(str(write(tmp_path / name, form[name].encode())), 16)
    assert line not in str(caught.value)
    assert str(len(line)) in str(caught.value)
