"""Attack of `security.py` with many marked images that are aligned by correlating what they show."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from _security_marks import (
    Row,
    added,
    forgery,
    marked_supply,
    marker_of,
    mask_of,
    message_of,
    origin_of,
    originals,
    removal,
)
from _security_patterns import correlation, laid, reduced
from _security_spectra import level_of, score_plane
from scipy import fft

from fastmark import Watermarker
from fastmark.codec.plane import Plane
from fastmark.codec.tables import BLOCK, GRID, TORUS

COUNTS = (4, 16, 64)
PAIRS = 32  # images among which the two that agree best are sought
_ROUNDS = 6
_AGREES = 5.5  # standard deviations; the largest of 16384 places has 4.1 by chance
HAS = {"one message": "marked images of one message", "messages": "marked images of different messages"}


def aligning(part: tuple[str, int], paths: Sequence[Path], count: int, **_: int) -> Iterator[Row]:
    """Images of one size are aligned with the two that agree best, and averaged; no key.

    `value` of what is learnt is the share of images that lie as they do on the torus.
    """
    marker, (series, side) = marker_of("aligning"), part
    message = message_of("all") if series == "one message" else None
    wide = [path for path in paths if "large" in path.parts] or paths
    spectra: list[np.ndarray] = []
    origins: list[np.ndarray] = []
    given: set[bytes] = set()
    for _, marked, sent in marked_supply(marker, side, wide, message):
        given.add(sent)
        spectra.append(whitened(marked))
        origins.append(np.array(origin_of(marked, marker)))
        if len(spectra) < 2 or len(spectra) not in COUNTS:
            continue
        shifts = aligned(spectra)
        has = {"attack": "aligning", "has": f"{HAS[series]}, {side} px", "number": len(spectra)}
        agree = 0
        if shifts:
            starts = [tuple((origins[i] - shift) % TORUS) for i, shift in shifts.items()]
            agree = max(starts.count(start) for start in starts)
        row = {"goal": "learn", "variant": "images that are aligned rightly, share"}
        yield has | row | {"value": agree / len(spectra)}
        if len(shifts) > 1:
            pattern = mean_pattern(spectra, shifts)
            yield from used(marker, pattern, has, paths, count, given)
        if len(spectra) == COUNTS[-1]:
            return


def whitened(marked: np.ndarray) -> np.ndarray:
    """Spectrum of the scores over the root of its level, complex64 (1024, 513)."""
    spectrum = fft.rfft2(score_plane(marked), (TORUS, TORUS))
    return (spectrum / np.sqrt(level_of(np.abs(spectrum) ** 2))).astype(np.complex64)


def places(spectrum: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Correlation of two images at all shifts by whole blocks, in standard deviations: (128, 128)."""
    surface = fft.irfft2(spectrum * np.conj(other), (TORUS, TORUS))[::BLOCK, ::BLOCK]
    return surface / surface.std()


def aligned(spectra: Sequence[np.ndarray]) -> dict[int, np.ndarray]:
    """By how much each image that agrees is to be shifted; one seed, then rounds with the mean of all."""
    few = range(min(PAIRS, len(spectra)))
    pairs = [(float(places(spectra[j], spectra[i]).max()), i, j) for i in few for j in few if i < j]
    z, seed, _ = max(pairs)
    if z < _AGREES:
        return {}
    shifts, mean = {seed: np.zeros(2, int)}, spectra[seed].copy()
    for _ in range(_ROUNDS):
        before = dict(shifts)
        for i, spectrum in enumerate(spectra):
            own = moved(spectrum, shifts[i]) if i in shifts else 0
            surface = places(spectrum, mean - own) if len(shifts) > 1 or i != seed else None
            if surface is None:
                continue
            if surface.max() >= _AGREES:
                y, x = np.unravel_index(int(surface.argmax()), surface.shape)
                shift = -BLOCK * np.array([y, x]) % TORUS
                mean = mean - own + moved(spectrum, shift)
                shifts[i] = shift
            elif i in shifts and i != seed:
                mean = mean - own
                del shifts[i]
        if before.keys() == shifts.keys() and all((before[i] == shifts[i]).all() for i in shifts):
            break
    return shifts


def moved(spectrum: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Spectrum of a plane that is moved by (y, x) on the torus."""
    turn_y = np.exp(-2j * np.pi * np.fft.fftfreq(TORUS) * shift[0])
    turn_x = np.exp(-2j * np.pi * np.fft.rfftfreq(TORUS) * shift[1])
    return (spectrum * turn_y[:, None] * turn_x).astype(np.complex64)


def mean_pattern(spectra: Sequence[np.ndarray], shifts: dict[int, np.ndarray]) -> Plane:
    """The mean of aligned images on the torus at the root mean square of a pattern, float32 (1024, 1024)."""
    total = sum(moved(spectra[i], shift) for i, shift in shifts.items())
    plane = fft.irfft2(total, (TORUS, TORUS))
    return (0.25 * plane / plane.std()).astype(np.float32)


def used(
    marker: Watermarker, pattern: Plane, has: Row, paths: Sequence[Path], count: int, given: set[bytes]
) -> Iterator[Row]:
    """The mean pattern is taken off other images, and added to unmarked ones at twice a mark's strength.

    `given`: the messages of the images that it was made of, any of which may be read in it.
    """
    rng = np.random.default_rng(3)
    for name, rgb in originals(paths, count, 512):
        known = next(iter(given)) if len(given) == 1 else message_of(name)
        marked = marker.embed(rgb, known)
        _, at = correlation(score_plane(marked), pattern)
        part, _ = laid(pattern, at, rgb.shape[:2])
        row = {"attack": "aligning", "picture": name, "variant": "mean of aligned images"} | has
        yield row | removal(marker, marked, reduced(marked, part), known, *given)
        anywhere = tuple(int(n) for n in BLOCK * rng.integers(0, GRID, 2))
        part, _ = laid(pattern, anywhere, rgb.shape[:2])
        yield row | forgery(marker, rgb, added(rgb, 2 * mask_of(rgb) * part), *given)
