"""fastmark: an invisible, keyed, robust image watermark on a CPU.

Names are imported when they are first used: ``import fastmark`` loads neither numba nor pyfftw. Many pictures
are the business of ``fastmark.bulk``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from fastmark import _version

if TYPE_CHECKING:
    from fastmark.errors import (
        FastmarkError,
        ImageTooFlatError,
        ImageTooSmallError,
        InvalidImageError,
        InvalidMessageError,
        KeyFormatError,
        MissingPackageError,
        OutputError,
        SourceError,
        UnsupportedImageError,
    )
    from fastmark.key import Key
    from fastmark.results import Detection, EmbedReport
    from fastmark.watermarker import Watermarker, detect

_HOME = {
    "Detection": "results",
    "EmbedReport": "results",
    "FastmarkError": "errors",
    "ImageTooFlatError": "errors",
    "ImageTooSmallError": "errors",
    "InvalidImageError": "errors",
    "InvalidMessageError": "errors",
    "Key": "key",
    "KeyFormatError": "errors",
    "MissingPackageError": "errors",
    "OutputError": "errors",
    "SourceError": "errors",
    "UnsupportedImageError": "errors",
    "Watermarker": "watermarker",
    "detect": "watermarker",
}

__version__ = _version.VERSION

__all__ = [
    "Detection",
    "EmbedReport",
    "FastmarkError",
    "ImageTooFlatError",
    "ImageTooSmallError",
    "InvalidImageError",
    "InvalidMessageError",
    "Key",
    "KeyFormatError",
    "MissingPackageError",
    "OutputError",
    "SourceError",
    "UnsupportedImageError",
    "Watermarker",
    "__version__",
    "detect",
]


def __getattr__(name: str) -> Any:
    """Import a public name from its module (PEP 562)."""
    if name == "bulk":
        return importlib.import_module("fastmark.bulk")
    if name not in _HOME:
        raise AttributeError(f"module 'fastmark' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"fastmark.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names."""
    return __all__
