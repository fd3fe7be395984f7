"""The attacks of a report, in the groups of the EU Code's measure 3.3, and how each is drawn."""

from __future__ import annotations

import inspect
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from PIL import Image, features

from fastmark.reporting import handling as do
from fastmark.reporting.handling import RGB

Extent = Literal["quick", "full"]
Group = Literal["none", "typical", "desynchronisation", "analogue", "edits", "adversarial"]

GROUPS: dict[Group, str] = {
    "none": "Untouched",
    "typical": "Typical processing",
    "desynchronisation": "Desynchronisation",
    "analogue": "Analogue hole, simulated",
    "edits": "Local edits",
    "adversarial": "Attempts at removal",
}
"""Names for people of the groups, in the order of a report."""

SECOND_KEY = "second key"
"""The attack that embeds the watermark of another key, which only a worker has."""


@dataclass(frozen=True, slots=True)
class Attack:
    """One attack; call :meth:`apply`.

    Attributes:
        name: for people, and the name in the figures.
        group: where it belongs.
        quick: whether it is among those of ``--attacks quick``.
        function: of RGB pixels; it may have the parameters ``rng``, a generator, and ``other``, another
            picture. None for :data:`SECOND_KEY`.
        lacks: the codec that this Pillow lacks for it; empty if nothing.
    """

    name: str
    group: Group
    quick: bool
    function: Callable[..., RGB] | None
    lacks: str = ""

    def apply(self, rgb: RGB, other: RGB, seed: int) -> RGB:
        """Return what the attack makes of an image.

        Args:
            rgb: uint8 ``(H, W, 3)``; it is left as it is.
            other: another picture, for the attacks that need one.
            seed: of the image; attacks that draw differ from image to image, and repeat.
        """
        assert self.function is not None
        given: dict[str, Any] = {}
        named = inspect.signature(self.function).parameters
        if "rng" in named:
            given["rng"] = np.random.default_rng([seed, zlib.crc32(self.name.encode())])
        if "other" in named:
            given["other"] = other
        return self.function(rgb, **given)


def _attacks() -> tuple[Attack, ...]:
    """List all attacks, in the order of a report."""
    found: list[Attack] = []

    def add(
        group: Group, name: str, function: Callable[..., RGB] | None, *, quick: bool = False, lacks: str = ""
    ) -> None:
        found.append(Attack(name, group, quick, function, lacks))

    turns = Image.Transpose
    add("none", "untouched", np.copy, quick=True)
    for quality in (90, 75, 50, 30):
        add("typical", f"JPEG {quality}", partial(do.jpeg, quality=quality), quick=quality in (75, 50))
    add("typical", "WebP 60", partial(do.encode, codec="WEBP", quality=60), quick=True,
        lacks="" if features.check("webp") else "WebP")  # fmt: skip
    add("typical", "AVIF 50", partial(do.avif, quality=50), lacks="" if features.check("avif") else "AVIF")
    add("typical", "half size", partial(do.resize, across=0.5), quick=True)
    add("typical", "three quarters of the size", partial(do.resize, across=0.75))
    add("typical", "1.5 times the size", partial(do.resize, across=1.5))
    add("typical", "brighter by 30 %", partial(do.brightness, factor=1.3), quick=True)
    add("typical", "darker by 30 %", partial(do.brightness, factor=0.7))
    add("typical", "more contrast, 40 %", partial(do.contrast, factor=1.4))
    add("typical", "less contrast, 40 %", partial(do.contrast, factor=0.6))
    add("typical", "messenger: at most 1280 px, JPEG 70", lambda rgb: do.jpeg(do.fit(rgb, 1280), 70))
    add("typical", "screenshot at 80 %", partial(do.screenshot, scale=0.8), quick=True)
    add("desynchronisation", "cropped to half of the area", partial(do.crop, area=0.5), quick=True)
    add("desynchronisation", "cropped to a quarter", partial(do.crop, area=0.25))
    add("desynchronisation", "cropped to a tenth", partial(do.crop, area=0.1))
    for degrees in (2, 10, 45):
        name = f"turned by {degrees} degrees"
        add("desynchronisation", name, partial(do.rotate, degrees=degrees), quick=degrees == 10)
    add("desynchronisation", "turned by 90 degrees", partial(do.transpose, method=turns.ROTATE_90))
    add("desynchronisation", "mirrored", partial(do.transpose, method=turns.FLIP_LEFT_RIGHT), quick=True)
    add("desynchronisation", "narrower by 20 %", partial(do.resize, across=0.8, down=1.0))
    add("analogue", "photographed off a screen", partial(do.photographed, severity=1.0), quick=True)
    add("analogue", "photographed badly off a screen", partial(do.photographed, severity=2.0))
    add("analogue", "printed and scanned", do.printed)
    add("edits", "30 % covered by blocks", partial(do.cover_blocks, share=0.3), quick=True)
    add("edits", "text laid over it", partial(do.overlay_text, opacity=0.4), quick=True)
    add("edits", "a banner over 25 %", partial(do.banner, share=0.25))
    add("edits", "pasted into another picture, twice as large", partial(do.paste_into, times=2.0))
    add("edits", "pasted into one four times as large", partial(do.paste_into, times=4.0))
    add("adversarial", "noise of 10 levels", partial(do.noise, sigma=10), quick=True)
    add("adversarial", "blurred, 2 px", partial(do.blur, sigma_px=2))
    add("adversarial", "median of 5 x 5", partial(do.median, size=5))
    add("adversarial", "denoised (Wiener, 8 levels)", partial(do.wiener, sigma=8), quick=True)
    add("adversarial", "denoised (Wiener, 16 levels)", partial(do.wiener, sigma=16))
    add("adversarial", "100 spectral peaks taken out", partial(do.notch, peaks=100))
    add("adversarial", "500 spectral peaks taken out", partial(do.notch, peaks=500))
    add("adversarial", SECOND_KEY, None, quick=True)
    return tuple(found)


ATTACKS: tuple[Attack, ...] = _attacks()
"""All attacks, in the order of a report."""

COPIES: dict[str, bool] = {"by a filter's residual": True, "exactly, with the original at hand": False}
"""How a watermark is copied to another picture, and whether that is among the quick attacks."""

NULL_VIEWS: dict[str, bool] = {
    "untouched": True,
    "JPEG 75": True,
    "half size": False,
    "cropped to half of the area": False,
    "turned by 10 degrees": False,
}
"""The attacks after which unmarked images are searched too, and whether they are among the quick ones."""


def attacks_of(extent: Extent) -> tuple[Attack, ...]:
    """Return the attacks that this machine can carry out."""
    return tuple(one for one in ATTACKS if not one.lacks and (one.quick or extent == "full"))


def untried(extent: Extent) -> tuple[Attack, ...]:
    """Return the attacks that this Pillow cannot carry out."""
    return tuple(one for one in ATTACKS if one.lacks and (one.quick or extent == "full"))


def copies_of(extent: Extent) -> tuple[str, ...]:
    """Return the ways to copy a watermark."""
    return tuple(name for name, quick in COPIES.items() if quick or extent == "full")


def null_views_of(extent: Extent) -> tuple[Attack, ...]:
    """Return the attacks after which unmarked images are searched."""
    return tuple(
        one
        for one in attacks_of(extent)
        if one.name in NULL_VIEWS and (NULL_VIEWS[one.name] or extent == "full")
    )
