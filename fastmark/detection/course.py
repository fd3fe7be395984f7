"""The course of a detection: which steps were taken, how long each took, and what it noted.

Nobody listens as a rule, and a step then costs a look at one variable. Only steps are timed, never loops.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple, ParamSpec, TypeVar

_P = ParamSpec("_P")
_R = TypeVar("_R")


class Event(NamedTuple):
    """One step.

    Attributes:
        name: of the step.
        within: names of the steps of which it was a part, outermost first.
        ms: wall time without that of the steps that were a part of it, milliseconds.
        note: what the step noted, by its name.
    """

    name: str
    within: tuple[str, ...]
    ms: float
    note: Any


class Course:
    """Steps in the order in which they ended.

    Attributes:
        events: the steps so far.
    """

    def __init__(self) -> None:
        """Begin without any."""
        self.events: list[Event] = []
        self._open: list[str] = []
        self._inner: list[float] = []

    def run(
        self,
        name: str,
        function: Callable[_P, _R],
        note: Callable[..., Any] | None,
        *args: _P.args,
        **kwargs: _P.kwargs,
    ) -> _R:
        """Call ``function``, and record it as the step ``name``; ``note`` as for :func:`step`."""
        within = tuple(self._open)
        self._open.append(name)
        self._inner.append(0.0)
        start = time.perf_counter()
        try:
            result = function(*args, **kwargs)
        finally:
            passed = time.perf_counter() - start
            self._open.pop()
            own = passed - self._inner.pop()
            if self._inner:
                self._inner[-1] += passed
        noted = None if note is None else note(result, *args)
        self.events.append(Event(name, within, own * 1e3, noted))
        return result


_LISTENING: ContextVar[Course | None] = ContextVar("_LISTENING", default=None)


@contextmanager
def recording() -> Iterator[Course]:
    """Record the steps that this thread takes meanwhile."""
    token = _LISTENING.set(Course())
    try:
        course = _LISTENING.get()
        assert course is not None
        yield course
    finally:
        _LISTENING.reset(token)


def step(name: str, note: Callable[..., Any] | None = None) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Decorate a function that is a step of a detection.

    Args:
        name: of the step.
        note: called with the result and the arguments by position, where somebody listens: what the event
            keeps.
    """

    def decorate(function: Callable[_P, _R]) -> Callable[_P, _R]:
        @functools.wraps(function)
        def run(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            course = _LISTENING.get()
            if course is None:
                return function(*args, **kwargs)
            return course.run(name, function, note, *args, **kwargs)

        return run

    return decorate
