"""Changes under a watermark, of ``locating.py``: how often they are told, also where there are none."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from _common import read_rgb, seeded_bytes
from _pixels import to_bytes
from attacks import ATTACKS

from fastmark import Key, Watermarker

Row = dict[str, Any]

SIDE = 640
HANDLED = ("none", "jpeg-75", "jpeg-50", "webp-60", "resize-0.5", "crop-50-centre", "blur-1", "rotate-10")
HANDLED += ("autocontrast", "overlay-text-30", "frame-blurred", "screenshot-png", "screen-0.55-jpeg-75")
HANDLED += ("phone-1080x2400",)
EXCHANGED = (96, 160, 240)  # pixels a side of the square whose content is another's
AFTER = ("none", "jpeg-75")
ODDS = (100, 300, 1000, 3000, 10000)
SHARES = (0.0, 0.005, 0.01, 0.02)  # of the cells that show a change, more than which it is told


def changes(path: Path, other: Path) -> list[Row]:
    """Which share of the cells shows a change, at each of the odds."""
    return [{"picture": path.name} | row for row in _looks(path, other)]


def _looks(path: Path, other: Path) -> Iterator[Row]:
    marker = Watermarker(Key(seeded_bytes(f"changes {path.name}")))
    rgb, target = (read_rgb(one)[:SIDE, :SIDE] for one in (path, other))
    marked = marker.embed(rgb, seeded_bytes(f"changes message {path.name}", 8))
    for name in HANDLED:
        if ATTACKS[name].applies(*rgb.shape[:2]):
            yield {"scene": "as watermarked", "after": name} | _told(marker, ATTACKS[name](marked))
    height, width = (min(a, b) for a, b in zip(rgb.shape[:2], target.shape[:2], strict=True))
    for side in EXCHANGED:
        top, left = (height - side) // 2, (width - side) // 2
        part = slice(top, top + side), slice(left, left + side)
        mixed = marked.astype(np.int32)
        mixed[part] += target[part].astype(np.int32) - rgb[part]
        for name in AFTER:
            scene = {"scene": f"{side} x {side} exchanged", "after": name}
            yield scene | _told(marker, ATTACKS[name](to_bytes(mixed)))


def _told(marker: Watermarker, shown: np.ndarray) -> Row:
    found = marker.locate(np.ascontiguousarray(shown))
    if found.disagreement is None:
        return {"bound": 0} | {f"share at {odds}": 0.0 for odds in ODDS}
    shares = {odds: float((found.carries & (found.disagreement > math.log(odds))).mean()) for odds in ODDS}
    return {"bound": 1} | {f"share at {odds}": share for odds, share in shares.items()}


def told(rows: list[Row]) -> list[Row]:
    """Percent of images of each scene in which a change is told, by the odds and the least share of cells."""
    lines = []
    for odds, least in itertools.product(ODDS, SHARES):
        line: Row = {"odds": odds, "more than, % of cells": 100 * least}
        for scene in dict.fromkeys(row["scene"] for row in rows):
            part = [row for row in rows if row["scene"] == scene]
            line[scene] = 100 * sum(row[f"share at {odds}"] > least for row in part) / len(part)
        lines.append(line)
    return lines
