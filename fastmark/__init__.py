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
        ImageTooFlat,
        ImageTooSmall,
        InvalidImage,
        InvalidMessage,
        KeyFormatError,
        MissingPackage,
        OutputError,
        SourceError,
        UnsupportedImage,
    )
    from fastmark.key import Key
    from fastmark.results import Detection, EmbedReport
    from fastmark.watermarker import Watermarker, detect

_HOME = {
    "Detection": "results",
    "EmbedReport": "results",
    "FastmarkError": "errors",
    "ImageTooFlat": "errors",
    "ImageTooSmall": "errors",
    "InvalidImage": "errors",
    "InvalidMessage": "errors",
    "Key": "key",
    "KeyFormatError": "errors",
    "MissingPackage": "errors",
    "OutputError": "errors",
    "SourceError": "errors",
    "UnsupportedImage": "errors",
    "Watermarker": "watermarker",
    "detect": "watermarker",
}

__version__ = _version.VERSION

__all__ = [
    "Detection",
    "EmbedReport",
    "FastmarkError",
    "ImageTooFlat",
    "ImageTooSmall",
    "InvalidImage",
    "InvalidMessage",
    "Key",
    "KeyFormatError",
    "MissingPackage",
    "OutputError",
    "SourceError",
    "UnsupportedImage",
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
