"""Attacks of `security.py` by those who saw patterns bare: flat images, or originals beside marked ones.

A pattern is a change of an image over its mask (SPEC.md, section 5), which is public. It is found in another
marked image by correlation with the scores of section 9, which are public too, and taken off there with the
other image's mask; or it is added to an image without a mark.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from _pixels import luma
from _security_marks import BAND, Row, added, forgery, marker_of, mask_of, message_of, originals, removal
from _security_spectra import level_of, score_plane
from scipy import fft, ndimage

from fastmark import Watermarker
from fastmark.codec.plane import Plane
from fastmark.codec.tables import BLOCK, TORUS

SIDE = 512
SEEN = (1, 4, 16)
_LINE = 6.0  # times the level: a line of a pattern
_PROBE = 0.25  # of a pattern: by how much the response of the scores is measured
_MOST_GAIN = 4.0
_FOUND = 5.5  # standard deviations of the correlation: chance gets there once in 3000 searches


def patterns(number: int, paths: Sequence[Path], count: int, **_: int) -> Iterator[Row]:
    """Patterns of other images are taken off one, and added to it unmarked."""
    names = originals(paths, count, SIDE)
    name, rgb = names[number]
    rgb = rgb[:SIDE, :SIDE]
    for series in ("one message", "messages"):
        marker = marker_of("patterns")
        known = message_of("all") if series == "one message" else message_of(name)
        marked = marker.embed(rgb, known)
        for source in ("flat", "pairs"):
            seen = [
                bare(marker, other, known if series == "one message" else message_of(i))
                for i, other in enumerate(others(source, number, names, paths))
            ]
            for n in SEEN:
                has = f"marked flat images, {series}" if source == "flat" else f"originals too, {series}"
                row = {"attack": "patterns", "picture": name, "number": n, "variant": source, "has": has}
                yield row | taken_off(marker, marked, seen[:n], known)
            row = {"attack": "patterns", "picture": name, "number": 1, "variant": source, "has": has}
            mine = known if series == "one message" else message_of(0)
            forged = added(rgb, mask_of(rgb) * laid(seen[0], (0, 0), rgb.shape[:2])[0])
            yield row | forgery(marker, rgb, forged, mine)


def others(
    source: str, number: int, names: Sequence[tuple[str, np.ndarray]], paths: Sequence[Path]
) -> Iterator[np.ndarray]:
    """Images whose marks are seen bare: flat ones, or other images, each again turned over."""
    rng = np.random.default_rng(number)
    if source == "flat":
        for grey in rng.choice(np.arange(40, 216), max(SEEN), replace=False):
            yield np.full((SIDE, SIDE, 3), grey, np.uint8)
        return
    rest = [rgb for i, (_, rgb) in enumerate(originals(paths, len(names) + 8, SIDE)) if i != number]
    for i in range(max(SEEN)):
        rgb = rest[i % len(rest)]
        yield np.ascontiguousarray(rgb[:, ::-1] if i >= len(rest) else rgb)


def bare(marker: Watermarker, rgb: np.ndarray, message: bytes) -> Plane:
    """The pattern of a marked image whose original is known: its change over its mask."""
    return (luma(marker.embed(rgb, message)) - luma(rgb)) / mask_of(rgb)


# ---- finding and taking off ------------------------------------------------------------------------------


def correlation(scores: Plane, pattern: Plane) -> tuple[float, tuple[int, int]]:
    """Where a pattern lies in scores, on the torus in whole blocks: standard deviations, and its first unit.

    Both are of images that were not cropped, so that their blocks begin at (4, 4).
    """
    shape = (TORUS, TORUS)
    product = fft.rfft2(scores, shape) * np.conj(fft.rfft2(pattern, shape))
    surface = fft.irfft2(product, shape)[::BLOCK, ::BLOCK]
    best = int(surface.argmax())
    y, x = divmod(best, surface.shape[1])
    return float(surface.flat[best] / surface.std()), (BLOCK * y, BLOCK * x)


def laid(pattern: Plane, at: tuple[int, int], shape: tuple[int, int]) -> tuple[Plane, Plane]:
    """What of a pattern on the torus lies on an image when it begins at a unit, and where there is any."""
    torus, inside = np.zeros((2, TORUS, TORUS), np.float32)
    torus[: pattern.shape[0], : pattern.shape[1]] = pattern
    inside[: pattern.shape[0], : pattern.shape[1]] = 1
    window = np.s_[: shape[0], : shape[1]]
    return np.roll(torus, at, (0, 1))[window], np.roll(inside, at, (0, 1))[window]


def taken_off(marker: Watermarker, marked: np.ndarray, seen: Sequence[Plane], known: bytes) -> Row:
    """A removal by the patterns that are found in an image; `value` is the share of it that they cover."""
    scores, shape = score_plane(marked), marked.shape[:2]
    total, covered = np.zeros((2, *shape), np.float32)
    for pattern in seen:
        z, at = correlation(scores, pattern)
        if z >= _FOUND:
            part, inside = laid(pattern, at, shape)
            total += part
            covered += inside
    attacked = reduced(marked, total / np.maximum(covered, 1))
    return removal(marker, marked, attacked, known) | {"value": float((covered > 0).mean())}


def reduced(marked: np.ndarray, pattern: Plane) -> np.ndarray:
    """Take off as much of a pattern as leaves no correlation with the scores; no key.

    Lines of the pattern and rings of all else have a strength each, as other images have more or fewer
    tones: it is found in three steps by what a small part of the pattern changes in the scores (Newton).
    """
    if not pattern.any():
        return marked
    mask, spectrum = mask_of(marked), fft.rfft2(pattern)
    labels = parts_of(spectrum, pattern.shape)
    gains = np.zeros(labels.max() + 1)

    def projected(delta: Plane) -> np.ndarray:
        scores = fft.rfft2(score_plane(np.clip(marked - delta[..., None], 0, 255)))
        return np.bincount(labels.ravel(), (scores * np.conj(spectrum)).real.ravel(), gains.size)

    def drawn(strengths: np.ndarray) -> Plane:
        return mask * fft.irfft2(spectrum * strengths[labels], pattern.shape)

    for _ in range(3):
        seen = projected(drawn(gains))
        response = (seen - projected(drawn(gains + _PROBE))) / _PROBE
        gains += seen / np.maximum(response, 0.1 * np.abs(response).mean())
        np.clip(gains, 0, _MOST_GAIN, out=gains)
    return added(marked, -drawn(gains))


def parts_of(spectrum: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Number the parts of a pattern's spectrum: its strongest lines, three bins each way, and rings."""
    radius = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None, :])
    labels = np.minimum((radius * 40).astype(int), 15)
    power = np.abs(spectrum) ** 2
    white = power / level_of(power)
    summit = (white == ndimage.maximum_filter(white, 3, mode="wrap")) & (white > _LINE)
    rows, columns = np.nonzero(summit & (radius > BAND[0]) & (radius < BAND[1]))
    for number, (y, x) in enumerate(zip(rows, columns, strict=True), 16):
        labels[
            np.ix_(
                (y + np.arange(-1, 2)) % shape[0], np.clip(x + np.arange(-1, 2), 0, None) % labels.shape[1]
            )
        ] = number
    return labels
