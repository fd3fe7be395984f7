"""Messages: the message of each image, given, drawn, counted or listed."""

from __future__ import annotations

import csv
import json
import secrets
import sqlite3
import weakref
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Protocol

from fastmark._checks import parse_message
from fastmark.bulk.journal import Journal
from fastmark.bulk.records import Item
from fastmark.bulk.storage import open_input, printable, storable
from fastmark.bulk.texts import text_lines
from fastmark.errors import InvalidMessageError, SourceError, SourceNotFoundError, reason_of

RANDOM, COUNTER = "random", "counter"


class Messages(Protocol):
    """Where messages come from."""

    in_order: bool
    """Whether messages go by the order of all images, so that images done earlier must be counted too."""

    def of(self, item: Item, index: int) -> str:
        """The message in hex.

        Args:
            item: the image to be watermarked.
            index: its number among all images of the sources, from 0.

        Raises:
            InvalidMessageError: if there is none for it.
        """


class Constant:
    """The same message for every image."""

    in_order = False

    def __init__(self, message: bytes) -> None:
        """Keep ``message`` as hex."""
        self.of_all = message.hex()

    def of(self, item: Item, index: int) -> str:
        """The message that all images get."""
        return self.of_all


class Drawn:
    """None yet: the registry draws one for each image when it is watermarked."""

    in_order = False

    def of(self, item: Item, index: int) -> str:
        """No message."""
        return ""


class Random:
    """One for each image, drawn from the operating system's random source."""

    in_order = False

    def __init__(self, message_bits: int) -> None:
        """Draw messages of ``message_bits`` bits."""
        self._bytes = message_bits // 8

    def of(self, item: Item, index: int) -> str:
        """A newly drawn message."""
        return secrets.token_hex(self._bytes)


class Counter:
    """0, 1, 2, ... in the order in which images are read; a resumed run continues the count."""

    in_order = False

    def __init__(self, message_bits: int, journal: Journal) -> None:
        """Continue from the count stored in the journal."""
        self._bits = message_bits
        self._journal = journal
        self._next: int = journal.get("counter", 0)

    def of(self, item: Item, index: int) -> str:
        """The next number."""
        value = self._next
        if value >> self._bits:
            raise InvalidMessageError(
                f"{self._bits} bits cannot count further than {value - 1}: see --message-bits"
            )
        self._next += 1
        self._journal.set("counter", self._next)
        return f"{value:0{self._bits // 4}x}"


class Listed:
    """Messages of a file: a line of hex digits per image, or a table with columns source and message.

    The table, CSV or JSON Lines with ``member`` as a third column if need be, may be the manifest of an
    earlier run. ``source`` may also be the image's path below its source folder.

    Errors never quote a line: the file may be the wrong one, and hold secrets.
    """

    def __init__(self, path: str, message_bits: int) -> None:
        """Read and check all of it, into a temporary file.

        Raises:
            SourceError: if it cannot be read, is a key file or no text, or has no such columns.
            InvalidMessageError: if any message is none.
        """
        self._path = printable(path)
        # NOTE: an empty name is SQLite's for a temporary database, on disk as soon as it is large
        self._db = sqlite3.connect("", check_same_thread=False)
        weakref.finalize(self, self._db.close)
        self._db.execute(
            "CREATE TABLE messages (source TEXT, member TEXT, message TEXT, PRIMARY KEY (source, member))"
        )
        self.in_order = PurePosixPath(path).suffix.lower() not in (".csv", ".jsonl")
        rows = self._lines(path) if self.in_order else self._table(path)
        number = 0
        for number, (source, member, text) in enumerate(rows, 1):
            place = f"{self._path}, message {number}"
            try:
                message = parse_message(text, message_bits).hex()
                self._db.execute("INSERT INTO messages VALUES (?, ?, ?)", (source, member, message))
            except InvalidMessageError:
                raise InvalidMessageError(f"{place}: {_fault(text, message_bits)}") from None
            except sqlite3.IntegrityError:
                raise InvalidMessageError(f"{place}: the image has a message already") from None
        if not number:
            raise SourceError(f"{self._path} holds no messages: write one in each line")

    def of(self, item: Item, index: int) -> str:
        """The message that the file has for the image."""
        keys = (
            [(str(index), "")]
            if self.in_order
            else [
                (item.source, item.member or ""),
                (printable(item.name), ""),
                (item.member or "", ""),
            ]
        )
        for key in keys:
            found = self._db.execute(
                "SELECT message FROM messages WHERE source = ? AND member = ?", key
            ).fetchone()
            if found:
                return str(found[0])
        what = f"it ends before image {index + 1}" if self.in_order else "it does not name it"
        raise InvalidMessageError(f"no message for this image in {self._path}: {what}")

    @staticmethod
    def _read(path: str) -> Iterator[str]:
        shown = printable(path)
        key_error = f"{shown} is a fastmark key file, not one of messages"
        try:
            with open_input(path) as file:
                for line in text_lines(file, shown, "file of messages", key_error=key_error):
                    # names that are no UTF-8 become what those of images do
                    yield storable(line.decode("utf-8", "surrogateescape"))
        except SourceError:
            raise
        except FileNotFoundError:
            raise SourceNotFoundError(
                f"{shown}: no such file; --messages takes one, or {RANDOM}, or {COUNTER}"
            ) from None
        except (OSError, ValueError) as error:
            raise SourceError(f"{shown} cannot be read: {storable(reason_of(error))}") from None

    def _lines(self, path: str) -> Iterator[tuple[str, str, str]]:
        lines = (line.strip() for line in self._read(path))
        for index, line in enumerate(line for line in lines if line):
            yield str(index), "", line

    def _table(self, path: str) -> Iterator[tuple[str, str, str]]:
        lines = self._read(path)
        rows = (
            csv.DictReader(lines)
            if path.lower().endswith(".csv")
            else (json.loads(line) for line in lines if line.strip())
        )
        try:
            for row in rows:
                if row.get("message"):  # a manifest has rows of errors too
                    yield str(row["source"]), str(row.get("member") or ""), str(row["message"])
        except SourceError:
            raise
        except (KeyError, AttributeError, TypeError, ValueError, RecursionError, csv.Error):
            raise SourceError(
                f"{self._path} has no columns 'source' and 'message': name the manifest of an earlier"
                " fastmark embed, or a table with these columns"
            ) from None


def _fault(text: str, message_bits: int) -> str:
    """The fault of a message, without quoting it."""
    digits = text[2:] if text[:2] in ("0x", "0X") else text
    if not digits or any(digit not in "0123456789abcdefABCDEF" for digit in digits):
        return f"its {len(text)} characters are not all hexadecimal: use the digits 0-9 and a-f"
    wanted = message_bits // 4
    if len(digits) > wanted:
        return f"it has {len(digits)} hex digits, {message_bits} bits hold {wanted}"
    return (
        f"{message_bits} bits are {wanted} hex digits, not {len(digits)}: write 0x before them to have zeros"
        " put in front, or choose --message-bits"
    )


def messages_of(choice: str, message_bits: int) -> Messages | None:
    """The source that ``--messages`` names, "random" or a file; None for "counter", which needs a journal."""
    if choice == COUNTER:
        return None
    return Random(message_bits) if choice == RANDOM else Listed(choice, message_bits)
