"""The README's picture: a drawn scene, the scene with a watermark, and the difference times 20.

Everything is drawn from fixed seeds, the key is a public one, and the pixels are shown one to one: the panel
in the middle of the PNG can be cut out and detected. With ``--photo`` only the scene is written, larger, as
an image to try the commands on.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from _common import seeded_bytes
from _tables import RESULTS
from numpy.typing import NDArray
from PIL import Image

PANEL = (216, 294)  # height and width of the scene in the README, pixels
PHOTO = (576, 784)  # of the scene that --photo writes
GAP = 9  # pixels between the panels
GAIN = 20  # of the difference
SECRET = seeded_bytes("hero")
MESSAGE = "0123456789abcdef"
DETAIL = 3  # the scene is drawn at so many times its size, and averaged down

Plane = NDArray[np.float32]


def clouds(shape: tuple[int, int], cell: float, rng: np.random.Generator, flatness: float = 1.0) -> Plane:
    """Draw value noise in octaves, on 0..1.

    ``cell`` is the size of its largest features in pixels, ``flatness`` how much wider than high they are.
    """
    height, width = shape
    total = np.zeros(shape, np.float32)
    weight = 1.0
    while cell >= 2:
        coarse = rng.random((int(height / cell) + 3, int(width / cell / flatness) + 3)).astype(np.float32)
        total += weight * np.asarray(
            Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC), np.float32
        )
        cell /= 2
        weight *= 0.55
    return (total - total.min()) / (total.max() - total.min())


def ridge(width: int, rough: float, rng: np.random.Generator) -> Plane:
    """Draw the outline of hills: a sum of sines, coarse and fine, of mean 0 and about ``rough`` high."""
    x = np.linspace(0, 1, width, dtype=np.float32)
    line = np.zeros(width, np.float32)
    for octave in range(1, 9):
        waves = 1.55**octave
        phase, tilt = rng.uniform(0, 2 * np.pi, 2)
        line += np.sin(waves * 2 * np.pi * x * 0.7 + phase + 0.4 * np.sin(tilt)) / waves
    return np.float32(rough) * line


def blend(scene: Plane, colour: Plane, cover: Plane) -> None:
    """Lay a colour over the scene, in place, where ``cover`` (0..1) says."""
    scene += cover[..., None] * (colour - scene)


def rgb(*levels: float) -> Plane:
    """Return a colour as an array that broadcasts over pixels."""
    return np.array(levels, np.float32)


def draw_sky(scene: Plane, y: Plane, x: Plane, horizon: float, rng: np.random.Generator) -> None:
    """Draw evening sky: a gradient, the glow of the sun, the sun, and clouds lit from below."""
    height, width = y.shape
    fall = np.clip(y / horizon, 0, 1)[..., None]
    scene[:] = rgb(64, 104, 158) * (1 - fall) + rgb(247, 196, 138) * fall
    sun_y, sun_x = 0.70 * horizon, 0.66 * width
    away = np.hypot(y - sun_y, x - sun_x) / height
    blend(scene, rgb(255, 226, 160), 0.85 * np.exp(-((away / 0.20) ** 1.2)))
    blend(scene, rgb(255, 250, 226), np.clip((0.052 - away) * height / DETAIL, 0, 1))
    cloud = np.clip(2.6 * (clouds((height, width), height / 5, rng, 3.2) - 0.53), 0, 1)
    lit = np.clip(fall[..., 0] * 1.3 - 0.25, 0, 1)[..., None]
    blend(scene, rgb(205, 210, 224) * (1 - lit) + rgb(255, 214, 178) * lit, 0.75 * cloud)


def draw_hills(scene: Plane, y: Plane, horizon: float, rng: np.random.Generator) -> None:
    """Draw four ranges of hills, each nearer, darker, and rougher than the one behind it."""
    height, width = y.shape
    for depth, (top, rough, far, near) in enumerate(
        (
            (0.74, 0.085, rgb(150, 148, 172), rgb(190, 172, 170)),
            (0.84, 0.065, rgb(104, 116, 138), rgb(150, 146, 150)),
            (0.93, 0.045, rgb(62, 88, 92), rgb(104, 118, 112)),
        )
    ):
        edge = horizon * (top - ridge(width, rough, rng)[None, :])
        cover = np.clip((y - edge) / DETAIL + 0.5, 0, 1)
        down = np.clip((y - edge) / (0.22 * height), 0, 1)[..., None]
        folds = clouds((height, width), height / (5 + 3 * depth), rng, 0.7)[..., None] - 0.5
        blend(scene, far * (1 - down) + near * down + (26 + 14 * depth) * folds, cover)


def draw_water(scene: Plane, y: Plane, x: Plane, horizon: float, rng: np.random.Generator) -> None:
    """Draw a lake from the horizon down: what lies above it upside down, waves, and the sun's path."""
    height, width = y.shape
    first = int(horizon)
    rows = np.arange(first, height)
    deep = (rows - first)[:, None] / (height - first)
    swell = clouds((len(rows), width), height / 12, rng, 7.0) - 0.5
    ripples = clouds((len(rows), width), height / 40, rng, 5.0) - 0.5
    source = first - (rows - first)[:, None] * 0.9 - (swell * 0.5 + ripples) * (4 + 50 * deep) * DETAIL / 3
    mirror = np.clip(source, 0, first - 1).astype(int)
    water = scene[mirror, np.arange(width)[None, :]] * 0.78 + rgb(8, 16, 26) * (1 + deep[..., None])
    water += ((10 + 46 * deep) * (ripples + 0.6 * swell))[..., None]
    path = np.exp(-(((x[first:] - 0.66 * width) / (width * (0.03 + 0.06 * deep))) ** 2))
    glitter = np.clip(6 * (ripples + 0.5 * swell - 0.10), 0, 1) * path * (1 - 0.4 * deep)
    blend(water, rgb(255, 232, 180), glitter.astype(np.float32))
    scene[first:] = water


def draw_meadow(scene: Plane, y: Plane, x: Plane, rng: np.random.Generator) -> None:
    """Draw the near shore: grass in blades, lighter towards the sun."""
    height, width = y.shape
    bank = 0.90 - 0.16 * (1 - x[0] / width) ** 2.2 + 0.03 * (x[0] / width) ** 3 + ridge(width, 0.012, rng)
    edge = height * bank[None, :] + height * 0.012 * (rng.random((1, width)) - 0.5)
    cover = np.clip((y - edge) / DETAIL, 0, 1)
    blades = clouds((height, width), height / 14, rng, 0.22)[..., None] - 0.45
    tufts = clouds((height, width), height / 6, rng, 2.0)[..., None]
    light = 0.65 + 0.45 * (x / width)[..., None]
    grass = (rgb(58, 78, 34) * (1 - tufts) + rgb(122, 122, 52) * tufts) * light + 95 * blades
    blend(scene, grass, cover)


def draw_tree(scene: Plane, y: Plane, x: Plane, foot: tuple[float, float], tall: float, seed: int) -> None:
    """Draw a conifer: a tapering crown of ragged branches, lit from the right, over a short trunk.

    ``foot`` is where it stands (y, x), ``tall`` its height, in pixels.
    """
    rng = np.random.default_rng(seed)
    top, left = max(int(foot[0] - tall), 0), max(int(foot[1] - 0.3 * tall), 0)
    box = np.s_[top : int(foot[0] + 0.05 * tall), left : int(foot[1] + 0.3 * tall)]
    scene, y, x = scene[box], y[box], x[box]
    up = (foot[0] - y) / tall  # 0 at the foot, 1 at the top
    aside = (x - foot[1]) / tall
    tiers = rng.uniform(11, 15)
    saw = (1 - up) * tiers % 1
    ragged = clouds(y.shape, tall / 9, rng, 1.5) - 0.5
    reach = 0.235 * np.clip(1 - up, 0, 1) ** 0.85 * (0.48 + 0.52 * saw) * (1 + 0.75 * ragged)
    crown = np.clip((reach - np.abs(aside)) * tall / DETAIL, 0, 1) * (up > 0.07) * (up < 1)
    needles = clouds(y.shape, tall / 24, rng, 1.8)[..., None]
    side = np.clip(0.5 + 2.4 * aside, 0, 1)[..., None]
    leaf = rgb(14, 30, 26) + (rgb(30, 44, 20) + rgb(62, 52, 12) * side) * needles * (0.7 + 0.5 * side)
    trunk = np.clip((0.016 - np.abs(aside)) * tall / DETAIL, 0, 1) * (up > -0.01) * (up < 0.5)
    blend(scene, rgb(50, 36, 26) + 30 * side, trunk)
    blend(scene, leaf, crown)


def draw_scene(height: int, width: int) -> NDArray[np.uint8]:
    """Draw hills over a lake in the evening: uint8 RGB ``(height, width, 3)``, always the same."""
    rng = np.random.default_rng(20)
    tall, wide = DETAIL * height, DETAIL * width
    y, x = np.mgrid[:tall, :wide].astype(np.float32)
    horizon = 0.56 * tall
    scene = np.empty((tall, wide, 3), np.float32)
    draw_sky(scene, y, x, horizon, rng)
    draw_hills(scene, y, horizon, rng)
    draw_water(scene, y, x, horizon, rng)
    draw_meadow(scene, y, x, rng)
    trees = (
        (0.80, 0.06, 0.46),
        (0.86, 0.25, 0.34),
        (0.84, 0.155, 0.62),
        (0.93, 0.93, 0.40),
        (0.95, 0.83, 0.26),
    )
    for seed, (foot_y, foot_x, size) in enumerate(trees):
        draw_tree(scene, y, x, (foot_y * tall, foot_x * wide), size * tall, seed)
    picture = scene.reshape(height, DETAIL, width, DETAIL, 3).mean((1, 3))
    grain = rng.normal(0, 1.6, (height, width, 1))  # as of a sensor
    return np.clip(np.rint(picture + grain), 0, 255).astype(np.uint8)


def draw_hero() -> Image.Image:
    """Put the scene, its watermarked version and their difference side by side on white."""
    import fastmark

    scene = draw_scene(*PANEL)
    marked = fastmark.Watermarker(fastmark.Key(SECRET, "hero")).embed(scene, MESSAGE)
    difference = np.clip(128 + GAIN * (marked.astype(np.int16) - scene), 0, 255).astype(np.uint8)
    height, width = PANEL
    canvas = Image.new("RGB", (3 * width + 2 * GAP, height), "white")
    for number, panel in enumerate((scene, marked, difference)):
        canvas.paste(Image.fromarray(panel), (number * (width + GAP), 0))
    return canvas


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=RESULTS / "hero.png")
    parser.add_argument("--photo", type=Path, help="write only the scene, larger, to this file")
    options = parser.parse_args()
    if options.photo:
        Image.fromarray(draw_scene(*PHOTO)).save(options.photo, quality=95)
    else:
        draw_hero().save(options.output, optimize=True)


if __name__ == "__main__":
    main()
