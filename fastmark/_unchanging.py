"""Objects that never change once they are made: threads and processes may share them."""

from __future__ import annotations

from typing import NoReturn, Self


class Unchanging:
    """Base of objects whose attributes are set while they are made, and never again.

    What is derived from an attribute (carriers from a key) would otherwise stay as it was.
    """

    __slots__ = ("__weakref__",)

    def _settle(self, **attributes: object) -> None:
        """Set attributes, for ``__init__`` alone."""
        for name, value in attributes.items():
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        """Refuse."""
        kind = type(self).__name__
        raise AttributeError(f"a {kind} does not change: make another {kind} with the {name} you want")

    def __delattr__(self, name: str) -> NoReturn:
        """Refuse."""
        kind = type(self).__name__
        raise AttributeError(f"a {kind} does not change: make another {kind}")

    def __copy__(self) -> Self:
        """Return itself, as nothing can change it."""
        return self

    def __deepcopy__(self, memo: object) -> Self:
        """Return itself, as nothing can change it."""
        return self
