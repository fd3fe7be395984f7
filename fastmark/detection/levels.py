"""The scores of a plane at one resolution, as the scan sees them: whitened power, on log-polar grids."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastmark import fft
from fastmark.codec.plane import Plane
from fastmark.detection.course import step
from fastmark.detection.logpolar import LogPolarSpectrum, log_polar
from fastmark.detection.noise import PowerSpectrum, tukey
from fastmark.detection.plan import LevelPlan
from fastmark.detection.scores import ScorePlanes
from fastmark.kernels import geometry as geometry_kernels
from fastmark.kernels import noise as kernels

_MIN_FFT, _MAX_SIDE = 256, 1024
# Tones between bins lose a third of their power without; a long side, whose spectrum shows more, can do with
# less.
_PADDING, _LITTLE_PADDING, _LONG = 1.33, 1.25, 480
_SMOOTHING = 0.2  # share of each neighbour along an axis; 0.6 is the bin's own
_WHITENING_REACH = 10  # bins either side, of a spectrum that is not zero-padded
# The mean and the spread of the whitened power are those of the band above 1 / 32 of a cycle per sample, as
# there are no tones below it and the whitening is poor there.
_LONGEST_WAVE = 32


@dataclass(frozen=True, slots=True)
class PaddedSpectrum:
    """The spectrum of the scores of a level's middle, zero-padded, so that it can be interpolated.

    Attributes:
        size: height and width of the middle, samples; ``corner`` is its first sample.
        spectrum: complex64 ``(NY, NX // 2 + 1)``.
        power: of the spectrum.
    """

    size: tuple[int, int]
    corner: tuple[int, int]
    spectrum: NDArray[np.complex64]
    power: PowerSpectrum

    @classmethod
    @step("spectrum")
    def of(cls, weighted: Plane) -> PaddedSpectrum:
        """Transform the middle of a plane of scores, at most 1024 samples a side."""
        height, width = (min(n, _MAX_SIDE) for n in weighted.shape)
        top, left = (weighted.shape[0] - height) // 2, (weighted.shape[1] - width) // 2
        n_rows, n_columns = (
            fft.good_size(max(_MIN_FFT, round((_PADDING if n < _LONG else _LITTLE_PADDING) * n)))
            for n in (height, width)
        )
        middle = weighted[top : top + height, left : left + width]
        spectrum = fft.rfft2_padded(middle, tukey(height), tukey(width), (n_rows, n_columns))
        reach_y, reach_x = _WHITENING_REACH * n_rows / height, _WHITENING_REACH * n_columns / width
        return cls((height, width), (top, left), spectrum, PowerSpectrum.of(spectrum, reach_y, reach_x))


def band_moments(white: NDArray[np.float32]) -> tuple[float, float]:
    """Return mean and spread of whitened power ``(NY, NX // 2 + 1)`` over the band of the tones."""
    n_rows, n_columns = white.shape
    # half of the columns' spectrum is there
    mean, spread = geometry_kernels.band_moments(
        white, n_rows // _LONGEST_WAVE, n_rows // 2, n_columns // (_LONGEST_WAVE // 2)
    )
    return float(mean), max(float(spread), 1e-12)


class ScanLevel:
    """The scores of a plane at one resolution, and their whitened power spectrum.

    Attributes:
        plan: the resolution, and how it is scanned.
        shape: height and width of the plane at this resolution, samples.
        padded: the spectrum as it is interpolated.
        threads: how many may share the work.
    """

    def __init__(self, planes: ScorePlanes, plan: LevelPlan) -> None:
        """Transform and whiten the scores of a plane's middle at the resolution of ``plan``."""
        self.plan = plan
        self.threads = planes.threads
        scores = planes.weighted(plan.factor)
        self.shape = (scores.shape[0], scores.shape[1])
        self.padded = PaddedSpectrum.of(scores)

    @functools.cached_property
    @step("whitened spectrum")
    def white(self) -> NDArray[np.float32]:
        """Power over its local mean, at most 8: float32 ``(NY, NX // 2 + 1)``."""
        return self.padded.power.whitened()

    @functools.cached_property
    def moments(self) -> tuple[float, float]:
        """Mean and spread of ``white`` over the band of the tones."""
        return band_moments(self.white)

    @functools.cached_property
    @step("log-polar grids")
    def views(self) -> dict[int, LogPolarSpectrum]:
        """The spectrum on log-polar grids, by the size of their cells, finest first."""
        # a tone between bins, or between cells, is seen from all around; so is less noise than at one bin
        smooth = np.empty_like(self.white)
        kernels.smooth_bins(self.white, np.float32(_SMOOTHING), smooth)
        pools = tuple(sorted(set(self.plan.pools) - {0}))
        return dict(zip(pools, log_polar(smooth, pools), strict=True))
