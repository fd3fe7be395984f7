"""Reads the page of a report: strictly, and with the figures that it shows."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = {"meta", "br", "link", "img", "input", "hr"}


class Page(HTMLParser):
    """Elements of a page in order, and its figures; raises AssertionError where tags do not match.

    Attributes:
        elements: name and attributes of each.
        figures: path in the JSON, value and text of each ``data`` element.
        bare: texts of cells of tables (``td``) outside of such elements, and not in a picture.
        texts: all texts.
    """

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.figures: list[tuple[str, str, str]] = []
        self.bare: list[str] = []
        self.texts: list[str] = []
        self._open: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()
        assert not self._open, f"not closed: {[name for name, _ in self._open]}"

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        assert len(set(names)) == len(names), (tag, names)
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append((tag, dict(attrs)))
            if tag == "data":
                self.figures.append((attrs_of(attrs, "data-path"), attrs_of(attrs, "value"), ""))

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        name, _ = self._open.pop()
        assert name == tag, f"{tag} ends where {name} is open"

    def handle_data(self, data):
        names = [name for name, _ in self._open]
        self.texts.append(data)
        if "data" in names:
            path, value, text = self.figures.pop()
            self.figures.append((path, value, text + data))
        elif "td" in names and "svg" not in names:
            self.bare.append(data)

    def all(self, tag):
        """Attributes of all elements of a name."""
        return [attrs for name, attrs in self.elements if name == tag]


def attrs_of(attrs, name):
    return str(dict(attrs)[name])


def number_of(text: str) -> float | None:
    """The number that a text begins with, a share where it ends in per cent; None if there is none."""
    words = text.replace(",", "").replace("under ", "").split()
    try:
        return float(words[0]) / (100 if words[1:] == ["%"] else 1)
    except ValueError:
        return None
