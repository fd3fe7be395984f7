"""fastmark: an invisible, keyed, robust image watermark on a CPU.

Names are imported when they are first used: ``import fastmark`` loads neither numba nor pyfftw. Archives and
folders are the business of ``fastmark.bulk``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from fastmark import _version

if TYPE_CHECKING:  # what type checkers read of _HOME
    from fastmark import bulk as bulk
    from fastmark import provenance as provenance
    from fastmark import public as public
    from fastmark import registry as registry
    from fastmark import reporting as reporting
    from fastmark.batches import Outcome as Outcome
    from fastmark.checking.check import Check as Check
    from fastmark.checking.check import check as check
    from fastmark.checking.findings import Finding as Finding
    from fastmark.codec.detector_key import DetectorKey as DetectorKey
    from fastmark.codec.key import Key as Key
    from fastmark.codec.key import load_key as load_key
    from fastmark.companions import Companions as Companions
    from fastmark.detector import Detector as Detector
    from fastmark.detector import detect as detect
    from fastmark.detector import detect_all as detect_all
    from fastmark.detector import locate as locate
    from fastmark.errors import AlreadyMarkedError as AlreadyMarkedError
    from fastmark.errors import CredentialError as CredentialError
    from fastmark.errors import FastmarkError as FastmarkError
    from fastmark.errors import IdTakenError as IdTakenError
    from fastmark.errors import ImageNotFoundError as ImageNotFoundError
    from fastmark.errors import ImageTooFlatError as ImageTooFlatError
    from fastmark.errors import ImageTooSmallError as ImageTooSmallError
    from fastmark.errors import IntegrationError as IntegrationError
    from fastmark.errors import InvalidImageError as InvalidImageError
    from fastmark.errors import InvalidMessageError as InvalidMessageError
    from fastmark.errors import KeyFormatError as KeyFormatError
    from fastmark.errors import KeyNotFoundError as KeyNotFoundError
    from fastmark.errors import MissingPackageError as MissingPackageError
    from fastmark.errors import OutputError as OutputError
    from fastmark.errors import RecordError as RecordError
    from fastmark.errors import RegistryError as RegistryError
    from fastmark.errors import ReportError as ReportError
    from fastmark.errors import ServiceError as ServiceError
    from fastmark.errors import SourceError as SourceError
    from fastmark.errors import SourceNotFoundError as SourceNotFoundError
    from fastmark.errors import UnsupportedImageError as UnsupportedImageError
    from fastmark.explanations import Explanation as Explanation
    from fastmark.explanations import Step as Step
    from fastmark.locations import Location as Location
    from fastmark.records import Record as Record
    from fastmark.results import Detection as Detection
    from fastmark.results import EmbedReport as EmbedReport
    from fastmark.results import Survival as Survival
    from fastmark.warming import Warmup as Warmup
    from fastmark.warming import warmup as warmup
    from fastmark.watermarker import Watermarker as Watermarker

_HOME = {
    "AlreadyMarkedError": "errors",
    "Check": "checking.check",
    "Companions": "companions",
    "CredentialError": "errors",
    "Detection": "results",
    "Detector": "detector",
    "DetectorKey": "codec.detector_key",
    "EmbedReport": "results",
    "Explanation": "explanations",
    "FastmarkError": "errors",
    "Finding": "checking.findings",
    "IdTakenError": "errors",
    "ImageNotFoundError": "errors",
    "ImageTooFlatError": "errors",
    "ImageTooSmallError": "errors",
    "IntegrationError": "errors",
    "InvalidImageError": "errors",
    "InvalidMessageError": "errors",
    "Key": "codec.key",
    "KeyFormatError": "errors",
    "KeyNotFoundError": "errors",
    "Location": "locations",
    "MissingPackageError": "errors",
    "Outcome": "batches",
    "OutputError": "errors",
    "Record": "records",
    "RecordError": "errors",
    "RegistryError": "errors",
    "ReportError": "errors",
    "ServiceError": "errors",
    "SourceError": "errors",
    "SourceNotFoundError": "errors",
    "Step": "explanations",
    "Survival": "results",
    "UnsupportedImageError": "errors",
    "Warmup": "warming",
    "Watermarker": "watermarker",
    "check": "checking.check",
    "detect": "detector",
    "detect_all": "detector",
    "load_key": "codec.key",
    "locate": "detector",
    "warmup": "warming",
}
"""In which module each public name lives."""

_PACKAGES = ("bulk", "provenance", "public", "registry", "reporting")
"""Packages and modules that are imported when they are first named."""

# of before 0.2, until 0.3
_OLD_NAMES = (
    "ImageTooFlat",
    "ImageTooSmall",
    "InvalidImage",
    "InvalidMessage",
    "MissingPackage",
    "UnsupportedImage",
)

__version__ = _version.VERSION

__all__ = sorted([*_HOME, *_PACKAGES, "__version__"])


def __getattr__(name: str) -> Any:
    """Import a public name from its module (PEP 562)."""
    if name in _PACKAGES:
        return importlib.import_module(f"fastmark.{name}")
    if name in _OLD_NAMES:
        return importlib.import_module("fastmark.errors").old_name(name, 3)
    if name not in _HOME:
        raise AttributeError(f"module 'fastmark' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"fastmark.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names."""
    return list(__all__)
