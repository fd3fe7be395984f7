"""The plots of what the watermark survives, from the results, and the maps of an edited image.

    curves    results/power.csv -> power.svg (message, by size) and power-bits.svg (512 px: lengths, presence)
    tradeoff  results/tradeoff.csv -> tradeoff.svg: quality against robustness over `strength`
    maps      maps.png: an edited image, its heat map, and the map of where its content was changed

The plots of unmarked images are drawn by `null.py --chart`, those of attackers by `security.py`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from _drawing import PALETTE, new_figure, percent_axis, save
from _sweeps import SWEEPS
from _tables import RESULTS, read_commented

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = 4
_BAND = 0.15  # opacity of the intervals
Row = dict[str, str]


def points(rows: Iterable[Row], column: str) -> tuple[list[float], list[float], list[float], list[float]]:
    """Values, shares, and their intervals' ends, in the order of the values."""
    ordered = sorted(rows, key=lambda row: float(row["value"]))
    parts = ("value", f"{column} share", f"{column} low", f"{column} high")
    values, shares, low, high = ([float(row[name]) for row in ordered] for name in parts)
    return values, shares, low, high


def line(axes: Axes, rows: Sequence[Row], column: str, colour: str, label: str, dashes: str = "-") -> None:
    """One curve with its 95 % intervals."""
    if rows:
        values, shares, low, high = points(rows, column)
        axes.plot(
            values, shares, dashes, color=colour, label=label, marker="o", markersize=2.5, linewidth=1.3
        )
        axes.fill_between(values, low, high, color=colour, alpha=_BAND, linewidth=0)


def panels(rows: Sequence[Row]) -> tuple[Any, list[tuple[str, Axes]]]:
    """A figure with a panel for each sweep that the rows have."""
    names = [name for name in SWEEPS if any(row["sweep"] == name for row in rows)]
    n_rows = -(-len(names) // COLUMNS)
    figure, axes = new_figure(n_rows, COLUMNS, 11, 2.3 * n_rows + 0.5)
    used = list(zip(names, axes.flat, strict=False))
    for spare in axes.flat[len(names) :]:
        spare.set_visible(False)
    for name, one in used:
        sweep = SWEEPS[name]
        one.set_title(name, fontsize=10, loc="left", weight="bold")
        one.set_xlabel(sweep.unit)
        if sweep.log:
            one.set_xscale("log")
            ticks = sweep.values if len(sweep.values) < 8 else sweep.values[::2]
            one.set_xticks(ticks, [f"{value:g}" for value in ticks])
            one.minorticks_off()
        percent_axis(one)
    return figure, used


def legend(figure: Any, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False)


def draw_sizes(rows: Sequence[Row]) -> None:
    """Messages of 64 bits, a curve for each size."""
    rows = [row for row in rows if row["bits"] == "64"]
    sizes = sorted({row["size"] for row in rows}, key=lambda size: int(size.split("x")[0]))
    figure, used = panels(rows)
    for name, axes in used:
        for size, colour in zip(sizes, PALETTE, strict=False):
            some = [row for row in rows if (row["sweep"], row["size"]) == (name, size)]
            line(axes, some, "message_ok", colour, f"{size.replace('x', ' x ')} pixels")
    most = max(used, key=lambda one: len(one[1].lines))
    legend(figure, most[1])
    figure.supylabel("images whose message of 64 bits is read", fontsize=9)
    save(figure, RESULTS / "power.svg")


def draw_bits(rows: Sequence[Row]) -> None:
    """Images of 512 pixels: three lengths of message, and presence in two units."""
    rows = [row for row in rows if row["size"] == "512x512"]
    figure, used = panels(rows)
    for name, axes in used:
        some = [row for row in rows if row["sweep"] == name]
        for bits, colour in (("32", PALETTE[2]), ("64", PALETTE[0]), ("128", PALETTE[1])):
            line(
                axes, [r for r in some if r["bits"] == bits], "message_ok", colour, f"message of {bits} bits"
            )
        of_64 = [row for row in some if row["bits"] == "64"]
        line(axes, of_64, "detected", PALETTE[6], "detected, p <= 1e-9", "--")
        line(axes, of_64, "at_fpr", PALETTE[7], "detected at 0.1 % false positives", ":")
    legend(figure, used[0][1])
    figure.supylabel("images of 512 x 512 pixels", fontsize=9)
    save(figure, RESULTS / "power-bits.svg")


def draw_tradeoff(path: Path) -> None:
    """Quality against robustness, a point for each strength."""
    _, rows = read_commented(path)
    figure, axes = new_figure(1, 2, 8.5, 3.4)
    measures = (("ssimulacra2", "SSIMULACRA2"), ("psnr_db", "PSNR, dB"))
    for one, (column, name) in zip(axes.flat, measures, strict=True):
        looks = [float(row[f"{column} mean"]) for row in rows]
        kinds = (("message_ok", "message read", PALETTE[0]), ("detected", "detected", PALETTE[1]))
        for kind, words, colour in kinds:
            shares, low, high = (
                np.array([float(row[f"{kind} {end}"]) for row in rows]) for end in ("share", "low", "high")
            )
            bars = np.stack([shares - low, high - shares])
            one.errorbar(looks, shares, bars, color=colour, marker="o", capsize=2, linewidth=1.3, label=words)
            if kind == "detected":
                for row, x, y in zip(rows, looks, shares, strict=True):
                    strength = float(row["strength"])
                    one.annotate(f"{strength:g}", (x, y), (5, 5), textcoords="offset points", fontsize=8)
        one.set_xlabel(f"{name} to the original, mean")
        percent_axis(one)
    axes[0, 0].legend(frameon=False, loc="lower left")
    figure.supylabel("after handling that is hard", fontsize=9)
    save(figure, RESULTS / "tradeoff.svg")


def draw_maps(path: Path) -> None:
    """An edited image, where it carries the watermark, and where its content was changed under it."""
    from locating import KEY, edited_scene
    from matplotlib.colors import TwoSlopeNorm

    from fastmark import Watermarker

    canvas = edited_scene()
    found = Watermarker(KEY).locate(canvas)
    figure, axes = new_figure(1, 3, 11, 3.1)
    extent = (0, found.heat.shape[1] * found.cell_px, found.heat.shape[0] * found.cell_px, 0)
    assert found.disagreement is not None
    shown = (
        ("the image", canvas, {}),
        ("heat: standard deviations above chance", found.heat, {"cmap": "viridis", "vmin": 0, "vmax": 12}),
        ("binding: log likelihood that content was changed", found.disagreement,
         {"cmap": "RdBu_r", "norm": TwoSlopeNorm(0, -12, 12)}),
    )  # fmt: skip
    for one, (title, values, how) in zip(axes.flat, shown, strict=True):
        drawn = one.imshow(values, **how, **({"extent": extent} if how else {}))
        one.set(xlim=(0, canvas.shape[1]), ylim=(canvas.shape[0], 0), xticks=[], yticks=[])
        one.set_title(title, fontsize=9)
        one.grid(visible=False)
        if how:
            figure.colorbar(drawn, ax=one, fraction=0.035, pad=0.02)
    save(figure, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=["curves", "tradeoff", "maps"])
    options = parser.parse_args()
    for name in options.names:
        if name == "curves":
            _, rows = read_commented(RESULTS / "power.csv")
            rows = [row for row in rows if row["sweep"] != "none"]
            draw_sizes(rows)
            draw_bits(rows)
        elif name == "tradeoff":
            draw_tradeoff(RESULTS / "tradeoff.csv")
        elif name == "maps":
            draw_maps(RESULTS / "maps.png")
        else:
            raise SystemExit(f"no figure is called {name}: there are curves, tradeoff and maps")


if __name__ == "__main__":
    main()
