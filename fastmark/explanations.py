"""What a detection looked at, how long each step took, and what it said."""

from __future__ import annotations

import dataclasses
import textwrap
from dataclasses import dataclass
from typing import Any

from fastmark.results import Detection

_WIDTH = 100  # columns of a terminal
_COUNT, _MS = 10, 9


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a detection.

    Attributes:
        name: of the step.
        shared: whether it is computed once for all keys, when first needed.
        hypotheses: how many geometries or places it looked at; None where it looks at none, or was not taken.
        ms: wall time, milliseconds, without what other steps took meanwhile; None where it was not taken.
        said: what it found, or why it was not taken.
    """

    name: str
    shared: bool
    hypotheses: int | None
    ms: float | None
    said: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """How a detection came about; ``str()`` is a table for a terminal of 100 columns.

    Attributes:
        detection: what was found of the key, as without an explanation.
        plan: what is looked at, in words, as the size alone decides it.
        steps: shared steps, then those of the key, each in the order in which they are tried.
    """

    detection: Detection
    plan: str
    steps: tuple[Step, ...]

    @property
    def ms(self) -> float:
        """Wall time of all steps together, milliseconds; of several keys, each counts the shared ones."""
        return sum(step.ms for step in self.steps if step.ms is not None)

    def __str__(self) -> str:
        """Tell plan, steps and verdict."""
        return self._table(self.steps)

    def without_shared(self) -> str:
        """Return the table of the key's own steps, for a further key of the same image."""
        return self._table(tuple(step for step in self.steps if not step.shared), plan=False)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {
            "detection": self.detection.to_dict(),
            "plan": self.plan,
            "steps": [dataclasses.asdict(step) for step in self.steps],
            "ms": self.ms,
        }

    def _table(self, steps: tuple[Step, ...], *, plan: bool = True) -> str:
        found = self.detection
        total = sum(step.ms for step in steps if step.ms is not None)
        last = f"{found.state}, log10 of p at most {found.log10_p:.2f}"
        if found.message_hex is not None:
            last += f", message {found.message_hex}"
        lines = []
        if plan:
            for line in self.plan.splitlines():
                lines += textwrap.wrap(line, _WIDTH, subsequent_indent="  ")
        width = max(len(step.name) for step in steps) + 1
        lines += _row(width, "step", "hypotheses", "ms", "said")
        for step in steps:
            count = "" if step.hypotheses is None else f"{step.hypotheses:,}"
            lines += _row(width, step.name, count, "" if step.ms is None else f"{step.ms:.1f}", step.said)
        lines += _row(width, "verdict", "", f"{total:.1f}", f"key {found.key_id}: {last}")
        return "\n".join(lines)


def _row(width: int, name: str, count: str, ms: str, said: str) -> list[str]:
    """Lay out a row, its name in so many columns; words too long for their column go on below."""
    head = f"{name:<{width}} {count:>{_COUNT}} {ms:>{_MS}}  "
    words = textwrap.wrap(said, _WIDTH - len(head)) or [""]
    return [(head + words[0]).rstrip(), *(" " * len(head) + more for more in words[1:])]
