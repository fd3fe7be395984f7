"""Attacks of `security.py` on the pilot's lines: found in one image or in the mean of many, and taken out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from _geometry import array, pil
from _pixels import jpeg, luma, notch, spectral_level, to_bytes
from _security_marks import BAND, Row, marker_of, mask_of, message_of, originals, removal
from PIL import Image
from scipy import fft, ndimage

from fastmark import Watermarker
from fastmark.codec.plane import Plane
from fastmark.codec.tables import TORUS
from fastmark.detection.scores import ScorePlanes

PEAKS = (50, 100, 200, 500)
TONES = (48, 96, 192, 384)
LAGS = 64  # units of the autocorrelation that are looked at
SIDE = 512
BINS = 512  # of a spectrum each way
_NEAR = 3.0  # bins of 1/1024 cycle per unit within which a peak counts as a tone


# ---- finding lines ---------------------------------------------------------------------------------------


def score_plane(rgb: np.ndarray) -> Plane:
    """The scores of SPEC.md, section 9: public, and the matched filter's input."""
    return ScorePlanes(luma(rgb)).weighted()


def power_of(scores: Plane, bins: int = BINS) -> np.ndarray:
    """Power spectrum of scores, zero-padded to `bins` each way: (bins, bins / 2 + 1)."""
    spectrum = fft.rfft2(scores, (bins, bins))
    return spectrum.real**2 + spectrum.imag**2


def autocorrelated_power(scores: Plane, bins: int = BINS) -> np.ndarray:
    """The same by way of the autocorrelation, of which short lags alone are kept (Blackman & Tukey 1958)."""
    lags = fft.irfft2(power_of(scores, 2 * bins), (2 * bins, 2 * bins))
    window = np.hanning(2 * LAGS + 1)
    kept = np.roll(lags, (LAGS, LAGS), (0, 1))[: 2 * LAGS + 1, : 2 * LAGS + 1] * np.outer(window, window)
    return np.abs(fft.rfft2(kept, (bins, bins)))


def peaks_of(power: np.ndarray, count: int) -> np.ndarray:
    """Frequencies of the strongest local maxima, (count, 2) as (fy, fx) in cycles per unit, fx not negative.

    The power is divided by its level in 21 x 21 bins; radii are those of tones (SPEC.md, section 2).
    """
    bins = power.shape[0]
    white = power / level_of(power)
    fy, fx = np.fft.fftfreq(bins)[:, None], np.fft.rfftfreq(bins)[None, :]
    radius = np.hypot(fy, fx)
    allowed = (radius >= BAND[0]) & (radius <= BAND[1]) & (np.abs(fy) > 4 / TORUS) & (fx > 4 / TORUS)
    summit = white == ndimage.maximum_filter(white, 3, mode="wrap")
    score = np.where(allowed & summit, white, 0)
    rows, columns = np.unravel_index(np.argsort(score, axis=None)[::-1][:count], score.shape)
    return np.stack([np.fft.fftfreq(bins)[rows], columns / bins], axis=1)


def level_of(power: np.ndarray) -> np.ndarray:
    """The level of a power, as `spectral_level` has it; never 0."""
    return np.maximum(spectral_level(power), 1e-9)


def tones_of(marker: Watermarker, count: int) -> np.ndarray:
    """The key's own tones as (fy, fx) in cycles per unit, fx not negative."""
    tones = marker.key_detector.carrier.tones[:count] / TORUS
    return np.where(tones[:, 1:] < 0, -tones, tones)


def hits(found: np.ndarray, tones: np.ndarray, near: float = _NEAR) -> int:
    """How many of the tones a peak was found at, within so many bins of the torus."""
    distance = np.linalg.norm(TORUS * (tones[:, None] - found[None]), axis=2)
    return int(np.sum(distance.min(axis=1) <= near))


def flattened(rgb: np.ndarray, tones: np.ndarray) -> np.ndarray:
    """Take sinusoids of these frequencies (n, 2) out, each fitted to the luma over its mask, which is public.

    The fit is that of least squares but for the tones' small products, as a pilot is (SPEC.md, section 5).
    """
    plane, mask = luma(rgb), mask_of(rgb)
    seen = (plane - ndimage.gaussian_filter(plane, 4)) / mask
    rows, columns = (
        np.exp(-2j * np.pi * np.outer(tones[:, i], np.arange(n))) for i, n in enumerate(plane.shape)
    )
    values = ((rows @ seen) * columns).sum(axis=1) / plane.size
    drawn = 2 * ((rows.conj() * values[:, None]).T @ columns.conj()).real
    return to_bytes(rgb - (mask * drawn)[..., None])


# ---- the attack ------------------------------------------------------------------------------------------


def without_lines(marker: Watermarker, marked: np.ndarray, attacked: np.ndarray, message: bytes) -> Row:
    """A removal, and what is left where the image is handled besides: the pilot is what shows how."""
    row = removal(marker, marked, attacked, message)
    for name, handled in (("jpeg", lambda rgb: jpeg(rgb, 75)), ("scaled", scaled), ("crop", cropped)):
        row[f"{name} before"] = marker.detect(handled(marked)).state
        row[name] = marker.detect(handled(attacked)).state
    return row


def scaled(rgb: np.ndarray) -> np.ndarray:
    size = round(0.8 * rgb.shape[1]), round(0.8 * rgb.shape[0])
    return array(pil(rgb).resize(size, Image.Resampling.BICUBIC))


def cropped(rgb: np.ndarray) -> np.ndarray:
    """Without a margin of a tenth and a little, so that no block starts where it did."""
    y, x = rgb.shape[0] // 10 + 3, rgb.shape[1] // 10 + 5
    return np.ascontiguousarray(rgb[y:-y, x:-x])


def notching(number: int, paths: Sequence[Path], count: int, **_: int) -> Iterator[Row]:
    """One marked image, no key: its strongest lines are flattened. With the key's tones, for comparison."""
    name, rgb = originals(paths, count, SIDE)[number]
    marker, message = marker_of("notching"), message_of(name)
    marked = marker.embed(rgb, message)
    scores = score_plane(marked)
    for peaks in PEAKS:
        has = {"attack": "notching", "picture": name, "has": "1 marked image", "number": peaks}
        ways = {
            "peaks of the luma": notch(marked, peaks, 0.26),
            "peaks of the scores": flattened(marked, peaks_of(power_of(scores), peaks)),
            "peaks of the autocorrelation": flattened(marked, peaks_of(autocorrelated_power(scores), peaks)),
        }
        for way, attacked in ways.items():
            yield has | {"variant": way} | without_lines(marker, marked, attacked, message)
    for count in TONES:
        attacked = flattened(marked, tones_of(marker, count))
        has = {"attack": "notching", "picture": name, "has": "1 marked image and the tones", "number": count}
        yield has | {"variant": "the key's tones"} | without_lines(marker, marked, attacked, message)
