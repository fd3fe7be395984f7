"""The tables of `speed.py` over many pictures: rejecting unmarked ones, accepting marked ones, further keys.

Times are the working time of one thread, medians of three calls. Decoding is Pillow's to RGB, of the picture
as a JPEG of quality 90. All ratios are to the *mean* of decoding over the pictures of a size: then the mean
ratio says what an archive costs, and the tail is not blurred by pictures that are quick to decode.

Pictures are seeded: a part of an original, reduced by a factor of its own, or enlarged 1.5 times at most,
perhaps mirrored, so that no two have the same texture.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from _common import find_pictures, jpeg_90, read_rgb, seeded_bytes
from _timing import Row, cpu_ms, decoded, verdict
from PIL import Image

MESSAGE = 0x0123456789ABCDEF
MOST_ENLARGED = 1.5
_PHOTOGRAPHS = (
    "astronaut", "chelsea", "coffee", "rocket", "retina", "hubble_deep_field", "immunohistochemistry",
)  # fmt: skip

# size as width x height: (mean to reach, to aim for), (99th percentile to reach, to aim for)
Limits = tuple[float | None, float | None]
REJECT: dict[str, tuple[Limits, Limits]] = {
    "256x256": ((6, 3), (15, 8)),
    "481x321": ((6, 3), (15, 8)),
    "384x384": ((6, 3), (15, 8)),
    "512x512": ((4, 2), (15, 8)),
    "640x480": ((4, 2), (15, 8)),
    "768x512": ((4, 2), (15, 8)),
    "1024x768": ((4, 2), (15, 8)),
    "1024x1024": ((2, 1), (None, None)),
    "1920x1080": ((2, 1), (None, None)),
    "2048x2048": ((2, 1), (None, None)),
    "4000x3000": ((0.6, None), (None, None)),
}
ACCEPT: dict[str, Limits] = {"512x512": (3, 1), "1024x1024": (1, 0.5)}
FURTHER_KEY: dict[str, Limits] = {"512x512": (1, 0.2), "1024x1024": (0.5, 0.2)}


def size_of(name: str) -> tuple[int, int]:
    """Width and height."""
    width, height = map(int, name.split("x"))
    return width, height


def originals(paths: Sequence[Path]) -> list[np.ndarray]:
    """The pictures, or photographs that scikit-image ships where there are none; RGB."""
    if paths:
        return [read_rgb(path) for path in paths]
    from skimage import data

    return [np.asarray(Image.fromarray(getattr(data, name)()).convert("RGB")) for name in _PHOTOGRAPHS]


def fitting(sources: Sequence[np.ndarray], size: tuple[int, int]) -> list[np.ndarray]:
    """The originals of which a picture of this size can be made, turned by 90 degrees where it needs it."""
    found = []
    for source in sources:
        for turned in (source, source.swapaxes(0, 1)):
            if min(turned.shape[1] / size[0], turned.shape[0] / size[1]) >= 1 / MOST_ENLARGED:
                found.append(turned)
                break
    return found


def drawn_part(source: np.ndarray, size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """A part of an original at a seeded place and scale, RGB, of exactly this size."""
    height, width = source.shape[:2]
    least = max(size[0] / width, size[1] / height)
    most = max(1.0, min(MOST_ENLARGED, 1.2 * least))
    scale = math.exp(rng.uniform(math.log(least), math.log(most)))
    part = (min(width, size[0] / scale), min(height, size[1] / scale))
    left, top = rng.uniform(0, width - part[0]), rng.uniform(0, height - part[1])
    box = (left, top, left + part[0], top + part[1])
    image = Image.fromarray(np.ascontiguousarray(source)).resize(size, Image.Resampling.LANCZOS, box=box)
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else image


def pictures(sources: Sequence[np.ndarray], name: str, count: int) -> Iterator[Image.Image]:
    """So many different pictures of a size, of all originals that allow it in turn."""
    usable = fitting(sources, size_of(name))
    for number in range(count if usable else 0):
        rng = np.random.default_rng(int.from_bytes(seeded_bytes(f"picture {name} {number}", 8)))
        yield drawn_part(usable[number % len(usable)], size_of(name), rng)


@cache
def parts_of(folders: tuple[Path, ...], name: str, count: int) -> list[np.ndarray]:
    """The same as arrays, of folders or of scikit-image's photographs; made once in a process."""
    sources = originals(find_pictures(folders) if folders else [])
    return [np.array(image) for image in pictures(sources, name, count)]


def count_for(name: str, most: int) -> int:
    """Fewer of the largest: half from 4 MP on, a fifth from 10 MP on."""
    width, height = size_of(name)
    area = width * height
    return max(1, most // 5 if area >= 10e6 else most // 2 if area >= 4e6 else most)


def shares(times_ms: Sequence[float], decode_ms: float) -> Row:
    """Mean, median and 99th percentile of times over the mean time of decoding."""
    ratios = np.array(times_ms) / decode_ms
    return {
        "ms": float(np.mean(times_ms)),
        "decode ms": decode_ms,
        "mean ratio": float(ratios.mean()),
        "median ratio": float(np.median(ratios)),
        "p99 ratio": float(np.percentile(ratios, 99)),
    }


def judged(row: Row, mean: Limits, p99: Limits) -> Row:
    """The row with its targets and whether they are reached."""
    return row | {
        "reach": mean[0], "aim": mean[1], "result": verdict(row["mean ratio"], *mean),
        "p99 reach": p99[0], "p99 aim": p99[1], "p99 result": verdict(row["p99 ratio"], *p99),
    }  # fmt: skip


def rejecting(marker: Any, sources: Sequence[np.ndarray], count: int, names: Sequence[str]) -> list[Row]:
    """Unmarked pictures as JPEG files, size by size."""
    rows = []
    for name in names:
        usable = len(fitting(sources, size_of(name)))
        if not usable:
            continue
        decode, reject, suspected = [], [], 0
        for image in pictures(sources, name, count_for(name, count)):
            file = jpeg_90(image)
            suspected += marker.detect(file).state != "absent"  # plans and scratch are made now
            decode.append(cpu_ms(lambda f=file: decoded(f)))
            reject.append(cpu_ms(lambda f=file: marker.detect(f)))
        row: Row = {"what": f"reject {name}", "pictures": len(reject), "originals": usable}
        row |= shares(reject, float(np.mean(decode))) | {"not absent": suspected}
        rows.append(judged(row, *REJECT.get(name, ((None, None), (None, None)))))
    return rows


def accepting(marker: Any, sources: Sequence[np.ndarray], count: int) -> list[Row]:
    """Marked pictures, untouched: as pixels, as a lossless file gives them, and as JPEG of quality 95."""
    rows = []
    for name, limits in ACCEPT.items():
        made: dict[str, list[float]] = {"array": [], "JPEG 95": []}
        read, decode = dict.fromkeys(made, 0), []
        for image in pictures(sources, name, count):
            marked = marker.embed(np.asarray(image), MESSAGE)
            file = io.BytesIO()
            Image.fromarray(marked).save(file, "JPEG", quality=95)
            plain = jpeg_90(image)
            decode.append(cpu_ms(lambda p=plain: decoded(p)))
            for kind, given in (("array", marked), ("JPEG 95", file.getvalue())):
                read[kind] += marker.detect(given).message == MESSAGE
                made[kind].append(cpu_ms(lambda g=given: marker.detect(g)))
        for kind, times in made.items():
            if times:
                row: Row = {"what": f"accept {name}, {kind}", "pictures": len(times)}
                row |= shares(times, float(np.mean(decode))) | {"read": read[kind]}
                rows.append(judged(row, limits, (None, None)))
    return rows


def further_keys(others: Sequence[Any], sources: Sequence[np.ndarray], count: int) -> list[Row]:
    """Further keys on pictures, unmarked, that the first key has analysed."""
    from fastmark.codec.plane import pixels_per_unit
    from fastmark.detection.detector import analyse
    from fastmark.images.opening import open_for_detection

    rows = []
    for name, limits in FURTHER_KEY.items():
        decode, search = [], []
        for image in pictures(sources, name, count):
            file = jpeg_90(image)
            luma = open_for_detection(file, unit=pixels_per_unit)
            analysis, k = analyse(luma), luma.unit
            for other in others:  # the first of them makes what is shared
                other.key_detector.detect(analysis, k)
            decode.append(cpu_ms(lambda f=file: decoded(f)))
            search += [cpu_ms(lambda o=o, a=analysis, k=k: o.key_detector.detect(a, k)) for o in others]
        if search:
            row: Row = {"what": f"each further key {name}", "pictures": len(decode)}
            row |= shares(search, float(np.mean(decode)))
            rows.append(judged(row, limits, (None, None)))
    return rows
