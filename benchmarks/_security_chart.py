"""The chart of `security.py`: what each attack costs in dB, and whether it gets what it wants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from _drawing import PALETTE, new_figure, save
from _tables import RESULTS, of_quality, read_commented

DONE, PARTLY, FAILED = PALETTE[1], PALETTE[4], PALETTE[0]
TELLS = ("removed or forged in most trials", "in some", "in none or next to none")
_MOST, _SOME = 50, 5  # per cent of trials
_ONE_DOT = 0.45  # dB: dots nearer to each other share a label
_CHARACTER = 0.33  # dB: the width of a character of a label
_ABOVE, _BELOW = 5, -11  # points from a dot to its label


class Line(NamedTuple):
    """A line of the chart: words, and which lines of the summary they stand for."""

    words: str
    attack: str
    goal: str
    variant: str
    has: str = ""


ALIGNED = "mean of aligned images"
LINES = (
    Line("mean of so many marked images taken off", "averaging", "remove", "mean of scores", "one message"),
    Line("mean of so many added to another", "averaging", "forge", "mean of scores", "one message"),
    Line("48 lines of the mean spectrum of so many taken out", "tones of many", "remove", "48 tones"),
    Line("aligned mean of so many taken off", "aligning", "remove", ALIGNED, "one message, 1024 px"),
    Line("aligned mean of so many pasted on another", "aligning", "forge", ALIGNED, "one message, 1024 px"),
    Line("patterns of so many flat images taken off", "patterns", "remove", "flat", "one message"),
    Line("patterns of so many pairs taken off", "patterns", "remove", "pairs", "one message"),
    Line("so many lines of its spectrum notched", "notching", "remove", "peaks of the scores"),
    Line("so many of the key's tones taken out", "notching", "remove", "the key's tones"),
    Line("mean of so many copies with other messages", "collusion", "remove", "mean"),
    Line("so many other keys over it", "second key", "remove", "the first mark"),
    Line("FFDNet residual, so strong, pasted on another", "copying", "forge", "ffdnet"),
    Line("BM3D residual, so strong, pasted on another", "copying", "forge", "bm3d"),
    Line("exact change pasted on another", "copying", "forge", "exact"),
    Line("the same with the source's light and dark", "copying", "forge", "exact, with light and dark"),
    Line("so many calls that tell the band alone", "asking", "remove", "bands"),
    Line("so many calls that tell scores", "asking", "remove", "scores"),
    Line("JPEG until not detected, no calls", "asking", "remove", "jpeg"),
    Line("JPEG 75 so many times, shifted", "ladders", "remove", "quality 75, shifted, times"),
    Line("JPEG of so low a quality, down the ladder", "ladders", "remove", "down the ladder, shifted"),
)  # fmt: skip


def draw(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """One line for each attack; its dots are its numbers, so far right as the image is like the marked one.

    A forgery counts where the message is read and no `mismatch` is said.
    """
    from matplotlib.lines import Line2D

    shown = [(line, dots(line, rows)) for line in LINES]
    shown = [(line, found) for line, found in shown if found]
    figure, axes = new_figure(1, 1, 9.5, 0.33 * len(shown) + 1.6)
    ax = axes[0, 0]
    for height, (_, found) in enumerate(reversed(shown)):
        marked = labelled(found)
        for (label, db, colour), side in zip(marked, sides(marked), strict=True):
            ax.plot(db, height, "o", color=colour, markersize=6, markeredgecolor="white", markeredgewidth=0.5)
            if side is not None:
                ax.annotate(label, (db, height), (0, side), textcoords="offset points",
                            ha="center", fontsize=6.5, color="#444444")  # fmt: skip
    ax.set_yticks(range(len(shown)), [line.words for line, _ in reversed(shown)])
    ax.set_ylim(-0.7, len(shown) - 0.3)
    own_db = float(of_quality(read_commented(RESULTS / "quality.csv")[1])["psnr_db"][0])
    ax.axvline(own_db, color=PALETTE[7], linewidth=1, linestyle=":")
    ax.annotate(
        "the watermark's own", (own_db, len(shown) - 0.45), (3, 0), textcoords="offset points", fontsize=7
    )
    ax.set_xlabel(
        "PSNR of the attacked image against the one before, dB: further right costs the attacker less"
    )
    ax.set_title("Attacks on the watermark: their price, and what they get", loc="left")
    handles = [Line2D([], [], marker="o", linestyle="", color=colour, label=words)
               for colour, words in zip((DONE, PARTLY, FAILED), TELLS, strict=True)]  # fmt: skip
    figure.legend(handles=handles, loc="outside lower right", ncols=3, frameon=False)
    save(figure, path)


def dots(line: Line, rows: Sequence[Mapping[str, Any]]) -> list[tuple[int, float, float]]:
    """Number, dB and per cent of trials in which the attack gets what it wants."""
    found = []
    for row in rows:
        same = (row["attack"], row["goal"]) == (line.attack, line.goal)
        same = same and row["variant"] in (line.variant, f"{line.variant}, on the way")
        if not same or not row["has"].endswith(line.has) or row.get("dB, median") in (None, ""):
            continue
        if line.goal == "remove":
            share = 100 - float(row.get("detected %") or 0)  # those on the way are not detected
        else:
            share = 100 * (float(row["match"]) + float(row["unknown"])) / float(row["trials"])
        found.append((int(row["number"]), float(row["dB, median"]), share))
    return found


def labelled(found: Sequence[tuple[int, float, float]]) -> list[tuple[str, float, str]]:
    """Label, dB and colour of each dot; those that lie together and end alike have one label."""
    groups: list[list[tuple[int, float, str]]] = []
    for number, db, share in sorted(set(found)):
        colour = DONE if share >= _MOST else PARTLY if share >= _SOME else FAILED
        last = groups[-1][-1] if groups else None
        if last and last[2] == colour and abs(last[1] - db) < _ONE_DOT:
            groups[-1].append((number, db, colour))
        else:
            groups.append([(number, db, colour)])
    out = []
    for group in groups:
        numbers = [number for number, _, _ in group]
        label = f"{numbers[0]:,}" if len(numbers) == 1 else f"{numbers[0]:,} to {numbers[-1]:,}"
        out.append(("" if numbers == [0] else label, group[0][1], group[0][2]))
    return out


def sides(marked: Sequence[tuple[str, float, str]]) -> list[int | None]:
    """Where each dot's label stands: above and below in turn, or None where it would lie over another."""
    chosen: list[int | None] = [None] * len(marked)
    ends = {_ABOVE: float("-inf"), _BELOW: float("-inf")}
    turn = _ABOVE
    for i in sorted(range(len(marked)), key=lambda i: marked[i][1]):
        half = _CHARACTER * len(marked[i][0]) / 2
        free = [side for side in (turn, _ABOVE, _BELOW) if ends[side] <= marked[i][1] - half]
        if free and marked[i][0]:
            chosen[i] = free[0]
            ends[free[0]] = marked[i][1] + half
            turn = _BELOW if free[0] == _ABOVE else _ABOVE
    return chosen
