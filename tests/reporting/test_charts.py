"""The charts: their lengths are those of the figures."""

import re

import pytest

from fastmark.reporting import charts


def lengths(svg, name, attribute):
    parts = re.findall(rf'<(?:rect|circle) class="{name}"[^>]*>', svg)
    return [float(re.search(rf' {attribute}="([^"]+)"', part)[1]) for part in parts]


@pytest.mark.parametrize("share", [0.0, 0.333, 1.0])
def test_bars_are_as_long_as_their_shares(share):
    svg = charts.bar(share, 1.0, (0.1, 0.9))
    assert lengths(svg, "first", "width") == [pytest.approx(100 * share, abs=0.01)]
    assert lengths(svg, "second", "width") == [100]
    assert 'd="M10 12v4M10 14H90M90 12v4"' in svg
    assert "whisker" not in charts.bar(share)


def test_histograms_count_every_value_once():
    values = [40.0, 40.2, 41.9, 44.0, 44.1, 44.2, 49.99, 50.0]
    svg = charts.histogram(values, "label <", "dB")
    heights = lengths(svg, "first", "height")
    assert sum(heights) / max(heights) == pytest.approx(8 / 3, abs=0.01)  # three in the fullest
    assert 'aria-label="label &lt;"' in svg and ">dB</text>" in svg and ">3</text>" in svg


@pytest.mark.parametrize("values", [[3.0], [3.0] * 5, [0.0, 1e-9], [-2.0, 900.0]])
def test_histograms_of_few_or_equal_values(values):
    heights = lengths(charts.histogram(values, "x", ""), "first", "height")
    assert sum(heights) / max(heights) == pytest.approx(
        len(values) / (1 if len(set(values)) > 1 else len(values))
    )


def test_tails_lie_where_their_logarithms_say():
    svg = charts.tails([-1.0, -4.0, -9.0], [0.1, 1e-4, 0.0], [0.2, 1e-3, 1e-3], "x")
    across, down = lengths(svg, "first", "cx"), lengths(svg, "first", "cy")
    assert len(across) == 2  # of nothing seen there is no dot; these two lie on the claim's line
    (x, y) = re.search(r'class="claim" d="M([\d.]+) ([\d.]+)L', svg).groups()
    slope = (down[1] - down[0]) / (across[1] - across[0])
    assert down[0] - float(y) == pytest.approx(slope * (across[0] - float(x)), abs=0.02)
    assert svg.count('class="upper"') == 3
