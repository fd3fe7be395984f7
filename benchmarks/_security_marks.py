"""What the attacks of `security.py` share: images, keys, marks, what a detector says, and prices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from _common import fitted, label, read_rgb, seeded_bytes
from _kinds import KINDS
from _pixels import luma, to_bytes
from quality import psnr_db, ssimulacra2
from scipy import ndimage

from fastmark import FastmarkError, Key, Watermarker
from fastmark.codec.mask import Perception
from fastmark.codec.plane import Plane, pixels_per_unit
from fastmark.codec.tables import TORUS
from fastmark.detection.detector import analyse
from fastmark.detection.search import Search
from fastmark.images.opening import open_for_detection

Row = dict[str, Any]
MESSAGE_BITS = 64
BAND = (0.045, 0.25)  # cycles per pixel: nearly all of a mark at one pixel per unit
_SHORT_SIDE = 1100  # to which larger images are reduced: one pixel per unit
_SCORED_SIDE = 256
_DRAWN = ("scene", "pink noise", "text page", "grainy scan")  # among the images of a supply


# ---- images, keys and messages ---------------------------------------------------------------------------


@lru_cache(64)
def picture(path: Path) -> np.ndarray:
    """An image, reduced to one pixel per unit if it is larger."""
    rgb = read_rgb(path)
    height, width = rgb.shape[:2]
    factor = _SHORT_SIDE / min(height, width)
    return rgb if factor >= 1 else fitted(rgb, round(height * factor), round(width * factor))


def middle(rgb: np.ndarray, side: int) -> np.ndarray:
    """The middle of an image, at most `side` pixels each way."""
    height, width = (min(side, n) for n in rgb.shape[:2])
    top, left = (rgb.shape[0] - height) // 2, (rgb.shape[1] - width) // 2
    return np.ascontiguousarray(rgb[top : top + height, left : left + width])


def supply(number: int, side: int, paths: Sequence[Path]) -> np.ndarray:
    """One of any number of different squares: a part of an image, at any size, turned over; or drawn.

    A third is drawn. Where an image is smaller than the square, it is fitted.
    """
    rng = np.random.default_rng([number, side])
    if number % 3 == 2:
        return KINDS[_DRAWN[rng.integers(len(_DRAWN))]](rng, side, side)
    rgb = picture(paths[int(rng.integers(len(paths)))])
    part = int(min(min(rgb.shape[:2]), side * rng.uniform(1, 2)))
    top, left = (int(rng.integers(n - part + 1)) for n in rgb.shape[:2])
    square = rgb[top : top + part, left : left + part]
    square = fitted(square, side, side) if part != side else square
    square = square[:, :: rng.choice((1, -1))]
    return np.ascontiguousarray(np.rot90(square, rng.integers(4)))


@cache
def marker_of(name: str) -> Watermarker:
    return Watermarker(Key(seeded_bytes(f"security {name}")), MESSAGE_BITS)


def message_of(name: object) -> bytes:
    return seeded_bytes(f"security message {name}", MESSAGE_BITS // 8)


def marked_supply(
    marker: Watermarker, side: int, paths: Sequence[Path], message: bytes | None = None, first: int = 0
) -> Iterator[tuple[np.ndarray, np.ndarray, bytes]]:
    """Yield images of the supply, the same marked, and the messages; those that are refused are left out.

    Without `message`, every image has one of its own.
    """
    number = first
    while True:
        rgb, given = supply(number, side, paths), message or message_of(number)
        number += 1
        try:
            yield rgb, marker.embed(rgb, given), given
        except FastmarkError:
            continue


def originals(paths: Sequence[Path], count: int, side: int) -> list[tuple[str, np.ndarray]]:
    """Names and middles of as many images, spread over all; of those that have a side of 256 pixels."""
    large = [path for path in paths if min(picture(path).shape[:2]) >= 256]
    chosen = [large[i * len(large) // count] for i in range(min(count, len(large)))]
    return [(label(path), middle(picture(path), side)) for path in chosen]


# ---- what is seen and what it costs ----------------------------------------------------------------------


def seen(marker: Watermarker, rgb: np.ndarray, *known: bytes, deep: bool = False) -> Row:
    """What a detector says: `read` is 1 for one of the known messages, `wrong` 1 for any other."""
    found = marker.detect(rgb, deep=deep)
    message = found.message_bytes
    return {
        "state": found.state,
        "log10_p": found.log10_p,
        "read": int(message in known),
        "wrong": int(message is not None and message not in known),
        "binding": found.binding,
        "made_with": found.made_with,
    }


def price(attacked: np.ndarray, marked: np.ndarray) -> Row:
    """PSNR in dB against the marked image, and SSIMULACRA2 of their middles: it is slow."""
    score, _ = ssimulacra2(middle(marked, _SCORED_SIDE), middle(attacked, _SCORED_SIDE))
    return {"psnr_db": psnr_db(marked, attacked), "ssimulacra2": score}


def removal(
    marker: Watermarker, marked: np.ndarray, attacked: np.ndarray, *known: bytes, deep: bool = False
) -> Row:
    """The state before and after an attack, its price, and the state after noise of the same PSNR."""
    row = {"goal": "remove"} | seen(marker, attacked, *known, deep=deep)
    row |= {"before": marker.detect(marked).state} | price(attacked, marked)
    rms = 255 * 10 ** (-row["psnr_db"] / 20)
    noisy = added(marked, rms * noise(marked.shape[:2], np.random.default_rng(1)))
    return row | {"noise": marker.detect(noisy).state}


def forgery(marker: Watermarker, rgb: np.ndarray, forged: np.ndarray, *known: bytes) -> Row:
    """What is said of a forged image, and the price against the unmarked image that it was."""
    return {"goal": "forge"} | seen(marker, forged, *known) | price(forged, rgb)


def added(rgb: np.ndarray, delta: Plane) -> np.ndarray:
    """The same change of all channels, rounded."""
    return to_bytes(rgb + delta[..., None])


def noise(shape: tuple[int, int], rng: np.random.Generator) -> Plane:
    """Normal noise of the frequencies of a mark, root mean square 1."""
    plane = band_pass(rng.normal(size=shape).astype(np.float32))
    return plane / plane.std()


def band_pass(plane: Plane) -> Plane:
    """What a plane has at the frequencies of a mark."""
    radius = np.hypot(np.fft.fftfreq(plane.shape[0])[:, None], np.fft.rfftfreq(plane.shape[1])[None, :])
    inside = (radius >= BAND[0]) & (radius <= BAND[1])
    return np.fft.irfft2(np.fft.rfft2(plane) * inside, s=plane.shape).astype(np.float32)


def high_pass(rgb: np.ndarray) -> Plane:
    """What an attacker takes for the mark: the luma less its surroundings, limited to 8 levels."""
    plane = luma(rgb)
    return np.clip(plane - ndimage.gaussian_filter(plane, 1.5), -8, 8)


def mask_of(rgb: np.ndarray) -> Plane:
    """The mask of section 5 of an image of one pixel per unit, for every pixel."""
    cells = Perception.of(np.ascontiguousarray(luma(rgb))).mask
    return np.kron(cells, np.ones((2, 2), np.float32))[: rgb.shape[0], : rgb.shape[1]]


def origin_of(marked: np.ndarray, marker: Watermarker) -> tuple[int, int]:
    """Where on the torus an image begins, as the holder of the key finds it."""
    analysis, detector = analyse(open_for_detection(marked, unit=pixels_per_unit)), marker.key_detector
    search = Search(analysis, detector.carrier, detector.templates, detector.code)
    search.try_as_it_is()
    assert search.finding.placement is not None
    y, x = np.rint(search.finding.placement.offset).astype(int)
    return int(-y % TORUS), int(-x % TORUS)
