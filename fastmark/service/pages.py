"""The pages as HTML: templates of ``page/``, filled with answers, errors and entries, in one language each.

The same template makes the answer for browsers with JavaScript and without. Nothing in it is inline: the
policy that goes with each page permits scripts and styles of this service alone.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

import jinja2
import numpy as np
from PIL import Image

from fastmark._version import VERSION
from fastmark.service import wording
from fastmark.service.languages import LANGUAGES, Language, language
from fastmark.service.problems import Problem
from fastmark.service.settings import MEBIBYTE, Settings
from fastmark.service.wording import Answer, Code, Phrase, Row, Time

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""The content security policy of all pages."""

HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Vary": "Accept, Accept-Language",
}
"""Of all pages."""

REPORT_FILE = "fastmark-report.jws"

_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_MAIL = re.compile(r"[^\s@:/?#<>\"]+@[^\s@:/?#<>\"]+")
_WEB = re.compile(r"https?://[^\s<>\"]+")
_TYPED = re.compile(r"https?://[\w.:\[\]~/-]+", re.ASCII)  # what a shell takes as it is
_FIELDS = ("provider", "system", "system_version", "created_at", "action")
_NO_JSON = ("map", "report")  # of an answer; the page shows both otherwise


@dataclass(frozen=True, slots=True)
class StaticFile:
    """A file that pages load.

    Attributes:
        data: its bytes.
        kind: its media type.
        tag: of its bytes, for addresses and ETag.
    """

    data: bytes = field(repr=False)
    kind: str
    tag: str


@dataclass(frozen=True, slots=True)
class Map:
    """Where the watermark lies.

    Attributes:
        url: of a picture with a pixel for each cell.
        columns, rows: of cells.
        changed: whether the content was changed under the watermark somewhere.
        says: the same in words.
    """

    url: str
    columns: int
    rows: int
    changed: bool
    says: tuple[Phrase, ...]


class Pages:
    """The pages of one service."""

    def __init__(self, settings: Settings) -> None:
        """Read all templates and files."""
        self._settings = settings
        self.static = _static_files()
        self._environment = jinja2.Environment(
            loader=jinja2.PackageLoader("fastmark.service", "page"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals |= {
            "version": VERSION,
            "languages": [language(name) for name in LANGUAGES],
            "tag_of": {name: file.tag for name, file in self.static.items()},
            "feedback": _link(settings.feedback),
            "contact": _link(settings.contact),
            "urls": settings.urls,
            "most_bytes": settings.max_bytes,
            "report_file": REPORT_FILE,
        }

    def start(
        self,
        spoken: Language,
        query: str = "",
        *,
        answer: Answer | None = None,
        problem: Problem | None = None,
        address: str = "",
    ) -> str:
        """Return the page at ``/``.

        Args:
            spoken: its language.
            query: that links to other pages keep: "?lang=...", or nothing.
            answer: that it shows.
            problem: that it tells of, instead of an answer.
            address: under which the reader found the service, for services that are not told their own.
        """
        shown = None if answer is None else _shown(answer, address)
        error = None if problem is None else self._error(problem)
        return self._render("start.html", spoken, "./", query, answer=shown, error=error)

    def entry(self, spoken: Language, query: str, record: Mapping[str, Any]) -> str:
        """Return the page of an id: of the values of a ``PublicRecord``."""
        return self._render("entry.html", spoken, "../", query, id=record["id"], rows=registry_rows(record))

    def no_entry(self, spoken: Language, query: str, title: str, says: Phrase) -> str:
        """Return the page that stands in place of that of an id: a key of a string, and a sentence."""
        return self._render("no_entry.html", spoken, "../", query, title=title, says=says)

    def error_text(self, problem: Problem) -> Phrase:
        """Return what happened and what to do, in a sentence or two."""
        key = f"error.{problem.status}"
        wait = problem.headers.get("Retry-After", "")
        values = {"size": _size(self._settings.max_bytes), "seconds": int(wait) if wait.isdecimal() else 60}
        return Phrase(key if key in language(LANGUAGES[0]) else "error.500", values)

    def _error(self, problem: Problem) -> dict[str, Any]:
        return {"says": self.error_text(problem), "detail": Phrase(wording.ENGLISH, {"text": problem.detail})}

    def _render(self, name: str, spoken: Language, base: str, query: str, **values: Any) -> str:
        size = _size(self._settings.max_bytes)
        return self._environment.get_template(name).render(
            spoken=spoken,
            text=spoken.text,
            html=spoken.html,
            say=spoken.say,
            base=base,
            query=query,
            size=size,
            **values,
        )


def registry_rows(record: Mapping[str, Any]) -> list[Row]:
    """Return what a registry says of an id, the id itself aside."""
    rows = []
    for name in _FIELDS:
        value = record[name]
        if value is None:
            says = Phrase("registry.nothing")
        elif name == "action":
            says = Phrase(f"registry.action.{value}")
        elif name == "created_at":
            says = Phrase(wording.VALUE, {"value": Time(value)})
        else:
            says = Phrase(wording.VALUE, {"value": value})
        rows.append(Row(f"registry.{name}", (says,)))
    return rows


def read_map(url: str, box: Sequence[int] | None) -> Map:
    """Return what ``fastmark.service.work.draw`` drew, and say it.

    Args:
        url: of the picture.
        box: left, top, right, bottom of the part that carries the watermark, pixels of the image.

    Raises:
        ValueError: if it is no such picture.
    """
    with Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) as image:
        cells = np.asarray(image.convert("RGBA"))
    carries = cells[..., 3] > 0
    changed = carries & (cells[..., 0] > cells[..., 2])  # orange, not blue
    says = [Phrase("map.share", {"share": _percent(carries)})]
    if box is not None:
        says.append(Phrase("map.box", dict(zip(("left", "top", "right", "bottom"), box, strict=True))))
    if changed.any():
        says.append(Phrase("map.share changed", {"share": _percent(changed)}))
    return Map(url, cells.shape[1], cells.shape[0], bool(changed.any()), tuple(says))


def _percent(cells: Any) -> int:
    """Return how much of the cells is true, and at least 1."""
    return max(1, round(100 * float(np.mean(cells))))


def _shown(answer: Answer, address: str) -> dict[str, Any]:
    """Return what the template needs of an answer."""
    report = answer.get("report")
    url = answer.get("map")
    place = answer["detector"].get("url") or address.rstrip("/")
    if not _TYPED.fullmatch(place):
        place = "URL"
    raw = {name: value for name, value in answer.items() if name not in _NO_JSON}
    return {
        "verdict": answer["verdict"],
        "tone": wording.TONES.get(answer["verdict"], "unsure"),
        "summary": wording.summary(answer),
        "rows": wording.details(answer),
        "id": answer["id"],
        "registry": None if answer["registry"] is None else registry_rows(answer["registry"]),
        "map": None if url is None else read_map(url, answer["where"]),
        "width": answer.get("width"),
        "height": answer.get("height"),
        "band": answer["confidence"],
        "time": Phrase(wording.VALUE, {"value": Time(answer["time"])}),
        "detector": f"{answer['detector']['name']} {answer['detector']['version']}",
        "detector_link": _link(answer["detector"].get("url")),
        "sha256": answer["sha256"],
        "remarks": [Phrase(wording.ENGLISH, {"text": one}) for one in answer.get("remarks", ())],
        "report": None if report is None else _data_url(report),
        "command": Code(f"fastmark verify-report {REPORT_FILE} --keys {place}"),
        "json": _json(raw),
    }


def _data_url(report: str) -> str:
    return f"data:application/jose;base64,{base64.b64encode(report.encode()).decode()}"


def _json(values: Mapping[str, Any]) -> str:
    """Return values as JSON in lines, with what cannot be seen escaped."""
    text = json.dumps(values, indent=2, ensure_ascii=False)
    return "".join(one if one.isprintable() or one == "\n" else json.dumps(one)[1:-1] for one in text)


def _link(address: str | None) -> tuple[str | None, str] | None:
    """Return where a link goes, None if the address is neither of mail nor of the web, and what it shows."""
    if address is None:
        return None
    bare = address.strip().removeprefix("mailto:")
    if _MAIL.fullmatch(bare):
        return f"mailto:{bare}", bare
    return (bare if _WEB.fullmatch(bare) else None), bare


def _size(most_bytes: int) -> str:
    if most_bytes >= MEBIBYTE:
        return f"{most_bytes // MEBIBYTE}\N{NO-BREAK SPACE}MB"
    return f"{max(1, most_bytes // 1024)}\N{NO-BREAK SPACE}kB"


def _static_files() -> dict[str, StaticFile]:
    found = {}
    for source in (files("fastmark.service") / "page" / "static").iterdir():
        kind = _TYPES.get(source.name[source.name.rfind(".") :])
        if kind is not None:
            data = source.read_bytes()
            found[source.name] = StaticFile(data, kind, hashlib.sha256(data).hexdigest()[:16])
    return found
