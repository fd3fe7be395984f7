"""How well a watermark is located: box, share and cells, in scenes whose truth is known.

    python benchmarks/locating.py FOLDER... --limit 10 -o benchmarks/results/locating.csv
    python benchmarks/locating.py --draw benchmarks/results/locate.png

Every picture is watermarked, and becomes a part of a scene: pasted on a larger picture that is not
watermarked, or partly replaced by one; then the scene is compressed, scaled, turned or cropped. A row tells
of one scene:

- iou: area common to the true box and the one that was found, over that of both together;
- share_error: share that was found less the true one;
- auc: chance that a cell that carries the watermark has more heat than one that does not, cells on the border
  left out; empty where all cells are of one kind;
- z_in, z_out: mean heat of cells that carry it, and standard deviation of that of the others, which chance
  makes 1;
- changed_auc: the same of disagreement: cells whose content was exchanged under the watermark, and others.
- work_ms: time of locating alone, one thread, of thread_time.

``--several`` tells of collages instead: how many of their marks ``detect_all`` finds, and the p-values of the
searches that had nothing to find. ``--changes`` tells in how many images a change of content is told, where
there is one and where there is none. ``--draw`` makes the picture of the README, of drawn scenes.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from unittest import mock

from _common import (
    find_pictures,
    fitted,
    header,
    in_processes,
    label,
    one_thread_each,
    print_table,
    read_rgb,
    write_csv,
)

one_thread_each()

import numpy as np  # noqa: E402
from _locating_changes import changes, told  # noqa: E402
from hero import draw_scene  # noqa: E402
from PIL import Image  # noqa: E402

from fastmark import Key, Watermarker  # noqa: E402
from fastmark.detection.analysis import Analysis  # noqa: E402
from fastmark.detection.detector import Found, KeyDetector  # noqa: E402

KEY = Key(bytes(range(32)))
MESSAGE = 0x0123456789ABCDEF


@dataclass(frozen=True)
class Scene:
    """A picture, where it carries the mark, and where content was exchanged under the mark: bool (H, W)."""

    pixels: np.ndarray
    carries: np.ndarray
    changed: np.ndarray | None = None


def pasted(marked: np.ndarray, other: np.ndarray) -> Scene:
    """The marked picture on another one of 1.6 times its sides."""
    height, width = marked.shape[:2]
    canvas = fitted(other, round(1.6 * height), round(1.6 * width))
    carries = np.zeros(canvas.shape[:2], bool)
    top, left = round(0.17 * height), round(0.35 * width)
    canvas[top : top + height, left : left + width] = marked
    carries[top : top + height, left : left + width] = True
    return Scene(canvas, carries)


def halved(marked: np.ndarray, other: np.ndarray) -> Scene:
    """Half of it replaced."""
    pixels, carries = marked.copy(), np.ones(marked.shape[:2], bool)
    half = marked.shape[1] // 2
    pixels[:, half:] = fitted(other, *marked.shape[:2])[:, half:]
    carries[:, half:] = False
    return Scene(pixels, carries)


def holed(marked: np.ndarray, other: np.ndarray) -> Scene:
    """An ellipse in it replaced, of an eighth of its area."""
    height, width = marked.shape[:2]
    y, x = np.mgrid[0:height, 0:width]
    inside = ((y / height - 0.45) / 0.2) ** 2 + ((x / width - 0.6) / 0.2) ** 2 < 1
    return Scene(np.where(inside[..., None], fitted(other, height, width), marked), ~inside)


def exchanged(
    marked: np.ndarray,
    original: np.ndarray,
    other: np.ndarray,
    rows: slice = slice(None),
    columns: slice | None = None,
) -> Scene:
    """A part, the left third, shows other content, to which exactly the mark of this picture was added."""
    height, width = marked.shape[:2]
    delta = marked.astype(np.int16) - original
    changed = np.zeros((height, width), bool)
    changed[rows, slice(width // 3) if columns is None else columns] = True
    copied = np.clip(fitted(other, height, width) + delta, 0, 255).astype(np.uint8)
    pixels = np.where(changed[..., None], copied, marked)
    return Scene(pixels, np.ones((height, width), bool), changed)


def jpeg(scene: Scene, quality: int = 75) -> Scene:
    """Compressed."""
    file = io.BytesIO()
    Image.fromarray(scene.pixels).save(file, "JPEG", quality=quality)
    return replace(scene, pixels=np.asarray(Image.open(file).convert("RGB")))


def moved(scene: Scene, move: Callable[[Image.Image, Image.Resampling], Image.Image]) -> Scene:
    """Moved by Pillow, the truth with it."""

    def mask(one: np.ndarray | None) -> np.ndarray | None:
        if one is None:
            return None
        return np.asarray(move(Image.fromarray(one.astype(np.uint8)), Image.Resampling.NEAREST)) > 0

    pixels = np.asarray(move(Image.fromarray(scene.pixels), Image.Resampling.BICUBIC))
    carries = mask(scene.carries)
    assert carries is not None
    return Scene(pixels, carries, mask(scene.changed))


def scaled(scene: Scene, scale: float = 0.7) -> Scene:
    """At this scale."""
    return moved(scene, lambda i, how: i.resize((round(scale * i.width), round(scale * i.height)), how))


def turned(scene: Scene, degrees: float = 17) -> Scene:
    """Turned, on a canvas that holds all of it."""
    return moved(scene, lambda i, how: i.rotate(degrees, how, expand=True))


def cropped(scene: Scene) -> Scene:
    """The middle two thirds each way."""
    return moved(
        scene, lambda i, how: i.crop((i.width // 6, i.height // 6, i.width * 5 // 6, i.height * 5 // 6))
    )


AFTER: dict[str, Callable[[Scene], Scene]] = {
    "": lambda scene: scene,
    "jpeg 75": jpeg,
    "jpeg 50": lambda scene: jpeg(scene, 50),
    "scale 0.7": scaled,
    "turned 17": turned,
    "cropped": cropped,
    "turned, jpeg 75": lambda scene: jpeg(turned(scene)),
}


def scenes(marked: np.ndarray, original: np.ndarray, other: np.ndarray) -> Iterator[tuple[str, str, Scene]]:
    """All scenes of one picture: name, what was done to it, and it."""
    first = {"pasted": pasted(marked, other), "half": halved(marked, other), "hole": holed(marked, other)}
    first["whole"] = Scene(marked, np.ones(marked.shape[:2], bool))
    first["exchanged"] = exchanged(marked, original, other)
    for name, scene in first.items():
        for after, attack in AFTER.items():
            yield name, after, attack(scene)


def box_of(carries: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(carries.any(axis=1)), np.flatnonzero(carries.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def iou(a: tuple[int, ...] | None, b: tuple[int, ...] | None) -> float:
    if a is None or b is None:
        return 0.0
    sides = [max(0, min(a[i + 2], b[i + 2]) - max(a[i], b[i])) for i in (0, 1)]
    areas = [(c[2] - c[0]) * (c[3] - c[1]) for c in (a, b)]
    return sides[0] * sides[1] / (sum(areas) - sides[0] * sides[1])


def auc(values: np.ndarray, positive: np.ndarray) -> float | None:
    """Chance that a positive has the larger value, halves for ties."""
    n, m = int(positive.sum()), int((~positive).sum())
    if n == 0 or m == 0:
        return None
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return float((ranks[positive].sum() - n * (n + 1) / 2) / (n * m))


def by_cell(mask: np.ndarray, cell: int, shape: tuple[int, ...]) -> np.ndarray:
    """Return the share of the mask in each cell, of the pixels that there are."""
    rows, columns = (np.arange(n) * cell for n in shape)
    sums = np.add.reduceat(np.add.reduceat(mask.astype(float), rows, axis=0), columns, axis=1)
    ones = np.add.reduceat(np.add.reduceat(np.ones(mask.shape), rows, axis=0), columns, axis=1)
    return sums / ones


def measure(marker: Watermarker, scene: Scene) -> dict[str, object]:
    """Locate, and compare with the truth."""
    start = time.thread_time()
    place = marker.locate(scene.pixels)
    both = time.thread_time() - start
    start = time.thread_time()
    found = marker.detect(scene.pixels)
    alone = both - (time.thread_time() - start)
    truth = by_cell(scene.carries, place.cell_px, place.heat.shape)
    sure = (truth < 0.01) | (truth > 0.99)
    out = place.heat[truth < 0.01]
    row: dict[str, object] = {"state": found.state, "message": found.message == MESSAGE}
    if not found:
        return row
    row |= {
        "iou": round(iou(place.box, box_of(scene.carries)), 3),
        "share": round(place.share, 3),
        "share_error": round(place.share - float(scene.carries.mean()), 3),
        "auc": rounded(auc(place.heat[sure], truth[sure] > 0.5)),
        "z_in": round(float(place.heat[truth > 0.99].mean()), 2),
        "z_out": round(float(out.std()), 2) if out.size > 50 else "",
        "work_ms": round(1e3 * alone),
    }
    if scene.changed is not None and place.disagreement is not None:
        changed = by_cell(scene.changed, place.cell_px, place.heat.shape)
        sure &= (changed < 0.01) | (changed > 0.99)
        row["changed_auc"] = rounded(auc(place.disagreement[sure], changed[sure] > 0.5))
    return row


def rounded(value: float | None) -> object:
    return "" if value is None else round(value, 3)


def collage(marker: Watermarker, pictures: list[np.ndarray]) -> tuple[np.ndarray, int]:
    """Four pictures side by side, the first three marked with as many messages; and how many are."""
    height, width = 384, 512
    tiles = [fitted(one, height, width) for one in pictures[:4]]
    tiles[:3] = [marker.embed(tile, number) for number, tile in enumerate(tiles[:3])]
    return np.vstack([np.hstack(tiles[:2]), np.hstack(tiles[2:])]), 3


def several(marker: Watermarker, pictures: list[np.ndarray], name: str) -> Iterator[dict[str, object]]:
    """Marks found in a collage, and further ones in scenes of one mark: there is none to be found."""
    pixels, count = collage(marker, pictures)
    for after, scene in (("", pixels), ("jpeg 75", jpeg(Scene(pixels, pixels[..., 0] > 0)).pixels)):
        found = marker.detect_all(scene)
        messages = [one.detection.message for one in found]
        right = len({0, 1, 2} & set(messages))
        extra = len(found) - len({one for one in messages if one in (0, 1, 2)})
        yield {
            "picture": name,
            "scene": f"collage of {count}",
            "after": after,
            "found": right,
            "extra": extra,
        }
    for make in (pasted, halved, holed):
        scene = make(marker.embed(pictures[0], MESSAGE), pictures[1])
        for after in AFTER:
            with searches() as bounds:
                found = marker.detect_all(AFTER[after](scene).pixels)
            row = {"picture": name, "scene": make.__name__, "after": after, "found": min(len(found), 1)}
            row["extra"] = max(len(found) - 1, 0)
            # of the last search, before it pays for being one, and for what is left out
            yield row | ({"last_log10_p": bounds[-1] / math.log(10)} if len(bounds) > 1 else {})


@contextlib.contextmanager
def searches() -> Iterator[list[float]]:
    """Collect the natural logarithm of the bound that each search ends with, kinds of evidence paid for."""
    bounds: list[float] = []
    search = KeyDetector.search

    def told(self: KeyDetector, analysis: Analysis, log_trials: float = 0.0, *, deep: bool = False) -> Found:
        bounds.append(search(self, analysis, 0.0, deep=deep).log_p)
        return search(self, analysis, log_trials, deep=deep)

    with mock.patch.object(KeyDetector, "search", told):
        yield bounds


def summary(rows: list[dict[str, object]]) -> None:
    """Print medians by scene."""
    for scene in dict.fromkeys(str(row["scene"]) for row in rows):
        of = [row for row in rows if row["scene"] == scene]
        line = [f"{scene}: {len(of)} scenes, {sum(row['state'] == 'detected' for row in of)} detected"]
        for name in ("iou", "share_error", "auc", "z_in", "z_out", "changed_auc", "work_ms"):
            values = np.abs([float(str(row[name])) for row in of if row.get(name, "") != ""])
            if values.size:
                low, middle, high = np.percentile(values, (10, 50, 90))
                line.append(f"{name} {middle:.3g} ({low:.3g}..{high:.3g})")
        print(", ".join(line))


def edited_scene() -> np.ndarray:
    """Draw an edited picture, RGB.

    The scene of hero.py is watermarked and pasted on a mirrored one that is not; a disc of it is replaced,
    and in a square its content is exchanged under the watermark.
    """
    height, width, top, left = 432, 576, 36, 72
    scene, canvas = draw_scene(height, width), draw_scene(512, 736)[:, ::-1].copy()
    marked = Watermarker(KEY).embed(scene, MESSAGE)
    edited = exchanged(marked, scene, scene[::-1], slice(250, 400), slice(40, 200)).pixels
    y, x = np.mgrid[0:height, 0:width]
    disc = np.hypot(y - 130, x - 430) < 75
    canvas[top : top + height, left : left + width] = np.where(disc[..., None], scene[:, ::-1], edited)
    return canvas


def draw(path: Path) -> None:
    """Draw the edited picture and its map side by side, at half their size."""
    canvas = edited_scene()
    shown = [Image.fromarray(canvas), Watermarker(KEY).locate(canvas).to_image()]
    wide, tall = canvas.shape[1] // 2, canvas.shape[0] // 2
    panels = Image.new("RGB", (2 * wide + 9, tall), "white")
    for i, image in enumerate(shown):
        panels.paste(image.resize((wide, tall), Image.Resampling.LANCZOS), (i * (wide + 9), 0))
    panels.save(path, optimize=True)


def summary_of_several(rows: list[dict[str, object]]) -> None:
    """Print what was found by scene, and how small the bounds of searches for nothing were."""
    for scene in dict.fromkeys(row["scene"] for row in rows):
        of = [row for row in rows if row["scene"] == scene]
        found, extra = (sum(int(str(row[name])) for row in of) for name in ("found", "extra"))
        print(f"{scene}: {len(of)}, found {found}, extra {extra}")
    last = np.array([float(str(row["last_log10_p"])) for row in rows if "last_log10_p" in row])
    shares = {p: round(float((last <= math.log10(p)).mean()), 4) for p in (0.5, 0.1, 0.01, 1e-3)}
    print(f"{last.size} searches for nothing, shares with p at most {shares}, least 1e{last.min():.1f}")


def main() -> None:
    """Run all scenes of all pictures, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="*")
    parser.add_argument("--limit", type=int, default=10, help="pictures, spread evenly")
    parser.add_argument(
        "--largest", type=int, default=640, help="pixels of a longer side; larger ones shrink"
    )
    parser.add_argument("--several", action="store_true")
    parser.add_argument(
        "--changes", action="store_true", help="of content under the watermark: which are told"
    )
    parser.add_argument("--workers", type=int, default=1, help="of --changes")
    parser.add_argument("--draw", type=Path, metavar="PNG")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    if options.draw:
        draw(options.draw)
        return
    paths = find_pictures(options.folders, options.limit)
    if options.changes:
        jobs = [(path, paths[number - 1]) for number, path in enumerate(paths)]
        found = [row for _, part in in_processes(changes, jobs, options.workers) for row in part]
        print_table("images in which a change is told, %", told(found))
        if options.output:
            write_csv(
                options.output,
                header("locating.py --changes", options.workers, pictures=len(paths)),
                told(found),
            )
        return
    marker, rows = Watermarker(KEY), []
    pictures = [shrunk(read_rgb(path), options.largest) for path in paths]
    for number, path in enumerate(paths):
        around = [pictures[(number + i) % len(pictures)] for i in range(4)]
        if options.several:
            rows += several(marker, around, label(path))
            continue
        marked = marker.embed(around[0], MESSAGE)
        for name, after, scene in scenes(marked, around[0], around[1]):
            rows.append({"picture": label(path), "scene": name, "after": after} | measure(marker, scene))
    if options.several:
        summary_of_several(rows)
    else:
        summary(rows)
    if options.output:
        head = header("locating.py", 1, pictures=len(paths), largest=options.largest, several=options.several)
        write_csv(options.output, head, rows)


def shrunk(rgb: np.ndarray, largest: int) -> np.ndarray:
    image = Image.fromarray(rgb)
    image.thumbnail((largest, largest), Image.Resampling.LANCZOS)
    return np.array(image)


if __name__ == "__main__":
    main()
