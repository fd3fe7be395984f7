"""What the watermark does to a user's own images, and what is left of it after handling, as a report.

>>> report = measure("photos", Key.load("my.key"))  # doctest: +SKIP
>>> Path("report.html").write_text(report.to_html(), encoding="utf-8")  # doctest: +SKIP
"""

from __future__ import annotations

from fastmark.reporting.measuring import measure
from fastmark.reporting.report import SCHEMA, Report

__all__ = ["SCHEMA", "Report", "measure"]
