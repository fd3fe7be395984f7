"""Scenes of ``binding.py``: watermarked images on screens and pages, under captions, quiet ones above all.

A quiet image has hardly any content of its own: what lies beside it must not be taken for that.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from _common import read_rgb, seeded_bytes
from _pixels import to_bytes
from attacks import ATTACKS

from fastmark import Key, Watermarker
from fastmark.codec.plane import pixels_per_unit
from fastmark.detection import chip_sums
from fastmark.detection.binding import judge
from fastmark.detection.detector import analyse
from fastmark.detection.evidence import DETECTED
from fastmark.images.opening import open_for_detection

Row = dict[str, Any]

NAMES = ("frame-blurred", "meme-640", "phone-1080x2400", "screen-0.55-png", "screen-1600x1200")
NAMES += ("screenshot-png", "slide")
SIDE = 512
SIDES = (256, 512, 1100, 2200)
CONTRAST, LEVEL = 0.04, 200.0  # of quiet images, and the grey about which they vary
# of chip_sums: the values that a sweep tries, those of today first
SWEPT = {
    "_LEAST_SHARE": (0.3, 0.15, 0.5),
    "_LEAST_SHOWN": (0.25, 0.1, 0.5),
    "_MOST_SHOWN": (2.0, 1.0, 4.0, 16.0),
    "_SHOWS_NOTHING": (0.02, 0.0, 0.1),
    "_SHOWS_LITTLE": (0.1, 0.03, 0.3),
    "BESIDE": (2, 1, 3),
    "_BLURRED": (2 / 3, 0.0, 1.3),
}


def scenes_of(
    path: Path, other: Path, side: int = SIDE
) -> Iterator[tuple[str, str, Watermarker, np.ndarray]]:
    """Yield family, kind, who marked it, and what is shown.

    An image and a quiet version of it, watermarked, and what was added to either on another image.
    """
    marker = Watermarker(Key(seeded_bytes(f"scenes {path.name}")))
    message = seeded_bytes(f"scenes message {path.name}", 8)
    rgb, target = (_middle(read_rgb(one), side) for one in (path, other))
    for kind, made in (("", rgb), ("quiet, ", _quieted(rgb))):
        marked = marker.embed(made, message)
        height, width = (min(a, b) for a, b in zip(marked.shape[:2], target.shape[:2], strict=True))
        residual = marked[:height, :width].astype(np.float32) - made[:height, :width]
        forged = to_bytes(target[:height, :width] + residual)
        for name in ("as it is", "dark canvas", *NAMES):
            shown = {"as it is": lambda p: p, "dark canvas": _on_canvas}.get(name) or ATTACKS[name]
            yield "among others", kind + name, marker, np.ascontiguousarray(shown(marked))
            yield "copied, among others", kind + name, marker, np.ascontiguousarray(shown(forged))


def _middle(rgb: np.ndarray, side: int) -> np.ndarray:
    top, left = (max(n - side, 0) // 2 for n in rgb.shape[:2])
    return np.ascontiguousarray(rgb[top : top + side, left : left + side])


def _quieted(rgb: np.ndarray) -> np.ndarray:
    return to_bytes(LEVEL + CONTRAST * (rgb.astype(np.float32) - float(rgb.mean())))


def _on_canvas(rgb: np.ndarray) -> np.ndarray:
    canvas = np.full((rgb.shape[0] + 300, rgb.shape[1] + 700, 3), 20, np.uint8)
    canvas[171 : 171 + rgb.shape[0], 303 : 303 + rgb.shape[1]] = rgb
    return canvas


def at_sides(path: Path, other: Path) -> list[Row]:
    """What is said of each scene, with images of each of the sides that both are large enough for."""
    sides = [side for side in SIDES if side <= max(read_rgb(path).shape[:2])]
    rows = []
    for side in sides:
        for family, kind, marker, shown in scenes_of(path, other, side):
            found = marker.detect(shown)
            said = "unread" if found.message is None else found.binding
            quiet = kind.startswith("quiet")
            rows.append({"side": side, "family": family, "quiet": quiet, "kind": kind, "said": said})
    return rows


def by_side(rows: list[Row]) -> list[Row]:
    """Count what is said, by the side of the images and whether they are quiet."""
    lines = []
    for line in sorted({(row["side"], row["family"], row["quiet"]) for row in rows}):
        said = [row["said"] for row in rows if (row["side"], row["family"], row["quiet"]) == line]
        counts = {word: said.count(word) for word in ("match", "unknown", "mismatch", "unread")}
        lines.append(dict(zip(("side", "family", "quiet"), line, strict=True)) | counts)
    return lines


def sweep(path: Path, other: Path) -> list[Row]:
    """What a second look says of each scene that a first one calls a mismatch, with other constants."""
    rows = []
    for family, kind, marker, shown in scenes_of(path, other):
        analysis, detector = analyse(open_for_detection(shown, unit=pixels_per_unit)), marker.key_detector
        found = detector.search(analysis)
        if found.message_log_p > DETECTED:
            continue
        arguments = analysis.planes, found.finding, detector.carrier
        if judge(*chip_sums.measure(*arguments)).binding != "mismatch":
            continue
        for name, values in SWEPT.items():
            for value in values:
                with mock.patch.object(chip_sums, name, value):
                    said = judge(*chip_sums.measure(*arguments, surely=True)).binding
                rows.append({"family": family, "kind": kind, "constant": name, "value": value, "said": said})
    return rows


def swept(rows: list[Row]) -> list[Row]:
    """Count the verdicts of second looks: no genuine image may be a mismatch, and copies should stay one."""
    lines = []
    names = [(name, value) for name, values in SWEPT.items() for value in values]
    for (name, value), family in itertools.product(names, ("among others", "copied, among others")):
        line = {"constant": name, "value": value, "family": family}
        said = [row["said"] for row in rows if line.items() <= row.items()]
        counts = {word: said.count(word) for word in ("match", "unknown", "mismatch")}
        lines.append(line | {"looks": len(said)} | counts)
    return lines
