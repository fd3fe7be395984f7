"""What the rows of ``binding.py`` say: how often each answer is given, and how binding is distributed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _drawing import PALETTE, new_figure, save

from fastmark.reporting.intervals import wilson

Row = dict[str, Any]

# family -> the answers that are counted, by column: what is wanted comes first
BINDING, WHOLE = ("binding", "match"), ("made_with", "key")
OTHER, FORGED = ("binding", "mismatch"), ("made_with", "detector key")
COUNTED = {
    "genuine": (BINDING, OTHER, WHOLE, FORGED),
    "genuine, weak": (BINDING, OTHER, WHOLE, FORGED),
    "not bound": (BINDING, OTHER, WHOLE, FORGED),
    "copied": (OTHER, BINDING, WHOLE, FORGED),
    "edited": (BINDING, OTHER, WHOLE, FORGED),
    "forged": (FORGED, WHOLE, BINDING, OTHER),
    "among others": (BINDING, OTHER, WHOLE, FORGED),
    "copied, among others": (OTHER, BINDING, WHOLE, FORGED),
}
BY_KIND = ("copied", "edited", "forged", "among others", "copied, among others")

LOW, HIGH, BINS = -0.6, 1.6, 44
CHART = (("copied", "copied from another", PALETTE[1]), ("genuine", "made for this image", PALETTE[0]))


def rates(rows: Sequence[Row]) -> list[Row]:
    """How often each answer is given, of the images whose message is read."""
    lines = []
    for family, counted in COUNTED.items():
        part = [row for row in rows if row["family"] == family]
        kinds = list(dict.fromkeys(row["kind"] for row in part)) if family in BY_KIND else []
        for kind in ("", *kinds):
            read = [row for row in part if row.get("binding") and kind in ("", row["kind"])]
            for column, answer in counted:
                count = sum(row[column] == answer for row in read)
                low, high = wilson(count, len(read))
                counts = {"images": len(read), "count": count, "share %": 100 * count / max(len(read), 1)}
                line = {"family": family, "kind": kind, "answer": f"{column}: {answer}"}
                lines.append(line | counts | {"least %": 100 * low, "most %": 100 * high})
    return lines


def draw(path: Path, rows: Sequence[Row]) -> None:
    """Histograms of z of the binding over its expectation, genuine and copied."""
    figure, ((axes,),) = new_figure(1, 1, 7.2, 3)
    for family, words, colour in CHART:
        ratios = [float(row["ratio"]) for row in rows if row["family"] == family and row.get("binding")]
        if ratios:
            values = np.clip(ratios, LOW, HIGH - 1e-9)
            axes.hist(
                values, np.linspace(LOW, HIGH, BINS + 1), weights=np.full(values.size, 100 / values.size),
                histtype="stepfilled", color=colour, alpha=0.5, label=f"{words} ({values.size})",
            )  # fmt: skip
    axes.set_xlim(LOW, HIGH)
    axes.set_xlabel("agreement with what the image shows, as a share of what is expected")
    axes.set_ylabel("images, %")
    axes.legend(frameon=False)
    save(figure, path)


def fit(rows: Sequence[Row]) -> list[Row]:
    """Mean and standard deviation of the ratios, noise of 1 / expectation taken off (maximum likelihood)."""
    from scipy.optimize import minimize

    lines = []
    for family in ("genuine", "copied"):
        pairs = [
            (float(r["ratio"]), float(r["z_expected"]))
            for r in rows
            if r["family"] == family and r.get("binding")
        ]
        if not pairs:
            continue
        ratio, expected = np.array(pairs).T

        def cost(p: np.ndarray, ratio: np.ndarray = ratio, expected: np.ndarray = expected) -> float:
            variance = p[1] ** 2 + 1 / np.maximum(expected, 0.1) ** 2
            return float(np.sum((ratio - p[0]) ** 2 / variance + np.log(variance)))

        best = minimize(cost, np.array([np.median(ratio), 0.1]), method="Nelder-Mead").x
        low, middle, high = np.quantile(ratio, [0.001, 0.5, 0.999])
        model = {"family": family, "mean": float(best[0]), "spread": abs(float(best[1]))}
        ends = {"least": float(ratio.min()), "largest": float(ratio.max())}
        lines.append(model | {"0.1 %": low, "median": middle, "99.9 %": high} | ends)
    return lines


def brief(value: object) -> object:
    """Five digits of a number: all that matters, in a file of thousands of rows."""
    return f"{value:.5g}" if isinstance(value, float) else value
