"""Pages of the service, read strictly, and the strings that stand in them in each language."""

import html.parser
import json
from importlib.resources import files

from fastmark.service.languages import LANGUAGES

PAGE = files("fastmark.service") / "page"
CATALOGS = {
    name: json.loads((PAGE / "strings" / f"{name}.json").read_text(encoding="utf-8")) for name in LANGUAGES
}
VOID = {"meta", "link", "input", "img", "br", "circle", "path", "rect"}


class Reader(html.parser.HTMLParser):
    """Reads a page strictly: every element is closed in its turn."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.text = [], [], ""
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        assert len(dict(attributes)) == len(attributes), f"{tag} has an attribute twice"
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag, f"</{tag}>"

    def handle_data(self, data):
        self.text += data if not {"script", "template"} & set(self.open) else ""

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    def first(self, id):
        return next(attributes for _, attributes in self.elements if attributes.get("id") == id)
