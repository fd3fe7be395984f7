"""Code blocks of the pages of documentation, which tests execute as they stand."""

import re
from pathlib import Path

import fastmark

PACKAGE = Path(fastmark.__file__).parent


def blocks(page, heading):
    """The code blocks of one part of a page: language and text, in order.

    ``page``: a file in the package, as INTEGRATIONS.md; ``heading``: the text of its ``##`` line.
    """
    text = (PACKAGE / page).read_text(encoding="utf-8")
    parts = re.split(r"^## (.*)$", text, flags=re.MULTILINE)
    (part,) = [body for name, body in zip(parts[1::2], parts[2::2], strict=True) if name == heading]
    return re.findall(r"^```(\w*)\n(.*?)^```$", part, re.MULTILINE | re.DOTALL)
