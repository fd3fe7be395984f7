"""The embedder's choices within the format: number of tones, strength, and all constants fitted for them."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastmark import fft
from fastmark.codec.carrier import Carrier
from fastmark.codec.plane import Plane
from fastmark.codec.tables import BLOCK, N_COEFFICIENTS, TONE_COUNTS, TORUS
from fastmark.embedding.design import Design
from fastmark.embedding.host import Host
from fastmark.embedding.visibility import FIRST_CELL, n_samples, sample_step, sensitivity
from fastmark.kernels import mask as mask_kernels
from fastmark.kernels import noise as kernels

TARGET_SSIMULACRA2 = 88.5
"""The visibility that the strength aims at."""

TARGET_TOGETHER = 86.0
"""The same of two watermarks that are embedded together.

Over 34 images 86.2 comes of it (benchmarks/quality.py --public), and both are read after 97 % of everyday
handling (benchmarks/robustness.py --public).
"""

# NOTE: the fitted constants below are measured by benchmarks/calibrate.py.

VISIBILITY_OFFSET, VISIBILITY_OF_STRENGTH = 4.819, 1.173
VISIBILITY_OF_NOISE, VISIBILITY_OF_UNIT = 0.476, 0.482
"""``ln(100 - SSIMULACRA2) = 4.819 + 1.173 ln(strength) + 0.476 ln(noise) + 0.482 ln(min(k, 4))``.

The noise is :func:`visible_noise`, k the pixels per unit: a coarse pattern is seen sooner. Least squares over
31 photographs and generated images and 62 parts of 39 large ones, at two strengths; residual 0.060.
"""

CONTENT_POWER = 0.7
"""Mean square of the content that bound chips follow, weighted as their power is, over images."""

MAX_UNIT = 4
"""Pixels per unit, beyond which a pattern is seen no sooner."""

_ACTIVITY_FLOOR = 50.0
_MIN_STRENGTH, _MAX_STRENGTH = 0.35, 1.4
_MIN_PSNR_DB, _MIN_PSNR_TOGETHER_DB = 42.15, 39.5  # the second: the busiest of those 34 images

_MAX_TONE_POWER = 4.0
_WINDOWED = 0.823  # (sum w)^2 / (N sum w^2) of Tukey's window, 25 % of it tapered, both ways

_LARGE_TILE, _SMALL_TILE = 128, 32  # cells of 2 x 2 units, each way
_MAX_TILES = 3  # each way
_WHOLE = 0.5  # weight of the cells of a tile that shows no border of the part that counts


def choose_tones(host: Host, carrier: Carrier, pilot_gain: float) -> int:
    """Return the smallest tone count whose tones, at strength 1, hide under the image's own spectrum.

    In an image of N units, of which 1024 x 1024 are looked at, a tone of amplitude A stands ``A^2 N / 4``
    above the power density, less what a window takes.
    """
    n_units = _WINDOWED * math.prod(min(n, TORUS) for n in host.plane.shape)
    if host.weights is None:
        amplitude = pilot_gain * float(np.mean(host.perception.mask))
    else:
        amplitude = pilot_gain * float(np.average(host.perception.mask, weights=host.weights))
        # a tone's waves add up under the weights, and the image's power under their squares
        n_units *= float(np.mean(host.weights)) ** 2 / float(np.mean(host.weights**2))
    level = power_density(host.perception.means, host.weights).at(carrier.tones / TORUS)
    for count in TONE_COUNTS:
        tone_power = 0.25 * amplitude**2 * 2 / count * n_units
        if np.median(tone_power / np.maximum(level[:count], 1e-12)) <= _MAX_TONE_POWER:
            return count
    return TONE_COUNTS[-1]


def choose_strength(host: Host, design: Design, n_marks: int = 1) -> float:
    """Return the strength at which the mark is just not seen.

    :func:`visible_noise` predicts SSIMULACRA2 (SPEC.md, section 6). Of several marks, which are alike and do
    not depend on each other, the powers add up: each gets the root of its part.

    Args:
        host: of the marks.
        design: of each of them.
        n_marks: how many are embedded together.
    """
    target = TARGET_SSIMULACRA2 if n_marks == 1 else TARGET_TOGETHER
    noise, unit = math.log(max(visible_noise(host, design), 1e-9)), math.log(min(host.k, MAX_UNIT))
    seen = VISIBILITY_OFFSET + VISIBILITY_OF_NOISE * noise + VISIBILITY_OF_UNIT * unit
    strength = math.exp((math.log(100 - target) - seen) / VISIBILITY_OF_STRENGTH)
    return min(max(strength, _MIN_STRENGTH), _MAX_STRENGTH) / math.sqrt(n_marks)


def visible_noise(host: Host, design: Design) -> float:
    """Return the root mean square, over the image, of the noise that a mark of strength 1 adds to activity.

    That is its local power, which its amplitudes make of the mask, over that of the image and a floor, each
    as the eye's response shows it: ``power g^2 / (g^2 variance + 50)``. The variance is that of 5 x 5 cells,
    and g the :func:`~fastmark.embedding.visibility.sensitivity` to the colour there. It is sampled.
    """
    perception = host.perception
    colours, step = host.colours, sample_step(perception.means.shape)
    contrast = np.empty(n_samples(perception.means.shape), np.float32)
    places = tuple(slice(FIRST_CELL, FIRST_CELL + (n - 1) * step + 1, step) for n in contrast.shape)
    if colours is None:
        colours = np.rint(perception.means[places] + 128).clip(0, 255).astype(np.uint8)
    mask_kernels.sample_contrast(
        host.smooth_mask,
        np.float32(design.pilot_ratio**2),
        perception.mask,
        np.float32(chip_power(design)),
        perception.means,
        sensitivity(colours),
        np.float32(_ACTIVITY_FLOOR),
        FIRST_CELL,
        step,
        contrast,
    )
    weights = np.ones_like(contrast) if host.weights is None else host.weights[places]
    if not weights.any():  # too small, or none of the samples is visible
        return 0.0
    return math.sqrt(float(np.average(np.square(contrast, dtype=np.float64), weights=weights)))


def chip_power(design: Design) -> float:
    """Return the mean square of the chips at strength 1 on the plane, of the mask's.

    A binding adds to it, by its flags and by the content that it follows.
    """
    power = design.chip_ratio**2 * N_COEFFICIENTS / BLOCK**2
    if design.binding is None:
        return power
    return power * (1 + design.binding.flag**2 + CONTENT_POWER * design.binding.depth**2)


def lowered(strength: float, factor: float, mean_square: float, n_marks: int = 1) -> float:
    """Return the strength lowered once, where needed, so that the PSNR is not below the least one.

    Args:
        strength: of the delta.
        factor: the caller's part of it; above 1 it lowers the least PSNR in proportion.
        mean_square: of the hardened delta, grey levels squared.
        n_marks: how many marks it is.
    """
    least = _MIN_PSNR_DB if n_marks == 1 else _MIN_PSNR_TOGETHER_DB
    # rounding to whole levels adds a twelfth
    excess_db = least - 20 * math.log10(max(factor, 1.0)) - decibels(mean_square + 1 / 12)
    return strength * 10 ** (-excess_db / 20) if excess_db > 0 else strength


def decibels(mean_square: float) -> float:
    """Return the PSNR of a mean square error in grey levels of 255."""
    return 10 * math.log10(255.0**2 / mean_square)


@dataclass(frozen=True, slots=True)
class Density:
    """Power density of a plane, grey levels squared, at ``N x N`` frequencies of its means over 2 x 2 units.

    Attributes:
        power: float32 ``(N, N // 2 + 1)``, per sample of the means.
    """

    power: NDArray[np.float32]

    def at(self, frequencies: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the density per unit at ``frequencies`` float64 ``(n, 2)``, cycles per unit, below 1/4.

        It contains the power that folds back from above 1/4.
        """
        n = self.power.shape[0]
        bins = np.rint(2 * n * frequencies).astype(int)
        bins *= np.where(bins[:, 1:] < 0, -1, 1)
        # a mean over two units passes cos(pi f) of a wave; four units make one sample
        passed = np.prod(np.cos(np.pi * frequencies) ** 2, axis=1)
        density: NDArray[np.float64] = 4 * self.power[bins[:, 0] % n, bins[:, 1]] / passed
        return density


@functools.cache
def _hann(n: int) -> NDArray[np.float32]:
    """Return Hann's window of n x n, without its zeros."""
    line = np.hanning(n + 2)[1:-1]
    return np.outer(line, line).astype(np.float32)


def power_density(means: Plane, weights: Plane | None = None) -> Density:
    """Estimate the power density of a plane below a quarter of a cycle per unit, from its cells' means.

    Cells are 2 x 2 units. Welch 1967: mean periodogram of tiles under Hann's window, at most 3 x 3 of them
    spread over the plane, smoothed over 3 x 3 bins.

    Args:
        means: float32 ``(H, W)``, the middle of the range taken off.
        weights: of the same shape, 0..1, how much each of them counts, not 0 everywhere: the windows are
            multiplied by them, and tiles are those of :func:`_counting_tiles`; None for all alike.
    """
    if weights is None:
        n = _LARGE_TILE if min(means.shape) >= _LARGE_TILE else _SMALL_TILE
        tiles = _tiles(means.shape, n, [min(_MAX_TILES, -(-side // n)) for side in means.shape])
    else:
        means = means - np.float32(np.average(means, weights=weights))
        tiles = _counting_tiles(weights)
    n = tiles[0][0].stop - tiles[0][0].start
    window, total, square = _hann(n), np.zeros((n, n // 2 + 1), np.float32), 0.0
    for tile in tiles:
        weighted = window if weights is None else window * weights[tile]
        kernels.add_power(fft.rfft2(means[tile] * weighted).view(np.float32), total)
        square += float(np.vdot(weighted, weighted))
    smooth = np.empty_like(total)
    kernels.smooth_cells(total, 1, 1, smooth)
    smooth /= square
    return Density(smooth)


def _tiles(shape: tuple[int, ...], n: int, counts: list[int]) -> list[tuple[slice, slice]]:
    """Return tiles of n x n, so many each way, spread over a plane."""
    rows, columns = (
        np.unique(np.linspace(0, side - n, count).astype(int))
        for side, count in zip(shape, counts, strict=True)
    )
    return [(slice(y, y + n), slice(x, x + n)) for y in rows for x in columns]


def _counting_tiles(weights: Plane) -> list[tuple[slice, slice]]:
    """Return tiles in which everything counts half at least, as the border of what counts is no texture.

    They overlap by half or more; the larger ones if there are any, else the smaller, else all of these.
    """
    tiles: list[tuple[slice, slice]] = []
    for n in (_LARGE_TILE, _SMALL_TILE):
        if min(weights.shape) >= n:
            tiles = _tiles(weights.shape, n, [-(-2 * side // n) - 1 for side in weights.shape])
        whole = [tile for tile in tiles if weights[tile].min() >= _WHOLE]
        if whole:
            return whole
    return tiles
