"""The languages of the page: a catalog of strings for each, and which one a reader gets.

The strings are in ``page/strings``, a flat JSON object per language with the same keys. Values that are put
into them come from operators, registries and files of strangers: they are escaped, cut, and isolated, so that
none can change what stands around it.
"""

from __future__ import annotations

import functools
import json
import re
import unicodedata
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from markupsafe import Markup, escape

from fastmark.service.wording import ENGLISH, LISTED, VALUE, Code, Phrase, Time

LANGUAGES = ("en", "de", "fr", "es", "zh")
"""The first is for readers who ask for none of them."""

_MOST_CHARACTERS = 300  # of a value
_UNSEEN = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))  # categories of Unicode
_JOINERS = "\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}"  # which some scripts are written with
_MOST_ACCEPTED = 1000  # of a header
_QUALITY = re.compile(r"q=(\d(?:\.\d{0,3})?)", re.ASCII)


class Language:
    """The strings of one language."""

    def __init__(self, name: str, strings: Mapping[str, str]) -> None:
        """Keep the strings; ``name`` is one of ``LANGUAGES``."""
        self.name, self._strings = name, strings

    def __contains__(self, key: str) -> bool:
        """Whether there is a string of that key."""
        return key in self._strings

    def text(self, key: str, **values: Any) -> str:
        """Return a string with values in it, as text without markup.

        Raises:
            KeyError: if there is none of that key.
        """
        return self._strings[key].format(**{name: self._plain(value) for name, value in values.items()})

    def say(self, *phrases: Phrase) -> Markup:
        """Return phrases, one after the other, as HTML."""
        return Markup(escape(self._strings["join"])).join(map(self._phrase, phrases))

    def html(self, key: str, **values: Any) -> Markup:
        """Return a string with values in it, as HTML."""
        return self._phrase(Phrase(key, values))

    def _phrase(self, phrase: Phrase) -> Markup:
        if phrase.key == ENGLISH:
            return self._english(phrase.values["text"])
        if phrase.key == LISTED:
            return self._list(phrase.values["items"])
        if phrase.key == VALUE:
            return self._marked(phrase.values["value"])
        values = {name: self._marked(value) for name, value in phrase.values.items()}
        return escape(self._strings[phrase.key]).format(**values)

    def _english(self, text: str) -> Markup:
        cleaned = clean(text)
        return (
            Markup("{}").format(cleaned)
            if self.name == "en"
            else Markup('<span lang="en">{}</span>').format(cleaned)
        )

    def _list(self, items: tuple[Phrase, ...]) -> Markup:
        return Markup(escape(self._strings["list"])).join(map(self._phrase, items))

    def _marked(self, value: Any) -> Markup:
        if isinstance(value, Markup):
            return value
        if isinstance(value, tuple):
            return self._list(value)
        if isinstance(value, Code):
            return Markup("<code>{}</code>").format(clean(value))
        if isinstance(value, Time):
            shown = clean(value.replace("T", " ").replace("Z", " UTC"))
            return Markup('<time datetime="{}">{}</time>').format(clean(value), shown)
        if isinstance(value, str):
            return Markup("<bdi>{}</bdi>").format(clean(value))
        return escape(self._plain(value))

    def _plain(self, value: Any) -> str:
        if isinstance(value, float):
            return f"{value:.10g}".replace(".", self._strings["decimal"])
        return clean(str(value))


def clean(text: str) -> str:
    """Return a text, cut, without what cannot be seen, such as marks that turn the direction of writing."""
    shown = "".join(map(_seen, text[:_MOST_CHARACTERS]))
    return shown if len(text) <= _MOST_CHARACTERS else f"{shown}…"


def _seen(character: str) -> str:
    unseen = unicodedata.category(character) in _UNSEEN and character not in _JOINERS
    return "\N{REPLACEMENT CHARACTER}" if unseen else character


@functools.cache
def language(name: str) -> Language:
    """Return one of ``LANGUAGES``."""
    source = files("fastmark.service") / "page" / "strings" / f"{name}.json"
    return Language(name, json.loads(source.read_text(encoding="utf-8")))


def quality_of(parameter: str) -> float | None:
    """Return the weight that a parameter of a header like Accept gives (RFC 9110, 12.4.2); None if none."""
    found = _QUALITY.fullmatch(parameter)
    return float(found[1]) if found else None


def choose(asked: str | None, accepted: str | None) -> Language:
    """Return the language for a reader.

    Args:
        asked: by the address of the page; counts if it is one of ``LANGUAGES``.
        accepted: the header Accept-Language (RFC 9110, 12.5.4); of the best ones, the first.
    """
    if asked in LANGUAGES:
        return language(asked)
    best, quality = LANGUAGES[0], 0.0
    for part in (accepted or "")[:_MOST_ACCEPTED].split(","):
        tag, _, parameters = part.partition(";")
        name = tag.strip().lower().partition("-")[0]
        weight = (quality_of(parameters.strip()) or 0.0) if parameters.strip() else 1.0
        if name in LANGUAGES and weight > quality:
            best, quality = name, weight
    return language(best)
