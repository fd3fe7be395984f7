"""Charts of a report: small SVG pictures drawn by hand, in the colours of the page's own style.

All of them repeat what a table beside them says, to which their labels refer; so those who do not see them
lose nothing. Lengths are in units of the picture's own coordinates, some 400 across.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

_WIDTH, _HEIGHT = 400, 210
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 20, 10, 40


def number(value: float) -> str:
    """Return a coordinate, as short as it can be."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def bar(share: float, wider: float | None = None, interval: tuple[float, float] | None = None) -> str:
    """Draw shares of 0 to 1 as a bar for a cell of a table, hidden from those to whom the number is read.

    Args:
        share: the dark bar.
        wider: the light bar behind it.
        interval: of the dark bar, as a line with two ends.
    """
    parts = ['<rect class="track" width="100" height="10" rx="2"/>']
    if wider is not None:
        parts.append(f'<rect class="second" width="{number(100 * wider)}" height="10" rx="2"/>')
    parts.append(f'<rect class="first" y="2" width="{number(100 * share)}" height="6" rx="1"/>')
    if interval is not None:
        low, high = (number(min(99.5, max(0.5, 100 * end))) for end in interval)
        parts.append(f'<path class="whisker" d="M{low} 12v4M{low} 14H{high}M{high} 12v4"/>')
    return (
        '<svg class="bar" viewBox="0 0 100 16" preserveAspectRatio="none" aria-hidden="true">'
        f"{''.join(parts)}</svg>"
    )


def histogram(values: Sequence[float], label: str, unit: str) -> str:
    """Draw how many values lie in each of up to a dozen equal steps.

    Args:
        values: at least one.
        label: what is counted, for those who do not see it.
        unit: of the values, written below.
    """
    step = _step((max(values) - min(values)) / 10 or 0.1)
    first = math.floor(min(values) / step)
    bins = math.floor(max(values) / step) - first + 1
    counts = [0] * bins
    for value in values:
        counts[math.floor(value / step) - first] += 1
    most = max(counts)
    width = (_WIDTH - _LEFT - _RIGHT) / bins
    parts = []
    for count in sorted({0, most // 2, most}):
        y = _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * count / most
        parts.append(f'<path class="grid" d="M{_LEFT} {number(y)}H{_WIDTH - _RIGHT}"/>')
        parts.append(_text(_LEFT - 6, y + 4, str(count), "end"))
    for i, count in enumerate(counts):
        height = (_HEIGHT - _TOP - _BOTTOM) * count / most
        x, y = _LEFT + i * width + 1, _HEIGHT - _BOTTOM - height
        parts.append(
            f'<rect class="first" x="{number(x)}" y="{number(y)}" width="{number(max(1, width - 2))}"'
            f' height="{number(height)}"/>'
        )
    for i in range(0, bins + 1, max(1, math.ceil(bins / 6))):
        parts.append(_text(_LEFT + i * width, _HEIGHT - _BOTTOM + 16, f"{(first + i) * step:.6g}", "middle"))
    parts.append(_text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 6, unit, "middle"))
    return _picture(parts, label)


def tails(
    levels: Sequence[float], shares: Sequence[float | None], uppers: Sequence[float], label: str
) -> str:
    """Draw shares of trials beyond p-values against these p-values, both on axes of logarithms.

    Args:
        levels: decimal logarithms of the p-values, below 0.
        shares: seen of each; None and 0 cannot be drawn.
        uppers: ends of their intervals.
        label: for those who do not see it.
    """
    least = min(levels)

    def x(level: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * level / least

    def y(log: float) -> float:
        return _TOP + (_HEIGHT - _TOP - _BOTTOM) * log / least

    parts = []
    for tick in range(0, math.floor(least) - 1, -3):
        level = float(tick)
        parts.append(
            f'<path class="grid" d="M{number(x(level))} {_TOP}V{_HEIGHT - _BOTTOM}'
            f'M{_LEFT} {number(y(level))}H{_WIDTH - _RIGHT}"/>'
        )
        name = "1" if tick == 0 else f"1e{tick}"
        parts.append(_text(x(level), _HEIGHT - _BOTTOM + 16, name, "end" if level == least else "middle"))
        parts.append(_text(_LEFT - 6, y(level) + 4, name, "end"))
    parts.append(f'<path class="claim" d="M{_LEFT} {_TOP}L{number(x(least))} {number(y(least))}"/>')
    for level, share, upper in zip(levels, shares, uppers, strict=True):
        top = y(max(least, math.log10(upper))) if upper > 0 else y(least)
        parts.append(f'<path class="upper" d="M{number(x(level) - 5)} {number(top)}h10m-5 0v7"/>')
        if share:
            at = y(max(least, math.log10(share)))
            parts.append(f'<circle class="first" cx="{number(x(level))}" cy="{number(at)}" r="4"/>')
    parts.append(_text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 6, "p-value", "middle"))
    return _picture(parts, label)


def _text(x: float, y: float, words: str, anchor: str) -> str:
    return f'<text x="{number(x)}" y="{number(y)}" text-anchor="{anchor}">{escape(words)}</text>'


def _picture(parts: Sequence[str], label: str) -> str:
    return (
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(label)}">'
        f"{''.join(parts)}</svg>"
    )


def _step(least: float) -> float:
    """Return the least of 1, 2 and 5 times a power of ten that is not below a width."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(power * times for times in (1, 2, 5, 10) if power * times >= least * (1 - 1e-9))
