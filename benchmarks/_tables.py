"""What the tables of the documents are made with: results read, tables written between their marks.

Shares are rounded down: 100 % means every trial.
"""

from __future__ import annotations

import csv
import math
import re
import statistics
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

BENCHMARKS = Path(__file__).resolve().parent
RESULTS = BENCHMARKS / "results"
README = BENCHMARKS.parent / "README.md"
DETAILS = BENCHMARKS / "README.md"


MEASURES = {"psnr_db": ("PSNR, dB", 1), "ssim": ("SSIM", 4), "ssimulacra2": ("SSIMULACRA2", 1)}


def of_quality(rows: Iterable[Mapping[str, str]]) -> dict[str, tuple[str, str]]:
    """Mean and worst of each measure of quality, as texts."""
    marked = [row for row in rows if row.get("psnr_db")]
    values = {column: [float(row[column]) for row in marked] for column in MEASURES}
    return {
        column: (f"{statistics.mean(values[column]):.{digits}f}", f"{min(values[column]):.{digits}f}")
        for column, (_, digits) in MEASURES.items()
    }


def read_commented(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """The comment lines, and the rows."""
    lines = path.read_text(encoding="utf-8").splitlines()
    head = [line.removeprefix("# ") for line in lines if line.startswith("# ")]
    return head, list(csv.DictReader(line for line in lines if not line.startswith("# ")))


def markdown(rows: Iterable[Mapping[str, str]]) -> list[str]:
    """Lines of a table; all columns but the first are numbers."""
    rows = list(rows)
    names = list(rows[0])
    lines = [names, ["---"] + ["---:"] * (len(names) - 1), *([row[name] for name in names] for row in rows)]
    return [f"| {' | '.join(cells)} |" for cells in lines]


def percent(text: str) -> str:
    """A share with one decimal, rounded down."""
    return f"{math.floor(10 * float(text) + 1e-6) / 10:g} %"


def counts(row: Mapping[str, str]) -> tuple[int, int, int]:
    """Return a group's trials, messages read and marks detected, from its shares."""
    n = int(row["n"])
    return n, round(n * float(row["message %"]) / 100), round(n * float(row["presence %"]) / 100)


def source(name: str) -> str:
    """Link a result from the README."""
    return f"[{name}](benchmarks/results/{name})"


def measured(head: list[str], name: str, link: str = "results/") -> str:
    """Say which version, on which machine, and where the rest is written."""
    version = re.search(r"fastmark [0-9.]*[0-9]", head[0])
    machine = head[1].partition(" cores,")[0] + " cores"
    return f"Measured with {version[0] if version else 'fastmark'} on {machine}: [{name}]({link}{name})."


def brief(value: float) -> str:
    """Two significant digits, or a whole number."""
    return f"{value:.{max(0, 1 - math.floor(math.log10(value)))}f}"


class Block(NamedTuple):
    """A part of a README that is made from results."""

    path: Path
    name: str
    make: Callable[[Path], str]

    @property
    def begin(self) -> str:
        return f"<!-- begin of {self.name}: python benchmarks/readme_table.py --write -->"

    @property
    def end(self) -> str:
        return f"<!-- end of {self.name} -->"


def between_marks(text: str, block: Block) -> tuple[str, str, str]:
    """Text before, between and behind a pair of marks."""
    before, _, rest = text.partition(block.begin)
    inside, mark, after = rest.partition(block.end)
    if not mark:
        raise SystemExit(
            f"{block.path} has lost the marks that a part stands between: {block.begin} {block.end}"
        )
    return before, inside.strip("\n"), after


def write(block: Block, text: str) -> None:
    """Put a part in its place; without results it stays as it is."""
    if text:
        page = block.path.read_text(encoding="utf-8")
        before, _, after = between_marks(page, block)
        block.path.write_text(f"{before}{block.begin}\n\n{text}\n\n{block.end}{after}", encoding="utf-8")
