"""The page of a report: HTML that needs nothing else, made of the report's JSON values alone."""

from __future__ import annotations

from html import escape
from typing import Any

from fastmark.reporting import sections, words
from fastmark.reporting.elements import Figures
from fastmark.reporting.style import CSS

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_SECTIONS = {
    "sample": sections.sample,
    "quality": sections.quality,
    "survival": sections.survival,
    "copies": sections.copies,
    "null": sections.null,
    "measures": sections.measures,
    "limits": sections.limits,
    "images": sections.images,
}


def page_of(values: dict[str, Any]) -> str:
    """Return the page of a report, whose values are as ``Report.to_dict`` gives them."""
    f = Figures(values)
    titles = {anchor: escape(title) for anchor, title in words.TITLES.items()}
    links = "".join(f'<li><a href="#{anchor}">{title}</a></li>' for anchor, title in titles.items())
    body = "".join(
        f'<section aria-labelledby="{anchor}"><h2 id="{anchor}">{title}</h2>{_SECTIONS[anchor](f)}</section>'
        for anchor, title in titles.items()
    )
    date = escape(values["made"]["ended"][:10])
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<title>Watermark report, {date}</title>
<style>{CSS}</style>
</head>
<body>
<header><h1>Watermark report</h1>{sections.head(f)}</header>
<nav aria-label="Sections"><ul>{links}</ul></nav>
<main>{sections.short(f)}{body}</main>
</body>
</html>
"""
