"""Many images: scan archives for marks, mark whole folders, in all cores or on a Ray cluster, resumable."""

from fastmark.bulk.embedding import embed
from fastmark.bulk.progress import Summary
from fastmark.bulk.scanning import scan

__all__ = ["Summary", "embed", "scan"]
