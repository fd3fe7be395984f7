"""What each technique found of an image: a state, a sentence, and the values behind them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Technique = Literal["watermark", "binding", "public watermark", "registry", "xmp", "text", "c2pa"]
"""The watermark in the pixels; whether it was made for them; the entry of its id; XMP; texts that generators
leave in files; content credentials."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one technique found.

    Attributes:
        technique: how it was found.
        state: one word for programs; which ones there are, :func:`fastmark.check` tells.
        says: a sentence or two for people.
        details: the values, as JSON; no scores, and nothing private.
    """

    technique: Technique
    state: str
    says: str
    details: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {
            "technique": self.technique,
            "state": self.state,
            "says": self.says,
            "details": self.details,
        }
