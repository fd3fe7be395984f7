"""The unmarked images of `null.py --kinds`: what the image of a number is, how large, and how it was handled.

Kinds, sizes and attacks come from the number alone, and so does how many keys are tried: many where a search
takes a few milliseconds, which is in images of 200 to 320 pixels a side, few on large images and on periodic
ones. Images marked with other keys and by invisible-watermark are among them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from _common import find_pictures, seeded_bytes
from _imwatermark import without_riva_gan
from _kinds import KINDS
from _rejecting import drawn_part, fitting, originals
from attacks import ATTACKS

PHOTOGRAPH, OTHER_KEY, OTHER_TOOL = "photograph", "marked with another key", "marked by invisible-watermark"
_WEIGHTS = {PHOTOGRAPH: 8, OTHER_KEY: 4, OTHER_TOOL: 2}  # one for each kind that is drawn

# Share of the images, short side from and to in pixels, and share of the keys that is tried on each.
_CLASSES = (
    (0.12, 64, 200, 0.2),
    (0.48, 201, 320, 1.0),
    (0.22, 321, 512, 0.4),
    (0.105, 513, 1024, 0.125),
    (0.075, 1056, 1440, 1 / 32),
)
_LARGE_EVERY, LARGE, _LARGE_KEYS = 301, (3000, 4000), 1 / 32  # height, width
# Kinds whose searches come further, and take several times as long.
_COSTLY = {
    "gradient": 2, "halftone": 2, "screen": 2, "stripes": 4, "tiles": 8, "checkerboard": 8, "moire": 8,
}  # fmt: skip
LEAST_SIDE = 64
_MOST_ASPECT = 1.6
_LEAST_MARKED = 256  # pixels a side: a mark of another key must be a real one
# Attack -> what it makes of the sides. One image of two is left as it is.
_ATTACKS = {
    "jpeg-50": 1.0, "resize-0.75": 0.75, "rotate-10": 1.0, "crop-50-random": 0.707, "noise-10": 1.0,
    "screenshot-0.8": 0.8,
}  # fmt: skip
_SAME_SIZE = tuple(name for name, factor in _ATTACKS.items() if factor == 1)
UNTOUCHED = "none"
_OTHER_KEYS = 16
_TOOL_PIXELS = 1_500_000  # most that invisible-watermark gets: it takes 140 ms per megapixel


@dataclass(frozen=True)
class Plan:
    """What the image of a number is: kind, height and width before the attack, attack, keys tried."""

    number: int
    kind: str
    height: int
    width: int
    attack: str
    keys: int


def kinds_in_turn(other_tool: bool) -> tuple[str, ...]:
    """The kinds in the order in which numbers have them, which is mixed."""
    weights = {**dict.fromkeys(KINDS, 1), **_WEIGHTS}
    if not other_tool:
        del weights[OTHER_TOOL]
    every = [kind for kind, weight in weights.items() for _ in range(weight)]
    return tuple(every[i] for i in np.random.default_rng(5).permutation(len(every)))


def other_tool_is_there() -> bool:
    """Whether invisible-watermark and what it needs are installed."""
    return all(find_spec(name) is not None for name in ("imwatermark", "cv2", "pywt"))


def plan(number: int, kinds: tuple[str, ...], most_keys: int, each: int = 0) -> Plan:
    """Plan the image of a number; with `each`, that many keys at most are tried on it."""
    rng = _generator("plan", number)
    kind = kinds[number % len(kinds)]
    _, least, most, keys = _CLASSES[rng.choice(len(_CLASSES), p=[share for share, *_ in _CLASSES])]
    short = math.exp(rng.uniform(math.log(least), math.log(most)))
    sides = [round(short), round(short * _MOST_ASPECT ** rng.random())]
    if rng.random() < 0.5:
        sides.reverse()
    if number % _LARGE_EVERY == _LARGE_EVERY // 2:
        sides, keys = list(LARGE), _LARGE_KEYS
    if kind == OTHER_TOOL and math.prod(sides) > _TOOL_PIXELS:
        kind = PHOTOGRAPH
    if kind in (OTHER_KEY, OTHER_TOOL):
        sides = [max(side, _LEAST_MARKED) for side in sides]
    attack = str(rng.choice([*_ATTACKS] if min(sides) <= 1024 else _SAME_SIZE))
    if rng.random() < 0.5 or min(sides) * _ATTACKS[attack] < LEAST_SIDE or max(sides) > 2048:
        attack = UNTOUCHED
    short = min(sides) * _ATTACKS.get(attack, 1.0)
    if max(sides) <= 2048:
        keys = next(keys for *_, to, keys in _CLASSES if short < to + 1)
    n_keys = min(each or most_keys, max(2, round(most_keys * keys / _COSTLY.get(kind, 1))))
    return Plan(number, kind, sides[0], sides[1], attack, n_keys)


def plans(trials: int, kinds: tuple[str, ...], most_keys: int, each: int = 0) -> list[Plan]:
    """The images whose keys add up to so many trials; arguments as of :func:`plan`."""
    found: list[Plan] = []
    total = 0
    while total < trials:
        found.append(plan(len(found), kinds, most_keys, each))
        total += found[-1].keys
    return found


def picture(one: Plan, folders: tuple[Path, ...]) -> np.ndarray:
    """Draw the image of a plan, RGB uint8, and do to it what was planned."""
    rng = _generator("image", one.number)
    if one.kind in KINDS:
        drawn = KINDS[one.kind](rng, one.height, one.width)
    else:
        drawn = photograph(rng, one.height, one.width, folders)
    if one.kind == OTHER_KEY:
        drawn = _other_key(int(rng.integers(_OTHER_KEYS))).embed(drawn, one.number)
    elif one.kind == OTHER_TOOL:
        drawn = marked_by_other_tool(drawn, seeded_bytes(f"message {one.number}", 8))
    return np.ascontiguousarray(ATTACKS[one.attack](drawn))


def photograph(rng: np.random.Generator, h: int, w: int, folders: tuple[Path, ...]) -> np.ndarray:
    """A part of a photograph; of a smaller size, in its proportions, where none has as many pixels."""
    size = (w, h)
    while not (usable := fitting(_originals(folders), size)):
        size = (size[0] * 3 // 4, size[1] * 3 // 4)
    return np.array(drawn_part(usable[rng.integers(len(usable))], size, rng))


def marked_by_other_tool(rgb: np.ndarray, message: bytes) -> np.ndarray:
    """Mark by invisible-watermark's dwtDct, at its defaults; at least 256 pixels a side."""
    encoder = without_riva_gan().WatermarkEncoder()
    encoder.set_watermark("bytes", message)
    marked = encoder.encode(np.ascontiguousarray(rgb[..., ::-1]), "dwtDct")
    return np.ascontiguousarray(marked[..., ::-1])


def _generator(purpose: str, number: int) -> np.random.Generator:
    return np.random.default_rng(int.from_bytes(seeded_bytes(f"unmarked {purpose} {number}", 8)))


@cache
def _originals(folders: tuple[Path, ...]) -> list[np.ndarray]:
    return [*(originals(find_pictures(folders)) if folders else []), *originals([])]


@cache
def _other_key(number: int) -> Any:
    import fastmark as fm

    return fm.Watermarker(fm.Key(seeded_bytes(f"another key {number}")))
