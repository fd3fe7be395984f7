"""Attacks of growing strength, for curves: each with its unit and its values; and the class of every attack.

The classes are those of the EU Code of Practice on marking, measure 3.3: typical processing,
desynchronisation, the analogue hole, local edits, adversarial.
"""

from __future__ import annotations

import fnmatch
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, field

import _geometry as geo
import _pixels as pix
import _scenes as scene
import numpy as np
from PIL import features

Function = Callable[[np.ndarray, np.random.Generator, float], np.ndarray]

TYPICAL, DESYNC, ANALOGUE = "typical processing", "desynchronisation", "analogue hole"
LOCAL, ADVERSARIAL = "local edits", "adversarial"
CLASSES = (TYPICAL, DESYNC, ANALOGUE, LOCAL, ADVERSARIAL)

# Attacks of attacks.py by class, as patterns of their names: the first that fits counts; the rest is typical.
_BY_CLASS = {
    ADVERSARIAL: "notch-* nlm-* bilateral wavelet-* total-variation",
    ANALOGUE: "print-scan photographed-*",
    LOCAL: "cover-* overlay-* meme* collage frame-* masked-* blurred-parts-* strokes-* pasted-*",
    DESYNC: "crop-* rotate-* flip-* trans* aspect-* shear-* perspective-* keystone-* bend-* avatar-*",
}


def class_of(attack: str) -> str:
    """The class of an attack of attacks.py, by its name."""
    for name, patterns in _BY_CLASS.items():
        if any(fnmatch.fnmatchcase(attack, pattern) for pattern in patterns.split()):
            return name
    return TYPICAL


@dataclass(frozen=True)
class Sweep:
    """One kind of attack at several strengths. `apply` takes RGB uint8, a generator and a strength.

    Attributes:
        unit: of the values, as an axis says it.
        log: whether the axis of the values is logarithmic.
        least: pixels of a side from which on it is tried.
        most: pixels of a side up to which it is tried.
        reference: value -> the reference attack that embedding predicts, where it is one.
    """

    name: str
    unit: str
    values: tuple[float, ...]
    apply: Function
    log: bool = False
    least: int = 0
    most: int = 1 << 20
    reference: dict[float, str] = field(default_factory=dict)


def _cropped(rgb: np.ndarray, rng: np.random.Generator, percent: float) -> np.ndarray:
    """A part of the area, of the image's proportions; the middle half each way is what embedding predicts."""
    return geo.crop_area(rgb, rng, percent / 100, "random")


def _on_screen(rgb: np.ndarray, rng: np.random.Generator, percent: float) -> np.ndarray:
    """On a page of 1920 x 1080 pixels, where it takes a share of the screen's area; PNG."""
    share = np.sqrt(percent / 100 * 1920 * 1080) / scene.UNIT_PX
    return scene.page(rgb, rng, (1920, 1080), float(share), None)


_ABSENT = {
    name
    for name, there in (("AVIF", features.check("avif")), ("JPEG XL", importlib.util.find_spec("pillow_jxl")))
    if not there
}

SWEEPS: dict[str, Sweep] = {
    sweep.name: sweep
    for sweep in (
        Sweep("JPEG", "quality", (5, 10, 15, 20, 25, 30, 40, 50, 70, 90),
              lambda rgb, _, q: pix.jpeg(rgb, int(q)), reference={50: "jpeg"}),
        Sweep("WebP", "quality", (5, 10, 20, 30, 40, 50, 60, 80), lambda rgb, _, q: pix.webp(rgb, int(q))),
        Sweep("AVIF", "quality", (10, 20, 30, 40, 60, 80), lambda rgb, _, q: pix.avif(rgb, int(q))),
        Sweep("JPEG XL", "quality", (5, 10, 20, 30, 50, 70, 90), lambda rgb, _, q: pix.jpeg_xl(rgb, int(q))),
        Sweep("resize", "scale", (0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.7, 1.5, 2.0),
              lambda rgb, _, s: geo.resize(rgb, s, s), log=True, reference={0.5: "half"}),
        Sweep("noise", "standard deviation, grey levels", (5, 10, 20, 30, 40, 50, 70), pix.noise),
        Sweep("blur", "standard deviation, pixels", (0.5, 1, 1.5, 2, 2.5, 3, 4, 5),
              lambda rgb, _, s: pix.blur(rgb, s)),
        Sweep("share of the screen", "% of 1920 x 1080 pixels", (3, 5, 7, 10, 15, 20, 30), _on_screen,
              log=True, least=500),
        Sweep("crop", "% of the area kept", (2, 3, 5, 7, 10, 15, 25, 50), _cropped, log=True),
        Sweep("rotation", "degrees", (0.5, 1, 2, 5, 10, 20, 30, 45, 60, 75, 90, 120, 150, 180),
              lambda rgb, _, d: geo.rotate(rgb, d, "black")),
        Sweep("aspect", "width, times", (0.5, 0.6, 0.7, 0.8, 0.9, 1.1, 1.25, 1.5, 1.8),
              lambda rgb, _, f: geo.resize(rgb, f, 1.0)),
        Sweep("bending", "pixels of two waves", (0.5, 1, 1.5, 2, 3, 4),
              lambda rgb, rng, a: geo.bend(rgb, rng, a, 2), most=1200),
    )
    if sweep.name not in _ABSENT
}  # fmt: skip
