"""What the metadata of an image say beside the watermark that was detected in its pixels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastmark.checking.check import agree
from fastmark.checking.comparing import Comparison
from fastmark.checking.metadata import Metadata, read_metadata

if TYPE_CHECKING:
    from fastmark.results import Detection


@dataclass(frozen=True, slots=True)
class BesidePixels:
    """What metadata say.

    Attributes:
        metadata: of the file.
        agree: whether they and the watermark agree; None where fewer than two say something.
        contradictions: in words, how they do not.
    """

    metadata: Metadata
    agree: bool | None
    contradictions: tuple[str, ...]

    def lines(self) -> Iterator[str]:
        """Yield a line for each kind of metadata, and one that says whether they agree with the pixels."""
        for finding in self.metadata.findings:
            yield f"{finding.technique} {finding.state}: {finding.says}"
        if self.agree is not None and self.metadata.findings:
            yield (
                "pixels and metadata agree"
                if self.agree
                else f"pixels and metadata disagree: {'; '.join(self.contradictions)}"
            )

    def to_dict(self) -> list[dict[str, Any]]:
        """Return the findings as JSON values."""
        return [finding.to_dict() for finding in self.metadata.findings]


def read_beside(data: bytes, found: Detection | None) -> BesidePixels:
    """Read the metadata of an encoded image, and compare them with its most certain watermark, if any."""
    metadata = read_metadata(data)
    message = found.message_bytes if found is not None and found.detected else None
    contradictions = Comparison().contradictions(metadata.told(), message)
    return BesidePixels(metadata, agree(found, Comparison(), metadata, contradictions), contradictions)
