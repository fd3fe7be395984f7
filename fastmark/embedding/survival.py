"""What a mark will survive, predicted from the plane that holds it, link by link of finding and reading."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from fastmark.codec.carrier import Carrier
from fastmark.codec.plane import Plane, pixels_per_unit
from fastmark.codec.tables import TONE_COUNTS, TORUS
from fastmark.detection import evidence
from fastmark.detection.levels import PaddedSpectrum, band_moments
from fastmark.detection.placement import view_spectrum
from fastmark.kernels import geometry as kernels

SCREEN = (800, 1280)
"""Height and width, pixels, of the screen of the reference screenshot."""

SCREEN_BAR = 80
"""Pixels of the screen's height that are not the image's."""

PHASES_SHARE, NATS_PER_TONE = 0.7, 2.3
"""How the nats that the pilot's phases prove follow from its z, ``min(0.7 z^2 / 2, 2.3 n)`` of n tones.

The moduli of tones are levelled and limited, which costs a part of the nats of a Gaussian, and one tone
proves so much at most. Measured by benchmarks/calibrate.py.
"""

SCORE_SHARE, SCORE_PER_TONE = 1.0, 6.2
"""How the scan's score follows from z of the pilot, ``min(z^2 / (2 n), 6.2) sqrt(n)`` of n tones.

Measured by benchmarks/calibrate.py.
"""

# NOTE: the constants below are fitted by benchmarks/survival.py --fit.

NEEDED_SCORE = 5.0
"""Sigmas of a known geometry at which the scan finds it in one of two images."""

NEEDED_NATS = 19.0
"""Nats of the phases at which a mark that was scaled is placed in one of two images."""

NEEDED_PLACE_Z = 5.1
"""z of pilot and anchors together at which they are found in one of two images that were not scaled."""

HALF_SHARE = 0.87
"""z of the message as it is read at half a sample per unit, in that of its chips at half resolution.

Scores are resampled to units before they are read.
"""

_ANCHORS = 1 / 3  # their z in that of the message: they are one chip in ten
_PILOT_WEIGHT = 1.5  # of the pilot beside the anchors, in the detector


@dataclass(frozen=True, slots=True)
class Look:
    """Statistics of a mark whose place and message are known, at one resolution.

    Attributes:
        message: z of the message.
        nats: that the pilot's phases prove.
        score: of the tones' power in the scan, sigmas.
    """

    message: float
    nats: float
    score: float

    @classmethod
    def sampled(cls, message: float, pilot: float, n_tones: int) -> Look:
        """Predict what z of the pilot, measured in a part of the plane, makes of phases and scan."""
        half_square = max(pilot, 0.0) ** 2 / 2
        return cls(
            message,
            min(PHASES_SHARE * half_square, NATS_PER_TONE * n_tones),
            min(SCORE_SHARE * half_square / n_tones, SCORE_PER_TONE) * math.sqrt(n_tones),
        )

    @classmethod
    def whole(
        cls,
        message: float,
        weighted: Plane,
        carrier: Carrier,
        origin: tuple[int, int],
        step: int,
    ) -> Look:
        """Measure phases and scan as a detector does, which has to tell the number of tones too.

        Args:
            message: z of the message.
            weighted: scores of the plane, or of its means over 2 x 2 units.
            carrier: of the key.
            origin: torus place of the first unit.
            step: units to a sample, 1 or 2.
        """
        padded = PaddedSpectrum.of(weighted)
        view = view_spectrum(padded, np.eye(2) / step, 1, None, carrier)
        place = np.array(origin) + step * view.offset + (step - 1) / 2
        total = view.total(view.aligned(turned=False), place)
        nats = -evidence.phase_sum_bound(total, np.abs(view.values))
        white, g = padded.power.whitened(), step * np.eye(2)
        moments, tones = band_moments(white), carrier.tones / TORUS
        score = max(kernels.tone_score(white, *moments, tones, count, g) for count in TONE_COUNTS)
        return cls(message, nats, float(score))

    def between(self, other: Look, share: float) -> Look:
        """Return what lies so far on the way to another look, 0..1."""
        a, b = 1 - share, share
        return Look(
            a * self.message + b * other.message,
            a * self.nats + b * other.nats,
            a * self.score + b * other.score,
        )

    def shrunk(self, scale: float) -> Look:
        """Return the look at an image shown at less than half of its units; ``scale`` of this one's."""
        return Look(scale * self.message, scale**2 * self.nats, scale**2 * self.score)

    def as_it_is(self) -> float:
        """Return the margin at which the mark is found in an image that was not scaled.

        By pilot and anchors together, or by the pilot's phases alone.
        """
        pilot = math.sqrt(2 * self.nats)
        together = (_ANCHORS * self.message + _PILOT_WEIGHT * pilot) / math.hypot(1, _PILOT_WEIGHT)
        return max(together / NEEDED_PLACE_Z, _root(self.nats / NEEDED_NATS))

    def by_scan(self) -> float:
        """Return the margin at which it is found by the scan and placed."""
        return min(_root(self.score / NEEDED_SCORE), _root(self.nats / NEEDED_NATS))


@dataclass(frozen=True, slots=True)
class Predictions:
    """Predicted margins after the reference attacks, each the least over the links of a detection."""

    jpeg: float
    half: float
    crop: float
    screenshot: float

    def margins(self) -> tuple[float, ...]:
        """Return them all, in the order of their names."""
        return self.jpeg, self.half, self.crop, self.screenshot

    @classmethod
    def least(cls, *several: Predictions) -> Predictions:
        """Return the smallest margin after each reference."""
        return cls(*(min(column) for column in zip(*(one.margins() for one in several), strict=True)))


SURE = Predictions(math.inf, math.inf, math.inf, math.inf)
"""Where nothing is predicted."""


@dataclass(frozen=True, slots=True)
class Looks:
    """What was measured of a marked plane.

    Attributes:
        shape: of the plane, units.
        k: pixels per unit.
        full: as it is.
        jpeg: after JPEG.
        crop: of the quarter in its middle.
        half: of its means over 2 x 2 units.
    """

    shape: tuple[int, int]
    k: int
    full: Look
    jpeg: Look
    crop: Look
    half: Look

    def survival(self, needed: float) -> Predictions:
        """Predict every reference; ``needed``: z at which the message can be read."""
        half, screenshot = self.shown("half"), self.shown("screenshot")
        halved, cropped = half.by_scan(), self.crop.by_scan()
        if self.k == 2 * self._k_of_half:  # the detector's units are the mark's: to it, nothing was scaled
            halved = max(halved, half.as_it_is())
        if self.k == 1:
            cropped = max(cropped, self.crop.as_it_is())
        return Predictions(
            min(self.jpeg.message / needed, self.jpeg.as_it_is()),
            min(half.message / needed, halved),
            min(self.crop.message / needed, cropped),
            min(screenshot.message / needed, screenshot.by_scan()),
        )

    @property
    def _k_of_half(self) -> int:
        """Pixels per unit that a detector supposes of the image at half size, or of a quarter of it."""
        height, width = self.shape
        return pixels_per_unit(height * self.k // 2, width * self.k // 2)

    def shown(self, reference: str) -> Look:
        """Return the look at what a reference leaves."""
        if reference == "jpeg":
            return self.jpeg
        if reference == "crop":
            return self.crop
        if reference == "half":
            return self._scaled(self.k / (2 * self._k_of_half))
        height, width = (n * self.k for n in self.shape)
        return self._scaled(self.k * min(0.5, (SCREEN[0] - SCREEN_BAR) / height, SCREEN[1] / width))

    def _scaled(self, scale: float) -> Look:
        """Return the look at the image at ``scale`` samples per unit."""
        half = replace(self.half, message=HALF_SHARE * self.half.message)
        return half.shrunk(2 * scale) if scale < 0.5 else half.between(self.full, min(2 * scale - 1, 1.0))


def _root(ratio: float) -> float:
    """Return the root of a ratio of powers, so that it goes with the mark's amplitude; negative ones 0."""
    return math.sqrt(max(ratio, 0.0))
