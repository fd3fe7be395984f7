"""What the page of a report is made of: figures as people read them, tables, paragraphs.

Every figure is a ``<data>`` element: its ``data-path`` says where in the JSON it stands, its ``value`` is
what stands there, and its text is that figure for people.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from html import escape
from typing import Any

Values = dict[str, Any]

# ---- figures for people ------------------------------------------------------------------------------


def count(value: float) -> str:
    """Return a whole number with commas."""
    return f"{value:,.0f}"


def percent(value: float) -> str:
    """Return a share in per cent, one digit after the point; never 100 or 0 of what is less or more."""
    text = f"{100 * value:.1f}"
    if text == "100.0" and value < 1:
        text = "99.9"
    elif text == "0.0" and value > 0:
        text = "0.1" if value >= 0.0005 else "under 0.1"
    return f"{text.removesuffix('.0')} %"


def decibels(value: float) -> str:
    """Return a ratio in dB."""
    return f"{value:.1f} dB"


def score(value: float) -> str:
    """Return a score of SSIMULACRA2."""
    return f"{value:.1f}"


def likeness(value: float) -> str:
    """Return an SSIM, which lives in its third and fourth digit."""
    return f"{value:.4f}"


def plain(value: Any) -> str:
    """Return a number as short as it can be, or a text as it is."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def power(value: float) -> str:
    """Return a p-value of this decimal logarithm; a bound that is not small is 1."""
    return f"1e{value:.0f}" if value <= -0.5 else "1"


def rate(value: float) -> str:
    """Return a rate with two digits."""
    return f"{value:.2g}"


class Figures:
    """The report's JSON, whose figures are named by their paths."""

    def __init__(self, values: Values) -> None:
        """Keep it."""
        self.values = values

    def at(self, path: str) -> Any:
        """Return what stands at a path, as in ``survival.attacks.3.trials``."""
        found: Any = self.values
        for part in path.split("."):
            found = found[int(part)] if isinstance(found, list) else found[part]
        return found

    def shown(self, path: str, text: Callable[[Any], str] = plain) -> str:
        """Return a figure as an element; a dash where there is none."""
        value = self.at(path)
        if value is None:
            return '<span class="soft">-</span>'
        return f'<data value="{escape(str(value))}" data-path="{escape(path)}">{escape(text(value))}</data>'


# ---- elements ----------------------------------------------------------------------------------------


def table(caption: str, heads: Sequence[tuple[str, str]], rows: Iterable[str], label: str = "") -> str:
    """Return a table in a region that scrolls by itself.

    Args:
        caption: above it.
        heads: text and class of each column's head.
        rows: whole rows.
        label: of the region; the caption if empty.
    """
    columns = "".join(f'<th scope="col"{_class(style)}>{head}</th>' for head, style in heads)
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(label or caption)}"><table>'
        f"<caption><span>{escape(caption)}</span></caption><thead><tr>{columns}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def row(head: str, cells: Iterable[tuple[str, str]], style: str = "") -> str:
    """Return a row: what it is of, and content and class of each cell."""
    parts = "".join(f"<td{_class(name)}>{content}</td>" for content, name in cells)
    return f'<tr><th scope="row"{_class(style)}>{head}</th>{parts}</tr>'


def paragraph(text: str) -> str:
    """Return a paragraph of plain text."""
    return f"<p>{unbroken(text)}</p>"


def listed(items: Iterable[str]) -> str:
    """Return a list of plain texts."""
    return f"<ul>{''.join(f'<li>{unbroken(item)}</li>' for item in items)}</ul>"


def unbroken(text: str) -> str:
    """Return plain text as markup in which no number is broken between two lines."""
    return re.sub(
        r"1e-\d+|\d+ x \d+|\d+ %", lambda found: f'<span class="one">{found[0]}</span>', escape(text)
    )


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Return names and what they stand for, which is markup already."""
    return f'<dl class="facts">{"".join(f"<dt>{escape(k)}</dt><dd>{v}</dd>" for k, v in pairs)}</dl>'


def _class(name: str) -> str:
    return f' class="{name}"' if name else ""
