"""Attacks of `security.py` that ask a detector, as its public answers it, or with the numbers behind.

Both end with an image of whole levels that is not detected, as near to the marked one as they came; beside
them stands what removes the mark without asking: the weakest JPEG, blur or noise that does.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from _pixels import jpeg, to_bytes
from _security_marks import Row, added, marker_of, mask_of, message_of, noise, originals, price, seen
from quality import psnr_db
from scipy import ndimage

from fastmark import FastmarkError, Watermarker
from fastmark.codec.plane import Plane
from fastmark.detection.detector import LEAST_LOG10_P

SIDE = 192  # small, so that ten thousand calls take minutes: the fewer pixels, the easier for the attacker
IMAGES = 1
SCORED_CALLS = 3000  # at most, of those who are told scores: they learn more of each
TOLD = (100, 300, 1000, 3000, 10_000)
_PAIRS = 40  # calls of an estimate of a gradient by scores, half of them each way
_SCORED = -45.0  # log10 p at which scores tell a gradient: they end at -77


class SpentError(Exception):
    """The calls are spent."""


class Oracle:
    """A detector that counts; after each call it remembers the nearest image that was not detected."""

    def __init__(self, marker: Watermarker, marked: np.ndarray, calls: int) -> None:
        self.marker, self.marked, self.calls, self.asked = marker, marked, calls, 0
        self.best: np.ndarray | None = None
        self.best_db = 0.0
        self.told: dict[int, float] = {}

    def ask(self, delta: Plane) -> tuple[bool, float]:
        """Whether the marked image with a change is detected, and log10 p."""
        if self.asked == self.calls:
            raise SpentError
        image = added(self.marked, delta)
        found = self.marker.detect(image)
        self.asked += 1
        if not found.detected and (db := psnr_db(self.marked, image)) > self.best_db:
            self.best, self.best_db = image, db
        if self.asked in TOLD and self.best is not None:
            self.told[self.asked] = self.best_db
        return found.detected, found.log10_p

    def detected(self, delta: Plane) -> bool:
        return self.ask(delta)[0]


def asking(part: tuple[str, int], paths: Sequence[Path], count: int, calls: int, **_: int) -> Iterator[Row]:
    """Somebody with one marked image and `calls` questions takes the mark off, at the best PSNR found."""
    marker, (answers, number) = marker_of("asking"), part
    for name, marked in list(first_marked(marker, paths, count))[number : number + 1]:
        row, message = {"attack": "asking", "goal": "remove", "picture": name}, message_of(name)
        if answers == "bands":
            for variant, attacked in naive(marker, marked):
                yield (
                    row
                    | {"variant": variant, "has": "1 marked image", "number": 0}
                    | left(marker, attacked, marked, message)
                )
        oracle = Oracle(marker, marked, calls if answers == "bands" else min(calls, SCORED_CALLS))
        with contextlib.suppress(SpentError):
            (by_bands if answers == "bands" else by_scores)(oracle, np.random.default_rng(6))
        for asked, db in oracle.told.items():
            yield row | {
                "variant": f"{answers}, on the way", "has": "calls", "number": asked, "psnr_db": db
            }  # fmt: skip
        if oracle.best is not None:
            yield (
                row
                | {"variant": answers, "has": "calls", "number": oracle.asked}
                | left(marker, oracle.best, marked, message)
            )


def first_marked(marker: Watermarker, paths: Sequence[Path], count: int) -> Iterator[tuple[str, np.ndarray]]:
    """The first images, of those that each attack is tried on, with the most evidence there is."""
    done = 0
    for name, rgb in originals(paths, count, SIDE):
        if done == IMAGES:
            return
        with contextlib.suppress(FastmarkError):
            marked = marker.embed(rgb, message_of(name))
            if marker.detect(marked).log10_p <= LEAST_LOG10_P:
                yield name, marked
                done += 1


def left(marker: Watermarker, attacked: np.ndarray, marked: np.ndarray, message: bytes) -> Row:
    row = seen(marker, attacked, message) | price(attacked, marked)
    # somebody else looks at the image a little changed, as the owner would where there is a dispute
    changed = added(attacked, noise(attacked.shape[:2], np.random.default_rng(9)))
    row["crop"] = marker.detect(np.ascontiguousarray(attacked[1:, 1:])).state
    return row | {"noise": marker.detect(changed).state}


def naive(marker: Watermarker, marked: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Without asking (the search for the strength is ours): the weakest of each kind that is not detected."""
    flat = noise(marked.shape[:2], np.random.default_rng(7))
    kinds: dict[str, tuple[Sequence[float], Callable[[float], np.ndarray]]] = {
        "jpeg": (range(90, 0, -3), lambda quality: jpeg(marked, int(quality))),
        "blur": (np.arange(0.5, 8, 0.25), lambda sigma: blurred(marked, sigma)),
        "noise": (np.geomspace(1, 80, 40), lambda rms: added(marked, rms * flat)),
    }
    for kind, (strengths, make) in kinds.items():
        for strength in strengths:
            attacked = make(strength)
            if not marker.detect(attacked).detected:
                yield kind, attacked
                break


def blurred(rgb: np.ndarray, sigma: float) -> np.ndarray:
    return to_bytes(ndimage.gaussian_filter(rgb.astype(np.float32), (sigma, sigma, 0)))


# ---- by scores -------------------------------------------------------------------------------------------


def by_scores(oracle: Oracle, rng: np.random.Generator) -> None:
    """Estimate the direction in which the evidence falls fastest, by differences along random ones, and go.

    Scores end at 2^-256, and are flat in a whole mark: first the image is blended with its blur until they
    are not. All estimates are kept, as the mark is linear: each step goes along their sum (natural evolution
    strategies, Wierstra et al. 2014, with antithetic pairs), from the marked image, as far as it must.
    """
    mask, shape = mask_of(oracle.marked), oracle.marked.shape[:2]
    start = bisected(lambda delta: oracle.ask(delta)[1] < _SCORED, towards_blur(oracle.marked), oracle)
    gradient, spread = np.zeros(shape, np.float32), 0.8
    while True:
        for _ in range(_PAIRS // 2):
            u = mask * noise(shape, rng)
            u *= spread / u.std()
            # the root of the logarithm is about linear in the mark
            up, down = (math.sqrt(max(-oracle.ask(start + sign * u)[1], 0)) for sign in (1, -1))
            gradient += (up - down) * u
        direction = -gradient / gradient.std()
        bisected(oracle.detected, 6 * direction, oracle, steps=5)


def towards_blur(marked: np.ndarray) -> Plane:
    """What a strong blur takes off."""
    return (blurred(marked, 3.0).astype(np.float32) - marked).mean(axis=2)


def bisected(inside: Callable[[Plane], bool], delta: Plane, oracle: Oracle, steps: int = 8) -> Plane:
    """The shortest part of a change, to 1/2^steps, after which `inside` is no more; all of it if it stays."""
    low, high = 0.0, 1.0
    for _ in range(steps):
        middle = (low + high) / 2
        low, high = (middle, high) if inside(np.float32(middle) * delta) else (low, middle)
    return np.float32(high) * delta


# ---- by bands --------------------------------------------------------------------------------------------


def by_bands(oracle: Oracle, rng: np.random.Generator) -> None:
    """Walk along the border between detected and not (HopSkipJump: Chen, Jordan & Wainwright 2020).

    From a change after which nothing is detected, bisected to the border, the direction in which it is not
    detected is estimated by the signs of answers to random changes about it; a step along it, and back to the
    border towards the marked image. Random changes have the frequencies and the mask of a mark.
    """
    mask, shape = mask_of(oracle.marked), oracle.marked.shape[:2]
    delta = removed_somehow(oracle)
    delta = bisected(oracle.detected, delta, oracle)
    for step in range(1, 10_000):
        size = float(np.sqrt(np.mean(delta**2)))
        radius = max(0.5, 0.3 * size)
        answers, tried = [], []
        for _ in range(round(60 * math.sqrt(step))):
            u = mask * noise(shape, rng)
            u *= radius / u.std()
            answers.append(-1.0 if oracle.detected(delta + u) else 1.0)
            tried.append(u)
        weights = np.array(answers) - np.mean(answers)
        if not weights.any():
            weights = np.array(answers)
        direction = np.tensordot(weights.astype(np.float32), np.array(tried), 1)
        direction *= size / math.sqrt(step) / max(float(direction.std()), 1e-9)
        for _ in range(6):  # a shorter step where it ends among the detected
            if not oracle.detected(delta + direction):
                delta = bisected(oracle.detected, delta + direction, oracle)
                break
            direction = direction / 2


def removed_somehow(oracle: Oracle) -> Plane:
    """A change that removes the mark: a blur, else noise until it does."""
    delta = towards_blur(oracle.marked)
    for rms in np.geomspace(4, 80, 12):
        if not oracle.detected(delta):
            return delta
        delta = np.float32(rms) * noise(delta.shape, np.random.default_rng(8))
    return delta
