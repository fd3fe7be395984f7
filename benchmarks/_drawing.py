"""How the plots look: one palette, one size of text, files that are the same for the same numbers."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# colours that are told apart by those who see few of them (Okabe & Ito 2008), darkest first
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#8c8c8c")
GRID = "#dddddd"


def new_figure(rows: int, columns: int, width: float, height: float) -> tuple[Figure, Any]:
    """A figure and its axes, as a 2-D array; sizes in inches."""
    import matplotlib
    from matplotlib.figure import Figure

    # no random ids: the same numbers make the same file; text as text: a small file that can be read
    matplotlib.rcParams.update({"svg.hashsalt": "fastmark", "svg.fonttype": "none", "font.size": 9})
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for one in axes.flat:
        one.grid(color=GRID, linewidth=0.7)
        one.set_axisbelow(True)
        one.spines[["top", "right"]].set_visible(False)
    return figure, axes


def percent_axis(axes: Axes) -> None:
    """An upright axis of shares, 0 to 100 %."""
    from matplotlib.ticker import FuncFormatter

    axes.set_ylim(-0.03, 1.03)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.0f} %"))


def save(figure: Figure, path: Path) -> None:
    """Write the figure; by its name as SVG or PNG, in either case without a date."""
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = {"Date": None} if path.suffix == ".svg" else {"Software": None}
    figure.savefig(path, dpi=110, facecolor="white", metadata=metadata)
    print(f"wrote {path}", file=sys.stderr)
