"""Attacks of `security.py` with many marked images of one key: their mean, its halves, its spectrum."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from _security_marks import (
    Row,
    added,
    band_pass,
    forgery,
    high_pass,
    marked_supply,
    marker_of,
    message_of,
    originals,
    removal,
    seen,
    supply,
)
from _security_spectra import (
    BINS,
    TONES,
    flattened,
    hits,
    level_of,
    peaks_of,
    power_of,
    score_plane,
    tones_of,
    without_lines,
)

from fastmark import FastmarkError, Key, Watermarker
from fastmark.codec.tables import TORUS

COUNTS = (5, 50, 500, 5000)
SIDE = 256  # pixels of the images that are averaged
SPENT_DB = 40.0  # at which the mean is taken off and added: the attacker's price
_AMPLITUDE = 255 * 10 ** (-SPENT_DB / 20)
HAS = {"one message": "marked images of one message", "messages": "marked images of different messages"}


class Sums:
    """What is summed of marked images and of the same unmarked, in two halves by their numbers."""

    def __init__(self) -> None:
        self.count = 0
        self.residual = {kind: np.zeros((2, SIDE, SIDE)) for kind in ("marked", "unmarked")}
        self.scores = {kind: np.zeros((2, SIDE, SIDE)) for kind in ("marked", "unmarked")}
        self.power = dict.fromkeys(("marked", "unmarked"), 0.0)

    def add(self, rgb: np.ndarray, marked: np.ndarray) -> None:
        for kind, image in (("marked", marked), ("unmarked", rgb)):
            scores = score_plane(image)
            self.residual[kind][self.count % 2] += high_pass(image)
            self.scores[kind][self.count % 2] += scores
            power = power_of(scores)
            self.power[kind] = self.power[kind] + power / power.mean()
        self.count += 1

    def halves(self, kind: str, of: str) -> float:
        """Correlation of the two halves' means at the frequencies of a mark."""
        sums = (self.residual if of == "residuals" else self.scores)[kind]
        first, second = (band_pass(half) for half in sums)
        return float(np.corrcoef(first.ravel(), second.ravel())[0, 1])

    def mean(self, of: str) -> np.ndarray:
        """The mean over all marked images at the frequencies of a mark, root mean square 1."""
        mean = band_pass((self.residual if of == "residuals" else self.scores)["marked"].sum(axis=0))
        return mean / mean.std()


def averaging(series: str, paths: Sequence[Path], count: int, most: int, **_: int) -> Iterator[Row]:
    """Marked images are added up as they are; their mean is taken off others, and added to unmarked ones.

    The mean power of their scores shows the tones, wherever each image lies.
    """
    marker, sums = marker_of("averaging"), Sums()
    message = message_of("all") if series == "one message" else None
    images = marked_supply(marker, SIDE, paths, message)
    for number in (n for n in COUNTS if n <= most):
        while sums.count < number:
            rgb, marked, _ = next(images)
            sums.add(rgb, marked)
        has = {"has": HAS[series], "number": number}
        yield from leaks(sums, has, marker, paths, count)
        yield from used(sums, has, marker, message, paths, count)


def told(sums: Sums, marker: Watermarker, paths: Sequence[Path], count: int) -> Row:
    """How well other marked images are told without the key; the control are tones that mean nothing.

    The statistic is the mean of the power at the tones, over the local level and limited to 8 times it.
    """
    learnt = peaks_of(sums.power["marked"], 48)
    chance = np.random.default_rng(2).uniform((-0.2, 0.02), (0.2, 0.2), learnt.shape)
    shown = {"value": [[], []], "control": [[], []]}
    for number in range(4 * count):
        rgb = supply(10**6 + 3 * number, SIDE, paths)  # none that was averaged, none that is drawn
        try:
            images = rgb, marker.embed(rgb, message_of(number))
        except FastmarkError:
            continue
        for i, image in enumerate(images):
            power = power_of(score_plane(image))
            white = np.minimum(power / level_of(power), 8)
            for name, tones in (("value", learnt), ("control", chance)):
                rows, columns = (np.rint(tones[:, axis] * BINS).astype(int) for axis in (0, 1))
                shown[name][i].append(float(white[rows, columns].mean()))
    return {
        name: float(np.mean(np.array(marked)[:, None] > np.array(unmarked)))
        for name, (unmarked, marked) in shown.items()
    }


def leaks(sums: Sums, has: Row, marker: Watermarker, paths: Sequence[Path], count: int) -> Iterator[Row]:
    """Correlations of halves, and tones that are found, beside what unmarked images and other keys give."""
    has = {"attack": "averaging", "goal": "learn"} | has
    for of in ("residuals", "scores"):
        yield has | {
            "variant": f"correlation of halves, {of}",
            "value": sums.halves("marked", of),
            "control": sums.halves("unmarked", of),
        }
    yield (
        has
        | {"variant": "marked images told from others by 48 learnt tones, area under the curve"}
        | told(sums, marker, paths, count)
    )
    for tones in TONES:
        true = tones_of(marker, tones)
        found = peaks_of(sums.power["marked"], tones)
        others = [Watermarker(Key(bytes([n]) * 32)) for n in range(1, 9)]
        by_chance = np.mean([hits(found, tones_of(other, tones)) for other in others])
        yield has | {
            "variant": f"{tones} tones found in the mean spectrum, share",
            "value": hits(found, true) / tones,
            "control": float(by_chance) / tones,
        }


def used(
    sums: Sums, has: Row, marker: Watermarker, message: bytes | None, paths: Sequence[Path], count: int
) -> Iterator[Row]:
    """What the means are good for: other marked images, and others that are not marked."""
    for of in ("residuals", "scores"):
        delta = _AMPLITUDE * sums.mean(of)
        for name, rgb in originals(paths, count, SIDE):
            rgb = rgb[:SIDE, :SIDE]
            known = message or message_of(name)
            marked = marker.embed(rgb, known)
            row = {"attack": "averaging", "picture": name} | has
            part = delta[: rgb.shape[0], : rgb.shape[1]]
            yield row | {"variant": f"mean of {of}"} | removal(marker, marked, added(marked, -part), known)
            yield row | {"variant": f"mean of {of}"} | forgery(marker, rgb, added(rgb, part), known)
        alone = np.repeat(np.clip(np.rint(128 + 20 * sums.mean(of)), 0, 255)[..., None], 3, 2).astype(
            np.uint8
        )
        row = {"attack": "averaging", "variant": f"mean of {of}, alone", "goal": "forge"} | has
        yield row | seen(marker, alone, message or b"")


def tones_of_many(number: int, paths: Sequence[Path], count: int, **_: int) -> Iterator[Row]:
    """The tones that the mean spectrum of so many marked images shows are taken out of others.

    Hann's window, so that no tone's sidelobes hide another; bins are those of the torus, on which tones lie.
    """
    marker, power = marker_of("averaging"), 0.0
    window = np.outer(np.hanning(SIDE + 2)[1:-1], np.hanning(SIDE + 2)[1:-1])
    images = marked_supply(marker, SIDE, paths)
    for _, marked, _ in itertools.islice(images, number):
        shown = power_of(score_plane(marked) * window, TORUS)
        power = power + shown / shown.mean()
    for tones in TONES:
        share = hits(peaks_of(power, tones), tones_of(marker, tones), near=0.5) / tones
        row = {
            "attack": "tones of many",
            "goal": "learn",
            "variant": f"{tones} tones found to the bin, share",
        }
        yield row | {"has": HAS["messages"], "number": number, "value": share}
    for name, rgb in originals(paths, count, 512):
        known = message_of(name)
        marked = marker.embed(rgb, known)
        for tones in TONES:
            attacked = flattened(marked, peaks_of(power, tones))
            row = {"attack": "tones of many", "picture": name, "variant": f"{tones} tones"}
            has = {"has": HAS["messages"], "number": number}
            yield row | has | without_lines(marker, marked, attacked, known)
