"""The registry: what a watermark's id stands for, in SQLite or PostgreSQL (the extra ``registry``)."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastmark.registry.entries import Entry as Entry
    from fastmark.registry.entries import PublicRecord as PublicRecord
    from fastmark.registry.store import Registry as Registry

_HOME = {"Entry": "entries", "PublicRecord": "entries", "Registry": "store"}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    """Import a public name from its module (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module 'fastmark.registry' has no attribute {name!r}")
    return getattr(importlib.import_module(f"fastmark.registry.{_HOME[name]}"), name)
