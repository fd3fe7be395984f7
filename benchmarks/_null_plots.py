"""Plots of null distributions: Q-Q plots on log axes with the band of order statistics, and tails."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from _drawing import GRID, PALETTE
from _ladder import BIN

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BAND = 0.95


def steps(bins: Mapping[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Edges of the bins as powers of ten, and how many bounds are at or below each."""
    places = np.array(sorted(bins))
    return places * BIN / math.log(10), np.cumsum([bins[place] for place in places])


def qq(axes: Axes, curves: Sequence[tuple[str, Mapping[int, int]]], n: int, least: float = 0.0) -> None:
    """Draw the claimed p of each order statistic against the p that it has if p is uniform.

    The band is of 95 %, point by point: where the i-th smallest of n uniform p lies, which is a beta
    distribution's. A curve above the band would break the bound; one below is on the safe side of it.

    Args:
        axes: on which to draw.
        curves: names, and bins of bounds.
        n: trials, the same for all curves; those without a bound count as larger than any.
        least: where the upright axis begins, powers of ten; below 0, bounds above 1 are shown.
    """
    from scipy.stats import beta

    order = np.unique(np.geomspace(1, n, 400).round().astype(int))
    expected = -np.log10(order / (n + 1))
    low, high = (beta.ppf(q, order, n - order + 1) for q in ((1 - _BAND) / 2, (1 + _BAND) / 2))
    axes.fill_between(expected, -np.log10(high), -np.log10(low), color=GRID, label="95 % of uniform p")
    axes.plot(expected, expected, color="#555555", linewidth=0.8, linestyle="--")
    for i, (name, bins) in enumerate(curves):
        edges, counts = steps(bins)
        axes.plot(
            -np.log10(counts / (n + 1)), -edges, color=PALETTE[i % len(PALETTE)], linewidth=1.4, label=name,
            marker="o", markersize=3, markevery=slice(0, 8),
        )  # fmt: skip
    if least < 0:
        axes.axhspan(least, 0, color="#f4f0e6", zorder=0)
    axes.set_ylim(least, None)
    axes.set_xlim(0, None)
    axes.set_xlabel("share of trials that reach it, $-\\log_{10}$")
    axes.set_ylabel("claimed $p$, $-\\log_{10}$")
    axes.legend(fontsize=7, loc="upper left")


def tail(axes: Axes, curves: Sequence[tuple[str, Mapping[int, int], int]], first: float, last: float) -> None:
    """Draw the observed share at or below each claimed level, with Clopper-Pearson bars of 95 %.

    Args:
        axes: on which to draw.
        curves: names, bins of bounds, and how many trials there were.
        first, last: levels from and to, powers of ten.
    """
    from fastmark.reporting.intervals import clopper_pearson

    levels = np.arange(first, last - 1e-9, -0.5)
    for i, (name, bins, n) in enumerate(curves):
        edges, counts = steps(bins)
        colour = PALETTE[i % len(PALETTE)]
        seen = [int(counts[edges <= level + 1e-9][-1]) if (edges <= level + 1e-9).any() else 0
                for level in levels]  # fmt: skip
        bounds = np.array([clopper_pearson(k, n) for k in seen])
        shown = np.array(seen) > 0
        at = 10.0 ** (levels + 0.06 * (i - len(curves) / 2))
        shares = np.array(seen) / n
        axes.errorbar(
            at[shown], shares[shown], yerr=np.abs(bounds[shown].T - shares[shown]), fmt="o", markersize=3,
            color=colour, linewidth=1, capsize=2, label=f"{name}: {n:,}".replace(",", " "),
        )  # fmt: skip
        none = np.flatnonzero(~shown)[:1]  # below the first level that nothing reaches, nothing is new
        axes.scatter(at[none], bounds[none, 1], marker="v", s=16, facecolors="none", edgecolors=colour)
    line = np.array([10.0**last, 1.0])
    axes.plot(line, line, color="#555555", linewidth=0.8, linestyle="--", label="claimed")
    axes.axvspan(1, 10.0**first, color="#f4f0e6", zorder=0)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.invert_xaxis()
    axes.set_xlabel("claimed level")
    axes.set_ylabel("share at or below it")
    axes.legend(fontsize=7, loc="lower left")


def by_kind(axes: Axes, counts: Sequence[tuple[str, int, int]], level: float) -> None:
    """Draw each kind's share at or below one level, with Clopper-Pearson bars of 95 %.

    Args:
        axes: on which to draw.
        counts: names, how many were at or below the level, and of how many.
        level: that is claimed.
    """
    from fastmark.reporting.intervals import clopper_pearson

    for i, (_, seen, n) in enumerate(counts):
        low, high = clopper_pearson(seen, n)
        axes.plot([max(low, 1e-9), high], [i, i], color=PALETTE[0], linewidth=1.2)
        if seen:
            axes.plot(seen / n, i, "o", color=PALETTE[0], markersize=3.5)
    axes.axvline(level, color="#555555", linewidth=0.8, linestyle="--")
    axes.set_xscale("log")
    axes.set_xlim(1e-6, 1)
    axes.set_yticks(range(len(counts)), [f"{name} ({n:,})".replace(",", " ") for name, _, n in counts])
    axes.tick_params(axis="y", labelsize=7)
    axes.invert_yaxis()
    axes.set_xlabel("share at or below it")
