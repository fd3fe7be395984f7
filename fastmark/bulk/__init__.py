"""Many images: scan archives, watermark whole folders, on all cores or a Ray cluster, resumable."""

from fastmark.bulk.embedding import embed
from fastmark.bulk.progress import Summary
from fastmark.bulk.scanning import scan

__all__ = ["Summary", "embed", "scan"]
